// legs.c: slots for references, and the list of legs each peer still owes a receipt.
#include "edge/legs.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "edge/core.h"
#include "edge/send.h"

static size_t
leg_size(uint32_t room)
{
    return sizeof(struct leg) + room * sizeof(uint32_t);
}

struct leg *
leg_new(struct edge *edge, struct send *send, struct peer *peer, uint32_t room)
{
    struct leg *leg = pool_take(&edge->router.pool, leg_size(room));
    memset(leg, 0, sizeof(*leg));
    leg->send = send;
    leg->peer = peer;
    leg->room = room;
    leg->is_fresh = true;
    leg->next_of_send = send->legs;
    send->legs = leg;
    peer->holds++; // until it is freed: it names what was tried
    return leg;
}

void
leg_free(struct edge *edge, struct leg *leg)
{
    leg_stop(edge, leg);
    leg->peer->holds--;
    pool_give(&edge->router.pool, leg, leg_size(leg->room));
}

static void
grow(struct router *router)
{
    uint32_t count = router->slot_count == 0 ? 64 : 2 * router->slot_count;
    struct slot *slots = realloc(router->slots, count * sizeof(*slots));
    if (slots == NULL)
        abort();
    for (uint32_t i = count; i-- > router->slot_count;) {
        slots[i] = (struct slot){.generation = 1, .next_free = router->free_slot};
        router->free_slot = i + 1;
    }
    router->slots = slots;
    router->slot_count = count;
}

void
leg_start(struct edge *edge, struct leg *leg)
{
    struct router *router = &edge->router;
    if (router->free_slot == 0)
        grow(router);
    leg->slot = router->free_slot - 1;
    router->free_slot = router->slots[leg->slot].next_free;
    router->slots[leg->slot].leg = leg;
    leg->is_fresh = false;
    leg->is_out = true;

    struct peer *peer = leg->peer;
    leg->next_of_peer = NULL;
    leg->prev_of_peer = peer->last_leg;
    *(peer->last_leg != NULL ? &peer->last_leg->next_of_peer : &peer->legs) = leg;
    peer->last_leg = leg;
}

void
leg_stop(struct edge *edge, struct leg *leg)
{
    if (!leg->is_out)
        return;
    struct slot *slot = &edge->router.slots[leg->slot];
    slot->leg = NULL;
    slot->generation++;
    slot->next_free = edge->router.free_slot;
    edge->router.free_slot = leg->slot + 1;
    leg->is_out = false;

    struct peer *peer = leg->peer;
    *(leg->prev_of_peer != NULL ? &leg->prev_of_peer->next_of_peer : &peer->legs) =
        leg->next_of_peer;
    *(leg->next_of_peer != NULL ? &leg->next_of_peer->prev_of_peer : &peer->last_leg) =
        leg->prev_of_peer;
}

uint64_t
leg_ref(const struct edge *edge, const struct leg *leg)
{
    assert(leg->is_out);
    return ((uint64_t)edge->router.slots[leg->slot].generation << 32) | (leg->slot + 1);
}

struct leg *
leg_find(const struct edge *edge, uint64_t ref)
{
    uint32_t index = (uint32_t)(ref & UINT32_MAX);
    if (index == 0 || index > edge->router.slot_count)
        return NULL;
    const struct slot *slot = &edge->router.slots[index - 1];
    return slot->generation == (uint32_t)(ref >> 32) ? slot->leg : NULL;
}
