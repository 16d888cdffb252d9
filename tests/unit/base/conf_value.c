// conf_value.c: each type at both sides of its bounds; what is said about a bad value.
#include <string.h>

#include "conf_fixture.h"

// The value is refused in these words, and the setting keeps its value.
#define assert_bad(key, value, words)                               \
    do {                                                            \
        struct settings before_ = settings;                         \
        assert_int_equal(set(key, value), SY_EINVAL);               \
        assert_string_equal(complaints(), "flag: " words "\n");     \
        assert_memory_equal(&before_, &settings, sizeof(settings)); \
    } while (0)
#define assert_good(key, value)                \
    do {                                       \
        int rc_ = set(key, value);             \
        assert_string_equal(complaints(), ""); \
        assert_int_equal(rc_, 0);              \
    } while (0)

static void
settings_start_with_their_defaults(void **state)
{
    (void)state;
    assert_string_equal(settings.host, "127.0.0.1");
    assert_int_equal(settings.port, 8000);
    assert_string_equal(settings.tls_cert, "");
    assert_int_equal(settings.offset, -5);
    assert_int_equal(settings.queue, 65536);
    assert_int_equal(settings.interval, 25000);
    assert_true(settings.is_enabled);
    assert_string_equal(settings.format, "auto");
    assert_string_equal(settings.secret, "");
    assert_string_equal(settings.origins, "https://a.example https://b.example");
    for (size_t i = 0; i < conf.count; i++)
        assert_string_equal(conf.origins[i], "default");
    assert_int_equal(conf_count_set(&conf), 0);
}

static void
whole_numbers_stay_within_their_bounds(void **state)
{
    (void)state;
    assert_good("listen.port", "0");
    assert_int_equal(settings.port, 0);
    assert_good("listen.port", "65535");
    assert_int_equal(settings.port, 65535);
    assert_good("listen.port", "00080");
    assert_int_equal(settings.port, 80);
    assert_bad("listen.port", "65536", "'65536' is out of range for listen.port: 0 to 65535");
    assert_bad("listen.port", "-1", "'-1' is out of range for listen.port: 0 to 65535");
    assert_good("limits.clock_offset", "-10");
    assert_int_equal(settings.offset, -10);
    assert_good("limits.clock_offset", "-0");
    assert_int_equal(settings.offset, 0);
    assert_good("limits.clock_offset", "10");
    assert_bad("limits.clock_offset", "-11",
               "'-11' is out of range for limits.clock_offset: -10 to 10");
    assert_bad("limits.clock_offset", "11",
               "'11' is out of range for limits.clock_offset: -10 to 10");
}

static void
whole_numbers_do_not_overflow(void **state)
{
    (void)state;
    assert_good("limits.any", "9223372036854775807");
    assert_true(settings.any == INT64_MAX);
    assert_good("limits.any", "-9223372036854775808");
    assert_true(settings.any == INT64_MIN);
    assert_bad("limits.any", "9223372036854775808",
               "'9223372036854775808' is out of range for limits.any: "
               "-9223372036854775808 or more");
    assert_bad("limits.any", "-9223372036854775809",
               "'-9223372036854775809' is out of range for limits.any: "
               "-9223372036854775808 or more");
    assert_bad("listen.port", "18446744073709551616",
               "'18446744073709551616' is out of range for listen.port: 0 to 65535");
    assert_bad("listen.port", "18446744073709551696", // 80 modulo 2^64
               "'18446744073709551696' is out of range for listen.port: 0 to 65535");
}

static void
what_is_no_whole_number_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",    "-",  "+1", "1.0", "0x10",
                                      "1e3", " 1", "1 ", "--1", "1_000"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(set("listen.port", bad[i]), SY_EINVAL);
        char words[128];
        snprintf(words, sizeof(words),
                 "flag: '%s' is not a whole number for listen.port: 0 to 65535\n", bad[i]);
        assert_string_equal(complaints(), words);
    }
    assert_int_equal(settings.port, 8000);
}

