// test_router.c: from a Send to its connections: here, elsewhere, and once more.
#include <string.h>

#include "tests/unit/edge/router_rig.h"

// Here.

static void
a_user_here_gets_the_message_and_the_sender_the_outcome(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    struct conn *bob = rig_login(rig, "bob", "phone");
    say_send(alice, 5, "bob", "hi");
    expect_message(bob, "alice", "hi"); // at once
    expect_nothing(alice);              // not all is known
    answer_nodes(call_of(&rig->store, CALL_RESOLVE), 1, NODE_A);
    rig_turn_end(rig);
    expect_sent(alice, 5, 1);
    expect_nothing(alice);
    expect_idle(rig);
    assert_int_equal(rig->edge.counters.messages_local, 1);
}

static void
all_devices_get_it_in_their_own_format(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    struct conn *phone = rig_login(rig, "bob", "phone");
    struct conn *web = rig_login_as(rig, CODEC_JSON, "bob", "web");
    say_send(alice, 5, "bob", "hi");
    expect_message(phone, "alice", "hi");
    expect_message(web, "alice", "hi");
    answer_links(call_of(&rig->store, CALL_RESOLVE), NULL, 0);
    expect_nothing(alice);
    rig_turn_end(rig);
    expect_sent(alice, 5, 2);
}

static void
only_the_named_device_gets_it_and_nobody_is_asked(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    struct conn *phone = rig_login(rig, "bob", "phone");
    struct conn *web = rig_login(rig, "bob", "web");
    say_send_device(alice, 5, "bob", "web", "hi");
    expect_message(web, "alice", "hi");
    expect_nothing(phone);
    expect_sent(alice, 5, 1);
    assert_int_equal(calls_open_of(&rig->store, CALL_RESOLVE), 0);
}

static void
alone_the_outcome_comes_at_once(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = rig_login(rig, "alice", "phone");
    struct conn *bob = rig_login(rig, "bob", "phone");
    say_send(alice, 5, "bob", "hi");
    expect_message(bob, "alice", "hi");
    expect_sent(alice, 5, 1);
    say_send(alice, 6, "nobody", "hi");
    expect_rejected(alice, 6, REASON_OFFLINE);
    expect_idle(rig);
}

static void
who_sends_to_himself_gets_message_and_outcome(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = rig_login(rig, "alice", "phone");
    say_send(alice, 5, "alice", "note");
    expect_message(alice, "alice", "note");
    expect_sent(alice, 5, 1);
}

static void
a_sender_whose_own_queue_is_full_ends_without_harm(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = rig_login(rig, "alice", "phone");
    alice->full_in = 1;
    say_send(alice, 5, "alice", "note");
    expect_closed(alice, CLOSE_SLOW_READER);
    expect_idle(rig);
}

static void
a_user_who_reads_too_slowly_is_closed_and_the_send_is_busy(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = rig_login(rig, "alice", "phone");
    struct conn *bob = rig_login(rig, "bob", "phone");
    bob->full_in = 1;
    say_send(alice, 5, "bob", "hi");
    expect_closed(bob, CLOSE_SLOW_READER);
    expect_rejected(alice, 5, REASON_BUSY);
    assert_int_equal(rig->edge.counters.messages_refused, 1);
}

static void
one_slow_device_does_not_stop_the_others(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = rig_login(rig, "alice", "phone");
    struct conn *devices[3];
    for (int i = 0; i < 3; i++)
        devices[i] = rig_login(rig, "bob", "");
    devices[1]->full_in = 1;
    say_send(alice, 5, "bob", "hi");
    expect_message(devices[0], "alice", "hi");
    expect_closed(devices[1], CLOSE_SLOW_READER);
    expect_message(devices[2], "alice", "hi");
    expect_sent(alice, 5, 2);
}

static void
a_session_still_logging_in_is_welcomed_and_gets_it(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    struct conn *bob = rig_connect(rig, CODEC_PROTOBUF, NULL);
    say_hello(bob, 1, "bob", "phone");
    say_send(alice, 5, "bob", "hi");
    expect_welcome(bob);
    expect_message(bob, "alice", "hi");
}

