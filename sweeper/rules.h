// rules.h: when is an edge dead? A page of rules, with the clock passed in.
//
//   Heard within SUSPECT_MS, or its lease exists and it was never heard of: ALIVE.
//   Not heard for SUSPECT_MS, lease exists: SUSPECT. Its lease is looked at every round.
//   No lease: DEAD. The lease alone decides: an edge whose heartbeats are lost on the way
//   still holds it, and one that is paused past its end knows that it must start anew.
//
// A node that gets its lease back while it is being reaped is ALIVE again: the scripts
// refuse to reap it, and the edge verifies all of its links itself.
#pragma once

#include <stdbool.h>
#include <stdint.h>

// Three heartbeats of a second each.
#define SUSPECT_MS 3000

enum node_state { NODE_NEW, NODE_ALIVE, NODE_SUSPECT, NODE_DEAD };

struct node_facts {
    bool has_lease;
    uint64_t heard_ms;      // last heartbeat, monotonic; 0: never
    uint64_t first_seen_ms; // in the directory
};

enum node_state rules_judge(const struct node_facts *facts, uint64_t now_ms);
const char *rules_name(enum node_state state);

// How many links may be removed now so that no second sees more than `per_second`.
struct pace {
    uint64_t second; // the one counted, now_ms / 1000
    uint64_t used;
};
uint64_t pace_left(struct pace *pace, uint64_t per_second, uint64_t now_ms);
