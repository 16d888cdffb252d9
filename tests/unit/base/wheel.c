// wheel.c: the wheel against single cases at its edges, and against a list that is
// searched from end to end.
#include "lib/base/wheel.h"

#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"
#include "lib/base/rand.h"

enum { TURN_MS = WHEEL_SLOTS * WHEEL_TICK_MS };

static int fired;
static uint64_t fired_at_ms;

static void
on_fire(struct timer *timer, uint64_t now_ms)
{
    assert_false(timer_is_set(timer));
    fired++;
    fired_at_ms = now_ms;
}

static struct wheel wheel;

static int
start_fresh(void **state)
{
    (void)state;
    fired = 0;
    fired_at_ms = 0;
    wheel_init(&wheel, 0);
    return 0;
}

static int
fired_by(uint64_t now_ms)
{
    wheel_advance(&wheel, now_ms);
    return fired;
}

static void
a_timer_fires_at_its_due_time_rounded_up_to_a_slot(void **state)
{
    (void)state;
    struct timer timer = {.fire = on_fire};
    wheel_set(&wheel, &timer, 1 + WHEEL_TICK_MS);
    assert_true(timer_is_set(&timer));
    assert_int_equal(fired_by(1 + WHEEL_TICK_MS), 0);
    assert_int_equal(fired_by(2 * WHEEL_TICK_MS - 1), 0);
    assert_int_equal(fired_by(2 * WHEEL_TICK_MS), 1);
    assert_int_equal(fired_at_ms, 2 * WHEEL_TICK_MS);
    assert_int_equal(wheel.count, 0);
    assert_int_equal(fired_by(10 * TURN_MS), 1);
}

static void
a_timer_due_on_a_slot_fires_at_that_very_time(void **state)
{
    (void)state;
    struct timer timer = {.fire = on_fire};
    wheel_set(&wheel, &timer, 3 * WHEEL_TICK_MS);
    assert_int_equal(fired_by(3 * WHEEL_TICK_MS - 1), 0);
    assert_int_equal(fired_by(3 * WHEEL_TICK_MS), 1);
}

static void
a_wheel_may_start_at_any_time(void **state)
{
    (void)state;
    const uint64_t start = 987654321;
    wheel_init(&wheel, start);
    struct timer timer = {.fire = on_fire};
    wheel_set(&wheel, &timer, start + 1000);
    assert_int_equal(fired_by(start + 999), 0);
    assert_int_equal(fired_by(start + 1000 + WHEEL_TICK_MS), 1);
}

static void
a_timer_set_for_the_past_fires_on_the_next_advance(void **state)
{
    (void)state;
    wheel_advance(&wheel, 5000);
    struct timer timers[2] = {{.fire = on_fire}, {.fire = on_fire}};
    // One that shares its slot and is not due must not hide them.
    struct timer later = {.fire = on_fire};
    wheel_set(&wheel, &later, 5000 / WHEEL_TICK_MS * WHEEL_TICK_MS + TURN_MS);
    wheel_set(&wheel, &timers[0], 0);
    wheel_set(&wheel, &timers[1], 4900);
    assert_int_equal(fired, 0);
    assert_int_equal(fired_by(5000), 2);
    assert_true(timer_is_set(&later));
}

static void
a_timer_further_than_a_turn_waits_for_its_own_turn(void **state)
{
    (void)state;
    struct timer timer = {.fire = on_fire};
    const uint64_t due = 3 * TURN_MS + 5 * WHEEL_TICK_MS;
    wheel_set(&wheel, &timer, due);
    for (uint64_t now = 0; now < due; now += WHEEL_TICK_MS)
        assert_int_equal(fired_by(now), 0);
    assert_int_equal(fired_by(due), 1);
}

static void
exactly_one_turn_ahead_is_not_now(void **state)
{
    (void)state;
    struct timer timer = {.fire = on_fire};
    wheel_set(&wheel, &timer, TURN_MS);
    assert_int_equal(fired_by(0), 0);
    assert_int_equal(fired_by(TURN_MS - 1), 0);
    assert_int_equal(fired_by(TURN_MS), 1);
}

static void
after_a_whole_turn_the_same_slot_is_searched_to_its_end(void **state)
{
    (void)state;
    struct timer later = {.fire = on_fire};
    struct timer timer = {.fire = on_fire};
    wheel_set(&wheel, &later, 9 * TURN_MS); // stands before the one that is due
    wheel_set(&wheel, &timer, TURN_MS);
    assert_int_equal(fired_by(TURN_MS), 1);
    assert_true(timer_is_set(&later));
}

static void
a_jump_over_many_turns_fires_all_that_is_due_once(void **state)
{
    (void)state;
    enum { TIMERS = 600 };
    static struct timer timers[TIMERS];
    for (unsigned i = 0; i < TIMERS; i++) {
        timers[i] = (struct timer){.fire = on_fire};
        wheel_set(&wheel, &timers[i], (uint64_t)i * 1000);
    }
    assert_int_equal(fired_by((uint64_t)1 << 60), TIMERS);
    assert_int_equal(wheel.count, 0);
}

