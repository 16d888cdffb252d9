// broadcast.c: the log and the walk. See broadcast.h.
#include "edge/broadcast.h"

#include <stdlib.h>
#include <string.h>

#include "edge/core.h"
#include "edge/message.h"
#include "edge/outbox.h"
#include "edge/outcome.h"
#include "edge/router.h"
#include "proto/subject.h"

// The list of LIVE sessions.

void
broadcast_add(struct edge *edge, struct session *session)
{
    struct broadcast *b = &edge->broadcast;
    session->broadcast_seen = b->last; // what came before it was not for it
    session->next_live = NULL;
    session->prev_live = b->newest;
    *(b->newest != NULL ? &b->newest->next_live : &b->first) = session;
    b->newest = session;
}

void
broadcast_remove(struct edge *edge, struct session *session)
{
    struct broadcast *b = &edge->broadcast;
    if (session->prev_live == NULL && b->first != session)
        return;
    if (b->cursor == session)
        b->cursor = session->next_live;
    *(session->prev_live != NULL ? &session->prev_live->next_live : &b->first) = session->next_live;
    *(session->next_live != NULL ? &session->next_live->prev_live : &b->newest) =
        session->prev_live;
    session->next_live = NULL;
    session->prev_live = NULL;
}

// The log.

static struct broadcast_entry *
entry_of(struct broadcast *b, uint32_t number)
{
    return &b->log[number % BROADCAST_LOG_MAX];
}

static void
drop_entry(struct broadcast *b, struct broadcast_entry *entry)
{
    b->bytes -= entry->delivery.len;
    b->count--;
    delivery_fini(&entry->delivery);
    free(entry->event);
    memset(entry, 0, sizeof(*entry));
}

static bool
has_room(const struct broadcast *b, size_t len)
{
    return b->count < BROADCAST_LOG_MAX && b->bytes + len <= BROADCAST_LOG_BYTES;
}

static void
add_entry(struct edge *edge, const uint8_t *event, size_t len, uint64_t expires_ms)
{
    struct broadcast *b = &edge->broadcast;
    struct broadcast_entry *entry = entry_of(b, ++b->last);
    entry->number = b->last;
    entry->expires_ms = expires_ms;
    entry->event = malloc(len > 0 ? len : 1);
    if (entry->event == NULL)
        abort();
    if (len > 0)
        memcpy(entry->event, event, len);
    entry->delivery =
        (struct delivery){.event = entry->event, .len = len, .expires_ms = expires_ms};
    b->count++;
    b->bytes += len;
}

// The walk.

// What is in the log and this session has not had. It may end the session.
static void
give(struct edge *edge, struct session *session)
{
    struct broadcast *b = &edge->broadcast;
    while (session->broadcast_seen != b->last && session->state == SESSION_LIVE) {
        struct broadcast_entry *entry = entry_of(b, ++session->broadcast_seen);
        if (entry->expires_ms <= edge->wall_ms) {
            edge->counters.broadcasts_late++;
            continue;
        }
        if (delivery_to_session(edge, &entry->delivery, session) == 0)
            edge->counters.messages_broadcast++;
    }
}

static void
end_walk(struct broadcast *b)
{
    b->is_walking = false;
    while (b->count > 0) {
        struct broadcast_entry *oldest = entry_of(b, b->last - b->count + 1);
        if ((int32_t)(oldest->number - b->target) > 0)
            break; // came during the walk: not everybody has it
        drop_entry(b, oldest);
    }
}

bool
broadcast_step(struct edge *edge)
{
    struct broadcast *b = &edge->broadcast;
    if (b->count == 0)
        return false;
    if (!b->is_walking) {
        b->is_walking = true;
        b->target = b->last;
        b->cursor = b->first;
    }
    for (unsigned i = 0; i < BROADCAST_SLICE && b->cursor != NULL; i++) {
        struct session *session = b->cursor;
        b->cursor = session->next_live;
        give(edge, session);
    }
    if (b->cursor == NULL)
        end_walk(b);
    return b->count > 0;
}

// In and out.

static int
publish(struct edge *edge, uint64_t expires_ms)
{
    Switchyard__Bus__V1__Broadcast message;
    switchyard__bus__v1__broadcast__init(&message);
    Switchyard__Bus__V1__BusItem item;
    switchyard__bus__v1__bus_item__init(&item);
    message.event.data = edge->scratch.bytes;
    message.event.len = edge->scratch.len;
    message.expires_at_ms = expires_ms;
    item.item_case = SWITCHYARD__BUS__V1__BUS_ITEM__ITEM_BROADCAST;
    item.broadcast = &message;
    return outbox_publish_alone(edge, SUBJECT_ALL, &item);
}

static void
tell_outcome(struct edge *edge, struct session *session, uint64_t id, enum reason reason,
             char *message_id)
{
    Switchyard__V1__Outcome outcome;
    switchyard__v1__outcome__init(&outcome);
    outcome.message_id = message_id;
    outcome.devices = reason == REASON_NONE ? edge->live_sessions : 0;
    outcome_finish(edge, session, id, &outcome, reason == REASON_NONE, reason);
}

// Nobody gets it, or everybody does whom the bus and this edge can reach.
static enum reason
take(struct edge *edge, uint64_t expires_ms)
{
    if (!has_room(&edge->broadcast, edge->scratch.len))
        return REASON_BUSY;
    int error = edge_is_alone(edge) ? 0 : publish(edge, expires_ms);
    if (error != 0)
        return error == SY_EFULL ? REASON_BUSY : REASON_NO_ROUTE;
    add_entry(edge, edge->scratch.bytes, edge->scratch.len, expires_ms);
    edge->counters.broadcasts++;
    return REASON_NONE;
}

void
broadcast_send(struct edge *edge, struct session *session, uint64_t id,
               const Switchyard__V1__Broadcast *command)
{
    char message_id[MESSAGE_ID_SIZE];
    struct message_parts parts = message_of_broadcast(command);
    const char *wrong = message_complaint(&parts);
    if (!session->may_broadcast) {
        session_refuse(session, id, REASON_UNAUTHORIZED,
                       "the token's scope does not hold 'broadcast'");
        return;
    }
    if (wrong != NULL) {
        session_refuse(session, id, REASON_INVALID, wrong);
        return;
    }
    message_pick_id(edge, command->message_id, ++edge->router.next_number, message_id);
    parts.message_id = message_id;
    message_encode(edge, session, &parts);
    uint64_t ttl_ms = parts.ttl_ms != 0 ? parts.ttl_ms : SEND_TTL_DEFAULT_MS;
    tell_outcome(edge, session, id, take(edge, edge->wall_ms + ttl_ms), message_id);
}

void
broadcast_receive(struct edge *edge, const char *origin,
                  const Switchyard__Bus__V1__Broadcast *message)
{
    if (strcmp(origin, edge->node) == 0)
        return; // our own, which NATS brings back
    if (message->expires_at_ms <= edge->wall_ms)
        edge->counters.broadcasts_late++;
    else if (!has_room(&edge->broadcast, message->event.len))
        edge->counters.broadcasts_dropped++;
    else
        add_entry(edge, message->event.data, message->event.len, message->expires_at_ms);
}

void
broadcast_fini(struct edge *edge)
{
    struct broadcast *b = &edge->broadcast;
    b->target = b->last;
    end_walk(b);
}
