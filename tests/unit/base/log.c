// log.c: what arrives on stderr, read back from a file put in its place. JSON lines are
// read by an independent parser.
#include "lib/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmocka_all.h"
#include "lib/base/last_words.h"

static int real_stderr = -1;
static char captured[1 << 20];

static void
capture_start(void)
{
    int fd = memfd_create("log", 0);
    assert_true(fd >= 0);
    assert_true(fcntl(fd, F_SETFL, O_APPEND) == 0);
    real_stderr = dup(STDERR_FILENO);
    assert_true(dup2(fd, STDERR_FILENO) >= 0);
    close(fd);
}

// The real stderr is back before anything is asserted.
static const char *
capture_end(void)
{
    ssize_t len = pread(STDERR_FILENO, captured, sizeof(captured) - 1, 0);
    dup2(real_stderr, STDERR_FILENO);
    close(real_stderr);
    assert_true(len >= 0);
    captured[len] = '\0';
    return captured;
}

#define CAPTURE(call) (capture_start(), (call), capture_end())

// Behind the time, whose form is checked.
static const char *
behind_time(const char *line)
{
    const char *form = "0000-00-00T00:00:00.000Z ";
    for (; *form != '\0'; form++, line++)
        assert_true(*form == '0' ? *line >= '0' && *line <= '9' : *form == *line);
    return line;
}

static json_t *
parse(const char *line)
{
    size_t len = strlen(line);
    assert_true(len > 0 && line[len - 1] == '\n');
    assert_ptr_equal(strchr(line, '\n'), line + len - 1);
    json_error_t error;
    json_t *object = json_loads(line, JSON_REJECT_DUPLICATES, &error);
    if (object == NULL)
        print_error("%s in %s", error.text, line);
    assert_non_null(object);
    assert_true(json_is_object(object));
    return object;
}

static const char *
member(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "(absent)";
}

static int
start_plain(void **state)
{
    (void)state;
    log_setup(LOG_INFO, LOG_TEXT, NULL);
    return 0;
}

static int
start_json(void **state)
{
    (void)state;
    log_setup(LOG_INFO, LOG_JSON, NULL);
    return 0;
}

static void
a_line_has_time_level_event_and_pairs(void **state)
{
    (void)state;
    const char *line = CAPTURE(log_info("edge_ready", "node=%s port=%d", "a.0f", 8000));
    assert_string_equal(behind_time(line), "info  edge_ready node=a.0f port=8000\n");
    line = CAPTURE(log_error("edge_lost", "%s", ""));
    assert_string_equal(behind_time(line), "error edge_lost\n");
    line = CAPTURE(log_warn("slow", "ms=1"));
    assert_string_equal(behind_time(line), "warn  slow ms=1\n");
}

static void
a_name_stands_before_the_pairs(void **state)
{
    (void)state;
    log_setup(LOG_INFO, LOG_TEXT, "edge");
    const char *line = CAPTURE(log_info("up", "a=1"));
    assert_string_equal(behind_time(line), "info  up program=edge a=1\n");
    log_setup(LOG_INFO, LOG_JSON, "edge");
    json_t *object = parse(CAPTURE(log_info("up", "a=1")));
    assert_string_equal(member(object, "program"), "edge");
    json_decref(object);
}

static void
levels_above_the_set_one_are_silent(void **state)
{
    (void)state;
    log_setup(LOG_WARN, LOG_TEXT, NULL);
    assert_true(log_enabled(LOG_ERROR));
    assert_true(log_enabled(LOG_WARN));
    assert_false(log_enabled(LOG_INFO));
    assert_string_equal(CAPTURE(log_info("x", "a=1")), "");
    log_setup(LOG_DEBUG, LOG_TEXT, NULL);
    capture_start();
    log_debug("x", "a=1");
    assert_string_equal(behind_time(capture_end()), "debug x a=1\n");
}

