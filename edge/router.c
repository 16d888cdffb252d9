// router.c: see router.h for the five steps.
//
// A send is open as long as anything of it has not ended: each recipient that waits for
// its route, each leg without a receipt, and the function that works on it. Whoever takes
// the last of these finishes it (send_close). What the command's frame lent is copied only
// if the send outlives the call.
#include "edge/router.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "edge/core.h"
#include "edge/delivery.h"
#include "edge/legs.h"
#include "edge/outbox.h"
#include "edge/send.h"

static void on_send_time(struct timer *timer, uint64_t now_ms);
static void dispatch(struct edge *edge, struct send *send);

#define OWNER(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

// protobuf-c's structs have no const; packing does not write.
static char *
borrowed(const char *text)
{
    union {
        const char *in;
        char *out;
    } u = {.in = text};
    return u.out;
}

static size_t
send_size(uint32_t count)
{
    return sizeof(struct send) + count * sizeof(struct recipient);
}

// The end.

static void
unlink_from_session(struct send *send)
{
    if (send->session == NULL)
        return;
    *(send->prev_of_session != NULL ? &send->prev_of_session->next_of_session
                                    : &send->session->sends) = send->next_of_session;
    if (send->next_of_session != NULL)
        send->next_of_session->prev_of_session = send->prev_of_session;
    send->session = NULL;
}

static void
send_free(struct send *send)
{
    struct edge *edge = send->edge;
    struct pool *pool = &edge->router.pool;
    for (struct leg *leg; (leg = send->legs) != NULL;) {
        send->legs = leg->next_of_send;
        leg_stop(edge, leg);
        pool_give(pool, leg, leg_size(leg->room));
    }
    wheel_unset(&edge->wheel, &send->timer);
    unlink_from_session(send);
    if (send->kept != NULL) {
        edge->router.pending--;
        edge->router.pending_bytes -= send->kept_size;
        pool_give(pool, send->kept, send->kept_size);
    }
    pool_give(pool, send, send_size(send->count));
}

// Fills `unreached` with those who got nothing; answers how many got it.
static uint32_t
count_reached(const struct send *send, Switchyard__V1__Unreached *unreached,
              Switchyard__V1__Unreached **list)
{
    uint32_t missed = 0;
    for (uint32_t i = 0; i < send->count; i++) {
        const struct recipient *r = &send->recipients[i];
        if (r->is_reached)
            continue;
        switchyard__v1__unreached__init(&unreached[missed]);
        unreached[missed].user = borrowed(r->user);
        unreached[missed].reason = (Switchyard__V1__Reason)r->reason;
        list[missed] = &unreached[missed];
        missed++;
    }
    return send->count - missed;
}

static void
tell_outcome(struct send *send)
{
    struct pool *pool = &send->edge->router.pool;
    size_t size = send->count * sizeof(Switchyard__V1__Unreached);
    size_t list_size = send->count * sizeof(Switchyard__V1__Unreached *);
    Switchyard__V1__Unreached *unreached = pool_take(pool, size);
    Switchyard__V1__Unreached **list = pool_take(pool, list_size);
    Switchyard__V1__Outcome outcome;
    switchyard__v1__outcome__init(&outcome);
    Switchyard__V1__Event event;
    switchyard__v1__event__init(&event);

    uint32_t reached = count_reached(send, unreached, list);
    if (reached > 0) {
        outcome.status = SWITCHYARD__V1__OUTCOME_STATUS__OUTCOME_STATUS_SENT;
    } else {
        enum reason reason = (enum reason)send->recipients[0].reason;
        outcome.status = SWITCHYARD__V1__OUTCOME_STATUS__OUTCOME_STATUS_REJECTED;
        outcome.reason = (Switchyard__V1__Reason)reason;
        outcome.text = borrowed(reason_text(reason));
        outcome.retryable = reason_is_retryable(reason);
    }
    outcome.devices = send->devices;
    outcome.message_id = borrowed(send->message_id);
    outcome.n_unreached = send->count - reached;
    outcome.unreached = list;
    if (send->count == 1)
        outcome.n_unreached = 0; // status and reason say it all
    event.id = send->command_id;
    event.event_case = SWITCHYARD__V1__EVENT__EVENT_OUTCOME;
    event.outcome = &outcome;
    if (send->session != NULL && send->command_id != 0)
        session_tell(send->session, &event);
    *(reached > 0 ? &send->edge->counters.outcomes_sent
                  : &send->edge->counters.outcomes_rejected) += 1;
    pool_give(pool, unreached, size);
    pool_give(pool, list, list_size);
}

