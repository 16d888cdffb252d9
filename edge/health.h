// health.h: what an edge says of itself over HTTP. Pure: state in, text out.
//
//   /healthz      the process turns its loop; asks nothing of anybody else
//   /readyz       whether it takes new clients, and if not, which dependency and since when
//   /v0/counters  every counter; for tests and for a look, not a stable interface
#pragma once

#include <stdint.h>

#include "edge/core.h"
#include "edge/server.h"

// When something began to be as it is; kept by the host.
struct health {
    uint64_t nats_since_ms; // of the last change of nats up or down, monotonic
    uint64_t redis_since_ms;
    uint64_t leave_since_ms; // told to leave; 0: not
    uint64_t leave_until_ms; // drain.timeout
    uint64_t loop_max_ms;    // longest turn of the loop so far
};

void health_alive(struct http_reply *reply);
void health_ready(const struct edge *edge, const struct health *health, struct http_reply *reply);
// server may be NULL.
void health_counters(const struct edge *edge, const struct health *health,
                     const struct server *server, struct http_reply *reply);
