// conf_flag.c: the command line, and the order in which the places count.
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "conf_fixture.h"

enum { WORDS_MAX = 16 };

static char *args[WORDS_MAX + 1];
static int arg_count;
static char file_path[] = "/tmp/sy-flags-XXXXXX";

static int
run_in(char *const *env, const char *const *words)
{
    static char copies[WORDS_MAX][128];
    args[0] = strcpy(copies[0], "switchyard-edge");
    arg_count = 1;
    for (; *words != NULL; words++, arg_count++) {
        assert_true(arg_count < WORDS_MAX && strlen(*words) < sizeof(copies[0]));
        args[arg_count] = strcpy(copies[arg_count], *words);
    }
    args[arg_count] = NULL;
    return conf_load_all(&conf, &arg_count, args, env, complaints_to());
}

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define run(...) run_in(ENV(NULL), WORDS(__VA_ARGS__))

#define assert_run(...)                        \
    do {                                       \
        int rc_ = run(__VA_ARGS__);            \
        assert_string_equal(complaints(), ""); \
        assert_int_equal(rc_, 0);              \
    } while (0)
#define assert_not_run(words, ...)                     \
    do {                                               \
        assert_int_equal(run(__VA_ARGS__), SY_EINVAL); \
        assert_string_equal(complaints(), words "\n"); \
    } while (0)

static void
write_file(const char *yaml)
{
    strcpy(strchr(file_path, '-'), "-flags-XXXXXX");
    int fd = mkstemp(file_path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, yaml, strlen(yaml)), strlen(yaml));
    close(fd);
}

static int
teardown(void **state)
{
    unlink(file_path);
    return conf_teardown(state);
}

static void
both_forms_of_a_flag_set_its_value(void **state)
{
    (void)state;
    assert_run("--listen-port=9", "--listen-tls-cert", "/a=b", "--limits-clock-offset", "-3",
               "--listen-host=--x");
    assert_int_equal(settings.port, 9);
    assert_string_equal(settings.tls_cert, "/a=b");
    assert_int_equal(settings.offset, -3);
    assert_string_equal(settings.host, "--x");
    assert_string_equal(conf.origins[1], "flag");
    assert_int_equal(arg_count, 1);
    assert_null(args[1]);
}

static void
a_boolean_flag_alone_is_true_and_takes_no_word(void **state)
{
    (void)state;
    assert_run("--ping-enabled=false");
    assert_false(settings.is_enabled);
    assert_run("--ping-enabled", "false");
    assert_true(settings.is_enabled);
    assert_int_equal(arg_count, 2);
    assert_string_equal(args[1], "false");
}

static void
set_takes_any_setting_by_its_key(void **state)
{
    (void)state;
    assert_run("--set", "listen.port=7", "--set=token.secret=a=b", "--set", "listen.tls.cert=");
    assert_int_equal(settings.port, 7);
    assert_string_equal(settings.secret, "a=b");
    assert_not_run("--set: needs KEY=VALUE", "--set", "listen.port");
    assert_not_run("--set: needs a value", "--set");
    assert_not_run("--set: key 'listen.prot' is unknown (did you mean 'listen.port'?)", "--set",
                   "listen.prot=hunter2");
    assert_not_run("--set: 'x' is not a whole number for listen.port: 0 to 65535", "--set",
                   "listen.port=x");
}

static void
a_flag_given_again_replaces_itself(void **state)
{
    (void)state;
    assert_run("--listen-port=1", "--listen-port", "2");
    assert_int_equal(settings.port, 2);
}

static void
words_move_to_the_front_in_their_order(void **state)
{
    (void)state;
    assert_run("config", "--listen-port", "9", "show", "-", "--ping-enabled", "x", "--",
               "--listen-port=10", "--", "-c");
    assert_int_equal(arg_count, 8);
    static const char *const expected[] = {"switchyard-edge",  "config", "show", "-", "x",
                                           "--listen-port=10", "--",     "-c"};
    for (int i = 0; i < arg_count; i++)
        assert_string_equal(args[i], expected[i]);
    assert_null(args[arg_count]);
    assert_int_equal(settings.port, 9);
}

static void
a_flag_without_its_value_is_refused(void **state)
{
    (void)state;
    assert_not_run("--listen-port: needs a value", "--listen-port");
    assert_not_run("--listen-host: needs a value", "--listen-host", "--listen-port=1");
    assert_not_run("--config: needs a value", "--config");
    assert_not_run("--config: needs a value", "--config=");
    assert_not_run("-c: needs a value", "-c");
    assert_int_equal(settings.port, 8000);
}

static void
an_unknown_flag_gets_a_guess_and_its_value_is_not_repeated(void **state)
{
    (void)state;
    assert_not_run("flag '--listen-prot' is unknown (did you mean '--listen-port'?)",
                   "--listen-prot=1");
    assert_not_run("flag '--tokn-secret' is unknown (did you mean '--token-secret'?)",
                   "--tokn-secret=hunter2");
    assert_not_run("flag '--listen.port' is unknown (did you mean '--listen-port'?)",
                   "--listen.port=1");
    assert_not_run("flag '--hlep' is unknown (did you mean '--help'?)", "--hlep");
    assert_not_run("flag '-x' is unknown", "-x");
    assert_not_run("flag '---' is unknown", "---");
    assert_not_run("flag '--verbose-everything' is unknown", "--verbose-everything");
}

