// pool.c: one free list per size class. Under AddressSanitizer a kept block is poisoned, so
// a use after it was given back is found although the memory was never freed.
#include "edge/pool.h"

#include "edge/slab.h"

#if defined(__SANITIZE_ADDRESS__)
#define POOL_POISON 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POOL_POISON 1
#endif
#endif
#ifdef POOL_POISON
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, size) ((void)(at), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(at, size) ((void)(at), (void)(size))
#endif

#define SMALLEST_SHIFT 6

struct pool_block {
    struct pool_block *next;
};

static unsigned
class_of(size_t size)
{
    unsigned class = 0;
    while (class < POOL_CLASSES && ((size_t)1 << (class + SMALLEST_SHIFT)) < size)
        class ++;
    return class;
}

void *
pool_take(struct pool *pool, size_t size)
{
    unsigned class = class_of(size);
    if (class < POOL_CLASSES) {
        size = (size_t)1 << (class + SMALLEST_SHIFT);
        struct pool_block *kept = pool->kept[class];
        if (kept != NULL) {
            ASAN_UNPOISON_MEMORY_REGION(kept, size);
            pool->kept[class] = kept->next;
            pool->kept_bytes[class] -= size;
            if (pool->kept_bytes[class] < pool->idle_bytes[class])
                pool->idle_bytes[class] = pool->kept_bytes[class];
            return kept;
        }
    }
    return slab_take(size);
}

void
pool_give(struct pool *pool, void *block, size_t size)
{
    unsigned class = class_of(size);
    if (block == NULL)
        return;
    if (class >= POOL_CLASSES || pool->kept_bytes[class] >= POOL_KEEP_BYTES) {
        slab_give(block, class < POOL_CLASSES ? (size_t)1 << (class + SMALLEST_SHIFT) : size);
        return;
    }
    struct pool_block *kept = block;
    kept->next = pool->kept[class];
    pool->kept[class] = kept;
    size = (size_t)1 << (class + SMALLEST_SHIFT);
    pool->kept_bytes[class] += size;
    ASAN_POISON_MEMORY_REGION(kept, size);
}

static void
free_one(struct pool *pool, unsigned class)
{
    struct pool_block *block = pool->kept[class];
    ASAN_UNPOISON_MEMORY_REGION(block, sizeof(*block));
    pool->kept[class] = block->next;
    pool->kept_bytes[class] -= (size_t)1 << (class + SMALLEST_SHIFT);
    slab_give(block, (size_t)1 << (class + SMALLEST_SHIFT));
}

size_t
pool_trim(struct pool *pool, size_t floor)
{
    size_t freed = 0;
    for (unsigned class = 0; class < POOL_CLASSES; class ++) {
        size_t before = pool->kept_bytes[class];
        size_t idle = pool->idle_bytes[class];
        while (pool->kept_bytes[class] > floor && before - pool->kept_bytes[class] < idle)
            free_one(pool, class);
        freed += before - pool->kept_bytes[class];
        pool->idle_bytes[class] = pool->kept_bytes[class];
    }
    return freed;
}

size_t
pool_kept(const struct pool *pool)
{
    size_t bytes = 0;
    for (unsigned class = 0; class < POOL_CLASSES; class ++)
        bytes += pool->kept_bytes[class];
    return bytes;
}

void
pool_fini(struct pool *pool)
{
    for (unsigned class = 0; class < POOL_CLASSES; class ++) {
        while (pool->kept[class] != NULL)
            free_one(pool, class);
    }
}
