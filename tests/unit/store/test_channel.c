// The connection: down, slow, frozen, killed, locked, and back again. Real Redis.
#include "fixture.h"

#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/store/channel.h"

static struct server server;
static uv_loop_t loop;
static struct peer peer;

static int
prepare(void **state)
{
    (void)state;
    uv_loop_init(&loop);
    server_prepare(&server);
    return 0;
}

static int
start(void **state)
{
    (void)state;
    uv_loop_init(&loop);
    server_start(&server);
    return 0;
}

static int
stop(void **state)
{
    (void)state;
    if (server.pid)
        server_signal(&server, SIGCONT);
    server_stop(&server);
    assert_int_equal(uv_loop_close(&loop), 0);
    return 0;
}

static struct seen
do_resolve(struct peer *on)
{
    struct seen seen = {0};
    store_resolve(on->store, "ann", NULL, 0, on_resolve, &seen);
    assert_int_equal(seen.calls, 0);
    wait_for(&loop, &seen.calls, 1);
    return seen;
}

// How often each of many calls was answered, and how.
struct tally {
    int calls;
    int fine;
    int timeouts;
    int lost;
    int full;
    int down;
    int first; // error of the first answer
    bool after_down;
};

static void
on_tally(void *arg, int error, const struct link *links, size_t count)
{
    struct tally *tally = arg;
    (void)links;
    (void)count;
    if (tally->calls++ == 0)
        tally->first = error;
    tally->fine += error == 0;
    tally->timeouts += error == SY_ETIME;
    tally->lost += error == SY_ELOST;
    tally->full += error == SY_EFULL;
    tally->down += error == SY_EDOWN;
    tally->after_down = tally->after_down || peer.downs > 0;
}

static void
ask_often(struct tally *tally, int count)
{
    for (int i = 0; i < count; i++)
        store_resolve(peer.store, "ann", NULL, 0, on_tally, tally);
}

// Waits until the store is not connected for this reason.
static void
expect_reason(const char *part)
{
    int never = 0;
    for (int i = 0; i < 250 && !strstr(store_describe(peer.store), part); i++)
        run_until(&loop, &never, 1, 20);
    assert_false(store_is_up(peer.store));
    assert_non_null(strstr(store_describe(peer.store), "not connected to "));
    assert_non_null(strstr(store_describe(peer.store), part));
}

// Sends what waits; the answers cannot be read yet, since Redis is stopped.
static void
turn(void)
{
    uv_run(&loop, UV_RUN_NOWAIT);
    uv_run(&loop, UV_RUN_NOWAIT);
}

static void
waits_grow_and_stay_within_their_bounds(void **state)
{
    (void)state;
    static const uint64_t ceiling[] = {0, 100, 200, 400, 800, 1600, 2000, 2000};
    struct rng rng;
    rng_seed(&rng, 1);
    for (unsigned failures = 1; failures < 8; failures++) {
        uint64_t least = UINT64_MAX, most = 0;
        for (int i = 0; i < 20000; i++) {
            uint64_t wait = channel_backoff_ms(&rng, failures);
            least = wait < least ? wait : least;
            most = wait > most ? wait : most;
        }
        assert_in_range(least, 50, 51);
        assert_in_range(most, ceiling[failures] - 1, ceiling[failures]);
    }
    assert_in_range(channel_backoff_ms(&rng, UINT32_MAX), 50, 2000);
}

static void
a_redis_that_comes_late_is_found(void **state)
{
    (void)state;
    peer_open(&peer, &loop, &server, (struct store_opts){.url = server.tcp_url});
    assert_int_equal(do_resolve(&peer).error, SY_EDOWN);
    expect_reason("refused");
    int never = 0;
    run_until(&loop, &never, 1, 300); // some more attempts
    assert_int_equal(peer.ups, 0);
    assert_int_equal(peer.downs, 0);
    server_launch(&server, "");
    peer_wait_up(&peer, &loop);
    assert_int_equal(do_resolve(&peer).error, 0);
    assert_non_null(strstr(store_describe(peer.store), "redis 7."));
    assert_string_equal(peer.why, store_describe(peer.store));
    peer_close(&peer, &loop);
}

static void
a_missing_unix_socket_is_tried_again(void **state)
{
    (void)state;
    peer_open(&peer, &loop, &server, (struct store_opts){0});
    expect_reason("No such file");
    server_launch(&server, "");
    peer_wait_up(&peer, &loop);
    peer_close(&peer, &loop);
}

