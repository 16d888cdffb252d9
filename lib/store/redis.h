// redis.h: one connection to Redis, from connect to loss; the only place that knows
// hiredis. It keeps the order of commands and nothing else: who waits for which
// answer, deadlines and reconnecting are channel.h's.
//
// Steps: redis_open starts connecting; commands may be sent at once; answers come in
// the order of the commands, through on_answer, on the loop. Then exactly one of:
//   - on_gone: connect refused, reset, closed by Redis, unreadable answer. The
//     commands without an answer will get none.
//   - redis_drop: the owner wants no more. Nothing is called but on_released.
// on_released is the very last call, on a later turn of the loop.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "lib/base/err.h"

struct redis;
struct redisReply; // hiredis's, read by the functions below; lives for the callback only

struct redis_hooks {
    void (*on_answer)(void *arg, const struct redisReply *answer);
    void (*on_gone)(void *arg, const char *why);
    void (*on_released)(void *arg);
    void *arg;
};

// `ip` is an address, never a name (hiredis would look it up and block); with `path`
// not empty it is a unix socket. NULL with a line in *why if it failed at once: then
// no hook is called.
struct redis *redis_open(uv_loop_t *loop, const char *ip, int port, const char *path,
                         const struct redis_hooks *hooks, char why[static 160]);
// A formatted command. It leaves together with all others of this turn of the loop.
void redis_send(struct redis *redis, const char *bytes, size_t len);
// May be called from on_answer.
void redis_drop(struct redis *redis);

// A command on the wire, into redis_format_size bytes; `lens` NULL for strings.
size_t redis_format_size(size_t argc, const char *const *argv, const size_t *lens);
void redis_format(char *out, size_t argc, const char *const *argv, const size_t *lens);

// Reading answers. Each says what it found by its return value and writes only then.
bool redis_is_error(const struct redisReply *answer, const char **words);
bool redis_is_nil(const struct redisReply *answer);
bool redis_read_text(const struct redisReply *answer, const char **text, size_t *len); // and status
bool redis_read_integer(const struct redisReply *answer, int64_t *value);
// A number, as integer or as decimal text.
bool redis_read_u64(const struct redisReply *answer, uint64_t *value);
bool redis_read_array(const struct redisReply *answer, size_t *count);
// i below the count of redis_read_array.
const struct redisReply *redis_item(const struct redisReply *answer, size_t i);
// [ cursor, [ item ... ] ], as SCAN and its kin answer.
bool redis_read_scan(const struct redisReply *answer, uint64_t *cursor,
                     const struct redisReply **items, size_t *count);
