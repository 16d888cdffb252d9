// ws.c: WebSockets over libwebsockets: reads and the end. Writes: flush.c.
//
// Reading: libwebsockets hands over pieces of frames, as they come from the socket.
// A message that is one piece goes to the session where it lies; others are put together
// in conn->message, whose size is checked before each piece is added, with what the frame's
// head promises counted in.
//
// The end, by who starts it:
//   conn_close            the close frame is the last in the queue; if the kernel stops
//                         taking, what is before it is dropped. The peer's close frame, or
//                         CLOSE_WAIT_MS, ends it: CONN_CLOSING
//   the peer's close      libwebsockets sends it back and closes: CONN_LEAVING
//   the peer breaks RFC   libwebsockets sends its own close frame: CONN_LEAVING
//   6455
//   socket error, or the  LWS_CALLBACK_CLOSED at once; the code is LOST
//   end without a close
//   a write fails         conn_kill; the code is LOST
// conn_close never ends a conn itself, so a session may call it from anywhere.
//
// Known deviation: libwebsockets 4.1.6 does not let us see whether a client masked its
// frames, and accepts unmasked ones. A pong without payload is not reported to us, so pings
// must carry at least one byte.
#include "edge/server_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "proto/ident.h"
#include "proto/tables.h"

#define CLOSE_WAIT_MS 4500 // with a turn's delay under the 5 s promised
#define CLOSE_REASON_MAX 123

// State.

// From CONN_OPEN to the way out; on every other path conn_gone comes directly.
static void
conn_leave(struct conn *conn, enum conn_state state, enum close_code code)
{
    struct server *server = conn->server;
    assert(conn->state == CONN_OPEN && (state == CONN_CLOSING || state == CONN_LEAVING));
    conn->state = (uint8_t)state;
    conn->code = (uint16_t)code;
    conn->cut_ms = uv_now(server->loop) + CLOSE_WAIT_MS;
    TAILQ_REMOVE(&server->open, conn, siblings);
    TAILQ_INSERT_TAIL(&server->closing, conn, siblings);
    if (!uv_is_active((uv_handle_t *)&server->cut_timer))
        uv_timer_start(&server->cut_timer, on_cut_due, CLOSE_WAIT_MS, 0);
}

static void
message_drop(struct conn *conn)
{
    if (conn->message == NULL)
        return;
    buf_fini(conn->message);
    free(conn->message);
    conn->message = NULL;
}

static void
message_append(struct conn *conn, const uint8_t *bytes, size_t len)
{
    if (conn->message == NULL && (conn->message = calloc(1, sizeof *conn->message)) == NULL)
        abort();
    buf_append(conn->message, bytes, len);
}

void
conn_gone(struct conn *conn)
{
    struct server *server = conn->server;
    struct conn **slot = lws_wsi_user(conn->wsi);
    if (slot != NULL)
        *slot = NULL;
    conn->visitor->conn = NULL;
    TAILQ_REMOVE(conn->state == CONN_OPEN ? &server->open : &server->closing, conn, siblings);
    flush_forget(conn);
    conn->state = CONN_GONE;
    outq_fini(&conn->outq);
    message_drop(conn);
    enum close_code code = conn->code != 0 ? (enum close_code)conn->code : CLOSE_LOST;
    server->stats.closes[close_index(code)]++;
    server->connections--;

    assert(!server->is_in_session);
    server->is_in_session = true;
    session_closed(&conn->session, code, edge_now_ms(server->edge));
    server->is_in_session = false;
    free(conn);
}

void
socket_kill(struct lws *wsi)
{
    // A socket with buffered output is not closed but flushed, for 5 s more. Once shut
    // down, flushing fails, and the next turn closes it.
    shutdown(lws_get_socket_fd(wsi), SHUT_RDWR);
    lws_set_timeout(wsi, PENDING_TIMEOUT_USER_REASON_BASE, LWS_TO_KILL_SYNC);
}

void
conn_kill(struct conn *conn)
{
    struct lws *wsi = conn->wsi;
    conn_gone(conn);
    socket_kill(wsi);
}

