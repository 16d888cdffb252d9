// rig.h: what the tests of the bus stand on: a nats-server of their own, a loop with
// a 5 ms ticker that notices when it stands still, and a bus that notes what happens.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#include <cmocka.h> // needs those above

#include "lib/bus/bus.h"

// A port on 127.0.0.1 that nobody had a moment ago.
int free_port(void);

struct server {
    int port;
    pid_t pid;
    char dir[64];       // temporary, for its configuration
    const char *config; // text added to the configuration; NULL: none
};

void server_init(struct server *server, const char *config);
void server_start(struct server *server); // returns once it accepts connections
void server_kill(struct server *server);  // kill -9
void server_fini(struct server *server);

struct rig {
    uv_loop_t loop;
    uv_timer_t ticker;
    uint64_t last_us;
    uint64_t last_queued_us;
    uint64_t longest_gap_us; // between two ticks, without waiting for a CPU
};

void rig_init(struct rig *rig);
void rig_fini(struct rig *rig); // fails when a handle was left
// Runs the loop until is_done(arg) or for ms. False: time over.
bool rig_run(struct rig *rig, bool (*is_done)(void *arg), void *arg, uint64_t ms);
void rig_run_for(struct rig *rig, uint64_t ms);
uint64_t now_ms(void);

struct side {
    struct rig *rig;
    struct bus *bus;
    unsigned ups, downs;
    uint64_t up_at_ms, down_at_ms;
    char why[320]; // of the last change
    uint64_t messages, unheard;
    uint64_t message_at_ms;
    char subject[256];  // of the last message
    uint8_t bytes[256]; // the beginning of the last message
    size_t len;
    void (*also)(struct side *side, const char *subject, const void *bytes, size_t len,
                 bool is_unheard); // called for each message if not NULL
    void *arg;
    bool is_closed;
};

// Options for a side that subscribes to "<name>.>" and "unheard.<name>.>".
struct bus_opts side_opts(struct side *side, const char *name, const char *url);
void side_open(struct side *side, const struct bus_opts *opts);
void side_close(struct side *side);
bool side_is_up(void *side);
bool side_is_down(void *side);
bool side_has_message(void *side);

unsigned count_fds(void);
