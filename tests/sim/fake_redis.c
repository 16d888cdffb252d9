// fake_redis.c: Redis's data, its clock, and what goes wrong with it.
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/fake_redis.h"

struct redis *
redis_new(struct world *world)
{
    struct redis *redis = calloc(1, sizeof(*redis));
    if (redis == NULL)
        abort();
    redis->world = world;
    redis->gen = rng_next(&world->rng) | 1;
    return redis;
}

void
redis_free(struct redis *redis)
{
    free(redis);
}

uint64_t
redis_clock_ms(const struct redis *redis)
{
    return (uint64_t)((int64_t)(START_MS + redis->world->now_ms) + redis->clock_offset_ms);
}

static void
in_trouble(struct redis *redis, uint64_t until_ms)
{
    if (redis->trouble_ms < until_ms)
        redis->trouble_ms = until_ms;
}

void
redis_flush(struct redis *redis)
{
    struct redis old = *redis;
    struct world *world = old.world;
    world_trace(world, "Redis loses its data");
    memset(redis, 0, sizeof(*redis));
    redis->world = world;
    redis->gen = world_keeps(world, RULE_GEN) ? rng_next(&world->rng) | 1 : old.gen;
    redis->clock_offset_ms = old.clock_offset_ms;
    redis->has_jumped = old.has_jumped;
    redis->has_gone_back = old.has_gone_back;
    redis->epoch = old.epoch;
    redis->frozen_until_ms = old.frozen_until_ms;
    redis->up_since_ms = old.up_since_ms;
    redis->boots = old.boots;
    redis->trouble_ms = old.trouble_ms;
    in_trouble(redis, world->now_ms);
    for (size_t i = 0; i < MAX_USERS; i++)
        redis->changed_ms[i] = world->now_ms;
}

void
redis_freeze(struct redis *redis, uint64_t for_ms)
{
    struct world *world = redis->world;
    if (redis->frozen_until_ms >= world->now_ms + for_ms)
        return;
    redis->frozen_until_ms = world->now_ms + for_ms;
    world_trace(world, "Redis freezes for %llu ms", (unsigned long long)for_ms);
    in_trouble(redis, redis->frozen_until_ms + 2000);
}

void
redis_restart(struct redis *redis, uint64_t for_ms)
{
    world_trace(redis->world, "Redis is started again, in %llu ms", (unsigned long long)for_ms);
    redis->boots++;
    redis->frozen_until_ms = 0;
    redis->up_since_ms = redis->world->now_ms + for_ms;
    in_trouble(redis, redis->up_since_ms + 2000);
}

void
redis_jump(struct redis *redis, int64_t by_ms)
{
    world_trace(redis->world, "the clock of Redis jumps by %lld ms", (long long)by_ms);
    for (size_t i = 0; i < redis->node_count; i++)
        if (redis_has_lease(redis, &redis->nodes[i]) &&
            (int64_t)redis->nodes[i].until_ms <= (int64_t)redis_clock_ms(redis) + by_ms)
            redis->nodes[i].jumped_ms = redis->world->now_ms;
    redis->clock_offset_ms += by_ms;
    redis->has_jumped = true;
    redis->has_gone_back |= by_ms < 0;
    in_trouble(redis, redis->world->now_ms);
}

int64_t
redis_offset_ms(const struct redis *redis)
{
    return redis->clock_offset_ms;
}

uint64_t
redis_boots(const struct redis *redis)
{
    return redis->boots;
}

bool
redis_is_down(const struct redis *redis)
{
    return redis->up_since_ms > redis->world->now_ms;
}

bool
redis_is_frozen(const struct redis *redis)
{
    return redis->frozen_until_ms > redis->world->now_ms;
}

bool
redis_is_well_since(const struct redis *redis, uint64_t since_ms)
{
    return redis->trouble_ms <= since_ms;
}

bool
redis_is_young(const struct redis *redis)
{
    return redis->up_since_ms != 0 && redis->world->now_ms < redis->up_since_ms + LEASE_MS;
}

size_t
redis_node_count(const struct redis *redis)
{
    return redis->node_count;
}

// The model.

struct row *
redis_find_row(const struct redis *redis, const char *user, const char *device)
{
    for (size_t i = 0; i < redis->row_count; i++) {
        const struct row *row = &redis->rows[i];
        if (strcmp(row->user, user) == 0 && strcmp(row->link.device, device) == 0)
            return (struct row *)(uintptr_t)row;
    }
    return NULL;
}

const struct row *
redis_row(const struct redis *redis, const char *user, const char *device)
{
    return redis_find_row(redis, user, device);
}

const struct row *
redis_row_at(const struct redis *redis, size_t i)
{
    return i < redis->row_count ? &redis->rows[i] : NULL;
}

uint64_t
redis_changed_ms(const struct redis *redis, unsigned user)
{
    return redis->changed_ms[user];
}

