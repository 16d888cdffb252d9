// host.c: see host.h. One turn of the loop: read what is readable, handle it, then
// (on_turn_end) publish what was gathered for other edges and write what was queued for
// clients, each once.
#include "edge/host.h"

#include <assert.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "edge/core.h"
#include "edge/frame.h"
#include "edge/health.h"
#include "edge/server.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/owner.h"
#include "proto/subject.h"

#define TICK_MS 1000
// How often leaving looks whether it is done.
#define LEAVE_LOOK_MS 50
// WebSockets without a login, closed per turn at the end: a few milliseconds of work.
#define CLOSE_PER_TURN 500
// Of drain.timeout, a fifth is for what follows the last close: answers to it, the last
// links out of the directory, the lease. That takes a few round trips: no more than this.
#define RESERVE_MAX_MS 3000
// When the other workers have surely said whether they leave as well.
#define SIBLINGS_MS 1000
// For giving the lease back when told to leave at once.
#define HURRY_MS 100
// Memory nobody used for a second goes back to malloc, but for so much of each size...
#define KEPT_BYTES (16 * 1024)
// ... and malloc's to the system, when as much has come together.
#define TRIM_BYTES (256 * 1024)
// ... and when half of so many connections have gone, which leave holes of all sizes.
#define TRIM_SESSIONS 500
// A turn longer than this is told: others' messages waited for it.
#define LONG_TURN_MS 100

enum phase {
    PHASE_RUNNING,
    PHASE_NOTICE,    // unready, and waiting for balancers to see it (drain.delay)
    PHASE_DRAINING,  // no new clients; those here are going
    PHASE_RELEASING, // giving the lease back
    PHASE_HURRIED,   // the same, and nothing else
    PHASE_ENDING,
};

struct host {
    uv_loop_t loop;
    uv_prepare_t before_wait;
    uv_check_t after_wait;
    uv_idle_t no_wait; // runs while a turn leaves work for the next
    uv_timer_t tick;
    uv_timer_t wheel_tick;
    uv_timer_t leave_look;
    uv_signal_t signals[4];
    const struct settings *settings;
    struct worker *worker; // NULL: none
    struct edge edge;
    struct auth auth;
    struct server *server;
    struct health health;
    char node_subject[SUBJECT_SIZE];
    char unheard_subject[SUBJECT_SIZE];
    char rooms[1024];
    uint64_t notice_until_ms;
    uint64_t leave_deadline_ms;
    int leave_signal;
    uint64_t reading_ms; // of this turn
    struct log_limit long_turn;
    size_t given_back;      // bytes, since malloc_trim
    uint32_t most_sessions; // since half of them left
    unsigned open_parts;    // store, bus, server: not closed yet
    enum phase phase;
    bool was_ready;
    bool is_sweeping; // closing those without a login
    bool is_holding;  // as the server was told
};

static struct host *
host_of(struct edge *edge)
{
    return OWNER(edge, struct host, edge);
}

// The sockets follow what the edge says: held or not. After a pause and after a hold, what
// waits for them may have waited for too long.
static void
follow_hold(struct host *host, bool has_paused)
{
    bool is_holding = edge_is_holding(&host->edge);
    if (is_holding == host->is_holding && !has_paused)
        return;
    host->is_holding = is_holding;
    if (host->server == NULL)
        return;
    server_hold(host->server, is_holding);
    host->edge.counters.messages_late += server_drop_late(host->server, host->edge.wall_ms);
}

// True: the process had stood still since the last call.
static bool
set_clocks(struct host *host)
{
    if (!edge_set_clocks(&host->edge, uv_now(&host->loop), clock_wall_ms()))
        return false;
    follow_hold(host, true);
    return true;
}

// Turns.

static void
on_no_wait(uv_idle_t *handle)
{
    (void)handle; // it keeps the loop from waiting, no more
}

