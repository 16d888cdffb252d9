// faults.c: what goes wrong. Each run has its own mixture: many kinds of fault at once hide
// from each other what they do, so most runs have some of them, and some have one a lot.
//
// A process is killed and started again, drained (SIGTERM), paused (SIGSTOP), or loses
// Redis or NATS, each alone; Redis loses its data, stops for a while, freezes and then
// executes what waited, has its clock put forward and back, or loses one lease.
#include <stdlib.h>

#include "tests/sim/world.h"

enum {
    LONGEST_CUT_MS = 2 * LEASE_MS,
    LONGEST_PAUSE_MS = 4 * LEASE_MS,
    LONGEST_FLAP_MS = 300,
    FLAP_AFTER_MS = 20, // what was asked at once has been executed, or also answered
    LONGEST_DOWN_MS = 15000,
    LONGEST_JUMP_MS = 60000,
    DRAIN_LOOK_MS = 100,
    DRAIN_MS = 10000,
    DRAIN_CLOSES = 2, // per look
};

static unsigned
draw(struct world *world, unsigned usual)
{
    uint64_t dice = world_below(world, 5);
    return dice < 2 ? 0 : dice < 4 ? usual : 4 * usual;
}

// What some rules are for is rare. Their runs have these alone.
struct favoured {
    enum rule rule;
    struct faults faults;
};
static const struct favoured favoured[] = {
    {RULE_EPOCH_ABOVE, {.jumps = 8, .kicks_lost = 800, .moves = 80}},
    {RULE_LOGIN_AGE, {.redis_cuts = 16, .moves = 80}},
    {RULE_SUPERSEDED, {.kicks_lost = 800, .moves = 80}},
    {RULE_VERIFY_CYCLE, {.kicks_lost = 800, .moves = 80}},
    {RULE_LOST, {.evictions = 16, .nats_cuts = 16}},
    {RULE_TAKEN, {.redis_cuts = 12, .flaps = 900, .evictions = 8}},
    {RULE_OWN_CLOCK, {.redis_cuts = 12, .flaps = 900}},
    {RULE_GEN, {.restarts = 6, .flaps = 900}},
    {RULE_INDEX_FIRST, {.halves = 40, .kills = 16}},
    {RULE_ONE_AT_A_TIME, {.kills = 16, .moves = 80}},
    {RULE_LOOK, {.redis_cuts = 16, .flaps = 500, .moves = 80}},
    {RULE_KICK_EXACT, {.moves = 400, .slow = 300}},
    {RULE_REREAD, {.nats_cuts = 16, .moves = 80}},
    {RULE_LEASE_AT_READ, {.pauses = 1, .kills = 1, .no_sweepers = true}},
    {RULE_UNHEARD, {.invalidates_lost = 800, .kills = 12}},
    {RULE_REAP_LEASE, {.pauses = 12, .redis_cuts = 16, .stalls = 500}},
    {RULE_REAP_FENCE, {.pauses = 12, .redis_cuts = 16, .stalls = 500}},
    {RULE_FENCE_CLOCK, {.flushes = 8, .kills = 24, .stalls = 500}},
    {RULE_ANEW, {.restarts = 6, .pauses = 12}},
    {RULE_CLOCK_JUMP, {.jumps = 16, .kills = 40, .nats_cuts = 16}},
    {RULE_SETTLED, {.restarts = 6, .kills = 16, .nats_cuts = 16}},
    {RULE_HOLD, {.pauses = 8, .moves = 80, .kicks_lost = 800}},
    {RULE_SCRUB, {.flushes = 20, .kills = 40, .no_row_scrub = true}},
    {RULE_SCRUB_ROWS, {.flushes = 20, .kills = 40, .halves = 40, .evictions = 8, .jumps = 4}},
};

static bool
favour(struct world *world)
{
    for (size_t i = 0; i < sizeof(favoured) / sizeof(favoured[0]); i++) {
        if (favoured[i].rule != world->favours)
            continue;
        world->faults = favoured[i].faults;
        return true;
    }
    return false;
}

