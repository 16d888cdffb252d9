// The command line's words: what it guesses, what it prints, what it takes as flags.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/base/err.h"
#include "lib/cli/flags.h"
#include "lib/cli/print.h"
#include "lib/cli/suggest.h"

static void
a_near_word_is_guessed_and_a_far_one_is_not(void **state)
{
    (void)state;
    const char *const words[] = {"chat", "send", "listen", "nodes", "where"};
    assert_string_equal(suggest("chta", words, 5), "chat");
    assert_string_equal(suggest("lisen", words, 5), "listen");
    assert_string_equal(suggest("listne", words, 5), "listen");
    assert_string_equal(suggest("node", words, 5), "nodes");
    assert_null(suggest("frobnicate", words, 5));
    assert_null(suggest("xxxx", words, 5));
    assert_null(suggest("", words, 5));
    assert_null(suggest("a-word-far-too-long-to-be-any-command-of-ours", words, 5));
}

static void
what_others_write_cannot_steer_the_terminal_or_forge_a_line(void **state)
{
    (void)state;
    char out[64];
    print_safe(out, sizeof(out),
               "a\nb\tc\x1b[31m\x7f\xc2\x9b"
               "d\xc3\xa9");
    assert_string_equal(out, "a\\nb\\tc\\x1b[31m\\x7f\\x9bd\xc3\xa9");
    print_safe(out, 5, "ab\ncd"); // no half of an escape
    assert_string_equal(out, "ab\\n");
    print_safe(out, 4, "ab\ncd");
    assert_string_equal(out, "ab");
}

// What a printer writes.
static char printed[1024];

static FILE *
open_printed(void)
{
    memset(printed, 0, sizeof(printed));
    FILE *out = fmemopen(printed, sizeof(printed), "w");
    assert_non_null(out);
    return out;
}

static void
outcomes_are_told_in_words(void **state)
{
    (void)state;
    const struct switchyard_unreached carol = {"carol", SWITCHYARD_REASON_OFFLINE};
    struct switchyard_outcome outcome = {.status = SWITCHYARD_SENT, .devices = 1, .text = ""};
    FILE *out = open_printed();
    print_outcome(out, &outcome, 1234);
    fclose(out);
    assert_string_equal(printed, "sent to 1 device in 1.2 ms\n");

    outcome.devices = 2;
    outcome.unreached = &carol;
    outcome.unreached_count = 1;
    out = open_printed();
    print_outcome(out, &outcome, 1234);
    fclose(out);
    assert_string_equal(printed, "sent to 2 devices in 1.2 ms; not reached: carol (offline)\n");

    outcome.status = SWITCHYARD_REJECTED;
    outcome.reason = SWITCHYARD_REASON_OFFLINE;
    outcome.text = "the user has no device connected";
    out = open_printed();
    print_outcome(out, &outcome, 1234);
    fclose(out);
    assert_string_equal(printed, "rejected: offline (the user has no device connected)\n");
}

static void
messages_are_one_line_or_one_object(void **state)
{
    (void)state;
    struct switchyard_message message = {.from = "alice",
                                         .from_device = "d1",
                                         .body = "hi\nbob: no",
                                         .len = 10,
                                         .is_text = true,
                                         .content_type = "",
                                         .message_id = "m1",
                                         .sent_at_ms = 5};
    FILE *out = open_printed();
    print_message_text(out, &message);
    fclose(out);
    assert_string_equal(printed, "alice: hi\\nbob: no\n");
    out = open_printed();
    print_message_json(out, &message, "a.0f", 7);
    fclose(out);
    assert_string_equal(printed, "{\"from\":\"alice\",\"from_device\":\"d1\",\"message_id\":\"m1\","
                                 "\"text\":\"hi\\nbob: no\",\"sent_at_ms\":5,\"node\":\"a.0f\","
                                 "\"received_at_ms\":7}\n");
    message.is_text = false;
    message.content_type = "image/png";
    const char *const encoded[] = {"", "/w==", "//8=", "////", "////AA=="};
    for (size_t len = 0; len <= 4; len++) {
        char wanted[64];
        message.body = "\xff\xff\xff";
        message.len = len;
        out = open_printed();
        print_message_json(out, &message, "a.0f", 7);
        fclose(out);
        snprintf(wanted, sizeof(wanted), "\"body\":\"%s\"", encoded[len]);
        assert_non_null(strstr(printed, wanted));
    }
    out = open_printed();
    print_message_text(out, &message);
    fclose(out);
    assert_string_equal(printed, "alice: (4 bytes, image/png)\n");
}

