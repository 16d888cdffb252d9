// host.c: see host.h. Redis and NATS may come in any order and go at any time.
#include "sweeper/host.h"

#include <assert.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "lib/base/log.h"
#include "lib/base/rand.h"
#include "proto/subject.h"
#include "sweeper/sweep.h"

// Leaving waits this long for Redis to take leadership back.
#define LEAVE_MS 2000

struct host {
    uv_loop_t loop;
    uv_timer_t tick;
    uv_timer_t leave_deadline;
    uv_signal_t signals[2];
    struct sweep sweep;
    char subject[SUBJECT_SIZE];
    char unheard_subject[SUBJECT_SIZE];
    unsigned open_parts; // store and bus: not closed yet
    bool is_ending;
    bool was_ready;
};

static void
say_when_ready(struct host *host)
{
    bool is_ready = store_is_up(host->sweep.store) && bus_is_up(host->sweep.bus);
    if (is_ready == host->was_ready)
        return;
    host->was_ready = is_ready;
    if (is_ready)
        log_info("sweeper_ready", "sweeper=%s", host->sweep.id);
    else
        log_warn("sweeper_not_ready", "sweeper=%s redis=%s nats=%s", host->sweep.id,
                 store_is_up(host->sweep.store) ? "up" : "down",
                 bus_is_up(host->sweep.bus) ? "up" : "down");
}

static void
on_tick(uv_timer_t *timer)
{
    struct host *host = timer->data;
    host->sweep.now_ms = uv_now(&host->loop);
    sweep_tick(&host->sweep);
    say_when_ready(host);
}

static void
on_message(void *arg, const char *subject, const void *bytes, size_t len, bool is_unheard)
{
    struct host *host = arg;
    host->sweep.now_ms = uv_now(&host->loop);
    sweep_on_bus(&host->sweep, subject, bytes, len, is_unheard);
}

static void
on_store_state(void *arg, bool up, const char *why)
{
    struct host *host = arg;
    (void)why; // the store has logged it
    host->sweep.now_ms = uv_now(&host->loop);
    sweep_on_store_state(&host->sweep, up);
    say_when_ready(host);
}

static void
on_bus_state(void *arg, bool up, const char *why)
{
    (void)up;
    (void)why; // the bus has logged it
    say_when_ready(arg);
}

static void
on_part_closed(void *arg)
{
    struct host *host = arg;
    if (--host->open_parts > 0)
        return;
    uv_close((uv_handle_t *)&host->tick, NULL);
    uv_close((uv_handle_t *)&host->leave_deadline, NULL);
    uv_close((uv_handle_t *)&host->signals[0], NULL);
    uv_close((uv_handle_t *)&host->signals[1], NULL);
}

static void
end(struct host *host)
{
    if (host->is_ending)
        return;
    host->is_ending = true;
    uv_timer_stop(&host->leave_deadline);
    bus_close(host->sweep.bus, on_part_closed, host);
    store_close(host->sweep.store, on_part_closed, host);
}

static void
on_resigned(void *arg, int error)
{
    if (error != 0)
        log_warn("leadership_kept", "reason=%s", sy_error_name(error)); // it runs out by itself
    end(arg);
}

static void
on_leave_deadline(uv_timer_t *timer)
{
    end(timer->data);
}

static void
on_signal(uv_signal_t *handle, int number)
{
    struct host *host = handle->data;
    if (host->sweep.is_leaving) {
        log_warn("leaving_at_once", "sweeper=%s", host->sweep.id);
        _exit(1);
    }
    log_info("leaving", "sweeper=%s signal=%s", host->sweep.id, number == SIGTERM ? "TERM" : "INT");
    host->sweep.is_leaving = true;
    uv_timer_stop(&host->tick);
    uv_timer_start(&host->leave_deadline, on_leave_deadline, LEAVE_MS, 0);
    store_resign(host->sweep.store, host->sweep.id, on_resigned, host);
}

static int
open_parts(struct host *host, const struct settings *s)
{
    char why[160];
    char name[NODE_ID_SIZE + 16];
    struct sweep *sweep = &host->sweep;
    struct store_opts store_opts = {
        .url = s->redis_url,
        .user = s->redis_user,
        .password = s->redis_password,
        .command_timeout_ms = (uint64_t)s->redis_command_timeout,
        .max_in_flight = 4096, // one batch is three commands and one for each link
        .on_state = on_store_state,
        .arg = host,
    };
    sweep->store = store_open(&host->loop, &store_opts, why);
    if (sweep->store == NULL) {
        fprintf(stderr, "redis.url: %s\n", why);
        return SY_EINVAL;
    }
    snprintf(name, sizeof(name), "sweeper/%s", sweep->id);
    struct bus_opts bus_opts = {
        .url = s->nats_url,
        .user = s->nats_user,
        .password = s->nats_password,
        .credentials_file = s->nats_credentials_file,
        .tls_ca_file = s->nats_tls_ca_file,
        .name = name,
        .subjects = {host->subject, host->unheard_subject, SUBJECT_HEARTBEATS,
                     SUBJECT_NODE_UNHEARD},
        .probe_subject = host->subject,
        .ping_ms = (uint64_t)s->nats_ping_interval,
        .connect_timeout_ms = 2000,
        .max_buffered = 1024 * 1024,
        .on_message = on_message,
        .on_state = on_bus_state,
        .arg = host,
    };
    sweep->bus = bus_open(&host->loop, &bus_opts, why);
    if (sweep->bus == NULL) {
        fprintf(stderr, "nats.url: %s\n", why);
        return SY_EINVAL;
    }
    host->open_parts = 2;
    return 0;
}

int
host_run(const struct settings *settings)
{
    struct host *host = calloc(1, sizeof(*host));
    if (host == NULL || uv_loop_init(&host->loop) != 0)
        abort();
    signal(SIGPIPE, SIG_IGN);
    struct sweep *sweep = &host->sweep;
    snprintf(sweep->id, sizeof(sweep->id), "%s.%016llx", settings->node_name,
             (unsigned long long)rand_u64());
    subject_node(sweep->id, host->subject);
    subject_unheard_all(sweep->id, host->unheard_subject);
    sweep->now_ms = uv_now(&host->loop);
    sweep->batch = (unsigned)settings->reap_batch;
    sweep->links_per_second = (uint64_t)settings->reap_links_per_second;
    sweep_init(sweep);
    uv_timer_init(&host->loop, &host->tick);
    uv_timer_init(&host->loop, &host->leave_deadline);
    host->tick.data = host->leave_deadline.data = host;
    uv_timer_start(&host->tick, on_tick, 0, SWEEP_TICK_MS);
    for (int i = 0; i < 2; i++) {
        uv_signal_init(&host->loop, &host->signals[i]);
        host->signals[i].data = host;
        uv_signal_start(&host->signals[i], on_signal, i == 0 ? SIGTERM : SIGINT);
    }
    if (open_parts(host, settings) != 0)
        exit(EXIT_CONFIG);
    log_info("sweeper_started", "sweeper=%s", sweep->id);
    uv_run(&host->loop, UV_RUN_DEFAULT);
    log_info("left", "sweeper=%s", sweep->id);
    sweep_fini(sweep);
    int error = uv_loop_close(&host->loop);
    assert(error == 0);
    (void)error;
    free(host);
    return 0;
}