void
faults_draw(struct world *world)
{
    if (favour(world))
        return;
    world->faults = (struct faults){
        .lost = draw(world, 10),
        .slow = draw(world, 5),
        .kicks_lost = draw(world, 200),
        .invalidates_lost = draw(world, 200),
        .kills = draw(world, 4),
        .drains = draw(world, 2),
        .pauses = draw(world, 3),
        .redis_cuts = draw(world, 4),
        .nats_cuts = draw(world, 4),
        .flaps = draw(world, 200),
        .halves = draw(world, 10),
        .stalls = draw(world, 10),
        .flushes = draw(world, 1),
        .restarts = draw(world, 1),
        .freezes = draw(world, 1),
        .jumps = draw(world, 1),
        .evictions = draw(world, 2),
        .moves = draw(world, 20),
        .no_sweepers = world_below(world, 6) == 0,
        .no_row_scrub = world_chance(world, 500),
    };
}

// Processes.

struct errand {
    struct process *process;
    uint64_t life;
    uint64_t until_ms;
};

static struct errand *
errand_new(struct process *process)
{
    struct errand *errand = malloc(sizeof(*errand));
    if (errand == NULL)
        abort();
    *errand = (struct errand){.process = process, .life = process->life};
    return errand;
}

static void
on_restart(void *arg)
{
    struct errand *errand = arg;
    struct process *process = errand->process;
    if (process->life == errand->life && !process->is_running && !process->world->is_ending)
        process_start(process);
    free(errand);
}

static void
kill_for_a_while(struct process *process)
{
    struct world *world = process->world;
    process_kill(process);
    if (process->is_edge || !world->faults.no_sweepers)
        world_plan(world, NULL, world_below(world, 3 * LEASE_MS / 2), on_restart,
                   errand_new(process));
}

void
process_pause(struct process *process, uint64_t for_ms)
{
    struct world *world = process->world;
    uint64_t until_ms = world->now_ms + for_ms;
    if (until_ms <= process->paused_until_ms)
        return;
    world_trace(world, "%s stands still for %llu ms", process->id, (unsigned long long)for_ms);
    if (process->paused_until_ms <= world->now_ms)
        process->paused_from_ms = world->now_ms;
    process->paused_until_ms = until_ms;
    store_stands_still(process);
    process_trouble(process, until_ms);
}

static void
on_broken(void *arg)
{
    struct errand *errand = arg;
    if (errand->process->life == errand->life)
        process_notice(errand->process);
    free(errand);
}

void
process_break_redis(struct process *process, uint64_t for_ms)
{
    struct world *world = process->world;
    uint64_t until_ms = world->now_ms + for_ms;
    if (until_ms <= process->redis_cut_until_ms)
        return;
    world_trace(world, "%s loses Redis for %llu ms", process->id, (unsigned long long)for_ms);
    process->redis_cut_until_ms = until_ms;
    process_trouble(process, until_ms + 1000);
    world_plan(world, process, 0, on_broken, errand_new(process));
    world_plan(world, process, for_ms, on_broken, errand_new(process));
}

static void
on_flap(void *arg)
{
    struct errand *errand = arg;
    struct world *world = errand->process->world;
    if (errand->process->life == errand->life && !world->is_calm)
        process_break_redis(errand->process, 1 + world_below(world, LONGEST_FLAP_MS));
    free(errand);
}

void
faults_flap(struct process *process)
{
    struct world *world = process->world;
    if (!world->is_calm && world_chance(world, world->faults.flaps))
        world_plan(world, NULL, world_below(world, FLAP_AFTER_MS), on_flap, errand_new(process));
}

static void
cut_redis(struct process *process)
{
    struct world *world = process->world;
    uint64_t for_ms = world_below(world, LONGEST_CUT_MS);
    // Half of them are noticed when the next beat is due, as a cable that is pulled is.
    if (world_chance(world, 500)) {
        process_break_redis(process, 1 + for_ms);
        return;
    }
    world_trace(world, "%s is cut off from Redis for %llu ms", process->id,
                (unsigned long long)for_ms);
    process->redis_cut_until_ms = world->now_ms + for_ms;
    process_trouble(process, process->redis_cut_until_ms + 1000);
}

static void
cut_nats(struct process *process)
{
    struct world *world = process->world;
    uint64_t for_ms = world_below(world, LONGEST_CUT_MS);
    world_trace(world, "%s is cut off from NATS for %llu ms", process->id,
                (unsigned long long)for_ms);
    process->nats_cut_until_ms = world->now_ms + for_ms;
    process_trouble(process, process->nats_cut_until_ms + 1000);
}

// SIGTERM, as leave.c does it.

static void
on_exit_due(void *arg)
{
    struct errand *errand = arg;
    if (errand->process->life == errand->life)
        kill_for_a_while(errand->process);
    free(errand);
}

