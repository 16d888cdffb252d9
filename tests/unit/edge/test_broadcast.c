// test_broadcast.c: one message for every connection.
#include <stdio.h>
#include <string.h>

#include "proto/subject.h"
#include "tests/unit/edge/fake.h"

static void
say_broadcast_ttl(struct conn *conn, uint64_t id, const char *text, uint32_t ttl_ms)
{
    Switchyard__V1__Broadcast broadcast;
    switchyard__v1__broadcast__init(&broadcast);
    Switchyard__V1__Command command;
    switchyard__v1__command__init(&command);
    char copy[128];
    snprintf(copy, sizeof(copy), "%s", text);
    broadcast.payload_case = SWITCHYARD__V1__BROADCAST__PAYLOAD_TEXT;
    broadcast.text = copy;
    broadcast.ttl_ms = ttl_ms;
    command.id = id;
    command.command_case = SWITCHYARD__V1__COMMAND__COMMAND_BROADCAST;
    command.broadcast = &broadcast;
    say(conn, &command);
}

static void
say_broadcast(struct conn *conn, uint64_t id, const char *text)
{
    say_broadcast_ttl(conn, id, text, 0);
}

static void
hear_broadcast(struct rig *rig, const char *origin, uint64_t expires_ms)
{
    // An Event with a Message from "zoe" that says "far": 1a 0a 0a 03 zoe 22 03 far.
    static uint8_t event_bytes[] = {0x1a, 10, 0x0a, 3, 'z', 'o', 'e', 0x22, 3, 'f', 'a', 'r'};
    Switchyard__Bus__V1__Broadcast message;
    switchyard__bus__v1__broadcast__init(&message);
    Switchyard__Bus__V1__BusItem item;
    switchyard__bus__v1__bus_item__init(&item);
    message.event.data = event_bytes;
    message.event.len = sizeof(event_bytes);
    message.expires_at_ms = expires_ms;
    item.item_case = SWITCHYARD__BUS__V1__BUS_ITEM__ITEM_BROADCAST;
    item.broadcast = &message;
    rig_bus_item(rig, origin, &item);
}

static void
everybody_here_gets_it_the_sender_too_and_the_bus_once(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = rig_login(rig, "alice", "d");
    struct conn *bob = rig_login_as(rig, CODEC_JSON, "bob", "d");
    bus_forget(&rig->bus);
    say_broadcast(alice, 9, "hello all");
    expect_sent(alice, 9, 2);
    rig_turn_end(rig);
    expect_message(alice, "alice", "hello all");
    expect_message(bob, "alice", "hello all");
    assert_int_equal(rig->bus.count, 1);
    assert_string_equal(rig->bus.parcels[0].subject, SUBJECT_ALL);
    const Switchyard__Bus__V1__BusFrame *frame = bus_frame(&rig->bus, 0);
    assert_int_equal(frame->n_items, 1);
    assert_int_equal(frame->items[0]->item_case, SWITCHYARD__BUS__V1__BUS_ITEM__ITEM_BROADCAST);
    rig_turn_end(rig);
    expect_nothing(alice); // once
    expect_nothing(bob);
    assert_int_equal(rig->edge.broadcast.count, 0);
    assert_int_equal(rig->edge.counters.messages_broadcast, 2);
}

static void
without_the_right_nobody_gets_it(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = rig_login(rig, "alice", "d");
    alice->session.may_broadcast = false;
    bus_forget(&rig->bus);
    say_broadcast(alice, 9, "hello all");
    expect_failure(alice, 9, REASON_UNAUTHORIZED);
    rig_turn_end(rig);
    expect_nothing(alice);
    assert_int_equal(rig->bus.count, 0);
}

static void
one_from_another_edge_is_given_and_our_own_echo_is_not(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = rig_login(rig, "alice", "d");
    hear_broadcast(rig, NODE_A, rig->edge.wall_ms + 1000);
    rig_turn_end(rig);
    expect_nothing(alice);
    hear_broadcast(rig, NODE_B, rig->edge.wall_ms + 1000);
    rig_turn_end(rig);
    expect_message(alice, "zoe", "far");
}

static void
a_late_one_is_dropped_at_the_door_and_in_the_log(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = rig_login(rig, "alice", "d");
    hear_broadcast(rig, NODE_B, rig->edge.wall_ms);
    rig_turn_end(rig);
    expect_nothing(alice);
    assert_int_equal(rig->edge.counters.broadcasts_late, 1);
    say_broadcast_ttl(alice, 9, "soon over", 100);
    expect_sent(alice, 9, 1);
    rig->edge.wall_ms += 100;
    rig_turn_end(rig);
    expect_nothing(alice);
    assert_int_equal(rig->edge.counters.broadcasts_late, 2);
}

