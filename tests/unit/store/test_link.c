// Links against a real Redis: every script of them, both sides of every comparison.
#include "fixture.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct server server;
static uv_loop_t loop;
static struct peer a;
static struct peer b;

static int
start(void **state)
{
    (void)state;
    server_start(&server);
    uv_loop_init(&loop);
    peer_open(&a, &loop, &server, (struct store_opts){0});
    peer_open(&b, &loop, &server, (struct store_opts){0});
    peer_wait_up(&a, &loop);
    peer_wait_up(&b, &loop);
    return 0;
}

static int
stop(void **state)
{
    (void)state;
    peer_close(&a, &loop);
    peer_close(&b, &loop);
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

// Of a login some time ago.
static struct seen
do_register_late(struct peer *peer, const char *user, const struct link *link, uint64_t age_ms)
{
    struct seen seen = {0};
    store_register(peer->store, user, link, age_ms, on_register, &seen);
    assert_int_equal(seen.calls, 0);
    wait_for(&loop, &seen.calls, 1);
    return seen;
}

static struct seen
do_register(struct peer *peer, const char *user, const struct link *link)
{
    return do_register_late(peer, user, link, 0);
}

static struct seen
do_verify(const char *user, const struct link *link)
{
    struct seen seen = {0};
    store_verify(a.store, user, link, on_verify, &seen);
    assert_int_equal(seen.calls, 0);
    wait_for(&loop, &seen.calls, 1);
    return seen;
}

static int
do_unregister(const char *user, const struct link *link)
{
    struct seen seen = {0};
    store_unregister(a.store, user, link, on_done, &seen);
    assert_int_equal(seen.calls, 0);
    wait_for(&loop, &seen.calls, 1);
    return seen.error;
}

static struct seen
do_resolve(const char *user, const char *watcher, uint64_t watch_ms)
{
    struct seen seen = {0};
    store_resolve(b.store, user, watcher, watch_ms, on_resolve, &seen);
    assert_int_equal(seen.calls, 0);
    wait_for(&loop, &seen.calls, 1);
    return seen;
}

static void
expect_row(const char *user, const struct link *link)
{
    char row[LINK_ROW_SIZE];
    link_write(link, row);
    assert_string_equal(server_ask(&server, "HGET sy:user:{%s} %s", user, link->device), row);
}

static bool
is_indexed(const char *node, const char *member)
{
    return strcmp(server_ask(&server, "SISMEMBER sy:members:{%s} %s", node, member), "1") == 0;
}

static void
put_row(const char *user, const struct link *link)
{
    char row[LINK_ROW_SIZE];
    link_write(link, row);
    for (char *c = row; *c; c++)
        if (*c == ' ')
            *c = '`';
    server_ask(&server, "HSET sy:user:{%s} %s %s", user, link->device, row);
}

static uint64_t
redis_us(void)
{
    unsigned long long s, us;
    assert_int_equal(sscanf(server_ask(&server, "TIME"), "%llu %llu", &s, &us), 2);
    return s * 1000000 + us;
}

static void
a_first_register_replaces_nothing(void **state)
{
    (void)state;
    struct link link = link_of(NODE_A, 7, "dev");
    uint64_t before = redis_us();
    struct seen seen = do_register(&a, "ann", &link);
    assert_int_equal(seen.error, 0);
    assert_int_equal(seen.displaced_count, 0);
    assert_int_equal(seen.watcher_count, 0);
    assert_in_range(seen.epoch, before, redis_us());
    link.epoch = seen.epoch;
    expect_row("ann", &link);
    assert_true(is_indexed(NODE_A, "ann/dev"));
}

static void
a_register_returns_the_link_it_replaces(void **state)
{
    (void)state;
    struct link first = link_of(NODE_A, 7, "dev");
    struct link second = link_of(NODE_B, 9, "dev");
    first.epoch = do_register(&a, "ann", &first).epoch;
    struct seen seen = do_register(&b, "ann", &second);
    assert_int_equal(seen.error, 0);
    assert_int_equal(seen.displaced_count, 1);
    assert_string_equal(seen.displaced[0].node, NODE_A);
    assert_int_equal(seen.displaced[0].connection, 7);
    assert_int_equal(seen.displaced[0].epoch, first.epoch);
    assert_true(seen.epoch > first.epoch);
    second.epoch = seen.epoch;
    expect_row("ann", &second);
    assert_true(is_indexed(NODE_B, "ann/dev"));
}

static void
devices_of_a_user_do_not_replace_each_other(void **state)
{
    (void)state;
    struct link one = link_of(NODE_A, 1, "one");
    struct link two = link_of(NODE_A, 2, "two");
    do_register(&a, "ann", &one);
    assert_int_equal(do_register(&a, "ann", &two).displaced_count, 0);
    struct seen seen = do_resolve("ann", NULL, 0);
    assert_int_equal(seen.link_count, 2);
}

static void
an_unreadable_row_is_replaced_without_its_old_link(void **state)
{
    (void)state;
    server_ask(&server, "HSET sy:user:{ann} dev rubbish");
    struct link link = link_of(NODE_A, 7, "dev");
    struct seen seen = do_register(&a, "ann", &link);
    assert_int_equal(seen.error, 0);
    assert_int_equal(seen.displaced_count, 0);
    link.epoch = seen.epoch;
    expect_row("ann", &link);
}

static void
an_epoch_is_above_the_stored_one_although_the_clock_went_back(void **state)
{
    (void)state;
    struct link link = link_of(NODE_B, 1, "dev");
    link.epoch = 9007199254740990; // the last number a double can add one to
    put_row("ann", &link);
    struct link ours = link_of(NODE_A, 2, "dev");
    assert_int_equal(do_register(&a, "ann", &ours).epoch, 9007199254740991);
}

static void
an_epoch_that_cannot_be_raised_counts_as_none(void **state)
{
    (void)state;
    struct link link = link_of(NODE_B, 1, "dev");
    uint64_t all[] = {9007199254740991, UINT64_MAX};
    struct link ours = link_of(NODE_A, 2, "dev");
    for (size_t i = 0; i < 2; i++) {
        link.epoch = all[i];
        put_row("ann", &link);
        struct seen seen = do_register(&a, "ann", &ours);
        assert_int_equal(seen.error, 0);
        assert_true(seen.epoch <= redis_us());
    }
}

static void
ids_of_any_alphabet_are_mapped(void **state)
{
    (void)state;
    struct link link = link_of(NODE_A, 7, "my phone");
    struct seen seen = do_register(&a, "a{b} *", &link);
    assert_int_equal(seen.error, 0);
    assert_string_equal(server_ask(&server, "HKEYS sy:user:{a_7bb_7d_20_2a}"), "my_20phone");
    assert_true(is_indexed(NODE_A, "a_7bb_7d_20_2a/my_20phone"));
    seen = do_resolve("a{b} *", NULL, 0);
    assert_int_equal(seen.link_count, 1);
    assert_string_equal(seen.links[0].device, "my phone");
    link.epoch = seen.links[0].epoch;
    assert_int_equal(do_unregister("a{b} *", &link), 0);
}

static void
unregister_deletes_exactly_its_own_link(void **state)
{
    (void)state;
    struct link link = link_of(NODE_A, 7, "dev");
    link.epoch = do_register(&a, "ann", &link).epoch;

    struct link other = link;
    other.connection = 8;
    assert_int_equal(do_unregister("ann", &other), SY_ENOENT);
    other = link;
    other.connection = 70;
    assert_int_equal(do_unregister("ann", &other), SY_ENOENT);
    other = link;
    other.epoch++;
    assert_int_equal(do_unregister("ann", &other), SY_ENOENT);
    other = link;
    snprintf(other.node, sizeof other.node, "%s", NODE_B);
    assert_int_equal(do_unregister("ann", &other), SY_ENOENT);
    expect_row("ann", &link);
    assert_true(is_indexed(NODE_A, "ann/dev"));

    assert_int_equal(do_unregister("ann", &link), 0);
    assert_string_equal(server_ask(&server, "EXISTS sy:user:{ann}"), "0");
    assert_false(is_indexed(NODE_A, "ann/dev"));
    assert_int_equal(do_unregister("ann", &link), SY_ENOENT);
}

static void
an_index_entry_goes_once_the_device_is_on_another_node(void **state)
{
    (void)state;
    struct link here = link_of(NODE_A, 7, "dev");
    struct link there = link_of(NODE_B, 9, "dev");
    here.epoch = do_register(&a, "ann", &here).epoch;
    there.epoch = do_register(&b, "ann", &there).epoch;
    assert_int_equal(do_unregister("ann", &here), SY_ENOENT);
    expect_row("ann", &there);
    assert_false(is_indexed(NODE_A, "ann/dev"));
    assert_true(is_indexed(NODE_B, "ann/dev"));
}

static void
verify_keeps_what_is_true(void **state)
{
    (void)state;
    struct link link = link_of(NODE_A, 7, "dev");
    link.epoch = do_register(&a, "ann", &link).epoch;
    struct seen seen = do_verify("ann", &link);
    assert_int_equal(seen.error, 0);
    assert_int_equal(seen.verdict, STORE_KEPT);
    assert_int_equal(seen.epoch, link.epoch);
    expect_row("ann", &link);
}

static void
verify_writes_a_missing_row_with_its_own_epoch(void **state)
{
    (void)state;
    struct link link = link_of(NODE_A, 7, "dev");
    link.epoch = 12345;
    do_resolve("ann", NODE_B, 60000);
    struct seen seen = do_verify("ann", &link);
    assert_int_equal(seen.verdict, STORE_REWRITTEN);
    assert_int_equal(seen.epoch, 12345);
    assert_int_equal(seen.displaced_count, 0);
    assert_int_equal(seen.watcher_count, 1);
    assert_string_equal(seen.watcher, NODE_B);
    expect_row("ann", &link);
    assert_true(is_indexed(NODE_A, "ann/dev"));
    assert_int_equal(do_verify("ann", &link).watcher_count, 0);
}

static void
verify_overwrites_an_older_login_and_yields_to_a_newer(void **state)
{
    (void)state;
    struct link ours = link_of(NODE_A, 7, "dev");
    struct link theirs = link_of(NODE_B, 9, "dev");
    ours.epoch = 1000;
    theirs.epoch = 999;
    put_row("ann", &theirs);
    struct seen seen = do_verify("ann", &ours);
    assert_int_equal(seen.verdict, STORE_REWRITTEN);
    assert_int_equal(seen.displaced_count, 1);
    assert_int_equal(seen.displaced[0].connection, 9);
    expect_row("ann", &ours);

    theirs.epoch = 1001;
    put_row("ann", &theirs);
    seen = do_verify("ann", &ours);
    assert_int_equal(seen.verdict, STORE_SUPERSEDED);
    assert_int_equal(seen.epoch, 1001);
    expect_row("ann", &theirs);
    assert_false(is_indexed(NODE_A, "ann/dev"));
}

static void
verify_that_yields_to_its_own_node_keeps_the_index(void **state)
{
    (void)state;
    struct link ours = link_of(NODE_A, 7, "dev");
    struct link newer = link_of(NODE_A, 8, "dev");
    ours.epoch = 1000;
    newer.epoch = do_register(&a, "ann", &newer).epoch;
    assert_int_equal(do_verify("ann", &ours).verdict, STORE_SUPERSEDED);
    expect_row("ann", &newer);
    assert_true(is_indexed(NODE_A, "ann/dev"));
}

static void
equal_epochs_are_ordered_by_owner(void **state)
{
    (void)state;
    struct link ours = link_of(NODE_A, 7, "dev");
    struct link greater = link_of(NODE_A, 8, "dev");
    struct link smaller = link_of(NODE_A, 6, "dev");
    ours.epoch = greater.epoch = smaller.epoch = 1000;
    put_row("ann", &greater);
    assert_int_equal(do_verify("ann", &ours).verdict, STORE_SUPERSEDED);
    put_row("ann", &smaller);
    assert_int_equal(do_verify("ann", &ours).verdict, STORE_REWRITTEN);
    expect_row("ann", &ours);
}

static void
verify_learns_the_epoch_of_a_register_whose_answer_was_lost(void **state)
{
    (void)state;
    struct link link = link_of(NODE_A, 7, "dev");
    link.epoch = do_register(&a, "ann", &link).epoch;
    struct link unknowing = link;
    unknowing.epoch = 0;
    struct seen seen = do_verify("ann", &unknowing);
    assert_int_equal(seen.verdict, STORE_KEPT);
    assert_int_equal(seen.epoch, link.epoch);
    expect_row("ann", &link);
    unknowing.epoch = link.epoch + 1;
    assert_int_equal(do_verify("ann", &unknowing).verdict, STORE_REWRITTEN);
    expect_row("ann", &unknowing);
}

static void
verify_replaces_rows_nobody_can_read(void **state)
{
    (void)state;
    struct link ours = link_of(NODE_A, 7, "dev");
    struct link absurd = link_of(NODE_B, 9, "dev");
    ours.epoch = 1000;
    server_ask(&server, "HSET sy:user:{ann} dev rubbish");
    assert_int_equal(do_verify("ann", &ours).verdict, STORE_REWRITTEN);
    expect_row("ann", &ours);
    absurd.epoch = UINT64_MAX;
    put_row("ann", &absurd);
    assert_int_equal(do_verify("ann", &ours).verdict, STORE_REWRITTEN);
    expect_row("ann", &ours);
}

static void
resolve_finds_nobody_without_a_login(void **state)
{
    (void)state;
    struct seen seen = do_resolve("nobody", NULL, 0);
    assert_int_equal(seen.error, 0);
    assert_int_equal(seen.link_count, 0);
    assert_string_equal(server_ask(&server, "EXISTS sy:watch:{nobody}"), "0");
}

static void
resolve_skips_unreadable_rows(void **state)
{
    (void)state;
    struct link link = link_of(NODE_A, 7, "dev");
    do_register(&a, "ann", &link);
    server_ask(&server, "HSET sy:user:{ann} other rubbish");
    struct seen seen = do_resolve("ann", NULL, 0);
    assert_int_equal(seen.error, 0);
    assert_int_equal(seen.link_count, 1);
    assert_string_equal(seen.links[0].node, NODE_A);
    assert_string_equal(seen.links[0].device_class, "phone");
}

static void
who_asked_is_told_of_exactly_one_login(void **state)
{
    (void)state;
    struct link link = link_of(NODE_A, 7, "dev");
    do_resolve("ann", NODE_B, 60000);
    struct seen seen = do_register(&a, "ann", &link);
    assert_int_equal(seen.watcher_count, 1);
    assert_string_equal(seen.watcher, NODE_B);
    link.connection = 8;
    assert_int_equal(do_register(&a, "ann", &link).watcher_count, 0);
}

static void
watchers_that_are_no_nodes_are_left_out(void **state)
{
    (void)state;
    struct link link = link_of(NODE_A, 7, "dev");
    server_ask(&server, "HSET sy:watch:{ann} rubbish 1 %s 1", NODE_B);
    struct seen seen = do_register(&a, "ann", &link);
    assert_int_equal(seen.watcher_count, 1);
    assert_string_equal(seen.watcher, NODE_B);
}

static void
a_watch_lives_as_long_as_the_longest_memory(void **state)
{
    (void)state;
    do_resolve("ann", NODE_B, 60000);
    do_resolve("ann", NODE_A, 1000);
    int left = atoi(server_ask(&server, "PTTL sy:watch:{ann}"));
    assert_in_range(left, 50000, 60000);
    do_resolve("ann", NODE_A, 90000);
    left = atoi(server_ask(&server, "PTTL sy:watch:{ann}"));
    assert_in_range(left, 80000, 90000);
    assert_string_equal(server_ask(&server, "HLEN sy:watch:{ann}"), "2");
}

static void
ids_that_cannot_be_are_refused_later(void **state)
{
    (void)state;
    struct link link = link_of(NODE_A, 7, "dev");
    assert_int_equal(do_register(&a, "", &link).error, SY_EINVAL);
    assert_int_equal(do_register(&a, "a\nb", &link).error, SY_EINVAL);
    assert_int_equal(do_verify("a\x7f", &link).error, SY_EINVAL);
    assert_int_equal(do_resolve("\xff", NULL, 0).error, SY_EINVAL);
    assert_int_equal(do_resolve("ann", "no node", 1).error, SY_EINVAL);
    link.node[0] = '*';
    assert_int_equal(do_unregister("ann", &link), SY_EINVAL);
    link = link_of(NODE_A, 7, "");
    assert_int_equal(do_register(&a, "ann", &link).error, SY_EINVAL);
    link = link_of(NODE_A, 7, "dev");
    snprintf(link.device_class, sizeof link.device_class, "a b");
    assert_int_equal(do_register(&a, "ann", &link).error, SY_EINVAL);
    assert_string_equal(server_ask(&server, "DBSIZE"), "0");
}

static void
a_key_of_another_type_is_an_error_of_that_call_only(void **state)
{
    (void)state;
    struct link link = link_of(NODE_A, 7, "dev");
    server_ask(&server, "SET sy:user:{ann} x");
    assert_int_equal(do_register(&a, "ann", &link).error, SY_EREPLY);
    assert_int_equal(do_verify("ann", &link).error, SY_EREPLY);
    assert_int_equal(do_unregister("ann", &link), SY_EREPLY);
    assert_int_equal(do_resolve("ann", NULL, 0).error, SY_EREPLY);
    server_ask(&server, "SET sy:members:{%s} x", NODE_A);
    assert_int_equal(do_register(&a, "bob", &link).error, SY_EREPLY);
    assert_true(store_is_up(a.store));
    assert_int_equal(a.downs, 0);
}

// One device that two nodes fight over: 1,000 logins from two connections at once.

#define RACES 1000
static struct seen raced[RACES];
static int race_count;

static void
on_raced(void *arg, int error, const struct store_registered *answer)
{
    on_register(arg, error, answer);
    race_count++;
}

static void
racing_logins_leave_exactly_the_newest_link(void **state)
{
    (void)state;
    struct link links[RACES];
    memset(raced, 0, sizeof raced);
    race_count = 0;
    for (int i = 0; i < RACES; i++) {
        links[i] = link_of(i % 2 ? NODE_A : NODE_B, (uint64_t)i, "dev");
        store_register(i % 2 ? a.store : b.store, "ann", &links[i], 0, on_raced, &raced[i]);
        if (i % 16 == 15)
            uv_run(&loop, UV_RUN_NOWAIT);
    }
    wait_for(&loop, &race_count, RACES);
    int newest = 0, firsts = 0;
    for (int i = 0; i < RACES; i++) {
        assert_int_equal(raced[i].error, 0);
        links[i].epoch = raced[i].epoch;
        firsts += raced[i].displaced_count == 0;
        if (raced[i].epoch > raced[newest].epoch)
            newest = i;
    }
    // Each link was handed to exactly one successor, but for the newest.
    bool was_replaced[RACES] = {false};
    for (int i = 0; i < RACES; i++) {
        if (raced[i].displaced_count == 0)
            continue;
        assert_false(was_replaced[raced[i].displaced[0].connection]);
        assert_true(raced[i].displaced[0].epoch < raced[i].epoch);
        was_replaced[raced[i].displaced[0].connection] = true;
    }
    assert_int_equal(firsts, 1);
    assert_false(was_replaced[newest]);
    expect_row("ann", &links[newest]);
    assert_string_equal(server_ask(&server, "HLEN sy:user:{ann}"), "1");
    // The late goodbyes and checks of all others change nothing.
    for (int i = 0; i < RACES; i += 50) {
        if (i == newest)
            continue;
        assert_int_equal(do_unregister("ann", &links[i]), SY_ENOENT);
        assert_int_equal(do_verify("ann", &links[i]).verdict, STORE_SUPERSEDED);
    }
    expect_row("ann", &links[newest]);
    assert_int_equal(do_verify("ann", &links[newest]).verdict, STORE_KEPT);
    assert_true(is_indexed(links[newest].node, "ann/dev"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_first_register_replaces_nothing, flush),
        cmocka_unit_test_setup(a_register_returns_the_link_it_replaces, flush),
        cmocka_unit_test_setup(devices_of_a_user_do_not_replace_each_other, flush),
        cmocka_unit_test_setup(an_unreadable_row_is_replaced_without_its_old_link, flush),
        cmocka_unit_test_setup(an_epoch_is_above_the_stored_one_although_the_clock_went_back,
                               flush),
        cmocka_unit_test_setup(an_epoch_that_cannot_be_raised_counts_as_none, flush),
        cmocka_unit_test_setup(ids_of_any_alphabet_are_mapped, flush),
        cmocka_unit_test_setup(unregister_deletes_exactly_its_own_link, flush),
        cmocka_unit_test_setup(an_index_entry_goes_once_the_device_is_on_another_node, flush),
        cmocka_unit_test_setup(verify_keeps_what_is_true, flush),
        cmocka_unit_test_setup(verify_writes_a_missing_row_with_its_own_epoch, flush),
        cmocka_unit_test_setup(verify_overwrites_an_older_login_and_yields_to_a_newer, flush),
        cmocka_unit_test_setup(verify_that_yields_to_its_own_node_keeps_the_index, flush),
        cmocka_unit_test_setup(equal_epochs_are_ordered_by_owner, flush),
        cmocka_unit_test_setup(verify_learns_the_epoch_of_a_register_whose_answer_was_lost, flush),
        cmocka_unit_test_setup(verify_replaces_rows_nobody_can_read, flush),
        cmocka_unit_test_setup(resolve_finds_nobody_without_a_login, flush),
        cmocka_unit_test_setup(resolve_skips_unreadable_rows, flush),
        cmocka_unit_test_setup(who_asked_is_told_of_exactly_one_login, flush),
        cmocka_unit_test_setup(watchers_that_are_no_nodes_are_left_out, flush),
        cmocka_unit_test_setup(a_watch_lives_as_long_as_the_longest_memory, flush),
        cmocka_unit_test_setup(ids_that_cannot_be_are_refused_later, flush),
        cmocka_unit_test_setup(a_key_of_another_type_is_an_error_of_that_call_only, flush),
        cmocka_unit_test_setup(racing_logins_leave_exactly_the_newest_link, flush),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