static void
a_name_is_looked_up(void **state)
{
    (void)state;
    char url[64];
    snprintf(url, sizeof url, "redis://localhost:%d", server.port);
    peer_open(&peer, &loop, &server, (struct store_opts){.url = url});
    peer_wait_up(&peer, &loop);
    assert_int_equal(do_resolve(&peer).error, 0);
    peer_close(&peer, &loop);
}

static void
a_name_that_does_not_exist_is_a_reason(void **state)
{
    (void)state;
    struct store_opts opts = {.url = "redis://no-such-host.invalid"};
    peer_open(&peer, &loop, &server, opts);
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(do_resolve(&peer).error, SY_EDOWN);
    assert_int_equal(peer.ups, 0);
    peer_close(&peer, &loop); // perhaps in the middle of the look-up
}

static void
a_url_that_cannot_be_is_refused_at_once(void **state)
{
    (void)state;
    char why[160] = "";
    char long_user[200];
    memset(long_user, 'u', sizeof long_user);
    long_user[sizeof long_user - 1] = '\0';
    struct store_opts opts = {.url = "redis:/x", .command_timeout_ms = 1, .max_in_flight = 1};
    assert_null(store_open(&loop, &opts, why));
    assert_non_null(strstr(why, "must begin"));
    opts.url = "redis://h";
    opts.user = long_user;
    assert_null(store_open(&loop, &opts, why));
    assert_non_null(strstr(why, "longer"));
}

static void
a_wrong_password_is_named_and_the_right_one_is_taken(void **state)
{
    (void)state;
    server_launch(&server, "pass word");
    struct store_opts opts = {.url = "", .password = "wrong"};
    const char *expected[] = {"WRONGPASS", "NOAUTH"};
    for (int i = 0; i < 2; i++) {
        opts.url = server.tcp_url;
        peer_open(&peer, &loop, &server, opts);
        expect_reason(expected[i]);
        assert_int_equal(peer.ups, 0);
        assert_int_equal(do_resolve(&peer).error, SY_EDOWN);
        peer_close(&peer, &loop);
        opts.password = "";
    }
    opts.password = "pass word";
    peer_open(&peer, &loop, &server, opts);
    peer_wait_up(&peer, &loop);
    peer_close(&peer, &loop);
    char url[80];
    snprintf(url, sizeof url, "redis://:pass%%20word@127.0.0.1:%d/3", server.port);
    peer_open(&peer, &loop, &server, (struct store_opts){.url = url});
    peer_wait_up(&peer, &loop);
    peer_close(&peer, &loop);
}

static void
a_user_logs_in_and_its_rights_hold(void **state)
{
    (void)state;
    server_ask(&server, "ACL SETUSER edge on >secret -@all +evalsha +script|load +ping +hvals "
                        "+hset +pttl +pexpire ~sy:user:* ~sy:watch:*");
    struct store_opts opts = {.url = server.tcp_url, .user = "edge", .password = "secret"};
    peer_open(&peer, &loop, &server, opts);
    peer_wait_up(&peer, &loop);
    assert_int_equal(do_resolve(&peer).error, 0);
    struct link link = link_of(NODE_A, 1, "dev");
    struct seen seen = {0};
    store_register(peer.store, "ann", &link, 0, on_register, &seen);
    wait_for(&loop, &seen.calls, 1);
    assert_int_equal(seen.error, SY_EREPLY);
    peer_close(&peer, &loop);
    opts.password = "Secret";
    peer_open(&peer, &loop, &server, opts);
    expect_reason("WRONGPASS");
    peer_close(&peer, &loop);
}

static void
a_database_number_is_selected(void **state)
{
    (void)state;
    char url[64];
    struct seen seen = {0};
    struct link link = link_of(NODE_A, 1, "dev");
    snprintf(url, sizeof url, "redis://127.0.0.1:%d/3", server.port);
    peer_open(&peer, &loop, &server, (struct store_opts){.url = url});
    peer_wait_up(&peer, &loop);
    store_register(peer.store, "ann", &link, 0, on_register, &seen);
    wait_for(&loop, &seen.calls, 1);
    assert_int_equal(seen.error, 0);
    assert_string_equal(server_ask(&server, "DBSIZE"), "0");
    assert_non_null(strstr(server_ask(&server, "INFO keyspace"), "db3:keys=2"));
    peer_close(&peer, &loop);
    snprintf(url, sizeof url, "redis://127.0.0.1:%d/16", server.port);
    peer_open(&peer, &loop, &server, (struct store_opts){.url = url});
    expect_reason("DB index is out of range");
    peer_close(&peer, &loop);
}