static void
debug_arguments_are_not_evaluated_when_it_is_off(void **state)
{
    (void)state;
    int calls = 0;
    log_debug("x", "calls=%d", ++calls);
    assert_int_equal(calls, 0);
}

static void
a_control_character_cannot_start_a_new_line(void **state)
{
    (void)state;
    const char *line = CAPTURE(log_info("x", "why=%s", "a\nb\rc\x1b[31md\x7f"));
    assert_string_equal(behind_time(line), "info  x why=a?b?c?[31md?\n");
}

static void
a_line_too_long_is_cut_with_a_mark(void **state)
{
    (void)state;
    char text[4000];
    memset(text, 'a', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    const char *line = CAPTURE(log_info("x", "v=%s", text));
    assert_int_equal(strlen(line), 2048);
    assert_string_equal(line + 2048 - 9, "aa [cut]\n");
    // The longest that fits has no mark; one byte more has.
    size_t head = strlen("0000-00-00T00:00:00.000Z info  x v=");
    text[2048 - 7 - head] = '\0';
    line = CAPTURE(log_info("x", "v=%s", text));
    assert_null(strstr(line, "[cut]"));
    assert_int_equal(strlen(line), 2048 - 7 + 1);
    text[2048 - 7 - head] = 'a';
    text[2048 - 7 - head + 1] = '\0';
    assert_non_null(strstr(CAPTURE(log_info("x", "v=%s", text)), "a [cut]\n"));
}

static void
a_cut_never_splits_a_character(void **state)
{
    (void)state;
    char text[4000];
    for (size_t start = 0; start < 3; start++) {
        memset(text, 'a', start);
        for (size_t i = start; i + 3 < sizeof(text); i += 3)
            memcpy(text + i, "\xe2\x82\xac", 4);
        const char *line = CAPTURE(log_info("x", "v=%s", text));
        assert_non_null(strstr(line, "\xe2\x82\xac [cut]\n"));
    }
}

static void
json_has_every_pair_as_a_string(void **state)
{
    (void)state;
    json_t *object = parse(CAPTURE(log_info("edge_ready", "node=%s port=%d none=", "a.0f", 8000)));
    assert_int_equal(json_object_size(object), 6);
    assert_int_equal(strlen(member(object, "ts")), strlen("2026-01-31T10:00:00.123Z"));
    assert_string_equal(member(object, "level"), "info");
    assert_string_equal(member(object, "event"), "edge_ready");
    assert_string_equal(member(object, "node"), "a.0f");
    assert_string_equal(member(object, "port"), "8000");
    assert_string_equal(member(object, "none"), "");
    json_decref(object);
}

static void
the_json_line_is_as_documented(void **state)
{
    (void)state;
    const char *line = CAPTURE(log_info("edge_ready", "node=%s port=%d", "a.0f", 8000));
    assert_memory_equal(line, "{\"ts\":\"", 7);
    assert_string_equal(
        line + 7 + 24,
        "\",\"level\":\"info\",\"event\":\"edge_ready\",\"node\":\"a.0f\",\"port\":\"8000\"}\n");
}

static void
json_undoes_what_log_quote_did(void **state)
{
    (void)state;
    // A quote, a backslash, a control character, UTF-8, and a forged pair.
    const char *hostile = "a\" b\\ c\n\td \xe2\x82\xac level=error \"x=\"1\"";
    json_t *object = parse(CAPTURE(log_info("x", "user=%s after=%d", log_quote(hostile), 7)));
    assert_string_equal(member(object, "user"), hostile);
    assert_string_equal(member(object, "after"), "7");
    assert_string_equal(member(object, "level"), "info");
    assert_int_equal(json_object_size(object), 5);
    json_decref(object);
}

static void
json_says_when_its_pairs_were_cut_though_the_line_has_room(void **state)
{
    (void)state;
    char text[257];
    for (size_t i = 0; i < 256; i += 2)
        memcpy(text + i, "\xc3\xa9", 3);
    // Four bytes each as \xHH: two values are more than a line; undone they are not.
    const char *line = CAPTURE(log_info("x", "a=%s b=%s", log_quote(text), log_quote(text)));
    assert_true(strlen(line) < 1000);
    json_t *object = parse(line);
    assert_string_equal(member(object, "a"), text);
    assert_string_equal(member(object, "cut"), "true");
    json_decref(object);
    object = parse(CAPTURE(log_info("x", "a=%s", log_quote(text))));
    assert_string_equal(member(object, "cut"), "(absent)");
    json_decref(object);
}

static void
json_has_no_raw_control_characters(void **state)
{
    (void)state;
    const char *line = CAPTURE(log_info("x", "v=%s", log_quote("\x01\x7f\xc2\x9b\xc2\xa0")));
    assert_non_null(strstr(line, "\"v\":\"\\u0001\\u007f\\u009b\xc2\xa0\""));
}

static void
json_replaces_bytes_that_are_not_utf8(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "\xff",             // never a byte of UTF-8
        "\x80",             // continuation without a start
        "\xc0\xaf",         // overlong
        "\xe0\x9f\xbf",     // overlong
        "\xf0\x8f\xbf\xbf", // overlong
        "\xed\xa0\x80",     // surrogate
        "\xf4\x90\x80\x80", // beyond U+10FFFF
        "\xe2\x82",         // too short
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        json_t *object = parse(CAPTURE(log_info("x", "v=%s", log_quote(bad[i]))));
        assert_memory_equal(member(object, "v"), "\xef\xbf\xbd", 3);
        json_decref(object);
    }
    static const char *const good[] = {"\xc2\x80", "\xe0\xa0\x80", "\xed\x9f\xbf",
                                       "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        json_t *object = parse(CAPTURE(log_info("x", "v=%s", log_quote(good[i]))));
        assert_string_equal(member(object, "v"), good[i]);
        json_decref(object);
    }
}

