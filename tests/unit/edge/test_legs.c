// test_legs.c: references that meet their leg or nothing.
#include <string.h>

#include "edge/legs.h"
#include "edge/send.h"
#include "tests/unit/edge/fake.h"

static struct send *
send_of(struct rig *rig)
{
    static struct send send;
    memset(&send, 0, sizeof(send));
    send.edge = &rig->edge;
    return &send;
}

static void
free_legs(struct rig *rig, struct send *send)
{
    for (struct leg *leg; (leg = send->legs) != NULL;) {
        send->legs = leg->next_of_send;
        leg_free(&rig->edge, leg);
    }
}

static void
a_leg_is_found_while_it_is_out(void **state)
{
    struct rig *rig = *state;
    struct send *send = send_of(rig);
    struct peer *peer = peers_take(&rig->edge.peers, NODE_B);
    struct leg *leg = leg_new(&rig->edge, send, peer, 3);
    assert_true(leg->is_fresh);
    assert_null(leg_find(&rig->edge, 1)); // there is no slot yet
    leg_start(&rig->edge, leg);
    uint64_t ref = leg_ref(&rig->edge, leg);
    assert_ptr_equal(leg_find(&rig->edge, ref), leg);
    leg_stop(&rig->edge, leg);
    leg_stop(&rig->edge, leg); // again is fine
    assert_null(leg_find(&rig->edge, ref));
    free_legs(rig, send);
    assert_int_equal(peer->holds, 0);
}

static void
an_old_reference_does_not_meet_the_next_leg_of_its_slot(void **state)
{
    struct rig *rig = *state;
    struct send *send = send_of(rig);
    struct peer *peer = peers_take(&rig->edge.peers, NODE_B);
    struct leg *first = leg_new(&rig->edge, send, peer, 1);
    leg_start(&rig->edge, first);
    uint64_t old = leg_ref(&rig->edge, first);
    leg_stop(&rig->edge, first);
    struct leg *second = leg_new(&rig->edge, send, peer, 1);
    leg_start(&rig->edge, second);
    assert_int_equal(second->slot, first->slot);
    assert_null(leg_find(&rig->edge, old));
    assert_ptr_equal(leg_find(&rig->edge, leg_ref(&rig->edge, second)), second);
    free_legs(rig, send);
}

static void
all_references_differ_and_none_is_0(void **state)
{
    struct rig *rig = *state;
    struct send *send = send_of(rig);
    struct peer *peer = peers_take(&rig->edge.peers, NODE_B);
    enum { COUNT = 300 }; // the table grows on the way
    struct leg *legs[COUNT];
    uint64_t refs[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        legs[i] = leg_new(&rig->edge, send, peer, 1);
        leg_start(&rig->edge, legs[i]);
        refs[i] = leg_ref(&rig->edge, legs[i]);
        assert_int_not_equal(refs[i], 0);
    }
    for (size_t i = 0; i < COUNT; i++)
        assert_ptr_equal(leg_find(&rig->edge, refs[i]), legs[i]);
    assert_null(leg_find(&rig->edge, refs[COUNT - 1] + 1000));
    free_legs(rig, send);
    for (size_t i = 0; i < COUNT; i++)
        assert_null(leg_find(&rig->edge, refs[i]));
}

static void
a_peers_legs_are_in_the_order_of_their_start(void **state)
{
    struct rig *rig = *state;
    struct send *send = send_of(rig);
    struct peer *peer = peers_take(&rig->edge.peers, NODE_B);
    struct leg *legs[3];
    for (size_t i = 0; i < 3; i++) {
        legs[i] = leg_new(&rig->edge, send, peer, 1);
        leg_start(&rig->edge, legs[i]);
    }
    leg_stop(&rig->edge, legs[1]);
    assert_ptr_equal(peer->legs, legs[0]);
    assert_ptr_equal(peer->legs->next_of_peer, legs[2]);
    assert_ptr_equal(peer->last_leg, legs[2]);
    leg_stop(&rig->edge, legs[2]);
    assert_ptr_equal(peer->last_leg, legs[0]);
    leg_stop(&rig->edge, legs[0]);
    assert_null(peer->legs);
    assert_null(peer->last_leg);
    free_legs(rig, send);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(a_leg_is_found_while_it_is_out),
        RIG_TEST(an_old_reference_does_not_meet_the_next_leg_of_its_slot),
        RIG_TEST(all_references_differ_and_none_is_0),
        RIG_TEST(a_peers_legs_are_in_the_order_of_their_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
