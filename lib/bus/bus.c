// bus.c: keeps one connection to NATS, and says truthfully whether there is one.
//
//   WAITING -> CONNECTING -> PROBING -> UP
//      ^           |            |       |
//      +-- ENDING <+------------+-------+        any -> CLOSING
//
// The happy path: connect, subscribe, publish a probe to our own subject, be up when
// it comes back; probe on. What goes wrong, and what we do:
//   - no server, refused login: ENDING, then WAITING for up to 2 s, full jitter;
//   - the attempt hangs where the library has no deadline: its socket is shut down;
//   - a subscription is refused: never up, the server's words in the log; one that is
//     taken away later: down at once, and then the same;
//   - the connection breaks: down at once;
//   - the server is frozen: down after 2 * ping_ms without an echo, SY_EFULL before
//     that if max_buffered is reached;
//   - a publish is refused: a log line, nothing else; the server drops the message.
//
// A probe is 32 bytes that only this process can recognise. They are no message of
// the bus protocol: they start with an invalid protobuf tag, so whoever else may see
// one drops it.
#include "lib/bus/bus.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/log.h"
#include "lib/base/rand.h"
#include "lib/bus/pulse.h"
#include "lib/bus/target.h"
#include "lib/bus/wire.h"
#include "proto/subject.h"

enum bus_state { BUS_WAITING, BUS_CONNECTING, BUS_PROBING, BUS_UP, BUS_ENDING, BUS_CLOSING };

#define DEFAULT_PING_MS 2000
#define DEFAULT_CONNECT_TIMEOUT_MS 2000
#define DEFAULT_MAX_BUFFERED ((size_t)8 * 1024 * 1024)
// nats.c counts its buffer in int and grows it in steps of a tenth.
#define LARGEST_MAX_BUFFERED ((size_t)1024 * 1024 * 1024)
// Beyond the library's own timeouts, before its socket is shut down; and again.
#define STUCK_MS 500
// The same trouble is logged once in this time.
#define LOG_INTERVAL_MS 30000
// At closing, how often an attempt to connect is told to stop.
#define HURRY_MS 50
#define TEXT_SIZE 320
// How nats-server begins to say it; also when it takes a permission away while we are up.
#define REFUSED_SUBSCRIPTION "Permissions Violation for Subscription"

struct probe {
    char magic[8];
    uint64_t nonce;
    uint64_t number;
    uint64_t sent_us;
};
_Static_assert(sizeof(struct probe) == 32, "no padding");
static const char probe_magic[8] = {'s', 'y', '-', 'p', 'r', 'o', 'b', 'e'};

struct bus {
    enum bus_state state;
    uv_loop_t *loop;
    struct bus_opts opts; // its strings are target's or below
    char *subjects[BUS_MAX_SUBJECTS + 1];
    char *probe_subject;
    struct target *target;
    struct wire *wire; // NULL: none
    uv_timer_t timer;
    uv_prepare_t prepare;
    uv_check_t check;
    unsigned handles;

    struct pulse pulse;
    struct rng rng;
    uint64_t nonce;
    unsigned failures; // in a row
    struct bus_stats stats;
    char why[160];    // of being down
    char *text;       // what bus_describe answers
    char logged[160]; // last trouble in the log
    struct log_limit connect_log, refused_log;

    void (*closed)(void *arg);
    void *closed_arg;
};

static void set_timer(struct bus *bus, uint64_t ms);

static uint64_t
now_us(void)
{
    return uv_hrtime() / 1000;
}

// Connecting

static void
log_trouble(struct bus *bus)
{
    if (strcmp(bus->why, bus->logged) != 0) {
        memcpy(bus->logged, bus->why, sizeof bus->logged);
        bus->connect_log.last_ms = 0; // another trouble is news
    }
    uint64_t held;
    if (log_limit_pass(&bus->connect_log, uv_now(bus->loop), &held))
        log_warn("bus_unavailable", "server=%s why=%s held=%llu", log_quote(bus->target->where),
                 log_quote(bus->why), (unsigned long long)held);
}

