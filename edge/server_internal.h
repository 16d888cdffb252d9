// server_internal.h: what server.c, http.c, ws.c and flush.c share. Nobody else includes it:
// it is where libwebsockets comes in.
//
// One libwebsockets context with two virtual hosts, one for each port. Every socket has a
// visitor from accept to LWS_CALLBACK_WSI_DESTROY; a WebSocket has a conn beside it, from
// LWS_CALLBACK_ESTABLISHED to conn_gone.
#pragma once

#include <libwebsockets.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

#include "edge/conn.h"
#include "edge/listener.h"
#include "edge/outq.h"
#include "edge/server.h"
#include "edge/session.h"
#include "proto/buf.h"

#if !defined(LWS_WITH_LIBUV)
#error "libwebsockets must be built with libuv"
#endif

// One write: what libwebsockets takes at once (tx_packet_size), and what it holds at most
// for a slow reader.
#define WRITE_MAX (64u << 10)

struct visitor {
    struct caller *caller;
    struct conn *conn; // once it is a WebSocket, until conn_gone
    bool is_private;
    int file; // being sent; -1: none, and the three below mean nothing
    uint64_t file_left;
    struct lws *wsi;
    TAILQ_ENTRY(visitor) transfers; // in server->transfers
};

enum conn_state {
    CONN_OPEN,
    CONN_CLOSING, // our close frame is queued or sent; the peer has until cut_ms to answer
    CONN_LEAVING, // the peer closes or broke the protocol: libwebsockets answers, we do not write
    CONN_GONE,
};

enum flush_state { FLUSH_NONE, FLUSH_SOON, FLUSH_LATER };

struct conn {
    struct lws *wsi;
    struct server *server;
    struct visitor *visitor;
    TAILQ_ENTRY(conn) siblings; // in server->open while CONN_OPEN, then in server->closing
    TAILQ_ENTRY(conn) flushing; // in server->soon or ->later, as `flush` says
    struct outq outq;
    struct buf *message; // a message of which not all has come; NULL: none
    uint64_t cut_ms;     // in uv_now time
    uint32_t fragments;  // frames of the message so far
    uint32_t held;       // bytes of the last write, if libwebsockets could not pass on all
    uint16_t code;       // enum close_code: why it ends; 0 while CONN_OPEN
    uint8_t state;       // enum conn_state; see conn_leave
    uint8_t format;      // enum codec_format
    uint8_t flush;       // enum flush_state; changed by flush.c only
    bool is_in_message;
    uint32_t later_ms; // when it came into server->later, in uv_now time cut to 32 bits
    struct session session;
};

TAILQ_HEAD(conn_list, conn);
TAILQ_HEAD(visitor_list, visitor);

struct server {
    uv_loop_t *loop;
    struct edge *edge;
    struct server_opts opts; // strings are copies
    struct lws_context *context;
    struct lws_vhost *public_vhost;
    struct lws_vhost *private_vhost;
    struct listener *public_listener;
    struct listener *private_listener;

    struct conn_list open;
    struct conn_list closing;  // by cut_ms, since all wait equally long
    struct conn_list soon;     // to be written at the end of this turn
    struct conn_list later;    // in slices, oldest first; see flush.c
    const struct conn *reader; // whose bytes are being handled; only compared
    uint32_t fanned;           // frames queued since it became the reader
    struct visitor_list transfers;
    uint32_t connections;
    bool is_held;        // see server_hold
    uint8_t *scratch;    // WRITE_MAX bytes, to gather frames
    bool is_in_session;  // a session function is on the stack
    bool is_wsi_created; // set by LWS_CALLBACK_WSI_CREATE
    struct server_stats stats;

    // The upgrade being made; from LWS_CALLBACK_HTTP_CONFIRM_UPGRADE to _ESTABLISHED,
    // which libwebsockets calls in one go.
    struct lws *upgrading;
    struct handshake_verdict verdict;

    uv_timer_t cut_timer;   // for the first of `closing`
    uv_timer_t watch_timer; // while there are transfers
    uv_idle_t sweep;        // server_close_all
    enum close_code sweep_code;
    unsigned sweep_per_turn;
    uv_idle_t teardown; // server_close
    bool is_destroying;
    unsigned parts; // handles and listeners still to close
    void (*closed)(void *arg);
    void *closed_arg;
};

// http.c: LWS callbacks of the HTTP protocol of both virtual hosts.
int http_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                  size_t len);

// transfer.c: takes the descriptor. 0, or -1: close the connection.
int transfer_start(struct server *server, struct lws *wsi, struct visitor *visitor, int file,
                   uint64_t size);
int transfer_continue(struct server *server, struct lws *wsi, struct visitor *visitor);
void transfer_drop(struct server *server, struct visitor *visitor); // none is fine

// ws.c: ends a socket now, whatever is buffered. Not from inside a callback of that socket.
void socket_kill(struct lws *wsi);
// LWS callbacks of both subprotocols; `user` is a struct conn *.
int ws_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                size_t len);
// The socket is gone: tells the session, frees the conn. Exactly once for each.
void conn_gone(struct conn *conn);
// Its session is told, and the socket ended; not from inside a callback of it.
void conn_kill(struct conn *conn);
// Timers and idle handlers of ws.c: set up once, `data` is the server.
void on_cut_due(uv_timer_t *timer);
void on_sweep(uv_idle_t *idle);

// flush.c: something was queued, or the state has changed.
void flush_mark(struct conn *conn);
void flush_forget(struct conn *conn);
// What is queued from now on in this turn comes of this conn's bytes.
void flush_read_from(const struct conn *conn);
// Writes until the queue is empty or the kernel full. False: the socket is broken.
bool flush_conn(struct conn *conn);
