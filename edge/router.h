// router.h: from a Send command to the connections of its users, and to one outcome.
//
// 1. The message is encoded once. Connections of this edge get it at once.
// 2. Each user's route says which other edges have more: one leg per edge, one envelope
//    per leg, whatever the number of users on it.
// 3. Each leg ends with a receipt, with "nobody listens", with the bus, or with its time.
// 4. A user somebody should have had but had not: read the directory past our memory and
//    try what is new, once.
// 5. All legs ended: one Outcome, if the command has an id and its client is still there.
//
// Sent means: written to the queue of a connection. What was rejected was not delivered,
// but for reason TIMEOUT, which says that it may have been. Messages from one sender to
// one user are handed over in the order in which they were sent; those that had to be
// tried again (4) may arrive behind later ones.
//
// Bounds: limits.pending_bytes for everything that waits, ttl + SEND_GRACE_MS for how long.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "edge/peers.h"
#include "edge/pool.h"
#include "edge/routes.h"
#include "lib/base/wheel.h"
#include "proto/tables.h"
#include "switchyard/bus/v1/bus.pb-c.h"
#include "switchyard/v1/client.pb-c.h"

struct edge;
struct session;
struct send;

#define SEND_TTL_DEFAULT_MS 3000
// With the grace below the five seconds within which every send must have its outcome.
#define SEND_TTL_MAX_MS 4000
// From the end of a message's life until its receipt is given up.
#define SEND_GRACE_MS 600
// Slots looked at in one turn when the bus is lost: at most 20 ms of sends that end.
#define ROUTER_LOST_SLICE 16384
// A client for whom so much waits is not told its outcomes early; half the least
// limits.queue_bytes.
#define ROUTER_LOST_BACKLOG (32 * 1024)

// One envelope for one edge. Kept until its send ends: it names what was tried.
struct leg {
    struct leg *next_of_peer;
    struct leg *prev_of_peer;
    struct leg *next_of_send;
    struct send *send;
    struct peer *peer;
    uint32_t slot;  // in router.slots
    uint32_t batch; // number of the peer's batch it left in
    bool is_fresh;  // not dispatched yet
    bool is_out;    // dispatched, no receipt yet
    uint32_t room;  // of recipients
    uint32_t count;
    uint32_t recipients[]; // positions in the send, as in Envelope.to
};

struct slot {
    struct leg *leg;     // NULL: free
    uint32_t generation; // raised at each use: an old receipt meets no new leg
    uint32_t next_free;  // index + 1
};

struct router {
    struct pool pool;
    struct send *routed; // since the last flush, in the order of their routes
    struct send *last_routed;
    struct slot *slots;
    uint32_t slot_count;
    uint32_t free_slot; // index + 1; 0: none
    uint64_t next_number;
    size_t pending;       // sends under way
    size_t pending_bytes; // of them, without their legs
    struct timer lost;    // set while legs of a lost bus remain to be ended
    uint32_t lost_slots;  // not looked at yet
    uint64_t lost_number; // newest send of then
};

// The command must be a Send of a LIVE session. Answers with a Failure or an Outcome,
// now or later, if id is not 0 (a malformed one also if it is).
void router_send(struct edge *edge, struct session *session, uint64_t id,
                 const Switchyard__V1__Send *send);
// The session ends: its sends go on, their outcomes are told to nobody.
void router_session_ended(struct session *session);

// From the bus.
void router_receipt(struct edge *edge, const char *origin,
                    const Switchyard__Bus__V1__Receipt *receipt);
// From the bus: it is gone, and with it the receipts of all that had left. These legs end as
// `timeout`, in slices; those of a client that reads slowly do so at their deadlines.
void router_bus_lost(struct edge *edge);
// From the outbox: this batch did not leave, or nobody heard it.
void router_batch_failed(struct edge *edge, struct peer *peer, uint32_t batch, enum reason reason);
// From routes: the answer a recipient waited for. error: see store.h; then it is an old one
// or none. What leaves for other edges waits for router_flush.
void router_resolved(struct edge *edge, struct waiter *waiter, struct peer *const *peers,
                     uint32_t count, int error);

// Hands to the outbox what was routed in this turn.
void router_flush(struct edge *edge);

// Ends everything under way without outcomes (the edge ends).
void router_fini(struct edge *edge);