static void
the_end_of_time_is_far_away(void **state)
{
    (void)state;
    struct timer timer = {.fire = on_fire};
    wheel_set(&wheel, &timer, UINT64_MAX);
    assert_int_equal(fired_by(UINT64_MAX - WHEEL_TICK_MS), 0);
    assert_int_equal(fired_by(UINT64_MAX), 0); // rounded up it lies behind the last slot
    wheel_unset(&wheel, &timer);
    assert_int_equal(wheel.count, 0);
}

static void
setting_again_moves_a_timer(void **state)
{
    (void)state;
    struct timer timer = {.fire = on_fire};
    wheel_set(&wheel, &timer, 1000);
    wheel_set(&wheel, &timer, 9000);
    assert_int_equal(wheel.count, 1);
    assert_int_equal(fired_by(8999), 0);
    assert_int_equal(fired_by(9000 + WHEEL_TICK_MS), 1);
}

static void
an_unset_timer_never_fires_and_may_be_unset_again(void **state)
{
    (void)state;
    struct timer timer = {.fire = on_fire};
    wheel_unset(&wheel, &timer);
    wheel_set(&wheel, &timer, 1000);
    wheel_unset(&wheel, &timer);
    assert_false(timer_is_set(&timer));
    wheel_unset(&wheel, &timer);
    assert_int_equal(wheel.count, 0);
    assert_int_equal(fired_by(TURN_MS), 0);
}

static void
a_clock_that_goes_back_fires_nothing_until_it_has_caught_up(void **state)
{
    (void)state;
    wheel_advance(&wheel, 50000);
    struct timer timer = {.fire = on_fire};
    wheel_set(&wheel, &timer, 49000);
    assert_int_equal(fired_by(10000), 0);
    struct timer second = {.fire = on_fire};
    wheel_set(&wheel, &second, 15000);
    assert_int_equal(fired_by(20000), 0);
    assert_int_equal(fired_by(50000), 2);
}

static struct timer pair[2];

static void
on_fire_unset_other(struct timer *timer, uint64_t now_ms)
{
    on_fire(timer, now_ms);
    wheel_unset(&wheel, timer == &pair[0] ? &pair[1] : &pair[0]);
}

static void
a_callback_may_unset_one_that_is_due_in_the_same_advance(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        pair[i] = (struct timer){.fire = on_fire_unset_other};
        wheel_set(&wheel, &pair[i], 1000);
    }
    assert_int_equal(fired_by(2000), 1);
    assert_int_equal(wheel.count, 0);
}

static void
on_fire_again_at_once(struct timer *timer, uint64_t now_ms)
{
    on_fire(timer, now_ms);
    wheel_set(&wheel, timer, 0);
}

static void
what_a_callback_sets_waits_for_the_next_advance(void **state)
{
    (void)state;
    struct timer timer = {.fire = on_fire_again_at_once};
    wheel_set(&wheel, &timer, 1000);
    assert_int_equal(fired_by(5000), 1);
    assert_int_equal(fired_by(5000), 2);
    assert_int_equal(fired_by(2 * TURN_MS), 3);
    assert_int_equal(wheel.count, 1);
}

static void
on_fire_free_self(struct timer *timer, uint64_t now_ms)
{
    on_fire(timer, now_ms);
    free(timer);
}

static void
a_callback_may_free_its_timer(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 10; i++) {
        struct timer *timer = calloc(1, sizeof(*timer));
        assert_non_null(timer);
        timer->fire = on_fire_free_self;
        wheel_set(&wheel, timer, i * 20);
    }
    assert_int_equal(fired_by(1000), 10);
}

// The model: every timer in a plain array.
enum { MODEL_TIMERS = 96, MODEL_STEPS = 40000 };

struct model_timer {
    struct timer timer; // first: the callback gets here from it
    uint64_t due_ms;
    uint64_t set_in; // the advance during which it was set, or 0 for outside of any
    bool is_set;
};

static struct model_timer *model[MODEL_TIMERS];
static struct rng model_rng;
static uint64_t model_now;
static uint64_t model_advance; // number of the one going on
static bool model_is_advancing;
static unsigned model_fired;

static bool
is_due(const struct model_timer *timer, uint64_t now_ms)
{
    uint64_t rounded = (timer->due_ms + WHEEL_TICK_MS - 1) / WHEEL_TICK_MS * WHEEL_TICK_MS;
    return rounded <= now_ms;
}

static void on_model_fire(struct timer *timer, uint64_t now_ms);

static uint64_t
random_due(void)
{
    switch (rng_below(&model_rng, 6)) {
    case 0:
        return rng_below(&model_rng, model_now + 1); // past
    case 1:
        return model_now;
    case 2:
        return model_now + rng_below(&model_rng, 3 * WHEEL_TICK_MS);
    case 3:
        return model_now + rng_below(&model_rng, TURN_MS);
    case 4:
        return (model_now / WHEEL_TICK_MS + rng_below(&model_rng, 2 * WHEEL_SLOTS)) * WHEEL_TICK_MS;
    default:
        return model_now + rng_below(&model_rng, 20 * TURN_MS);
    }
}

