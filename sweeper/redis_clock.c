// redis_clock.c: see redis_clock.h.
#include "sweeper/redis_clock.h"

static uint64_t
width_of(const struct store_clock *reading)
{
    return reading->answered_ms - reading->asked_ms;
}

// Beyond what has passed by our own clock, at least and at most.
static int64_t
jump_between(const struct store_clock *then, const struct store_clock *now)
{
    int64_t moved = (int64_t)now->redis_ms - (int64_t)then->redis_ms;
    int64_t least = (int64_t)now->asked_ms - (int64_t)then->answered_ms;
    int64_t most = (int64_t)now->answered_ms - (int64_t)then->asked_ms;
    if (moved > most + CLOCK_JUMP_MS)
        return moved - most;
    if (moved < least - CLOCK_JUMP_MS)
        return moved - least;
    return 0;
}

int64_t
redis_clock_look(struct redis_clock *clock, const struct store_clock *now)
{
    int64_t jump = clock->is_known ? jump_between(&clock->anchor, now) : 0;
    // A narrow reading is the better one to compare with.
    if (!clock->is_known || jump != 0 || width_of(now) < width_of(&clock->anchor) ||
        now->answered_ms - clock->anchor.answered_ms >= LEASE_MS)
        clock->anchor = *now;
    clock->is_known = true;
    return jump;
}
