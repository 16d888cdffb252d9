// conf_show.c: what is printed from the table, read back where something reads it.
#include <stdlib.h>
#include <string.h>

#include "conf_fixture.h"

static void
show(const struct conf *of, FILE *out)
{
    conf_show(of, false, out);
}

static void
show_with_origin(const struct conf *of, FILE *out)
{
    conf_show(of, true, out);
}

#define assert_has(text, part)                       \
    do {                                             \
        if (strstr(text, part) == NULL)              \
            fail_msg("no <%s> in:\n%s", part, text); \
    } while (0)

static void
show_prints_every_value_in_its_shortest_words(void **state)
{
    (void)state;
    assert_string_equal(printed(show), "listen.host = 127.0.0.1\n"
                                       "listen.port = 8000\n"
                                       "listen.tls.cert = \"\"\n"
                                       "limits.clock_offset = -5\n"
                                       "limits.any = 0\n"
                                       "limits.queue = 64KiB\n"
                                       "ping.interval = 25s\n"
                                       "ping.enabled = true\n"
                                       "log.format = auto\n"
                                       "token.secret = \"\"\n"
                                       "token.pin = 0\n"
                                       "origins.allowed = https://a.example https://b.example\n");
    assert_int_equal(set("ping.interval", "120000ms"), 0);
    assert_has(printed(show), "ping.interval = 2m\n");
    assert_int_equal(set("ping.interval", "1500ms"), 0);
    assert_has(printed(show), "ping.interval = 1500ms\n");
    assert_int_equal(set("limits.queue", "1073741824"), 0);
    assert_has(printed(show), "limits.queue = 1GiB\n");
    assert_int_equal(set("limits.queue", "1025"), 0);
    assert_has(printed(show), "limits.queue = 1025\n");
}

static void
show_with_origin_says_where_each_came_from(void **state)
{
    (void)state;
    assert_taken("listen:\n  port: 1\n");
    assert_int_equal(set("listen.host", "a"), 0);
    const char *text = printed(show_with_origin);
    assert_has(text, "listen.host = a  # flag\n");
    assert_has(text, "listen.port = 1  # t.yaml:2\n");
    assert_has(text, "log.format = auto  # default\n");
}

static void
a_value_cannot_forge_a_line_or_an_origin(void **state)
{
    (void)state;
    assert_int_equal(set("listen.host", "a\nb = \"c\"\\"), 0);
    assert_has(printed(show), "listen.host = \"a\\x0ab = \\\"c\\\"\\\\\"\n");
    assert_int_equal(set("listen.host", "a  # flag"), 0);
    assert_has(printed(show), "listen.host = \"a  # flag\"\n");
}

static void
no_print_shows_a_secret(void **state)
{
    (void)state;
    assert_int_equal(set("token.secret", "hunter2"), 0);
    assert_int_equal(set("token.pin", "4711"), 0);
    void (*const prints[])(const struct conf *, FILE *) = {
        show, show_with_origin, conf_help, conf_show_env, conf_show_yaml, conf_show_markdown};
    for (size_t i = 0; i < sizeof(prints) / sizeof(prints[0]); i++) {
        const char *text = printed(prints[i]);
        assert_null(strstr(text, "hunter2"));
        assert_null(strstr(text, "4711"));
    }
    assert_has(printed(show), "token.secret = ***\n");
    assert_has(printed(show), "token.pin = ***\n");
}

static void
the_generated_file_changes_nothing(void **state)
{
    (void)state;
    assert_taken(printed(conf_show_yaml));
    assert_int_equal(conf_count_set(&conf), 0);
    for (size_t i = 0; i < conf.count; i++)
        assert_string_equal(conf.origins[i], "default");
}

// Removes the '#' right before a key.
static char *
uncomment(const char *yaml)
{
    char *out = calloc(1, strlen(yaml) + 1);
    assert_non_null(out);
    size_t len = 0;
    for (const char *at = yaml; *at != '\0'; at++)
        if (*at != '#' || at[1] == ' ')
            out[len++] = *at;
    return out;
}

static void
the_generated_file_uncommented_sets_every_default(void **state)
{
    (void)state;
    // Other values first, so that the file must bring the defaults back.
    assert_taken("listen: {host: x, port: 1, tls: {cert: x}}\n"
                 "limits: {clock_offset: 1, any: 1, queue: 1KiB}\n"
                 "ping: {interval: 1s, enabled: no}\nlog: {format: json}\n"
                 "token: {secret: x, pin: 1}\norigins: {allowed: []}\n");
    assert_int_equal(conf_count_set(&conf), conf_row_count);
    char *yaml = uncomment(printed(conf_show_yaml));
    assert_taken(yaml);
    free(yaml);
    assert_int_equal(conf_count_set(&conf), 0);
    for (size_t i = 0; i < conf.count; i++)
        assert_memory_equal(conf.origins[i], "t.yaml:", 7);
}

