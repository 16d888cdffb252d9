// test_peers.c: which other edges live.
#include <stdio.h>
#include <string.h>

#include "tests/unit/edge/fake.h"

#define NOW 1000000

static struct peer *
hear(struct peers *peers, unsigned n, uint32_t connections, uint32_t max, bool is_draining)
{
    char node[NODE_ID_SIZE], url[128];
    Switchyard__Bus__V1__Heartbeat beat;
    switchyard__bus__v1__heartbeat__init(&beat);
    snprintf(node, sizeof(node), "e%u.%016x", n, n);
    snprintf(url, sizeof(url), "ws://e%u/ws", n);
    beat.node = node;
    beat.url = url;
    beat.state = is_draining ? SWITCHYARD__BUS__V1__NODE_STATE__NODE_STATE_DRAINING
                             : SWITCHYARD__BUS__V1__NODE_STATE__NODE_STATE_UP;
    beat.connections = connections;
    beat.max_connections = max;
    peers_hear(peers, &beat, NOW);
    return peers_find(peers, node);
}

static void
a_peer_lives_for_a_lease_after_its_heartbeat(void **state)
{
    (void)state;
    struct peers peers = {.table = NULL};
    const struct peer *peer = hear(&peers, 1, 0, 10, false);
    assert_int_equal(peer_state(peer, NOW), PEER_LIVES);
    assert_int_equal(peer_state(peer, NOW + 9999), PEER_LIVES);
    assert_int_equal(peer_state(peer, NOW + 10000), PEER_UNKNOWN);
    peers_fini(&peers);
}

static void
what_its_lease_said_is_believed_for_a_second(void **state)
{
    (void)state;
    struct peers peers = {.table = NULL};
    struct peer *peer = peers_take(&peers, NODE_B);
    assert_int_equal(peer_state(peer, NOW), PEER_UNKNOWN);
    peer->lease_ms = NOW;
    peer->lease_lives = true;
    assert_int_equal(peer_state(peer, NOW + 999), PEER_LIVES);
    assert_int_equal(peer_state(peer, NOW + 1000), PEER_UNKNOWN);
    peer->lease_lives = false;
    assert_int_equal(peer_state(peer, NOW + 999), PEER_DEAD);
    assert_int_equal(peer_state(peer, NOW + 1000), PEER_UNKNOWN);
    peers_fini(&peers);
}

static void
a_peer_nobody_listens_for_is_cut_off_until_its_next_heartbeat(void **state)
{
    (void)state;
    struct peers peers = {.table = NULL};
    struct peer *peer = hear(&peers, 1, 0, 10, false);
    peer->is_unheard = true;
    assert_int_equal(peer_state(peer, NOW), PEER_UNKNOWN); // its lease decides
    peer->lease_ms = NOW;
    peer->lease_lives = true;
    assert_int_equal(peer_state(peer, NOW), PEER_CUT_OFF);
    peer->lease_lives = false;
    assert_int_equal(peer_state(peer, NOW), PEER_DEAD);
    hear(&peers, 1, 0, 10, false);
    assert_int_equal(peer_state(peer, NOW), PEER_LIVES);
    peers_fini(&peers);
}

static void
our_own_heartbeat_makes_no_peer(void **state)
{
    struct rig *rig = *state;
    rig_heartbeat(rig, NODE_A);
    assert_null(rig->edge.peers.table);
    rig_heartbeat(rig, NODE_B);
    assert_non_null(peers_find(&rig->edge.peers, NODE_B));
}

static void
a_heartbeat_that_cannot_be_read_is_counted(void **state)
{
    struct rig *rig = *state;
    edge_on_bus(&rig->edge, "heartbeat.x", "\xff", 1, false);
    edge_on_bus(&rig->edge, "heartbeat.x", "", 0, false); // no node
    edge_on_bus(&rig->edge, "node.x.y", "\xff", 1, false);
    assert_int_equal(rig->edge.counters.bus_malformed, 3);
    assert_null(rig->edge.peers.table);
}

// Rooms.

static void
rooms_are_told_most_room_first(void **state)
{
    (void)state;
    struct peers peers = {.table = NULL};
    char out[256];
    hear(&peers, 1, 5, 10, false);
    hear(&peers, 2, 1, 10, false);
    hear(&peers, 3, 9, 10, false);
    peers_rooms(&peers, NOW, out, sizeof(out));
    assert_string_equal(out, "ws://e2/ws ws://e1/ws ws://e3/ws");
    peers_rooms(&peers, NOW + 10000, out, sizeof(out));
    assert_string_equal(out, "");
    peers_fini(&peers);
}

