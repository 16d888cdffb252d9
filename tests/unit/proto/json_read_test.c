// json_read.c, json_scan.c and json_scalar.c: what is read.
#include "claims.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kinds.pb-c.h"
#include "maybe.pb-c.h"
#include "proto/json.h"
#include "switchyard/v1/client.pb-c.h"

typedef Switchyard__Test__Kinds Kinds;
typedef Switchyard__V1__ClientFrame ClientFrame;

static struct arena arena;

static int
setup(void **state)
{
    (void)state;
    arena_init(&arena, 1 << 20);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    arena_fini(&arena);
    return 0;
}

// What stays valid until the next call.
static Kinds *
read_kinds(const char *text)
{
    struct json_error error = {.text = ""};
    arena_clear(&arena);
    void *kinds =
        json_read(&switchyard__test__kinds__descriptor, text, strlen(text), &arena, &error);
    if (kinds == NULL)
        fail_msg("%s: %s", text, error.text);
    return kinds;
}

static ClientFrame *
read_frame(const char *text)
{
    struct json_error error = {.text = ""};
    arena_clear(&arena);
    void *frame =
        json_read(&switchyard__v1__client_frame__descriptor, text, strlen(text), &arena, &error);
    if (frame == NULL)
        fail_msg("%s: %s", text, error.text);
    return frame;
}

static void
a_frame_of_commands_is_read(void **state)
{
    (void)state;
    ClientFrame *frame = read_frame(" {\t\"commands\" : [ {\"id\":\"7\",\"hello\":{\"device\":\"d "
                                    "1\",\"deviceClass\":\"web\"}},\n"
                                    "{\"id\":8,\"send\":{\"to\":[\"a\",\"b\"],\"text\":\"hi\","
                                    "\"ttlMs\":500}},{\"ping\":{}}]} \r\n");
    assert_int_equal(frame->n_commands, 3);
    assert_int_equal(frame->commands[0]->id, 7);
    assert_int_equal(frame->commands[0]->command_case, SWITCHYARD__V1__COMMAND__COMMAND_HELLO);
    assert_string_equal(frame->commands[0]->hello->device, "d 1");
    assert_string_equal(frame->commands[0]->hello->device_class, "web");
    assert_string_equal(frame->commands[0]->hello->token, "");
    const Switchyard__V1__Send *send = frame->commands[1]->send;
    assert_int_equal(send->n_to, 2);
    assert_string_equal(send->to[1], "b");
    assert_int_equal(send->payload_case, SWITCHYARD__V1__SEND__PAYLOAD_TEXT);
    assert_string_equal(send->text, "hi");
    assert_int_equal(send->ttl_ms, 500);
    assert_int_equal(frame->commands[2]->command_case, SWITCHYARD__V1__COMMAND__COMMAND_PING);
    assert_non_null(frame->commands[2]->ping);
}

static void
what_is_read_is_a_message_that_protobuf_c_can_pack(void **state)
{
    (void)state;
    ClientFrame *frame = read_frame("{\"commands\":[{\"id\":1,\"refresh\":{\"token\":\"t\"}}]}");
    uint8_t packed[64];
    static const uint8_t expected[] = "\x0a\x07\x08\x01\x2a\x03\x0a\x01t";
    assert_true(protobuf_c_message_check(&frame->base));
    assert_int_equal(protobuf_c_message_pack(&frame->base, packed), sizeof(expected) - 1);
    assert_memory_equal(packed, expected, sizeof(expected) - 1);
}

static void
both_spellings_of_a_name_are_read(void **state)
{
    (void)state;
    ClientFrame *frame = read_frame("{\"commands\":[{\"send\":{\"to_device\":\"a\",\"contentType\":"
                                    "\"b\",\"message_id\":\"c\"}}]}");
    assert_string_equal(frame->commands[0]->send->to_device, "a");
    assert_string_equal(frame->commands[0]->send->content_type, "b");
    assert_string_equal(frame->commands[0]->send->message_id, "c");
}

