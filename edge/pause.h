// pause.h: time in which this edge did not run: SIGSTOP, a suspended machine, a turn that
// took a second.
//
// After a pause that was longer than the lease was still good for, others may have taken
// this edge for dead: its rows may be gone, its users may be elsewhere. So, before anything
// leaves:
//
// 1. pause_notice, at every reading of the clocks: the loop reads them at least every
//    50 ms, so a second between two readings is a pause.
// 2. Output is held: nothing is written to clients, nothing gathered is published, new
//    clients are refused. The lease is renewed and every link is verified.
// 3. pause_step, at the end of every turn: lets go when all links are verified. Sessions
//    that were replaced meanwhile have been closed by then, and were told nothing else.
//
// Redis cannot be reached: the hold ends after PAUSE_HOLD_MS without an answer. From then
// on the edge is what any edge without Redis is: it serves whom it has.
// A shorter pause is logged, no more. One thread.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct edge;

// Twenty times what the loop sleeps at most; shorter ones are the scheduler's.
#define PAUSE_MIN_MS 1000
// How long output waits for the lease: five times redis.command_timeout, enough for a
// connection that died in the pause to be noticed and made again.
#define PAUSE_HOLD_MS 5000

struct pause {
    uint64_t seen_ms; // when the clocks were read last, monotonic; 0: never
    uint64_t seen_wall_ms;
    uint64_t ended_ms; // of the last pause, monotonic; 0: there was none
    uint64_t until_ms; // at the latest the hold ends; stale unless is_holding
    uint64_t verifies; // counters when the hold began
    uint64_t superseded;
    bool is_holding;
    bool is_confirmed; // the lease is held again
};

// How long nothing ran since the last call; 0: no pause. The clock that went further
// counts: the monotonic one stands still while a machine is suspended.
uint64_t pause_look(struct pause *pause, uint64_t now_ms, uint64_t wall_ms);
// lease_left_ms: when the pause began; 0: it was over already.
bool pause_outlasts(uint64_t stood_ms, uint64_t lease_left_ms);

// The edge's clocks have been set. True: a pause has just ended.
bool pause_notice(struct edge *edge);
void pause_step(struct edge *edge);
