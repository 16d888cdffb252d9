// conf_yaml.c: what a settings file may hold, and the words and place of each refusal.
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf_fixture.h"

static void
nested_mappings_and_sequences_are_read(void **state)
{
    (void)state;
    assert_taken("# a comment\n"
                 "listen:\n"
                 "  host: \"::1\"\n"
                 "  port: 9000\n"
                 "  tls: {cert: '/etc/x.pem'}\n"
                 "ping:\n"
                 "  interval: 5m\n"
                 "  enabled: no\n"
                 "origins:\n"
                 "  allowed:\n"
                 "    - https://x.example\n"
                 "    - \"*.y.example\"\n");
    assert_string_equal(settings.host, "::1");
    assert_int_equal(settings.port, 9000);
    assert_string_equal(settings.tls_cert, "/etc/x.pem");
    assert_int_equal(settings.interval, 300000);
    assert_false(settings.is_enabled);
    assert_string_equal(settings.origins, "https://x.example *.y.example");
    assert_string_equal(conf.origins[0], "t.yaml:3");
    assert_string_equal(conf.origins[1], "t.yaml:4");
    assert_string_equal(conf.origins[2], "t.yaml:5");
    assert_string_equal(conf.origins[3], "default");
}

static void
a_list_may_be_a_scalar_or_empty(void **state)
{
    (void)state;
    assert_taken("origins:\n  allowed: a  b\n");
    assert_string_equal(settings.origins, "a b");
    assert_taken("origins:\n  allowed: []\n");
    assert_string_equal(settings.origins, "");
    assert_taken("origins: {allowed: [one]}\n");
    assert_string_equal(settings.origins, "one");
}

static void
a_long_list_is_joined_whole(void **state)
{
    (void)state;
    enum { WORDS = 5000 };
    char *yaml = malloc(WORDS * 8 + 32);
    assert_non_null(yaml);
    size_t len = (size_t)sprintf(yaml, "origins:\n  allowed: [");
    for (int i = 0; i < WORDS; i++)
        len += (size_t)sprintf(yaml + len, "w%04d,\n ", i);
    sprintf(yaml + len, "]\n");
    assert_taken(yaml);
    free(yaml);
    assert_int_equal(strlen(settings.origins), WORDS * 6 - 1);
    assert_memory_equal(settings.origins, "w0000 w0001 ", 12);
    assert_string_equal(settings.origins + WORDS * 6 - 1 - 11, "w4998 w4999");
}

static void
files_that_say_nothing_are_fine(void **state)
{
    (void)state;
    assert_taken("");
    assert_taken("# only a comment\n");
    assert_taken("---\n");
    assert_taken("---\n# nothing\n...\n");
    assert_taken("{}\n");
    assert_taken("listen:\nping:\n  # interval: 5s\n");
    assert_int_equal(conf_count_set(&conf), 0);
}

static void
unknown_keys_are_named_with_their_place(void **state)
{
    (void)state;
    assert_refused("listen:\n  host: a\n  prot: 1\n",
                   "t.yaml:3:3: key 'listen.prot' is unknown (did you mean 'listen.port'?)");
    assert_refused("port: 1\n", "t.yaml:1:1: key 'port' is unknown");
    assert_refused("lsten:\n  port: 1\n",
                   "t.yaml:1:1: section 'lsten' is unknown (did you mean 'listen'?)");
    assert_refused("listen:\n  tsl:\n    cert: x\n",
                   "t.yaml:2:3: section 'listen.tsl' is unknown (did you mean 'listen.tls'?)");
    assert_refused("? ''\n: 1\n", "t.yaml:1:3: key '' is unknown");
    assert_refused("<<: {}\n", "t.yaml:1:1: section '<<' is unknown");
    assert_refused("\"listen.port\\0x\": 1\n", "t.yaml:1:1: key 'listen.port\\x00x' is unknown");
    assert_refused("\"a\\nb\": 1\n", "t.yaml:1:1: key 'a\\x0ab' is unknown");
}

static void
a_very_long_key_is_unknown_like_any(void **state)
{
    (void)state;
    char yaml[600];
    memset(yaml, 'k', sizeof(yaml));
    memcpy(yaml, "listen:\n  ", 10);
    strcpy(yaml + 500, ": 1\n");
    assert_int_equal(load(yaml), SY_EINVAL);
    const char *text = complaints();
    assert_memory_equal(text, "t.yaml:2:3: key 'kkk", 20);
    assert_non_null(strstr(text, "k...' is unknown\n"));
}

