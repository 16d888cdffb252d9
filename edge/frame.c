// frame.c: frames and the free lists they come from.
//
// A frame's memory is a power of two, 128 bytes to 128 KiB, and goes back to the list of
// its size. What the lists keep is bounded, and what lies there unused is given back by and
// by (frame_pool_trim); beyond the bound, and for anything larger, memory comes from slabs
// or malloc (slab.h) and goes back there. Under AddressSanitizer a listed frame is poisoned,
// so a use after the last release is found although the memory was never freed.
#include "edge/frame.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#include "edge/slab.h"

#if defined(__SANITIZE_ADDRESS__)
#define FRAME_POISON 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FRAME_POISON 1
#endif
#endif
#ifdef FRAME_POISON
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, size) ((void)(at), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(at, size) ((void)(at), (void)(size))
#endif

#define SMALLEST_SHIFT 7 // 128 bytes: most chat messages with their head
#define LISTS 11         // up to 128 KiB: the largest client message, wrapped in an event
#define KEPT_MAX (8u << 20)
#define CONTROL_MAX 125 // RFC 6455, 5.5

static struct {
    struct frame *lists[LISTS]; // linked through the first bytes of each frame's payload
    size_t kept_in[LISTS];      // bytes
    size_t idle_in[LISTS];      // the least of kept_in since the last frame_pool_trim
    size_t live;
    size_t kept; // the sum of kept_in
} pool;

static size_t
list_size(unsigned list)
{
    return (size_t)1 << (SMALLEST_SHIFT + list);
}

// The smallest list with frames of this many bytes; LISTS if there is none.
static unsigned
list_for(size_t size)
{
    unsigned list = 0;
    while (list < LISTS && list_size(list) < size)
        list++;
    return list;
}

static struct frame *
list_take(unsigned list)
{
    struct frame *frame = pool.lists[list];
    ASAN_UNPOISON_MEMORY_REGION(frame, list_size(list));
    memcpy(&pool.lists[list], frame->bytes, sizeof pool.lists[list]);
    pool.kept -= list_size(list);
    pool.kept_in[list] -= list_size(list);
    if (pool.kept_in[list] < pool.idle_in[list])
        pool.idle_in[list] = pool.kept_in[list];
    return frame;
}

static void
list_give(unsigned list, struct frame *frame)
{
    memcpy(frame->bytes, &pool.lists[list], sizeof pool.lists[list]);
    pool.lists[list] = frame;
    pool.kept += list_size(list);
    pool.kept_in[list] += list_size(list);
    ASAN_POISON_MEMORY_REGION(frame, list_size(list));
}

// A frame with room for `len` bytes, which the caller fills from bytes[0].
static struct frame *
frame_take(size_t len)
{
    assert(len < UINT32_MAX - sizeof(struct frame));
    size_t size = sizeof(struct frame) + len;
    unsigned list = list_for(size);
    if (list < LISTS)
        size = list_size(list);
    bool is_kept = list < LISTS && pool.lists[list] != NULL;
    struct frame *frame = is_kept ? list_take(list) : slab_take(size);
    frame->refs = 1;
    frame->len = (uint32_t)len;
    frame->start = 0;
    frame->room = (uint32_t)(size - sizeof *frame);
    pool.live++;
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
    pool.live--;
    size_t size = sizeof *frame + frame->room;
    unsigned list = list_for(size);
    if (list < LISTS && pool.kept + size <= KEPT_MAX)
        list_give(list, frame);
    else
        slab_give(frame, size);
}

size_t
frame_pool_trim(size_t floor)
{
    size_t before = pool.kept;
    for (unsigned list = 0; list < LISTS; list++) {
        size_t kept = pool.kept_in[list];
        size_t idle = pool.idle_in[list];
        while (pool.kept_in[list] > floor && kept - pool.kept_in[list] < idle)
            slab_give(list_take(list), list_size(list));
        pool.idle_in[list] = pool.kept_in[list];
    }
    return before - pool.kept;
}

void
frame_pool_drain(void)
{
    for (unsigned list = 0; list < LISTS; list++) {
        while (pool.lists[list] != NULL)
            slab_give(list_take(list), list_size(list));
    }
}

size_t
frame_pool_live(void)
{
    return pool.live;
}

size_t
frame_pool_kept(void)
{
    return pool.kept;
}
