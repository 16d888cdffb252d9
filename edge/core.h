// core.h: an edge without its sockets: what all of its modules share.
//
//   conn -> session -> router -> { users | routes -> outbox -> bus }
//                   -> registry -> store
//                          ^-- lease -> store
//
// One thread. Time stands still during a turn: the host sets now_ms and wall_ms at its
// beginning and calls edge_turn_end at its end. Nothing here knows libuv, libwebsockets,
// NATS or Redis: bus.h, store.h and conn.h stand between, and tests put fakes behind them.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "edge/auth.h"
#include "edge/broadcast.h"
#include "edge/drain.h"
#include "edge/fence.h"
#include "edge/lease.h"
#include "edge/pause.h"
#include "edge/peers.h"
#include "edge/registry.h"
#include "edge/roundtrip.h"
#include "edge/router.h"
#include "edge/routes.h"
#include "edge/session.h"
#include "edge/users.h"
#include "lib/base/log.h"
#include "lib/base/rand.h"
#include "lib/base/wheel.h"
#include "lib/bus/bus.h"
#include "lib/store/store.h"
#include "proto/codec.h"

// clang-format off
// COUNTER(name, what it counts)
#define EDGE_COUNTERS(COUNTER) \
    COUNTER(logins,            "logins completed") \
    COUNTER(logins_refused,    "logins refused") \
    COUNTER(commands,          "commands read") \
    COUNTER(failures,          "Failure events sent") \
    COUNTER(sends,             "Send commands accepted") \
    COUNTER(messages_local,    "messages queued for a connection of this edge by a sender on this edge") \
    COUNTER(messages_remote,   "messages queued for a connection of this edge by a sender on another edge") \
    COUNTER(messages_refused,  "messages a full queue refused") \
    COUNTER(envelopes_out,     "envelopes for other edges") \
    COUNTER(envelopes_in,      "envelopes from other edges") \
    COUNTER(envelopes_late,    "envelopes dropped since they came late") \
    COUNTER(receipts_out,      "receipts for other edges") \
    COUNTER(receipts_in,       "receipts from other edges") \
    COUNTER(receipts_late,     "receipts nobody waited for any more") \
    COUNTER(broadcasts,        "Broadcast commands accepted") \
    COUNTER(messages_broadcast, "messages queued for a connection of this edge by a broadcast") \
    COUNTER(broadcasts_late,   "broadcasts not given to a connection since their time was over") \
    COUNTER(broadcasts_dropped, "broadcasts of other edges for which there was no room") \
    COUNTER(misses,            "recipients another edge no longer had") \
    COUNTER(unheard,           "batches nobody listened for: the edge is gone") \
    COUNTER(outcomes_sent,     "sends that ended as sent") \
    COUNTER(outcomes_rejected, "sends that ended as rejected") \
    COUNTER(resolves,          "directory reads") \
    COUNTER(route_hits,        "routes found in memory") \
    COUNTER(invalidations_out, "edges told that a user's links changed") \
    COUNTER(invalidations_in,  "routes dropped since another edge said so") \
    COUNTER(kicks_out,         "replaced links told to close") \
    COUNTER(kicks_in,          "connections closed since another edge said so") \
    COUNTER(registers,         "links written") \
    COUNTER(unregisters,       "links removed") \
    COUNTER(verifies,          "links checked") \
    COUNTER(rewritten,         "links found missing and written again") \
    COUNTER(superseded,        "links found replaced") \
    COUNTER(leases_lost,       "times this edge's lease was found gone") \
    COUNTER(drain_told,        "connections asked to go elsewhere (GoAway)") \
    COUNTER(drain_closed,      "connections a drain closed, since they had not gone by themselves") \
    COUNTER(fences,            "times this edge alone had lost Redis or NATS and sent its clients away") \
    COUNTER(pauses,            "times this edge stood still for a second or more") \
    COUNTER(messages_late,     "messages dropped from a connection's queue: their time was over after a pause") \
    COUNTER(bus_malformed,     "bus messages that could not be decoded")
// clang-format on

#define SY_AS_FIELD(name, text) uint64_t name;
struct edge_counters {
    EDGE_COUNTERS(SY_AS_FIELD)
};
#undef SY_AS_FIELD

struct edge_limits {
    size_t frame_bytes;
    size_t pending_bytes;
    uint32_t commands_per_second;
    uint64_t hello_timeout_ms;
    uint64_t ping_ms;
    uint64_t route_ttl_ms;
    size_t max_routes;
    uint32_t max_connections;
    enum device_policy devices; // what a login takes the place of
    uint32_t max_devices;       // of one user
    uint32_t accept_rate;       // sockets a second, 0: no limit; see drain.h
};

struct edge {
    char node[NODE_ID_SIZE];
    char url[128];
    struct edge_limits limits;
    uint64_t now_ms;  // monotonic, of this turn
    uint64_t wall_ms; // since 1970, of this turn
    uint64_t started_wall_ms;
    struct rng rng;
    struct wheel wheel;
    struct store *store; // NULL when alone
    struct bus *bus;     // NULL when alone
    struct auth *auth;
    struct users users;
    struct registry registry;
    struct lease_state lease;
    struct peers peers;
    struct routes routes;
    struct router router;
    struct broadcast broadcast;
    struct drain drain;
    struct pause pause;
    struct fence fence;
    struct roundtrip roundtrip;
    uint64_t (*clock_us)(void); // to measure with, never to decide by; NULL: now_ms
    struct arena arena;         // of the frame being decoded
    struct arena wrap;          // of an event being turned into JSON meanwhile
    struct buf scratch;         // of the event being encoded
    struct buf wrapped;         // of the frame being made of an event
    uint64_t next_connection;
    uint32_t live_sessions;
    uint64_t heartbeats; // published so far
    bool is_draining;
    struct log_limit bus_complaint;
    struct log_limit devices_complaint;
    struct edge_counters counters;
};

// The caller has filled node, url, limits, store, bus, auth, the clocks and rng.
void edge_init(struct edge *edge);
// All sessions must be closed.
void edge_fini(struct edge *edge);
static inline bool
edge_is_alone(const struct edge *edge)
{
    return edge->store == NULL;
}
// The clocks of this turn; before anything that reads them. True: the edge had stood still
// since the last call (pause.h); what waits to be read should be read before timers fire.
bool edge_set_clocks(struct edge *edge, uint64_t now_ms, uint64_t wall_ms);
// Nothing may be written to clients: after a pause, until the links are verified.
static inline bool
edge_is_holding(const struct edge *edge)
{
    return edge->pause.is_holding;
}
// Publishes what was gathered for other edges and goes on with broadcasts and the drain. At the end
// of every turn, before the sockets are flushed. True: there is more to do, the next turn should
// come at once.
bool edge_turn_end(struct edge *edge);
// Once a second: heartbeat, verify cycle, forgotten peers. Also the store's lease beat.
void edge_tick(struct edge *edge);
// Whatever arrived on the bus; the bus's on_message, with the edge as arg.
void edge_on_bus(void *arg, const char *subject, const void *bytes, size_t len, bool is_unheard);
void edge_on_bus_state(void *arg, bool up, const char *why);
void edge_on_store_state(void *arg, bool up, const char *why);
// Takes new clients: the lease is held and the bus hears itself, or the edge is alone.
// If not, *why is a word for people.
bool edge_is_ready(const struct edge *edge, const char **why);
// The same, but for leaving.
bool edge_can_serve(const struct edge *edge, const char **why);
// Not ready from now on, and the other edges and the directory are told so. Clients are
// told by a drain.
void edge_start_drain(struct edge *edge);
