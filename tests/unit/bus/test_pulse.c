// test_pulse.c: when a connection is alive, when it is probed, how long the next try
// waits.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h> // needs those above

#include "lib/bus/pulse.h"

#define PING 2000
#define START 100000

static struct pulse
started(void)
{
    struct pulse pulse;
    pulse_start(&pulse, PING, START);
    return pulse;
}

static void
the_first_probe_leaves_at_once(void **state)
{
    (void)state;
    struct pulse pulse = started();
    assert_true(pulse_is_due(&pulse, START));
    assert_int_equal(pulse_send(&pulse, START), 1);
    assert_false(pulse_is_due(&pulse, START));
}

static void
the_next_probe_is_due_after_one_ping_and_not_before(void **state)
{
    (void)state;
    struct pulse pulse = started();
    pulse_send(&pulse, START);
    assert_true(pulse_echo(&pulse, 1, START + 1));
    assert_false(pulse_is_due(&pulse, START + PING - 1));
    assert_true(pulse_is_due(&pulse, START + PING));
    assert_int_equal(pulse_wait_ms(&pulse, START + 1), PING - 1);
}

static void
two_pings_without_an_echo_are_alive_and_a_moment_more_is_dead(void **state)
{
    (void)state;
    struct pulse pulse = started();
    pulse_send(&pulse, START);
    assert_true(pulse_echo(&pulse, 1, START));
    pulse_send(&pulse, START + PING);
    assert_false(pulse_is_dead(&pulse, START + 2 * PING));
    assert_true(pulse_is_dead(&pulse, START + 2 * PING + 1));
    // And somebody looks at just that time.
    pulse_send(&pulse, START + 2 * PING);
    assert_int_equal(pulse_wait_ms(&pulse, START + 2 * PING), 1);
}

static void
a_connection_that_never_echoes_dies_as_well(void **state)
{
    (void)state;
    struct pulse pulse = started();
    pulse_send(&pulse, START);
    assert_false(pulse_is_dead(&pulse, START + 2 * PING));
    assert_true(pulse_is_dead(&pulse, START + 2 * PING + 1));
}

static void
a_loop_that_stood_still_asks_before_it_judges(void **state)
{
    (void)state;
    struct pulse pulse = started();
    pulse_send(&pulse, START);
    assert_true(pulse_echo(&pulse, 1, START + 1));
    uint64_t wake = START + 10 * PING;
    assert_false(pulse_is_dead(&pulse, wake));
    assert_true(pulse_is_due(&pulse, wake));
    pulse_send(&pulse, wake);
    assert_false(pulse_is_dead(&pulse, wake + PING - 1));
    assert_true(pulse_is_dead(&pulse, wake + PING));
}

static void
an_echo_counts_once_and_only_for_what_was_sent(void **state)
{
    (void)state;
    struct pulse pulse = started();
    assert_false(pulse_echo(&pulse, 1, START));
    assert_false(pulse_echo(&pulse, 0, START));
    pulse_send(&pulse, START);
    assert_false(pulse_echo(&pulse, 2, START));
    assert_true(pulse_echo(&pulse, 1, START));
    assert_false(pulse_echo(&pulse, 1, START + 1));
}

static void
a_late_echo_is_a_sign_of_life(void **state)
{
    (void)state;
    struct pulse pulse = started();
    pulse_send(&pulse, START);
    pulse_send(&pulse, START + PING);
    assert_true(pulse_echo(&pulse, 1, START + PING + 1));
    assert_false(pulse_is_dead(&pulse, START + 3 * PING + 1));
    assert_true(pulse_is_dead(&pulse, START + 3 * PING + 2));
}

static void
the_wait_doubles_from_100_ms_to_1_s_and_no_further(void **state)
{
    (void)state;
    static const uint64_t limits[] = {100, 100, 200, 400, 800, 1000, 1000, 1000};
    struct rng rng;
    rng_seed(&rng, 7);
    for (unsigned failures = 0; failures < 8; failures++) {
        uint64_t low = UINT64_MAX, high = 0;
        for (int i = 0; i < 20000; i++) {
            uint64_t ms = backoff_ms(failures, &rng);
            low = ms < low ? ms : low;
            high = ms > high ? ms : high;
        }
        // All of 1 ..= limit is used: full jitter.
        assert_in_range(low, 1, limits[failures] / 100);
        assert_in_range(high, limits[failures] * 99 / 100, limits[failures]);
    }
    assert_in_range(backoff_ms(4000000000U, &rng), 1, BACKOFF_MAX_MS);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_probe_leaves_at_once),
        cmocka_unit_test(the_next_probe_is_due_after_one_ping_and_not_before),
        cmocka_unit_test(two_pings_without_an_echo_are_alive_and_a_moment_more_is_dead),
        cmocka_unit_test(a_connection_that_never_echoes_dies_as_well),
        cmocka_unit_test(a_loop_that_stood_still_asks_before_it_judges),
        cmocka_unit_test(an_echo_counts_once_and_only_for_what_was_sent),
        cmocka_unit_test(a_late_echo_is_a_sign_of_life),
        cmocka_unit_test(the_wait_doubles_from_100_ms_to_1_s_and_no_further),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
