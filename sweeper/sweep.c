// sweep.c: see sweep.h for the steps.
#include "sweeper/sweep.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/log.h"
#include "proto/codec.h"
#include "proto/subject.h"

// A heartbeat is small.
#define ARENA_BYTES 16384

static void reap_next(struct sweep *sweep);

void
sweep_init(struct sweep *sweep)
{
    arena_init(&sweep->arena, ARENA_BYTES);
}

static void
forget(struct sweep *sweep, struct swept_node *node)
{
    HASH_DELETE(hh, sweep->nodes, node);
    free(node);
}

void
sweep_fini(struct sweep *sweep)
{
    struct swept_node *node;
    struct swept_node *next;
    assert(sweep->reaping == NULL && !sweep->is_listing && !sweep->is_asking &&
           !sweep->is_scrubbing);
    HASH_ITER (hh, sweep->nodes, node, next) {
        forget(sweep, node);
    }
    arena_fini(&sweep->arena);
}

static struct swept_node *
find(const struct sweep *sweep, const char *id)
{
    struct swept_node *node;
    HASH_FIND(hh, sweep->nodes, id, strlen(id), node);
    return node;
}

static struct swept_node *
take(struct sweep *sweep, const char *id)
{
    struct swept_node *node = find(sweep, id);
    if (node != NULL)
        return node;
    node = calloc(1, sizeof(*node));
    if (node == NULL)
        abort();
    memcpy(node->node, id, strlen(id) + 1);
    node->facts.first_seen_ms = sweep->now_ms;
    HASH_ADD_KEYPTR(hh, sweep->nodes, node->node, strlen(id), node);
    return node;
}

// Judging.

static void
change_state(struct sweep *sweep, struct swept_node *node, enum node_state state)
{
    uint64_t silent_ms = node->facts.heard_ms != 0 ? sweep->now_ms - node->facts.heard_ms : 0;
    if (node->state == state)
        return;
    if (state == NODE_DEAD) {
        node->dead_since_ms = sweep->now_ms;
        node->removed = 0;
        log_warn("node_dead", "node=%s was=%s reason=no_lease heard_ms_ago=%llu", node->node,
                 rules_name(node->state), (unsigned long long)silent_ms);
    } else if (state == NODE_SUSPECT) {
        log_warn("node_suspect", "node=%s reason=no_heartbeat heard_ms_ago=%llu", node->node,
                 (unsigned long long)silent_ms);
    } else {
        log_info("node_alive", "node=%s was=%s", node->node, rules_name(node->state));
    }
    node->state = state;
}

static void
judge(struct sweep *sweep, struct swept_node *node)
{
    change_state(sweep, node, rules_judge(&node->facts, sweep->now_ms));
}

// Counts by the time since it was noticed: what a new leader finds dead already died, for all
// it knows, just now.
static void
look_for_mass_death(struct sweep *sweep)
{
    size_t nodes = 0, died = 0;
    for (const struct swept_node *node = sweep->nodes; node != NULL; node = node->hh.next) {
        nodes++;
        died += node->state == NODE_DEAD && sweep->now_ms - node->dead_since_ms < LEASE_MS;
    }
    if (!rules_is_mass_death(died, nodes))
        return;
    if (sweep->now_ms >= sweep->hold_until_ms) {
        sweep->mass_deaths++;
        log_error("reaping_held", "reason=mass_death died=%zu nodes=%zu for_ms=%u", died, nodes,
                  MASS_DEATH_HOLD_MS);
    }
    sweep->hold_until_ms = sweep->now_ms + MASS_DEATH_HOLD_MS;
}

static void
on_nodes(void *arg, int error, const struct store_node *nodes, size_t count)
{
    struct sweep *sweep = arg;
    sweep->is_listing = false;
    if (error != 0)
        return; // nothing known, nothing done; the next tick asks again
    sweep->round++;
    for (size_t i = 0; i < count; i++) {
        struct swept_node *node = take(sweep, nodes[i].node);
        node->round = sweep->round;
        node->facts.has_lease = nodes[i].has_lease;
        judge(sweep, node);
    }
    struct swept_node *node;
    struct swept_node *next;
    HASH_ITER (hh, sweep->nodes, node, next) {
        // Gone from the directory: it was reaped, perhaps by an earlier leader.
        if (node->round != sweep->round && node != sweep->reaping)
            forget(sweep, node);
    }
    look_for_mass_death(sweep);
    reap_next(sweep);
}

// Reaping.

static void
tell_node_down(struct sweep *sweep, const struct swept_node *node)
{
    Switchyard__Bus__V1__NodeDown down;
    switchyard__bus__v1__node_down__init(&down);
    uint8_t bytes[256];
    char id[NODE_ID_SIZE];
    memcpy(id, node->node, sizeof(id));
    down.node = id;
    down.links_removed = node->removed;
    down.took_ms = sweep->now_ms - node->dead_since_ms;
    log_info("node_reaped", "node=%s links=%llu took_ms=%llu", node->node,
             (unsigned long long)down.links_removed, (unsigned long long)down.took_ms);
    size_t len = switchyard__bus__v1__node_down__get_packed_size(&down);
    assert(len <= sizeof(bytes));
    switchyard__bus__v1__node_down__pack(&down, bytes);
    int error = bus_publish(sweep->bus, SUBJECT_NODE_DOWN, NULL, bytes, len);
    if (error != 0)
        log_warn("node_down_untold", "node=%s reason=%s", node->node, sy_error_name(error));
}