// Something of the send has ended. After it the send may be gone.
static void
send_close(struct send *send)
{
    assert(send->open > 0);
    if (--send->open > 0)
        return;
    tell_outcome(send);
    send_free(send);
}

// One recipient.

static void
retry(struct edge *edge, struct recipient *r)
{
    r->is_retried = true;
    r->is_waiting = true;
    r->waiter.number = r->send->number;
    r->send->open++;
    routes_forget(edge, r->user, r->user_len);
    routes_wait(edge, r->user, r->user_len, &r->waiter);
}

// An edge that should have had this user has not, or is gone.
static void
recipient_missed(struct edge *edge, struct recipient *r, enum reason reason)
{
    bool may_be_elsewhere = reason == REASON_OFFLINE || reason == REASON_NO_ROUTE;
    r->reason = (uint8_t)reason;
    if (reason == REASON_OFFLINE)
        edge->counters.misses++;
    if (may_be_elsewhere && !r->is_retried && !r->is_waiting && bus_is_up(edge->bus))
        retry(edge, r);
}

static bool
was_tried(const struct send *send, uint32_t index, const struct peer *peer)
{
    for (const struct leg *leg = send->legs; leg != NULL; leg = leg->next_of_send) {
        if (leg->peer != peer)
            continue;
        for (uint32_t i = 0; i < leg->count; i++)
            if (leg->recipients[i] == index)
                return true;
    }
    return false;
}

static struct leg *
fresh_leg(struct edge *edge, struct send *send, struct peer *peer, uint32_t index)
{
    for (struct leg *leg = send->legs; leg != NULL && leg->is_fresh; leg = leg->next_of_send)
        if (leg->peer == peer)
            return leg;
    return leg_new(edge, send, peer, send->count - index);
}

static void
add_legs(struct edge *edge, struct recipient *r, struct peer *const *peers, uint32_t count)
{
    struct send *send = r->send;
    uint32_t index = (uint32_t)(r - send->recipients);
    for (uint32_t i = 0; i < count; i++) {
        if (r->is_retried && was_tried(send, index, peers[i]))
            continue;
        struct leg *leg = fresh_leg(edge, send, peers[i], index);
        leg->recipients[leg->count++] = index;
    }
}

static void
deliver_here(struct edge *edge, struct recipient *r, struct delivery *delivery)
{
    const struct user *user = users_find(&edge->users, r->user, r->user_len);
    struct delivered delivered = delivery_to_user(edge, delivery, user, r->send->to_device);
    edge->counters.messages_local += delivered.queued;
    r->send->devices += delivered.queued;
    if (delivered.queued > 0)
        r->is_reached = true;
    else if (delivered.full > 0)
        r->reason = REASON_BUSY;
}

static void
route_recipient(struct edge *edge, struct recipient *r, struct delivery *delivery)
{
    r->reason = REASON_OFFLINE;
    deliver_here(edge, r, delivery);
    // One device is on one edge only.
    if (edge_is_alone(edge) || (r->is_reached && r->send->to_device[0] != '\0'))
        return;
    const struct route *route = routes_find(edge, r->user, r->user_len);
    if (route != NULL) {
        add_legs(edge, r, route->peers, route->peer_count);
        return;
    }
    r->is_waiting = true;
    r->send->open++;
    routes_wait(edge, r->user, r->user_len, &r->waiter);
}

void
router_resolved(struct edge *edge, struct waiter *waiter, struct peer *const *peers, uint32_t count,
                int error)
{
    struct recipient *r = OWNER(waiter, struct recipient, waiter);
    struct send *send = r->send;
    r->is_waiting = false;
    if (error != 0) {
        r->reason = REASON_DIRECTORY_UNAVAILABLE;
    } else if (send->expires_ms <= edge->wall_ms) {
        r->reason = REASON_EXPIRED;
    } else {
        if (r->is_retried && !r->is_reached) {
            struct delivery delivery = {.event = send->event, .len = send->event_len};
            deliver_here(edge, r, &delivery);
            delivery_fini(&delivery);
        }
        if (r->is_retried && !r->is_reached)
            r->reason = REASON_OFFLINE; // unless one of the edges now known has it
        add_legs(edge, r, peers, count);
        dispatch(edge, send);
    }
    send_close(send);
}

