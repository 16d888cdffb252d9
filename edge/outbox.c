// outbox.c: one growing frame per destination, a list of those that leave at the end of the
// turn, and one of those that hold what may wait.
#include "edge/outbox.h"

#include <string.h>

#include "edge/core.h"
#include "lib/base/owner.h"
#include "proto/subject.h"

// The subjects stay the same but for the batch's number.
static void
name_subjects(struct edge *edge, struct peer *peer)
{
    subject_node(peer->node, peer->subject);
    size_t len = subject_unheard(edge->node, peer->node, 0, peer->reply);
    peer->number_at = len - 1;
}

static void
put_number(char *out, uint32_t number)
{
    size_t digits = 1;
    for (uint32_t rest = number; rest >= 10; rest /= 10)
        digits++;
    out[digits] = '\0';
    for (; digits > 0; number /= 10)
        out[--digits] = (char)('0' + number % 10);
}

static void
publish(struct edge *edge, struct peer *peer)
{
    uint32_t batch = peer->batch_number;
    if (peer->number_at == 0)
        name_subjects(edge, peer);
    put_number(peer->reply + peer->number_at, batch);
    int error =
        bus_publish(edge->bus, peer->subject, peer->reply, peer->batch.bytes, peer->batch.len);
    if (++peer->batch_number == 0)
        peer->batch_number = 1; // 0 is a leg that is in no batch yet
    peer->elements = 0;
    peer->may_wait = 0;
    buf_clear(&peer->batch);
    buf_trim(&peer->batch, OUTBOX_BATCH_BYTES);
    if (error != 0)
        router_batch_failed(edge, peer, batch, error == SY_EFULL ? REASON_BUSY : REASON_NO_ROUTE);
}

// At least the elements codec_is_sound counts in the encoding of this item.
static uint32_t
elements_of(const Switchyard__Bus__V1__BusItem *item)
{
    uint32_t count = 8;
    if (item->item_case == SWITCHYARD__BUS__V1__BUS_ITEM__ITEM_ENVELOPE)
        count += (uint32_t)item->envelope->n_to;
    else if (item->item_case == SWITCHYARD__BUS__V1__BUS_ITEM__ITEM_RECEIPT)
        count += 3 * (uint32_t)item->receipt->n_misses;
    return count;
}

// What a batch may hold for one more item to fit into what the server takes.
static size_t
most_bytes(const struct edge *edge)
{
    size_t item = edge->limits.frame_bytes + OUTBOX_ITEM_EXTRA_BYTES;
    size_t payload = bus_max_payload(edge->bus);
    size_t most = payload > item ? payload - item : 1; // each item on its own
    return most < OUTBOX_BATCH_BYTES ? most : OUTBOX_BATCH_BYTES;
}

static int
append(struct edge *edge, struct peer *peer, const Switchyard__Bus__V1__BusItem *item)
{
    if (edge->bus == NULL || !bus_is_up(edge->bus))
        return SY_EDOWN;
    if (peer->batch.len >= most_bytes(edge) || peer->elements >= OUTBOX_BATCH_ELEMENTS)
        publish(edge, peer);
    if (peer->batch.len == 0)
        codec_bus_start(edge->node, &peer->batch);
    codec_bus_append(item, &peer->batch);
    peer->elements += elements_of(item);
    return 0;
}

static void
leave_this_turn(struct edge *edge, struct peer *peer)
{
    if (peer->is_dirty)
        return;
    peer->is_dirty = true;
    peer->next_dirty = edge->peers.dirty;
    edge->peers.dirty = peer;
}

int
outbox_append(struct edge *edge, struct peer *peer, const Switchyard__Bus__V1__BusItem *item,
              uint32_t *batch)
{
    int error = append(edge, peer, item);
    if (error != 0)
        return error;
    leave_this_turn(edge, peer);
    *batch = peer->batch_number;
    return 0;
}

int
outbox_append_later(struct edge *edge, struct peer *peer, const Switchyard__Bus__V1__BusItem *item)
{
    struct peers *peers = &edge->peers;
    int error = append(edge, peer, item);
    if (error != 0)
        return error;
    if (++peer->may_wait > RECEIPTS_MAY_WAIT || edge->is_draining) {
        leave_this_turn(edge, peer);
    } else if (!peer->is_waiting) {
        // It stays in the list when its batch leaves earlier: what waits next leaves sooner.
        peer->is_waiting = true;
        peer->next_waiting = peers->waiting;
        peers->waiting = peer;
        if (!timer_is_set(&peers->receipts))
            wheel_set(&edge->wheel, &peers->receipts, 0); // past: when the wheel turns next
    }
    return 0;
}

void
outbox_end_wait(struct edge *edge)
{
    struct peers *peers = &edge->peers;
    wheel_unset(&edge->wheel, &peers->receipts);
    for (struct peer *peer; (peer = peers->waiting) != NULL;) {
        peers->waiting = peer->next_waiting;
        peer->is_waiting = false;
        if (peer->batch.len > 0)
            leave_this_turn(edge, peer);
    }
}

static void
on_receipts_time(struct timer *timer, uint64_t now_ms)
{
    struct peers *peers = OWNER(timer, struct peers, receipts);
    (void)now_ms;
    outbox_end_wait(OWNER(peers, struct edge, peers));
}

void
outbox_init(struct edge *edge)
{
    edge->peers.receipts.fire = on_receipts_time;
}

void
outbox_flush(struct edge *edge)
{
    // A failed batch may route its messages anew and make another peer dirty.
    for (struct peer *peer; (peer = edge->peers.dirty) != NULL;) {
        edge->peers.dirty = peer->next_dirty;
        peer->is_dirty = false;
        if (peer->batch.len > 0)
            publish(edge, peer);
    }
}

int
outbox_publish_alone(struct edge *edge, const char *subject,
                     const Switchyard__Bus__V1__BusItem *item)
{
    buf_clear(&edge->wrapped);
    codec_bus_start(edge->node, &edge->wrapped);
    codec_bus_append(item, &edge->wrapped);
    return bus_publish(edge->bus, subject, NULL, edge->wrapped.bytes, edge->wrapped.len);
}

void
outbox_invalidate(struct edge *edge, const char *node, const char *user)
{
    Switchyard__Bus__V1__Invalidate invalidate;
    switchyard__bus__v1__invalidate__init(&invalidate);
    Switchyard__Bus__V1__BusItem item;
    switchyard__bus__v1__bus_item__init(&item);
    invalidate.user = codec_borrowed(user);
    item.item_case = SWITCHYARD__BUS__V1__BUS_ITEM__ITEM_INVALIDATE;
    item.invalidate = &invalidate;
    uint32_t batch;
    if (outbox_append(edge, peers_take(&edge->peers, node), &item, &batch) == 0)
        edge->counters.invalidations_out++;
}

void
outbox_kick(struct edge *edge, const char *node, const char *user, const char *device,
            uint64_t connection, uint64_t epoch)
{
    Switchyard__Bus__V1__Kick kick;
    switchyard__bus__v1__kick__init(&kick);
    Switchyard__Bus__V1__BusItem item;
    switchyard__bus__v1__bus_item__init(&item);
    kick.user = codec_borrowed(user);
    kick.device = codec_borrowed(device);
    kick.connection = connection;
    kick.epoch = epoch;
    item.item_case = SWITCHYARD__BUS__V1__BUS_ITEM__ITEM_KICK;
    item.kick = &kick;
    uint32_t batch;
    if (outbox_append(edge, peers_take(&edge->peers, node), &item, &batch) == 0)
        edge->counters.kicks_out++;
}
