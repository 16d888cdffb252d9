// test_fence.c: when users are sent away since this edge alone lost something.
#include <string.h>

#include "tests/unit/edge/fake.h"

// Rules.

static struct fence_facts
without_redis(unsigned heard, unsigned leased)
{
    return (struct fence_facts){
        .had_lease = true, .is_bus_up = true, .heard = heard, .heard_leased = leased};
}

static struct fence_facts
without_nats(uint64_t down_ms, unsigned told, unsigned on_nats)
{
    return (struct fence_facts){.had_lease = true,
                                .has_lease = true,
                                .bus_down_ms = down_ms,
                                .told = told,
                                .told_on_nats = on_nats};
}

static uint8_t
suspicion(struct fence_facts facts)
{
    return fence_suspicion(&facts);
}

static void
a_lost_lease_counts_when_at_least_half_of_the_others_hold_theirs(void **state)
{
    (void)state;
    assert_int_equal(suspicion(without_redis(1, 1)), DRAIN_NO_REDIS);
    assert_int_equal(suspicion(without_redis(4, 2)), DRAIN_NO_REDIS);
    assert_int_equal(suspicion(without_redis(5, 2)), 0);
    assert_int_equal(suspicion(without_redis(3, 0)), 0); // everybody lost it
    assert_int_equal(suspicion(without_redis(0, 0)), 0); // nobody is there
}

static void
with_a_lease_or_without_the_bus_nothing_is_said_of_redis(void **state)
{
    (void)state;
    struct fence_facts facts = without_redis(2, 2);
    facts.has_lease = true;
    assert_int_equal(fence_suspicion(&facts), 0);
    facts = without_redis(2, 2);
    facts.is_bus_up = false;
    assert_int_equal(fence_suspicion(&facts), 0); // both are gone: it is us, but who knows
    facts = without_redis(2, 2);
    facts.had_lease = false;
    assert_int_equal(fence_suspicion(&facts), 0);
}

static void
a_lost_bus_counts_when_at_least_half_of_the_others_are_on_it(void **state)
{
    (void)state;
    assert_int_equal(suspicion(without_nats(1, 1, 1)), DRAIN_NO_NATS);
    assert_int_equal(suspicion(without_nats(1, 4, 2)), DRAIN_NO_NATS);
    assert_int_equal(suspicion(without_nats(1, 5, 2)), 0);
    assert_int_equal(suspicion(without_nats(1, 0, 0)), 0);
    struct fence_facts facts = without_nats(1, 2, 2);
    facts.has_lease = false;
    assert_int_equal(fence_suspicion(&facts), 0);
}

static void
the_others_must_say_so_for_five_seconds(void **state)
{
    (void)state;
    struct fence fence = {0};
    struct fence_facts lost = without_redis(2, 2);
    struct fence_facts all_lost = without_redis(2, 0);
    assert_false(fence_judge(&fence, &lost, 100000));
    assert_false(fence_judge(&fence, &all_lost, 102000)); // and from the beginning
    assert_false(fence_judge(&fence, &lost, 103000));
    assert_false(fence_judge(&fence, &lost, 107999));
    assert_int_equal(fence.cause, 0);
    assert_true(fence_judge(&fence, &lost, 108000));
    assert_int_equal(fence.cause, DRAIN_NO_REDIS);
    assert_false(fence_judge(&fence, &lost, 109000));
}

static void
it_ends_at_once_when_the_lease_is_back_or_everybody_has_lost_it(void **state)
{
    (void)state;
    struct fence_facts lost = without_redis(2, 2);
    struct fence_facts back = lost;
    back.has_lease = true;
    struct fence_facts all_lost = without_redis(2, 0);
    const struct fence_facts *ends[] = {&back, &all_lost};
    for (size_t i = 0; i < 2; i++) {
        struct fence fence = {0};
        fence_judge(&fence, &lost, 100000);
        assert_true(fence_judge(&fence, &lost, 105000));
        assert_true(fence_judge(&fence, ends[i], 105001));
        assert_int_equal(fence.cause, 0);
    }
}

