// wire.c: the loop's half of a connection; see wire.h. Nothing here waits: the library
// is asked to read only what has arrived and to write only what fits, and no other
// thread holds its mutex, since no thread of it but idle delivery threads knows the
// connection. With TLS it may wait for the rest of a record: at most 80 ms, and then
// the connection is lost.
#include "lib/bus/wire.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "lib/bus/wire_private.h"

// Reads of 64 KiB per turn while the kernel has more: the other sockets of the loop
// wait for at most this much.
#define READS_PER_TURN 4
// A read that brought less than half of the buffer has emptied the kernel's.
#define FULL_READ_BYTES (32 * 1024)

static void on_poll(uv_poll_t *poll, int status, int events);

static void
watch(struct wire *wire)
{
    int events = UV_READABLE | UV_DISCONNECT | (wire->is_blocked ? UV_WRITABLE : 0);
    int rc = uv_poll_start(&wire->poll, events, on_poll);
    assert(rc == 0);
}

static const char *
loss_text(struct wire *wire)
{
    const char *text = NULL;
    natsStatus s = natsConnection_GetLastError(wire->nc, &text);
    switch (s) {
    case NATS_OK: // the loop saw it first
    case NATS_CONNECTION_CLOSED:
        return wire->is_cut ? "nats-server stopped within a TLS record"
                            : "nats-server closed the connection";
    case NATS_IO_ERROR:
        return "the connection was reset";
    case NATS_TIMEOUT:
        return "nats-server does not read";
    case NATS_ERR: // the only one that comes with a text of the server
        return text;
    default:
        return natsStatus_GetText(s);
    }
}

// Whether the library has given up. Tells the owner, except from within its own call:
// then in the next turn.
static bool
check_lost(struct wire *wire, bool may_call)
{
    if (wire->state == WIRE_OPEN && atomic_load(&wire->is_detached)) {
        wire->state = WIRE_LOST;
        uv_poll_stop(&wire->poll);
    }
    if (wire->state != WIRE_LOST)
        return false;
    if (!may_call) {
        uv_async_send(&wire->async);
    } else if (!wire->is_lost_told) {
        wire->is_lost_told = true;
        wire->hooks.on_lost(wire->hooks.arg, loss_text(wire));
    }
    return true;
}

// What the owner is called for may close the wire, which gives back what is kept.
static void
deliver(struct wire *wire, natsMsg *msg)
{
    wire->hooks.on_message(wire->hooks.arg, natsMsg_GetSubject(msg), natsMsg_GetData(msg),
                           (size_t)natsMsg_GetDataLength(msg), natsMsg_IsNoResponders(msg));
    if (wire->state == WIRE_OPEN)
        spent_keep(&wire->spent, msg);
    else
        natsMsg_Destroy(msg);
}

// Hands over what the last read brought to one subscription; the bytes of it. Asks for
// the count first: NextMsg on an empty queue formats an error text. Each message may
// close the wire, and from then on a worker takes the library's objects apart.
static size_t
drain(struct wire *wire, natsSubscription *sub)
{
    int count = 0, pending_bytes = 0;
    size_t bytes = 0;
    if (natsSubscription_GetPending(sub, &count, &pending_bytes) != NATS_OK)
        return 0;
    while (count > 0 && wire->state == WIRE_OPEN) {
        natsMsg *msg = NULL;
        natsStatus s = natsSubscription_NextMsg(&msg, sub, 0);
        if (s == NATS_SLOW_CONSUMER) { // comes once and takes no message
            wire->unread++;
            continue;
        }
        count--;
        if (s == NATS_NO_RESPONDERS)
            continue; // the reply was not under "unheard."
        if (s != NATS_OK)
            break;
        bytes += strlen(natsMsg_GetSubject(msg)) + (size_t)natsMsg_GetDataLength(msg);
        deliver(wire, msg);
    }
    return bytes;
}

