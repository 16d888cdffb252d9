// sound.c: which encodings are let through to protobuf-c, and what they may cost.
#include "claims.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kinds.pb-c.h"
#include "proto/codec.h"

#define KINDS (&switchyard__test__kinds__descriptor)
#define FRAME (&switchyard__v1__client_frame__descriptor)

// Exactly as long as the encoding, so that a sanitizer sees a byte read too far.
static bool
is_sound(const ProtobufCMessageDescriptor *type, const void *bytes, size_t len,
         struct codec_error *error)
{
    uint8_t *copy = malloc(len > 0 ? len : 1);
    memcpy(copy, bytes, len);
    *error = (struct codec_error){.text = ""};
    bool sound = codec_is_sound(type, copy, len, error);
    assert_int_equal(sound, error->text[0] == '\0');
    free(copy);
    return sound;
}

#define BYTES(literal) (literal), sizeof(literal) - 1

struct encoding {
    const char *bytes;
    size_t len;
    const char *error; // NULL: sound
};

static void
check(const ProtobufCMessageDescriptor *type, const struct encoding *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct codec_error error;
        bool sound = is_sound(type, cases[i].bytes, cases[i].len, &error);
        if (sound != (cases[i].error == NULL))
            fail_msg("case %zu: %s", i, sound ? "taken" : error.text);
        if (!sound)
            assert_string_equal(error.text, cases[i].error);
        // What passes is what protobuf-c unpacks.
        void *message =
            protobuf_c_message_unpack(type, NULL, cases[i].len, (const uint8_t *)cases[i].bytes);
        if (sound)
            assert_non_null(message);
        if (message != NULL)
            protobuf_c_message_free_unpacked(message, NULL);
    }
}

static void
tags_and_lengths_must_fit(void **state)
{
    (void)state;
    static const struct encoding cases[] = {
        {BYTES(""), NULL},
        {BYTES("\x08\x01"), NULL},
        {BYTES("\x08"), "Kinds.i32: a varint that does not fit at offset 1"},
        {BYTES("\x88"), "Kinds: a tag that cannot be at offset 0"},
        {BYTES("\x00\x01"), "Kinds: a tag that cannot be at offset 0"},
        {BYTES("\x80\x00\x01"), "Kinds: a tag that cannot be at offset 0"},
        {BYTES("\x88\x00\x01"), NULL},             // longer than it need be
        {BYTES("\x88\x80\x80\x80\x00\x01"), NULL}, //
        {BYTES("\xf8\xff\xff\xff\x0f\x00"), NULL}, // the highest field number
        {BYTES("\x80\x80\x80\x80\x10\x00"), "Kinds: a tag that cannot be at offset 0"},
        {BYTES("\x88\x80\x80\x80\x80\x00\x01"), "Kinds: a tag that cannot be at offset 0"},
        {BYTES("\x7a\x01"), "Kinds.text: a length that does not fit at offset 1"},
        {BYTES("\x7a\x01x"), NULL},
        {BYTES("\x7a\x02x"), "Kinds.text: a length that does not fit at offset 1"},
        {BYTES("\x7a\x80\x80\x80\x80\x00"), NULL},
        {BYTES("\x7a\x80\x80\x80\x80\x80\x00"),
         "Kinds.text: a length that does not fit at offset 1"},
        {BYTES("\x7a\xff\xff\xff\xff\x0f"), "Kinds.text: a length that does not fit at offset 1"},
        {BYTES("\x7a"), "Kinds.text: a length that does not fit at offset 1"},
        {BYTES("\x1d\x01\x02\x03\x04"), NULL},
        {BYTES("\x1d\x01\x02\x03"), "Kinds.sf32: cut short at offset 1"},
        {BYTES("\x41\x01\x02\x03\x04\x05\x06\x07\x08"), NULL},
        {BYTES("\x41\x01\x02\x03\x04\x05\x06\x07"), "Kinds.sf64: cut short at offset 1"},
        {BYTES("\x08\x01\x08"), "Kinds.i32: a varint that does not fit at offset 3"},
    };
    check(KINDS, cases, LENGTH(cases));
}