static void
on_before_wait(uv_prepare_t *handle)
{
    struct host *host = handle->data;
    uint64_t held;
    uint64_t started_ms = clock_mono_ms();
    if (started_ms >= host->edge.now_ms + PAUSE_MIN_MS) { // it stood still since it read
        uv_update_time(&host->loop);
        set_clocks(host);
    }
    bool has_more = edge_turn_end(&host->edge);
    follow_hold(host, false);
    if (host->edge.bus != NULL)
        bus_flush(host->edge.bus);
    has_more |= server_flush(host->server);
    if (has_more)
        uv_idle_start(&host->no_wait, on_no_wait);
    else
        uv_idle_stop(&host->no_wait);
    uint64_t turn_ms = host->reading_ms + clock_mono_ms() - started_ms;
    host->reading_ms = 0;
    if (turn_ms > host->health.loop_max_ms)
        host->health.loop_max_ms = turn_ms;
    if (turn_ms > LONG_TURN_MS && log_limit_pass(&host->long_turn, host->edge.now_ms, &held))
        log_warn("long_turn", "ms=%llu more=%llu", (unsigned long long)turn_ms,
                 (unsigned long long)held);
}

static void
on_after_wait(uv_check_t *handle)
{
    struct host *host = handle->data;
    // The loop took its time when the wait ended; everything readable was read since.
    uint64_t now_ms = clock_mono_ms();
    uint64_t waited_until_ms = uv_now(&host->loop);
    host->reading_ms = now_ms > waited_until_ms ? now_ms - waited_until_ms : 0;
    set_clocks(host);
}

static void
say_when_ready(struct host *host)
{
    const char *why;
    bool is_ready = edge_is_ready(&host->edge, &why);
    if (is_ready == host->was_ready)
        return;
    host->was_ready = is_ready;
    if (is_ready)
        log_info("edge_ready", "node=%s port=%u private_port=%u", host->edge.node,
                 server_port(host->server), server_private_port(host->server));
    else
        log_warn("edge_not_ready", "node=%s reason=%s", host->edge.node, log_quote(why));
}

// After a burst.
static void
give_back(struct host *host)
{
    host->given_back += pool_trim(&host->edge.router.pool, KEPT_BYTES);
    host->given_back += frame_pool_trim(KEPT_BYTES);
    uint32_t sessions = server_connections(host->server);
    bool have_left = host->most_sessions > TRIM_SESSIONS && sessions <= host->most_sessions / 2;
    if (have_left || sessions > host->most_sessions)
        host->most_sessions = sessions;
    if (!have_left && host->given_back < TRIM_BYTES)
        return;
    host->given_back = 0;
    malloc_trim(0);
}

static void
on_tick(uv_timer_t *timer)
{
    struct host *host = timer->data;
    set_clocks(host);
    edge_tick(&host->edge);
    give_back(host);
    say_when_ready(host);
}

static void
on_wheel_tick(uv_timer_t *timer)
{
    struct host *host = timer->data;
    if (set_clocks(host))
        return; // what clients said meanwhile is read first
    wheel_advance(&host->edge.wheel, host->edge.now_ms);
    say_when_ready(host);
}

// What the server asks.

uint64_t
edge_now_ms(struct edge *edge)
{
    set_clocks(host_of(edge));
    return edge->now_ms;
}

void
edge_handshake_policy(struct edge *edge, struct handshake_policy *policy)
{
    struct host *host = host_of(edge);
    const char *why;
    // While balancers have not noticed, they still bring clients.
    bool is_ready = host->phase == PHASE_NOTICE ? edge_can_serve(edge, &why)
                                                : edge_is_ready(edge, &why);
    peers_rooms(&edge->peers, edge->now_ms, host->rooms, sizeof(host->rooms));
    *policy = (struct handshake_policy){
        .origins = host->settings->origins_allowed,
        .is_ready = is_ready,
        .has_room = server_connections(host->server) < edge->limits.max_connections,
        .rooms = host->rooms,
        .retry_after_s = 1 + (unsigned)rng_below(&edge->rng, 5),
    };
}

