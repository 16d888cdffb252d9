// lws_memory.c: an allocator that knows one allocation by its name.
//
// What was checked in the source of 4.1 (lib/roles/ws): rx_ubuf is written only by
// lws_ws_rx_sm, a byte at a time, in state LWS_RXPS_WS_FRAME_PAYLOAD, at LWS_PRE and
// rx_ubuf_head; for data frames lws_parse_ws takes the payload out before and tells it to
// ignore the byte; for control frames the length was limited to 125 before. With
// permessage-deflate that would not hold: we offer no extensions.
#include "edge/lws_memory.h"

#include <libwebsockets.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define CONTROL_PAYLOAD_MAX 125
#define SPILL 4 // libwebsockets adds as much for zlib

static size_t shrunk_from; // the size it asks for; 0: nothing is shrunk

static void *
allocate(void *block, size_t size, const char *reason)
{
    if (size == 0) {
        free(block);
        return NULL;
    }
    if (block == NULL && size == shrunk_from && strcmp(reason, "rx_ubuf") == 0)
        size = LWS_PRE + CONTROL_PAYLOAD_MAX + SPILL;
    void *given = realloc(block, size);
    if (given == NULL)
        abort(); // as for our own; some of its callers would write to the NULL
    return given;
}

size_t
lws_memory_setup(size_t large, size_t small)
{
    bool is_known = strncmp(lws_get_library_version(), "4.1.", 4) == 0;
    shrunk_from = is_known ? LWS_PRE + large + SPILL : 0;
    lws_set_allocator(allocate);
    return is_known ? large : small;
}