// On other edges.

static void
a_user_elsewhere_costs_one_envelope(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    say_send(alice, 5, "bob", "hi");
    const struct call *call = call_of(&rig->store, CALL_RESOLVE);
    assert_string_equal(call->node, NODE_A);   // leaves our name
    assert_int_equal(call->number, 2 * 10000); // longer than we remember
    answer_nodes(call_of(&rig->store, CALL_RESOLVE), 1, NODE_B);
    rig_turn_end(rig);
    const Switchyard__Bus__V1__Envelope *envelope = rig_envelope_to(rig, NODE_B);
    assert_int_equal(envelope->n_to, 1);
    assert_string_equal(envelope->to[0], "bob");
    assert_int_equal(envelope->hop, 0);
    assert_int_equal(envelope->expires_at_ms, rig->edge.wall_ms + SEND_TTL_DEFAULT_MS);
    expect_nothing(alice);
    rig_receipt(rig, NODE_B, envelope->ref, 2);
    expect_sent(alice, 5, 2);
    expect_nothing(alice);
    expect_idle(rig);
}

static void
a_remembered_route_asks_nobody(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    know(rig, alice, "bob", NODE_B);
    size_t asked = rig->store.made[CALL_RESOLVE];
    say_send(alice, 5, "bob", "hi");
    rig_turn_end(rig);
    rig_receipt(rig, NODE_B, rig_envelope_to(rig, NODE_B)->ref, 1);
    expect_sent(alice, 5, 1);
    assert_int_equal(rig->store.made[CALL_RESOLVE], asked);
    assert_int_equal(rig->edge.counters.route_hits, 1);
}

static void
a_user_here_and_on_two_edges_gets_it_three_times_on_three_devices(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    struct conn *bob = rig_login(rig, "bob", "phone");
    say_send(alice, 5, "bob", "hi");
    // Two devices on one edge are one envelope still.
    answer_nodes(call_of(&rig->store, CALL_RESOLVE), 4, NODE_B, NODE_A, NODE_C, NODE_B);
    rig_turn_end(rig);
    expect_message(bob, "alice", "hi");
    assert_int_equal(rig->bus.count, 2);
    assert_int_equal(bus_count_to(&rig->bus, NODE_B), 1);
    assert_int_equal(bus_count_to(&rig->bus, NODE_C), 1);
    for (size_t i = 0; i < 2; i++) {
        uint64_t ref = bus_frame(&rig->bus, i)->items[0]->envelope->ref;
        bool is_b = strstr(rig->bus.parcels[i].subject, NODE_B) != NULL;
        expect_nothing(alice);
        rig_receipt(rig, is_b ? NODE_B : NODE_C, ref, is_b ? 2 : 1);
    }
    expect_sent(alice, 5, 4);
}

static void
many_users_of_one_edge_are_one_envelope_known_or_not(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    const char *users[] = {"u0", "u1", "u2", "u3"};
    for (int round = 0; round < 2; round++) {
        say_send_many(alice, 5, users, 4, "all");
        for (size_t i = 0; i < 4 && round == 0; i++)
            answer_nodes(call_for(&rig->store, CALL_RESOLVE, users[i]), 1, i < 3 ? NODE_B : NODE_C);
        rig_turn_end(rig);
        assert_int_equal(rig->bus.count, 2);
        for (size_t i = 0; i < 2; i++) {
            const Switchyard__Bus__V1__BusFrame *frame = bus_frame(&rig->bus, i);
            const Switchyard__Bus__V1__Envelope *envelope = frame->items[0]->envelope;
            bool is_b = strstr(rig->bus.parcels[i].subject, NODE_B) != NULL;
            assert_int_equal(frame->n_items, 1);
            assert_int_equal(envelope->n_to, is_b ? 3 : 1);
            rig_receipt(rig, is_b ? NODE_B : NODE_C, envelope->ref, is_b ? 3 : 1);
        }
        expect_sent(alice, 5, 4);
        expect_idle(rig);
        bus_forget(&rig->bus);
    }
}

