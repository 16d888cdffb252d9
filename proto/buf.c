// buf.c: the growing byte buffer. Memory exhaustion aborts: limits refuse a client
// long before memory does.
#include "proto/buf.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

// Below this, doubling would reallocate several times for one ordinary frame.
#define FIRST_CAP 256

void
buf_fini(struct buf *buf)
{
    free(buf->bytes);
    *buf = (struct buf){0};
}

uint8_t *
buf_reserve(struct buf *buf, size_t more)
{
    assert(buf->len <= buf->cap);
    if (more > buf->cap - buf->len) {
        assert(more <= SIZE_MAX / 4 - buf->len);
        size_t cap = buf->cap > 0 ? buf->cap : FIRST_CAP;
        while (cap - buf->len < more)
            cap *= 2;
        uint8_t *bytes = realloc(buf->bytes, cap);
        if (bytes == NULL)
            abort();
        buf->bytes = bytes;
        buf->cap = cap;
    }
    return buf->bytes != NULL ? buf->bytes + buf->len : NULL;
}

void
buf_append(struct buf *buf, const void *bytes, size_t len)
{
    if (len == 0)
        return;
    memcpy(buf_reserve(buf, len), bytes, len);
    buf->len += len;
}

void
buf_trim(struct buf *buf, size_t keep)
{
    assert(buf->len == 0);
    if (buf->cap > keep)
        buf_fini(buf);
}
