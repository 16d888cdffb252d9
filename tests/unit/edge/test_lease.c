// test_lease.c: this edge's lease, and what is verified when.
#include <stdio.h>
#include <string.h>

#include "tests/unit/edge/fake.h"

static void
log_in_many(struct rig *rig, unsigned count)
{
    char user[16];
    for (unsigned i = 0; i < count; i++) {
        snprintf(user, sizeof(user), "u%u", i);
        events_forget(rig_login(rig, user, "phone"));
    }
}

// A second passes. Answers as Redis would until nothing is asked; counts verifies.
static size_t
tick(struct rig *rig, bool was_lost, uint64_t gen)
{
    size_t before = rig->store.made[CALL_VERIFY];
    rig->edge.now_ms += 1000;
    lease_tick(&rig->edge);
    while (calls_open(&rig->store) > 0) {
        if (calls_open_of(&rig->store, CALL_HEARTBEAT) > 0)
            answer_beat(call_of(&rig->store, CALL_HEARTBEAT), was_lost, gen);
        while (calls_open_of(&rig->store, CALL_VERIFY) > 0) {
            struct call *call = call_of(&rig->store, CALL_VERIFY);
            answer_verified(call, STORE_KEPT, call->link.epoch, NULL);
        }
    }
    return rig->store.made[CALL_VERIFY] - before;
}

// The lease.

static void
a_lease_is_held_for_its_time_from_when_it_was_asked_for(void **state)
{
    struct rig *rig = *state;
    const char *why;
    assert_false(edge_is_ready(&rig->edge, &why));
    assert_string_equal(why, "no lease in Redis");
    lease_tick(&rig->edge);
    uint64_t asked_ms = rig->edge.now_ms;
    struct call *call = call_of(&rig->store, CALL_HEARTBEAT);
    assert_string_equal(call->self.node, NODE_A);
    assert_int_equal(call->self.max_connections, 1000);
    rig->edge.now_ms += 700;
    answer_beat(call, true, 1);
    assert_true(edge_is_ready(&rig->edge, &why));
    rig->edge.now_ms = asked_ms + 9999;
    assert_true(lease_is_held(&rig->edge));
    rig->edge.now_ms = asked_ms + 10000;
    assert_false(lease_is_held(&rig->edge));
}

static void
the_first_lease_waits_for_the_bus(void **state)
{
    struct rig *rig = *state;
    rig->bus.is_up = false;
    lease_tick(&rig->edge);
    assert_int_equal(rig->store.made[CALL_HEARTBEAT], 0);
    rig->bus.is_up = true;
    edge_on_bus_state(&rig->edge, true, "test");
    answer_beat(call_of(&rig->store, CALL_HEARTBEAT), true, 1);
    // Once it has users it keeps them findable.
    rig->bus.is_up = false;
    rig->edge.now_ms += 2000;
    lease_tick(&rig->edge);
    assert_int_equal(rig->store.made[CALL_HEARTBEAT], 2);
}

static void
a_lease_is_renewed_every_two_seconds_once_at_a_time(void **state)
{
    struct rig *rig = *state;
    lease_tick(&rig->edge);
    assert_int_equal(rig->store.made[CALL_HEARTBEAT], 1);
    rig->edge.now_ms += 5000;
    lease_tick(&rig->edge); // no answer yet
    assert_int_equal(rig->store.made[CALL_HEARTBEAT], 1);
    answer_beat(call_of(&rig->store, CALL_HEARTBEAT), true, 1);
    lease_tick(&rig->edge);
    assert_int_equal(rig->store.made[CALL_HEARTBEAT], 2);
    answer_beat(call_of(&rig->store, CALL_HEARTBEAT), false, 1);
    rig->edge.now_ms += 1999;
    lease_tick(&rig->edge);
    assert_int_equal(rig->store.made[CALL_HEARTBEAT], 2);
    rig->edge.now_ms += 1;
    lease_tick(&rig->edge);
    assert_int_equal(rig->store.made[CALL_HEARTBEAT], 3);
}

