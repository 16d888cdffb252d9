// test_session.c: logging in, and the tokens that allow it.
#include <string.h>

#include "tests/unit/edge/fake.h"

static const char SECRET[] = "0123456789abcdef0123456789abcdef";

static void
want_tokens(struct rig *rig, uint64_t leeway_s)
{
    rig->auth.keys = token_keys_new();
    rig->auth.rules.leeway_s = leeway_s;
    assert_int_equal(token_keys_add_hs256(rig->auth.keys, "", SECRET, strlen(SECRET)), 0);
}

// Good for this many seconds from now.
static const char *
token_for(const struct rig *rig, const char *user, int64_t life_s)
{
    static char token[1024];
    uint64_t now_s = rig->edge.wall_ms / 1000;
    assert_int_equal(token_make_hs256(rig->auth.keys, "", user, "", "", now_s - 1000,
                                      (uint64_t)((int64_t)now_s + life_s), token, sizeof(token)),
                     0);
    return token;
}

// Login.

static void
a_hello_is_answered_by_a_welcome_when_the_link_is_written(void **state)
{
    struct rig *rig = *state;
    struct conn *conn = rig_connect(rig, CODEC_PROTOBUF, NULL);
    assert_int_equal(conn->session.state, SESSION_NEW);
    say_hello(conn, 7, "alice", "phone");
    assert_int_equal(conn->session.state, SESSION_LOGIN);
    expect_nothing(conn);
    answer_registered(call_of(&rig->store, CALL_REGISTER), 42);
    assert_int_equal(conn->session.state, SESSION_LIVE);
    const Switchyard__V1__Event *event = event_take(conn, SWITCHYARD__V1__EVENT__EVENT_WELCOME);
    assert_int_equal(event->id, 7);
    assert_string_equal(event->welcome->node, NODE_A);
    assert_string_equal(event->welcome->user, "alice");
    assert_string_equal(event->welcome->device, "phone");
    assert_int_equal(event->welcome->connection, conn->session.connection);
    assert_int_equal(event->welcome->ping_interval_ms, 25000);
    assert_int_equal(event->welcome->max_frame_bytes, 64 * 1024);
    assert_true(event->welcome->clustered);
    assert_int_equal(rig->edge.counters.logins, 1);
    assert_int_equal(rig->edge.live_sessions, 1);
}

static void
an_edge_alone_welcomes_at_once(void **state)
{
    struct rig *rig = *state;
    struct conn *conn = rig_connect(rig, CODEC_JSON, NULL);
    say_hello(conn, 1, "alice", "");
    const Switchyard__V1__Event *event = event_take(conn, SWITCHYARD__V1__EVENT__EVENT_WELCOME);
    assert_false(event->welcome->clustered);
    assert_int_equal(strlen(event->welcome->device), 18); // the edge picked one
}

static void
two_devices_that_name_none_get_different_names(void **state)
{
    struct rig *rig = *state;
    struct conn *one = rig_login(rig, "alice", "");
    struct conn *two = rig_login(rig, "alice", "");
    assert_string_not_equal(one->session.device, two->session.device);
    assert_int_equal(one->session.state, SESSION_LIVE);
}

static void
no_hello_within_its_time_closes(void **state)
{
    struct rig *rig = *state;
    struct conn *conn = rig_connect(rig, CODEC_PROTOBUF, NULL);
    rig_pass(rig, 4999);
    assert_false(conn->is_closing);
    rig_pass(rig, 1 + WHEEL_TICK_MS);
    expect_failure(conn, 0, REASON_OUT_OF_ORDER);
    expect_closed(conn, CLOSE_HELLO_TIMEOUT);
}

static void
a_login_that_takes_long_is_no_hello_timeout(void **state)
{
    struct rig *rig = *state;
    struct conn *conn = rig_connect(rig, CODEC_PROTOBUF, NULL);
    say_hello(conn, 1, "alice", "phone");
    rig_pass(rig, 60000);
    assert_int_equal(conn->session.state, SESSION_LOGIN);
    answer_registered(call_of(&rig->store, CALL_REGISTER), 1);
    expect_welcome(conn);
    rig_pass(rig, WHEEL_TICK_MS);
    assert_int_equal(conn->session.state, SESSION_LIVE); // its silence was our doing
}

