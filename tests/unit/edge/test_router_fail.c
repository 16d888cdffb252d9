// test_router_fail.c: whatever fails, a send has exactly one outcome, and a true one.
#include <string.h>

#include "proto/subject.h"
#include "tests/unit/edge/router_rig.h"

// Nobody listens, nothing leaves.

static void
an_unheard_batch_is_tried_elsewhere(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    know(rig, alice, "bob", NODE_B);
    say_send(alice, 5, "bob", "hi");
    rig_turn_end(rig);
    char node[NODE_ID_SIZE];
    uint32_t batch;
    assert_true(subject_unheard_read(rig->bus.parcels[0].reply, node, &batch));
    assert_string_equal(node, NODE_B);
    rig_unheard(rig, NODE_B, batch);
    bus_forget(&rig->bus);
    answer_nodes(call_of(&rig->store, CALL_RESOLVE), 2, NODE_B, NODE_C);
    answer_lease(call_of(&rig->store, CALL_READ_NODE), true);
    rig_turn_end(rig);
    rig_receipt(rig, NODE_C, rig_envelope_to(rig, NODE_C)->ref, 1);
    expect_sent(alice, 5, 1);
    expect_idle(rig);
}

static void
an_edge_that_has_its_lease_but_does_not_listen_is_no_route(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    know(rig, alice, "bob", NODE_B);
    say_send(alice, 5, "bob", "hi");
    rig_turn_end(rig);
    rig_unheard(rig, NODE_B, 2);
    answer_nodes(call_of(&rig->store, CALL_RESOLVE), 1, NODE_B);
    answer_lease(call_of(&rig->store, CALL_READ_NODE), true);
    rig_turn_end(rig);
    expect_rejected(alice, 5, REASON_NO_ROUTE);
    bus_forget(&rig->bus);
    say_send(alice, 6, "bob", "still not");
    rig_turn_end(rig);
    expect_rejected(alice, 6, REASON_NO_ROUTE);
    assert_int_equal(rig->bus.count, 0);
    // Its next heartbeat is enough: nothing has to be read again.
    rig_heartbeat(rig, NODE_B);
    say_send(alice, 7, "bob", "back");
    rig_turn_end(rig);
    rig_receipt(rig, NODE_B, rig_envelope_to(rig, NODE_B)->ref, 1);
    expect_sent(alice, 7, 1);
}

static void
a_route_to_where_nobody_listens_is_read_again_each_second(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    know(rig, alice, "bob", NODE_B);
    know(rig, alice, "carol", NODE_B);
    rig->edge.now_ms += PEER_LEASE_BELIEF_MS - 1;
    size_t read = rig->store.made[CALL_RESOLVE];
    peers_find(&rig->edge.peers, NODE_B)->is_unheard = true; // by somebody else's message
    say_send(alice, 5, "bob", "hi");
    rig_turn_end(rig);
    expect_rejected(alice, 5, REASON_NO_ROUTE);
    assert_int_equal(rig->store.made[CALL_RESOLVE], read);
    rig->edge.now_ms += 1;
    bus_forget(&rig->bus);
    say_send(alice, 6, "bob", "hi");
    answer_nodes(call_of(&rig->store, CALL_RESOLVE), 1, NODE_C);
    rig_turn_end(rig);
    rig_receipt(rig, NODE_C, rig_envelope_to(rig, NODE_C)->ref, 1);
    expect_sent(alice, 6, 1);
    // Without the bus there is nowhere else.
    rig->bus.is_up = false;
    say_send(alice, 7, "carol", "hi");
    rig_turn_end(rig);
    expect_rejected(alice, 7, REASON_NO_ROUTE);
    expect_idle(rig);
}

static void
an_edge_that_lost_its_lease_is_offline(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    know(rig, alice, "bob", NODE_B);
    say_send(alice, 5, "bob", "hi");
    rig_turn_end(rig);
    rig_unheard(rig, NODE_B, 2);
    answer_nodes(call_of(&rig->store, CALL_RESOLVE), 1, NODE_B);
    answer_lease(call_of(&rig->store, CALL_READ_NODE), false);
    rig_turn_end(rig);
    expect_rejected(alice, 5, REASON_OFFLINE);
}

