// outcome.h: how a send ended, for its client.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/tables.h"
#include "switchyard/v1/client.pb-c.h"

struct edge;
struct session;
struct send;

// Told if the command has an id and its client is still there; counted always.
void outcome_tell(struct send *send);
// What every outcome has in common: status, and the reason if it is not sent; counts it,
// and tells the session unless that is NULL or wanted no answer (id 0).
void outcome_finish(struct edge *edge, struct session *session, uint64_t id,
                    Switchyard__V1__Outcome *outcome, bool is_sent, enum reason reason);
