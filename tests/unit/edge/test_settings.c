// test_settings.c: settings that need each other, and those that are unsafe together.
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "edge/auth.h"
#include "edge/settings.h"
#include "edge/workers.h"

#define GOOD_SECRET "0123456789abcdef0123456789abcdef"

// As the table has them without a word from anybody.
static struct settings
defaults(void)
{
    struct settings settings;
    memset(&settings, 0, sizeof(settings));
    for (size_t i = 0; i < settings_count; i++) {
        const struct conf_row *row = &settings_rows[i];
        bool is_text = row->type == CONF_STRING || row->type == CONF_CHOICE ||
                       row->type == CONF_LIST;
        if (is_text)
            memcpy((char *)&settings + row->offset, &row->value, sizeof(row->value));
    }
    settings.workers_count = 1;
    return settings;
}

// Whether it is refused with this in the complaint, or taken (NULL).
static void
expect(const struct settings *settings, const char *words)
{
    char *text = NULL;
    size_t size = 0;
    FILE *complaints = open_memstream(&text, &size);
    assert_non_null(complaints);
    int error = settings_check(settings, complaints);
    fclose(complaints);
    if (words == NULL) {
        assert_string_equal(text, "");
        assert_int_equal(error, 0);
    } else {
        assert_non_null(strstr(text, words));
        assert_int_equal(text[size - 1], '\n');
        assert_ptr_equal(strchr(text, '\n'), text + size - 1); // one line
        assert_int_equal(error, SY_EINVAL);
    }
    free(text);
}

static void
the_defaults_are_sound_and_mean_development_alone(void **state)
{
    (void)state;
    struct settings s = defaults();
    expect(&s, NULL);
    assert_false(settings_need_token(&s));
    assert_true(settings_is_alone(&s));
}

static void
a_node_name_must_fit_a_subject(void **state)
{
    (void)state;
    struct settings s = defaults();
    s.node_name = "edge-7";
    expect(&s, NULL);
    const char *bad[] = {"", "Edge", "a.b", "a b", "a\n", "a_b"};
    for (size_t i = 0; i < 6; i++) {
        s.node_name = bad[i];
        expect(&s, "node.name");
    }
    s.node_name = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"; // 40
    expect(&s, NULL);
    s.node_name = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    expect(&s, "node.name");
}

static void
nats_and_redis_go_together(void **state)
{
    (void)state;
    struct settings s = defaults();
    s.nats_url = "nats://x";
    expect(&s, "go together");
    s.redis_url = "redis://x";
    expect(&s, NULL);
    assert_false(settings_is_alone(&s));
    s.nats_url = "";
    expect(&s, "go together");
}

static void
workers_need_a_cluster_to_reach_each_other(void **state)
{
    (void)state;
    struct settings s = defaults();
    s.workers_count = 2;
    expect(&s, "workers.count");
    assert_int_equal(settings_workers(&s), 2);
    s.nats_url = "nats://x";
    s.redis_url = "redis://x";
    expect(&s, NULL);
    s.workers_count = 0;
    assert_int_equal(settings_workers(&s), workers_cores());
}

static void
the_delay_leaves_half_of_the_drain_to_the_clients(void **state)
{
    (void)state;
    struct settings s = defaults();
    s.drain_timeout = 9000;
    s.drain_delay = 4500;
    expect(&s, NULL);
    s.drain_delay = 4501;
    expect(&s, "drain.delay must be at most half of drain.timeout");
}

static void
each_worker_has_a_private_port(void **state)
{
    (void)state;
    struct settings s = defaults();
    s.nats_url = "nats://x";
    s.redis_url = "redis://x";
    s.workers_count = 3;
    s.private_port = 65533;
    expect(&s, NULL);
    s.private_port = 65534;
    expect(&s, "private.port");
    s.workers_count = 2;
    expect(&s, NULL);
    s.private_port = 0;
    s.workers_count = WORKERS_MAX;
    expect(&s, NULL);
}

static void
a_queue_takes_two_of_the_largest_messages(void **state)
{
    (void)state;
    struct settings s = defaults();
    s.limits_frame_bytes = 100 * 1024;
    s.limits_queue_bytes = 200 * 1024;
    expect(&s, NULL);
    s.limits_queue_bytes--;
    expect(&s, "limits.queue_bytes");
}

static void
certificate_and_key_go_together(void **state)
{
    (void)state;
    struct settings s = defaults();
    s.listen_tls_cert_file = "cert.pem";
    expect(&s, "tls_key_file");
    s.listen_tls_key_file = "key.pem";
    expect(&s, NULL);
    s.listen_tls_cert_file = "";
    expect(&s, "tls_cert_file");
}

static void
a_secret_means_tokens_unless_development_is_said(void **state)
{
    (void)state;
    struct settings s = defaults();
    s.auth_hs256_secret = GOOD_SECRET;
    expect(&s, NULL);
    assert_true(settings_need_token(&s));
    s.auth_mode = "development";
    assert_false(settings_need_token(&s));
    s.auth_mode = "token";
    assert_true(settings_need_token(&s));
    s.auth_hs256_secret = "";
    expect(&s, "auth.hs256_secret");
}

