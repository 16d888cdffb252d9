// drain.c: see drain.h. The plan is an array of sessions in the order of their slots; a
// session knows its place in it, and leaves a hole when it ends.
#include "edge/drain.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "edge/core.h"
#include "lib/base/log.h"

// Room for those who become LIVE meanwhile, before the array must grow.
#define LATECOMERS 64

struct drain_target {
    char url[sizeof(((struct peer *)0)->url)];
    uint32_t room; // less what this drain has sent there
};

static const struct {
    const char *name;
    const char *text;
} causes[] = {
    [DRAIN_LEAVING] = {"leaving", "this edge is leaving"},
    [DRAIN_NO_REDIS] = {"no_redis", "this edge has lost the directory, others have it"},
    [DRAIN_NO_NATS] = {"no_nats", "this edge has lost the others"},
};

const char *
drain_cause_name(enum drain_cause cause)
{
    return causes[cause].name;
}

bool
drain_is_running(const struct edge *edge)
{
    return edge->drain.cause != 0;
}

uint32_t
drain_left(const struct edge *edge)
{
    return edge->drain.left;
}

// Targets.

// Workers of one port share their URL, and it leads to any of them: not away from here.
static bool
leads_away(const struct edge *edge, const struct peer *peer)
{
    return peer_room(peer, edge->now_ms) > 0 && strcmp(peer->url, edge->url) != 0;
}

static void
read_targets(struct edge *edge)
{
    struct drain *drain = &edge->drain;
    size_t peers = HASH_COUNT(edge->peers.table);
    free(drain->targets);
    drain->targets = NULL;
    drain->target_count = 0;
    drain->targets_ms = edge->now_ms;
    if (peers == 0)
        return;
    drain->targets = calloc(peers, sizeof(*drain->targets));
    if (drain->targets == NULL)
        abort();
    for (const struct peer *peer = edge->peers.table; peer != NULL; peer = peer->hh.next) {
        if (!leads_away(edge, peer))
            continue;
        struct drain_target *target = &drain->targets[drain->target_count++];
        memcpy(target->url, peer->url, sizeof(target->url));
        target->room = peer_room(peer, edge->now_ms);
    }
}

static uint64_t
total_room(const struct drain *drain, uint32_t *largest)
{
    uint64_t total = 0;
    *largest = 0;
    for (uint32_t i = 0; i < drain->target_count; i++) {
        total += drain->targets[i].room;
        if (drain->targets[i].room > *largest)
            *largest = drain->targets[i].room;
    }
    return total;
}

// Takes one place there. "": nobody has room.
static const char *
take_room(struct edge *edge)
{
    struct drain *drain = &edge->drain;
    uint32_t largest;
    uint64_t total = total_room(drain, &largest);
    if (total == 0)
        return "";
    uint64_t at = rng_below(&edge->rng, total);
    struct drain_target *target = drain->targets;
    for (; at >= target->room; target++)
        at -= target->room;
    target->room--;
    return target->url;
}

// The plan.

// Clients a second that the targets take in, when they come in proportion to room: the
// largest gets the largest share. 0: no limit.
static uint64_t
accepted_per_s(const struct edge *edge)
{
    uint32_t largest;
    uint64_t total = total_room(&edge->drain, &largest);
    uint64_t rate = edge->limits.accept_rate;
    return total == 0 ? rate : rate * total / largest;
}

static void
plan_times(struct edge *edge, uint32_t window_ms)
{
    struct drain *drain = &edge->drain;
    drain->started_ms = drain->said_ms = edge->now_ms;
    drain->window_ms = window_ms;
    drain->courtesy_ms = window_ms / 4 < DRAIN_COURTESY_MS ? window_ms / 4 : DRAIN_COURTESY_MS;
    uint64_t most_ms = window_ms - drain->courtesy_ms;
    uint64_t rate = accepted_per_s(edge);
    uint64_t least_ms = rate > 0 ? ((uint64_t)drain->planned * 1000 + rate - 1) / rate : 0;
    uint64_t slow_ms = (uint64_t)drain->planned * 1000 / DRAIN_LEAST_PER_S;
    drain->spread_ms = slow_ms < most_ms ? slow_ms : most_ms;
    if (drain->spread_ms < least_ms)
        drain->spread_ms = least_ms;
    if (least_ms > most_ms)
        log_warn("drain_hurried", "count=%u window_ms=%u accept_per_s=%llu needs_ms=%llu",
                 drain->planned, window_ms, (unsigned long long)rate,
                 (unsigned long long)(least_ms + drain->courtesy_ms));
}

