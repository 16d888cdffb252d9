// host.h: an edge in a process: the loop, the clocks, the signals, its whole life.
//
// 1. Redis and NATS are connected in the background, in any order, for ever again.
// 2. The ports are opened; until the edge is ready, upgrades are answered 503.
// 3. SIGTERM, SIGINT, SIGUSR2: unready; after drain.delay upgrades are answered 503 and the
//    clients drained (drain.h); links out of the directory, the lease given back, exit 0.
//    drain.timeout bounds all of it, and the ports stay open until then. The same signal
//    again ends it at once, with exit 1; so does any second one, but a SIGTERM after a
//    SIGUSR2, which an orchestrator may send first: that changes nothing.
// 4. SIGHUP: certificate and key are read again.
//
// As a worker: a second one is ignored, since whoever signals a whole process group (a
// terminal, a service manager) reaches us both directly and through the parent, which
// kills when it is told twice.
#pragma once

#include "edge/settings.h"
#include "edge/workers.h"

// Runs until it is told to end; the process's exit code. Settings must have passed
// settings_check and stay valid. worker: NULL if nobody shares the public port.
int host_run(const struct settings *settings, struct worker *worker);
