// Leadership and reaping, against a real Redis.
#include "fixture.h"

#include <signal.h>
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

struct lead {
    int calls;
    int error;
    bool is_leader;
    uint64_t fence;
    uint64_t up_s;
};

static void
on_lead(void *arg, int error, bool is_leader, uint64_t fence, uint64_t up_s)
{
    struct lead *lead = arg;
    *lead = (struct lead){lead->calls + 1, error, is_leader, fence, up_s};
}

static struct lead
do_lead(const char *sweeper, uint64_t lease_ms)
{
    struct lead lead = {0};
    store_lead(peer.store, sweeper, lease_ms, on_lead, &lead);
    assert_int_equal(lead.calls, 0);
    wait_for(&loop, &lead.calls, 1);
    return lead;
}

static void
do_resign(const char *sweeper)
{
    struct seen seen = {0};
    store_resign(peer.store, sweeper, on_done, &seen);
    assert_int_equal(seen.calls, 0);
    wait_for(&loop, &seen.calls, 1);
    assert_int_equal(seen.error, 0);
}

static void
the_first_to_ask_leads_and_renews(void **state)
{
    (void)state;
    struct lead lead = do_lead("s1", 10000);
    assert_int_equal(lead.error, 0);
    assert_true(lead.is_leader);
    uint64_t fence = lead.fence;
    // time() may lag the clock Redis reads by a tick, over the edge of a second. See lead.lua.
    assert_in_range(fence, time(NULL) - 60, time(NULL) + 1);
    assert_in_range(lead.up_s, 0, 3600);
    server_ask(&server, "PEXPIRE sy:{sweeper}:leader 1000");
    lead = do_lead("s1", 10000);
    assert_true(lead.is_leader);
    assert_int_equal(lead.fence, fence);
    assert_in_range(atoi(server_ask(&server, "PTTL sy:{sweeper}:leader")), 8000, 10000);
}

static void
another_sweeper_waits_and_does_not_shorten_the_lease(void **state)
{
    (void)state;
    uint64_t fence = do_lead("s1", 10000).fence;
    struct lead lead = do_lead("s2", 100);
    assert_int_equal(lead.error, 0);
    assert_false(lead.is_leader);
    assert_int_equal(lead.fence, fence);
    assert_string_equal(server_ask(&server, "GET sy:{sweeper}:leader"), "s1");
    assert_in_range(atoi(server_ask(&server, "PTTL sy:{sweeper}:leader")), 8000, 10000);
}

static void
a_takeover_after_the_lease_raises_the_fence(void **state)
{
    (void)state;
    server_ask(&server, "SET sy:{sweeper}:fence 4000000000"); // ahead of the clock
    uint64_t fence = do_lead("s1", 1).fence;
    assert_int_equal(fence, 4000000001);
    for (int i = 0; i < 100 && strcmp(server_ask(&server, "GET sy:{sweeper}:leader"), "(nil)"); i++)
        uv_sleep(1);
    struct lead lead = do_lead("s2", 10000);
    assert_true(lead.is_leader);
    assert_int_equal(lead.fence, fence + 1);
    assert_false(do_lead("s1", 10000).is_leader);
}

static void
a_leader_that_lost_its_lease_gets_a_new_fence_too(void **state)
{
    (void)state;
    uint64_t fence = do_lead("s1", 10000).fence;
    server_ask(&server, "DEL sy:{sweeper}:leader");
    assert_true(do_lead("s1", 10000).fence > fence);
}

static void
a_fence_of_before_a_loss_of_data_is_not_above_one_of_after(void **state)
{
    (void)state;
    uint64_t fence = do_lead("s1", 10000).fence;
    server_ask(&server, "FLUSHALL");
    assert_true(do_lead("s2", 10000).fence >= fence);
}

