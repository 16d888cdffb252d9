// ws_server.h: just enough of an edge for the transport's tests: a WebSocket server on raw
// blocking sockets, in a thread, one connection at a time.
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

// What happens to a connection; the last entry of a script goes for all that follow.
enum ws_script {
    WS_END = 0,        // of the script
    WS_SERVE,          // Welcome; every send gets its outcome, and comes back as a message
    WS_FULL,           // HTTP 503, Retry-After: 60
    WS_DROP,           // closed before an answer
    WS_NO_SUBPROTOCOL, // 101 without Sec-WebSocket-Protocol
    WS_CLOSE_REPLACED, // Welcome, then close 4001
    WS_CLOSE_DRAINING, // Welcome, then close 1012
    WS_PIECES,         // Welcome, then a message of ws_server.pieces_len bytes in many frames
    WS_VANISH,         // Welcome; at the first send the socket is closed without a word
};

struct ws_server {
    enum ws_script script[8];
    size_t pieces_len;
    const char *cert_file; // NULL: plain ws
    const char *key_file;
    int port;
    // Observed.
    atomic_int connections;
    atomic_int hellos;
    atomic_int sends;
    atomic_int pings;
    atomic_int close_code;   // the client's last
    atomic_int largest_send; // bytes of text
    char devices[8][160];    // of the first Hellos; read after ws_server_stop
    // Its own.
    int listen_fd;
    void *tls;
    pthread_t thread;
    atomic_bool is_stopping;
};

void ws_server_start(struct ws_server *server);
void ws_server_stop(struct ws_server *server);
// A port nobody listens on.
int ws_closed_port(void);
