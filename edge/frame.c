// frame.c: ready frames, in blocks of a pool of their own.
#include "edge/frame.h"

#include <assert.h>
#include <string.h>

#include "edge/pool.h"

#define CONTROL_MAX 125 // RFC 6455, 5.5

static struct pool pool;
static size_t live;

// A frame with room for `len` bytes, which the caller fills from bytes[0].
static struct frame *
frame_take(size_t len)
{
    assert(len < UINT32_MAX - sizeof(struct frame));
    struct frame *frame = pool_take(&pool, sizeof *frame + len);
    frame->refs = 1;
    frame->len = (uint32_t)len;
    frame->expires_ms = 0;
    live++;
    return frame;
}

struct frame *
frame_new(enum codec_format format, const void *payload, size_t len)
{
    uint8_t head[CODEC_WS_HEAD_MAX];
    size_t head_len = codec_ws_head(format, len, head);
    struct frame *frame = frame_take(head_len + len);
    memcpy(frame->bytes, head, head_len);
    if (len > 0)
        memcpy(frame->bytes + head_len, payload, len);
    return frame;
}

struct frame *
frame_new_control(unsigned opcode, const void *payload, size_t len)
{
    assert(opcode >= 8 && opcode <= 10);
    assert(len <= CONTROL_MAX);
    struct frame *frame = frame_take(2 + len);
    frame->bytes[0] = (uint8_t)(0x80 | opcode);
    frame->bytes[1] = (uint8_t)len;
    if (len > 0)
        memcpy(frame->bytes + 2, payload, len);
    return frame;
}

void
frame_release(struct frame *frame)
{
    assert(frame->refs > 0);
    if (--frame->refs > 0)
        return;
    live--;
    pool_give(&pool, frame, sizeof *frame + frame->len);
}

size_t
frame_pool_trim(size_t floor)
{
    return pool_trim(&pool, floor);
}

void
frame_pool_drain(void)
{
    pool_fini(&pool);
}

size_t
frame_pool_live(void)
{
    return live;
}

size_t
frame_pool_kept(void)
{
    return pool_kept(&pool);
}
