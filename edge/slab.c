// slab.c: slabs are aligned to their size, so a block's slab is found by its address.
//
// Each size has a list of the slabs with free blocks. A slab that runs full leaves it, one
// that runs empty is freed. Under AddressSanitizer every block comes from malloc, so that a
// use after slab_give is found.
#include "edge/slab.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/queue.h>

#define SLAB_BYTES 16384u
#define SMALLEST_SHIFT 4
#define SIZES 7

#if defined(__SANITIZE_ADDRESS__)
#define SLAB_BLOCKS_MAX 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SLAB_BLOCKS_MAX 0
#endif
#endif
#ifndef SLAB_BLOCKS_MAX
#define SLAB_BLOCKS_MAX SLAB_BLOCK_MAX
#endif

struct block {
    struct block *next;
};

struct slab {
    LIST_ENTRY(slab) siblings; // in slabs.open, unless it is full
    struct block *free;        // given back
    uint32_t fresh;            // where the part begins that was never taken
    uint32_t used;             // blocks
};

LIST_HEAD(slab_list, slab);

static struct {
    struct slab_list open[SIZES];
    size_t count;
} slabs;

static unsigned
index_of(size_t size)
{
    unsigned index = 0;
    while (((size_t)1 << (index + SMALLEST_SHIFT)) < size)
        index++;
    assert(size == (size_t)1 << (index + SMALLEST_SHIFT));
    return index;
}

static bool
is_full(const struct slab *slab, size_t size)
{
    return slab->free == NULL && slab->fresh + size > SLAB_BYTES;
}

static struct slab *
slab_new(size_t size)
{
    struct slab *slab = aligned_alloc(SLAB_BYTES, SLAB_BYTES);
    if (slab == NULL)
        abort();
    size_t head = sizeof *slab;
    *slab = (struct slab){.fresh = (uint32_t)(head > size ? head : size)};
    LIST_INSERT_HEAD(&slabs.open[index_of(size)], slab, siblings);
    slabs.count++;
    return slab;
}

static void *
malloc_or_abort(size_t size)
{
    void *block = malloc(size);
    if (block == NULL)
        abort();
    return block;
}

void *
slab_take(size_t size)
{
    if (size > SLAB_BLOCKS_MAX)
        return malloc_or_abort(size);
    struct slab *slab = LIST_FIRST(&slabs.open[index_of(size)]);
    if (slab == NULL)
        slab = slab_new(size);
    struct block *block = slab->free;
    if (block != NULL) {
        slab->free = block->next;
    } else {
        block = (struct block *)(void *)((char *)slab + slab->fresh);
        slab->fresh += (uint32_t)size;
    }
    slab->used++;
    if (is_full(slab, size))
        LIST_REMOVE(slab, siblings);
    return block;
}

void
slab_give(void *at, size_t size)
{
    if (size > SLAB_BLOCKS_MAX) {
        free(at);
        return;
    }
    char *byte = at;
    struct block *block = at;
    struct slab *slab = (struct slab *)(void *)(byte - ((uintptr_t)byte & (SLAB_BYTES - 1)));
    bool was_full = is_full(slab, size);
    block->next = slab->free;
    slab->free = block;
    if (was_full)
        LIST_INSERT_HEAD(&slabs.open[index_of(size)], slab, siblings);
    if (--slab->used > 0)
        return;
    LIST_REMOVE(slab, siblings);
    slabs.count--;
    free(slab);
}

size_t
slab_count(void)
{
    return slabs.count;
}
