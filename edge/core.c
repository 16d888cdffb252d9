// core.c: an edge's modules put together, what the bus brings, and the seconds.
//
// Bus down: remembered routes are kept, but when it is up again all are read anew, since
// changes may have been missed. Malformed bus messages are counted, logged at most once a
// minute, and dropped: another component's fault must not become ours.
#include "edge/core.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "edge/delivery.h"
#include "edge/outbox.h"
#include "lib/base/log.h"
#include "proto/subject.h"

// A batch leaves when it has reached its bound: it may be past it by one largest item.
#define BUS_FRAME_BYTES (2 * OUTBOX_BATCH_BYTES)

void
edge_init(struct edge *edge)
{
    size_t frame_arena = codec_arena_size(edge->limits.frame_bytes);
    wheel_init(&edge->wheel, edge->now_ms);
    // Serves both, one after the other; what is not used is never touched.
    arena_init(&edge->arena, codec_arena_size(BUS_FRAME_BYTES));
    arena_init(&edge->wrap, frame_arena);
    outbox_init(edge);
    edge->registry.complaint.interval_ms = 10000;
    edge->devices_complaint.interval_ms = 60000;
}

void
edge_fini(struct edge *edge)
{
    drain_fini(edge);
    broadcast_fini(edge);
    router_fini(edge);
    registry_fini(edge);
    routes_fini(edge);
    peers_fini(&edge->peers);
    assert(edge->users.table == NULL);
    arena_fini(&edge->arena);
    arena_fini(&edge->wrap);
    buf_fini(&edge->scratch);
    buf_fini(&edge->wrapped);
}

bool
edge_set_clocks(struct edge *edge, uint64_t now_ms, uint64_t wall_ms)
{
    edge->now_ms = now_ms;
    edge->wall_ms = wall_ms;
    return pause_notice(edge);
}

bool
edge_turn_end(struct edge *edge)
{
    pause_step(edge);
    if (edge->pause.is_holding)
        return false;
    router_flush(edge);
    if (edge->peers.dirty != NULL)
        outbox_flush(edge);
    bool has_more = broadcast_step(edge);
    return drain_step(edge) || has_more;
}

#define DEVICES_SIZE (sizeof("class/") + DECIMAL_SIZE)

// What a login takes the place of, in a word that edges can compare.
static void
write_devices(const struct edge *edge, char out[static DEVICES_SIZE])
{
    snprintf(out, DEVICES_SIZE, "%s/%u", device_policy_name(edge->limits.devices),
             edge->limits.max_devices);
}

static void
publish_heartbeat(struct edge *edge)
{
    char devices[DEVICES_SIZE];
    Switchyard__Bus__V1__Heartbeat beat;
    switchyard__bus__v1__heartbeat__init(&beat);
    char subject[SUBJECT_SIZE];
    uint8_t bytes[512];
    beat.node = edge->node;
    beat.url = edge->url;
    beat.state = edge->is_draining ? SWITCHYARD__BUS__V1__NODE_STATE__NODE_STATE_DRAINING
                                   : SWITCHYARD__BUS__V1__NODE_STATE__NODE_STATE_UP;
    beat.connections = edge->live_sessions;
    beat.max_connections = edge->limits.max_connections;
    beat.started_at_ms = edge->started_wall_ms;
    beat.seq = ++edge->heartbeats;
    beat.directory_ok = store_is_up(edge->store) && lease_is_held(edge);
    write_devices(edge, devices);
    beat.devices = devices;
    size_t len = switchyard__bus__v1__heartbeat__get_packed_size(&beat);
    assert(len <= sizeof(bytes)); // its texts are bounded
    switchyard__bus__v1__heartbeat__pack(&beat, bytes);
    subject_heartbeat(edge->node, subject);
    if (bus_is_up(edge->bus) && bus_publish(edge->bus, subject, NULL, bytes, len) != 0)
        log_debug("heartbeat_refused", "node=%s", edge->node);
}

void
edge_tick(struct edge *edge)
{
    if (edge_is_alone(edge))
        return;
    publish_heartbeat(edge);
    lease_tick(edge);
    fence_tick(edge);
    roundtrip_tick(edge);
    peers_forget(&edge->peers, edge->now_ms);
}

// What the bus brings.

static void
on_malformed(struct edge *edge, const char *subject, size_t len)
{
    uint64_t held;
    edge->bus_complaint.interval_ms = 60000;
    edge->counters.bus_malformed++;
    if (log_limit_pass(&edge->bus_complaint, edge->now_ms, &held))
        log_warn("bus_malformed", "subject=%s bytes=%zu more=%llu", log_quote(subject), len,
                 (unsigned long long)held);
}

// A hint: a sweeper looks at once, and nothing depends on it.
static void
tell_unheard(struct edge *edge, struct peer *peer)
{
    if (peer->told_ms != 0 && edge->now_ms - peer->told_ms < PEER_TELL_MS)
        return;
    peer->told_ms = edge->now_ms;
    Switchyard__Bus__V1__NodeUnheard unheard;
    switchyard__bus__v1__node_unheard__init(&unheard);
    uint8_t bytes[256];
    unheard.node = peer->node;
    unheard.origin = edge->node;
    size_t len = switchyard__bus__v1__node_unheard__get_packed_size(&unheard);
    assert(len <= sizeof(bytes));
    switchyard__bus__v1__node_unheard__pack(&unheard, bytes);
    if (bus_publish(edge->bus, SUBJECT_NODE_UNHEARD, NULL, bytes, len) != 0)
        log_debug("hint_refused", "peer=%s", peer->node);
}

