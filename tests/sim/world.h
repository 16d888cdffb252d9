// world.h: a whole cluster in one process, under one seeded clock: real edges (edge/core.h)
// and real sweepers (sweeper/sweep.h), with a fake Redis, a fake NATS, fake sockets and
// fake clients around them. The same seed gives the same run, to the last event.
//
//   world.c       time, the event queue, starting and killing processes
//   fake_store.c  store.h: commands and answers, in order, late, lost
//   fake_scripts.c  what the registry's scripts do
//   fake_redis.c  Redis's data and clock
//   fake_bus.c    bus.h over queues with delay and loss
//   clients.c     conn.h, and the clients behind it: log in, send, move, vanish
//   faults.c      what goes wrong, and how much of it in which run
//   rules.c       the rules of the protocol, and the run that goes without one
//   check.c       what must hold of messages, and what after calm
//   watch.c       what must hold of the directory while things go wrong
//   sim.c         the runs
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "edge/core.h"
#include "lib/base/rand.h"
#include "sweeper/sweep.h"
#include "tests/sim/rules.h"

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
    uint64_t boots;       // of Redis, when the connection was made
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
    bool is_leaving; // SIGTERM; see faults.c
    uint64_t life;   // raised at every start and kill: old events are void
    uint64_t started_ms;
    uint64_t ended_ms;
    uint64_t paused_from_ms; // SIGSTOP
    uint64_t paused_until_ms;
    uint64_t redis_cut_until_ms;
    uint64_t nats_cut_until_ms;
    uint64_t trouble_ms; // when the last thing that went wrong with it is or was over
    bool redis_up;       // as told to the process
    bool nats_up;
    bool is_holding;      // its output, as of its last turn
    bool may_flap;        // the connection to Redis may break again when it is back
    uint64_t verifies_ms; // until then it verifies all its links
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
    struct conn *conn;  // where it believes to be connected; NULL: nowhere
    bool wants;         // to be connected
    bool is_replaced;   // told to stay away
    uint64_t top_epoch; // of all its links
};

// One socket there was, seen from both ends.
struct conn {
    struct conn *next;
    struct process *edge;
    uint64_t edge_life;
    char node[NODE_ID_SIZE]; // the edge's id then
    struct client *client;
    uint64_t number;
    uint64_t live_ms;      // when its client was welcomed; 0: not yet
    uint64_t closed_ms;    // when its session ended; 0: not yet
    uint64_t order;        // of its login, see fake_scripts.c; 0: Redis has not heard of it
    uint64_t verified_ms;  // when Redis was last asked about it
    uint64_t kicked_ms;    // when its edge was told to close it
    uint64_t displaced_ms; // when another took its row
    bool is_twin;          // its client came back elsewhere, and something still answers
    bool is_tainted;       // see redis_newest in fake_scripts.c
    struct session session;
    bool is_open; // the session is
    bool is_closing;
    enum close_code code;
    struct news *held; // written when its edge holds its output no more; oldest first
};

// How often things go wrong in a run, per mille: of actions, unless it says otherwise.
struct faults {
    unsigned lost;             // of NATS messages
    unsigned slow;             // of NATS messages: up to half a second
    unsigned kicks_lost;       // of kicks, alone
    unsigned invalidates_lost; // likewise
    unsigned kills;
    unsigned drains;
    unsigned pauses;
    unsigned redis_cuts;
    unsigned nats_cuts;
    unsigned flaps;     // of connections to Redis that are back: broken again at once
    unsigned halves;    // of writes: the connection breaks between index and row
    unsigned stalls;    // of sweepers' answers: paused just before it
    unsigned flushes;   // Redis loses its data
    unsigned restarts;  // Redis is away for a while, and its uptime small
    unsigned freezes;   // Redis answers nothing for a while, then executes what waits
    unsigned jumps;     // Redis's clock goes forward, and back later
    unsigned evictions; // one lease is gone
    unsigned moves;     // a client turns up elsewhere without a word
    bool no_sweepers;   // until calm
    bool no_row_scrub;  // as among a million users, where it comes by once in 42 minutes
};

struct world {
    uint64_t seed;
    enum rule without; // RULE_NONE: the whole protocol
    enum rule favours; // the one whose faults it has; RULE_NONE: a mixture
    bool is_traced;
    struct rng rng;
    uint64_t now_ms;
    struct event *heap;
    size_t heap_count;
    size_t heap_room;
    uint64_t next_event;
    struct process processes[MAX_PROCESSES];
    struct client clients[MAX_CLIENTS];
    struct faults faults;
    struct redis *redis;
    // When NATS last lost something from the one on its way to the other.
    uint64_t lost_ms[MAX_PROCESSES][MAX_PROCESSES];
    uint64_t uninvalidated_ms[MAX_USERS]; // when an Invalidate of this user was last lost
    bool is_calm;
    bool is_ending; // only frees what is planned
    bool has_failed;
    struct messages *messages; // check.c's
    struct conn *conns;        // clients.c's: every connection there ever was
    char trouble[256];         // the first thing that went wrong
};

// world.c
struct world *world_new(uint64_t seed, enum rule without, enum rule favours, bool is_traced);
void world_free(struct world *world);
void world_run(struct world *world, uint64_t until_ms);
void world_plan(struct world *world, struct process *process, uint64_t delay_ms, event_cb *run,
                void *arg);
