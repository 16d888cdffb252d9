// What decoding costs: never more than codec_arena_size, and an arena that is smaller
// than needed, by however much, makes decoding fail and nothing else.
#include "claims.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kinds.pb-c.h"
#include "proto/codec.h"
#include "proto/json.h"

typedef ProtobufCMessage *read_function(const uint8_t *bytes, size_t len, struct arena *arena);

static ProtobufCMessage *
read_protobuf(const uint8_t *bytes, size_t len, struct arena *arena)
{
    struct codec_error error;
    return (void *)codec_read_client(CODEC_PROTOBUF, bytes, len, arena, &error);
}

static ProtobufCMessage *
read_json(const uint8_t *bytes, size_t len, struct arena *arena)
{
    struct codec_error error = {.text = ""};
    ProtobufCMessage *message = (void *)codec_read_client(CODEC_JSON, bytes, len, arena, &error);
    if (message == NULL)
        assert_non_null(strstr(error.text, "more than there is room to decode"));
    return message;
}

static ProtobufCMessage *
read_kinds_json(const uint8_t *bytes, size_t len, struct arena *arena)
{
    struct json_error error;
    return json_read(&switchyard__test__kinds__descriptor, (const char *)bytes, len, arena, &error);
}

static ProtobufCMessage *
read_kinds_protobuf(const uint8_t *bytes, size_t len, struct arena *arena)
{
    return protobuf_c_message_unpack(&switchyard__test__kinds__descriptor, &arena->allocator, len,
                                     bytes);
}

static ProtobufCMessage *
read_server(const uint8_t *bytes, size_t len, struct arena *arena)
{
    struct codec_error error;
    return (void *)codec_read_server(CODEC_PROTOBUF, bytes, len, arena, &error);
}

static ProtobufCMessage *
read_bus(const uint8_t *bytes, size_t len, struct arena *arena)
{
    return (void *)codec_read_bus(bytes, len, arena);
}

// Reads with arenas of every size from none to enough.
static void
starve(read_function *read, const void *bytes, size_t len)
{
    size_t enough = 0;
    for (size_t size = 0; enough == 0; size++) {
        struct arena arena;
        assert_true(size < 100000);
        arena_init(&arena, size);
        const ProtobufCMessage *message = read(bytes, len, &arena);
        if (message != NULL) {
            enough = size;
            assert_true(protobuf_c_message_check(message));
        }
        arena_fini(&arena);
    }
    assert_true(enough > 100);
}

static const char rich_json[] = "{\"commands\":[{\"id\":1,\"hello\":{\"token\":\"t\",\"device\":"
                                "\"\\u00e9\"}},{\"send\":{\"to\":["
                                "\"a\",\"b\",\"c\",\"d\",\"e\"],\"body\":\"AQID\",\"contentType\":"
                                "\"text/plain\"}},{\"ping\":{}}]}";

static const char kinds_json[] = "{\"u32\":7,\"text\":\"text\",\"body\":\"AQID\",\"inner\":{"
                                 "\"texts\":[\"a\",\"b\"]},\"choiceKinds\":"
                                 "{\"bodies\":[\"\",\"AQ==\"]},\"numbers\":[1,2,3,4,5],\"inners\":["
                                 "{},{},{},{},{\"bigs\":[\"1\"]}]}";

static void
decoding_json_in_too_little_room_fails_cleanly(void **state)
{
    (void)state;
    starve(read_json, rich_json, sizeof(rich_json) - 1);
    starve(read_kinds_json, kinds_json, sizeof(kinds_json) - 1);
}

static void
decoding_protobuf_in_too_little_room_fails_cleanly(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 1 << 16);
    struct buf packed = {0};
    const ProtobufCMessage *message =
        read_json((const uint8_t *)rich_json, sizeof(rich_json) - 1, &arena);
    packed.len = protobuf_c_message_pack(
        message, buf_reserve(&packed, protobuf_c_message_get_packed_size(message)));
    buf_append(&packed, "\x12\x03xyz\x12\x00", 7); // unknown fields
    for (unsigned i = 0; i < 40; i++)
        buf_append(&packed, "\x0a\x00", 2); // more elements than protobuf-c notes on its stack
    starve(read_protobuf, packed.bytes, packed.len);

    arena_clear(&arena);
    buf_clear(&packed);
    message = read_kinds_json((const uint8_t *)kinds_json, sizeof(kinds_json) - 1, &arena);
    packed.len = protobuf_c_message_pack(
        message, buf_reserve(&packed, protobuf_c_message_get_packed_size(message)));
    starve(read_kinds_protobuf, packed.bytes, packed.len);
    buf_fini(&packed);
    arena_fini(&arena);
}