struct lease *
redis_find_node(const struct redis *redis, const char *node)
{
    for (size_t i = 0; i < redis->node_count; i++)
        if (strcmp(redis->nodes[i].node.node, node) == 0)
            return (struct lease *)(uintptr_t)&redis->nodes[i];
    return NULL;
}

struct lease *
redis_take_node(struct redis *redis, const char *node)
{
    struct lease *lease = redis_find_node(redis, node);
    if (lease != NULL)
        return lease;
    assert(redis->node_count < MOST);
    lease = &redis->nodes[redis->node_count++];
    *lease = (struct lease){.until_ms = 0};
    snprintf(lease->node.node, sizeof(lease->node.node), "%s", node);
    return lease;
}

bool
redis_has_lease(const struct redis *redis, const struct lease *lease)
{
    return lease != NULL && lease->until_ms > redis_clock_ms(redis);
}

uint64_t
redis_jumped_ms(const struct redis *redis, const char *node)
{
    const struct lease *lease = redis_find_node(redis, node);
    return lease != NULL ? lease->jumped_ms : 0;
}

bool
redis_was_dead(const struct redis *redis, const char *node, const struct process *sweeper)
{
    const struct lease *lease = redis_find_node(redis, node);
    return lease != NULL && lease->was_dead[process_index(sweeper)];
}

uint64_t
redis_leaseless_ms(const struct redis *redis, const char *node)
{
    const struct lease *lease = redis_find_node(redis, node);
    if (redis_has_lease(redis, lease))
        return 0;
    return lease != NULL ? redis_clock_ms(redis) - lease->until_ms + 1 : redis_clock_ms(redis);
}

void
redis_evict(struct redis *redis, const char *node)
{
    struct lease *lease = redis_find_node(redis, node);
    world_trace(redis->world, "the lease of %s is evicted", node);
    if (lease != NULL && redis_has_lease(redis, lease))
        lease->until_ms = redis_clock_ms(redis);
}

bool
redis_is_member(const struct redis *redis, const char *node, const char *user, const char *device)
{
    for (size_t i = 0; i < redis->member_count; i++) {
        const struct member *m = &redis->members[i];
        if (strcmp(m->node, node) == 0 && strcmp(m->user, user) == 0 &&
            strcmp(m->device, device) == 0)
            return true;
    }
    return false;
}

struct member
redis_member_of(const char *node, const char *user, const char *device)
{
    struct member member;
    size_t device_size = strlen(device) + 1;
    assert(device_size <= sizeof(member.device));
    snprintf(member.node, sizeof(member.node), "%s", node);
    snprintf(member.user, sizeof(member.user), "%s", user);
    memcpy(member.device, device, device_size);
    return member;
}

void
redis_add_member(struct redis *redis, const char *node, const char *user, const char *device)
{
    if (redis_is_member(redis, node, user, device))
        return;
    assert(redis->member_count < MOST * 4);
    redis->members[redis->member_count++] = redis_member_of(node, user, device);
}

void
redis_remove_member(struct redis *redis, const char *node, const char *user, const char *device)
{
    for (size_t i = 0; i < redis->member_count; i++) {
        const struct member *m = &redis->members[i];
        if (strcmp(m->node, node) == 0 && strcmp(m->user, user) == 0 &&
            strcmp(m->device, device) == 0) {
            redis->members[i] = redis->members[--redis->member_count];
            return;
        }
    }
}

bool
redis_is_indexed(const struct redis *redis, const struct row *row)
{
    return redis_is_member(redis, row->link.node, row->user, row->link.device);
}

void
redis_write_row(struct redis *redis, const char *user, const struct link *link)
{
    struct row *row = redis_find_row(redis, user, link->device);
    if (row == NULL) {
        assert(redis->row_count < MOST);
        row = &redis->rows[redis->row_count++];
        snprintf(row->user, sizeof(row->user), "%s", user);
    }
    row->link = *link;
    row->placed_ms = redis->world->now_ms;
    redis->changed_ms[atoi(user + 1)] = redis->world->now_ms;
}

void
redis_remove_row(struct redis *redis, struct row *row)
{
    redis->changed_ms[atoi(row->user + 1)] = redis->world->now_ms;
    *row = redis->rows[--redis->row_count];
}

void
redis_add_watch(struct redis *redis, const char *user, const char *node, uint64_t for_ms)
{
    uint64_t until_ms = redis_clock_ms(redis) + for_ms;
    for (size_t i = 0; i < redis->watch_count; i++) {
        struct watch *watch = &redis->watches[i];
        if (strcmp(watch->user, user) == 0 && strcmp(watch->node, node) == 0) {
            watch->until_ms = until_ms;
            return;
        }
    }
    assert(redis->watch_count < MOST);
    struct watch *watch = &redis->watches[redis->watch_count++];
    *watch = (struct watch){.until_ms = until_ms};
    snprintf(watch->user, sizeof(watch->user), "%s", user);
    snprintf(watch->node, sizeof(watch->node), "%s", node);
}
