// json_write.c
#include "claims.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "kinds.pb-c.h"
#include "maybe.pb-c.h"
#include "proto/json.h"
#include "switchyard/v1/client.pb-c.h"

typedef Switchyard__Test__Kinds Kinds;

// The initialisers protobuf-c generates cast constness away, which our warnings refuse.
static Kinds
no_kinds(void)
{
    Kinds kinds;
    switchyard__test__kinds__init(&kinds);
    return kinds;
}

static void
assert_written(const ProtobufCMessage *message, const char *expected)
{
    struct buf out = {0};
    json_write(message, &out);
    buf_append(&out, "", 1);
    assert_string_equal((const char *)out.bytes, expected);
    buf_fini(&out);
}

static void
defaults_are_left_out(void **state)
{
    (void)state;
    Kinds kinds = no_kinds();
    assert_written(&kinds.base, "{}");
    kinds.text = NULL; // as good as empty
    assert_written(&kinds.base, "{}");
}

static void
every_kind_of_scalar_is_written(void **state)
{
    (void)state;
    uint8_t body[] = {1, 2, 3, 0xff};
    Kinds inner = no_kinds();
    Kinds k = no_kinds();
    k.i32 = INT32_MIN;
    k.s32 = -1;
    k.sf32 = INT32_MAX;
    k.u32 = UINT32_MAX;
    k.f32 = 1;
    k.i64 = INT64_MIN;
    k.s64 = -1;
    k.sf64 = INT64_MAX;
    k.u64 = UINT64_MAX;
    k.f64 = 1;
    k.small = 0.1f;
    k.large = 0.1;
    k.flag = 1;
    k.colour = SWITCHYARD__TEST__COLOUR__COLOUR_DARK_BLUE;
    k.text = (char[]){"t"};
    k.body = (ProtobufCBinaryData){sizeof(body), body};
    k.inner = &inner;
    assert_written(&k.base,
                   "{\"i32\":-2147483648,\"s32\":-1,\"sf32\":2147483647,\"u32\":4294967295,"
                   "\"f32\":1,\"i64\":\"-9223372036854775808\",\"s64\":\"-1\","
                   "\"sf64\":\"9223372036854775807\",\"u64\":\"18446744073709551615\","
                   "\"f64\":\"1\",\"small\":0.1,\"large\":0.1,\"flag\":true,"
                   "\"colour\":\"COLOUR_DARK_BLUE\",\"text\":\"t\",\"body\":\"AQID/w==\","
                   "\"inner\":{}}");
}

static void
the_chosen_member_of_a_oneof_is_written_even_if_empty(void **state)
{
    (void)state;
    Kinds k = no_kinds();
    k.choice_case = SWITCHYARD__TEST__KINDS__CHOICE_CHOICE_NUMBER;
    assert_written(&k.base, "{\"choiceNumber\":0}");
    k.choice_case = SWITCHYARD__TEST__KINDS__CHOICE_CHOICE_TEXT;
    k.choice_text = (char[]){""};
    assert_written(&k.base, "{\"choiceText\":\"\"}");
    k.choice_case = SWITCHYARD__TEST__KINDS__CHOICE_CHOICE_BODY;
    k.choice_body = (ProtobufCBinaryData){0, NULL};
    assert_written(&k.base, "{\"choiceBody\":\"\"}");
}

static void
lists_are_written_in_order(void **state)
{
    (void)state;
    int32_t numbers[] = {1, 0, -1};
    protobuf_c_boolean flags[] = {0, 1};
    char *texts[] = {(char[]){"a"}, (char[]){""}};
    Switchyard__Test__Colour colours[] = {SWITCHYARD__TEST__COLOUR__COLOUR_RED,
                                          (Switchyard__Test__Colour)99};
    Kinds one = no_kinds();
    Kinds two = no_kinds();
    Kinds *inners[] = {&one, &two};
    uint64_t bigs[] = {0, UINT64_MAX};
    Kinds k = no_kinds();
    two.u32 = 2;
    k.n_numbers = LENGTH(numbers), k.numbers = numbers;
    k.n_flags = LENGTH(flags), k.flags = flags;
    k.n_texts = LENGTH(texts), k.texts = texts;
    k.n_colours = LENGTH(colours), k.colours = colours;
    k.n_inners = LENGTH(inners), k.inners = inners;
    k.n_bigs = LENGTH(bigs), k.bigs = bigs;
    assert_written(&k.base, "{\"numbers\":[1,0,-1],\"flags\":[false,true],\"texts\":[\"a\",\"\"],"
                            "\"inners\":[{},{\"u32\":2}],\"colours\":[\"COLOUR_RED\",99],"
                            "\"bigs\":[\"0\",\"18446744073709551615\"]}");
}

static void
strings_are_escaped_where_json_needs_it(void **state)
{
    (void)state;
    Kinds k = no_kinds();
    k.text = (char[]){"\"\\/\b\f\n\r\t\x01\x1f\x7f \xc3\xa9\xe2\x80\xa8\xf0\x9f\x98\x80 <a>"};
    assert_written(&k.base, "{\"text\":\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\x7f "
                            "\xc3\xa9\xe2\x80\xa8\xf0\x9f\x98\x80 <a>\"}");
    k.text = (char[]){"\n"};
    assert_written(&k.base, "{\"text\":\"\\n\"}");
}

