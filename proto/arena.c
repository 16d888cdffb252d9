// arena.c: the bump allocator. protobuf-c frees piecemeal; here that does nothing,
// and arena_clear takes everything back at once.
#include "proto/buf.h"

#include <stdlib.h>

#define ALIGNMENT ((size_t)16)

static void *
on_alloc(void *arena, size_t size)
{
    return arena_take(arena, size);
}

static void
on_free(void *arena, void *pointer)
{
    (void)arena;
    (void)pointer;
}

void
arena_init(struct arena *arena, size_t size)
{
    // One byte at least: malloc(0) may answer NULL without being out of memory.
    uint8_t *block = malloc(size > 0 ? size : 1);
    if (block == NULL)
        abort();
    *arena = (struct arena){
        .allocator = {.alloc = on_alloc, .free = on_free, .allocator_data = arena},
        .block = block,
        .size = size,
    };
}

void
arena_fini(struct arena *arena)
{
    free(arena->block);
    *arena = (struct arena){0};
}

void *
arena_take(struct arena *arena, size_t size)
{
    size_t start = (arena->used + ALIGNMENT - 1) & ~(ALIGNMENT - 1);
    if (start > arena->size || size > arena->size - start)
        return NULL;
    arena->used = start + size;
    return arena->block + start;
}
