// test_registry.c: one link, from its login to its end, whatever the directory answers.
#include <stdio.h>
#include <string.h>

#include "tests/unit/edge/fake.h"

// Logged in as far as the client can see; what the registry asks is left to the test.
static struct conn *
hello(struct rig *rig, const char *user, const char *device)
{
    struct conn *conn = rig_connect(rig, CODEC_PROTOBUF, NULL);
    say_hello(conn, 1, user, device);
    return conn;
}

static void
tick(struct rig *rig)
{
    rig->edge.now_ms += 1000;
    rig->edge.wall_ms += 1000;
    lease_tick(&rig->edge);
    while (calls_open_of(&rig->store, CALL_HEARTBEAT) > 0)
        answer_beat(call_of(&rig->store, CALL_HEARTBEAT), false, 1);
}

static void
expect_gone(const struct rig *rig)
{
    assert_int_equal(calls_open(&rig->store), 0);
    assert_null(rig->edge.users.table);
    assert_true(registry_is_settled(&rig->edge));
}

// The way of a link.

static void
a_login_writes_a_link_and_its_end_removes_it(void **state)
{
    struct rig *rig = *state;
    struct conn *conn = hello(rig, "alice", "phone");
    struct call *call = call_of(&rig->store, CALL_REGISTER);
    assert_string_equal(call->user, "alice");
    assert_string_equal(call->link.node, NODE_A);
    assert_string_equal(call->link.device, "phone");
    assert_int_equal(call->link.connection, conn->session.connection);
    assert_int_equal(call->link.since_ms, rig->edge.wall_ms);
    answer_registered(call, 42);
    expect_welcome(conn);
    rig_hang_up(conn);
    call = call_of(&rig->store, CALL_UNREGISTER);
    assert_int_equal(call->link.epoch, 42); // exactly ours
    assert_int_equal(call->link.connection, conn->session.connection);
    answer_done(call, 0);
    expect_gone(rig);
    assert_int_equal(rig->edge.counters.registers, 1);
    assert_int_equal(rig->edge.counters.unregisters, 1);
}

static void
a_link_that_was_not_ours_any_more_is_gone_too(void **state)
{
    struct rig *rig = *state;
    rig_hang_up(rig_login(rig, "alice", "phone"));
    answer_done(call_of(&rig->store, CALL_UNREGISTER), SY_ENOENT);
    expect_gone(rig);
}

static void
a_client_that_goes_during_its_register_is_taken_out_after_it(void **state)
{
    struct rig *rig = *state;
    rig_hang_up(hello(rig, "alice", "phone"));
    assert_int_equal(calls_open(&rig->store), 1); // one at a time
    answer_registered(call_of(&rig->store, CALL_REGISTER), 43);
    struct call *call = call_of(&rig->store, CALL_UNREGISTER);
    assert_int_equal(call->link.epoch, 43); // with the epoch it got meanwhile
    answer_done(call, 0);
    expect_gone(rig);
}

static void
a_client_that_goes_before_anything_was_written_leaves_at_once(void **state)
{
    struct rig *rig = *state;
    store_goes_down(rig);
    struct conn *conn = hello(rig, "alice", "phone");
    expect_welcome(conn);
    rig_hang_up(conn);
    store_comes_up(rig);
    answer_beat(call_of(&rig->store, CALL_HEARTBEAT), true, 1);
    expect_gone(rig);
}

static void
a_users_operations_go_one_at_a_time_and_in_order(void **state)
{
    struct rig *rig = *state;
    struct conn *old = rig_login(rig, "alice", "phone");
    struct conn *new = hello(rig, "alice", "phone");
    struct conn *other = hello(rig, "bob", "phone");
    expect_closed(old, CLOSE_REPLACED);
    assert_int_equal(calls_open(&rig->store), 2); // one of each user
    answer_registered(call_for(&rig->store, CALL_REGISTER, "bob"), 50);
    answer_done(call_for(&rig->store, CALL_UNREGISTER, "alice"), 0);
    answer_registered(call_for(&rig->store, CALL_REGISTER, "alice"), 51);
    expect_welcome(new);
    expect_welcome(other);
    assert_int_equal(new->session.link->epoch, 51);
}

