// flush.c: writes: who is written to in a turn, and with how much.
//
// conn_push queues ready frames; server_flush, at the end of the turn, writes each conn's
// queue with one call. LWS_WRITE_RAW sends bytes as they are: the frames have their heads.
// libwebsockets puts pongs of its own between our writes, so a write holds whole frames
// only. What the kernel does not take, libwebsockets keeps, and until that is gone nothing
// more may be written (a second write would be torn apart): the rest waits in our queue,
// which has a bound, for LWS_CALLBACK_SERVER_WRITEABLE.
//
// Who is written to. A write costs 5 us, queueing a frame a twentieth of that; one command
// has up to a thousand receivers, and one read brings several commands. So:
//   soon    conns that got one of the first FANNED_SOON frames of a read, that close, or
//           that have much waiting: all of them at the end of the turn
//   later   conns that only the rest of a read is for: a slice of them per turn, oldest
//           first, SLICE_WRITES or SLICE_BYTES at most. The loop goes on reading between
//           the slices, and what comes for those that still wait leaves in the same write.
// With nothing to read, the slices follow each other as if they were one. With a client
// that never stops, everybody else's messages wait for its one read and one slice per turn.
// Once the oldest has waited LATER_MS, slices are LATE_TIMES as large, so that writing does
// not fall behind reading for good.
#include "edge/server_internal.h"

#include <assert.h>
#include <string.h>

#define FANNED_SOON 64            // frames of one read; few enough not to be felt by others
#define SLICE_WRITES 256          // about a millisecond
#define SLICE_BYTES (1024 * 1024) // about as long
#define LATER_MS 200
#define LATE_TIMES 4

// Who.

static bool
is_for_now(const struct conn *conn)
{
    const struct server *server = conn->server;
    size_t much = server->opts.max_queue_bytes / 2;
    if (much > WRITE_MAX)
        much = WRITE_MAX; // more would not fit into the same write
    return server->fanned <= FANNED_SOON || conn->state != CONN_OPEN || conn->outq.bytes >= much;
}

void
flush_forget(struct conn *conn)
{
    struct server *server = conn->server;
    if (conn->flush != FLUSH_NONE)
        TAILQ_REMOVE(conn->flush == FLUSH_SOON ? &server->soon : &server->later, conn, flushing);
    conn->flush = FLUSH_NONE;
}

void
flush_mark(struct conn *conn)
{
    struct server *server = conn->server;
    server->fanned++;
    if (conn->flush == FLUSH_SOON)
        return;
    if (is_for_now(conn)) {
        flush_forget(conn);
        conn->flush = FLUSH_SOON;
        TAILQ_INSERT_TAIL(&server->soon, conn, flushing);
    } else if (conn->flush == FLUSH_NONE) {
        conn->flush = FLUSH_LATER;
        conn->later_ms = (uint32_t)uv_now(server->loop);
        TAILQ_INSERT_TAIL(&server->later, conn, flushing);
    }
}

void
flush_read_from(const struct conn *conn)
{
    struct server *server = conn->server;
    if (server->reader == conn)
        return;
    server->reader = conn;
    server->fanned = 0;
}

// With how much.

// False: the socket is broken.
static bool
write_bytes(struct conn *conn, uint8_t *bytes, size_t len, unsigned frames)
{
    struct server_stats *stats = &conn->server->stats;
    stats->writes++;
    stats->frames_out += frames;
    stats->bytes_out += len;
    if (lws_write(conn->wsi, bytes, len, LWS_WRITE_RAW) < 0)
        return false;
    conn->held = lws_partial_buffered(conn->wsi) ? (uint32_t)len : 0;
    return true;
}

// One frame from where it lies, or as many as fit from the scratch buffer.
static bool
write_next(struct conn *conn)
{
    struct outq *q = &conn->outq;
    struct frame *frame = outq_peek(q);
    if (q->count == 1 || frame->len > WRITE_MAX) {
        bool is_sound = write_bytes(conn, frame->bytes, frame->len, 1);
        outq_pop(q);
        return is_sound;
    }
    uint8_t *scratch = conn->server->scratch;
    size_t len = 0;
    unsigned frames = 0;
    while ((frame = outq_peek(q)) != NULL && len + frame->len <= WRITE_MAX) {
        memcpy(scratch + len, frame_bytes(frame), frame->len);
        len += frame->len;
        frames++;
        outq_pop(q);
    }
    return write_bytes(conn, scratch, len, frames);
}

bool
flush_conn(struct conn *conn)
{
    while (!outq_is_empty(&conn->outq)) {
        if (lws_partial_buffered(conn->wsi)) {
            while (conn->state == CONN_CLOSING && conn->outq.count > 1)
                outq_pop(&conn->outq); // the close frame stays
            lws_callback_on_writable(conn->wsi);
            return true;
        }
        if (!write_next(conn))
            return false;
    }
    return true;
}

// The end of a turn.

static void
flush_one(struct conn *conn)
{
    flush_forget(conn);
    if (!flush_conn(conn))
        conn_kill(conn);
}

static void
flush_slice(struct server *server)
{
    const struct server_stats *stats = &server->stats;
    struct conn *conn = TAILQ_FIRST(&server->later);
    if (conn == NULL)
        return;
    uint32_t waited_ms = (uint32_t)uv_now(server->loop) - conn->later_ms;
    unsigned times = waited_ms >= LATER_MS ? LATE_TIMES : 1;
    uint64_t most_writes = stats->writes + (uint64_t)SLICE_WRITES * times;
    uint64_t most_bytes = stats->bytes_out + (uint64_t)SLICE_BYTES * times;
    while ((conn = TAILQ_FIRST(&server->later)) != NULL && stats->writes < most_writes &&
           stats->bytes_out < most_bytes)
        flush_one(conn);
}

bool
server_flush(struct server *server)
{
    assert(!server->is_in_session);
    struct conn *conn;
    if (server->is_held)
        return false;
    while ((conn = TAILQ_FIRST(&server->soon)) != NULL)
        flush_one(conn);
    flush_slice(server);
    server->reader = NULL;
    server->fanned = 0;
    return !TAILQ_EMPTY(&server->later);
}

// Holding.

void
server_hold(struct server *server, bool is_held)
{
    server->is_held = is_held;
}

size_t
server_drop_late(struct server *server, uint64_t wall_ms)
{
    struct conn *conn;
    size_t dropped = 0;
    TAILQ_FOREACH(conn, &server->open, siblings)
    dropped += outq_drop_late(&conn->outq, wall_ms);
    return dropped;
}
