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
// to remove our links, and the index that names them.
//
// Every link is verified once in VERIFY_CYCLE_MS; all of them, paced, when the lease was
// lost or Redis lost its data. One thread.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/log.h"

struct edge;
struct session;
struct user;

// A kick that was lost is repaired by the next verify of either link: this bounds how long
// two connections may both believe they are the newest (tests/model).
#define VERIFY_CYCLE_MS 60000
// Links checked per second when all must be: 10,000 in two seconds, at 5 % of what one
// Redis does.
#define VERIFY_BURST_PER_S 5000
// A lost lease has all links verified at once, and again so much later: a sweeper that was
// removing them asks for rows until a second after it last saw no lease, and each may be
// carried out a second after it was sent. Where the data was lost there is nothing to remove.
#define VERIFY_AGAIN_MS 3000
// Operations under way at once. Each is up to two commands: with ROUTES_MAX_BUSY they stay
// below the store's cap, so that neither starves the other.
#define REGISTRY_MAX_BUSY 256

// Nothing is written within this much of the lease's end: longer than a command that is not
// given up usually takes, and as long as a renewal is late before that happens at all.
#define WRITE_MARGIN_MS 2000

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
    size_t burst;       // links still to be verified out of turn
    struct user *queue; // users with work to do
    struct user *last_queued;
    struct user *later; // users whose last operation failed, until the next tick
    unsigned busy;
    uint64_t again_ms; // when all are verified again; 0: they are not
    uint64_t beat_ms;  // when the lease was last renewed, monotonic; 0: never
    uint64_t beat_tried_ms;
    uint64_t doubted_ms;      // a lease asked for before this says nothing; 0: no doubt
    uint64_t failed_since_ms; // renewals fail since; 0: they do not
    uint64_t taken;           // when our lease was, by Redis's clock; 0: not known yet
    uint64_t gen;             // likewise
    bool is_beating;          // a renewal is under way
    struct log_limit complaint;
};

// A session logged in. session_registered follows, perhaps from inside the call.
void registry_add(struct edge *edge, struct session *session);
// Its session has ended.
void registry_remove(struct session *session);
// From the bus: another edge has a newer login in the place of this link.
void registry_kick(struct edge *edge, const char *user, const char *device, uint64_t connection,
                   uint64_t epoch);
// Once a second.
void registry_tick(struct edge *edge);
// The store is up (again): the lease is renewed, and what waits goes on. It is down:
// logins that wait for it go on without.
void registry_store_state(struct edge *edge, bool up);
// Renews the lease now, unless that is under way. The first lease waits for the bus: whoever
// is in the directory must hear what is sent to it.
void registry_renew(struct edge *edge);
// Renewed recently enough to be sure that it has not ended.
bool registry_holds_lease(const struct edge *edge);
// What the lease was good for at that time; 0: over, or never taken.
uint64_t registry_lease_left_ms(const struct edge *edge, uint64_t at_ms);
// Others may have taken us for dead: the lease is renewed and every link verified, whatever
// the lease's answer is.
void registry_doubt(struct edge *edge);
// Nothing is in doubt any more.
bool registry_is_verified(const struct edge *edge);
// All links of ended sessions are out of the directory.
bool registry_is_settled(const struct edge *edge);
// Frees what could not be told to the directory any more.
void registry_fini(struct edge *edge);
