// outbox.h: what this edge has for other edges, gathered during a turn and published
// as one NATS message per destination at its end.
//
// A batch grows to OUTBOX_BATCH_BYTES or OUTBOX_BATCH_ELEMENTS, then it leaves at once; what has
// left and was not yet taken by nats-server is bounded by bus_opts.max_buffered. Each batch carries
// a number in its reply subject, so that "nobody listens" names the batch.
//
// A receipt nobody waits for may stay in the batch beyond its turn: it leaves with whatever else
// leaves for that peer, and by itself after RECEIPT_WAIT_MS or when more than RECEIPTS_MAY_WAIT do.
// So a stream of messages in one direction costs one stream of NATS messages, not two.
#pragma once

#include <stdint.h>

#include "edge/peers.h"
#include "lib/base/err.h"
#include "lib/base/wheel.h"
#include "proto/codec.h"

struct edge;

// Below nats-server's default max_payload of 1 MiB; less where the server takes less.
#define OUTBOX_BATCH_BYTES (512 * 1024)
// An item is at most the client frame it came from and this: names, numbers, or the
// misses of a receipt.
#define OUTBOX_ITEM_EXTRA_BYTES (16 * 1024)
// Elements (fields, recipients, misses) in a batch; a frame with more than CODEC_MAX_ITEMS
// is refused by who reads it. One item has at most CODEC_MAX_RECIPIENTS and a few.
#define OUTBOX_BATCH_ELEMENTS (CODEC_MAX_ITEMS / 2)

// Until the wheel turns next: no finer time exists without a timer of its own, and far below the
// SEND_GRACE_MS for which the origin still waits when the message's time is over.
#define RECEIPT_WAIT_MS WHEEL_TICK_MS

// More than that in one batch leave with their turn: each keeps its message at the origin, and what
// is kept there should stay in the processor's cache and in the pool, at any rate of messages.
#define RECEIPTS_MAY_WAIT 255

void outbox_init(struct edge *edge);
// 0 with *batch, the number of the batch it is in; SY_EDOWN: the bus is down.
MUST_USE
int outbox_append(struct edge *edge, struct peer *peer, const Switchyard__Bus__V1__BusItem *item,
                  uint32_t *batch);
// The same for an item that may wait. While the edge drains, nothing does.
MUST_USE
int outbox_append_later(struct edge *edge, struct peer *peer,
                        const Switchyard__Bus__V1__BusItem *item);
// What waits leaves at the end of this turn.
void outbox_end_wait(struct edge *edge);
// Publishes every batch that has more than what may wait. Those refused are reported to
// router_batch_failed.
void outbox_flush(struct edge *edge);

// One item that is in no batch, on its own, now. 0 or an error of bus_publish.
MUST_USE
int outbox_publish_alone(struct edge *edge, const char *subject,
                         const Switchyard__Bus__V1__BusItem *item);

// To one node each; lost without a trace when the bus is down, which costs time but no
// truth: the verify cycle and the route's age limit repair it.
void outbox_invalidate(struct edge *edge, const char *node, const char *user);
void outbox_kick(struct edge *edge, const char *node, const char *user, const char *device,
                 uint64_t connection, uint64_t epoch);
