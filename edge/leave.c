// leave.c: the signals, and the way out; host.h says which signal means what.
//
// 1. PHASE_NOTICE: a signal to leave: unready, told to the others, and for drain.delay nothing
//    more, while balancers notice.
// 2. PHASE_DRAINING: the clients drained (drain.h), then those without a login closed, until
//    nobody is connected, all links are out of the directory and no renewal is under way.
// 3. PHASE_RELEASING: the lease given back.
// 4. PHASE_ENDING: no more turns; server, bus and store closed, then the handles, and the
//    loop has nothing left to do.
//
// Failures:
//   clients or links left at drain.timeout   said (leave_late); released all the same, and
//                                            ended at the next look, answered or not
//   the lease could not be given back        said (lease_kept); it ends by itself
//   a second signal, alone on the port       PHASE_HURRIED: the lease given back if Redis
//                                            answers within HURRY_MS, nothing else; exit 1
//   a new certificate that cannot be read    said; the old one stays
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "edge/host_internal.h"

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

// The end, when nothing is left to wait for.

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
    uv_close((uv_handle_t *)&host->leave.look, NULL);
    for (int i = 0; i < HOST_SIGNALS; i++)
        uv_close((uv_handle_t *)&host->leave.signals[i], NULL);
}

static void
end(struct host *host)
{
    host->leave.phase = PHASE_ENDING;
    // No more turns: the server is gone before the last of the parts is.
    uv_prepare_stop(&host->before_wait);
    uv_idle_stop(&host->no_wait);
    uv_check_stop(&host->after_wait);
    uv_timer_stop(&host->leave.look);
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
    if (host->leave.phase == PHASE_RELEASING)
        end(host);
}

static void
release(struct host *host)
{
    host->leave.phase = PHASE_RELEASING;
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
    uint64_t end_ms = host->leave.deadline_ms - reserve_ms;
    host->leave.phase = PHASE_DRAINING;
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
    bool is_late = host->edge.now_ms >= host->leave.deadline_ms;
    // Then who comes is better off there than with our 503.
    if (host->worker != NULL && host->edge.now_ms - host->health.leave_since_ms >= SIBLINGS_MS &&
        has_sibling(host))
        server_stop_accepting(host->server);
    if (drain_left(&host->edge) == 0 && !host->leave.is_sweeping) {
        host->leave.is_sweeping = true; // those without a login
        server_close_all(host->server, CLOSE_DRAINING, CLOSE_PER_TURN);
    }
    bool is_done = server_connections(host->server) == 0 && registry_is_settled(&host->edge) &&
                   !host->edge.lease.is_beating;
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
    host_set_clocks(host);
    if (host->leave.phase == PHASE_NOTICE && host->edge.now_ms >= host->leave.notice_until_ms)
        drain(host);
    else if (host->leave.phase == PHASE_DRAINING)
        look_at_drain(host);
    else if (host->leave.phase == PHASE_RELEASING && host->edge.now_ms >= host->leave.deadline_ms)
        end(host);
}

static void
leave(struct host *host, int number)
{
    const struct settings *s = host->settings;
    log_info("leaving", "node=%s signal=%s connections=%u", host->edge.node, sigabbrev_np(number),
             server_connections(host->server));
    host->leave.signal = number;
    host->leave.phase = PHASE_NOTICE;
    host->health.leave_since_ms = host->edge.now_ms;
    host->leave.notice_until_ms = host->edge.now_ms + (uint64_t)s->drain_delay;
    host->leave.deadline_ms = host->edge.now_ms + (uint64_t)s->drain_timeout;
    host->health.leave_until_ms = host->leave.deadline_ms;
    edge_start_drain(&host->edge);
    if (s->drain_delay == 0)
        drain(host);
    uv_timer_start(&host->leave.look, on_leave_look, LEAVE_LOOK_MS, LEAVE_LOOK_MS);
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
    bool can_release = host->leave.phase < PHASE_RELEASING && !edge_is_alone(&host->edge) &&
                       store_is_up(host->edge.store);
    log_warn("leaving_at_once", "node=%s connections=%u", host->edge.node,
             server_connections(host->server));
    if (!can_release)
        _exit(1);
    host->leave.phase = PHASE_HURRIED;
    uv_timer_stop(&host->tick); // a renewal would bring it back
    uv_timer_start(&host->leave.look, on_hurry_over, HURRY_MS, 0);
    store_release(host->edge.store, host->edge.node, on_hurried_release, host);
}

static void
on_leave_signal(struct host *host, int number)
{
    if (host->leave.phase == PHASE_RUNNING) {
        leave(host, number);
    } else if (host->leave.signal == SIGUSR2 && number != SIGUSR2) {
        host->leave.signal = number; // the one SIGUSR2 came before
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
    host_set_clocks(host);
    if (number != SIGHUP)
        on_leave_signal(host, number);
    else if (server_reload_tls(host->server, why) != 0)
        log_error("tls_reload_failed", "reason=%s", log_quote(why));
    else
        log_info("tls_reloaded", "node=%s", host->edge.node);
}

void
leave_init(struct host *host)
{
    static const int numbers[HOST_SIGNALS] = {SIGTERM, SIGINT, SIGHUP, SIGUSR2};
    uv_timer_init(&host->loop, &host->leave.look);
    host->leave.look.data = host;
    for (int i = 0; i < HOST_SIGNALS; i++) {
        uv_signal_init(&host->loop, &host->leave.signals[i]);
        host->leave.signals[i].data = host;
        uv_signal_start(&host->leave.signals[i], on_signal, numbers[i]);
    }
}