bool
edge_http(struct edge *edge, bool is_private, const char *method, const char *path,
          struct http_reply *reply)
{
    struct host *host = host_of(edge);
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
        return false;
    if (strcmp(path, "/healthz") == 0)
        health_alive(reply);
    else if (is_private && strcmp(path, "/readyz") == 0)
        health_ready(edge, &host->health, reply);
    else if (is_private && strcmp(path, "/v0/counters") == 0)
        health_counters(edge, &host->health, host->server, reply);
    else
        return false;
    return true;
}

// What bus and store tell.

static void
on_bus_message(void *arg, const char *subject, const void *bytes, size_t len, bool is_unheard)
{
    struct host *host = arg;
    set_clocks(host);
    edge_on_bus(&host->edge, subject, bytes, len, is_unheard);
}

static void
on_bus_state(void *arg, bool up, const char *why)
{
    struct host *host = arg;
    set_clocks(host);
    host->health.nats_since_ms = host->edge.now_ms;
    edge_on_bus_state(&host->edge, up, why);
}

static void
on_store_state(void *arg, bool up, const char *why)
{
    struct host *host = arg;
    set_clocks(host);
    host->health.redis_since_ms = host->edge.now_ms;
    edge_on_store_state(&host->edge, up, why);
}

// Leaving.

static void
on_part_closed(void *arg)
{
    struct host *host = arg;
    if (--host->open_parts > 0)
        return;
    uv_close((uv_handle_t *)&host->before_wait, NULL);
    uv_close((uv_handle_t *)&host->after_wait, NULL);
    uv_close((uv_handle_t *)&host->no_wait, NULL);
    uv_close((uv_handle_t *)&host->tick, NULL);
    uv_close((uv_handle_t *)&host->wheel_tick, NULL);
    uv_close((uv_handle_t *)&host->leave_look, NULL);
    for (int i = 0; i < 4; i++)
        uv_close((uv_handle_t *)&host->signals[i], NULL);
}

static void
end(struct host *host)
{
    host->phase = PHASE_ENDING;
    // No more turns: the server is gone before the last of the parts is.
    uv_prepare_stop(&host->before_wait);
    uv_idle_stop(&host->no_wait);
    uv_check_stop(&host->after_wait);
    uv_timer_stop(&host->leave_look);
    uv_timer_stop(&host->tick);
    uv_timer_stop(&host->wheel_tick);
    server_close(host->server, on_part_closed, host);
    if (edge_is_alone(&host->edge))
        return;
    bus_close(host->edge.bus, on_part_closed, host);
    store_close(host->edge.store, on_part_closed, host);
}

static void
on_released(void *arg, int error)
{
    struct host *host = arg;
    if (error != 0)
        log_warn("lease_kept", "reason=%s", sy_error_name(error)); // it ends by itself
    if (host->phase == PHASE_RELEASING)
        end(host);
}

static void
release(struct host *host)
{
    host->phase = PHASE_RELEASING;
    // A renewal under way would bring the lease back.
    uv_timer_stop(&host->tick);
    if (edge_is_alone(&host->edge))
        end(host);
    else
        store_release(host->edge.store, host->edge.node, on_released, host);
}

static void
drain(struct host *host)
{
    uint64_t whole_ms = (uint64_t)host->settings->drain_timeout;
    uint64_t reserve_ms = whole_ms / 5 < RESERVE_MAX_MS ? whole_ms / 5 : RESERVE_MAX_MS;
    uint64_t end_ms = host->leave_deadline_ms - reserve_ms;
    host->phase = PHASE_DRAINING;
    drain_start(&host->edge, DRAIN_LEAVING,
                end_ms > host->edge.now_ms ? (uint32_t)(end_ms - host->edge.now_ms) : 1);
}

// Whether another worker goes on: it is at the same address, and does not leave.
static bool
has_sibling(const struct host *host)
{
    const struct edge *edge = &host->edge;
    for (const struct peer *peer = edge->peers.table; peer != NULL; peer = peer->hh.next)
        if (!peer->is_draining && strcmp(peer->url, edge->url) == 0 &&
            peer_state(peer, edge->now_ms) == PEER_LIVES)
            return true;
    return false;
}

