// pool.c: one free list per size class.
#include "edge/pool.h"

#include <stdlib.h>

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
            pool->kept[class] = kept->next;
            pool->kept_bytes[class] -= size;
            return kept;
        }
    }
    void *block = malloc(size);
    if (block == NULL)
        abort();
    return block;
}

void
pool_give(struct pool *pool, void *block, size_t size)
{
    unsigned class = class_of(size);
    if (block == NULL)
        return;
    if (class >= POOL_CLASSES || pool->kept_bytes[class] >= POOL_KEEP_BYTES) {
        free(block);
        return;
    }
    struct pool_block *kept = block;
    kept->next = pool->kept[class];
    pool->kept[class] = kept;
    pool->kept_bytes[class] += (size_t)1 << (class + SMALLEST_SHIFT);
}

void
pool_fini(struct pool *pool)
{
    for (unsigned class = 0; class < POOL_CLASSES; class ++) {
        for (struct pool_block *block; (block = pool->kept[class]) != NULL;) {
            pool->kept[class] = block->next;
            free(block);
        }
        pool->kept_bytes[class] = 0;
    }
}
