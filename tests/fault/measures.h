// measures.h: what the driver counts and how long things took, since the last mark.
//
// Counts are kept for the window and for the whole run; durations for the window only.
// Everything is kept apart for the two groups: a send belongs to the victims if one of its
// ends was on a victim when it was sent, else to the others.
#pragma once

#include <stdint.h>
#include <stdio.h>

#include "proto/tables.h"
#include "tests/bench/hist.h"

enum group { GROUP_OTHERS, GROUP_VICTIMS, GROUP_COUNT };

// 1000 to 1015 and 4000 to 4111.
#define CLOSE_SLOTS 128
#define STATUS_SLOTS 600

// Nothing but uint64_t, so that one loop adds two of them.
struct counts {
    uint64_t sends[GROUP_COUNT];
    uint64_t sent[GROUP_COUNT];
    uint64_t rejected[GROUP_COUNT][REASON_COUNT]; // Outcome
    uint64_t failed[GROUP_COUNT][REASON_COUNT];   // Failure
    uint64_t unknown[GROUP_COUNT];                // the sender's connection ended first
    uint64_t overdue[GROUP_COUNT];                // no answer within 5 s on a living connection
    uint64_t answered_twice;
    uint64_t arrived[GROUP_COUNT];
    uint64_t doubled;
    uint64_t doubled_moving; // on the old connection and on the new
    uint64_t disordered;
    uint64_t disordered_moving; // to one who had just moved
    uint64_t late;              // after its expiry
    uint64_t strange;           // frames and messages nobody sent
    uint64_t logins;
    uint64_t reconnects;    // logins after a loss
    uint64_t resets;        // of a login, without a close frame
    uint64_t silences;      // nothing heard for too long: left by the client
    uint64_t refused;       // connections that were not established
    uint64_t timeouts;      // connection attempts that came to nothing in time
    uint64_t failures;      // of Hello
    uint64_t go_aways;      // GoAway events
    uint64_t go_away_slots; // of these: with a time to come back
    uint64_t go_away_urls;  // of these: with a place to go to
    uint64_t closes[CLOSE_SLOTS];
    uint64_t statuses[STATUS_SLOTS]; // of refused handshakes
};

struct measures {
    struct counts now;   // since the mark
    struct counts total; // before it
    uint64_t began_us;   // the mark
    uint64_t slot_max_ms;
    uint64_t logins_max_per_s;       // most logins within one second
    uint64_t gap_max_us;             // longest turn of the driver itself
    struct hist travel[GROUP_COUNT]; // from sending to arrival
    struct hist answer[GROUP_COUNT]; // from sending to the outcome
    struct hist lag;                 // how much later than asked for the driver was woken
    struct hist away;                // from the loss of a login to the next
    struct hist login;               // from connecting to Welcome
};

// Where a close code is counted; unknown ones share the last slot.
unsigned close_slot(unsigned code);
// A new window begins.
void measures_mark(struct measures *measures, uint64_t now_us);
// "window": {...}, "total": {...}
void measures_print(const struct measures *measures, uint64_t now_us, FILE *out);
