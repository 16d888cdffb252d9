// roundtrip.h: a message of the edge's own, on the way that users' messages go.
//
// Every ROUNDTRIP_MS:
// 1. the directory is asked for the links of a user, as for any send;
// 2. an envelope for nobody is published to this edge's own subject;
// 3. it comes back, is decoded like any other, and is made into a frame for a connection
//    that is not there.
// So what each dependency says of itself (connected, lease held) is checked by using it. It
// costs one command and one message each time, and counts in none of the counters of users'
// messages but those of NATS itself.
//
// No answer, a refusal, a message that does not come back: tried again at the next turn of
// the clock. After ROUNDTRIP_FAIL_MS without a success /readyz says 503; when the messages
// themselves do not come back for as long, clients are refused too: they would be deaf here.
// One thread.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "switchyard/bus/v1/bus.pb-c.h"

struct edge;

#define ROUNDTRIP_MS 2000
// Two that failed. A success may be as old as the first of them when something breaks: it shows
// within these 4 s, and the second it takes to look.
#define ROUNDTRIP_FAIL_MS 4000
// Any id would do: nothing is written, and whoever has this one is not disturbed.
#define ROUNDTRIP_USER "roundtrip"

enum roundtrip_stage { ROUNDTRIP_DONE, ROUNDTRIP_IN_REDIS, ROUNDTRIP_IN_NATS };

struct roundtrip {
    uint64_t number;     // of the last one begun, from 1
    uint64_t first_ms;   // when the first began, monotonic; 0: none yet
    uint64_t begun_ms;   // the last one
    uint64_t begun_us;   // likewise, by edge->clock_us
    uint64_t ok_ms;      // when one came back last; 0: none yet
    uint64_t took_us;    // that one; stale while ok_ms is 0
    uint64_t unheard_ms; // since when what is published does not come back; 0: it does
    bool is_asking;      // Redis has not answered
    uint8_t stage;       // enum roundtrip_stage: how far the last one is, or came
};

// Once a second.
void roundtrip_tick(struct edge *edge);
// An envelope of this edge for nobody has arrived.
void roundtrip_heard(struct edge *edge, const Switchyard__Bus__V1__Envelope *envelope);
void roundtrip_bus_state(struct edge *edge, bool up);
// A success is recent, or it is too early to tell.
bool roundtrip_is_well(const struct edge *edge);
bool roundtrip_is_deaf(const struct edge *edge);
// Since the last success; since the first try if there was none; 0 before that.
uint64_t roundtrip_age_ms(const struct edge *edge);
// How far it comes, for people.
const char *roundtrip_describe(const struct edge *edge);
