// See redis.h. hiredis 0.14 asynchronous, on libuv by an adapter of our own, because
//   - the adapter that comes with it ignores poll errors: a refused connect would
//     never be reported;
//   - its connect callback must not free (use after free in this version), so none is
//     set: a failed connect shows as the end of the context, like any other loss;
//   - a write event per command costs two epoll_ctl calls: we write once per turn,
//     just before the loop sleeps, and ask for write events only when the socket is full.
//
// The end of a context, in hiredis's order: every waiting command is called with a
// NULL answer, then `cleanup`, then the memory and the descriptor go. We take cleanup
// as the one sign of death, and ignore the NULL answers.
#include "lib/store/redis.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/keys.h"

struct redis {
    struct redis_hooks hooks;
    redisAsyncContext *context; // NULL from cleanup on
    uv_poll_t poll;
    uv_prepare_t flush; // started when there is something to write
    unsigned handles;   // not closed yet
    int events;         // what poll watches
    bool is_flushing;   // inside redisAsyncHandleWrite
    bool is_dropped;
    char why[160];
};

static void on_poll(uv_poll_t *poll, int status, int events);

static void
on_handle_closed(uv_handle_t *handle)
{
    struct redis *redis = handle->data;
    if (--redis->handles > 0)
        return;
    struct redis_hooks hooks = redis->hooks;
    free(redis);
    hooks.on_released(hooks.arg);
}

static void
watch(struct redis *redis, int events)
{
    if (redis->events == events)
        return;
    redis->events = events;
    if (events)
        uv_poll_start(&redis->poll, events, on_poll);
    else
        uv_poll_stop(&redis->poll);
}

// Tells the owner once that the context is gone. Never called while hiredis is on the stack.
static void
report_end(struct redis *redis)
{
    if (redis->context || redis->is_dropped)
        return;
    redis->is_dropped = true;
    redis->hooks.on_gone(redis->hooks.arg, redis->why);
}

static bool
is_connected(const struct redis *redis)
{
    return redis->context->c.flags & REDIS_CONNECTED;
}

static void
on_poll(uv_poll_t *poll, int status, int events)
{
    struct redis *redis = poll->data;
    if (status < 0) {
        // An error on the socket. hiredis finds it by reading it, or by SO_ERROR.
        if (is_connected(redis))
            redisAsyncHandleRead(redis->context);
        else
            redisAsyncHandleWrite(redis->context);
        if (redis->context && !redis->is_dropped) {
            snprintf(redis->why, sizeof redis->why, "socket error");
            redisAsyncFree(redis->context);
        }
        report_end(redis);
        return;
    }
    if (events & UV_READABLE)
        redisAsyncHandleRead(redis->context);
    if (redis->context && (events & UV_WRITABLE))
        redisAsyncHandleWrite(redis->context);
    report_end(redis);
}

static void
on_flush(uv_prepare_t *prepare)
{
    struct redis *redis = prepare->data;
    uv_prepare_stop(prepare);
    redis->is_flushing = true;
    redisAsyncHandleWrite(redis->context);
    redis->is_flushing = false;
    report_end(redis);
}

static void
add_read(void *arg)
{
    struct redis *redis = arg;
    watch(redis, redis->events | UV_READABLE);
}

static void
del_read(void *arg)
{
    struct redis *redis = arg;
    watch(redis, redis->events & ~UV_READABLE);
}

static void
add_write(void *arg)
{
    struct redis *redis = arg;
    if (redis->is_flushing || !is_connected(redis))
        watch(redis, redis->events | UV_WRITABLE);
    else if (!(redis->events & UV_WRITABLE))
        uv_prepare_start(&redis->flush, on_flush);
}

static void
del_write(void *arg)
{
    struct redis *redis = arg;
    watch(redis, redis->events & ~UV_WRITABLE);
}

static void
cleanup(void *arg)
{
    struct redis *redis = arg;
    if (redis->why[0] == '\0')
        snprintf(redis->why, sizeof redis->why, "%s",
                 redis->context->err ? redis->context->errstr : "closed");
    redis->context = NULL;
    uv_close((uv_handle_t *)&redis->poll, on_handle_closed);
    uv_close((uv_handle_t *)&redis->flush, on_handle_closed);
}

static void
on_reply(redisAsyncContext *context, void *reply, void *arg)
{
    (void)context;
    struct redis *redis = arg;
    if (reply && !redis->is_dropped)
        redis->hooks.on_answer(redis->hooks.arg, reply);
}

static void
attach(struct redis *redis)
{
    redisAsyncContext *context = redis->context;
    context->ev.data = redis;
    context->ev.addRead = add_read;
    context->ev.delRead = del_read;
    context->ev.addWrite = add_write;
    context->ev.delWrite = del_write;
    context->ev.cleanup = cleanup;
    redis->poll.data = redis;
    redis->flush.data = redis;
    redis->handles = 2;
    watch(redis, UV_WRITABLE);
}

