// test_pause.c: what an edge does after it stood still. No time passes but in the arguments.
#include <string.h>

#include "tests/unit/edge/fake.h"

enum { GEN = 7 };

// The clocks go on by `ms` in one step, as after SIGCONT.
static bool
stand_still(struct rig *rig, uint64_t ms)
{
    return edge_set_clocks(&rig->edge, rig->edge.now_ms + ms, rig->edge.wall_ms + ms);
}

// An edge that holds its lease, renewed just now, and whose clocks have been read.
static void
hold_lease(struct rig *rig)
{
    stand_still(rig, 0);
    lease_renew(&rig->edge);
    answer_beat(call_of(&rig->store, CALL_HEARTBEAT), true, GEN);
}

static void
renew(struct rig *rig)
{
    answer_beat(call_of(&rig->store, CALL_HEARTBEAT), true, GEN);
}

static void
verify_next(struct rig *rig, enum store_verdict verdict)
{
    struct call *call = call_of(&rig->store, CALL_VERIFY);
    answer_verified(call, verdict, call->link.epoch, NULL);
}

static bool
is_held_after_turn(struct rig *rig)
{
    rig_turn_end(rig);
    return edge_is_holding(&rig->edge);
}

// The rules.

static void
a_second_between_two_readings_is_a_pause(void **state)
{
    (void)state;
    struct pause pause = {0};
    assert_int_equal(pause_look(&pause, 500000, 900000), 0); // the first says nothing
    assert_int_equal(pause_look(&pause, 500999, 900999), 0);
    assert_int_equal(pause_look(&pause, 501999, 901999), 1000);
    assert_int_equal(pause_look(&pause, 501999, 901999), 0);
}

static void
the_clock_that_went_further_counts_and_one_that_went_back_does_not(void **state)
{
    (void)state;
    struct pause pause = {0};
    pause_look(&pause, 500000, 900000);
    assert_int_equal(pause_look(&pause, 500010, 930000), 30000); // a suspended machine
    assert_int_equal(pause_look(&pause, 500020, 100), 0);
    assert_int_equal(pause_look(&pause, 502020, 90), 2000);
}

static void
a_pause_outlasts_what_was_left_of_the_lease_or_a_whole_one(void **state)
{
    (void)state;
    assert_false(pause_outlasts(7999, 8000));
    assert_true(pause_outlasts(8000, 8000));
    assert_false(pause_outlasts(LEASE_MS - 1, 0));
    assert_true(pause_outlasts(LEASE_MS, 0));
}

// An edge.

static void
a_pause_within_the_lease_holds_nothing(void **state)
{
    struct rig *rig = *state;
    hold_lease(rig);
    assert_true(stand_still(rig, 9999));
    assert_false(edge_is_holding(&rig->edge));
    assert_int_equal(rig->edge.counters.pauses, 1);
    assert_int_equal(rig->store.made[CALL_HEARTBEAT], 1);
}

static void
after_a_longer_one_output_waits_for_the_lease_and_every_link(void **state)
{
    struct rig *rig = *state;
    const char *why;
    hold_lease(rig);
    rig_login(rig, "alice", "phone");
    rig_login(rig, "bob", "phone");
    assert_true(stand_still(rig, 10000));
    assert_true(is_held_after_turn(rig));
    assert_false(edge_is_ready(&rig->edge, &why));
    assert_string_equal(why, "verifying its links after a pause");
    assert_int_equal(calls_open_of(&rig->store, CALL_VERIFY), 0); // the lease first
    renew(rig);
    assert_true(is_held_after_turn(rig));
    assert_int_equal(calls_open_of(&rig->store, CALL_VERIFY), 2); // at once, not at a tick
    verify_next(rig, STORE_KEPT);
    assert_true(is_held_after_turn(rig));
    verify_next(rig, STORE_KEPT);
    assert_false(is_held_after_turn(rig));
    assert_true(edge_is_ready(&rig->edge, &why));
}

static void
every_link_is_verified_whatever_redis_says_of_the_lease(void **state)
{
    struct rig *rig = *state;
    hold_lease(rig);
    rig_login(rig, "alice", "phone");
    stand_still(rig, 10000);
    answer_beat(call_of(&rig->store, CALL_HEARTBEAT), false, GEN); // it was not lost
    verify_next(rig, STORE_KEPT);
    assert_false(is_held_after_turn(rig));
}

static void
who_was_replaced_meanwhile_is_closed_before_anything_leaves(void **state)
{
    struct rig *rig = *state;
    hold_lease(rig);
    struct conn *alice = rig_login(rig, "alice", "phone");
    stand_still(rig, 60000);
    renew(rig);
    verify_next(rig, STORE_SUPERSEDED);
    expect_closed(alice, CLOSE_REPLACED);
    assert_true(edge_is_holding(&rig->edge));
    assert_false(is_held_after_turn(rig));
}