static void
the_generated_file_nests_and_explains(void **state)
{
    (void)state;
    const char *text = printed(conf_show_yaml);
    assert_has(text, "\nlisten:\n"
                     "  # Address to listen on.\n"
                     "  # (text, 1 to 16 bytes; SWITCHYARD_LISTEN_HOST)\n"
                     "  #host: 127.0.0.1\n");
    assert_has(text, "  tls:\n"
                     "    # Path of the certificate chain.\n"
                     "    # (text, 0 to 4096 bytes; SWITCHYARD_LISTEN_TLS_CERT; reloadable)\n"
                     "    #cert: \"\"\n");
    assert_has(text, "  # (auto, text or json; SWITCHYARD_LOG_FORMAT)\n  #format: auto\n");
    assert_has(text, "  #allowed: [\"https://a.example\", \"https://b.example\"]\n");
}

static void
odd_defaults_survive_the_generated_file(void **state)
{
    (void)state;
    static const char *const odd[] = {"null", "~",   "",    "- a", "a: b", "a #b", "\"q\"\\",
                                      "a\nb", "yes", "1.0", "*x",  "&x",   "!x",   "%x",
                                      "@x",   "'x'", "-x",  "{a}", "...",  "-",    "---"};
    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
        const struct conf_row row = {
            .key = "a.b", .type = CONF_STRING, .value = odd[i], .max = 16, .help = "Odd."};
        const char *value;
        struct conf other;
        conf_init(&other, "x", &row, 1, &value);
        char *yaml;
        size_t len;
        FILE *out = open_memstream(&yaml, &len);
        assert_non_null(out);
        conf_show_yaml(&other, out);
        fclose(out);
        char *bare = strstr(yaml, "  #b:");
        assert_non_null(bare);
        memmove(bare + 2, bare + 3, strlen(bare + 3) + 1);
        assert_int_equal(conf_set(&other, "a.b", "other", "flag", complaints_to()), 0);
        int rc = conf_load_text(&other, "t.yaml", yaml, strlen(yaml), complaints_to());
        assert_string_equal(complaints(), "");
        assert_int_equal(rc, 0);
        assert_string_equal(value, odd[i]);
        free(yaml);
        conf_fini(&other);
    }
}

static void
show_env_lists_every_variable_with_its_default(void **state)
{
    (void)state;
    const char *text = printed(conf_show_env);
    assert_has(text, "# Address to listen on.\nSWITCHYARD_LISTEN_HOST=127.0.0.1\n");
    assert_has(text, "\nSWITCHYARD_LISTEN_TLS_CERT=\n");
    assert_has(text, "\nSWITCHYARD_LIMITS_CLOCK_OFFSET=-5\n");
    assert_has(text, "\nSWITCHYARD_ORIGINS_ALLOWED='https://a.example https://b.example'\n");
    assert_has(text, "# Or SWITCHYARD_TOKEN_SECRET_FILE, the path of a file that holds it.\n"
                     "SWITCHYARD_TOKEN_SECRET=\n");
}

static void
help_has_each_section_once_with_all_its_flags(void **state)
{
    (void)state;
    const char *text = printed(conf_help);
    assert_memory_equal(text, "Usage: switchyard-edge ", 23);
    assert_has(text,
               "\n\nlisten\n  --listen-host VALUE  (text, 1 to 16 bytes; default: 127.0.0.1)\n"
               "      Address to listen on.\n"
               "      SWITCHYARD_LISTEN_HOST\n"
               "  --listen-port VALUE  (number, 0 to 65535; default: 8000)\n");
    assert_has(text, "  --ping-enabled[=false]  (true or false; default: true)\n");
    assert_has(text, "  --log-format VALUE  (auto, text or json; default: auto)\n");
    assert_has(text, "  --listen-tls-cert VALUE  (text, 0 to 4096 bytes; default: empty)\n");
    assert_has(text, "      SWITCHYARD_TOKEN_SECRET, or its path in the same with _FILE\n");
    assert_null(strstr(strstr(text, "\nlisten\n") + 1, "\nlisten\n"));
}