// Every way down goes through here.
static void
end_wire(struct bus *bus, const char *why)
{
    bool was_up = bus->state == BUS_UP;
    assert(bus->wire != NULL && bus->state != BUS_CLOSING && bus->state != BUS_ENDING);
    snprintf(bus->why, sizeof bus->why, "%.159s", why);
    bus->state = BUS_ENDING;
    bus->failures++;
    uv_timer_stop(&bus->timer);
    bus->stats.overflowed += wire_overflowed(bus->wire);
    wire_close(bus->wire, false);
    if (!was_up) {
        log_trouble(bus);
        return;
    }
    bus->stats.losses++;
    log_warn("bus_down", "server=%s why=%s", log_quote(bus->target->where), log_quote(why));
    if (bus->opts.on_state != NULL)
        bus->opts.on_state(bus->opts.arg, false, bus->why);
}

static void
come_up(struct bus *bus)
{
    bus->state = BUS_UP;
    bus->failures = 0;
    bus->stats.connects++;
    bus->logged[0] = '\0';
    const char *text = bus_describe(bus);
    log_info("bus_up", "server=%s", log_quote(wire_peer(bus->wire)));
    if (bus->opts.on_state != NULL)
        bus->opts.on_state(bus->opts.arg, true, text);
}

static void
send_probe(struct bus *bus)
{
    struct probe probe = {.nonce = bus->nonce, .sent_us = now_us()};
    memcpy(probe.magic, probe_magic, sizeof probe.magic);
    probe.number = pulse_send(&bus->pulse, uv_now(bus->loop));
    // A failure shows as a missing echo.
    int rc = wire_publish(bus->wire, bus->probe_subject, NULL, &probe, sizeof probe);
    (void)rc;
    wire_flush(bus->wire);
}

// True if the message was a probe of ours.
static bool
take_echo(struct bus *bus, const char *subject, const void *bytes, size_t len)
{
    struct probe probe;
    if (len != sizeof probe || memcmp(bytes, probe_magic, sizeof probe_magic) != 0)
        return false;
    memcpy(&probe, bytes, sizeof probe);
    if (probe.nonce != bus->nonce || strcmp(subject, bus->probe_subject) != 0)
        return false;
    if (pulse_echo(&bus->pulse, probe.number, uv_now(bus->loop))) {
        bus->stats.rtt_us = now_us() - probe.sent_us;
        if (bus->state == BUS_PROBING)
            come_up(bus);
    }
    return true;
}

static void
on_message(void *arg, const char *subject, const void *bytes, size_t len, bool is_unheard)
{
    struct bus *bus = arg;
    if (take_echo(bus, subject, bytes, len))
        return;
    bus->stats.received++;
    bus->stats.bytes_in += len;
    bus->opts.on_message(bus->opts.arg, subject, bytes, len, is_unheard);
}

// The server answers subscriptions in order, so a refused one is known before the
// first echo; without it the connection would be up and deaf on one ear.
static void
on_refused(void *arg, const char *text)
{
    struct bus *bus = arg;
    bool is_deaf = strncmp(text, REFUSED_SUBSCRIPTION, strlen(REFUSED_SUBSCRIPTION)) == 0;
    if (bus->state == BUS_PROBING || (bus->state == BUS_UP && is_deaf)) {
        end_wire(bus, text);
        return;
    }
    uint64_t held;
    if (log_limit_pass(&bus->refused_log, uv_now(bus->loop), &held))
        log_warn("bus_refused", "why=%s held=%llu", log_quote(text), (unsigned long long)held);
}

static void
on_lost(void *arg, const char *why)
{
    end_wire(arg, why);
}

static void
on_open(void *arg, int error, const char *why)
{
    struct bus *bus = arg;
    if (error != 0) {
        end_wire(bus, why);
        return;
    }
    bus->state = BUS_PROBING;
    uv_update_time(bus->loop);
    pulse_start(&bus->pulse, bus->opts.ping_ms, uv_now(bus->loop));
    send_probe(bus);
    set_timer(bus, pulse_wait_ms(&bus->pulse, uv_now(bus->loop)));
}

static void on_wire_closed(void *arg);

static void
connect_now(struct bus *bus)
{
    struct wire_hooks hooks = {.on_open = on_open,
                               .on_message = on_message,
                               .on_refused = on_refused,
                               .on_lost = on_lost,
                               .on_closed = on_wire_closed,
                               .arg = bus};
    bus->state = BUS_CONNECTING;
    bus->wire = wire_open(bus->loop, bus->target, (const char *const *)bus->subjects, &hooks);
    set_timer(bus, bus->target->server_count * bus->target->timeout_ms + STUCK_MS);
}

// Time