static void
a_renewal_asked_for_before_the_pause_proves_nothing(void **state)
{
    struct rig *rig = *state;
    hold_lease(rig);
    rig_login(rig, "alice", "phone");
    lease_renew(&rig->edge);
    stand_still(rig, 10000);
    renew(rig); // of before
    assert_int_equal(calls_open_of(&rig->store, CALL_HEARTBEAT), 1);
    assert_true(is_held_after_turn(rig));
    answer_beat(call_of(&rig->store, CALL_HEARTBEAT), false, GEN);
    while (calls_open_of(&rig->store, CALL_VERIFY) > 0)
        verify_next(rig, STORE_KEPT);
    assert_false(is_held_after_turn(rig));
}

static void
without_redis_the_hold_ends_after_five_seconds(void **state)
{
    struct rig *rig = *state;
    hold_lease(rig);
    rig_login(rig, "alice", "phone");
    stand_still(rig, 10000);
    store_goes_down(rig);
    for (uint64_t ms = 500; ms < PAUSE_HOLD_MS; ms += 500) {
        stand_still(rig, 500);
        assert_true(is_held_after_turn(rig));
    }
    stand_still(rig, 499);
    assert_true(is_held_after_turn(rig));
    stand_still(rig, 1);
    assert_false(is_held_after_turn(rig));
    // What was in doubt still is.
    store_comes_up(rig);
    renew(rig);
    assert_int_equal(calls_open_of(&rig->store, CALL_VERIFY), 1);
}

static void
once_the_lease_is_held_the_links_get_five_seconds_of_their_own(void **state)
{
    struct rig *rig = *state;
    hold_lease(rig);
    rig_login(rig, "alice", "phone");
    stand_still(rig, 10000);
    for (int i = 0; i < 9; i++)
        stand_still(rig, 500);
    renew(rig);
    assert_true(is_held_after_turn(rig));
    for (int i = 0; i < 9; i++) {
        stand_still(rig, 500);
        assert_true(is_held_after_turn(rig));
    }
    stand_still(rig, 500);
    assert_false(is_held_after_turn(rig));
}

static void
envelopes_of_a_hold_are_published_when_it_ends(void **state)
{
    struct rig *rig = *state;
    hold_lease(rig);
    struct conn *alice = rig_login(rig, "alice", "phone");
    rig_heartbeat(rig, NODE_B);
    stand_still(rig, 10000);
    bus_forget(&rig->bus);
    say_send(alice, 1, "bob", "hi");
    rig_heartbeat(rig, NODE_B);
    answer_nodes(call_of(&rig->store, CALL_RESOLVE), 1, NODE_B);
    assert_true(is_held_after_turn(rig));
    assert_int_equal(bus_count_to(&rig->bus, NODE_B), 0);
    renew(rig);
    verify_next(rig, STORE_KEPT);
    assert_false(is_held_after_turn(rig));
    assert_int_equal(bus_count_to(&rig->bus, NODE_B), 1);
}

static void
who_could_not_be_heard_is_not_called_silent(void **state)
{
    struct rig *rig = *state;
    hold_lease(rig);
    struct conn *alice = rig_login(rig, "alice", "phone");
    stand_still(rig, 120000);
    rig_pass(rig, 0);
    assert_false(alice->is_closing);
    rig_pass(rig, rig->edge.limits.ping_ms - 1);
    assert_int_equal(alice->pings, 0);
    rig_pass(rig, 2 * WHEEL_TICK_MS);
    assert_int_equal(alice->pings, 1);
    rig_pass(rig, rig->edge.limits.ping_ms - 3 * WHEEL_TICK_MS);
    assert_false(alice->is_closing);
    rig_pass(rig, 3 * WHEEL_TICK_MS);
    expect_closed(alice, CLOSE_SILENT);
}

static void
an_edge_that_never_had_a_lease_holds_nothing(void **state)
{
    struct rig *rig = *state;
    stand_still(rig, 0);
    assert_true(stand_still(rig, 60000));
    assert_false(edge_is_holding(&rig->edge));
}

static void
an_edge_alone_holds_nothing(void **state)
{
    struct rig *rig = *state;
    stand_still(rig, 0);
    assert_true(stand_still(rig, 60000));
    assert_false(edge_is_holding(&rig->edge));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_second_between_two_readings_is_a_pause),
        cmocka_unit_test(the_clock_that_went_further_counts_and_one_that_went_back_does_not),
        cmocka_unit_test(a_pause_outlasts_what_was_left_of_the_lease_or_a_whole_one),
        RIG_TEST(a_pause_within_the_lease_holds_nothing),
        RIG_TEST(after_a_longer_one_output_waits_for_the_lease_and_every_link),
        RIG_TEST(every_link_is_verified_whatever_redis_says_of_the_lease),
        RIG_TEST(who_was_replaced_meanwhile_is_closed_before_anything_leaves),
        RIG_TEST(a_renewal_asked_for_before_the_pause_proves_nothing),
        RIG_TEST(without_redis_the_hold_ends_after_five_seconds),
        RIG_TEST(once_the_lease_is_held_the_links_get_five_seconds_of_their_own),
        RIG_TEST(envelopes_of_a_hold_are_published_when_it_ends),
        RIG_TEST(who_could_not_be_heard_is_not_called_silent),
        RIG_TEST(an_edge_that_never_had_a_lease_holds_nothing),
        ALONE_TEST(an_edge_alone_holds_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
