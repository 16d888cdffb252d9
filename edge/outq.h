// outq.h: how much one slow client may cost us.
//
// A FIFO of frames waiting for one socket, bounded in bytes. Full means the client
// reads slower than others write to it; the caller decides what then. An empty queue
// owns no memory. One thread; embedded in its owner; zeroed is empty.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "edge/frame.h"
#include "lib/base/err.h"

struct outq {
    union {
        struct frame **ring;
        struct frame *one; // while cap is 0, the usual case: a single frame waits, or none
    };
    uint32_t cap; // of the ring
    uint32_t head;
    uint32_t count; // frames, `one` included
    uint32_t bytes; // limits.queue_bytes is at most 64 MiB
};

void outq_fini(struct outq *q); // releases what is queued
// Takes its own hold. SY_EFULL: max_bytes would be passed; nothing was queued or held.
MUST_USE
int outq_push(struct outq *q, struct frame *frame, size_t max_bytes);
// The oldest, borrowed; NULL when empty.
struct frame *outq_peek(const struct outq *q);
// Drops the oldest.
void outq_pop(struct outq *q);
// Drops the frames whose time is over; the others keep their order. How many it dropped.
size_t outq_drop_late(struct outq *q, uint64_t wall_ms);
static inline bool
outq_is_empty(const struct outq *q)
{
    return q->count == 0;
}