void
on_cut_due(uv_timer_t *timer)
{
    struct server *server = timer->data;
    uint64_t now = uv_now(server->loop);
    struct conn *conn;
    while ((conn = TAILQ_FIRST(&server->closing)) != NULL && conn->cut_ms <= now)
        conn_kill(conn);
    if (conn != NULL)
        uv_timer_start(timer, on_cut_due, conn->cut_ms - now, 0);
}

// Conn.h.

int
conn_push(struct conn *conn, struct frame *frame)
{
    if (conn->state != CONN_OPEN)
        return SY_EDOWN;
    int error = outq_push(&conn->outq, frame, conn->server->opts.max_queue_bytes);
    if (error == 0)
        flush_mark(conn);
    return error;
}

void
conn_close(struct conn *conn, enum close_code code)
{
    if (conn->state != CONN_OPEN)
        return;
    conn_leave(conn, CONN_CLOSING, code);
    if (conn->server->is_held)
        outq_fini(&conn->outq);
    const char *text = close_text(code);
    size_t len = strlen(text);
    assert(len <= CLOSE_REASON_MAX);
    uint8_t payload[2 + CLOSE_REASON_MAX] = {(uint8_t)(code >> 8), (uint8_t)code};
    memcpy(payload + 2, text, len);
    struct frame *frame = frame_new_control(8, payload, 2 + len);
    int error = outq_push(&conn->outq, frame, SIZE_MAX);
    assert(error == 0);
    frame_release(frame);
    flush_mark(conn);
}

size_t
conn_backlog(const struct conn *conn)
{
    bool is_held = conn->held > 0 && conn->state != CONN_GONE && lws_partial_buffered(conn->wsi);
    return conn->outq.bytes + (is_held ? conn->held : 0);
}

enum codec_format
conn_format(const struct conn *conn)
{
    return (enum codec_format)conn->format;
}

const char *
conn_peer(const struct conn *conn)
{
    return conn->visitor->caller->name;
}

// Closing all.

void
on_sweep(uv_idle_t *idle)
{
    struct server *server = idle->data;
    for (unsigned i = 0; i < server->sweep_per_turn; i++) {
        struct conn *conn = TAILQ_FIRST(&server->open);
        if (conn == NULL) {
            uv_idle_stop(idle);
            return;
        }
        conn_close(conn, server->sweep_code);
    }
}

void
server_close_all(struct server *server, enum close_code code, unsigned per_turn)
{
    assert(per_turn > 0);
    server->sweep_code = code;
    server->sweep_per_turn = per_turn;
    uv_idle_start(&server->sweep, on_sweep); // it also keeps the turns coming
}

// Reading.

static void
deliver(struct conn *conn, const uint8_t *bytes, size_t len)
{
    struct server *server = conn->server;
    conn->is_in_message = false;
    conn->fragments = 0;
    if (conn->format == CODEC_JSON && !utf8_is_valid((const char *)bytes, len)) {
        conn_close(conn, CLOSE_BAD_TEXT);
        return;
    }
    server->stats.messages_in++;
    server->is_in_session = true;
    session_receive(&conn->session, bytes, len, edge_now_ms(server->edge));
    server->is_in_session = false;
}

static void
show_life(struct conn *conn)
{
    struct server *server = conn->server;
    server->is_in_session = true;
    session_alive(&conn->session, edge_now_ms(server->edge));
    server->is_in_session = false;
}

static void
on_receive(struct conn *conn, const uint8_t *bytes, size_t len)
{
    struct server *server = conn->server;
    const struct server_opts *opts = &server->opts;
    server->stats.bytes_in += len;
    flush_read_from(conn);
    if (conn->state != CONN_OPEN)
        return; // on its way out: read, so that its close frame is found, and dropped
    bool is_binary = lws_frame_is_binary(conn->wsi) != 0;
    if (!conn->is_in_message && is_binary != (conn->format == CODEC_PROTOBUF)) {
        conn_close(conn, CLOSE_UNSUPPORTED);
        return;
    }
    conn->is_in_message = true;
    size_t left = lws_remaining_packet_payload(conn->wsi);
    if (left == 0)
        conn->fragments++;
    size_t before = conn->message != NULL ? conn->message->len : 0;
    if (before + len + left > opts->max_frame_bytes || conn->fragments > opts->max_fragments) {
        message_drop(conn);
        conn_close(conn, CLOSE_TOO_BIG);
        return;
    }
    bool is_whole = lws_is_final_fragment(conn->wsi) != 0;
    if (is_whole && before == 0) {
        deliver(conn, len > 0 ? bytes : (const uint8_t *)"", len);
        return;
    }
    if (len > 0)
        message_append(conn, bytes, len);
    if (!is_whole) {
        show_life(conn);
        return;
    }
    deliver(conn, conn->message->bytes, conn->message->len);
    message_drop(conn);
}