static void
look_at_drain(struct host *host)
{
    bool is_late = host->edge.now_ms >= host->leave_deadline_ms;
    // Then who comes is better off there than with our 503.
    if (host->worker != NULL && host->edge.now_ms - host->health.leave_since_ms >= SIBLINGS_MS &&
        has_sibling(host))
        server_stop_accepting(host->server);
    if (drain_left(&host->edge) == 0 && !host->is_sweeping) {
        host->is_sweeping = true; // those without a login
        server_close_all(host->server, CLOSE_DRAINING, CLOSE_PER_TURN);
    }
    bool is_done = server_connections(host->server) == 0 && registry_is_settled(&host->edge) &&
                   !host->edge.registry.is_beating;
    if (!is_done && !is_late)
        return;
    if (!is_done)
        log_warn("leave_late", "connections=%u links=%zu", server_connections(host->server),
                 host->edge.registry.count);
    release(host);
}

static void
on_leave_look(uv_timer_t *timer)
{
    struct host *host = timer->data;
    set_clocks(host);
    if (host->phase == PHASE_NOTICE && host->edge.now_ms >= host->notice_until_ms)
        drain(host);
    else if (host->phase == PHASE_DRAINING)
        look_at_drain(host);
    else if (host->phase == PHASE_RELEASING && host->edge.now_ms >= host->leave_deadline_ms)
        end(host);
}

static void
leave(struct host *host, int number)
{
    const struct settings *s = host->settings;
    log_info("leaving", "node=%s signal=%s connections=%u", host->edge.node, sigabbrev_np(number),
             server_connections(host->server));
    host->leave_signal = number;
    host->phase = PHASE_NOTICE;
    host->health.leave_since_ms = host->edge.now_ms;
    host->notice_until_ms = host->edge.now_ms + (uint64_t)s->drain_delay;
    host->leave_deadline_ms = host->edge.now_ms + (uint64_t)s->drain_timeout;
    host->health.leave_until_ms = host->leave_deadline_ms;
    edge_start_drain(&host->edge);
    if (s->drain_delay == 0)
        drain(host);
    uv_timer_start(&host->leave_look, on_leave_look, LEAVE_LOOK_MS, LEAVE_LOOK_MS);
}

// At once.

static void
on_hurry_over(uv_timer_t *timer)
{
    (void)timer;
    _exit(1);
}

static void
on_hurried_release(void *arg, int error)
{
    (void)arg;
    (void)error; // then the lease ends by itself
    _exit(1);
}

// Sockets drop with the process. The lease is one short command, and without it the other
// edges need not wait to know.
static void
hurry(struct host *host)
{
    bool can_release = host->phase < PHASE_RELEASING && !edge_is_alone(&host->edge) &&
                       store_is_up(host->edge.store);
    log_warn("leaving_at_once", "node=%s connections=%u", host->edge.node,
             server_connections(host->server));
    if (!can_release)
        _exit(1);
    host->phase = PHASE_HURRIED;
    uv_timer_stop(&host->tick); // a renewal would bring it back
    uv_timer_start(&host->leave_look, on_hurry_over, HURRY_MS, 0);
    store_release(host->edge.store, host->edge.node, on_hurried_release, host);
}

static void
on_leave_signal(struct host *host, int number)
{
    if (host->phase == PHASE_RUNNING) {
        leave(host, number);
    } else if (host->leave_signal == SIGUSR2 && number != SIGUSR2) {
        host->leave_signal = number; // the one SIGUSR2 came before
        log_info("leaving_already", "node=%s signal=%s connections=%u", host->edge.node,
                 sigabbrev_np(number), server_connections(host->server));
    } else if (host->worker == NULL) {
        hurry(host);
    } // else the parent kills when it is told twice
}

static void
on_signal(uv_signal_t *handle, int number)
{
    struct host *host = handle->data;
    char why[200];
    set_clocks(host);
    if (number != SIGHUP)
        on_leave_signal(host, number);
    else if (server_reload_tls(host->server, why) != 0)
        log_error("tls_reload_failed", "reason=%s", log_quote(why));
    else
        log_info("tls_reloaded", "node=%s", host->edge.node);
}

