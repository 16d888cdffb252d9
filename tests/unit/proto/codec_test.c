// codec.c: frames of both subprotocols, and of the bus.
#include "claims.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/codec.h"

#define NODE "edge-1.0123456789abcdef"

static struct arena arena;

static int
setup(void **state)
{
    (void)state;
    arena_init(&arena, codec_arena_size(1 << 20));
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    arena_fini(&arena);
    return 0;
}

static Switchyard__V1__ClientFrame *
read_client(enum codec_format format, const void *bytes, size_t len, struct codec_error *error)
{
    *error = (struct codec_error){.text = ""};
    arena_clear(&arena);
    return codec_read_client(format, bytes, len, &arena, error);
}

static void
a_frame_is_the_same_in_both_formats(void **state)
{
    (void)state;
    static const char json[] =
        "{\"commands\":[{\"id\":\"1\",\"send\":{\"to\":[\"bob\"],\"text\":\"hi\"}},{\"ping\":{}}]}";
    struct codec_error error;
    struct buf protobuf = {0};
    struct buf again = {0};
    Switchyard__V1__ClientFrame *frame = read_client(CODEC_JSON, json, sizeof(json) - 1, &error);
    assert_non_null(frame);
    codec_write_client(CODEC_PROTOBUF, frame, &protobuf);
    frame = read_client(CODEC_PROTOBUF, protobuf.bytes, protobuf.len, &error);
    assert_non_null(frame);
    assert_string_equal(frame->commands[0]->send->to[0], "bob");
    codec_write_client(CODEC_JSON, frame, &again);
    assert_int_equal(again.len, sizeof(json) - 1);
    assert_memory_equal(again.bytes, json, again.len);
    buf_fini(&protobuf);
    buf_fini(&again);
}

static void
an_empty_frame_is_a_frame_without_commands(void **state)
{
    (void)state;
    struct codec_error error;
    const Switchyard__V1__ClientFrame *frame = read_client(CODEC_PROTOBUF, NULL, 0, &error);
    assert_non_null(frame);
    assert_int_equal(frame->n_commands, 0);
    frame = read_client(CODEC_JSON, "{}", 2, &error);
    assert_non_null(frame);
    assert_int_equal(frame->n_commands, 0);
}

static void
errors_of_either_format_name_the_place(void **state)
{
    (void)state;
    static const char json[] = "{\"commands\":[{\"send\":{\"txet\":\"\"}}]}";
    struct codec_error error;
    assert_null(read_client(CODEC_JSON, json, sizeof(json) - 1, &error));
    assert_string_equal(error.text, "commands[0].send: unknown field 'txet' (did you mean 'text'?) "
                                    "at offset 22");
    assert_null(read_client(CODEC_PROTOBUF, "\x0a\x05\x1a\x03\x22\x01\xff", 7, &error));
    assert_string_equal(error.text, "Send.text: not UTF-8 at offset 6");
}

static void
bounds_hold_for_json_too(void **state)
{
    (void)state;
    struct codec_error error;
    struct buf json = {0};
    for (unsigned extra = 0; extra < 2; extra++) {
        buf_clear(&json);
        buf_append(&json, "{\"commands\":[{}", 15);
        for (unsigned i = 1; i < CODEC_MAX_COMMANDS + extra; i++)
            buf_append(&json, ",{}", 3);
        buf_append(&json, "]}", 2);
        assert_int_equal(read_client(CODEC_JSON, json.bytes, json.len, &error) == NULL, extra);
        assert_string_equal(error.text, extra ? "commands: more than 256" : "");

        buf_clear(&json);
        buf_append(&json, "{\"commands\":[{\"send\":{\"to\":[\"\"", 30);
        for (unsigned i = 1; i < CODEC_MAX_RECIPIENTS + extra; i++)
            buf_append(&json, ",\"\"", 3);
        buf_append(&json, "]}}]}", 5);
        assert_int_equal(read_client(CODEC_JSON, json.bytes, json.len, &error) == NULL, extra);
        assert_string_equal(error.text, extra ? "commands[0].send.to: more than 1000" : "");
    }
    // 66 times 1,000 recipients: no list is too long, all of them are too many.
    buf_clear(&json);
    buf_append(&json, "{\"commands\":[{}", 15);
    for (unsigned i = 0; i < 66; i++) {
        buf_append(&json, ",{\"send\":{\"to\":[\"\"", 18);
        for (unsigned j = 1; j < CODEC_MAX_RECIPIENTS; j++)
            buf_append(&json, ",\"\"", 3);
        buf_append(&json, "]}}", 3);
    }
    buf_append(&json, "]}", 2);
    assert_null(read_client(CODEC_JSON, json.bytes, json.len, &error));
    assert_string_equal(error.text, "more than 65536 elements");
    buf_fini(&json);
}

