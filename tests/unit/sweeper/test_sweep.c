// test_sweep.c: leads, looks, reaps, tells; stops when it should.
#include <stdlib.h>
#include <string.h>

#include "proto/codec.h"
#include "proto/subject.h"
#include "sweeper/sweep.h"
#include "tests/unit/edge/fake.h"

#define SWEEPER "sweeper.0000000000000001"
#define TICK_MS 500

struct desk {
    struct sweep sweep;
    struct store store;
    struct bus bus;
    int64_t redis_ahead_ms; // of our clock
    bool keeps_scrub;       // that of rows is not answered with the clock
};

static int
setup(void **state)
{
    struct desk *desk = calloc(1, sizeof(*desk));
    assert_non_null(desk);
    log_setup(LOG_ERROR, LOG_TEXT, NULL);
    strcpy(desk->sweep.id, SWEEPER);
    desk->store.is_up = true;
    desk->bus.is_up = true;
    desk->bus.max_payload = 1024 * 1024;
    desk->sweep.store = &desk->store;
    desk->sweep.bus = &desk->bus;
    desk->sweep.now_ms = 1000000;
    desk->sweep.batch = 200;
    desk->sweep.links_per_second = 5000;
    sweep_init(&desk->sweep);
    *state = desk;
    return 0;
}

static int
teardown(void **state)
{
    struct desk *desk = *state;
    desk->sweep.is_leaving = true;
    answer_all(&desk->store, SY_ELOST);
    sweep_fini(&desk->sweep);
    store_fini(&desk->store);
    bus_fini(&desk->bus);
    free(desk);
    return 0;
}

static void
tick(struct desk *desk)
{
    desk->sweep.now_ms += TICK_MS;
    sweep_tick(&desk->sweep);
}

static void
answer_lead_up(struct desk *desk, bool is_leader, uint64_t fence, uint64_t redis_uptime_s)
{
    store_lead_cb *done;
    struct call *call = call_of(&desk->store, CALL_LEAD);
    call->is_answered = true;
    memcpy(&done, &call->done, sizeof(done));
    done(call->arg, 0, is_leader, fence, redis_uptime_s);
}

static void
answer_lead(struct desk *desk, bool is_leader, uint64_t fence)
{
    answer_lead_up(desk, is_leader, fence, 1000);
}

static void
answer_scrub(struct desk *desk, enum call_kind kind, uint64_t cursor, unsigned found)
{
    store_scrub_cb *done;
    struct call *call = call_of(&desk->store, kind);
    call->is_answered = true;
    memcpy(&done, &call->done, sizeof(done));
    done(call->arg, 0, cursor, found);
}

static void
answer_clock(struct desk *desk)
{
    store_clock_cb *done;
    struct call *call = call_of(&desk->store, CALL_CLOCK);
    if (!desk->keeps_scrub && calls_open_of(&desk->store, CALL_SCRUB_ROWS) > 0)
        answer_scrub(desk, CALL_SCRUB_ROWS, 0, 0);
    uint64_t now_ms = desk->sweep.now_ms;
    struct store_clock clock = {.redis_ms = (uint64_t)((int64_t)now_ms + desk->redis_ahead_ms),
                                .asked_ms = now_ms,
                                .answered_ms = now_ms};
    call->is_answered = true;
    memcpy(&done, &call->done, sizeof(done));
    done(call->arg, 0, &clock);
}

// The nodes alone; nothing is judged before the clock.
static void
answer_nodes_of(struct desk *desk, size_t count, const char *const *nodes, const bool *leases)
{
    store_nodes_cb *done;
    struct store_node list[8];
    struct call *call = call_of(&desk->store, CALL_LIST_NODES);
    memset(list, 0, sizeof(list));
    for (size_t i = 0; i < count; i++) {
        strcpy(list[i].node, nodes[i]);
        list[i].has_lease = leases[i];
    }
    call->is_answered = true;
    memcpy(&done, &call->done, sizeof(done));
    done(call->arg, 0, list, count);
}

static void
answer_list(struct desk *desk, size_t count, const char *const *nodes, const bool *leases)
{
    answer_nodes_of(desk, count, nodes, leases);
    answer_clock(desk);
}

static void
answer_one(struct desk *desk, const char *node, bool has_lease)
{
    answer_list(desk, 1, &node, &has_lease);
}

static void
answer_reap(struct call *call, uint64_t listed, uint64_t removed, uint64_t left)
{
    store_reap_cb *done;
    struct store_reaped reaped = {.listed = listed, .removed = removed, .left = left};
    assert_int_equal(call->kind, CALL_REAP);
    call->is_answered = true;
    memcpy(&done, &call->done, sizeof(done));
    done(call->arg, 0, &reaped);
}

static void
lead(struct desk *desk)
{
    tick(desk);
    answer_lead(desk, true, 7);
    answer_clock(desk);
    desk->sweep.hold_until_ms = 0; // as if it had watched for long
    tick(desk);
    assert_true(desk->sweep.is_leader);
}

// A node that is dead, and whose first batch is asked for.
static struct call *
dead(struct desk *desk, const char *node)
{
    lead(desk);
    answer_one(desk, node, false);
    return call_of(&desk->store, CALL_REAP);
}

static void
heartbeat(struct desk *desk, const char *node)
{
    char id[NODE_ID_SIZE], url[] = "";
    char subject[SUBJECT_SIZE];
    uint8_t bytes[256];
    Switchyard__Bus__V1__Heartbeat beat;
    switchyard__bus__v1__heartbeat__init(&beat);
    strcpy(id, node);
    beat.node = id;
    beat.url = url;
    subject_heartbeat(node, subject);
    size_t len = switchyard__bus__v1__heartbeat__pack(&beat, bytes);
    sweep_on_bus(&desk->sweep, subject, bytes, len, false);
}