// Starting.

static void
make_node_id(struct host *host)
{
    struct edge *edge = &host->edge;
    snprintf(edge->node, sizeof(edge->node), "%s.%016llx", host->settings->node_name,
             (unsigned long long)rand_u64());
    subject_node(edge->node, host->node_subject);
    subject_unheard_all(edge->node, host->unheard_subject);
}

static void
fill_edge(struct host *host)
{
    const struct settings *s = host->settings;
    struct edge *edge = &host->edge;
    edge->limits = (struct edge_limits){
        .frame_bytes = (size_t)s->limits_frame_bytes,
        .pending_bytes = (size_t)s->limits_pending_bytes,
        .commands_per_second = (uint32_t)s->limits_commands_per_second,
        .hello_timeout_ms = (uint64_t)s->limits_hello_timeout,
        .ping_ms = (uint64_t)s->ping_interval,
        .route_ttl_ms = (uint64_t)s->routes_ttl,
        .max_routes = (size_t)s->routes_max,
        .max_connections = (uint32_t)s->connections_max,
        .devices = settings_device_policy(s),
        .max_devices = (uint32_t)s->devices_max,
        .accept_rate = (uint32_t)s->connections_accept_rate,
    };
    edge->auth = &host->auth;
    edge->clock_us = clock_mono_us;
    auth_init(&host->auth, s);
    make_node_id(host);
    rng_seed(&edge->rng, rand_u64());
    set_clocks(host);
    edge->started_wall_ms = edge->wall_ms;
    edge_init(edge);
}

static int
open_cluster(struct host *host)
{
    const struct settings *s = host->settings;
    char why[160];
    char name[NODE_ID_SIZE + 8];
    struct store_opts store_opts = {
        .url = s->redis_url,
        .user = s->redis_user,
        .password = s->redis_password,
        .command_timeout_ms = (uint64_t)s->redis_command_timeout,
        .max_in_flight = 1024,
        .devices = host->edge.limits.devices,
        .max_devices = host->edge.limits.max_devices,
        .on_state = on_store_state,
        .arg = host,
    };
    host->edge.store = store_open(&host->loop, &store_opts, why);
    if (host->edge.store == NULL) {
        fprintf(stderr, "redis.url: %s\n", why);
        return SY_EINVAL;
    }
    host->open_parts++;
    snprintf(name, sizeof(name), "edge/%s", host->edge.node);
    struct bus_opts bus_opts = {
        .url = s->nats_url,
        .user = s->nats_user,
        .password = s->nats_password,
        .credentials_file = s->nats_credentials_file,
        .tls_ca_file = s->nats_tls_ca_file,
        .name = name,
        .subjects = {host->node_subject, host->unheard_subject, SUBJECT_HEARTBEATS, SUBJECT_ALL},
        .probe_subject = host->node_subject,
        .ping_ms = (uint64_t)s->nats_ping_interval,
        .connect_timeout_ms = 2000,
        .max_buffered = (size_t)s->nats_max_buffered,
        .on_message = on_bus_message,
        .on_state = on_bus_state,
        .arg = host,
    };
    host->edge.bus = bus_open(&host->loop, &bus_opts, why);
    if (host->edge.bus == NULL) {
        fprintf(stderr, "nats.url: %s\n", why);
        return SY_EINVAL;
    }
    host->open_parts++;
    return 0;
}