static void
check_refused(struct wire *wire)
{
    const char *text = NULL;
    if (natsConnection_GetLastError(wire->nc, &text) != NATS_NOT_PERMITTED ||
        strcmp(text, wire->refusal) == 0)
        return;
    snprintf(wire->refusal, sizeof wire->refusal, "%s", text);
    wire->hooks.on_refused(wire->hooks.arg, wire->refusal);
}

static bool
has_bytes(const struct wire *wire)
{
    int here = 0;
    return ioctl(wire->fd, FIONREAD, &here) == 0 && here > 0;
}

void
wire_read(struct wire *wire)
{
    for (int i = 0; i < READS_PER_TURN && wire->state == WIRE_OPEN; i++) {
        // The library is not to see the end: then it could no longer be made to let
        // go of a message that had come in part (feed_nonsense).
        if (wire->is_at_end && !has_bytes(wire))
            break;
        enum wire_ready ready = wire->has_seen_data && !wire->is_tls ? WIRE_WHOLE : wire_look(wire);
        if (ready == WIRE_NOTHING)
            break;
        errno = 0; // with TLS the library looks at it though nothing set it
        if (ready == WIRE_WHOLE)
            natsConnection_ProcessReadEvent(wire->nc);
        else
            wire_read_part(wire);
        check_refused(wire); // first: of a connection with refusals no message counts
        size_t bytes = 0;
        for (size_t s = 0; s < wire->inline_count && wire->state == WIRE_OPEN; s++)
            bytes += drain(wire, wire->inline_subs[s]);
        if (bytes < FULL_READ_BYTES && !wire->is_tls)
            break;
    }
}

void
wire_flush(struct wire *wire)
{
    if (wire->state != WIRE_OPEN || wire->is_blocked || !atomic_load(&wire->wants_write))
        return;
    // With TLS the library waits when not all fits: begin only when there is room.
    struct pollfd poll_fd = {.fd = wire->fd, .events = POLLOUT};
    // Never with an empty buffer: the library takes a send() of nothing for the end.
    if (!wire->is_tls || poll(&poll_fd, 1, 0) > 0)
        natsConnection_ProcessWriteEvent(wire->nc);
    if (check_lost(wire, false))
        return;
    if (atomic_load(&wire->wants_write)) {
        int left = natsConnection_Buffered(wire->nc);
        wire->buffered = left > 0 ? (size_t)left : 0;
        wire->is_blocked = true;
        watch(wire);
    } else {
        wire->buffered = 0;
    }
}

void
wire_tidy(struct wire *wire)
{
    spent_give_back(&wire->spent);
}

static void
on_poll(uv_poll_t *poll, int status, int events)
{
    struct wire *wire = poll->data;
    if ((events & UV_WRITABLE) != 0 && wire->is_blocked) {
        wire->is_blocked = false;
        watch(wire);
        wire_flush(wire);
    }
    if (status != 0 || (events & UV_DISCONNECT) != 0)
        wire->is_at_end = true;
    if ((events & UV_READABLE) != 0 || wire->is_at_end)
        wire_read(wire);
    // After an error libuv polls no further; after an orderly end the rest is read first.
    if (wire->state == WIRE_OPEN && (status != 0 || (wire->is_at_end && !has_bytes(wire))))
        atomic_store(&wire->is_detached, true);
    check_lost(wire, true);
}

static void
on_async(uv_async_t *async)
{
    struct wire *wire = async->data;
    natsMsg *msg;
    while (wire->state == WIRE_OPEN && (msg = notices_take(&wire->notices)) != NULL)
        deliver(wire, msg);
    check_lost(wire, true);
}

int
wire_publish(struct wire *wire, const char *subject, const char *reply, const void *bytes,
             size_t len)
{
    if (wire->state != WIRE_OPEN)
        return SY_EDOWN;
    if (len > wire->max_payload)
        return SY_EINVAL;
    natsStatus s = reply != NULL
                       ? natsConnection_PublishRequest(wire->nc, subject, reply, bytes, (int)len)
                       : natsConnection_Publish(wire->nc, subject, bytes, (int)len);
    if (s == NATS_MAX_PAYLOAD) // lowered by the server since
        return SY_EINVAL;
    if (s != NATS_OK)
        return SY_EDOWN;
    // "PUB " subject " " reply " " digits CRLF payload CRLF, digits rounded up.
    wire->buffered += strlen(subject) + (reply != NULL ? strlen(reply) + 1 : 0) + len + 17;
    return 0;
}

