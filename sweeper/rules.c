// rules.c: see rules.h.
#include "sweeper/rules.h"

static bool
may_retake(const struct node_facts *facts, uint64_t now_ms)
{
    return !facts->is_unheard && rules_is_heard(facts, now_ms) &&
           now_ms - facts->lease_gone_ms < RETAKE_MS;
}

bool
rules_is_heard(const struct node_facts *facts, uint64_t now_ms)
{
    return facts->heard_ms != 0 && now_ms - facts->heard_ms < SUSPECT_MS;
}

enum node_state
rules_judge(const struct node_facts *facts, uint64_t now_ms)
{
    if (!facts->has_lease)
        return may_retake(facts, now_ms) ? NODE_SUSPECT : NODE_DEAD;
    if (facts->is_unheard)
        return NODE_SUSPECT;
    uint64_t last_ms = facts->heard_ms != 0 ? facts->heard_ms : facts->first_seen_ms;
    return now_ms - last_ms >= SUSPECT_MS ? NODE_SUSPECT : NODE_ALIVE;
}

bool
rules_is_mass_death(size_t died, size_t nodes)
{
    return died >= MASS_DEATHS_MIN && died * 100 > nodes * MASS_DEATH_PERCENT;
}

bool
rules_redis_is_settled(uint64_t up_ms)
{
    return up_ms >= LEASE_MS;
}

const char *
rules_name(enum node_state state)
{
    static const char *const names[] = {"new", "alive", "suspect", "dead"};
    return names[state];
}

uint64_t
pace_left(struct pace *pace, uint64_t per_second, uint64_t now_ms)
{
    if (pace->second != now_ms / 1000)
        *pace = (struct pace){.second = now_ms / 1000};
    return pace->used < per_second ? per_second - pace->used : 0;
}