// Errors.

static void
a_register_that_was_refused_lets_the_client_in_and_is_tried_again(void **state)
{
    struct rig *rig = *state;
    int errors[] = {SY_EREPLY, SY_EFULL, SY_EDOWN, SY_EINVAL};
    for (size_t i = 0; i < 4; i++) {
        struct conn *conn = hello(rig, "alice", "phone");
        answer_error(call_of(&rig->store, CALL_REGISTER), errors[i]);
        expect_welcome(conn);
        assert_int_equal(calls_open(&rig->store), 0); // not at once
        tick(rig);
        answer_registered(call_of(&rig->store, CALL_REGISTER), 44);
        expect_nothing(conn);
        assert_int_equal(conn->session.link->known, LINK_WRITTEN);
        answer_error(call_of(&rig->store, CALL_VERIFY), SY_EREPLY); // it was its turn
        rig_hang_up(conn);
        tick(rig);
        answer_done(call_of(&rig->store, CALL_UNREGISTER), 0);
    }
}

static void
a_register_without_answer_is_looked_up_never_repeated_blindly(void **state)
{
    struct rig *rig = *state;
    int errors[] = {SY_ETIME, SY_ELOST};
    for (size_t i = 0; i < 2; i++) {
        struct conn *conn = hello(rig, "alice", "phone");
        answer_error(call_of(&rig->store, CALL_REGISTER), errors[i]);
        expect_welcome(conn);
        tick(rig);
        struct call *look = call_of(&rig->store, CALL_RESOLVE);
        assert_string_equal(look->node, ""); // we do not remember it
        struct link row = link_on(NODE_A, "phone", conn->session.connection, 45);
        answer_links(look, &row, 1);
        assert_int_equal(conn->session.link->known, LINK_WRITTEN);
        assert_int_equal(conn->session.link->epoch, 45);
        assert_int_equal(calls_open_of(&rig->store, CALL_REGISTER), 0);
        answer_error(call_of(&rig->store, CALL_VERIFY), SY_EREPLY); // it was its turn
        rig_hang_up(conn);
        tick(rig);
        answer_done(call_of(&rig->store, CALL_UNREGISTER), 0);
    }
}

static void
a_look_that_finds_nothing_registers(void **state)
{
    struct rig *rig = *state;
    struct conn *conn = hello(rig, "alice", "phone");
    answer_error(call_of(&rig->store, CALL_REGISTER), SY_ELOST);
    tick(rig);
    struct link others = link_on(NODE_B, "tablet", 1, 99);
    answer_links(call_of(&rig->store, CALL_RESOLVE), &others, 1);
    answer_registered(call_of(&rig->store, CALL_REGISTER), 46);
    assert_int_equal(conn->session.link->epoch, 46);
    assert_int_equal(conn->session.state, SESSION_LIVE);
}

static void
a_look_that_finds_another_link_leaves_it_to_register_which_is_newer(void **state)
{
    struct rig *rig = *state;
    struct conn *conn = hello(rig, "alice", "phone");
    answer_error(call_of(&rig->store, CALL_REGISTER), SY_ELOST);
    tick(rig);
    struct link row = link_on(NODE_B, "phone", 1, 99);
    row.since_ms = conn->session.link->since_ms + 1000; // clocks of two edges: nobody compares
    answer_links(call_of(&rig->store, CALL_RESOLVE), &row, 1);
    assert_false(conn->is_closing);
    answer_registered(call_of(&rig->store, CALL_REGISTER), 100);
    assert_int_equal(conn->session.link->known, LINK_WRITTEN);
}

