// test_delivery.c: envelopes from other edges, and the receipts they get.
#include <stdlib.h>
#include <string.h>

#include "edge/delivery.h"
#include "proto/subject.h"
#include "tests/unit/edge/fake.h"

static const Switchyard__Bus__V1__Receipt *
receipt_to(struct rig *rig, const char *node)
{
    rig_turn_end(rig);
    const Switchyard__Bus__V1__BusFrame *frame = bus_only(&rig->bus, node);
    assert_int_equal(frame->n_items, 1);
    assert_int_equal(frame->items[0]->item_case, SWITCHYARD__BUS__V1__BUS_ITEM__ITEM_RECEIPT);
    return frame->items[0]->receipt;
}

static uint64_t
in_time(const struct rig *rig)
{
    return rig->edge.wall_ms + 1;
}

static void
an_envelope_reaches_every_device_and_says_how_many(void **state)
{
    struct rig *rig = *state;
    struct conn *phone = rig_login(rig, "bob", "phone");
    struct conn *web = rig_login_as(rig, CODEC_JSON, "bob", "web");
    rig_envelope(rig, NODE_B, 77, "bob", "", "hi", in_time(rig));
    expect_message(phone, "afar", "hi");
    expect_message(web, "afar", "hi");
    const Switchyard__Bus__V1__Receipt *receipt = receipt_to(rig, NODE_B);
    assert_int_equal(receipt->ref, 77);
    assert_int_equal(receipt->devices, 2);
    assert_int_equal(receipt->n_misses, 0);
    assert_int_equal(rig->edge.counters.messages_remote, 2);
}

static void
a_user_who_is_not_here_is_a_miss(void **state)
{
    struct rig *rig = *state;
    rig_envelope(rig, NODE_B, 77, "bob", "", "hi", in_time(rig));
    const Switchyard__Bus__V1__Receipt *receipt = receipt_to(rig, NODE_B);
    assert_int_equal(receipt->devices, 0);
    assert_int_equal(receipt->n_misses, 1);
    assert_int_equal(receipt->misses[0]->index, 0);
    assert_int_equal(receipt->misses[0]->reason, REASON_OFFLINE);
}

static void
another_device_than_the_named_one_is_a_miss(void **state)
{
    struct rig *rig = *state;
    struct conn *phone = rig_login(rig, "bob", "phone");
    rig_envelope(rig, NODE_B, 77, "bob", "web", "hi", in_time(rig));
    expect_nothing(phone);
    assert_int_equal(receipt_to(rig, NODE_B)->misses[0]->reason, REASON_OFFLINE);
    bus_forget(&rig->bus);
    rig_envelope(rig, NODE_B, 78, "bob", "phone", "hi", in_time(rig));
    expect_message(phone, "afar", "hi");
    assert_int_equal(receipt_to(rig, NODE_B)->n_misses, 0);
}

static void
a_late_envelope_is_dropped_and_an_almost_late_one_is_not(void **state)
{
    struct rig *rig = *state;
    struct conn *bob = rig_login(rig, "bob", "phone");
    rig_envelope(rig, NODE_B, 77, "bob", "", "late", rig->edge.wall_ms);
    expect_nothing(bob);
    assert_int_equal(receipt_to(rig, NODE_B)->misses[0]->reason, REASON_EXPIRED);
    assert_int_equal(rig->edge.counters.envelopes_late, 1);
    rig_envelope(rig, NODE_B, 77, "bob", "", "in time", rig->edge.wall_ms + 1);
    expect_message(bob, "afar", "in time");
}

static void
a_slow_reader_is_closed_and_told_of_as_busy(void **state)
{
    struct rig *rig = *state;
    struct conn *bob = rig_login(rig, "bob", "phone");
    bob->full_in = 1;
    rig_envelope(rig, NODE_B, 77, "bob", "", "hi", in_time(rig));
    expect_closed(bob, CLOSE_SLOW_READER);
    assert_int_equal(receipt_to(rig, NODE_B)->misses[0]->reason, REASON_BUSY);
}

static void
a_login_that_cannot_be_welcomed_is_a_miss(void **state)
{
    struct rig *rig = *state;
    struct conn *bob = rig_connect(rig, CODEC_PROTOBUF, NULL);
    say_hello(bob, 1, "bob", "phone");
    bob->full_in = 1;
    rig_envelope(rig, NODE_B, 77, "bob", "", "hi", in_time(rig));
    expect_closed(bob, CLOSE_SLOW_READER);
    assert_int_equal(receipt_to(rig, NODE_B)->misses[0]->reason, REASON_OFFLINE);
}

