// lease.c: see lease.h for what a renewal leads to, and for what fails.
//
// `lease_tick` asks; `on_beat` compares what Redis says of our lease and of its data with what
// it said before, and with our own clock.
#include "edge/lease.h"

#include <string.h>

#include "edge/core.h"

// What is verified when.

static void
verify_all(struct edge *edge)
{
    edge->lease.burst = edge->registry.count;
    registry_verify_from_oldest(edge); // logins meanwhile come behind all of these
}

static void
verify_again(struct edge *edge)
{
    if (edge->lease.again_ms == 0 || edge->now_ms < edge->lease.again_ms)
        return;
    edge->lease.again_ms = 0;
    verify_all(edge);
}

static void
verify_some(struct edge *edge)
{
    struct lease_state *lease = &edge->lease;
    // The regular share of one second, rounded up so that a cycle always ends in time.
    size_t count = (edge->registry.count * 1000 + VERIFY_CYCLE_MS - 1) / VERIFY_CYCLE_MS;
    if (lease->burst > 0) {
        count = lease->burst < VERIFY_BURST_PER_S ? lease->burst : VERIFY_BURST_PER_S;
        lease->burst -= count;
    }
    registry_verify(edge, count);
}

// The lease.

static void beat(struct edge *edge);

// The lease that was asked for after the doubt is held: the rows are next, at once.
static void
end_doubt(struct edge *edge)
{
    struct lease_state *lease = &edge->lease;
    if (lease->doubted_ms == 0)
        return;
    if (lease->beat_tried_ms < lease->doubted_ms) {
        beat(edge);
        return;
    }
    lease->doubted_ms = 0;
    verify_all(edge);
    verify_some(edge);
    registry_pump(edge);
}

static void
on_beat(void *arg, int error, uint64_t taken, uint64_t gen)
{
    struct edge *edge = arg;
    struct lease_state *lease = &edge->lease;
    lease->is_beating = false;
    lease->is_refused = error == SY_EREPLY;
    if (error != 0)
        return; // the next tick asks again
    bool is_first = lease->beat_ms == 0;
    bool has_new_gen = lease->gen != 0 && lease->gen != gen;
    bool was_lost = lease->taken != 0 && lease->taken != taken;
    // By our own clock: this much Redis may have been wrong about.
    bool has_run_out = lease->beat_tried_ms - lease->beat_ms >= LEASE_MS;
    // The lease runs from when it was asked for, at the earliest.
    lease->beat_ms = lease->beat_tried_ms;
    lease->taken = taken;
    lease->gen = gen;
    if (is_first) {
        log_info("lease_taken", "node=%s", edge->node);
    } else if (was_lost || has_run_out || has_new_gen) {
        edge->counters.leases_lost++;
        log_warn("lease_lost", "node=%s links=%zu reason=%s", edge->node, edge->registry.count,
                 has_new_gen ? "redis_lost_its_data" : "expired");
        lease->again_ms = has_new_gen ? 0 : edge->now_ms + VERIFY_AGAIN_MS;
        verify_all(edge);
    }
    registry_retry(edge);
    registry_pump(edge);
    end_doubt(edge);
}

static void
beat(struct edge *edge)
{
    struct lease_state *lease = &edge->lease;
    struct store_node self = {
        .is_draining = edge->is_draining,
        .connections = edge->live_sessions,
        .max_connections = edge->limits.max_connections,
        .started_ms = edge->started_wall_ms,
        .says_nats = true,
        .is_on_nats = bus_is_up(edge->bus),
        .nats_since_ms = edge->fence.bus_wall_ms,
    };
    memcpy(self.node, edge->node, sizeof(self.node));
    memcpy(self.url, edge->url, sizeof(self.url));
    lease->is_beating = true;
    lease->beat_tried_ms = edge->now_ms;
    store_heartbeat(edge->store, &self, on_beat, edge);
}

void
lease_renew(struct edge *edge)
{
    const struct lease_state *lease = &edge->lease;
    if (lease->beat_ms == 0 && !bus_is_up(edge->bus))
        return;
    if (!lease->is_beating && store_is_up(edge->store))
        beat(edge);
}

void
lease_tick(struct edge *edge)
{
    const struct lease_state *lease = &edge->lease;
    if (edge_is_alone(edge))
        return;
    registry_retry(edge);
    if (lease->beat_tried_ms == 0 || lease->doubted_ms != 0 ||
        edge->now_ms - lease->beat_tried_ms >= LEASE_RENEW_MS)
        lease_renew(edge);
    verify_again(edge);
    verify_some(edge);
    registry_pump(edge);
}

bool
lease_is_held(const struct edge *edge)
{
    return edge->lease.beat_ms != 0 && edge->now_ms - edge->lease.beat_ms < LEASE_MS;
}

bool
lease_may_write(const struct edge *edge)
{
    const struct lease_state *lease = &edge->lease;
    return lease->beat_ms != 0 && edge->now_ms - lease->beat_ms < LEASE_MS - WRITE_MARGIN_MS;
}

uint64_t
lease_ms_left(const struct edge *edge, uint64_t at_ms)
{
    const struct lease_state *lease = &edge->lease;
    uint64_t ends_ms = lease->beat_ms + LEASE_MS;
    return lease->beat_ms != 0 && ends_ms > at_ms ? ends_ms - at_ms : 0;
}

void
lease_doubt(struct edge *edge)
{
    edge->lease.doubted_ms = edge->now_ms;
    lease_renew(edge);
}

bool
lease_has_verified(const struct edge *edge)
{
    const struct lease_state *lease = &edge->lease;
    return lease->doubted_ms == 0 && lease->burst == 0 && edge->registry.unverified == 0;
}