static void
a_publish_refused_for_want_of_room_is_busy(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    know(rig, alice, "bob", NODE_B);
    rig->bus.fail_in = 1;
    rig->bus.fail_error = SY_EFULL;
    say_send(alice, 5, "bob", "hi");
    rig_turn_end(rig);
    expect_rejected(alice, 5, REASON_BUSY);
    expect_idle(rig);
}

static void
a_publish_that_cannot_leave_is_no_route(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    know(rig, alice, "bob", NODE_B);
    rig->bus.is_up = false;
    say_send(alice, 5, "bob", "hi");
    rig_turn_end(rig);
    expect_rejected(alice, 5, REASON_NO_ROUTE);
    expect_idle(rig);
    assert_int_equal(calls_open_of(&rig->store, CALL_RESOLVE), 0);
}

// The bus notices at the publish: one after another fails until none does.
static void
whichever_publish_fails_each_send_has_one_outcome(void **state)
{
    int errors[] = {SY_EFULL, SY_EDOWN, SY_EINVAL};
    (void)state;
    for (size_t e = 0; e < 3; e++) {
        bool has_failed = true;
        for (size_t n = 1; has_failed; n++) {
            struct rig *rig = rig_new();
            struct conn *alice = begin(rig);
            know(rig, alice, "bob", NODE_B);
            know(rig, alice, "carol", NODE_C);
            rig->bus.fail_in = n;
            rig->bus.fail_error = errors[e];
            for (uint64_t id = 1; id <= 4; id++) {
                say_send(alice, id, id % 2 != 0 ? "bob" : "carol", "hi");
                if (id == 2)
                    rig_turn_end(rig);
            }
            rig_turn_end(rig);
            has_failed = rig->bus.fail_in == 0;
            while (calls_open_of(&rig->store, CALL_RESOLVE) > 0)
                answer_nodes(call_of(&rig->store, CALL_RESOLVE), 0);
            rig_turn_end(rig);
            rig_pass(rig, 6000);
            for (uint64_t seen = 0; seen != 0xf;) {
                uint64_t bit =
                    1u << (event_take(alice, SWITCHYARD__V1__EVENT__EVENT_OUTCOME)->id - 1);
                assert_int_equal(seen & bit, 0);
                seen |= bit;
            }
            expect_nothing(alice);
            expect_idle(rig);
            rig_free(rig);
        }
    }
}

static void
a_batch_that_fails_costs_only_its_own_legs(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    know(rig, alice, "bob", NODE_B);
    uint64_t refs[3];
    for (uint64_t id = 1; id <= 3; id++) {
        say_send(alice, id, "bob", "hi");
        say_send(alice, id + 10, "bob", "hi");
        rig->bus.error = id == 2 ? SY_EFULL : 0;
        rig_turn_end(rig);
        if (id != 2)
            refs[id - 1] = bus_frame(&rig->bus, rig->bus.count - 1)->items[0]->envelope->ref;
    }
    expect_rejected(alice, 2, REASON_BUSY); // in their order
    expect_rejected(alice, 12, REASON_BUSY);
    expect_nothing(alice);
    rig_receipt(rig, NODE_B, refs[2], 1);
    expect_sent(alice, 3, 1);
    rig_receipt(rig, NODE_B, refs[0], 1);
    expect_sent(alice, 1, 1);
}

static void
unheard_twice_is_as_once(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    know(rig, alice, "bob", NODE_B);
    say_send(alice, 5, "bob", "hi");
    rig_turn_end(rig);
    rig_unheard(rig, NODE_B, 1); // an older one
    assert_int_equal(calls_open_of(&rig->store, CALL_RESOLVE), 0);
    rig_unheard(rig, NODE_B, 2);
    rig_unheard(rig, NODE_B, 2);
    rig_unheard(rig, NODE_C, 2); // another's
    assert_int_equal(calls_open_of(&rig->store, CALL_RESOLVE), 1);
}

