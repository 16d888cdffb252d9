// store.h: the directory in Redis, as questions and answers. One connection, one
// loop, one thread; nothing blocks. Behind it, in files of their own: one connection
// (redis.c), the channel that repairs it (channel.c), the registry (store_*.c).
//
// Every call answers its callback exactly once, from the loop, never from inside the
// call: also when Redis is down, slow or gone. Errors: SY_EDOWN not connected,
// SY_EFULL too many in flight (both: nothing was sent); SY_ETIME, SY_ELOST outcome
// unknown; SY_EREPLY Redis refused, logged with its words; SY_EINVAL an id that cannot
// be (nothing was sent). No call may follow store_close. A command unanswered for
// command_timeout_ms closes the connection, since its place in the order is lost;
// reconnecting waits 50 ms to 2 s, full jitter. Names are resolved without blocking.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "lib/base/err.h"
#include "proto/keys.h"

struct store;

struct store_opts {
    const char *url;  // redis://[user[:password]@]host[:port][/db], or unix:///path
    const char *user; // override the URL's when not empty
    const char *password;
    uint64_t command_timeout_ms; // 1000
    unsigned max_in_flight;      // 1024 commands
    enum device_policy devices;  // what a login takes the place of
    unsigned max_devices;        // of one user; 0: DEVICES_MAX_DEFAULT
    // Called with up=true once a connection is ready, false when it is lost. For false
    // every call in flight has been answered before.
    void (*on_state)(void *arg, bool up, const char *why);
    void *arg;
};

// NULL with a line in *why for a URL that cannot be. Connects in the background.
struct store *store_open(uv_loop_t *loop, const struct store_opts *opts, char why[static 160]);
// No callback comes after it but `closed`, once everything is released; calls in
// flight are answered with SY_ELOST before it returns.
void store_close(struct store *store, void (*closed)(void *arg), void *arg);
bool store_is_up(const struct store *store);
// "redis 7.0.15 at 127.0.0.1:6379", "not connected to ...: reason"; good until the next call.
const char *store_describe(const struct store *store);

// The registry. All ids are raw (not mapped); strings are copied before a call returns.
// Register, unregister and verify of one user on one node must not overlap: wait for
// the answer before the next, or the node's index may lose an entry it needs.

struct store_registered {
    uint64_t epoch;         // if superseded: that of the newer login
    bool is_superseded;     // a newer login has the place, and nothing was written
    size_t displaced_count; // links it took the place of; their rows are gone
    const struct link *displaced;
    size_t watcher_count; // nodes that remember this user's row
    const char *const *watchers;
};
typedef void store_register_cb(void *arg, int error, const struct store_registered *answer);
// The login was age_ms ago, and after the one of link->epoch (0: none known). Adds to the
// node's index first, then writes the row.
void store_register(struct store *store, const char *user, const struct link *link, uint64_t age_ms,
                    store_register_cb *done, void *arg);

typedef void store_done_cb(void *arg, int error);
// Deletes the row only if node, connection and epoch match; then the index entry, which
// also goes if the row is missing or another node's. SY_ENOENT: it was not ours any more.
void store_unregister(struct store *store, const char *user, const struct link *link,
                      store_done_cb *done, void *arg);

enum store_verdict { STORE_KEPT, STORE_REWRITTEN, STORE_SUPERSEDED };
typedef void store_verify_cb(void *arg, int error, enum store_verdict verdict,
                             const struct store_registered *answer);
// Makes the row true again: rewritten if missing or older, superseded if newer.
// answer->epoch is the row's as it is now: kept with a higher epoch than link->epoch is
// a register of this connection whose answer was lost; take that epoch over (with
// link->epoch 0 for "never learned", and rewritten as 0 if the row is missing: then
// register instead). answer has the watchers when a row was written or deleted.
void store_verify(struct store *store, const char *user, const struct link *link,
                  store_verify_cb *done, void *arg);

