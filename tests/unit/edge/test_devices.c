// test_devices.c: what a login takes the place of, on this edge and elsewhere.
#include <stdio.h>
#include <string.h>

#include "tests/unit/edge/fake.h"

static struct conn *
hello(struct rig *rig, const char *user, const char *device, const char *device_class)
{
    struct conn *conn = rig_connect(rig, CODEC_PROTOBUF, NULL);
    Switchyard__V1__Hello hello;
    switchyard__v1__hello__init(&hello);
    hello.user = codec_borrowed(user);
    hello.device = codec_borrowed(device);
    hello.device_class = codec_borrowed(device_class);
    Switchyard__V1__Command command;
    switchyard__v1__command__init(&command);
    command.id = 1;
    command.command_case = SWITCHYARD__V1__COMMAND__COMMAND_HELLO;
    command.hello = &hello;
    say(conn, &command);
    return conn;
}

// Logged in and written.
static struct conn *
login(struct rig *rig, const char *user, const char *device, const char *device_class)
{
    struct conn *conn = hello(rig, user, device, device_class);
    while (calls_open_of(&rig->store, CALL_UNREGISTER) > 0) // of what it took the place of
        answer_done(call_of(&rig->store, CALL_UNREGISTER), 0);
    if (rig->edge.store != NULL)
        answer_registered(call_for(&rig->store, CALL_REGISTER, user),
                          100 + conn->session.connection);
    expect_welcome(conn);
    return conn;
}

static void
expect_open(const struct conn *conn)
{
    assert_false(conn->is_closing);
    assert_int_equal(conn->session.state, SESSION_LIVE);
}

// On one edge.

static void
many_takes_the_place_of_the_same_device_only(void **state)
{
    struct rig *rig = *state;
    struct conn *phone = login(rig, "alice", "phone", "mobile");
    struct conn *tablet = login(rig, "alice", "tablet", "mobile");
    struct conn *unnamed = login(rig, "alice", "", "mobile");
    struct conn *unnamed_too = login(rig, "alice", "", "mobile");
    struct conn *again = login(rig, "alice", "phone", "web");
    expect_closed(phone, CLOSE_REPLACED);
    expect_open(tablet);
    expect_open(unnamed);
    expect_open(unnamed_too);
    expect_open(again);
}

static void
class_takes_the_place_of_its_class_and_of_the_same_device(void **state)
{
    struct rig *rig = *state;
    rig->edge.limits.devices = DEVICES_CLASS;
    struct conn *phone = login(rig, "alice", "phone", "mobile");
    struct conn *web = login(rig, "alice", "browser", "web");
    struct conn *other = login(rig, "bob", "phone", "mobile");
    struct conn *tablet = login(rig, "alice", "tablet", "mobile");
    expect_closed(phone, CLOSE_REPLACED);
    expect_open(web);
    struct conn *moved = login(rig, "alice", "browser", "mobile"); // both
    expect_closed(web, CLOSE_REPLACED);
    expect_closed(tablet, CLOSE_REPLACED);
    expect_open(moved);
    expect_open(other);
}

static void
no_class_is_a_class_too(void **state)
{
    struct rig *rig = *state;
    rig->edge.limits.devices = DEVICES_CLASS;
    struct conn *first = login(rig, "alice", "a", "");
    struct conn *web = login(rig, "alice", "b", "web");
    struct conn *second = login(rig, "alice", "c", "");
    expect_closed(first, CLOSE_REPLACED);
    expect_open(web);
    expect_open(second);
}

static void
one_takes_the_place_of_all_links_of_the_user(void **state)
{
    struct rig *rig = *state;
    rig->edge.limits.devices = DEVICES_MANY;
    struct conn *first = login(rig, "alice", "phone", "mobile");
    struct conn *second = login(rig, "alice", "browser", "web");
    struct conn *other = login(rig, "bob", "phone", "mobile");
    rig->edge.limits.devices = DEVICES_ONE;
    struct conn *third = login(rig, "alice", "tablet", "");
    expect_closed(first, CLOSE_REPLACED);
    expect_closed(second, CLOSE_REPLACED);
    expect_open(third);
    expect_open(other);
}

static void
one_more_than_allowed_takes_the_place_of_the_oldest(void **state)
{
    struct rig *rig = *state;
    rig->edge.limits.max_devices = 3;
    struct conn *conns[5];
    char device[8];
    for (int i = 0; i < 3; i++) {
        snprintf(device, sizeof(device), "d%d", i);
        conns[i] = login(rig, "alice", device, "");
    }
    expect_open(conns[0]);
    conns[3] = login(rig, "alice", "d1", ""); // the same device is not one more
    expect_closed(conns[1], CLOSE_REPLACED);
    expect_open(conns[0]);
    conns[4] = login(rig, "alice", "d4", "");
    expect_closed(conns[0], CLOSE_REPLACED);
    expect_open(conns[2]);
    expect_open(conns[3]);
    expect_open(conns[4]);
}

