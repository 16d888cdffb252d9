// transport.h: one WebSocket to an edge, in a libuv loop. transport.c is the only file
// that knows libwebsockets.
//
// All callbacks come from the loop, none from inside a call. At most one connection, or
// try, at a time: after transport_disconnect nothing of the old one is heard any more.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "lib/client-c/ws_url.h"

struct transport;

struct transport_options {
    uv_loop_t *loop;
    bool wants_tls;      // some URL is wss: load certificates
    const char *ca_file; // NULL: the system's
    bool is_insecure;
    bool keep_library_log;
    size_t max_message_bytes;

    void (*on_connected)(void *arg);
    // status: of the HTTP answer, 0 if none came; retry_after_ms: 0 if it named none.
    void (*on_refused)(void *arg, unsigned status, uint32_t retry_after_ms, const char *text);
    void (*on_message)(void *arg, const void *bytes, size_t len, bool is_binary);
    void (*on_alive)(void *arg); // part of a message
    // A message over max_message_bytes, or no memory: the rest of the connection is ignored.
    void (*on_overrun)(void *arg, const char *text);
    void (*on_disconnected)(void *arg, unsigned code, const char *text); // code 0: no close frame
    // What to write: asked for its size, 0 for nothing; then told where to put it.
    size_t (*write_size)(void *arg);
    void (*write)(void *arg, uint8_t *out);
    void (*on_released)(void *arg); // the loop holds nothing of the transport, which is freed
    void *arg;
};

// NULL with *error: SWITCHYARD_EINVAL (ca_file cannot be read), _ENOMEM, _ESYSTEM.
struct transport *transport_open(const struct transport_options *options, int *error);
void transport_connect(struct transport *transport, const struct ws_url *url);
// Says goodbye with this code, in the background. Fine without a connection.
void transport_disconnect(struct transport *transport, unsigned code);
// There is something to write.
void transport_want_write(struct transport *transport);
// Disconnects, waits for the goodbye a second at most, then on_released. The last call.
void transport_close(struct transport *transport);