typedef void store_resolve_cb(void *arg, int error, const struct link *links, size_t count);
// All links of a user, living or not. `watcher`: the node that will remember the
// answer for watch_ms and wants to be told of changes; NULL: nobody.
void store_resolve(struct store *store, const char *user, const char *watcher, uint64_t watch_ms,
                   store_resolve_cb *done, void *arg);

struct store_node {
    char node[NODE_ID_SIZE];
    bool has_lease;
    bool is_draining;
    bool says_nats;         // the two below are known: older edges do not say
    bool is_on_nats;        // it hears itself over NATS
    uint64_t nats_since_ms; // since when it is so, wall clock
    uint32_t connections;
    uint32_t max_connections;
    uint64_t started_ms; // wall clock
    uint64_t lease_left_ms;
    uint64_t members; // size of its index
    char url[128];
};
typedef void store_node_cb(void *arg, int error, const struct store_node *node);
// The lease of one node; SY_ENOENT: none. `members` is not filled.
void store_read_node(struct store *store, const char *node, store_node_cb *done, void *arg);
typedef void store_nodes_cb(void *arg, int error, const struct store_node *nodes, size_t count);
// All nodes known, living or not.
void store_list_nodes(struct store *store, store_nodes_cb *done, void *arg);

typedef void store_beat_cb(void *arg, int error, uint64_t taken, uint64_t gen);
// Renews the lease, or takes it. taken: when that was, in us; another number than in the last
// answer: there was no lease meanwhile. gen: see keys.h.
void store_heartbeat(struct store *store, const struct store_node *self, store_beat_cb *done,
                     void *arg);
// Gives the lease back at once (the edge has left).
void store_release(struct store *store, const char *node, store_done_cb *done, void *arg);

// For sweepers.

typedef void store_lead_cb(void *arg, int error, bool is_leader, uint64_t fence,
                           uint64_t redis_uptime_s);
// Takes or renews the leader lease for lease_ms.
void store_lead(struct store *store, const char *sweeper, uint64_t lease_ms, store_lead_cb *done,
                void *arg);
void store_resign(struct store *store, const char *sweeper, store_done_cb *done, void *arg);

// Redis's clock, read between two times of ours (uv_now of the loop).
struct store_clock {
    uint64_t redis_ms; // wall clock
    uint64_t asked_ms;
    uint64_t answered_ms;
};
typedef void store_clock_cb(void *arg, int error, const struct store_clock *clock);
void store_read_clock(struct store *store, store_clock_cb *done, void *arg);

struct store_reaped {
    uint64_t listed;      // index entries looked at
    uint64_t removed;     // rows deleted
    uint64_t left;        // index entries that remain; 0: the node is gone from sy:nodes too
    uint64_t answered_ms; // uv_now of the loop
};
typedef void store_reap_cb(void *arg, int error, const struct store_reaped *answer);
// One batch of about `batch` (1 to 1000) links of a dead node. SY_EBUSY: the node lives.
// SY_EDENIED: the fence is stale.
void store_reap(struct store *store, const char *node, uint64_t fence, unsigned batch,
                store_reap_cb *done, void *arg);

typedef void store_scrub_cb(void *arg, int error, uint64_t cursor, unsigned found);
// Looks at about `count` keys, from `cursor` on (0: from the start), for indexes of nodes
// that sy:nodes does not name, and adds those to it: then they are judged and reaped like
// any other. Such an index remains when Redis lost its data just before an edge died.
// Answers where to go on; 0: all keys were looked at.
void store_scrub(struct store *store, uint64_t cursor, unsigned count, store_scrub_cb *done,
                 void *arg);
// The same for rows: looks at about `count` users for rows of nodes without a lease, and
// adds those to their node's index, and the node to sy:nodes. `found`: rows that the index
// did not name; such a row remains when it was written after the index was cleaned up. Not
// while a node is reaped, see store_orphans.c.
void store_scrub_rows(struct store *store, uint64_t cursor, unsigned count, store_scrub_cb *done,
                      void *arg);