static void
every_kind_of_scalar_is_read(void **state)
{
    (void)state;
    const Kinds *k = read_kinds(
        "{\"i32\":-1,\"s32\":-2,\"sf32\":-3,\"u32\":4,\"f32\":5,\"i64\":\"-6\",\"s64\":-7,\"sf64\":"
        "-8,"
        "\"u64\":9,\"f64\":\"10\",\"small\":1.5,\"large\":-2.25,\"flag\":true,\"colour\":\"COLOUR_"
        "NEGATIVE\",\"text\":\"t\",\"body\":\"AQID\",\"inner\":{\"i32\":11},\"choiceNumber\":0}");
    assert_int_equal(k->i32, -1);
    assert_int_equal(k->s32, -2);
    assert_int_equal(k->sf32, -3);
    assert_int_equal(k->u32, 4);
    assert_int_equal(k->f32, 5);
    assert_true(k->i64 == -6 && k->s64 == -7 && k->sf64 == -8);
    assert_int_equal(k->u64, 9);
    assert_int_equal(k->f64, 10);
    assert_true(k->small == 1.5f && k->large == -2.25);
    assert_true(k->flag);
    assert_int_equal(k->colour, SWITCHYARD__TEST__COLOUR__COLOUR_NEGATIVE);
    assert_string_equal(k->text, "t");
    assert_int_equal(k->body.len, 3);
    assert_memory_equal(k->body.data, "\1\2\3", 3);
    assert_int_equal(k->inner->i32, 11);
    assert_int_equal(k->choice_case, SWITCHYARD__TEST__KINDS__CHOICE_CHOICE_NUMBER);
    assert_int_equal(k->choice_number, 0);
}

static void
every_kind_of_list_is_read(void **state)
{
    (void)state;
    const Kinds *k = read_kinds(
        "{\"numbers\":[1,-2,3],\"flags\":[true,false],\"texts\":[\"a\",\"\",\"c\"],"
        "\"bodies\":[\"\",\"AQ==\"],\"inners\":[{},{\"u32\":5}],\"colours\":[1,\"COLOUR_NONE\",77],"
        "\"doubles\":[0.5,\"NaN\"],\"words\":[4294967295],\"bigs\":[\"18446744073709551615\",0],"
        "\"unpacked\":[]}");
    assert_int_equal(k->n_numbers, 3);
    assert_int_equal(k->numbers[1], -2);
    assert_int_equal(k->n_flags, 2);
    assert_true(k->flags[0] && !k->flags[1]);
    assert_int_equal(k->n_texts, 3);
    assert_string_equal(k->texts[2], "c");
    assert_int_equal(k->n_bodies, 2);
    assert_int_equal(k->bodies[0].len, 0);
    assert_int_equal(k->bodies[1].data[0], 1);
    assert_int_equal(k->n_inners, 2);
    assert_int_equal(k->inners[1]->u32, 5);
    assert_int_equal(k->n_colours, 3);
    assert_int_equal(k->colours[2], 77);
    assert_true(k->n_doubles == 2 && isnan(k->doubles[1]));
    assert_int_equal(k->words[0], UINT32_MAX);
    assert_true(k->bigs[0] == UINT64_MAX);
    assert_int_equal(k->n_unpacked, 0);
}

static void
a_long_list_keeps_its_order_while_it_grows(void **state)
{
    (void)state;
    char text[8192] = "{\"texts\":[";
    size_t at = strlen(text);
    for (unsigned i = 0; i < 500; i++)
        at += (size_t)snprintf(text + at, sizeof(text) - at, "%s\"t%u\"", i > 0 ? "," : "", i);
    snprintf(text + at, sizeof(text) - at, "]}");
    const Kinds *k = read_kinds(text);
    assert_int_equal(k->n_texts, 500);
    for (unsigned i = 0; i < 500; i++) {
        char expected[8];
        snprintf(expected, sizeof(expected), "t%u", i);
        assert_string_equal(k->texts[i], expected);
    }
}

static void
null_is_as_absent(void **state)
{
    (void)state;
    const Kinds *k = read_kinds("{\"u32\":null,\"text\": null,\"inner\":null,\"numbers\":null,"
                                "\"choiceText\":null,\"choiceNumber\":3,\"choiceBody\":null}");
    assert_int_equal(k->u32, 0);
    assert_string_equal(k->text, "");
    assert_null(k->inner);
    assert_int_equal(k->n_numbers, 0);
    assert_int_equal(k->choice_case, SWITCHYARD__TEST__KINDS__CHOICE_CHOICE_NUMBER);
}

