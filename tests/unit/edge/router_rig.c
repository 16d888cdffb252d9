// router_rig.c: see router_rig.h.
#include "tests/unit/edge/router_rig.h"

void
expect_idle(const struct rig *rig)
{
    assert_int_equal(rig->edge.router.pending, 0);
    assert_int_equal(rig->edge.router.pending_bytes, 0);
    for (uint32_t i = 0; i < rig->edge.router.slot_count; i++)
        assert_null(rig->edge.router.slots[i].leg);
}

void
know(struct rig *rig, struct conn *sender, const char *user, const char *node)
{
    say_send(sender, 0, user, "first");
    if (node == NULL)
        answer_nodes(call_for(&rig->store, CALL_RESOLVE, user), 0);
    else
        answer_nodes(call_for(&rig->store, CALL_RESOLVE, user), 1, node);
    rig_turn_end(rig);
    if (node != NULL)
        rig_receipt(rig, node, rig_envelope_to(rig, node)->ref, 1);
    bus_forget(&rig->bus);
    expect_idle(rig);
}

struct conn *
begin(struct rig *rig)
{
    rig_heartbeat(rig, NODE_B);
    rig_heartbeat(rig, NODE_C);
    return rig_login(rig, "alice", "phone");
}