static void
numbers_of_batches_may_wrap(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    know(rig, alice, "bob", NODE_B);
    struct peer *peer = peers_find(&rig->edge.peers, NODE_B);
    peer->batch_number = UINT32_MAX - 1;
    uint64_t refs[4];
    for (uint64_t id = 0; id < 4; id++) {
        say_send(alice, id + 1, "bob", "hi");
        rig_turn_end(rig);
        refs[id] = bus_frame(&rig->bus, rig->bus.count - 1)->items[0]->envelope->ref;
    }
    assert_non_null(strstr(rig->bus.parcels[2].reply, ".1")); // never 0
    // The last before the end of numbers fails: those on both sides go on.
    router_batch_failed(&rig->edge, peer, UINT32_MAX, REASON_BUSY);
    expect_rejected(alice, 2, REASON_BUSY);
    expect_nothing(alice);
    router_batch_failed(&rig->edge, peer, UINT32_MAX - 1, REASON_BUSY);
    expect_rejected(alice, 1, REASON_BUSY);
    rig_receipt(rig, NODE_B, refs[2], 1);
    rig_receipt(rig, NODE_B, refs[3], 1);
    expect_sent(alice, 3, 1);
    expect_sent(alice, 4, 1);
}

// Time.

static void
a_send_without_receipt_times_out_within_five_seconds(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    know(rig, alice, "bob", NODE_B);
    say_send(alice, 5, "bob", "hi");
    rig_turn_end(rig);
    rig_pass(rig, SEND_TTL_DEFAULT_MS + SEND_GRACE_MS - 1);
    expect_nothing(alice);
    rig_pass(rig, 1 + WHEEL_TICK_MS);
    expect_rejected(alice, 5, REASON_TIMEOUT);
    expect_idle(rig);
    // The receipt that comes now meets nobody.
    rig_receipt(rig, NODE_B, rig_envelope_to(rig, NODE_B)->ref, 1);
    expect_nothing(alice);
    assert_int_equal(rig->edge.counters.receipts_late, 1);
    assert_true(SEND_TTL_MAX_MS + SEND_GRACE_MS + WHEEL_TICK_MS < 5000);
}

static void
what_had_left_when_the_bus_was_lost_times_out_at_once(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    know(rig, alice, "bob", NODE_B);
    say_send(alice, 5, "bob", "it may have arrived");
    rig_turn_end(rig);
    say_send(alice, 6, "bob", "it cannot have");
    rig->bus.is_up = false;
    edge_on_bus_state(&rig->edge, false, "test");
    expect_rejected(alice, 5, REASON_TIMEOUT);
    expect_nothing(alice);
    rig_turn_end(rig);
    expect_rejected(alice, 6, REASON_NO_ROUTE);
    expect_idle(rig);
}

static void
a_client_that_is_behind_is_told_at_the_deadlines(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    know(rig, alice, "bob", NODE_B);
    say_send(alice, 5, "bob", "hi");
    rig_turn_end(rig);
    rig->bus.is_up = false;
    alice->backlog = ROUTER_LOST_BACKLOG + 1;
    edge_on_bus_state(&rig->edge, false, "test");
    expect_nothing(alice);
    rig_pass(rig, SEND_TTL_DEFAULT_MS + SEND_GRACE_MS + WHEEL_TICK_MS);
    expect_rejected(alice, 5, REASON_TIMEOUT);
    expect_idle(rig);
}

static void
many_that_had_left_end_in_slices(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    know(rig, alice, "bob", NODE_B);
    rig->edge.limits.commands_per_second = 1000000;
    rig->edge.limits.pending_bytes = 64 << 20;
    rig_pass(rig, 1000);
    for (unsigned i = 0; i < ROUTER_LOST_SLICE; i++)
        say_send(alice, 0, "bob", "");
    say_send(alice, 7, "bob", "last");
    rig_turn_end(rig);
    size_t most = rig->edge.router.pending;
    assert_true(most > ROUTER_LOST_SLICE);
    rig->bus.is_up = false;
    edge_on_bus_state(&rig->edge, false, "test");
    assert_in_range(rig->edge.router.pending, 1, most - 1);
    // What leaves by a new connection meanwhile waits for its own receipt.
    rig->bus.is_up = true;
    edge_on_bus_state(&rig->edge, true, "test");
    bus_forget(&rig->bus);
    say_send(alice, 8, "bob", "by the new one");
    answer_nodes(call_for(&rig->store, CALL_RESOLVE, "bob"), 1, NODE_B);
    rig_turn_end(rig);
    rig_pass(rig, WHEEL_TICK_MS);
    rig_pass(rig, WHEEL_TICK_MS);
    expect_rejected(alice, 7, REASON_TIMEOUT);
    rig_receipt(rig, NODE_B, rig_envelope_to(rig, NODE_B)->ref, 1);
    expect_sent(alice, 8, 1);
    expect_idle(rig);
}