static void
integers_are_exact_in_any_notation(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t value;
    } cases[] = {
        {"0", 0},
        {"-0", 0},
        {"1.0", 1},
        {"1e3", 1000},
        {"1E+3", 1000},
        {"1.5e1", 15},
        {"100e-2", 1},
        {"0e999999999999999999999", 0},
        {"0.000e5", 0},
        {"0.001e3", 1},
        {"9007199254740993", 9007199254740993},
        {"18446744073709551615", UINT64_MAX},
        {"18446744073709551615.000", UINT64_MAX},
        {"1.8446744073709551615e19", UINT64_MAX},
        {"\"18446744073709551615\"", UINT64_MAX},
        {"\"1e3\"", 1000},
        {"\"\\u0031\\u0030\"", 10},
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        char text[64];
        snprintf(text, sizeof(text), "{\"u64\":%s}", cases[i].text);
        assert_true(read_kinds(text)->u64 == cases[i].value);
    }
}

static void
assert_out_of_range(const char *text)
{
    struct json_error error = {.text = ""};
    arena_clear(&arena);
    assert_null(
        json_read(&switchyard__test__kinds__descriptor, text, strlen(text), &arena, &error));
    assert_non_null(strstr(error.text, " is not in "));
}

static void
integers_end_where_their_type_ends(void **state)
{
    (void)state;
    static const struct {
        const char *field;
        const char *min;
        const char *max;
        const char *below;
        const char *above;
    } cases[] = {
        {"i32", "-2147483648", "2147483647", "-2147483649", "2147483648"},
        {"s32", "-2147483648", "2147483647", "-2147483649", "2147483648"},
        {"sf32", "-2147483648", "2147483647", "-2147483649", "2147483648"},
        {"u32", "0", "4294967295", "-1", "4294967296"},
        {"f32", "0", "4294967295", "-1", "4294967296"},
        {"i64", "-9223372036854775808", "9223372036854775807", "-9223372036854775809",
         "9223372036854775808"},
        {"s64", "-9223372036854775808", "9223372036854775807", "-9223372036854775809",
         "9223372036854775808"},
        {"sf64", "-9223372036854775808", "9223372036854775807", "-9223372036854775809",
         "9223372036854775808"},
        {"u64", "0", "18446744073709551615", "-1", "18446744073709551616"},
        {"f64", "0", "18446744073709551615", "-1e0", "2e19"},
        {"colour", "-2147483648", "2147483647", "-2147483649", "2147483648"},
        {"i32", "0", "0", "-1e10", "1e999999999999999"},
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        char text[80];
        snprintf(text, sizeof(text), "{\"%s\":%s}", cases[i].field, cases[i].min);
        read_kinds(text);
        snprintf(text, sizeof(text), "{\"%s\":\"%s\"}", cases[i].field, cases[i].max);
        if (strcmp(cases[i].field, "colour") != 0)
            read_kinds(text);
        snprintf(text, sizeof(text), "{\"%s\":%s}", cases[i].field, cases[i].below);
        assert_out_of_range(text);
        snprintf(text, sizeof(text), "{\"%s\":%s}", cases[i].field, cases[i].above);
        assert_out_of_range(text);
    }
    assert_true(read_kinds("{\"i64\":-9223372036854775808}")->i64 == INT64_MIN);
    assert_true(read_kinds("{\"i32\":-2147483648}")->i32 == INT32_MIN);
}

static void
floats_are_read_with_their_special_values(void **state)
{
    (void)state;
    assert_true(read_kinds("{\"large\":1.7976931348623157e308}")->large == DBL_MAX);
    assert_true(read_kinds("{\"large\":5e-324}")->large > 0);
    assert_true(read_kinds("{\"large\":\"-1.5\"}")->large == -1.5);
    assert_true(read_kinds("{\"small\":3.4028234663852886e38}")->small == FLT_MAX);
    assert_true(isnan(read_kinds("{\"small\":\"NaN\"}")->small));
    assert_true(isinf(read_kinds("{\"large\":\"Infinity\"}")->large));
    assert_true(read_kinds("{\"large\":\"-Infinity\"}")->large < -DBL_MAX);
}