// The life of a conn.

static int
on_established(struct server *server, struct lws *wsi, struct conn **slot)
{
    assert(slot != NULL && server->upgrading == wsi); // checked by FILTER_PROTOCOL_CONNECTION
    server->upgrading = NULL;
    struct conn *conn = calloc(1, sizeof *conn);
    if (conn == NULL)
        abort();
    conn->wsi = wsi;
    conn->server = server;
    conn->visitor = lws_get_opaque_user_data(wsi);
    conn->format = (uint8_t)lws_get_protocol(wsi)->id;
    conn->state = CONN_OPEN;
    TAILQ_INSERT_TAIL(&server->open, conn, siblings);
    *slot = conn;
    conn->visitor->conn = conn;
    caller_settle(conn->visitor->caller);
    server->connections++;
    server->stats.upgrades++;

    server->is_in_session = true;
    session_open(&conn->session, server->edge, conn, server->verdict.token,
                 edge_now_ms(server->edge));
    server->is_in_session = false;
    explicit_bzero(server->verdict.token, sizeof server->verdict.token);
    return 0;
}

static bool
close_payload_is_sound(const uint8_t *payload, size_t len)
{
    return len == 0 || (len >= 2 && utf8_is_valid((const char *)payload + 2, len - 2));
}

// 0: libwebsockets answers with the same and closes. -1: it closes at once.
static int
on_peer_close(struct conn *conn, const uint8_t *payload, size_t len)
{
    if (conn->state != CONN_OPEN)
        return -1; // the answer to ours
    // Answers to what it said before.
    bool is_sound = conn->server->is_held || flush_conn(conn);
    conn_leave(conn, CONN_LEAVING, CLOSE_NORMAL);
    outq_fini(&conn->outq);
    return is_sound && close_payload_is_sound(payload, len) ? 0 : -1;
}

// libwebsockets starts to close. If it has a reason of its own, its close frame goes out
// after this, and nothing may follow that.
static void
on_drop(struct conn *conn)
{
    if (conn->state != CONN_OPEN || lws_get_close_length(conn->wsi) == 0)
        return;
    conn_leave(conn, CONN_LEAVING, CLOSE_MALFORMED);
    outq_fini(&conn->outq);
}

// The kernel takes more. It may be the first that happens after a pause, before any read:
// the clocks first. False: the socket is broken.
static bool
on_writeable(struct conn *conn)
{
    edge_now_ms(conn->server->edge);
    if (!conn->server->is_held)
        return flush_conn(conn);
    if (!outq_is_empty(&conn->outq))
        flush_mark(conn);
    return true;
}

int
ws_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
    struct conn **slot = user;
    struct conn *conn = slot != NULL ? *slot : NULL;
    if (reason == LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION || reason == LWS_CALLBACK_ESTABLISHED) {
        struct server *server = lws_context_user(lws_get_context(wsi));
        if (reason == LWS_CALLBACK_ESTABLISHED)
            return on_established(server, wsi, slot);
        return server->upgrading == wsi ? 0 : -1;
    }
    if (conn == NULL)
        return 0;
    switch (reason) {
    case LWS_CALLBACK_RECEIVE:
        on_receive(conn, in, len);
        return 0;
    case LWS_CALLBACK_RECEIVE_PONG:
        if (conn->state == CONN_OPEN)
            show_life(conn);
        return 0;
    case LWS_CALLBACK_SERVER_WRITEABLE:
        return on_writeable(conn) ? 0 : -1;
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
        return on_peer_close(conn, in, len);
    case LWS_CALLBACK_WS_SERVER_DROP_PROTOCOL:
        on_drop(conn);
        return 0;
    case LWS_CALLBACK_CLOSED:
        conn_gone(conn);
        return 0;
    default:
        return 0;
    }
}