static void
durations_have_a_unit(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {{"1000ms", 1000}, {"1s", 1000},    {"90s", 90000},
                {"5m", 300000},   {"10m", 600000}, {"600s", 600000}};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_good("ping.interval", good[i].text);
        assert_int_equal(settings.interval, good[i].ms);
    }
    assert_bad("ping.interval", "10",
               "'10' has no unit for ping.interval: ms, s, m or h, as in 10s");
    assert_bad("ping.interval", "0", "'0' is out of range for ping.interval: 1s to 10m");
    assert_bad("ping.interval", "999ms", "'999ms' is out of range for ping.interval: 1s to 10m");
    assert_bad("ping.interval", "600001ms",
               "'600001ms' is out of range for ping.interval: 1s to 10m");
    assert_bad("ping.interval", "1h", "'1h' is out of range for ping.interval: 1s to 10m");
    assert_bad("ping.interval", "5d",
               "'5d' is not a duration for ping.interval: 1s to 10m, in ms, s, m or h");
    // Beyond 64 bits in digits, and only by its unit.
    assert_bad("ping.interval", "99999999999999999999s",
               "'99999999999999999999s' is out of range for ping.interval: 1s to 10m");
    assert_bad("ping.interval", "18446744073709556616ms", // 5000 modulo 2^64
               "'18446744073709556616ms' is out of range for ping.interval: 1s to 10m");
    assert_bad("ping.interval", "5124095576030432h", // 2^64 + a little, in ms
               "'5124095576030432h' is out of range for ping.interval: 1s to 10m");
    assert_bad("ping.interval", "99999999999999999999",
               "'99999999999999999999' has no unit for ping.interval: ms, s, m or h, as in 10s");
    static const char *const bad[] = {"", "s", "-5s", "1.5s", "5 s", "5S", "5sec", "1m30s"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(set("ping.interval", bad[i]), SY_EINVAL);
        assert_non_null(strstr(complaints(), "is not a duration"));
    }
}

static void
sizes_are_bytes_or_have_a_binary_unit(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t bytes;
    } good[] = {{"1024", 1024}, {"1KiB", 1024}, {"3MiB", 3 << 20}, {"1GiB", 1 << 30}};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_good("limits.queue", good[i].text);
        assert_int_equal(settings.queue, good[i].bytes);
    }
    assert_bad("limits.queue", "1023", "'1023' is out of range for limits.queue: 1KiB to 1GiB");
    assert_bad("limits.queue", "1073741825",
               "'1073741825' is out of range for limits.queue: 1KiB to 1GiB");
    assert_bad("limits.queue", "17179869185GiB", // 2^64 + 1 GiB
               "'17179869185GiB' is out of range for limits.queue: 1KiB to 1GiB");
    assert_bad("limits.queue", "64KB",
               "'64KB' is not a size for limits.queue: 1KiB to 1GiB, in bytes, KiB, MiB or GiB");
    static const char *const bad[] = {"", "KiB", "-1", "1kib", "1.5MiB", "1 MiB", "1B"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(set("limits.queue", bad[i]), SY_EINVAL);
        assert_non_null(strstr(complaints(), "is not a size"));
    }
}

static void
booleans_have_three_pairs_of_words(void **state)
{
    (void)state;
    static const char *const no[] = {"false", "no", "off", "False", "OFF"};
    static const char *const yes[] = {"true", "yes", "on", "True", "YES"};
    for (size_t i = 0; i < 5; i++) {
        assert_good("ping.enabled", no[i]);
        assert_false(settings.is_enabled);
        assert_good("ping.enabled", yes[i]);
        assert_true(settings.is_enabled);
    }
    assert_bad("ping.enabled", "1", "'1' is not possible for ping.enabled: true or false");
    assert_bad("ping.enabled", "", "'' is not possible for ping.enabled: true or false");
    assert_bad("ping.enabled", "trueish",
               "'trueish' is not possible for ping.enabled: true or false");
    assert_bad("ping.enabled", "tru", "'tru' is not possible for ping.enabled: true or false");
}

