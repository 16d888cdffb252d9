// fake_store.c: store.h over a model of Redis. What a script does, a function here does
// in one step; commands of one process are executed and answered in their order.
//
// A call is lost before or after it is executed when its process is cut off meanwhile:
// both answer SY_ELOST, as the real store does. A killed process's calls are answered at
// once, so that it can be freed, and may still be executed.
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/world.h"

enum { MOST = 512, MOST_DELAY_MS = 8 };

struct row {
    char user[16];
    struct link link;
};
struct member {
    char node[NODE_ID_SIZE];
    char user[16];
    char device[16];
};
struct lease {
    struct store_node node;
    uint64_t until_ms;
    uint64_t fence;
};
struct watch {
    char user[16];
    char node[NODE_ID_SIZE];
    uint64_t until_ms;
};

struct redis {
    struct world *world;
    struct row rows[MOST];
    size_t row_count;
    struct member members[MOST * 4];
    size_t member_count;
    struct lease nodes[MOST]; // sy:nodes, with lease and fence of each
    size_t node_count;
    struct watch watches[MOST];
    size_t watch_count;
    uint64_t gen;
    char leader[NODE_ID_SIZE];
    uint64_t leader_until_ms;
    uint64_t fence;
};

enum kind {
    REGISTER,
    UNREGISTER,
    VERIFY,
    RESOLVE,
    READ_NODE,
    LIST_NODES,
    HEARTBEAT,
    RELEASE,
    LEAD,
    RESIGN,
    CLOCK,
    REAP,
    SCRUB,
    SCRUB_ROWS,
};

struct call {
    struct call *next; // of the process, in flight
    struct process *process;
    enum kind kind;
    bool is_answered;
    int error;
    void *arg;
    union {
        store_register_cb *registered;
        store_done_cb *done;
        store_verify_cb *verified;
        store_resolve_cb *resolved;
        store_node_cb *node;
        store_nodes_cb *nodes;
        store_beat_cb *beat;
        store_lead_cb *lead;
        store_clock_cb *clock;
        store_reap_cb *reaped;
        store_scrub_cb *scrubbed;
    } to;
    char user[16];
    char name[NODE_ID_SIZE]; // node, watcher or sweeper
    struct link link;
    struct store_node self;
    uint64_t number; // age_ms, watch_ms, lease_ms, fence
    unsigned batch;
    // The answer.
    struct store_registered registered;
    struct link old;
    char watchers[8][NODE_ID_SIZE];
    const char *watcher_list[8];
    enum store_verdict verdict;
    struct link links[8];
    struct store_node nodes[64];
    size_t count;
    bool flag;
    struct store_reaped reaped;
    struct store_clock clock;
};

static struct call *in_flight[MAX_PROCESSES]; // newest first

struct redis *
redis_new(struct world *world)
{
    struct redis *redis = calloc(1, sizeof(*redis));
    if (redis == NULL)
        abort();
    redis->world = world;
    redis->gen = rng_next(&world->rng) | 1;
    return redis;
}

void
redis_free(struct redis *redis)
{
    free(redis);
}

void
redis_flush(struct redis *redis)
{
    struct world *world = redis->world;
    memset(redis, 0, sizeof(*redis));
    redis->world = world;
    redis->gen = rng_next(&world->rng) | 1;
}

// The model.

static struct row *
find_row(const struct redis *redis, const char *user, const char *device)
{
    for (size_t i = 0; i < redis->row_count; i++) {
        const struct row *row = &redis->rows[i];
        if (strcmp(row->user, user) == 0 && strcmp(row->link.device, device) == 0)
            return (struct row *)(uintptr_t)row;
    }
    return NULL;
}

const struct link *
redis_row(const struct redis *redis, const char *user, const char *device)
{
    const struct row *row = find_row(redis, user, device);
    return row != NULL ? &row->link : NULL;
}

static struct lease *
find_node(struct redis *redis, const char *node)
{
    for (size_t i = 0; i < redis->node_count; i++)
        if (strcmp(redis->nodes[i].node.node, node) == 0)
            return &redis->nodes[i];
    return NULL;
}

