// test_router_bounds.c: what a Send may hold, and how many may wait.
#include <stdio.h>
#include <string.h>

#include "edge/send_check.h"
#include "tests/unit/edge/router_rig.h"

// Bounds.

static void
what_waits_is_bounded(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    struct conn *bob = rig_login(rig, "bob", "phone");
    rig->edge.limits.pending_bytes = 20000;
    rig->edge.limits.commands_per_second = 100000;
    size_t taken = 0;
    for (; rig->edge.router.pending_bytes < 20000; taken++)
        say_send(alice, 100, "somebody", "hi");
    size_t each = rig->edge.router.pending_bytes / taken;
    assert_true(each > sizeof("hi") + sizeof("somebody") + 100); // what it costs, not just its text
    expect_nothing(alice);
    say_send(alice, 7, "somebody", "one more");
    expect_failure(alice, 7, REASON_BUSY);
    say_send(alice, 0, "somebody", "silently");
    expect_nothing(alice);
    say_send(alice, 8, "bob", "also here: its outcome would have to wait");
    expect_failure(alice, 8, REASON_BUSY);
    expect_nothing(bob);
    answer_nodes(call_for(&rig->store, CALL_RESOLVE, "somebody"), 0);
    rig_turn_end(rig);
    for (size_t i = 0; i < taken; i++)
        expect_rejected(alice, 100, REASON_OFFLINE);
    expect_idle(rig);
    say_send(alice, 9, "somebody", "room again");
    expect_rejected(alice, 9, REASON_OFFLINE);
}

static const char *
complaint_about(size_t count, size_t user, size_t type, size_t id, uint32_t ttl, size_t device)
{
    static char text[300];
    static char names[1100][24];
    char *to[1100];
    char users[300], content_type[300], message_id[300], to_device[300];
    Switchyard__V1__Send send;
    switchyard__v1__send__init(&send);
    memset(text, 'x', sizeof(text));
    snprintf(users, sizeof(users), "%.*s", (int)user, text);
    snprintf(content_type, sizeof(content_type), "%.*s", (int)type, text);
    snprintf(message_id, sizeof(message_id), "%.*s", (int)id, text);
    snprintf(to_device, sizeof(to_device), "%.*s", (int)device, text);
    for (size_t i = 0; i < count; i++) {
        snprintf(names[i], sizeof(names[i]), "u%zu", i);
        to[i] = names[i];
    }
    if (count > 0)
        to[count - 1] = users;
    send.n_to = count;
    send.to = to;
    send.to_device = to_device;
    send.payload_case = SWITCHYARD__V1__SEND__PAYLOAD_TEXT;
    send.text = text;
    send.content_type = content_type;
    send.message_id = message_id;
    send.ttl_ms = ttl;
    return send_complaint(&send);
}

static void
each_field_is_good_up_to_its_bound(void **state)
{
    (void)state;
    assert_null(complaint_about(1, 1, 0, 0, 0, 0));
    assert_non_null(complaint_about(0, 0, 0, 0, 0, 0));
    assert_null(complaint_about(1000, 1, 0, 0, 0, 0));
    assert_non_null(complaint_about(1001, 1, 0, 0, 0, 0));
    assert_non_null(complaint_about(1, 0, 0, 0, 0, 0));
    assert_null(complaint_about(1, 128, 0, 0, 0, 0));
    assert_non_null(complaint_about(1, 129, 0, 0, 0, 0));
    assert_null(complaint_about(1, 1, 128, 0, 0, 0));
    assert_non_null(complaint_about(1, 1, 129, 0, 0, 0));
    assert_null(complaint_about(1, 1, 0, 64, 0, 0));
    assert_non_null(complaint_about(1, 1, 0, 65, 0, 0));
    assert_null(complaint_about(1, 1, 0, 0, SEND_TTL_MAX_MS, 0));
    assert_non_null(complaint_about(1, 1, 0, 0, SEND_TTL_MAX_MS + 1, 0));
    assert_null(complaint_about(1, 1, 0, 0, 0, 128));
    assert_non_null(complaint_about(1, 1, 0, 0, 0, 129));
    assert_non_null(complaint_about(2, 1, 0, 0, 0, 1)); // one device of two users
}

static void
a_send_without_payload_is_refused_and_an_empty_one_is_not(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = rig_login(rig, "alice", "phone");
    Switchyard__V1__Send send;
    switchyard__v1__send__init(&send);
    Switchyard__V1__Command command;
    switchyard__v1__command__init(&command);
    char user[] = "alice";
    char *to[] = {user};
    send.n_to = 1;
    send.to = to;
    command.id = 5;
    command.command_case = SWITCHYARD__V1__COMMAND__COMMAND_SEND;
    command.send = &send;
    say(alice, &command);
    expect_failure(alice, 5, REASON_INVALID);
    send.payload_case = SWITCHYARD__V1__SEND__PAYLOAD_BODY;
    say(alice, &command);
    const Switchyard__V1__Event *event = event_take(alice, SWITCHYARD__V1__EVENT__EVENT_MESSAGE);
    assert_int_equal(event->message->payload_case, SWITCHYARD__V1__MESSAGE__PAYLOAD_BODY);
    assert_int_equal(event->message->body.len, 0);
    expect_sent(alice, 5, 1);
}

static void
a_user_named_twice_is_refused_wherever_he_stands(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    static char names[1000][24];
    const char *to[1000];
    for (size_t i = 0; i < 1000; i++) {
        snprintf(names[i], sizeof(names[i]), "u%zu", i);
        to[i] = names[i];
    }
    rig->edge.limits.pending_bytes = 1 << 30;
    say_send_many(alice, 1, to, 1000, "all different");
    expect_nothing(alice);
    size_t pairs[][2] = {{0, 1}, {0, 999}, {998, 999}, {500, 501}};
    for (size_t i = 0; i < 4; i++) {
        const char *kept = to[pairs[i][1]];
        to[pairs[i][1]] = to[pairs[i][0]];
        say_send_many(alice, 2, to, 1000, "twins");
        expect_failure(alice, 2, REASON_INVALID);
        to[pairs[i][1]] = kept;
    }
}

static void
a_message_without_a_name_gets_one_and_one_with_keeps_it(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = rig_login(rig, "alice", "phone");
    char first[65];
    say_send(alice, 1, "alice", "a");
    strcpy(first, event_take(alice, SWITCHYARD__V1__EVENT__EVENT_MESSAGE)->message->message_id);
    assert_true(strlen(first) > 0 && strlen(first) <= 64);
    assert_string_equal(
        event_take(alice, SWITCHYARD__V1__EVENT__EVENT_OUTCOME)->outcome->message_id, first);
    say_send(alice, 2, "alice", "b");
    assert_string_not_equal(
        event_take(alice, SWITCHYARD__V1__EVENT__EVENT_MESSAGE)->message->message_id, first);
}

static void
what_is_routed_when_the_edge_ends_is_freed(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = begin(rig);
    say_send(alice, 5, "bob", "hi");
    answer_nodes(call_of(&rig->store, CALL_RESOLVE), 1, NODE_B);
    // The teardown ends the edge before the end of the turn; ASan looks for leaks.
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(what_waits_is_bounded),
        cmocka_unit_test(each_field_is_good_up_to_its_bound),
        ALONE_TEST(a_send_without_payload_is_refused_and_an_empty_one_is_not),
        RIG_TEST(a_user_named_twice_is_refused_wherever_he_stands),
        ALONE_TEST(a_message_without_a_name_gets_one_and_one_with_keeps_it),
        RIG_TEST(what_is_routed_when_the_edge_ends_is_freed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