static void
decoding_the_bus_in_too_little_room_fails_cleanly(void **state)
{
    (void)state;
    static const char frame[] =
        "\x0a\x17"
        "edge-1.0123456789abcdef"
        "\x12\x0b\x0a\x09\x08\x01\x12\x01u\x22\x02hi\x12\x04\x22\x02\x0a\x00";
    starve(read_bus, frame, sizeof(frame) - 1);
}

// The room is exactly what codec_arena_size says; answers how much of it was used.
static size_t
read_in_stated_room(read_function *read, const void *bytes, size_t len)
{
    struct arena arena;
    arena_init(&arena, codec_arena_size(len));
    if (read(bytes, len, &arena) == NULL)
        fail_msg("%zu bytes need more than %zu", len, arena.size);
    size_t used = arena.used;
    arena_fini(&arena);
    return used;
}

// `count` times `element`, at the end of `out`.
static void
append_times(struct buf *out, const char *element, size_t len, size_t count)
{
    for (size_t i = 0; i < count; i++)
        buf_append(out, element, len);
}

// A field with the content of `inner`, at the end of `out`.
static void
append_message(struct buf *out, uint8_t tag, const struct buf *inner)
{
    uint8_t head[6] = {tag};
    size_t at = 1;
    size_t len = inner->len;
    for (; len >= 0x80; len >>= 7)
        head[at++] = (uint8_t)(len | 0x80);
    head[at++] = (uint8_t)len;
    buf_append(out, head, at);
    buf_append(out, inner->bytes, inner->len);
}

// Numbers of elements around those at which protobuf-c takes the next block of notes.
static const size_t counts[] = {0,   1,   2,   15,   16,   17,   48,    49,   112,
                                113, 240, 241, 1008, 1009, 8176, 30000, 65000};

static const struct {
    const char *bytes;
    size_t len;
} cheapest[] = {
    {"\x10\x00", 2},     // unknown to ClientFrame, ServerFrame and BusFrame's neighbours
    {"\x7a\x00", 2},     // unknown and empty
    {"\x7a\x01x", 3},    //
    {"\x7d\0\0\0\0", 5}, //
};

static void
unknown_fields_fit_in_the_stated_room(void **state)
{
    (void)state;
    for (size_t i = 0; i < LENGTH(cheapest); i++) {
        for (size_t j = 0; j < LENGTH(counts); j++) {
            struct buf frame = {0};
            append_times(&frame, cheapest[i].bytes, cheapest[i].len, counts[j]);
            read_in_stated_room(read_protobuf, frame.bytes, frame.len);
            buf_fini(&frame);
        }
    }
}

static void
empty_messages_fit_in_the_stated_room(void **state)
{
    (void)state;
    for (size_t j = 0; j < LENGTH(counts); j++) {
        struct buf frame = {0};
        append_times(&frame, "\x0a\x00", 2, counts[j]);
        read_in_stated_room(read_server, frame.bytes, frame.len);
        if (counts[j] <= CODEC_MAX_COMMANDS)
            read_in_stated_room(read_protobuf, frame.bytes, frame.len);
        buf_clear(&frame);
        buf_append(&frame,
                   "\x0a\x17"
                   "edge-1.0123456789abcdef",
                   25);
        append_times(&frame, "\x12\x00", 2, counts[j]);
        read_in_stated_room(read_bus, frame.bytes, frame.len);
        buf_fini(&frame);
    }
}

// Events and items with as many messages inside as can be, each in few bytes.
static void
messages_in_messages_fit_in_the_stated_room(void **state)
{
    (void)state;
    static const char *const commands[] = {"\x0a\x02\x1a\x00", "\x0a\x02\x12\x00",
                                           "\x0a\x08\x12\x00\x1a\x00\x22\x00\x2a\x00"};
    static const char *const events[] = {"\x0a\x02\x12\x00", "\x0a\x02\x22\x00", "\x0a\x02\x1a\x00",
                                         "\x0a\x04\x22\x02\x32\x00"};
    const size_t command_lens[] = {4, 4, 10};
    const size_t event_lens[] = {4, 4, 4, 6};
    for (size_t j = 0; j < LENGTH(counts); j++) {
        for (size_t i = 0; i < LENGTH(commands) && counts[j] <= CODEC_MAX_COMMANDS; i++) {
            struct buf frame = {0};
            append_times(&frame, commands[i], command_lens[i], counts[j]);
            read_in_stated_room(read_protobuf, frame.bytes, frame.len);
            buf_fini(&frame);
        }
        for (size_t i = 0; i < LENGTH(events) && counts[j] <= CODEC_MAX_ITEMS / 3; i++) {
            struct buf frame = {0};
            append_times(&frame, events[i], event_lens[i], counts[j]);
            read_in_stated_room(read_server, frame.bytes, frame.len);
            buf_fini(&frame);
        }
    }
}