static void
only_the_leader_can_resign(void **state)
{
    (void)state;
    uint64_t fence = do_lead("s1", 10000).fence;
    do_resign("s2");
    assert_false(do_lead("s2", 10000).is_leader);
    do_resign("s1");
    assert_string_equal(server_ask(&server, "EXISTS sy:{sweeper}:leader"), "0");
    do_resign("s1");
    struct lead lead = do_lead("s2", 10000);
    assert_true(lead.is_leader);
    assert_true(lead.fence > fence);
}

static void
a_sweeper_needs_a_name(void **state)
{
    (void)state;
    assert_int_equal(do_lead("", 10000).error, SY_EINVAL);
}

struct reap {
    int calls;
    int error;
    struct store_reaped reaped;
};

static void
on_reap(void *arg, int error, const struct store_reaped *answer)
{
    struct reap *reap = arg;
    reap->calls++;
    reap->error = error;
    assert_true((error == 0) == (answer != NULL));
    if (answer)
        reap->reaped = *answer;
}

static struct reap
do_reap(const char *node, uint64_t fence, unsigned batch)
{
    struct reap reap = {0};
    store_reap(peer.store, node, fence, batch, on_reap, &reap);
    assert_int_equal(reap.calls, 0);
    wait_for(&loop, &reap.calls, 1);
    return reap;
}

// A login of <user>/d on the node, as register leaves it.
static void
put_link(const char *node, const char *user, uint64_t connection)
{
    server_ask(&server, "SADD sy:members:{%s} %s/d", node, user);
    server_ask(&server, "HSET sy:user:{%s} d %s`%llu`1000`5`-`d", user, node,
               (unsigned long long)connection);
}

static void
put_node(const char *node)
{
    server_ask(&server, "SADD sy:nodes %s", node);
}

static void
expect_node_is_gone(const char *node)
{
    assert_string_equal(server_ask(&server, "SISMEMBER sy:nodes %s", node), "0");
    assert_string_equal(server_ask(&server, "EXISTS sy:members:{%s} sy:fence:{%s}", node, node),
                        "0");
}

static void
a_dead_node_loses_its_links_and_then_itself(void **state)
{
    (void)state;
    put_node(NODE_A);
    put_node(NODE_B);
    put_link(NODE_A, "ann", 1);
    put_link(NODE_A, "bob", 2);
    put_link(NODE_B, "cem", 3);
    struct reap reap = do_reap(NODE_A, 1, 200);
    assert_int_equal(reap.error, 0);
    assert_int_equal(reap.reaped.listed, 2);
    assert_int_equal(reap.reaped.removed, 2);
    assert_int_equal(reap.reaped.left, 0);
    assert_string_equal(server_ask(&server, "EXISTS sy:user:{ann} sy:user:{bob}"), "0");
    assert_string_equal(server_ask(&server, "EXISTS sy:user:{cem}"), "1");
    expect_node_is_gone(NODE_A);
    assert_string_equal(server_ask(&server, "SMEMBERS sy:nodes"), NODE_B);
}

static void
a_living_node_is_not_touched(void **state)
{
    (void)state;
    put_node(NODE_A);
    put_link(NODE_A, "ann", 1);
    server_ask(&server, "HSET sy:lease:{%s} state up", NODE_A);
    assert_int_equal(do_reap(NODE_A, 1, 200).error, SY_EBUSY);
    assert_string_equal(server_ask(&server, "EXISTS sy:user:{ann}"), "1");
    assert_string_equal(server_ask(&server, "SCARD sy:members:{%s}", NODE_A), "1");
    assert_string_equal(server_ask(&server, "EXISTS sy:fence:{%s}", NODE_A), "0");
    server_ask(&server, "DEL sy:lease:{%s}", NODE_A);
    assert_int_equal(do_reap(NODE_A, 1, 200).reaped.removed, 1);
}