static void
a_command_before_hello_closes(void **state)
{
    struct rig *rig = *state;
    struct conn *conn = rig_connect(rig, CODEC_PROTOBUF, NULL);
    say_ping(conn, 3);
    expect_failure(conn, 3, REASON_OUT_OF_ORDER);
    expect_closed(conn, CLOSE_OUT_OF_ORDER);
}

static void
a_second_hello_closes(void **state)
{
    struct rig *rig = *state;
    struct conn *conn = rig_login(rig, "alice", "phone");
    say_hello(conn, 2, "alice", "phone");
    expect_failure(conn, 2, REASON_OUT_OF_ORDER);
    expect_closed(conn, CLOSE_OUT_OF_ORDER);
}

static void
a_second_hello_during_login_closes(void **state)
{
    struct rig *rig = *state;
    struct conn *conn = rig_connect(rig, CODEC_PROTOBUF, NULL);
    say_hello(conn, 1, "alice", "phone");
    say_hello(conn, 2, "alice", "phone");
    expect_failure(conn, 2, REASON_OUT_OF_ORDER);
    expect_closed(conn, CLOSE_OUT_OF_ORDER);
    answer_registered(call_of(&rig->store, CALL_REGISTER), 9);
    answer_done(call_of(&rig->store, CALL_UNREGISTER), 0); // what was written is taken back
    assert_null(rig->edge.users.table);
}

static void
a_command_that_does_not_wait_for_the_welcome_gets_it_first(void **state)
{
    struct rig *rig = *state;
    struct conn *conn = rig_connect(rig, CODEC_PROTOBUF, NULL);
    say_hello(conn, 1, "alice", "phone");
    say_ping(conn, 2);
    expect_welcome(conn);
    assert_int_equal(event_take(conn, SWITCHYARD__V1__EVENT__EVENT_PONG)->id, 2);
    answer_registered(call_of(&rig->store, CALL_REGISTER), 1);
    expect_nothing(conn); // one Welcome, not two
}

static void
a_session_that_ends_of_its_welcome_takes_no_command(void **state)
{
    struct rig *rig = *state;
    struct conn *conn = rig_connect(rig, CODEC_PROTOBUF, NULL);
    say_hello(conn, 1, "alice", "phone");
    conn->full_in = 1;
    say_send(conn, 2, "bob", "hello");
    expect_closed(conn, CLOSE_SLOW_READER);
    assert_int_equal(rig->edge.counters.sends, 0);
    struct conn *other = rig_connect(rig, CODEC_PROTOBUF, NULL);
    say_hello(other, 1, "carol", "phone");
    other->full_in = 1;
    say_refresh(other, 2, "");
    expect_closed(other, CLOSE_SLOW_READER);
}

static void
the_same_device_again_replaces_the_older_connection(void **state)
{
    struct rig *rig = *state;
    struct conn *old = rig_login(rig, "alice", "phone");
    struct conn *other = rig_login(rig, "alice", "tablet");
    struct conn *new = rig_connect(rig, CODEC_PROTOBUF, NULL);
    say_hello(new, 1, "alice", "phone");
    expect_closed(old, CLOSE_REPLACED);
    assert_false(other->is_closing);
    assert_false(new->is_closing);
}

static void
the_bounds_of_hello(void **state)
{
    struct rig *rig = *state;
    char text[200];
    memset(text, 'x', sizeof(text));
    struct {
        const char *user;
        size_t device;
        size_t device_class;
        size_t client;
        enum reason reason;
    } cases[] = {
        {"alice", 128, 32, 128, REASON_NONE}, {"alice", 129, 1, 1, REASON_INVALID},
        {"alice", 1, 33, 1, REASON_INVALID},  {"alice", 1, 1, 129, REASON_INVALID},
        {"", 1, 1, 1, REASON_UNAUTHORIZED},   {"a\nb", 1, 1, 1, REASON_UNAUTHORIZED},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char device[200], device_class[200], client[200], user[16];
        snprintf(device, sizeof(device), "%.*s", (int)cases[i].device, text);
        snprintf(device_class, sizeof(device_class), "%.*s", (int)cases[i].device_class, text);
        snprintf(client, sizeof(client), "%.*s", (int)cases[i].client, text);
        strcpy(user, cases[i].user);
        Switchyard__V1__Hello hello;
        switchyard__v1__hello__init(&hello);
        Switchyard__V1__Command command;
        switchyard__v1__command__init(&command);
        hello.user = user;
        hello.device = device;
        hello.device_class = device_class;
        hello.client = client;
        command.id = 1;
        command.command_case = SWITCHYARD__V1__COMMAND__COMMAND_HELLO;
        command.hello = &hello;
        struct conn *conn = rig_connect(rig, CODEC_PROTOBUF, NULL);
        say(conn, &command);
        if (cases[i].reason == REASON_NONE) {
            assert_int_equal(conn->session.state, SESSION_LOGIN);
            continue;
        }
        expect_failure(conn, 1, cases[i].reason);
        expect_closed(conn, CLOSE_UNAUTHORIZED);
    }
    assert_int_equal(rig->edge.counters.logins_refused, 5);
}

