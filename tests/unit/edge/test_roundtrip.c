// test_roundtrip.c: the edge's own message, and what it says when that makes no round trip.
#include <string.h>

#include "proto/subject.h"
#include "tests/unit/edge/fake.h"

// The lease is held; the first trip has begun.
static void
begin(struct rig *rig)
{
    lease_renew(&rig->edge);
    answer_beat(call_of(&rig->store, CALL_HEARTBEAT), true, 1);
    roundtrip_tick(&rig->edge);
}

static void
redis_answers(struct rig *rig)
{
    struct call *call = call_of(&rig->store, CALL_RESOLVE);
    assert_string_equal(call->user, ROUNDTRIP_USER);
    assert_string_equal(call->node, ""); // nobody is to remember it
    answer_links(call, NULL, 0);
}

// NATS brings back what was published last.
static void
nats_answers(struct rig *rig)
{
    assert_true(rig->bus.count > 0);
    const struct parcel *parcel = &rig->bus.parcels[rig->bus.count - 1];
    edge_on_bus(&rig->edge, parcel->subject, parcel->bytes, parcel->len, false);
}

// A second passes in which the lease is renewed.
static void
second(struct rig *rig)
{
    rig_pass(rig, 1000);
    rig->edge.lease.beat_ms = rig->edge.now_ms;
    roundtrip_tick(&rig->edge);
}

static void
it_goes_to_redis_over_nats_and_back(void **state)
{
    struct rig *rig = *state;
    struct roundtrip *trip = &rig->edge.roundtrip;
    char subject[SUBJECT_SIZE];
    subject_node(NODE_A, subject);
    begin(rig);
    assert_int_equal(rig->bus.count, 0);
    rig_pass(rig, 3);
    redis_answers(rig);
    assert_int_equal(rig->bus.count, 1);
    assert_string_equal(rig->bus.parcels[0].subject, subject);
    assert_string_equal(rig->bus.parcels[0].reply, "");
    rig_pass(rig, 4);
    assert_int_equal(trip->ok_ms, 0);
    nats_answers(rig);
    assert_int_equal(trip->ok_ms, rig->edge.now_ms);
    assert_int_equal(trip->took_us, 7000);
    assert_string_equal(roundtrip_describe(&rig->edge), "redis, nats and back");
}

static void
it_is_counted_in_nobodys_counters(void **state)
{
    struct rig *rig = *state;
    begin(rig);
    struct edge_counters before = rig->edge.counters;
    redis_answers(rig);
    nats_answers(rig);
    assert_memory_equal(&rig->edge.counters, &before, sizeof(before));
    assert_int_equal(rig->bus.count, 1); // no receipt
}

static void
every_two_seconds_one_command_and_one_message(void **state)
{
    struct rig *rig = *state;
    begin(rig);
    redis_answers(rig);
    nats_answers(rig);
    for (int i = 0; i < 20; i++) {
        second(rig);
        if (calls_open_of(&rig->store, CALL_RESOLVE) == 0)
            continue;
        redis_answers(rig);
        nats_answers(rig);
    }
    assert_int_equal(rig->store.made[CALL_RESOLVE], 11);
    assert_int_equal(rig->bus.count, 11);
}

static void
nothing_is_asked_before_the_lease_or_twice(void **state)
{
    struct rig *rig = *state;
    roundtrip_tick(&rig->edge);
    assert_int_equal(rig->store.made[CALL_RESOLVE], 0);
    assert_true(roundtrip_is_well(&rig->edge)); // too early to tell
    begin(rig);
    for (int i = 0; i < 10; i++)
        second(rig);
    assert_int_equal(rig->store.made[CALL_RESOLVE], 1);
}

static void
after_four_seconds_without_redis_it_is_not_well_but_not_deaf(void **state)
{
    struct rig *rig = *state;
    begin(rig);
    redis_answers(rig);
    nats_answers(rig);
    rig_pass(rig, 2000);
    roundtrip_tick(&rig->edge);
    answer_error(call_of(&rig->store, CALL_RESOLVE), SY_EREPLY);
    rig_pass(rig, ROUNDTRIP_FAIL_MS - 2000 - 1);
    assert_true(roundtrip_is_well(&rig->edge));
    rig_pass(rig, 1);
    assert_false(roundtrip_is_well(&rig->edge));
    assert_false(roundtrip_is_deaf(&rig->edge));
    assert_string_equal(roundtrip_describe(&rig->edge), "no answer from redis");
    roundtrip_tick(&rig->edge);
    redis_answers(rig);
    nats_answers(rig);
    assert_true(roundtrip_is_well(&rig->edge));
}