static const struct swept_node *
find(const struct desk *desk, const char *node)
{
    const struct swept_node *found;
    HASH_FIND(hh, desk->sweep.nodes, node, strlen(node), found);
    return found;
}

// Leading.

static void
only_the_leader_looks(void **state)
{
    struct desk *desk = *state;
    tick(desk);
    assert_int_equal(call_of(&desk->store, CALL_LEAD)->number, LEAD_MS);
    answer_lead(desk, false, 6);
    answer_clock(desk);
    tick(desk);
    assert_int_equal(calls_open_of(&desk->store, CALL_LIST_NODES), 0);
    assert_int_equal(calls_open_of(&desk->store, CALL_SCRUB), 0);
    answer_lead(desk, true, 7); // a follower asks at every tick
    answer_clock(desk);         // and looks at the clock
    tick(desk);
    assert_int_equal(calls_open_of(&desk->store, CALL_LIST_NODES), 1);
    assert_int_equal(calls_open_of(&desk->store, CALL_SCRUB), 1);
}

static void
a_leader_renews_in_time_and_asks_once_at_a_time(void **state)
{
    struct desk *desk = *state;
    lead(desk);
    uint64_t asked_ms = desk->sweep.lead_tried_ms;
    assert_int_equal(desk->store.made[CALL_LEAD], 1);
    while (desk->sweep.now_ms - asked_ms < LEAD_RENEW_MS - TICK_MS)
        tick(desk);
    assert_int_equal(desk->store.made[CALL_LEAD], 1);
    tick(desk);
    tick(desk);
    assert_int_equal(desk->store.made[CALL_LEAD], 2);
}

static void
leadership_ends_by_time_from_when_it_was_asked_for(void **state)
{
    struct desk *desk = *state;
    tick(desk);
    uint64_t asked_ms = desk->sweep.now_ms;
    desk->sweep.now_ms += 400;
    answer_lead(desk, true, 7);
    answer_clock(desk);
    desk->sweep.hold_until_ms = 0;
    desk->sweep.now_ms = asked_ms + LEAD_MS - 1;
    sweep_tick(&desk->sweep);
    assert_true(desk->sweep.is_leader);
    desk->sweep.now_ms = asked_ms + LEAD_MS;
    sweep_tick(&desk->sweep);
    assert_false(desk->sweep.is_leader);
    // Whatever is answered now reaps nothing.
    answer_one(desk, NODE_B, false);
    assert_int_equal(calls_open_of(&desk->store, CALL_REAP), 0);
}

static void
a_renewal_that_fails_leaves_leadership_to_its_time(void **state)
{
    struct desk *desk = *state;
    lead(desk);
    desk->sweep.now_ms += LEAD_RENEW_MS;
    sweep_tick(&desk->sweep);
    answer_error(call_of(&desk->store, CALL_LEAD), SY_ETIME);
    assert_true(desk->sweep.is_leader);
    tick(desk);
    tick(desk);
    assert_true(desk->sweep.is_leader);
}

static void
without_redis_nothing_is_known_and_nothing_done(void **state)
{
    struct desk *desk = *state;
    lead(desk);
    answer_error(call_of(&desk->store, CALL_LIST_NODES), SY_ELOST);
    answer_error(call_of(&desk->store, CALL_SCRUB), SY_ELOST);
    desk->store.is_up = false;
    size_t made = desk->store.count;
    tick(desk);
    assert_int_equal(desk->store.count, made);
    desk->store.is_up = true;
    tick(desk);
    assert_int_equal(calls_open_of(&desk->store, CALL_LIST_NODES), 1);
}

static void
one_that_leaves_does_nothing_more(void **state)
{
    struct desk *desk = *state;
    lead(desk);
    desk->sweep.is_leaving = true;
    size_t made = desk->store.count;
    const char *node = NODE_B;
    const bool ended = false;
    answer_nodes_of(desk, 1, &node, &ended);
    tick(desk);
    assert_int_equal(desk->store.count, made);
}

// Judging.

static void
silence_makes_suspect_and_a_heartbeat_clears_it(void **state)
{
    struct desk *desk = *state;
    lead(desk);
    answer_one(desk, NODE_B, true);
    heartbeat(desk, NODE_B);
    const struct swept_node *node = find(desk, NODE_B);
    desk->sweep.now_ms += SUSPECT_MS - 1;
    sweep_tick(&desk->sweep);
    answer_one(desk, NODE_B, true);
    assert_int_equal(node->state, NODE_ALIVE);
    heartbeat(desk, NODE_B);
    desk->sweep.now_ms += SUSPECT_MS;
    sweep_tick(&desk->sweep);
    answer_one(desk, NODE_B, true);
    assert_int_equal(node->state, NODE_SUSPECT);
    assert_int_equal(desk->store.made[CALL_REAP], 0);
    heartbeat(desk, NODE_B);
    assert_int_equal(node->state, NODE_ALIVE);
}

static void
a_heartbeat_makes_no_node_and_wakes_no_dead(void **state)
{
    struct desk *desk = *state;
    heartbeat(desk, NODE_C);
    assert_null(desk->sweep.nodes);
    dead(desk, NODE_B);
    heartbeat(desk, NODE_B);
    assert_int_equal(find(desk, NODE_B)->state, NODE_DEAD); // its lease decides
    sweep_on_bus(&desk->sweep, "heartbeat.x", "\xff", 1, false);
    sweep_on_bus(&desk->sweep, "heartbeat.x", "", 0, true);
    sweep_on_bus(&desk->sweep, "node.x", "\xff", 1, false);
}

