// test_routes.c: where users are, read once and remembered.
#include <stdio.h>
#include <string.h>

#include "tests/unit/edge/router_rig.h"

static const struct route *
find(struct rig *rig, const char *user)
{
    return routes_find(&rig->edge, user, strlen(user), table_hash(user, strlen(user)));
}

static void
answer(struct rig *rig, const char *user, const char *node)
{
    struct call *call = call_for(&rig->store, CALL_RESOLVE, user);
    if (node == NULL)
        answer_nodes(call, 0);
    else
        answer_nodes(call, 1, node);
}

// Memory.

static void
a_route_is_remembered_until_its_time_is_up(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    know(rig, alice, "bob", NODE_B);
    rig->edge.now_ms += 9999;
    assert_non_null(find(rig, "bob"));
    rig->edge.now_ms += 1;
    assert_null(find(rig, "bob"));
}

static void
that_a_user_is_nowhere_is_remembered_too(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    know(rig, alice, "bob", NULL);
    assert_int_equal(find(rig, "bob")->peer_count, 0);
}

static void
this_edge_is_never_part_of_a_route(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    say_send(alice, 0, "bob", "hi");
    answer(rig, "bob", NODE_A);
    assert_int_equal(find(rig, "bob")->peer_count, 0);
    assert_null(peers_find(&rig->edge.peers, NODE_A));
}

static void
a_change_that_is_told_ends_the_memory(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    know(rig, alice, "bob", NODE_B);
    rig_invalidate(rig, "carol");
    assert_non_null(find(rig, "bob"));
    rig_invalidate(rig, "bob");
    assert_null(find(rig, "bob"));
}

static void
a_login_here_ends_the_memory_whose_note_it_took(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    know(rig, alice, "bob", NULL);
    struct conn *bob = rig_connect(rig, CODEC_PROTOBUF, NULL);
    say_hello(bob, 1, "bob", "phone");
    assert_non_null(find(rig, "bob"));
    answer_replaced(call_of(&rig->store, CALL_REGISTER), 50, NULL, NODE_A);
    assert_null(find(rig, "bob"));
}

static void
an_edge_that_is_back_is_looked_for_again(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    rig->edge.now_ms += LEASE_MS; // nothing heard since
    say_send(alice, 5, "bob", "hi");
    answer(rig, "bob", NODE_B);
    answer_lease(call_of(&rig->store, CALL_READ_NODE), false);
    rig_turn_end(rig);
    expect_rejected(alice, 5, REASON_OFFLINE);
    rig->edge.now_ms += 1;
    rig_heartbeat(rig, NODE_C); // of which nothing was read
    assert_non_null(find(rig, "bob"));
    rig_heartbeat(rig, NODE_B);
    assert_null(find(rig, "bob"));
    say_send(alice, 6, "bob", "back");
    answer(rig, "bob", NODE_B);
    rig_heartbeat(rig, NODE_B); // one that is not given up changes nothing
    rig_turn_end(rig);
    assert_non_null(find(rig, "bob"));
    assert_int_equal(bus_count_to(&rig->bus, NODE_B), 1);
}

static void
an_edge_that_has_its_lease_again_is_looked_for_again(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    rig->edge.now_ms += LEASE_MS;
    say_send(alice, 0, "bob", "hi");
    answer(rig, "bob", NODE_B);
    answer_lease(call_of(&rig->store, CALL_READ_NODE), false);
    assert_int_equal(find(rig, "bob")->peer_count, 0);
    rig->edge.now_ms += PEER_LEASE_BELIEF_MS;
    say_send(alice, 0, "carol", "hi");
    answer(rig, "carol", NODE_B);
    answer_lease(call_of(&rig->store, CALL_READ_NODE), true);
    assert_null(find(rig, "bob"));
    rig_turn_end(rig);
    assert_int_equal(bus_count_to(&rig->bus, NODE_B), 1);
}

static void
after_the_bus_was_down_all_is_read_anew(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    know(rig, alice, "bob", NODE_B);
    edge_on_bus_state(&rig->edge, false, "test");
    assert_non_null(find(rig, "bob")); // better than nothing
    edge_on_bus_state(&rig->edge, true, "test");
    assert_null(find(rig, "bob"));
    know(rig, alice, "bob", NODE_B);
    assert_non_null(find(rig, "bob")); // and then it is known again
}

static void
an_answer_asked_for_before_the_bus_came_back_is_not_trusted(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    say_send(alice, 5, "bob", "hi");
    edge_on_bus_state(&rig->edge, true, "test"); // a change may have been missed
    answer(rig, "bob", NODE_B);
    assert_null(find(rig, "bob")); // it served the one who waited
    rig_turn_end(rig);
    assert_int_equal(bus_count_to(&rig->bus, NODE_B), 1);
}

static void
the_oldest_routes_go_first_at_the_bound(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    rig->edge.limits.max_routes = 2;
    know(rig, alice, "one", NODE_B);
    know(rig, alice, "two", NODE_B);
    know(rig, alice, "three", NODE_B);
    assert_null(find(rig, "one"));
    assert_non_null(find(rig, "two"));
    assert_non_null(find(rig, "three"));
    assert_int_equal(HASH_COUNT(rig->edge.routes.table), 2);
    assert_int_equal(peers_find(&rig->edge.peers, NODE_B)->holds, 2);
}