static void
a_first_one_that_never_comes_back_counts_from_its_beginning(void **state)
{
    struct rig *rig = *state;
    begin(rig);
    rig_pass(rig, ROUNDTRIP_FAIL_MS - 1);
    assert_true(roundtrip_is_well(&rig->edge));
    rig_pass(rig, 1);
    assert_false(roundtrip_is_well(&rig->edge));
}

static void
an_edge_that_does_not_hear_itself_takes_nobody_after_four_seconds(void **state)
{
    struct rig *rig = *state;
    const char *why;
    begin(rig);
    redis_answers(rig);
    for (int i = 0; i < ROUNDTRIP_FAIL_MS / 1000 - 1; i++) {
        second(rig);
        if (calls_open_of(&rig->store, CALL_RESOLVE) > 0)
            redis_answers(rig); // published again, which starts no new count
        assert_true(edge_is_ready(&rig->edge, &why));
    }
    rig_pass(rig, 999);
    assert_true(edge_is_ready(&rig->edge, &why));
    rig_pass(rig, 1);
    assert_false(edge_is_ready(&rig->edge, &why));
    assert_string_equal(why, "its own messages do not come back");
    assert_string_equal(roundtrip_describe(&rig->edge), "does not come back over nats");
    nats_answers(rig);
    assert_true(edge_is_ready(&rig->edge, &why));
}

static void
a_new_connection_to_nats_is_not_judged_by_the_old_one(void **state)
{
    struct rig *rig = *state;
    begin(rig);
    redis_answers(rig);
    rig_pass(rig, 5000);
    assert_true(roundtrip_is_deaf(&rig->edge));
    edge_on_bus_state(&rig->edge, false, "test");
    assert_false(roundtrip_is_deaf(&rig->edge));
}

static void
with_a_new_connection_to_nats_the_next_begins_at_once(void **state)
{
    struct rig *rig = *state;
    begin(rig);
    redis_answers(rig);
    rig_pass(rig, 100);
    edge_on_bus_state(&rig->edge, false, "test");
    assert_int_equal(calls_open_of(&rig->store, CALL_RESOLVE), 0);
    edge_on_bus_state(&rig->edge, true, "test");
    redis_answers(rig);
    nats_answers(rig);
    assert_int_equal(rig->edge.roundtrip.ok_ms, rig->edge.now_ms);
}

static void
an_old_one_shows_that_we_hear_and_no_more(void **state)
{
    struct rig *rig = *state;
    begin(rig);
    redis_answers(rig);
    second(rig);
    second(rig); // the next one is asked for
    nats_answers(rig);
    assert_int_equal(rig->edge.roundtrip.unheard_ms, 0);
    assert_int_equal(rig->edge.roundtrip.ok_ms, 0);
}

static void
one_that_came_after_its_time_is_no_success(void **state)
{
    struct rig *rig = *state;
    begin(rig);
    redis_answers(rig);
    rig_pass(rig, ROUNDTRIP_MS);
    nats_answers(rig);
    assert_int_equal(rig->edge.roundtrip.ok_ms, 0);
}

static void
an_envelope_for_nobody_from_another_edge_is_no_round_trip(void **state)
{
    struct rig *rig = *state;
    Switchyard__Bus__V1__Envelope envelope;
    switchyard__bus__v1__envelope__init(&envelope);
    Switchyard__Bus__V1__BusItem item;
    switchyard__bus__v1__bus_item__init(&item);
    item.item_case = SWITCHYARD__BUS__V1__BUS_ITEM__ITEM_ENVELOPE;
    item.envelope = &envelope;
    begin(rig);
    redis_answers(rig);
    envelope.ref = 1;
    envelope.expires_at_ms = UINT64_MAX;
    rig_bus_item(rig, NODE_B, &item);
    assert_int_equal(rig->edge.roundtrip.ok_ms, 0);
    assert_int_not_equal(rig->edge.roundtrip.unheard_ms, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(it_goes_to_redis_over_nats_and_back),
        RIG_TEST(it_is_counted_in_nobodys_counters),
        RIG_TEST(every_two_seconds_one_command_and_one_message),
        RIG_TEST(nothing_is_asked_before_the_lease_or_twice),
        RIG_TEST(after_four_seconds_without_redis_it_is_not_well_but_not_deaf),
        RIG_TEST(a_first_one_that_never_comes_back_counts_from_its_beginning),
        RIG_TEST(an_edge_that_does_not_hear_itself_takes_nobody_after_four_seconds),
        RIG_TEST(a_new_connection_to_nats_is_not_judged_by_the_old_one),
        RIG_TEST(with_a_new_connection_to_nats_the_next_begins_at_once),
        RIG_TEST(an_old_one_shows_that_we_hear_and_no_more),
        RIG_TEST(one_that_came_after_its_time_is_no_success),
        RIG_TEST(an_envelope_for_nobody_from_another_edge_is_no_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