static struct lease *
take_node(struct redis *redis, const char *node)
{
    struct lease *lease = find_node(redis, node);
    if (lease != NULL)
        return lease;
    assert(redis->node_count < MOST);
    lease = &redis->nodes[redis->node_count++];
    *lease = (struct lease){.until_ms = 0};
    snprintf(lease->node.node, sizeof(lease->node.node), "%s", node);
    return lease;
}

static bool
has_lease(const struct redis *redis, const struct lease *lease)
{
    return lease != NULL && lease->until_ms > redis->world->now_ms;
}

static bool
is_member(const struct redis *redis, const char *node, const char *user, const char *device)
{
    for (size_t i = 0; i < redis->member_count; i++) {
        const struct member *m = &redis->members[i];
        if (strcmp(m->node, node) == 0 && strcmp(m->user, user) == 0 &&
            strcmp(m->device, device) == 0)
            return true;
    }
    return false;
}

static void
add_member(struct redis *redis, const char *node, const char *user, const char *device)
{
    if (is_member(redis, node, user, device))
        return;
    assert(redis->member_count < MOST * 4);
    struct member *m = &redis->members[redis->member_count++];
    snprintf(m->node, sizeof(m->node), "%s", node);
    snprintf(m->user, sizeof(m->user), "%s", user);
    snprintf(m->device, sizeof(m->device), "%s", device);
}

static void
remove_member(struct redis *redis, const char *node, const char *user, const char *device)
{
    for (size_t i = 0; i < redis->member_count; i++) {
        const struct member *m = &redis->members[i];
        if (strcmp(m->node, node) == 0 && strcmp(m->user, user) == 0 &&
            strcmp(m->device, device) == 0) {
            redis->members[i] = redis->members[--redis->member_count];
            return;
        }
    }
}

static void
write_row(struct redis *redis, const char *user, const struct link *link)
{
    struct row *row = find_row(redis, user, link->device);
    if (row == NULL) {
        assert(redis->row_count < MOST);
        row = &redis->rows[redis->row_count++];
        snprintf(row->user, sizeof(row->user), "%s", user);
    }
    row->link = *link;
}

static void
remove_row(struct redis *redis, struct row *row)
{
    *row = redis->rows[--redis->row_count];
}

static bool
is_same_link(const struct link *a, const struct link *b)
{
    return strcmp(a->node, b->node) == 0 && a->connection == b->connection && a->epoch == b->epoch;
}

static void
take_watchers(struct redis *redis, struct call *call)
{
    for (size_t i = 0; i < redis->watch_count;) {
        struct watch *watch = &redis->watches[i];
        if (strcmp(watch->user, call->user) != 0) {
            i++;
            continue;
        }
        if (watch->until_ms > redis->world->now_ms && call->registered.watcher_count < 8) {
            size_t at = call->registered.watcher_count++;
            memcpy(call->watchers[at], watch->node, sizeof(watch->node));
            call->watcher_list[at] = call->watchers[at];
        }
        *watch = redis->watches[--redis->watch_count];
    }
    call->registered.watchers = call->watcher_list;
}

static void
add_watch(struct redis *redis, const char *user, const char *node, uint64_t for_ms)
{
    uint64_t until_ms = redis->world->now_ms + for_ms;
    for (size_t i = 0; i < redis->watch_count; i++) {
        struct watch *watch = &redis->watches[i];
        if (strcmp(watch->user, user) == 0 && strcmp(watch->node, node) == 0) {
            watch->until_ms = until_ms;
            return;
        }
    }
    assert(redis->watch_count < MOST);
    struct watch *watch = &redis->watches[redis->watch_count++];
    *watch = (struct watch){.until_ms = until_ms};
    snprintf(watch->user, sizeof(watch->user), "%s", user);
    snprintf(watch->node, sizeof(watch->node), "%s", node);
}

static bool
is_same_owner(const struct link *a, const struct link *b)
{
    return strcmp(a->node, b->node) == 0 && a->connection == b->connection;
}

static void
displace(struct call *call, const struct link *old)
{
    call->old = *old;
    call->registered.displaced = &call->old;
    call->registered.displaced_count = 1;
}

static void
supersede(struct redis *redis, struct call *call, const struct link *newer)
{
    call->registered.epoch = newer->epoch;
    call->registered.is_superseded = true;
    if (strcmp(newer->node, call->link.node) != 0)
        remove_member(redis, call->link.node, call->user, call->link.device);
}

