// test_outbox.c: what leaves for other edges, gathered by destination.
#include <stdio.h>
#include <string.h>

#include "edge/outbox.h"
#include "proto/subject.h"
#include "tests/unit/edge/fake.h"

static int
append_envelope(struct rig *rig, const char *node, size_t users, size_t event_len, uint32_t *batch)
{
    static uint8_t event[256 * 1024];
    static char names[1000][24];
    static char *to[1000];
    Switchyard__Bus__V1__Envelope envelope;
    switchyard__bus__v1__envelope__init(&envelope);
    Switchyard__Bus__V1__BusItem item;
    switchyard__bus__v1__bus_item__init(&item);
    for (size_t i = 0; i < users; i++) {
        snprintf(names[i], sizeof(names[i]), "%zx", i);
        to[i] = names[i];
    }
    envelope.ref = UINT64_MAX;
    envelope.expires_at_ms = rig->edge.wall_ms;
    envelope.hop = 1;
    envelope.n_to = users;
    envelope.to = to;
    envelope.event.data = event;
    envelope.event.len = event_len;
    item.item_case = SWITCHYARD__BUS__V1__BUS_ITEM__ITEM_ENVELOPE;
    item.envelope = &envelope;
    return outbox_append(&rig->edge, peers_take(&rig->edge.peers, node), &item, batch);
}

static int
append_receipt(struct rig *rig, const char *node, size_t count, uint32_t *batch)
{
    static Switchyard__Bus__V1__Miss misses[1000];
    static Switchyard__Bus__V1__Miss *list[1000];
    Switchyard__Bus__V1__Receipt receipt;
    switchyard__bus__v1__receipt__init(&receipt);
    Switchyard__Bus__V1__BusItem item;
    switchyard__bus__v1__bus_item__init(&item);
    for (size_t i = 0; i < count; i++) {
        switchyard__bus__v1__miss__init(&misses[i]);
        misses[i].index = (uint32_t)i;
        misses[i].reason = 1;
        list[i] = &misses[i];
    }
    receipt.ref = 77;
    receipt.devices = 1;
    receipt.n_misses = count;
    receipt.misses = list;
    item.item_case = SWITCHYARD__BUS__V1__BUS_ITEM__ITEM_RECEIPT;
    item.receipt = &receipt;
    return outbox_append(&rig->edge, peers_take(&rig->edge.peers, node), &item, batch);
}

static void
a_turn_is_one_message_for_each_destination(void **state)
{
    struct rig *rig = *state;
    uint32_t batch;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(append_envelope(rig, NODE_B, 1, 10, &batch), 0);
        assert_int_equal(batch, 1);
        assert_int_equal(append_receipt(rig, NODE_C, 0, &batch), 0);
    }
    outbox_invalidate(&rig->edge, NODE_C, "bob");
    outbox_kick(&rig->edge, NODE_C, "bob", "phone", 3, 4);
    assert_int_equal(rig->bus.count, 0);
    outbox_flush(&rig->edge);
    outbox_flush(&rig->edge);
    assert_int_equal(rig->bus.count, 2);
    for (size_t i = 0; i < 2; i++) {
        const Switchyard__Bus__V1__BusFrame *frame = bus_frame(&rig->bus, i);
        bool is_b = strstr(rig->bus.parcels[i].subject, NODE_B) != NULL;
        assert_string_equal(frame->origin, NODE_A);
        assert_int_equal(frame->n_items, is_b ? 3 : 5);
        if (is_b)
            continue;
        const Switchyard__Bus__V1__Kick *kick = frame->items[4]->kick;
        assert_string_equal(frame->items[3]->invalidate->user, "bob");
        assert_string_equal(kick->device, "phone");
        assert_int_equal(kick->connection, 3);
        assert_int_equal(kick->epoch, 4);
    }
    assert_int_equal(rig->edge.counters.kicks_out, 1);
    assert_int_equal(rig->edge.counters.invalidations_out, 1);
}

static void
the_reply_subject_names_us_the_peer_and_the_batch(void **state)
{
    struct rig *rig = *state;
    char expected[SUBJECT_SIZE];
    uint32_t batch;
    for (uint32_t n = 1; n <= 3; n++) {
        assert_int_equal(append_envelope(rig, NODE_B, 1, 10, &batch), 0);
        assert_int_equal(batch, n);
        outbox_flush(&rig->edge);
        subject_unheard(NODE_A, NODE_B, n, expected);
        assert_string_equal(rig->bus.parcels[n - 1].reply, expected);
    }
    // Longer and shorter numbers; after the highest comes 1.
    uint32_t numbers[] = {9, 10, 99, 100, 999999999, 1000000000, UINT32_MAX, 1};
    for (size_t i = 0; i < 8; i++) {
        bus_forget(&rig->bus);
        if (i < 7)
            peers_find(&rig->edge.peers, NODE_B)->batch_number = numbers[i];
        assert_int_equal(append_envelope(rig, NODE_B, 1, 10, &batch), 0);
        outbox_flush(&rig->edge);
        subject_unheard(NODE_A, NODE_B, numbers[i], expected);
        assert_string_equal(rig->bus.parcels[0].reply, expected);
    }
}