static void
a_node_that_left_the_directory_is_forgotten(void **state)
{
    struct desk *desk = *state;
    const char *both[] = {NODE_B, NODE_C};
    const bool leases[] = {true, true};
    lead(desk);
    answer_list(desk, 2, both, leases);
    tick(desk);
    answer_one(desk, NODE_C, true);
    assert_null(find(desk, NODE_B));
    assert_non_null(find(desk, NODE_C));
}

// Reaping.

static void
a_dead_node_is_reaped_in_batches_and_told_once(void **state)
{
    struct desk *desk = *state;
    struct call *call = dead(desk, NODE_B);
    assert_string_equal(call->node, NODE_B);
    assert_int_equal(call->number, 7); // under our fence
    assert_int_equal(call->batch, 200);
    answer_reap(call, 200, 190, 100);
    assert_int_equal(desk->bus.count, 0);
    desk->sweep.now_ms += 120;
    answer_reap(call_of(&desk->store, CALL_REAP), 100, 100, 0);
    assert_int_equal(desk->bus.count, 1);
    assert_string_equal(desk->bus.parcels[0].subject, SUBJECT_NODE_DOWN);
    struct arena arena;
    arena_init(&arena, 4096);
    const Switchyard__Bus__V1__NodeDown *down =
        codec_read_node_down(desk->bus.parcels[0].bytes, desk->bus.parcels[0].len, &arena);
    assert_non_null(down);
    assert_string_equal(down->node, NODE_B);
    assert_int_equal(down->links_removed, 290);
    assert_int_equal(down->took_ms, 120);
    arena_fini(&arena);
    assert_null(find(desk, NODE_B));
    assert_int_equal(desk->sweep.nodes_reaped, 1);
    assert_int_equal(desk->sweep.links_removed, 290);
    tick(desk);
    answer_list(desk, 0, NULL, NULL);
    assert_int_equal(desk->bus.count, 1);
    assert_int_equal(calls_open_of(&desk->store, CALL_REAP), 0);
}

static void
a_node_down_that_cannot_be_told_is_reaped_all_the_same(void **state)
{
    struct desk *desk = *state;
    struct call *call = dead(desk, NODE_B);
    desk->bus.is_up = false;
    answer_reap(call, 1, 1, 0);
    assert_null(find(desk, NODE_B));
    assert_int_equal(desk->sweep.nodes_reaped, 1);
}

static void
nodes_are_reaped_one_after_another(void **state)
{
    struct desk *desk = *state;
    const char *both[] = {NODE_B, NODE_C};
    const bool leases[] = {false, false};
    lead(desk);
    answer_list(desk, 2, both, leases);
    assert_int_equal(calls_open_of(&desk->store, CALL_REAP), 1);
    tick(desk);
    assert_int_equal(calls_open_of(&desk->store, CALL_REAP), 1);
    answer_reap(call_of(&desk->store, CALL_REAP), 1, 1, 0);
    answer_reap(call_of(&desk->store, CALL_REAP), 1, 1, 0);
    assert_int_equal(desk->sweep.nodes_reaped, 2);
}

static void
a_listing_during_a_batch_does_not_free_the_node(void **state)
{
    struct desk *desk = *state;
    struct call *call = dead(desk, NODE_B);
    tick(desk);
    answer_list(desk, 0, NULL, NULL); // another leader was faster
    assert_non_null(find(desk, NODE_B));
    answer_reap(call, 0, 0, 0);
    assert_null(find(desk, NODE_B));
}

static void
the_pace_is_kept(void **state)
{
    struct desk *desk = *state;
    desk->sweep.links_per_second = 300;
    struct call *call = dead(desk, NODE_B); // at a half second
    assert_int_equal(call->batch, 200);
    answer_reap(call, 200, 200, 1000);
    call = call_of(&desk->store, CALL_REAP);
    assert_int_equal(call->batch, 100); // what is left of this second
    answer_reap(call, 100, 100, 900);
    assert_int_equal(calls_open_of(&desk->store, CALL_REAP), 0);
    uint64_t second = desk->sweep.now_ms / 1000;
    while ((desk->sweep.now_ms + TICK_MS) / 1000 == second)
        tick(desk);
    assert_int_equal(calls_open_of(&desk->store, CALL_REAP), 0);
    tick(desk);
    assert_int_equal(call_of(&desk->store, CALL_REAP)->batch, 200);
}

static void
entries_without_a_row_count_for_the_pace_too(void **state)
{
    struct desk *desk = *state;
    desk->sweep.links_per_second = 200;
    answer_reap(dead(desk, NODE_B), 200, 0, 50);
    assert_int_equal(calls_open_of(&desk->store, CALL_REAP), 0);
}

static void
a_node_that_is_back_is_left_alone_and_counted_anew(void **state)
{
    struct desk *desk = *state;
    answer_reap(dead(desk, NODE_B), 5, 5, 10);
    answer_error(call_of(&desk->store, CALL_REAP), SY_EBUSY);
    const struct swept_node *node = find(desk, NODE_B);
    assert_int_not_equal(node->state, NODE_DEAD);
    tick(desk);
    assert_int_equal(calls_open_of(&desk->store, CALL_REAP), 0);
    assert_true(desk->sweep.is_leader);
    answer_one(desk, NODE_B, false); // it dies again
    answer_reap(call_of(&desk->store, CALL_REAP), 3, 3, 0);
    struct arena arena;
    arena_init(&arena, 4096);
    const Switchyard__Bus__V1__NodeDown *down =
        codec_read_node_down(desk->bus.parcels[0].bytes, desk->bus.parcels[0].len, &arena);
    assert_int_equal(down->links_removed, 3);
    arena_fini(&arena);
}