static void
full_draining_unheard_and_nameless_edges_have_no_room(void **state)
{
    (void)state;
    struct peers peers = {.table = NULL};
    char out[256];
    hear(&peers, 1, 10, 10, false);
    hear(&peers, 2, 11, 10, false);
    hear(&peers, 3, 0, 10, true);
    hear(&peers, 4, 0, 10, false)->is_unheard = true;
    hear(&peers, 5, 0, 10, false)->url[0] = '\0';
    peers_rooms(&peers, NOW, out, sizeof(out));
    assert_string_equal(out, "");
    hear(&peers, 1, 9, 10, false);
    peers_rooms(&peers, NOW, out, sizeof(out));
    assert_string_equal(out, "ws://e1/ws");
    peers_fini(&peers);
}

static void
at_most_eight_rooms_are_told_and_they_are_the_best(void **state)
{
    (void)state;
    struct peers peers = {.table = NULL};
    char out[256];
    for (unsigned n = 1; n <= 20; n++)
        hear(&peers, 1 + (n * 7) % 20, 0, 10 + (n * 7) % 20, false); // in no order
    peers_rooms(&peers, NOW, out, sizeof(out));
    assert_string_equal(out, "ws://e20/ws ws://e19/ws ws://e18/ws ws://e17/ws ws://e16/ws "
                             "ws://e15/ws ws://e14/ws ws://e13/ws");
    peers_fini(&peers);
}

static void
rooms_are_cut_between_urls_only(void **state)
{
    (void)state;
    struct peers peers = {.table = NULL};
    char out[64];
    for (unsigned n = 1; n <= 8; n++)
        hear(&peers, n, 0, 10, false);
    for (size_t size = 1; size <= sizeof(out); size++) {
        memset(out, 'z', sizeof(out));
        peers_rooms(&peers, NOW, out, size);
        size_t len = strlen(out);
        assert_true(len < size);
        assert_true(len == 0 || (len + 1) % strlen("ws://e1/ws ") == 0);
        for (size_t i = size; i < sizeof(out); i++)
            assert_int_equal(out[i], 'z');
    }
    assert_int_equal(strlen(out), 5 * 11 - 1);
    peers_fini(&peers);
}

static void
a_long_url_is_cut_not_overrun(void **state)
{
    (void)state;
    struct peers peers = {.table = NULL};
    char url[1000];
    Switchyard__Bus__V1__Heartbeat beat;
    switchyard__bus__v1__heartbeat__init(&beat);
    char node[] = NODE_B;
    memset(url, 'u', sizeof(url));
    url[sizeof(url) - 1] = '\0';
    beat.node = node;
    beat.url = url;
    peers_hear(&peers, &beat, NOW);
    assert_int_equal(strlen(peers_find(&peers, NODE_B)->url), 127);
    peers_fini(&peers);
}

// Forgetting.

static void
who_was_not_heard_of_for_ten_minutes_is_forgotten(void **state)
{
    (void)state;
    struct peers peers = {.table = NULL};
    hear(&peers, 1, 0, 10, false);
    peers_forget(&peers, NOW + 600000);
    assert_non_null(peers.table);
    peers_forget(&peers, NOW + 600001);
    assert_null(peers.table);
}

static void
heartbeats_add_peers_up_to_a_bound_and_the_directory_beyond(void **state)
{
    (void)state;
    struct peers peers = {.table = NULL};
    for (unsigned n = 1; n <= PEERS_HEARD_MAX; n++)
        assert_non_null(hear(&peers, n, 0, 10, false));
    assert_null(hear(&peers, PEERS_HEARD_MAX + 1, 0, 10, false));
    assert_int_equal(HASH_COUNT(peers.table), PEERS_HEARD_MAX);
    assert_int_equal(hear(&peers, 1, 7, 10, false)->connections, 7);
    peers_take(&peers, NODE_B);
    assert_non_null(peers_find(&peers, NODE_B));
    peers_fini(&peers);
}