static void
json_keeps_words_without_a_key(void **state)
{
    (void)state;
    json_t *object = parse(CAPTURE(log_info("x", "%s", "it went a=1 wrong =2")));
    assert_string_equal(member(object, "a"), "1");
    assert_string_equal(member(object, "text"), "it went wrong =2");
    json_decref(object);
}

static void
json_cut_at_any_length_is_still_json(void **state)
{
    (void)state;
    char text[2600];
    static const char *const fills[] = {"a", "\"", "\n", "\xe2\x82\xac", "k=1 "};
    for (size_t f = 0; f < sizeof(fills) / sizeof(fills[0]); f++) {
        size_t width = strlen(fills[f]);
        for (size_t len = 240; len + width < sizeof(text); len += 1 + len / 40) {
            size_t used = 0;
            while (used + width <= len) {
                memcpy(text + used, fills[f], width);
                used += width;
            }
            text[used] = '\0';
            const char *line = CAPTURE(log_line(LOG_INFO, "x", "first=1 %s=2 v=%s", "key", text));
            assert_true(strlen(line) <= 2048);
            json_error_t error;
            json_t *object = json_loads(line, 0, &error);
            assert_non_null(object);
            assert_string_equal(member(object, "key"), "2");
            bool is_cut = strcmp(member(object, "cut"), "true") == 0;
            if (strcmp(fills[f], "a") == 0)
                assert_int_equal(is_cut, strlen(member(object, "v")) < used);
            json_decref(object);
        }
    }
}

static void
an_unfinished_quote_ends_with_the_text(void **state)
{
    (void)state;
    json_t *object = parse(CAPTURE(log_info("x", "%s", "a=\"b c\\")));
    assert_string_equal(member(object, "a"), "b c\\");
    json_decref(object);
    object = parse(CAPTURE(log_info("x", "%s", "a=\"b\\x4")));
    assert_string_equal(member(object, "a"), "bx4");
    json_decref(object);
}

static void
quote_leaves_harmless_text_alone(void **state)
{
    (void)state;
    assert_string_equal(log_quote("alice@example.com/x~1"), "alice@example.com/x~1");
    assert_string_equal(log_quote_n("alicebob", 5), "alice");
}