static void
a_stale_fence_stops_the_sweeper(void **state)
{
    struct desk *desk = *state;
    answer_error(dead(desk, NODE_B), SY_EDENIED);
    assert_false(desk->sweep.is_leader);
    assert_int_equal(desk->sweep.stale_fences, 1);
    assert_int_equal(calls_open_of(&desk->store, CALL_REAP), 0);
    assert_int_equal(desk->bus.count, 0);
    tick(desk); // asks to lead, and until then does nothing
    assert_int_equal(calls_open_of(&desk->store, CALL_LEAD), 1);
    assert_int_equal(calls_open_of(&desk->store, CALL_REAP), 0);
    answer_lead(desk, true, 9);
    answer_clock(desk);
    tick(desk);
    assert_int_equal(calls_open_of(&desk->store, CALL_REAP), 0);
    answer_one(desk, NODE_B, false);
    assert_int_equal(call_of(&desk->store, CALL_REAP)->number, 9);
}

static void
who_leads_again_knows_nothing_of_before(void **state)
{
    struct desk *desk = *state;
    const char *const nodes[] = {NODE_A, NODE_B, NODE_C};
    const bool alive[] = {true, true, true};
    const bool one_dead[] = {true, true, false};
    const bool all_dead[] = {false, false, false};
    lead(desk);
    answer_list(desk, 3, nodes, one_dead);
    answer_error(call_of(&desk->store, CALL_REAP), SY_ELOST);
    desk->sweep.now_ms += 10 * LEAD_MS; // stood still, and another led
    tick(desk);
    assert_false(desk->sweep.is_leader);
    answer_lead(desk, true, 9);
    answer_clock(desk);
    tick(desk);
    assert_int_equal(calls_open_of(&desk->store, CALL_REAP), 0);
    // What it finds dead died just now: three at once.
    answer_list(desk, 3, nodes, all_dead);
    assert_int_equal(calls_open_of(&desk->store, CALL_REAP), 0);
    assert_int_equal(desk->sweep.mass_deaths, 1);
    tick(desk);
    answer_list(desk, 3, nodes, alive);
    assert_int_equal(calls_open_of(&desk->store, CALL_REAP), 0);
}

static void
a_batch_that_failed_is_tried_again_at_the_next_tick(void **state)
{
    struct desk *desk = *state;
    int errors[] = {SY_ETIME, SY_ELOST, SY_EDOWN, SY_EFULL, SY_EREPLY};
    dead(desk, NODE_B);
    for (size_t i = 0; i < 5; i++) {
        answer_error(call_of(&desk->store, CALL_REAP), errors[i]);
        assert_int_equal(calls_open_of(&desk->store, CALL_REAP), 0);
        tick(desk);
    }
    assert_int_equal(calls_open_of(&desk->store, CALL_REAP), 1);
    assert_int_equal(desk->bus.count, 0);
}

// Holding.

#define NODE(n) "edge-" #n ".000000000000000" #n
static const char *const five[] = {NODE(1), NODE(2), NODE(3), NODE(4), NODE(5)};
static const bool all_live[] = {true, true, true, true, true};
static const bool two_die[] = {false, false, true, true, true};
static const bool three_die[] = {false, false, false, true, true};

// Ticks until a listing is asked for, for at most `ms`.
static void
pass(struct desk *desk, uint64_t ms)
{
    for (uint64_t until_ms = desk->sweep.now_ms + ms; desk->sweep.now_ms < until_ms;) {
        tick(desk);
        if (calls_open_of(&desk->store, CALL_LEAD) > 0)
            answer_lead(desk, true, 7);
    }
}

static void
many_deaths_at_once_hold_reaping_for_a_while(void **state)
{
    struct desk *desk = *state;
    lead(desk);
    answer_list(desk, 5, five, all_live);
    tick(desk);
    answer_list(desk, 5, five, three_die);
    assert_int_equal(desk->sweep.mass_deaths, 1);
    assert_int_equal(calls_open_of(&desk->store, CALL_REAP), 0);
    // They stay dead: when the time is over they are reaped after all.
    pass(desk, LEASE_MS);
    answer_list(desk, 5, five, three_die);
    pass(desk, MASS_DEATH_HOLD_MS - LEASE_MS - TICK_MS);
    assert_int_equal(calls_open_of(&desk->store, CALL_REAP), 0);
    pass(desk, TICK_MS);
    assert_int_equal(calls_open_of(&desk->store, CALL_REAP), 1);
    assert_int_equal(desk->sweep.mass_deaths, 1);
}

static void
who_is_heard_without_a_lease_counts_as_one_of_many(void **state)
{
    struct desk *desk = *state;
    lead(desk);
    answer_list(desk, 5, five, all_live);
    heartbeat(desk, five[0]);
    heartbeat(desk, five[1]);
    heartbeat(desk, five[2]);
    tick(desk);
    answer_list(desk, 5, five, three_die);
    assert_int_equal(desk->sweep.mass_deaths, 1);
}