static void
a_choice_is_one_of_its_words_exactly(void **state)
{
    (void)state;
    assert_good("log.format", "text");
    assert_string_equal(settings.format, "text");
    assert_good("log.format", "json");
    assert_good("log.format", "auto");
    assert_bad("log.format", "jsn",
               "'jsn' is not possible for log.format: auto, text or json (did you mean 'json'?)");
    assert_bad("log.format", "JSON", "'JSON' is not possible for log.format: auto, text or json");
    assert_bad("log.format", "auto|text",
               "'auto|text' is not possible for log.format: auto, text or json");
    assert_bad("log.format", "", "'' is not possible for log.format: auto, text or json");
    assert_string_equal(settings.format, "auto");
}

static void
a_short_word_is_no_guess_for_another(void **state)
{
    (void)state;
    const struct conf_row row = {
        .key = "a.b", .type = CONF_CHOICE, .value = "on", .choices = "on|off", .help = "x"};
    const char *value;
    struct conf other;
    conf_init(&other, "x", &row, 1, &value);
    assert_int_equal(conf_set(&other, "a.b", "xy", "flag", complaints_to()), SY_EINVAL);
    assert_string_equal(complaints(), "flag: 'xy' is not possible for a.b: on or off\n");
    assert_int_equal(conf_set(&other, "a.b", "of", "flag", complaints_to()), SY_EINVAL);
    assert_string_equal(complaints(), "flag: 'of' is not possible for a.b: on or off "
                                      "(did you mean 'on'?)\n");
    conf_fini(&other);
}

static void
strings_have_bounds_in_bytes(void **state)
{
    (void)state;
    assert_good("listen.host", "a");
    assert_good("listen.host", "0123456789abcdef");
    assert_string_equal(settings.host, "0123456789abcdef");
    assert_bad("listen.host", "", "'' is too short for listen.host: 1 to 16 bytes");
    assert_bad("listen.host", "0123456789abcdefg",
               "'0123456789abcdefg' is too long for listen.host: 1 to 16 bytes");
}

static void
lists_have_single_spaces_whatever_stood_there(void **state)
{
    (void)state;
    assert_good("origins.allowed", "  a \t b\n\nc ");
    assert_string_equal(settings.origins, "a b c");
    assert_good("origins.allowed", "");
    assert_string_equal(settings.origins, "");
    assert_good("origins.allowed", " \t ");
    assert_string_equal(settings.origins, "");
    assert_good("origins.allowed", "one");
    assert_string_equal(settings.origins, "one");
}

static void
a_shown_value_is_harmless_and_short(void **state)
{
    (void)state;
    assert_bad("listen.port", "a\nb\x1b[31m",
               "'a\\x0ab\\x1b[31m' is not a whole number for listen.port: 0 to 65535");
    char exact[65];
    memset(exact, 'x', 64);
    exact[64] = '\0';
    assert_int_equal(set("listen.port", exact), SY_EINVAL);
    assert_null(strstr(complaints(), "..."));
    char text[67];
    memset(text, 'x', 63);
    memcpy(text + 63, "\xe2\x82\xac", 4); // byte 64 is in the middle of it
    assert_int_equal(set("listen.port", text), SY_EINVAL);
    assert_non_null(strstr(complaints(), "xx...' is not"));
}

static void
a_secret_is_never_repeated(void **state)
{
    (void)state;
    static const char secret[] = "hunter2hunter2hunter2hunter2hunter2";
    assert_bad("token.secret", secret, "the value is too long for token.secret: 0 to 32 bytes");
    assert_bad("token.pin", "12345", "the value is out of range for token.pin: 0 to 9999");
    assert_bad("token.pin", "x12", "the value is not a whole number for token.pin: 0 to 9999");
}