static void
a_renewal_that_fails_changes_nothing(void **state)
{
    struct rig *rig = *state;
    tick(rig, true, 1);
    log_in_many(rig, 3);
    rig->edge.now_ms += 2000;
    lease_tick(&rig->edge);
    answer_error(call_of(&rig->store, CALL_HEARTBEAT), SY_ETIME);
    assert_true(lease_is_held(&rig->edge)); // that of before
    assert_int_equal(rig->edge.counters.leases_lost, 0);
}

static void
when_the_store_is_back_the_lease_is_renewed_at_once(void **state)
{
    struct rig *rig = *state;
    tick(rig, true, 1);
    store_goes_down(rig);
    store_comes_up(rig);
    assert_int_equal(calls_open_of(&rig->store, CALL_HEARTBEAT), 1);
}

static void
leaving_is_told_at_once_and_does_not_forget_the_lease(void **state)
{
    struct rig *rig = *state;
    tick(rig, true, 1);
    edge_start_drain(&rig->edge);
    struct call *call = call_of(&rig->store, CALL_HEARTBEAT);
    assert_true(call->self.is_draining);
    answer_beat(call, false, 1);
    assert_int_equal(rig->edge.lease.beat_ms, rig->edge.now_ms);
}

static void
leaving_while_a_renewal_is_under_way_keeps_its_time(void **state)
{
    struct rig *rig = *state;
    tick(rig, true, 1);
    rig->edge.now_ms += 2000;
    lease_tick(&rig->edge);
    uint64_t asked_ms = rig->edge.now_ms;
    edge_start_drain(&rig->edge);
    log_in_many(rig, 2);
    answer_beat(call_of(&rig->store, CALL_HEARTBEAT), true, 1);
    assert_int_equal(rig->edge.lease.beat_ms, asked_ms);
    assert_int_equal(rig->edge.counters.leases_lost, 1); // and it was noticed that it had gone
}

// Verifying.

static void
each_link_is_verified_once_in_a_cycle(void **state)
{
    struct rig *rig = *state;
    enum { LINKS = 130 };
    log_in_many(rig, LINKS);
    size_t total = 0;
    for (int second = 0; second < VERIFY_CYCLE_MS / 1000; second++) {
        size_t count = tick(rig, false, 1);
        assert_true(count <= 3); // 130 in 60 s, rounded up
        total += count;
    }
    assert_true(total >= LINKS);
    size_t seen[LINKS] = {0};
    for (size_t i = 0; i < rig->store.count; i++) {
        unsigned n;
        if (rig->store.calls[i]->kind == CALL_VERIFY &&
            sscanf(rig->store.calls[i]->user, "u%u", &n) == 1)
            seen[n]++;
    }
    for (size_t i = 0; i < LINKS; i++)
        assert_in_range(seen[i], 1, 2);
}

static void
a_lost_lease_has_all_links_verified(void **state)
{
    struct rig *rig = *state;
    tick(rig, true, 1); // the first is no loss
    log_in_many(rig, 200);
    assert_int_equal(rig->edge.counters.leases_lost, 0);
    tick(rig, false, 1);
    tick(rig, true, 1);
    size_t verified = tick(rig, false, 1);
    assert_int_equal(rig->edge.counters.leases_lost, 1);
    assert_int_equal(verified, 200);
    assert_true(tick(rig, false, 1) < 10); // once
}

static void
a_loss_whose_answer_was_lost_is_told_by_the_next(void **state)
{
    struct rig *rig = *state;
    for (uint64_t taken = 7; taken <= 8; taken++) {
        rig->edge.now_ms += 2000;
        lease_tick(&rig->edge);
        if (taken == 8) { // Redis took it anew
            answer_error(call_of(&rig->store, CALL_HEARTBEAT), SY_ELOST);
            rig->edge.now_ms += 2000;
            lease_tick(&rig->edge);
        }
        answer_beat_taken(call_of(&rig->store, CALL_HEARTBEAT), taken, 1);
        assert_int_equal(rig->edge.counters.leases_lost, taken - 7);
    }
    rig->edge.now_ms += 2000;
    lease_tick(&rig->edge);
    answer_beat_taken(call_of(&rig->store, CALL_HEARTBEAT), 8, 1);
    assert_int_equal(rig->edge.counters.leases_lost, 1); // once
}

