// channel.h: an ordered, bounded channel of commands to Redis that repairs itself.
//
//   CLOSED <- any     RESOLVING -> CONNECTING -> READY -> WAITING -> RESOLVING ...
//
// Steps: look the name up (uv_getaddrinfo, off the loop), connect, greet (AUTH, HELLO,
// SELECT, SCRIPT LOAD of every script, in one go), READY. Any failure: WAITING for
// channel_backoff_ms, then again from the start.
//
//   the oldest command is unanswered for timeout_ms   its answer is SY_ETIME, all
//       others' SY_ELOST, the connection is closed: the answers could no longer be told apart
//   connection lost        all answers are SY_ELOST
//   nothing to do for PING_MS   a PING, under the same deadline: finds a frozen Redis
//       and half-open TCP
//   NOSCRIPT (SCRIPT FLUSH)     the script is loaded and the command sent once more. It
//       then runs, and is answered, later than commands sent after it: whoever needs the
//       order of two scripts waits for the first answer, and a call that sends a script
//       and plain commands sends the script last.
//   READONLY (a demoted master) the connection is closed, so that the name is looked up again
//
// One loop, one thread. Callbacks may call anything here, also channel_close.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "lib/base/rand.h"
#include "lib/store/redis.h"
#include "lib/store/url.h"

#define PING_MS 1000
#define BACKOFF_MIN_MS 50
#define BACKOFF_MAX_MS 2000

enum script {
    SCRIPT_REGISTER,
    SCRIPT_UNREGISTER,
    SCRIPT_VERIFY,
    SCRIPT_RESOLVE,
    SCRIPT_HEARTBEAT,
    SCRIPT_LEAD,
    SCRIPT_REAP_LIST,
    SCRIPT_REAP_ROW,
    SCRIPT_REAP_DONE,
    SCRIPT_COUNT
};

struct channel;

struct channel_opts {
    struct redis_url url;
    uint64_t timeout_ms;
    unsigned max_in_flight;
    uint64_t seed; // of the jitter
    // As in store.h; never after channel_close.
    void (*on_state)(void *arg, bool up, const char *why);
    void (*on_closed)(void *arg); // the last call
    void *arg;
};

struct channel *channel_open(uv_loop_t *loop, const struct channel_opts *opts);
// Answers everything in flight with SY_ELOST before it returns.
void channel_close(struct channel *channel);

bool channel_is_up(const struct channel *channel);
// As store_describe.
const char *channel_describe(struct channel *channel);

// 0 if `count` commands may be sent now; else SY_EDOWN or SY_EFULL.
int channel_check(const struct channel *channel, unsigned count);

// Called once per command. error: 0; SY_ETIME, SY_ELOST: no answer; SY_EREPLY: Redis
// refused (logged). The answer, NULL without one, lives for the call only. While it
// runs, room for one command is certain if error is 0 or SY_EREPLY.
typedef void channel_answer_cb(void *arg, int error, const struct redisReply *answer);

// Only after channel_check answered 0 for it. argv[0], the command, is kept for the
// log: a literal. `lens` NULL for strings.
void channel_send(struct channel *channel, size_t argc, const char **argv, const size_t *lens,
                  channel_answer_cb *done, void *arg);
// The same for a script; argv[0] to argv[2] and their lengths are filled in here, then
// come `keys` keys, then arguments.
void channel_eval(struct channel *channel, enum script script, unsigned keys, size_t argc,
                  const char **argv, size_t *lens, channel_answer_cb *done, void *arg);

// How long to wait after the n-th failure in a row (from 1): even between
// BACKOFF_MIN_MS and twice that, then four times ..., at most BACKOFF_MAX_MS.
uint64_t channel_backoff_ms(struct rng *rng, unsigned failures);
