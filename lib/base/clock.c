// clock.c: clock_gettime in our units. Both clocks are always there on Linux, so a
// failure is our own fault.
#include "lib/base/clock.h"

#include <assert.h>
#include <time.h>

static uint64_t
read_us(clockid_t clock)
{
    struct timespec now;
    int rc = clock_gettime(clock, &now);
    assert(rc == 0);
    (void)rc;
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

uint64_t
clock_mono_us(void)
{
    return read_us(CLOCK_MONOTONIC);
}

uint64_t
clock_mono_ms(void)
{
    return clock_mono_us() / 1000;
}

uint64_t
clock_wall_ms(void)
{
    return read_us(CLOCK_REALTIME) / 1000;
}
