// lookup.h: the addresses behind a host name, without blocking the loop.
#pragma once

#include <stdbool.h>
#include <uv.h>

#define LOOKUP_MAX_ADDRESSES 8
#define LOOKUP_ADDRESS_SIZE 64

struct addresses {
    char text[LOOKUP_MAX_ADDRESSES][LOOKUP_ADDRESS_SIZE]; // numeric, in the order to try them
    unsigned count;
};

// A look-up under way. error: 0, or a libuv error, when nothing was found.
struct lookup;
typedef void lookup_cb(void *arg, const struct addresses *found, int error);

// True, with *found filled, if the host is an address already.
bool lookup_is_numeric(const char *host, struct addresses *found);
// NULL: it could not be started. The callback comes once, from the loop.
struct lookup *lookup_start(uv_loop_t *loop, const char *host, lookup_cb *done, void *arg);
// Forgets one that has not called back: it never will. The loop may hold it a while longer.
void lookup_abandon(struct lookup *lookup);