static void
on_released(void *arg, int error)
{
    struct errand *errand = arg;
    (void)error; // the lease ends by itself
    world_plan(errand->process->world, NULL, 0, on_exit_due, errand);
}

static bool
close_some(struct process *process)
{
    unsigned closed = 0;
    bool is_empty = true;
    for (struct conn *conn = process->world->conns; conn != NULL; conn = conn->next) {
        if (conn->edge != process || !conn_is_open(conn))
            continue;
        is_empty = false;
        if (!conn->is_closing && closed++ < DRAIN_CLOSES)
            conn_close(conn, CLOSE_DRAINING);
    }
    return is_empty;
}

static void
on_drain(void *arg)
{
    struct errand *errand = arg;
    struct process *process = errand->process;
    struct world *world = process->world;
    if (process->life != errand->life) {
        free(errand);
        return;
    }
    bool is_empty = close_some(process);
    if (world->now_ms < errand->until_ms &&
        (!is_empty || !registry_is_settled(&process->edge) || process->edge.lease.is_beating)) {
        world_plan(world, process, DRAIN_LOOK_MS, on_drain, errand);
        return;
    }
    process->is_leaving = true;
    store_release(process->edge.store, process->id, on_released, errand);
}

static void
on_term(void *arg)
{
    struct errand *errand = arg;
    struct process *process = errand->process;
    if (process->life != errand->life) {
        free(errand);
        return;
    }
    world_trace(process->world, "%s drains", process->id);
    edge_start_drain(&process->edge);
    errand->until_ms = process->world->now_ms + DRAIN_MS;
    world_plan(process->world, process, 0, on_drain, errand);
}

static void
drain(struct process *process)
{
    if (!process->is_edge || process->edge.is_draining)
        return;
    process_trouble(process, UINT64_MAX);
    world_plan(process->world, process, 0, on_term, errand_new(process));
}

// Redis.

// Forward, and some time later back again.
static void
jump(struct world *world)
{
    if (redis_offset_ms(world->redis) != 0)
        redis_jump(world->redis, -redis_offset_ms(world->redis));
    else
        redis_jump(world->redis, 1 + (int64_t)world_below(world, LONGEST_JUMP_MS));
}

static void
restart_redis(struct world *world)
{
    uint64_t for_ms = 1 + world_below(world, LONGEST_DOWN_MS);
    redis_restart(world->redis, for_ms);
    if (world_chance(world, 300))
        redis_flush(world->redis);
    for (size_t i = 0; i < MAX_PROCESSES; i++)
        if (world->processes[i].is_running)
            process_break_redis(&world->processes[i], for_ms);
}

static void
trouble_redis(struct world *world)
{
    const struct faults *faults = &world->faults;
    if (world_chance(world, faults->flushes))
        redis_flush(world->redis);
    if (world_chance(world, faults->restarts))
        restart_redis(world);
    if (world_chance(world, faults->freezes))
        redis_freeze(world->redis, world_below(world, LONGEST_DOWN_MS));
    if (world_chance(world, faults->jumps))
        jump(world);
}

void
faults_act(struct world *world)
{
    const struct faults *faults = &world->faults;
    struct process *process = &world->processes[world_below(world, MAX_PROCESSES)];
    trouble_redis(world);
    if (faults->no_sweepers && !process->is_edge && process->is_running)
        process_kill(process);
    if (!process->is_running)
        return;
    if (world_chance(world, faults->pauses)) {
        uint64_t longest_ms = world_chance(world, 300) ? 2000 : LONGEST_PAUSE_MS;
        process_pause(process, 1 + world_below(world, longest_ms));
    }
    if (world_chance(world, faults->redis_cuts))
        cut_redis(process);
    if (world_chance(world, faults->nats_cuts))
        cut_nats(process);
    if (process->is_edge && world_chance(world, faults->evictions)) {
        redis_evict(world->redis, process->id);
        process_trouble(process, world->now_ms);
    }
    if (world_chance(world, faults->drains))
        drain(process);
    if (world_chance(world, faults->kills))
        kill_for_a_while(process);
}

void
faults_end(struct world *world)
{
    world_trace(world, "calm");
    world->is_calm = true;
    for (size_t i = 0; i < MAX_PROCESSES; i++) {
        struct process *process = &world->processes[i];
        process->redis_cut_until_ms = 0;
        process->nats_cut_until_ms = 0;
        if (!process->is_running)
            process_start(process);
    }
}