static void
a_full_batch_leaves_at_once(void **state)
{
    struct rig *rig = *state;
    uint32_t batch;
    size_t items = 0;
    while (rig->bus.count == 0) {
        assert_int_equal(append_envelope(rig, NODE_B, 1, 60000, &batch), 0);
        items++;
    }
    assert_int_equal(batch, 2); // the one that found it full is in the next
    assert_true(rig->bus.parcels[0].len >= OUTBOX_BATCH_BYTES);
    assert_true(rig->bus.parcels[0].len < OUTBOX_BATCH_BYTES + 70000);
    outbox_flush(&rig->edge);
    assert_int_equal(bus_frame(&rig->bus, 0)->n_items + bus_frame(&rig->bus, 1)->n_items, items);
}

static void
no_batch_is_larger_than_the_server_takes(void **state)
{
    struct rig *rig = *state;
    uint32_t batch;
    rig->bus.max_payload = 100000;
    for (int i = 0; i < 50; i++)
        assert_int_equal(append_envelope(rig, NODE_B, 1, 1 + (size_t)i * 1200, &batch), 0);
    outbox_flush(&rig->edge); // the fake refuses what is larger
    size_t items = 0;
    for (size_t i = 0; i < rig->bus.count; i++)
        items += bus_frame(&rig->bus, i)->n_items;
    assert_int_equal(items, 50);
}

static void
whatever_fills_a_batch_the_receiver_can_read_it(void **state)
{
    struct rig *rig = *state;
    uint32_t batch;
    // Small elements in great numbers: no user, a few, all; no miss, a few, all.
    size_t sizes[] = {0, 1, 7, 1000};
    for (size_t s = 0; s < 4; s++) {
        size_t rounds = 80000 / (sizes[s] + 3);
        for (size_t i = 0; i < rounds; i++) {
            assert_int_equal(append_envelope(rig, NODE_B, sizes[s], 0, &batch), 0);
            assert_int_equal(append_receipt(rig, NODE_C, sizes[s], &batch), 0);
        }
        outbox_flush(&rig->edge);
        size_t items = 0;
        for (size_t i = 0; i < rig->bus.count; i++)
            items += bus_frame(&rig->bus, i)->n_items; // fails if it cannot be decoded
        assert_int_equal(items, 2 * rounds);
        bus_forget(&rig->bus);
    }
}

static void
nothing_is_kept_while_the_bus_is_down(void **state)
{
    struct rig *rig = *state;
    uint32_t batch = 99;
    rig->bus.is_up = false;
    assert_int_equal(append_envelope(rig, NODE_B, 1, 10, &batch), SY_EDOWN);
    assert_int_equal(batch, 99);
    outbox_kick(&rig->edge, NODE_B, "bob", "phone", 1, 1);
    outbox_invalidate(&rig->edge, NODE_B, "bob");
    assert_int_equal(rig->edge.counters.kicks_out, 0);
    assert_int_equal(rig->edge.counters.invalidations_out, 0);
    rig->bus.is_up = true;
    outbox_flush(&rig->edge);
    assert_int_equal(rig->bus.count, 0);
}

static void
a_batch_that_was_refused_is_not_sent_later(void **state)
{
    struct rig *rig = *state;
    uint32_t batch;
    assert_int_equal(append_envelope(rig, NODE_B, 1, 10, &batch), 0);
    rig->bus.fail_in = 1;
    rig->bus.fail_error = SY_EFULL;
    outbox_flush(&rig->edge);
    outbox_flush(&rig->edge);
    assert_int_equal(rig->bus.count, 0);
    assert_int_equal(append_envelope(rig, NODE_B, 1, 10, &batch), 0);
    assert_int_equal(batch, 2);
    outbox_flush(&rig->edge);
    assert_int_equal(bus_only(&rig->bus, NODE_B)->n_items, 1);
}

static void
a_large_batch_gives_its_memory_back(void **state)
{
    struct rig *rig = *state;
    uint32_t batch;
    for (int i = 0; i < 3; i++)
        assert_int_equal(append_envelope(rig, NODE_B, 1, 250000, &batch), 0);
    outbox_flush(&rig->edge);
    assert_true(peers_find(&rig->edge.peers, NODE_B)->batch.cap <= OUTBOX_BATCH_BYTES);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(a_turn_is_one_message_for_each_destination),
        RIG_TEST(the_reply_subject_names_us_the_peer_and_the_batch),
        RIG_TEST(a_full_batch_leaves_at_once),
        RIG_TEST(no_batch_is_larger_than_the_server_takes),
        RIG_TEST(whatever_fills_a_batch_the_receiver_can_read_it),
        RIG_TEST(nothing_is_kept_while_the_bus_is_down),
        RIG_TEST(a_batch_that_was_refused_is_not_sent_later),
        RIG_TEST(a_large_batch_gives_its_memory_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