static void
whoever_is_named_by_a_route_or_a_leg_is_kept(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = rig_login(rig, "alice", "phone");
    rig_heartbeat(rig, NODE_B);
    say_send(alice, 1, "bob", "hi");
    answer_nodes(call_of(&rig->store, CALL_RESOLVE), 1, NODE_B);
    rig_turn_end(rig);
    const struct peer *peer = peers_find(&rig->edge.peers, NODE_B);
    assert_int_equal(peer->holds, 2);
    rig_unheard(rig, NODE_B, 1); // the leg ended, but names what was tried
    answer_nodes(call_of(&rig->store, CALL_RESOLVE), 0);
    peers_forget(&rig->edge.peers, rig->edge.now_ms + 1000000);
    assert_ptr_equal(peers_find(&rig->edge.peers, NODE_B), peer);
    assert_int_equal(peer->holds, 1);
    rig_turn_end(rig);
    expect_rejected(alice, 1, REASON_OFFLINE);
    peers_forget(&rig->edge.peers, rig->edge.now_ms + 1000000);
    assert_null(peers_find(&rig->edge.peers, NODE_B));
}

// How many hints were published since bus_forget; each must name the peer and us.
static size_t
count_hints(struct rig *rig, const char *peer)
{
    size_t count = 0;
    struct arena arena;
    arena_init(&arena, 4096);
    for (size_t i = 0; i < rig->bus.count; i++) {
        const struct parcel *parcel = &rig->bus.parcels[i];
        if (strcmp(parcel->subject, SUBJECT_NODE_UNHEARD) != 0)
            continue;
        arena_clear(&arena);
        const Switchyard__Bus__V1__NodeUnheard *hint =
            codec_read_node_unheard(parcel->bytes, parcel->len, &arena);
        assert_non_null(hint);
        assert_string_equal(hint->node, peer);
        assert_string_equal(hint->origin, NODE_A);
        assert_string_equal(parcel->reply, "");
        count++;
    }
    arena_fini(&arena);
    bus_forget(&rig->bus);
    return count;
}

static void
sweepers_are_told_of_an_unheard_peer_once_in_a_second(void **state)
{
    struct rig *rig = *state;
    rig_heartbeat(rig, NODE_B);
    bus_forget(&rig->bus);
    rig_unheard(rig, NODE_B, 1);
    rig_unheard(rig, NODE_B, 2);
    assert_int_equal(count_hints(rig, NODE_B), 1);
    rig->edge.now_ms += PEER_TELL_MS - 1;
    rig_unheard(rig, NODE_B, 3);
    assert_int_equal(count_hints(rig, NODE_B), 0);
    rig->edge.now_ms += 1;
    rig_unheard(rig, NODE_B, 4);
    assert_int_equal(count_hints(rig, NODE_B), 1);
}

static void
without_nats_nobody_is_told_and_nothing_breaks(void **state)
{
    struct rig *rig = *state;
    rig_heartbeat(rig, NODE_B);
    bus_forget(&rig->bus);
    rig->bus.is_up = false;
    rig_unheard(rig, NODE_B, 1);
    assert_int_equal(count_hints(rig, NODE_B), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_peer_lives_for_a_lease_after_its_heartbeat),
        cmocka_unit_test(what_its_lease_said_is_believed_for_a_second),
        cmocka_unit_test(a_peer_nobody_listens_for_is_cut_off_until_its_next_heartbeat),
        RIG_TEST(our_own_heartbeat_makes_no_peer),
        RIG_TEST(a_heartbeat_that_cannot_be_read_is_counted),
        cmocka_unit_test(rooms_are_told_most_room_first),
        cmocka_unit_test(full_draining_unheard_and_nameless_edges_have_no_room),
        cmocka_unit_test(at_most_eight_rooms_are_told_and_they_are_the_best),
        cmocka_unit_test(rooms_are_cut_between_urls_only),
        cmocka_unit_test(a_long_url_is_cut_not_overrun),
        cmocka_unit_test(who_was_not_heard_of_for_ten_minutes_is_forgotten),
        cmocka_unit_test(heartbeats_add_peers_up_to_a_bound_and_the_directory_beyond),
        RIG_TEST(whoever_is_named_by_a_route_or_a_leg_is_kept),
        RIG_TEST(sweepers_are_told_of_an_unheard_peer_once_in_a_second),
        RIG_TEST(without_nats_nobody_is_told_and_nothing_breaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