static void
a_bad_flag_value_is_named_by_its_flag(void **state)
{
    (void)state;
    assert_not_run("--listen-port: '80000' is out of range for listen.port: 0 to 65535",
                   "--listen-port=80000");
    assert_not_run("--ping-enabled: 'maybe' is not possible for ping.enabled: true or false",
                   "--ping-enabled=maybe");
    assert_not_run("--token-pin: the value is out of range for token.pin: 0 to 9999",
                   "--token-pin=12345");
}

static void
on_an_error_argv_is_as_it_was(void **state)
{
    (void)state;
    assert_not_run("--listen-port: 'x' is not a whole number for listen.port: 0 to 65535",
                   "--listen-host", "a", "word", "--listen-port", "x");
    assert_int_equal(arg_count, 6);
    assert_string_equal(args[1], "--listen-host");
    assert_string_equal(args[3], "word");
}

static void
default_then_file_then_environment_then_flag(void **state)
{
    (void)state;
    write_file("listen: {host: file, port: 1}\nping: {interval: 1s}\nlimits: {queue: 1KiB}\n");
    int rc = run_in(ENV("SWITCHYARD_LISTEN_PORT=2", "SWITCHYARD_PING_INTERVAL=2s"),
                    WORDS("--ping-interval=3s", "--config", file_path));
    assert_string_equal(complaints(), "");
    assert_int_equal(rc, 0);
    assert_string_equal(settings.format, "auto");
    assert_string_equal(settings.host, "file");
    assert_int_equal(settings.port, 2);
    assert_int_equal(settings.interval, 3000);
    assert_string_equal(conf.origins[8], "default");
    assert_non_null(strstr(conf.origins[0], ":1"));
    assert_string_equal(conf.origins[1], "env SWITCHYARD_LISTEN_PORT");
    assert_string_equal(conf.origins[6], "flag");
}

static void
the_file_is_named_by_flag_or_environment_and_the_flag_wins(void **state)
{
    (void)state;
    write_file("listen: {port: 1}\n");
    char variable[128];
    snprintf(variable, sizeof(variable), "SWITCHYARD_CONFIG=%s", file_path);
    assert_int_equal(run_in(ENV(variable), WORDS(NULL)), 0);
    assert_int_equal(settings.port, 1);
    assert_int_equal(run_in(ENV("SWITCHYARD_CONFIG=/nowhere"), WORDS("-c", file_path)), 0);
    char flag[128];
    snprintf(flag, sizeof(flag), "--config=%s", file_path);
    assert_run(flag);
    assert_int_equal(run_in(ENV("SWITCHYARD_CONFIG="), WORDS(NULL)), 0);
    assert_string_equal(complaints(), "");
    assert_int_equal(run_in(ENV("SWITCHYARD_CONFIG=/nowhere"), WORDS(NULL)), SY_ENOENT);
    assert_string_equal(complaints(), "/nowhere: cannot be read: No such file or directory\n");
}

static void
a_bad_file_ends_the_start_before_the_environment(void **state)
{
    (void)state;
    write_file("listen: {port: x}\n");
    assert_int_equal(run_in(ENV("SWITCHYARD_LISTEN_HOST=b"), WORDS("-c", file_path)), SY_EINVAL);
    assert_non_null(strstr(complaints(), ":1:16: 'x' is not a whole number"));
    assert_string_equal(settings.host, "127.0.0.1");
}

static void
help_is_printed_beside_a_missing_file(void **state)
{
    (void)state;
    fflush(stdout);
    int real_stdout = dup(STDOUT_FILENO);
    int fd = memfd_create("help", 0);
    dup2(fd, STDOUT_FILENO);
    int rc = run("-c", "/nowhere", "word", "--help", "--bogus");
    fflush(stdout);
    dup2(real_stdout, STDOUT_FILENO);
    close(real_stdout);
    static char text[65536];
    ssize_t len = pread(fd, text, sizeof(text) - 1, 0);
    close(fd);
    assert_int_equal(rc, 1);
    assert_true(len > 0);
    assert_string_equal(text, printed(conf_help));
    assert_string_equal(complaints(), "");
    assert_int_equal(arg_count, 6);
}

static void
an_empty_command_line_is_fine(void **state)
{
    (void)state;
    char *none[] = {NULL};
    int count = 0;
    assert_int_equal(conf_load_all(&conf, &count, none, none, complaints_to()), 0);
    assert_int_equal(count, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, conf_setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(both_forms_of_a_flag_set_its_value),
        TEST(a_boolean_flag_alone_is_true_and_takes_no_word),
        TEST(set_takes_any_setting_by_its_key),
        TEST(a_flag_given_again_replaces_itself),
        TEST(words_move_to_the_front_in_their_order),
        TEST(a_flag_without_its_value_is_refused),
        TEST(an_unknown_flag_gets_a_guess_and_its_value_is_not_repeated),
        TEST(a_bad_flag_value_is_named_by_its_flag),
        TEST(on_an_error_argv_is_as_it_was),
        TEST(default_then_file_then_environment_then_flag),
        TEST(the_file_is_named_by_flag_or_environment_and_the_flag_wins),
        TEST(a_bad_file_ends_the_start_before_the_environment),
        TEST(help_is_printed_beside_a_missing_file),
        TEST(an_empty_command_line_is_fine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
