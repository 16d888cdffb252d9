// fake_scripts.c: what the scripts of the registry (proto/redis) do, each in one step. Rules of
// the protocol that live in them are taken out here.
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/fake_redis.h"

enum { MOST_REMOVAL_MS = 40, BROKEN_MS = 300, STALL_MS = 25000 };

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
        if (watch->until_ms > redis_clock_ms(redis) && call->registered.watcher_count < 8) {
            size_t at = call->registered.watcher_count++;
            memcpy(call->watchers[at], watch->node, sizeof(watch->node));
            call->watcher_list[at] = call->watchers[at];
        }
        *watch = redis->watches[--redis->watch_count];
    }
    call->registered.watchers = call->watcher_list;
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
        redis_remove_member(redis, call->link.node, call->user, call->link.device);
}

// Microseconds; no two logins are at the same time.
static uint64_t
epoch_of_clock(struct redis *redis)
{
    uint64_t epoch = redis_clock_ms(redis) * 1000;
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
        redis_add_member(redis, call->link.node, call->user, call->link.device);
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
    const struct row *row = redis_find_row(redis, call->user, call->link.device);
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
    redis_write_row(redis, call->user, &call->link);
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
        redis_remove_member(entry->redis, entry->member.node, entry->member.user,
                            entry->member.device);
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
    entry->member = redis_member_of(call->link.node, call->user, call->link.device);
    world_plan(redis->world, NULL, 1 + world_below(redis->world, MOST_REMOVAL_MS), on_late_removal,
               entry);
}

static void
run_unregister(struct redis *redis, struct call *call)
{
    struct world *world = redis->world;
    struct row *row = redis_find_row(redis, call->user, call->link.device);
    bool is_ours = row != NULL && is_same_link(&row->link, &call->link);
    if (row != NULL && !world_keeps(world, RULE_EXACT_DELETE))
        is_ours = true;
    call->error = is_ours ? 0 : SY_ENOENT;
    if (!is_ours)
        return;
    redis_remove_row(redis, row);
    if (world_keeps(world, RULE_ONE_AT_A_TIME))
        redis_remove_member(redis, call->link.node, call->user, call->link.device);
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
    const struct row *row = redis_find_row(redis, call->user, call->link.device);
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
        redis_write_row(redis, call->user, &call->link);
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
        redis_add_watch(redis, call->user, call->name, call->number);
}

static void
run_heartbeat(struct redis *redis, struct call *call)
{
    const struct lease_state *known = &call->process->edge.lease;
    struct lease *lease = redis_take_node(redis, call->self.node);
    bool is_new = !redis_has_lease(redis, lease);
    lease->jumped_ms = 0;
    if (is_new)
        lease->taken = epoch_of_clock(redis);
    call->taken = lease->taken;
    if (!world_keeps(redis->world, RULE_LOST) ||
        (!is_new && !world_keeps(redis->world, RULE_TAKEN)))
        call->taken = known->taken != 0 ? known->taken : lease->taken;
    call->flag = is_new;
    lease->node = call->self;
    lease->until_ms = redis_clock_ms(redis) + LEASE_MS;
    call->number = redis->gen;
}

static void
run_lead(struct redis *redis, struct call *call)
{
    bool is_free = redis->leader_until_ms <= redis_clock_ms(redis);
    bool is_ours = strcmp(redis->leader, call->name) == 0;
    call->flag = is_free || is_ours;
    if (is_free) {
        redis->fence++;
        if (redis->fence < redis_clock_ms(redis) / 1000 &&
            world_keeps(redis->world, RULE_FENCE_CLOCK))
            redis->fence = redis_clock_ms(redis) / 1000;
        snprintf(redis->leader, sizeof(redis->leader), "%s", call->name);
    }
    if (call->flag)
        redis->leader_until_ms = redis_clock_ms(redis) + call->number;
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
    struct lease *lease = redis_take_node(redis, call->name);
    if (redis_has_lease(redis, lease) && world_keeps(world, RULE_REAP_LEASE)) {
        call->error = SY_EBUSY;
        return;
    }
    if (call->number < lease->fence && world_keeps(world, RULE_REAP_FENCE)) {
        call->error = SY_EDENIED;
        return;
    }
    lease->fence = call->number;
    if (!redis_has_lease(redis, lease))
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
        struct row *row = redis_find_row(redis, m.user, m.device);
        if (row != NULL &&
            (strcmp(row->link.node, call->name) == 0 || !world_keeps(world, RULE_REAP_EXACT))) {
            watch_reap(call->process, row);
            redis_remove_row(redis, row);
            call->reaped.removed++;
        }
        redis_remove_member(redis, m.node, m.user, m.device);
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
        if (redis_has_lease(redis, redis_find_node(redis, node)))
            continue;
        call->count += !redis_is_member(redis, node, row->user, row->link.device);
        redis_add_member(redis, node, row->user, row->link.device);
        redis_take_node(redis, node);
    }
}

static void
run_list(struct redis *redis, struct call *call)
{
    struct world *world = redis->world;
    bool has_dead = false;
    for (size_t i = 0; i < redis->node_count && call->count < 64; i++) {
        bool lives = redis_has_lease(redis, &redis->nodes[i]);
        redis->nodes[i].was_dead[process_index(call->process)] = !lives;
        call->nodes[call->count] = redis->nodes[i].node;
        if (lives)
            call->nodes[call->count].lease_left_ms = redis->nodes[i].until_ms -
                                                     redis_clock_ms(redis);
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
        call->count += redis_find_node(redis, redis->members[i].node) == NULL;
        redis_take_node(redis, redis->members[i].node);
    }
}

void
redis_execute(struct redis *redis, struct call *call)
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
        lease = redis_find_node(redis, call->name);
        if (!redis_has_lease(redis, lease) && world_keeps(redis->world, RULE_LEASE_AT_READ)) {
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
        lease = redis_find_node(redis, call->name);
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
        call->clock.redis_ms = redis_clock_ms(redis);
        if (!world_keeps(redis->world, RULE_CLOCK_JUMP))
            call->clock.redis_ms = START_MS + redis->world->now_ms;
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