// On several.

static void
every_link_that_was_displaced_elsewhere_is_kicked(void **state)
{
    struct rig *rig = *state;
    rig->edge.limits.devices = DEVICES_ONE;
    struct link old[] = {link_on(NODE_B, "tablet", 7, 40), link_on(NODE_B, "web", 8, 41),
                         link_on(NODE_C, "tv", 9, 42)};
    struct conn *conn = hello(rig, "alice", "phone", "");
    answer_displaced(call_of(&rig->store, CALL_REGISTER), 50, old, 3);
    expect_welcome(conn);
    rig_turn_end(rig);
    assert_int_equal(bus_count_to(&rig->bus, NODE_B), 1);
    assert_int_equal(bus_count_to(&rig->bus, NODE_C), 1);
    unsigned kicks = 0;
    for (size_t i = 0; i < rig->bus.count; i++) {
        const Switchyard__Bus__V1__BusFrame *frame = bus_frame(&rig->bus, i);
        for (size_t k = 0; k < frame->n_items; k++) {
            const Switchyard__Bus__V1__Kick *kick = frame->items[k]->kick;
            assert_string_equal(kick->user, "alice");
            assert_string_equal(kick->device, old[kick->connection - 7].device);
            assert_int_equal(kick->epoch, old[kick->connection - 7].epoch);
            kicks |= 1U << (kick->connection - 7);
        }
    }
    assert_int_equal(kicks, 7);
}

static void
a_link_of_our_own_that_was_displaced_is_closed(void **state)
{
    struct rig *rig = *state;
    struct conn *oldest = login(rig, "alice", "tablet", "");
    struct link old =
        link_on(NODE_A, "tablet", oldest->session.connection, oldest->session.link->epoch);
    struct conn *conn = hello(rig, "alice", "phone", "");
    answer_displaced(call_of(&rig->store, CALL_REGISTER), 500, &old, 1);
    expect_closed(oldest, CLOSE_REPLACED);
    expect_welcome(conn);
    struct call *call = call_of(&rig->store, CALL_UNREGISTER); // cleans the index
    assert_string_equal(call->link.device, "tablet");
    answer_done(call, SY_ENOENT);
    expect_open(conn);
    assert_int_equal(rig->edge.counters.kicks_in, 0);
}

static void
a_displaced_row_of_a_former_connection_closes_nothing(void **state)
{
    struct rig *rig = *state;
    struct conn *tablet = login(rig, "alice", "tablet", "");
    struct link old =
        link_on(NODE_A, "tablet", tablet->session.connection + 1, tablet->session.link->epoch);
    struct conn *conn = hello(rig, "alice", "phone", "");
    answer_displaced(call_of(&rig->store, CALL_REGISTER), 500, &old, 1);
    expect_open(tablet);
    expect_open(conn);
}

static void
a_verify_that_keeps_its_row_still_kicks_what_it_displaced(void **state)
{
    struct rig *rig = *state;
    struct conn *conn = login(rig, "alice", "phone", "");
    uint64_t epoch = conn->session.link->epoch;
    struct link old = link_on(NODE_B, "tablet", 7, 40);
    rig_kick(rig, "alice", "phone", conn->session.connection, epoch + 5); // looks
    answer_verified_over(call_of(&rig->store, CALL_VERIFY), STORE_KEPT, epoch, &old);
    rig_turn_end(rig);
    assert_int_equal(bus_only(&rig->bus, NODE_B)->items[0]->kick->connection, 7);
    assert_int_equal(rig->edge.counters.rewritten, 0);
    expect_open(conn);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(many_takes_the_place_of_the_same_device_only),
        ALONE_TEST(many_takes_the_place_of_the_same_device_only),
        ALONE_TEST(class_takes_the_place_of_its_class_and_of_the_same_device),
        ALONE_TEST(no_class_is_a_class_too),
        ALONE_TEST(one_takes_the_place_of_all_links_of_the_user),
        ALONE_TEST(one_more_than_allowed_takes_the_place_of_the_oldest),
        RIG_TEST(every_link_that_was_displaced_elsewhere_is_kicked),
        RIG_TEST(a_link_of_our_own_that_was_displaced_is_closed),
        RIG_TEST(a_displaced_row_of_a_former_connection_closes_nothing),
        RIG_TEST(a_verify_that_keeps_its_row_still_kicks_what_it_displaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