// Legs.

static void
leg_failed(struct edge *edge, struct leg *leg, enum reason reason)
{
    struct send *send = leg->send;
    leg_stop(edge, leg);
    for (uint32_t i = 0; i < leg->count; i++)
        recipient_missed(edge, &send->recipients[leg->recipients[i]], reason);
}

static int
put_envelope(struct edge *edge, struct leg *leg)
{
    struct send *send = leg->send;
    Switchyard__Bus__V1__Envelope envelope;
    switchyard__bus__v1__envelope__init(&envelope);
    Switchyard__Bus__V1__BusItem item;
    switchyard__bus__v1__bus_item__init(&item);
    size_t list_size = leg->count * sizeof(char *);
    envelope.to = pool_take(&edge->router.pool, list_size);
    envelope.n_to = leg->count;
    for (uint32_t i = 0; i < leg->count; i++) {
        const struct recipient *r = &send->recipients[leg->recipients[i]];
        envelope.to[i] = borrowed(r->user);
        envelope.hop |= r->is_retried;
    }
    envelope.ref = leg_ref(edge, leg);
    envelope.to_device = borrowed(send->to_device);
    envelope.event.data = (uint8_t *)borrowed((const char *)send->event);
    envelope.event.len = send->event_len;
    envelope.expires_at_ms = send->expires_ms;
    item.item_case = SWITCHYARD__BUS__V1__BUS_ITEM__ITEM_ENVELOPE;
    item.envelope = &envelope;
    int error = outbox_append(edge, leg->peer, &item, &leg->batch);
    pool_give(&edge->router.pool, envelope.to, list_size);
    return error;
}

// Sends every fresh leg on its way. They are the newest of the send's list.
static void
dispatch(struct edge *edge, struct send *send)
{
    struct leg *next;
    for (struct leg *leg = send->legs; leg != NULL && leg->is_fresh; leg = next) {
        next = leg->next_of_send;
        send->open++;
        leg_start(edge, leg);
        if (put_envelope(edge, leg) == 0) {
            edge->counters.envelopes_out++;
            continue;
        }
        leg_failed(edge, leg, REASON_NO_ROUTE);
        send->open--; // our caller keeps it open
    }
}

void
router_batch_failed(struct edge *edge, struct peer *peer, uint32_t batch, enum reason reason)
{
    for (struct leg *leg = peer->legs; leg != NULL;) {
        if (leg->batch != batch) {
            leg = leg->next_of_peer;
            continue;
        }
        struct send *send = leg->send;
        leg_failed(edge, leg, reason);
        send_close(send);
        leg = peer->legs; // closing a send may have ended others
    }
}

void
router_receipt(struct edge *edge, const char *origin, const Switchyard__Bus__V1__Receipt *receipt)
{
    struct leg *leg = leg_find(edge, receipt->ref);
    edge->counters.receipts_in++;
    if (leg == NULL || strcmp(leg->peer->node, origin) != 0) {
        edge->counters.receipts_late++;
        return;
    }
    struct send *send = leg->send;
    leg_stop(edge, leg);
    send->devices += receipt->devices;
    size_t next_miss = 0; // misses come in the order of the envelope's users
    for (uint32_t i = 0; i < leg->count; i++) {
        struct recipient *r = &send->recipients[leg->recipients[i]];
        bool is_missed = next_miss < receipt->n_misses && receipt->misses[next_miss]->index == i;
        if (!is_missed) {
            r->is_reached = true;
            continue;
        }
        uint32_t reason = receipt->misses[next_miss++]->reason;
        recipient_missed(edge, r, reason < REASON_COUNT ? (enum reason)reason : REASON_NO_ROUTE);
    }
    send_close(send);
}

