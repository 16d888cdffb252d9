// send.h: one Send command under way (private to router.c and legs.c).
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "edge/routes.h"
#include "lib/base/wheel.h"

struct edge;
struct leg;
struct send;
struct session;

struct recipient {
    struct waiter waiter; // for the user's route
    struct send *send;
    const char *user; // in the command's frame, later in send->kept
    size_t user_len;
    unsigned user_hash; // table_hash
    uint8_t reason;     // enum reason: why not, unless reached
    bool is_reached;    // written to at least one connection
    bool is_waiting;    // for the route
    bool is_retried;    // the directory was read past our memory
};

struct send {
    struct edge *edge;
    struct session *session; // NULL: its client is gone
    struct send *next_of_session;
    struct send *prev_of_session;
    struct send *next_routed;
    uint64_t number; // order of sends on this edge
    uint64_t command_id;
    uint64_t expires_ms; // wall clock
    struct timer timer;
    struct leg *legs; // newest first
    uint32_t open;    // what has not ended: waits, legs out, the list of routed, the running call
    uint32_t waiting; // recipients that wait for their route
    bool is_routed;   // in the router's list: it has fresh legs
    uint32_t devices;
    const uint8_t *event; // in edge->scratch, later in kept
    size_t event_len;
    const char *to_device; // "" : all
    const char *message_id;
    uint8_t *kept; // what was borrowed during the call and is needed longer
    size_t kept_size;
    uint32_t count;
    struct recipient recipients[];
};
