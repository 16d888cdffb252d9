// fake_bus.c: bus.h over queues with delay and loss. Messages of one publisher keep their
// order. A subject nobody listens to is answered to the reply subject, as NATS does.
// What is lost is noted, so that nobody is blamed for it. Rules about what edges say to
// each other are taken out here: frames are opened, changed and closed again.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/subject.h"
#include "tests/sim/world.h"

enum { MOST_DELAY_MS = 6, SLOW_MS = 500 };

struct parcel {
    struct process *from;
    struct process *to;
    uint64_t to_life;
    bool is_unheard;
    char subject[SUBJECT_SIZE];
    size_t len;
    uint8_t bytes[];
};

bool
bus_is_up(const struct bus *bus)
{
    return bus->process->nats_up;
}

size_t
bus_max_payload(const struct bus *bus)
{
    (void)bus;
    return 1024 * 1024;
}

const char *
bus_describe(const struct bus *bus)
{
    (void)bus;
    return "sim";
}

// What edges say to each other.

static Switchyard__Bus__V1__BusFrame *
open_frame(const void *bytes, size_t len)
{
    Switchyard__Bus__V1__BusFrame *frame = switchyard__bus__v1__bus_frame__unpack(NULL, len, bytes);
    if (frame == NULL)
        abort();
    return frame;
}

static void
note_loss(struct process *from, struct process *to, const char *subject, const void *bytes,
          size_t len)
{
    struct world *world = from->world;
    if (from == to)
        return; // what it sends itself is not about users
    world->lost_ms[process_index(from)][process_index(to)] = world->now_ms;
    // Who knows that it was cut off asks anew.
    if (strncmp(subject, "node.", 5) != 0 || !to->nats_up)
        return;
    Switchyard__Bus__V1__BusFrame *frame = open_frame(bytes, len);
    for (size_t i = 0; i < frame->n_items; i++)
        if (frame->items[i]->item_case == SWITCHYARD__BUS__V1__BUS_ITEM__ITEM_INVALIDATE)
            world->uninvalidated_ms[atoi(frame->items[i]->invalidate->user + 1)] = world->now_ms;
    switchyard__bus__v1__bus_frame__free_unpacked(frame, NULL);
}

static uint64_t
number_of(const Switchyard__Bus__V1__Envelope *envelope)
{
    Switchyard__V1__Event *event =
        switchyard__v1__event__unpack(NULL, envelope->event.len, envelope->event.data);
    if (event == NULL || event->event_case != SWITCHYARD__V1__EVENT__EVENT_MESSAGE)
        abort();
    uint64_t number = strtoull(event->message->message_id + 1, NULL, 10);
    switchyard__v1__event__free_unpacked(event, NULL);
    return number;
}

static void
aim_kick(struct process *to, Switchyard__Bus__V1__Kick *kick)
{
    const struct user *user = users_find(&to->edge.users, kick->user, strlen(kick->user));
    const struct session *session = user != NULL ? users_find_device(user, kick->device) : NULL;
    if (session == NULL || session->link == NULL)
        return;
    kick->connection = session->connection;
    kick->epoch = session->link->epoch;
}

// The frame with its kicks aimed at whatever is there; the caller's to free.
static uint8_t *
aim_kicks(struct process *to, const struct parcel *parcel, size_t *len)
{
    Switchyard__Bus__V1__BusFrame *frame = open_frame(parcel->bytes, parcel->len);
    for (size_t i = 0; i < frame->n_items; i++)
        if (frame->items[i]->item_case == SWITCHYARD__BUS__V1__BUS_ITEM__ITEM_KICK)
            aim_kick(to, frame->items[i]->kick);
    uint8_t *out = malloc(parcel->len + frame->n_items * 64);
    if (out == NULL)
        abort();
    *len = switchyard__bus__v1__bus_frame__pack(frame, out);
    switchyard__bus__v1__bus_frame__free_unpacked(frame, NULL);
    return out;
}

// False: the item does not arrive.
static bool
pass_item(struct process *from, struct process *to, const Switchyard__Bus__V1__BusItem *item)
{
    struct world *world = from->world;
    const struct faults *faults = &world->faults;
    struct conn *conn;
    switch (item->item_case) {
    case SWITCHYARD__BUS__V1__BUS_ITEM__ITEM_ENVELOPE:
        if (item->envelope->n_to == 0)
            return true; // the edge's own, see edge/roundtrip.h
        check_envelope(world, number_of(item->envelope), to->id);
        world_trace(world, "%s passes message %llu to %s", from->id,
                    (unsigned long long)number_of(item->envelope), to->id);
        if (!world_keeps(world, RULE_EXPIRY))
            item->envelope->expires_at_ms = UINT64_MAX;
        return true;
    case SWITCHYARD__BUS__V1__BUS_ITEM__ITEM_RECEIPT:
        for (size_t i = 0; !world_keeps(world, RULE_MISS) && i < item->receipt->n_misses; i++)
            item->receipt->misses[i]->reason = REASON_BUSY;
        return world_keeps(world, RULE_RECEIPTS);
    case SWITCHYARD__BUS__V1__BUS_ITEM__ITEM_KICK:
        if ((conn = conn_find(world, to->id, item->kick->connection)) != NULL)
            conn->kicked_ms = world->now_ms + 1;
        if (world->is_calm || !world_chance(world, faults->kicks_lost))
            return world_keeps(world, RULE_KICK);
        world_trace(world, "a kick for %s is lost", item->kick->user);
        world->lost_ms[process_index(from)][process_index(to)] = world->now_ms;
        return false;
    case SWITCHYARD__BUS__V1__BUS_ITEM__ITEM_INVALIDATE:
        world_trace(world, "%s tells %s to forget %s", from->id, to->id, item->invalidate->user);
        if (world->is_calm || !world_chance(world, faults->invalidates_lost))
            return world_keeps(world, RULE_INVALIDATE);
        world_trace(world, "an invalidate of %s is lost", item->invalidate->user);
        world->uninvalidated_ms[atoi(item->invalidate->user + 1)] = world->now_ms;
        return false;
    default:
        return true;
    }
}

