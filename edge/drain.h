// drain.h: everybody goes elsewhere, one after the other, told when and where.
//
// A drain gives every LIVE session a slot: the time at which its client should connect
// anew. Slots are evenly paced and shuffled, so that the edges that take the clients in see
// a steady stream and no herd, whoever the clients are. GoAway names the slot and an edge
// with room, picked at random, weighted by free room as heartbeats tell it less what this
// drain has sent there. Those without GoAway's manners are closed with 1012 a little after
// their slot, so they come back paced as well.
//
//   drain_start   plans; the caller has made the edge unready before, if it is to be
//   drain_step    at the end of every turn (edge_turn_end): tells and closes whose time has
//                 come, at most DRAIN_PER_STEP of each
//   drain_stop    the reason has gone: who was not told stays and hears nothing
//
// Pace: the whole window, but never slower than DRAIN_LEAST_PER_S, so that few clients do
// not hold up a restart; and never faster than the targets accept (our own
// connections.accept_rate is taken for theirs, shared out by their room). When the window is
// too short for that, sockets still close within the window, but the slots go on beyond it:
// a client that keeps its slot is away for a while instead of part of a herd. The log says so
// (drain_hurried).
//
// Who is told when: LEAVING tells all at once, so that a client knows its slot even if this
// process is killed early. The other causes may go away again and tell each
// DRAIN_NOTICE_MS before its slot.
//
// Failures:
//   a session ends by itself       its slot stays empty
//   a session becomes LIVE later   told at once, last slot
//   frames still wait for a socket its close waits for them, until the window ends
//   GoAway does not fit the queue  that session is closed (4108), as with any event
//   no edge with room is known     GoAway without url: any edge, when one has room
//
// One thread. Time is edge->now_ms; nothing here knows sockets.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct edge;
struct session;

// Why; the numbers of switchyard.v1.GoAwayReason. All close with CLOSE_DRAINING (1012).
enum drain_cause {
    DRAIN_LEAVING = 1,  // this process ends
    DRAIN_NO_REDIS = 2, // this edge alone cannot reach the directory
    DRAIN_NO_NATS = 3,  // this edge alone cannot reach the others
};

// One step's share of each kind of work: about five milliseconds.
#define DRAIN_PER_STEP 500
// Slower than this helps nobody: a login costs an edge less than 0.1 ms.
#define DRAIN_LEAST_PER_S 100
// From a slot to the close: time to finish what is in flight and to leave by oneself.
// A quarter of the window at most.
#define DRAIN_COURTESY_MS 1000
// How long before its slot a client is told when the cause may go away again.
#define DRAIN_NOTICE_MS 5000
#define DRAIN_PROGRESS_MS 2000 // between two lines in the log
// What heartbeats said of room is read anew.
#define DRAIN_TARGETS_MS 5000

struct drain_target; // an edge with room

struct drain {
    uint8_t cause; // enum drain_cause; 0: no drain is running
    bool was_done; // said so in the log
    uint64_t started_ms;
    uint64_t window_ms;
    uint64_t courtesy_ms;
    uint64_t spread_ms;     // from the start to the last slot
    uint64_t said_ms;       // when progress was logged last
    struct session **order; // by slot; NULL: it has ended
    uint32_t planned;       // slots the spread was made for
    uint32_t count;         // entries of order: planned and latecomers
    uint32_t capacity;
    uint32_t told;   // entries before this one have been told
    uint32_t closed; // entries before this one were due to close...
    uint32_t held;   // ... and all before this one have ended
    uint32_t left;   // entries that have not ended
    struct drain_target *targets;
    uint32_t target_count;
    uint64_t targets_ms; // when the targets were read
};

// Plans and begins. Every session that is LIVE now is closed at the latest window_ms
// (at least 1) from now, unless it leaves before. While one is running: begins anew with
// the new cause; who was told hears its new slot.
void drain_start(struct edge *edge, enum drain_cause cause, uint32_t window_ms);
// Ends it. Whoever is still here stays; who was told already may leave by itself. Fine
// without a drain.
void drain_stop(struct edge *edge);
bool drain_is_running(const struct edge *edge);
// Sessions that have a slot and are still here; 0 without a drain.
uint32_t drain_left(const struct edge *edge);
// Works on what is due. True: more is due already, the next turn should come at once.
bool drain_step(struct edge *edge);
// Of a session that has become LIVE, and of one that ends (without a slot is fine).
void drain_add(struct edge *edge, struct session *session);
void drain_remove(struct edge *edge, struct session *session);
// For people: "leaving", "no_redis", "no_nats".
const char *drain_cause_name(enum drain_cause cause);
void drain_fini(struct edge *edge);