static void
put(struct drain *drain, struct session *session)
{
    if (drain->count == drain->capacity) {
        drain->capacity += LATECOMERS + drain->capacity / 2;
        struct session **longer = realloc(drain->order, drain->capacity * sizeof(struct session *));
        if (longer == NULL)
            abort();
        drain->order = longer;
    }
    drain->order[drain->count++] = session;
    drain->left++;
    session->drain_slot = drain->count;
}

static void
plan_order(struct edge *edge)
{
    struct drain *drain = &edge->drain;
    drain->capacity = edge->live_sessions + LATECOMERS;
    drain->order = malloc(drain->capacity * sizeof(struct session *));
    if (drain->order == NULL)
        abort();
    for (struct session *session = edge->broadcast.first; session != NULL;
         session = session->next_live)
        put(drain, session);
    drain->planned = drain->count;
    for (uint32_t i = drain->count; i > 1; i--) { // Fisher and Yates
        uint32_t at = (uint32_t)rng_below(&edge->rng, i);
        struct session *other = drain->order[at];
        drain->order[at] = drain->order[i - 1];
        drain->order[i - 1] = other;
        drain->order[i - 1]->drain_slot = i;
    }
    if (drain->count > 0)
        drain->order[0]->drain_slot = 1;
}

static void
forget(struct drain *drain)
{
    for (uint32_t i = 0; i < drain->count; i++)
        if (drain->order[i] != NULL)
            drain->order[i]->drain_slot = 0;
    free(drain->order);
    free(drain->targets);
    *drain = (struct drain){0};
}

void
drain_start(struct edge *edge, enum drain_cause cause, uint32_t window_ms)
{
    struct drain *drain = &edge->drain;
    uint32_t largest;
    assert(window_ms > 0);
    forget(drain);
    drain->cause = (uint8_t)cause;
    plan_order(edge);
    read_targets(edge);
    plan_times(edge, window_ms);
    uint64_t per_s = drain->spread_ms > 0 ? (uint64_t)drain->planned * 1000 / drain->spread_ms : 0;
    log_info("drain_started",
             "cause=%s count=%u window_ms=%u spread_ms=%llu per_s=%llu "
             "targets=%u room=%llu",
             drain_cause_name(cause), drain->planned, window_ms,
             (unsigned long long)drain->spread_ms, (unsigned long long)per_s, drain->target_count,
             (unsigned long long)total_room(drain, &largest));
}

void
drain_stop(struct edge *edge)
{
    struct drain *drain = &edge->drain;
    if (!drain_is_running(edge))
        return;
    log_info("drain_stopped", "cause=%s left=%u", drain_cause_name((enum drain_cause)drain->cause),
             drain->left);
    forget(drain);
}

void
drain_fini(struct edge *edge)
{
    forget(&edge->drain);
}

void
drain_add(struct edge *edge, struct session *session)
{
    if (drain_is_running(edge))
        put(&edge->drain, session);
}

void
drain_remove(struct edge *edge, struct session *session)
{
    struct drain *drain = &edge->drain;
    if (session->drain_slot == 0)
        return;
    assert(drain->order[session->drain_slot - 1] == session);
    drain->order[session->drain_slot - 1] = NULL;
    session->drain_slot = 0;
    drain->left--;
}

// Times, since the start. The plan's end is that of all who came later.

static uint64_t
share_of(const struct drain *drain, uint32_t at, uint64_t whole_ms)
{
    return at < drain->planned ? (at + 1) * whole_ms / drain->planned : whole_ms;
}

static uint64_t
slot_of(const struct drain *drain, uint32_t at)
{
    return share_of(drain, at, drain->spread_ms);
}

