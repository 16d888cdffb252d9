// redis_clock.h: did Redis's clock jump? Leases end by it, so a jump ends all of them.
//
// Each reading of it lies between two times of our own monotonic clock. Between two readings
// both clocks go on by the same, but for what the round trips leave open; a pause of our own
// only widens that. What is beyond is a jump: somebody set the clock, Redis moved to another
// machine, or one of the two machines slept.
//
// A reading is compared with one of up to LEASE_MS before, not only with the last, so that
// many small steps are seen like one.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/store/store.h"

// No jump below this ends a lease that is renewed in time: it has LEASE_MS - LEASE_RENEW_MS
// left at least. Above what NTP corrects by slewing.
#define CLOCK_JUMP_MS 2000

struct redis_clock {
    bool is_known;
    struct store_clock anchor;
};

// By how much the clock has jumped since it was last looked at; 0: not by more than
// CLOCK_JUMP_MS, or never looked at before.
int64_t redis_clock_look(struct redis_clock *clock, const struct store_clock *now);
