// codec.c: frames in and out.
//
// In: protobuf is checked by codec_is_sound and then unpacked, JSON is read by
// json_read; both into the caller's arena. Out: packed or written at the end of the
// caller's buffer, without a copy in between. A frame holds one repeated field, so a
// frame of one event is a tag, a length and the event.
#include "proto/codec.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "proto/ident.h"
#include "proto/json.h"

// (field number << 3) | 2, length-prefixed.
#define TAG_SERVER_FRAME_EVENTS 0x0a
#define TAG_BUS_FRAME_ORIGIN 0x0a
#define TAG_BUS_FRAME_ITEMS 0x12

// A tag of one byte and a length of up to 10.
#define PREFIX_MAX 11

// What one element of the encoding can cost in the arena, beside its own bytes:
// - protobuf-c notes 32 bytes for each while it scans a message, in blocks that
//   double, so up to twice that;
// - a pointer in a list, and the list's alignment;
// - for a message its struct, at most LARGEST; for a string its NUL and alignment;
//   for an unknown field 24 bytes of note and alignment.
// JSON costs less: a list that doubles is 4 pointers for each element.
#define LARGEST 128
#define PER_ITEM (64 + 8 + 16 + LARGEST)

_Static_assert(
    sizeof(Switchyard__V1__ClientFrame) <= LARGEST && sizeof(Switchyard__V1__Command) <= LARGEST &&
        sizeof(Switchyard__V1__Hello) <= LARGEST && sizeof(Switchyard__V1__Send) <= LARGEST &&
        sizeof(Switchyard__V1__Event) <= LARGEST && sizeof(Switchyard__V1__Welcome) <= LARGEST &&
        sizeof(Switchyard__V1__Message) <= LARGEST && sizeof(Switchyard__V1__Outcome) <= LARGEST &&
        sizeof(Switchyard__Bus__V1__Envelope) <= LARGEST &&
        sizeof(Switchyard__Bus__V1__Heartbeat) <= LARGEST,
    "LARGEST bounds every message");

size_t
codec_arena_size(size_t max_frame_bytes)
{
    size_t items = max_frame_bytes / 2; // the shortest element: a tag and one byte
    if (items > CODEC_MAX_ITEMS)
        items = CODEC_MAX_ITEMS;
    return LARGEST + items * PER_ITEM + max_frame_bytes;
}

// Unpacks bytes that must be sound.
static void *
read_protobuf(const ProtobufCMessageDescriptor *type, const void *bytes, size_t len,
              struct arena *arena, struct codec_error *error)
{
    if (!codec_is_sound(type, bytes, len, error))
        return NULL;
    void *message = protobuf_c_message_unpack(type, &arena->allocator, len, bytes);
    if (message == NULL && error != NULL)
        snprintf(error->text, sizeof(error->text), "more than there is room to decode");
    return message;
}

static void *
read_json(const ProtobufCMessageDescriptor *type, const void *text, size_t len, struct arena *arena,
          struct codec_error *error)
{
    struct json_error found;
    void *message = json_read(type, text, len, arena, &found);
    if (message == NULL && error != NULL)
        snprintf(error->text, sizeof(error->text), "%s at offset %zu", found.text, found.offset);
    return message;
}

static void *
read_frame(enum codec_format format, const ProtobufCMessageDescriptor *type, const void *bytes,
           size_t len, struct arena *arena, struct codec_error *error)
{
    return format == CODEC_JSON ? read_json(type, bytes, len, arena, error)
                                : read_protobuf(type, bytes, len, arena, error);
}

// The bounds that sound.c holds for protobuf, for a frame read from JSON.
static bool
is_within_bounds(const Switchyard__V1__ClientFrame *frame, struct codec_error *error)
{
    size_t items = frame->n_commands;
    if (frame->n_commands > CODEC_MAX_COMMANDS) {
        snprintf(error->text, sizeof(error->text), "commands: more than %d", CODEC_MAX_COMMANDS);
        return false;
    }
    for (size_t i = 0; i < frame->n_commands; i++) {
        const Switchyard__V1__Command *command = frame->commands[i];
        if (command->command_case != SWITCHYARD__V1__COMMAND__COMMAND_SEND)
            continue;
        items += command->send->n_to;
        if (command->send->n_to > CODEC_MAX_RECIPIENTS) {
            snprintf(error->text, sizeof(error->text), "commands[%zu].send.to: more than %d", i,
                     CODEC_MAX_RECIPIENTS);
            return false;
        }
    }
    if (items > CODEC_MAX_ITEMS)
        snprintf(error->text, sizeof(error->text), "more than %d elements", CODEC_MAX_ITEMS);
    return items <= CODEC_MAX_ITEMS;
}

Switchyard__V1__ClientFrame *
codec_read_client(enum codec_format format, const void *bytes, size_t len, struct arena *arena,
                  struct codec_error *error)
{
    Switchyard__V1__ClientFrame *frame =
        read_frame(format, &switchyard__v1__client_frame__descriptor, bytes, len, arena, error);
    if (frame != NULL && format == CODEC_JSON && !is_within_bounds(frame, error))
        return NULL;
    return frame;
}

Switchyard__V1__ServerFrame *
codec_read_server(enum codec_format format, const void *bytes, size_t len, struct arena *arena,
                  struct codec_error *error)
{
    return read_frame(format, &switchyard__v1__server_frame__descriptor, bytes, len, arena, error);
}

static void
append_packed(const ProtobufCMessage *message, size_t size, struct buf *out)
{
    size_t written = protobuf_c_message_pack(message, buf_reserve(out, size));
    assert(written == size);
    out->len += written;
}

