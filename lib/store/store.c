// See store.h: the life of a store, and what its calls have in common.
#include "lib/store/store_call.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/keys.h"

static void
on_state(void *arg, bool up, const char *why)
{
    struct store *store = arg;
    if (store->opts.on_state)
        store->opts.on_state(store->opts.arg, up, why);
}

static void
release(struct store *store)
{
    if (--store->holds > 0)
        return;
    void (*closed)(void *arg) = store->closed;
    void *arg = store->closed_arg;
    free(store);
    if (closed)
        closed(arg);
}

static void
on_channel_closed(void *arg)
{
    release(arg);
}

static void
on_idle_closed(uv_handle_t *handle)
{
    release(handle->data);
}

// The settings' user and password stand above the URL's.
static int
read_place(const struct store_opts *opts, struct redis_url *url, char why[static 160])
{
    int error = redis_url_parse(opts->url, url, why);
    if (error)
        return error;
    const char *user = opts->user ? opts->user : "";
    const char *password = opts->password ? opts->password : "";
    if (strlen(user) >= sizeof url->user || strlen(password) >= sizeof url->password) {
        snprintf(why, 160, "redis user or password is longer than %zu or %zu bytes",
                 sizeof url->user - 1, sizeof url->password - 1);
        return SY_EINVAL;
    }
    if (user[0])
        snprintf(url->user, sizeof url->user, "%s", user);
    if (password[0])
        snprintf(url->password, sizeof url->password, "%s", password);
    return 0;
}

struct store *
store_open(uv_loop_t *loop, const struct store_opts *opts, char why[static 160])
{
    struct channel_opts channel = {
        .timeout_ms = opts->command_timeout_ms,
        .max_in_flight = opts->max_in_flight,
        .seed = rand_u64(),
        .on_state = on_state,
        .on_closed = on_channel_closed,
    };
    if (read_place(opts, &channel.url, why))
        return NULL;
    struct store *store = calloc(1, sizeof *store);
    if (!store)
        abort();
    store->opts = *opts;
    store->opts.url = store->opts.user = store->opts.password = NULL;
    decimal_write(opts->max_devices > 0 ? opts->max_devices : DEVICES_MAX_DEFAULT,
                  store->max_devices);
    store->refused_end = &store->refused;
    store->odd.interval_ms = 10000;
    uv_idle_init(loop, &store->idle);
    store->idle.data = store;
    store->holds = 2;
    channel.arg = store;
    store->channel = channel_open(loop, &channel);
    return store;
}

static void
answer_refused(struct store *store)
{
    struct call *call = store->refused;
    store->refused = call->next;
    if (!store->refused)
        store->refused_end = &store->refused;
    store->refused_count--;
    call->fail(call);
}

void
store_close(struct store *store, void (*closed)(void *arg), void *arg)
{
    store->closed = closed;
    store->closed_arg = arg;
    channel_close(store->channel);
    while (store->refused)
        answer_refused(store);
    uv_close((uv_handle_t *)&store->idle, on_idle_closed);
}

bool
store_is_up(const struct store *store)
{
    return channel_is_up(store->channel);
}

const char *
store_describe(const struct store *store)
{
    return channel_describe(store->channel);
}

// Calls refused from within these callbacks wait for the next turn, so that one who
// tries again at once does not hold up the loop.
static void
on_idle(uv_idle_t *idle)
{
    struct store *store = idle->data;
    for (size_t left = store->refused_count; left > 0 && store->refused; left--)
        answer_refused(store);
    if (!store->refused && !uv_is_closing((uv_handle_t *)idle))
        uv_idle_stop(idle);
}

void *
store_call_new(struct store *store, size_t size, void (*fail)(struct call *call))
{
    assert(size >= sizeof(struct call));
    struct call *call = calloc(1, size);
    if (!call)
        abort();
    call->store = store;
    call->fail = fail;
    return call;
}

void
store_call_refuse(struct call *call, int error)
{
    struct store *store = call->store;
    assert(!uv_is_closing((uv_handle_t *)&store->idle)); // a call after store_close
    call->error = error;
    call->next = NULL;
    *store->refused_end = call;
    store->refused_end = &call->next;
    store->refused_count++;
    uv_idle_start(&store->idle, on_idle);
}

bool
store_call_may_send(struct call *call, unsigned commands)
{
    int error = channel_check(call->store->channel, commands);
    if (error)
        store_call_refuse(call, error);
    return !error;
}

bool
store_call_note(struct call *call, int error)
{
    if (!call->error)
        call->error = error;
    return call->error != 0;
}

void
store_call_odd(struct call *call, const char *what)
{
    struct store *store = call->store;
    uint64_t held;
    if (log_limit_pass(&store->odd, uv_now(store->idle.loop), &held))
        log_warn("redis_answer_odd", "to=%s more=%" PRIu64, what, held);
    store_call_note(call, SY_EREPLY);
}

void
store_call_give_up(struct call *call, const char *what)
{
    if (!call->error)
        store_call_odd(call, what);
    call->fail(call);
}

void
store_call_send(struct call *call, channel_answer_cb *done, size_t argc, const char **argv)
{
    channel_send(call->store->channel, argc, argv, NULL, done, call);
}

void
store_call_eval(struct call *call, channel_answer_cb *done, enum script script, unsigned keys,
                size_t argc, const char **argv)
{
    channel_eval(call->store->channel, script, keys, argc, argv, NULL, done, call);
}

struct number
store_number_of(uint64_t value)
{
    struct number number;
    decimal_write(value, number.text);
    return number;
}