static void
users_who_moved_on_keep_their_link(void **state)
{
    (void)state;
    put_node(NODE_A);
    put_link(NODE_A, "ann", 1);
    put_link(NODE_B, "ann", 2);
    put_link(NODE_A, "bob", 3);
    server_ask(&server, "HSET sy:user:{bob} other %s`4`1`5`-`other", NODE_B);
    // A node whose name begins with the dead one's is another node.
    server_ask(&server, "SADD sy:members:{%s} cem/d", NODE_A);
    server_ask(&server, "HSET sy:user:{cem} d %s0`4`1`5`-`d", NODE_A);
    server_ask(&server, "SADD sy:members:{%s} gone/d", NODE_A);
    struct reap reap = do_reap(NODE_A, 1, 200);
    assert_int_equal(reap.reaped.listed, 4);
    assert_int_equal(reap.reaped.removed, 1);
    assert_int_equal(reap.reaped.left, 0);
    assert_string_equal(server_ask(&server, "HKEYS sy:user:{ann}"), "d");
    assert_string_equal(server_ask(&server, "HKEYS sy:user:{bob}"), "other");
    assert_string_equal(server_ask(&server, "HKEYS sy:user:{cem}"), "d");
}

static void
a_stale_fence_is_refused_and_the_same_or_a_newer_one_is_not(void **state)
{
    (void)state;
    put_node(NODE_A);
    for (int i = 0; i < 30; i++) {
        char user[16];
        snprintf(user, sizeof user, "u%d", i);
        put_link(NODE_A, user, 1);
    }
    uint64_t left = do_reap(NODE_A, 5, 5).reaped.left;
    assert_in_range(left, 20, 25);
    assert_string_equal(server_ask(&server, "GET sy:fence:{%s}", NODE_A), "5");
    assert_int_equal(do_reap(NODE_A, 4, 5).error, SY_EDENIED);
    assert_int_equal(atoi(server_ask(&server, "SCARD sy:members:{%s}", NODE_A)), left);
    assert_in_range(do_reap(NODE_A, 5, 5).reaped.left, 10, left - 1);
    assert_in_range(do_reap(NODE_A, 6, 5).reaped.left, 1, left - 2);
    assert_string_equal(server_ask(&server, "GET sy:fence:{%s}", NODE_A), "6");
    for (int i = 0; do_reap(NODE_A, 6, 9).reaped.left > 0; i++)
        assert_in_range(i, 0, 9);
    expect_node_is_gone(NODE_A);
}

static void
a_thousand_members_go_in_batches(void **state)
{
    (void)state;
    put_node(NODE_A);
    for (int i = 0; i < 1000; i++) {
        char user[16];
        snprintf(user, sizeof user, "u%d", i);
        put_link(i % 10 == 0 ? NODE_B : NODE_A, user, 1);
        if (i % 10 == 0)
            server_ask(&server, "SADD sy:members:{%s} %s/d", NODE_A, user);
    }
    uint64_t left = 1000, removed = 0;
    for (int i = 0; left > 0; i++) {
        struct reap reap = do_reap(NODE_A, 1, 200);
        assert_int_equal(reap.error, 0);
        // A walk ends with a bucket, and perhaps with the end of the index.
        assert_in_range(reap.reaped.listed, left > 400 ? 200 : 0, 250);
        assert_int_equal(reap.reaped.left, left - reap.reaped.listed);
        left = reap.reaped.left;
        removed += reap.reaped.removed;
        assert_in_range(i, 0, 5);
    }
    assert_int_equal(removed, 900);
    expect_node_is_gone(NODE_A);
    assert_string_equal(server_ask(&server, "SCARD sy:members:{%s}", NODE_B), "100");
    assert_string_equal(server_ask(&server, "DBSIZE"), "101"); // 100 rows and that index
}

static void
a_thousand_members_go_in_one_batch_too(void **state)
{
    (void)state;
    put_node(NODE_A);
    for (int i = 0; i < 1000; i++)
        server_ask(&server, "SADD sy:members:{%s} u%d/d", NODE_A, i);
    struct reap reap = do_reap(NODE_A, 1, 1000);
    assert_int_equal(reap.error, 0);
    assert_int_equal(reap.reaped.listed, 1000);
    assert_int_equal(reap.reaped.left, 0);
    assert_int_equal(do_reap(NODE_A, 1, 1001).error, SY_EINVAL);
    assert_int_equal(do_reap(NODE_A, 1, 0).error, SY_EINVAL);
    assert_int_equal(do_reap("nonsense", 1, 1).error, SY_EINVAL);
}

