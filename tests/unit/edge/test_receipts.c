// test_receipts.c: receipts nobody waits for: how long they may wait, and which may not.
#include <string.h>

#include "edge/outbox.h"
#include "tests/unit/edge/router_rig.h"

static char bob[] = "bob";
static char nobody[] = "nobody";

// From NODE_B, for bob and, if `count` is 2, for somebody who is not here.
static void
envelope_arrives(struct rig *rig, uint64_t ref, size_t count, uint64_t expires_at_ms, bool may_wait)
{
    char *to[] = {bob, nobody};
    Switchyard__Bus__V1__Envelope envelope;
    switchyard__bus__v1__envelope__init(&envelope);
    Switchyard__Bus__V1__BusItem item;
    switchyard__bus__v1__bus_item__init(&item);
    envelope.ref = ref;
    envelope.n_to = count;
    envelope.to = to;
    envelope.expires_at_ms = expires_at_ms;
    envelope.receipt_may_wait = may_wait;
    item.item_case = SWITCHYARD__BUS__V1__BUS_ITEM__ITEM_ENVELOPE;
    item.envelope = &envelope;
    rig_bus_item(rig, NODE_B, &item);
}

static void
hear(struct rig *rig, uint64_t ref)
{
    envelope_arrives(rig, ref, 1, rig->edge.wall_ms + 1000, true);
    rig_turn_end(rig);
}

static void
expect_receipts(struct rig *rig, uint64_t first, size_t count)
{
    const Switchyard__Bus__V1__BusFrame *frame = bus_only(&rig->bus, NODE_B);
    assert_int_equal(frame->n_items, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(frame->items[i]->item_case, SWITCHYARD__BUS__V1__BUS_ITEM__ITEM_RECEIPT);
        assert_int_equal(frame->items[i]->receipt->ref, first + i);
    }
    bus_forget(&rig->bus);
}

static void
they_wait_until_the_wheel_turns_and_leave_together(void **state)
{
    struct rig *rig = *state;
    rig_login(rig, "bob", "phone");
    for (uint64_t ref = 1; ref <= 5; ref++)
        hear(rig, ref);
    assert_int_equal(rig->bus.count, 0);
    rig_pass(rig, 0);
    assert_int_equal(rig->bus.count, 0); // with the turn, not in the middle of it
    rig_turn_end(rig);
    expect_receipts(rig, 1, 5);
    rig_pass(rig, 10 * RECEIPT_WAIT_MS);
    rig_turn_end(rig);
    assert_int_equal(rig->bus.count, 0); // once
    hear(rig, 6);
    assert_int_equal(rig->bus.count, 0);
    rig_pass(rig, 1);
    rig_turn_end(rig);
    expect_receipts(rig, 6, 1);
    assert_int_equal(rig->edge.counters.receipts_out, 6);
}

static void
they_leave_with_whatever_leaves_for_that_edge(void **state)
{
    struct rig *rig = *state;
    rig_login(rig, "bob", "phone");
    hear(rig, 1);
    outbox_invalidate(&rig->edge, NODE_C, "bob"); // another edge: no reason to leave
    rig_turn_end(rig);
    assert_int_equal(bus_count_to(&rig->bus, NODE_B), 0);
    bus_forget(&rig->bus);
    outbox_invalidate(&rig->edge, NODE_B, "bob");
    rig_turn_end(rig);
    const Switchyard__Bus__V1__BusFrame *frame = bus_only(&rig->bus, NODE_B);
    assert_int_equal(frame->n_items, 2);
    assert_int_equal(frame->items[0]->item_case, SWITCHYARD__BUS__V1__BUS_ITEM__ITEM_RECEIPT);
    assert_int_equal(frame->items[1]->item_case, SWITCHYARD__BUS__V1__BUS_ITEM__ITEM_INVALIDATE);
    bus_forget(&rig->bus);
    rig_pass(rig, RECEIPT_WAIT_MS);
    rig_turn_end(rig);
    assert_int_equal(rig->bus.count, 0); // nothing was left
    hear(rig, 2);
    rig_pass(rig, RECEIPT_WAIT_MS);
    rig_turn_end(rig);
    expect_receipts(rig, 2, 1);
}