static void
check_pulse(struct bus *bus)
{
    wire_tidy(bus->wire);
    if (pulse_is_dead(&bus->pulse, uv_now(bus->loop))) {
        // The loop may have stood still with the echo waiting in the kernel.
        wire_read(bus->wire);
        if (bus->state != BUS_PROBING && bus->state != BUS_UP)
            return;
    }
    if (pulse_is_dead(&bus->pulse, uv_now(bus->loop))) {
        char why[160];
        snprintf(why, sizeof why, "no echo from nats-server for %llu ms",
                 (unsigned long long)(uv_now(bus->loop) - bus->pulse.proof_ms));
        end_wire(bus, why);
        return;
    }
    if (pulse_is_due(&bus->pulse, uv_now(bus->loop)))
        send_probe(bus);
    set_timer(bus, pulse_wait_ms(&bus->pulse, uv_now(bus->loop)));
}

static void
on_timer(uv_timer_t *timer)
{
    struct bus *bus = timer->data;
    switch (bus->state) {
    case BUS_WAITING:
        connect_now(bus);
        break;
    case BUS_CONNECTING:
        wire_unstick(bus->wire);
        set_timer(bus, STUCK_MS);
        break;
    case BUS_PROBING:
    case BUS_UP:
        check_pulse(bus);
        break;
    case BUS_CLOSING:
        wire_unstick(bus->wire);
        set_timer(bus, HURRY_MS);
        break;
    case BUS_ENDING:
        break;
    }
}

static void
set_timer(struct bus *bus, uint64_t ms)
{
    int rc = uv_timer_start(&bus->timer, on_timer, ms, 0);
    assert(rc == 0);
}

static void
on_prepare(uv_prepare_t *prepare)
{
    bus_flush(prepare->data);
}

static void
on_check(uv_check_t *check)
{
    bus_flush(check->data);
}

// Opening and closing

static void
bus_free(struct bus *bus)
{
    for (size_t i = 0; i < BUS_MAX_SUBJECTS; i++)
        free(bus->subjects[i]);
    free(bus->probe_subject);
    free(bus->text);
    target_free(bus->target);
    free(bus);
}

static void
on_handle_closed(uv_handle_t *handle)
{
    struct bus *bus = handle->data;
    if (--bus->handles > 0)
        return;
    void (*closed)(void *arg) = bus->closed;
    void *arg = bus->closed_arg;
    bus_free(bus);
    if (closed != NULL)
        closed(arg);
}

static void
on_wire_closed(void *arg)
{
    struct bus *bus = arg;
    bus->wire = NULL;
    if (bus->state == BUS_CLOSING) {
        uv_close((uv_handle_t *)&bus->timer, on_handle_closed);
        return;
    }
    bus->state = BUS_WAITING;
    set_timer(bus, backoff_ms(bus->failures, &bus->rng));
}

static char *
copy_text(const char *text)
{
    char *copy = strdup(text);
    if (copy == NULL)
        abort();
    return copy;
}

static int
check_opts(const struct bus_opts *opts, char why[static 160])
{
    if (opts->subjects[0] == NULL) {
        snprintf(why, 160, "bus: nothing to subscribe to");
        return SY_EINVAL;
    }
    if (opts->probe_subject == NULL ||
        !subject_is_safe(opts->probe_subject, strlen(opts->probe_subject))) {
        snprintf(why, 160, "bus: the probe subject cannot be published to");
        return SY_EINVAL;
    }
    if (opts->max_buffered > LARGEST_MAX_BUFFERED) {
        snprintf(why, 160, "bus: max_buffered is larger than 1 GiB");
        return SY_EINVAL;
    }
    return 0;
}

static void
take_opts(struct bus *bus, const struct bus_opts *opts)
{
    bus->opts = *opts;
    // The strings were the caller's for the call.
    bus->opts.url = bus->opts.user = bus->opts.password = bus->opts.credentials_file = NULL;
    bus->opts.tls_ca_file = bus->opts.name = bus->opts.probe_subject = NULL;
    for (size_t i = 0; i < BUS_MAX_SUBJECTS && opts->subjects[i] != NULL; i++)
        bus->subjects[i] = copy_text(opts->subjects[i]);
    bus->probe_subject = copy_text(opts->probe_subject);
    if (bus->opts.ping_ms == 0)
        bus->opts.ping_ms = DEFAULT_PING_MS;
    if (bus->opts.max_buffered == 0)
        bus->opts.max_buffered = DEFAULT_MAX_BUFFERED;
}

