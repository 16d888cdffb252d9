// codec.h: client frames in, server events out, in both subprotocols; bus frames
// in and out. Pure: bytes and messages, no sockets. Everything decoded lives in
// the caller's arena.
//
// Decoding protobuf checks size, nesting and number of elements before it unpacks,
// so the cost of a hostile frame is bounded by its length, and UTF-8 of strings after.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/buf.h"
#include "switchyard/bus/v1/bus.pb-c.h"
#include "switchyard/v1/client.pb-c.h"

#define CODEC_SUBPROTOCOL_PROTOBUF "switchyard.v1"
#define CODEC_SUBPROTOCOL_JSON "switchyard.v1.json"

enum codec_format { CODEC_PROTOBUF, CODEC_JSON };

// For filling protobuf-c's structs, which have no const; packing does not write.
static inline char *
codec_borrowed(const char *text)
{
    union {
        const char *in;
        char *out;
    } u = {.in = text};
    return u.out;
}

// Bounds that hold for any frame, whatever its size: more is refused as malformed.
#define CODEC_MAX_COMMANDS 256
#define CODEC_MAX_RECIPIENTS 1000
#define CODEC_MAX_ITEMS 65536

// An arena of this size decodes any acceptable client frame of `max_frame_bytes`.
size_t codec_arena_size(size_t max_frame_bytes);

struct codec_error {
    char text[200]; // what is wrong and what would be right, for the client to read
};

// NULL with *error filled if malformed. Checks form only: field values are the session's business.
Switchyard__V1__ClientFrame *codec_read_client(enum codec_format format, const void *bytes,
                                               size_t len, struct arena *arena,
                                               struct codec_error *error);
// The client's side of the same.
Switchyard__V1__ServerFrame *codec_read_server(enum codec_format format, const void *bytes,
                                               size_t len, struct arena *arena,
                                               struct codec_error *error);
void codec_write_client(enum codec_format format, const Switchyard__V1__ClientFrame *frame,
                        struct buf *out);

// Appends a ServerFrame holding just this event.
void codec_write_event(enum codec_format format, const Switchyard__V1__Event *event,
                       struct buf *out);
// Appends an Event holding just this message, without a frame around it.
void codec_append_message(const Switchyard__V1__Message *message, struct buf *out);
// A ServerFrame from an event that is already encoded as protobuf (as envelopes carry it).
// For CODEC_JSON it is decoded first, in the arena. -1 if `event` cannot be decoded.
int codec_wrap_event(enum codec_format format, const void *event, size_t len, struct arena *arena,
                     struct buf *out);

// The head of a server-to-client WebSocket message (FIN, unmasked; opcode by format)
// for `len` payload bytes. 2, 4 or 10 bytes.
#define CODEC_WS_HEAD_MAX 10
size_t codec_ws_head(enum codec_format format, size_t len, uint8_t out[static CODEC_WS_HEAD_MAX]);

// Bus frames. An empty batch starts with the origin; items are appended to it.
void codec_bus_start(const char *origin, struct buf *out);
void codec_bus_append(const Switchyard__Bus__V1__BusItem *item, struct buf *out);
// The same for an item that holds just this.
void codec_append_envelope(const Switchyard__Bus__V1__Envelope *envelope, struct buf *out);
void codec_append_receipt(const Switchyard__Bus__V1__Receipt *receipt, struct buf *out);
Switchyard__Bus__V1__BusFrame *codec_read_bus(const void *bytes, size_t len, struct arena *arena);
Switchyard__Bus__V1__Heartbeat *codec_read_heartbeat(const void *bytes, size_t len,
                                                     struct arena *arena);
Switchyard__Bus__V1__NodeDown *codec_read_node_down(const void *bytes, size_t len,
                                                    struct arena *arena);
Switchyard__Bus__V1__NodeUnheard *codec_read_node_unheard(const void *bytes, size_t len,
                                                          struct arena *arena);
// Checks a protobuf encoding of `type` before unpacking: nesting depth, number of
// elements, lengths, UTF-8 of strings. Used by the readers above; open to tests.
bool codec_is_sound(const ProtobufCMessageDescriptor *type, const void *bytes, size_t len,
                    struct codec_error *error);