static void
quote_escapes_what_could_forge(void **state)
{
    (void)state;
    assert_string_equal(log_quote("a b"), "\"a b\"");
    assert_string_equal(log_quote("a=b"), "\"a=b\"");
    assert_string_equal(log_quote("a\"b\\"), "\"a\\\"b\\\\\"");
    assert_string_equal(log_quote("\n\x1b\x7f"), "\"\\x0a\\x1b\\x7f\"");
    assert_string_equal(log_quote("\xc3\xa9"), "\"\\xc3\\xa9\"");
    assert_string_equal(log_quote_n("a\0b", 3), "\"a\\x00b\"");
    assert_string_equal(log_quote(""), "\"\"");
    assert_string_equal(log_quote(NULL), "\"\"");
    assert_string_equal(log_quote_n(NULL, 0), "\"\"");
}

static void
quote_cuts_behind_256_bytes(void **state)
{
    (void)state;
    char text[300];
    memset(text, 'a', sizeof(text));
    text[256] = '\0';
    assert_string_equal(log_quote(text), text);
    text[256] = 'a';
    text[257] = '\0';
    const char *quoted = log_quote(text);
    assert_int_equal(strlen(quoted), 256 + 5);
    assert_string_equal(quoted + 255, "aa...\"");
    memset(text, '\n', sizeof(text));
    quoted = log_quote_n(text, sizeof(text));
    assert_int_equal(strlen(quoted), 256 * 4 + 5);
}

static void
a_quote_is_good_for_seven_more_calls(void **state)
{
    (void)state;
    const char *quoted[8];
    for (int i = 0; i < 8; i++) {
        char text[2] = {(char)('a' + i), '\0'};
        quoted[i] = log_quote(text);
    }
    for (int i = 0; i < 8; i++)
        assert_int_equal(quoted[i][0], 'a' + i);
}

static void
logging_leaves_errno_alone(void **state)
{
    (void)state;
    capture_start();
    close(STDERR_FILENO);
    errno = ENOTDIR;
    log_info("x", "a=1"); // nobody there to take it
    int after = errno;
    dup2(real_stderr, STDERR_FILENO);
    close(real_stderr);
    assert_int_equal(after, ENOTDIR);
}

enum { THREADS = 4, LINES = 300 };

static void *
log_many(void *arg)
{
    const char *name = arg;
    for (int i = 0; i < LINES; i++)
        log_info("tick", "thread=%s text=%s i=%d", name, log_quote("some words here"), i);
    return NULL;
}

static void
lines_of_several_threads_stay_whole(void **state)
{
    (void)state;
    char names[THREADS][2] = {"a", "b", "c", "d"};
    pthread_t threads[THREADS];
    capture_start();
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, log_many, names[i]);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    capture_end();
    int next[THREADS] = {0};
    int count = 0;
    for (char *line = strtok(captured, "\n"); line != NULL; line = strtok(NULL, "\n"), count++) {
        char thread;
        int number;
        int end = 0;
        int got = sscanf(behind_time(line), "info  tick thread=%c text=\"some words here\" i=%d%n",
                         &thread, &number, &end);
        assert_int_equal(got, 2);
        assert_int_equal(behind_time(line)[end], '\0');
        assert_in_range(thread, 'a', 'd');
        assert_int_equal(number, next[thread - 'a']++);
    }
    assert_int_equal(count, THREADS * LINES);
}

static void
a_limit_lets_one_through_per_interval(void **state)
{
    (void)state;
    struct log_limit limit = {.interval_ms = 1000};
    uint64_t held = 99;
    assert_true(log_limit_pass(&limit, 5000, &held));
    assert_int_equal(held, 0);
    held = 99;
    assert_false(log_limit_pass(&limit, 5000, &held));
    assert_false(log_limit_pass(&limit, 5999, &held));
    assert_int_equal(held, 99); // untouched when it did not pass
    assert_true(log_limit_pass(&limit, 6000, &held));
    assert_int_equal(held, 2);
    assert_true(log_limit_pass(&limit, 7000, &held));
    assert_int_equal(held, 0);
}