static void
bad_values_are_explained_at_their_place(void **state)
{
    (void)state;
    assert_refused("listen:\n  port: 80000\n",
                   "t.yaml:2:9: '80000' is out of range for listen.port: 0 to 65535");
    assert_refused("log: {format: jsn}\n",
                   "t.yaml:1:15: 'jsn' is not possible for log.format: auto, text or json "
                   "(did you mean 'json'?)");
    assert_refused("token:\n  secret: hunter2-hunter2-hunter2-hunter2-hunter2\n",
                   "t.yaml:2:11: the value is too long for token.secret: 0 to 32 bytes");
    assert_refused("listen:\n  host: \"a\\0b\"\n",
                   "t.yaml:2:9: 'a\\x00b' holds a NUL byte, which listen.host cannot");
    assert_refused("token: {secret: \"a\\0b\"}\n",
                   "t.yaml:1:17: the value holds a NUL byte, which token.secret cannot");
    assert_int_equal(settings.port, 8000);
    assert_string_equal(settings.secret, "");
}

static void
values_before_the_bad_one_stay(void **state)
{
    (void)state;
    assert_int_equal(load("listen:\n  host: b\n  port: x\n"), SY_EINVAL);
    assert_string_equal(settings.host, "b");
    assert_string_equal(conf.origins[0], "t.yaml:2");
    assert_int_equal(settings.port, 8000);
    assert_string_equal(conf.origins[1], "default");
}

static void
a_missing_value_is_not_an_empty_one(void **state)
{
    (void)state;
    assert_refused("listen:\n  tls:\n    cert:\n",
                   "t.yaml:3:5: 'listen.tls.cert' has no value; for an empty one write \"\"");
    assert_refused("origins: {allowed: ~}\n",
                   "t.yaml:1:11: 'origins.allowed' has no value; for an empty one write \"\"");
    assert_refused("listen: {host: null}\n",
                   "t.yaml:1:10: 'listen.host' has no value; for an empty one write \"\"");
    assert_taken("listen: {tls: {cert: \"\"}, host: 'null'}\n");
    assert_string_equal(settings.host, "null");
}

static void
a_key_given_twice_names_both_lines(void **state)
{
    (void)state;
    assert_refused("listen:\n  port: 1\n  host: a\n  port: 2\n",
                   "t.yaml:4:3: 'listen.port' is given twice, first on line 2");
    assert_int_equal(settings.port, 1);
    assert_refused("listen:\n  port: 1\nping:\nlisten:\n  host: a\n",
                   "t.yaml:4:1: 'listen' is given twice, first on line 1");
    assert_refused("listen.port: 1\nlisten:\n  port: 2\n",
                   "t.yaml:3:3: 'listen.port' is given twice, first on line 1");
    // Two files may give the same key.
    assert_taken("listen: {port: 3}\n");
    assert_taken("listen: {port: 4}\n");
    assert_int_equal(settings.port, 4);
}

static void
sections_and_values_are_not_confused(void **state)
{
    (void)state;
    assert_refused("listen: 8000\n", "t.yaml:1:1: 'listen' is a section; its keys go below it");
    assert_refused("listen: [8000]\n", "t.yaml:1:1: 'listen' is a section; its keys go below it");
    assert_refused("listen: ''\n", "t.yaml:1:1: 'listen' is a section; its keys go below it");
    assert_refused("listen:\n  port:\n    a: 1\n",
                   "t.yaml:2:3: 'listen.port' takes a value; it is no section");
    assert_refused("listen:\n  port: {}\n",
                   "t.yaml:2:3: 'listen.port' takes a value; it is no section");
    assert_refused("listen:\n  port: [1]\n",
                   "t.yaml:2:3: 'listen.port' takes one value, not a list");
    assert_refused("origins: {allowed: {a: b}}\n",
                   "t.yaml:1:11: 'origins.allowed' takes a value; it is no section");
}

static void
lists_hold_words_only(void **state)
{
    (void)state;
    assert_refused("origins:\n  allowed: [a, [b]]\n",
                   "t.yaml:2:16: 'origins.allowed' is a list of words, nothing deeper");
    assert_refused("origins:\n  allowed: [a, b: c]\n",
                   "t.yaml:2:16: 'origins.allowed' is a list of words, nothing deeper");
    assert_refused("origins:\n  allowed: [a, 'b c']\n",
                   "t.yaml:2:16: 'origins.allowed' has a word with white space in its list");
    assert_refused("origins:\n  allowed: [\"b\\0c\"]\n",
                   "t.yaml:2:13: 'origins.allowed' has a word with white space in its list");
    assert_refused("origins:\n  allowed:\n    - a\n    -\n    - b\n",
                   "t.yaml:4:6: 'origins.allowed' has an empty word in its list");
    assert_refused("origins:\n  allowed: ['']\n",
                   "t.yaml:2:13: 'origins.allowed' has an empty word in its list");
    assert_string_equal(settings.origins, "https://a.example https://b.example");
}

