// channel_state.h: what channel.c (commands, answers, loss, time) and channel_dial.c
// (looking up, connecting, greeting) share. Nobody else includes it.
#pragma once

#include "lib/base/log.h"
#include "lib/store/channel.h"

// A broken Redis is tried for hours; its reason is written this often.
#define COMPLAIN_MS 10000

enum state { CLOSED, RESOLVING, CONNECTING, READY, WAITING };

struct command {
    struct command *next;
    const char *name;   // for the log
    enum script script; // SCRIPT_COUNT: none
    bool was_retried;
    bool is_ours; // not counted in in_flight: greeting, PING, SCRIPT LOAD
    uint64_t sent_ms;
    channel_answer_cb *done;
    void *arg;
    size_t len;
    char bytes[]; // as sent: a script may have to be sent twice
};

struct script_slot {
    struct channel *channel;
    const char *text;
    const char *name;
    char sha[41];    // "" until loaded the first time
    bool is_loading; // a SCRIPT LOAD is in flight
};

struct channel {
    uv_loop_t *loop;
    struct channel_opts opts;
    struct rng rng;
    enum state state;
    struct redis *redis; // set in CONNECTING and READY
    uv_timer_t timer;    // WAITING: when to try again; CONNECTING, READY: when to look
    uv_getaddrinfo_t lookup;
    unsigned holds; // timer, a running lookup, every struct redis not released yet
    struct script_slot scripts[SCRIPT_COUNT];

    struct command *oldest; // in flight, in the order of their answers
    struct command *newest;
    unsigned in_flight; // of them, those of our callers
    // The command that was overdue at the last look. Only if it is still there after
    // one more turn of the loop is Redis to blame: this process may have slept.
    const struct command *overdue;

    unsigned failures;     // in a row
    unsigned next_address; // which of those the name has; moves on at each failure to connect
    uint64_t ready_ms;     // when READY began
    uint64_t answer_ms;    // of the last answer
    char version[24];
    char why[160]; // of the last failure
    char text[512];
    struct log_limit refused;
    struct log_limit failed;
};

// In channel.c.

// The one function that changes the state; asserts that the move is legal.
void channel_move(struct channel *channel, enum state to);
// When the timer looks next.
void channel_arm(struct channel *channel, uint64_t delay_ms);
// Gives a hold back; the last one frees.
void channel_release(struct channel *channel);
// Gives the connection up and waits. `first`: what the oldest command is told.
void channel_lose(struct channel *channel, int first, const char *why);
// A command that is not a caller's.
void channel_send_own(struct channel *channel, size_t argc, const char **argv,
                      channel_answer_cb *done, void *arg);
// SCRIPT LOAD; `done` gets the slot.
void channel_load(struct script_slot *slot, channel_answer_cb *done);
// The hooks of struct redis.
void channel_on_answer(void *arg, const struct redisReply *answer);
void channel_on_gone(void *arg, const char *why);
void channel_on_released(void *arg);

// In channel_dial.c: from WAITING on, until READY or a loss.
void channel_dial(struct channel *channel);