static void
a_limit_works_from_time_zero_and_against_a_clock_that_goes_back(void **state)
{
    (void)state;
    struct log_limit limit = {.interval_ms = 1000};
    uint64_t held;
    assert_true(log_limit_pass(&limit, 0, &held));
    assert_false(log_limit_pass(&limit, 0, &held));
    assert_true(log_limit_pass(&limit, 5000, &held));
    assert_false(log_limit_pass(&limit, 4000, &held));
}

// A process that aborts with this errno: its lines, once it has ended as an abort does.
static const char *
lines_of_an_abort(int error)
{
    capture_start();
    pid_t child = fork();
    if (child == 0) {
        last_words_prepare();
        errno = error;
        abort();
    }
    int status = 0;
    pid_t ended = child > 0 ? waitpid(child, &status, 0) : -1;
    const char *lines = capture_end();
    assert_true(ended == child && child > 0);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    return lines;
}

static void
an_abort_without_memory_says_so(void **state)
{
    (void)state;
#ifdef __SANITIZE_THREAD__
    skip(); // it gives a handler an errno of its own
#endif
    const char *line = behind_time(lines_of_an_abort(ENOMEM));
    assert_memory_equal(line, "error out_of_memory meaning=", 28);
    assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
}

static void
any_other_abort_is_a_fault(void **state)
{
    (void)state;
    assert_memory_equal(behind_time(lines_of_an_abort(EIO)), "error aborted meaning=", 22);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_line_has_time_level_event_and_pairs, start_plain),
        cmocka_unit_test_setup(a_name_stands_before_the_pairs, start_plain),
        cmocka_unit_test_setup(levels_above_the_set_one_are_silent, start_plain),
        cmocka_unit_test_setup(debug_arguments_are_not_evaluated_when_it_is_off, start_plain),
        cmocka_unit_test_setup(a_control_character_cannot_start_a_new_line, start_plain),
        cmocka_unit_test_setup(a_line_too_long_is_cut_with_a_mark, start_plain),
        cmocka_unit_test_setup(a_cut_never_splits_a_character, start_plain),
        cmocka_unit_test_setup(json_has_every_pair_as_a_string, start_json),
        cmocka_unit_test_setup(the_json_line_is_as_documented, start_json),
        cmocka_unit_test_setup(json_undoes_what_log_quote_did, start_json),
        cmocka_unit_test_setup(json_says_when_its_pairs_were_cut_though_the_line_has_room,
                               start_json),
        cmocka_unit_test_setup(json_has_no_raw_control_characters, start_json),
        cmocka_unit_test_setup(json_replaces_bytes_that_are_not_utf8, start_json),
        cmocka_unit_test_setup(json_keeps_words_without_a_key, start_json),
        cmocka_unit_test_setup(json_cut_at_any_length_is_still_json, start_json),
        cmocka_unit_test_setup(an_unfinished_quote_ends_with_the_text, start_json),
        cmocka_unit_test(quote_leaves_harmless_text_alone),
        cmocka_unit_test(quote_escapes_what_could_forge),
        cmocka_unit_test(quote_cuts_behind_256_bytes),
        cmocka_unit_test(a_quote_is_good_for_seven_more_calls),
        cmocka_unit_test_setup(logging_leaves_errno_alone, start_plain),
        cmocka_unit_test_setup(lines_of_several_threads_stay_whole, start_plain),
        cmocka_unit_test_setup(an_abort_without_memory_says_so, start_plain),
        cmocka_unit_test_setup(any_other_abort_is_a_fault, start_plain),
        cmocka_unit_test(a_limit_lets_one_through_per_interval),
        cmocka_unit_test(a_limit_works_from_time_zero_and_against_a_clock_that_goes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
