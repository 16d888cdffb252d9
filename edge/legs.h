// legs.h: envelopes that have left and have no receipt yet, found by number.
//
// A reference is a slot and how often the slot was used, so a receipt that comes after
// its leg has ended finds nothing, never somebody else's leg. One thread.
#pragma once

#include <stddef.h>
#include <stdint.h>

struct edge;
struct leg;
struct peer;
struct send;

// A leg with room for `room` recipients, in the send's list, fresh.
struct leg *leg_new(struct edge *edge, struct send *send, struct peer *peer, uint32_t room);
// Stops it. The send's list is the caller's.
void leg_free(struct edge *edge, struct leg *leg);
// It is on its way out: findable by its reference, in the peer's list.
void leg_start(struct edge *edge, struct leg *leg);
uint64_t leg_ref(const struct edge *edge, const struct leg *leg);
// It is not out any more; it stays in its send's list.
void leg_stop(struct edge *edge, struct leg *leg);
// NULL if there is none of this reference.
struct leg *leg_find(const struct edge *edge, uint64_t ref);
