// wire_private.h: what wire.c (the loop's half) and wire_worker.c (the worker
// thread's half) share. The halves never run at the same time for one wire: the loop
// leaves it alone while a job is queued.
#pragma once

#include <nats/nats.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "lib/bus/bus.h"
#include "lib/bus/spent.h"
#include "lib/bus/target.h"
#include "lib/bus/wire.h"

// Notices of unheard messages that wait for the loop. More can only come when more
// than this many publishes to dead nodes were answered in one turn; each further
// publish is answered again.
#define NOTICES_MAX 1024

enum wire_state { WIRE_CONNECTING, WIRE_FAILED, WIRE_OPEN, WIRE_LOST, WIRE_CLOSING };

// Filled by the library's delivery threads, emptied by the loop.
struct notices {
    pthread_mutex_t lock;
    natsMsg *ring[NOTICES_MAX];
    size_t first, count;
    uint64_t dropped;
};

struct wire {
    enum wire_state state;
    struct wire_hooks hooks;
    struct target *target;
    const char *const *subjects;
    uv_work_t work;
    uv_poll_t poll;
    uv_async_t async;
    bool has_poll;
    unsigned handles; // uv handles whose close callback is to come

    // Made by the worker.
    natsConnection *nc;
    natsSubscription *inline_subs[BUS_MAX_SUBJECTS]; // drained by the loop
    size_t inline_count;
    natsSubscription *threaded_subs[BUS_MAX_SUBJECTS]; // have a delivery thread
    size_t threaded_count;
    sem_t delivery_ended; // once per threaded subscription
    struct notices notices;
    int fd;              // our dup of the socket; -1: none
    natsSock library_fd; // its own number for it
    int error;
    char why[160];
    char peer[128];
    size_t max_payload;
    bool close_gently;

    // Set by the library's hooks, in whichever thread calls the library.
    _Atomic bool wants_write; // its buffer has bytes
    _Atomic bool is_detached; // it has given the connection up, or the loop has

    bool is_blocked; // the kernel is full; polling for writing
    bool is_at_end;  // the server has closed; what it sent before may still be read
    bool is_lost_told;
    bool has_seen_data; // is_tls is known
    bool is_tls;
    bool is_cut;   // the rest of a TLS record did not come in time
    int low_water; // SO_RCVLOWAT as set
    size_t buffered;
    struct spent spent; // the loop's; empty unless the wire is open or lost
    uint64_t unread;    // messages the library says it dropped
    char refusal[256];  // last one told
};

// What the library will find when it reads now: WIRE_PART is the beginning of a TLS
// record that the kernel wants taken, or the end. Sets has_seen_data and is_tls.
enum wire_ready { WIRE_NOTHING, WIRE_WHOLE, WIRE_PART };
enum wire_ready wire_look(struct wire *wire);
// Reads in the case of WIRE_PART; cut short after 80 ms, with the connection.
void wire_read_part(struct wire *wire);

// The worker's half.
void wire_connect_job(uv_work_t *work);
void wire_end_job(uv_work_t *work);
// Messages from delivery threads; NULL: no more.
natsMsg *notices_take(struct notices *notices);