// The frame without what does not arrive; *len is what remains. The caller's to free.
static uint8_t *
pass_frame(struct process *from, struct process *to, const void *bytes, size_t *len)
{
    Switchyard__Bus__V1__BusFrame *frame = open_frame(bytes, *len);
    Switchyard__Bus__V1__BusFrame passed = *frame;
    passed.n_items = 0;
    passed.items = malloc((frame->n_items + 1) * sizeof(Switchyard__Bus__V1__BusItem *));
    // A number that grew takes more bytes.
    uint8_t *out = malloc(*len + frame->n_items * 64);
    if (passed.items == NULL || out == NULL)
        abort();
    for (size_t i = 0; i < frame->n_items; i++)
        if (pass_item(from, to, frame->items[i]))
            passed.items[passed.n_items++] = frame->items[i];
    *len = switchyard__bus__v1__bus_frame__pack(&passed, out);
    free(passed.items);
    switchyard__bus__v1__bus_frame__free_unpacked(frame, NULL);
    return out;
}

static void
deliver(struct process *to, const struct parcel *parcel)
{
    const uint8_t *bytes = parcel->bytes;
    size_t len = parcel->len;
    uint8_t *aimed = NULL;
    if (!world_keeps(to->world, RULE_KICK_EXACT) && !parcel->is_unheard &&
        strncmp(parcel->subject, "node.", 5) == 0)
        bytes = aimed = aim_kicks(to, parcel, &len);
    edge_on_bus(&to->edge, parcel->subject, bytes, len, parcel->is_unheard);
    free(aimed);
}

static void
on_arrival(void *arg)
{
    struct parcel *parcel = arg;
    struct process *to = parcel->to;
    bool lives = to->is_running && to->life == parcel->to_life;
    if (lives && !process_has_nats(to)) {
        if (!parcel->is_unheard)
            note_loss(parcel->from, to, parcel->subject, parcel->bytes, parcel->len);
    } else if (lives && to->is_edge) {
        deliver(to, parcel);
    } else if (lives) {
        sweep_on_bus(&to->sweep, parcel->subject, parcel->bytes, parcel->len, parcel->is_unheard);
    }
    free(parcel);
}

static void
post(struct process *from, struct process *to, const char *subject, const void *bytes, size_t len,
     bool is_unheard)
{
    struct world *world = from->world;
    struct parcel *parcel = malloc(sizeof(*parcel) + len);
    if (parcel == NULL)
        abort();
    parcel->from = from;
    parcel->to = to;
    parcel->to_life = to->life;
    parcel->is_unheard = is_unheard;
    strcpy(parcel->subject, subject);
    parcel->len = len;
    if (len > 0)
        memcpy(parcel->bytes, bytes, len);
    uint64_t at_ms = world->now_ms + 1 + world_below(world, MOST_DELAY_MS);
    if (!world->is_calm && world_chance(world, world->faults.slow))
        at_ms += world_below(world, SLOW_MS);
    if (at_ms < from->bus.arrived_ms)
        at_ms = from->bus.arrived_ms;
    from->bus.arrived_ms = at_ms;
    world_plan(world, to, at_ms - world->now_ms, on_arrival, parcel);
}

static bool
listens(const struct process *process, const char *subject)
{
    return process->is_running &&
           (strncmp(subject, "heartbeat.", 10) == 0 ||
            (strcmp(subject, SUBJECT_NODE_UNHEARD) == 0 && !process->is_edge) ||
            (strncmp(subject, "node.", 5) == 0 && strcmp(subject + 5, process->id) == 0));
}

int
bus_publish(struct bus *bus, const char *subject, const char *reply, const void *bytes, size_t len)
{
    struct process *from = bus->process;
    struct world *world = from->world;
    bool is_heard = false;
    if (!from->nats_up)
        return SY_EDOWN;
    bool is_lost = !process_has_nats(from) ||
                   (!world->is_calm && world_chance(world, world->faults.lost));
    for (size_t i = 0; i < MAX_PROCESSES; i++) {
        struct process *to = &world->processes[i];
        if (!listens(to, subject))
            continue;
        if (is_lost || !process_has_nats(to)) {
            note_loss(from, to, subject, bytes, len);
            continue;
        }
        is_heard = true;
        size_t passed_len = len;
        uint8_t *passed =
            strncmp(subject, "node.", 5) == 0 ? pass_frame(from, to, bytes, &passed_len) : NULL;
        post(from, to, subject, passed != NULL ? passed : bytes, passed_len, false);
        free(passed);
    }
    if (is_lost || !is_heard)
        world_trace(world, "%s publishes to %s: %s", from->id, subject,
                    is_lost ? "lost" : "nobody listens");
    if (!is_heard && !is_lost && reply != NULL && world_keeps(world, RULE_UNHEARD))
        post(from, from, reply, NULL, 0, true);
    return 0;
}