static void
random_change(void)
{
    struct model_timer *entry = model[rng_below(&model_rng, MODEL_TIMERS)];
    if (rng_below(&model_rng, 3) == 0) {
        wheel_unset(&wheel, &entry->timer);
        entry->is_set = false;
        return;
    }
    entry->due_ms = random_due();
    entry->is_set = true;
    entry->set_in = model_is_advancing ? model_advance : 0;
    wheel_set(&wheel, &entry->timer, entry->due_ms);
}

static struct model_timer *
new_model_timer(void)
{
    struct model_timer *entry = calloc(1, sizeof(*entry));
    assert_non_null(entry);
    entry->timer.fire = on_model_fire;
    return entry;
}

static void
on_model_fire(struct timer *timer, uint64_t now_ms)
{
    size_t i = 0;
    while (i < MODEL_TIMERS && &model[i]->timer != timer)
        i++;
    assert_true(i < MODEL_TIMERS);
    struct model_timer *entry = model[i];
    assert_int_equal(now_ms, model_now);
    assert_false(timer_is_set(timer));
    assert_true(entry->is_set);
    assert_true(is_due(entry, now_ms));
    assert_true(entry->set_in != model_advance);
    entry->is_set = false;
    model_fired++;
    if (rng_below(&model_rng, 4) == 0) {
        free(entry);
        model[i] = new_model_timer();
    }
    for (uint64_t n = rng_below(&model_rng, 3); n > 0; n--)
        random_change();
}

static void
advance_and_compare(void)
{
    static const uint64_t steps[] = {1,       WHEEL_TICK_MS,    1000,
                                     TURN_MS, 3 * TURN_MS + 17, 50 * TURN_MS};
    // Mostly small steps: a large one empties the wheel.
    uint64_t kind = rng_below(&model_rng, 100);
    size_t step = kind < 60 ? 1 : kind < 80 ? 0 : kind < 95 ? 2 : kind < 97 ? 3 : kind < 99 ? 4 : 5;
    model_now += rng_below(&model_rng, steps[step] + 1);
    model_advance++;
    model_is_advancing = true;
    wheel_advance(&wheel, model_now);
    model_is_advancing = false;
    uint64_t set = 0;
    for (size_t i = 0; i < MODEL_TIMERS; i++) {
        const struct model_timer *entry = model[i];
        assert_int_equal(timer_is_set(&entry->timer), entry->is_set);
        if (entry->is_set && is_due(entry, model_now))
            assert_int_equal(entry->set_in, model_advance); // all others have fired
        set += entry->is_set;
    }
    assert_int_equal(wheel.count, set);
    assert_int_equal(wheel.done_tick, model_now / WHEEL_TICK_MS); // no slot looked at twice
}

static void
the_wheel_does_what_a_searched_list_does(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        rng_seed(&model_rng, seed);
        model_now = rng_below(&model_rng, 1000000);
        model_advance = 0;
        model_fired = 0;
        wheel_init(&wheel, model_now);
        for (size_t i = 0; i < MODEL_TIMERS; i++)
            model[i] = new_model_timer();
        for (int step = 0; step < MODEL_STEPS / 5; step++) {
            if (rng_below(&model_rng, 2) == 0)
                advance_and_compare();
            else
                random_change();
        }
        assert_true(model_fired > 1000); // the test has tested something
        for (size_t i = 0; i < MODEL_TIMERS; i++)
            free(model[i]);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_timer_fires_at_its_due_time_rounded_up_to_a_slot, start_fresh),
        cmocka_unit_test_setup(a_timer_due_on_a_slot_fires_at_that_very_time, start_fresh),
        cmocka_unit_test_setup(a_wheel_may_start_at_any_time, start_fresh),
        cmocka_unit_test_setup(a_timer_set_for_the_past_fires_on_the_next_advance, start_fresh),
        cmocka_unit_test_setup(a_timer_further_than_a_turn_waits_for_its_own_turn, start_fresh),
        cmocka_unit_test_setup(exactly_one_turn_ahead_is_not_now, start_fresh),
        cmocka_unit_test_setup(after_a_whole_turn_the_same_slot_is_searched_to_its_end,
                               start_fresh),
        cmocka_unit_test_setup(a_jump_over_many_turns_fires_all_that_is_due_once, start_fresh),
        cmocka_unit_test_setup(the_end_of_time_is_far_away, start_fresh),
        cmocka_unit_test_setup(setting_again_moves_a_timer, start_fresh),
        cmocka_unit_test_setup(an_unset_timer_never_fires_and_may_be_unset_again, start_fresh),
        cmocka_unit_test_setup(a_clock_that_goes_back_fires_nothing_until_it_has_caught_up,
                               start_fresh),
        cmocka_unit_test_setup(a_callback_may_unset_one_that_is_due_in_the_same_advance,
                               start_fresh),
        cmocka_unit_test_setup(what_a_callback_sets_waits_for_the_next_advance, start_fresh),
        cmocka_unit_test_setup(a_callback_may_free_its_timer, start_fresh),
        cmocka_unit_test_setup(the_wheel_does_what_a_searched_list_does, start_fresh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