static void
without_nats_it_takes_thirty_seconds(void **state)
{
    (void)state;
    struct fence fence = {0};
    struct fence_facts facts = without_nats(20000, 2, 2);
    fence_judge(&fence, &facts, 120000);
    facts.bus_down_ms = 29999;
    assert_false(fence_judge(&fence, &facts, 129999));
    facts.bus_down_ms = 30000;
    assert_true(fence_judge(&fence, &facts, 130000));
    assert_int_equal(fence.cause, DRAIN_NO_NATS);
    facts = (struct fence_facts){.had_lease = true, .has_lease = true, .is_bus_up = true};
    assert_true(fence_judge(&fence, &facts, 131000));
    assert_int_equal(fence.cause, 0);
}

static void
one_trouble_that_becomes_the_other_is_judged_anew(void **state)
{
    (void)state;
    struct fence fence = {0};
    struct fence_facts redis = without_redis(2, 2);
    struct fence_facts nats = without_nats(40000, 2, 2);
    fence_judge(&fence, &redis, 100000);
    fence_judge(&fence, &redis, 105000);
    assert_true(fence_judge(&fence, &nats, 106000));
    assert_int_equal(fence.cause, 0);
    assert_true(fence_judge(&fence, &nats, 111000));
    assert_int_equal(fence.cause, DRAIN_NO_NATS);
}

// An edge.

// A second passes with heartbeats of both others.
static void
second(struct rig *rig, bool b_has_directory, bool c_has_directory)
{
    rig_pass(rig, 1000);
    if (rig->bus.is_up) {
        rig_heartbeat_of(rig, NODE_B, b_has_directory);
        rig_heartbeat_of(rig, NODE_C, c_has_directory);
    }
    edge_tick(&rig->edge);
    while (rig->store.is_up && calls_open_of(&rig->store, CALL_HEARTBEAT) > 0)
        answer_beat(call_of(&rig->store, CALL_HEARTBEAT), false, 1);
    rig_turn_end(rig);
}

static void
an_edge_that_alone_lost_redis_sends_its_clients_away_until_it_is_back(void **state)
{
    struct rig *rig = *state;
    const char *why;
    second(rig, true, true);
    rig_login(rig, "alice", "phone");
    store_goes_down(rig);
    for (int i = 0; i < 14; i++) { // 10 s of lease, 5 s of agreement
        second(rig, true, true);
        assert_false(drain_is_running(&rig->edge));
    }
    second(rig, true, true);
    assert_true(drain_is_running(&rig->edge));
    assert_int_equal(rig->edge.drain.cause, DRAIN_NO_REDIS);
    assert_int_equal(rig->edge.counters.fences, 1);
    assert_false(edge_is_ready(&rig->edge, &why));
    store_comes_up(rig);
    answer_beat(call_of(&rig->store, CALL_HEARTBEAT), true, 1);
    second(rig, true, true);
    assert_false(drain_is_running(&rig->edge));
    assert_true(edge_is_ready(&rig->edge, &why));
}

static void
when_everybody_lost_redis_everybody_stays(void **state)
{
    struct rig *rig = *state;
    second(rig, true, true);
    rig_login(rig, "alice", "phone");
    store_goes_down(rig);
    for (int i = 0; i < 60; i++)
        second(rig, false, false);
    assert_false(drain_is_running(&rig->edge));
}

static void
peers_not_heard_for_three_seconds_say_nothing(void **state)
{
    struct rig *rig = *state;
    second(rig, true, true);
    store_goes_down(rig);
    for (int i = 0; i < 60; i++) {
        rig_pass(rig, 1000);
        edge_tick(&rig->edge);
    }
    assert_false(drain_is_running(&rig->edge));
}

static void
bus_goes(struct rig *rig, bool up)
{
    rig->bus.is_up = up;
    edge_on_bus_state(&rig->edge, up, "test");
}

static struct store_node
node_on(const char *name, bool is_on_nats)
{
    struct store_node node = {.has_lease = true, .says_nats = true, .is_on_nats = is_on_nats};
    strcpy(node.node, name);
    return node;
}

// Seconds without the bus; `others` is what the directory tells.
static void
seconds_without_bus(struct rig *rig, int count, const struct store_node *others, size_t other_count)
{
    for (int i = 0; i < count; i++) {
        second(rig, true, true);
        if (calls_open_of(&rig->store, CALL_LIST_NODES) > 0)
            answer_listed(call_of(&rig->store, CALL_LIST_NODES), others, other_count);
    }
}