// The lease ended, and of the renewal that found it gone the answer was lost: the next one
// finds a lease. `seconds`: between two answers.
static size_t
verified_after_silence(struct rig *rig, unsigned seconds)
{
    tick(rig, true, 1);
    log_in_many(rig, 200);
    tick(rig, false, 1);
    tick(rig, false, 1); // renewed
    rig->edge.now_ms += (seconds - 1) * 1000;
    tick(rig, false, 1);
    return tick(rig, false, 1);
}

static void
a_lease_that_must_have_run_out_has_all_links_verified(void **state)
{
    assert_int_equal(verified_after_silence(*state, LEASE_MS / 1000), 200);
}

static void
a_lease_renewed_in_time_was_not_lost(void **state)
{
    struct rig *rig = *state;
    assert_true(verified_after_silence(rig, LEASE_MS / 1000 - 1) < 10);
    assert_int_equal(rig->edge.counters.leases_lost, 0);
}

// A sweeper may have been removing them: its last rows go after the first verify.
static void
links_are_verified_again_three_seconds_after_a_lost_lease(void **state)
{
    struct rig *rig = *state;
    log_in_many(rig, 200);
    tick(rig, true, 1); // the first is no loss
    tick(rig, false, 1);
    size_t verified = tick(rig, true, 1);
    verified += tick(rig, false, 1);
    verified += tick(rig, false, 1);
    assert_in_range(verified, 200, 200 + 3 * 4); // and the cycle's own
    assert_int_equal(tick(rig, false, 1), 200);
    assert_true(tick(rig, false, 1) < 10);
}

static void
another_gen_has_all_links_verified(void **state)
{
    struct rig *rig = *state;
    tick(rig, true, 7);
    log_in_many(rig, 50);
    tick(rig, false, 7);
    tick(rig, false, 8);
    assert_int_equal(tick(rig, false, 8), 50);
    assert_int_equal(rig->edge.counters.leases_lost, 1);
    tick(rig, false, 8);
    assert_true(tick(rig, false, 8) < 10);
}

static void
logins_meanwhile_keep_no_older_link_from_being_verified(void **state)
{
    struct rig *rig = *state;
    tick(rig, true, 7);
    log_in_many(rig, 20);
    tick(rig, false, 7);
    // The cycle stands somewhere in the middle when all must be verified, and more log in.
    assert_non_null(rig->edge.registry.cursor);
    rig->edge.now_ms += 1000;
    tick(rig, false, 8);
    for (unsigned i = 0; i < 20; i++) {
        char user[16];
        snprintf(user, sizeof(user), "late%u", i);
        events_forget(rig_login(rig, user, "phone"));
    }
    const struct link_state *last = rig->edge.registry.last_link;
    rig->edge.now_ms += 1000;
    lease_tick(&rig->edge);
    size_t older = 0;
    for (const struct link_state *link = rig->edge.registry.links; link != last; link = link->next)
        older += link->must_verify && strncmp(link->user->id, "late", 4) != 0;
    assert_int_equal(older, 20);
    answer_all(&rig->store, SY_ELOST);
}

static void
no_second_verifies_more_than_allowed(void **state)
{
    struct rig *rig = *state;
    rig->edge.limits.max_connections = 100000;
    log_in_many(rig, VERIFY_BURST_PER_S + 700);
    tick(rig, true, 1);
    tick(rig, false, 1);
    size_t before = rig->store.made[CALL_VERIFY];
    rig->edge.now_ms += 1000;
    store_goes_down(rig);
    store_comes_up(rig); // as after an outage: its lease had ended
    answer_beat(call_of(&rig->store, CALL_HEARTBEAT), true, 1);
    assert_int_equal(rig->store.made[CALL_VERIFY], before); // the tick has the pace
    for (int twice = 0; twice < 2; twice++) {
        assert_int_equal(tick(rig, false, 1), VERIFY_BURST_PER_S);
        assert_int_equal(tick(rig, false, 1), 700);
    }
    assert_true(tick(rig, false, 1) <= 96);
}

// Without a lease.

