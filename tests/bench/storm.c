// storm.c: --users logins, --in-flight at a time, perhaps with traffic of --pairs at
// --rate beside them.
//
// A login is from connect to Welcome. `growth` is the servers' CPU time per login for each
// --block of logins: flat if a login costs the same whoever is there already. With traffic
// the CPU time is that of both, so cost and latency are two runs.
#include <stdio.h>
#include <stdlib.h>

#include "tests/bench/load.h"

#define MAX_BLOCKS 64
#define STORM_LIMIT_S 120

struct storm {
    struct pairs pairs;
    struct hist logins;
    uint32_t before; // live when the storm began
    uint32_t block;
    unsigned blocks;
    struct meter_reading readings[MAX_BLOCKS + 1];
    uint64_t begin_ns, end_ns;
};

static void (*pass_message)(void *arg, struct member *member, const struct stamp *stamp,
                            uint64_t now);

static void
on_live(void *arg, struct member *member, uint64_t now)
{
    struct storm *storm = arg;
    struct crowd *crowd = &storm->pairs.crowd;
    if (storm->begin_ns == 0)
        return; // of the traffic beside
    hist_add(&storm->logins, now - member->began_ns);
    storm->end_ns = now;
    uint32_t done = crowd->live - storm->before;
    if (done % storm->block == 0 && storm->blocks < MAX_BLOCKS)
        meter_read(&storm->pairs.opts->meter, &storm->readings[++storm->blocks]);
}

static void
on_message(void *arg, struct member *member, const struct stamp *stamp, uint64_t now)
{
    struct storm *storm = arg;
    pass_message(&storm->pairs, member, stamp, now);
}

static void
print_growth(const struct storm *storm)
{
    const struct meter *meter = &storm->pairs.opts->meter;
    printf("\"growth\": [");
    for (unsigned i = 0; i < storm->blocks; i++) {
        printf("%s{\"logins\": %u, ", i > 0 ? ", " : "", (i + 1) * storm->block);
        meter_print(meter, &storm->readings[i], &storm->readings[i + 1], stdout);
        printf("}");
    }
    printf("], ");
}

// Logs all in, with the traffic that is due meanwhile.
static void
run(struct storm *storm)
{
    struct pairs *pairs = &storm->pairs;
    struct crowd *crowd = &pairs->crowd;
    const struct load_opts *opts = pairs->opts;
    uint64_t start = now_ns();
    uint64_t sent = 0;
    storm->before = crowd->live;
    storm->begin_ns = start;
    crowd_want_all(crowd, opts->in_flight);
    while (crowd->live < crowd->wanted && crowd->lost == 0 &&
           now_ns() < start + STORM_LIMIT_S * (uint64_t)1000000000) {
        uint64_t now = now_ns();
        uint64_t due = pairs->count > 0 ? pairs_due(opts, start, sent) : now + 10000000;
        for (unsigned burst = 0; burst < 64 && due <= now; burst++) {
            pairs_send(pairs, pairs_turn_of(pairs, sent), due);
            due = pairs_due(opts, start, ++sent);
        }
        now = now_ns();
        crowd_turn(crowd, due > now ? due - now : 0);
    }
}

int
run_storm(const struct load_opts *opts)
{
    static struct storm storm;
    struct pairs *pairs = &storm.pairs;
    struct crowd *crowd = &pairs->crowd;
    pairs_init(pairs, opts, opts->users);
    pass_message = crowd->on_message;
    crowd->on_message = on_message;
    crowd->on_live = on_live;
    crowd->arg = &storm;
    storm.block = opts->block;
    open_or_end(crowd, opts); // those of the traffic
    for (uint32_t i = 0; i < opts->users; i++)
        crowd_add(crowd, ROLE_ONE, opts->ports[i % opts->port_count]);
    mark(opts, crowd, "begin");
    phase_begin(&pairs->phase, &opts->meter);
    storm.readings[0] = pairs->phase.begin;
    run(&storm);
    phase_end(&pairs->phase, &opts->meter, crowd);
    mark(opts, crowd, "end");
    printf("{\"result\": \"storm\", \"logins\": %llu, \"storm_s\": %.3f, \"login_us\": ",
           (unsigned long long)storm.logins.count, (double)(storm.end_ns - storm.begin_ns) / 1e9);
    hist_print(&storm.logins, stdout);
    printf(", ");
    print_growth(&storm);
    phase_print(&pairs->phase, &opts->meter, stdout);
    printf(", ");
    crowd_print(crowd, stdout);
    printf("}\n");
    pairs_fini(pairs);
    return 0;
}