static void
the_form_is_checked(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = rig_login(rig, "alice", "d");
    Switchyard__V1__Broadcast broadcast;
    switchyard__v1__broadcast__init(&broadcast);
    Switchyard__V1__Command command;
    switchyard__v1__command__init(&command);
    command.id = 4;
    command.command_case = SWITCHYARD__V1__COMMAND__COMMAND_BROADCAST;
    command.broadcast = &broadcast;
    say(alice, &command);
    expect_failure(alice, 4, REASON_INVALID);
    say_broadcast_ttl(alice, 5, "x", SEND_TTL_MAX_MS + 1);
    expect_failure(alice, 5, REASON_INVALID);
    say_broadcast_ttl(alice, 6, "x", SEND_TTL_MAX_MS);
    expect_sent(alice, 6, 1);
}

static void
who_comes_after_it_does_not_get_it(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = rig_login(rig, "alice", "d");
    say_broadcast(alice, 0, "early");
    struct conn *bob = rig_login(rig, "bob", "d");
    rig_turn_end(rig);
    expect_message(alice, "alice", "early");
    expect_nothing(bob);
}

static void
without_the_bus_or_room_it_is_rejected_and_nobody_gets_it(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = rig_login(rig, "alice", "d");
    rig->bus.error = SY_EDOWN;
    say_broadcast(alice, 1, "x");
    expect_rejected(alice, 1, REASON_NO_ROUTE);
    rig->bus.error = SY_EFULL;
    say_broadcast(alice, 2, "x");
    expect_rejected(alice, 2, REASON_BUSY);
    rig->bus.error = 0;
    for (unsigned i = 0; i < BROADCAST_LOG_MAX; i++)
        hear_broadcast(rig, NODE_B, rig->edge.wall_ms + 1000);
    assert_int_equal(rig->edge.broadcast.count, BROADCAST_LOG_MAX);
    say_broadcast(alice, 3, "x");
    expect_rejected(alice, 3, REASON_BUSY);
    hear_broadcast(rig, NODE_B, rig->edge.wall_ms + 1000);
    assert_int_equal(rig->edge.counters.broadcasts_dropped, 1);
    rig_turn_end(rig);
    assert_int_equal(rig->edge.counters.messages_broadcast, BROADCAST_LOG_MAX);
}

static void
many_sessions_are_walked_a_slice_per_turn_in_one_write_each(void **state)
{
    struct rig *rig = *state;
    enum { MANY = BROADCAST_SLICE + 1 };
    static struct conn *conns[MANY];
    char user[16];
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(user, sizeof(user), "u%u", i);
        conns[i] = rig_login(rig, user, "d");
    }
    say_broadcast(conns[0], 0, "one");
    assert_true(edge_turn_end(&rig->edge));
    assert_int_equal(rig->edge.counters.messages_broadcast, BROADCAST_SLICE);
    say_broadcast(conns[0], 0, "two"); // during the walk
    assert_true(edge_turn_end(&rig->edge));
    expect_message(conns[MANY - 1], "u0", "one");
    expect_message(conns[MANY - 1], "u0", "two"); // both in the turn of its visit
    expect_message(conns[0], "u0", "one");
    expect_nothing(conns[0]);
    while (edge_turn_end(&rig->edge))
        ;
    expect_message(conns[0], "u0", "two");
    expect_nothing(conns[MANY - 1]);
    assert_int_equal(rig->edge.counters.messages_broadcast, 2 * MANY);
    assert_int_equal(rig->edge.broadcast.count, 0);
}

static void
a_session_that_ends_during_the_walk_is_passed_over(void **state)
{
    struct rig *rig = *state;
    enum { MANY = BROADCAST_SLICE + 2 };
    static struct conn *conns[MANY];
    char user[16];
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(user, sizeof(user), "u%u", i);
        conns[i] = rig_login(rig, user, "d");
    }
    conns[0]->full_in = 1; // its queue is full: it ends
    say_broadcast(conns[1], 0, "x");
    assert_true(edge_turn_end(&rig->edge));
    expect_closed(conns[0], CLOSE_SLOW_READER);
    rig_hang_up(conns[BROADCAST_SLICE]); // the next to be visited
    while (edge_turn_end(&rig->edge))
        ;
    expect_message(conns[MANY - 1], "u1", "x");
    assert_int_equal(rig->edge.counters.messages_broadcast, MANY - 2);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(everybody_here_gets_it_the_sender_too_and_the_bus_once),
        RIG_TEST(without_the_right_nobody_gets_it),
        RIG_TEST(one_from_another_edge_is_given_and_our_own_echo_is_not),
        RIG_TEST(a_late_one_is_dropped_at_the_door_and_in_the_log),
        RIG_TEST(the_form_is_checked),
        RIG_TEST(who_comes_after_it_does_not_get_it),
        RIG_TEST(without_the_bus_or_room_it_is_rejected_and_nobody_gets_it),
        RIG_TEST(many_sessions_are_walked_a_slice_per_turn_in_one_write_each),
        RIG_TEST(a_session_that_ends_during_the_walk_is_passed_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