static void
nothing_is_written_close_to_the_end_of_the_lease(void **state)
{
    struct rig *rig = *state;
    struct conn *conns[2];
    for (unsigned i = 0; i < 2; i++) {
        tick(rig, false, 1);
        conns[i] = rig_connect(rig, CODEC_PROTOBUF, NULL);
        rig->edge.lease.beat_tried_ms = rig->edge.lease.beat_ms;
        rig->edge.now_ms = rig->edge.lease.beat_ms + LEASE_MS - WRITE_MARGIN_MS - 1 + i;
        say_hello(conns[i], 1, i == 0 ? "in time" : "too late", "phone");
        assert_int_equal(calls_open_of(&rig->store, CALL_REGISTER), i == 0);
        assert_int_equal(calls_open_of(&rig->store, CALL_HEARTBEAT), i);
        if (i == 0)
            answer_registered(call_of(&rig->store, CALL_REGISTER), 5);
        expect_welcome(conns[i]); // it does not wait for the directory to be well
    }
    answer_beat(call_of(&rig->store, CALL_HEARTBEAT), false, 1);
    struct call *call = call_of(&rig->store, CALL_REGISTER); // at once
    assert_string_equal(call->user, "too late");
    answer_registered(call, 6);
    assert_int_equal(conns[1]->session.link->known, LINK_WRITTEN);
}

static void
an_edge_that_never_had_a_lease_writes_nothing(void **state)
{
    struct rig *rig = *state;
    struct conn *conn = rig_connect(rig, CODEC_PROTOBUF, NULL);
    rig->edge.lease.beat_ms = 0;
    say_hello(conn, 1, "alice", "phone");
    assert_int_equal(calls_open_of(&rig->store, CALL_REGISTER), 0);
    answer_error(call_of(&rig->store, CALL_HEARTBEAT), SY_ETIME);
    assert_int_equal(calls_open(&rig->store), 0); // not again before the next second
    rig->edge.now_ms += 1000;
    lease_tick(&rig->edge);
    answer_beat(call_of(&rig->store, CALL_HEARTBEAT), true, 1);
    assert_int_equal(calls_open_of(&rig->store, CALL_REGISTER), 1);
}

static void
nothing_is_verified_without_a_lease_but_ended_links_are_removed(void **state)
{
    struct rig *rig = *state;
    struct conn *stays = rig_login(rig, "alice", "phone");
    struct conn *goes = rig_login(rig, "bob", "phone");
    rig->edge.now_ms += LEASE_MS;
    rig->edge.lease.beat_tried_ms = rig->edge.now_ms;
    rig_hang_up(goes);
    answer_done(call_of(&rig->store, CALL_UNREGISTER), 0);
    rig_kick(rig, "alice", "phone", stays->session.connection, 1); // to be looked at
    assert_int_equal(calls_open_of(&rig->store, CALL_VERIFY), 0);
    answer_beat(call_of(&rig->store, CALL_HEARTBEAT), true, 1);
    assert_int_equal(calls_open_of(&rig->store, CALL_VERIFY), 1);
}

static void
a_client_that_goes_while_its_link_waits_for_the_lease_leaves_nothing(void **state)
{
    struct rig *rig = *state;
    struct conn *conn = rig_connect(rig, CODEC_PROTOBUF, NULL);
    rig->edge.lease.beat_ms = 0;
    conn->full_in = 1; // its Welcome does not fit: it ends inside
    say_hello(conn, 1, "alice", "phone");
    expect_closed(conn, CLOSE_SLOW_READER);
    answer_beat(call_of(&rig->store, CALL_HEARTBEAT), true, 1);
    assert_int_equal(calls_open(&rig->store), 0);
    assert_null(rig->edge.users.table);
}

// One link under way.

static struct conn *
verifying(struct rig *rig)
{
    struct conn *conn = rig_login(rig, "alice", "phone");
    rig->edge.now_ms += 1000;
    lease_tick(&rig->edge);
    answer_beat(call_of(&rig->store, CALL_HEARTBEAT), false, 1);
    return conn;
}

static void
a_link_that_is_there_stays(void **state)
{
    struct rig *rig = *state;
    const struct conn *conn = verifying(rig);
    struct call *call = call_of(&rig->store, CALL_VERIFY);
    uint64_t epoch = conn->session.link->epoch;
    assert_int_equal(call->link.epoch, epoch);
    answer_verified(call, STORE_KEPT, epoch + 3, NULL); // a register whose answer was lost
    assert_int_equal(conn->session.link->epoch, epoch + 3);
    assert_int_equal(calls_open(&rig->store), 0);
}

