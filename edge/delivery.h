// delivery.h: an encoded message, handed to the connections a user has on this edge.
//
// Per subprotocol it becomes a frame once, at the first connection that needs it, and
// all connections share that frame. One thread.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "edge/frame.h"
#include "lib/base/err.h"
#include "switchyard/bus/v1/bus.pb-c.h"

struct edge;
struct session;
struct user;

struct delivery {
    const uint8_t *event; // an encoded switchyard.v1.Event, borrowed
    size_t len;
    uint64_t expires_ms;     // of the message, wall clock
    struct frame *frames[2]; // by enum codec_format; NULL until needed
};

struct delivered {
    uint32_t queued; // connections that have it
    uint32_t full;   // connections that read too slowly and are now closing
};

// To every connection of the user, or only to `device` if that is not "". user may be NULL.
struct delivered delivery_to_user(struct edge *edge, struct delivery *delivery,
                                  const struct user *user, const char *device);
// To one LIVE session. SY_EINVAL: the event cannot be read. Else its queue is full
// (SY_EFULL) or closing (SY_EDOWN), and the session has ended for that.
MUST_USE
int delivery_to_session(struct edge *edge, struct delivery *delivery, struct session *session);
// As far as it goes without a connection: a frame is made of the event and dropped. False: it
// is late, or cannot be read.
bool delivery_to_nobody(struct edge *edge, const Switchyard__Bus__V1__Envelope *envelope);
void delivery_fini(struct delivery *delivery);

// An envelope from another edge: delivers, and answers with a receipt, in this
// turn or, when nobody waits for it and nothing was missed, with the next batch.
void delivery_envelope(struct edge *edge, const char *origin,
                       const Switchyard__Bus__V1__Envelope *envelope);
