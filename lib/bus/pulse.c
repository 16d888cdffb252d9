// pulse.c: see pulse.h.
#include "lib/bus/pulse.h"

void
pulse_start(struct pulse *pulse, uint64_t ping_ms, uint64_t now_ms)
{
    *pulse = (struct pulse){.ping_ms = ping_ms, .proof_ms = now_ms};
}

bool
pulse_is_due(const struct pulse *pulse, uint64_t now_ms)
{
    return pulse->sent == 0 || now_ms - pulse->sent_ms >= pulse->ping_ms;
}

uint64_t
pulse_send(struct pulse *pulse, uint64_t now_ms)
{
    if (!pulse->is_waiting) {
        pulse->is_waiting = true;
        pulse->waiting_ms = now_ms;
    }
    pulse->sent_ms = now_ms;
    return ++pulse->sent;
}

bool
pulse_echo(struct pulse *pulse, uint64_t number, uint64_t now_ms)
{
    if (number > pulse->sent || number <= pulse->echoed)
        return false;
    pulse->echoed = number;
    pulse->proof_ms = now_ms;
    pulse->is_waiting = number < pulse->sent;
    // Of several still waiting the first may be older than the last, never younger:
    // at worst the end is seen one ping later.
    pulse->waiting_ms = pulse->sent_ms;
    return true;
}

bool
pulse_is_dead(const struct pulse *pulse, uint64_t now_ms)
{
    return pulse->is_waiting && now_ms - pulse->waiting_ms >= pulse->ping_ms &&
           now_ms - pulse->proof_ms > 2 * pulse->ping_ms;
}

static uint64_t
until(uint64_t at_ms, uint64_t now_ms)
{
    return at_ms > now_ms ? at_ms - now_ms : 1;
}

uint64_t
pulse_wait_ms(const struct pulse *pulse, uint64_t now_ms)
{
    if (pulse->sent == 0)
        return 1;
    uint64_t wait = until(pulse->sent_ms + pulse->ping_ms, now_ms);
    uint64_t dies_ms = pulse->proof_ms + 2 * pulse->ping_ms + 1;
    if (pulse->is_waiting && dies_ms > now_ms && dies_ms - now_ms < wait)
        wait = dies_ms - now_ms;
    return wait;
}

uint64_t
backoff_ms(unsigned failures, struct rng *rng)
{
    uint64_t limit = BACKOFF_MIN_MS;
    for (unsigned i = 1; i < failures && limit < BACKOFF_MAX_MS; i++)
        limit *= 2;
    return 1 + rng_below(rng, limit < BACKOFF_MAX_MS ? limit : BACKOFF_MAX_MS);
}