static void
who_was_not_reached_is_named(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    const char *users[] = {"u0", "gone", "u2"};
    say_send_many(alice, 5, users, 3, "all");
    for (size_t i = 0; i < 3; i++)
        answer_nodes(call_for(&rig->store, CALL_RESOLVE, users[i]), i == 1 ? 0 : 1, NODE_B);
    rig_turn_end(rig);
    rig_receipt(rig, NODE_B, rig_envelope_to(rig, NODE_B)->ref, 2);
    const Switchyard__V1__Outcome *outcome =
        event_take(alice, SWITCHYARD__V1__EVENT__EVENT_OUTCOME)->outcome;
    assert_int_equal(outcome->status, SWITCHYARD__V1__OUTCOME_STATUS__OUTCOME_STATUS_SENT);
    assert_int_equal(outcome->n_unreached, 1);
    assert_string_equal(outcome->unreached[0]->user, "gone");
    assert_int_equal(outcome->unreached[0]->reason, REASON_OFFLINE);
}

static void
one_frame_carries_what_one_turn_has_for_an_edge(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    know(rig, alice, "bob", NODE_B);
    for (uint64_t id = 5; id < 8; id++)
        say_send(alice, id, "bob", "hi");
    assert_int_equal(rig->bus.count, 0);
    rig_turn_end(rig);
    assert_int_equal(bus_only(&rig->bus, NODE_B)->n_items, 3);
    for (size_t i = 0; i < 3; i++) {
        rig_receipt(rig, NODE_B, bus_frame(&rig->bus, 0)->items[i]->envelope->ref, 1);
        expect_sent(alice, 5 + i, 1);
    }
}

static void
a_send_that_waits_is_not_overtaken(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    say_send(alice, 5, "bob", "1");
    say_send(alice, 6, "bob", "2");
    assert_int_equal(calls_open_of(&rig->store, CALL_RESOLVE), 1); // asked once for both
    answer_nodes(call_of(&rig->store, CALL_RESOLVE), 1, NODE_B);
    say_send(alice, 7, "bob", "3"); // the route is known now, in the same turn
    rig_turn_end(rig);
    const Switchyard__Bus__V1__BusFrame *frame = bus_only(&rig->bus, NODE_B);
    assert_int_equal(frame->n_items, 3);
    uint64_t refs[3];
    for (size_t i = 0; i < 3; i++) {
        const Switchyard__Bus__V1__Envelope *envelope = frame->items[i]->envelope;
        char last = (char)('1' + i);
        assert_non_null(memchr(envelope->event.data, last, envelope->event.len));
        refs[i] = envelope->ref;
    }
    for (size_t i = 3; i-- > 0;) { // receipts in any order
        rig_receipt(rig, NODE_B, refs[i], 1);
        expect_sent(alice, 5 + i, 1);
    }
}

// Missed.

static void
a_miss_is_resolved_once_more_and_delivered_elsewhere(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    know(rig, alice, "bob", NODE_B);
    say_send(alice, 5, "bob", "hi");
    rig_turn_end(rig);
    rig_receipt_miss(rig, NODE_B, rig_envelope_to(rig, NODE_B)->ref, 0, 0, REASON_OFFLINE);
    bus_forget(&rig->bus);
    expect_nothing(alice);
    answer_nodes(call_of(&rig->store, CALL_RESOLVE), 2, NODE_B, NODE_C);
    rig_turn_end(rig);
    const Switchyard__Bus__V1__Envelope *envelope = rig_envelope_to(rig, NODE_C); // only where new
    assert_int_equal(envelope->hop, 1);
    rig_receipt(rig, NODE_C, envelope->ref, 1);
    expect_sent(alice, 5, 1);
    expect_idle(rig);
    assert_int_equal(rig->edge.counters.misses, 1);
}