static void
an_envelope_takes_them_along(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    rig_login(rig, "bob", "phone");
    know(rig, alice, "carol", NODE_B);
    hear(rig, 1);
    say_send(alice, 0, "carol", "hi");
    rig_turn_end(rig);
    const Switchyard__Bus__V1__BusFrame *frame = bus_only(&rig->bus, NODE_B);
    assert_int_equal(frame->n_items, 2);
    assert_int_equal(frame->items[0]->receipt->ref, 1);
    assert_int_equal(frame->items[1]->item_case, SWITCHYARD__BUS__V1__BUS_ITEM__ITEM_ENVELOPE);
    // Unheard: the send of that batch ends, the receipt in it has no leg here.
    rig_unheard(rig, NODE_B, peers_find(&rig->edge.peers, NODE_B)->batch_number - 1);
    answer_nodes(call_of(&rig->store, CALL_RESOLVE), 0);
    rig_turn_end(rig);
    expect_idle(rig);
}

static void
a_miss_does_not_wait_and_takes_those_before_along(void **state)
{
    struct rig *rig = *state;
    rig_login(rig, "bob", "phone");
    hear(rig, 1);
    envelope_arrives(rig, 2, 2, rig->edge.wall_ms + 1000, true);
    rig_turn_end(rig);
    const Switchyard__Bus__V1__BusFrame *frame = bus_only(&rig->bus, NODE_B);
    assert_int_equal(frame->n_items, 2);
    assert_int_equal(frame->items[1]->receipt->n_misses, 1);
    assert_int_equal(frame->items[1]->receipt->misses[0]->reason, REASON_OFFLINE);
}

static void
what_came_late_or_found_a_full_queue_does_not_wait(void **state)
{
    struct rig *rig = *state;
    struct conn *conn = rig_login(rig, "bob", "phone");
    envelope_arrives(rig, 1, 1, rig->edge.wall_ms, true);
    rig_turn_end(rig);
    assert_int_equal(bus_only(&rig->bus, NODE_B)->items[0]->receipt->misses[0]->reason,
                     REASON_EXPIRED);
    bus_forget(&rig->bus);
    conn->full_in = 1;
    envelope_arrives(rig, 2, 1, rig->edge.wall_ms + 1, true);
    rig_turn_end(rig);
    assert_int_equal(bus_only(&rig->bus, NODE_B)->items[0]->receipt->misses[0]->reason,
                     REASON_BUSY);
}

static void
a_receipt_somebody_waits_for_leaves_in_its_turn(void **state)
{
    struct rig *rig = *state;
    rig_login(rig, "bob", "phone");
    envelope_arrives(rig, 1, 1, rig->edge.wall_ms + 1, false);
    rig_turn_end(rig);
    expect_receipts(rig, 1, 1);
}

static void
no_more_than_some_wait_in_a_batch(void **state)
{
    struct rig *rig = *state;
    rig_login(rig, "bob", "phone");
    uint64_t ref = 0;
    for (int round = 0; round < 3; round++) {
        uint64_t first = ref + 1;
        for (int i = 0; i < RECEIPTS_MAY_WAIT; i++)
            hear(rig, ++ref);
        assert_int_equal(rig->bus.count, 0);
        hear(rig, ++ref);
        expect_receipts(rig, first, RECEIPTS_MAY_WAIT + 1);
    }
    hear(rig, ++ref);
    rig_pass(rig, RECEIPT_WAIT_MS);
    rig_turn_end(rig);
    expect_receipts(rig, ref, 1);
}

static void
a_full_batch_leaves_without_waiting(void **state)
{
    struct rig *rig = *state;
    rig_login(rig, "bob", "phone");
    rig->bus.max_payload = 200; // less than an item may need: each on its own
    hear(rig, 1);
    assert_int_equal(rig->bus.count, 0);
    hear(rig, 2);
    expect_receipts(rig, 1, 1); // it was full when the second came
    rig_pass(rig, RECEIPT_WAIT_MS);
    rig_turn_end(rig);
    expect_receipts(rig, 2, 1);
}

static void
whoever_drains_lets_nothing_wait(void **state)
{
    struct rig *rig = *state;
    rig_login(rig, "bob", "phone");
    hear(rig, 1);
    hear(rig, 2);
    edge_start_drain(&rig->edge);
    bus_forget(&rig->bus); // its heartbeat
    rig_turn_end(rig);
    expect_receipts(rig, 1, 2);
    hear(rig, 3);
    expect_receipts(rig, 3, 1);
}

