// fake.h: an edge's core with everything around it played by the test: store.h, bus.h and
// conn.h are implemented here, and do nothing until the test says what.
//
//   fake_store.c  records each store_* call; the test answers it, when and how it wants
//   fake_bus.c    records what is published; refuses the nth, or everything
//   fake_conn.c   decodes what is pushed into events; full or closing on demand
//   fake_edge.c   one edge over these, its clock, its clients
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "edge/core.h"

// The store.

enum call_kind {
    CALL_REGISTER,
    CALL_UNREGISTER,
    CALL_VERIFY,
    CALL_RESOLVE,
    CALL_READ_NODE,
    CALL_LIST_NODES,
    CALL_HEARTBEAT,
    CALL_RELEASE,
    CALL_LEAD,
    CALL_RESIGN,
    CALL_CLOCK,
    CALL_REAP,
    CALL_SCRUB,
    CALL_SCRUB_ROWS,
    CALL_KINDS,
};

struct call {
    enum call_kind kind;
    bool is_answered;
    char user[IDENT_MAX_BYTES + 1];
    char node[NODE_ID_SIZE]; // node, watcher or sweeper
    struct link link;
    struct store_node self;
    uint64_t number; // age_ms, watch_ms, lease_ms, fence or cursor
    unsigned batch;
    void *done;
    void *arg;
};

struct store {
    bool is_up;
    const char *description;
    struct call **calls; // all there ever were
    size_t count;
    size_t first_open; // all before it are answered
    size_t made[CALL_KINDS];
};

void store_fini(struct store *store);
// Calls without an answer yet.
size_t calls_open(const struct store *store);
size_t calls_open_of(const struct store *store, enum call_kind kind);
// The oldest without an answer; the test fails if there is none.
struct call *call_of(struct store *store, enum call_kind kind);
struct call *call_for(struct store *store, enum call_kind kind, const char *user);
// With an error; whatever the call is.
void answer_error(struct call *call, int error);
void answer_all(struct store *store, int error);
void answer_registered(struct call *call, uint64_t epoch);
// `old` and `watcher` may be NULL.
void answer_replaced(struct call *call, uint64_t epoch, const struct link *old,
                     const char *watcher);
void answer_displaced(struct call *call, uint64_t epoch, const struct link *links, size_t count);
// By a newer login, which has this epoch.
void answer_superseded(struct call *call, uint64_t epoch);
void answer_done(struct call *call, int error);
void answer_verified(struct call *call, enum store_verdict verdict, uint64_t epoch,
                     const char *watcher);
// Over the row of an older login.
void answer_rewritten(struct call *call, uint64_t epoch, const struct link *old);
void answer_verified_over(struct call *call, enum store_verdict verdict, uint64_t epoch,
                          const struct link *old);
void answer_links(struct call *call, const struct link *links, size_t count);
// On these nodes, one device each.
void answer_nodes(struct call *call, size_t count, ...);
void answer_lease(struct call *call, bool lives);
void answer_listed(struct call *call, const struct store_node *nodes, size_t count);
void answer_beat(struct call *call, bool was_lost, uint64_t gen);
void answer_beat_taken(struct call *call, uint64_t taken, uint64_t gen);
struct link link_on(const char *node, const char *device, uint64_t connection, uint64_t epoch);

// The bus.

struct parcel {
    char *subject;
    char *reply; // "" if none
    uint8_t *bytes;
    size_t len;
};

struct bus {
    bool is_up;
    const char *description;
    size_t max_payload;
    int error;      // of every publish to come
    size_t fail_in; // n: the nth publish from now is refused with fail_error; 0: none
    int fail_error;
    struct parcel *parcels;
    size_t count;
};

void bus_fini(struct bus *bus);
void bus_forget(struct bus *bus); // what was published so far
// The nth published (from 0), decoded; good until the next call.
const Switchyard__Bus__V1__BusFrame *bus_frame(const struct bus *bus, size_t at);
// The only one published since bus_forget, which must be for this node.
const Switchyard__Bus__V1__BusFrame *bus_only(const struct bus *bus, const char *node);
// How many parcels went to this node.
size_t bus_count_to(const struct bus *bus, const char *node);

// Sockets.

struct conn {
    struct conn *next;
    struct session session;
    enum codec_format format;
    bool is_open; // session_closed was not called
    bool is_closing;
    enum close_code code;
    size_t backlog;      // what conn_backlog answers
    size_t full_in;      // n: the nth push from now finds the queue full; 0: none
    struct heard *heard; // events, oldest first
    struct heard *last_heard;
    size_t pings;
    size_t ping_bytes; // payload of the last ping
    size_t pushed;     // frames, ever
};

