// load.h: what the modes of load share: options, marks, and a measured phase.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "tests/bench/crowd.h"
#include "tests/bench/hist.h"
#include "tests/bench/meter.h"

struct load_opts {
    enum speech speech;
    uint16_t ports[CROWD_PORTS];
    unsigned port_count;
    const char *secret;
    bool step;      // wait for a line on stdin at each mark
    uint32_t first; // number of the first user

    double rate;     // messages (pairs) or deliveries (fanout) a second; 0: closed loop
    double warm_s;   // not measured
    double seconds;  // measured
    uint32_t window; // closed loop: messages of a pair under way
    uint64_t limit;  // closed loop: messages of the measured phase; 0: as many as fit
    uint32_t body;
    bool wants_outcome;

    uint32_t pairs, idle, audience, burst, users, in_flight, block;
    bool broadcast;
    pid_t freeze; // an edge that is stopped while a turn's messages are written
    uint32_t turns;
    struct meter meter;
};

// One phase between two marks.
struct phase {
    struct meter_reading begin, end;
    struct hist latency; // from the due time to the arrival
    uint64_t sent;       // receivers x messages
    uint64_t delivered;  // distinct
    uint64_t duplicates, late;
};

void phase_begin(struct phase *phase, const struct meter *meter);
// Counts an arrival.
void phase_arrival(struct phase *phase, struct tally *tally, uint32_t number, uint64_t took_ns);
// Turns until everything sent has arrived, or nothing came for two seconds; then reads the
// meter, and gives what should not come 50 ms.
void phase_end(struct phase *phase, const struct meter *meter, struct crowd *crowd);
void phase_print(const struct phase *phase, const struct meter *meter, FILE *out);

// Prints {"mark": name}, and with --step waits for a line while it serves the crowd.
void mark(const struct load_opts *opts, struct crowd *crowd, const char *name);
// Turns for so long.
void linger(struct crowd *crowd, double seconds);
// Sets up a crowd of the options' kind. Ends the program if logging in fails.
void start_crowd(struct crowd *crowd, const struct load_opts *opts, uint32_t capacity);
void open_or_end(struct crowd *crowd, const struct load_opts *opts);

// Pairs of users, and the messages from the first to the second of each.
struct pairs {
    const struct load_opts *opts;
    struct crowd crowd;
    uint32_t count;
    struct phrase *phrases; // one per pair
    uint32_t *numbers;      // sent so far on each
    struct phase phase;
    bool is_closed;   // each arrival brings the next message,
    uint64_t budget;  // while there is one
    uint64_t stop_ns; // and before this
};

void pairs_init(struct pairs *pairs, const struct load_opts *opts, uint32_t more_members);
void pairs_fini(struct pairs *pairs);
void pairs_send(struct pairs *pairs, uint32_t pair, uint64_t due_ns);
// Message number `index` of a schedule at opts->rate that began at start_ns.
uint64_t pairs_due(const struct load_opts *opts, uint64_t start_ns, uint64_t index);
uint32_t pairs_turn_of(const struct pairs *pairs, uint64_t index);

int run_pairs(const struct load_opts *opts);
int run_fanout(const struct load_opts *opts);
int run_idle(const struct load_opts *opts);
int run_storm(const struct load_opts *opts);
