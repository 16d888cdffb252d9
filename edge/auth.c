// auth.c: tokens decide who a client is; without keys (development, loopback only)
// the client's word does.
#include "edge/auth.h"

#include <assert.h>
#include <string.h>

#include "edge/settings.h"
#include "lib/base/log.h"

static void
add_key(struct token_keys *keys, const char *kid, const char *secret)
{
    int error = token_keys_add_hs256(keys, kid, secret, strlen(secret));
    assert(error == 0); // settings_check saw length and kid
    (void)error;
}

void
auth_init(struct auth *auth, const struct settings *settings)
{
    memset(auth, 0, sizeof(*auth));
    if (!settings_need_token(settings))
        return;
    auth->keys = token_keys_new();
    add_key(auth->keys, settings->auth_hs256_kid, settings->auth_hs256_secret);
    if (settings->auth_hs256_old_secret[0] != '\0')
        add_key(auth->keys, settings->auth_hs256_old_kid, settings->auth_hs256_old_secret);
    auth->rules = (struct token_rules){
        .issuer = settings->auth_issuer,
        .audience = settings->auth_audience,
        .leeway_s = (uint64_t)settings->auth_leeway / 1000,
        .max_life_s = (uint64_t)settings->auth_max_life / 1000,
    };
}

void
auth_fini(struct auth *auth)
{
    if (auth->keys != NULL)
        token_keys_free(auth->keys);
    auth->keys = NULL;
}

static int
check_development(const char *token, const char *user, struct identity *identity, const char **why)
{
    if (token[0] != '\0') {
        *why = "this edge runs in development mode and cannot check tokens; name a user instead";
        return SY_EDENIED;
    }
    if (!ident_is_valid(user, strlen(user))) {
        *why = "hello.user must be 1 to 128 bytes of UTF-8 without control characters";
        return SY_EDENIED;
    }
    memcpy(identity->user, user, strlen(user) + 1);
    identity->expires_ms = 0;
    identity->may_broadcast = true;
    return 0;
}

int
auth_check(const struct auth *auth, const char *token, const char *user, uint64_t wall_ms,
           struct identity *identity, const char **why)
{
    if (auth->keys == NULL)
        return check_development(token, user, identity, why);
    if (token[0] == '\0') {
        *why = "a token is required: in hello.token, or in the handshake's Authorization header";
        return SY_EDENIED;
    }
    struct token_claims claims;
    const char *detail = "";
    int error = token_check(auth->keys, &auth->rules, token, strlen(token), wall_ms / 1000, &claims,
                            &detail);
    if (error != 0) {
        log_debug("token_refused", "reason=%s", log_quote(detail));
        *why = "the token was refused";
        return SY_EDENIED;
    }
    if (user[0] != '\0' && strcmp(user, claims.user) != 0) {
        *why = "hello.user differs from the token's subject";
        return SY_EDENIED;
    }
    memcpy(identity->user, claims.user, sizeof(claims.user));
    identity->expires_ms = claims.expires_s * 1000;
    identity->may_broadcast = claims.may_broadcast;
    return 0;
}
