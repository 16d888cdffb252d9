// Which links a login displaces, and which logins come too late, against a real Redis.
#include "fixture.h"

#include <stdio.h>
#include <string.h>

static struct server server;
static uv_loop_t loop;
static struct peer many;
static struct peer class;
static struct peer one;

static int
start(void **state)
{
    (void)state;
    server_start(&server);
    uv_loop_init(&loop);
    peer_open(&many, &loop, &server, (struct store_opts){.max_devices = 3});
    peer_open(&class, &loop, &server, (struct store_opts){.devices = DEVICES_CLASS});
    peer_open(&one, &loop, &server, (struct store_opts){.devices = DEVICES_ONE});
    peer_wait_up(&many, &loop);
    peer_wait_up(&class, &loop);
    peer_wait_up(&one, &loop);
    return 0;
}

static int
stop(void **state)
{
    (void)state;
    peer_close(&many, &loop);
    peer_close(&class, &loop);
    peer_close(&one, &loop);
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

static struct seen
do_register(struct peer *peer, const struct link *link, uint64_t age_ms)
{
    struct seen seen = {0};
    store_register(peer->store, "ann", link, age_ms, on_register, &seen);
    wait_for(&loop, &seen.calls, 1);
    assert_int_equal(seen.error, 0);
    return seen;
}

static struct seen
do_verify(struct peer *peer, const struct link *link)
{
    struct seen seen = {0};
    store_verify(peer->store, "ann", link, on_verify, &seen);
    wait_for(&loop, &seen.calls, 1);
    assert_int_equal(seen.error, 0);
    return seen;
}

static struct link
link_in(const char *device_class, const char *node, uint64_t connection, const char *device)
{
    struct link link = link_of(node, connection, device);
    snprintf(link.device_class, sizeof link.device_class, "%s", device_class);
    return link;
}

static void
put_row(const struct link *link)
{
    char row[LINK_ROW_SIZE];
    link_write(link, row);
    for (char *c = row; *c; c++)
        if (*c == ' ')
            *c = '`';
    server_ask(&server, "HSET sy:user:{ann} %s %s", link->device, row);
}

static bool
is_there(const char *device)
{
    return strcmp(server_ask(&server, "HEXISTS sy:user:{ann} %s", device), "1") == 0;
}

static bool
is_indexed(const char *node, const char *device)
{
    return strcmp(server_ask(&server, "SISMEMBER sy:members:{%s} ann/%s", node, device), "1") == 0;
}

static bool
was_displaced(const struct seen *seen, const char *device)
{
    for (size_t i = 0; i < seen->displaced_count && i < 8; i++)
        if (strcmp(seen->displaced[i].device, device) == 0)
            return true;
    return false;
}

static uint64_t
redis_us(void)
{
    unsigned long long s, us;
    assert_int_equal(sscanf(server_ask(&server, "TIME"), "%llu %llu", &s, &us), 2);
    return s * 1000000 + us;
}

// Policies.

static void
class_displaces_its_class_and_the_same_device(void **state)
{
    (void)state;
    struct link phone = link_in("mobile", NODE_A, 1, "phone");
    struct link web = link_in("web", NODE_A, 2, "browser");
    struct link none = link_in("", NODE_A, 3, "thing");
    assert_int_equal(do_register(&class, &phone, 0).displaced_count, 0);
    assert_int_equal(do_register(&class, &web, 0).displaced_count, 0);
    assert_int_equal(do_register(&class, &none, 0).displaced_count, 0);
    struct link tablet = link_in("mobile", NODE_B, 4, "tablet");
    struct seen seen = do_register(&class, &tablet, 0);
    assert_int_equal(seen.displaced_count, 1);
    assert_true(was_displaced(&seen, "phone"));
    assert_string_equal(seen.displaced[0].node, NODE_A);
    assert_int_equal(seen.displaced[0].connection, 1);
    struct link both = link_in("mobile", NODE_B, 5, "browser");
    seen = do_register(&class, &both, 0);
    assert_int_equal(seen.displaced_count, 2);
    assert_true(was_displaced(&seen, "browser") && was_displaced(&seen, "tablet"));
    assert_int_equal(do_register(&class, &none, 0).displaced_count, 0); // the same connection
    struct link also_none = link_in("", NODE_B, 6, "gadget");
    seen = do_register(&class, &also_none, 0);
    assert_int_equal(seen.displaced_count, 1);
    assert_true(was_displaced(&seen, "thing"));
    assert_string_equal(server_ask(&server, "HLEN sy:user:{ann}"), "2");
    // Whose rows they were cleans the index, as at any end.
    assert_true(is_indexed(NODE_A, "phone"));
}

static void
one_displaces_everything(void **state)
{
    (void)state;
    const char *devices[] = {"a", "b", "c"};
    for (uint64_t i = 0; i < 3; i++) {
        struct link link = link_in("x", NODE_A, i + 1, devices[i]);
        do_register(&many, &link, 0);
    }
    server_ask(&server, "HSET sy:user:{ann} junk rubbish");
    struct link link = link_in("y", NODE_B, 9, "d");
    struct seen seen = do_register(&one, &link, 0);
    assert_int_equal(seen.displaced_count, 3); // nobody is kicked for what cannot be read
    assert_string_equal(server_ask(&server, "HKEYS sy:user:{ann}"), "d");
}

static void
one_more_device_displaces_the_oldest_login(void **state)
{
    (void)state;
    const char *devices[] = {"b", "c", "a"}; // not in the order of their names
    struct link link;
    for (uint64_t i = 0; i < 3; i++) {
        link = link_of(NODE_A, i + 1, devices[i]);
        assert_int_equal(do_register(&many, &link, 0).displaced_count, 0);
    }
    link = link_of(NODE_A, 4, "b"); // a device that was there is not one more
    assert_int_equal(do_register(&many, &link, 0).displaced_count, 1);
    assert_string_equal(server_ask(&server, "HLEN sy:user:{ann}"), "3");
    link = link_of(NODE_B, 5, "d");
    struct seen seen = do_register(&many, &link, 0);
    assert_int_equal(seen.displaced_count, 1);
    assert_true(was_displaced(&seen, "c"));
    assert_string_equal(server_ask(&server, "HLEN sy:user:{ann}"), "3");
    assert_false(is_there("c"));
}

static void
a_lower_bound_displaces_all_that_are_too_many(void **state)
{
    (void)state;
    const char *devices[] = {"a", "b", "c", "d", "e"};
    struct link link;
    for (uint64_t i = 0; i < 5; i++) {
        link = link_of(NODE_A, i + 1, devices[i]);
        link.epoch = 100 + i;
        put_row(&link);
    }
    link = link_of(NODE_B, 9, "f");
    struct seen seen = do_register(&many, &link, 0);
    assert_int_equal(seen.displaced_count, 3);
    assert_true(is_there("d") && is_there("e") && is_there("f"));
}

static void
who_remembers_the_user_is_told_of_displaced_links(void **state)
{
    (void)state;
    struct link link = link_of(NODE_A, 1, "a");
    struct seen seen = {0};
    do_register(&many, &link, 0);
    store_resolve(many.store, "ann", NODE_B, 60000, on_resolve, &seen);
    wait_for(&loop, &seen.calls, 1);
    struct link tablet = link_of(NODE_A, 2, "b");
    seen = do_register(&one, &tablet, 0);
    assert_int_equal(seen.watcher_count, 1);
    assert_string_equal(seen.watcher, NODE_B);
}

// Verify.

static void
verify_yields_to_a_newer_login_of_its_class_and_takes_its_row_along(void **state)
{
    (void)state;
    struct link ours = link_in("mobile", NODE_A, 1, "phone");
    struct link newer = link_in("mobile", NODE_B, 2, "tablet");
    struct link other = link_in("web", NODE_B, 3, "browser");
    ours.epoch = do_register(&class, &ours, 0).epoch;
    newer.epoch = ours.epoch + 1;
    other.epoch = ours.epoch + 2;
    put_row(&other);
    assert_int_equal(do_verify(&class, &ours).verdict, STORE_KEPT);
    put_row(&newer); // as after a change of the policy
    assert_int_equal(do_verify(&many, &ours).verdict, STORE_KEPT);
    struct seen seen = do_verify(&class, &ours);
    assert_int_equal(seen.verdict, STORE_SUPERSEDED);
    assert_true(seen.is_superseded);
    assert_int_equal(seen.epoch, newer.epoch);
    assert_int_equal(seen.displaced_count, 0);
    assert_false(is_there("phone")); // nobody else would remove it
    assert_true(is_there("tablet"));
    assert_false(is_indexed(NODE_A, "phone"));
}

static void
verify_displaces_older_logins_of_its_class(void **state)
{
    (void)state;
    struct link ours = link_in("mobile", NODE_A, 1, "phone");
    struct link older = link_in("mobile", NODE_B, 2, "tablet");
    ours.epoch = 1000;
    older.epoch = 999;
    put_row(&older);
    struct seen seen = do_verify(&class, &ours);
    assert_int_equal(seen.verdict, STORE_REWRITTEN);
    assert_int_equal(seen.displaced_count, 1);
    assert_true(was_displaced(&seen, "tablet"));
    assert_true(is_there("phone"));
    put_row(&older);
    seen = do_verify(&class, &ours);
    assert_int_equal(seen.verdict, STORE_KEPT);
    assert_true(was_displaced(&seen, "tablet"));
    assert_false(is_there("tablet"));
}

static void
two_links_of_one_place_never_displace_each_other(void **state)
{
    (void)state;
    struct link a = link_of(NODE_A, 1, "phone");
    struct link b = link_of(NODE_B, 1, "tablet");
    a.epoch = b.epoch = 1000; // the worst: ordered by their text
    put_row(&a);
    put_row(&b);
    assert_int_equal(do_verify(&one, &a).verdict, STORE_SUPERSEDED);
    assert_int_equal(do_verify(&one, &a).verdict, STORE_SUPERSEDED);
    assert_int_equal(do_verify(&one, &b).verdict, STORE_KEPT);
    assert_string_equal(server_ask(&server, "HKEYS sy:user:{ann}"), "tablet");
}

static void
verify_of_a_link_that_was_too_many_does_not_bring_it_back(void **state)
{
    (void)state;
    struct link link = link_of(NODE_A, 1, "a");
    uint64_t epoch = do_register(&many, &link, 0).epoch;
    const char *devices[] = {"b", "c", "d"};
    for (uint64_t i = 0; i < 3; i++) {
        struct link next = link_of(NODE_B, i + 1, devices[i]);
        do_register(&many, &next, 0);
    }
    link.epoch = epoch;
    assert_int_equal(do_verify(&many, &link).verdict, STORE_SUPERSEDED);
    assert_false(is_there("a"));
    assert_false(is_indexed(NODE_A, "a"));
    server_ask(&server, "HDEL sy:user:{ann} b");
    assert_int_equal(do_verify(&many, &link).verdict, STORE_REWRITTEN); // there is room now
}

// The order of logins.

static void
a_late_login_has_the_epoch_of_its_time(void **state)
{
    (void)state;
    struct link link = link_of(NODE_A, 1, "phone");
    uint64_t before = redis_us();
    uint64_t epoch = do_register(&many, &link, 5000).epoch;
    assert_in_range(epoch, before - 5000000, redis_us() - 5000000);
}

static void
a_late_login_does_not_beat_the_login_after_it(void **state)
{
    (void)state;
    struct link newer = link_of(NODE_B, 1, "phone");
    struct link late = link_of(NODE_A, 2, "phone");
    newer.epoch = do_register(&many, &newer, 0).epoch;
    struct seen seen = do_register(&many, &late, 5000);
    assert_true(seen.is_superseded);
    assert_int_equal(seen.epoch, newer.epoch);
    assert_int_equal(seen.displaced_count, 0);
    assert_false(is_indexed(NODE_A, "phone"));
    struct link found = {0};
    char row[LINK_ROW_SIZE];
    snprintf(row, sizeof row, "%s", server_ask(&server, "HGET sy:user:{ann} phone"));
    assert_true(link_read(row, strlen(row), &found));
    assert_string_equal(found.node, NODE_B);
    late.connection = 3;
    assert_false(do_register(&many, &late, 0).is_superseded);
}

static void
a_late_login_beats_the_login_before_it(void **state)
{
    (void)state;
    struct link older = link_of(NODE_B, 1, "phone");
    struct link late = link_of(NODE_A, 2, "phone");
    older.epoch = do_register(&many, &older, 9000).epoch;
    struct seen seen = do_register(&many, &late, 5000);
    assert_false(seen.is_superseded);
    assert_true(seen.epoch > older.epoch);
    assert_int_equal(seen.displaced_count, 1);
}

static void
a_late_login_is_newer_than_the_one_before_it_on_its_edge(void **state)
{
    (void)state;
    struct link theirs = link_of(NODE_B, 1, "phone");
    struct link before = link_of(NODE_A, 2, "phone");
    struct link late = link_of(NODE_A, 3, "phone");
    do_register(&many, &theirs, 0);
    before.epoch = do_register(&many, &before, 0).epoch; // was long on its way
    server_ask(&server, "HDEL sy:user:{ann} phone");
    put_row(&theirs); // and has gone, so that theirs was written again
    late.epoch = before.epoch;
    struct seen seen = do_register(&many, &late, 5000);
    assert_false(seen.is_superseded);
    assert_int_equal(seen.epoch, before.epoch + 1);
    late.connection = 4;
    late.epoch = redis_us() + 60000000; // from before the clock went back
    assert_true(do_register(&many, &late, 5000).is_superseded);
}

static void
a_late_login_of_the_same_node_keeps_the_newers_index_entry(void **state)
{
    (void)state;
    struct link newer = link_of(NODE_A, 2, "phone");
    struct link late = link_of(NODE_A, 1, "phone");
    do_register(&many, &newer, 0);
    assert_true(do_register(&many, &late, 5000).is_superseded);
    assert_true(is_indexed(NODE_A, "phone"));
}

static void
a_register_carried_out_before_does_not_stand_in_its_own_way(void **state)
{
    (void)state;
    struct link link = link_of(NODE_A, 1, "phone");
    uint64_t first = do_register(&many, &link, 0).epoch;
    struct seen seen = do_register(&many, &link, 5000);
    assert_false(seen.is_superseded);
    assert_int_equal(seen.epoch, first + 1);
    assert_int_equal(seen.displaced_count, 0);
}

static void
a_row_from_the_future_is_older_than_a_late_login(void **state)
{
    (void)state;
    struct link future = link_of(NODE_B, 1, "phone");
    struct link late = link_of(NODE_A, 2, "phone");
    future.epoch = redis_us() + 60000000; // the clock went back since
    put_row(&future);
    struct seen seen = do_register(&many, &late, 5000);
    assert_false(seen.is_superseded);
    assert_int_equal(seen.epoch, future.epoch + 1);
    assert_int_equal(seen.displaced_count, 1);
}

static void
a_late_login_yields_to_a_newer_one_of_another_device_by_policy(void **state)
{
    (void)state;
    struct link newer = link_in("mobile", NODE_B, 1, "tablet");
    struct link late = link_in("mobile", NODE_A, 2, "phone");
    do_register(&many, &newer, 0);
    struct link old_row = late;
    old_row.connection = 1;
    old_row.epoch = 1; // a row of this device on this node, of a former connection
    put_row(&old_row);
    assert_true(do_register(&class, &late, 5000).is_superseded);
    assert_true(is_indexed(NODE_A, "phone")); // that row still needs its entry
    server_ask(&server, "HDEL sy:user:{ann} phone");
    assert_true(do_register(&one, &late, 5000).is_superseded);
    assert_false(is_indexed(NODE_A, "phone"));
    assert_false(do_register(&many, &late, 5000).is_superseded);
}

static void
a_late_login_that_is_too_many_yields(void **state)
{
    (void)state;
    const char *devices[] = {"a", "b", "c"};
    for (uint64_t i = 0; i < 3; i++) {
        struct link link = link_of(NODE_B, i + 1, devices[i]);
        do_register(&many, &link, 0);
    }
    struct link late = link_of(NODE_A, 9, "d");
    assert_true(do_register(&many, &late, 5000).is_superseded);
    assert_string_equal(server_ask(&server, "HLEN sy:user:{ann}"), "3");
    late.connection = 10;
    assert_int_equal(do_register(&many, &late, 0).displaced_count, 1);
}

#define TEST(claim) cmocka_unit_test_setup(claim, flush)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(class_displaces_its_class_and_the_same_device),
        TEST(one_displaces_everything),
        TEST(one_more_device_displaces_the_oldest_login),
        TEST(a_lower_bound_displaces_all_that_are_too_many),
        TEST(who_remembers_the_user_is_told_of_displaced_links),
        TEST(verify_yields_to_a_newer_login_of_its_class_and_takes_its_row_along),
        TEST(verify_displaces_older_logins_of_its_class),
        TEST(two_links_of_one_place_never_displace_each_other),
        TEST(verify_of_a_link_that_was_too_many_does_not_bring_it_back),
        TEST(a_late_login_has_the_epoch_of_its_time),
        TEST(a_late_login_does_not_beat_the_login_after_it),
        TEST(a_late_login_beats_the_login_before_it),
        TEST(a_late_login_is_newer_than_the_one_before_it_on_its_edge),
        TEST(a_late_login_of_the_same_node_keeps_the_newers_index_entry),
        TEST(a_register_carried_out_before_does_not_stand_in_its_own_way),
        TEST(a_row_from_the_future_is_older_than_a_late_login),
        TEST(a_late_login_yields_to_a_newer_one_of_another_device_by_policy),
        TEST(a_late_login_that_is_too_many_yields),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