// An event with a message of `len` bytes of text, which the caller owns.
static void
make_event(Switchyard__V1__Event *event, Switchyard__V1__Message *message, char *text)
{
    static char from[] = "alice";
    switchyard__v1__event__init(event);
    switchyard__v1__message__init(message);
    message->from = from;
    message->payload_case = SWITCHYARD__V1__MESSAGE__PAYLOAD_TEXT;
    message->text = text;
    event->event_case = SWITCHYARD__V1__EVENT__EVENT_MESSAGE;
    event->message = message;
}

static void
an_event_is_written_as_a_frame_that_holds_it(void **state)
{
    (void)state;
    // Around the lengths at which a varint grows by a byte.
    const size_t lens[] = {0, 1, 90, 100, 110, 113, 120, 127, 128, 1000, 16370, 16384, 65536};
    for (size_t i = 0; i < LENGTH(lens); i++) {
        char *text = calloc(1, lens[i] + 1);
        Switchyard__V1__Event event;
        Switchyard__V1__Message message;
        memset(text, 'x', lens[i]);
        make_event(&event, &message, text);
        Switchyard__V1__Event *events[] = {&event};
        Switchyard__V1__ServerFrame frame = SWITCHYARD__V1__SERVER_FRAME__INIT;
        frame.n_events = 1;
        frame.events = events;
        size_t len = protobuf_c_message_get_packed_size(&frame.base);
        uint8_t *expected = malloc(len);
        protobuf_c_message_pack(&frame.base, expected);
        struct buf out = {0};
        buf_append(&out, "before", 6); // what is there stays
        codec_write_event(CODEC_PROTOBUF, &event, &out);
        assert_int_equal(out.len, 6 + len);
        assert_memory_equal(out.bytes, "before", 6);
        assert_memory_equal(out.bytes + 6, expected, len);

        uint8_t *packed = malloc(len);
        size_t packed_len = protobuf_c_message_pack(&event.base, packed);
        buf_clear(&out);
        assert_int_equal(codec_wrap_event(CODEC_PROTOBUF, packed, packed_len, &arena, &out), 0);
        assert_int_equal(out.len, len);
        assert_memory_equal(out.bytes, expected, len);

        struct buf json = {0};
        buf_clear(&out);
        arena_clear(&arena);
        codec_write_event(CODEC_JSON, &event, &json);
        assert_int_equal(codec_wrap_event(CODEC_JSON, packed, packed_len, &arena, &out), 0);
        assert_int_equal(out.len, json.len);
        assert_memory_equal(out.bytes, json.bytes, json.len);
        buf_fini(&json);
        buf_fini(&out);
        free(packed);
        free(expected);
        free(text);
    }
}

static void
frames_of_events_can_be_joined(void **state)
{
    (void)state;
    Switchyard__V1__Event event;
    Switchyard__V1__Message message;
    struct codec_error error;
    struct buf out = {0};
    make_event(&event, &message, (char[]){"one"});
    codec_write_event(CODEC_PROTOBUF, &event, &out);
    make_event(&event, &message, (char[]){"two"});
    codec_write_event(CODEC_PROTOBUF, &event, &out);
    arena_clear(&arena);
    const Switchyard__V1__ServerFrame *frame =
        codec_read_server(CODEC_PROTOBUF, out.bytes, out.len, &arena, &error);
    assert_non_null(frame);
    assert_int_equal(frame->n_events, 2);
    assert_string_equal(frame->events[0]->message->text, "one");
    assert_string_equal(frame->events[1]->message->text, "two");
    buf_fini(&out);
}