static void
a_killed_redis_answers_every_call_once_and_is_found_again(void **state)
{
    (void)state;
    struct tally tally = {0};
    peer_open(&peer, &loop, &server, (struct store_opts){0});
    peer_wait_up(&peer, &loop);
    server_signal(&server, SIGSTOP);
    ask_often(&tally, 500);
    turn();
    assert_int_equal(tally.calls, 0);
    server_kill(&server);
    wait_for(&loop, &peer.downs, 1);
    assert_int_equal(tally.calls, 500);
    assert_int_equal(tally.lost, 500);
    assert_false(tally.after_down);
    assert_false(store_is_up(peer.store));
    assert_int_equal(do_resolve(&peer).error, SY_EDOWN);
    server_launch(&server, "");
    peer_wait_up(&peer, &loop);
    assert_int_equal(do_resolve(&peer).error, 0);
    assert_int_equal(tally.calls, 500);
    peer_close(&peer, &loop);
}

static void
a_frozen_redis_costs_one_deadline_and_bounded_memory(void **state)
{
    (void)state;
    struct tally tally = {0};
    struct store_opts opts = {.url = server.tcp_url, .max_in_flight = 64};
    peer_open(&peer, &loop, &server, opts);
    peer_wait_up(&peer, &loop);
    server_signal(&server, SIGSTOP);
    uv_update_time(&loop);
    uint64_t began = uv_now(&loop);
    ask_often(&tally, 100);
    wait_for(&loop, &tally.calls, 36);
    assert_int_equal(tally.full, 36);
    wait_for(&loop, &peer.downs, 1);
    assert_in_range(uv_now(&loop) - began, 1000, 1300);
    assert_int_equal(tally.calls, 100);
    assert_int_equal(tally.timeouts, 1);
    assert_int_equal(tally.lost, 63);
    assert_non_null(strstr(peer.why, "no answer to resolve for 1000 ms"));

    // Reconnects succeed (the kernel accepts) and their greeting times out.
    struct mallinfo2 before = mallinfo2();
    tally = (struct tally){0};
    while (uv_now(&loop) - began < 3000) {
        int calls = tally.calls;
        ask_often(&tally, 100);
        wait_for(&loop, &tally.calls, calls + 100);
        int never = 0;
        run_until(&loop, &never, 1, 10);
    }
    assert_int_equal(tally.down, tally.calls);
    struct mallinfo2 after = mallinfo2();
    assert_true(after.uordblks < before.uordblks + 100000); // 0 under ASan, which has its own
    assert_int_equal(peer.ups, 1);
    assert_int_equal(peer.downs, 1);

    server_signal(&server, SIGCONT);
    peer_wait_up(&peer, &loop);
    assert_int_equal(do_resolve(&peer).error, 0);
    peer_close(&peer, &loop);
}

static void
the_cap_is_exact(void **state)
{
    (void)state;
    struct tally tally = {0};
    struct seen seen = {0};
    struct link link = link_of(NODE_A, 1, "dev");
    peer_open(&peer, &loop, &server, (struct store_opts){.max_in_flight = 5});
    peer_wait_up(&peer, &loop);
    ask_often(&tally, 3);
    store_register(peer.store, "ann", &link, 0, on_register, &seen); // 2 commands: just fits
    ask_often(&tally, 1);
    wait_for(&loop, &seen.calls, 1);
    wait_for(&loop, &tally.calls, 4);
    assert_int_equal(seen.error, 0);
    assert_int_equal(tally.fine, 3);
    assert_int_equal(tally.full, 1);

    ask_often(&tally, 4);
    store_register(peer.store, "bob", &link, 0, on_register, &seen); // needs 2, has 1
    ask_often(&tally, 1);
    wait_for(&loop, &seen.calls, 2);
    wait_for(&loop, &tally.calls, 9);
    assert_int_equal(seen.error, SY_EFULL);
    assert_int_equal(tally.fine, 8);
    assert_string_equal(server_ask(&server, "EXISTS sy:user:{bob}"), "0");
    peer_close(&peer, &loop);
}

static void
an_idle_connection_notices_a_frozen_redis(void **state)
{
    (void)state;
    struct store_opts opts = {.command_timeout_ms = 200};
    peer_open(&peer, &loop, &server, opts);
    peer_wait_up(&peer, &loop);
    int never = 0;
    run_until(&loop, &never, 1, 1500); // pings are answered
    assert_int_equal(peer.downs, 0);
    server_signal(&server, SIGSTOP);
    assert_true(run_until(&loop, &peer.downs, 1, PING_MS + 200 + 400));
    assert_non_null(strstr(peer.why, "no answer to PING"));
    server_signal(&server, SIGCONT);
    peer_wait_up(&peer, &loop);
    peer_close(&peer, &loop);
}