static void
entries_that_name_no_link_are_dropped(void **state)
{
    (void)state;
    put_node(NODE_A);
    put_link(NODE_A, "ann", 1);
    server_ask(&server, "SADD sy:members:{%s} rubbish / a/ /b a/b/c a/_zz sp`ace/d", NODE_A);
    // A NUL must not make it look like another user's link.
    put_link(NODE_B, "bob", 1);
    server_ask(&server, "HSET sy:user:{bob} d %s`1`1`5`-`d", NODE_A);
    server_ask(&server, "EVAL return`redis.call('SADD',KEYS[1],'bob/d\\0x') 1 sy:members:{%s}",
               NODE_A);
    struct reap reap = do_reap(NODE_A, 1, 200);
    assert_int_equal(reap.error, 0);
    assert_int_equal(reap.reaped.listed, 9);
    assert_int_equal(reap.reaped.removed, 1);
    assert_int_equal(reap.reaped.left, 0);
}

static void
a_node_with_nothing_left_is_forgotten(void **state)
{
    (void)state;
    put_node(NODE_A);
    struct reap reap = do_reap(NODE_A, 1, 200);
    assert_int_equal(reap.error, 0);
    assert_int_equal(reap.reaped.listed, 0);
    expect_node_is_gone(NODE_A);
    assert_string_equal(server_ask(&server, "DBSIZE"), "0");
}

// Begins a reap and stops this side once Redis has carried out reap_list.
static void
reap_until_listed(struct reap *reap, uint64_t fence)
{
    store_reap(peer.store, NODE_A, fence, 200, on_reap, reap);
    uv_run(&loop, UV_RUN_NOWAIT);
    char number[24];
    snprintf(number, sizeof number, "%llu", (unsigned long long)fence);
    for (int i = 0; strcmp(server_ask(&server, "GET sy:fence:{%s}", NODE_A), number); i++) {
        assert_true(i < 1000);
        uv_sleep(1);
    }
    assert_int_equal(reap->calls, 0);
}

static void
a_node_that_returns_while_it_is_reaped_keeps_its_index(void **state)
{
    (void)state;
    struct reap reap = {0};
    put_node(NODE_A);
    put_link(NODE_A, "ann", 1);
    reap_until_listed(&reap, 1);
    server_ask(&server, "HSET sy:lease:{%s} state up", NODE_A);
    wait_for(&loop, &reap.calls, 1);
    assert_int_equal(reap.error, SY_EBUSY);
    assert_string_equal(server_ask(&server, "SMEMBERS sy:members:{%s}", NODE_A), "ann/d");
    assert_string_equal(server_ask(&server, "SMEMBERS sy:nodes"), NODE_A);
}

// More than a window of rows, since the first may be asked for before the sleep.
static void
put_many_links(int count)
{
    char user[16];
    put_node(NODE_A);
    for (int i = 0; i < count; i++) {
        snprintf(user, sizeof user, "u%d", i);
        put_link(NODE_A, user, 1);
    }
}

static void
a_sweeper_that_slept_over_its_list_leaves_the_rows_of_a_node_that_returned(void **state)
{
    (void)state;
    struct reap reap = {0};
    put_many_links(100);
    reap_until_listed(&reap, 1);
    uv_sleep(1100);
    server_ask(&server, "HSET sy:lease:{%s} state up", NODE_A);
    wait_for(&loop, &reap.calls, 1);
    assert_int_equal(reap.error, SY_EBUSY);
    assert_true(atoi(server_ask(&server, "DBSIZE")) >= 100 - 64);
}