static void
an_event_in_json_is_a_frame_of_one(void **state)
{
    (void)state;
    static const char expected[] =
        "{\"events\":[{\"message\":{\"from\":\"alice\",\"text\":\"\\\"hi\\\"\"}}]}";
    Switchyard__V1__Event event;
    Switchyard__V1__Message message;
    struct codec_error error;
    struct buf out = {0};
    make_event(&event, &message, (char[]){"\"hi\""});
    codec_write_event(CODEC_JSON, &event, &out);
    assert_int_equal(out.len, sizeof(expected) - 1);
    assert_memory_equal(out.bytes, expected, out.len);
    arena_clear(&arena);
    const Switchyard__V1__ServerFrame *frame =
        codec_read_server(CODEC_JSON, out.bytes, out.len, &arena, &error);
    assert_non_null(frame);
    assert_string_equal(frame->events[0]->message->text, "\"hi\"");
    buf_fini(&out);
}

static void
an_event_that_is_not_sound_is_not_wrapped_as_json(void **state)
{
    (void)state;
    struct buf out = {0};
    const char *const bad[] = {"\x1a\x05", "\x1a\x03\x22\x01\xff", "\x0b"};
    for (size_t i = 0; i < LENGTH(bad); i++) {
        arena_clear(&arena);
        assert_int_equal(codec_wrap_event(CODEC_JSON, bad[i], strlen(bad[i]), &arena, &out), -1);
        assert_int_equal(out.len, 0);
    }
    buf_fini(&out);
}

static void
the_head_of_a_websocket_message_grows_with_its_length(void **state)
{
    (void)state;
    static const struct {
        size_t len;
        size_t head_len;
        uint8_t head[CODEC_WS_HEAD_MAX];
    } cases[] = {
        {0, 2, {0x82, 0}},
        {1, 2, {0x82, 1}},
        {125, 2, {0x82, 125}},
        {126, 4, {0x82, 126, 0, 126}},
        {65535, 4, {0x82, 126, 0xff, 0xff}},
        {65536, 10, {0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0}},
        {0x123456789a, 10, {0x82, 127, 0, 0, 0, 0x12, 0x34, 0x56, 0x78, 0x9a}},
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        uint8_t head[CODEC_WS_HEAD_MAX];
        assert_int_equal(codec_ws_head(CODEC_PROTOBUF, cases[i].len, head), cases[i].head_len);
        assert_memory_equal(head, cases[i].head, cases[i].head_len);
        assert_int_equal(codec_ws_head(CODEC_JSON, cases[i].len, head), cases[i].head_len);
        assert_int_equal(head[0], 0x81);
        assert_memory_equal(head + 1, cases[i].head + 1, cases[i].head_len - 1);
    }
}

static void
a_bus_frame_grows_item_by_item(void **state)
{
    (void)state;
    Switchyard__Bus__V1__Invalidate invalidate;
    Switchyard__Bus__V1__Envelope envelope;
    Switchyard__Bus__V1__BusItem item;
    switchyard__bus__v1__invalidate__init(&invalidate);
    switchyard__bus__v1__envelope__init(&envelope);
    switchyard__bus__v1__bus_item__init(&item);
    uint8_t event[300] = {0};
    struct buf out = {0};
    codec_bus_start(NODE, &out);
    invalidate.user = (char[]){"bob"};
    item.item_case = SWITCHYARD__BUS__V1__BUS_ITEM__ITEM_INVALIDATE;
    item.invalidate = &invalidate;
    codec_bus_append(&item, &out);
    char *to[] = {(char[]){"carol"}, (char[]){"dave"}};
    envelope.ref = 9;
    envelope.n_to = 2;
    envelope.to = to;
    envelope.event = (ProtobufCBinaryData){sizeof(event), event};
    item.item_case = SWITCHYARD__BUS__V1__BUS_ITEM__ITEM_ENVELOPE;
    item.envelope = &envelope;
    codec_bus_append(&item, &out);

    arena_clear(&arena);
    const Switchyard__Bus__V1__BusFrame *frame = codec_read_bus(out.bytes, out.len, &arena);
    assert_non_null(frame);
    assert_string_equal(frame->origin, NODE);
    assert_int_equal(frame->n_items, 2);
    assert_string_equal(frame->items[0]->invalidate->user, "bob");
    assert_int_equal(frame->items[1]->envelope->ref, 9);
    assert_string_equal(frame->items[1]->envelope->to[1], "dave");
    assert_int_equal(frame->items[1]->envelope->event.len, sizeof(event));
    buf_fini(&out);
}

