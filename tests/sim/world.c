// world.c: time is a heap of events; a process's events wait while it is paused and are
// void after it was killed.
#include "tests/sim/world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edge/send.h"

#define WALL_START_MS 1700000000000ull
#define COMMAND_TIMEOUT_MS 1000

uint64_t
world_below(struct world *world, uint64_t below)
{
    return rng_below(&world->rng, below);
}

bool
world_chance(struct world *world, unsigned per_mille)
{
    return world_below(world, 1000) < per_mille;
}

uint64_t
world_wall_ms(const struct world *world)
{
    return WALL_START_MS + world->now_ms;
}

bool
world_keeps(const struct world *world, enum rule rule)
{
    return world->without != rule;
}

void
world_trace(const struct world *world, const char *format, ...)
{
    va_list args;
    if (!world->is_traced)
        return;
    printf("%6llu.%03llu  ", (unsigned long long)(world->now_ms / 1000),
           (unsigned long long)(world->now_ms % 1000));
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
}

void
world_fail(struct world *world, const char *format, ...)
{
    va_list args;
    if (world->has_failed)
        return;
    world->has_failed = true;
    va_start(args, format);
    vsnprintf(world->trouble, sizeof(world->trouble), format, args);
    va_end(args);
    world_trace(world, "VIOLATION %s", world->trouble);
}

// The heap.

static bool
is_before(const struct event *a, const struct event *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->number < b->number;
}

static void
push(struct world *world, struct event event)
{
    if (world->heap_count == world->heap_room) {
        world->heap_room = world->heap_room == 0 ? 1024 : 2 * world->heap_room;
        world->heap = realloc(world->heap, world->heap_room * sizeof(*world->heap));
        if (world->heap == NULL)
            abort();
    }
    size_t at = world->heap_count++;
    for (; at > 0 && is_before(&event, &world->heap[(at - 1) / 2]); at = (at - 1) / 2)
        world->heap[at] = world->heap[(at - 1) / 2];
    world->heap[at] = event;
}

static struct event
pop(struct world *world)
{
    struct event first = world->heap[0];
    struct event last = world->heap[--world->heap_count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= world->heap_count)
            break;
        if (child + 1 < world->heap_count &&
            is_before(&world->heap[child + 1], &world->heap[child]))
            child++;
        if (!is_before(&world->heap[child], &last))
            break;
        world->heap[at] = world->heap[child];
        at = child;
    }
    world->heap[at] = last;
    return first;
}

void
world_plan(struct world *world, struct process *process, uint64_t delay_ms, event_cb *run,
           void *arg)
{
    push(world, (struct event){
                    .at_ms = world->now_ms + delay_ms,
                    .number = world->next_event++,
                    .run = run,
                    .arg = arg,
                    .process = process,
                    .life = process != NULL ? process->life : 0,
                });
}

static void
run_event(struct world *world, struct event event)
{
    struct process *process = event.process;
    if (process == NULL) {
        event.run(event.arg);
        return;
    }
    // A killed process's events still run, so that what they hold is freed; they must
    // look at is_running and life themselves through process_enter's users.
    if (process->life == event.life && process->paused_until_ms > world->now_ms) {
        event.at_ms = process->paused_until_ms;
        push(world, event); // keeps its number: order is kept
        return;
    }
    if (process->life == event.life)
        process_enter(process);
    event.run(event.arg);
    if (process->life == event.life)
        process_leave(process);
}

void
world_run(struct world *world, uint64_t until_ms)
{
    while (world->heap_count > 0 && world->heap[0].at_ms <= until_ms && !world->has_failed) {
        struct event event = pop(world);
        world->now_ms = event.at_ms;
        run_event(world, event);
    }
    if (!world->has_failed)
        world->now_ms = until_ms;
}

// Processes.

struct beat {
    struct process *process;
    uint64_t life;
};

static struct beat *
beat_of(struct process *process)
{
    struct beat *beat = malloc(sizeof(*beat));
    if (beat == NULL)
        abort();
    *beat = (struct beat){.process = process, .life = process->life};
    return beat;
}

bool
process_has_redis(const struct process *process)
{
    const struct world *world = process->world;
    return process->redis_cut_until_ms <= world->now_ms && !redis_is_down(world->redis);
}

bool
process_has_nats(const struct process *process)
{
    return process->nats_cut_until_ms <= process->world->now_ms;
}

struct process *
process_find(struct world *world, const char *id)
{
    for (size_t i = 0; i < MAX_PROCESSES; i++)
        if (world->processes[i].is_running && strcmp(world->processes[i].id, id) == 0)
            return &world->processes[i];
    return NULL;
}

size_t
process_index(const struct process *process)
{
    return (size_t)(process - process->world->processes);
}

bool
process_is_well_since(const struct process *process, uint64_t since_ms)
{
    return process->is_running && process->trouble_ms <= since_ms;
}

