// pulse.h: when to probe a connection, when to give it up, how long to wait before
// the next. Pure: time and chance are arguments.
//
// A probe leaves at once and then every ping_ms. The connection is dead when the
// last echo (at first: the start) lies more than 2 * ping_ms back and a probe has
// been waiting for at least ping_ms. The second half is for a loop that itself stood
// still: nobody answers a question that was not asked.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/rand.h"

struct pulse {
    uint64_t ping_ms;
    uint64_t proof_ms;   // of the last echo, or of the start
    uint64_t sent_ms;    // of the last probe
    uint64_t waiting_ms; // of the oldest probe without an echo; stale unless is_waiting
    uint64_t sent;       // number of the last probe, from 1; 0: none yet
    uint64_t echoed;     // highest number that came back
    bool is_waiting;
};

void pulse_start(struct pulse *pulse, uint64_t ping_ms, uint64_t now_ms);
bool pulse_is_due(const struct pulse *pulse, uint64_t now_ms);
// Notes that a probe leaves now and answers its number.
uint64_t pulse_send(struct pulse *pulse, uint64_t now_ms);
// False for a number that was never sent or came back before.
bool pulse_echo(struct pulse *pulse, uint64_t number, uint64_t now_ms);
bool pulse_is_dead(const struct pulse *pulse, uint64_t now_ms);
// Milliseconds until one of the two questions may have another answer; at least 1.
uint64_t pulse_wait_ms(const struct pulse *pulse, uint64_t now_ms);

#define BACKOFF_MIN_MS 100
// An edge is to serve again within 2 s of the return of its server.
#define BACKOFF_MAX_MS 1000

// Full jitter: 1 up to 100 ms after the first failure in a row, the limit doubling to
// 1 s, so that the clients of a server that comes back do not all come at once.
uint64_t backoff_ms(unsigned failures, struct rng *rng);
