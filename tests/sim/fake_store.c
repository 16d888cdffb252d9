// fake_store.c: store.h over a model of Redis. What a script does, a function here does
// in one step; commands of one process are executed and answered in their order.
//
// A call is lost before or after it is executed when its process is cut off meanwhile:
// both answer SY_ELOST, as the real store does. A killed process's calls are answered at
// once, so that it can be freed, and may still be executed; so may those of a process that
// lost its patience with a frozen Redis.
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/world.h"

enum { MOST = 512, MOST_DELAY_MS = 8, START_MS = 1000000, BROKEN_MS = 300, STALL_MS = 25000 };

struct member {
    char node[NODE_ID_SIZE];
    char user[16];
    char device[16];
};
struct lease {
    struct store_node node;
    uint64_t until_ms;
    uint64_t fence;
    uint64_t taken;
    bool was_dead[MAX_PROCESSES]; // when this sweeper looked last
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
    uint64_t changed_ms[MAX_USERS]; // when rows of the user changed
    // What outlives a loss of data.
    int64_t clock_offset_ms;
    bool has_jumped; // the clock
    bool has_gone_back;
    uint64_t epoch; // the last one handed out by the clock alone
    uint64_t frozen_until_ms;
    uint64_t up_since_ms;
    uint64_t boots;
    uint64_t trouble_ms; // see struct process
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
    uint64_t begun_ms;
    uint64_t boots; // of Redis then
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
    uint64_t taken;
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

static uint64_t
clock_ms(const struct redis *redis)
{
    return (uint64_t)((int64_t)(START_MS + redis->world->now_ms) + redis->clock_offset_ms);
}

static void
in_trouble(struct redis *redis, uint64_t until_ms)
{
    if (redis->trouble_ms < until_ms)
        redis->trouble_ms = until_ms;
}

void
redis_flush(struct redis *redis)
{
    struct redis old = *redis;
    struct world *world = old.world;
    world_trace(world, "Redis loses its data");
    memset(redis, 0, sizeof(*redis));
    redis->world = world;
    redis->gen = world_keeps(world, RULE_GEN) ? rng_next(&world->rng) | 1 : old.gen;
    redis->clock_offset_ms = old.clock_offset_ms;
    redis->has_jumped = old.has_jumped;
    redis->has_gone_back = old.has_gone_back;
    redis->epoch = old.epoch;
    redis->frozen_until_ms = old.frozen_until_ms;
    redis->up_since_ms = old.up_since_ms;
    redis->boots = old.boots;
    redis->trouble_ms = old.trouble_ms;
    in_trouble(redis, world->now_ms);
    for (struct conn *conn = world->conns; conn != NULL; conn = conn->next)
        conn->order = 0;
    for (size_t i = 0; i < MAX_USERS; i++)
        redis->changed_ms[i] = world->now_ms;
}

void
redis_freeze(struct redis *redis, uint64_t for_ms)
{
    struct world *world = redis->world;
    if (redis->frozen_until_ms >= world->now_ms + for_ms)
        return;
    redis->frozen_until_ms = world->now_ms + for_ms;
    world_trace(world, "Redis freezes for %llu ms", (unsigned long long)for_ms);
    in_trouble(redis, redis->frozen_until_ms + 2000);
}

void
redis_restart(struct redis *redis, uint64_t for_ms)
{
    world_trace(redis->world, "Redis is started again, in %llu ms", (unsigned long long)for_ms);
    redis->boots++;
    redis->frozen_until_ms = 0;
    redis->up_since_ms = redis->world->now_ms + for_ms;
    in_trouble(redis, redis->up_since_ms + 2000);
}

void
redis_jump(struct redis *redis, int64_t by_ms)
{
    world_trace(redis->world, "the clock of Redis jumps by %lld ms", (long long)by_ms);
    redis->clock_offset_ms += by_ms;
    redis->has_jumped = true;
    redis->has_gone_back |= by_ms < 0;
    in_trouble(redis, redis->world->now_ms);
}

int64_t
redis_offset_ms(const struct redis *redis)
{
    return redis->clock_offset_ms;
}

uint64_t
redis_boots(const struct redis *redis)
{
    return redis->boots;
}

bool
redis_is_down(const struct redis *redis)
{
    return redis->up_since_ms > redis->world->now_ms;
}

bool
redis_is_frozen(const struct redis *redis)
{
    return redis->frozen_until_ms > redis->world->now_ms;
}

bool
redis_is_well_since(const struct redis *redis, uint64_t since_ms)
{
    return redis->trouble_ms <= since_ms;
}

bool
redis_is_young(const struct redis *redis)
{
    return redis->up_since_ms != 0 && redis->world->now_ms < redis->up_since_ms + LEASE_MS;
}

size_t
redis_node_count(const struct redis *redis)
{
    return redis->node_count;
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

const struct row *
redis_row(const struct redis *redis, const char *user, const char *device)
{
    return find_row(redis, user, device);
}

const struct row *
redis_row_at(const struct redis *redis, size_t i)
{
    return i < redis->row_count ? &redis->rows[i] : NULL;
}

uint64_t
redis_changed_ms(const struct redis *redis, unsigned user)
{
    return redis->changed_ms[user];
}

static struct lease *
find_node(const struct redis *redis, const char *node)
{
    for (size_t i = 0; i < redis->node_count; i++)
        if (strcmp(redis->nodes[i].node.node, node) == 0)
            return (struct lease *)(uintptr_t)&redis->nodes[i];
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
    return lease != NULL && lease->until_ms > clock_ms(redis);
}

bool
redis_was_dead(const struct redis *redis, const char *node, const struct process *sweeper)
{
    const struct lease *lease = find_node(redis, node);
    return lease != NULL && lease->was_dead[process_index(sweeper)];
}

uint64_t
redis_leaseless_ms(const struct redis *redis, const char *node)
{
    const struct lease *lease = find_node(redis, node);
    if (has_lease(redis, lease))
        return 0;
    return lease != NULL ? clock_ms(redis) - lease->until_ms + 1 : clock_ms(redis);
}

void
redis_evict(struct redis *redis, const char *node)
{
    struct lease *lease = find_node(redis, node);
    world_trace(redis->world, "the lease of %s is evicted", node);
    if (lease != NULL && has_lease(redis, lease))
        lease->until_ms = clock_ms(redis);
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

static struct member
member_of(const char *node, const char *user, const char *device)
{
    struct member member;
    size_t device_size = strlen(device) + 1;
    assert(device_size <= sizeof(member.device));
    snprintf(member.node, sizeof(member.node), "%s", node);
    snprintf(member.user, sizeof(member.user), "%s", user);
    memcpy(member.device, device, device_size);
    return member;
}

static void
add_member(struct redis *redis, const char *node, const char *user, const char *device)
{
    if (is_member(redis, node, user, device))
        return;
    assert(redis->member_count < MOST * 4);
    redis->members[redis->member_count++] = member_of(node, user, device);
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

bool
redis_is_indexed(const struct redis *redis, const struct row *row)
{
    return is_member(redis, row->link.node, row->user, row->link.device);
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
    row->placed_ms = redis->world->now_ms;
    redis->changed_ms[atoi(user + 1)] = redis->world->now_ms;
}

static void
remove_row(struct redis *redis, struct row *row)
{
    redis->changed_ms[atoi(row->user + 1)] = redis->world->now_ms;
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
        if (watch->until_ms > clock_ms(redis) && call->registered.watcher_count < 8) {
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
    uint64_t until_ms = clock_ms(redis) + for_ms;
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
    struct world *world = call->process->world;
    struct conn *conn = conn_find(world, old->node, old->connection);
    if (conn != NULL)
        conn->displaced_ms = world->now_ms;
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

// Microseconds; no two logins are at the same time.
static uint64_t
epoch_of_clock(struct redis *redis)
{
    uint64_t epoch = clock_ms(redis) * 1000;
    if (epoch <= redis->epoch && redis->epoch < epoch + 1000)
        epoch = redis->epoch + 1;
    redis->epoch = epoch;
    return epoch;
}

// When the login was, as Redis can know it, by a clock that does not jump. Where Redis's
// does, what is late may be taken for newer or older than it is: nothing is asked of that.
static void
note_order(struct redis *redis, const struct call *call, uint64_t now_us, uint64_t login_us,
           uint64_t epoch)
{
    struct world *world = redis->world;
    struct conn *conn = conn_find(world, call->link.node, call->link.connection);
    if (conn == NULL)
        return;
    struct client *client = conn->client;
    bool is_late = redis->has_jumped && call->number > 0;
    conn->verified_ms = world->now_ms;
    conn->order =
        (uint64_t)((int64_t)(is_late ? now_us : login_us) - 1000 * redis->clock_offset_ms);
    conn->is_tainted = is_late || (redis->has_gone_back && epoch < client->top_epoch);
    if (client->top_epoch < epoch)
        client->top_epoch = epoch;
}

bool
redis_newest(const struct conn *conn)
{
    const struct client *client = conn->client;
    if (conn->order == 0 || conn->is_tainted)
        return false;
    for (const struct conn *other = client->world->conns; other != NULL; other = other->next)
        if (other->client == client && other != conn && other->order >= conn->order)
            return false;
    return true;
}

// The node's index is written before the row, by another command: when the connection
// breaks between them there is only the one.
static bool
is_cut_in_half(struct redis *redis, struct call *call)
{
    struct world *world = redis->world;
    bool is_half = !world->is_calm && world_chance(world, world->faults.halves);
    if (!is_half || world_keeps(world, RULE_INDEX_FIRST))
        add_member(redis, call->link.node, call->user, call->link.device);
    if (!is_half)
        return false;
    call->error = SY_ELOST;
    if (call->process->is_running)
        process_break_redis(call->process, 1 + world_below(world, BROKEN_MS));
    return true;
}

// Its time by Redis's clock. What its edge knows to be older is older.
static uint64_t
login_of(const struct call *call, uint64_t now_us)
{
    uint64_t login_us = now_us - call->number * 1000;
    if (call->number == 0)
        return now_us;
    if (call->link.epoch >= login_us && call->link.epoch < now_us)
        return call->link.epoch + 1;
    return login_us;
}

static void
run_register(struct redis *redis, struct call *call)
{
    const struct row *row = find_row(redis, call->user, call->link.device);
    uint64_t now_us = epoch_of_clock(redis);
    uint64_t true_login_us = login_of(call, now_us);
    uint64_t login_us = world_keeps(redis->world, RULE_LOGIN_AGE) ? true_login_us : now_us;
    uint64_t epoch = row != NULL && row->link.epoch >= login_us ? row->link.epoch + 1 : login_us;
    bool is_half = is_cut_in_half(redis, call);
    if (is_half && world_keeps(redis->world, RULE_INDEX_FIRST))
        return;
    note_order(redis, call, now_us, true_login_us, epoch);
    if (row != NULL && !is_same_owner(&row->link, &call->link)) {
        if (row->link.epoch > login_us && row->link.epoch <= now_us) {
            supersede(redis, call, &row->link);
            return;
        }
        displace(call, &row->link);
    }
    if (!world_keeps(redis->world, RULE_EPOCH_ABOVE))
        epoch = login_us;
    call->link.epoch = epoch;
    call->registered.epoch = epoch;
    write_row(redis, call->user, &call->link);
    take_watchers(redis, call);
}

struct index_entry {
    struct redis *redis;
    struct member member;
};

static void
on_late_removal(void *arg)
{
    struct index_entry *entry = arg;
    if (!entry->redis->world->is_ending)
        remove_member(entry->redis, entry->member.node, entry->member.user, entry->member.device);
    free(entry);
}

// The index entry goes by a command of its own. What comes next for this user waits for
// that; else it goes after the next register has written it.
static void
remove_member_late(struct redis *redis, const struct call *call)
{
    struct index_entry *entry = malloc(sizeof(*entry));
    if (entry == NULL)
        abort();
    entry->redis = redis;
    entry->member = member_of(call->link.node, call->user, call->link.device);
    world_plan(redis->world, NULL, 1 + world_below(redis->world, 5 * MOST_DELAY_MS),
               on_late_removal, entry);
}

static void
run_unregister(struct redis *redis, struct call *call)
{
    struct world *world = redis->world;
    struct row *row = find_row(redis, call->user, call->link.device);
    bool is_ours = row != NULL && is_same_link(&row->link, &call->link);
    if (row != NULL && !world_keeps(world, RULE_EXACT_DELETE))
        is_ours = true;
    call->error = is_ours ? 0 : SY_ENOENT;
    if (!is_ours)
        return;
    remove_row(redis, row);
    if (world_keeps(world, RULE_ONE_AT_A_TIME))
        remove_member(redis, call->link.node, call->user, call->link.device);
    else
        remove_member_late(redis, call);
}

static bool
is_newer(const struct redis *redis, const struct link *row, const struct link *ours)
{
    return row->epoch >= ours->epoch && world_keeps(redis->world, RULE_EPOCH_ORDER);
}

static void
run_verify(struct redis *redis, struct call *call)
{
    const struct world *world = redis->world;
    const struct row *row = find_row(redis, call->user, call->link.device);
    bool is_ours = row != NULL && strcmp(row->link.node, call->link.node) == 0 &&
                   row->link.connection == call->link.connection &&
                   row->link.epoch >= call->link.epoch;
    bool is_half = is_cut_in_half(redis, call);
    if (is_half && world_keeps(world, RULE_INDEX_FIRST))
        return;
    call->registered.epoch = is_ours ? row->link.epoch : call->link.epoch;
    call->verdict = STORE_KEPT;
    if (is_ours || (row == NULL && !world_keeps(world, RULE_REWRITE)))
        return;
    if (row == NULL || !is_newer(redis, &row->link, &call->link)) {
        call->verdict = STORE_REWRITTEN;
        if (row != NULL)
            displace(call, &row->link);
        write_row(redis, call->user, &call->link);
        take_watchers(redis, call);
    } else if (world_keeps(world, RULE_SUPERSEDED)) {
        call->verdict = STORE_SUPERSEDED;
    }
}

static void
run_resolve(struct redis *redis, struct call *call)
{
    bool is_look = call->name[0] == '\0';
    for (size_t i = 0; i < redis->row_count; i++)
        if (strcmp(redis->rows[i].user, call->user) == 0 && call->count < 8 &&
            (!is_look || world_keeps(redis->world, RULE_LOOK)))
            call->links[call->count++] = redis->rows[i].link;
    if (!is_look && (call->count > 0 || world_keeps(redis->world, RULE_WATCH_OFFLINE)))
        add_watch(redis, call->user, call->name, call->number);
}

static void
run_heartbeat(struct redis *redis, struct call *call)
{
    const struct registry *registry = &call->process->edge.registry;
    struct lease *lease = take_node(redis, call->self.node);
    bool is_new = !has_lease(redis, lease);
    if (is_new)
        lease->taken = epoch_of_clock(redis);
    call->taken = lease->taken;
    if (!world_keeps(redis->world, RULE_LOST) ||
        (!is_new && !world_keeps(redis->world, RULE_TAKEN)))
        call->taken = registry->taken != 0 ? registry->taken : lease->taken;
    call->flag = is_new;
    lease->node = call->self;
    lease->until_ms = clock_ms(redis) + LEASE_MS;
    call->number = redis->gen;
}

static void
run_lead(struct redis *redis, struct call *call)
{
    bool is_free = redis->leader_until_ms <= clock_ms(redis);
    bool is_ours = strcmp(redis->leader, call->name) == 0;
    call->flag = is_free || is_ours;
    if (is_free) {
        redis->fence++;
        if (redis->fence < clock_ms(redis) / 1000 && world_keeps(redis->world, RULE_FENCE_CLOCK))
            redis->fence = clock_ms(redis) / 1000;
        snprintf(redis->leader, sizeof(redis->leader), "%s", call->name);
    }
    if (call->flag)
        redis->leader_until_ms = clock_ms(redis) + call->number;
    call->number = redis->fence;
    call->count = 1000;
    if (world_keeps(redis->world, RULE_SETTLED) && redis->up_since_ms != 0)
        call->count = (redis->world->now_ms - redis->up_since_ms) / 1000;
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
    struct world *world = redis->world;
    struct lease *lease = take_node(redis, call->name);
    if (has_lease(redis, lease) && world_keeps(world, RULE_REAP_LEASE)) {
        call->error = SY_EBUSY;
        return;
    }
    if (call->number < lease->fence && world_keeps(world, RULE_REAP_FENCE)) {
        call->error = SY_EDENIED;
        return;
    }
    lease->fence = call->number;
    if (!has_lease(redis, lease))
        lease->until_ms = 1; // Redis deletes what has run out as soon as it is asked for
    if (!world_keeps(world, RULE_REAP))
        return;
    for (size_t i = 0; i < redis->member_count && call->reaped.listed < call->batch;) {
        struct member m = redis->members[i];
        if (strcmp(m.node, call->name) != 0) {
            i++;
            continue;
        }
        call->reaped.listed++;
        struct row *row = find_row(redis, m.user, m.device);
        if (row != NULL &&
            (strcmp(row->link.node, call->name) == 0 || !world_keeps(world, RULE_REAP_EXACT))) {
            watch_reap(call->process, row);
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
    const struct world *world = redis->world;
    if (world->faults.no_row_scrub || !world_keeps(world, RULE_SCRUB_ROWS))
        return;
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

static void
run_list(struct redis *redis, struct call *call)
{
    struct world *world = redis->world;
    bool has_dead = false;
    for (size_t i = 0; i < redis->node_count && call->count < 64; i++) {
        bool lives = has_lease(redis, &redis->nodes[i]);
        redis->nodes[i].was_dead[process_index(call->process)] = !lives;
        call->nodes[call->count] = redis->nodes[i].node;
        if (lives)
            call->nodes[call->count].lease_left_ms = redis->nodes[i].until_ms - clock_ms(redis);
        call->nodes[call->count++].has_lease = lives;
        has_dead |= !lives;
    }
    // The worst moment for a sweeper to stand still: it is about to act on what it read.
    if (has_dead && !world->is_calm && world_chance(world, world->faults.stalls))
        process_pause(call->process, 1 + world_below(world, STALL_MS));
}

static void
run_scrub(struct redis *redis, struct call *call)
{
    if (!world_keeps(redis->world, RULE_SCRUB))
        return;
    for (size_t i = 0; i < redis->member_count; i++) {
        call->count += find_node(redis, redis->members[i].node) == NULL;
        take_node(redis, redis->members[i].node);
    }
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
        if (!has_lease(redis, lease) && world_keeps(redis->world, RULE_LEASE_AT_READ)) {
            call->error = SY_ENOENT;
            break;
        }
        if (lease != NULL)
            call->self = lease->node;
        call->self.has_lease = true;
        break;
    case LIST_NODES:
        run_list(redis, call);
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
        call->clock.redis_ms = clock_ms(redis);
        break;
    case REAP:
        run_reap(redis, call);
        break;
    case SCRUB:
        run_scrub(redis, call);
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
    struct registry *registry = &call->process->edge.registry;
    const struct link_state *link = call->arg;
    if (call->kind == HEARTBEAT && registry->beat_ms != 0 && !world_keeps(world, RULE_OWN_CLOCK))
        registry->beat_ms = registry->beat_tried_ms;
    // An unregister that had not waited would not know the epoch.
    if (call->kind == REGISTER && link->session == NULL && !world_keeps(world, RULE_AFTER_REGISTER))
        call->registered.epoch = 0;
}

static void
answer(struct call *call, int error)
{
    struct world *world = call->process->world;
    struct call **at = &in_flight[process_index(call->process)];
    while (*at != call)
        at = &(*at)->next;
    *at = call->next;
    call->is_answered = true;
    if (error == 0)
        take_rules_out(call);
    // Their names have been handed out, and nobody will tell them.
    if (call->registered.watcher_count > 0 && (error != 0 || !call->process->nats_up))
        world->uninvalidated_ms[atoi(call->user + 1)] = world->now_ms;
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
        execute(world->redis, call);
        trace_call(call);
        if (call->is_answered && call->registered.watcher_count > 0)
            world->uninvalidated_ms[atoi(call->user + 1)] = world->now_ms;
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