static void
on_send_time(struct timer *timer, uint64_t now_ms)
{
    struct send *send = OWNER(timer, struct send, timer);
    struct edge *edge = send->edge;
    (void)now_ms;
    send->open++; // until the last line
    for (struct leg *leg = send->legs; leg != NULL; leg = leg->next_of_send) {
        if (!leg->is_out)
            continue;
        leg_stop(edge, leg);
        send->open--;
        for (uint32_t i = 0; i < leg->count; i++)
            send->recipients[leg->recipients[i]].reason = REASON_TIMEOUT;
    }
    for (uint32_t i = 0; i < send->count; i++) {
        struct recipient *r = &send->recipients[i];
        if (!r->is_waiting)
            continue;
        routes_cancel(&r->waiter);
        r->is_waiting = false;
        r->reason = REASON_EXPIRED;
        send->open--;
    }
    assert(send->open == 1);
    send_close(send);
}

// The beginning.

// What is wrong with the command, as a sentence for its sender; NULL: nothing.
static const char *
complaint(const Switchyard__V1__Send *send)
{
    if (send->n_to == 0)
        return "send.to names nobody: give 1 to 1,000 user ids";
    if (send->n_to > CODEC_MAX_RECIPIENTS)
        return "send.to names more than 1,000 users: split the send";
    if (send->payload_case == SWITCHYARD__V1__SEND__PAYLOAD__NOT_SET)
        return "send has neither body nor text";
    if (strlen(send->content_type) > 128)
        return "send.content_type is longer than 128 bytes";
    if (strlen(send->message_id) > 64)
        return "send.message_id is longer than 64 bytes";
    if (send->ttl_ms > SEND_TTL_MAX_MS)
        return "send.ttl_ms is more than 4,000";
    if (send->to_device[0] != '\0' && send->n_to != 1)
        return "send.to_device needs exactly one user in send.to";
    if (strlen(send->to_device) > IDENT_MAX_BYTES)
        return "send.to_device is longer than 128 bytes";
    for (size_t i = 0; i < send->n_to; i++)
        if (!ident_is_valid(send->to[i], strlen(send->to[i])))
            return "send.to holds an id that is not 1 to 128 bytes of UTF-8 without control "
                   "characters";
    return NULL;
}

// Whether a user is named twice: would be a duplicate delivery.
static bool
has_twins(const Switchyard__V1__Send *send)
{
    enum { SLOTS = 2048 }; // twice the most recipients
    uint16_t seen[SLOTS];
    if (send->n_to < 2)
        return false;
    memset(seen, 0, sizeof(seen));
    for (size_t i = 0; i < send->n_to; i++) {
        size_t at = hash_bytes(send->to[i], strlen(send->to[i])) % SLOTS;
        for (; seen[at] != 0; at = (at + 1) % SLOTS)
            if (strcmp(send->to[seen[at] - 1], send->to[i]) == 0)
                return true;
        seen[at] = (uint16_t)(i + 1);
    }
    return false;
}

// The event every receiver gets, encoded into edge->scratch.
static void
encode_message(struct edge *edge, const struct session *session, const Switchyard__V1__Send *send,
               const char *message_id)
{
    Switchyard__V1__Message message;
    switchyard__v1__message__init(&message);
    Switchyard__V1__Event event;
    switchyard__v1__event__init(&event);
    message.from = borrowed(session->user->id);
    message.from_device = session->device;
    message.content_type = send->content_type;
    message.message_id = borrowed(message_id);
    message.sent_at_ms = edge->wall_ms;
    if (send->payload_case == SWITCHYARD__V1__SEND__PAYLOAD_TEXT) {
        message.payload_case = SWITCHYARD__V1__MESSAGE__PAYLOAD_TEXT;
        message.text = send->text;
    } else {
        message.payload_case = SWITCHYARD__V1__MESSAGE__PAYLOAD_BODY;
        message.body = send->body;
    }
    event.event_case = SWITCHYARD__V1__EVENT__EVENT_MESSAGE;
    event.message = &message;
    buf_clear(&edge->scratch);
    edge->scratch.len = switchyard__v1__event__pack(
        &event, buf_reserve(&edge->scratch, switchyard__v1__event__get_packed_size(&event)));
}

