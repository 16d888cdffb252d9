// test_redis_clock.c: which readings of Redis's clock say that it jumped.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sweeper/redis_clock.h"

#define NOW 1000000
#define WALL 1795385241823

// Read at `ms` after NOW within `width_ms`, when the clock had gone on by `moved_ms`.
static struct store_clock
reading(uint64_t ms, uint64_t width_ms, int64_t moved_ms)
{
    return (struct store_clock){.redis_ms = (uint64_t)(WALL + moved_ms),
                                .asked_ms = NOW + ms,
                                .answered_ms = NOW + ms + width_ms};
}

static int64_t
look(struct redis_clock *clock, uint64_t ms, uint64_t width_ms, int64_t moved_ms)
{
    struct store_clock now = reading(ms, width_ms, moved_ms);
    return redis_clock_look(clock, &now);
}

static void
the_first_reading_is_no_jump(void **state)
{
    (void)state;
    struct redis_clock clock = {0};
    assert_int_equal(look(&clock, 0, 0, 500000), 0);
}

static void
two_seconds_are_no_jump_and_a_millisecond_more_is_one(void **state)
{
    (void)state;
    const int64_t sides[] = {1, -1};
    for (int i = 0; i < 2; i++) {
        struct redis_clock clock = {0};
        look(&clock, 0, 0, 0);
        assert_int_equal(look(&clock, 500, 0, 500 + sides[i] * CLOCK_JUMP_MS), 0);
        clock = (struct redis_clock){0};
        look(&clock, 0, 0, 0);
        int64_t jump = sides[i] * (CLOCK_JUMP_MS + 1);
        assert_int_equal(look(&clock, 500, 0, 500 + jump), jump);
        assert_int_equal(look(&clock, 1000, 0, 1000 + jump), 0); // told once
    }
}

static void
a_round_trip_may_explain_a_difference(void **state)
{
    (void)state;
    struct redis_clock clock = {0};
    look(&clock, 0, 0, 0);
    // Asked at 500, answered at 3500: Redis may have read its clock at any time between.
    assert_int_equal(look(&clock, 500, 3000, 500 - CLOCK_JUMP_MS), 0);
    assert_int_equal(look(&clock, 500, 3000, 3500 + CLOCK_JUMP_MS), 0);
    assert_int_equal(look(&clock, 500, 3000, 3501 + CLOCK_JUMP_MS), CLOCK_JUMP_MS + 1);
}

static void
a_pause_of_ours_is_no_jump_and_hides_none(void **state)
{
    (void)state;
    struct redis_clock clock = {0};
    look(&clock, 0, 0, 0);
    assert_int_equal(look(&clock, 60000, 1, 60000), 0);
    assert_int_equal(look(&clock, 120000, 1, 180000), 60000 - 1);
}

static void
many_small_steps_are_a_jump(void **state)
{
    (void)state;
    struct redis_clock clock = {0};
    look(&clock, 0, 0, 0);
    assert_int_equal(look(&clock, 500, 0, 500 + 900), 0);
    assert_int_equal(look(&clock, 1000, 0, 1000 + 1800), 0);
    assert_int_equal(look(&clock, 1500, 0, 1500 + 2700), 2700);
}

static void
a_clock_that_runs_a_little_fast_is_none_ever(void **state)
{
    (void)state;
    struct redis_clock clock = {0};
    for (uint64_t ms = 0; ms < 3600 * 1000; ms += 500)
        assert_int_equal(look(&clock, ms, 1, (int64_t)(ms + ms / 1000)), 0); // 1000 ppm
}

static void
a_wide_reading_gives_way_to_a_narrow_one(void **state)
{
    (void)state;
    struct redis_clock clock = {0};
    look(&clock, 0, 5000, 2500);
    assert_int_equal(look(&clock, 5500, 1, 5500), 0);
    assert_int_equal(look(&clock, 6000, 1, 6000 + 2500), 2500 - 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_reading_is_no_jump),
        cmocka_unit_test(two_seconds_are_no_jump_and_a_millisecond_more_is_one),
        cmocka_unit_test(a_round_trip_may_explain_a_difference),
        cmocka_unit_test(a_pause_of_ours_is_no_jump_and_hides_none),
        cmocka_unit_test(many_small_steps_are_a_jump),
        cmocka_unit_test(a_clock_that_runs_a_little_fast_is_none_ever),
        cmocka_unit_test(a_wide_reading_gives_way_to_a_narrow_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
