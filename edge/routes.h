// routes.h: on which other edges a user is, remembered.
//
// A route is read from the directory once and then kept for limits.route_ttl_ms. The
// read leaves this edge's name with the user's row; whoever changes the row tells the
// names left there (Invalidate), so a *missing* device becomes visible at once. A *stale*
// entry is harmless: the other edge answers that it has no such user, and the sender
// reads again. If telling fails, or the bus was down meanwhile, age bounds the error.
//
//   routes_find   -> the edges, if known and fresh
//   routes_wait   -> otherwise: read; router_resolved is called for each waiter, in the
//                    order of their numbers, when the answer is there or has failed
//
// At most ROUTES_MAX_BUSY are read at once, the others in the order in which they were
// asked for.
//
// This edge itself is never part of a route: edge/users.h knows who is here. One thread.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "edge/peers.h"
#include "lib/base/table.h"

struct edge;
struct route;

// Below the store's cap, with room for the registry's operations.
#define ROUTES_MAX_BUSY 384

// Embedded in what waits for a route.
struct waiter {
    struct waiter *next;
    struct waiter *prev;
    struct route *route; // NULL: not waiting
    uint64_t number;     // order among waiters for one user
};

struct route {
    UT_hash_handle hh;
    struct edge *edge;
    struct route *newer; // in the list of those not being read, or of those to be read next
    struct route *older;
    struct waiter *waiters; // oldest first
    struct waiter *last_waiter;
    struct peer **peers;
    uint32_t peer_count;
    uint32_t checks; // leases being read
    uint64_t epoch;  // of the table when it was asked for
    uint64_t expires_ms;
    bool is_reading;  // or is to be read next, or its waiters are being told
    bool is_known;    // peers is an answer, perhaps an old one
    bool has_changed; // told of a change while reading
    uint8_t id_len;
    char id[];
};

struct routes {
    struct route *table;
    struct route *oldest; // of those not being read
    struct route *newest;
    struct route *next_to_read; // in the order of asking
    struct route *last_to_read;
    uint32_t busy;  // being read
    uint64_t epoch; // raised when changes may have been missed; older routes are stale
};

// NULL: not known or not fresh. hash: table_hash of the user. The route is good until the next call
// into this module.
const struct route *routes_find(struct edge *edge, const char *user, size_t len, unsigned hash);
// waiter->number must be set. router_resolved comes later, never from inside the call.
void routes_wait(struct edge *edge, const char *user, size_t len, struct waiter *waiter);
// Not waiting is fine.
void routes_cancel(struct waiter *waiter);
// What was remembered of this user may be wrong.
void routes_forget(struct edge *edge, const char *user, size_t len);
// Changes may have been missed: everything is read again when next needed.
void routes_forget_all(struct edge *edge);
// It was heard, or has a lease. Routes read while it was dead do not lead to it: all are read
// again when next needed.
void routes_peer_lives(struct edge *edge, struct peer *peer);
void routes_fini(struct edge *edge);