void
process_trouble(struct process *process, uint64_t until_ms)
{
    if (process->trouble_ms < until_ms)
        process->trouble_ms = until_ms;
}

// Whether a frozen Redis has not answered for as long as the store waits.
static bool
has_lost_patience(const struct process *process)
{
    return redis_is_frozen(process->world->redis) &&
           (!process->redis_up || store_waits_ms(process) >= COMMAND_TIMEOUT_MS);
}

// Tells the process what its connections do: a cut is noticed at the next beat.
void
process_notice(struct process *process)
{
    // What was connected to a Redis of before is told so when it runs again.
    bool is_stale = process->redis_up && process->store.boots != redis_boots(process->world->redis);
    bool redis_up = process_has_redis(process) && !has_lost_patience(process) && !is_stale;
    bool nats_up = process_has_nats(process);
    bool redis_changed = redis_up != process->redis_up;
    bool nats_changed = nats_up != process->nats_up;
    process->redis_up = redis_up;
    process->nats_up = nats_up;
    if (redis_changed && !redis_up)
        store_abort(process);
    if (redis_up)
        process->store.boots = redis_boots(process->world->redis);
    if (process->is_edge && nats_changed && (!nats_up || world_keeps(process->world, RULE_REREAD)))
        edge_on_bus_state(&process->edge, nats_up, "sim");
    if (process->is_edge && redis_changed)
        edge_on_store_state(&process->edge, redis_up, "sim");
    if (!process->is_edge && redis_changed && (redis_up || world_keeps(process->world, RULE_ANEW)))
        sweep_on_store_state(&process->sweep, redis_up);
    if (redis_changed && redis_up)
        faults_flap(process);
}

static void
on_wheel(void *arg)
{
    struct beat *beat = arg;
    struct process *process = beat->process;
    if (process->life != beat->life) {
        free(beat);
        return;
    }
    wheel_advance(&process->edge.wheel, process->edge.now_ms);
    world_plan(process->world, process, WHEEL_TICK_MS, on_wheel, beat);
}

static void
on_tick(void *arg)
{
    struct beat *beat = arg;
    struct process *process = beat->process;
    if (process->life != beat->life) {
        free(beat);
        return;
    }
    process_notice(process);
    if (process->is_edge && !process->is_leaving) {
        edge_tick(&process->edge);
    } else if (!process->is_edge) {
        sweep_tick(&process->sweep);
    }
    world_plan(process->world, process, process->is_edge ? 1000 : 500, on_tick, beat);
}

void
process_enter(struct process *process)
{
    struct world *world = process->world;
    if (!world_keeps(world, RULE_HOLD))
        process->edge.pause.seen_ms = 0;
    if (process->is_edge && process->is_running)
        edge_set_clocks(&process->edge, world->now_ms + 1, world_wall_ms(world)); // 0 is never
    process->sweep.now_ms = world->now_ms + 1;
}

// What holds reaping for another reason goes on.
static void
let_go(struct sweep *sweep)
{
    if (sweep->hold_until_ms == sweep->mass_until_ms)
        sweep->hold_until_ms = 0;
}

// Rules that live in a process's own state.
static void
take_rules_out(struct process *process)
{
    const struct world *world = process->world;
    if (!process->is_edge) {
        if (!world_keeps(world, RULE_MASS_DEATH))
            let_go(&process->sweep);
        return;
    }
    for (struct conn *conn = world->conns; conn != NULL; conn = conn->next) {
        if (conn->edge != process || !conn_is_open(conn))
            continue;
        for (struct send *send = conn->session.sends; send != NULL; send = send->next_of_session) {
            if (!world_keeps(world, RULE_DEADLINE))
                wheel_unset(&process->edge.wheel, &send->timer);
            for (uint32_t i = 0; !world_keeps(world, RULE_HOP_BOUND) && i < send->count; i++)
                send->recipients[i].is_retried = false;
        }
    }
}

// Verifies that follow a lost lease, lost data or a pause, not the cycle.
static void
note_burst(struct process *process)
{
    if (process->edge.lease.burst > 0 || edge_is_holding(&process->edge))
        process->verifies_ms = process->world->now_ms + 20000; // also those tried again
}

static void
end_turn(struct process *process)
{
    note_burst(process);
    (void)edge_turn_end(&process->edge);
    bool was_holding = process->is_holding;
    process->is_holding = edge_is_holding(&process->edge);
    if (was_holding && !process->is_holding)
        conns_release(process);
}

void
process_leave(struct process *process)
{
    enum rule without = process->world->without;
    if (!process->is_running)
        return;
    if (process->is_edge)
        end_turn(process);
    if (without == RULE_MASS_DEATH || without == RULE_DEADLINE || without == RULE_HOP_BOUND)
        take_rules_out(process);
}