static void
misses_come_in_the_order_of_the_users(void **state)
{
    struct rig *rig = *state;
    char users[5][4] = {"u0", "u1", "u2", "u3", "u4"};
    char *to[5];
    Switchyard__Bus__V1__Envelope envelope;
    switchyard__bus__v1__envelope__init(&envelope);
    Switchyard__Bus__V1__BusItem item;
    switchyard__bus__v1__bus_item__init(&item);
    rig_login(rig, "u1", "phone");
    rig_login(rig, "u3", "phone");
    for (size_t i = 0; i < 5; i++)
        to[i] = users[i];
    envelope.ref = 5;
    envelope.n_to = 5;
    envelope.to = to;
    envelope.expires_at_ms = in_time(rig);
    item.item_case = SWITCHYARD__BUS__V1__BUS_ITEM__ITEM_ENVELOPE;
    item.envelope = &envelope;
    rig_bus_item(rig, NODE_B, &item);
    const Switchyard__Bus__V1__Receipt *receipt = receipt_to(rig, NODE_B);
    assert_int_equal(receipt->n_misses, 3);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(receipt->misses[i]->index, 2 * i);
    assert_int_equal(receipt->devices, 2);
}

static void
an_envelope_for_nobody_is_answered(void **state)
{
    struct rig *rig = *state;
    Switchyard__Bus__V1__Envelope envelope;
    switchyard__bus__v1__envelope__init(&envelope);
    Switchyard__Bus__V1__BusItem item;
    switchyard__bus__v1__bus_item__init(&item);
    envelope.ref = 5;
    item.item_case = SWITCHYARD__BUS__V1__BUS_ITEM__ITEM_ENVELOPE;
    item.envelope = &envelope;
    rig_bus_item(rig, NODE_B, &item);
    assert_int_equal(receipt_to(rig, NODE_B)->ref, 5);
}

static void
an_event_that_cannot_be_json_is_no_disaster(void **state)
{
    struct rig *rig = *state;
    struct conn *web = rig_login_as(rig, CODEC_JSON, "bob", "web");
    uint8_t garbage[] = {0xff, 0xff};
    struct delivery delivery = {.event = garbage, .len = sizeof(garbage)};
    struct delivered delivered =
        delivery_to_user(&rig->edge, &delivery, users_find(&rig->edge.users, "bob", 3), "");
    delivery_fini(&delivery);
    assert_int_equal(delivered.queued, 0);
    assert_int_equal(delivered.full, 0);
    expect_nothing(web);
    assert_int_equal(web->session.state, SESSION_LIVE);
    assert_int_equal(rig->edge.counters.bus_malformed, 1);
}

static void
without_the_bus_there_is_no_receipt_but_the_message(void **state)
{
    struct rig *rig = *state;
    struct conn *bob = rig_login(rig, "bob", "phone");
    rig->bus.is_up = false;
    rig_envelope(rig, NODE_B, 77, "bob", "", "hi", in_time(rig));
    expect_message(bob, "afar", "hi");
    assert_int_equal(rig->edge.counters.receipts_out, 0);
}

static void
an_item_of_a_newer_edge_is_passed_over(void **state)
{
    struct rig *rig = *state;
    Switchyard__Bus__V1__BusItem item;
    switchyard__bus__v1__bus_item__init(&item);
    rig_bus_item(rig, NODE_B, &item);
    assert_int_equal(rig->edge.counters.bus_malformed, 0);
    rig_turn_end(rig);
    assert_int_equal(rig->bus.count, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(an_envelope_reaches_every_device_and_says_how_many),
        RIG_TEST(a_user_who_is_not_here_is_a_miss),
        RIG_TEST(another_device_than_the_named_one_is_a_miss),
        RIG_TEST(a_late_envelope_is_dropped_and_an_almost_late_one_is_not),
        RIG_TEST(a_slow_reader_is_closed_and_told_of_as_busy),
        RIG_TEST(a_login_that_cannot_be_welcomed_is_a_miss),
        RIG_TEST(misses_come_in_the_order_of_the_users),
        RIG_TEST(an_envelope_for_nobody_is_answered),
        RIG_TEST(an_event_that_cannot_be_json_is_no_disaster),
        RIG_TEST(without_the_bus_there_is_no_receipt_but_the_message),
        RIG_TEST(an_item_of_a_newer_edge_is_passed_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