static int
unused(const struct flags *flags)
{
    (void)flags;
    return 0;
}

static const struct command command = {"test", "WORD...", "Tests.", "", ~0u & ~(1u << FLAG_FILE),
                                       0,      2,         unused};

static bool
read_flags(char *line, struct flags *flags, int *exit_code)
{
    static char *argv[16];
    int argc = 1;
    char *rest = NULL;
    argv[0] = line;
    for (char *word = strtok_r(line, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest))
        argv[argc++] = word;
    argv[argc] = NULL;
    return flags_read(&command, argc, argv, flags, exit_code);
}

static void
flags_are_read_in_any_order_and_lists_grow(void **state)
{
    (void)state;
    struct flags flags;
    int exit_code;
    char line[] = "one --edge ws://a,ws://b --to bob,carol --to dan two --edge=ws://c "
                  "--timeout 2m --count 7 --json";
    assert_true(read_flags(line, &flags, &exit_code));
    assert_int_equal(flags.edge_count, 3);
    assert_string_equal(flags.edges[2], "ws://c");
    assert_int_equal(flags.to_count, 3);
    assert_string_equal(flags.to[1], "carol");
    assert_int_equal(flags.timeout_ms, 120000);
    assert_int_equal(flags.count, 7);
    assert_true(flags.wants_json);
    assert_int_equal(flags.word_count, 2);
    assert_string_equal(flags.words[1], "two");
    flags_fini(&flags);
}

static void
what_is_not_given_comes_from_the_environment_or_is_the_default(void **state)
{
    (void)state;
    struct flags flags;
    int exit_code;
    char line[] = "one", again[] = "one";
    unsetenv("SWITCHYARD_EDGE");
    setenv("SWITCHYARD_TOKEN", "", 1); // empty counts as not set
    assert_true(read_flags(line, &flags, &exit_code));
    assert_string_equal(flags.edges[0], "ws://127.0.0.1:8000/ws");
    assert_null(flags.token);
    flags_fini(&flags);
    setenv("SWITCHYARD_EDGE", "ws://x,ws://y", 1);
    setenv("SWITCHYARD_TOKEN", "t", 1);
    assert_true(read_flags(again, &flags, &exit_code));
    assert_int_equal(flags.edge_count, 2);
    assert_string_equal(flags.token, "t");
    flags_fini(&flags);
}

static void
what_cannot_be_ends_with_64(void **state)
{
    (void)state;
    const char *const lines[] = {
        "--edeg ws://a",
        "--file x",
        "--timeout",
        "--timeout 5",
        "--timeout 0s",
        "--timeout -1s",
        "--count 0",
        "--count x",
        "--json=1",
        "one two three",
        "--timeout 25h",
        "--timeout s",
        "--count 99999999999999999999",
        "--token-file /nowhere",
    };
    assert_non_null(freopen("/dev/null", "w", stderr));
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        struct flags flags;
        int exit_code = 0;
        char line[64];
        snprintf(line, sizeof(line), "%s", lines[i]);
        if (read_flags(line, &flags, &exit_code))
            fail_msg("'%s' was taken", lines[i]);
        assert_int_equal(exit_code, EXIT_USAGE);
        flags_fini(&flags);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_near_word_is_guessed_and_a_far_one_is_not),
        cmocka_unit_test(what_others_write_cannot_steer_the_terminal_or_forge_a_line),
        cmocka_unit_test(outcomes_are_told_in_words),
        cmocka_unit_test(messages_are_one_line_or_one_object),
        cmocka_unit_test(flags_are_read_in_any_order_and_lists_grow),
        cmocka_unit_test(what_is_not_given_comes_from_the_environment_or_is_the_default),
        cmocka_unit_test(what_cannot_be_ends_with_64),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
