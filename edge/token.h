// token.h: JSON Web Tokens, checked. RFC 7519, with the advice of RFC 8725: the key
// decides the algorithm and the token must agree; everything unexpected is refused.
// Pure: time is an argument. HS256 now; another algorithm is one more row in token.c.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"
#include "proto/ident.h"

#define TOKEN_MAX_BYTES 4096
#define TOKEN_MIN_KEY_BYTES 32
#define TOKEN_MAX_KEYS 4

struct token_keys;

struct token_rules {
    const char *issuer;   // must match iss; empty: any
    const char *audience; // must be in aud; empty: any
    uint64_t leeway_s;    // 30, at most 60: for exp and nbf
    uint64_t max_life_s;  // exp - iat may not be more; 0: any
};

struct token_claims {
    char user[IDENT_MAX_BYTES + 1]; // sub, ident_is_valid
    char id[65];                    // jti, may be empty
    uint64_t issued_s;              // 0: absent
    uint64_t expires_s;
    bool may_broadcast; // "broadcast" is a word of scope (RFC 8693, 4.2)
};

// For one thread: a check uses what the keys hold, and remembers headers of good tokens there.
// Keys by id: a token without kid is tried against the key with id "" only.
struct token_keys *token_keys_new(void);
void token_keys_free(struct token_keys *keys); // wipes them
// SY_EINVAL: too short, a bad kid (1-64 of [A-Za-z0-9._-], or ""), or too many.
MUST_USE
int token_keys_add_hs256(struct token_keys *keys, const char *kid, const void *secret, size_t len);

// 0, or SY_EDENIED with a reason for the log (never for the client) in *why.
MUST_USE
int token_check(const struct token_keys *keys, const struct token_rules *rules, const char *token,
                size_t len, uint64_t now_s, struct token_claims *claims, const char **why);
// For gen-token and tests. 0 or SY_EINVAL.
MUST_USE
int token_make_hs256(const struct token_keys *keys, const char *kid, const char *user,
                     const char *issuer, const char *audience, uint64_t issued_s,
                     uint64_t expires_s, char *out, size_t size);
// The same with a scope: words separated by spaces.
MUST_USE
int token_make_scoped(const struct token_keys *keys, const char *kid, const char *user,
                      const char *issuer, const char *audience, uint64_t issued_s,
                      uint64_t expires_s, const char *scope, char *out, size_t size);
