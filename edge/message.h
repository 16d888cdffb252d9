// message.h: the Message event that receivers get, made of what a sender wrote.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "switchyard/v1/client.pb-c.h"

struct edge;
struct session;

// The fields Send and Broadcast have in common; borrowed.
struct message_parts {
    const char *text; // NULL: body
    ProtobufCBinaryData body;
    bool is_empty; // neither was set
    const char *content_type;
    const char *message_id;
    uint32_t ttl_ms;
};

struct message_parts message_of_send(const Switchyard__V1__Send *send);
struct message_parts message_of_broadcast(const Switchyard__V1__Broadcast *broadcast);

// What is wrong with them, as a sentence for the sender; NULL: nothing.
const char *message_complaint(const struct message_parts *parts);

// The id to use: the sender's, or one made of this edge's incarnation and `number`.
#define MESSAGE_ID_SIZE 65
void message_pick_id(const struct edge *edge, const char *wanted, uint64_t number,
                     char out[static MESSAGE_ID_SIZE]);

// Encodes the event into edge->scratch: who sent it comes from the session, never from
// the parts.
void message_encode(struct edge *edge, const struct session *session,
                    const struct message_parts *parts);