static void
a_send_whose_directory_read_hangs_has_expired(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    say_send(alice, 5, "bob", "hi");
    rig_pass(rig, SEND_TTL_DEFAULT_MS + SEND_GRACE_MS + WHEEL_TICK_MS);
    expect_rejected(alice, 5, REASON_EXPIRED);
    expect_idle(rig);
    answer_nodes(call_of(&rig->store, CALL_RESOLVE), 1, NODE_B); // late: the route serves others
    rig_turn_end(rig);
    assert_int_equal(rig->bus.count, 0);
    expect_nothing(alice);
    say_send(alice, 6, "bob", "hi");
    rig_turn_end(rig);
    assert_int_equal(rig->bus.count, 1);
}

static void
an_answer_after_the_life_of_the_message_delivers_nothing(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    say_send(alice, 5, "bob", "hi");
    say_send(alice, 6, "carol", "hi");
    rig->edge.wall_ms += SEND_TTL_DEFAULT_MS - 1;
    answer_nodes(call_for(&rig->store, CALL_RESOLVE, "carol"), 1, NODE_B);
    rig->edge.wall_ms += 1;
    answer_nodes(call_for(&rig->store, CALL_RESOLVE, "bob"), 1, NODE_B);
    rig_turn_end(rig);
    expect_rejected(alice, 5, REASON_EXPIRED);
    assert_string_equal(rig_envelope_to(rig, NODE_B)->to[0], "carol"); // a millisecond before
}

static void
what_may_have_arrived_is_never_called_expired(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    say_send(alice, 5, "bob", "hi");
    answer_nodes(call_of(&rig->store, CALL_RESOLVE), 2, NODE_B, NODE_C);
    rig_turn_end(rig);
    size_t b = strstr(rig->bus.parcels[0].subject, NODE_B) != NULL ? 0 : 1;
    // Missed on one edge and looked up again, while the other says nothing.
    rig_receipt_miss(rig, NODE_B, bus_frame(&rig->bus, b)->items[0]->envelope->ref, 0, 0,
                     REASON_OFFLINE);
    rig_pass(rig, 5000);
    expect_rejected(alice, 5, REASON_TIMEOUT);
}

static void
routes_told_before_the_time_is_up_are_counted_in(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    say_send(alice, 5, "bob", "hi");
    rig->edge.now_ms += 4000; // a long turn: the wall clock was set before it
    answer_nodes(call_of(&rig->store, CALL_RESOLVE), 1, NODE_B);
    wheel_advance(&rig->edge.wheel, rig->edge.now_ms); // before the end of this turn
    expect_rejected(alice, 5, REASON_TIMEOUT);
    expect_idle(rig);
    rig_turn_end(rig);
    expect_nothing(alice);
}

// Receipts that are not for us.

static void
a_forged_or_stale_receipt_changes_nothing(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    know(rig, alice, "bob", NODE_B);
    say_send(alice, 5, "bob", "hi");
    rig_turn_end(rig);
    uint64_t ref = rig_envelope_to(rig, NODE_B)->ref;
    rig_receipt(rig, NODE_C, ref, 1);                // another edge's
    rig_receipt(rig, NODE_B, ref - (1ull << 32), 1); // an older use of the slot
    rig_receipt(rig, NODE_B, ref + (1ull << 32), 1); // a later one
    rig_receipt(rig, NODE_B, 0, 1);
    rig_receipt(rig, NODE_B, UINT64_MAX, 1);
    expect_nothing(alice);
    assert_int_equal(rig->edge.counters.receipts_late, 5);
    rig_receipt(rig, NODE_B, ref, 1);
    expect_sent(alice, 5, 1);
    rig_receipt(rig, NODE_B, ref, 1); // again
    expect_nothing(alice);
    assert_int_equal(rig->edge.counters.receipts_late, 6);
}

