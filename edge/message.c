// message.c: one encoding for all receivers.
#include "edge/message.h"

#include <assert.h>
#include <string.h>

#include "edge/core.h"

struct message_parts
message_of_send(const Switchyard__V1__Send *send)
{
    struct message_parts parts = {
        .is_empty = send->payload_case == SWITCHYARD__V1__SEND__PAYLOAD__NOT_SET,
        .content_type = send->content_type,
        .message_id = send->message_id,
        .ttl_ms = send->ttl_ms,
    };
    if (send->payload_case == SWITCHYARD__V1__SEND__PAYLOAD_TEXT)
        parts.text = send->text;
    else
        parts.body = send->body;
    return parts;
}

struct message_parts
message_of_broadcast(const Switchyard__V1__Broadcast *broadcast)
{
    struct message_parts parts = {
        .is_empty = broadcast->payload_case == SWITCHYARD__V1__BROADCAST__PAYLOAD__NOT_SET,
        .content_type = broadcast->content_type,
        .message_id = broadcast->message_id,
        .ttl_ms = broadcast->ttl_ms,
    };
    if (broadcast->payload_case == SWITCHYARD__V1__BROADCAST__PAYLOAD_TEXT)
        parts.text = broadcast->text;
    else
        parts.body = broadcast->body;
    return parts;
}

const char *
message_complaint(const struct message_parts *parts)
{
    if (parts->is_empty)
        return "there is neither body nor text";
    if (strlen(parts->content_type) > 128)
        return "content_type is longer than 128 bytes";
    if (strlen(parts->message_id) >= MESSAGE_ID_SIZE)
        return "message_id is longer than 64 bytes";
    if (parts->ttl_ms > SEND_TTL_MAX_MS)
        return "ttl_ms is more than 4,000";
    return NULL;
}

void
message_pick_id(const struct edge *edge, const char *wanted, uint64_t number,
                char out[static MESSAGE_ID_SIZE])
{
    size_t len = strlen(wanted);
    if (len > 0) {
        assert(len < MESSAGE_ID_SIZE);
        memcpy(out, wanted, len + 1);
        return;
    }
    // The incarnation is the end of the node id.
    const char *incarnation = edge->node + strlen(edge->node) - NODE_INCARNATION_LEN;
    memcpy(out, incarnation, NODE_INCARNATION_LEN);
    char *at = out + NODE_INCARNATION_LEN;
    *at++ = '-';
    unsigned digits = number == 0 ? 1 : (67 - (unsigned)__builtin_clzll(number)) / 4;
    at[digits] = '\0';
    for (; digits > 0; number >>= 4)
        at[--digits] = "0123456789abcdef"[number & 0xf];
}

void
message_encode(struct edge *edge, const struct session *session, const struct message_parts *parts)
{
    Switchyard__V1__Message message;
    switchyard__v1__message__init(&message);
    message.from = codec_borrowed(session->user->id);
    message.from_device = session->device;
    message.content_type = codec_borrowed(parts->content_type);
    message.message_id = codec_borrowed(parts->message_id);
    message.sent_at_ms = edge->wall_ms;
    if (parts->text != NULL) {
        message.payload_case = SWITCHYARD__V1__MESSAGE__PAYLOAD_TEXT;
        message.text = codec_borrowed(parts->text);
    } else {
        message.payload_case = SWITCHYARD__V1__MESSAGE__PAYLOAD_BODY;
        message.body = parts->body;
    }
    buf_clear(&edge->scratch);
    codec_append_message(&message, &edge->scratch);
}