static void
strings_are_unescaped(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *value;
    } cases[] = {
        {"", ""},
        {"\\\"\\\\\\/\\b\\f\\n\\r\\t", "\"\\/\b\f\n\r\t"},
        {"\\u0041\\u00e9\\u20AC", "A\xc3\xa9\xe2\x82\xac"},
        {"\\ud83d\\ude00", "\xf0\x9f\x98\x80"},
        {"\\uD800\\uDC00", "\xf0\x90\x80\x80"},
        {"\\udbff\\udfff", "\xf4\x8f\xbf\xbf"},
        {"\\ud7ff\\ue000\\uffff", "\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf"},
        {"\\u0001\\u007f", "\x01\x7f"},
        {"\xf0\x9f\x98\x80 raw \x7f", "\xf0\x9f\x98\x80 raw \x7f"},
        {"\\\\u0041", "\\u0041"},
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        char text[80];
        snprintf(text, sizeof(text), "{\"text\":\"%s\"}", cases[i].text);
        assert_string_equal(read_kinds(text)->text, cases[i].value);
    }
}

static void
bytes_are_read_from_either_base64(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *value;
        size_t len;
    } cases[] = {
        {"", "", 0},
        {"AA==", "\0", 1},
        {"AA", "\0", 1},
        {"/////w==", "\xff\xff\xff\xff", 4},
        {"_____w", "\xff\xff\xff\xff", 4},
        {"-_-_", "\xfb\xff\xbf", 3},
        {"+/+/", "\xfb\xff\xbf", 3},
        {"\\/\\/\\/\\/", "\xff\xff\xff", 3},
        {"aGVsbG8", "hello", 5},
        {"aGVsbG8=", "hello", 5},
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        char text[80];
        snprintf(text, sizeof(text), "{\"body\":\"%s\"}", cases[i].text);
        const Kinds *k = read_kinds(text);
        assert_int_equal(k->body.len, cases[i].len);
        if (cases[i].len > 0)
            assert_memory_equal(k->body.data, cases[i].value, cases[i].len);
    }
}

static void
keys_cost_no_room(void **state)
{
    (void)state;
    read_kinds("{}");
    size_t empty = arena.used;
    read_kinds("{\"u32\":1,\"choiceNumber\":2,\"flag\":true,\"colour\":0}");
    assert_int_equal(arena.used, empty);
}

static void
an_empty_member_of_a_oneof_is_set(void **state)
{
    (void)state;
    assert_int_equal(read_kinds("{\"choiceText\":\"\"}")->choice_case,
                     SWITCHYARD__TEST__KINDS__CHOICE_CHOICE_TEXT);
    assert_int_equal(read_kinds("{\"choiceBody\":\"\"}")->choice_case,
                     SWITCHYARD__TEST__KINDS__CHOICE_CHOICE_BODY);
    assert_int_equal(read_kinds("{\"choiceKinds\":{}}")->choice_case,
                     SWITCHYARD__TEST__KINDS__CHOICE_CHOICE_KINDS);
    assert_int_equal(read_kinds("{}")->choice_case, 0);
}

static void
presence_is_noted_where_there_is_a_flag_for_it(void **state)
{
    (void)state;
    static const char text[] = "{\"number\":0,\"body\":\"\",\"text\":\"\"}";
    struct json_error error;
    arena_clear(&arena);
    const Switchyard__Test__Maybe *maybe = (void *)json_read(
        &switchyard__test__maybe__descriptor, text, sizeof(text) - 1, &arena, &error);
    assert_non_null(maybe);
    assert_true(maybe->has_number && maybe->has_body && !maybe->has_flag);
    assert_non_null(maybe->text);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_of_commands_is_read),
        cmocka_unit_test(what_is_read_is_a_message_that_protobuf_c_can_pack),
        cmocka_unit_test(both_spellings_of_a_name_are_read),
        cmocka_unit_test(every_kind_of_scalar_is_read),
        cmocka_unit_test(every_kind_of_list_is_read),
        cmocka_unit_test(a_long_list_keeps_its_order_while_it_grows),
        cmocka_unit_test(null_is_as_absent),
        cmocka_unit_test(integers_are_exact_in_any_notation),
        cmocka_unit_test(integers_end_where_their_type_ends),
        cmocka_unit_test(floats_are_read_with_their_special_values),
        cmocka_unit_test(strings_are_unescaped),
        cmocka_unit_test(bytes_are_read_from_either_base64),
        cmocka_unit_test(keys_cost_no_room),
        cmocka_unit_test(an_empty_member_of_a_oneof_is_set),
        cmocka_unit_test(presence_is_noted_where_there_is_a_flag_for_it),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
