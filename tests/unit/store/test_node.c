// Leases and the list of nodes, against a real Redis.
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct server server;
static uv_loop_t loop;
static struct peer peer;

static int
start(void **state)
{
    (void)state;
    server_start(&server);
    uv_loop_init(&loop);
    peer_open(&peer, &loop, &server, (struct store_opts){.max_in_flight = 50});
    peer_wait_up(&peer, &loop);
    return 0;
}

static int
stop(void **state)
{
    (void)state;
    peer_close(&peer, &loop);
    assert_int_equal(uv_loop_close(&loop), 0);
    server_stop(&server);
    return 0;
}

static int
flush(void **state)
{
    (void)state;
    assert_string_equal(server_ask(&server, "FLUSHALL"), "OK");
    return 0;
}

struct beat {
    int calls;
    int error;
    bool was_lost; // another lease than that of the beat before
    uint64_t taken;
    uint64_t gen;
};

static void
on_beat(void *arg, int error, uint64_t taken, uint64_t gen)
{
    static uint64_t last;
    struct beat *beat = arg;
    *beat = (struct beat){beat->calls + 1, error, taken != last, taken, gen};
    last = taken;
}

static const struct store_node self = {
    .node = NODE_A,
    .connections = 12,
    .max_connections = 500,
    .started_ms = 1700000000123,
    .says_nats = true,
    .is_on_nats = true,
    .nats_since_ms = 1700000000456,
    .url = "ws://10.0.0.1:8000/ws",
};

static struct beat
do_beat(const struct store_node *node)
{
    struct beat beat = {0};
    store_heartbeat(peer.store, node, on_beat, &beat);
    assert_int_equal(beat.calls, 0);
    wait_for(&loop, &beat.calls, 1);
    return beat;
}

struct nodes {
    int calls;
    int error;
    size_t count;
    struct store_node nodes[128];
};

static void
on_node(void *arg, int error, const struct store_node *node)
{
    struct nodes *nodes = arg;
    nodes->calls++;
    nodes->error = error;
    assert_true((error == 0) == (node != NULL));
    if (node)
        nodes->nodes[0] = *node;
}

static void
on_nodes(void *arg, int error, const struct store_node *list, size_t count)
{
    struct nodes *nodes = arg;
    nodes->calls++;
    nodes->error = error;
    nodes->count = count;
    for (size_t i = 0; i < count && i < 128; i++)
        nodes->nodes[i] = list[i];
}

static struct nodes
do_read(const char *node)
{
    struct nodes nodes = {0};
    store_read_node(peer.store, node, on_node, &nodes);
    assert_int_equal(nodes.calls, 0);
    wait_for(&loop, &nodes.calls, 1);
    return nodes;
}

static struct nodes
do_list(void)
{
    struct nodes nodes = {0};
    store_list_nodes(peer.store, on_nodes, &nodes);
    assert_int_equal(nodes.calls, 0);
    wait_for(&loop, &nodes.calls, 1);
    return nodes;
}

static void
the_first_beat_finds_no_lease_and_the_next_one_does(void **state)
{
    (void)state;
    struct beat beat = do_beat(&self);
    assert_int_equal(beat.error, 0);
    assert_true(beat.was_lost);
    assert_true(beat.gen != 0);
    uint64_t gen = beat.gen;
    beat = do_beat(&self);
    assert_false(beat.was_lost);
    assert_true(beat.gen == gen);
    assert_string_equal(server_ask(&server, "SMEMBERS sy:nodes"), NODE_A);
    int left = atoi(server_ask(&server, "PTTL sy:lease:{%s}", NODE_A));
    assert_in_range(left, LEASE_MS - 2000, LEASE_MS);
}

static void
a_beat_renews_the_whole_lease(void **state)
{
    (void)state;
    do_beat(&self);
    server_ask(&server, "PEXPIRE sy:lease:{%s} 3000", NODE_A);
    assert_false(do_beat(&self).was_lost);
    int left = atoi(server_ask(&server, "PTTL sy:lease:{%s}", NODE_A));
    assert_in_range(left, LEASE_MS - 2000, LEASE_MS);
}

static void
a_lease_that_ended_is_told(void **state)
{
    (void)state;
    uint64_t gen = do_beat(&self).gen;
    server_ask(&server, "DEL sy:lease:{%s}", NODE_A);
    struct beat beat = do_beat(&self);
    assert_true(beat.was_lost);
    assert_true(beat.gen == gen);
}

