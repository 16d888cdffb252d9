// fixture.h: a redis-server of our own, and stores that talk to it.
//
// The server is a child process in a temporary directory, listening on a unix socket
// there and on a free port of 127.0.0.1. It dies with the test.
#pragma once

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on
#include <stdbool.h>
#include <sys/types.h>
#include <uv.h>

#include "lib/store/store.h"

#define NODE_A "edge-a.00000000000000aa"
#define NODE_B "edge-b.00000000000000bb"

struct server {
    pid_t pid; // 0: not running
    int port;
    char dir[32];
    char unix_url[64];
    char tcp_url[64];
};

void server_prepare(struct server *server); // directory and port, no process
void server_launch(struct server *server, const char *password);
void server_start(struct server *server); // both
void server_kill(struct server *server);  // SIGKILL, and waits
void server_stop(struct server *server);  // the same, and removes the directory
void server_signal(struct server *server, int signal);
// One command on a connection of its own, blocking; words are split at spaces (a
// backquote is a space within a word). The answer as text, arrays joined by single spaces; good for
// the next 15 calls.
const char *server_ask(struct server *server, const char *format, ...) PRINTF_LIKE(2, 3);

struct peer {
    struct store *store;
    int ups;
    int downs;
    int closed;
    char why[200]; // of the last on_state
};

// With test defaults for what is 0 in opts: the unix socket, 1000 ms, 1024 commands.
void peer_open(struct peer *peer, uv_loop_t *loop, struct server *server, struct store_opts opts);
void peer_wait_up(struct peer *peer, uv_loop_t *loop);
void peer_close(struct peer *peer, uv_loop_t *loop);

// Runs the loop until *count is at least `target`; false after ms.
bool run_until(uv_loop_t *loop, const int *count, int target, unsigned ms);
// Fails the test instead, after 5 s.
void wait_for(uv_loop_t *loop, const int *count, int target);

// What one callback brought. Reset with seen = (struct seen){0}.
struct seen {
    int calls;
    int error;
    uint64_t epoch;
    bool is_superseded;
    size_t displaced_count;
    struct link displaced[8];
    size_t watcher_count;
    char watcher[NODE_ID_SIZE]; // the first
    enum store_verdict verdict;
    size_t link_count;
    struct link links[8];
};

void on_register(void *arg, int error, const struct store_registered *answer);
void on_verify(void *arg, int error, enum store_verdict verdict,
               const struct store_registered *answer);
void on_resolve(void *arg, int error, const struct link *links, size_t count);
void on_done(void *arg, int error);

struct link link_of(const char *node, uint64_t connection, const char *device);