static void
on_reaped(void *arg, int error, const struct store_reaped *answer)
{
    struct sweep *sweep = arg;
    struct swept_node *node = sweep->reaping;
    sweep->reaping = NULL;
    if (error == SY_EBUSY) {
        log_info("reap_stopped", "node=%s reason=lease_is_back links=%llu", node->node,
                 (unsigned long long)node->removed);
        node->facts.has_lease = true;
        judge(sweep, node);
    } else if (error == SY_EDENIED) {
        log_warn("reap_stopped", "node=%s reason=stale_fence fence=%llu", node->node,
                 (unsigned long long)sweep->fence);
        sweep->stale_fences++;
        sweep->is_leader = false;
        return;
    } else if (error != 0) {
        log_warn("reap_failed", "node=%s reason=%s", node->node, sy_error_name(error));
        return; // the next tick goes on
    } else {
        node->removed += answer->removed;
        sweep->links_removed += answer->removed;
        sweep->pace.used += answer->listed;
        if (answer->left == 0) {
            sweep->nodes_reaped++;
            tell_node_down(sweep, node);
            forget(sweep, node);
        }
    }
    reap_next(sweep);
}

static bool
may_reap(const struct sweep *sweep)
{
    uint64_t redis_up_ms = sweep->redis_up_ms + (sweep->now_ms - sweep->redis_told_ms);
    return sweep->is_leader && !sweep->is_leaving && sweep->reaping == NULL &&
           sweep->now_ms >= sweep->hold_until_ms && rules_redis_is_settled(redis_up_ms);
}

static void
reap_next(struct sweep *sweep)
{
    if (!may_reap(sweep))
        return;
    uint64_t left = pace_left(&sweep->pace, sweep->links_per_second, sweep->now_ms);
    if (left == 0)
        return; // the next tick goes on
    for (struct swept_node *node = sweep->nodes; node != NULL; node = node->hh.next) {
        if (node->state != NODE_DEAD)
            continue;
        sweep->reaping = node;
        store_reap(sweep->store, node->node, sweep->fence,
                   left < sweep->batch ? (unsigned)left : sweep->batch, on_reaped, sweep);
        return;
    }
}

// Scrubbing.

static void
on_scrubbed(void *arg, int error, uint64_t cursor, unsigned found)
{
    struct sweep *sweep = arg;
    sweep->is_scrubbing = false;
    if (error != 0)
        return;
    sweep->scrub_cursor = cursor;
    if (found > 0)
        log_warn("forgotten_nodes_found", "count=%u", found);
}

// Leading.

static void
on_lead(void *arg, int error, bool is_leader, uint64_t fence, uint64_t redis_uptime_s)
{
    struct sweep *sweep = arg;
    bool was_leader = sweep->is_leader;
    sweep->is_asking = false;
    if (error != 0)
        return; // leadership that was held runs out by itself, see sweep_tick
    sweep->redis_up_ms = redis_uptime_s * 1000;
    sweep->redis_told_ms = sweep->now_ms;
    sweep->is_leader = is_leader;
    if (is_leader) {
        sweep->led_ms = sweep->lead_tried_ms;
        sweep->fence = fence;
    }
    if (is_leader != was_leader)
        log_info(is_leader ? "sweeper_leader" : "sweeper_follower", "sweeper=%s fence=%llu",
                 sweep->id, (unsigned long long)fence);
}

void
sweep_tick(struct sweep *sweep)
{
    if (sweep->is_leader && sweep->now_ms - sweep->led_ms >= LEAD_MS) {
        sweep->is_leader = false;
        log_warn("sweeper_follower", "sweeper=%s reason=no_renewal", sweep->id);
    }
    if (sweep->is_leaving || !store_is_up(sweep->store))
        return;
    bool is_due = sweep->lead_tried_ms == 0 || !sweep->is_leader ||
                  sweep->now_ms - sweep->lead_tried_ms >= LEAD_RENEW_MS;
    if (is_due && !sweep->is_asking) {
        sweep->is_asking = true;
        sweep->lead_tried_ms = sweep->now_ms;
        store_lead(sweep->store, sweep->id, LEAD_MS, on_lead, sweep);
    }
    if (sweep->is_leader && !sweep->is_listing) {
        sweep->is_listing = true;
        store_list_nodes(sweep->store, on_nodes, sweep);
    }
    if (sweep->is_leader && !sweep->is_scrubbing) {
        sweep->is_scrubbing = true;
        store_scrub(sweep->store, sweep->scrub_cursor, SCRUB_KEYS, on_scrubbed, sweep);
    }
    reap_next(sweep);
}

void
sweep_on_bus(void *arg, const char *subject, const void *bytes, size_t len, bool is_unheard)
{
    struct sweep *sweep = arg;
    if (is_unheard || strncmp(subject, "heartbeat.", 10) != 0)
        return;
    arena_clear(&sweep->arena);
    const Switchyard__Bus__V1__Heartbeat *beat = codec_read_heartbeat(bytes, len, &sweep->arena);
    // Nodes come from the directory: a heartbeat alone makes none.
    struct swept_node *node = beat != NULL ? find(sweep, beat->node) : NULL;
    if (node == NULL)
        return;
    node->facts.heard_ms = sweep->now_ms;
    if (node->state == NODE_SUSPECT)
        judge(sweep, node);
}
