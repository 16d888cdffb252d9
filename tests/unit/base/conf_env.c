// conf_env.c: environment variables and secrets in files.
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf_fixture.h"

static char secret_path[] = "/tmp/sy-secret-XXXXXX";

static int
load_env(char *const *env)
{
    return conf_load_env(&conf, env, complaints_to());
}

#define assert_env_taken(...)                  \
    do {                                       \
        int rc_ = load_env(ENV(__VA_ARGS__));  \
        assert_string_equal(complaints(), ""); \
        assert_int_equal(rc_, 0);              \
    } while (0)

// A file only its owner may read, and "SWITCHYARD_TOKEN_SECRET_FILE=<its path>".
static char *
write_secret(const void *bytes, size_t len)
{
    static char variable[128];
    strcpy(strchr(secret_path, '-'), "-secret-XXXXXX");
    int fd = mkstemp(secret_path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), len);
    close(fd);
    snprintf(variable, sizeof(variable), "SWITCHYARD_TOKEN_SECRET_FILE=%s", secret_path);
    return variable;
}

static int
teardown(void **state)
{
    unlink(secret_path);
    return conf_teardown(state);
}

static void
variables_set_values_of_every_type(void **state)
{
    (void)state;
    assert_env_taken("PATH=/bin", "SWITCHYARD_LISTEN_HOST=::1", "SWITCHYARD_LISTEN_PORT=9",
                     "SWITCHYARD_LISTEN_TLS_CERT=/a=b", "SWITCHYARD_LIMITS_CLOCK_OFFSET=-7",
                     "SWITCHYARD_PING_INTERVAL=2m", "SWITCHYARD_PING_ENABLED=off",
                     "SWITCHYARD_LOG_FORMAT=json", "SWITCHYARD_TOKEN_SECRET=s3cret",
                     "SWITCHYARD_ORIGINS_ALLOWED=a b");
    assert_string_equal(settings.host, "::1");
    assert_int_equal(settings.port, 9);
    assert_string_equal(settings.tls_cert, "/a=b");
    assert_int_equal(settings.offset, -7);
    assert_int_equal(settings.interval, 120000);
    assert_false(settings.is_enabled);
    assert_string_equal(settings.format, "json");
    assert_string_equal(settings.secret, "s3cret");
    assert_string_equal(settings.origins, "a b");
    assert_string_equal(conf.origins[0], "env SWITCHYARD_LISTEN_HOST");
}

static void
an_empty_variable_counts_as_not_set(void **state)
{
    (void)state;
    assert_env_taken("SWITCHYARD_LISTEN_PORT=", "SWITCHYARD_LISTEN_HOST=",
                     "SWITCHYARD_TOKEN_SECRET=", "SWITCHYARD_TOKEN_SECRET_FILE=");
    assert_int_equal(conf_count_set(&conf), 0);
    assert_string_equal(conf.origins[1], "default");
}

static void
the_first_of_two_entries_wins(void **state)
{
    (void)state;
    assert_env_taken("SWITCHYARD_LISTEN_PORT=1", "SWITCHYARD_LISTEN_PORT=2");
    assert_int_equal(settings.port, 1);
}

static void
a_bad_value_names_its_variable(void **state)
{
    (void)state;
    assert_int_equal(load_env(ENV("SWITCHYARD_LISTEN_PORT=80000")), SY_EINVAL);
    assert_string_equal(
        complaints(),
        "SWITCHYARD_LISTEN_PORT: '80000' is out of range for listen.port: 0 to 65535\n");
    assert_int_equal(settings.port, 8000);
}

static void
an_unknown_variable_is_a_warning_with_a_guess(void **state)
{
    (void)state;
    assert_int_equal(
        load_env(ENV("SWITCHYARD_LISTEN_PROT=1", "SWITCHYARD_REAPER_BATCH=3", "SWITCHYARDX=1",
                     "SWITCHYARD_LISTEN_HOST=b", "SWITCHYARD_CONFIG=/x", "SWITCHYARD_CONFIC=/x",
                     "SWITCHYARD_TOKEN_SECRET_FIL=/x", "SWITCHYARD_=1")),
        0);
    assert_string_equal(
        complaints(),
        "warning: 'SWITCHYARD_LISTEN_PROT' is no setting of switchyard-edge (did you mean "
        "'SWITCHYARD_LISTEN_PORT'?)\n"
        "warning: 'SWITCHYARD_REAPER_BATCH' is no setting of switchyard-edge\n"
        "warning: 'SWITCHYARD_CONFIC' is no setting of switchyard-edge (did you mean "
        "'SWITCHYARD_CONFIG'?)\n"
        "warning: 'SWITCHYARD_TOKEN_SECRET_FIL' is no setting of switchyard-edge (did you mean "
        "'SWITCHYARD_TOKEN_SECRET_FILE'?)\n"
        "warning: 'SWITCHYARD_' is no setting of switchyard-edge\n");
    assert_string_equal(settings.host, "b");
}