static void
who_takes_its_lease_again_meanwhile_loses_nothing(void **state)
{
    struct desk *desk = *state;
    lead(desk);
    answer_list(desk, 5, five, three_die);
    tick(desk);
    answer_list(desk, 5, five, all_live);
    pass(desk, 2 * MASS_DEATH_HOLD_MS);
    assert_int_equal(calls_open_of(&desk->store, CALL_REAP), 0);
    assert_int_equal(desk->sweep.nodes_reaped, 0);
}

static void
few_deaths_hold_nothing(void **state)
{
    struct desk *desk = *state;
    lead(desk);
    answer_list(desk, 5, five, two_die);
    assert_int_equal(calls_open_of(&desk->store, CALL_REAP), 1);
    assert_int_equal(desk->sweep.mass_deaths, 0);
}

static void
nothing_is_reaped_while_redis_has_just_been_started(void **state)
{
    struct desk *desk = *state;
    tick(desk);
    answer_lead_up(desk, true, 7, 8);
    answer_clock(desk);
    desk->sweep.hold_until_ms = 0;
    tick(desk);
    answer_one(desk, NODE_B, false);
    assert_int_equal(calls_open_of(&desk->store, CALL_REAP), 0);
    tick(desk);
    tick(desk);
    assert_int_equal(calls_open_of(&desk->store, CALL_REAP), 0); // 9.5 s
    tick(desk);
    assert_int_equal(calls_open_of(&desk->store, CALL_REAP), 1);
}

static void
a_redis_that_was_started_again_is_not_believed_by_what_was_known_of_it(void **state)
{
    struct desk *desk = *state;
    dead(desk, NODE_A);
    answer_all(&desk->store, SY_ELOST);
    sweep_on_store_state(&desk->sweep, false);
    assert_false(desk->sweep.is_leader);
    sweep_on_store_state(&desk->sweep, true);
    tick(desk);
    assert_int_equal(calls_open_of(&desk->store, CALL_REAP), 0);
    answer_lead_up(desk, true, 7, 0);
    answer_clock(desk);
    tick(desk);
    answer_one(desk, NODE_A, false);
    assert_int_equal(calls_open_of(&desk->store, CALL_REAP), 0); // up for less than a lease
}

// Asks for clock and leadership are answered, for `ms`.
static void
pass_with_clock(struct desk *desk, uint64_t ms, bool has_lease)
{
    for (uint64_t until_ms = desk->sweep.now_ms + ms; desk->sweep.now_ms < until_ms;) {
        tick(desk);
        if (calls_open_of(&desk->store, CALL_LEAD) > 0)
            answer_lead(desk, true, 7);
        if (calls_open_of(&desk->store, CALL_LIST_NODES) > 0)
            answer_one(desk, NODE_B, has_lease);
        else
            answer_clock(desk);
    }
}

static void
a_jump_of_the_clock_holds_reaping_for_a_while(void **state)
{
    struct desk *desk = *state;
    lead(desk);
    answer_one(desk, NODE_B, true);
    tick(desk);
    desk->redis_ahead_ms += 60000; // and every lease has ended
    answer_one(desk, NODE_B, false);
    assert_int_equal(desk->sweep.clock_jumps, 1);
    assert_int_equal(desk->store.made[CALL_REAP], 0);
    uint64_t jumped_ms = desk->sweep.now_ms;
    while (desk->sweep.now_ms + TICK_MS < jumped_ms + MASS_DEATH_HOLD_MS)
        pass_with_clock(desk, TICK_MS, false);
    assert_int_equal(desk->store.made[CALL_REAP], 0);
    pass_with_clock(desk, TICK_MS, false);
    assert_int_equal(desk->store.made[CALL_REAP], 1);
    assert_int_equal(desk->sweep.clock_jumps, 1);
}

static void
nothing_is_judged_before_the_clock_is_read(void **state)
{
    struct desk *desk = *state;
    const char *node = NODE_B;
    const bool lives = true, ended = false;
    lead(desk);
    answer_list(desk, 1, &node, &lives);
    desk->sweep.now_ms += SUSPECT_MS;
    sweep_tick(&desk->sweep);
    answer_list(desk, 1, &node, &lives);
    assert_int_equal(find(desk, NODE_B)->state, NODE_SUSPECT);
    tick(desk);
    answer_nodes_of(desk, 1, &node, &ended);
    assert_int_equal(find(desk, NODE_B)->state, NODE_SUSPECT);
    heartbeat(desk, NODE_B); // looks at it, but does not judge its lease
    assert_int_equal(find(desk, NODE_B)->state, NODE_SUSPECT);
    answer_error(call_of(&desk->store, CALL_CLOCK), SY_ETIME);
    assert_int_equal(find(desk, NODE_B)->state, NODE_SUSPECT);
    assert_int_equal(desk->store.made[CALL_REAP], 0);
    desk->sweep.now_ms += SUSPECT_MS; // heard no more
    sweep_tick(&desk->sweep);
    answer_list(desk, 1, &node, &ended);
    assert_int_equal(desk->store.made[CALL_REAP], 1);
}