static void
rows_of_one_section_need_not_stand_together(void **state)
{
    (void)state;
    static const struct conf_row rows[] = {
        {.key = "a.x", .type = CONF_LIST, .offset = 0, .value = "", .help = "First."},
        {.key = "ab.x", .type = CONF_LIST, .offset = 8, .value = "", .help = "Other."},
        {.key = "a.y.z", .type = CONF_LIST, .offset = 16, .value = "", .help = "Second."},
    };
    const char *values[3];
    struct conf other;
    conf_init(&other, "x", rows, 3, values);
    char *text;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    assert_non_null(out);
    conf_show_yaml(&other, out);
    fclose(out);
    assert_has(text,
               "\na:\n  # First.\n  # (words; SWITCHYARD_A_X)\n  #x: []\n  y:\n    # Second.\n");
    assert_has(text, "\nab:\n  # Other.\n");
    free(text);
    out = open_memstream(&text, &len);
    assert_non_null(out);
    conf_show_markdown(&other, out);
    fclose(out);
    assert_int_equal(text[0], '#');
    assert_has(text, "## a\n");
    assert_has(text, "`a.x`");
    assert_true(strstr(text, "`a.y.z`") < strstr(text, "## ab\n"));
    free(text);
    out = open_memstream(&text, &len);
    assert_non_null(out);
    conf_help(&other, out);
    fclose(out);
    const char *flag = strstr(text, "  --ab-x ");
    assert_non_null(flag);
    assert_null(strstr(flag + 1, "  --ab-x "));
    free(text);
    conf_fini(&other);
}

static void
long_help_is_wrapped(void **state)
{
    (void)state;
    const struct conf_row row = {.key = "a.b",
                                 .type = CONF_LIST,
                                 .value = "",
                                 .help = "word word word word word word word word word word "
                                         "word word word word word word word word word word "
                                         "word word word word word word word word word word"};
    const char *value;
    struct conf other;
    conf_init(&other, "x", &row, 1, &value);
    char *text;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    assert_non_null(out);
    conf_show_yaml(&other, out);
    fclose(out);
    int words = 0;
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        assert_true(strlen(line) <= 90);
        for (const char *at = line; (at = strstr(at, "word")) != NULL; at += 4)
            if (at[4] != 's') // the type
                words++;
    }
    assert_int_equal(words, 30);
    free(text);
    conf_fini(&other);
}

static void
the_reference_has_a_table_per_section(void **state)
{
    (void)state;
    const char *text = printed(conf_show_markdown);
    assert_memory_equal(text, "## listen\n\n| Key | Type and range | Default | Variable |", 50);
    assert_has(text,
               "| `listen.port` | number, 0 to 65535 | `8000` | `SWITCHYARD_LISTEN_PORT` | no "
               "| Port for clients; 0 takes a free one. |\n");
    assert_has(text,
               "| `ping.interval` | duration, 1s to 10m | `25s` | `SWITCHYARD_PING_INTERVAL` | "
               "yes | How often a silent client is asked. |\n");
    assert_has(text,
               "| `token.secret` | text, 0 to 32 bytes | empty | `SWITCHYARD_TOKEN_SECRET` or "
               "`…_FILE` | no |");
    assert_has(text, "| Pages that may connect \\| all others may not. |\n");
    assert_has(text, "|\n\n## limits\n\n| Key |");
    // Each line of a table has six cells.
    char *copy = strdup(text);
    assert_non_null(copy);
    for (char *line = strtok(copy, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        int bars = 0;
        for (const char *at = line; *at != '\0'; at++)
            bars += *at == '|' && (at == line || at[-1] != '\\');
        assert_int_equal(bars, line[0] == '|' ? 7 : 0);
    }
    free(copy);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, conf_setup, conf_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(show_prints_every_value_in_its_shortest_words),
        TEST(show_with_origin_says_where_each_came_from),
        TEST(a_value_cannot_forge_a_line_or_an_origin),
        TEST(no_print_shows_a_secret),
        TEST(the_generated_file_changes_nothing),
        TEST(the_generated_file_uncommented_sets_every_default),
        TEST(the_generated_file_nests_and_explains),
        TEST(odd_defaults_survive_the_generated_file),
        TEST(show_env_lists_every_variable_with_its_default),
        TEST(help_has_each_section_once_with_all_its_flags),
        TEST(rows_of_one_section_need_not_stand_together),
        TEST(long_help_is_wrapped),
        TEST(the_reference_has_a_table_per_section),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