static void
the_top_is_a_mapping(void **state)
{
    (void)state;
    assert_refused("just words\n", "t.yaml:1:1: the file must be sections with keys below them");
    assert_refused("- a\n- b\n", "t.yaml:1:1: the file must be sections with keys below them");
    assert_refused("[a: 1]\n", "t.yaml:1:1: the file must be sections with keys below them");
    assert_refused("''\n", "t.yaml:1:1: the file must be sections with keys below them");
}

static void
anchors_aliases_tags_and_merges_are_refused(void **state)
{
    (void)state;
    assert_refused("listen:\n  host: &a x\n", "t.yaml:2:9: anchors (&name) are not taken");
    assert_refused("listen: &a\n  host: x\n", "t.yaml:1:9: anchors (&name) are not taken");
    assert_refused("listen:\n  host: *a\n", "t.yaml:2:9: aliases (*name) are not taken");
    assert_refused("*a : x\n", "t.yaml:1:1: aliases (*name) are not taken");
    assert_refused("&a listen: {}\n", "t.yaml:1:1: anchors (&name) are not taken");
    assert_refused("&a {}\n", "t.yaml:1:1: anchors (&name) are not taken");
    assert_refused("origins:\n  allowed: [&a b]\n", "t.yaml:2:13: anchors (&name) are not taken");
    assert_refused("origins:\n  allowed: [*a]\n", "t.yaml:2:13: aliases (*name) are not taken");
    assert_refused("origins:\n  allowed: &a [b]\n", "t.yaml:2:12: anchors (&name) are not taken");
    assert_refused("listen:\n  port: !!int 5\n", "t.yaml:2:9: tags (!name) are not taken");
}

static void
a_second_document_is_refused(void **state)
{
    (void)state;
    assert_refused("listen: {port: 1}\n---\nlisten: {port: 2}\n",
                   "t.yaml:2:1: a second document is not taken");
    assert_int_equal(settings.port, 1);
    assert_taken("---\nlisten: {port: 3}\n...\n");
}

static void
nesting_deeper_than_any_setting_is_refused(void **state)
{
    (void)state;
    assert_refused("listen: {tls: {a: {b: {c: {d: 1}}}}}\n",
                   "t.yaml:1:16: section 'listen.tls.a' is unknown (did you mean 'listen.tls'?)");
    static char deep[200001];
    memset(deep, '[', sizeof(deep) - 1);
    memcpy(deep, "listen: ", 8);
    assert_refused(deep, "t.yaml:1:1: 'listen' is a section; its keys go below it");
    memcpy(deep, "origins: {allowed: ", 19);
    assert_int_equal(load(deep), SY_EINVAL);
    assert_non_null(strstr(complaints(), "nothing deeper"));
    memset(deep, '{', sizeof(deep) - 1);
    assert_refused(deep, "t.yaml:1:2: a key must be a word");
    assert_refused("[a, b]: 1\n", "t.yaml:1:1: a key must be a word");
    assert_refused("? [a, b]\n: 1\n", "t.yaml:1:3: a key must be a word");
}

static void
what_is_not_yaml_is_told_with_its_place(void **state)
{
    (void)state;
    assert_refused("listen:\n  host: \"a\n",
                   "t.yaml:3:1: not YAML: found unexpected end of stream, "
                   "while scanning a quoted scalar");
    assert_refused("listen:\n\tport: 1\n",
                   "t.yaml:2:1: not YAML: found character that cannot start any token, "
                   "while scanning for the next token");
    assert_int_equal(load("listen: {port: 1\n"), SY_EINVAL);
    assert_memory_equal(complaints(), "t.yaml:2:1: not YAML: ", 22);
    // The line of a byte that is no UTF-8.
    assert_int_equal(load("listen:\n  host: a\xff\n"), SY_EINVAL);
    assert_string_equal(complaints(), "t.yaml:2:10: not YAML: invalid leading UTF-8 octet\n");
    assert_int_equal(load("listen:\n  host: \x01\n"), SY_EINVAL);
    assert_string_equal(complaints(), "t.yaml:2:9: not YAML: control characters are not allowed\n");
}

