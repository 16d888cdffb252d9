// test_drain.c: everybody goes, at a time of its own, to a place with room.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/edge/fake.h"

#define MANY 600

struct crowd {
    struct conn *conns[MANY];
    unsigned count;
};

static void
crowd_login(struct rig *rig, struct crowd *crowd, unsigned count)
{
    char user[16];
    for (crowd->count = 0; crowd->count < count; crowd->count++) {
        snprintf(user, sizeof(user), "u%u", crowd->count);
        crowd->conns[crowd->count] = rig_login(rig, user, "d");
    }
}

static void
peer_says(struct rig *rig, unsigned n, uint32_t connections, uint32_t max, const char *url,
          bool is_draining)
{
    char node[NODE_ID_SIZE], text[128];
    Switchyard__Bus__V1__Heartbeat beat;
    switchyard__bus__v1__heartbeat__init(&beat);
    snprintf(node, sizeof(node), "e%u.%016x", n, n);
    snprintf(text, sizeof(text), "%s", url);
    beat.node = node;
    beat.url = text;
    beat.state = is_draining ? SWITCHYARD__BUS__V1__NODE_STATE__NODE_STATE_DRAINING
                             : SWITCHYARD__BUS__V1__NODE_STATE__NODE_STATE_UP;
    beat.connections = connections;
    beat.max_connections = max;
    peers_hear(&rig->edge.peers, &beat, rig->edge.now_ms);
}

static void
peer_has_room(struct rig *rig, unsigned n, uint32_t room)
{
    char url[32];
    snprintf(url, sizeof(url), "ws://e%u/ws", n);
    peer_says(rig, n, 7, 7 + room, url, false);
}

static const Switchyard__V1__GoAway *
told(struct conn *conn)
{
    return event_take(conn, SWITCHYARD__V1__EVENT__EVENT_GO_AWAY)->go_away;
}

// Until there is nothing more to do now.
static void
step(struct rig *rig)
{
    while (drain_step(&rig->edge)) {
    }
}

static void
start(struct rig *rig, enum drain_cause cause, uint32_t window_ms)
{
    drain_start(&rig->edge, cause, window_ms);
    step(rig);
}

static void
pass(struct rig *rig, uint64_t ms)
{
    rig->edge.now_ms += ms;
    rig->edge.wall_ms += ms;
    step(rig);
}

static unsigned
count_closed(const struct crowd *crowd)
{
    unsigned closed = 0;
    for (unsigned i = 0; i < crowd->count; i++) {
        if (!crowd->conns[i]->is_closing)
            continue;
        assert_int_equal(crowd->conns[i]->code, CLOSE_DRAINING);
        closed++;
    }
    return closed;
}

static int
compare(const void *a, const void *b)
{
    const uint32_t *left = a, *right = b;
    return (*left > *right) - (*left < *right);
}

// Takes everybody's GoAway; the times come back in order.
static void
read_slots(struct crowd *crowd, uint32_t *slots)
{
    for (unsigned i = 0; i < crowd->count; i++)
        slots[i] = told(crowd->conns[i])->reconnect_after_ms;
    qsort(slots, crowd->count, sizeof(*slots), compare);
}

static void
everybody_is_told_a_slot_and_the_slots_are_evenly_paced(void **state)
{
    struct rig *rig = *state;
    struct crowd crowd;
    uint32_t slots[MANY];
    crowd_login(rig, &crowd, 400);
    start(rig, DRAIN_LEAVING, 3000); // a quarter of it is for courtesy
    read_slots(&crowd, slots);
    for (unsigned i = 0; i < crowd.count; i++)
        assert_int_equal(slots[i], (uint64_t)(i + 1) * 2250 / 400);
    assert_int_equal(rig->edge.counters.drain_told, 400);
}