static void
a_lease_says_when_it_was_taken_however_often_it_is_renewed(void **state)
{
    (void)state;
    uint64_t seconds = (uint64_t)time(NULL);
    uint64_t taken = do_beat(&self).taken;
    assert_in_range(taken, (seconds - 1) * 1000000, (seconds + 3) * 1000000);
    assert_true(do_beat(&self).taken == taken);
    server_ask(&server, "DEL sy:lease:{%s}", NODE_A);
    do_beat(&self); // its answer may be lost
    assert_true(do_beat(&self).taken > taken);
}

static void
lost_data_shows_as_another_gen(void **state)
{
    (void)state;
    uint64_t gen = do_beat(&self).gen;
    server_ask(&server, "FLUSHALL");
    struct beat beat = do_beat(&self);
    assert_true(beat.was_lost);
    assert_true(beat.gen != gen);
    assert_true(do_beat(&self).gen == beat.gen);
}

static void
a_gen_that_is_no_number_is_an_error(void **state)
{
    (void)state;
    const char *bad[] = {"rubbish",           "0000000000000000", "123456789abcdef",
                         "123456789abcdef01", "123456789ABCDEF0", "-23456789abcdef0"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        server_ask(&server, "SET sy:gen %s", bad[i]);
        assert_int_equal(do_beat(&self).error, SY_EREPLY);
    }
    server_ask(&server, "SET sy:gen 0123456789abcdef");
    assert_true(do_beat(&self).gen == 0x0123456789abcdef);
}

static void
a_beat_survives_flushed_scripts(void **state)
{
    (void)state;
    uint64_t gen = do_beat(&self).gen;
    server_ask(&server, "SCRIPT FLUSH");
    struct beat beat = do_beat(&self);
    assert_int_equal(beat.error, 0);
    assert_false(beat.was_lost);
    assert_true(beat.gen == gen);
}

static void
others_read_what_a_beat_wrote(void **state)
{
    (void)state;
    do_beat(&self);
    struct nodes seen = do_read(NODE_A);
    assert_int_equal(seen.error, 0);
    const struct store_node *node = &seen.nodes[0];
    assert_string_equal(node->node, NODE_A);
    assert_true(node->has_lease);
    assert_false(node->is_draining);
    assert_int_equal(node->connections, 12);
    assert_int_equal(node->max_connections, 500);
    assert_int_equal(node->started_ms, 1700000000123);
    assert_true(node->says_nats);
    assert_true(node->is_on_nats);
    assert_int_equal(node->nats_since_ms, 1700000000456);
    assert_string_equal(node->url, "ws://10.0.0.1:8000/ws");
    assert_in_range(node->lease_left_ms, LEASE_MS - 2000, LEASE_MS);

    struct store_node draining = self;
    draining.is_draining = true;
    draining.connections = 0;
    draining.is_on_nats = false;
    do_beat(&draining);
    seen = do_read(NODE_A);
    assert_true(seen.nodes[0].is_draining);
    assert_true(seen.nodes[0].says_nats);
    assert_false(seen.nodes[0].is_on_nats);
    assert_int_equal(seen.nodes[0].connections, 0);
}

static void
a_node_without_lease_is_absent(void **state)
{
    (void)state;
    assert_int_equal(do_read(NODE_A).error, SY_ENOENT);
    assert_int_equal(do_read("nonsense").error, SY_EINVAL);
    struct store_node bad = self;
    bad.node[0] = '{';
    assert_int_equal(do_beat(&bad).error, SY_EINVAL);
}

static void
a_lease_of_a_newer_edge_may_have_other_fields(void **state)
{
    (void)state;
    server_ask(&server, "HSET sy:lease:{%s} state up weight heavy connections many", NODE_A);
    server_ask(&server, "PEXPIRE sy:lease:{%s} 5000", NODE_A);
    struct nodes seen = do_read(NODE_A);
    assert_int_equal(seen.error, 0);
    assert_true(seen.nodes[0].has_lease);
    assert_int_equal(seen.nodes[0].connections, 0);
}

