// wheel.c: a hashed timing wheel (Varghese and Lauck 1987, scheme 6).
//
// A timer waits in slot (tick % WHEEL_SLOTS), tick being its due time in ticks rounded
// up. wheel_advance first moves everything due from the slots passed to a list of its
// own, then fires from the head of that list. So a callback may set and unset any
// timer: what it sets is in a slot again and waits for the next advance, and what it
// unsets is unlinked from whichever ring holds it.
//
// A timer that is due already when it is set goes to the front of the slot looked at
// last. Behind those stand only timers of a later turn, so the next advance finds
// them without walking the slot.
#include "lib/base/wheel.h"

#include <assert.h>
#include <stddef.h>

static void
ring_init(struct timer *head)
{
    head->next = head;
    head->prev = head;
}

static void
ring_insert_after(struct timer *place, struct timer *timer)
{
    timer->prev = place;
    timer->next = place->next;
    place->next->prev = timer;
    place->next = timer;
}

static void
ring_remove(struct timer *timer)
{
    timer->prev->next = timer->next;
    timer->next->prev = timer->prev;
    timer->next = NULL;
    timer->prev = NULL;
}

// Rounded up; without the sum that would overflow near the end of time.
static uint64_t
due_tick(const struct timer *timer)
{
    return timer->due_ms / WHEEL_TICK_MS + (timer->due_ms % WHEEL_TICK_MS != 0);
}

void
wheel_init(struct wheel *wheel, uint64_t now_ms)
{
    for (int i = 0; i < WHEEL_SLOTS; i++)
        ring_init(&wheel->slots[i]);
    wheel->done_tick = now_ms / WHEEL_TICK_MS;
    wheel->count = 0;
}

void
wheel_set(struct wheel *wheel, struct timer *timer, uint64_t due_ms)
{
    assert(timer->fire != NULL);
    wheel_unset(wheel, timer);
    timer->due_ms = due_ms;
    uint64_t tick = due_tick(timer);
    if (tick <= wheel->done_tick) {
        ring_insert_after(&wheel->slots[wheel->done_tick % WHEEL_SLOTS], timer);
    } else {
        struct timer *head = &wheel->slots[tick % WHEEL_SLOTS];
        ring_insert_after(head->prev, timer);
    }
    wheel->count++;
}

void
wheel_unset(struct wheel *wheel, struct timer *timer)
{
    if (!timer_is_set(timer))
        return;
    assert(wheel->count > 0);
    ring_remove(timer);
    wheel->count--;
}

static void
take_overdue(struct timer *slot, uint64_t tick, struct timer *due)
{
    while (slot->next != slot && due_tick(slot->next) <= tick) {
        struct timer *timer = slot->next;
        ring_remove(timer);
        ring_insert_after(due->prev, timer);
    }
}

static void
take_due(struct timer *slot, uint64_t tick, struct timer *due)
{
    struct timer *next;
    for (struct timer *timer = slot->next; timer != slot; timer = next) {
        next = timer->next;
        if (due_tick(timer) <= tick) {
            ring_remove(timer);
            ring_insert_after(due->prev, timer);
        }
    }
}

void
wheel_advance(struct wheel *wheel, uint64_t now_ms)
{
    uint64_t tick = now_ms / WHEEL_TICK_MS;
    if (tick < wheel->done_tick)
        return; // a clock that went back: nothing new can be due
    struct timer due;
    ring_init(&due);
    take_overdue(&wheel->slots[wheel->done_tick % WHEEL_SLOTS], tick, &due);
    // After a jump of more than a turn every slot is looked at once.
    uint64_t steps = tick - wheel->done_tick;
    if (steps > WHEEL_SLOTS)
        steps = WHEEL_SLOTS;
    for (uint64_t i = 1; i <= steps; i++)
        take_due(&wheel->slots[(wheel->done_tick + i) % WHEEL_SLOTS], tick, &due);
    wheel->done_tick = tick;
    while (due.next != &due) {
        struct timer *timer = due.next;
        wheel_unset(wheel, timer);
        timer->fire(timer, now_ms);
    }
}
