// listener.h: takes sockets in, and says no early to those that cannot stay.
//
// Several processes may share one port (SO_REUSEPORT); the kernel spreads clients over
// them. Every accepted socket gets a caller: who it is, counted against the limits
// until caller_free. One thread.
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "lib/base/err.h"

struct listener;
struct address;

struct caller {
    struct listener *listener;
    struct address *address; // counted; NULL if the listener has no limit by address
    bool is_half_open;
    char name[INET6_ADDRSTRLEN + sizeof "[]:65535"]; // "127.0.0.1:54321", "[::1]:54321"
};

// A socket, non-blocking, close-on-exec; the callee owns both.
typedef void listener_cb(void *arg, int fd, struct caller *caller);

struct listener_opts {
    const char *host; // address or name; "::" takes IPv4 too
    unsigned port;    // 0: any free one
    const char *key;  // the setting to name when it cannot be had: "listen.port"
    bool is_shared;   // with other processes of this user that say the same
    // From one address: an IPv4 address, or an IPv6 /64, which is what one subscriber has.
    uint32_t max_per_address; // 0: no limit
    uint32_t max_half_open;   // 0: no limit
    uint32_t per_second;      // sockets; the rest waits in the kernel's backlog. 0: no limit
    listener_cb *on_socket;
    void *arg;
};

struct listener_stats {
    uint64_t accepted;
    uint64_t refused_address;
    uint64_t refused_half_open;
    uint64_t refused_fd; // no descriptor left
    uint64_t paced;      // times sockets had to wait for per_second
};

// Listens at once. On failure a line in *why.
MUST_USE
int listener_open(uv_loop_t *loop, const struct listener_opts *opts, struct listener **out,
                  char why[static 200]);
// No more sockets; the port is free again. Idempotent.
void listener_stop(struct listener *listener);
// Stops, and frees it; `closed` when the loop holds nothing of it. All peers must be freed.
void listener_close(struct listener *listener, void (*closed)(void *arg), void *arg);
unsigned listener_port(const struct listener *listener); // the bound one
void listener_stats(const struct listener *listener, struct listener_stats *out);

// It became a WebSocket: no longer half open.
void caller_settle(struct caller *caller);
// Its socket is gone. NULL is fine.
void caller_free(struct caller *caller);