static void
a_second_miss_is_offline(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    know(rig, alice, "bob", NODE_B);
    say_send(alice, 5, "bob", "hi");
    rig_turn_end(rig);
    rig_receipt_miss(rig, NODE_B, rig_envelope_to(rig, NODE_B)->ref, 0, 0, REASON_OFFLINE);
    bus_forget(&rig->bus);
    answer_nodes(call_of(&rig->store, CALL_RESOLVE), 1, NODE_C);
    rig_turn_end(rig);
    rig_receipt_miss(rig, NODE_C, rig_envelope_to(rig, NODE_C)->ref, 0, 0, REASON_OFFLINE);
    expect_rejected(alice, 5, REASON_OFFLINE);
    assert_int_equal(calls_open_of(&rig->store, CALL_RESOLVE), 0); // two hops, no more
    expect_idle(rig);
}

static void
a_miss_with_nothing_new_in_the_directory_is_offline(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    know(rig, alice, "bob", NODE_B);
    say_send(alice, 5, "bob", "hi");
    rig_turn_end(rig);
    rig_receipt_miss(rig, NODE_B, rig_envelope_to(rig, NODE_B)->ref, 0, 0, REASON_OFFLINE);
    bus_forget(&rig->bus);
    answer_nodes(call_of(&rig->store, CALL_RESOLVE), 1, NODE_B);
    rig_turn_end(rig);
    assert_int_equal(rig->bus.count, 0);
    expect_rejected(alice, 5, REASON_OFFLINE);
}

static void
a_miss_that_nobody_can_look_up_is_not_called_offline(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    know(rig, alice, "bob", NODE_B);
    say_send(alice, 5, "bob", "hi");
    rig_turn_end(rig);
    rig_receipt_miss(rig, NODE_B, rig_envelope_to(rig, NODE_B)->ref, 0, 0, REASON_OFFLINE);
    answer_error(call_of(&rig->store, CALL_RESOLVE), SY_ETIME);
    rig_turn_end(rig);
    expect_rejected(alice, 5, REASON_DIRECTORY_UNAVAILABLE);
}

static void
who_came_here_meanwhile_gets_it(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    know(rig, alice, "bob", NODE_B);
    say_send(alice, 5, "bob", "after a miss");
    rig_turn_end(rig);
    uint64_t ref = rig_envelope_to(rig, NODE_B)->ref;
    struct conn *bob = rig_login(rig, "bob", "phone");
    rig_receipt_miss(rig, NODE_B, ref, 0, 0, REASON_OFFLINE);
    answer_nodes(call_of(&rig->store, CALL_RESOLVE), 1, NODE_A);
    expect_message(bob, "alice", "after a miss");
    rig_turn_end(rig);
    expect_sent(alice, 5, 1);

    say_send(alice, 6, "carol", "while asking");
    struct conn *carol = rig_login(rig, "carol", "phone");
    answer_nodes(call_for(&rig->store, CALL_RESOLVE, "carol"), 1, NODE_A);
    expect_message(carol, "alice", "while asking");
    expect_nothing(carol);
    rig_turn_end(rig);
    expect_sent(alice, 6, 1);
}

static void
who_has_it_here_does_not_get_it_again_after_the_answer(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    struct conn *bob = rig_login(rig, "bob", "phone");
    say_send(alice, 5, "bob", "once");
    expect_message(bob, "alice", "once");
    answer_nodes(call_of(&rig->store, CALL_RESOLVE), 2, NODE_A, NODE_B);
    rig_turn_end(rig);
    rig_receipt_miss(rig, NODE_B, rig_envelope_to(rig, NODE_B)->ref, 0, 0, REASON_OFFLINE);
    answer_nodes(call_of(&rig->store, CALL_RESOLVE), 1, NODE_A);
    rig_turn_end(rig);
    expect_nothing(bob);
    expect_sent(alice, 5, 1);
}

