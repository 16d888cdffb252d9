// idle.c: users that do nothing, then say one thing each, then do nothing.
//
// Marks, for whoever watches the servers' memory: `empty` before the first login, `idle`,
// `busy` when each has said its one thing, and `after` as long again after that.
#include <stdio.h>

#include "tests/bench/load.h"

int
run_idle(const struct load_opts *opts)
{
    static struct pairs pairs;
    static struct phase quiet;
    struct crowd *crowd = &pairs.crowd;
    struct load_opts halves = *opts;
    halves.pairs = opts->users / 2;
    pairs_init(&pairs, &halves, 0);
    mark(opts, crowd, "empty");
    open_or_end(crowd, opts);
    linger(crowd, 2);
    mark(opts, crowd, "idle");
    phase_begin(&quiet, &opts->meter);
    linger(crowd, opts->seconds);
    phase_end(&quiet, &opts->meter, crowd);
    phase_begin(&pairs.phase, &opts->meter);
    for (uint32_t i = 0; i < pairs.count; i++) {
        pairs_send(&pairs, i, now_ns());
        crowd_turn(crowd, 0);
    }
    phase_end(&pairs.phase, &opts->meter, crowd);
    mark(opts, crowd, "busy");
    linger(crowd, opts->seconds);
    mark(opts, crowd, "after");
    printf("{\"result\": \"idle\", \"quiet\": {");
    meter_print(&opts->meter, &quiet.begin, &quiet.end, stdout);
    printf("}, ");
    phase_print(&pairs.phase, &opts->meter, stdout);
    printf(", ");
    crowd_print(crowd, stdout);
    printf("}\n");
    pairs_fini(&pairs);
    return 0;
}