static void
the_list_has_the_living_and_the_dead(void **state)
{
    (void)state;
    do_beat(&self);
    server_ask(&server, "SADD sy:nodes %s rubbish", NODE_B);
    server_ask(&server, "SADD sy:members:{%s} u/1 u/2 u/3", NODE_B);
    struct nodes seen = do_list();
    assert_int_equal(seen.error, 0);
    assert_int_equal(seen.count, 2);
    bool a_is_first = strcmp(seen.nodes[0].node, NODE_A) == 0;
    const struct store_node *living = &seen.nodes[a_is_first ? 0 : 1];
    const struct store_node *dead = &seen.nodes[a_is_first ? 1 : 0];
    assert_string_equal(living->node, NODE_A);
    assert_true(living->has_lease);
    assert_int_equal(living->connections, 12);
    assert_int_equal(living->members, 0);
    assert_string_equal(dead->node, NODE_B);
    assert_false(dead->has_lease);
    assert_int_equal(dead->members, 3);
}

static void
no_node_is_an_empty_list(void **state)
{
    (void)state;
    struct nodes seen = do_list();
    assert_int_equal(seen.error, 0);
    assert_int_equal(seen.count, 0);
}

// The peer may have 50 commands in flight; 100 nodes need 300, so answers make room.
static void
a_list_longer_than_what_may_be_in_flight_is_complete(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++) {
        server_ask(&server, "SADD sy:nodes n%d.00000000000000ff", i);
        server_ask(&server, "HSET sy:lease:{n%d.00000000000000ff} connections %d", i, i);
        server_ask(&server, "SADD sy:members:{n%d.00000000000000ff} a/%d b/1", i, i);
    }
    struct nodes seen = do_list();
    assert_int_equal(seen.error, 0);
    assert_int_equal(seen.count, 100);
    for (int i = 0; i < 100; i++) {
        unsigned number;
        assert_int_equal(sscanf(seen.nodes[i].node, "n%u.", &number), 1);
        assert_int_equal(seen.nodes[i].connections, number);
        assert_int_equal(seen.nodes[i].members, 2);
    }
}

static void
a_wrong_type_in_the_list_is_an_error(void **state)
{
    (void)state;
    server_ask(&server, "SADD sy:nodes %s %s", NODE_A, NODE_B);
    server_ask(&server, "SET sy:lease:{%s} x", NODE_A);
    assert_int_equal(do_list().error, SY_EREPLY);
    assert_int_equal(do_read(NODE_A).error, SY_EREPLY);
    server_ask(&server, "SET sy:nodes x");
    assert_int_equal(do_list().error, SY_EREPLY);
    assert_int_equal(do_beat(&self).error, SY_EREPLY);
}

static void
a_lease_given_back_is_gone_at_once(void **state)
{
    (void)state;
    struct seen seen = {0};
    do_beat(&self);
    store_release(peer.store, NODE_A, on_done, &seen);
    assert_int_equal(seen.calls, 0);
    wait_for(&loop, &seen.calls, 1);
    assert_int_equal(seen.error, 0);
    assert_int_equal(do_read(NODE_A).error, SY_ENOENT);
    assert_string_equal(server_ask(&server, "SMEMBERS sy:nodes"), NODE_A);
    store_release(peer.store, "nonsense", on_done, &seen);
    wait_for(&loop, &seen.calls, 2);
    assert_int_equal(seen.error, SY_EINVAL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_first_beat_finds_no_lease_and_the_next_one_does, flush),
        cmocka_unit_test_setup(a_beat_renews_the_whole_lease, flush),
        cmocka_unit_test_setup(a_lease_that_ended_is_told, flush),
        cmocka_unit_test_setup(a_lease_says_when_it_was_taken_however_often_it_is_renewed, flush),
        cmocka_unit_test_setup(lost_data_shows_as_another_gen, flush),
        cmocka_unit_test_setup(a_gen_that_is_no_number_is_an_error, flush),
        cmocka_unit_test_setup(a_beat_survives_flushed_scripts, flush),
        cmocka_unit_test_setup(others_read_what_a_beat_wrote, flush),
        cmocka_unit_test_setup(a_node_without_lease_is_absent, flush),
        cmocka_unit_test_setup(a_lease_of_a_newer_edge_may_have_other_fields, flush),
        cmocka_unit_test_setup(the_list_has_the_living_and_the_dead, flush),
        cmocka_unit_test_setup(no_node_is_an_empty_list, flush),
        cmocka_unit_test_setup(a_list_longer_than_what_may_be_in_flight_is_complete, flush),
        cmocka_unit_test_setup(a_wrong_type_in_the_list_is_an_error, flush),
        cmocka_unit_test_setup(a_lease_given_back_is_gone_at_once, flush),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
