// listener.c: accept in batches, admission by address, and what happens without descriptors.
//
// The happy path: the port is readable, up to BATCH sockets are accepted, each is checked
// and handed on. With a rate, what is accepted is paid from a credit that grows with time, up
// to PACE_MS' worth; when it is used up the listener sleeps that long, so that logins of a
// storm still come in batches and connected clients have the time between. TCP_NODELAY and
// TCP_NOTSENT_LOWAT are set on the listening socket, and accepted ones inherit them on Linux: two
// system calls less for each.
//
// Failures:
//   too many half open, or from one address   closed at once, counted
//   no descriptor left (EMFILE, ENFILE)       a spare one is given up to accept and close a
//                                             single client, so that it is not left hanging;
//                                             then accepting pauses, others wait in the backlog
//   client gone before accept (ECONNABORTED)  next one
//   no memory in the kernel, and the rest     the pause too
#include "edge/listener.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/log.h"
#include "lib/base/table.h"
#include "proto/keys.h"

#define BATCH 64 // sockets a turn: more would make connected clients wait
#define PACE_MS 10
#define SOCKET_COST 1000
#define PAUSE_MS 100 // long enough for others to end, short enough to go unnoticed
#define LOG_EVERY_MS 10000
#define UNSENT_MAX (64 << 10) // bytes the kernel takes ahead of what it can send

struct address {
    uint8_t bytes[16];
    uint32_t sockets;
    UT_hash_handle hh;
};

struct listener {
    uv_loop_t *loop;
    struct listener_opts opts;
    int fd;    // -1: stopped
    int spare; // a descriptor kept to give up; -1: gone
    unsigned port;
    uint32_t half_open;
    uint32_t peers;
    struct address *addresses;
    struct listener_stats stats;
    struct log_limit fd_log;
    uint64_t credit; // thousandths of a socket: it grows by opts.per_second a millisecond
    uint64_t credit_ms;
    uv_poll_t poll;
    uv_timer_t pause;
    unsigned handles; // of ours still open
    void (*closed)(void *arg);
    void *closed_arg;
};

static void
address_key(const struct sockaddr_storage *from, uint8_t key[static 16])
{
    memset(key, 0, 16);
    if (from->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)from;
        key[10] = key[11] = 0xff; // as IPv4 looks on an IPv6 socket
        memcpy(key + 12, &in->sin_addr, 4);
        return;
    }
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)from;
    size_t len = IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr) ? 16 : 8;
    memcpy(key, &in6->sin6_addr, len);
}

// Without printf, which inet_ntop uses too: each socket is named, and few names are read.
static void
write_ipv4_name(struct caller *caller, const uint8_t bytes[static 4], unsigned port)
{
    const unsigned numbers[] = {bytes[0], bytes[1], bytes[2], bytes[3], port};
    char *at = caller->name;
    for (size_t i = 0; i < 5; i++) {
        char digits[DECIMAL_SIZE];
        size_t len = decimal_write(numbers[i], digits);
        memcpy(at, digits, len);
        at[len] = i < 3 ? '.' : i == 3 ? ':' : '\0';
        at += len + 1;
    }
}

static void
peer_write_name(struct caller *caller, const struct sockaddr_storage *from)
{
    if (from->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)from;
        uint8_t bytes[4];
        memcpy(bytes, &in->sin_addr, sizeof bytes);
        write_ipv4_name(caller, bytes, ntohs(in->sin_port));
        return;
    }
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)from;
    if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
        write_ipv4_name(caller, in6->sin6_addr.s6_addr + 12, ntohs(in6->sin6_port));
        return;
    }
    char text[INET6_ADDRSTRLEN] = "?";
    inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof text);
    snprintf(caller->name, sizeof caller->name, "[%s]:%u", text, ntohs(in6->sin6_port));
}

// The address, with this socket counted; NULL if it has its number already.
static struct address *
address_count(struct listener *listener, const struct sockaddr_storage *from)
{
    uint8_t key[16];
    address_key(from, key);
    struct address *address;
    HASH_FIND(hh, listener->addresses, key, sizeof key, address);
    if (address == NULL) {
        if ((address = calloc(1, sizeof *address)) == NULL)
            abort();
        memcpy(address->bytes, key, sizeof key);
        HASH_ADD(hh, listener->addresses, bytes, sizeof address->bytes, address);
    }
    if (address->sockets >= listener->opts.max_per_address)
        return NULL;
    address->sockets++;
    return address;
}

