// peers.h: the other edges: which of them live, and what waits to be published to each.
//
// A peer lives while its heartbeats are heard. One that was not heard for as long as a
// lease lasts is unknown: the directory's lease decides, and its answer holds for a
// second. One that nobody listens for (NATS says so within a millisecond) gets nothing
// until its next heartbeat; dead it is when its lease has ended. So nothing waits for the
// sweeper. One thread.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/table.h"
#include "lib/base/wheel.h"
#include "proto/buf.h"
#include "proto/ident.h"
#include "proto/subject.h"
#include "switchyard/bus/v1/bus.pb-c.h"

struct edge;
struct leg;

// How long the answer about a lease is believed.
#define PEER_LEASE_BELIEF_MS 1000
// Sweepers are told of a peer nobody listens for at most this often; as often as it would be
// heard itself.
#define PEER_TELL_MS 1000

// Peers known before heartbeats add no more: whoever may publish them could name nodes without
// end. A real one beyond that is still found by its lease.
#define PEERS_HEARD_MAX 10000

enum peer_state {
    PEER_UNKNOWN, // its lease must be read
    PEER_LIVES,
    PEER_CUT_OFF, // it has its lease, but nobody listens: it may be back at any moment
    PEER_DEAD,
};

struct peer {
    UT_hash_handle hh;
    char node[NODE_ID_SIZE];
    uint64_t heard_ms; // last heartbeat, monotonic; 0: never
    uint64_t lease_ms; // when the lease was last read; 0: never
    bool lease_lives;  // what it said
    bool is_unheard;   // nobody listened; until the next heartbeat
    uint64_t told_ms;  // when sweepers were last told so; 0: never
    bool is_left_out;  // it was dead when a route was read; until it lives
    bool is_draining;
    bool has_directory; // it says that it holds its lease
    uint32_t connections;
    uint32_t max_connections;
    char url[128];
    uint32_t holds;   // routes and legs that name this peer
    struct leg *legs; // envelopes without a receipt, oldest first, so in order of batches
    struct leg *last_leg;
    char subject[SUBJECT_SIZE]; // both made when the first batch leaves
    char reply[SUBJECT_SIZE];
    size_t number_at;      // of the batch's number in reply; 0: not made yet
    struct buf batch;      // items of this turn, behind receipts that wait
    uint32_t elements;     // in the batch, see outbox.h
    uint32_t may_wait;     // receipts in the batch that may wait
    uint32_t batch_number; // of the batch being gathered, never 0
    bool is_dirty;         // the batch leaves at the end of this turn
    struct peer *next_dirty;
    bool is_waiting; // in the list of those whose batch leaves when the timer fires
    struct peer *next_waiting;
};

struct peers {
    struct peer *table;
    struct peer *recent; // found last: what arrives comes in batches; NULL: none
    struct peer *dirty;
    struct peer *waiting;
    struct timer receipts; // set as long as `waiting` is not empty
};

struct peer *peers_take(struct peers *peers, const char *node);
struct peer *peers_find(struct peers *peers, const char *node);
void peers_hear(struct peers *peers, const Switchyard__Bus__V1__Heartbeat *beat, uint64_t now_ms);
enum peer_state peer_state(const struct peer *peer, uint64_t now_ms);
// Connections it takes still, as its last heartbeat told; 0: it leaves, is full or not known
// to live.
uint32_t peer_room(const struct peer *peer, uint64_t now_ms);
// URLs of living edges with room, separated by spaces; at most 8 of them, most room first.
void peers_rooms(const struct peers *peers, uint64_t now_ms, char *out, size_t size);
// Frees those not heard of for ten minutes that nothing refers to.
void peers_forget(struct peers *peers, uint64_t now_ms);
void peers_fini(struct peers *peers);