static void
append_prefix(uint8_t tag, size_t len, struct buf *out)
{
    uint8_t *to = buf_reserve(out, PREFIX_MAX);
    size_t at = 0;
    to[at++] = tag;
    for (; len >= 0x80; len >>= 7)
        to[at++] = (uint8_t)(len | 0x80);
    to[at++] = (uint8_t)len;
    out->len += at;
}

static void
append_field(uint8_t tag, const ProtobufCMessage *message, struct buf *out)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    buf_reserve(out, PREFIX_MAX + size);
    append_prefix(tag, size, out);
    append_packed(message, size, out);
}

void
codec_write_client(enum codec_format format, const Switchyard__V1__ClientFrame *frame,
                   struct buf *out)
{
    if (format == CODEC_JSON)
        json_write(&frame->base, out);
    else
        append_packed(&frame->base, protobuf_c_message_get_packed_size(&frame->base), out);
}

void
codec_write_event(enum codec_format format, const Switchyard__V1__Event *event, struct buf *out)
{
    static const char head[] = "{\"events\":[";
    static const char tail[] = "]}";
    if (format == CODEC_PROTOBUF) {
        append_field(TAG_SERVER_FRAME_EVENTS, &event->base, out);
        return;
    }
    buf_append(out, head, sizeof(head) - 1);
    json_write(&event->base, out);
    buf_append(out, tail, sizeof(tail) - 1);
}

int
codec_wrap_event(enum codec_format format, const void *event, size_t len, struct arena *arena,
                 struct buf *out)
{
    if (format == CODEC_PROTOBUF) {
        append_prefix(TAG_SERVER_FRAME_EVENTS, len, out);
        buf_append(out, event, len);
        return 0;
    }
    const Switchyard__V1__Event *decoded =
        read_protobuf(&switchyard__v1__event__descriptor, event, len, arena, NULL);
    if (decoded == NULL)
        return -1;
    codec_write_event(CODEC_JSON, decoded, out);
    return 0;
}

size_t
codec_ws_head(enum codec_format format, size_t len, uint8_t out[static CODEC_WS_HEAD_MAX])
{
    // RFC 6455, 5.2: FIN and opcode 1 (text) or 2 (binary), then 7 bits of length, or
    // 126 and 16 bits, or 127 and 64 bits, the most significant byte first.
    out[0] = format == CODEC_JSON ? 0x81 : 0x82;
    if (len < 126) {
        out[1] = (uint8_t)len;
        return 2;
    }
    size_t width = len <= UINT16_MAX ? 2 : 8;
    out[1] = width == 2 ? 126 : 127;
    for (size_t i = 0; i < width; i++)
        out[2 + i] = (uint8_t)((uint64_t)len >> (8 * (width - 1 - i)));
    return 2 + width;
}

void
codec_bus_start(const char *origin, struct buf *out)
{
    size_t len = strlen(origin);
    assert(node_id_is_valid(origin, len));
    append_prefix(TAG_BUS_FRAME_ORIGIN, len, out);
    buf_append(out, origin, len);
}

void
codec_bus_append(const Switchyard__Bus__V1__BusItem *item, struct buf *out)
{
    if (item->item_case == SWITCHYARD__BUS__V1__BUS_ITEM__ITEM_ENVELOPE)
        codec_append_envelope(item->envelope, out);
    else if (item->item_case == SWITCHYARD__BUS__V1__BUS_ITEM__ITEM_RECEIPT)
        codec_append_receipt(item->receipt, out);
    else
        append_field(TAG_BUS_FRAME_ITEMS, &item->base, out);
}

Switchyard__Bus__V1__BusFrame *
codec_read_bus(const void *bytes, size_t len, struct arena *arena)
{
    Switchyard__Bus__V1__BusFrame *frame =
        read_protobuf(&switchyard__bus__v1__bus_frame__descriptor, bytes, len, arena, NULL);
    if (frame == NULL || !node_id_is_valid(frame->origin, strlen(frame->origin)))
        return NULL;
    return frame;
}

Switchyard__Bus__V1__Heartbeat *
codec_read_heartbeat(const void *bytes, size_t len, struct arena *arena)
{
    Switchyard__Bus__V1__Heartbeat *heartbeat =
        read_protobuf(&switchyard__bus__v1__heartbeat__descriptor, bytes, len, arena, NULL);
    if (heartbeat == NULL || !node_id_is_valid(heartbeat->node, strlen(heartbeat->node)))
        return NULL;
    return heartbeat;
}

Switchyard__Bus__V1__NodeDown *
codec_read_node_down(const void *bytes, size_t len, struct arena *arena)
{
    Switchyard__Bus__V1__NodeDown *down =
        read_protobuf(&switchyard__bus__v1__node_down__descriptor, bytes, len, arena, NULL);
    if (down == NULL || !node_id_is_valid(down->node, strlen(down->node)))
        return NULL;
    return down;
}

Switchyard__Bus__V1__NodeUnheard *
codec_read_node_unheard(const void *bytes, size_t len, struct arena *arena)
{
    Switchyard__Bus__V1__NodeUnheard *unheard =
        read_protobuf(&switchyard__bus__v1__node_unheard__descriptor, bytes, len, arena, NULL);
    if (unheard == NULL || !node_id_is_valid(unheard->node, strlen(unheard->node)) ||
        !node_id_is_valid(unheard->origin, strlen(unheard->origin)))
        return NULL;
    return unheard;
}
