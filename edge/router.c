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
#include "edge/message.h"
#include "edge/outbox.h"
#include "edge/outcome.h"
#include "edge/send.h"
#include "edge/send_check.h"
#include "lib/base/owner.h"

static void on_send_time(struct timer *timer, uint64_t now_ms);

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
        leg_free(edge, leg);
    }
    wheel_unset(&edge->wheel, &send->timer);
    unlink_from_session(send);
    if (send->kept != NULL) {
        edge->router.pending--;
        edge->router.pending_bytes -= send->kept_size + send_size(send->count);
        pool_give(pool, send->kept, send->kept_size);
    }
    pool_give(pool, send, send_size(send->count));
}

// Something of the send has ended. After it the send may be gone.
static void
send_close(struct send *send)
{
    assert(send->open > 0);
    if (--send->open > 0)
        return;
    outcome_tell(send);
    send_free(send);
}

// One recipient.

static void
wait_for_route(struct edge *edge, struct recipient *r)
{
    r->is_waiting = true;
    r->send->waiting++;
    r->send->open++;
    routes_wait(edge, r->user, r->user_len, &r->waiter);
}

static void
retry(struct edge *edge, struct recipient *r)
{
    r->is_retried = true;
    routes_forget(edge, r->user, r->user_len);
    wait_for_route(edge, r);
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

// `others`: how many more recipients it may be for.
static struct leg *
fresh_leg(struct edge *edge, struct send *send, struct peer *peer, uint32_t others)
{
    for (struct leg *leg = send->legs; leg != NULL && leg->is_fresh; leg = leg->next_of_send)
        if (leg->peer == peer && leg->count < leg->room)
            return leg;
    return leg_new(edge, send, peer, 1 + others);
}

// Reached on the one device it is meant for, which is on one edge only.
static bool
has_its_device(const struct recipient *r)
{
    return r->is_reached && r->send->to_device[0] != '\0';
}

static void
add_legs(struct edge *edge, struct recipient *r, struct peer *const *peers, uint32_t count,
         uint32_t others)
{
    struct send *send = r->send;
    uint32_t index = (uint32_t)(r - send->recipients);
    if (has_its_device(r))
        return;
    for (uint32_t i = 0; i < count; i++) {
        if (peers[i]->is_unheard) {
            r->reason = REASON_NO_ROUTE;
        } else if (!r->is_retried || !was_tried(send, index, peers[i])) {
            struct leg *leg = fresh_leg(edge, send, peers[i], others);
            leg->recipients[leg->count++] = index;
        }
    }
}

static void
deliver_here(struct edge *edge, struct recipient *r, struct delivery *delivery)
{
    const struct user *user = users_find_hashed(&edge->users, r->user, r->user_len, r->user_hash);
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
    if (edge_is_alone(edge) || has_its_device(r))
        return;
    const struct route *route = routes_find(edge, r->user, r->user_len, r->user_hash);
    const struct recipient *last = &r->send->recipients[r->send->count - 1];
    if (route == NULL) {
        wait_for_route(edge, r);
        return;
    }
    uint64_t read_ms = route->expires_ms - edge->limits.route_ttl_ms;
    add_legs(edge, r, route->peers, route->peer_count, (uint32_t)(last - r));
    // Nobody listens there: the user may be elsewhere by now, and the note of it lost.
    if (r->reason == REASON_NO_ROUTE && edge->now_ms - read_ms >= PEER_LEASE_BELIEF_MS)
        recipient_missed(edge, r, REASON_NO_ROUTE);
}

// Its legs leave at the end of the turn, so that recipients whose routes are told in one
// turn share envelopes.
static void
dispatch_later(struct router *router, struct send *send)
{
    if (send->is_routed)
        return;
    send->is_routed = true;
    send->open++;
    send->next_routed = NULL;
    *(router->routed != NULL ? &router->last_routed->next_routed : &router->routed) = send;
    router->last_routed = send;
}

void
router_resolved(struct edge *edge, struct waiter *waiter, struct peer *const *peers, uint32_t count,
                int error)
{
    struct recipient *r = OWNER(waiter, struct recipient, waiter);
    struct send *send = r->send;
    r->is_waiting = false;
    send->waiting--;
    if (send->expires_ms <= edge->wall_ms) {
        r->reason = REASON_EXPIRED;
    } else {
        // Unless it is here by now, or on one of the edges.
        if (error != 0)
            r->reason = REASON_DIRECTORY_UNAVAILABLE;
        else if (r->is_retried)
            r->reason = REASON_OFFLINE;
        if (!r->is_reached) {
            struct delivery delivery = {
                .event = send->event, .len = send->event_len, .expires_ms = send->expires_ms};
            deliver_here(edge, r, &delivery);
            delivery_fini(&delivery);
        }
        add_legs(edge, r, peers, count, send->waiting);
        dispatch_later(&edge->router, send);
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

// Its sender asked for no outcome. When half of what may wait does, legs must end sooner.
static bool
receipt_may_wait(const struct edge *edge, const struct send *send)
{
    return send->command_id == 0 && edge->router.pending_bytes < edge->limits.pending_bytes / 2;
}

static int
put_envelope(struct edge *edge, struct leg *leg)
{
    struct send *send = leg->send;
    Switchyard__Bus__V1__Envelope envelope;
    switchyard__bus__v1__envelope__init(&envelope);
    Switchyard__Bus__V1__BusItem item;
    switchyard__bus__v1__bus_item__init(&item);
    char *one[1];
    size_t list_size = leg->count * sizeof(char *);
    envelope.to = leg->count == 1 ? one : pool_take(&edge->router.pool, list_size);
    envelope.n_to = leg->count;
    for (uint32_t i = 0; i < leg->count; i++) {
        const struct recipient *r = &send->recipients[leg->recipients[i]];
        envelope.to[i] = codec_borrowed(r->user);
        envelope.hop |= r->is_retried;
    }
    envelope.ref = leg_ref(edge, leg);
    envelope.to_device = codec_borrowed(send->to_device);
    envelope.event.data = (uint8_t *)codec_borrowed((const char *)send->event);
    envelope.event.len = send->event_len;
    envelope.expires_at_ms = send->expires_ms;
    envelope.receipt_may_wait = receipt_may_wait(edge, send);
    item.item_case = SWITCHYARD__BUS__V1__BUS_ITEM__ITEM_ENVELOPE;
    item.envelope = &envelope;
    int error = outbox_append(edge, leg->peer, &item, &leg->batch);
    if (envelope.to != one)
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
router_flush(struct edge *edge)
{
    struct router *router = &edge->router;
    for (struct send *send; (send = router->routed) != NULL;) {
        router->routed = send->next_routed;
        send->is_routed = false;
        dispatch(edge, send);
        send_close(send);
    }
}

// Stops the legs of one batch and answers them, oldest first, linked by next_of_peer. They
// stand together in the peer's list, behind those of older batches, most often at its end.
static struct leg *
take_batch(struct edge *edge, struct peer *peer, uint32_t batch)
{
    struct leg *taken = NULL;
    struct leg *older;
    for (struct leg *leg = peer->last_leg; leg != NULL; leg = older) {
        older = leg->prev_of_peer;
        if (leg->batch == batch) {
            leg_stop(edge, leg);
            leg->next_of_peer = taken;
            taken = leg;
        } else if (leg->batch != 0 && (int32_t)(leg->batch - batch) < 0) {
            break;
        }
    }
    return taken;
}

void
router_batch_failed(struct edge *edge, struct peer *peer, uint32_t batch, enum reason reason)
{
    struct leg *next;
    // Each of them keeps its send open, and so the others of that send.
    for (struct leg *leg = take_batch(edge, peer, batch); leg != NULL; leg = next) {
        struct send *send = leg->send;
        next = leg->next_of_peer;
        leg_failed(edge, leg, reason);
        send_close(send);
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
        bool is_known = reason > REASON_NONE && reason < REASON_COUNT;
        recipient_missed(edge, r, is_known ? (enum reason)reason : REASON_NO_ROUTE);
    }
    send_close(send);
}

// The server had this leg's batch, or may have had it.
static bool
has_left(const struct leg *leg)
{
    return leg->batch != leg->peer->batch_number;
}

// Its client has not read what waits for it. All outcomes at once could overflow the queue of
// one that keeps up with its own pace; left to their deadlines they come as they were sent.
static bool
is_behind(const struct session *session)
{
    return session != NULL && conn_backlog(session->conn) > ROUTER_LOST_BACKLOG;
}

static void
on_lost_time(struct timer *timer, uint64_t now_ms)
{
    struct router *router = OWNER(timer, struct router, lost);
    struct edge *edge = OWNER(router, struct edge, router);
    uint32_t stop = router->lost_slots > ROUTER_LOST_SLICE ? router->lost_slots - ROUTER_LOST_SLICE
                                                           : 0;
    (void)now_ms;
    while (router->lost_slots > stop) {
        struct leg *leg = router->slots[--router->lost_slots].leg;
        if (leg == NULL || leg->send->number > router->lost_number || !has_left(leg) ||
            is_behind(leg->send->session))
            continue;
        struct send *send = leg->send;
        leg_failed(edge, leg, REASON_TIMEOUT);
        send_close(send);
    }
    if (router->lost_slots > 0)
        wheel_set(&edge->wheel, timer, 0);
}

void
router_bus_lost(struct edge *edge)
{
    struct router *router = &edge->router;
    router->lost.fire = on_lost_time;
    router->lost_slots = router->slot_count;
    router->lost_number = router->next_number;
    on_lost_time(&router->lost, edge->now_ms);
}

static void
on_send_time(struct timer *timer, uint64_t now_ms)
{
    struct send *send = OWNER(timer, struct send, timer);
    struct edge *edge = send->edge;
    (void)now_ms;
    send->open++; // until the last line
    router_flush(edge);
    for (uint32_t i = 0; i < send->count; i++) {
        struct recipient *r = &send->recipients[i];
        if (!r->is_waiting)
            continue;
        routes_cancel(&r->waiter);
        r->is_waiting = false;
        r->reason = REASON_EXPIRED;
        send->waiting--;
        send->open--;
    }
    // After that: "it may have arrived" is truer than "it has not".
    for (struct leg *leg = send->legs; leg != NULL; leg = leg->next_of_send) {
        if (!leg->is_out)
            continue;
        leg_stop(edge, leg);
        send->open--;
        for (uint32_t i = 0; i < leg->count; i++)
            send->recipients[leg->recipients[i]].reason = REASON_TIMEOUT;
    }
    assert(send->open == 1);
    send_close(send);
}

// The beginning.

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
        r->user_hash = table_hash(r->user, r->user_len);
        r->waiter.number = send->number;
    }
    return send;
}

// Without a copy of what is empty.
static const char *
keep_text(const char *text, size_t len, uint8_t **at)
{
    if (len == 0)
        return "";
    size_t size = len + 1;
    const char *kept = memcpy(*at, text, size);
    *at += size;
    return kept;
}

static size_t
users_size(const struct send *send)
{
    size_t size = 0;
    for (uint32_t i = 0; i < send->count; i++)
        size += send->recipients[i].user_len + 1;
    return size;
}

// The call that began the send ends, the send goes on: copy what it borrowed.
static void
send_keep(struct edge *edge, struct send *send, uint64_t ttl_ms)
{
    size_t device_len = strlen(send->to_device);
    // Only an outcome needs it: receivers have it in the event.
    size_t id_len = send->command_id != 0 ? strlen(send->message_id) : 0;
    send->kept_size = send->event_len + device_len + id_len + 2 + users_size(send);
    send->kept = pool_take(&edge->router.pool, send->kept_size);
    uint8_t *at = send->kept;
    send->event = memcpy(at, send->event, send->event_len);
    at += send->event_len;
    send->to_device = keep_text(send->to_device, device_len, &at);
    send->message_id = keep_text(send->message_id, id_len, &at);
    for (uint32_t i = 0; i < send->count; i++) {
        struct recipient *r = &send->recipients[i];
        r->user = keep_text(r->user, r->user_len, &at);
    }
    edge->router.pending++;
    edge->router.pending_bytes += send->kept_size + send_size(send->count);
    wheel_set(&edge->wheel, &send->timer, edge->now_ms + ttl_ms + SEND_GRACE_MS);
}

void
router_send(struct edge *edge, struct session *session, uint64_t id,
            const Switchyard__V1__Send *command)
{
    const char *wrong = send_complaint(command);
    if (wrong != NULL) {
        session_refuse(session, id, REASON_INVALID, wrong);
        return;
    }
    if (edge->router.pending_bytes >= edge->limits.pending_bytes) {
        if (id != 0)
            session_refuse(session, id, REASON_BUSY, "too many sends wait for other edges");
        return;
    }
    char message_id[MESSAGE_ID_SIZE];
    struct send *send = send_new(edge, session, id, command);
    struct message_parts parts = message_of_send(command);
    message_pick_id(edge, command->message_id, send->number, message_id);
    parts.message_id = message_id;
    send->message_id = message_id;
    message_encode(edge, session, &parts);
    send->event = edge->scratch.bytes;
    send->event_len = edge->scratch.len;
    edge->counters.sends++;

    struct delivery delivery = {
        .event = send->event, .len = send->event_len, .expires_ms = send->expires_ms};
    for (uint32_t i = 0; i < send->count; i++)
        route_recipient(edge, &send->recipients[i], &delivery);
    delivery_fini(&delivery);
    router_flush(edge); // older sends go first
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

static void
send_drop(struct send *send)
{
    for (uint32_t i = 0; i < send->count; i++)
        routes_cancel(&send->recipients[i].waiter);
    send_free(send);
}

void
router_fini(struct edge *edge)
{
    for (struct send *send; (send = edge->router.routed) != NULL;) {
        edge->router.routed = send->next_routed;
        send_drop(send);
    }
    for (uint32_t i = 0; i < edge->router.slot_count; i++)
        if (edge->router.slots[i].leg != NULL)
            send_drop(edge->router.slots[i].leg->send);
    wheel_unset(&edge->wheel, &edge->router.lost);
    assert(edge->router.pending == 0); // the store has answered every wait
    free(edge->router.slots);
    pool_fini(&edge->router.pool);
}