static void
an_edge_that_is_heard_keeps_its_links_when_redis_lost_its_lease(void **state)
{
    struct desk *desk = *state;
    const char *node = NODE_B;
    const bool lives = true, ended = false;
    lead(desk);
    answer_list(desk, 1, &node, &lives);
    heartbeat(desk, NODE_B);
    tick(desk); // all data is lost, and a login writes a row before the next renewal
    answer_list(desk, 0, NULL, NULL);
    tick(desk);
    answer_list(desk, 1, &node, &ended);
    assert_int_equal(find(desk, NODE_B)->state, NODE_SUSPECT);
    assert_int_equal(desk->store.made[CALL_REAP], 0);
    tick(desk);
    answer_list(desk, 1, &node, &lives);
    assert_int_equal(find(desk, NODE_B)->state, NODE_ALIVE);
    // Its lease ends again, and it goes on speaking: it cannot reach Redis.
    for (uint64_t ms = 0; ms < RETAKE_MS; ms += TICK_MS) {
        tick(desk);
        heartbeat(desk, NODE_B);
        answer_list(desk, 1, &node, &ended);
        assert_int_equal(desk->store.made[CALL_REAP], 0);
    }
    tick(desk);
    heartbeat(desk, NODE_B);
    answer_list(desk, 1, &node, &ended);
    assert_int_equal(desk->store.made[CALL_REAP], 1);
}

static void
a_follower_that_takes_over_at_the_jump_has_seen_it(void **state)
{
    struct desk *desk = *state;
    for (int i = 0; i < 40; i++) {
        tick(desk);
        answer_lead(desk, false, 6);
        answer_clock(desk);
    }
    desk->redis_ahead_ms += 60000; // the leader's lease has ended with all others
    tick(desk);
    answer_lead(desk, true, 7);
    answer_clock(desk);
    tick(desk);
    answer_one(desk, NODE_B, false);
    assert_int_equal(desk->sweep.clock_jumps, 1);
    assert_int_equal(desk->store.made[CALL_REAP], 0);
}

static void
a_follower_that_has_watched_reaps_at_once_when_it_leads(void **state)
{
    struct desk *desk = *state;
    for (uint64_t ms = 0; ms <= WATCH_MS; ms += TICK_MS) {
        tick(desk);
        answer_lead(desk, false, 6);
        answer_clock(desk);
    }
    tick(desk);
    answer_lead(desk, true, 7);
    answer_clock(desk);
    tick(desk);
    answer_one(desk, NODE_B, false);
    assert_int_equal(desk->store.made[CALL_REAP], 1);
}

static void
a_new_sweeper_watches_for_a_lease_first(void **state)
{
    struct desk *desk = *state;
    tick(desk);
    answer_lead(desk, true, 7);
    answer_clock(desk);
    uint64_t first_ms = desk->sweep.now_ms;
    while (desk->sweep.now_ms + TICK_MS < first_ms + WATCH_MS)
        pass_with_clock(desk, TICK_MS, false);
    assert_int_equal(desk->store.made[CALL_REAP], 0);
    pass_with_clock(desk, TICK_MS, false);
    assert_int_equal(desk->store.made[CALL_REAP], 1);
}

// Redis answers nothing for so many rounds, then says that there is no lease.
static void
be_away(struct desk *desk, unsigned rounds)
{
    lead(desk);
    answer_one(desk, NODE_B, true);
    desk->store.is_up = false;
    for (unsigned i = 0; i + 1 < rounds; i++)
        tick(desk);
    desk->store.is_up = true;
    tick(desk);
    answer_one(desk, NODE_B, false);
}

static void
a_redis_that_was_away_holds_reaping_for_a_lease(void **state)
{
    struct desk *desk = *state;
    be_away(desk, REDIS_AWAY_MS / ROUND_MS);
    assert_int_equal(desk->store.made[CALL_REAP], 0);
    pass_with_clock(desk, WATCH_MS - TICK_MS, false);
    assert_int_equal(desk->store.made[CALL_REAP], 0);
    pass_with_clock(desk, TICK_MS, false);
    assert_int_equal(desk->store.made[CALL_REAP], 1);
}

static void
a_shorter_absence_holds_nothing(void **state)
{
    struct desk *desk = *state;
    be_away(desk, REDIS_AWAY_MS / ROUND_MS - 1);
    assert_int_equal(desk->store.made[CALL_REAP], 1);
}

static void
a_pause_of_the_sweeper_is_no_absence_of_redis(void **state)
{
    struct desk *desk = *state;
    lead(desk);
    answer_one(desk, NODE_B, true);
    desk->sweep.now_ms += 20000;
    sweep_tick(&desk->sweep); // it leads no more
    answer_lead(desk, true, 8);
    answer_clock(desk);
    tick(desk);
    answer_one(desk, NODE_B, false);
    assert_int_equal(desk->store.made[CALL_REAP], 1);
}

// Looking when a lease ends.

static void
answer_lease_left(struct desk *desk, uint64_t left_ms)
{
    store_nodes_cb *done;
    struct store_node node = {.node = NODE_B, .has_lease = true, .lease_left_ms = left_ms};
    struct call *call = call_of(&desk->store, CALL_LIST_NODES);
    call->is_answered = true;
    memcpy(&done, &call->done, sizeof(done));
    done(call->arg, 0, &node, 1);
    answer_clock(desk);
}

static void
a_lease_is_looked_at_when_it_must_end(void **state)
{
    struct desk *desk = *state;
    lead(desk);
    answer_lease_left(desk, 220);
    uint64_t looked_ms = desk->sweep.now_ms;
    desk->sweep.now_ms = looked_ms + 220;
    sweep_tick(&desk->sweep);
    assert_int_equal(calls_open_of(&desk->store, CALL_LIST_NODES), 0);
    desk->sweep.now_ms = looked_ms + 221;
    sweep_tick(&desk->sweep);
    answer_one(desk, NODE_B, false);
    assert_int_equal(desk->store.made[CALL_REAP], 1);
}

