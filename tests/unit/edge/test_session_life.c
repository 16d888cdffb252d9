// test_session_life.c: a client that is logged in: its pings, its commands, its end.
#include "tests/unit/edge/fake.h"

// Liveness.

static void
a_silent_client_is_pinged_after_one_interval_and_closed_after_two(void **state)
{
    struct rig *rig = *state;
    struct conn *conn = rig_login(rig, "alice", "phone");
    rig_pass(rig, 24999);
    assert_int_equal(conn->pings, 0);
    rig_pass(rig, 1 + WHEEL_TICK_MS);
    assert_int_equal(conn->pings, 1);
    assert_true(conn->ping_bytes > 0); // an empty pong would not be heard
    rig_pass(rig, 24999 - WHEEL_TICK_MS);
    assert_false(conn->is_closing);
    rig_pass(rig, 1 + WHEEL_TICK_MS);
    expect_closed(conn, CLOSE_SILENT);
}

static void
the_intervals_run_from_the_last_sign_of_life(void **state)
{
    struct rig *rig = *state;
    struct conn *conn = rig_login(rig, "alice", "phone");
    rig_pass(rig, 20000);
    session_alive(&conn->session, rig->edge.now_ms);
    rig_pass(rig, 24999);
    assert_int_equal(conn->pings, 0);
    rig_pass(rig, 1 + WHEEL_TICK_MS);
    assert_int_equal(conn->pings, 1);
    rig_pass(rig, 25000);
    expect_closed(conn, CLOSE_SILENT);
}

static void
a_pong_keeps_a_client_that_says_nothing(void **state)
{
    struct rig *rig = *state;
    struct conn *conn = rig_login(rig, "alice", "phone");
    for (int i = 0; i < 20; i++) {
        rig_pass(rig, 25000 + WHEEL_TICK_MS);
        assert_int_equal(conn->pings, i + 1);
        session_alive(&conn->session, rig->edge.now_ms);
    }
    assert_int_equal(conn->session.state, SESSION_LIVE);
}

static void
a_ping_that_finds_the_queue_full_closes(void **state)
{
    struct rig *rig = *state;
    struct conn *conn = rig_login(rig, "alice", "phone");
    conn->full_in = 1;
    rig_pass(rig, 25000 + WHEEL_TICK_MS);
    expect_closed(conn, CLOSE_SLOW_READER);
}

// Commands.

static void
a_malformed_frame_closes(void **state)
{
    struct rig *rig = *state;
    struct conn *binary = rig_login(rig, "alice", "phone");
    struct conn *json = rig_login_as(rig, CODEC_JSON, "bob", "phone");
    say_bytes(binary, "\xff\xff", 2);
    expect_failure(binary, 0, REASON_INVALID);
    expect_closed(binary, CLOSE_MALFORMED);
    say_bytes(json, "{\"commands\":[{\"ping\":", 20);
    expect_failure(json, 0, REASON_INVALID);
    expect_closed(json, CLOSE_MALFORMED);
}

static void
an_empty_frame_is_a_sign_of_life_and_nothing_else(void **state)
{
    struct rig *rig = *state;
    struct conn *conn = rig_login(rig, "alice", "phone");
    rig_pass(rig, 20000);
    say_bytes(conn, "", 0);
    rig_pass(rig, 20000);
    expect_nothing(conn);
    assert_int_equal(conn->pings, 0);
}

static void
a_command_of_a_newer_protocol_is_refused_but_not_fatal(void **state)
{
    struct rig *rig = *state;
    struct conn *conn = rig_login(rig, "alice", "phone");
    // Command{id: 5, <field 99: "">}
    say_bytes(conn, "\x0a\x05\x08\x05\x9a\x06\x00", 7);
    expect_failure(conn, 5, REASON_INVALID);
    assert_int_equal(conn->session.state, SESSION_LIVE);
}