static uint64_t
close_of(const struct drain *drain, uint32_t at)
{
    uint64_t most_ms = drain->window_ms - drain->courtesy_ms;
    uint64_t whole_ms = drain->spread_ms < most_ms ? drain->spread_ms : most_ms;
    return share_of(drain, at, whole_ms) + drain->courtesy_ms;
}

static bool
is_tell_due(const struct drain *drain, uint32_t at, uint64_t passed_ms)
{
    return drain->cause == DRAIN_LEAVING || slot_of(drain, at) <= passed_ms + DRAIN_NOTICE_MS;
}

// Work.

static void
tell(struct edge *edge, struct session *session, uint32_t at, uint64_t passed_ms)
{
    const struct drain *drain = &edge->drain;
    uint64_t slot_ms = slot_of(drain, at);
    Switchyard__V1__GoAway go_away;
    switchyard__v1__go_away__init(&go_away);
    Switchyard__V1__Event event;
    switchyard__v1__event__init(&event);
    go_away.text = codec_borrowed(causes[drain->cause].text);
    go_away.reconnect_after_ms = slot_ms > passed_ms ? (uint32_t)(slot_ms - passed_ms) : 0;
    go_away.url = codec_borrowed(take_room(edge));
    go_away.reason = (Switchyard__V1__GoAwayReason)drain->cause;
    event.event_case = SWITCHYARD__V1__EVENT__EVENT_GO_AWAY;
    event.go_away = &go_away;
    edge->counters.drain_told++;
    session_tell(session, &event);
}

static bool
tell_due(struct edge *edge, uint64_t passed_ms)
{
    struct drain *drain = &edge->drain;
    unsigned done = 0;
    if (drain->told < drain->count && edge->now_ms - drain->targets_ms >= DRAIN_TARGETS_MS)
        read_targets(edge);
    while (drain->told < drain->count && is_tell_due(drain, drain->told, passed_ms)) {
        if (done == DRAIN_PER_STEP)
            return true;
        uint32_t at = drain->told++;
        if (drain->order[at] == NULL)
            continue;
        tell(edge, drain->order[at], at, passed_ms);
        done++;
    }
    return false;
}

// Nobody is closed who was not told, and nobody whose frames the kernel has not taken yet,
// unless time is up: then they would be lost either way.
static bool
close_due(struct edge *edge, uint64_t passed_ms)
{
    struct drain *drain = &edge->drain;
    unsigned done = 0;
    uint32_t at = drain->held;
    for (; at < drain->told; at++) {
        if (done == DRAIN_PER_STEP || (at >= drain->closed && close_of(drain, at) > passed_ms))
            break;
        struct session *session = drain->order[at];
        if (session == NULL || (conn_backlog(session->conn) > 0 && passed_ms < drain->window_ms))
            continue;
        edge->counters.drain_closed++;
        session_end(session, CLOSE_DRAINING);
        done++;
    }
    if (at > drain->closed)
        drain->closed = at;
    while (drain->held < at && drain->order[drain->held] == NULL)
        drain->held++;
    return done == DRAIN_PER_STEP;
}

static void
say_progress(struct edge *edge, uint64_t passed_ms)
{
    struct drain *drain = &edge->drain;
    const char *cause = drain_cause_name((enum drain_cause)drain->cause);
    if (drain->left == 0 && !drain->was_done) {
        drain->was_done = true;
        log_info("drain_done", "cause=%s count=%u took_ms=%llu", cause, drain->count,
                 (unsigned long long)passed_ms);
    } else if (drain->left > 0 && edge->now_ms - drain->said_ms >= DRAIN_PROGRESS_MS) {
        drain->said_ms = edge->now_ms;
        log_info("drain_progress", "cause=%s count=%u left=%u passed_ms=%llu", cause, drain->count,
                 drain->left, (unsigned long long)passed_ms);
    }
}

bool
drain_step(struct edge *edge)
{
    if (!drain_is_running(edge))
        return false;
    uint64_t passed_ms = edge->now_ms - edge->drain.started_ms;
    bool has_more = tell_due(edge, passed_ms);
    has_more |= close_due(edge, passed_ms);
    say_progress(edge, passed_ms);
    return has_more;
}
