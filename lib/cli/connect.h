// connect.h: the client of a command, from its flags, in the command's loop.
#pragma once

#include <uv.h>

#include "lib/cli/flags.h"

// NULL after a complaint on stderr. The callbacks and arg are options'; the rest is filled
// in here. It is open already.
struct switchyard_client *cli_connect(uv_loop_t *loop, const struct flags *flags,
                                      struct switchyard_options *options);

// SIGINT and SIGTERM end the command politely: `end` is called once, from the loop.
struct cli_signals {
    uv_signal_t signals[2];
    void (*end)(void *arg);
    void *arg;
};
void cli_signals_start(struct cli_signals *signals, uv_loop_t *loop, void (*end)(void *arg),
                       void *arg);
void cli_signals_stop(struct cli_signals *signals);

// "connecting to ws://...", "live as alice/phone on node a.0f": one line on stderr.
void cli_tell_state(const struct switchyard_state_change *change);