static void
on_unheard(struct edge *edge, const char *subject)
{
    uint32_t batch;
    char node[NODE_ID_SIZE];
    struct peer *peer = NULL;
    if (subject_unheard_read(subject, node, &batch))
        peer = peers_find(&edge->peers, node);
    if (peer == NULL)
        return;
    edge->counters.unheard++;
    if (!peer->is_unheard)
        log_info("peer_unheard", "peer=%s", peer->node);
    peer->is_unheard = true;
    tell_unheard(edge, peer);
    router_batch_failed(edge, peer, batch, REASON_NO_ROUTE);
}

static void
on_item(struct edge *edge, const char *origin, const Switchyard__Bus__V1__BusItem *item)
{
    switch (item->item_case) {
    case SWITCHYARD__BUS__V1__BUS_ITEM__ITEM_ENVELOPE:
        if (item->envelope->n_to == 0 && strcmp(origin, edge->node) == 0)
            roundtrip_heard(edge, item->envelope);
        else
            delivery_envelope(edge, origin, item->envelope);
        break;
    case SWITCHYARD__BUS__V1__BUS_ITEM__ITEM_RECEIPT:
        router_receipt(edge, origin, item->receipt);
        break;
    case SWITCHYARD__BUS__V1__BUS_ITEM__ITEM_KICK:
        registry_kick(edge, item->kick->user, item->kick->device, item->kick->connection,
                      item->kick->epoch);
        break;
    case SWITCHYARD__BUS__V1__BUS_ITEM__ITEM_INVALIDATE:
        edge->counters.invalidations_in++;
        routes_forget(edge, item->invalidate->user, strlen(item->invalidate->user));
        break;
    case SWITCHYARD__BUS__V1__BUS_ITEM__ITEM_BROADCAST:
        broadcast_receive(edge, origin, item->broadcast);
        break;
    default:
        break; // a newer edge's item: not for us
    }
}

// Each login would be judged by the edge it is on.
static void
compare_devices(struct edge *edge, const Switchyard__Bus__V1__Heartbeat *beat)
{
    char ours[DEVICES_SIZE];
    uint64_t held;
    write_devices(edge, ours);
    if (beat->devices[0] != '\0' && strcmp(beat->devices, ours) != 0 &&
        log_limit_pass(&edge->devices_complaint, edge->now_ms, &held))
        log_warn("devices_policy_differs", "peer=%s theirs=%s ours=%s more=%llu", beat->node,
                 log_quote(beat->devices), ours, (unsigned long long)held);
}

static void
on_heartbeat(struct edge *edge, const char *subject, const void *bytes, size_t len)
{
    const Switchyard__Bus__V1__Heartbeat *beat = codec_read_heartbeat(bytes, len, &edge->arena);
    if (beat == NULL) {
        on_malformed(edge, subject, len);
        return;
    }
    if (strcmp(beat->node, edge->node) == 0)
        return;
    peers_hear(&edge->peers, beat, edge->now_ms);
    compare_devices(edge, beat);
    routes_peer_lives(edge, peers_find(&edge->peers, beat->node));
}

void
edge_on_bus(void *arg, const char *subject, const void *bytes, size_t len, bool is_unheard)
{
    struct edge *edge = arg;
    arena_clear(&edge->arena);
    if (is_unheard) {
        on_unheard(edge, subject);
        return;
    }
    if (strncmp(subject, "heartbeat.", 10) == 0) {
        on_heartbeat(edge, subject, bytes, len);
        return;
    }
    const Switchyard__Bus__V1__BusFrame *frame = codec_read_bus(bytes, len, &edge->arena);
    if (frame == NULL) {
        on_malformed(edge, subject, len);
        return;
    }
    for (size_t i = 0; i < frame->n_items; i++)
        on_item(edge, frame->origin, frame->items[i]);
}

void
edge_on_bus_state(void *arg, bool up, const char *why)
{
    (void)why; // the bus has logged it
    struct edge *edge = arg;
    fence_bus_state(edge, up);
    roundtrip_bus_state(edge, up);
    if (!up) {
        router_bus_lost(edge);
        return;
    }
    routes_forget_all(edge);
    if (edge->lease.beat_ms == 0)
        lease_renew(edge);
}

void
edge_on_store_state(void *arg, bool up, const char *why)
{
    (void)why; // the store has logged it
    registry_store_state(arg, up);
}

bool
edge_is_ready(const struct edge *edge, const char **why)
{
    bool can_serve = edge_can_serve(edge, why);
    if (edge->is_draining)
        *why = "leaving";
    return can_serve && !edge->is_draining;
}

bool
edge_can_serve(const struct edge *edge, const char **why)
{
    *why = "ready";
    if (edge_is_alone(edge))
        return true;
    else if (edge->pause.is_holding)
        *why = "verifying its links after a pause";
    else if (!bus_is_up(edge->bus))
        *why = "not connected to NATS";
    else if (!lease_is_held(edge))
        *why = "no lease in Redis";
    else if (roundtrip_is_deaf(edge))
        *why = "its own messages do not come back";
    else if (edge->fence.cause != 0)
        *why = "its clients go elsewhere";
    else
        return true;
    return false;
}

void
edge_start_drain(struct edge *edge)
{
    edge->is_draining = true;
    if (edge_is_alone(edge))
        return;
    outbox_end_wait(edge);
    publish_heartbeat(edge);
    lease_renew(edge);
}