static void
a_register_tells_how_long_ago_the_login_was(void **state)
{
    struct rig *rig = *state;
    hello(rig, "alice", "phone");
    assert_int_equal(call_of(&rig->store, CALL_REGISTER)->number, 0);
    rig->edge.now_ms += 1234;
    rig->edge.wall_ms -= 99999; // by its own clock that never goes back
    answer_error(call_of(&rig->store, CALL_REGISTER), SY_EREPLY);
    tick(rig);
    assert_int_equal(call_of(&rig->store, CALL_REGISTER)->number, 2234);
}

static void
a_register_tells_the_epoch_of_the_login_before_it_on_this_edge(void **state)
{
    struct rig *rig = *state;
    hello(rig, "alice", "phone");
    struct call *first = call_of(&rig->store, CALL_REGISTER);
    assert_int_equal(first->link.epoch, 0);
    hello(rig, "alice", "phone"); // while the first is on its way
    hello(rig, "bob", "phone");
    answer_registered(first, 77);
    answer_done(call_of(&rig->store, CALL_UNREGISTER), 0);
    assert_int_equal(call_for(&rig->store, CALL_REGISTER, "alice")->link.epoch, 77);
    assert_int_equal(call_for(&rig->store, CALL_REGISTER, "bob")->link.epoch, 0);
}

static void
a_register_that_comes_after_a_newer_login_closes(void **state)
{
    struct rig *rig = *state;
    struct conn *conn = hello(rig, "alice", "phone");
    answer_superseded(call_of(&rig->store, CALL_REGISTER), 99);
    expect_closed(conn, CLOSE_REPLACED);
    expect_nothing(conn); // it was never welcome
    expect_gone(rig);
    assert_int_equal(rig->edge.counters.superseded, 1);
    assert_int_equal(rig->edge.counters.registers, 0);
}

static void
a_client_that_goes_during_a_register_that_is_refused_leaves_nothing(void **state)
{
    struct rig *rig = *state;
    rig_hang_up(hello(rig, "alice", "phone"));
    answer_superseded(call_of(&rig->store, CALL_REGISTER), 99);
    expect_gone(rig);
}

static void
a_look_without_answer_looks_again(void **state)
{
    struct rig *rig = *state;
    struct conn *conn = hello(rig, "alice", "phone");
    answer_error(call_of(&rig->store, CALL_REGISTER), SY_ELOST);
    for (int i = 0; i < 3; i++) {
        tick(rig);
        answer_error(call_of(&rig->store, CALL_RESOLVE), SY_ETIME);
    }
    tick(rig);
    answer_links(call_of(&rig->store, CALL_RESOLVE), NULL, 0);
    answer_registered(call_of(&rig->store, CALL_REGISTER), 47);
    assert_int_equal(conn->session.link->known, LINK_WRITTEN);
}

static void
an_unregister_without_answer_is_asked_again(void **state)
{
    struct rig *rig = *state;
    int errors[] = {SY_ETIME, SY_ELOST, SY_EDOWN, SY_EFULL, SY_EREPLY};
    rig_hang_up(rig_login(rig, "alice", "phone"));
    for (size_t i = 0; i < 5; i++) {
        answer_error(call_of(&rig->store, CALL_UNREGISTER), errors[i]);
        assert_int_equal(calls_open(&rig->store), 0);
        assert_false(registry_is_settled(&rig->edge));
        tick(rig);
    }
    answer_done(call_of(&rig->store, CALL_UNREGISTER), 0);
    expect_gone(rig);
}

static void
a_client_whose_welcome_fails_frees_nothing_that_is_in_use(void **state)
{
    struct rig *rig = *state;
    int errors[] = {0, SY_EREPLY, SY_ELOST};
    for (size_t i = 0; i < 3; i++) {
        struct conn *conn = hello(rig, "alice", "phone");
        conn->full_in = 1;
        if (errors[i] == 0)
            answer_registered(call_of(&rig->store, CALL_REGISTER), 48);
        else
            answer_error(call_of(&rig->store, CALL_REGISTER), errors[i]);
        expect_closed(conn, CLOSE_SLOW_READER);
        tick(rig);
        if (errors[i] == 0)
            answer_done(call_of(&rig->store, CALL_UNREGISTER), 0);
        else if (errors[i] == SY_ELOST)
            answer_links(call_of(&rig->store, CALL_RESOLVE), NULL, 0);
        expect_gone(rig);
    }
}

