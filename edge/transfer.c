// transfer.c: a file on its way to a client, piece by piece.
//
// Each piece is written when the one before has left; a client has STALL_S for each. Between
// the first piece and the last, libwebsockets does not read from the socket, and its loop
// wakes all the time while there is something to read. So transfers are watched, and a client
// that sends more, or ends its side, is cut. (Requests that came along with the first one
// have been read already; they are answered afterwards.)
//
// A file that shrinks on the way cannot be sent as promised: the connection is closed.
#include "edge/server_internal.h"

#include <sys/socket.h>
#include <unistd.h>

#define PIECE_MAX 16384
#define STALL_S 10 // 1.6 KiB/s at least
#define WATCH_MS 100

static uint8_t piece[LWS_PRE + PIECE_MAX];

void
transfer_drop(struct server *server, struct visitor *visitor)
{
    if (visitor->file < 0)
        return;
    close(visitor->file);
    visitor->file = -1;
    TAILQ_REMOVE(&server->transfers, visitor, transfers);
    if (TAILQ_EMPTY(&server->transfers))
        uv_timer_stop(&server->watch_timer);
}

int
transfer_continue(struct server *server, struct lws *wsi, struct visitor *visitor)
{
    size_t wanted = visitor->file_left < PIECE_MAX ? (size_t)visitor->file_left : PIECE_MAX;
    ssize_t len = read(visitor->file, piece + LWS_PRE, wanted);
    if (len <= 0)
        return -1;
    visitor->file_left -= (uint64_t)len;
    bool is_last = visitor->file_left == 0;
    if (lws_write(wsi, piece + LWS_PRE, (size_t)len,
                  is_last ? LWS_WRITE_HTTP_FINAL : LWS_WRITE_HTTP) < 0)
        return -1;
    lws_set_timeout(wsi, PENDING_TIMEOUT_HTTP_CONTENT, STALL_S);
    if (!is_last) {
        lws_callback_on_writable(wsi);
        return 0;
    }
    transfer_drop(server, visitor);
    return lws_http_transaction_completed(wsi) ? -1 : 0;
}

static void
on_watch_due(uv_timer_t *timer)
{
    struct server *server = timer->data;
    struct visitor *visitor = TAILQ_FIRST(&server->transfers);
    while (visitor != NULL) {
        struct visitor *next = TAILQ_NEXT(visitor, transfers);
        struct lws *wsi = visitor->wsi;
        uint8_t byte;
        if (recv(lws_get_socket_fd(wsi), &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0) {
            transfer_drop(server, visitor);
            socket_kill(wsi);
        }
        visitor = next;
    }
}

int
transfer_start(struct server *server, struct lws *wsi, struct visitor *visitor, int file,
               uint64_t size)
{
    visitor->wsi = wsi;
    visitor->file = file;
    visitor->file_left = size;
    if (TAILQ_EMPTY(&server->transfers))
        uv_timer_start(&server->watch_timer, on_watch_due, WATCH_MS, WATCH_MS);
    TAILQ_INSERT_TAIL(&server->transfers, visitor, transfers);
    return transfer_continue(server, wsi, visitor);
}
