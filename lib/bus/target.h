// target.h: where the bus connects and as whom: bus_opts checked and turned into the
// options of nats.c. Everything a person can get wrong is found here, before the
// first connection.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/bus/bus.h"

struct __natsOptions; // nats.c's own name

#define TARGET_MAX_SERVERS 16

struct target {
    struct __natsOptions *options;
    size_t server_count;
    uint16_t ports[TARGET_MAX_SERVERS];
    uint64_t timeout_ms; // per server
    char where[128];     // "127.0.0.1:4222,127.0.0.1:4223", cut; no passwords
};

// NULL with a line in *why. Starts the library's own idle threads on first use.
struct target *target_new(const struct bus_opts *opts, char why[static 160]);
void target_free(struct target *target);