static void
an_edge_that_alone_lost_nats_sends_its_clients_away_after_thirty_seconds(void **state)
{
    struct rig *rig = *state;
    struct store_node others[] = {node_on(NODE_A, false), node_on(NODE_B, true)};
    second(rig, true, true);
    rig_login(rig, "alice", "phone");
    bus_goes(rig, false);
    seconds_without_bus(rig, 14, others, 2);
    assert_int_equal(rig->store.made[CALL_LIST_NODES], 0);
    seconds_without_bus(rig, 15, others, 2);
    assert_int_equal(rig->store.made[CALL_LIST_NODES], 3); // every five seconds
    assert_false(drain_is_running(&rig->edge));
    seconds_without_bus(rig, 1, others, 2);
    assert_true(drain_is_running(&rig->edge));
    assert_int_equal(rig->edge.drain.cause, DRAIN_NO_NATS);
    bus_goes(rig, true);
    second(rig, true, true);
    assert_false(drain_is_running(&rig->edge));
}

static void
nodes_that_are_dead_leave_or_do_not_say_are_not_counted(void **state)
{
    struct rig *rig = *state;
    struct store_node others[] = {node_on(NODE_B, true), node_on(NODE_B, true),
                                  node_on(NODE_B, true), node_on(NODE_C, false)};
    others[0].has_lease = false;
    others[1].is_draining = true;
    others[2].says_nats = false;
    second(rig, true, true);
    bus_goes(rig, false);
    seconds_without_bus(rig, 60, others, 4);
    assert_int_equal(rig->edge.fence.told, 1);
    assert_false(drain_is_running(&rig->edge));
    // Nobody at all:
    seconds_without_bus(rig, 60, others, 3);
    assert_false(drain_is_running(&rig->edge));
}

static void
the_lease_says_whether_the_edge_is_on_nats_and_since_when(void **state)
{
    struct rig *rig = *state;
    bus_goes(rig, true);
    uint64_t up_ms = rig->edge.wall_ms;
    lease_renew(&rig->edge);
    struct call *call = call_of(&rig->store, CALL_HEARTBEAT);
    assert_true(call->self.says_nats && call->self.is_on_nats);
    assert_int_equal(call->self.nats_since_ms, up_ms);
    answer_beat(call, true, 1);
    rig_pass(rig, 700);
    bus_goes(rig, false);
    lease_renew(&rig->edge);
    call = call_of(&rig->store, CALL_HEARTBEAT);
    assert_false(call->self.is_on_nats);
    assert_int_equal(call->self.nats_since_ms, up_ms + 700);
}

static void
who_leaves_anyway_is_not_fenced(void **state)
{
    struct rig *rig = *state;
    second(rig, true, true);
    edge_start_drain(&rig->edge);
    store_goes_down(rig);
    for (int i = 0; i < 30; i++)
        second(rig, true, true);
    assert_int_equal(rig->edge.fence.cause, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lost_lease_counts_when_at_least_half_of_the_others_hold_theirs),
        cmocka_unit_test(with_a_lease_or_without_the_bus_nothing_is_said_of_redis),
        cmocka_unit_test(a_lost_bus_counts_when_at_least_half_of_the_others_are_on_it),
        cmocka_unit_test(the_others_must_say_so_for_five_seconds),
        cmocka_unit_test(it_ends_at_once_when_the_lease_is_back_or_everybody_has_lost_it),
        cmocka_unit_test(without_nats_it_takes_thirty_seconds),
        cmocka_unit_test(one_trouble_that_becomes_the_other_is_judged_anew),
        RIG_TEST(an_edge_that_alone_lost_redis_sends_its_clients_away_until_it_is_back),
        RIG_TEST(when_everybody_lost_redis_everybody_stays),
        RIG_TEST(peers_not_heard_for_three_seconds_say_nothing),
        RIG_TEST(an_edge_that_alone_lost_nats_sends_its_clients_away_after_thirty_seconds),
        RIG_TEST(nodes_that_are_dead_leave_or_do_not_say_are_not_counted),
        RIG_TEST(the_lease_says_whether_the_edge_is_on_nats_and_since_when),
        RIG_TEST(who_leaves_anyway_is_not_fenced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