static void
a_redis_just_within_the_deadline_is_fine(void **state)
{
    (void)state;
    struct tally tally = {0};
    peer_open(&peer, &loop, &server, (struct store_opts){0});
    peer_wait_up(&peer, &loop);
    server_signal(&server, SIGSTOP);
    ask_often(&tally, 10);
    int never = 0;
    run_until(&loop, &never, 1, 800);
    assert_int_equal(tally.calls, 0);
    server_signal(&server, SIGCONT);
    wait_for(&loop, &tally.calls, 10);
    assert_int_equal(tally.fine, 10);
    assert_int_equal(peer.downs, 0);
    peer_close(&peer, &loop);
}

static void
an_own_pause_longer_than_the_deadline_is_not_the_fault_of_redis(void **state)
{
    (void)state;
    struct tally tally = {0};
    peer_open(&peer, &loop, &server, (struct store_opts){.command_timeout_ms = 100});
    peer_wait_up(&peer, &loop);
    server_signal(&server, SIGSTOP);
    ask_often(&tally, 10);
    turn(); // sent, and Redis cannot have answered
    server_signal(&server, SIGCONT);
    usleep(300000);
    assert_int_equal(tally.calls, 0);
    wait_for(&loop, &tally.calls, 10);
    assert_int_equal(tally.fine, 10);
    assert_int_equal(peer.downs, 0);
    peer_close(&peer, &loop);
}

static void
flushed_scripts_are_loaded_again(void **state)
{
    (void)state;
    struct tally tally = {0};
    struct seen seen = {0};
    struct link link = link_of(NODE_A, 1, "dev");
    peer_open(&peer, &loop, &server, (struct store_opts){.max_in_flight = 100});
    peer_wait_up(&peer, &loop);
    server_ask(&server, "CONFIG RESETSTAT");
    for (int round = 0; round < 3; round++) {
        server_ask(&server, "SCRIPT FLUSH");
        tally = (struct tally){0};
        seen = (struct seen){0};
        ask_often(&tally, 98);
        store_register(peer.store, "ann", &link, 0, on_register, &seen);
        wait_for(&loop, &tally.calls, 98);
        wait_for(&loop, &seen.calls, 1);
        assert_int_equal(tally.fine, 98);
        assert_int_equal(seen.error, 0);
    }
    assert_int_equal(peer.downs, 0);
    // Two scripts, three rounds, and not once per command.
    assert_non_null(strstr(server_ask(&server, "INFO commandstats"), "script|load:calls=6,"));
    peer_close(&peer, &loop);
}

static void
a_demoted_master_is_left(void **state)
{
    (void)state;
    struct seen seen = {0};
    struct link link = link_of(NODE_A, 1, "dev");
    peer_open(&peer, &loop, &server, (struct store_opts){0});
    peer_wait_up(&peer, &loop);
    server_ask(&server, "REPLICAOF 127.0.0.1 1");
    store_register(peer.store, "ann", &link, 0, on_register, &seen);
    wait_for(&loop, &peer.downs, 1);
    assert_int_equal(seen.calls, 1);
    assert_int_equal(seen.error, SY_EREPLY);
    assert_non_null(strstr(peer.why, "READONLY"));
    server_ask(&server, "REPLICAOF NO ONE");
    peer_wait_up(&peer, &loop);
    peer_close(&peer, &loop);
}

static void
closing_answers_everything_before_it_returns(void **state)
{
    (void)state;
    struct tally tally = {0};
    peer_open(&peer, &loop, &server, (struct store_opts){.max_in_flight = 64});
    peer_wait_up(&peer, &loop);
    ask_often(&tally, 64);
    uv_run(&loop, UV_RUN_NOWAIT);
    int before = tally.calls;
    ask_often(&tally, 100 - (64 - before));
    store_close(peer.store, NULL, NULL);
    assert_int_equal(tally.calls, 64 + 100 - (64 - before));
    assert_int_equal(tally.fine, before);
    assert_int_equal(tally.lost, 64);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(tally.calls, tally.fine + tally.lost + tally.full);
    assert_int_equal(peer.downs, 0);
}

static void
a_store_may_be_closed_at_once(void **state)
{
    (void)state;
    peer_open(&peer, &loop, &server, (struct store_opts){0});
    peer_close(&peer, &loop); // never connected
    peer_open(&peer, &loop, &server, (struct store_opts){.url = server.tcp_url});
    uv_run(&loop, UV_RUN_NOWAIT);
    peer_close(&peer, &loop); // connecting
    assert_int_equal(peer.ups, 0);
}

static int closed_calls;

