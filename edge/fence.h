// fence.h: when this edge alone has lost Redis or NATS, its users are better off elsewhere.
//
// Without a lease nobody looks for users here; without NATS nobody's messages come. If
// everybody is in the same trouble, or there is nobody else, moving users helps no one: the
// edge serves those it has. So the others are asked, over what still works:
//
//   lost    the others say                              then
//   Redis   in heartbeats, that they hold their lease   after the own lease has ended, and
//                                                       5 s of saying so
//   NATS    in the lease row, that they are on NATS     after 30 s without NATS
//
// At least half of the others must say so: one that is well cannot take in everybody. A
// fenced edge takes no new clients and sends those it has away, in random order, spread over
// FENCE_WINDOW_MS (drain.h). It ends when the cause has gone, or when the others are no
// better off: who is still here stays.
//
// fence_suspicion and fence_judge are pure; fence_tick brings the facts and acts. One thread.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "edge/drain.h"

struct edge;

// How long the facts must agree. A restart of Redis, seen by some a moment earlier than by
// others, is over by then.
#define FENCE_AGREE_MS 5000
// Without NATS, until users are sent away: a nats-server that restarts is back in seconds.
#define FENCE_NATS_DOWN_MS 30000
// From when on the directory is asked what the others say, and how often: three commands
// for each node.
#define FENCE_ASK_AFTER_MS 15000
#define FENCE_ASK_MS 5000
// Heartbeats come every second, answers every FENCE_ASK_MS; older ones say nothing.
#define FENCE_HEARD_MS 3000
#define FENCE_TOLD_MS (3 * FENCE_ASK_MS)
#define FENCE_WINDOW_MS 60000

struct fence_facts {
    bool had_lease; // ever: else nobody could look for anybody here
    bool has_lease; // surely
    bool is_bus_up;
    uint64_t bus_down_ms;  // for how long; 0 when up
    unsigned heard;        // other edges whose heartbeats are heard
    unsigned heard_leased; // of those: say that they hold their lease
    unsigned told;         // other living edges, as the directory tells; 0: not asked lately
    unsigned told_on_nats; // of those: say that they are on NATS
};

struct fence {
    uint8_t cause;        // enum drain_cause: why users are sent away; 0: they are not
    uint8_t suspected;    // likewise: what the facts say...
    uint64_t since_ms;    // ... and since when
    uint64_t bus_down_ms; // since when the bus is down, monotonic; 0: up, or never was up
    uint64_t bus_wall_ms; // since when the bus is as it is, wall clock
    uint64_t asked_ms;    // when the directory was asked; 0: never
    uint64_t told_ms;     // when it answered; 0: never
    unsigned told;
    unsigned told_on_nats;
    bool is_asking;
};

// What the facts of this moment say: enum drain_cause, 0 for none.
uint8_t fence_suspicion(const struct fence_facts *facts);
// Judges by what has been said for long enough. True: fence->cause has changed.
bool fence_judge(struct fence *fence, const struct fence_facts *facts, uint64_t now_ms);

// Once a second, after the registry's tick.
void fence_tick(struct edge *edge);
void fence_bus_state(struct edge *edge, bool up);
