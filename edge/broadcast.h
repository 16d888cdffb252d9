// broadcast.h: one message for every connection, a slice of them per turn.
//
// Ten thousand writes take a tenth of a second, and everybody else would wait for them.
// So a broadcast goes into a short log, and the LIVE sessions are walked, at most
// BROADCAST_SLICE per turn; each gets whatever is in the log and it has not had, all of it
// at once: broadcasts that come close together leave each socket in one write.
//
//   broadcast_send     checks the right and the form, publishes on `all`, logs, answers
//   broadcast_receive  from the bus: logs
//   broadcast_step     walks on; at the end of every turn
//
// Bounds: BROADCAST_LOG_MAX messages and BROADCAST_LOG_BYTES wait; a sender on this edge is
// then told BUSY, what comes from elsewhere is dropped and counted. Late messages are
// dropped. A full socket queue ends that session (4108). One thread.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "edge/delivery.h"
#include "switchyard/bus/v1/bus.pb-c.h"
#include "switchyard/v1/client.pb-c.h"

struct edge;
struct session;

// About five milliseconds of writing.
#define BROADCAST_SLICE 500
#define BROADCAST_LOG_MAX 1024
#define BROADCAST_LOG_BYTES (16 * 1024 * 1024)

struct broadcast_entry {
    uint32_t number;
    uint64_t expires_ms; // wall clock
    uint8_t *event;
    struct delivery delivery;
};

struct broadcast {
    struct broadcast_entry log[BROADCAST_LOG_MAX]; // by number modulo its size
    uint32_t last;                                 // number of the newest entry; 0: never one
    uint32_t count;                                // entries kept
    size_t bytes;                                  // of their events
    uint32_t target; // the newest when the walk began: all have it when it ends
    bool is_walking;
    struct session *cursor; // next to be visited
    struct session *first;  // LIVE sessions, oldest first
    struct session *newest;
};

// Of a session that has become LIVE, and of one that ends (not in the list is fine).
void broadcast_add(struct edge *edge, struct session *session);
void broadcast_remove(struct edge *edge, struct session *session);

void broadcast_send(struct edge *edge, struct session *session, uint64_t id,
                    const Switchyard__V1__Broadcast *command);
void broadcast_receive(struct edge *edge, const char *origin,
                       const Switchyard__Bus__V1__Broadcast *message);
// True: there is more to do next turn.
bool broadcast_step(struct edge *edge);
void broadcast_fini(struct edge *edge);
