// fake_store.c: store.h over a model of Redis: commands of one process are executed and
// answered in their order.
//
// A call is lost before or after it is executed when its process is cut off meanwhile:
// both answer SY_ELOST, as the real store does. A killed process's calls are answered at
// once, so that it can be freed, and may still be executed; so may those of a process that
// lost its patience with a frozen Redis.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/fake_redis.h"

enum { MOST_DELAY_MS = 8 };

static struct call *in_flight[MAX_PROCESSES]; // newest first

static void
tell(struct call *call, int error)
{
    switch (call->kind) {
    case REGISTER:
        call->to.registered(call->arg, error, error == 0 ? &call->registered : NULL);
        break;
    case UNREGISTER:
    case RELEASE:
    case RESIGN:
        call->to.done(call->arg, error);
        break;
    case VERIFY:
        call->to.verified(call->arg, error, call->verdict, error == 0 ? &call->registered : NULL);
        break;
    case RESOLVE:
        call->to.resolved(call->arg, error, call->links, call->count);
        break;
    case READ_NODE:
        call->to.node(call->arg, error, error == 0 ? &call->self : NULL);
        break;
    case LIST_NODES:
        call->to.nodes(call->arg, error, call->nodes, call->count);
        break;
    case HEARTBEAT:
        call->to.beat(call->arg, error, error == 0 ? call->taken : 0, call->number);
        break;
    case LEAD:
        call->to.lead(call->arg, error, call->flag, call->number, call->count);
        break;
    case CLOCK:
        call->clock.answered_ms = call->process->world->now_ms + 1; // as process_enter
        call->to.clock(call->arg, error, error == 0 ? &call->clock : NULL);
        break;
    case REAP:
        call->to.reaped(call->arg, error, error == 0 ? &call->reaped : NULL);
        break;
    case SCRUB:
    case SCRUB_ROWS:
        call->to.scrubbed(call->arg, error, 0, (unsigned)call->count);
        break;
    }
}

// Rules that live in the edge that is told.
static void
take_rules_out(struct call *call)
{
    const struct world *world = call->process->world;
    struct lease_state *lease = &call->process->edge.lease;
    const struct link_state *link = call->arg;
    if (call->kind == HEARTBEAT && lease->beat_ms != 0 && !world_keeps(world, RULE_OWN_CLOCK))
        lease->beat_ms = lease->beat_tried_ms;
    // An unregister that had not waited would not know the epoch.
    if (call->kind == REGISTER && link->session == NULL && !world_keeps(world, RULE_AFTER_REGISTER))
        call->registered.epoch = 0;
}

// The names of who remembers the user have been handed out, and nobody will tell them, or not
// soon.
static void
note_untold(const struct call *call)
{
    struct world *world = call->process->world;
    if (call->registered.watcher_count > 0)
        world->uninvalidated_ms[atoi(call->user + 1)] = world->now_ms;
}

void
store_stands_still(const struct process *process)
{
    for (const struct call *call = in_flight[process_index(process)]; call; call = call->next)
        note_untold(call);
}

static void
answer(struct call *call, int error)
{
    struct call **at = &in_flight[process_index(call->process)];
    while (*at != call)
        at = &(*at)->next;
    *at = call->next;
    call->is_answered = true;
    if (error == 0)
        take_rules_out(call);
    if (error != 0 || !call->process->nats_up)
        note_untold(call);
    tell(call, error);
    if (error == 0 && call->registered.displaced_count > 0 && call->process->is_running)
        watch_kick(call->process, &call->old);
}

// Some milliseconds from now, but not before `*last`.
static uint64_t
delay(struct world *world, uint64_t *last)
{
    uint64_t at_ms = world->now_ms + 1 + world_below(world, MOST_DELAY_MS);
    if (at_ms < *last)
        at_ms = *last;
    *last = at_ms;
    return at_ms - world->now_ms;
}

static void
on_answer(void *arg)
{
    struct call *call = arg;
    if (!call->is_answered)
        answer(call, process_has_redis(call->process) ? call->error : SY_ELOST);
    free(call);
}