// Sends of which each holds `count` times one cheap element.
static void
sends_fit_in_the_stated_room(void **state)
{
    (void)state;
    static const char *const elements[] = {
        "\x0a\x00",          // to
        "\x0a\x01x",         //
        "\x12\x00",          // to_device, each but the last in vain
        "\x1a\x01x\x22\x00", // body and text in turn
        "\x48\x00",          // unknown
    };
    const size_t lens[] = {2, 3, 2, 5, 2};
    size_t worst = 0;
    for (size_t i = 0; i < LENGTH(elements); i++) {
        for (size_t j = 0; j < LENGTH(counts) && counts[j] <= CODEC_MAX_RECIPIENTS; j++) {
            struct buf send = {0};
            struct buf command = {0};
            struct buf frame = {0};
            append_times(&send, elements[i], lens[i], counts[j]);
            append_message(&command, 0x1a, &send);
            for (size_t k = 0; k < CODEC_MAX_COMMANDS && (k + 1) * (2 * counts[j] + 2) < 65536; k++)
                append_message(&frame, 0x0a, &command);
            size_t used = read_in_stated_room(read_protobuf, frame.bytes, frame.len);
            if (used / frame.len > worst)
                worst = used / frame.len;
            buf_fini(&send);
            buf_fini(&command);
            buf_fini(&frame);
        }
    }
    assert_true(worst > 20); // these are bad cases, or the test has lost its point
}

static void
json_fits_in_the_stated_room(void **state)
{
    (void)state;
    static const char *const elements[] = {
        "{}", "{\"send\":{}}", "{\"send\":{\"to\":[\"\"]}}",
        "{\"send\":{\"to\":[\"\",\"\",\"\",\"\",\"\"],\"text\":\"\"}}"};
    for (size_t i = 0; i < LENGTH(elements); i++) {
        for (size_t count = 1; count <= CODEC_MAX_COMMANDS; count++) {
            struct buf frame = {0};
            buf_append(&frame, "{\"commands\":[", 13);
            for (size_t k = 0; k < count; k++) {
                buf_append(&frame, ",", k > 0 ? 1 : 0);
                buf_append(&frame, elements[i], strlen(elements[i]));
            }
            buf_append(&frame, "]}", 2);
            read_in_stated_room(read_json, frame.bytes, frame.len);
            buf_fini(&frame);
        }
    }
    // 65 times 1,000 recipients.
    struct buf frame = {0};
    buf_append(&frame, "{\"commands\":[{}", 15);
    for (unsigned i = 0; i < 65; i++) {
        buf_append(&frame, ",{\"send\":{\"to\":[\"\"", 18);
        append_times(&frame, ",\"\"", 3, CODEC_MAX_RECIPIENTS - 1);
        buf_append(&frame, "]}}", 3);
    }
    buf_append(&frame, "]}", 2);
    read_in_stated_room(read_json, frame.bytes, frame.len);
    buf_fini(&frame);
}

static void
the_stated_room_stops_growing_with_the_number_of_elements(void **state)
{
    (void)state;
    size_t limit = 2 * CODEC_MAX_ITEMS;
    assert_true(codec_arena_size(0) > 0);
    assert_true(codec_arena_size(limit) > codec_arena_size(limit - 2) + 2);
    assert_int_equal(codec_arena_size(limit + 1000), codec_arena_size(limit) + 1000);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decoding_json_in_too_little_room_fails_cleanly),
        cmocka_unit_test(decoding_protobuf_in_too_little_room_fails_cleanly),
        cmocka_unit_test(decoding_the_bus_in_too_little_room_fails_cleanly),
        cmocka_unit_test(unknown_fields_fit_in_the_stated_room),
        cmocka_unit_test(empty_messages_fit_in_the_stated_room),
        cmocka_unit_test(messages_in_messages_fit_in_the_stated_room),
        cmocka_unit_test(sends_fit_in_the_stated_room),
        cmocka_unit_test(json_fits_in_the_stated_room),
        cmocka_unit_test(the_stated_room_stops_growing_with_the_number_of_elements),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
