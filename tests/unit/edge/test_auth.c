// test_auth.c: token and Hello in, identity out.
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "edge/auth.h"
#include "edge/settings.h"

#define NOW_S 1700000000
#define SECRET "0123456789abcdef0123456789abcdef"
#define OLD_SECRET "fedcba9876543210fedcba9876543210"

static struct settings
settings_with(const char *secret)
{
    struct settings settings;
    memset(&settings, 0, sizeof(settings));
    settings.auth_mode = "auto";
    settings.auth_hs256_secret = secret;
    settings.auth_hs256_kid = "";
    settings.auth_hs256_old_secret = "";
    settings.auth_hs256_old_kid = "old";
    settings.auth_issuer = "";
    settings.auth_audience = "";
    settings.auth_leeway = 30000;
    settings.auth_max_life = 0;
    return settings;
}

static const char *
make(const char *secret, const char *kid, const char *user, uint64_t life_s)
{
    static char token[1024];
    struct token_keys *keys = token_keys_new();
    assert_int_equal(token_keys_add_hs256(keys, kid, secret, strlen(secret)), 0);
    assert_int_equal(
        token_make_hs256(keys, kid, user, "", "", NOW_S, NOW_S + life_s, token, sizeof(token)), 0);
    token_keys_free(keys);
    return token;
}

static int
check(const struct auth *auth, const char *token, const char *user, uint64_t now_s,
      struct identity *identity)
{
    const char *why = NULL;
    int error = auth_check(auth, token, user, now_s * 1000, identity, &why);
    assert_true(error == 0 || (error == SY_EDENIED && why != NULL && why[0] != '\0'));
    return error;
}

static void
in_development_a_client_names_itself(void **state)
{
    (void)state;
    struct settings settings = settings_with("");
    struct auth auth;
    struct identity identity;
    auth_init(&auth, &settings);
    assert_int_equal(check(&auth, "", "alice", NOW_S, &identity), 0);
    assert_string_equal(identity.user, "alice");
    assert_int_equal(identity.expires_ms, 0);
    assert_int_equal(check(&auth, "", "", NOW_S, &identity), SY_EDENIED);
    assert_int_equal(check(&auth, "", "a\x7f", NOW_S, &identity), SY_EDENIED);
    assert_int_equal(check(&auth, "a.b.c", "alice", NOW_S, &identity), SY_EDENIED);
    auth_fini(&auth);
    auth_fini(&auth);
}

static void
with_keys_the_token_is_the_identity(void **state)
{
    (void)state;
    struct settings settings = settings_with(SECRET);
    struct auth auth;
    struct identity identity;
    auth_init(&auth, &settings);
    const char *token = make(SECRET, "", "alice", 60);
    assert_int_equal(check(&auth, token, "", NOW_S, &identity), 0);
    assert_string_equal(identity.user, "alice");
    assert_int_equal(identity.expires_ms, (NOW_S + 60) * 1000ull);
    assert_int_equal(check(&auth, token, "alice", NOW_S, &identity), 0);
    assert_int_equal(check(&auth, token, "bob", NOW_S, &identity), SY_EDENIED);
    assert_int_equal(check(&auth, "", "alice", NOW_S, &identity), SY_EDENIED);
    auth_fini(&auth);
}

static void
a_token_is_good_to_the_end_of_the_leeway(void **state)
{
    (void)state;
    struct settings settings = settings_with(SECRET);
    struct auth auth;
    struct identity identity;
    auth_init(&auth, &settings);
    const char *token = make(SECRET, "", "alice", 60);
    assert_int_equal(check(&auth, token, "", NOW_S + 60 + 29, &identity), 0);
    assert_int_equal(check(&auth, token, "", NOW_S + 60 + 30, &identity), SY_EDENIED);
    auth_fini(&auth);
}

static void
the_old_key_is_good_too_and_another_is_not(void **state)
{
    (void)state;
    struct settings settings = settings_with(SECRET);
    struct auth auth;
    struct identity identity;
    settings.auth_hs256_old_secret = OLD_SECRET;
    auth_init(&auth, &settings);
    assert_int_equal(check(&auth, make(OLD_SECRET, "old", "alice", 60), "", NOW_S, &identity), 0);
    assert_int_equal(check(&auth, make(SECRET, "", "alice", 60), "", NOW_S, &identity), 0);
    assert_int_equal(check(&auth, make(OLD_SECRET, "", "alice", 60), "", NOW_S, &identity),
                     SY_EDENIED);
    auth_fini(&auth);
}

static void
the_settings_bind_issuer_audience_and_life(void **state)
{
    (void)state;
    struct settings settings = settings_with(SECRET);
    struct auth auth;
    struct identity identity;
    settings.auth_max_life = 60000;
    auth_init(&auth, &settings);
    assert_int_equal(check(&auth, make(SECRET, "", "alice", 60), "", NOW_S, &identity), 0);
    assert_int_equal(check(&auth, make(SECRET, "", "alice", 61), "", NOW_S, &identity), SY_EDENIED);
    auth_fini(&auth);
    settings.auth_issuer = "somebody";
    auth_init(&auth, &settings);
    assert_int_equal(check(&auth, make(SECRET, "", "alice", 60), "", NOW_S, &identity), SY_EDENIED);
    auth_fini(&auth);
    settings.auth_issuer = "";
    settings.auth_audience = "us";
    auth_init(&auth, &settings);
    assert_int_equal(check(&auth, make(SECRET, "", "alice", 60), "", NOW_S, &identity), SY_EDENIED);
    auth_fini(&auth);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_development_a_client_names_itself),
        cmocka_unit_test(with_keys_the_token_is_the_identity),
        cmocka_unit_test(a_token_is_good_to_the_end_of_the_leeway),
        cmocka_unit_test(the_old_key_is_good_too_and_another_is_not),
        cmocka_unit_test(the_settings_bind_issuer_audience_and_life),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
