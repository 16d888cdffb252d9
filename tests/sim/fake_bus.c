// fake_bus.c: bus.h over queues with delay and loss. Messages of one publisher keep their
// order. A subject nobody listens to is answered to the reply subject, as NATS does.
#include <stdlib.h>
#include <string.h>

#include "proto/subject.h"
#include "tests/sim/world.h"

enum { MOST_DELAY_MS = 6 };

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

static void
on_arrival(void *arg)
{
    struct parcel *parcel = arg;
    struct process *to = parcel->to;
    if (to->is_running && to->life == parcel->to_life && process_has_nats(to)) {
        if (to->is_edge)
            edge_on_bus(&to->edge, parcel->subject, parcel->bytes, parcel->len, parcel->is_unheard);
        else
            sweep_on_bus(&to->sweep, parcel->subject, parcel->bytes, parcel->len,
                         parcel->is_unheard);
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
    if (at_ms < from->bus.arrived_ms)
        at_ms = from->bus.arrived_ms;
    from->bus.arrived_ms = at_ms;
    world_plan(world, to, at_ms - world->now_ms, on_arrival, parcel);
}

int
bus_publish(struct bus *bus, const char *subject, const char *reply, const void *bytes, size_t len)
{
    struct process *from = bus->process;
    struct world *world = from->world;
    bool is_heartbeat = strncmp(subject, "heartbeat.", 10) == 0;
    bool is_heard = false;
    if (!from->nats_up)
        return SY_EDOWN;
    if (!process_has_nats(from) ||
        (!world->is_calm && world_chance(world, world->faults.lost_per_mille)))
        return 0; // lost on the way
    for (size_t i = 0; i < MAX_PROCESSES; i++) {
        struct process *to = &world->processes[i];
        bool listens = to->is_running && process_has_nats(to) &&
                       (is_heartbeat ||
                        (strcmp(subject, SUBJECT_NODE_UNHEARD) == 0 && !to->is_edge) ||
                        (strncmp(subject, "node.", 5) == 0 && strcmp(subject + 5, to->id) == 0));
        if (!listens)
            continue;
        is_heard = true;
        post(from, to, subject, bytes, len, false);
    }
    if (!is_heard && reply != NULL)
        post(from, from, reply, NULL, 0, true);
    return 0;
}