size_t
wire_buffered(const struct wire *wire)
{
    return wire->buffered;
}

size_t
wire_max_payload(const struct wire *wire)
{
    return wire->max_payload;
}

const char *
wire_peer(const struct wire *wire)
{
    return wire->peer;
}

uint64_t
wire_overflowed(struct wire *wire)
{
    pthread_mutex_lock(&wire->notices.lock);
    uint64_t dropped = wire->notices.dropped;
    pthread_mutex_unlock(&wire->notices.lock);
    return wire->unread + dropped;
}

static void
on_handle_closed(uv_handle_t *handle)
{
    struct wire *wire = handle->data;
    if (--wire->handles > 0)
        return;
    if (wire->fd >= 0)
        close(wire->fd);
    sem_destroy(&wire->delivery_ended);
    pthread_mutex_destroy(&wire->notices.lock);
    struct wire_hooks hooks = wire->hooks;
    free(wire);
    hooks.on_closed(hooks.arg);
}

static void
on_ended(uv_work_t *work, int status)
{
    (void)status; // never cancelled
    struct wire *wire = work->data;
    uv_close((uv_handle_t *)&wire->async, on_handle_closed);
    if (wire->has_poll) {
        wire->handles++;
        uv_close((uv_handle_t *)&wire->poll, on_handle_closed);
    }
}

static void
end(struct wire *wire)
{
    int rc = uv_queue_work(wire->work.loop, &wire->work, wire_end_job, on_ended);
    assert(rc == 0);
}

static void
on_connected(uv_work_t *work, int status)
{
    (void)status;
    struct wire *wire = work->data;
    if (wire->state == WIRE_CLOSING) {
        end(wire);
        return;
    }
    int error = wire->error;
    if (error == 0) {
        int rc = uv_poll_init(work->loop, &wire->poll, wire->fd);
        wire->has_poll = rc == 0;
        wire->poll.data = wire;
        if (rc != 0) {
            snprintf(wire->why, sizeof wire->why, "uv_poll_init: %s", uv_strerror(rc));
            error = SY_EIO;
        }
    }
    wire->state = error == 0 ? WIRE_OPEN : WIRE_FAILED;
    if (error == 0)
        watch(wire);
    wire->hooks.on_open(wire->hooks.arg, error, wire->why);
}

struct wire *
wire_open(uv_loop_t *loop, struct target *target, const char *const *subjects,
          const struct wire_hooks *hooks)
{
    struct wire *wire = calloc(1, sizeof *wire);
    if (wire == NULL)
        abort();
    wire->state = WIRE_CONNECTING;
    wire->hooks = *hooks;
    wire->target = target;
    wire->subjects = subjects;
    wire->fd = -1;
    wire->low_water = 1;
    wire->work.data = wire;
    wire->async.data = wire;
    sem_init(&wire->delivery_ended, 0, 0);
    pthread_mutex_init(&wire->notices.lock, NULL);
    int rc = uv_async_init(loop, &wire->async, on_async);
    assert(rc == 0);
    wire->handles = 1;
    rc = uv_queue_work(loop, &wire->work, wire_connect_job, on_connected);
    assert(rc == 0);
    return wire;
}

void
wire_close(struct wire *wire, bool gently)
{
    assert(wire->state != WIRE_CLOSING);
    bool is_connecting = wire->state == WIRE_CONNECTING;
    if (gently)
        wire_flush(wire);
    wire->close_gently = gently && wire->state == WIRE_OPEN;
    wire->state = WIRE_CLOSING;
    spent_give_back(&wire->spent);
    if (wire->has_poll)
        uv_poll_stop(&wire->poll);
    if (!is_connecting)
        end(wire);
}