// An edge with a handful of links comes by each in a few seconds. For most to wait as long as
// among many, a verify of the cycle that comes early does not look; nor does any of them where
// there is no cycle.
static bool
is_skipped(struct call *call)
{
    const struct world *world = call->process->world;
    struct conn *conn;
    if (call->kind != VERIFY || call->process->verifies_ms >= world->now_ms ||
        (conn = conn_find(world, call->link.node, call->link.connection)) == NULL)
        return false;
    bool is_due = conn->verified_ms + VERIFY_CYCLE_MS <= world->now_ms ||
                  (conn->kicked_ms != 0 && conn->kicked_ms + VERIFY_CYCLE_MS > world->now_ms);
    if (is_due && world_keeps(world, RULE_VERIFY_CYCLE)) {
        conn->verified_ms = world->now_ms;
        return false;
    }
    call->verdict = STORE_KEPT;
    call->registered.epoch = call->link.epoch;
    return true;
}

static void
trace_call(const struct call *call)
{
    const struct world *world = call->process->world;
    static const char *const verdicts[] = {"kept", "rewritten", "superseded"};
    const char *who = call->process->id;
    unsigned long long connection = call->link.connection;
    if (!world->is_traced)
        return;
    if (call->kind == REGISTER)
        world_trace(world, "%s registers %s/%s connection %llu epoch %llu%s%s", who, call->user,
                    call->link.device, connection, (unsigned long long)call->link.epoch,
                    call->registered.displaced_count > 0 ? " in place of one on " : "",
                    call->registered.displaced_count > 0 ? call->old.node : "");
    else if (call->kind == UNREGISTER)
        world_trace(world, "%s unregisters %s/%s connection %llu: %s", who, call->user,
                    call->link.device, connection, call->error == 0 ? "done" : "not its row");
    else if (call->kind == VERIFY && call->verdict != STORE_KEPT)
        world_trace(world, "%s verifies %s/%s connection %llu: %s", who, call->user,
                    call->link.device, connection, verdicts[call->verdict]);
    else if (call->kind == RESOLVE)
        world_trace(world, "%s reads %s: %zu rows", who, call->user, call->count);
    else if (call->kind == HEARTBEAT && call->flag)
        world_trace(world, "%s takes its lease", who);
    else if (call->kind == REAP)
        world_trace(world, "%s reaps %s: %llu rows, %llu left, %s", who, call->name,
                    (unsigned long long)call->reaped.removed, (unsigned long long)call->reaped.left,
                    call->error == 0 ? "done" : sy_error_name(call->error));
}

static void
on_execute(void *arg)
{
    struct call *call = arg;
    struct world *world = call->process->world;
    const struct redis *redis = world->redis;
    if (redis_is_frozen(redis) && !world->is_ending) {
        world_plan(world, NULL, redis->frozen_until_ms - world->now_ms, on_execute, call);
        return;
    }
    if (!process_has_redis(call->process) || call->boots != redis->boots) {
        call->error = SY_ELOST;
    } else if (!is_skipped(call)) {
        redis_execute(world->redis, call);
        trace_call(call);
        if (call->is_answered || call->process->paused_until_ms > world->now_ms)
            note_untold(call);
    }
    world_plan(world, call->process, delay(world, &call->process->store.answered_ms), on_answer,
               call);
}

static void
begin(struct call *call)
{
    struct world *world = call->process->world;
    call->next = in_flight[process_index(call->process)];
    in_flight[process_index(call->process)] = call;
    call->begun_ms = world->now_ms;
    call->boots = call->process->store.boots;
    if (!call->process->redis_up) {
        call->error = SY_EDOWN;
        world_plan(world, call->process, 0, on_answer, call);
        return;
    }
    // Not a process's event: Redis runs it while the process is paused, or dead.
    world_plan(world, NULL, delay(world, &call->process->store.executed_ms), on_execute, call);
}

// Answers everything in flight, as store_close does.
void
store_abort(struct process *process)
{
    for (struct call *call; (call = in_flight[process_index(process)]) != NULL;)
        answer(call, SY_ELOST);
}

uint64_t
store_waits_ms(const struct process *process)
{
    const struct call *oldest = in_flight[process_index(process)];
    while (oldest != NULL && oldest->next != NULL)
        oldest = oldest->next;
    return oldest != NULL ? process->world->now_ms - oldest->begun_ms : 0;
}

static struct call *
call_new(struct store *store, enum kind kind, void *arg)
{
    struct call *call = calloc(1, sizeof(*call));
    if (call == NULL)
        abort();
    call->process = store->process;
    call->kind = kind;
    call->arg = arg;
    return call;
}

// store.h