static void
a_link_that_was_missing_is_told_to_who_remembers(void **state)
{
    struct rig *rig = *state;
    const struct conn *conn = verifying(rig);
    answer_verified(call_of(&rig->store, CALL_VERIFY), STORE_REWRITTEN, conn->session.link->epoch,
                    NODE_B);
    rig_turn_end(rig);
    assert_string_equal(bus_only(&rig->bus, NODE_B)->items[0]->invalidate->user, "alice");
    assert_int_equal(rig->edge.counters.rewritten, 1);
}

static void
a_superseded_link_closes_its_connection(void **state)
{
    struct rig *rig = *state;
    const struct conn *conn = verifying(rig);
    answer_verified(call_of(&rig->store, CALL_VERIFY), STORE_SUPERSEDED, 999, NULL);
    expect_closed(conn, CLOSE_REPLACED);
    assert_int_equal(calls_open(&rig->store), 0); // the row is another's
    assert_null(rig->edge.users.table);
}

static void
a_verify_without_answer_is_asked_again(void **state)
{
    struct rig *rig = *state;
    const struct conn *conn = verifying(rig);
    int errors[] = {SY_ETIME, SY_ELOST, SY_EDOWN, SY_EREPLY};
    for (size_t i = 0; i < 4; i++) {
        answer_error(call_of(&rig->store, CALL_VERIFY), errors[i]);
        assert_int_equal(calls_open_of(&rig->store, CALL_VERIFY), 0);
        rig->edge.now_ms += 1000;
        lease_tick(&rig->edge);
    }
    assert_int_equal(conn->session.state, SESSION_LIVE);
    assert_int_equal(calls_open_of(&rig->store, CALL_VERIFY), 1);
}

static void
a_client_that_goes_during_a_verify_is_removed_after_it(void **state)
{
    struct rig *rig = *state;
    struct conn *conn = verifying(rig);
    uint64_t epoch = conn->session.link->epoch;
    rig_hang_up(conn);
    assert_int_equal(calls_open_of(&rig->store, CALL_UNREGISTER), 0);
    answer_verified(call_of(&rig->store, CALL_VERIFY), STORE_KEPT, epoch, NULL);
    answer_done(call_of(&rig->store, CALL_UNREGISTER), 0);
    assert_null(rig->edge.users.table);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(a_lease_is_held_for_its_time_from_when_it_was_asked_for),
        RIG_TEST(the_first_lease_waits_for_the_bus),
        RIG_TEST(a_lease_is_renewed_every_two_seconds_once_at_a_time),
        RIG_TEST(a_renewal_that_fails_changes_nothing),
        RIG_TEST(when_the_store_is_back_the_lease_is_renewed_at_once),
        RIG_TEST(leaving_is_told_at_once_and_does_not_forget_the_lease),
        RIG_TEST(leaving_while_a_renewal_is_under_way_keeps_its_time),
        RIG_TEST(each_link_is_verified_once_in_a_cycle),
        RIG_TEST(a_lost_lease_has_all_links_verified),
        RIG_TEST(a_loss_whose_answer_was_lost_is_told_by_the_next),
        RIG_TEST(a_lease_that_must_have_run_out_has_all_links_verified),
        RIG_TEST(a_lease_renewed_in_time_was_not_lost),
        RIG_TEST(links_are_verified_again_three_seconds_after_a_lost_lease),
        RIG_TEST(another_gen_has_all_links_verified),
        RIG_TEST(logins_meanwhile_keep_no_older_link_from_being_verified),
        RIG_TEST(no_second_verifies_more_than_allowed),
        RIG_TEST(nothing_is_written_close_to_the_end_of_the_lease),
        RIG_TEST(an_edge_that_never_had_a_lease_writes_nothing),
        RIG_TEST(nothing_is_verified_without_a_lease_but_ended_links_are_removed),
        RIG_TEST(a_client_that_goes_while_its_link_waits_for_the_lease_leaves_nothing),
        RIG_TEST(a_link_that_is_there_stays),
        RIG_TEST(a_link_that_was_missing_is_told_to_who_remembers),
        RIG_TEST(a_superseded_link_closes_its_connection),
        RIG_TEST(a_verify_without_answer_is_asked_again),
        RIG_TEST(a_client_that_goes_during_a_verify_is_removed_after_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
