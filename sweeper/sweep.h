// sweep.h: looks after the directory: leads, looks, reaps. No loop, no Redis, no NATS:
// store.h and bus.h stand between, the clock is set by the host, and tests put fakes
// underneath.
//
// 1. sweep_tick begins a round every ROUND_MS: it tries to lead, and looks.
// 2. A look of the leader lists the nodes in the directory; then Redis's clock is read, by
//    followers too; then each node is judged (rules.h). A lease that must end before the
//    next round brings a look of its own when it ends.
//    A suspect, and one an edge could not reach, is probed: does anybody listen for it?
// 3. A dead one is reaped in batches, one node at a time, under the leader's fence.
// 4. Its last link gone: one log line, and NodeDown for everybody.
// 5. Slowly, all keys are looked through for indexes that no listed node leads to, and more
//    slowly for rows that no index names.
//
// Every decision is one log line that says what and why. Reaping is held when leases may
// have ended though their edges live: many nodes dead at once, Redis's clock jumped
// (redis_clock.h), Redis was away or has just been started, or we have and so do not know.
// Redis down: nothing is known, so nothing is done; a leader begins anew when it is back. Fence
// stale: another leads; this one stops at once. One thread.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/table.h"
#include "lib/bus/bus.h"
#include "lib/store/store.h"
#include "proto/buf.h"
#include "sweeper/redis_clock.h"
#include "sweeper/rules.h"

// sweep_tick is called this often: a lease that ends is seen so soon after.
#define SWEEP_TICK_MS 50
#define ROUND_MS 500
// A node is probed at most this often, however many edges cannot reach it.
#define PROBE_MS 1000

// Leadership ends this long after its last renewal.
#define LEAD_MS 10000
#define LEAD_RENEW_MS 3000
// Keys looked at per tick for forgotten indexes: a million in four minutes, at less than
// a thousandth of what Redis does.
#define SCRUB_KEYS 2000
// Users whose rows are looked at per round: a million in 42 minutes, at a thousandth of
// what Redis does. Such rows cost memory alone.
#define SCRUB_USERS 200

struct swept_node {
    UT_hash_handle hh;
    char node[NODE_ID_SIZE];
    struct node_facts facts;
    enum node_state state;
    uint64_t dead_since_ms; // when it was noticed
    uint64_t removed;       // links since then
    uint64_t round;         // of the last listing that had it
    uint64_t lease_ends_ms; // as far as that said; 0: unknown
    uint64_t probed_ms;     // 0: never
};

struct sweep {
    char id[NODE_ID_SIZE];
    struct store *store;
    struct bus *bus;
    uint64_t now_ms;
    unsigned batch; // links per script round
    uint64_t links_per_second;
    struct swept_node *nodes;
    struct swept_node *reaping; // the one whose batch is under way
    struct pace pace;
    struct arena arena;
    uint64_t fence;
    uint64_t lead_tried_ms; // when leadership was last asked for; 0: never
    uint64_t led_ms;        // when it was last granted: it holds for LEAD_MS from then
    uint64_t round;         // of listings
    uint32_t probes;        // sent so far
    bool is_leader;
    bool is_asking;    // for leadership, an answer is due
    bool is_looking;   // likewise, for nodes or clock
    bool has_listed;   // the nodes of this look wait for the clock to be judged
    bool is_scrubbing; // likewise
    uint64_t scrub_cursor;
    bool is_scrubbing_rows;
    uint64_t scrub_rows_cursor;
    uint64_t redis_up_ms;   // how long Redis had been up when it was last asked
    uint64_t redis_told_ms; // and when that was
    uint64_t hold_until_ms; // nothing is reaped before
    uint64_t mass_until_ms; // of a mass death that was said
    struct redis_clock redis_clock;
    unsigned unanswered;    // rounds since the clock was last read
    uint64_t round_ms;      // when the last one began; 0: never
    uint64_t lease_ends_ms; // of the lease that ends first; 0: none
    bool is_leaving;
    // Told for tests and dashboards.
    uint64_t nodes_reaped;
    uint64_t links_removed;
    uint64_t stale_fences;
    uint64_t mass_deaths;
    uint64_t clock_jumps;
};

// The caller has filled id, store, bus, now_ms, batch, links_per_second.
void sweep_init(struct sweep *sweep);
// The store must have answered everything.
void sweep_fini(struct sweep *sweep);
// The store is up (again), or down: what was known of Redis is not trusted beyond that, since
// it may be another process by then. Every call has been answered.
void sweep_on_store_state(struct sweep *sweep, bool up);
// Every SWEEP_TICK_MS, or more slowly.
void sweep_tick(struct sweep *sweep);
// The bus's on_message, with the sweep as arg.
void sweep_on_bus(void *arg, const char *subject, const void *bytes, size_t len, bool is_unheard);