static void
address_discount(struct listener *listener, struct address *address)
{
    if (--address->sockets > 0)
        return;
    HASH_DEL(listener->addresses, address);
    free(address);
}

void
caller_settle(struct caller *caller)
{
    if (!caller->is_half_open)
        return;
    caller->is_half_open = false;
    caller->listener->half_open--;
}

void
caller_free(struct caller *caller)
{
    if (caller == NULL)
        return;
    caller_settle(caller);
    if (caller->address != NULL)
        address_discount(caller->listener, caller->address);
    caller->listener->peers--;
    free(caller);
}

static void
admit(struct listener *listener, int fd, const struct sockaddr_storage *from)
{
    const struct listener_opts *opts = &listener->opts;
    if (opts->max_half_open > 0 && listener->half_open >= opts->max_half_open) {
        listener->stats.refused_half_open++;
        close(fd);
        return;
    }
    struct address *address = NULL;
    if (opts->max_per_address > 0 && (address = address_count(listener, from)) == NULL) {
        listener->stats.refused_address++;
        close(fd);
        return;
    }
    struct caller *caller = calloc(1, sizeof *caller);
    if (caller == NULL)
        abort();
    caller->listener = listener;
    caller->address = address;
    caller->is_half_open = true;
    peer_write_name(caller, from);
    listener->half_open++;
    listener->peers++;
    listener->stats.accepted++;
    opts->on_socket(opts->arg, fd, caller);
}

static int
spare_open(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void on_readable(uv_poll_t *poll, int status, int events);

static void
on_pause_over(uv_timer_t *timer)
{
    struct listener *listener = timer->data;
    if (listener->fd >= 0)
        uv_poll_start(&listener->poll, UV_READABLE, on_readable);
}

static void
sleep_for(struct listener *listener, uint64_t ms)
{
    uv_poll_stop(&listener->poll);
    uv_timer_start(&listener->pause, on_pause_over, ms, 0);
}

static void
take_pause(struct listener *listener)
{
    sleep_for(listener, PAUSE_MS);
}

static void
earn_credit(struct listener *listener)
{
    uint64_t rate = listener->opts.per_second;
    uint64_t most = rate * PACE_MS > SOCKET_COST ? rate * PACE_MS : SOCKET_COST;
    uint64_t now = uv_now(listener->loop);
    uint64_t grown = listener->credit + (now - listener->credit_ms) * rate;
    listener->credit = grown < most ? grown : most;
    listener->credit_ms = now;
}

// False: the rate is used up, and the listener sleeps.
static bool
may_accept(struct listener *listener)
{
    uint64_t rate = listener->opts.per_second;
    if (rate == 0)
        return true;
    earn_credit(listener);
    if (listener->credit >= SOCKET_COST)
        return true;
    uint64_t wait_ms = (SOCKET_COST - listener->credit + rate - 1) / rate;
    listener->stats.paced++;
    sleep_for(listener, wait_ms > PACE_MS ? wait_ms : PACE_MS);
    return false;
}

static void
run_dry(struct listener *listener)
{
    listener->stats.refused_fd++;
    if (listener->spare >= 0)
        close(listener->spare);
    int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0)
        close(fd);
    listener->spare = spare_open();
    uint64_t held;
    if (log_limit_pass(&listener->fd_log, uv_now(listener->loop), &held))
        log_error("out_of_descriptors", "port=%u held=%llu", listener->port,
                  (unsigned long long)held);
    take_pause(listener);
}

