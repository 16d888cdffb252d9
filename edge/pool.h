// pool.h: blocks for short-lived objects, kept by size class for the next one.
//
// Classes are powers of two from 64 bytes to 128 KiB; larger blocks come from malloc.
// What is kept is bounded by the most that was ever in use, and by POOL_KEEP_BYTES per
// class; pool_trim, called now and then, gives back what nobody took since. One thread.
#pragma once

#include <stddef.h>

#define POOL_CLASSES 12 // the largest: 64 KiB of a client, wrapped in an event
#define POOL_KEEP_BYTES (1024 * 1024)

struct pool {
    struct pool_block *kept[POOL_CLASSES];
    size_t kept_bytes[POOL_CLASSES];
    size_t idle_bytes[POOL_CLASSES]; // the least that was kept since the last pool_trim
};

// Not zeroed; aborts when memory is exhausted.
void *pool_take(struct pool *pool, size_t size);
// The same size as was asked for. NULL is fine.
void pool_give(struct pool *pool, void *block, size_t size);
// Frees what lay idle since the last call, but for `floor` bytes per class; steady traffic
// never misses it. Answers how many bytes that was.
size_t pool_trim(struct pool *pool, size_t floor);
size_t pool_kept(const struct pool *pool); // bytes
void pool_fini(struct pool *pool);