// Tokens.

static void
a_token_names_the_user(void **state)
{
    struct rig *rig = *state;
    want_tokens(rig, 0);
    struct conn *conn = rig_connect(rig, CODEC_PROTOBUF, NULL);
    say_hello_token(conn, 1, token_for(rig, "alice", 60), "phone");
    answer_registered(call_for(&rig->store, CALL_REGISTER, "alice"), 1);
    expect_welcome(conn);
}

static void
the_token_of_the_handshake_serves_when_hello_has_none(void **state)
{
    struct rig *rig = *state;
    want_tokens(rig, 0);
    struct conn *conn = rig_connect(rig, CODEC_PROTOBUF, token_for(rig, "alice", 60));
    say_hello_token(conn, 1, "", "phone");
    assert_non_null(call_for(&rig->store, CALL_REGISTER, "alice"));
    assert_null(conn->session.token); // once
    struct conn *both = rig_connect(rig, CODEC_PROTOBUF, token_for(rig, "alice", 60));
    say_hello_token(both, 1, token_for(rig, "bob", 60), "phone");
    assert_non_null(call_for(&rig->store, CALL_REGISTER, "bob")); // that of Hello counts
}

static void
a_refused_token_closes(void **state)
{
    struct rig *rig = *state;
    want_tokens(rig, 0);
    const char *tokens[] = {"", "nonsense", token_for(rig, "alice", 0)};
    for (size_t i = 0; i < 3; i++) {
        struct conn *conn = rig_connect(rig, CODEC_PROTOBUF, NULL);
        say_hello_token(conn, 1, tokens[i], "phone");
        expect_failure(conn, 1, REASON_UNAUTHORIZED);
        expect_closed(conn, CLOSE_UNAUTHORIZED);
    }
    assert_int_equal(calls_open(&rig->store), 0);
}

static void
a_connection_ends_with_its_token(void **state)
{
    struct rig *rig = *state;
    want_tokens(rig, 0);
    rig->edge.limits.ping_ms = 60000;
    struct conn *conn = rig_connect(rig, CODEC_PROTOBUF, NULL);
    say_hello_token(conn, 1, token_for(rig, "alice", 10), "phone");
    answer_registered(call_of(&rig->store, CALL_REGISTER), 1);
    expect_welcome(conn);
    rig_pass(rig, 9999);
    assert_false(conn->is_closing);
    rig_pass(rig, 1 + WHEEL_TICK_MS);
    expect_failure(conn, 0, REASON_UNAUTHORIZED);
    expect_closed(conn, CLOSE_TOKEN_EXPIRED);
}

static void
a_token_taken_within_the_leeway_keeps_its_connection_for_the_leeway(void **state)
{
    struct rig *rig = *state;
    want_tokens(rig, 30);
    rig->edge.limits.ping_ms = 60000;
    struct conn *conn = rig_connect(rig, CODEC_PROTOBUF, NULL);
    say_hello_token(conn, 1, token_for(rig, "alice", -10), "phone");
    answer_registered(call_of(&rig->store, CALL_REGISTER), 1);
    expect_welcome(conn);
    rig_pass(rig, 19999);
    assert_false(conn->is_closing);
    rig_pass(rig, 1 + WHEEL_TICK_MS);
    expect_failure(conn, 0, REASON_UNAUTHORIZED);
    expect_closed(conn, CLOSE_TOKEN_EXPIRED);
}