// Sessions that go.

static void
the_outcome_of_a_gone_client_is_told_to_nobody(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    struct conn *other = rig_login(rig, "other", "phone");
    know(rig, other, "bob", NODE_B);
    say_send(alice, 5, "bob", "hi");
    say_send(alice, 6, "unknown", "hi");
    rig_turn_end(rig);
    rig_hang_up(alice);
    assert_int_equal(rig->edge.router.pending, 2); // both go on
    rig_receipt(rig, NODE_B, rig_envelope_to(rig, NODE_B)->ref, 1);
    answer_nodes(call_for(&rig->store, CALL_RESOLVE, "unknown"), 1, NODE_C);
    bus_forget(&rig->bus);
    rig_turn_end(rig);
    rig_receipt(rig, NODE_C, rig_envelope_to(rig, NODE_C)->ref, 1);
    expect_idle(rig);
    assert_int_equal(rig->edge.counters.outcomes_sent, 3);
}

static void
a_client_that_cannot_take_its_outcome_is_closed_once(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    know(rig, alice, "bob", NODE_B);
    for (uint64_t id = 1; id <= 3; id++)
        say_send(alice, id, "bob", "hi");
    alice->full_in = 1;
    rig->bus.error = SY_EFULL;
    rig_turn_end(rig); // three outcomes at once, the first closes
    expect_closed(alice, CLOSE_SLOW_READER);
    expect_nothing(alice);
    expect_idle(rig);
}

static void
id_0_wants_no_outcome(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    know(rig, alice, "bob", NODE_B);
    know(rig, alice, "nobody", NULL);
    say_send(alice, 0, "bob", "hi");
    say_send(alice, 0, "nobody", "hi");
    rig_turn_end(rig);
    rig_receipt(rig, NODE_B, rig_envelope_to(rig, NODE_B)->ref, 1);
    expect_nothing(alice);
    say_send(alice, 0, "", "malformed is told all the same");
    expect_failure(alice, 0, REASON_INVALID);
    expect_idle(rig);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(an_unheard_batch_is_tried_elsewhere),
        RIG_TEST(an_edge_that_has_its_lease_but_does_not_listen_is_no_route),
        RIG_TEST(a_route_to_where_nobody_listens_is_read_again_each_second),
        RIG_TEST(an_edge_that_lost_its_lease_is_offline),
        RIG_TEST(a_publish_refused_for_want_of_room_is_busy),
        RIG_TEST(a_publish_that_cannot_leave_is_no_route),
        cmocka_unit_test(whichever_publish_fails_each_send_has_one_outcome),
        RIG_TEST(a_batch_that_fails_costs_only_its_own_legs),
        RIG_TEST(unheard_twice_is_as_once),
        RIG_TEST(numbers_of_batches_may_wrap),
        RIG_TEST(a_send_without_receipt_times_out_within_five_seconds),
        RIG_TEST(what_had_left_when_the_bus_was_lost_times_out_at_once),
        RIG_TEST(a_client_that_is_behind_is_told_at_the_deadlines),
        RIG_TEST(many_that_had_left_end_in_slices),
        RIG_TEST(a_send_whose_directory_read_hangs_has_expired),
        RIG_TEST(an_answer_after_the_life_of_the_message_delivers_nothing),
        RIG_TEST(what_may_have_arrived_is_never_called_expired),
        RIG_TEST(routes_told_before_the_time_is_up_are_counted_in),
        RIG_TEST(a_forged_or_stale_receipt_changes_nothing),
        RIG_TEST(the_outcome_of_a_gone_client_is_told_to_nobody),
        RIG_TEST(a_client_that_cannot_take_its_outcome_is_closed_once),
        RIG_TEST(id_0_wants_no_outcome),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
