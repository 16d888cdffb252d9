// host_internal.h: what host.c (running) and leave.c (going) share. Nobody else includes it.
//
// host.c calls leave_init once, and asks what the phase is. leave.c keeps the clocks through
// host_set_clocks, stops the handles and closes the parts; host.c frees them.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "edge/core.h"
#include "edge/health.h"
#include "edge/host.h"
#include "edge/server.h"
#include "lib/base/log.h"
#include "proto/subject.h"

// SIGTERM, SIGINT, SIGHUP, SIGUSR2.
#define HOST_SIGNALS 4

// Only leave.c changes it, and only down this list.
enum phase {
    PHASE_RUNNING,
    PHASE_NOTICE,    // unready, and waiting for balancers to see it (drain.delay)
    PHASE_DRAINING,  // no new clients; those here are going
    PHASE_RELEASING, // giving the lease back
    PHASE_HURRIED,   // the same, and nothing else
    PHASE_ENDING,
};

// The times are those of the loop; they and the signal mean nothing while PHASE_RUNNING.
struct leave {
    uv_timer_t look;
    uv_signal_t signals[HOST_SIGNALS];
    uint64_t notice_until_ms;
    uint64_t deadline_ms;
    int signal; // that began it
    enum phase phase;
    bool is_sweeping; // closing those without a login
};

struct host {
    uv_loop_t loop;
    uv_prepare_t before_wait;
    uv_check_t after_wait;
    uv_idle_t no_wait; // runs while a turn leaves work for the next
    uv_timer_t tick;
    uv_timer_t wheel_tick;
    const struct settings *settings;
    struct worker *worker; // NULL: none
    struct edge edge;
    struct auth auth;
    struct server *server;
    struct health health;
    struct leave leave;
    char node_subject[SUBJECT_SIZE];
    char unheard_subject[SUBJECT_SIZE];
    char rooms[1024];
    uint64_t reading_ms; // of this turn
    struct log_limit long_turn;
    size_t given_back;      // bytes, since malloc_trim
    uint32_t most_sessions; // since half of them left
    unsigned open_parts;    // store, bus, server: not closed yet
    bool was_ready;
    bool is_holding; // as the server was told
};

// The clocks of this turn; before anything that reads them. True: the process had stood
// still since the last call.
bool host_set_clocks(struct host *host);

// Minds the signals from now on. When one of them has led to the end, all handles are closed
// and the loop has nothing left to do.
void leave_init(struct host *host);