void world_fail(struct world *world, const char *format, ...) PRINTF_LIKE(2, 3);
uint64_t world_below(struct world *world, uint64_t below);
bool world_chance(struct world *world, unsigned per_mille);
bool world_keeps(const struct world *world, enum rule rule); // it was not taken out
void world_trace(const struct world *world, const char *format, ...) PRINTF_LIKE(2, 3);
uint64_t world_wall_ms(const struct world *world);
struct process *world_running_edge(struct world *world); // a random one; NULL: none
void process_start(struct process *process);
void process_kill(struct process *process);
void process_enter(struct process *process); // sets its clocks
void process_leave(struct process *process); // ends its turn
bool process_has_redis(const struct process *process);
bool process_has_nats(const struct process *process);
struct process *process_find(struct world *world, const char *id); // running; or NULL
size_t process_index(const struct process *process);
// Nothing was wrong with it since then.
bool process_is_well_since(const struct process *process, uint64_t since_ms);
void process_trouble(struct process *process, uint64_t until_ms);
void process_notice(struct process *process); // it is told what its connections do

// fake_redis.c
struct redis *redis_new(struct world *world);
void redis_free(struct redis *redis);
void redis_flush(struct redis *redis);
void redis_freeze(struct redis *redis, uint64_t for_ms);
void redis_thaw(struct redis *redis);                     // or is up, if it was down
void redis_restart(struct redis *redis, uint64_t for_ms); // keeps its data
void redis_jump(struct redis *redis, int64_t by_ms);
int64_t redis_offset_ms(const struct redis *redis);      // of its clock
void redis_evict(struct redis *redis, const char *node); // its lease
bool redis_is_frozen(const struct redis *redis);
bool redis_is_down(const struct redis *redis);
uint64_t redis_boots(const struct redis *redis); // how often it was started again
// The sweeper found it without a lease when it looked last.
bool redis_was_dead(const struct redis *redis, const char *node, const struct process *sweeper);
bool redis_is_well_since(const struct redis *redis, uint64_t since_ms);
void store_abort(struct process *process);              // answers everything in flight
uint64_t store_waits_ms(const struct process *process); // its oldest call does
void store_stands_still(const struct process *process); // its answers wait from now on
// A row, and when it became this connection's.
struct row {
    char user[16];
    struct link link;
    uint64_t placed_ms;
};
// The row of a device, or NULL; or the one with this number; when rows of the user changed.
const struct row *redis_row(const struct redis *redis, const char *user, const char *device);
const struct row *redis_row_at(const struct redis *redis, size_t i);
uint64_t redis_changed_ms(const struct redis *redis, unsigned user);
// For how long the node has had no lease; 0: it has one.
uint64_t redis_leaseless_ms(const struct redis *redis, const char *node);
// When a jump of Redis's clock ended its lease; 0: it has one, or that was not why.
uint64_t redis_jumped_ms(const struct redis *redis, const char *node);
size_t redis_node_count(const struct redis *redis);
bool redis_is_young(const struct redis *redis); // up for less than a lease
bool redis_is_indexed(const struct redis *redis, const struct row *row);
// Whether no other connection of its client registered first after this one did.
bool redis_newest(const struct conn *conn);

// clients.c
void client_user(const struct client *client, char out[static 16]);
void client_device(const struct client *client, char out[static 16]);
void clients_start(struct world *world);
void clients_act(struct world *world);    // one random action
void client_moves(struct client *client); // comes back elsewhere, the old socket stays
void client_send(struct client *client, unsigned to_user);
void client_send_unasked(struct client *client, unsigned to_user); // no outcome wanted
void client_gone(struct client *client, bool may_return);          // closes in order
void conns_lost(struct process *edge);                             // its sockets are gone
void conns_release(struct process *edge);                          // writes what was held
void conns_free(struct world *world);
bool client_is_live(const struct client *client);
const struct session *client_session(const struct client *client);
bool conn_is_open(const struct conn *conn); // its edge lives, and has a session for it
struct conn *conn_find(const struct world *world, const char *node, uint64_t connection);
unsigned conns_of(const struct world *world, unsigned user, unsigned device); // live sessions

// faults.c
void faults_draw(struct world *world); // how much of what this run has
void faults_act(struct world *world);  // perhaps one of each kind
void faults_end(struct world *world);
void process_pause(struct process *process, uint64_t for_ms);
void process_break_redis(struct process *process, uint64_t for_ms); // and tells it
void faults_flap(struct process *process); // its connection to Redis is back

// watch.c
void watch_start(struct world *world);
// A link took another's row: the other is to close.
void watch_kick(struct process *from, const struct link *old);
// A batch removes this row.
void watch_reap(const struct process *sweeper, const struct row *row);

// check.c
struct messages *messages_new(void);
void messages_free(struct messages *messages);
// The number of the message, which is also the command's id.
uint64_t check_sent(struct client *from, unsigned to_user, bool wants_outcome);
void check_outcome(struct world *world, uint64_t id, bool is_sent, enum reason reason);
void check_message(struct world *world, const struct conn *conn, uint64_t number);
// An envelope leaves for a node.
void check_envelope(struct world *world, uint64_t number, const char *node);
void check_sender_gone(struct world *world, const struct client *from);
void check_late(struct world *world);      // any send without an outcome after five seconds
void check_calm(struct world *world);      // after calm: rows are exact, nobody is stale
void check_reachable(struct world *world); // after calm: everybody gets a message