static void
few_clients_do_not_take_the_whole_window(void **state)
{
    struct rig *rig = *state;
    struct crowd crowd;
    uint32_t slots[MANY];
    crowd_login(rig, &crowd, 100);
    start(rig, DRAIN_LEAVING, 60000);
    read_slots(&crowd, slots);
    assert_int_equal(slots[0], 1000 / DRAIN_LEAST_PER_S);
    assert_int_equal(slots[99], 100 * 1000 / DRAIN_LEAST_PER_S);
}

static void
slots_do_not_follow_the_order_of_logins(void **state)
{
    struct rig *rig = *state;
    struct crowd crowd;
    unsigned later = 0;
    crowd_login(rig, &crowd, 100);
    start(rig, DRAIN_LEAVING, 60000);
    uint32_t last = told(crowd.conns[0])->reconnect_after_ms;
    for (unsigned i = 1; i < crowd.count; i++) {
        uint32_t slot = told(crowd.conns[i])->reconnect_after_ms;
        later += slot > last;
        last = slot;
    }
    assert_in_range(later, 30, 70);
}

static void
a_socket_is_closed_a_courtesy_after_its_slot(void **state)
{
    struct rig *rig = *state;
    struct crowd crowd;
    crowd_login(rig, &crowd, 100);
    start(rig, DRAIN_LEAVING, 60000); // slots at 10 ms, 20 ms, ...
    pass(rig, 9 + DRAIN_COURTESY_MS);
    assert_int_equal(count_closed(&crowd), 0);
    pass(rig, 1);
    assert_int_equal(count_closed(&crowd), 1);
    pass(rig, 489);
    assert_int_equal(count_closed(&crowd), 49);
    assert_int_equal(drain_left(&rig->edge), 51);
    pass(rig, 501);
    assert_int_equal(count_closed(&crowd), 100);
    assert_int_equal(drain_left(&rig->edge), 0);
    assert_int_equal(rig->edge.counters.drain_closed, 100);
}

static void
nobody_is_closed_who_was_not_told(void **state)
{
    struct rig *rig = *state;
    struct crowd crowd;
    crowd_login(rig, &crowd, MANY);
    drain_start(&rig->edge, DRAIN_LEAVING, 100);
    rig->edge.now_ms += 100;
    assert_true(drain_step(&rig->edge));
    assert_int_equal(rig->edge.counters.drain_told, DRAIN_PER_STEP);
    assert_int_equal(count_closed(&crowd), DRAIN_PER_STEP);
    assert_false(drain_step(&rig->edge));
    assert_int_equal(rig->edge.counters.drain_told, MANY);
    assert_int_equal(count_closed(&crowd), MANY);
}

static void
a_window_too_short_for_the_targets_closes_in_time_and_spreads_the_slots_beyond(void **state)
{
    struct rig *rig = *state;
    struct crowd crowd;
    uint32_t slots[MANY];
    rig->edge.limits.accept_rate = 100;
    crowd_login(rig, &crowd, 300);
    start(rig, DRAIN_LEAVING, 1000);
    read_slots(&crowd, slots);
    assert_int_equal(slots[0], 10);
    assert_int_equal(slots[299], 3000);
    pass(rig, 999);
    assert_int_equal(count_closed(&crowd), 299);
    pass(rig, 1);
    assert_int_equal(count_closed(&crowd), 300);
}

static void
targets_with_equal_room_take_in_as_many_times_more(void **state)
{
    struct rig *rig = *state;
    struct crowd crowd;
    uint32_t slots[MANY];
    rig->edge.limits.accept_rate = 100;
    crowd_login(rig, &crowd, 300);
    for (unsigned n = 1; n <= 3; n++)
        peer_has_room(rig, n, 1000);
    start(rig, DRAIN_LEAVING, 500);
    read_slots(&crowd, slots);
    assert_int_equal(slots[299], 1000);
}

