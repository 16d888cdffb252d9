// json_read.c, json_scan.c and json_scalar.c: what is refused, and in which words.
#include "claims.h"

#include <stdio.h>
#include <string.h>

#include "kinds.pb-c.h"
#include "proto/json.h"
#include "switchyard/v1/client.pb-c.h"

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

static bool
is_refused(const ProtobufCMessageDescriptor *type, const char *text, size_t len,
           struct json_error *error)
{
    arena_clear(&arena);
    *error = (struct json_error){.text = ""};
    bool refused = json_read(type, text, len, &arena, error) == NULL;
    if (refused)
        assert_true(strlen(error->text) > 0);
    return refused;
}

static void
assert_read(const char *text)
{
    struct json_error error;
    if (is_refused(&switchyard__test__kinds__descriptor, text, strlen(text), &error))
        fail_msg("%s: %s", text, error.text);
}

static void
depth_ends_at_the_limit(void **state)
{
    (void)state;
    struct json_error error;
    static const char deepest[] =
        "{\"inner\":{\"inner\":{\"inner\":{\"inner\":{\"inner\":{\"inner\":"
        "{\"inner\":{}}}}}}}}";
    static const char deeper[] =
        "{\"inner\":{\"inner\":{\"inner\":{\"inner\":{\"inner\":{\"inner\":"
        "{\"inner\":{\"numbers\":[]}}}}}}}}";
    assert_read(deepest);
    assert_true(
        is_refused(&switchyard__test__kinds__descriptor, deeper, sizeof(deeper) - 1, &error));
    assert_string_equal(error.text, "inner.inner.inner.inner.inner.inner.inner.numbers: nested "
                                    "deeper than 8");
    // A closed level is no longer counted.
    assert_read("{\"inners\":[{},{},{},{},{},{},{},{},{},{}]}");
}

// Texts as a client would read them. `at` is the offset that goes with it.
static void
errors_name_the_place_and_what_would_be_right(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t at;
        const char *error;
    } cases[] = {
        {"", 0, "expected an object, found the end of the text"},
        {"[]", 0, "expected an object, found a list"},
        {"x", 0, "expected an object, found what is not JSON"},
        {"\xef\xbb\xbf{}", 0, "expected an object, found what is not JSON"},
        {"{} x", 3, "expected the end of the text, found what is not JSON"},
        {"{}{}", 2, "expected the end of the text, found an object"},
        {"{\"commands\"}", 11, "expected ':', found punctuation"},
        {"{\"commands\":{}}", 12, "commands: expected a list, found an object"},
        {"{\"commands\":[1]}", 13, "commands[0]: expected an object, found a number"},
        {"{\"commands\":[null]}", 13, "commands[0]: expected an object, found null"},
        {"{\"commands\":[{},]}", 16, "commands[1]: expected an object, found punctuation"},
        {"{\"commands\":[{} {}]}", 16, "commands[0]: expected ',' or ']', found an object"},
        {"{\"commands\":[{}", 15, "commands[0]: expected ',' or ']', found the end of the text"},
        {"{\"commands\":[],}", 15, "expected a field name, found punctuation"},
        {"{commands:[]}", 1, "expected a field name, found what is not JSON"},
        {"{\"commands\":[],\"commands\":[]}", 15, "commands: given twice"},
        {"{\"commands\":null,\"commands\":[]}", 17, "commands: given twice"},
        {"{\"comands\":[]}", 1, "unknown field 'comands' (did you mean 'commands'?)"},
        {"{\"foo\":1}", 1, "unknown field 'foo' (fields: commands)"},
        {"{\"commands\":[{\"ping\":{\"x\":1}}]}", 22,
         "commands[0].ping: unknown field 'x' (fields: none)"},
        {"{\"commands\":[{\"send\":{\"txet\":\"\"}}]}", 22,
         "commands[0].send: unknown field 'txet' (did you mean 'text'?)"},
        {"{\"commands\":[{\"send\":{\"todevice\":\"\"}}]}", 22,
         "commands[0].send: unknown field 'todevice' (did you mean 'toDevice'?)"},
        {"{\"commands\":[{},{\"send\":{\"to\":\"bob\"}}]}", 30,
         "commands[1].send.to: expected a list, found a string"},
        {"{\"commands\":[{\"send\":{\"to\":[\"a\",7]}}]}", 32,
         "commands[0].send.to[1]: expected a string, found a number"},
        {"{\"commands\":[{\"id\":-1}]}", 19,
         "commands[0].id: -1 is not in 0..18446744073709551615"},
        {"{\"commands\":[{\"id\":1.5}]}", 19, "commands[0].id: expected an integer, found 1.5"},
        {"{\"commands\":[{\"id\":\"x\"}]}", 19,
         "commands[0].id: expected a number, found the string 'x'"},
        {"{\"commands\":[{\"id\":true}]}", 19, "commands[0].id: expected a number, found true"},
        {"{\"commands\":[{\"id\":01}]}", 19, "commands[0].id: a number that JSON does not allow"},
        {"{\"commands\":[{\"send\":{\"text\":\"\",\"body\":\"\"}}]}", 39,
         "commands[0].send.body: only one of 'text' and this may be given"},
        {"{\"commands\":[{\"ping\":{},\"hello\":{}}]}", 32,
         "commands[0].hello: only one of 'ping' and this may be given"},
        {"{\"commands\":[{\"send\":{\"body\":\"a\"}}]}", 29,
         "commands[0].send.body: expected bytes as base64"},
        {"{\"commands\":[{\"send\":{\"text\":\"\\u0000\"}}]}", 31,
         "commands[0].send.text: U+0000 cannot be in a string"},
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct json_error error;
        assert_true(is_refused(&switchyard__v1__client_frame__descriptor, cases[i].text,
                               strlen(cases[i].text), &error));
        assert_string_equal(error.text, cases[i].error);
        assert_int_equal(error.offset, cases[i].at);
    }
}