void conn_free(struct conn *conn);
void events_forget(struct conn *conn);
// The oldest not taken yet, which must be of this kind; good until the next is taken.
const Switchyard__V1__Event *event_take(struct conn *conn, Switchyard__V1__Event__EventCase kind);
void expect_nothing(const struct conn *conn);
void expect_failure(struct conn *conn, uint64_t id, enum reason reason);
void expect_sent(struct conn *conn, uint64_t id, uint32_t devices);
void expect_rejected(struct conn *conn, uint64_t id, enum reason reason);
void expect_message(struct conn *conn, const char *from, const char *text);
void expect_welcome(struct conn *conn);
void expect_closed(const struct conn *conn, enum close_code code);

// The edge.

#define NODE_A "edge-a.00000000000000aa" // the one under test
#define NODE_B "edge-b.00000000000000bb"
#define NODE_C "edge-c.00000000000000cc"

struct rig {
    struct edge edge;
    struct auth auth;
    struct store store;
    struct bus bus;
    struct conn *conns;
};

struct rig *rig_new(void); // store and bus are up
struct rig *rig_new_alone(void);
void rig_free(struct rig *rig);
// As cmocka wants them; *state is the rig.
int rig_setup(void **state);
int rig_setup_alone(void **state);
int rig_teardown(void **state);
#define RIG_TEST(claim) cmocka_unit_test_setup_teardown(claim, rig_setup, rig_teardown)
#define ALONE_TEST(claim) cmocka_unit_test_setup_teardown(claim, rig_setup_alone, rig_teardown)

// As if it had been renewed just now: without one nothing is written.
void rig_hold_lease(struct rig *rig);
// Both clocks go on, a lease is kept, and due timers fire.
void rig_pass(struct rig *rig, uint64_t ms);
void rig_turn_end(struct rig *rig);
// A socket that has not said anything; from the first on there is a lease.
struct conn *rig_connect(struct rig *rig, enum codec_format format, const char *token);
// Logged in, the link written, Welcome read.
struct conn *rig_login(struct rig *rig, const char *user, const char *device);
struct conn *rig_login_as(struct rig *rig, enum codec_format format, const char *user,
                          const char *device);
void rig_hang_up(struct conn *conn); // the client goes
void store_goes_down(struct rig *rig);
void store_comes_up(struct rig *rig);
// What arrives from another edge.
void rig_heartbeat(struct rig *rig, const char *node);
void rig_heartbeat_of(struct rig *rig, const char *node, bool has_directory);
void rig_bus_item(struct rig *rig, const char *origin, const Switchyard__Bus__V1__BusItem *item);
void rig_receipt(struct rig *rig, const char *origin, uint64_t ref, uint32_t devices);
// The user at `index` of the envelope got nothing.
void rig_receipt_miss(struct rig *rig, const char *origin, uint64_t ref, uint32_t devices,
                      uint32_t index, enum reason reason);
void rig_unheard(struct rig *rig, const char *node, uint32_t batch);
void rig_invalidate(struct rig *rig, const char *user);
void rig_kick(struct rig *rig, const char *user, const char *device, uint64_t connection,
              uint64_t epoch);
void rig_envelope(struct rig *rig, const char *origin, uint64_t ref, const char *user,
                  const char *device, const char *text, uint64_t expires_at_ms);
// The only envelope that was published since bus_forget; it must be for this node.
const Switchyard__Bus__V1__Envelope *rig_envelope_to(struct rig *rig, const char *node);

// What a client says.
void say(struct conn *conn, const Switchyard__V1__Command *command);
void say_all(struct conn *conn, Switchyard__V1__Command **commands, size_t count);
void say_hello(struct conn *conn, uint64_t id, const char *user, const char *device);
void say_hello_token(struct conn *conn, uint64_t id, const char *token, const char *device);
void say_ping(struct conn *conn, uint64_t id);
void say_refresh(struct conn *conn, uint64_t id, const char *token);
void say_send(struct conn *conn, uint64_t id, const char *to, const char *text);
void say_send_device(struct conn *conn, uint64_t id, const char *to, const char *device,
                     const char *text);
void say_send_many(struct conn *conn, uint64_t id, const char *const *to, size_t count,
                   const char *text);
void say_bytes(struct conn *conn, const void *bytes, size_t len);