// Reading.

static void
an_invalidation_during_the_read_leads_to_a_second_read(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    say_send(alice, 5, "bob", "hi");
    rig_invalidate(rig, "bob"); // a login at the same time
    rig_invalidate(rig, "bob");
    answer(rig, "bob", NULL); // as it was before
    rig_turn_end(rig);
    expect_nothing(alice);
    assert_int_equal(rig->store.made[CALL_RESOLVE], 2);
    answer(rig, "bob", NODE_B);
    rig_turn_end(rig);
    rig_receipt(rig, NODE_B, rig_envelope_to(rig, NODE_B)->ref, 1);
    expect_sent(alice, 5, 1);
    assert_int_equal(rig->store.made[CALL_RESOLVE], 2);
}

static void
an_invalidation_while_the_lease_is_read_leads_to_a_second_read(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = rig_login(rig, "alice", "phone"); // nobody was heard yet
    say_send(alice, 5, "bob", "hi");
    answer(rig, "bob", NODE_B);
    rig_invalidate(rig, "bob");
    answer_lease(call_of(&rig->store, CALL_READ_NODE), true);
    answer(rig, "bob", NULL);
    rig_turn_end(rig);
    expect_rejected(alice, 5, REASON_OFFLINE);
}

static void
an_edge_never_heard_counts_by_its_lease(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = rig_login(rig, "alice", "phone");
    say_send(alice, 5, "bob", "hi");
    answer_nodes(call_of(&rig->store, CALL_RESOLVE), 2, NODE_B, NODE_C);
    expect_nothing(alice);
    answer_lease(call_of(&rig->store, CALL_READ_NODE), false);
    assert_int_equal(calls_open(&rig->store), 1);
    answer_lease(call_of(&rig->store, CALL_READ_NODE), true);
    rig_turn_end(rig);
    rig_receipt(rig, NODE_C, rig_envelope_to(rig, NODE_C)->ref, 1);
    expect_sent(alice, 5, 1);
}

static void
an_edge_whose_lease_cannot_be_read_is_tried(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = rig_login(rig, "alice", "phone");
    say_send(alice, 5, "bob", "hi");
    answer(rig, "bob", NODE_B);
    answer_error(call_of(&rig->store, CALL_READ_NODE), SY_ETIME);
    rig_turn_end(rig);
    assert_int_equal(bus_count_to(&rig->bus, NODE_B), 1);
}

static void
without_a_directory_an_old_answer_serves(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    know(rig, alice, "bob", NODE_B);
    rig->edge.now_ms += 10000;
    rig_heartbeat(rig, NODE_B);
    say_send(alice, 5, "bob", "hi");
    answer_error(call_of(&rig->store, CALL_RESOLVE), SY_EDOWN);
    rig_turn_end(rig);
    rig_receipt(rig, NODE_B, rig_envelope_to(rig, NODE_B)->ref, 1);
    expect_sent(alice, 5, 1);
    assert_null(find(rig, "bob")); // but the next asks again
}

static void
without_a_directory_nobody_is_called_offline(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    int errors[] = {SY_EDOWN, SY_EFULL, SY_ETIME, SY_ELOST, SY_EREPLY, SY_EINVAL};
    know(rig, alice, "carol", NULL);
    rig->edge.now_ms += 10000;
    for (size_t i = 0; i < 6; i++) {
        say_send(alice, 5, "bob", "never heard of");
        answer_error(call_of(&rig->store, CALL_RESOLVE), errors[i]);
        rig_turn_end(rig);
        expect_rejected(alice, 5, REASON_DIRECTORY_UNAVAILABLE);
        say_send(alice, 6, "carol", "was nowhere some time ago");
        answer_error(call_of(&rig->store, CALL_RESOLVE), errors[i]);
        rig_turn_end(rig);
        expect_rejected(alice, 6, REASON_DIRECTORY_UNAVAILABLE);
    }
}

static void
no_more_are_read_at_once_than_allowed_and_all_in_the_end(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    char user[16];
    rig->edge.limits.commands_per_second = 100000;
    rig->edge.limits.max_routes = 10000;
    for (uint64_t i = 0; i < ROUTES_MAX_BUSY + 10; i++) {
        snprintf(user, sizeof(user), "u%u", (unsigned)i);
        say_send(alice, i + 1, user, "hi");
    }
    assert_int_equal(calls_open_of(&rig->store, CALL_RESOLVE), ROUTES_MAX_BUSY);
    for (uint64_t i = 0; i < ROUTES_MAX_BUSY + 10; i++) {
        snprintf(user, sizeof(user), "u%u", (unsigned)i); // in the order of asking
        struct call *call = call_of(&rig->store, CALL_RESOLVE);
        assert_string_equal(call->user, user);
        if (i % 2 == 0)
            answer_nodes(call, 0);
        else
            answer_error(call, SY_EREPLY);
        assert_true(calls_open_of(&rig->store, CALL_RESOLVE) <= ROUTES_MAX_BUSY);
    }
    rig_turn_end(rig);
    for (uint64_t i = 0; i < ROUTES_MAX_BUSY + 10; i++)
        expect_rejected(alice, i + 1, i % 2 == 0 ? REASON_OFFLINE : REASON_DIRECTORY_UNAVAILABLE);
    assert_int_equal(rig->edge.routes.busy, 0);
    expect_idle(rig);
}