static void
run_register(struct redis *redis, struct call *call)
{
    const struct row *row = find_row(redis, call->user, call->link.device);
    uint64_t now_us = redis->world->now_ms * 1000 + 1;
    uint64_t epoch = now_us - call->number * 1000;
    if (call->number > 0 && call->link.epoch >= epoch && call->link.epoch < now_us)
        epoch = call->link.epoch + 1;
    add_member(redis, call->link.node, call->user, call->link.device);
    if (row != NULL && !is_same_owner(&row->link, &call->link)) {
        if (row->link.epoch > epoch && row->link.epoch <= now_us) {
            supersede(redis, call, &row->link);
            return;
        }
        displace(call, &row->link);
    }
    if (row != NULL && row->link.epoch >= epoch)
        epoch = row->link.epoch + 1;
    call->link.epoch = epoch;
    call->registered.epoch = epoch;
    write_row(redis, call->user, &call->link);
    take_watchers(redis, call);
}

static void
run_unregister(struct redis *redis, struct call *call)
{
    struct row *row = find_row(redis, call->user, call->link.device);
    bool is_ours = row != NULL && is_same_link(&row->link, &call->link);
    call->error = is_ours ? 0 : SY_ENOENT;
    if (!is_ours)
        return;
    remove_row(redis, row);
    remove_member(redis, call->link.node, call->user, call->link.device);
}

static void
run_verify(struct redis *redis, struct call *call)
{
    const struct row *row = find_row(redis, call->user, call->link.device);
    add_member(redis, call->link.node, call->user, call->link.device);
    call->registered.epoch = call->link.epoch;
    if (row != NULL && is_same_link(&row->link, &call->link)) {
        call->verdict = STORE_KEPT;
    } else if (row == NULL || row->link.epoch < call->link.epoch) {
        call->verdict = STORE_REWRITTEN;
        if (row != NULL)
            displace(call, &row->link);
        write_row(redis, call->user, &call->link);
        take_watchers(redis, call);
    } else {
        call->verdict = STORE_SUPERSEDED;
    }
}

static void
run_resolve(struct redis *redis, struct call *call)
{
    for (size_t i = 0; i < redis->row_count; i++)
        if (strcmp(redis->rows[i].user, call->user) == 0 && call->count < 8)
            call->links[call->count++] = redis->rows[i].link;
    if (call->name[0] != '\0')
        add_watch(redis, call->user, call->name, call->number);
}

static void
run_heartbeat(struct redis *redis, struct call *call)
{
    struct lease *lease = take_node(redis, call->self.node);
    call->flag = !has_lease(redis, lease);
    lease->node = call->self;
    lease->until_ms = redis->world->now_ms + LEASE_MS;
    call->number = redis->gen;
}

static void
run_lead(struct redis *redis, struct call *call)
{
    bool is_free = redis->leader_until_ms <= redis->world->now_ms;
    bool is_ours = strcmp(redis->leader, call->name) == 0;
    call->flag = is_free || is_ours;
    if (is_free) {
        redis->fence++;
        snprintf(redis->leader, sizeof(redis->leader), "%s", call->name);
    }
    if (call->flag)
        redis->leader_until_ms = redis->world->now_ms + call->number;
    call->number = redis->fence;
}

static size_t
count_members(const struct redis *redis, const char *node)
{
    size_t count = 0;
    for (size_t i = 0; i < redis->member_count; i++)
        count += strcmp(redis->members[i].node, node) == 0;
    return count;
}

static void
run_reap(struct redis *redis, struct call *call)
{
    struct lease *lease = take_node(redis, call->name);
    if (has_lease(redis, lease)) {
        call->error = SY_EBUSY;
        return;
    }
    if (call->number < lease->fence) {
        call->error = SY_EDENIED;
        return;
    }
    lease->fence = call->number;
    for (size_t i = 0; i < redis->member_count && call->reaped.listed < call->batch;) {
        struct member m = redis->members[i];
        if (strcmp(m.node, call->name) != 0) {
            i++;
            continue;
        }
        call->reaped.listed++;
        struct row *row = find_row(redis, m.user, m.device);
        if (row != NULL && strcmp(row->link.node, call->name) == 0) {
            remove_row(redis, row);
            call->reaped.removed++;
        }
        remove_member(redis, m.node, m.user, m.device);
    }
    call->reaped.left = count_members(redis, call->name);
    if (call->reaped.left == 0)
        *lease = redis->nodes[--redis->node_count];
}

