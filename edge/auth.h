// auth.h: who is this client? Token and Hello in, identity out. Pure.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "edge/token.h"
#include "lib/base/err.h"

struct settings;

struct auth {
    struct token_keys *keys; // NULL: development mode, the client names itself
    struct token_rules rules;
};

struct identity {
    char user[IDENT_MAX_BYTES + 1];
    uint64_t expires_ms; // wall clock; 0: never
    bool may_broadcast;
};

// settings must have passed settings_check.
void auth_init(struct auth *auth, const struct settings *settings);
void auth_fini(struct auth *auth);

// `token` from the handshake or from Hello, `user` from Hello; both may be empty.
// 0, or SY_EDENIED with *why: a sentence that may be told to the client, since it
// holds nothing the client did not send.
MUST_USE
int auth_check(const struct auth *auth, const char *token, const char *user, uint64_t wall_ms,
               struct identity *identity, const char **why);