static void
enum_names_are_suggested_too(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *error;
    } cases[] = {
        {"{\"colour\":\"COLOUR_RAD\"}",
         "colour: unknown value 'COLOUR_RAD' (did you mean 'COLOUR_RED'?)"},
        {"{\"colour\":\"blue\"}",
         "colour: unknown value 'blue' (values: COLOUR_NEGATIVE, COLOUR_NONE, COLOUR_RED, "
         "COLOUR_DARK_BLUE)"},
        {"{\"colour\":{}}", "colour: expected a name or a number of Colour, found an object"},
        {"{\"colour\":1.5}", "colour: expected an integer, found 1.5"},
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct json_error error;
        assert_true(is_refused(&switchyard__test__kinds__descriptor, cases[i].text,
                               strlen(cases[i].text), &error));
        assert_string_equal(error.text, cases[i].error);
    }
}

// More names than there is room for end in dots.
static void
a_long_list_of_names_is_cut_with_dots(void **state)
{
    (void)state;
    struct json_error error;
    static const char text[] = "{\"reason\":\"?\"}";
    assert_true(is_refused(&switchyard__v1__failure__descriptor, text, sizeof(text) - 1, &error));
    assert_non_null(strstr(error.text, "(values: REASON_UNSPECIFIED, REASON_OFFLINE, "));
    assert_string_equal(error.text + strlen(error.text) - 4, "...)");
}

