// fake_bus.c: bus.h, recording.
#include <stdlib.h>
#include <string.h>

#include "proto/subject.h"
#include "tests/unit/edge/fake.h"

bool
bus_is_up(const struct bus *bus)
{
    return bus->is_up;
}

const char *
bus_describe(const struct bus *bus)
{
    return bus->description != NULL ? bus->description : "fake";
}

size_t
bus_max_payload(const struct bus *bus)
{
    return bus->is_up ? bus->max_payload : 0;
}

void
bus_stats(const struct bus *bus, struct bus_stats *out)
{
    // As large as they can be.
    memset(out, 0xff, sizeof(*out));
    (void)bus;
}

int
bus_publish(struct bus *bus, const char *subject, const char *reply, const void *bytes, size_t len)
{
    assert_true(subject_is_safe(subject, strlen(subject)));
    if (!bus->is_up)
        return SY_EDOWN;
    if (bus->fail_in > 0 && --bus->fail_in == 0)
        return bus->fail_error;
    if (bus->error != 0)
        return bus->error;
    if (len > bus->max_payload)
        return SY_EINVAL;
    bus->parcels = realloc(bus->parcels, (bus->count + 1) * sizeof(*bus->parcels));
    if (bus->parcels == NULL)
        abort();
    struct parcel *parcel = &bus->parcels[bus->count++];
    parcel->subject = strdup(subject);
    parcel->reply = strdup(reply != NULL ? reply : "");
    parcel->bytes = malloc(len + 1);
    parcel->len = len;
    if (parcel->subject == NULL || parcel->reply == NULL || parcel->bytes == NULL)
        abort();
    if (len > 0)
        memcpy(parcel->bytes, bytes, len);
    return 0;
}

void
bus_forget(struct bus *bus)
{
    for (size_t i = 0; i < bus->count; i++) {
        free(bus->parcels[i].subject);
        free(bus->parcels[i].reply);
        free(bus->parcels[i].bytes);
    }
    bus->count = 0;
}

void
bus_fini(struct bus *bus)
{
    bus_forget(bus);
    free(bus->parcels);
}

const Switchyard__Bus__V1__BusFrame *
bus_frame(const struct bus *bus, size_t at)
{
    static struct arena arena;
    assert_true(at < bus->count);
    if (arena.block == NULL)
        arena_init(&arena, 8 * 1024 * 1024); // as large as an edge's own
    arena_clear(&arena);
    const Switchyard__Bus__V1__BusFrame *frame =
        codec_read_bus(bus->parcels[at].bytes, bus->parcels[at].len, &arena);
    assert_non_null(frame);
    return frame;
}

const Switchyard__Bus__V1__BusFrame *
bus_only(const struct bus *bus, const char *node)
{
    assert_int_equal(bus->count, 1);
    assert_int_equal(bus_count_to(bus, node), 1);
    return bus_frame(bus, 0);
}

size_t
bus_count_to(const struct bus *bus, const char *node)
{
    char subject[SUBJECT_SIZE];
    size_t count = 0;
    subject_node(node, subject);
    for (size_t i = 0; i < bus->count; i++)
        count += strcmp(bus->parcels[i].subject, subject) == 0;
    return count;
}
