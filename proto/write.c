// write.c: the three messages that every message on its way is written as: the Message event,
// the Envelope and the Receipt.
//
// The same bytes as protobuf-c's (a property test compares them), in a third of the
// instructions: it walks descriptors twice, once for sizes and once for bytes, and measures
// each string twice.
#include "proto/codec.h"

#include <assert.h>
#include <string.h>

#include "proto/wire.h"

// A string or bytes that is left out if empty.
struct text {
    const void *bytes;
    size_t len;
    size_t size; // with tag and length, 0 if left out
};

static struct text
text_of(const char *string)
{
    struct text text = {.bytes = string, .len = strlen(string)};
    text.size = text.len > 0 ? wire_bytes_size(text.len) : 0;
    return text;
}

static uint8_t *
put_text(uint8_t *at, uint8_t tag, const struct text *text)
{
    return text->size > 0 ? wire_put_bytes(at, tag, text->bytes, text->len) : at;
}

// A member of a oneof: there even if empty.
static struct text
payload_of(const Switchyard__V1__Message *message)
{
    struct text text = {0};
    if (message->payload_case == SWITCHYARD__V1__MESSAGE__PAYLOAD_TEXT) {
        text.bytes = message->text;
        text.len = strlen(message->text);
    } else if (message->payload_case == SWITCHYARD__V1__MESSAGE__PAYLOAD_BODY) {
        text.bytes = message->body.data;
        text.len = message->body.len;
    } else {
        return text;
    }
    text.size = wire_bytes_size(text.len);
    return text;
}

void
codec_append_message(const Switchyard__V1__Message *message, struct buf *out)
{
    assert(message->base.n_unknown_fields == 0);
    struct text from = text_of(message->from);
    struct text device = text_of(message->from_device);
    struct text payload = payload_of(message);
    struct text type = text_of(message->content_type);
    struct text id = text_of(message->message_id);
    size_t size = from.size + device.size + payload.size + type.size + id.size +
                  wire_number_size(message->sent_at_ms);

    uint8_t *start = buf_reserve(out, wire_bytes_size(size));
    uint8_t *at = wire_put_head(start, WIRE_BYTES(3), size); // Event.message
    at = put_text(at, WIRE_BYTES(1), &from);
    at = put_text(at, WIRE_BYTES(2), &device);
    at = put_text(at, WIRE_BYTES(message->payload_case), &payload);
    at = put_text(at, WIRE_BYTES(5), &type);
    at = put_text(at, WIRE_BYTES(6), &id);
    at = wire_put_number(at, WIRE_VARINT(7), message->sent_at_ms);
    out->len += (size_t)(at - start);
}

// The head of BusFrame.items and, in it, of one member of BusItem.
static uint8_t *
put_item_head(uint8_t *at, uint8_t tag, size_t size)
{
    at = wire_put_head(at, WIRE_BYTES(2), wire_bytes_size(size));
    return wire_put_head(at, tag, size);
}

void
codec_append_envelope(const Switchyard__Bus__V1__Envelope *envelope, struct buf *out)
{
    assert(envelope->base.n_unknown_fields == 0);
    struct text device = text_of(envelope->to_device);
    struct text event = {.bytes = envelope->event.data, .len = envelope->event.len};
    event.size = event.len > 0 ? wire_bytes_size(event.len) : 0;
    size_t size = wire_number_size(envelope->ref) + device.size + event.size +
                  wire_number_size(envelope->expires_at_ms) + wire_number_size(envelope->hop) +
                  (envelope->receipt_may_wait ? 2 : 0);
    for (size_t i = 0; i < envelope->n_to; i++)
        size += wire_bytes_size(strlen(envelope->to[i]));

    uint8_t *start = buf_reserve(out, wire_bytes_size(wire_bytes_size(size)));
    uint8_t *at = put_item_head(start, WIRE_BYTES(1), size); // BusItem.envelope
    at = wire_put_number(at, WIRE_VARINT(1), envelope->ref);
    for (size_t i = 0; i < envelope->n_to; i++)
        at = wire_put_bytes(at, WIRE_BYTES(2), envelope->to[i], strlen(envelope->to[i]));
    at = put_text(at, WIRE_BYTES(3), &device);
    at = put_text(at, WIRE_BYTES(4), &event);
    at = wire_put_number(at, WIRE_VARINT(5), envelope->expires_at_ms);
    at = wire_put_number(at, WIRE_VARINT(6), envelope->hop);
    at = wire_put_number(at, WIRE_VARINT(7), envelope->receipt_may_wait != 0);
    out->len += (size_t)(at - start);
}

static size_t
miss_size(const Switchyard__Bus__V1__Miss *miss)
{
    return wire_number_size(miss->index) + wire_number_size(miss->reason);
}

void
codec_append_receipt(const Switchyard__Bus__V1__Receipt *receipt, struct buf *out)
{
    assert(receipt->base.n_unknown_fields == 0);
    size_t size = wire_number_size(receipt->ref) + wire_number_size(receipt->devices);
    for (size_t i = 0; i < receipt->n_misses; i++)
        size += wire_bytes_size(miss_size(receipt->misses[i]));

    uint8_t *start = buf_reserve(out, wire_bytes_size(wire_bytes_size(size)));
    uint8_t *at = put_item_head(start, WIRE_BYTES(2), size); // BusItem.receipt
    at = wire_put_number(at, WIRE_VARINT(1), receipt->ref);
    at = wire_put_number(at, WIRE_VARINT(2), receipt->devices);
    for (size_t i = 0; i < receipt->n_misses; i++) {
        const Switchyard__Bus__V1__Miss *miss = receipt->misses[i];
        at = wire_put_head(at, WIRE_BYTES(3), miss_size(miss));
        at = wire_put_number(at, WIRE_VARINT(1), miss->index);
        at = wire_put_number(at, WIRE_VARINT(2), miss->reason);
    }
    out->len += (size_t)(at - start);
}