static void
on_readable(uv_poll_t *poll, int status, int events)
{
    (void)events;
    struct listener *listener = poll->data;
    if (status < 0) {
        take_pause(listener);
        return;
    }
    for (int i = 0; i < BATCH && listener->fd >= 0 && may_accept(listener); i++) {
        struct sockaddr_storage from;
        socklen_t len = sizeof from;
        int fd =
            accept4(listener->fd, (struct sockaddr *)&from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            if (listener->opts.per_second > 0)
                listener->credit -= SOCKET_COST;
            admit(listener, fd, &from);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return;
        } else if (errno == EMFILE || errno == ENFILE) {
            run_dry(listener);
            return;
        } else if (errno != ECONNABORTED && errno != EINTR) {
            take_pause(listener);
            return;
        }
    }
}

static int
socket_bind(const struct addrinfo *info, bool is_shared)
{
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    int on = 1, off = 0, unsent = UNSENT_MAX, share = is_shared;
    if (info->ai_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof unsent);
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &share, sizeof share) == 0 &&
        bind(fd, info->ai_addr, info->ai_addrlen) == 0 && listen(fd, SOMAXCONN) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

// A listening socket, or -1 with *problem set.
static int
socket_open(const struct listener_opts *opts, const char **problem)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found;
    char service[16];
    snprintf(service, sizeof service, "%u", opts->port);
    int code = getaddrinfo(opts->host, service, &hints, &found);
    if (code != 0) {
        *problem = gai_strerror(code);
        return -1;
    }
    int fd = socket_bind(found, opts->is_shared);
    if (fd < 0)
        *problem = errno == EADDRINUSE ? "address in use" : strerror(errno);
    freeaddrinfo(found);
    return fd;
}

static unsigned
socket_port(int fd)
{
    struct sockaddr_storage at;
    socklen_t len = sizeof at;
    if (getsockname(fd, (struct sockaddr *)&at, &len) != 0)
        return 0;
    if (at.ss_family == AF_INET)
        return ntohs(((const struct sockaddr_in *)(const void *)&at)->sin_port);
    return ntohs(((const struct sockaddr_in6 *)(const void *)&at)->sin6_port);
}

int
listener_open(uv_loop_t *loop, const struct listener_opts *opts, struct listener **out,
              char why[static 200])
{
    const char *problem = "";
    int fd = socket_open(opts, &problem);
    if (fd < 0) {
        snprintf(why, 200, "cannot listen on %s:%u: %s (%s)", opts->host, opts->port, problem,
                 opts->key);
        return SY_EIO;
    }
    struct listener *listener = calloc(1, sizeof *listener);
    if (listener == NULL)
        abort();
    listener->loop = loop;
    listener->opts = *opts;
    listener->fd = fd;
    listener->spare = spare_open();
    listener->port = socket_port(fd);
    listener->fd_log.interval_ms = LOG_EVERY_MS;
    listener->poll.data = listener->pause.data = listener;
    uv_poll_init(loop, &listener->poll, fd);
    uv_timer_init(loop, &listener->pause);
    listener->handles = 2;
    uv_poll_start(&listener->poll, UV_READABLE, on_readable);
    *out = listener;
    return 0;
}

// The pause timer is closed by listener_close only, so the last comes after that.
static void
on_handle_closed(uv_handle_t *handle)
{
    struct listener *listener = handle->data;
    if (--listener->handles > 0)
        return;
    void (*closed)(void *arg) = listener->closed;
    void *arg = listener->closed_arg;
    free(listener);
    closed(arg);
}

void
listener_stop(struct listener *listener)
{
    if (listener->fd < 0)
        return;
    // Closed before its descriptor is: libuv takes the number out of its epoll set once
    // more when the handle is closed, and by then the number may be another's.
    uv_close((uv_handle_t *)&listener->poll, on_handle_closed);
    uv_timer_stop(&listener->pause);
    close(listener->fd);
    listener->fd = -1;
    if (listener->spare >= 0)
        close(listener->spare);
    listener->spare = -1;
}

void
listener_close(struct listener *listener, void (*closed)(void *arg), void *arg)
{
    assert(listener->peers == 0);
    listener_stop(listener);
    listener->closed = closed;
    listener->closed_arg = arg;
    uv_close((uv_handle_t *)&listener->pause, on_handle_closed);
}

unsigned
listener_port(const struct listener *listener)
{
    return listener->port;
}

void
listener_stats(const struct listener *listener, struct listener_stats *out)
{
    *out = listener->stats;
}