static void
what_is_not_json_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"{\"u32\":+1}",
                                      "{\"u32\":.5}",
                                      "{\"u32\":1.}",
                                      "{\"u32\":1e}",
                                      "{\"u32\":1e+}",
                                      "{\"u32\":-}",
                                      "{\"u32\":00}",
                                      "{\"u32\":-01}",
                                      "{\"u32\":0x10}",
                                      "{\"u32\":1_000}",
                                      "{\"u32\":NaN}",
                                      "{\"u32\":\"\"}",
                                      "{\"u32\":\" 1\"}",
                                      "{\"u32\":\"1 \"}",
                                      "{\"u32\":\"0x1\"}",
                                      "{\"u32\":\"NaN\"}",
                                      "{\"u32\":1,}",
                                      "{\"u32\":1;\"i32\":1}",
                                      "{\"u32\"=1}",
                                      "{'u32':1}",
                                      "{\"u32\":1",
                                      "{\"u32\":",
                                      "{\"u32\"",
                                      "{\"u32",
                                      "{\"",
                                      "{",
                                      "}",
                                      "{\"u32\":1}}",
                                      "// comment\n{}",
                                      "{/**/}",
                                      "{\"flag\":True}",
                                      "{\"flag\":1}",
                                      "{\"flag\":\"true\"}",
                                      "{\"flag\":truex}",
                                      "{\"flag\":tru}",
                                      "{\"text\":nul}",
                                      "{\"text\":'a'}",
                                      "{\"text\":\"a\nb\"}",
                                      "{\"text\":\"a\tb\"}",
                                      "{\"text\":\"\x1f\"}",
                                      "{\"text\":\"\\x41\"}",
                                      "{\"text\":\"\\a\"}",
                                      "{\"text\":\"\\\n\"}",
                                      "{\"text\":\"\\u12\"}",
                                      "{\"text\":\"\\u12g4\"}",
                                      "{\"text\":\"\\U0041\"}",
                                      "{\"text\":\"\\ud800\"}",
                                      "{\"text\":\"\\udc00\"}",
                                      "{\"text\":\"\\ud800x\"}",
                                      "{\"text\":\"\\ud800\\n\"}",
                                      "{\"text\":\"\\ud800\\u0041\"}",
                                      "{\"text\":\"\\ud800\\ud800\"}",
                                      "{\"text\":\"\\ud83d\\ude0\"}",
                                      "{\"text\":\"\\udc00\\ud800\"}",
                                      "{\"text\":\"\\ud83d\\ue000\"}",
                                      "{\"text\":\"\xff\"}",
                                      "{\"text\":\"\xed\xa0\x80\"}",
                                      "{\"text\":\"\xc0\x80\"}",
                                      "{\"text\":\"\xe2\x82\"}",
                                      "{\"\xff\":1}",
                                      "{\"text\":\"a\\\"}",
                                      "{\"text\":\"a",
                                      "{\"body\":\"A\"}",
                                      "{\"body\":\"AAAAA\"}",
                                      "{\"body\":\"AA=\"}",
                                      "{\"body\":\"A===\"}",
                                      "{\"body\":\"=\"}",
                                      "{\"body\":\"====\"}",
                                      "{\"body\":\"AA==AA==\"}",
                                      "{\"body\":\"AAA==\"}",
                                      "{\"body\":\"AB==\"}", // bits left over
                                      "{\"body\":\"AAB=\"}",
                                      "{\"body\":\"A A=\"}",
                                      "{\"body\":\"AA\\n==\"}",
                                      "{\"body\":\"AA*=\"}",
                                      "{\"body\":[1]}",
                                      "{\"body\":7}",
                                      "{\"large\":1e309}",
                                      "{\"small\":3.5e38}",
                                      "{\"large\":Infinity}",
                                      "{\"large\":\"infinity\"}",
                                      "{\"large\":\"nan\"}",
                                      "{\"large\":\"\"}",
                                      "{\"large\":true}",
                                      "{\"numbers\":1}",
                                      "{\"numbers\":[1,]}",
                                      "{\"numbers\":[,1]}",
                                      "{\"numbers\":[1 2]}",
                                      "{\"numbers\":[null]}",
                                      "{\"numbers\":[1}",
                                      "{\"numbers\":[",
                                      "{\"inner\":[]}",
                                      "{\"inner\":1}",
                                      "{\"Text\":\"\"}",
                                      "{\"choice_text\":\"\",\"choiceText\":\"\"}",
                                      "{\"choiceText\":\"\",\"choiceNumber\":0}",
                                      "{\"\":1}"};
    for (size_t i = 0; i < LENGTH(bad); i++) {
        struct json_error error;
        if (!is_refused(&switchyard__test__kinds__descriptor, bad[i], strlen(bad[i]), &error))
            fail_msg("read: %s", bad[i]);
        assert_true(error.offset <= strlen(bad[i]));
    }
}