static void
a_sweeper_that_slept_over_its_list_goes_on_with_the_next(void **state)
{
    (void)state;
    struct reap reap = {0};
    put_many_links(100);
    reap_until_listed(&reap, 1);
    uv_sleep(1100);
    wait_for(&loop, &reap.calls, 1);
    assert_int_equal(reap.error, 0);
    assert_in_range(reap.reaped.left, 100 - 64, 100);
    assert_int_equal(reap.reaped.left, 100 - reap.reaped.listed);
    uint64_t removed = reap.reaped.removed;
    for (int i = 0; reap.reaped.left > 0; i++) {
        assert_in_range(i, 0, 9);
        reap = do_reap(NODE_A, 1, 200);
        removed += reap.reaped.removed;
    }
    assert_int_equal(removed, 100);
    expect_node_is_gone(NODE_A);
}

static void
a_sweeper_overtaken_while_it_reaps_drops_nothing_more(void **state)
{
    (void)state;
    struct reap reap = {0};
    put_node(NODE_A);
    put_link(NODE_A, "ann", 1);
    reap_until_listed(&reap, 1);
    server_ask(&server, "SET sy:fence:{%s} 2", NODE_A);
    wait_for(&loop, &reap.calls, 1);
    assert_int_equal(reap.error, SY_EDENIED);
    assert_string_equal(server_ask(&server, "SCARD sy:members:{%s}", NODE_A), "1");
}

static void
members_added_while_reaping_remain(void **state)
{
    (void)state;
    struct reap reap = {0};
    put_node(NODE_A);
    put_link(NODE_A, "ann", 1);
    reap_until_listed(&reap, 1);
    put_link(NODE_A, "bob", 2);
    wait_for(&loop, &reap.calls, 1);
    assert_int_equal(reap.error, 0);
    assert_int_equal(reap.reaped.removed, 1);
    assert_int_equal(reap.reaped.left, 1);
    assert_string_equal(server_ask(&server, "SMEMBERS sy:members:{%s}", NODE_A), "bob/d");
    assert_string_equal(server_ask(&server, "EXISTS sy:user:{bob}"), "1");
    assert_string_equal(server_ask(&server, "SMEMBERS sy:nodes"), NODE_A);
}

static void
a_user_who_moves_on_while_it_is_reaped_keeps_the_new_link(void **state)
{
    (void)state;
    struct reap reap = {0};
    put_node(NODE_A);
    put_link(NODE_A, "ann", 1);
    reap_until_listed(&reap, 1);
    put_link(NODE_B, "ann", 2);
    wait_for(&loop, &reap.calls, 1);
    assert_int_equal(reap.reaped.removed, 0);
    assert_string_equal(server_ask(&server, "EXISTS sy:user:{ann}"), "1");
}

static void
a_row_that_cannot_be_reaped_leaves_the_index(void **state)
{
    (void)state;
    put_node(NODE_A);
    put_link(NODE_A, "ann", 1);
    server_ask(&server, "SADD sy:members:{%s} bob/d", NODE_A);
    server_ask(&server, "SET sy:user:{bob} x");
    assert_int_equal(do_reap(NODE_A, 1, 200).error, SY_EREPLY);
    assert_string_equal(server_ask(&server, "SCARD sy:members:{%s}", NODE_A), "2");
    server_ask(&server, "DEL sy:user:{bob}");
    assert_int_equal(do_reap(NODE_A, 1, 200).reaped.left, 0);
}

struct scrub {
    int calls;
    int error;
    uint64_t cursor;
    unsigned found;
};

static void
on_scrub(void *arg, int error, uint64_t cursor, unsigned found)
{
    struct scrub *scrub = arg;
    scrub->calls++;
    scrub->error = error;
    scrub->cursor = cursor;
    scrub->found += found;
}