static void
what_nobody_waits_for_any_more_is_not_read(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    char user[16];
    rig->edge.limits.commands_per_second = 100000;
    for (uint64_t i = 0; i < ROUTES_MAX_BUSY + 10; i++) {
        snprintf(user, sizeof(user), "u%u", (unsigned)i);
        say_send(alice, 0, user, "hi");
    }
    rig_pass(rig, 5000); // Redis hangs, and every send has ended
    expect_idle(rig);
    answer_all(&rig->store, SY_ETIME);
    assert_int_equal(rig->store.made[CALL_RESOLVE], ROUTES_MAX_BUSY);
    say_send(alice, 5, user, "still works");
    answer_nodes(call_for(&rig->store, CALL_RESOLVE, user), 0);
    rig_turn_end(rig);
    expect_rejected(alice, 5, REASON_OFFLINE);
}

// Waiters.

// Waiters apart from a send; their numbers are told.
static void
queues_by_number_and_cancels(void **state)
{
    struct rig *rig = *state;
    struct waiter waiters[4] = {{.number = 30}, {.number = 10}, {.number = 40}, {.number = 20}};
    for (int i = 0; i < 4; i++)
        routes_wait(&rig->edge, "bob", 3, &waiters[i]);
    const struct route *route = waiters[0].route;
    const struct waiter *at = route->waiters;
    for (uint64_t number = 10; number <= 40; number += 10, at = at->next)
        assert_int_equal(at->number, number);
    assert_null(at);
    routes_cancel(&waiters[1]);
    routes_cancel(&waiters[1]); // again is fine
    routes_cancel(&waiters[2]);
    assert_int_equal(route->waiters->number, 20);
    assert_int_equal(route->last_waiter->number, 30);
    routes_cancel(&waiters[0]);
    routes_cancel(&waiters[3]);
    assert_null(route->waiters);
    assert_null(route->last_waiter);
    answer_all(&rig->store, SY_ELOST);
}

// Batches that fill up while the waiters of one route are told, and are refused in a way
// that asks the directory again, with room for one route only.
static void
a_route_that_is_being_told_is_neither_evicted_nor_told_twice(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    char text[30000];
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    rig->edge.limits.max_routes = 1;
    rig->edge.limits.pending_bytes = 1 << 30;
    rig->bus.error = SY_EINVAL; // as when the server takes less than we thought
    for (uint64_t id = 1; id <= 60; id++)
        say_send(alice, id, "bob", text);
    answer(rig, "bob", NODE_B);
    for (int round = 0; round < 3; round++) {
        rig_turn_end(rig);
        while (calls_open_of(&rig->store, CALL_RESOLVE) > 0)
            answer(rig, "bob", NODE_B);
    }
    rig_turn_end(rig);
    for (uint64_t id = 1; id <= 60; id++)
        event_take(alice, SWITCHYARD__V1__EVENT__EVENT_OUTCOME);
    expect_nothing(alice);
    expect_idle(rig);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(a_route_is_remembered_until_its_time_is_up),
        RIG_TEST(that_a_user_is_nowhere_is_remembered_too),
        RIG_TEST(this_edge_is_never_part_of_a_route),
        RIG_TEST(a_change_that_is_told_ends_the_memory),
        RIG_TEST(a_login_here_ends_the_memory_whose_note_it_took),
        RIG_TEST(an_edge_that_is_back_is_looked_for_again),
        RIG_TEST(an_edge_that_has_its_lease_again_is_looked_for_again),
        RIG_TEST(after_the_bus_was_down_all_is_read_anew),
        RIG_TEST(an_answer_asked_for_before_the_bus_came_back_is_not_trusted),
        RIG_TEST(the_oldest_routes_go_first_at_the_bound),
        RIG_TEST(an_invalidation_during_the_read_leads_to_a_second_read),
        RIG_TEST(an_invalidation_while_the_lease_is_read_leads_to_a_second_read),
        RIG_TEST(an_edge_never_heard_counts_by_its_lease),
        RIG_TEST(an_edge_whose_lease_cannot_be_read_is_tried),
        RIG_TEST(without_a_directory_an_old_answer_serves),
        RIG_TEST(without_a_directory_nobody_is_called_offline),
        RIG_TEST(no_more_are_read_at_once_than_allowed_and_all_in_the_end),
        RIG_TEST(what_nobody_waits_for_any_more_is_not_read),
        RIG_TEST(queues_by_number_and_cancels),
        RIG_TEST(a_route_that_is_being_told_is_neither_evicted_nor_told_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