static void
a_frame_of_many_commands_is_worked_off_in_order(void **state)
{
    struct rig *rig = *state;
    struct conn *conn = rig_connect(rig, CODEC_JSON, NULL);
    static const char text[] =
        "{\"commands\":[{\"id\":\"1\",\"hello\":{\"user\":\"alice\",\"device\":\"d\"}},"
        "{\"id\":\"2\",\"ping\":{}},{\"id\":\"3\",\"send\":{\"to\":[\"alice\"],\"text\":\"me\"}},"
        "{\"id\":\"4\",\"ping\":{}}]}";
    say_bytes(conn, text, sizeof(text) - 1);
    expect_welcome(conn);
    assert_int_equal(event_take(conn, SWITCHYARD__V1__EVENT__EVENT_PONG)->id, 2);
    expect_message(conn, "alice", "me");
    assert_int_equal(event_take(conn, SWITCHYARD__V1__EVENT__EVENT_PONG)->id, 4);
    answer_links(call_of(&rig->store, CALL_RESOLVE), NULL, 0);
    rig_turn_end(rig);
    expect_sent(conn, 3, 1);
}

static void
what_follows_a_fatal_command_is_not_read(void **state)
{
    struct rig *rig = *state;
    struct conn *conn = rig_connect(rig, CODEC_JSON, NULL);
    static const char text[] = "{\"commands\":[{\"id\":\"1\",\"ping\":{}},"
                               "{\"id\":\"2\",\"hello\":{\"user\":\"alice\"}}]}";
    say_bytes(conn, text, sizeof(text) - 1);
    expect_failure(conn, 1, REASON_OUT_OF_ORDER);
    expect_nothing(conn);
    expect_closed(conn, CLOSE_OUT_OF_ORDER);
    assert_int_equal(rig->edge.counters.commands, 1);
}

static void
nothing_is_heard_of_a_closed_session(void **state)
{
    struct rig *rig = *state;
    struct conn *conn = rig_login(rig, "alice", "phone");
    session_end(&conn->session, CLOSE_DRAINING);
    session_end(&conn->session, CLOSE_INTERNAL);
    say_ping(conn, 2);
    expect_nothing(conn);
    expect_closed(conn, CLOSE_DRAINING); // the first code counts
}

// The rate: 10 commands a second, so 20 at once.

static struct conn *
limited(struct rig *rig)
{
    rig->edge.limits.commands_per_second = 10;
    struct conn *conn = rig_login(rig, "alice", "phone"); // the first command
    return conn;
}

static void
take_pongs(struct conn *conn, size_t count)
{
    for (size_t i = 0; i < count; i++)
        event_take(conn, SWITCHYARD__V1__EVENT__EVENT_PONG);
    expect_nothing(conn);
}

static void
twice_the_rate_may_come_at_once_and_no_more(void **state)
{
    struct rig *rig = *state;
    struct conn *conn = limited(rig);
    for (uint64_t i = 0; i < 19; i++)
        say_ping(conn, i + 2);
    take_pongs(conn, 19);
    say_ping(conn, 99);
    const Switchyard__V1__Event *event = event_take(conn, SWITCHYARD__V1__EVENT__EVENT_FAILURE);
    assert_int_equal(event->id, 99);
    assert_int_equal(event->failure->reason, REASON_RATE);
    assert_int_equal(event->failure->retry_after_ms, 101); // one command's worth
    assert_int_equal(conn->session.state, SESSION_LIVE);
}

static void
credit_comes_back_with_time(void **state)
{
    struct rig *rig = *state;
    struct conn *conn = limited(rig);
    for (uint64_t i = 0; i < 19; i++)
        say_ping(conn, i + 2);
    take_pongs(conn, 19);
    rig_pass(rig, 99);
    say_ping(conn, 50); // 0.99 of a command
    expect_failure(conn, 50, REASON_RATE);
    rig_pass(rig, 101);
    say_ping(conn, 51); // its cost was owed: 2 of 2
    take_pongs(conn, 1);
}

static void
credit_never_grows_beyond_the_burst(void **state)
{
    struct rig *rig = *state;
    rig->edge.limits.ping_ms = 1000 * 3600 * 24;
    struct conn *conn = limited(rig);
    rig_pass(rig, 3600000ull * 5);
    for (uint64_t i = 0; i < 21; i++)
        say_ping(conn, i + 2);
    for (size_t i = 0; i < 20; i++)
        event_take(conn, SWITCHYARD__V1__EVENT__EVENT_PONG);
    expect_failure(conn, 22, REASON_RATE);
}

