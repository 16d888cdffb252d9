// wire_worker.c: what may block, on a worker thread: connecting, subscribing, ending.
// And the hooks through which nats.c tells an event loop what it wants.
//
// A subscription is synchronous and drained by the loop, except those under
// "unheard.": of a "no responders" answer natsSubscription_NextMsg returns the status
// but not the message, and we need its subject. Those few get a delivery thread.
#include <arpa/inet.h>
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/bus/wire_private.h"

// At the end, how long the server may take to read what we sent. Loopback and local
// networks need under 1 ms; a frozen server costs this much.
#define LINGER_MS 250
static natsStatus
on_attach(void **user, void *loop, natsConnection *nc, natsSock fd)
{
    (void)nc;
    struct wire *wire = loop;
    *user = wire;
    // The library closes its descriptor whenever it likes, and the next accept() gets
    // the number while the loop still polls it. A dup is ours until we close it.
    wire->library_fd = fd;
    wire->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    return wire->fd >= 0 ? NATS_OK : NATS_SYS_ERROR;
}

static natsStatus
on_want_read(void *user, bool add)
{
    (void)user;
    (void)add;
    return NATS_OK;
}

static natsStatus
on_want_write(void *user, bool add)
{
    struct wire *wire = user;
    atomic_store(&wire->wants_write, add);
    return NATS_OK;
}

static natsStatus
on_detach(void *user)
{
    struct wire *wire = user;
#if NATS_VERSION_NUMBER >= 0x030902
    // Since then the library leaves closing its socket to us.
    natsConnection_ProcessCloseEvent(&wire->library_fd);
#endif
    atomic_store(&wire->is_detached, true);
    return NATS_OK;
}

static void
on_delivery(natsConnection *nc, natsSubscription *sub, natsMsg *msg, void *closure)
{
    (void)nc;
    (void)sub;
    struct wire *wire = closure;
    struct notices *notices = &wire->notices;
    pthread_mutex_lock(&notices->lock);
    bool has_room = notices->count < NOTICES_MAX;
    if (has_room)
        notices->ring[(notices->first + notices->count++) % NOTICES_MAX] = msg;
    else
        notices->dropped++;
    pthread_mutex_unlock(&notices->lock);
    if (has_room)
        uv_async_send(&wire->async);
    else
        natsMsg_Destroy(msg);
}

static void
on_delivery_end(void *closure)
{
    struct wire *wire = closure;
    sem_post(&wire->delivery_ended);
}

natsMsg *
notices_take(struct notices *notices)
{
    natsMsg *msg = NULL;
    pthread_mutex_lock(&notices->lock);
    if (notices->count > 0) {
        msg = notices->ring[notices->first];
        notices->first = (notices->first + 1) % NOTICES_MAX;
        notices->count--;
    }
    pthread_mutex_unlock(&notices->lock);
    return msg;
}

static natsStatus
subscribe_threaded(struct wire *wire, const char *subject)
{
    natsSubscription *sub;
    natsStatus s = natsConnection_Subscribe(&sub, wire->nc, subject, on_delivery, wire);
    if (s != NATS_OK)
        return s;
    wire->threaded_subs[wire->threaded_count++] = sub;
    // Cannot fail: nothing else touches this connection yet, so it is not closed.
    s = natsSubscription_SetOnCompleteCB(sub, on_delivery_end, wire);
    assert(s == NATS_OK);
    return s;
}

static natsStatus
subscribe_inline(struct wire *wire, const char *subject)
{
    natsSubscription *sub;
    natsStatus s = natsConnection_SubscribeSync(&sub, wire->nc, subject);
    if (s != NATS_OK)
        return s;
    wire->inline_subs[wire->inline_count++] = sub;
    // No limits: drained after each read, it holds what one read brought.
    return natsSubscription_SetPendingLimits(sub, -1, -1);
}

static natsStatus
subscribe_all(struct wire *wire)
{
    natsStatus s = NATS_OK;
    for (size_t i = 0; s == NATS_OK && wire->subjects[i] != NULL; i++) {
        const char *subject = wire->subjects[i];
        if (strncmp(subject, "unheard.", 8) == 0)
            s = subscribe_threaded(wire, subject);
        else
            s = subscribe_inline(wire, subject);
    }
    return s;
}

// The URL without scheme, user and password.
static void
note_peer(struct wire *wire)
{
    char url[512];
    if (natsConnection_GetConnectedUrl(wire->nc, url, sizeof url) != NATS_OK)
        url[0] = '\0';
    const char *place = strrchr(url, '@');
    if (place == NULL && (place = strstr(url, "://")) != NULL)
        place += 2;
    snprintf(wire->peer, sizeof wire->peer, "%.*s", (int)sizeof wire->peer - 1,
             place != NULL ? place + 1 : url);
}

