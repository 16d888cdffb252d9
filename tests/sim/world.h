// world.h: a whole cluster in one process, under one seeded clock: real edges (edge/core.h)
// and real sweepers (sweeper/sweep.h), with a fake Redis, a fake NATS, fake sockets and
// fake clients around them. The same seed gives the same run, to the last event.
//
//   world.c       time, the event queue, starting and killing processes
//   fake_store.c  store.h over a model of the registry's scripts
//   fake_bus.c    bus.h over queues with delay and loss
//   clients.c     conn.h, and the clients behind it: log in, send, move, vanish
//   check.c       what must hold
//   sim.c         the runs
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "edge/core.h"
#include "lib/base/rand.h"
#include "sweeper/sweep.h"

enum {
    MAX_EDGES = 4,
    MAX_SWEEPERS = 2,
    MAX_PROCESSES = MAX_EDGES + MAX_SWEEPERS,
    MAX_USERS = 8,
    MAX_DEVICES = 2,
    MAX_CLIENTS = MAX_USERS * MAX_DEVICES,
};

typedef void event_cb(void *arg);

struct event {
    uint64_t at_ms;
    uint64_t number; // order among events of one millisecond
    event_cb *run;
    void *arg;
    struct process *process; // whose turn it is; NULL: the world's
    uint64_t life;           // of that process when it was planned
};

struct store {
    struct process *process;
    uint64_t executed_ms; // when the last command will have been: keeps their order
    uint64_t answered_ms; // likewise its answer
};

struct bus {
    struct process *process;
    uint64_t arrived_ms;
};

// An edge or a sweeper.
struct process {
    struct world *world;
    bool is_edge;
    bool is_running;
    uint64_t life;            // raised at every start and kill: old events are void
    uint64_t paused_until_ms; // SIGSTOP
    uint64_t paused_ms;       // when that was said last
    uint64_t redis_cut_until_ms;
    uint64_t nats_cut_until_ms;
    bool redis_up; // as told to the process
    bool nats_up;
    bool is_holding; // its output, as of its last turn
    struct store store;
    struct bus bus;
    struct edge edge;
    struct auth auth;
    struct sweep sweep;
    char id[NODE_ID_SIZE];
};

// A user's device, somewhere out there.
struct client {
    struct world *world;
    unsigned user;
    unsigned device;
    struct conn *conn; // where it believes to be connected; NULL: nowhere
    bool wants;        // to be connected
    bool is_replaced;  // told to stay away
    uint64_t next_id;  // of commands
};

struct faults {
    unsigned lost_per_mille; // NATS messages
    unsigned kills;          // per mille of actions, each
    unsigned pauses;
    unsigned cuts;
    unsigned flushes;
    unsigned moves; // a client turns up elsewhere without a word
};

struct world {
    uint64_t seed;
    struct rng rng;
    uint64_t now_ms;
    uint64_t wall_offset_ms;
    struct event *heap;
    size_t heap_count;
    size_t heap_room;
    uint64_t next_event;
    struct process processes[MAX_PROCESSES];
    struct client clients[MAX_CLIENTS];
    struct faults faults;
    struct redis *redis;
    uint64_t messages_sent;
    bool is_calm;
    bool is_ending; // only frees what is planned
    bool has_failed;
    struct sends *sends; // check.c's
    struct conn *conns;  // clients.c's: every connection there ever was
    char trouble[256];   // the first thing that went wrong
};

// world.c
struct world *world_new(uint64_t seed, const struct faults *faults);
void world_free(struct world *world);
void world_run(struct world *world, uint64_t until_ms);
void world_plan(struct world *world, struct process *process, uint64_t delay_ms, event_cb *run,
                void *arg);
void world_fail(struct world *world, const char *format, ...) PRINTF_LIKE(2, 3);
uint64_t world_below(struct world *world, uint64_t below);
bool world_chance(struct world *world, unsigned per_mille);
uint64_t world_wall_ms(const struct world *world);
struct process *world_running_edge(struct world *world); // a random one; NULL: none
void process_start(struct process *process);
void process_kill(struct process *process);
void process_enter(struct process *process); // sets its clocks
void process_leave(struct process *process); // ends its turn
bool process_has_redis(const struct process *process);
bool process_has_nats(const struct process *process);

// fake_store.c
struct redis *redis_new(struct world *world);
void redis_free(struct redis *redis);
void redis_flush(struct redis *redis);
size_t redis_row_count(const struct redis *redis);
void store_abort(struct process *process); // answers everything in flight
// The row of a device, or NULL; whether any row or member names this node.
const struct link *redis_row(const struct redis *redis, const char *user, const char *device);
bool redis_names_dead_node(const struct redis *redis, char *which, size_t size);

// clients.c
void client_user(const struct client *client, char out[static 16]);
void client_device(const struct client *client, char out[static 16]);
void clients_start(struct world *world);
void clients_act(struct world *world); // one random action
void client_send(struct client *client, unsigned to_user);
void client_send_unasked(struct client *client, unsigned to_user); // no outcome wanted
void client_gone(struct client *client, bool may_return);          // closes in order
void conns_lost(struct process *edge);                             // its sockets are gone
void conns_release(struct process *edge);                          // writes what was held
void conns_free(struct world *world);
bool client_is_live(const struct client *client);
const struct session *client_session(const struct client *client);
unsigned conns_of(const struct world *world, unsigned user, unsigned device); // live sessions

// check.c
struct sends *sends_new(void);
void sends_free(struct sends *sends);
void check_sent(struct world *world, const struct client *from, uint64_t id);
void check_outcome(struct world *world, const struct client *from, uint64_t id, bool is_sent);
void check_message(struct world *world, uint64_t conn, const char *message_id);
void check_sender_gone(struct world *world, const struct client *from);
void check_late(struct world *world);      // any send without an outcome after five seconds
void check_calm(struct world *world);      // after calm: rows are exact, nobody is stale
void check_reachable(struct world *world); // after calm: everybody gets a message
