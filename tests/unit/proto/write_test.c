// write_test.c: what is written by hand is byte for byte what protobuf-c writes.
#include "claims.h"

#include <stdlib.h>
#include <string.h>

#include "proto/codec.h"

enum { ROUNDS = 20000, MOST_TEXT = 40000, MOST_ITEMS = 40 };

static char letters[MOST_TEXT + 1];
static char *strings[MOST_ITEMS];
static uint64_t state_of_random;

static uint64_t
random_below(uint64_t below)
{
    return next_random(&state_of_random) % below;
}

// Around every length at which a varint grows, and in between.
static uint64_t
random_number(void)
{
    uint64_t edge = UINT64_C(1) << random_below(64);
    switch (random_below(4)) {
    case 0:
        return 0;
    case 1:
        return edge - 1;
    case 2:
        return edge;
    default:
        return next_random(&state_of_random) >> random_below(64);
    }
}

static size_t
random_len(void)
{
    static const size_t lens[] = {0, 1, 2, 127, 128, 129, 16383, 16384, 16385};
    if (random_below(8) == 0)
        return lens[random_below(LENGTH(lens))];
    return (size_t)random_below(300);
}

// One of a few at a time, each of random length, ended by the end of `letters`.
static char *
random_text(void)
{
    return letters + MOST_TEXT - random_len();
}

static ProtobufCBinaryData
random_bytes(void)
{
    ProtobufCBinaryData bytes = {.len = random_len(), .data = (uint8_t *)letters};
    if (bytes.len == 0 && random_below(2) == 0)
        bytes.data = NULL;
    return bytes;
}

static int
setup(void **state)
{
    (void)state;
    for (size_t i = 0; i < MOST_TEXT; i++)
        letters[i] = (char)('!' + i % 90);
    state_of_random = 1;
    return 0;
}

// The message as protobuf-c packs it, behind `before`.
static void
pack_behind(const char *before, const ProtobufCMessage *message, struct buf *out)
{
    buf_append(out, before, strlen(before));
    out->len += protobuf_c_message_pack(
        message, buf_reserve(out, protobuf_c_message_get_packed_size(message)));
}

static void
expect_same(struct buf *written, struct buf *packed)
{
    assert_int_equal(written->len, packed->len);
    assert_memory_equal(written->bytes, packed->bytes, packed->len);
    buf_clear(written);
    buf_clear(packed);
}

static void
a_message_event_is_what_protobuf_c_makes_of_it(void **state)
{
    (void)state;
    struct buf written = {0};
    struct buf packed = {0};
    for (int i = 0; i < ROUNDS; i++) {
        Switchyard__V1__Message message;
        switchyard__v1__message__init(&message);
        Switchyard__V1__Event event;
        switchyard__v1__event__init(&event);
        event.event_case = SWITCHYARD__V1__EVENT__EVENT_MESSAGE;
        event.message = &message;
        message.from = random_text();
        message.from_device = random_text();
        message.content_type = random_text();
        message.message_id = random_text();
        message.sent_at_ms = random_number();
        switch (random_below(3)) {
        case 0:
            message.payload_case = SWITCHYARD__V1__MESSAGE__PAYLOAD_TEXT;
            message.text = random_text();
            break;
        case 1:
            message.payload_case = SWITCHYARD__V1__MESSAGE__PAYLOAD_BODY;
            message.body = random_bytes();
            break;
        default:
            break;
        }
        buf_append(&written, "head", 4);
        codec_append_message(&message, &written);
        pack_behind("head", &event.base, &packed);
        expect_same(&written, &packed);
    }
    buf_fini(&written);
    buf_fini(&packed);
}