void
wire_connect_job(uv_work_t *work)
{
    struct wire *wire = work->data;
    natsOptions *options = wire->target->options;
    natsStatus s =
        natsOptions_SetEventLoop(options, wire, on_attach, on_want_read, on_want_write, on_detach);
    if (s == NATS_OK)
        s = natsConnection_Connect(&wire->nc, options);
    if (s == NATS_OK)
        s = subscribe_all(wire);
    if (s == NATS_OK) {
        int64_t max = natsConnection_GetMaxPayload(wire->nc);
        wire->max_payload = max > 0 ? (size_t)max : 0;
        note_peer(wire);
        return;
    }
    const char *text = nats_GetLastError(NULL);
    const char *end = text != NULL && text[0] == '(' ? strstr(text, "): ") : NULL;
    if (end != NULL)
        text = end + 3; // the library's own file and line
    if (text == NULL || text[0] == '\0')
        text = natsStatus_GetText(s);
    snprintf(wire->why, sizeof wire->why, "%.159s", text);
    wire->error = s == NATS_CONNECTION_AUTH_FAILED ? SY_EDENIED : SY_EDOWN;
}

// Says goodbye so that what the kernel holds arrives: nats.c sets SO_LINGER to 0, with
// which close() throws it away, and so does closing with unread input.
static void
linger(int fd)
{
    struct linger off = {0, 0};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &off, sizeof off);
    if (shutdown(fd, SHUT_WR) != 0)
        return;
    char scrap[4096];
    for (int left_ms = LINGER_MS; left_ms > 0; left_ms -= 10) {
        struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
        if (poll(&poll_fd, 1, 10) == 0)
            continue;
        ssize_t n;
        while ((n = recv(fd, scrap, sizeof scrap, MSG_DONTWAIT)) > 0)
            continue;
        if (n == 0 || (errno != EAGAIN && errno != EINTR))
            return;
    }
}

// Ends the connection by a protocol error instead of the library's own Close, which
// would first wait up to 500 ms if it still had something to send; and which loses
// the buffer of a message that had come in part (seen in 3.4.1, still so in 3.13). The
// library reads the nonsense from a socket put in the place of its own: the message is
// completed, nobody gets it, and the line after it cannot be.
static void
feed_nonsense(struct wire *wire)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return;
    if (dup3(pair[0], wire->library_fd, O_CLOEXEC) >= 0) {
        char nonsense[16 * 1024];
        memset(nonsense, '\n', sizeof nonsense);
        size_t rounds = wire->max_payload / sizeof nonsense + 8;
        for (size_t i = 0; i < rounds && !natsConnection_IsClosed(wire->nc); i++) {
            (void)send(pair[1], nonsense, sizeof nonsense, MSG_DONTWAIT | MSG_NOSIGNAL);
            errno = 0; // with TLS the library looks at it though nothing set it
            natsConnection_ProcessReadEvent(wire->nc);
        }
    }
    close(pair[0]);
    close(pair[1]);
}

static void
end_connection(struct wire *wire)
{
    if (!natsConnection_IsClosed(wire->nc)) {
        if (wire->close_gently)
            linger(wire->fd);
        feed_nonsense(wire);
    }
    natsConnection_Close(wire->nc); // no-op if it is
}

void
wire_end_job(uv_work_t *work)
{
    struct wire *wire = work->data;
    if (wire->nc == NULL)
        return;
    end_connection(wire);
    // After this no library thread knows the wire.
    for (size_t i = 0; i < wire->threaded_count; i++)
        while (sem_wait(&wire->delivery_ended) != 0)
            assert(errno == EINTR);
    natsMsg *msg;
    while ((msg = notices_take(&wire->notices)) != NULL)
        natsMsg_Destroy(msg);
    for (size_t i = 0; i < wire->threaded_count; i++)
        natsSubscription_Destroy(wire->threaded_subs[i]);
    for (size_t i = 0; i < wire->inline_count; i++)
        natsSubscription_Destroy(wire->inline_subs[i]);
    natsConnection_Destroy(wire->nc);
    wire->nc = NULL;
}

static bool
is_port_of(const struct target *target, int fd)
{
    struct sockaddr_storage peer;
    socklen_t len = sizeof peer;
    if (getpeername(fd, (struct sockaddr *)&peer, &len) != 0)
        return false;
    uint16_t port = 0;
    if (peer.ss_family == AF_INET)
        port = ntohs(((const struct sockaddr_in *)&peer)->sin_port);
    else if (peer.ss_family == AF_INET6)
        port = ntohs(((const struct sockaddr_in6 *)&peer)->sin6_port);
    for (size_t i = 0; i < target->server_count; i++)
        if (port == target->ports[i])
            return true;
    return false;
}

// nats.c puts SO_LINGER on with 0 seconds on each of its sockets; nobody else does.
static bool
is_library_socket(int fd)
{
    struct linger linger;
    socklen_t len = sizeof linger;
    return getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &len) == 0 && linger.l_onoff != 0 &&
           linger.l_linger == 0;
}

// A server that freezes after its INFO holds the library for as long as it likes: the
// TLS handshake has no deadline, and up to 3.4.1 the wait for the first PONG turns,
// once its deadline is over, into a busy loop that also eats memory. The library does
// not say which socket it uses before it is done, so it is found by its marks.
void
wire_unstick(struct wire *wire)
{
    DIR *dir = opendir("/proc/self/fd");
    if (dir == NULL)
        return;
    const struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        int fd = atoi(entry->d_name);
        if (entry->d_name[0] != '.' && is_library_socket(fd) && is_port_of(wire->target, fd))
            shutdown(fd, SHUT_RDWR);
    }
    closedir(dir);
}
