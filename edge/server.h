// server.h: the edge's ports. Accepts, serves files and health, upgrades to WebSocket,
// and gives each WebSocket a conn with a session in it.
//
//   listener.c   the listener: accept4 in batches, admission by address
//   server.c     libwebsockets: context, vhosts, TLS, the end
//   http.c       libwebsockets: requests, who may upgrade; transfer.c: files
//   ws.c         libwebsockets: the WebSocket, reads, close
//   flush.c      writes: who is written to in a turn, and with how much
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "edge/handshake.h"
#include "lib/base/err.h"
#include "proto/tables.h"

struct edge;
struct server;

struct server_opts {
    const char *host; // public port
    unsigned port;    // 0: any free one, see server_port
    bool shares_port; // with other processes of this user that say the same (SO_REUSEPORT);
                      // else an edge that is started twice by mistake hears of it
    const char *private_host;
    unsigned private_port;
    const char *tls_cert_file; // empty: plain ws; both or none
    const char *tls_key_file;
    const char *document_root; // empty: no files served
    const char *index_file;    // "index.html"
    uint32_t max_connections;  // WebSockets; one more is answered 503
    uint32_t max_per_address;  // sockets of any kind from one address; more are closed at accept
    uint32_t max_half_open;    // sockets that are no WebSocket yet; more are closed at accept
    uint32_t accept_rate;      // sockets a second on the public port; more wait. 0: no limit
    uint32_t max_frame_bytes;  // one client message; more: close 1009
    uint32_t max_fragments;    // of one message: 64
    uint64_t max_queue_bytes;  // outgoing, per connection
    const char *origins;
};

// What the server asks of the edge (edge.c implements them).
void edge_handshake_policy(struct edge *edge, struct handshake_policy *policy);
// GET /healthz, /readyz (private port only) and whatever else the edge answers itself;
// false: unknown, the server answers 404.
bool edge_http(struct edge *edge, bool is_private, const char *method, const char *path,
               struct http_reply *reply);
uint64_t edge_now_ms(struct edge *edge); // monotonic; call it before session_*

// Binds, loads the certificate, starts accepting. On failure a line in *why:
// "cannot listen on 127.0.0.1:8000: address in use (listen.port)".
MUST_USE
int server_open(uv_loop_t *loop, const struct server_opts *opts, struct edge *edge,
                struct server **out, char why[static 200]);
// Writes what was queued in this turn, one write per connection; of what one read or the
// bus sent to very many connections a slice. At the end of every turn. True: there is more
// to write, the next turn should come at once.
bool server_flush(struct server *server);
// While held, no bytes are written to a WebSocket but those libwebsockets and the kernel
// have already, and a conn that is closed loses what waits for it: its client gets the
// close frame alone. What waits is bounded as ever.
void server_hold(struct server *server, bool is_held);
// Drops what waits for WebSockets and has an end that has passed. How much that was.
size_t server_drop_late(struct server *server, uint64_t wall_ms);
// No new sockets on the public port; those there stay.
void server_stop_accepting(struct server *server);
// Closes every WebSocket with this code, `per_turn` at a time.
void server_close_all(struct server *server, enum close_code code, unsigned per_turn);
// Reads certificate and key again; new connections get it. An error leaves the old one.
MUST_USE
int server_reload_tls(struct server *server, char why[static 200]);
// Ends everything at once; `closed` when the loop holds nothing of it any more.
void server_close(struct server *server, void (*closed)(void *arg), void *arg);

unsigned server_port(const struct server *server); // the bound public port
unsigned server_private_port(const struct server *server);
uint32_t server_connections(const struct server *server); // WebSockets open

struct server_stats {
    uint64_t accepted, refused_address, refused_half_open, refused_fd, paced;
    uint64_t upgrades, upgrade_refusals;
    uint64_t bytes_in, bytes_out, messages_in, frames_out, writes;
    uint64_t closes[32]; // by close_index
};
void server_stats(const struct server *server, struct server_stats *out);
