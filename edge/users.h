// users.h: who is connected to this edge: user -> sessions.
//
// A user exists while it has sessions or links whose end the directory has not heard
// of yet; users_drop_if_idle takes it away after that. One thread.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/table.h"

struct session;
struct link_state;

struct user {
    UT_hash_handle hh;
    struct session *sessions; // newest first
    struct link_state *links; // the registry's, oldest first
    struct user *next_queued; // in the registry's work queue
    bool is_queued;
    bool is_busy;   // a registry operation is under way
    uint64_t epoch; // the highest of its links that the directory told us; 0: none
    uint8_t id_len;
    char id[];
};

struct users {
    struct user *table;
};

// NULL if there is none.
struct user *users_find(const struct users *users, const char *id, size_t len);
// hash: table_hash of the id.
struct user *users_find_hashed(const struct users *users, const char *id, size_t len,
                               unsigned hash);
// Makes it if there is none. id must be ident_is_valid.
struct user *users_take(struct users *users, const char *id, size_t len);
void users_add_session(struct user *user, struct session *session);
void users_remove_session(struct user *user, struct session *session);
// The session of this device, or NULL.
struct session *users_find_device(const struct user *user, const char *device);
// Frees the user if nothing holds it any more.
void users_drop_if_idle(struct users *users, struct user *user);