static void
busy_and_expired_over_there_are_passed_on_without_another_try(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    enum reason reasons[] = {REASON_BUSY, REASON_EXPIRED};
    know(rig, alice, "bob", NODE_B);
    for (size_t i = 0; i < 2; i++) {
        say_send(alice, 5, "bob", "hi");
        rig_turn_end(rig);
        rig_receipt_miss(rig, NODE_B, rig_envelope_to(rig, NODE_B)->ref, 0, 0, reasons[i]);
        expect_rejected(alice, 5, reasons[i]);
        bus_forget(&rig->bus);
    }
    assert_int_equal(calls_open_of(&rig->store, CALL_RESOLVE), 0);
}

static void
a_reason_nobody_knows_counts_as_no_route(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    enum reason reasons[] = {REASON_COUNT, REASON_NONE};
    for (size_t i = 0; i < 2; i++) {
        know(rig, alice, i == 0 ? "bob" : "carol", NODE_B);
        say_send(alice, 5, i == 0 ? "bob" : "carol", "hi");
        rig_turn_end(rig);
        rig_receipt_miss(rig, NODE_B, rig_envelope_to(rig, NODE_B)->ref, 0, 0, reasons[i]);
        rig_pass(rig, 5000); // its retry has no answer
        expect_rejected(alice, 5, REASON_EXPIRED);
        answer_all(&rig->store, SY_ETIME);
        bus_forget(&rig->bus);
    }
}

static void
one_of_two_users_missed(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    const char *users[] = {"bob", "carol"};
    know(rig, alice, "bob", NODE_B);
    know(rig, alice, "carol", NODE_B);
    say_send_many(alice, 5, users, 2, "hi");
    rig_turn_end(rig);
    rig_receipt_miss(rig, NODE_B, rig_envelope_to(rig, NODE_B)->ref, 1, 1, REASON_OFFLINE);
    bus_forget(&rig->bus);
    answer_nodes(call_for(&rig->store, CALL_RESOLVE, "carol"), 1, NODE_C);
    rig_turn_end(rig);
    const Switchyard__Bus__V1__Envelope *envelope = rig_envelope_to(rig, NODE_C);
    assert_int_equal(envelope->n_to, 1);
    assert_string_equal(envelope->to[0], "carol");
    rig_receipt(rig, NODE_C, envelope->ref, 1);
    expect_sent(alice, 5, 2);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(a_user_here_gets_the_message_and_the_sender_the_outcome),
        RIG_TEST(all_devices_get_it_in_their_own_format),
        RIG_TEST(only_the_named_device_gets_it_and_nobody_is_asked),
        ALONE_TEST(alone_the_outcome_comes_at_once),
        ALONE_TEST(who_sends_to_himself_gets_message_and_outcome),
        ALONE_TEST(a_sender_whose_own_queue_is_full_ends_without_harm),
        ALONE_TEST(a_user_who_reads_too_slowly_is_closed_and_the_send_is_busy),
        ALONE_TEST(one_slow_device_does_not_stop_the_others),
        RIG_TEST(a_session_still_logging_in_is_welcomed_and_gets_it),
        RIG_TEST(a_user_elsewhere_costs_one_envelope),
        RIG_TEST(a_remembered_route_asks_nobody),
        RIG_TEST(a_user_here_and_on_two_edges_gets_it_three_times_on_three_devices),
        RIG_TEST(many_users_of_one_edge_are_one_envelope_known_or_not),
        RIG_TEST(who_was_not_reached_is_named),
        RIG_TEST(one_frame_carries_what_one_turn_has_for_an_edge),
        RIG_TEST(a_send_that_waits_is_not_overtaken),
        RIG_TEST(a_miss_is_resolved_once_more_and_delivered_elsewhere),
        RIG_TEST(a_second_miss_is_offline),
        RIG_TEST(a_miss_with_nothing_new_in_the_directory_is_offline),
        RIG_TEST(a_miss_that_nobody_can_look_up_is_not_called_offline),
        RIG_TEST(who_came_here_meanwhile_gets_it),
        RIG_TEST(who_has_it_here_does_not_get_it_again_after_the_answer),
        RIG_TEST(busy_and_expired_over_there_are_passed_on_without_another_try),
        RIG_TEST(a_reason_nobody_knows_counts_as_no_route),
        RIG_TEST(one_of_two_users_missed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
