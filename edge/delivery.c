// delivery.c: the last step of every message.
//
// An event that cannot be turned into JSON (another edge made it of something we do not
// understand) reaches nobody and counts as malformed. A full queue ends that connection
// and no other.
#include "edge/delivery.h"

#include <string.h>

#include "edge/core.h"
#include "edge/outbox.h"

static struct frame *
frame_for(struct edge *edge, struct delivery *delivery, enum codec_format format)
{
    if (delivery->frames[format] != NULL)
        return delivery->frames[format];
    buf_clear(&edge->wrapped);
    arena_clear(&edge->wrap);
    if (codec_wrap_event(format, delivery->event, delivery->len, &edge->wrap, &edge->wrapped) != 0)
        return NULL;
    struct frame *frame = frame_new(format, edge->wrapped.bytes, edge->wrapped.len);
    frame->expires_ms = delivery->expires_ms;
    delivery->frames[format] = frame;
    return frame;
}

int
delivery_to_session(struct edge *edge, struct delivery *delivery, struct session *session)
{
    struct frame *frame = frame_for(edge, delivery, conn_format(session->conn));
    if (frame == NULL) {
        edge->counters.bus_malformed++;
        return SY_EINVAL;
    }
    int error = conn_push(session->conn, frame);
    if (error != 0) {
        edge->counters.messages_refused++;
        session_end(session, CLOSE_SLOW_READER);
    }
    return error;
}

struct delivered
delivery_to_user(struct edge *edge, struct delivery *delivery, const struct user *user,
                 const char *device)
{
    struct delivered delivered = {0, 0};
    struct session *next;
    for (struct session *s = user != NULL ? user->sessions : NULL; s != NULL; s = next) {
        next = s->next_of_user;
        if ((device[0] != '\0' && strcmp(device, s->device) != 0) || !session_is_reachable(s))
            continue;
        int error = delivery_to_session(edge, delivery, s);
        delivered.queued += error == 0;
        delivered.full += error == SY_EFULL || error == SY_EDOWN;
    }
    return delivered;
}

bool
delivery_to_nobody(struct edge *edge, const Switchyard__Bus__V1__Envelope *envelope)
{
    struct delivery delivery = {.event = envelope->event.data,
                                .len = envelope->event.len,
                                .expires_ms = envelope->expires_at_ms};
    bool is_sound = envelope->expires_at_ms > edge->wall_ms &&
                    frame_for(edge, &delivery, CODEC_JSON) != NULL;
    delivery_fini(&delivery);
    return is_sound;
}

void
delivery_fini(struct delivery *delivery)
{
    for (int format = 0; format < 2; format++)
        if (delivery->frames[format] != NULL)
            frame_release(delivery->frames[format]);
}

// Why this user of the envelope got nothing; REASON_NONE if it got it.
static enum reason
deliver_one(struct edge *edge, struct delivery *delivery, const char *user, const char *device,
            uint32_t *devices)
{
    const struct user *found = users_find(&edge->users, user, strlen(user));
    struct delivered delivered = delivery_to_user(edge, delivery, found, device);
    *devices += delivered.queued;
    edge->counters.messages_remote += delivered.queued;
    if (delivered.queued > 0)
        return REASON_NONE;
    return delivered.full > 0 ? REASON_BUSY : REASON_OFFLINE;
}

static void
send_receipt(struct edge *edge, const char *origin, Switchyard__Bus__V1__Receipt *receipt,
             bool may_wait)
{
    struct peer *peer = peers_take(&edge->peers, origin);
    Switchyard__Bus__V1__BusItem item;
    switchyard__bus__v1__bus_item__init(&item);
    item.item_case = SWITCHYARD__BUS__V1__BUS_ITEM__ITEM_RECEIPT;
    item.receipt = receipt;
    uint32_t batch;
    // Without the bus the origin's send runs into its time: TIMEOUT says just that.
    int error = may_wait ? outbox_append_later(edge, peer, &item)
                         : outbox_append(edge, peer, &item, &batch);
    if (error == 0)
        edge->counters.receipts_out++;
}

// What may be missed, made when something is: most often nothing is.
struct missed {
    Switchyard__Bus__V1__Miss *list; // NULL: none yet
    Switchyard__Bus__V1__Miss **pointers;
    size_t room;
};

static void
add_miss(struct pool *pool, struct missed *missed, Switchyard__Bus__V1__Receipt *receipt,
         size_t index, enum reason reason)
{
    if (missed->list == NULL) {
        missed->list = pool_take(pool, missed->room * sizeof(*missed->list));
        missed->pointers = pool_take(pool, missed->room * sizeof(*missed->pointers));
        receipt->misses = missed->pointers;
    }
    Switchyard__Bus__V1__Miss *miss = &missed->list[receipt->n_misses];
    switchyard__bus__v1__miss__init(miss);
    miss->index = (uint32_t)index;
    miss->reason = (uint32_t)reason;
    receipt->misses[receipt->n_misses++] = miss;
}

void
delivery_envelope(struct edge *edge, const char *origin,
                  const Switchyard__Bus__V1__Envelope *envelope)
{
    struct delivery delivery = {.event = envelope->event.data,
                                .len = envelope->event.len,
                                .expires_ms = envelope->expires_at_ms};
    Switchyard__Bus__V1__Receipt receipt;
    switchyard__bus__v1__receipt__init(&receipt);
    bool is_late = envelope->expires_at_ms <= edge->wall_ms;
    struct pool *pool = &edge->router.pool;
    struct missed missed = {.room = envelope->n_to};
    receipt.ref = envelope->ref;

    edge->counters.envelopes_in++;
    edge->counters.envelopes_late += is_late;
    for (size_t i = 0; i < envelope->n_to; i++) {
        enum reason reason = is_late ? REASON_EXPIRED
                                     : deliver_one(edge, &delivery, envelope->to[i],
                                                   envelope->to_device, &receipt.devices);
        if (reason != REASON_NONE)
            add_miss(pool, &missed, &receipt, i, reason);
    }
    // A miss never waits: the origin has to ask the directory again.
    send_receipt(edge, origin, &receipt, envelope->receipt_may_wait && receipt.n_misses == 0);
    pool_give(pool, missed.list, missed.room * sizeof(*missed.list));
    pool_give(pool, missed.pointers, missed.room * sizeof(*missed.pointers));
    delivery_fini(&delivery);
}
