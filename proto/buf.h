// buf.h: a growing byte buffer, and a bump allocator for decoding.
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

// Grows by doubling; memory is kept for reuse until buf_fini. Zeroed is empty.
struct buf {
    uint8_t *bytes;
    size_t len;
    size_t cap;
};

void buf_fini(struct buf *buf);
static inline void
buf_clear(struct buf *buf)
{
    buf->len = 0;
}
// Makes room for `more` bytes after len and returns where they go; the caller
// adds to len what it wrote. Aborts when memory is exhausted.
uint8_t *buf_reserve(struct buf *buf, size_t more);
void buf_append(struct buf *buf, const void *bytes, size_t len);
// Frees the memory if more than `keep` bytes are held; the buffer must be empty.
void buf_trim(struct buf *buf, size_t keep);

// A bump allocator over one block: nothing is freed singly, arena_clear frees all.
// When the block is full, allocation answers NULL, and decoding fails cleanly.
struct arena {
    ProtobufCAllocator allocator; // hand this to protobuf-c
    uint8_t *block;
    size_t size;
    size_t used;
};

void arena_init(struct arena *arena, size_t size);
void arena_fini(struct arena *arena);
static inline void
arena_clear(struct arena *arena)
{
    arena->used = 0;
}
// 16-byte aligned; NULL when full.
void *arena_take(struct arena *arena, size_t size);