static int
open_server(struct host *host)
{
    const struct settings *s = host->settings;
    char why[200];
    struct server_opts opts = {
        .host = s->listen_host,
        .port = (unsigned)s->listen_port,
        .shares_port = host->worker != NULL,
        .private_host = s->private_host,
        .private_port = (unsigned)s->private_port,
        .tls_cert_file = s->listen_tls_cert_file,
        .tls_key_file = s->listen_tls_key_file,
        .document_root = s->web_root,
        .index_file = "index.html",
        .max_connections = (uint32_t)s->connections_max,
        .max_per_address = (uint32_t)s->connections_max_per_address,
        .max_half_open = (uint32_t)s->connections_max_half_open,
        .accept_rate = (uint32_t)s->connections_accept_rate,
        .max_frame_bytes = (uint32_t)s->limits_frame_bytes,
        .max_fragments = (uint32_t)s->limits_fragments,
        .max_queue_bytes = (uint64_t)s->limits_queue_bytes,
        .origins = s->origins_allowed,
    };
    if (server_open(&host->loop, &opts, &host->edge, &host->server, why) != 0) {
        fprintf(stderr, "%s\n", why);
        return SY_EINVAL;
    }
    host->open_parts++;
    bool is_v6 = strchr(s->listen_host, ':') != NULL;
    if (s->listen_url[0] != '\0')
        snprintf(host->edge.url, sizeof(host->edge.url), "%s", s->listen_url);
    else
        snprintf(host->edge.url, sizeof(host->edge.url), "%s://%s%.64s%s:%u/ws",
                 s->listen_tls_cert_file[0] != '\0' ? "wss" : "ws", is_v6 ? "[" : "",
                 s->listen_host, is_v6 ? "]" : "", server_port(host->server));
    return 0;
}

static void
start_handles(struct host *host)
{
    static const int numbers[4] = {SIGTERM, SIGINT, SIGHUP, SIGUSR2};
    uv_prepare_init(&host->loop, &host->before_wait);
    uv_check_init(&host->loop, &host->after_wait);
    uv_idle_init(&host->loop, &host->no_wait);
    uv_timer_init(&host->loop, &host->tick);
    uv_timer_init(&host->loop, &host->wheel_tick);
    uv_timer_init(&host->loop, &host->leave_look);
    host->before_wait.data = host->after_wait.data = host;
    host->tick.data = host->wheel_tick.data = host->leave_look.data = host;
    uv_prepare_start(&host->before_wait, on_before_wait);
    uv_check_start(&host->after_wait, on_after_wait);
    uv_timer_start(&host->tick, on_tick, 0, TICK_MS);
    uv_timer_start(&host->wheel_tick, on_wheel_tick, WHEEL_TICK_MS, WHEEL_TICK_MS);
    for (int i = 0; i < 4; i++) {
        uv_signal_init(&host->loop, &host->signals[i]);
        host->signals[i].data = host;
        uv_signal_start(&host->signals[i], on_signal, numbers[i]);
    }
}

static void
say_how(const struct host *host)
{
    const struct settings *s = host->settings;
    log_info("edge_listening", "node=%s port=%u private_port=%u url=%s", host->edge.node,
             server_port(host->server), server_private_port(host->server), host->edge.url);
    if (settings_is_alone(s))
        log_info("alone", "meaning=%s",
                 log_quote("neither nats.url nor redis.url is set: messages reach only the "
                           "clients of this edge"));
    if (!settings_need_token(s))
        log_info("development_mode", "meaning=%s",
                 log_quote("no auth.hs256_secret is set: anyone on this machine may log in under "
                           "any name; set it to ask for tokens"));
}

static void
fini(struct host *host)
{
    edge_fini(&host->edge);
    auth_fini(&host->auth);
    frame_pool_drain();
    int error = uv_loop_close(&host->loop);
    assert(error == 0);
    (void)error;
}

int
host_run(const struct settings *settings, struct worker *worker)
{
    struct host *host = calloc(1, sizeof(*host));
    if (host == NULL || uv_loop_init(&host->loop) != 0)
        abort();
    signal(SIGPIPE, SIG_IGN);
    host->settings = settings;
    host->worker = worker;
    host->long_turn.interval_ms = 10000;
    fill_edge(host);
    if ((!settings_is_alone(settings) && open_cluster(host) != 0) || open_server(host) != 0)
        exit(EXIT_CONFIG); // nothing was promised to anybody yet
    start_handles(host);
    say_how(host);
    if (worker != NULL)
        worker_is_listening(worker);
    uv_run(&host->loop, UV_RUN_DEFAULT);
    log_info("left", "node=%s", host->edge.node);
    fini(host);
    free(host);
    return 0;
}
