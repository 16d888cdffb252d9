// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on
#include <stdio.h>
#include <string.h>

#include "lib/store/url.h"

static struct redis_url
good(const char *text)
{
    struct redis_url url;
    char why[160] = "";
    if (redis_url_parse(text, &url, why))
        fail_msg("%s: %s", text, why);
    return url;
}

static void
bad(const char *text, const char *part)
{
    struct redis_url url = {.port = 7};
    char why[160] = "";
    assert_int_equal(redis_url_parse(text, &url, why), SY_EINVAL);
    if (!strstr(why, part))
        fail_msg("%s: '%s' does not say '%s'", text, why, part);
    assert_int_equal(url.port, 7);
}

static void
a_host_alone_gets_the_usual_port(void **state)
{
    (void)state;
    struct redis_url url = good("redis://cache");
    assert_string_equal(url.host, "cache");
    assert_int_equal(url.port, 6379);
    assert_int_equal(url.db, 0);
    assert_string_equal(url.name, "cache:6379");
    assert_string_equal(url.user, "");
    assert_string_equal(url.password, "");
    assert_string_equal(good("redis://cache/").name, "cache:6379");
}

static void
every_part_is_read(void **state)
{
    (void)state;
    struct redis_url url = good("redis://edge:p%40ss%2fw:o@rd@10.0.0.1:1234/15");
    assert_string_equal(url.user, "edge");
    assert_string_equal(url.password, "p@ss/w:o@rd");
    assert_string_equal(url.host, "10.0.0.1");
    assert_int_equal(url.port, 1234);
    assert_int_equal(url.db, 15);
    assert_string_equal(url.name, "10.0.0.1:1234");
}

static void
a_password_may_stand_without_a_user(void **state)
{
    (void)state;
    struct redis_url url = good("redis://:secret@cache");
    assert_string_equal(url.user, "");
    assert_string_equal(url.password, "secret");
}

static void
an_ipv6_address_stands_in_brackets(void **state)
{
    (void)state;
    struct redis_url url = good("redis://[::1]:7000/2");
    assert_string_equal(url.host, "::1");
    assert_int_equal(url.port, 7000);
    assert_string_equal(url.name, "[::1]:7000");
    assert_int_equal(good("redis://[fe80::1]").port, 6379);
    bad("redis://[::1", "']'");
    bad("redis://[]:1", "no host");
    bad("redis://[::1]7000", "no port");
}

static void
a_unix_socket_is_a_path(void **state)
{
    (void)state;
    struct redis_url url = good("unix:///run/redis.sock");
    assert_string_equal(url.path, "/run/redis.sock");
    assert_string_equal(url.name, "/run/redis.sock");
    bad("unix:///", "unix socket");
    bad("unix://relative", "must begin");
    char text[128] = "unix://";
    memset(text + 7, '/', 107);
    assert_int_equal(strlen(good(text).path), 107);
    memset(text + 7, '/', 108);
    bad(text, "107");
}

static void
ports_and_databases_have_their_ranges(void **state)
{
    (void)state;
    assert_int_equal(good("redis://h:1").port, 1);
    assert_int_equal(good("redis://h:65535").port, 65535);
    bad("redis://h:0", "no port");
    bad("redis://h:65536", "no port");
    bad("redis://h:", "no port");
    bad("redis://h:12a", "no port");
    bad("redis://h:-1", "no port");
    bad("redis://h:6379/x", "no database");
    bad("redis://h:6379/-1", "no database");
    bad("redis://h/1000000", "no database");
    assert_int_equal(good("redis://h/999999").db, 999999);
}

static void
the_reason_never_holds_a_secret(void **state)
{
    (void)state;
    struct redis_url url;
    const char *all[] = {"redis://u:hunter2@",     "redis://u:hunter2@h:99999",
                         "redis://u:hunter2%zz@h", "redis://u:hunter2@h/x",
                         "rediss://u:hunter2@h",   "redis://u:hunter2%00@h"};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        char why[160] = "";
        assert_int_equal(redis_url_parse(all[i], &url, why), SY_EINVAL);
        assert_true(strlen(why) > 10);
        assert_null(strstr(why, "hunter2"));
    }
}

static void
an_encoded_byte_may_be_the_last(void **state)
{
    (void)state;
    assert_string_equal(good("redis://u:a%41@h").password, "aA");
    bad("redis://u:a%4@h", "password");
    bad("redis://u:a%@h", "password");
    bad("redis://%4g:a@h", "user");
}

static void
other_schemes_are_refused(void **state)
{
    (void)state;
    bad("", "must begin");
    bad("cache:6379", "must begin");
    bad("http://cache", "must begin");
    bad("rediss://cache", "TLS");
    bad("redis://", "no host");
    bad("redis://:6379", "no host");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_host_alone_gets_the_usual_port),
        cmocka_unit_test(every_part_is_read),
        cmocka_unit_test(a_password_may_stand_without_a_user),
        cmocka_unit_test(an_ipv6_address_stands_in_brackets),
        cmocka_unit_test(a_unix_socket_is_a_path),
        cmocka_unit_test(ports_and_databases_have_their_ranges),
        cmocka_unit_test(the_reason_never_holds_a_secret),
        cmocka_unit_test(an_encoded_byte_may_be_the_last),
        cmocka_unit_test(other_schemes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