static void
the_largest_target_bounds_the_pace(void **state)
{
    struct rig *rig = *state;
    struct crowd crowd;
    uint32_t slots[MANY];
    rig->edge.limits.accept_rate = 90;
    crowd_login(rig, &crowd, 300);
    peer_has_room(rig, 1, 900);
    peer_has_room(rig, 2, 100); // so nine of ten go to the other
    start(rig, DRAIN_LEAVING, 500);
    read_slots(&crowd, slots);
    assert_int_equal(slots[299], 3000); // 100 a second, 90 of them there
}

static unsigned
count_sent_to(struct crowd *crowd, const char *url)
{
    unsigned count = 0;
    for (unsigned i = 0; i < crowd->count; i++)
        count += strcmp(told(crowd->conns[i])->url, url) == 0;
    return count;
}

static void
clients_are_sent_in_proportion_to_room(void **state)
{
    struct rig *rig = *state;
    struct crowd crowd;
    crowd_login(rig, &crowd, 400);
    peer_has_room(rig, 1, 30000);
    peer_has_room(rig, 2, 10000);
    start(rig, DRAIN_LEAVING, 60000);
    assert_in_range(count_sent_to(&crowd, "ws://e1/ws"), 260, 340);
}

static void
nobody_is_sent_to_an_edge_that_is_full_by_then(void **state)
{
    struct rig *rig = *state;
    struct crowd crowd;
    unsigned to_one = 0, to_two = 0, to_any = 0;
    crowd_login(rig, &crowd, 100);
    peer_has_room(rig, 1, 30);
    peer_has_room(rig, 2, 60);
    start(rig, DRAIN_LEAVING, 60000);
    for (unsigned i = 0; i < crowd.count; i++) {
        const char *url = told(crowd.conns[i])->url;
        to_one += strcmp(url, "ws://e1/ws") == 0;
        to_two += strcmp(url, "ws://e2/ws") == 0;
        to_any += url[0] == '\0';
    }
    assert_int_equal(to_one, 30);
    assert_int_equal(to_two, 60);
    assert_int_equal(to_any, 10);
}

static void
an_edge_that_leaves_or_is_silent_or_is_here_is_no_target(void **state)
{
    struct rig *rig = *state;
    struct crowd crowd;
    crowd_login(rig, &crowd, 10);
    peer_says(rig, 1, 0, 100, "ws://silent/ws", false);
    rig->edge.now_ms += LEASE_MS;
    peer_says(rig, 2, 0, 100, "ws://leaving/ws", true);
    peer_says(rig, 3, 100, 100, "ws://full/ws", false);
    peer_says(rig, 4, 0, 100, rig->edge.url, false); // a worker on the same port
    start(rig, DRAIN_LEAVING, 60000);
    assert_int_equal(count_sent_to(&crowd, ""), 10);
}