static void
start_edge(struct process *process)
{
    struct edge *edge = &process->edge;
    memset(edge, 0, sizeof(*edge));
    memcpy(edge->node, process->id, sizeof(edge->node));
    edge->limits = (struct edge_limits){
        .frame_bytes = 4096,
        .pending_bytes = 1024 * 1024,
        .commands_per_second = 1000,
        .hello_timeout_ms = 5000,
        .ping_ms = 5000,
        .route_ttl_ms = world_keeps(process->world, RULE_ROUTE_AGE) ? 10000 : 1000000,
        .max_routes = 100,
        .max_connections = 100,
        .max_devices = DEVICES_MAX_DEFAULT,
    };
    memset(&process->auth, 0, sizeof(process->auth));
    edge->auth = &process->auth;
    edge->store = &process->store;
    edge->bus = &process->bus;
    rng_seed(&edge->rng, rng_next(&process->world->rng));
    process_enter(process);
    edge->started_wall_ms = edge->wall_ms;
    edge_init(edge);
}

static void
start_sweeper(struct process *process)
{
    struct sweep *sweep = &process->sweep;
    memset(sweep, 0, sizeof(*sweep));
    memcpy(sweep->id, process->id, sizeof(sweep->id));
    sweep->store = &process->store;
    sweep->bus = &process->bus;
    sweep->batch = 3;
    sweep->links_per_second = 1000;
    process_enter(process);
    sweep_init(sweep);
}

void
process_start(struct process *process)
{
    struct world *world = process->world;
    process->life++;
    process->is_running = true;
    process->is_leaving = false;
    process->started_ms = world->now_ms;
    process->trouble_ms = world->now_ms;
    process->verifies_ms = 0;
    process->paused_until_ms = 0;
    process->redis_cut_until_ms = 0;
    process->nats_cut_until_ms = 0;
    process->redis_up = true;
    process->nats_up = true;
    process->store = (struct store){.process = process, .boots = redis_boots(world->redis)};
    process->bus = (struct bus){.process = process};
    process->may_flap = true;
    if (process->id[0] == '\0' || world_keeps(world, RULE_INCARNATION))
        snprintf(process->id, sizeof(process->id), "%c%zu.%016llx", process->is_edge ? 'e' : 's',
                 process_index(process), (unsigned long long)rng_next(&world->rng));
    world_trace(world, "%s starts", process->id);
    if (process->is_edge)
        start_edge(process);
    else
        start_sweeper(process);
    world_plan(world, process, world_below(world, 1000), on_tick, beat_of(process));
    if (process->is_edge)
        world_plan(world, process, WHEEL_TICK_MS, on_wheel, beat_of(process));
}

// What a killed process held is freed as if it had ended in order, but nobody hears of it.
void
process_kill(struct process *process)
{
    if (!process->is_running)
        return;
    world_trace(process->world, "%s ends", process->id);
    process->is_running = false;
    process->ended_ms = process->world->now_ms;
    process->redis_up = false;
    process->nats_up = false;
    process->life++;
    store_abort(process);
    if (process->is_edge) {
        conns_lost(process);
        store_abort(process);
        edge_fini(&process->edge);
    } else {
        sweep_fini(&process->sweep);
    }
}

struct process *
world_running_edge(struct world *world)
{
    struct process *running[MAX_EDGES];
    size_t count = 0;
    for (size_t i = 0; i < MAX_EDGES; i++)
        if (world->processes[i].is_running)
            running[count++] = &world->processes[i];
    return count > 0 ? running[world_below(world, count)] : NULL;
}

struct world *
world_new(uint64_t seed, enum rule without, enum rule favours, bool is_traced)
{
    struct world *world = calloc(1, sizeof(*world));
    if (world == NULL)
        abort();
    world->seed = seed;
    world->without = without;
    world->favours = favours;
    world->is_traced = is_traced;
    rng_seed(&world->rng, seed);
    faults_draw(world);
    world->redis = redis_new(world);
    world->messages = messages_new();
    for (size_t i = 0; i < MAX_PROCESSES; i++) {
        world->processes[i].world = world;
        world->processes[i].is_edge = i < MAX_EDGES;
        process_start(&world->processes[i]);
    }
    for (unsigned i = 0; i < MAX_CLIENTS; i++)
        world->clients[i] =
            (struct client){.world = world, .user = i / MAX_DEVICES, .device = i % MAX_DEVICES};
    return world;
}

void
world_free(struct world *world)
{
    world->is_traced = false;
    for (size_t i = 0; i < MAX_PROCESSES; i++)
        process_kill(&world->processes[i]);
    world->is_ending = true;
    // What is planned holds memory that only running it frees; every process is dead, so
    // nothing else happens.
    while (world->heap_count > 0) {
        struct event event = pop(world);
        event.run(event.arg);
    }
    conns_free(world);
    redis_free(world->redis);
    messages_free(world->messages);
    free(world->heap);
    free(world);
}