static void
only_a_secret_may_come_from_a_file(void **state)
{
    (void)state;
    assert_int_equal(load_env(ENV("SWITCHYARD_LISTEN_HOST_FILE=/etc/hostname")), 0);
    assert_non_null(strstr(complaints(), "'SWITCHYARD_LISTEN_HOST_FILE' is no setting"));
    assert_string_equal(settings.host, "127.0.0.1");
}

static void
the_last_newline_of_a_secret_file_is_dropped(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        const char *secret;
    } cases[] = {{"abc\n", "abc"},   {"abc", "abc"},     {"abc\n\n", "abc\n"},
                 {"abc\r\n", "abc"}, {"a\nb\n", "a\nb"}, {"\n", ""},
                 {"", ""},           {" a ", " a "}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_env_taken(write_secret(cases[i].file, strlen(cases[i].file)));
        assert_string_equal(settings.secret, cases[i].secret);
        assert_string_equal(conf.origins[9], "env SWITCHYARD_TOKEN_SECRET_FILE");
        unlink(secret_path);
    }
}

static void
a_secret_given_twice_is_refused(void **state)
{
    (void)state;
    char *file = write_secret("abc", 3);
    assert_int_equal(load_env(ENV(file, "SWITCHYARD_TOKEN_SECRET=xyz")), SY_EINVAL);
    assert_string_equal(complaints(), "SWITCHYARD_TOKEN_SECRET: is set and so is "
                                      "SWITCHYARD_TOKEN_SECRET_FILE: keep one of them\n");
    assert_string_equal(settings.secret, "");
    assert_env_taken(file, "SWITCHYARD_TOKEN_SECRET="); // empty is not set
    assert_string_equal(settings.secret, "abc");
}

static void
a_secret_file_that_cannot_be_read_is_refused(void **state)
{
    (void)state;
    assert_int_equal(load_env(ENV("SWITCHYARD_TOKEN_SECRET_FILE=/nowhere/x")), SY_EINVAL);
    assert_string_equal(complaints(), "SWITCHYARD_TOKEN_SECRET_FILE: '/nowhere/x' cannot be read: "
                                      "No such file or directory\n");
    assert_int_equal(load_env(ENV("SWITCHYARD_TOKEN_SECRET_FILE=/tmp")), SY_EINVAL);
    assert_string_equal(complaints(),
                        "SWITCHYARD_TOKEN_SECRET_FILE: '/tmp' cannot be read: Is a directory\n");
    assert_int_equal(load_env(ENV("SWITCHYARD_TOKEN_SECRET_FILE=/dev/zero")), SY_EINVAL);
    assert_string_equal(complaints(), "SWITCHYARD_TOKEN_SECRET_FILE: '/dev/zero' is larger than 64 "
                                      "KiB, too large for a secret\n");
}

static void
a_bad_secret_in_a_file_is_not_repeated(void **state)
{
    (void)state;
    char *file = write_secret("hunter2-hunter2-hunter2-hunter2-hunter2", 39);
    assert_int_equal(load_env(ENV(file)), SY_EINVAL);
    assert_string_equal(complaints(), "SWITCHYARD_TOKEN_SECRET_FILE: the value is too long for "
                                      "token.secret: 0 to 32 bytes\n");
    unlink(secret_path);
    file = write_secret("a\0b", 3);
    assert_int_equal(load_env(ENV(file)), SY_EINVAL);
    assert_string_equal(complaints(), "SWITCHYARD_TOKEN_SECRET_FILE: the value holds a NUL byte, "
                                      "which token.secret cannot\n");
    assert_string_equal(settings.secret, "");
}

static void
a_secret_file_others_can_read_is_a_warning(void **state)
{
    (void)state;
    char *file = write_secret("abc", 3);
    static const struct {
        mode_t mode;
        bool is_warned;
    } cases[] = {{0400, false}, {0600, false}, {0620, false}, {0711, false},
                 {0640, true},  {0604, true},  {0444, true}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(chmod(secret_path, cases[i].mode), 0);
        assert_int_equal(load_env(ENV(file)), 0);
        char words[256] = "";
        if (cases[i].is_warned)
            snprintf(words, sizeof(words),
                     "warning: SWITCHYARD_TOKEN_SECRET_FILE: '%s' can be read by others than its "
                     "owner (mode %04o)\n",
                     secret_path, (unsigned)cases[i].mode);
        assert_string_equal(complaints(), words);
        assert_string_equal(settings.secret, "abc");
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, conf_setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(variables_set_values_of_every_type),
        TEST(an_empty_variable_counts_as_not_set),
        TEST(the_first_of_two_entries_wins),
        TEST(a_bad_value_names_its_variable),
        TEST(an_unknown_variable_is_a_warning_with_a_guess),
        TEST(only_a_secret_may_come_from_a_file),
        TEST(the_last_newline_of_a_secret_file_is_dropped),
        TEST(a_secret_given_twice_is_refused),
        TEST(a_secret_file_that_cannot_be_read_is_refused),
        TEST(a_bad_secret_in_a_file_is_not_repeated),
        TEST(a_secret_file_others_can_read_is_a_warning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
