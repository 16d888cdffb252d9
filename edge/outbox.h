// outbox.h: what this edge has for other edges, gathered during a turn and published
// as one NATS message per destination at its end.
//
// A batch grows to OUTBOX_BATCH_BYTES or OUTBOX_BATCH_ELEMENTS, then it leaves at once; what has
// left and was not yet taken by nats-server is bounded by bus_opts.max_buffered. Each batch carries
// a number in its reply subject, so that "nobody listens" names the batch.
#pragma once

#include <stdint.h>

#include "edge/peers.h"
#include "lib/base/err.h"
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

// 0 with *batch, the number of the batch it is in; SY_EDOWN: the bus is down.
MUST_USE
int outbox_append(struct edge *edge, struct peer *peer, const Switchyard__Bus__V1__BusItem *item,
                  uint32_t *batch);
// Publishes every batch. Those refused are reported to router_batch_failed.
void outbox_flush(struct edge *edge);

// To one node each; lost without a trace when the bus is down, which costs time but no
// truth: the verify cycle and the route's age limit repair it.
void outbox_invalidate(struct edge *edge, const char *node, const char *user);
void outbox_kick(struct edge *edge, const char *node, const char *user, const char *device,
                 uint64_t connection, uint64_t epoch);