static void
an_edge_may_end_or_forget_while_they_wait(void **state)
{
    struct rig *rig = *state;
    rig_login(rig, "bob", "phone");
    hear(rig, 1);
    peers_forget(&rig->edge.peers, rig->edge.now_ms + 3600 * 1000);
    assert_non_null(peers_find(&rig->edge.peers, NODE_B)); // and rig_free ends it
}

static void
without_the_bus_they_are_lost_like_others(void **state)
{
    struct rig *rig = *state;
    rig_login(rig, "bob", "phone");
    hear(rig, 1);
    rig->bus.is_up = false;
    hear(rig, 2);
    assert_int_equal(rig->edge.counters.receipts_out, 1);
    rig_pass(rig, RECEIPT_WAIT_MS);
    rig_turn_end(rig);
    rig->bus.is_up = true;
    rig_pass(rig, RECEIPT_WAIT_MS);
    rig_turn_end(rig);
    assert_int_equal(rig->bus.count, 0);
    hear(rig, 3);
    rig_pass(rig, RECEIPT_WAIT_MS);
    rig_turn_end(rig);
    expect_receipts(rig, 3, 1);
}

// The origin.

static bool
envelope_may_wait(struct rig *rig, struct conn *from, uint64_t id)
{
    say_send(from, id, "carol", "hi");
    rig_turn_end(rig);
    bool may_wait = rig_envelope_to(rig, NODE_B)->receipt_may_wait;
    bus_forget(&rig->bus);
    return may_wait;
}

static void
only_a_send_without_an_id_says_that_it_may(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    know(rig, alice, "carol", NODE_B);
    assert_true(envelope_may_wait(rig, alice, 0));
    assert_false(envelope_may_wait(rig, alice, 5));
    assert_true(envelope_may_wait(rig, alice, 0));
}

static void
none_may_when_half_of_what_may_wait_does(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    know(rig, alice, "carol", NODE_B);
    assert_true(envelope_may_wait(rig, alice, 0));
    rig->edge.limits.pending_bytes = 2 * rig->edge.router.pending_bytes;
    assert_false(envelope_may_wait(rig, alice, 0)); // exactly half
    rig->edge.limits.pending_bytes = 2 * rig->edge.router.pending_bytes + 2;
    assert_true(envelope_may_wait(rig, alice, 0));
}

static void
only_a_send_with_an_id_keeps_the_id_of_its_message(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    size_t *bytes = &rig->edge.router.pending_bytes;
    say_send(alice, 0, "carol", "hi");
    size_t without = *bytes;
    say_send(alice, 5, "carol", "hi");
    assert_int_equal(*bytes - without, without + strlen("00000000000000aa-2"));
    answer_nodes(call_of(&rig->store, CALL_RESOLVE), 0);
    rig_turn_end(rig);
    const Switchyard__V1__Event *event = event_take(alice, SWITCHYARD__V1__EVENT__EVENT_OUTCOME);
    assert_string_equal(event->outcome->message_id, "00000000000000aa-2");
    expect_idle(rig);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(they_wait_until_the_wheel_turns_and_leave_together),
        RIG_TEST(they_leave_with_whatever_leaves_for_that_edge),
        RIG_TEST(an_envelope_takes_them_along),
        RIG_TEST(a_miss_does_not_wait_and_takes_those_before_along),
        RIG_TEST(what_came_late_or_found_a_full_queue_does_not_wait),
        RIG_TEST(a_receipt_somebody_waits_for_leaves_in_its_turn),
        RIG_TEST(no_more_than_some_wait_in_a_batch),
        RIG_TEST(a_full_batch_leaves_without_waiting),
        RIG_TEST(whoever_drains_lets_nothing_wait),
        RIG_TEST(an_edge_may_end_or_forget_while_they_wait),
        RIG_TEST(without_the_bus_they_are_lost_like_others),
        RIG_TEST(only_a_send_without_an_id_says_that_it_may),
        RIG_TEST(none_may_when_half_of_what_may_wait_does),
        RIG_TEST(only_a_send_with_an_id_keeps_the_id_of_its_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