// Without the store.

static void
a_login_without_store_is_in_at_once_and_written_later(void **state)
{
    struct rig *rig = *state;
    store_goes_down(rig);
    struct conn *conn = hello(rig, "alice", "phone");
    expect_welcome(conn);
    tick(rig);
    assert_int_equal(calls_open(&rig->store), 0);
    store_comes_up(rig);
    answer_registered(call_of(&rig->store, CALL_REGISTER), 49);
    assert_int_equal(conn->session.link->known, LINK_WRITTEN);
}

static void
logins_that_wait_behind_another_are_in_when_the_store_goes(void **state)
{
    struct rig *rig = *state;
    struct conn *first = hello(rig, "alice", "phone");
    struct conn *second = hello(rig, "alice", "tablet"); // behind the first
    expect_nothing(second);
    store_goes_down(rig);
    expect_welcome(first);
    expect_welcome(second);
    assert_int_equal(calls_open(&rig->store), 0);
}

static void
logins_that_wait_for_room_are_in_when_the_store_goes(void **state)
{
    struct rig *rig = *state;
    char user[16];
    struct conn *last = NULL;
    for (unsigned i = 0; i < REGISTRY_MAX_BUSY + 2; i++) {
        snprintf(user, sizeof(user), "u%u", i);
        last = hello(rig, user, "phone");
    }
    assert_int_equal(calls_open(&rig->store), REGISTRY_MAX_BUSY);
    expect_nothing(last);
    store_goes_down(rig);
    for (const struct conn *conn = rig->conns; conn != NULL; conn = conn->next)
        assert_int_equal(conn->session.state, SESSION_LIVE);
}

static void
a_refusal_for_one_device_does_not_keep_the_other_waiting(void **state)
{
    struct rig *rig = *state;
    struct conn *first = hello(rig, "alice", "phone");
    struct conn *second = hello(rig, "alice", "tablet");
    answer_error(call_of(&rig->store, CALL_REGISTER), SY_EREPLY);
    expect_welcome(first);
    expect_welcome(second);
    // A failing queue among them must not harm the walk over them.
    struct conn *third = hello(rig, "alice", "watch");
    third->full_in = 1;
    tick(rig);
    answer_error(call_of(&rig->store, CALL_REGISTER), SY_EREPLY);
    expect_closed(third, CLOSE_SLOW_READER);
    assert_int_equal(first->session.state, SESSION_LIVE);
}

// Room.

static void
no_more_operations_than_allowed_are_under_way(void **state)
{
    struct rig *rig = *state;
    char user[16];
    for (unsigned i = 0; i < REGISTRY_MAX_BUSY + 2; i++) {
        snprintf(user, sizeof(user), "u%u", i);
        hello(rig, user, "phone");
    }
    assert_int_equal(rig->store.made[CALL_REGISTER], REGISTRY_MAX_BUSY);
    answer_registered(call_of(&rig->store, CALL_REGISTER), 1);
    assert_int_equal(rig->store.made[CALL_REGISTER], REGISTRY_MAX_BUSY + 1);
    answer_error(call_of(&rig->store, CALL_REGISTER), SY_EREPLY);
    assert_int_equal(rig->store.made[CALL_REGISTER], REGISTRY_MAX_BUSY + 2);
    assert_int_equal(rig->edge.registry.busy, REGISTRY_MAX_BUSY);
}

// Who is told.

static void
a_login_tells_who_remembers_the_user_but_not_us(void **state)
{
    struct rig *rig = *state;
    struct conn *conn = hello(rig, "alice", "phone");
    answer_replaced(call_of(&rig->store, CALL_REGISTER), 50, NULL, NODE_B);
    hello(rig, "bob", "phone");
    answer_replaced(call_of(&rig->store, CALL_REGISTER), 51, NULL, NODE_A);
    hello(rig, "carol", "phone");
    answer_replaced(call_of(&rig->store, CALL_REGISTER), 52, NULL, "no node at all");
    rig_turn_end(rig);
    const Switchyard__Bus__V1__BusFrame *frame = bus_only(&rig->bus, NODE_B);
    assert_int_equal(frame->n_items, 1);
    assert_string_equal(frame->items[0]->invalidate->user, "alice");
    expect_welcome(conn);
}

