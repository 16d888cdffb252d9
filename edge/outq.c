// outq.c: the first waiting frame sits in the queue itself; the second brings a ring, which
// is freed when the queue runs empty.
#include "edge/outq.h"

#include <assert.h>
#include <stdlib.h>

#define FIRST_CAP 8u // a power of two, as every cap is

// The first ring takes the frame that waits in `one`.
static void
ring_grow(struct outq *q)
{
    uint32_t cap = q->cap == 0 ? FIRST_CAP : 2 * q->cap;
    struct frame **ring = malloc(cap * sizeof *ring);
    if (ring == NULL)
        abort();
    if (q->cap == 0)
        ring[0] = q->one;
    for (uint32_t i = 0; i < q->cap; i++)
        ring[i] = q->ring[(q->head + i) & (q->cap - 1)];
    if (q->cap > 0)
        free(q->ring);
    q->ring = ring;
    q->cap = cap;
    q->head = 0;
}

static void
ring_free(struct outq *q)
{
    free(q->ring);
    q->ring = NULL;
    q->cap = 0;
    q->head = 0;
}

int
outq_push(struct outq *q, struct frame *frame, size_t max_bytes)
{
    if (q->bytes > max_bytes || frame->len > max_bytes - q->bytes)
        return SY_EFULL;
    frame_hold(frame);
    q->bytes += frame->len;
    if (q->count == 0 && q->cap == 0) {
        q->one = frame;
        q->count = 1;
        return 0;
    }
    if (q->cap == 0 || q->count == q->cap)
        ring_grow(q);
    q->ring[(q->head + q->count) & (q->cap - 1)] = frame;
    q->count++;
    return 0;
}

struct frame *
outq_peek(const struct outq *q)
{
    if (q->count == 0)
        return NULL;
    return q->cap == 0 ? q->one : q->ring[q->head];
}

void
outq_pop(struct outq *q)
{
    assert(q->count > 0);
    struct frame *frame = outq_peek(q);
    if (q->cap == 0)
        q->one = NULL;
    else
        q->head = (q->head + 1) & (q->cap - 1);
    q->count--;
    q->bytes -= frame->len;
    frame_release(frame);
    if (q->count == 0 && q->cap > 0)
        ring_free(q);
}

size_t
outq_drop_late(struct outq *q, uint64_t wall_ms)
{
    size_t dropped = 0;
    for (uint32_t left = q->count; left > 0; left--) {
        struct frame *frame = frame_hold(outq_peek(q));
        bool is_late = frame->expires_ms != 0 && frame->expires_ms <= wall_ms;
        outq_pop(q);
        dropped += is_late;
        if (!is_late && outq_push(q, frame, SIZE_MAX) != 0)
            abort(); // it was there a moment ago
        frame_release(frame);
    }
    return dropped;
}

void
outq_fini(struct outq *q)
{
    while (q->count > 0)
        outq_pop(q);
}