static void
a_lease_renewed_meanwhile_is_looked_at_at_its_new_end(void **state)
{
    struct desk *desk = *state;
    lead(desk);
    answer_lease_left(desk, 220);
    desk->sweep.now_ms += 221;
    sweep_tick(&desk->sweep);
    answer_lease_left(desk, LEASE_MS);
    desk->sweep.now_ms += SWEEP_TICK_MS;
    sweep_tick(&desk->sweep);
    assert_int_equal(calls_open_of(&desk->store, CALL_LIST_NODES), 0);
    assert_int_equal(desk->store.made[CALL_REAP], 0);
}

// Probing.

static void
hint(struct desk *desk, const char *node)
{
    char id[NODE_ID_SIZE], origin[NODE_ID_SIZE] = NODE_A;
    uint8_t bytes[256];
    Switchyard__Bus__V1__NodeUnheard unheard;
    switchyard__bus__v1__node_unheard__init(&unheard);
    strcpy(id, node);
    unheard.node = id;
    unheard.origin = origin;
    size_t len = switchyard__bus__v1__node_unheard__pack(&unheard, bytes);
    sweep_on_bus(&desk->sweep, SUBJECT_NODE_UNHEARD, bytes, len, false);
}

// Nobody listened to the probe; there must have been one.
static void
answer_probe(struct desk *desk, const char *node)
{
    assert_true(desk->bus.count > 0);
    const struct parcel *probe = &desk->bus.parcels[desk->bus.count - 1];
    char subject[SUBJECT_SIZE];
    subject_node(node, subject);
    assert_string_equal(probe->subject, subject);
    const Switchyard__Bus__V1__BusFrame *frame = bus_frame(&desk->bus, desk->bus.count - 1);
    assert_string_equal(frame->origin, SWEEPER);
    assert_int_equal(frame->n_items, 0);
    sweep_on_bus(&desk->sweep, probe->reply, "", 0, true);
}

static void
a_hint_is_probed_and_no_responders_make_suspect_at_once(void **state)
{
    struct desk *desk = *state;
    lead(desk);
    answer_one(desk, NODE_B, true);
    heartbeat(desk, NODE_B);
    const struct swept_node *node = find(desk, NODE_B);
    hint(desk, NODE_B);
    assert_int_equal(node->state, NODE_ALIVE); // the word of one edge is not enough
    answer_probe(desk, NODE_B);
    assert_int_equal(node->state, NODE_SUSPECT);
    hint(desk, NODE_B); // known by now
    assert_int_equal(desk->bus.count, 1);
    assert_int_equal(desk->store.made[CALL_REAP], 0);
    tick(desk);
    answer_one(desk, NODE_B, true); // its lease alone decides
    assert_int_equal(node->state, NODE_SUSPECT);
    assert_int_equal(desk->store.made[CALL_REAP], 0);
    heartbeat(desk, NODE_B);
    assert_int_equal(node->state, NODE_ALIVE);
}

static void
many_hints_are_one_probe_in_a_second(void **state)
{
    struct desk *desk = *state;
    lead(desk);
    answer_one(desk, NODE_B, true);
    for (int i = 0; i < 100; i++)
        hint(desk, NODE_B);
    assert_int_equal(desk->bus.count, 1);
    desk->sweep.now_ms += PROBE_MS - 1;
    hint(desk, NODE_B);
    assert_int_equal(desk->bus.count, 1);
    desk->sweep.now_ms += 1;
    hint(desk, NODE_B);
    assert_int_equal(desk->bus.count, 2);
}

static void
a_silent_node_is_probed_until_it_is_unheard(void **state)
{
    struct desk *desk = *state;
    lead(desk);
    answer_one(desk, NODE_B, true);
    desk->sweep.now_ms += SUSPECT_MS;
    sweep_tick(&desk->sweep);
    answer_one(desk, NODE_B, true);
    assert_int_equal(desk->bus.count, 1);
    desk->sweep.now_ms += PROBE_MS;
    sweep_tick(&desk->sweep);
    answer_one(desk, NODE_B, true);
    assert_int_equal(desk->bus.count, 2);
    answer_probe(desk, NODE_B);
    assert_true(find(desk, NODE_B)->facts.is_unheard);
    desk->sweep.now_ms += PROBE_MS;
    sweep_tick(&desk->sweep);
    answer_one(desk, NODE_B, true);
    assert_int_equal(desk->bus.count, 2);
}

static void
hints_that_lead_nowhere_are_dropped(void **state)
{
    struct desk *desk = *state;
    lead(desk);
    answer_one(desk, NODE_B, true);
    hint(desk, NODE_C); // in no directory
    sweep_on_bus(&desk->sweep, SUBJECT_NODE_UNHEARD, "\xff", 1, false);
    sweep_on_bus(&desk->sweep, "unheard.x", "", 0, true);
    assert_int_equal(desk->bus.count, 0);
    assert_null(find(desk, NODE_C));
    desk->sweep.is_leader = false;
    hint(desk, NODE_B);
    assert_int_equal(desk->bus.count, 0);
    desk->sweep.is_leader = true;
    desk->bus.is_up = false;
    hint(desk, NODE_B);
    assert_int_equal(find(desk, NODE_B)->state, NODE_ALIVE);
}

// Scrubbing.

