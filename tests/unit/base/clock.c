// clock.c: the clocks count in the units they are named after.
#include "lib/base/clock.h"

#include <time.h>

#include "cmocka_all.h"

static void
the_monotonic_clock_counts_in_its_units_and_never_back(void **state)
{
    (void)state;
    struct timespec before;
    struct timespec after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    uint64_t us = clock_mono_us();
    uint64_t later_us = clock_mono_us();
    uint64_t ms = clock_mono_ms();
    clock_gettime(CLOCK_MONOTONIC, &after);
    uint64_t before_us = (uint64_t)before.tv_sec * 1000000 + (uint64_t)before.tv_nsec / 1000;
    uint64_t after_us = (uint64_t)after.tv_sec * 1000000 + (uint64_t)after.tv_nsec / 1000;
    assert_in_range(us, before_us, after_us);
    assert_in_range(later_us, us, after_us);
    assert_in_range(ms, us / 1000, after_us / 1000);
}

static void
the_wall_clock_counts_milliseconds_since_1970(void **state)
{
    (void)state;
    uint64_t before_ms = (uint64_t)time(NULL) * 1000;
    // time() may lag behind clock_gettime by a tick of the kernel.
    assert_in_range(clock_wall_ms() + 1000, before_ms, before_ms + 60000);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_monotonic_clock_counts_in_its_units_and_never_back),
        cmocka_unit_test(the_wall_clock_counts_milliseconds_since_1970),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