static void
a_misspelt_key_gets_a_guess_if_one_is_near(void **state)
{
    (void)state;
    assert_bad("listen.prot", "1", "key 'listen.prot' is unknown (did you mean 'listen.port'?)");
    assert_bad("listen.porttt", "1",
               "key 'listen.porttt' is unknown (did you mean 'listen.port'?)");
    // Eleven bytes: three edits are still within a third. Nine bytes: four are not.
    assert_bad("listen_prts", "1", "key 'listen_prts' is unknown (did you mean 'listen.port'?)");
    assert_bad("liten.prx", "1", "key 'liten.prx' is unknown (did you mean 'listen.port'?)");
    assert_bad("lite.xxyy", "1", "key 'lite.xxyy' is unknown");
    assert_bad("something.else.entirely", "1", "key 'something.else.entirely' is unknown");
    assert_bad("", "1", "key '' is unknown");
    assert_bad("listen", "1", "key 'listen' is unknown");
}

static void
a_very_long_wrong_key_is_cut_and_gets_no_guess(void **state)
{
    (void)state;
    static char key[100001];
    memset(key, 'k', sizeof(key) - 1);
    assert_int_equal(set(key, "1"), SY_EINVAL);
    assert_true(strlen(complaints()) < 120);
}

static void
a_later_value_replaces_an_earlier_one(void **state)
{
    (void)state;
    assert_good("listen.host", "first");
    assert_good("listen.host", "second");
    assert_string_equal(settings.host, "second");
    assert_good("listen.host", settings.host); // its own text given back
    assert_string_equal(settings.host, "second");
    assert_int_equal(conf_set(&conf, "listen.host", "third", conf.origins[0], complaints_to()), 0);
    assert_string_equal(settings.host, "third");
    assert_string_equal(conf.origins[0], "flag");
}

static void
count_set_counts_values_that_differ(void **state)
{
    (void)state;
    assert_good("listen.port", "8000");
    assert_good("limits.queue", "65536"); // the default in other words
    assert_good("origins.allowed", "https://a.example   https://b.example");
    assert_int_equal(conf_count_set(&conf), 0);
    assert_good("listen.port", "8001");
    assert_good("ping.enabled", "off");
    assert_good("listen.host", "::1");
    assert_int_equal(conf_count_set(&conf), 3);
    assert_good("ping.enabled", "on");
    assert_int_equal(conf_count_set(&conf), 2);
}

static void
texts_are_empty_after_fini(void **state)
{
    (void)state;
    struct conf other;
    struct settings values;
    conf_init(&other, "x", conf_rows, conf_row_count, &values);
    conf_fini(&other);
    assert_string_equal(values.host, "");
    assert_string_equal(values.format, "");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, conf_setup, conf_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(settings_start_with_their_defaults),
        TEST(whole_numbers_stay_within_their_bounds),
        TEST(whole_numbers_do_not_overflow),
        TEST(what_is_no_whole_number_is_refused),
        TEST(durations_have_a_unit),
        TEST(sizes_are_bytes_or_have_a_binary_unit),
        TEST(booleans_have_three_pairs_of_words),
        TEST(a_choice_is_one_of_its_words_exactly),
        TEST(a_short_word_is_no_guess_for_another),
        TEST(strings_have_bounds_in_bytes),
        TEST(lists_have_single_spaces_whatever_stood_there),
        TEST(a_shown_value_is_harmless_and_short),
        TEST(a_secret_is_never_repeated),
        TEST(a_misspelt_key_gets_a_guess_if_one_is_near),
        TEST(a_very_long_wrong_key_is_cut_and_gets_no_guess),
        TEST(a_later_value_replaces_an_earlier_one),
        TEST(count_set_counts_values_that_differ),
        TEST(texts_are_empty_after_fini),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
