// pause.c: see pause.h.
#include "edge/pause.h"

#include "edge/core.h"

static uint64_t
passed(uint64_t since_ms, uint64_t now_ms)
{
    return now_ms > since_ms ? now_ms - since_ms : 0; // the wall clock may go back
}

uint64_t
pause_look(struct pause *pause, uint64_t now_ms, uint64_t wall_ms)
{
    uint64_t mono_ms = passed(pause->seen_ms, now_ms);
    uint64_t real_ms = passed(pause->seen_wall_ms, wall_ms);
    uint64_t stood_ms = mono_ms > real_ms ? mono_ms : real_ms;
    bool is_first = pause->seen_ms == 0;
    pause->seen_ms = now_ms;
    pause->seen_wall_ms = wall_ms;
    return is_first || stood_ms < PAUSE_MIN_MS ? 0 : stood_ms;
}

bool
pause_outlasts(uint64_t stood_ms, uint64_t lease_left_ms)
{
    // Without a lease it served already. Only so long a pause makes that worse.
    return stood_ms >= (lease_left_ms > 0 ? lease_left_ms : LEASE_MS);
}

static void
hold(struct edge *edge)
{
    struct pause *pause = &edge->pause;
    if (!pause->is_holding) {
        pause->verifies = edge->counters.verifies;
        pause->superseded = edge->counters.superseded;
    }
    pause->is_holding = true;
    pause->is_confirmed = false;
    pause->until_ms = edge->now_ms + PAUSE_HOLD_MS;
    lease_doubt(edge);
}

bool
pause_notice(struct edge *edge)
{
    struct pause *pause = &edge->pause;
    uint64_t before_ms = pause->seen_ms;
    uint64_t stood_ms = pause_look(pause, edge->now_ms, edge->wall_ms);
    if (stood_ms == 0)
        return false;
    pause->ended_ms = edge->now_ms;
    edge->counters.pauses++;
    uint64_t left_ms = edge_is_alone(edge) ? 0 : lease_ms_left(edge, before_ms);
    bool holds = !edge_is_alone(edge) && edge->lease.beat_ms != 0 &&
                 pause_outlasts(stood_ms, left_ms);
    log_warn("edge_paused", "node=%s ms=%llu lease_left_ms=%llu output=%s", edge->node,
             (unsigned long long)stood_ms, (unsigned long long)left_ms, holds ? "held" : "goes_on");
    if (holds)
        hold(edge);
    return true;
}

void
pause_step(struct edge *edge)
{
    struct pause *pause = &edge->pause;
    if (!pause->is_holding)
        return;
    if (!pause->is_confirmed && edge->lease.doubted_ms == 0) {
        pause->is_confirmed = true;
        pause->until_ms = edge->now_ms + PAUSE_HOLD_MS +
                          (uint64_t)edge->registry.count * 1000 / VERIFY_BURST_PER_S;
    }
    bool is_verified = lease_has_verified(edge);
    if (!is_verified && edge->now_ms < pause->until_ms)
        return;
    pause->is_holding = false;
    log_warn("edge_resumed", "node=%s held_ms=%llu verified=%llu superseded=%llu links=%s",
             edge->node, (unsigned long long)(edge->now_ms - pause->ended_ms),
             (unsigned long long)(edge->counters.verifies - pause->verifies),
             (unsigned long long)(edge->counters.superseded - pause->superseded),
             is_verified ? "verified" : "unverified");
}
