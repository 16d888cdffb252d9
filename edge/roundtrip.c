// roundtrip.c: see roundtrip.h.
#include "edge/roundtrip.h"

#include "edge/core.h"
#include "edge/delivery.h"
#include "edge/outbox.h"
#include "proto/subject.h"

static uint64_t
clock_us(const struct edge *edge)
{
    return edge->clock_us != NULL ? edge->clock_us() : edge->now_ms * 1000;
}

// A message as a user's would be.
static size_t
write_event(struct edge *edge, uint8_t *out, size_t size)
{
    Switchyard__V1__Message message;
    switchyard__v1__message__init(&message);
    Switchyard__V1__Event event;
    switchyard__v1__event__init(&event);
    char text[] = "round trip";
    message.from = edge->node;
    message.sent_at_ms = edge->wall_ms;
    message.payload_case = SWITCHYARD__V1__MESSAGE__PAYLOAD_TEXT;
    message.text = text;
    event.event_case = SWITCHYARD__V1__EVENT__EVENT_MESSAGE;
    event.message = &message;
    size_t len = switchyard__v1__event__get_packed_size(&event);
    return len <= size ? switchyard__v1__event__pack(&event, out) : 0;
}

static int
publish(struct edge *edge)
{
    uint8_t bytes[256]; // a node id and little else
    char subject[SUBJECT_SIZE];
    Switchyard__Bus__V1__Envelope envelope;
    switchyard__bus__v1__envelope__init(&envelope);
    Switchyard__Bus__V1__BusItem item;
    switchyard__bus__v1__bus_item__init(&item);
    envelope.ref = edge->roundtrip.number;
    envelope.event.data = bytes;
    envelope.event.len = write_event(edge, bytes, sizeof(bytes));
    envelope.expires_at_ms = edge->wall_ms + ROUNDTRIP_MS;
    item.item_case = SWITCHYARD__BUS__V1__BUS_ITEM__ITEM_ENVELOPE;
    item.envelope = &envelope;
    subject_node(edge->node, subject);
    return outbox_publish_alone(edge, subject, &item);
}

static void
on_links(void *arg, int error, const struct link *links, size_t count)
{
    struct edge *edge = arg;
    struct roundtrip *trip = &edge->roundtrip;
    (void)links;
    (void)count;
    trip->is_asking = false;
    if (error != 0)
        return;
    trip->stage = ROUNDTRIP_IN_NATS;
    if (publish(edge) == 0 && trip->unheard_ms == 0)
        trip->unheard_ms = edge->now_ms;
}

void
roundtrip_tick(struct edge *edge)
{
    struct roundtrip *trip = &edge->roundtrip;
    if (trip->is_asking || !lease_is_held(edge) ||
        (trip->begun_ms != 0 && edge->now_ms - trip->begun_ms < ROUNDTRIP_MS))
        return;
    trip->number++;
    trip->begun_ms = edge->now_ms;
    trip->begun_us = clock_us(edge);
    if (trip->first_ms == 0)
        trip->first_ms = edge->now_ms;
    trip->stage = ROUNDTRIP_IN_REDIS;
    trip->is_asking = true;
    store_resolve(edge->store, ROUNDTRIP_USER, NULL, 0, on_links, edge);
}

void
roundtrip_heard(struct edge *edge, const Switchyard__Bus__V1__Envelope *envelope)
{
    struct roundtrip *trip = &edge->roundtrip;
    trip->unheard_ms = 0; // also an old one shows that we hear
    if (envelope->ref != trip->number || trip->stage != ROUNDTRIP_IN_NATS ||
        !delivery_to_nobody(edge, envelope))
        return;
    trip->stage = ROUNDTRIP_DONE;
    trip->ok_ms = edge->now_ms;
    trip->took_us = clock_us(edge) - trip->begun_us;
}

void
roundtrip_bus_state(struct edge *edge, bool up)
{
    edge->roundtrip.unheard_ms = 0; // what was under way is lost, and nothing is known yet
    if (!up)
        return;
    edge->roundtrip.begun_ms = 0;
    roundtrip_tick(edge); // /readyz waits for it after a long outage
}

uint64_t
roundtrip_age_ms(const struct edge *edge)
{
    const struct roundtrip *trip = &edge->roundtrip;
    uint64_t since_ms = trip->ok_ms != 0 ? trip->ok_ms : trip->first_ms;
    return since_ms != 0 ? edge->now_ms - since_ms : 0;
}

bool
roundtrip_is_well(const struct edge *edge)
{
    return roundtrip_age_ms(edge) < ROUNDTRIP_FAIL_MS;
}

bool
roundtrip_is_deaf(const struct edge *edge)
{
    const struct roundtrip *trip = &edge->roundtrip;
    return trip->unheard_ms != 0 && edge->now_ms - trip->unheard_ms >= ROUNDTRIP_FAIL_MS;
}

const char *
roundtrip_describe(const struct edge *edge)
{
    const struct roundtrip *trip = &edge->roundtrip;
    if (trip->number == 0)
        return "not tried yet";
    if (roundtrip_is_well(edge))
        return "redis, nats and back";
    return trip->stage == ROUNDTRIP_IN_REDIS ? "no answer from redis"
                                             : "does not come back over nats";
}
