// frame.h: bytes ready to be written to a socket, shared by all who wait for them.
//
// A frame is one whole WebSocket message, head included. It is built once, never
// changed after that, and counted: every queue that holds it has a hold.
// Frames come from free lists by size, so steady traffic allocates nothing.
// One thread.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "proto/codec.h"

struct frame {
    uint32_t refs;
    uint32_t len;
    uint64_t expires_ms; // wall clock; 0: never. Only looked at after a pause
    uint8_t bytes[];
};

// A frame with the payload copied behind its head; one hold, the caller's.
struct frame *frame_new(enum codec_format format, const void *payload, size_t len);
// A ping, pong or close control frame (opcode 9, 10, 8); at most 125 payload bytes, asserted.
// Give a ping at least one byte: libwebsockets does not report a pong that has none.
struct frame *frame_new_control(unsigned opcode, const void *payload, size_t len);
static inline struct frame *
frame_hold(struct frame *frame)
{
    frame->refs++;
    return frame;
}
void frame_release(struct frame *frame); // the last one gives it back to its free list
static inline const uint8_t *
frame_bytes(const struct frame *frame)
{
    return frame->bytes;
}
// Frees what the lists kept and nobody took since the last call, but for `floor` bytes per
// list; steady traffic never misses it. Answers how many bytes that was.
size_t frame_pool_trim(size_t floor);
// Gives all free-listed memory back to the system (at exit, and for leak checks).
void frame_pool_drain(void);
// Frames handed out and not yet released; bytes kept in free lists.
size_t frame_pool_live(void);
size_t frame_pool_kept(void);
