// ws_client.h: a WebSocket client for thousands of connections in one thread.
//
// Written from the RFC and not from the edge's code, so that both cannot be wrong in
// the same way. Non-blocking; the owner polls the descriptor and calls the two on_
// functions. A connection with nothing under way owns no buffers.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/buf.h"
#include "proto/codec.h"

enum ws_state { WS_CLOSED, WS_CONNECTING, WS_HANDSHAKE, WS_OPEN };

struct ws_client {
    int fd;
    enum ws_state state;
    enum codec_format format;
    struct buf in; // the beginning of what is not whole yet
    struct buf out;
    size_t out_done;
    uint16_t http_status;   // of the answer to the handshake; 0: none yet
    uint16_t retry_after_s; // of that answer; 0: it names none
    uint16_t close_code;    // of the edge's close frame; 0: none has come
};

struct ws_handler {
    void (*opened)(void *arg);
    void (*message)(void *arg, const uint8_t *bytes, size_t len);
    void *arg;
};

// Starts connecting to 127.0.0.1:port from the given loopback address (host order), to
// ask for `path`. 0, or -1 with errno.
int ws_client_open(struct ws_client *client, uint32_t from, uint16_t port, const char *path,
                   enum codec_format format);
// Queues one message of the client's kind, at most 65,535 bytes.
void ws_client_send(struct ws_client *client, const void *bytes, size_t len);
// Queues a close frame. The edge answers with its own, and what it sends before is still read.
void ws_client_send_close(struct ws_client *client, uint16_t code);
// Writes what is queued as far as it goes. NULL, or what went wrong.
const char *ws_client_on_writable(struct ws_client *client);
// Reads what is there and hands it over. NULL, or what went wrong, a close included.
const char *ws_client_on_readable(struct ws_client *client, const struct ws_handler *handler);
static inline bool
ws_client_wants_write(const struct ws_client *client)
{
    return client->state == WS_CONNECTING || client->out_done < client->out.len;
}
// Has `epoll` tell `owner` what this client waits for; *events is what it tells already, 0 for
// nothing yet.
void ws_client_watch(const struct ws_client *client, int epoll, void *owner, uint32_t *events);
// With a reset, so that thousands of them leave no TIME_WAIT behind.
void ws_client_close(struct ws_client *client);