bool
store_is_up(const struct store *store)
{
    return store->process->redis_up;
}

const char *
store_describe(const struct store *store)
{
    (void)store;
    return "sim";
}

void
store_register(struct store *store, const char *user, const struct link *link, uint64_t age_ms,
               store_register_cb *done, void *arg)
{
    struct call *call = call_new(store, REGISTER, arg);
    call->number = age_ms;
    snprintf(call->user, sizeof(call->user), "%s", user);
    call->link = *link;
    call->to.registered = done;
    begin(call);
}

void
store_unregister(struct store *store, const char *user, const struct link *link,
                 store_done_cb *done, void *arg)
{
    struct call *call = call_new(store, UNREGISTER, arg);
    snprintf(call->user, sizeof(call->user), "%s", user);
    call->link = *link;
    call->to.done = done;
    begin(call);
}

void
store_verify(struct store *store, const char *user, const struct link *link, store_verify_cb *done,
             void *arg)
{
    struct call *call = call_new(store, VERIFY, arg);
    snprintf(call->user, sizeof(call->user), "%s", user);
    call->link = *link;
    call->to.verified = done;
    begin(call);
}

void
store_resolve(struct store *store, const char *user, const char *watcher, uint64_t watch_ms,
              store_resolve_cb *done, void *arg)
{
    struct call *call = call_new(store, RESOLVE, arg);
    snprintf(call->user, sizeof(call->user), "%s", user);
    if (watcher != NULL)
        snprintf(call->name, sizeof(call->name), "%s", watcher);
    call->number = watch_ms;
    call->to.resolved = done;
    begin(call);
}

void
store_read_node(struct store *store, const char *node, store_node_cb *done, void *arg)
{
    struct call *call = call_new(store, READ_NODE, arg);
    snprintf(call->name, sizeof(call->name), "%s", node);
    call->to.node = done;
    begin(call);
}

void
store_list_nodes(struct store *store, store_nodes_cb *done, void *arg)
{
    struct call *call = call_new(store, LIST_NODES, arg);
    call->to.nodes = done;
    begin(call);
}

void
store_heartbeat(struct store *store, const struct store_node *self, store_beat_cb *done, void *arg)
{
    struct call *call = call_new(store, HEARTBEAT, arg);
    call->self = *self;
    call->to.beat = done;
    begin(call);
}

void
store_lead(struct store *store, const char *sweeper, uint64_t lease_ms, store_lead_cb *done,
           void *arg)
{
    struct call *call = call_new(store, LEAD, arg);
    snprintf(call->name, sizeof(call->name), "%s", sweeper);
    call->number = lease_ms;
    call->to.lead = done;
    begin(call);
}

void
store_read_clock(struct store *store, store_clock_cb *done, void *arg)
{
    struct call *call = call_new(store, CLOCK, arg);
    call->clock.asked_ms = call->process->world->now_ms + 1;
    call->to.clock = done;
    begin(call);
}

void
store_reap(struct store *store, const char *node, uint64_t fence, unsigned batch,
           store_reap_cb *done, void *arg)
{
    struct call *call = call_new(store, REAP, arg);
    snprintf(call->name, sizeof(call->name), "%s", node);
    call->number = fence;
    call->batch = batch;
    call->to.reaped = done;
    begin(call);
}

void
store_scrub(struct store *store, uint64_t cursor, unsigned count, store_scrub_cb *done, void *arg)
{
    struct call *call = call_new(store, SCRUB, arg);
    (void)cursor;
    (void)count;
    call->to.scrubbed = done;
    begin(call);
}

void
store_scrub_rows(struct store *store, uint64_t cursor, unsigned count, store_scrub_cb *done,
                 void *arg)
{
    struct call *call = call_new(store, SCRUB_ROWS, arg);
    (void)cursor;
    (void)count;
    call->to.scrubbed = done;
    begin(call);
}

void
store_release(struct store *store, const char *node, store_done_cb *done, void *arg)
{
    struct call *call = call_new(store, RELEASE, arg);
    snprintf(call->name, sizeof(call->name), "%s", node);
    call->to.done = done;
    begin(call);
}

void
store_resign(struct store *store, const char *sweeper, store_done_cb *done, void *arg)
{
    struct call *call = call_new(store, RESIGN, arg);
    snprintf(call->name, sizeof(call->name), "%s", sweeper);
    call->to.done = done;
    begin(call);
}
