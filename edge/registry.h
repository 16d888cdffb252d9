// registry.h: the directory kept true about the connections of this edge.
//
// Each login becomes a link. For each link we know what should be (a session has it, or
// not any more) and what the directory says as far as we know; a user's links are worked
// on one operation at a time, in the order of their logins, until the two agree. So an
// operation that failed or whose answer was lost is never replayed blindly: what to do
// next follows from what is.
//
//   ABSENT  --register-->   WRITTEN   (tells who remembers the user; kicks whom it displaced)
//   WRITTEN --unregister--> ABSENT    (exact match of node, connection and epoch)
//   WRITTEN --verify-->     WRITTEN   (rewritten if it was gone) or superseded: close 4001
//   ABSENT  --register-->   superseded, if a newer login has the place: close 4001
//   any     --answer lost-> UNKNOWN --look--> ABSENT or WRITTEN
//
// Nothing is written without a lease, by our own clock: whoever finds it missing may be about
// to remove our links, and the index that names them. So the registry asks the lease (lease.h)
// whether it may write, and for a renewal if not. The lease tells which links are verified when,
// and when what failed is tried again. One thread.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/log.h"

struct edge;
struct session;
struct user;

// Operations under way at once. Each is up to two commands: with ROUTES_MAX_BUSY they stay
// below the store's cap, so that neither starves the other.
#define REGISTRY_MAX_BUSY 256

enum link_known { LINK_ABSENT, LINK_WRITTEN, LINK_UNKNOWN };

struct link_state {
    struct link_state *next; // all links of this edge, oldest first
    struct link_state *prev;
    struct link_state *next_of_user;
    struct edge *edge;
    struct user *user;
    struct session *session; // NULL: closed, to be removed
    uint64_t connection;
    uint64_t epoch;    // 0: never written
    uint64_t since_ms; // wall clock of the login
    uint64_t login_ms; // monotonic
    uint8_t known;     // enum link_known
    bool must_verify;
    char device_class[33];
    char device[]; // its length is the session's
};

struct registry {
    struct link_state *links;
    struct link_state *last_link;
    struct link_state *cursor; // next to verify in the cycle; NULL: from the start
    size_t count;
    size_t unverified;  // links that must_verify
    struct user *queue; // users with work to do
    struct user *last_queued;
    struct user *later; // users whose last operation failed, until registry_retry
    unsigned busy;
    struct log_limit complaint;
};

// A session logged in. session_registered follows, perhaps from inside the call.
void registry_add(struct edge *edge, struct session *session);
// Its session has ended.
void registry_remove(struct session *session);
// From the bus: another edge has a newer login in the place of this link.
void registry_kick(struct edge *edge, const char *user, const char *device, uint64_t connection,
                   uint64_t epoch);
// The store is up (again): the lease is renewed, and what waits goes on. It is down:
// logins that wait for it go on without.
void registry_store_state(struct edge *edge, bool up);
// All links of ended sessions are out of the directory.
bool registry_is_settled(const struct edge *edge);
// Frees what could not be told to the directory any more.
void registry_fini(struct edge *edge);

// For the lease.

// The next so many links, oldest first and then from the oldest again, are to be verified.
void registry_verify(struct edge *edge, size_t count);
// The next is the oldest.
void registry_verify_from_oldest(struct edge *edge);
// What failed is queued again.
void registry_retry(struct edge *edge);
// Begins what is queued, as much at a time as there may be.
void registry_pump(struct edge *edge);
