// fence.c: see fence.h.
#include "edge/fence.h"

#include <string.h>

#include "edge/core.h"

static bool
at_least_half(unsigned part, unsigned whole)
{
    return whole > 0 && 2 * part >= whole;
}

uint8_t
fence_suspicion(const struct fence_facts *facts)
{
    if (facts->is_bus_up && facts->had_lease && !facts->has_lease &&
        at_least_half(facts->heard_leased, facts->heard))
        return DRAIN_NO_REDIS;
    if (!facts->is_bus_up && facts->has_lease && at_least_half(facts->told_on_nats, facts->told))
        return DRAIN_NO_NATS;
    return 0;
}

bool
fence_judge(struct fence *fence, const struct fence_facts *facts, uint64_t now_ms)
{
    uint8_t suspected = fence_suspicion(facts);
    uint8_t before = fence->cause;
    if (suspected != fence->suspected)
        fence->since_ms = now_ms;
    fence->suspected = suspected;
    bool is_sure = now_ms - fence->since_ms >= FENCE_AGREE_MS &&
                   (suspected != DRAIN_NO_NATS || facts->bus_down_ms >= FENCE_NATS_DOWN_MS);
    if (suspected == 0 || is_sure)
        fence->cause = suspected;
    else if (suspected != before)
        fence->cause = 0;
    return fence->cause != before;
}

// Facts.

static void
listen_to_peers(const struct edge *edge, struct fence_facts *facts)
{
    for (const struct peer *peer = edge->peers.table; peer != NULL; peer = peer->hh.next) {
        if (peer->heard_ms == 0 || edge->now_ms - peer->heard_ms >= FENCE_HEARD_MS ||
            peer->is_draining)
            continue;
        facts->heard++;
        facts->heard_leased += peer->has_directory;
    }
}

static struct fence_facts
facts_of(const struct edge *edge)
{
    const struct fence *fence = &edge->fence;
    struct fence_facts facts = {
        .had_lease = edge->lease.beat_ms != 0,
        .has_lease = lease_is_held(edge),
        .is_bus_up = bus_is_up(edge->bus),
        .bus_down_ms = fence->bus_down_ms != 0 ? edge->now_ms - fence->bus_down_ms : 0,
    };
    if (!facts.has_lease)
        listen_to_peers(edge, &facts);
    if (fence->told_ms != 0 && edge->now_ms - fence->told_ms < FENCE_TOLD_MS) {
        facts.told = fence->told;
        facts.told_on_nats = fence->told_on_nats;
    }
    return facts;
}

// What the others say of NATS, in the directory.

static void
on_nodes(void *arg, int error, const struct store_node *nodes, size_t count)
{
    struct edge *edge = arg;
    struct fence *fence = &edge->fence;
    fence->is_asking = false;
    if (error != 0)
        return;
    fence->told_ms = edge->now_ms;
    fence->told = 0;
    fence->told_on_nats = 0;
    for (size_t i = 0; i < count; i++) {
        const struct store_node *node = &nodes[i];
        if (!node->has_lease || node->is_draining || !node->says_nats ||
            strcmp(node->node, edge->node) == 0)
            continue;
        fence->told++;
        fence->told_on_nats += node->is_on_nats;
    }
}

static void
ask_directory(struct edge *edge)
{
    struct fence *fence = &edge->fence;
    if (fence->bus_down_ms == 0 || edge->now_ms - fence->bus_down_ms < FENCE_ASK_AFTER_MS ||
        fence->is_asking || !store_is_up(edge->store) ||
        (fence->asked_ms != 0 && edge->now_ms - fence->asked_ms < FENCE_ASK_MS))
        return;
    fence->is_asking = true;
    fence->asked_ms = edge->now_ms;
    store_list_nodes(edge->store, on_nodes, edge);
}

// Acts.

static void
change(struct edge *edge, uint8_t before, const struct fence_facts *facts)
{
    uint8_t cause = edge->fence.cause;
    if (cause == 0) {
        log_warn("edge_unfenced", "node=%s cause=%s connections=%u", edge->node,
                 drain_cause_name((enum drain_cause)before), edge->live_sessions);
        drain_stop(edge);
        return;
    }
    bool is_redis = cause == DRAIN_NO_REDIS;
    edge->counters.fences++;
    log_warn("edge_fenced", "node=%s cause=%s others=%u well=%u connections=%u", edge->node,
             drain_cause_name((enum drain_cause)cause), is_redis ? facts->heard : facts->told,
             is_redis ? facts->heard_leased : facts->told_on_nats, edge->live_sessions);
    drain_start(edge, (enum drain_cause)cause, FENCE_WINDOW_MS);
}

void
fence_tick(struct edge *edge)
{
    uint8_t before = edge->fence.cause;
    if (edge->is_draining)
        return; // everybody goes anyway
    ask_directory(edge);
    struct fence_facts facts = facts_of(edge);
    if (fence_judge(&edge->fence, &facts, edge->now_ms))
        change(edge, before, &facts);
}

void
fence_bus_state(struct edge *edge, bool up)
{
    struct fence *fence = &edge->fence;
    fence->bus_down_ms = up ? 0 : edge->now_ms;
    fence->bus_wall_ms = edge->wall_ms;
    fence->asked_ms = 0;
    fence->told_ms = 0;
}