static void
who_does_not_stop_is_closed(void **state)
{
    struct rig *rig = *state;
    struct conn *conn = limited(rig);
    for (uint64_t i = 0; i < 19; i++)
        say_ping(conn, 2);
    events_forget(conn);
    for (uint64_t i = 0; i < 40; i++) // four seconds of the rate
        say_ping(conn, 3);
    for (size_t i = 0; i < 40; i++)
        expect_failure(conn, 3, REASON_RATE);
    expect_nothing(conn);
    assert_false(conn->is_closing);
    say_ping(conn, 4);
    expect_failure(conn, 4, REASON_RATE);
    expect_closed(conn, CLOSE_RATE);
}

// Ends.

static void
a_full_queue_closes_whatever_is_told(void **state)
{
    struct rig *rig = *state;
    struct conn *conn = rig_login(rig, "alice", "phone");
    conn->full_in = 1;
    say_ping(conn, 2);
    expect_closed(conn, CLOSE_SLOW_READER);
}

static void
a_client_that_goes_leaves_nothing_behind(void **state)
{
    struct rig *rig = *state;
    struct conn *conn = rig_login(rig, "alice", "phone");
    rig_hang_up(conn);
    assert_int_equal(rig->edge.live_sessions, 0);
    answer_done(call_of(&rig->store, CALL_UNREGISTER), 0);
    assert_null(rig->edge.users.table);
    assert_int_equal(rig->edge.registry.count, 0);
    assert_int_equal(rig->edge.wheel.count, 0);
}

static void
a_client_that_goes_before_hello_leaves_nothing_behind(void **state)
{
    struct rig *rig = *state;
    struct conn *conn = rig_connect(rig, CODEC_PROTOBUF, "a token");
    rig_hang_up(conn);
    assert_int_equal(rig->edge.live_sessions, 0);
    assert_int_equal(rig->edge.wheel.count, 0);
}

static void
an_edge_that_leaves_is_not_ready(void **state)
{
    struct rig *rig = *state;
    const char *why;
    lease_tick(&rig->edge);
    answer_beat(call_of(&rig->store, CALL_HEARTBEAT), true, 1);
    edge_start_drain(&rig->edge);
    assert_false(edge_is_ready(&rig->edge, &why));
    assert_string_equal(why, "leaving");
    assert_true(edge_can_serve(&rig->edge, &why));
    rig->bus.is_up = false;
    assert_false(edge_can_serve(&rig->edge, &why));
    assert_false(edge_is_ready(&rig->edge, &why));
    assert_string_equal(why, "leaving");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(a_silent_client_is_pinged_after_one_interval_and_closed_after_two),
        RIG_TEST(the_intervals_run_from_the_last_sign_of_life),
        RIG_TEST(a_pong_keeps_a_client_that_says_nothing),
        RIG_TEST(a_ping_that_finds_the_queue_full_closes),
        RIG_TEST(a_malformed_frame_closes),
        RIG_TEST(an_empty_frame_is_a_sign_of_life_and_nothing_else),
        RIG_TEST(a_command_of_a_newer_protocol_is_refused_but_not_fatal),
        RIG_TEST(a_frame_of_many_commands_is_worked_off_in_order),
        RIG_TEST(what_follows_a_fatal_command_is_not_read),
        RIG_TEST(nothing_is_heard_of_a_closed_session),
        RIG_TEST(twice_the_rate_may_come_at_once_and_no_more),
        RIG_TEST(credit_comes_back_with_time),
        RIG_TEST(credit_never_grows_beyond_the_burst),
        RIG_TEST(who_does_not_stop_is_closed),
        RIG_TEST(a_full_queue_closes_whatever_is_told),
        RIG_TEST(a_client_that_goes_leaves_nothing_behind),
        RIG_TEST(a_client_that_goes_before_hello_leaves_nothing_behind),
        RIG_TEST(an_edge_that_leaves_is_not_ready),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
