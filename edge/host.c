// host.c: an edge that runs (host.h); how it goes is in leave.c.
//
// 1. host_run fills the edge in, opens store and bus unless it is alone, and then the ports.
// 2. One turn of the loop: read what is readable, handle it, then (edge_turn_end) publish what
//    was gathered for other edges and write what was queued for clients, each once.
// 3. Whoever comes in from the loop sets the clocks first; during a turn time stands still.
// 4. When leave.c has closed everything, the loop ends, and what is left is freed.
//
// Failures: a URL that cannot be read, or a port that cannot be had: said on stderr, exit
// EXIT_CONFIG; nothing was promised to anybody yet. Redis and NATS that do not answer are no
// failure here: store and bus connect for ever again. A turn that took long is told.
#include <assert.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edge/frame.h"
#include "edge/host_internal.h"
#include "lib/base/clock.h"
#include "lib/base/owner.h"

#define TICK_MS 1000
// Memory nobody used for a second goes back to malloc, but for so much of each size...
#define KEPT_BYTES (16 * 1024)
// ... and malloc's to the system, when as much has come together.
#define TRIM_BYTES (256 * 1024)
// ... and when half of so many connections have gone, which leave holes of all sizes.
#define TRIM_SESSIONS 500
// A turn longer than this is told: others' messages waited for it.
#define LONG_TURN_MS 100

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

bool
host_set_clocks(struct host *host)
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
        host_set_clocks(host);
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
    host_set_clocks(host);
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
    host_set_clocks(host);
    edge_tick(&host->edge);
    give_back(host);
    say_when_ready(host);
}

static void
on_wheel_tick(uv_timer_t *timer)
{
    struct host *host = timer->data;
    if (host_set_clocks(host))
        return; // what clients said meanwhile is read first
    wheel_advance(&host->edge.wheel, host->edge.now_ms);
    say_when_ready(host);
}

// What the server asks.

uint64_t
edge_now_ms(struct edge *edge)
{
    host_set_clocks(host_of(edge));
    return edge->now_ms;
}

void
edge_handshake_policy(struct edge *edge, struct handshake_policy *policy)
{
    struct host *host = host_of(edge);
    const char *why;
    // While balancers have not noticed, they still bring clients.
    bool is_ready = host->leave.phase == PHASE_NOTICE ? edge_can_serve(edge, &why)
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
    host_set_clocks(host);
    edge_on_bus(&host->edge, subject, bytes, len, is_unheard);
}

static void
on_bus_state(void *arg, bool up, const char *why)
{
    struct host *host = arg;
    host_set_clocks(host);
    host->health.nats_since_ms = host->edge.now_ms;
    edge_on_bus_state(&host->edge, up, why);
}

static void
on_store_state(void *arg, bool up, const char *why)
{
    struct host *host = arg;
    host_set_clocks(host);
    host->health.redis_since_ms = host->edge.now_ms;
    edge_on_store_state(&host->edge, up, why);
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
    host_set_clocks(host);
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
    uv_prepare_init(&host->loop, &host->before_wait);
    uv_check_init(&host->loop, &host->after_wait);
    uv_idle_init(&host->loop, &host->no_wait);
    uv_timer_init(&host->loop, &host->tick);
    uv_timer_init(&host->loop, &host->wheel_tick);
    host->before_wait.data = host->after_wait.data = host;
    host->tick.data = host->wheel_tick.data = host;
    uv_prepare_start(&host->before_wait, on_before_wait);
    uv_check_start(&host->after_wait, on_after_wait);
    uv_timer_start(&host->tick, on_tick, 0, TICK_MS);
    uv_timer_start(&host->wheel_tick, on_wheel_tick, WHEEL_TICK_MS, WHEEL_TICK_MS);
    leave_init(host);
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
