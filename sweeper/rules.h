// rules.h: when is an edge dead? A page of rules, with the clock passed in.
//
//   Heard within SUSPECT_MS, or its lease exists and it was never heard of: ALIVE.
//   Not heard for SUSPECT_MS, or nobody listens on its subject, and lease exists: SUSPECT.
//   No lease: DEAD. The lease alone decides: an edge whose heartbeats are lost on the way
//   still holds it, and one that is paused past its end knows that it must start anew.
//   But who is heard all the same has not died: Redis lost its lease, with its data or its
//   clock. It is SUSPECT for RETAKE_MS, in which it takes its lease again if it can.
//   Many die at once: more likely it is Redis that is wrong, its clock or its data, than
//   all of them. Nothing is reaped for a while; who lives takes its lease again meanwhile.
//   The same while Redis has just been started, when its clock jumped, and when it was away
//   for so long that leases may have ended since nobody could renew them.
//
// A node that gets its lease back while it is being reaped is ALIVE again: the scripts
// refuse to reap it, and the edge verifies all of its links itself.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/keys.h"

// Three heartbeats of a second each.
#define SUSPECT_MS 3000
// Two renewals, and a second for the way.
#define RETAKE_MS (2 * LEASE_RENEW_MS + 1000)
// So many nodes, and so large a part of all, within a lease's time are a mass death. Two may
// always die together: a machine with two edges.
#define MASS_DEATHS_MIN 3
#define MASS_DEATH_PERCENT 30
// Rows of the dead count for nothing meanwhile, so holding costs memory of Redis alone.
#define MASS_DEATH_HOLD_MS (3 * LEASE_MS)

// Redis was away: an edge that was about to renew when it went had LEASE_MS - LEASE_RENEW_MS
// left, so with this it has 4 s more, the time for any reconnect and a renewal.
#define REDIS_AWAY_MS 4000
// All who live have renewed within it. So long nothing is reaped after Redis was away, and
// after our own start: a clock that jumped just before would not be noticed.
#define WATCH_MS LEASE_MS

enum node_state { NODE_NEW, NODE_ALIVE, NODE_SUSPECT, NODE_DEAD };

struct node_facts {
    bool has_lease;
    uint64_t heard_ms;      // last heartbeat, monotonic; 0: never
    uint64_t first_seen_ms; // in the directory
    uint64_t lease_gone_ms; // since when it was seen without a lease; 0: it has one
    bool is_unheard;        // nobody listened; until the next heartbeat
};

// Its heartbeats are.
bool rules_is_heard(const struct node_facts *facts, uint64_t now_ms);
enum node_state rules_judge(const struct node_facts *facts, uint64_t now_ms);
// Of `nodes` there were, `died` lost their lease within the last LEASE_MS.
bool rules_is_mass_death(size_t died, size_t nodes);
// Whether every living edge has had the time to renew since Redis was started.
bool rules_redis_is_settled(uint64_t up_ms);
const char *rules_name(enum node_state state);

// How many links may be removed now so that no second sees more than `per_second`.
struct pace {
    uint64_t second; // the one counted, now_ms / 1000
    uint64_t used;
};
uint64_t pace_left(struct pace *pace, uint64_t per_second, uint64_t now_ms);