static void
base64_is_padded_at_every_length(void **state)
{
    (void)state;
    static const char *const expected[] = {"{\"choiceBody\":\"\"}", "{\"choiceBody\":\"/w==\"}",
                                           "{\"choiceBody\":\"//8=\"}", "{\"choiceBody\":\"////\"}",
                                           "{\"choiceBody\":\"/////w==\"}"};
    uint8_t body[] = {0xff, 0xff, 0xff, 0xff};
    for (size_t len = 0; len < LENGTH(expected); len++) {
        Kinds k = no_kinds();
        k.choice_case = SWITCHYARD__TEST__KINDS__CHOICE_CHOICE_BODY;
        k.choice_body = (ProtobufCBinaryData){len, len > 0 ? body : NULL};
        assert_written(&k.base, expected[len]);
    }
}

static void
floats_are_as_short_as_they_can_be(void **state)
{
    (void)state;
    static const struct {
        double value;
        const char *text;
    } cases[] = {
        {1.5, "{\"large\":1.5}"},
        {-0.0, "{\"large\":-0}"},
        {1e100, "{\"large\":1e+100}"},
        {1.0 / 3, "{\"large\":0.3333333333333333}"},
        {DBL_MAX, "{\"large\":1.7976931348623157e+308}"},
        {(double)NAN, "{\"large\":\"NaN\"}"},
        {(double)INFINITY, "{\"large\":\"Infinity\"}"},
        {-(double)INFINITY, "{\"large\":\"-Infinity\"}"},
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        Kinds k = no_kinds();
        k.large = cases[i].value;
        assert_written(&k.base, cases[i].text);
    }
    Kinds k = no_kinds();
    k.small = FLT_MAX;
    assert_written(&k.base, "{\"small\":3.4028235e+38}");
}

static void
presence_decides_where_there_is_a_flag_for_it(void **state)
{
    (void)state;
    Switchyard__Test__Maybe maybe = SWITCHYARD__TEST__MAYBE__INIT;
    maybe.number = 7; // but absent
    assert_written(&maybe.base, "{}");
    maybe.has_number = 1;
    maybe.number = 0;
    maybe.has_body = 1;
    maybe.text = (char[]){""};
    assert_written(&maybe.base, "{\"number\":0,\"text\":\"\",\"body\":\"\"}");
}

static void
names_are_in_lower_camel_case(void **state)
{
    (void)state;
    Switchyard__V1__GoAway away;
    Switchyard__V1__Event event;
    switchyard__v1__go_away__init(&away);
    switchyard__v1__event__init(&event);
    away.reconnect_after_ms = 5;
    event.event_case = SWITCHYARD__V1__EVENT__EVENT_GO_AWAY;
    event.go_away = &away;
    assert_written(&event.base, "{\"goAway\":{\"reconnectAfterMs\":5}}");
}

// What is written is read back as the same, for messages made at random.
static void
what_is_written_is_read_back(void **state)
{
    (void)state;
    uint64_t random = 7;
    struct arena arena;
    arena_init(&arena, 1 << 16);
    for (unsigned round = 0; round < 20000; round++) {
        char text[9] = "";
        uint8_t body[16];
        uint64_t dice = next_random(&random);
        for (size_t i = 0; i < dice % 8; i++)
            text[i] = (char)(1 + next_random(&random) % 127);
        for (size_t i = 0; i < sizeof(body); i++)
            body[i] = (uint8_t)next_random(&random);
        Kinds k = no_kinds();
        k.i32 = (int32_t)next_random(&random);
        k.s64 = (int64_t)next_random(&random);
        k.u64 = next_random(&random) >> (dice % 64);
        uint64_t bits = next_random(&random);
        memcpy(&k.large, &bits, sizeof(bits));
        uint32_t bits32 = (uint32_t)(bits >> 7);
        memcpy(&k.small, &bits32, sizeof(bits32));
        if (isnan(k.large) || isnan(k.small)) // a NaN has many forms, JSON one
            continue;
        k.text = text;
        k.body = (ProtobufCBinaryData){dice % 17, body};
        k.colour = (Switchyard__Test__Colour)(int32_t)(dice % 5);

        struct buf json = {0};
        struct json_error error;
        json_write(&k.base, &json);
        arena_clear(&arena);
        ProtobufCMessage *back = json_read(&switchyard__test__kinds__descriptor,
                                           (const char *)json.bytes, json.len, &arena, &error);
        if (back == NULL)
            fail_msg("%.*s: %s", (int)json.len, (const char *)json.bytes, error.text);
        uint8_t packed[2][256];
        size_t len = protobuf_c_message_pack(&k.base, packed[0]);
        assert_int_equal(protobuf_c_message_pack(back, packed[1]), len);
        assert_memory_equal(packed[0], packed[1], len);
        buf_fini(&json);
    }
    arena_fini(&arena);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_left_out),
        cmocka_unit_test(every_kind_of_scalar_is_written),
        cmocka_unit_test(the_chosen_member_of_a_oneof_is_written_even_if_empty),
        cmocka_unit_test(lists_are_written_in_order),
        cmocka_unit_test(strings_are_escaped_where_json_needs_it),
        cmocka_unit_test(base64_is_padded_at_every_length),
        cmocka_unit_test(floats_are_as_short_as_they_can_be),
        cmocka_unit_test(presence_decides_where_there_is_a_flag_for_it),
        cmocka_unit_test(names_are_in_lower_camel_case),
        cmocka_unit_test(what_is_written_is_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