static void
varints_have_at_most_64_bits(void **state)
{
    (void)state;
    static const struct encoding cases[] = {
        {BYTES("\x48\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), NULL},
        {BYTES("\x48\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"),
         "Kinds.u64: a varint that does not fit at offset 1"},
        {BYTES("\x48\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00"),
         "Kinds.u64: a varint that does not fit at offset 1"},
        {BYTES("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), NULL}, // -1 as an int32
    };
    check(KINDS, cases, LENGTH(cases));
}

static void
wire_types_must_be_those_of_the_field(void **state)
{
    (void)state;
    static const struct encoding cases[] = {
        {BYTES("\x09\x01\x02\x03\x04\x05\x06\x07\x08"),
         "Kinds.i32: wire type 1 instead of 0 at offset 0"},
        {BYTES("\x0a\x00"), "Kinds.i32: wire type 2 instead of 0 at offset 0"},
        {BYTES("\x78\x00"), "Kinds.text: wire type 0 instead of 2 at offset 0"},
        {BYTES("\x18\x00"), "Kinds.sf32: wire type 0 instead of 5 at offset 0"},
        {BYTES("\x40\x00"), "Kinds.sf64: wire type 0 instead of 1 at offset 0"},
        {BYTES("\x6d\x00\x00\x00\x00"), "Kinds.flag: wire type 5 instead of 0 at offset 0"},
        {BYTES("\x88\x01\x00"), "Kinds.inner: wire type 0 instead of 2 at offset 0"},
        {BYTES("\xd0\x02\x00"), "Kinds.texts: wire type 0 instead of 2 at offset 0"},
        {BYTES("\x0b\x0c"), "Kinds.i32: wire type 3 instead of 0 at offset 0"},
        {BYTES("\xab\x06\xac\x06"), "Kinds: wire type 3, which is not used at offset 2"}, // groups
        {BYTES("\xac\x06"), "Kinds: wire type 4, which is not used at offset 2"},
        {BYTES("\xae\x06"), "Kinds: wire type 6, which is not used at offset 2"},
        {BYTES("\xaf\x06"), "Kinds: wire type 7, which is not used at offset 2"},
    };
    check(KINDS, cases, LENGTH(cases));
}

static void
unknown_fields_are_let_through_if_they_fit(void **state)
{
    (void)state;
    static const struct encoding cases[] = {
        {BYTES("\xa8\x06\x01"), NULL},
        {BYTES("\xa9\x06\x01\x02\x03\x04\x05\x06\x07\x08"), NULL},
        {BYTES("\xaa\x06\x02\xff\x00"), NULL}, // any bytes
        {BYTES("\xad\x06\x01\x02\x03\x04"), NULL},
        {BYTES("\xa8\x06"), "Kinds: a varint that does not fit at offset 2"},
        {BYTES("\xa9\x06\x01"), "Kinds: cut short at offset 2"},
        {BYTES("\xaa\x06\x02\xff"), "Kinds: a length that does not fit at offset 2"},
        {BYTES("\xad\x06\x01"), "Kinds: cut short at offset 2"},
    };
    check(KINDS, cases, LENGTH(cases));
}

static void
strings_are_utf8_without_nul_and_bytes_are_anything(void **state)
{
    (void)state;
    static const struct encoding cases[] = {
        {BYTES("\x7a\x02\xc3\xa9"), NULL},
        {BYTES("\x7a\x01\xff"), "Kinds.text: not UTF-8 at offset 2"},
        {BYTES("\x7a\x01\xc3"), "Kinds.text: not UTF-8 at offset 2"},
        {BYTES("\x7a\x01\xc3\x7a\x01\xa9"), "Kinds.text: not UTF-8 at offset 2"},
        {BYTES("\x7a\x03\xed\xa0\x80"), "Kinds.text: not UTF-8 at offset 2"},
        {BYTES("\x7a\x03"
               "a\0b"),
         "Kinds.text: U+0000 cannot be in a string at offset 2"},
        {BYTES("\xd2\x02\x01\xff"), "Kinds.texts: not UTF-8 at offset 3"},
        {BYTES("\x9a\x01\x01\xff"), "Kinds.choice_text: not UTF-8 at offset 3"},
        {BYTES("\x82\x01\x02\xff\x00"), NULL},
        {BYTES("\xda\x02\x02\xff\x00"), NULL},
    };
    check(KINDS, cases, LENGTH(cases));
}

static void
messages_in_messages_end_with_their_length(void **state)
{
    (void)state;
    static const struct encoding cases[] = {
        {BYTES("\x8a\x01\x00"), NULL},
        {BYTES("\x8a\x01\x02\x08\x01\x08\x02"), NULL},
        {BYTES("\x8a\x01\x01\x08\x01\x08\x02"),
         "Kinds.i32: a varint that does not fit at offset 4"},
        {BYTES("\x8a\x01\x03\x7a\x02xy"), "Kinds.text: a length that does not fit at offset 4"},
        {BYTES("\x8a\x01\x03\x8a\x01\x01\x08"),
         "Kinds.inner: a length that does not fit at offset 5"},
        {BYTES("\x8a\x01\x04\x8a\x01\x01\x08"),
         "Kinds.i32: a varint that does not fit at offset 7"},
        {BYTES("\x8a\x01\x05\x8a\x01\x01\x08"),
         "Kinds.inner: a length that does not fit at offset 2"},
        {BYTES("\xe2\x02\x00\xe2\x02\x02\x08\x01"), NULL},
    };
    check(KINDS, cases, LENGTH(cases));
}

static void
a_message_is_not_given_twice(void **state)
{
    (void)state;
    static const struct encoding cases[] = {
        {BYTES("\x8a\x01\x00\x8a\x01\x00"), "Kinds.inner: given twice at offset 6"},
        {BYTES("\xa2\x01\x00\x7a\x00\xa2\x01\x00"), "Kinds.choice_kinds: given twice at offset 8"},
        {BYTES("\x8a\x01\x00\xa2\x01\x00"), NULL},
        {BYTES("\x08\x01\x08\x02"), NULL}, // of scalars the last one counts
        {BYTES("\x7a\x01"
               "a\x7a\x01"
               "b"),
         NULL},                                                            //
        {BYTES("\xe2\x02\x00\xe2\x02\x00"), NULL},                         // a list
        {BYTES("\xe2\x02\x03\x8a\x01\x00\xe2\x02\x03\x8a\x01\x00"), NULL}, // in two messages
    };
    check(KINDS, cases, LENGTH(cases));
}

static void
lists_of_numbers_may_be_packed_or_not(void **state)
{
    (void)state;
    static const struct encoding cases[] = {
        {BYTES("\xc2\x02\x03\x01\x80\x01"), NULL},
        {BYTES("\xc0\x02\x01\xc0\x02\x02"), NULL},
        {BYTES("\xc2\x02\x00"), NULL},
        {BYTES("\xc2\x02\x02\x01\x80"), "Kinds.numbers: a varint that does not fit at offset 4"},
        {BYTES("\x8a\x03\x02\x01\x02"), NULL},
        {BYTES("\xfa\x02\x08\x01\x02\x03\x04\x05\x06\x07\x08"), NULL},
        {BYTES("\xfa\x02\x05\x01\x02\x03\x04\x05"),
         "Kinds.words: a packed list that is not a multiple of 4 bytes at offset 3"},
        {BYTES("\xf2\x02\x08\x01\x02\x03\x04\x05\x06\x07\x08"), NULL},
        {BYTES("\xf2\x02\x07\x01\x02\x03\x04\x05\x06\x07"),
         "Kinds.doubles: a packed list that is not a multiple of 8 bytes at offset 3"},
        {BYTES("\xf1\x02\x01\x02\x03\x04\x05\x06\x07\x08"), NULL},
        {BYTES("\xca\x02\x02\x01\x00"), NULL},
    };
    check(KINDS, cases, LENGTH(cases));
}

// `depth` messages in each other, the innermost empty. The length.
static size_t
nest(unsigned depth, uint8_t *out)
{
    size_t len = 0;
    for (unsigned i = 1; i < depth; i++) {
        memmove(out + 3, out, len);
        out[0] = 0x8a;
        out[1] = 0x01;
        out[2] = (uint8_t)len;
        len += 3;
    }
    return len;
}

static void
eight_levels_are_sound_and_nine_are_not(void **state)
{
    (void)state;
    struct codec_error error;
    uint8_t bytes[64];
    assert_true(is_sound(KINDS, bytes, nest(8, bytes), &error));
    assert_false(is_sound(KINDS, bytes, nest(9, bytes), &error));
    assert_string_equal(error.text, "Kinds.inner: nested deeper than 8 at offset 24");
}

static void
elements_are_counted_up_to_the_bound(void **state)
{
    (void)state;
    enum { MAX = CODEC_MAX_ITEMS };
    struct codec_error error;
    uint8_t *bytes = malloc(3 * (MAX + 1));
    // Unknown fields.
    for (size_t i = 0; i <= MAX; i++)
        memcpy(bytes + 3 * i, "\xa8\x06\x00", 3);
    assert_true(is_sound(KINDS, bytes, 3 * MAX, &error));
    assert_false(is_sound(KINDS, bytes, 3 * (MAX + 1), &error));
    assert_string_equal(error.text, "Kinds: more than 65536 elements at offset 196608");
    // Elements of a packed list count beside the list itself.
    memset(bytes, 0, 3 * MAX);
    memcpy(bytes, "\xc2\x02\xff\xff\x03", 5); // 65535 numbers
    assert_true(is_sound(KINDS, bytes, 5 + 65535, &error));
    memcpy(bytes, "\xc2\x02\x80\x80\x04", 5); // 65536
    assert_false(is_sound(KINDS, bytes, 5 + 65536, &error));
    memcpy(bytes, "\xfa\x02\xfc\xff\x0f", 5); // 65535 words of 4 bytes
    bytes = realloc(bytes, 5 + 4 * MAX);
    assert_non_null(bytes);
    memset(bytes + 5, 0, 4 * MAX);
    assert_true(is_sound(KINDS, bytes, 5 + 4 * 65535, &error));
    memcpy(bytes, "\xfa\x02\x80\x80\x10", 5);
    assert_false(is_sound(KINDS, bytes, 5 + 4 * 65536, &error));
    free(bytes);
}

static void
a_frame_has_at_most_256_commands(void **state)
{
    (void)state;
    struct codec_error error;
    uint8_t bytes[2 * (CODEC_MAX_COMMANDS + 1)];
    for (size_t i = 0; i <= CODEC_MAX_COMMANDS; i++)
        memcpy(bytes + 2 * i, "\x0a\x00", 2);
    assert_true(is_sound(FRAME, bytes, sizeof(bytes) - 2, &error));
    assert_false(is_sound(FRAME, bytes, sizeof(bytes), &error));
    assert_string_equal(error.text, "ClientFrame.commands: more than 256 at offset 512");
    // The bound is that of clients' frames.
    assert_true(is_sound(&switchyard__v1__server_frame__descriptor, bytes, sizeof(bytes), &error));
}

static void
a_send_has_at_most_1000_recipients(void **state)
{
    (void)state;
    const ProtobufCMessageDescriptor *send = &switchyard__v1__send__descriptor;
    struct codec_error error;
    static uint8_t bytes[2 * (CODEC_MAX_RECIPIENTS + 1)];
    for (size_t i = 0; i <= CODEC_MAX_RECIPIENTS; i++)
        memcpy(bytes + 2 * i, "\x0a\x00", 2);
    assert_true(is_sound(send, bytes, sizeof(bytes) - 2, &error));
    assert_false(is_sound(send, bytes, sizeof(bytes), &error));
    assert_string_equal(error.text, "Send.to: more than 1000 at offset 2000");
}

static void
an_error_may_go_unread(void **state)
{
    (void)state;
    assert_false(codec_is_sound(KINDS, "\x00", 1, NULL));
    assert_true(codec_is_sound(KINDS, NULL, 0, NULL));
}

// Elements put together at random, one byte in half of them changed. The length.
static size_t
make_encoding(uint64_t *random, uint8_t *out, size_t size)
{
    static const struct encoding elements[] = {
        {BYTES("\x08\x01"), NULL},         {BYTES("\x1d\x01\x02\x03\x04"), NULL},
        {BYTES("\x48\xff\x01"), NULL},     {BYTES("\x7a\x02\xc3\xa9"), NULL},
        {BYTES("\x82\x01\x01\xff"), NULL}, {BYTES("\x8a\x01\x02\x08\x01"), NULL},
        {BYTES("\x9a\x01\x01x"), NULL},    {BYTES("\xc2\x02\x02\x01\x02"), NULL},
        {BYTES("\xd2\x02\x01y"), NULL},    {BYTES("\xe2\x02\x04\xa2\x01\x01\x00"), NULL},
        {BYTES("\xa8\x06\x00"), NULL},
    };
    size_t len = 0;
    for (;;) {
        const struct encoding *element = &elements[next_random(random) % LENGTH(elements)];
        if (element->len > size - len || next_random(random) % 8 == 0)
            break;
        memcpy(out + len, element->bytes, element->len);
        len += element->len;
    }
    if (len > 0 && next_random(random) % 2 == 0)
        out[next_random(random) % len] ^= (uint8_t)(1 << next_random(random) % 8);
    return len;
}

static void
what_is_sound_unpacks_whatever_the_bytes(void **state)
{
    (void)state;
    uint64_t random = 3;
    unsigned sound = 0;
    unsigned refused = 0;
    for (unsigned round = 0; round < 100000; round++) {
        uint8_t bytes[40];
        struct codec_error error;
        size_t len = make_encoding(&random, bytes, sizeof(bytes));
        if (!is_sound(KINDS, bytes, len, &error)) {
            refused++;
            continue;
        }
        sound++;
        ProtobufCMessage *message = protobuf_c_message_unpack(KINDS, NULL, len, bytes);
        assert_non_null(message);
        protobuf_c_message_free_unpacked(message, NULL);
    }
    assert_true(sound > 20000);
    assert_true(refused > 20000);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tags_and_lengths_must_fit),
        cmocka_unit_test(varints_have_at_most_64_bits),
        cmocka_unit_test(wire_types_must_be_those_of_the_field),
        cmocka_unit_test(unknown_fields_are_let_through_if_they_fit),
        cmocka_unit_test(strings_are_utf8_without_nul_and_bytes_are_anything),
        cmocka_unit_test(messages_in_messages_end_with_their_length),
        cmocka_unit_test(a_message_is_not_given_twice),
        cmocka_unit_test(lists_of_numbers_may_be_packed_or_not),
        cmocka_unit_test(eight_levels_are_sound_and_nine_are_not),
        cmocka_unit_test(elements_are_counted_up_to_the_bound),
        cmocka_unit_test(a_frame_has_at_most_256_commands),
        cmocka_unit_test(a_send_has_at_most_1000_recipients),
        cmocka_unit_test(an_error_may_go_unread),
        cmocka_unit_test(what_is_sound_unpacks_whatever_the_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