static void
a_login_kicks_the_link_it_replaced_elsewhere(void **state)
{
    struct rig *rig = *state;
    struct link old = link_on(NODE_B, "phone", 7, 40);
    hello(rig, "alice", "phone");
    answer_replaced(call_of(&rig->store, CALL_REGISTER), 50, &old, NULL);
    old = link_on(NODE_A, "phone", 7, 40); // one of our own was closed at login
    hello(rig, "bob", "phone");
    answer_replaced(call_of(&rig->store, CALL_REGISTER), 51, &old, NULL);
    rig_turn_end(rig);
    const Switchyard__Bus__V1__BusFrame *frame = bus_only(&rig->bus, NODE_B);
    assert_int_equal(frame->n_items, 1);
    const Switchyard__Bus__V1__Kick *kick = frame->items[0]->kick;
    assert_string_equal(kick->user, "alice");
    assert_string_equal(kick->device, "phone");
    assert_int_equal(kick->connection, 7);
    assert_int_equal(kick->epoch, 40);
}

static void
a_verify_that_writes_over_an_older_login_kicks_it(void **state)
{
    struct rig *rig = *state;
    struct link old = link_on(NODE_B, "phone", 7, 40);
    struct conn *conn = rig_login(rig, "alice", "phone");
    conn->session.link->must_verify = true;
    rig_kick(rig, "alice", "phone", conn->session.connection, conn->session.link->epoch + 5);
    answer_rewritten(call_of(&rig->store, CALL_VERIFY), conn->session.link->epoch, &old);
    rig_turn_end(rig);
    const Switchyard__Bus__V1__BusFrame *frame = bus_only(&rig->bus, NODE_B);
    assert_int_equal(frame->n_items, 1);
    assert_int_equal(frame->items[0]->kick->connection, 7);
    assert_int_equal(frame->items[0]->kick->epoch, 40);
    assert_int_equal(conn->session.state, SESSION_LIVE);
}

// Kicks.

static void
a_kick_closes_exactly_the_link_it_names(void **state)
{
    struct rig *rig = *state;
    struct conn *conn = rig_login(rig, "alice", "phone");
    uint64_t connection = conn->session.connection;
    uint64_t epoch = conn->session.link->epoch;
    rig_kick(rig, "bob", "phone", connection, epoch);
    rig_kick(rig, "alice", "tablet", connection, epoch);
    rig_kick(rig, "alice", "phone", connection + 1, epoch);
    rig_kick(rig, "alice", "phone", 0, epoch);
    assert_false(conn->is_closing);
    assert_int_equal(calls_open(&rig->store), 0);
    assert_int_equal(rig->edge.counters.kicks_in, 0);
    rig_kick(rig, "alice", "phone", connection, epoch);
    expect_closed(conn, CLOSE_REPLACED);
    assert_int_equal(rig->edge.counters.kicks_in, 1);
    // The row should be the other edge's: then nothing matches. A kick may be late, though.
    answer_done(call_of(&rig->store, CALL_UNREGISTER), SY_ENOENT);
    expect_gone(rig);
    rig_kick(rig, "alice", "phone", connection, epoch);
}

static void
a_kick_with_another_epoch_leads_to_a_look_not_a_close(void **state)
{
    struct rig *rig = *state;
    struct conn *conn = rig_login(rig, "alice", "phone");
    rig_kick(rig, "alice", "phone", conn->session.connection, conn->session.link->epoch + 1);
    assert_false(conn->is_closing);
    answer_verified(call_of(&rig->store, CALL_VERIFY), STORE_KEPT, conn->session.link->epoch, NULL);
    assert_int_equal(conn->session.state, SESSION_LIVE);
}