static void
start_handles(struct bus *bus)
{
    bus->timer.data = bus->prepare.data = bus->check.data = bus;
    int rc = uv_timer_init(bus->loop, &bus->timer);
    assert(rc == 0);
    rc = uv_prepare_init(bus->loop, &bus->prepare);
    assert(rc == 0);
    rc = uv_check_init(bus->loop, &bus->check);
    assert(rc == 0);
    bus->handles = 3;
    uv_prepare_start(&bus->prepare, on_prepare);
    uv_check_start(&bus->check, on_check);
}

struct bus *
bus_open(uv_loop_t *loop, const struct bus_opts *opts, char why[static 160])
{
    if (check_opts(opts, why) != 0)
        return NULL;
    struct bus_opts complete = *opts;
    if (complete.connect_timeout_ms == 0)
        complete.connect_timeout_ms = DEFAULT_CONNECT_TIMEOUT_MS;
    struct target *target = target_new(&complete, why);
    if (target == NULL)
        return NULL;
    struct bus *bus = calloc(1, sizeof *bus);
    char *text = calloc(1, TEXT_SIZE);
    if (bus == NULL || text == NULL)
        abort();
    bus->text = text;
    bus->loop = loop;
    bus->target = target;
    bus->nonce = rand_u64();
    rng_seed(&bus->rng, rand_u64());
    bus->connect_log.interval_ms = bus->refused_log.interval_ms = LOG_INTERVAL_MS;
    take_opts(bus, &complete);
    snprintf(bus->why, sizeof bus->why, "not connected yet");
    start_handles(bus);
    connect_now(bus);
    return bus;
}

void
bus_close(struct bus *bus, void (*closed)(void *arg), void *arg)
{
    assert(bus->state != BUS_CLOSING);
    enum bus_state was = bus->state;
    bus->state = BUS_CLOSING;
    bus->closed = closed;
    bus->closed_arg = arg;
    uv_timer_stop(&bus->timer);
    uv_close((uv_handle_t *)&bus->prepare, on_handle_closed);
    uv_close((uv_handle_t *)&bus->check, on_handle_closed);
    if (was == BUS_WAITING)
        uv_close((uv_handle_t *)&bus->timer, on_handle_closed);
    else if (was != BUS_ENDING)
        wire_close(bus->wire, was == BUS_UP);
    // Nobody waits for a server that does not answer.
    if (was == BUS_CONNECTING)
        set_timer(bus, HURRY_MS);
}

// Using it

bool
bus_is_up(const struct bus *bus)
{
    return bus->state == BUS_UP;
}

const char *
bus_describe(const struct bus *bus)
{
    if (bus->state == BUS_UP)
        snprintf(bus->text, TEXT_SIZE, "nats at %s", wire_peer(bus->wire));
    else
        snprintf(bus->text, TEXT_SIZE, "not connected to nats at %s: %s", bus->target->where,
                 bus->why);
    return bus->text;
}

int
bus_publish(struct bus *bus, const char *subject, const char *reply, const void *bytes, size_t len)
{
    assert(subject_is_safe(subject, strlen(subject)));
    assert(reply == NULL || subject_is_safe(reply, strlen(reply)));
    int rc = SY_EDOWN;
    if (bus->state == BUS_UP) {
        if (len > wire_max_payload(bus->wire))
            rc = SY_EINVAL;
        else if (wire_buffered(bus->wire) + len > bus->opts.max_buffered)
            rc = SY_EFULL;
        else
            rc = wire_publish(bus->wire, subject, reply, bytes, len);
    }
    if (rc != 0) {
        bus->stats.refused++;
        return rc;
    }
    bus->stats.published++;
    bus->stats.bytes_out += len;
    return 0;
}

void
bus_flush(struct bus *bus)
{
    if (bus->state == BUS_UP || bus->state == BUS_PROBING)
        wire_flush(bus->wire);
}

size_t
bus_max_payload(const struct bus *bus)
{
    return bus->state == BUS_UP ? wire_max_payload(bus->wire) : 0;
}

void
bus_stats(const struct bus *bus, struct bus_stats *out)
{
    *out = bus->stats;
    if (bus->state == BUS_UP || bus->state == BUS_PROBING)
        out->overflowed += wire_overflowed(bus->wire);
}