static void
an_index_of_an_unlisted_node_is_found_by_the_scrub(void **state)
{
    (void)state;
    struct scrub scrub = {0};
    server_ask(&server, "FLUSHALL");
    server_ask(&server, "SADD sy:members:{" NODE_A "} u/d");
    server_ask(&server, "SADD sy:members:{" NODE_B "} u/d");
    server_ask(&server, "SADD sy:members:{no-node} u/d");
    server_ask(&server, "SADD sy:nodes " NODE_B);
    for (int i = 0; i < 1000; i++)
        server_ask(&server, "SET other:%d 1", i);
    int rounds = 0;
    do {
        int before = scrub.calls;
        store_scrub(peer.store, scrub.cursor, 100, on_scrub, &scrub);
        wait_for(&loop, &scrub.calls, before + 1);
        assert_int_equal(scrub.error, 0);
        rounds++;
    } while (scrub.cursor != 0);
    assert_in_range(rounds, 5, 100); // a slice at a time
    assert_int_equal(scrub.found, 1);
    assert_string_equal(server_ask(&server, "SISMEMBER sy:nodes " NODE_A), "1");
    assert_string_equal(server_ask(&server, "SCARD sy:nodes"), "2");
}

// All passes of the scrub of rows, a few users at a time.
static unsigned
scrub_rows(void)
{
    struct scrub scrub = {0};
    do {
        int before = scrub.calls;
        store_scrub_rows(peer.store, scrub.cursor, 5, on_scrub, &scrub);
        assert_int_equal(scrub.calls, before);
        wait_for(&loop, &scrub.calls, before + 1);
        assert_int_equal(scrub.error, 0);
    } while (scrub.cursor != 0);
    return scrub.found;
}

static void
a_row_no_index_names_is_found_and_goes_like_any_other(void **state)
{
    (void)state;
    for (int i = 0; i < 40; i++) {
        char user[16];
        snprintf(user, sizeof user, "u%d", i);
        put_link(NODE_A, user, 1);
        put_link(NODE_B, user, 1); // overwrites it, and is named
        server_ask(&server, "HSET sy:user:{%s} e %s`1`1`5`-`e", user, NODE_A);
    }
    put_node(NODE_B);
    server_ask(&server, "DEL sy:members:{" NODE_A "}");
    assert_int_equal(scrub_rows(), 40);
    assert_string_equal(server_ask(&server, "SCARD sy:members:{" NODE_A "}"), "40");
    assert_int_equal(scrub_rows(), 0); // named now
    struct reap reap = do_reap(NODE_A, 1, 200);
    assert_int_equal(reap.reaped.removed, 40);
    expect_node_is_gone(NODE_A);
    assert_string_equal(server_ask(&server, "HKEYS sy:user:{u7}"), "d");
    assert_int_equal(scrub_rows(), 0);
}

static void
rows_of_a_node_with_a_lease_or_in_an_index_are_no_orphans(void **state)
{
    (void)state;
    server_ask(&server, "HSET sy:user:{ann} d " NODE_A "`1`1`5`-`d");
    server_ask(&server, "HSET sy:lease:{" NODE_A "} state up");
    put_link(NODE_B, "bob", 1);
    put_node(NODE_B);
    assert_int_equal(scrub_rows(), 0);
    assert_string_equal(server_ask(&server, "SMEMBERS sy:nodes"), NODE_B);
    assert_string_equal(server_ask(&server, "EXISTS sy:members:{" NODE_A "}"), "0");
    assert_string_equal(server_ask(&server, "SMEMBERS sy:members:{" NODE_B "}"), "bob/d");
}

static void
what_is_no_row_is_skipped_by_the_scrub(void **state)
{
    (void)state;
    server_ask(&server, "SET sy:user:{str} x");
    server_ask(&server, "HSET sy:user:{not`mapped} d " NODE_A "`1`1`5`-`d");
    server_ask(&server, "HSET sy:user:{ann} bad/device " NODE_A "`1`1`5`-`d");
    server_ask(&server, "HSET sy:user:{ann} d rubbish");
    server_ask(&server, "HSET sy:user:{ann} e no-node`1`1`5`-`d");
    server_ask(&server, "HSET sy:user:{ann} f " NODE_A);
    assert_int_equal(scrub_rows(), 0);
    assert_string_equal(server_ask(&server, "EXISTS sy:nodes sy:members:{" NODE_A "}"), "0");
    struct scrub scrub = {0};
    store_scrub_rows(peer.store, 0, 0, on_scrub, &scrub);
    wait_for(&loop, &scrub.calls, 1);
    assert_int_equal(scrub.error, SY_EINVAL);
}