static void
a_kick_that_overtakes_the_answer_of_our_register_is_not_lost(void **state)
{
    struct rig *rig = *state;
    struct conn *conn = hello(rig, "alice", "phone");
    struct call *call = call_of(&rig->store, CALL_REGISTER);
    rig_kick(rig, "alice", "phone", conn->session.connection, 60); // written, and replaced since
    assert_false(conn->is_closing);
    answer_registered(call, 60);
    answer_verified(call_of(&rig->store, CALL_VERIFY), STORE_SUPERSEDED, 61, NULL);
    expect_closed(conn, CLOSE_REPLACED);
    expect_gone(rig);
}

static void
a_kick_during_a_verify_that_writes_the_row_again_leaves_no_row(void **state)
{
    struct rig *rig = *state;
    struct conn *conn = rig_login(rig, "alice", "phone");
    uint64_t epoch = conn->session.link->epoch;
    conn->session.link->must_verify = true;
    rig_kick(rig, "alice", "phone", conn->session.connection, epoch + 5); // begins the verify
    struct call *verify = call_of(&rig->store, CALL_VERIFY);
    rig_kick(rig, "alice", "phone", conn->session.connection, epoch);
    expect_closed(conn, CLOSE_REPLACED);
    // The newer login had gone meanwhile, so the row was missing.
    answer_verified(verify, STORE_REWRITTEN, epoch, NULL);
    answer_done(call_of(&rig->store, CALL_UNREGISTER), 0);
    expect_gone(rig);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(a_login_writes_a_link_and_its_end_removes_it),
        RIG_TEST(a_link_that_was_not_ours_any_more_is_gone_too),
        RIG_TEST(a_client_that_goes_during_its_register_is_taken_out_after_it),
        RIG_TEST(a_client_that_goes_before_anything_was_written_leaves_at_once),
        RIG_TEST(a_users_operations_go_one_at_a_time_and_in_order),
        RIG_TEST(a_register_that_was_refused_lets_the_client_in_and_is_tried_again),
        RIG_TEST(a_register_without_answer_is_looked_up_never_repeated_blindly),
        RIG_TEST(a_look_that_finds_nothing_registers),
        RIG_TEST(a_look_that_finds_another_link_leaves_it_to_register_which_is_newer),
        RIG_TEST(a_register_tells_how_long_ago_the_login_was),
        RIG_TEST(a_register_tells_the_epoch_of_the_login_before_it_on_this_edge),
        RIG_TEST(a_register_that_comes_after_a_newer_login_closes),
        RIG_TEST(a_client_that_goes_during_a_register_that_is_refused_leaves_nothing),
        RIG_TEST(a_look_without_answer_looks_again),
        RIG_TEST(an_unregister_without_answer_is_asked_again),
        RIG_TEST(a_client_whose_welcome_fails_frees_nothing_that_is_in_use),
        RIG_TEST(a_login_without_store_is_in_at_once_and_written_later),
        RIG_TEST(logins_that_wait_behind_another_are_in_when_the_store_goes),
        RIG_TEST(logins_that_wait_for_room_are_in_when_the_store_goes),
        RIG_TEST(a_refusal_for_one_device_does_not_keep_the_other_waiting),
        RIG_TEST(no_more_operations_than_allowed_are_under_way),
        RIG_TEST(a_login_tells_who_remembers_the_user_but_not_us),
        RIG_TEST(a_login_kicks_the_link_it_replaced_elsewhere),
        RIG_TEST(a_verify_that_writes_over_an_older_login_kicks_it),
        RIG_TEST(a_kick_closes_exactly_the_link_it_names),
        RIG_TEST(a_kick_with_another_epoch_leads_to_a_look_not_a_close),
        RIG_TEST(a_kick_that_overtakes_the_answer_of_our_register_is_not_lost),
        RIG_TEST(a_kick_during_a_verify_that_writes_the_row_again_leaves_no_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