static void
on_resolve_close(void *arg, int error, const struct link *links, size_t count)
{
    (void)arg;
    (void)error;
    (void)links;
    (void)count;
    if (closed_calls++ == 0)
        store_close(peer.store, NULL, NULL);
}

static void
a_store_may_be_closed_from_an_answer(void **state)
{
    (void)state;
    for (int round = 0; round < 3; round++) {
        closed_calls = 0;
        peer_open(&peer, &loop, &server, (struct store_opts){.max_in_flight = 5});
        if (round > 0)
            peer_wait_up(&peer, &loop); // round 0: from a refusal; 2: from a loss
        if (round == 2)
            server_signal(&server, SIGSTOP);
        for (int i = 0; i < 8; i++)
            store_resolve(peer.store, "ann", NULL, 0, on_resolve_close, NULL);
        assert_int_equal(closed_calls, 0);
        if (round == 2) {
            closed_calls = -3; // the three beyond the cap are refused
            turn();
            assert_int_equal(closed_calls, 0);
            server_kill(&server);
            wait_for(&loop, &closed_calls, 1);
        }
        uv_run(&loop, UV_RUN_DEFAULT);
        assert_int_equal(closed_calls, round == 2 ? 5 : 8);
        assert_int_equal(peer.downs, 0);
    }
}

static void
close_when_down(void *arg, bool up, const char *why)
{
    (void)why;
    if (up == *(bool *)arg)
        store_close(peer.store, NULL, NULL);
}

static void
a_store_may_be_closed_from_on_state(void **state)
{
    (void)state;
    char why[160];
    for (int round = 0; round < 2; round++) {
        bool when = round == 0;
        struct store_opts opts = {.url = server.unix_url,
                                  .command_timeout_ms = 1000,
                                  .max_in_flight = 5,
                                  .on_state = close_when_down,
                                  .arg = &when};
        peer = (struct peer){.store = store_open(&loop, &opts, why)};
        if (round == 1) {
            for (int i = 0; i < 1000 && !store_is_up(peer.store); i++)
                uv_run(&loop, UV_RUN_ONCE);
            server_kill(&server);
        }
        uv_run(&loop, UV_RUN_DEFAULT);
    }
}

static void
retry_at_once(void *arg, int error, const struct link *links, size_t count)
{
    int *calls = arg;
    (void)links;
    (void)count;
    assert_int_equal(error, SY_EDOWN);
    if (++*calls < 50)
        store_resolve(peer.store, "ann", NULL, 0, retry_at_once, calls);
}

static void
one_who_tries_again_at_once_does_not_hold_up_the_loop(void **state)
{
    (void)state;
    int calls = 0;
    struct store_opts opts = {.url = server.tcp_url};
    peer_open(&peer, &loop, &server, opts);
    store_resolve(peer.store, "ann", NULL, 0, retry_at_once, &calls);
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(calls, 1);
    uv_run(&loop, UV_RUN_NOWAIT);
    assert_int_equal(calls, 2);
    wait_for(&loop, &calls, 50);
    peer_close(&peer, &loop);
}

#define TEST(name, setup) cmocka_unit_test_setup_teardown(name, setup, stop)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(waits_grow_and_stay_within_their_bounds),
        TEST(a_redis_that_comes_late_is_found, prepare),
        TEST(a_missing_unix_socket_is_tried_again, prepare),
        TEST(a_name_is_looked_up, start),
        TEST(a_name_that_does_not_exist_is_a_reason, prepare),
        TEST(a_url_that_cannot_be_is_refused_at_once, prepare),
        TEST(a_user_logs_in_and_its_rights_hold, start),
        TEST(a_database_number_is_selected, start),
        TEST(a_wrong_password_is_named_and_the_right_one_is_taken, prepare),
        TEST(a_killed_redis_answers_every_call_once_and_is_found_again, start),
        TEST(a_frozen_redis_costs_one_deadline_and_bounded_memory, start),
        TEST(the_cap_is_exact, start),
        TEST(an_idle_connection_notices_a_frozen_redis, start),
        TEST(a_redis_just_within_the_deadline_is_fine, start),
        TEST(an_own_pause_longer_than_the_deadline_is_not_the_fault_of_redis, start),
        TEST(flushed_scripts_are_loaded_again, start),
        TEST(a_demoted_master_is_left, start),
        TEST(closing_answers_everything_before_it_returns, start),
        TEST(a_store_may_be_closed_at_once, start),
        TEST(a_store_may_be_closed_from_an_answer, start),
        TEST(a_store_may_be_closed_from_on_state, start),
        TEST(one_who_tries_again_at_once_does_not_hold_up_the_loop, prepare),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