static void
a_refresh_prolongs_the_connection(void **state)
{
    struct rig *rig = *state;
    want_tokens(rig, 0);
    rig->edge.limits.ping_ms = 60000;
    struct conn *conn = rig_connect(rig, CODEC_PROTOBUF, NULL);
    say_hello_token(conn, 1, token_for(rig, "alice", 10), "phone");
    answer_registered(call_of(&rig->store, CALL_REGISTER), 1);
    expect_welcome(conn);
    uint64_t until_ms = rig->edge.wall_ms + 50000;
    say_refresh(conn, 2, token_for(rig, "alice", 50));
    const Switchyard__V1__Event *event = event_take(conn, SWITCHYARD__V1__EVENT__EVENT_REFRESHED);
    assert_int_equal(event->id, 2);
    assert_int_equal(event->refreshed->expires_at_ms, until_ms);
    rig_pass(rig, 49999);
    assert_false(conn->is_closing);
    rig_pass(rig, 1 + WHEEL_TICK_MS);
    expect_failure(conn, 0, REASON_UNAUTHORIZED);
    expect_closed(conn, CLOSE_TOKEN_EXPIRED);
}

static void
a_refused_refresh_leaves_the_old_token(void **state)
{
    struct rig *rig = *state;
    want_tokens(rig, 0);
    struct conn *conn = rig_connect(rig, CODEC_PROTOBUF, NULL);
    say_hello_token(conn, 1, token_for(rig, "alice", 10), "phone");
    answer_registered(call_of(&rig->store, CALL_REGISTER), 1);
    expect_welcome(conn);
    say_refresh(conn, 2, token_for(rig, "bob", 50)); // another user's
    expect_failure(conn, 2, REASON_UNAUTHORIZED);
    say_refresh(conn, 3, "nonsense");
    expect_failure(conn, 3, REASON_UNAUTHORIZED);
    assert_int_equal(conn->session.state, SESSION_LIVE);
    rig_pass(rig, 10000 + WHEEL_TICK_MS);
    expect_failure(conn, 0, REASON_UNAUTHORIZED);
    expect_closed(conn, CLOSE_TOKEN_EXPIRED);
}

static void
a_refresh_with_id_0_is_not_answered(void **state)
{
    struct rig *rig = *state;
    want_tokens(rig, 0);
    struct conn *conn = rig_connect(rig, CODEC_PROTOBUF, NULL);
    say_hello_token(conn, 1, token_for(rig, "alice", 10), "phone");
    answer_registered(call_of(&rig->store, CALL_REGISTER), 1);
    expect_welcome(conn);
    say_refresh(conn, 0, token_for(rig, "alice", 50));
    expect_nothing(conn);
    rig_pass(rig, 20000);
    assert_false(conn->is_closing);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(a_hello_is_answered_by_a_welcome_when_the_link_is_written),
        ALONE_TEST(an_edge_alone_welcomes_at_once),
        RIG_TEST(two_devices_that_name_none_get_different_names),
        RIG_TEST(no_hello_within_its_time_closes),
        RIG_TEST(a_login_that_takes_long_is_no_hello_timeout),
        RIG_TEST(a_command_before_hello_closes),
        RIG_TEST(a_second_hello_closes),
        RIG_TEST(a_second_hello_during_login_closes),
        RIG_TEST(a_command_that_does_not_wait_for_the_welcome_gets_it_first),
        RIG_TEST(a_session_that_ends_of_its_welcome_takes_no_command),
        RIG_TEST(the_same_device_again_replaces_the_older_connection),
        RIG_TEST(the_bounds_of_hello),
        RIG_TEST(a_token_names_the_user),
        RIG_TEST(the_token_of_the_handshake_serves_when_hello_has_none),
        RIG_TEST(a_refused_token_closes),
        RIG_TEST(a_connection_ends_with_its_token),
        RIG_TEST(a_token_taken_within_the_leeway_keeps_its_connection_for_the_leeway),
        RIG_TEST(a_refresh_prolongs_the_connection),
        RIG_TEST(a_refused_refresh_leaves_the_old_token),
        RIG_TEST(a_refresh_with_id_0_is_not_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