static void
expect_scrub(struct desk *desk, enum call_kind kind, unsigned batch)
{
    struct call *call = call_of(&desk->store, kind);
    assert_int_equal(call->number, 0);
    assert_int_equal(call->batch, batch);
    tick(desk);
    assert_int_equal(calls_open_of(&desk->store, kind), 1); // one at a time
    answer_scrub(desk, kind, 4711, 2);
    tick(desk);
    assert_int_equal(call_of(&desk->store, kind)->number, 4711);
    answer_error(call_of(&desk->store, kind), SY_ETIME);
    tick(desk);
    assert_int_equal(call_of(&desk->store, kind)->number, 4711);
    answer_scrub(desk, kind, 0, 0);
    tick(desk);
    assert_int_equal(call_of(&desk->store, kind)->number, 0);
}

static void
the_scrub_goes_on_where_it_was_and_around(void **state)
{
    struct desk *desk = *state;
    lead(desk);
    expect_scrub(desk, CALL_SCRUB, SCRUB_KEYS);
}

static void
rows_are_not_scrubbed_while_a_node_is_reaped(void **state)
{
    struct desk *desk = *state;
    desk->keeps_scrub = true;
    lead(desk);
    answer_one(desk, NODE_B, false);
    assert_int_equal(calls_open_of(&desk->store, CALL_SCRUB_ROWS), 1);
    assert_int_equal(calls_open_of(&desk->store, CALL_REAP), 0);
    answer_scrub(desk, CALL_SCRUB_ROWS, 7, 0); // then it begins at once
    struct call *call = call_of(&desk->store, CALL_REAP);
    tick(desk);
    assert_int_equal(calls_open_of(&desk->store, CALL_SCRUB_ROWS), 0);
    answer_reap(call, 1, 1, 0);
    tick(desk);
    assert_int_equal(call_of(&desk->store, CALL_SCRUB_ROWS)->number, 7);
}

static void
so_does_the_scrub_of_rows(void **state)
{
    struct desk *desk = *state;
    lead(desk);
    expect_scrub(desk, CALL_SCRUB_ROWS, SCRUB_USERS);
}

#define SWEEP_TEST(claim) cmocka_unit_test_setup_teardown(claim, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        SWEEP_TEST(only_the_leader_looks),
        SWEEP_TEST(a_leader_renews_in_time_and_asks_once_at_a_time),
        SWEEP_TEST(leadership_ends_by_time_from_when_it_was_asked_for),
        SWEEP_TEST(a_renewal_that_fails_leaves_leadership_to_its_time),
        SWEEP_TEST(without_redis_nothing_is_known_and_nothing_done),
        SWEEP_TEST(one_that_leaves_does_nothing_more),
        SWEEP_TEST(silence_makes_suspect_and_a_heartbeat_clears_it),
        SWEEP_TEST(a_heartbeat_makes_no_node_and_wakes_no_dead),
        SWEEP_TEST(a_node_that_left_the_directory_is_forgotten),
        SWEEP_TEST(a_dead_node_is_reaped_in_batches_and_told_once),
        SWEEP_TEST(a_node_down_that_cannot_be_told_is_reaped_all_the_same),
        SWEEP_TEST(nodes_are_reaped_one_after_another),
        SWEEP_TEST(a_listing_during_a_batch_does_not_free_the_node),
        SWEEP_TEST(the_pace_is_kept),
        SWEEP_TEST(entries_without_a_row_count_for_the_pace_too),
        SWEEP_TEST(a_node_that_is_back_is_left_alone_and_counted_anew),
        SWEEP_TEST(a_stale_fence_stops_the_sweeper),
        SWEEP_TEST(who_leads_again_knows_nothing_of_before),
        SWEEP_TEST(a_batch_that_failed_is_tried_again_at_the_next_tick),
        SWEEP_TEST(many_deaths_at_once_hold_reaping_for_a_while),
        SWEEP_TEST(who_is_heard_without_a_lease_counts_as_one_of_many),
        SWEEP_TEST(who_takes_its_lease_again_meanwhile_loses_nothing),
        SWEEP_TEST(few_deaths_hold_nothing),
        SWEEP_TEST(nothing_is_reaped_while_redis_has_just_been_started),
        SWEEP_TEST(a_redis_that_was_started_again_is_not_believed_by_what_was_known_of_it),
        SWEEP_TEST(a_jump_of_the_clock_holds_reaping_for_a_while),
        SWEEP_TEST(nothing_is_judged_before_the_clock_is_read),
        SWEEP_TEST(an_edge_that_is_heard_keeps_its_links_when_redis_lost_its_lease),
        SWEEP_TEST(a_follower_that_takes_over_at_the_jump_has_seen_it),
        SWEEP_TEST(a_follower_that_has_watched_reaps_at_once_when_it_leads),
        SWEEP_TEST(a_new_sweeper_watches_for_a_lease_first),
        SWEEP_TEST(a_redis_that_was_away_holds_reaping_for_a_lease),
        SWEEP_TEST(a_shorter_absence_holds_nothing),
        SWEEP_TEST(a_pause_of_the_sweeper_is_no_absence_of_redis),
        SWEEP_TEST(a_lease_is_looked_at_when_it_must_end),
        SWEEP_TEST(a_lease_renewed_meanwhile_is_looked_at_at_its_new_end),
        SWEEP_TEST(a_hint_is_probed_and_no_responders_make_suspect_at_once),
        SWEEP_TEST(many_hints_are_one_probe_in_a_second),
        SWEEP_TEST(a_silent_node_is_probed_until_it_is_unheard),
        SWEEP_TEST(hints_that_lead_nowhere_are_dropped),
        SWEEP_TEST(the_scrub_goes_on_where_it_was_and_around),
        SWEEP_TEST(so_does_the_scrub_of_rows),
        SWEEP_TEST(rows_are_not_scrubbed_while_a_node_is_reaped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
