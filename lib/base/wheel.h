// wheel.h: many coarse timers at O(1) each.
//
// 512 slots of 128 ms; a timer further than one turn (65 s) waits in its slot until
// its turn comes. Timers fire on the first wheel_advance at or after their due time
// rounded up to a slot: never early, at most 128 ms late plus the caller's delay.
// A timer set for a time already past fires on the next advance. Timers of one advance
// fire in no promised order. A clock that goes back fires nothing until it has caught up.
// One thread. Embedded in its owner; the wheel allocates nothing.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WHEEL_SLOTS 512
#define WHEEL_TICK_MS 128

struct timer;
typedef void timer_cb(struct timer *timer, uint64_t now_ms);

struct timer {
    struct timer *next; // NULL when not set
    struct timer *prev;
    uint64_t due_ms;
    timer_cb *fire; // set once by the owner, before the first wheel_set
};

struct wheel {
    struct timer slots[WHEEL_SLOTS]; // list heads
    uint64_t done_tick;              // every slot up to here has been looked at
    uint64_t count;                  // timers set
};

void wheel_init(struct wheel *wheel, uint64_t now_ms);
// Sets or moves a timer.
void wheel_set(struct wheel *wheel, struct timer *timer, uint64_t due_ms);
// Unset timers are fine.
void wheel_unset(struct wheel *wheel, struct timer *timer);
static inline bool
timer_is_set(const struct timer *timer)
{
    return timer->next != NULL;
}
// Fires what is due, each unset before its callback, which may set and unset any
// timer and free its own. What a callback sets waits for the next advance, even when
// it is due already. Call at least every WHEEL_TICK_MS.
void wheel_advance(struct wheel *wheel, uint64_t now_ms);