static void
every_complaint_is_one_line(void **state)
{
    (void)state;
    static const char whole[] = "listen:\n  host: \"x\\ty\"\n  port: 12\n  tls: {cert: 'a'}\n"
                                "origins:\n  allowed: [a, b]\nping: {enabled: yes}\n";
    // Each prefix, and each with one byte turned into something odd.
    static const char odd[] = "\n\t\"'{}[]:-#&*!|>%@`\x01\x80";
    for (size_t len = 0; len < sizeof(whole); len++) {
        for (size_t i = 0; i < sizeof(odd); i++) {
            char text[sizeof(whole)];
            memcpy(text, whole, sizeof(whole));
            text[len] = odd[i];
            int rc = conf_load_text(&conf, "t.yaml", text, sizeof(whole) - 1, complaints_to());
            const char *said = complaints();
            if (rc == 0) {
                assert_string_equal(said, "");
                continue;
            }
            assert_int_equal(rc, SY_EINVAL);
            assert_memory_equal(said, "t.yaml:", 7);
            assert_ptr_equal(strchr(said, '\n'), said + strlen(said) - 1);
        }
    }
}

static void
a_file_is_read_like_its_text(void **state)
{
    (void)state;
    char path[] = "/tmp/sy-conf-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "listen: {port: 7}\n", 18), 18);
    close(fd);
    int rc = conf_load_file(&conf, path, complaints_to());
    assert_string_equal(complaints(), "");
    assert_int_equal(rc, 0);
    assert_int_equal(settings.port, 7);
    char origin[64];
    snprintf(origin, sizeof(origin), "%s:1", path);
    assert_string_equal(conf.origins[1], origin);
    unlink(path);
    assert_int_equal(conf_load_file(&conf, path, complaints_to()), SY_ENOENT);
    char words[128];
    snprintf(words, sizeof(words), "%s: cannot be read: No such file or directory\n", path);
    assert_string_equal(complaints(), words);
}

static void
a_directory_is_no_settings_file(void **state)
{
    (void)state;
    assert_int_equal(conf_load_file(&conf, "/tmp", complaints_to()), SY_EINVAL);
    assert_string_equal(complaints(), "/tmp: cannot be read: Is a directory\n");
}

static void
a_file_of_a_mebibyte_is_read_and_a_larger_one_is_not(void **state)
{
    (void)state;
    const size_t most = 1024 * 1024;
    char *text = malloc(most + 1);
    assert_non_null(text);
    memset(text, '\n', most + 1);
    memcpy(text, "listen: {port: 9}", 17);
    assert_int_equal(conf_load_text(&conf, "t.yaml", text, most, complaints_to()), 0);
    assert_int_equal(settings.port, 9);
    assert_int_equal(conf_load_text(&conf, "t.yaml", text, most + 1, complaints_to()), SY_EINVAL);
    assert_string_equal(complaints(), "t.yaml: is larger than 1 MiB\n");
    free(text);
    assert_int_equal(conf_load_file(&conf, "/dev/zero", complaints_to()), SY_EINVAL);
    assert_string_equal(complaints(), "/dev/zero: is larger than 1 MiB\n");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, conf_setup, conf_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nested_mappings_and_sequences_are_read),
        TEST(a_list_may_be_a_scalar_or_empty),
        TEST(a_long_list_is_joined_whole),
        TEST(files_that_say_nothing_are_fine),
        TEST(unknown_keys_are_named_with_their_place),
        TEST(a_very_long_key_is_unknown_like_any),
        TEST(bad_values_are_explained_at_their_place),
        TEST(values_before_the_bad_one_stay),
        TEST(a_missing_value_is_not_an_empty_one),
        TEST(a_key_given_twice_names_both_lines),
        TEST(sections_and_values_are_not_confused),
        TEST(lists_hold_words_only),
        TEST(the_top_is_a_mapping),
        TEST(anchors_aliases_tags_and_merges_are_refused),
        TEST(a_second_document_is_refused),
        TEST(nesting_deeper_than_any_setting_is_refused),
        TEST(what_is_not_yaml_is_told_with_its_place),
        TEST(every_complaint_is_one_line),
        TEST(a_file_is_read_like_its_text),
        TEST(a_directory_is_no_settings_file),
        TEST(a_file_of_a_mebibyte_is_read_and_a_larger_one_is_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
