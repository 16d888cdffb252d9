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
    assert(sweep->reaping == NULL && !sweep->is_looking && !sweep->is_asking &&
           !sweep->is_scrubbing && !sweep->is_scrubbing_rows);
    HASH_ITER (hh, sweep->nodes, node, next) {
        forget(sweep, node);
    }
    arena_fini(&sweep->arena);
}

// An answer tells the time too; the host's ticks are up to SWEEP_TICK_MS apart.
static void
pass_to(struct sweep *sweep, uint64_t now_ms)
{
    if (sweep->now_ms < now_ms)
        sweep->now_ms = now_ms;
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

static uint64_t
lease_left(const struct sweep *sweep, const struct swept_node *node)
{
    return node->lease_ends_ms > sweep->now_ms ? node->lease_ends_ms - sweep->now_ms : 0;
}

static const char *
why_suspect(const struct node_facts *facts)
{
    if (!facts->has_lease)
        return "lease_gone";
    return facts->is_unheard ? "no_responders" : "no_heartbeat";
}

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
        log_warn("node_suspect", "node=%s reason=%s heard_ms_ago=%llu lease_left_ms=%llu",
                 node->node, why_suspect(&node->facts), (unsigned long long)silent_ms,
                 (unsigned long long)lease_left(sweep, node));
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

static void
note_lease(struct sweep *sweep, struct swept_node *node, bool has_lease)
{
    if (has_lease)
        node->facts.lease_gone_ms = 0;
    else if (node->facts.lease_gone_ms == 0)
        node->facts.lease_gone_ms = sweep->now_ms;
    node->facts.has_lease = has_lease;
}

// Nothing is reaped for so long, or as long as before.
static void
hold(struct sweep *sweep, uint64_t for_ms)
{
    if (sweep->hold_until_ms < sweep->now_ms + for_ms)
        sweep->hold_until_ms = sweep->now_ms + for_ms;
}

// Counts by the time since it was noticed: what a new leader finds dead already died, for all
// it knows, just now. Who is heard without a lease counts too: it is alive, but what ended its
// lease may have ended those of others that are not heard.
static void
look_for_mass_death(struct sweep *sweep)
{
    size_t nodes = 0, died = 0;
    for (const struct swept_node *node = sweep->nodes; node != NULL; node = node->hh.next) {
        nodes++;
        died += node->state == NODE_DEAD ? sweep->now_ms - node->dead_since_ms < LEASE_MS
                                         : node->facts.lease_gone_ms != 0;
    }
    if (!rules_is_mass_death(died, nodes))
        return;
    if (sweep->now_ms >= sweep->mass_until_ms) {
        sweep->mass_deaths++;
        log_error("reaping_held", "reason=mass_death died=%zu nodes=%zu for_ms=%u", died, nodes,
                  MASS_DEATH_HOLD_MS);
    }
    sweep->mass_until_ms = sweep->now_ms + MASS_DEATH_HOLD_MS;
    hold(sweep, MASS_DEATH_HOLD_MS);
}

// Looking.

static void
note_lease_end(struct sweep *sweep, const struct swept_node *node)
{
    if (node->lease_ends_ms != 0 &&
        (sweep->lease_ends_ms == 0 || node->lease_ends_ms < sweep->lease_ends_ms))
        sweep->lease_ends_ms = node->lease_ends_ms;
}

// Asks nats-server whether anybody listens for it, by a frame without items: whoever does
// skips it. If nobody does, that is answered to our own unheard subject.
static void
probe(struct sweep *sweep, struct swept_node *node)
{
    if (!sweep->is_leader || !node->facts.has_lease ||
        (node->probed_ms != 0 && sweep->now_ms - node->probed_ms < PROBE_MS))
        return;
    node->probed_ms = sweep->now_ms;
    char subject[SUBJECT_SIZE], reply[SUBJECT_SIZE];
    struct buf frame = {0};
    subject_node(node->node, subject);
    subject_unheard(sweep->id, node->node, ++sweep->probes, reply);
    codec_bus_start(sweep->id, &frame);
    if (bus_publish(sweep->bus, subject, reply, frame.bytes, frame.len) != 0)
        log_debug("probe_refused", "node=%s", node->node);
    buf_fini(&frame);
}

static void
judge_all(struct sweep *sweep)
{
    struct swept_node *node;
    struct swept_node *next;
    sweep->lease_ends_ms = 0;
    HASH_ITER (hh, sweep->nodes, node, next) {
        if (node->round == sweep->round) {
            judge(sweep, node);
            note_lease_end(sweep, node);
            if (node->state == NODE_SUSPECT && !node->facts.is_unheard)
                probe(sweep, node);
        } else if (rules_is_heard(&node->facts, sweep->now_ms)) {
            node->state = NODE_NEW; // the directory forgot it, but it lives: it will be back
        } else if (node != sweep->reaping) {
            // Gone from the directory: it was reaped, perhaps by an earlier leader.
            forget(sweep, node);
        }
    }
    look_for_mass_death(sweep);
}

static void
look_at_clock(struct sweep *sweep, const struct store_clock *clock)
{
    unsigned away_rounds = sweep->unanswered;
    bool is_first = !sweep->redis_clock.is_known;
    int64_t jump_ms = redis_clock_look(&sweep->redis_clock, clock);
    sweep->unanswered = 0;
    if (jump_ms != 0) {
        sweep->clock_jumps++;
        log_error("reaping_held", "reason=redis_clock_jumped by_ms=%lld for_ms=%u",
                  (long long)jump_ms, MASS_DEATH_HOLD_MS);
        hold(sweep, MASS_DEATH_HOLD_MS);
    } else if (is_first) {
        log_info("reaping_held", "reason=just_started for_ms=%u", WATCH_MS);
        hold(sweep, WATCH_MS);
    } else if (away_rounds * ROUND_MS >= REDIS_AWAY_MS) {
        log_warn("reaping_held", "reason=redis_was_away away_ms=%u for_ms=%u",
                 away_rounds * ROUND_MS, WATCH_MS);
        hold(sweep, WATCH_MS);
    }
}

// The clock is read after the leases, so that whatever ended them shows in it.
static void
on_clock(void *arg, int error, const struct store_clock *clock)
{
    struct sweep *sweep = arg;
    bool has_listed = sweep->has_listed;
    sweep->is_looking = sweep->has_listed = false;
    if (error != 0)
        return; // nothing known, nothing done; the next round asks again
    pass_to(sweep, clock->answered_ms);
    look_at_clock(sweep, clock);
    if (!has_listed)
        return;
    judge_all(sweep);
    reap_next(sweep);
}

static void
on_nodes(void *arg, int error, const struct store_node *nodes, size_t count)
{
    struct sweep *sweep = arg;
    if (error != 0 || sweep->is_leaving) {
        sweep->is_looking = false;
        return; // as above
    }
    sweep->round++;
    for (size_t i = 0; i < count; i++) {
        struct swept_node *node = take(sweep, nodes[i].node);
        node->round = sweep->round;
        note_lease(sweep, node, nodes[i].has_lease);
        // By the end of the round trip to come, it has ended if it is not renewed.
        uint64_t left_ms = nodes[i].lease_left_ms;
        node->lease_ends_ms = left_ms > 0 ? sweep->now_ms + left_ms + 1 : 0;
    }
    sweep->has_listed = true;
    store_read_clock(sweep->store, on_clock, sweep);
}

static void
look(struct sweep *sweep)
{
    if (sweep->is_looking)
        return;
    sweep->is_looking = true;
    if (sweep->is_leader)
        store_list_nodes(sweep->store, on_nodes, sweep);
    else
        store_read_clock(sweep->store, on_clock, sweep);
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
    log_info("node_reaped", "node=%s links=%llu took_ms=%llu links_per_s=%llu", node->node,
             (unsigned long long)down.links_removed, (unsigned long long)down.took_ms,
             (unsigned long long)(1000 * down.links_removed / (down.took_ms + 1)));
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
        note_lease(sweep, node, true);
        judge(sweep, node);
    } else if (error == SY_EDENIED) {
        sweep->stale_fences++;
        log_warn("reap_stopped", "node=%s reason=stale_fence fence=%llu times=%llu", node->node,
                 (unsigned long long)sweep->fence, (unsigned long long)sweep->stale_fences);
        sweep->is_leader = false;
        return;
    } else if (error != 0) {
        log_warn("reap_failed", "node=%s reason=%s", node->node, sy_error_name(error));
        return; // the next tick goes on
    } else {
        pass_to(sweep, answer->answered_ms);
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
           !sweep->is_scrubbing_rows && sweep->now_ms >= sweep->hold_until_ms &&
           rules_redis_is_settled(redis_up_ms);
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

static void
on_rows_scrubbed(void *arg, int error, uint64_t cursor, unsigned found)
{
    struct sweep *sweep = arg;
    sweep->is_scrubbing_rows = false;
    if (error != 0)
        return;
    sweep->scrub_rows_cursor = cursor;
    if (found > 0)
        log_warn("orphan_rows_found", "count=%u", found);
    reap_next(sweep);
}

static bool
has_dead(const struct sweep *sweep)
{
    for (const struct swept_node *node = sweep->nodes; node != NULL; node = node->hh.next)
        if (node->state == NODE_DEAD)
            return true;
    return false;
}

// A round's part.
static void
scrub(struct sweep *sweep)
{
    if (!sweep->is_leader)
        return;
    if (!sweep->is_scrubbing) {
        sweep->is_scrubbing = true;
        store_scrub(sweep->store, sweep->scrub_cursor, SCRUB_KEYS, on_scrubbed, sweep);
    }
    // What is reaped right now would be found and listed once more.
    if (!sweep->is_scrubbing_rows && sweep->reaping == NULL && !has_dead(sweep)) {
        sweep->is_scrubbing_rows = true;
        store_scrub_rows(sweep->store, sweep->scrub_rows_cursor, SCRUB_USERS, on_rows_scrubbed,
                         sweep);
    }
}

// Leading.

// What was known when this sweeper last led may be long past: nothing is reaped by it, and
// who is found dead died, for all it knows, just now.
static void
begin_term(struct sweep *sweep)
{
    for (struct swept_node *node = sweep->nodes; node != NULL; node = node->hh.next)
        node->state = NODE_NEW;
}

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
    if (is_leader && !was_leader)
        begin_term(sweep);
    if (is_leader) {
        sweep->led_ms = sweep->lead_tried_ms;
        sweep->fence = fence;
    }
    if (is_leader != was_leader)
        log_info(is_leader ? "sweeper_leader" : "sweeper_follower", "sweeper=%s fence=%llu",
                 sweep->id, (unsigned long long)fence);
}

static void
begin_round(struct sweep *sweep)
{
    bool is_due = sweep->lead_tried_ms == 0 || !sweep->is_leader ||
                  sweep->now_ms - sweep->lead_tried_ms >= LEAD_RENEW_MS;
    if (is_due && !sweep->is_asking) {
        sweep->is_asking = true;
        sweep->lead_tried_ms = sweep->now_ms;
        store_lead(sweep->store, sweep->id, LEAD_MS, on_lead, sweep);
    }
    look(sweep);
    scrub(sweep);
}

void
sweep_tick(struct sweep *sweep)
{
    if (sweep->is_leader && sweep->now_ms - sweep->led_ms >= LEAD_MS) {
        sweep->is_leader = false;
        log_warn("sweeper_follower", "sweeper=%s reason=no_renewal", sweep->id);
    }
    bool is_round = sweep->round_ms == 0 || sweep->now_ms - sweep->round_ms >= ROUND_MS;
    if (is_round) {
        sweep->round_ms = sweep->now_ms;
        sweep->unanswered++;
    }
    if (sweep->is_leaving || !store_is_up(sweep->store))
        return;
    if (is_round)
        begin_round(sweep);
    if (sweep->lease_ends_ms != 0 && sweep->now_ms >= sweep->lease_ends_ms) {
        sweep->lease_ends_ms = 0; // until the answer says
        look(sweep);
    }
    reap_next(sweep);
}

void
sweep_on_store_state(struct sweep *sweep, bool up)
{
    if (up)
        return; // the next round asks for leadership, and how long Redis has been up
    if (sweep->is_leader)
        log_warn("sweeper_follower", "sweeper=%s reason=redis_lost", sweep->id);
    sweep->is_leader = false;
    sweep->lease_ends_ms = 0;
}

// What the bus brings. Nodes come from the directory: a message alone makes none.

static void
on_unheard(struct sweep *sweep, const char *subject)
{
    uint32_t number;
    char id[NODE_ID_SIZE];
    struct swept_node *node = NULL;
    if (subject_unheard_read(subject, id, &number))
        node = find(sweep, id);
    if (node == NULL || !sweep->is_leader || node->facts.is_unheard || !node->facts.has_lease)
        return;
    node->facts.is_unheard = true;
    if (node->state == NODE_SUSPECT)
        log_info("node_unheard", "node=%s lease_left_ms=%llu", node->node,
                 (unsigned long long)lease_left(sweep, node));
    judge(sweep, node);
}

static void
on_hint(struct sweep *sweep, const void *bytes, size_t len)
{
    const Switchyard__Bus__V1__NodeUnheard *hint =
        codec_read_node_unheard(bytes, len, &sweep->arena);
    struct swept_node *node = hint != NULL ? find(sweep, hint->node) : NULL;
    if (node != NULL && !node->facts.is_unheard)
        probe(sweep, node);
}

static void
on_heartbeat(struct sweep *sweep, const void *bytes, size_t len)
{
    const Switchyard__Bus__V1__Heartbeat *beat = codec_read_heartbeat(bytes, len, &sweep->arena);
    struct swept_node *node = beat != NULL ? find(sweep, beat->node) : NULL;
    if (node == NULL)
        return;
    node->facts.heard_ms = sweep->now_ms;
    node->facts.is_unheard = false;
    // Without a lease it is judged by the look that found so, once the clock is read.
    if (node->state == NODE_SUSPECT && node->facts.has_lease)
        judge(sweep, node);
}

void
sweep_on_bus(void *arg, const char *subject, const void *bytes, size_t len, bool is_unheard)
{
    struct sweep *sweep = arg;
    arena_clear(&sweep->arena);
    if (is_unheard)
        on_unheard(sweep, subject);
    else if (strcmp(subject, SUBJECT_NODE_UNHEARD) == 0)
        on_hint(sweep, bytes, len);
    else if (strncmp(subject, "heartbeat.", 10) == 0)
        on_heartbeat(sweep, bytes, len);
}