struct clock_seen {
    int calls;
    int error;
    struct store_clock clock;
};

static void
on_clock(void *arg, int error, const struct store_clock *clock)
{
    struct clock_seen *seen = arg;
    seen->calls++;
    seen->error = error;
    if (clock)
        seen->clock = *clock;
}

static void
the_clock_is_read_between_two_times_of_ours(void **state)
{
    (void)state;
    struct clock_seen seen = {0};
    uv_update_time(&loop);
    uint64_t before_ms = uv_now(&loop);
    store_read_clock(peer.store, on_clock, &seen);
    assert_int_equal(seen.calls, 0);
    server_signal(&server, SIGSTOP);
    uv_sleep(30);
    server_signal(&server, SIGCONT);
    wait_for(&loop, &seen.calls, 1);
    assert_int_equal(seen.error, 0);
    assert_int_equal(seen.clock.asked_ms, before_ms);
    assert_in_range(seen.clock.answered_ms, before_ms + 30, uv_now(&loop));
    assert_in_range(seen.clock.redis_ms / 1000, time(NULL) - 60, time(NULL));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_first_to_ask_leads_and_renews, flush),
        cmocka_unit_test_setup(another_sweeper_waits_and_does_not_shorten_the_lease, flush),
        cmocka_unit_test_setup(a_takeover_after_the_lease_raises_the_fence, flush),
        cmocka_unit_test_setup(a_leader_that_lost_its_lease_gets_a_new_fence_too, flush),
        cmocka_unit_test_setup(a_fence_of_before_a_loss_of_data_is_not_above_one_of_after, flush),
        cmocka_unit_test_setup(only_the_leader_can_resign, flush),
        cmocka_unit_test_setup(a_sweeper_needs_a_name, flush),
        cmocka_unit_test_setup(a_dead_node_loses_its_links_and_then_itself, flush),
        cmocka_unit_test_setup(a_living_node_is_not_touched, flush),
        cmocka_unit_test_setup(users_who_moved_on_keep_their_link, flush),
        cmocka_unit_test_setup(a_stale_fence_is_refused_and_the_same_or_a_newer_one_is_not, flush),
        cmocka_unit_test_setup(a_thousand_members_go_in_batches, flush),
        cmocka_unit_test_setup(a_thousand_members_go_in_one_batch_too, flush),
        cmocka_unit_test_setup(entries_that_name_no_link_are_dropped, flush),
        cmocka_unit_test_setup(a_node_with_nothing_left_is_forgotten, flush),
        cmocka_unit_test_setup(a_node_that_returns_while_it_is_reaped_keeps_its_index, flush),
        cmocka_unit_test_setup(
            a_sweeper_that_slept_over_its_list_leaves_the_rows_of_a_node_that_returned, flush),
        cmocka_unit_test_setup(a_sweeper_that_slept_over_its_list_goes_on_with_the_next, flush),
        cmocka_unit_test_setup(a_sweeper_overtaken_while_it_reaps_drops_nothing_more, flush),
        cmocka_unit_test_setup(members_added_while_reaping_remain, flush),
        cmocka_unit_test_setup(a_user_who_moves_on_while_it_is_reaped_keeps_the_new_link, flush),
        cmocka_unit_test_setup(a_row_that_cannot_be_reaped_leaves_the_index, flush),
        cmocka_unit_test_setup(an_index_of_an_unlisted_node_is_found_by_the_scrub, flush),
        cmocka_unit_test_setup(a_row_no_index_names_is_found_and_goes_like_any_other, flush),
        cmocka_unit_test_setup(rows_of_a_node_with_a_lease_or_in_an_index_are_no_orphans, flush),
        cmocka_unit_test_setup(what_is_no_row_is_skipped_by_the_scrub, flush),
        cmocka_unit_test_setup(the_clock_is_read_between_two_times_of_ours, flush),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