// A frame without origin holding just this item: what is appended to a batch.
static void
expect_item(const Switchyard__Bus__V1__BusItem *item, struct buf *written, struct buf *packed)
{
    Switchyard__Bus__V1__BusItem copy = *item;
    Switchyard__Bus__V1__BusItem *items[] = {&copy};
    Switchyard__Bus__V1__BusFrame frame;
    switchyard__bus__v1__bus_frame__init(&frame);
    frame.n_items = 1;
    frame.items = items;
    buf_append(written, "head", 4);
    codec_bus_append(item, written);
    pack_behind("head", &frame.base, packed);
    expect_same(written, packed);
}

static void
an_envelope_is_what_protobuf_c_makes_of_it(void **state)
{
    (void)state;
    struct buf written = {0};
    struct buf packed = {0};
    for (int i = 0; i < ROUNDS; i++) {
        Switchyard__Bus__V1__Envelope envelope;
        switchyard__bus__v1__envelope__init(&envelope);
        Switchyard__Bus__V1__BusItem item;
        switchyard__bus__v1__bus_item__init(&item);
        item.item_case = SWITCHYARD__BUS__V1__BUS_ITEM__ITEM_ENVELOPE;
        item.envelope = &envelope;
        envelope.ref = random_number();
        envelope.n_to = random_below(3) == 0 ? random_below(MOST_ITEMS) : random_below(2);
        for (size_t u = 0; u < envelope.n_to; u++)
            strings[u] = random_text();
        envelope.to = strings;
        envelope.to_device = random_text();
        envelope.event = random_bytes();
        envelope.expires_at_ms = random_number();
        envelope.hop = (uint32_t)random_number();
        envelope.receipt_may_wait = random_below(2) == 0;
        expect_item(&item, &written, &packed);
    }
    buf_fini(&written);
    buf_fini(&packed);
}

static void
a_receipt_is_what_protobuf_c_makes_of_it(void **state)
{
    (void)state;
    struct buf written = {0};
    struct buf packed = {0};
    Switchyard__Bus__V1__Miss misses[MOST_ITEMS];
    Switchyard__Bus__V1__Miss *list[MOST_ITEMS];
    for (int i = 0; i < ROUNDS; i++) {
        Switchyard__Bus__V1__Receipt receipt;
        switchyard__bus__v1__receipt__init(&receipt);
        Switchyard__Bus__V1__BusItem item;
        switchyard__bus__v1__bus_item__init(&item);
        item.item_case = SWITCHYARD__BUS__V1__BUS_ITEM__ITEM_RECEIPT;
        item.receipt = &receipt;
        receipt.ref = random_number();
        receipt.devices = (uint32_t)random_number();
        receipt.n_misses = random_below(2) == 0 ? random_below(MOST_ITEMS) : 0;
        receipt.misses = list;
        for (size_t m = 0; m < receipt.n_misses; m++) {
            switchyard__bus__v1__miss__init(&misses[m]);
            misses[m].index = (uint32_t)random_number();
            misses[m].reason = (uint32_t)random_number();
            list[m] = &misses[m];
        }
        expect_item(&item, &written, &packed);
    }
    buf_fini(&written);
    buf_fini(&packed);
}

static void
the_other_items_are_what_they_were(void **state)
{
    (void)state;
    struct buf written = {0};
    struct buf packed = {0};
    Switchyard__Bus__V1__Kick kick;
    switchyard__bus__v1__kick__init(&kick);
    Switchyard__Bus__V1__BusItem item;
    switchyard__bus__v1__bus_item__init(&item);
    expect_item(&item, &written, &packed);
    item.item_case = SWITCHYARD__BUS__V1__BUS_ITEM__ITEM_KICK;
    item.kick = &kick;
    kick.user = random_text();
    kick.epoch = 7;
    expect_item(&item, &written, &packed);
    buf_fini(&written);
    buf_fini(&packed);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_event_is_what_protobuf_c_makes_of_it),
        cmocka_unit_test(an_envelope_is_what_protobuf_c_makes_of_it),
        cmocka_unit_test(a_receipt_is_what_protobuf_c_makes_of_it),
        cmocka_unit_test(the_other_items_are_what_they_were),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
