// core_retry.c: where to try next, and when. See the head of core.c for what leads here.
#include "lib/client-c/core_private.h"
#include "proto/tables.h"

// splitmix64 (Steele, Lea, Flood 2014).
uint64_t
core_draw(struct core *core)
{
    uint64_t z = core->rng += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

// Who comes from a given URL starts anywhere in the list: others were sent there, too.
static unsigned
place_in_list(struct core *core)
{
    return core->url < core->url_count ? core->url : (unsigned)(core_draw(core) % core->url_count);
}

// The next URL in the list that does not want us to wait, or else the one that wants it
// least.
static void
choose_url(struct core *core, uint64_t now_ms)
{
    unsigned from = place_in_list(core);
    unsigned best = (from + 1) % core->url_count;
    for (unsigned i = 1; i <= core->url_count; i++) {
        unsigned at = (from + i) % core->url_count;
        if (core->not_before_ms[at] <= now_ms) {
            best = at;
            break;
        }
        if (core->not_before_ms[at] < core->not_before_ms[best])
            best = at;
    }
    core->url = best;
}

// Full jitter above a floor, as centrifuge-js has it: min + random(0, min * 2^n), capped.
static uint32_t
backoff(struct core *core)
{
    unsigned step = core->failures < 6 ? core->failures : 6;
    uint32_t spread = (uint32_t)CORE_BACKOFF_MIN_MS << step;
    if (spread > CORE_BACKOFF_MAX_MS)
        spread = CORE_BACKOFF_MAX_MS;
    uint32_t delay = CORE_BACKOFF_MIN_MS + (uint32_t)(core_draw(core) % (spread + 1));
    return delay < CORE_BACKOFF_MAX_MS ? delay : CORE_BACKOFF_MAX_MS;
}

static void
wait_to_retry(struct core *core, uint64_t delay_ms, unsigned code, const char *text,
              uint64_t now_ms)
{
    if (now_ms + delay_ms < core->not_before_ms[core->url])
        delay_ms = core->not_before_ms[core->url] - now_ms;
    core->state_due_ms = now_ms + delay_ms;
    core_move(core, SWITCHYARD_BACKOFF, code, text, (uint32_t)delay_ms);
}

void
core_note_wait(struct core *core, uint32_t wait_ms, uint64_t now_ms)
{
    if (wait_ms > CORE_RETRY_MOST_MS)
        wait_ms = CORE_RETRY_MOST_MS;
    core->not_before_ms[core->url] = now_ms + wait_ms;
}

void
core_fail(struct core *core, unsigned code, const char *text, uint64_t now_ms)
{
    bool was_live = core->state == SWITCHYARD_LIVE;
    uint64_t goaway_ms = was_live ? core->goaway_ms : UINT64_MAX;
    if (core->failure_text[0] != 0)
        text = core->failure_text;
    if (core->failure_retry_ms > 0)
        core_note_wait(core, core->failure_retry_ms, now_ms);
    core_drop_link(core, CLOSE_NORMAL);
    if (goaway_ms != UINT64_MAX) {
        // The edge told us when to come; it has spread its clients' times itself.
        core->failures = 0;
        if (core->was_given)
            core->url = CORE_URL_GIVEN;
        else
            choose_url(core, now_ms);
        core->was_given = false;
        wait_to_retry(core, goaway_ms > now_ms ? goaway_ms - now_ms : 0, code, text, now_ms);
        return;
    }
    if (was_live && now_ms - core->live_since_ms >= CORE_STABLE_MS)
        core->failures = 0;
    uint32_t delay_ms = backoff(core);
    core->failures++;
    choose_url(core, now_ms);
    wait_to_retry(core, delay_ms, code, text, now_ms);
}

void
core_hop(struct core *core, unsigned status, const char *text, uint64_t now_ms)
{
    choose_url(core, now_ms);
    if (core->not_before_ms[core->url] <= now_ms) { // so not one that was full just now
        wait_to_retry(core, 0, status, text, now_ms);
        return;
    }
    uint32_t delay_ms = backoff(core);
    core->failures++;
    wait_to_retry(core, delay_ms, status, text, now_ms);
}