static void
run_scrub_rows(struct redis *redis, struct call *call)
{
    for (size_t i = 0; i < redis->row_count; i++) {
        const struct row *row = &redis->rows[i];
        const char *node = row->link.node;
        if (has_lease(redis, find_node(redis, node)))
            continue;
        call->count += !is_member(redis, node, row->user, row->link.device);
        add_member(redis, node, row->user, row->link.device);
        take_node(redis, node);
    }
}

size_t
redis_row_count(const struct redis *redis)
{
    return redis->row_count;
}

bool
redis_names_dead_node(const struct redis *redis, char *which, size_t size)
{
    for (size_t i = 0; i < redis->row_count; i++) {
        const struct link *link = &redis->rows[i].link;
        bool lives = false;
        for (size_t p = 0; p < MAX_EDGES; p++)
            lives |= redis->world->processes[p].is_running &&
                     strcmp(redis->world->processes[p].id, link->node) == 0;
        if (!lives) {
            snprintf(which, size, "%s/%s on %s", redis->rows[i].user, link->device, link->node);
            return true;
        }
    }
    return false;
}

static void
execute(struct redis *redis, struct call *call)
{
    struct lease *lease;
    switch (call->kind) {
    case REGISTER:
        run_register(redis, call);
        break;
    case UNREGISTER:
        run_unregister(redis, call);
        break;
    case VERIFY:
        run_verify(redis, call);
        break;
    case RESOLVE:
        run_resolve(redis, call);
        break;
    case READ_NODE:
        lease = find_node(redis, call->name);
        call->error = has_lease(redis, lease) ? 0 : SY_ENOENT;
        if (call->error == 0) {
            call->self = lease->node;
            call->self.has_lease = true;
        }
        break;
    case LIST_NODES:
        for (size_t i = 0; i < redis->node_count && call->count < 64; i++) {
            call->nodes[call->count] = redis->nodes[i].node;
            call->nodes[call->count].lease_left_ms =
                has_lease(redis, &redis->nodes[i]) ? redis->nodes[i].until_ms - redis->world->now_ms
                                                   : 0;
            call->nodes[call->count++].has_lease = has_lease(redis, &redis->nodes[i]);
        }
        break;
    case HEARTBEAT:
        run_heartbeat(redis, call);
        break;
    case RELEASE:
        lease = find_node(redis, call->name);
        if (lease != NULL)
            lease->until_ms = 0;
        break;
    case LEAD:
        run_lead(redis, call);
        break;
    case RESIGN:
        if (strcmp(redis->leader, call->name) == 0)
            redis->leader_until_ms = 0;
        break;
    case CLOCK:
        call->clock.redis_ms = redis->world->now_ms;
        break;
    case REAP:
        run_reap(redis, call);
        break;
    case SCRUB:
        for (size_t i = 0; i < redis->member_count; i++) {
            call->count += find_node(redis, redis->members[i].node) == NULL;
            take_node(redis, redis->members[i].node);
        }
        break;
    case SCRUB_ROWS:
        run_scrub_rows(redis, call);
        break;
    }
}

// Calls.

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
        call->to.beat(call->arg, error, call->flag, call->number);
        break;
    case LEAD:
        call->to.lead(call->arg, error, call->flag, call->number, 1000);
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

static size_t
index_of(const struct process *process)
{
    return (size_t)(process - process->world->processes);
}

static void
answer(struct call *call, int error)
{
    struct call **at = &in_flight[index_of(call->process)];
    while (*at != call)
        at = &(*at)->next;
    *at = call->next;
    call->is_answered = true;
    tell(call, error);
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

static void
on_execute(void *arg)
{
    struct call *call = arg;
    struct world *world = call->process->world;
    if (process_has_redis(call->process))
        execute(world->redis, call);
    else
        call->error = SY_ELOST;
    world_plan(world, call->process, delay(world, &call->process->store.answered_ms), on_answer,
               call);
}

static void
begin(struct call *call)
{
    struct world *world = call->process->world;
    call->next = in_flight[index_of(call->process)];
    in_flight[index_of(call->process)] = call;
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
    for (struct call *call; (call = in_flight[index_of(process)]) != NULL;)
        answer(call, SY_ELOST);
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
