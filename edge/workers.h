// workers.h: several edges on one public port, and the parent that keeps them running.
//
// 1. The parent takes the public port without listening on it, so that a second edge that
//    is given the same port by mistake hears of it, and so that "any free port" is one port.
// 2. It starts the workers one after another, the next when the last one listens. Each is a
//    whole edge with its own node id; the kernel spreads new sockets over them.
// 3. A worker that ends unasked is started again: 100 ms later, and twice as late each time
//    up to 5 s, until one has lived for 30 s. It has a new incarnation.
// 4. SIGTERM, SIGINT, SIGUSR2: every worker gets SIGTERM, once; the parent ends when all
//    have. A second one kills them, but for a SIGTERM or SIGINT after a SIGUSR2 (host.h).
//    SIGHUP is passed on.
//
// Failures:
//   a worker's first start finds the settings wrong    the others are ended, EXIT_CONFIG
//   a worker does not leave within leave_ms            killed
//   the parent dies                                    the kernel sends each worker SIGTERM
//   no process to be had (fork)                        as a worker that ended at once
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/err.h"

#define WORKERS_MAX 64

// What a worker knows of its place.
struct worker {
    unsigned number; // from 1
    unsigned port;   // the public one, shared by all
    int parent_fd;   // until worker_is_listening; then -1
};

struct workers_opts {
    unsigned count; // 2 to WORKERS_MAX
    const char *host;
    unsigned port; // 0: any free one
    bool is_pinned;
    uint64_t leave_ms; // how long leaving may take
    // The whole life of a worker, in its process; answers its exit code.
    int (*work)(const void *arg, struct worker *worker);
    const void *arg;
};

// Returns twice: in the parent when all is over, and in each worker what `work` answered.
// Either way it is the exit code of the process. The parent's is 0 if every worker left
// cleanly, else that of the first that did not (128 and the signal, if one ended it); 1
// after a second signal. Call it while the process has one thread and no child.
int workers_run(const struct workers_opts *opts);

// In a worker, once it takes clients and minds its signals.
void worker_is_listening(struct worker *worker);

// Cores this process may run on, 1 to WORKERS_MAX.
unsigned workers_cores(void);

// How long to wait before the next start of a worker that lived for lived_ms, and before
// whose start one had waited for last_ms (0: not at all).
uint64_t workers_pause_ms(uint64_t last_ms, uint64_t lived_ms);
