// sim.c: seeded runs of a whole cluster under faults.
//
//   sim                    the default number of runs, from seed 1
//   sim --runs N --seed S  N runs from seed S on
//
// A run that fails prints its seed; `sim --runs 1 --seed S` repeats it exactly.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edge/frame.h"
#include "lib/base/log.h"
#include "tests/sim/world.h"

enum { DEFAULT_RUNS = 150, FAULTY_MS = 60000, CALM_MS = 90000, ACTION_MS = 60 };

static const struct faults faults = {
    .lost_per_mille = 20, .kills = 8, .pauses = 6, .cuts = 6, .flushes = 3, .moves = 20};

static void
on_action(void *arg)
{
    struct world *world = arg;
    if (world->is_calm)
        return;
    clients_act(world);
    check_late(world);
    world_plan(world, NULL, 1 + world_below(world, ACTION_MS), on_action, world);
}

static void
calm(struct world *world)
{
    world->is_calm = true;
    for (size_t i = 0; i < MAX_PROCESSES; i++) {
        struct process *process = &world->processes[i];
        process->redis_cut_until_ms = 0;
        process->nats_cut_until_ms = 0;
        if (!process->is_running)
            process_start(process);
    }
}

// False: something that must hold did not.
static bool
run(uint64_t seed, char *trouble, size_t size)
{
    struct world *world = world_new(seed, &faults);
    clients_start(world);
    world_plan(world, NULL, 3000, on_action, world);
    world_run(world, FAULTY_MS);
    calm(world);
    world_run(world, world->now_ms + CALM_MS);
    check_late(world);
    check_calm(world);
    if (!world->has_failed)
        check_reachable(world);
    bool ok = !world->has_failed;
    snprintf(trouble, size, "%s", world->trouble);
    world_free(world);
    return ok;
}

int
main(int argc, char **argv)
{
    unsigned long long runs = DEFAULT_RUNS;
    unsigned long long seed = 1;
    char trouble[256];
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--runs") == 0)
            runs = strtoull(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--seed") == 0)
            seed = strtoull(argv[i + 1], NULL, 10);
        else
            return EXIT_USAGE;
    }
    log_setup(LOG_ERROR, LOG_TEXT, NULL);
    unsigned long long failed = 0;
    for (unsigned long long i = 0; i < runs; i++) {
        if (run(seed + i, trouble, sizeof(trouble)))
            continue;
        printf("seed %llu: %s\n", seed + i, trouble);
        failed++;
    }
    frame_pool_drain();
    printf("%llu runs, %llu failed\n", runs, failed);
    return failed == 0 ? 0 : 1;
}
