// slab.h: where blocks that come and go in crowds have their memory.
//
// Malloc puts a burst's small blocks between others that live long; when the burst is over,
// its memory is free but in pieces smaller than a page, and stays with the process. Slabs
// hold blocks of one size and nothing else, and go back whole. One thread.
#pragma once

#include <stddef.h>

#define SLAB_BLOCK_MAX 1024 // larger ones, and odd sizes, come from malloc

// `size`: up to SLAB_BLOCK_MAX a power of two from 16, above it any. Not zeroed; aborts when
// memory is exhausted.
void *slab_take(size_t size);
void slab_give(void *block, size_t size); // the size it was taken with
size_t slab_count(void);                  // slabs there are
