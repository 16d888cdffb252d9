// core.h: the client without sockets, clock or loop. Bytes, time and events of the
// connection go in; bytes, events for the owner, wanted actions and the next deadline come
// out. Given the same inputs and the same seed it does the same.
//
// The owner, after every input: takes events with core_poll until there is none, takes
// actions with core_take_action until there is none, writes what core_write_size tells while
// the connection takes it, and calls core_advance at core_deadline.
//
// GoAway: at the time it names the core hangs up and connects anew, first to the address it
// names (CORE_URL_GIVEN), then to those of the owner. It closes before it connects: so an
// edge's "replaced" is never its own doing, no message comes twice, and no send has two
// connections. What is sent meanwhile waits in the queue; what is in flight is waited for, as
// long as the edge stays.
//
// Time is milliseconds of a clock that never goes back.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/client-c/encode.h"
#include "lib/client-c/include/switchyard/client.h"
#include "lib/client-c/ws_url.h"

// Each number's reason: one row here, tests on both sides of it.
#define CORE_CONNECT_MS 10000 // name, TCP, TLS and upgrade together
#define CORE_LOGIN_MS 10000   // Hello to Welcome; an edge answers in milliseconds, or never
#define CORE_ANSWER_MS 6000   // the protocol promises an outcome within 5 s; one for the way
#define CORE_QUEUE_MS 5000    // default of queue_ms
#define CORE_BACKOFF_MIN_MS 500
#define CORE_BACKOFF_MAX_MS 20000
#define CORE_STABLE_MS 5000       // live so long: the next loss starts the backoff anew
#define CORE_PING_MS 25000        // when an edge names no interval
#define CORE_PING_LEAST_MS 1000   // what an edge may ask for: not a flood,
#define CORE_PING_MOST_MS 120000  // and not so rare that a dead path goes unnoticed
#define CORE_PONG_MS 10000        // nothing heard so long after a ping: the connection is dead
#define CORE_RETRY_AFTER_MS 1000  // for a 503 that names no time
#define CORE_RETRY_MOST_MS 120000 // at most so long an edge may keep us waiting
#define CORE_BATCH_BYTES 16384    // sends joined into one WebSocket message

// In place of an index into the owner's URLs: the one an edge gave, see core_given_url.
#define CORE_URL_GIVEN SWITCHYARD_MAX_URLS

struct core;

struct core_options {
    unsigned url_count;
    bool takes_ws;    // what an edge may send us to: the kinds the owner's URLs have, so that
    bool takes_wss;   // nobody is led from wss to ws
    uint64_t seed[3]; // random: one for names and jitter, two as key of the duplicate filter
    const char *token;
    switchyard_token_cb *on_token;
    void *arg; // of on_token
    const char *user;
    const char *device;
    const char *device_class;
    const char *client_name;
    size_t max_queue_bytes; // this and the next: not 0
    size_t max_queue_count;
};

// Copies the options' strings. NULL: out of memory, or (*error) a value that cannot be.
struct core *core_new(const struct core_options *options, int *error);
void core_free(struct core *core); // tells nobody

enum switchyard_state core_state(const struct core *core);
const char *core_device(const struct core *core);
unsigned core_url(const struct core *core);                   // index of the URL in use or next
const struct ws_url *core_given_url(const struct core *core); // while an index names it
size_t core_pending(const struct core *core);

// Inputs from the owner. Those that can fail answer as in client.h.
int core_open(struct core *core, uint64_t now_ms);
int core_send(struct core *core, const struct send_request *request, uint32_t queue_ms,
              switchyard_outcome_cb *done, void *arg, uint64_t now_ms);
void core_close(struct core *core, uint64_t now_ms);
void core_advance(struct core *core, uint64_t now_ms);

// Inputs from the connection. None after CORE_DISCONNECT was taken, until CORE_CONNECT is
// taken again.
void core_connected(struct core *core, uint64_t now_ms);
// The try failed. status: of the HTTP answer, 0: none came. retry_after_ms 0: none named.
void core_refused(struct core *core, unsigned status, uint32_t retry_after_ms, const char *text,
                  uint64_t now_ms);
// One whole WebSocket message. All events must have been polled before.
void core_received(struct core *core, const void *bytes, size_t len, bool is_binary,
                   uint64_t now_ms);
// A part of a message came: a sign of life.
void core_alive(struct core *core, uint64_t now_ms);
// A message over the owner's bound, or more than memory for: we hang up.
void core_overrun(struct core *core, const char *text, uint64_t now_ms);
// The connection ended. code 0: without a close frame.
void core_disconnected(struct core *core, unsigned code, const char *text, uint64_t now_ms);

// Outputs.
enum core_action_kind { CORE_NOTHING, CORE_CONNECT, CORE_DISCONNECT };
struct core_action {
    enum core_action_kind kind;
    unsigned url;  // of CORE_CONNECT
    unsigned code; // of CORE_DISCONNECT: the close code to send
};
// Asks the owner's on_token when a connection is wanted; without a token none is.
void core_take_action(struct core *core, uint64_t now_ms, struct core_action *action);
// Whether core_take_action or core_poll has something now.
bool core_has_output(const struct core *core);

enum core_event_kind {
    CORE_EVENT_NONE,
    CORE_EVENT_STATE,
    CORE_EVENT_MESSAGE,
    CORE_EVENT_GOAWAY,
    CORE_EVENT_OUTCOME,
};
struct core_event {
    enum core_event_kind kind;
    unsigned url; // of STATE
    union {
        struct switchyard_state_change state; // url is NULL: the owner knows the texts
        struct switchyard_message message;
        struct switchyard_goaway goaway;
        struct switchyard_outcome outcome;
    };
    switchyard_outcome_cb *done; // of OUTCOME
    void *arg;
};
// What an event points to stays until the next call of core_poll or core_received.
void core_poll(struct core *core, uint64_t now_ms, struct core_event *event);

// Bytes of the next WebSocket message to write (binary); 0: none.
size_t core_write_size(struct core *core);
// Copies it to out, core_write_size bytes; from then on it counts as written.
void core_write(struct core *core, uint8_t *out, uint64_t now_ms);
// When core_advance is next due; UINT64_MAX: not at all.
uint64_t core_deadline(const struct core *core);
