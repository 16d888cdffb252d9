// router_rig.h: what the tests of the router share.
#pragma once

#include "tests/unit/edge/fake.h"

// What a send must leave behind: nothing.
void expect_idle(const struct rig *rig);
// An edge with a sender, and two others that live.
struct conn *begin(struct rig *rig);
// A route that is remembered: the user is on this node, or nowhere (NULL).
void know(struct rig *rig, struct conn *sender, const char *user, const char *node);