static void
a_nul_byte_does_not_end_the_text(void **state)
{
    (void)state;
    struct json_error error;
    const ProtobufCMessageDescriptor *type = &switchyard__test__kinds__descriptor;
    assert_true(is_refused(type, "{}\0", 3, &error));
    assert_true(is_refused(type, "\0{}", 3, &error));
    assert_true(is_refused(type, "{\"text\":\"\0\"}", 12, &error));
    assert_true(is_refused(type, "{\"u32\":1\0}", 10, &error));
    assert_true(is_refused(type, "{\"u32\0\":1}", 10, &error));
}

// Every text cut anywhere is refused, and reading stops at its end.
static void
a_text_cut_anywhere_is_refused(void **state)
{
    (void)state;
    static const char good[] = "{\"i32\":-1.0e0,\"text\":\"\\ud83d\\ude00\",\"body\":\"AQID\","
                               "\"flags\":[true,false],\"inner\":{\"large\":1.5}}";
    struct json_error error;
    assert_read(good);
    for (size_t len = 0; len < sizeof(good) - 1; len++) {
        char *cut = malloc(len > 0 ? len : 1); // exactly as long, for the sanitizer
        memcpy(cut, good, len);
        assert_true(is_refused(&switchyard__test__kinds__descriptor, cut, len, &error));
        free(cut);
    }
}

static void
errors_stay_printable_whatever_the_client_wrote(void **state)
{
    (void)state;
    struct json_error error;
    char text[600];
    const ProtobufCMessageDescriptor *type = &switchyard__test__kinds__descriptor;
    snprintf(text, sizeof(text), "{\"%s\\r\\nPUB \\u001b[31m\":1}", "a");
    assert_true(is_refused(type, text, strlen(text), &error));
    for (size_t i = 0; error.text[i] != '\0'; i++)
        assert_true((unsigned char)error.text[i] >= 0x20 && error.text[i] != 0x7f);
    // A name of three-byte characters that no cut falls between.
    for (size_t lead = 0; lead < 4; lead++) {
        size_t at = (size_t)snprintf(text, sizeof(text), "{\"%.*s", (int)lead, "aaaa");
        for (unsigned i = 0; i < 100; i++)
            at += (size_t)snprintf(text + at, sizeof(text) - at, "\xe2\x82\xac");
        snprintf(text + at, sizeof(text) - at, "\":1}");
        assert_true(is_refused(type, text, strlen(text), &error));
        assert_true(strlen(error.text) < sizeof(error.text));
        size_t euros = 0;
        for (size_t i = 0; error.text[i] != '\0'; i++) {
            unsigned char byte = (unsigned char)error.text[i];
            if (byte == 0xe2) {
                assert_memory_equal(error.text + i, "\xe2\x82\xac", 3);
                i += 2;
                euros++;
            } else {
                assert_true(byte >= 0x20 && byte < 0x7f);
            }
        }
        assert_true(euros > 10);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(depth_ends_at_the_limit),
        cmocka_unit_test(errors_name_the_place_and_what_would_be_right),
        cmocka_unit_test(enum_names_are_suggested_too),
        cmocka_unit_test(a_long_list_of_names_is_cut_with_dots),
        cmocka_unit_test(what_is_not_json_is_refused),
        cmocka_unit_test(a_nul_byte_does_not_end_the_text),
        cmocka_unit_test(a_text_cut_anywhere_is_refused),
        cmocka_unit_test(errors_stay_printable_whatever_the_client_wrote),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