static struct send *
send_new(struct edge *edge, struct session *session, uint64_t id,
         const Switchyard__V1__Send *command)
{
    uint32_t count = (uint32_t)command->n_to;
    struct send *send = pool_take(&edge->router.pool, send_size(count));
    memset(send, 0, send_size(count));
    send->edge = edge;
    send->session = session;
    send->next_of_session = session->sends;
    if (session->sends != NULL)
        session->sends->prev_of_session = send;
    session->sends = send;
    send->number = ++edge->router.next_number;
    send->command_id = id;
    send->expires_ms = edge->wall_ms +
                       (command->ttl_ms != 0 ? command->ttl_ms : SEND_TTL_DEFAULT_MS);
    send->timer.fire = on_send_time;
    send->to_device = command->to_device;
    send->count = count;
    send->open = 1;
    for (uint32_t i = 0; i < count; i++) {
        struct recipient *r = &send->recipients[i];
        r->send = send;
        r->user = command->to[i];
        r->user_len = strlen(r->user);
        r->waiter.number = send->number;
    }
    return send;
}

static const char *
keep_text(const char *text, uint8_t **at)
{
    size_t size = strlen(text) + 1;
    const char *kept = memcpy(*at, text, size);
    *at += size;
    return kept;
}

static size_t
kept_size(const struct send *send)
{
    size_t size = send->event_len + strlen(send->to_device) + strlen(send->message_id) + 2;
    for (uint32_t i = 0; i < send->count; i++)
        size += send->recipients[i].user_len + 1;
    return size;
}

// The call that began the send ends, the send goes on: copy what it borrowed.
static void
send_keep(struct edge *edge, struct send *send, uint64_t ttl_ms)
{
    send->kept_size = kept_size(send);
    send->kept = pool_take(&edge->router.pool, send->kept_size);
    uint8_t *at = send->kept;
    send->event = memcpy(at, send->event, send->event_len);
    at += send->event_len;
    send->to_device = keep_text(send->to_device, &at);
    send->message_id = keep_text(send->message_id, &at);
    for (uint32_t i = 0; i < send->count; i++)
        send->recipients[i].user = keep_text(send->recipients[i].user, &at);
    edge->router.pending++;
    edge->router.pending_bytes += send->kept_size;
    wheel_set(&edge->wheel, &send->timer, edge->now_ms + ttl_ms + SEND_GRACE_MS);
}

void
router_send(struct edge *edge, struct session *session, uint64_t id,
            const Switchyard__V1__Send *command)
{
    const char *wrong = complaint(command);
    if (wrong == NULL && has_twins(command))
        wrong = "send.to names a user twice";
    if (wrong != NULL) {
        session_refuse(session, id, REASON_INVALID, wrong);
        return;
    }
    if (edge->router.pending_bytes >= edge->limits.pending_bytes) {
        session_refuse(session, id, REASON_BUSY, "too many sends wait for other edges");
        return;
    }
    char made_id[NODE_ID_SIZE + 32];
    struct send *send = send_new(edge, session, id, command);
    send->message_id = command->message_id;
    if (send->message_id[0] == '\0') {
        snprintf(made_id, sizeof(made_id), "%s-%llx", edge->node + node_name_len(edge->node) + 1,
                 (unsigned long long)send->number);
        send->message_id = made_id;
    }
    encode_message(edge, session, command, send->message_id);
    send->event = edge->scratch.bytes;
    send->event_len = edge->scratch.len;
    edge->counters.sends++;

    struct delivery delivery = {.event = send->event, .len = send->event_len};
    for (uint32_t i = 0; i < send->count; i++)
        route_recipient(edge, &send->recipients[i], &delivery);
    delivery_fini(&delivery);
    dispatch(edge, send);
    if (send->open > 1)
        send_keep(edge, send, send->expires_ms - edge->wall_ms);
    send_close(send);
}

void
router_session_ended(struct session *session)
{
    while (session->sends != NULL) {
        struct send *send = session->sends;
        session->sends = send->next_of_session;
        send->session = NULL;
        send->next_of_session = NULL;
        send->prev_of_session = NULL;
    }
}

void
router_fini(struct edge *edge)
{
    for (uint32_t i = 0; i < edge->router.slot_count; i++) {
        struct leg *leg = edge->router.slots[i].leg;
        if (leg == NULL)
            continue;
        struct send *send = leg->send;
        for (uint32_t k = 0; k < send->count; k++)
            routes_cancel(&send->recipients[k].waiter);
        send_free(send);
    }
    assert(edge->router.pending == 0); // the store has answered every wait
    free(edge->router.slots);
    pool_fini(&edge->router.pool);
}