struct redis *
redis_open(uv_loop_t *loop, const char *ip, int port, const char *path,
           const struct redis_hooks *hooks, char why[static 160])
{
    redisAsyncContext *context = path[0] ? redisAsyncConnectUnix(path)
                                         : redisAsyncConnect(ip, port);
    if (!context)
        abort(); // out of memory
    if (context->err) {
        snprintf(why, 160, "%s", context->errstr);
        redisAsyncFree(context);
        return NULL;
    }
    fcntl(context->c.fd, F_SETFD, FD_CLOEXEC);
    if (!path[0])
        redisEnableKeepAlive(&context->c);
    struct redis *redis = calloc(1, sizeof *redis);
    if (!redis)
        abort();
    redis->hooks = *hooks;
    redis->context = context;
    int error = uv_poll_init(loop, &redis->poll, context->c.fd);
    if (error) {
        snprintf(why, 160, "%s", uv_strerror(error));
        redisAsyncFree(context);
        free(redis);
        return NULL;
    }
    uv_prepare_init(loop, &redis->flush);
    attach(redis);
    return redis;
}

void
redis_send(struct redis *redis, const char *bytes, size_t len)
{
    assert(redis->context && !redis->is_dropped);
    // It can only refuse while disconnecting, which our owner never sees.
    const struct redisCallback *last = redis->context->replies.tail;
    redisAsyncFormattedCommand(redis->context, on_reply, redis, bytes, len);
    // Without memory hiredis 0.14 sends what nobody waits for, or waits for what was not sent,
    // and tells neither.
    if (redis->context->replies.tail == last || redis->context->c.err == REDIS_ERR_OOM) {
        errno = ENOMEM;
        abort();
    }
}

void
redis_drop(struct redis *redis)
{
    assert(!redis->is_dropped);
    redis->is_dropped = true;
    // Inside one of its callbacks hiredis only takes note, and frees when that returns.
    if (redis->context)
        redisAsyncFree(redis->context);
}

// hiredis can format, too, but with printf for each argument.

// "*3\r\n" or "$36\r\n".
static size_t
put_head(char *out, char mark, size_t count)
{
    char digits[DECIMAL_SIZE];
    size_t len = decimal_write(count, digits);
    out[0] = mark;
    memcpy(out + 1, digits, len);
    memcpy(out + 1 + len, "\r\n", 2);
    return len + 3;
}

#define HEAD_SIZE (1 + DECIMAL_SIZE + 2)

static size_t
arg_len(const char *const *argv, const size_t *lens, size_t i)
{
    return lens ? lens[i] : strlen(argv[i]);
}

size_t
redis_format_size(size_t argc, const char *const *argv, const size_t *lens)
{
    char head[HEAD_SIZE];
    size_t size = put_head(head, '*', argc);
    for (size_t i = 0; i < argc; i++) {
        size_t len = arg_len(argv, lens, i);
        size += put_head(head, '$', len) + len + 2;
    }
    return size;
}

void
redis_format(char *out, size_t argc, const char *const *argv, const size_t *lens)
{
    out += put_head(out, '*', argc);
    for (size_t i = 0; i < argc; i++) {
        size_t len = arg_len(argv, lens, i);
        out += put_head(out, '$', len);
        memcpy(out, argv[i], len);
        memcpy(out + len, "\r\n", 2);
        out += len + 2;
    }
}

bool
redis_is_error(const struct redisReply *answer, const char **words)
{
    if (answer->type != REDIS_REPLY_ERROR)
        return false;
    *words = answer->str;
    return true;
}

bool
redis_is_nil(const struct redisReply *answer)
{
    return answer->type == REDIS_REPLY_NIL;
}

bool
redis_read_text(const struct redisReply *answer, const char **text, size_t *len)
{
    if (answer->type != REDIS_REPLY_STRING && answer->type != REDIS_REPLY_STATUS)
        return false;
    *text = answer->str;
    *len = answer->len;
    return true;
}

bool
redis_read_integer(const struct redisReply *answer, int64_t *value)
{
    if (answer->type != REDIS_REPLY_INTEGER)
        return false;
    *value = answer->integer;
    return true;
}

bool
redis_read_u64(const struct redisReply *answer, uint64_t *value)
{
    if (answer->type == REDIS_REPLY_INTEGER && answer->integer >= 0) {
        *value = (uint64_t)answer->integer;
        return true;
    }
    const char *text;
    size_t len;
    if (!redis_read_text(answer, &text, &len) || len == 0 || len > 20)
        return false;
    uint64_t sum = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9' || __builtin_mul_overflow(sum, 10U, &sum) ||
            __builtin_add_overflow(sum, (uint64_t)(text[i] - '0'), &sum))
            return false;
    }
    *value = sum;
    return true;
}

bool
redis_read_array(const struct redisReply *answer, size_t *count)
{
    if (answer->type != REDIS_REPLY_ARRAY)
        return false;
    *count = answer->elements;
    return true;
}

const struct redisReply *
redis_item(const struct redisReply *answer, size_t i)
{
    assert(i < answer->elements);
    return answer->element[i];
}

bool
redis_read_scan(const struct redisReply *answer, uint64_t *cursor, const struct redisReply **items,
                size_t *count)
{
    size_t parts;
    if (!redis_read_array(answer, &parts) || parts != 2 ||
        !redis_read_u64(redis_item(answer, 0), cursor))
        return false;
    *items = redis_item(answer, 1);
    return redis_read_array(*items, count);
}