static void
secrets_have_32_bytes_at_least(void **state)
{
    (void)state;
    struct settings s = defaults();
    s.auth_hs256_secret = "0123456789abcdef0123456789abcde";
    expect(&s, "too short");
    s.auth_hs256_secret = GOOD_SECRET;
    s.auth_hs256_kid = "new";
    s.auth_hs256_old_secret = "0123456789abcdef0123456789abcde";
    expect(&s, "old_secret is too short");
    s.auth_hs256_old_secret = GOOD_SECRET;
    expect(&s, NULL);
}

static void
two_keys_have_two_ids(void **state)
{
    (void)state;
    struct settings s = defaults();
    s.auth_hs256_secret = GOOD_SECRET;
    s.auth_hs256_old_secret = GOOD_SECRET;
    expect(&s, "old_kid");
    s.auth_hs256_old_kid = "2024";
    expect(&s, NULL);
}

static void
a_key_id_that_no_token_could_carry_is_refused_here_not_later(void **state)
{
    (void)state;
    struct settings s = defaults();
    s.auth_hs256_secret = GOOD_SECRET;
    const char *bad[] = {"a b", "a/b", "\xc3\xa9",
                         "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"};
    for (size_t i = 0; i < 4; i++) {
        s.auth_hs256_kid = bad[i];
        expect(&s, "auth.hs256_kid");
        s.auth_hs256_kid = "";
        s.auth_hs256_old_kid = bad[i];
        expect(&s, "auth.hs256_kid");
        s.auth_hs256_old_kid = "";
    }
    s.auth_hs256_kid = "A-z_0.9";
    expect(&s, NULL);
    // What passes here auth_init takes: it asserts that.
    s.auth_hs256_kid = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
    expect(&s, NULL);
    struct auth auth;
    auth_init(&auth, &s);
    auth_fini(&auth);
}

static void
beyond_loopback_tokens_and_origins_are_a_must(void **state)
{
    (void)state;
    struct settings s = defaults();
    const char *near[] = {"127.0.0.1", "127.1.2.3", "::1", "localhost", "LOCALHOST"};
    for (size_t i = 0; i < 5; i++) {
        s.listen_host = near[i];
        expect(&s, NULL);
    }
    const char *far[] = {"0.0.0.0", "::",           "10.0.0.1",        "128.0.0.1",
                         "",        "chat.example", "127.chat.example"};
    for (size_t i = 0; i < 7; i++) {
        s.listen_host = far[i];
        s.auth_hs256_secret = "";
        s.origins_allowed = "https://chat.example";
        expect(&s, "must bring tokens");
        s.auth_hs256_secret = GOOD_SECRET;
        s.origins_allowed = "";
        expect(&s, "origins.allowed");
        s.origins_allowed = "https://chat.example";
        expect(&s, NULL);
        s.auth_mode = "development";
        expect(&s, "must bring tokens");
        s.auth_mode = "auto";
    }
}

static void
an_origin_is_what_a_browser_sends(void **state)
{
    (void)state;
    struct settings s = defaults();
    const char *good[] = {"*", "https://a.example", "http://a.example:8080 https://b.example",
                          "https://a.example *"};
    const char *bad[] = {"https://a.example/",         "a.example", "null",
                         "https://a.example https://", "**",        "https://*.example"};
    for (size_t i = 0; i < 4; i++) {
        s.origins_allowed = good[i];
        expect(&s, NULL);
    }
    for (size_t i = 0; i < 6; i++) {
        s.origins_allowed = bad[i];
        expect(&s, "is no origin");
    }
}

static void
a_very_long_origin_is_judged_as_a_whole(void **state)
{
    (void)state;
    struct settings s = defaults();
    char origin[400] = "https://";
    for (size_t i = strlen(origin); i < 300; i++)
        origin[i] = i % 50 == 0 ? '.' : 'a';
    strcpy(origin + 300, "/path");
    s.origins_allowed = origin;
    expect(&s, "is no origin");
}

static void
each_policy_of_devices_has_its_word(void **state)
{
    (void)state;
    struct settings settings = defaults();
    assert_int_equal(settings_device_policy(&settings), DEVICES_MANY);
    settings.devices_policy = "class";
    assert_int_equal(settings_device_policy(&settings), DEVICES_CLASS);
    settings.devices_policy = "one";
    assert_int_equal(settings_device_policy(&settings), DEVICES_ONE);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_policy_of_devices_has_its_word),
        cmocka_unit_test(the_defaults_are_sound_and_mean_development_alone),
        cmocka_unit_test(a_node_name_must_fit_a_subject),
        cmocka_unit_test(nats_and_redis_go_together),
        cmocka_unit_test(workers_need_a_cluster_to_reach_each_other),
        cmocka_unit_test(the_delay_leaves_half_of_the_drain_to_the_clients),
        cmocka_unit_test(each_worker_has_a_private_port),
        cmocka_unit_test(certificate_and_key_go_together),
        cmocka_unit_test(a_secret_means_tokens_unless_development_is_said),
        cmocka_unit_test(secrets_have_32_bytes_at_least),
        cmocka_unit_test(two_keys_have_two_ids),
        cmocka_unit_test(a_key_id_that_no_token_could_carry_is_refused_here_not_later),
        cmocka_unit_test(a_queue_takes_two_of_the_largest_messages),
        cmocka_unit_test(beyond_loopback_tokens_and_origins_are_a_must),
        cmocka_unit_test(an_origin_is_what_a_browser_sends),
        cmocka_unit_test(a_very_long_origin_is_judged_as_a_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