static void
start_call(const void *origin)
{
    struct buf out = {0};
    codec_bus_start(origin, &out);
    buf_fini(&out);
}

static void
a_bus_frame_of_an_invalid_node_is_our_fault(void **state)
{
    (void)state;
    assert_true(aborts(start_call, "edge-1"));
    assert_false(aborts(start_call, NODE));
}

static void
poison_on_the_bus_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
    } bad[] = {
        {"", 0}, // no origin
        {"\x0a\x06"
         "edge-1",
         8},                                                  // no incarnation
        {"\x0a\x17" NODE "\x12\x05", 27},                     // cut
        {"\x0a\x17" NODE "\x12\x03\x0a\x05x", 30},            // a length beyond its item
        {"\x0a\x17" NODE "\x13", 26},                         // a group
        {"\x0a\x17" NODE "\x12\x05\x22\x03\x0a\x01\xff", 32}, // a user that is not UTF-8
        {"\x0a\x18" NODE "\n", 26},
    };
    for (size_t i = 0; i < LENGTH(bad); i++) {
        arena_clear(&arena);
        assert_null(codec_read_bus(bad[i].bytes, bad[i].len, &arena));
    }
    arena_clear(&arena);
    assert_non_null(codec_read_bus("\x0a\x17" NODE, 25, &arena));
    // An item of a kind that is not known yet is there, and empty.
    arena_clear(&arena);
    const Switchyard__Bus__V1__BusFrame *frame =
        codec_read_bus("\x0a\x17" NODE "\x12\x04\xba\x01\x01x", 31, &arena);
    assert_non_null(frame);
    assert_int_equal(frame->items[0]->item_case, 0);
}

static void
heartbeats_node_downs_and_hints_name_a_valid_node(void **state)
{
    (void)state;
    arena_clear(&arena);
    const Switchyard__Bus__V1__Heartbeat *beat =
        codec_read_heartbeat("\x0a\x17" NODE "\x10\x01\x38\x07", 29, &arena);
    assert_non_null(beat);
    assert_string_equal(beat->node, NODE);
    assert_int_equal(beat->state, SWITCHYARD__BUS__V1__NODE_STATE__NODE_STATE_UP);
    assert_int_equal(beat->seq, 7);
    const Switchyard__Bus__V1__NodeDown *down =
        codec_read_node_down("\x0a\x17" NODE "\x10\x05", 27, &arena);
    assert_non_null(down);
    assert_int_equal(down->links_removed, 5);
    assert_null(codec_read_heartbeat("", 0, &arena));
    assert_null(codec_read_heartbeat("\x0a\x06"
                                     "edge-1",
                                     8, &arena));
    assert_null(codec_read_heartbeat("\x0a\x17", 2, &arena));
    assert_null(codec_read_node_down("", 0, &arena));
    assert_null(codec_read_node_down("\x0a\x06"
                                     "edge-1",
                                     8, &arena));
    assert_null(codec_read_node_down("\xff", 1, &arena));
    assert_non_null(codec_read_node_unheard("\x0a\x17" NODE "\x12\x17" NODE, 50, &arena));
    assert_null(codec_read_node_unheard("\x0a\x17" NODE, 25, &arena)); // by nobody
    assert_null(codec_read_node_unheard("\x12\x17" NODE, 25, &arena)); // about nobody
    assert_null(codec_read_node_unheard("\xff", 1, &arena));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_is_the_same_in_both_formats),
        cmocka_unit_test(an_empty_frame_is_a_frame_without_commands),
        cmocka_unit_test(errors_of_either_format_name_the_place),
        cmocka_unit_test(bounds_hold_for_json_too),
        cmocka_unit_test(an_event_is_written_as_a_frame_that_holds_it),
        cmocka_unit_test(frames_of_events_can_be_joined),
        cmocka_unit_test(an_event_in_json_is_a_frame_of_one),
        cmocka_unit_test(an_event_that_is_not_sound_is_not_wrapped_as_json),
        cmocka_unit_test(the_head_of_a_websocket_message_grows_with_its_length),
        cmocka_unit_test(a_bus_frame_grows_item_by_item),
        cmocka_unit_test(a_bus_frame_of_an_invalid_node_is_our_fault),
        cmocka_unit_test(poison_on_the_bus_is_refused),
        cmocka_unit_test(heartbeats_node_downs_and_hints_name_a_valid_node),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