static void
the_cause_is_told_in_words_and_as_a_number(void **state)
{
    struct rig *rig = *state;
    struct conn *conn = rig_login(rig, "alice", "phone");
    const struct {
        enum drain_cause cause;
        Switchyard__V1__GoAwayReason reason;
        const char *text;
    } rows[] = {
        {DRAIN_LEAVING, SWITCHYARD__V1__GO_AWAY_REASON__GO_AWAY_REASON_LEAVING, "leaving"},
        {DRAIN_NO_REDIS, SWITCHYARD__V1__GO_AWAY_REASON__GO_AWAY_REASON_NO_DIRECTORY, "directory"},
        {DRAIN_NO_NATS, SWITCHYARD__V1__GO_AWAY_REASON__GO_AWAY_REASON_NO_FORWARDING, "others"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        start(rig, rows[i].cause, 60000); // over the one before: told anew
        const Switchyard__V1__GoAway *go_away = told(conn);
        assert_int_equal(go_away->reason, rows[i].reason);
        assert_non_null(strstr(go_away->text, rows[i].text));
    }
    assert_int_equal(drain_left(&rig->edge), 1);
}

static void
a_cause_that_may_go_away_is_told_shortly_before_the_slot(void **state)
{
    struct rig *rig = *state;
    struct crowd crowd;
    crowd_login(rig, &crowd, MANY); // slots at 10 ms ... 6000 ms
    start(rig, DRAIN_NO_REDIS, 60000);
    unsigned first = DRAIN_NOTICE_MS / 10;
    assert_int_equal(rig->edge.counters.drain_told, first);
    pass(rig, 9);
    assert_int_equal(rig->edge.counters.drain_told, first);
    pass(rig, 1);
    assert_int_equal(rig->edge.counters.drain_told, first + 1);
}

static void
who_is_here_when_a_drain_stops_stays_and_hears_no_more(void **state)
{
    struct rig *rig = *state;
    struct crowd crowd;
    crowd_login(rig, &crowd, MANY);
    start(rig, DRAIN_NO_REDIS, 60000);
    pass(rig, 100 + DRAIN_COURTESY_MS);
    unsigned closed = count_closed(&crowd);
    uint64_t told_before = rig->edge.counters.drain_told;
    assert_int_equal(closed, 10);
    assert_true(drain_is_running(&rig->edge));
    drain_stop(&rig->edge);
    drain_stop(&rig->edge);
    assert_false(drain_is_running(&rig->edge));
    assert_int_equal(drain_left(&rig->edge), 0);
    pass(rig, 60000);
    assert_int_equal(count_closed(&crowd), closed);
    assert_int_equal(rig->edge.counters.drain_told, told_before);
    for (unsigned i = 0; i < crowd.count; i++)
        assert_int_equal(crowd.conns[i]->session.drain_slot, 0);
}

static void
a_session_that_goes_by_itself_leaves_its_slot_empty(void **state)
{
    struct rig *rig = *state;
    struct crowd crowd;
    crowd_login(rig, &crowd, 100);
    start(rig, DRAIN_LEAVING, 60000);
    for (unsigned i = 0; i < 100; i += 2)
        rig_hang_up(crowd.conns[i]);
    assert_int_equal(drain_left(&rig->edge), 50);
    pass(rig, 1000 + DRAIN_COURTESY_MS);
    for (unsigned i = 1; i < 100; i += 2)
        expect_closed(crowd.conns[i], CLOSE_DRAINING);
    assert_int_equal(rig->edge.counters.drain_closed, 50);
    assert_int_equal(drain_left(&rig->edge), 0);
}

static void
who_logs_in_meanwhile_is_told_at_once_and_has_the_last_slot(void **state)
{
    struct rig *rig = *state;
    struct crowd crowd;
    crowd_login(rig, &crowd, 100);
    start(rig, DRAIN_LEAVING, 60000);
    pass(rig, 400);
    struct conn *late = rig_login(rig, "late", "d");
    step(rig);
    assert_int_equal(told(late)->reconnect_after_ms, 600);
    assert_int_equal(drain_left(&rig->edge), 101);
    pass(rig, 599 + DRAIN_COURTESY_MS);
    assert_false(late->is_closing);
    pass(rig, 1);
    expect_closed(late, CLOSE_DRAINING);
    assert_int_equal(drain_left(&rig->edge), 0);
}

static void
very_many_may_log_in_meanwhile(void **state)
{
    struct rig *rig = *state;
    struct crowd crowd;
    start(rig, DRAIN_LEAVING, 1000);
    crowd_login(rig, &crowd, MANY);
    pass(rig, 1000);
    assert_int_equal(count_closed(&crowd), MANY);
}

static void
who_has_no_login_has_no_slot(void **state)
{
    struct rig *rig = *state;
    struct conn *fresh = rig_connect(rig, CODEC_PROTOBUF, NULL);
    start(rig, DRAIN_LEAVING, 1000);
    assert_int_equal(drain_left(&rig->edge), 0);
    expect_nothing(fresh);
    pass(rig, 1000);
    assert_false(fresh->is_closing);
}

static void
a_close_waits_for_frames_the_kernel_has_not_taken_but_not_for_ever(void **state)
{
    struct rig *rig = *state;
    struct conn *slow = rig_login(rig, "slow", "d");
    struct conn *stuck = rig_login(rig, "stuck", "d");
    struct conn *quick = rig_login(rig, "quick", "d");
    start(rig, DRAIN_LEAVING, 8000);
    slow->backlog = stuck->backlog = 1;
    pass(rig, 7000);
    expect_closed(quick, CLOSE_DRAINING);
    assert_false(slow->is_closing);
    slow->backlog = 0;
    pass(rig, 1);
    expect_closed(slow, CLOSE_DRAINING);
    pass(rig, 998);
    assert_false(stuck->is_closing);
    pass(rig, 1);
    expect_closed(stuck, CLOSE_DRAINING);
}

static void
a_full_queue_ends_its_session_and_nobody_elses(void **state)
{
    struct rig *rig = *state;
    struct conn *full = rig_login(rig, "full", "d");
    struct conn *fine = rig_login(rig, "fine", "d");
    full->full_in = 1;
    start(rig, DRAIN_LEAVING, 1000);
    expect_closed(full, CLOSE_SLOW_READER);
    told(fine);
    assert_int_equal(drain_left(&rig->edge), 1);
}

static void
the_turn_works_on_it(void **state)
{
    struct rig *rig = *state;
    struct crowd crowd;
    crowd_login(rig, &crowd, MANY);
    drain_start(&rig->edge, DRAIN_LEAVING, 60000);
    assert_true(edge_turn_end(&rig->edge));
    assert_false(edge_turn_end(&rig->edge));
    assert_int_equal(rig->edge.counters.drain_told, MANY);
}

static void
an_edge_without_clients_is_done_at_once(void **state)
{
    struct rig *rig = *state;
    start(rig, DRAIN_LEAVING, 1);
    assert_true(drain_is_running(&rig->edge));
    assert_int_equal(drain_left(&rig->edge), 0);
    assert_true(rig->edge.drain.was_done);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(everybody_is_told_a_slot_and_the_slots_are_evenly_paced),
        RIG_TEST(few_clients_do_not_take_the_whole_window),
        RIG_TEST(slots_do_not_follow_the_order_of_logins),
        RIG_TEST(a_socket_is_closed_a_courtesy_after_its_slot),
        RIG_TEST(nobody_is_closed_who_was_not_told),
        RIG_TEST(a_window_too_short_for_the_targets_closes_in_time_and_spreads_the_slots_beyond),
        RIG_TEST(targets_with_equal_room_take_in_as_many_times_more),
        RIG_TEST(the_largest_target_bounds_the_pace),
        RIG_TEST(clients_are_sent_in_proportion_to_room),
        RIG_TEST(nobody_is_sent_to_an_edge_that_is_full_by_then),
        RIG_TEST(an_edge_that_leaves_or_is_silent_or_is_here_is_no_target),
        RIG_TEST(the_cause_is_told_in_words_and_as_a_number),
        RIG_TEST(a_cause_that_may_go_away_is_told_shortly_before_the_slot),
        RIG_TEST(who_is_here_when_a_drain_stops_stays_and_hears_no_more),
        RIG_TEST(a_session_that_goes_by_itself_leaves_its_slot_empty),
        RIG_TEST(who_logs_in_meanwhile_is_told_at_once_and_has_the_last_slot),
        RIG_TEST(very_many_may_log_in_meanwhile),
        RIG_TEST(who_has_no_login_has_no_slot),
        RIG_TEST(a_close_waits_for_frames_the_kernel_has_not_taken_but_not_for_ever),
        RIG_TEST(a_full_queue_ends_its_session_and_nobody_elses),
        RIG_TEST(the_turn_works_on_it),
        ALONE_TEST(an_edge_without_clients_is_done_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
