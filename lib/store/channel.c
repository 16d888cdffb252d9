// See channel.h.
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/store/channel_state.h"
#include "proto/scripts.h"

uint64_t
channel_backoff_ms(struct rng *rng, unsigned failures)
{
    assert(failures > 0);
    uint64_t ceiling = BACKOFF_MAX_MS;
    if (failures < 6)
        ceiling = (uint64_t)BACKOFF_MIN_MS << failures;
    if (ceiling > BACKOFF_MAX_MS)
        ceiling = BACKOFF_MAX_MS;
    return BACKOFF_MIN_MS + rng_below(rng, ceiling - BACKOFF_MIN_MS + 1);
}

void
channel_move(struct channel *channel, enum state to)
{
    static const bool legal[5][5] = {
        [RESOLVING] = {[CONNECTING] = true, [WAITING] = true, [CLOSED] = true},
        [CONNECTING] = {[READY] = true, [WAITING] = true, [CLOSED] = true},
        [READY] = {[WAITING] = true, [CLOSED] = true},
        [WAITING] = {[RESOLVING] = true, [CLOSED] = true},
    };
    assert(legal[channel->state][to]);
    channel->state = to;
}

void
channel_release(struct channel *channel)
{
    if (--channel->holds > 0)
        return;
    void (*on_closed)(void *arg) = channel->opts.on_closed;
    void *arg = channel->opts.arg;
    free(channel);
    on_closed(arg);
}

// The queue of commands in flight.

static void
push(struct channel *channel, struct command *command)
{
    command->next = NULL;
    command->sent_ms = uv_now(channel->loop);
    if (channel->newest)
        channel->newest->next = command;
    else
        channel->oldest = command;
    channel->newest = command;
    if (!command->is_ours)
        channel->in_flight++;
}

static struct command *
take_oldest(struct channel *channel)
{
    struct command *command = channel->oldest;
    if (!command)
        return NULL;
    channel->oldest = command->next;
    if (!channel->oldest)
        channel->newest = NULL;
    if (channel->overdue == command)
        channel->overdue = NULL; // its memory may be that of another soon
    if (!command->is_ours)
        channel->in_flight--;
    return command;
}

static struct command *
command_new(size_t argc, const char **argv, const size_t *lens, channel_answer_cb *done, void *arg)
{
    size_t len = redis_format_size(argc, argv, lens);
    struct command *command = malloc(sizeof *command + len + 1);
    if (!command)
        abort();
    *command = (struct command){
        .name = argv[0], .script = SCRIPT_COUNT, .done = done, .arg = arg, .len = len};
    redis_format(command->bytes, argc, argv, lens);
    command->bytes[len] = '\0'; // hiredis looks for the first argument by strchr
    return command;
}

static void
transmit(struct channel *channel, struct command *command)
{
    push(channel, command);
    redis_send(channel->redis, command->bytes, command->len);
}

void
channel_send_own(struct channel *channel, size_t argc, const char **argv, channel_answer_cb *done,
                 void *arg)
{
    struct command *command = command_new(argc, argv, NULL, done, arg);
    command->is_ours = true;
    transmit(channel, command);
}

// Losing.

// The one way out of CONNECTING and READY but for closing. `first`: what the oldest
// command is told.
void
channel_lose(struct channel *channel, int first, const char *why)
{
    bool was_up = channel->state == READY;
    uint64_t now = uv_now(channel->loop);
    bool was_stable = was_up && now - channel->ready_ms >= BACKOFF_MAX_MS;
    if (why != channel->why)
        snprintf(channel->why, sizeof channel->why, "%s", why);
    if (channel->redis)
        redis_drop(channel->redis);
    channel->redis = NULL;
    channel_move(channel, WAITING);
    channel->failures = was_stable ? 1 : channel->failures + 1;
    if (!was_up)
        channel->next_address++;
    for (size_t i = 0; i < SCRIPT_COUNT; i++)
        channel->scripts[i].is_loading = false;
    channel->overdue = NULL;
    channel_arm(channel, channel_backoff_ms(&channel->rng, channel->failures));

    uint64_t held;
    if (log_limit_pass(&channel->failed, now, &held))
        log_warn(was_up ? "redis_lost" : "redis_unreachable", "at=%s why=%s more=%llu",
                 log_quote(channel->opts.url.name), log_quote(channel->why),
                 (unsigned long long)held);
    for (struct command *command; (command = take_oldest(channel)); free(command)) {
        command->done(command->arg, first, NULL);
        first = SY_ELOST;
    }
    if (was_up && channel->state != CLOSED && channel->opts.on_state)
        channel->opts.on_state(channel->opts.arg, false, channel->why);
}

void
channel_on_gone(void *arg, const char *why)
{
    struct channel *channel = arg;
    channel->redis = NULL;
    channel_lose(channel, SY_ELOST, why);
}

void
channel_on_released(void *arg)
{
    channel_release(arg);
}

// Answers.

static void
on_loaded_again(void *arg, int error, const struct redisReply *answer)
{
    (void)error;
    (void)answer;
    struct script_slot *slot = arg;
    slot->is_loading = false;
}

void
channel_load(struct script_slot *slot, channel_answer_cb *done)
{
    const char *argv[] = {"SCRIPT", "LOAD", slot->text};
    slot->is_loading = true;
    channel_send_own(slot->channel, 3, argv, done, slot);
}

static bool
retry_script(struct channel *channel, struct command *command, const char *words)
{
    if (command->script == SCRIPT_COUNT || command->was_retried ||
        strncmp(words, "NOSCRIPT", 8) != 0)
        return false;
    struct script_slot *slot = &channel->scripts[command->script];
    if (!slot->is_loading)
        channel_load(slot, on_loaded_again);
    command->was_retried = true;
    transmit(channel, command);
    return true;
}

static void
complain(struct channel *channel, const struct command *command, const char *words)
{
    uint64_t held;
    if (log_limit_pass(&channel->refused, uv_now(channel->loop), &held))
        log_warn("redis_refused", "command=%s error=%s more=%llu", command->name, log_quote(words),
                 (unsigned long long)held);
}

void
channel_on_answer(void *arg, const struct redisReply *answer)
{
    struct channel *channel = arg;
    struct command *command = take_oldest(channel);
    assert(command);
    const char *words = "";
    int error = redis_is_error(answer, &words) ? SY_EREPLY : 0;
    channel->answer_ms = uv_now(channel->loop);
    if (error && retry_script(channel, command, words))
        return;
    if (error && channel->state == READY)
        complain(channel, command, words);
    command->done(command->arg, error, answer);
    free(command);
    if (error && channel->state == READY && strncmp(words, "READONLY", 8) == 0)
        channel_lose(channel, SY_ELOST, words);
}

// Time.

static void
on_pong(void *arg, int error, const struct redisReply *answer)
{
    (void)arg;
    (void)error;
    (void)answer;
}

// The oldest command decides, since answers come in order.
static void
look(struct channel *channel, uint64_t now)
{
    uint64_t timeout = channel->opts.timeout_ms;
    const struct command *oldest = channel->oldest;
    if (oldest && now - oldest->sent_ms >= timeout) {
        if (channel->overdue == oldest) {
            char why[80];
            snprintf(why, sizeof why, "no answer to %s for %llu ms", oldest->name,
                     (unsigned long long)timeout);
            channel_lose(channel, SY_ETIME, why);
        } else {
            channel->overdue = oldest;
            channel_arm(channel, 1);
        }
        return;
    }
    channel->overdue = NULL;
    // Never later than this: commands sent meanwhile do not move the timer.
    uint64_t next = timeout < PING_MS ? timeout : PING_MS;
    uint64_t idle_ms = now - channel->answer_ms;
    uint64_t left = next;
    if (oldest) {
        left = oldest->sent_ms + timeout - now;
    } else if (idle_ms < PING_MS) {
        left = PING_MS - idle_ms;
    } else if (channel->state == READY) {
        const char *argv[] = {"PING"};
        channel_send_own(channel, 1, argv, on_pong, NULL);
    }
    channel_arm(channel, left < next ? left : next);
}

static void
on_timer(uv_timer_t *timer)
{
    struct channel *channel = timer->data;
    if (channel->state == WAITING)
        channel_dial(channel);
    else if (channel->state == CONNECTING || channel->state == READY)
        look(channel, uv_now(channel->loop));
}

void
channel_arm(struct channel *channel, uint64_t delay_ms)
{
    uv_timer_start(&channel->timer, on_timer, delay_ms, 0);
}

// For callers.

static void
fill_scripts(struct channel *channel)
{
    // clang-format off
    static const struct { const char *name, *text; } all[SCRIPT_COUNT] = {
        [SCRIPT_REGISTER] = {"register", script_register},
        [SCRIPT_UNREGISTER] = {"unregister", script_unregister},
        [SCRIPT_VERIFY] = {"verify", script_verify},
        [SCRIPT_RESOLVE] = {"resolve", script_resolve},
        [SCRIPT_HEARTBEAT] = {"heartbeat", script_heartbeat},
        [SCRIPT_LEAD] = {"lead", script_lead},
        [SCRIPT_REAP_LIST] = {"reap_list", script_reap_list},
        [SCRIPT_REAP_ROW] = {"reap_row", script_reap_row},
        [SCRIPT_REAP_DONE] = {"reap_done", script_reap_done},
    };
    // clang-format on
    for (size_t i = 0; i < SCRIPT_COUNT; i++) {
        struct script_slot *slot = &channel->scripts[i];
        slot->channel = channel;
        slot->name = all[i].name;
        slot->text = all[i].text;
    }
}

struct channel *
channel_open(uv_loop_t *loop, const struct channel_opts *opts)
{
    struct channel *channel = calloc(1, sizeof *channel);
    if (!channel)
        abort();
    assert(opts->timeout_ms > 0 && opts->max_in_flight > 0);
    channel->loop = loop;
    channel->opts = *opts;
    rng_seed(&channel->rng, opts->seed);
    channel->state = WAITING;
    snprintf(channel->why, sizeof channel->why, "not tried yet");
    channel->refused.interval_ms = COMPLAIN_MS;
    channel->failed.interval_ms = COMPLAIN_MS;
    fill_scripts(channel);
    channel->lookup.data = channel;
    uv_timer_init(loop, &channel->timer);
    channel->timer.data = channel;
    channel->holds = 1;
    channel_arm(channel, 0);
    return channel;
}

static void
on_timer_closed(uv_handle_t *handle)
{
    channel_release(handle->data);
}

void
channel_close(struct channel *channel)
{
    bool was_resolving = channel->state == RESOLVING;
    channel_move(channel, CLOSED);
    if (was_resolving)
        uv_cancel((uv_req_t *)&channel->lookup);
    if (channel->redis)
        redis_drop(channel->redis);
    channel->redis = NULL;
    uv_close((uv_handle_t *)&channel->timer, on_timer_closed);
    for (struct command *command; (command = take_oldest(channel)); free(command))
        command->done(command->arg, SY_ELOST, NULL);
}

bool
channel_is_up(const struct channel *channel)
{
    return channel->state == READY;
}

const char *
channel_describe(struct channel *channel)
{
    const char *name = channel->opts.url.name;
    if (channel->state == READY)
        snprintf(channel->text, sizeof channel->text, "redis %s at %s", channel->version, name);
    else
        snprintf(channel->text, sizeof channel->text, "not connected to %s: %s", name,
                 channel->why);
    return channel->text;
}

int
channel_check(const struct channel *channel, unsigned count)
{
    if (channel->state != READY)
        return SY_EDOWN;
    return channel->in_flight + count <= channel->opts.max_in_flight ? 0 : SY_EFULL;
}

void
channel_send(struct channel *channel, size_t argc, const char **argv, const size_t *lens,
             channel_answer_cb *done, void *arg)
{
    assert(channel_check(channel, 1) == 0);
    transmit(channel, command_new(argc, argv, lens, done, arg));
}

void
channel_eval(struct channel *channel, enum script script, unsigned keys, size_t argc,
             const char **argv, size_t *lens, channel_answer_cb *done, void *arg)
{
    assert(channel_check(channel, 1) == 0);
    assert(keys < 10 && argc >= 3 + keys);
    const struct script_slot *slot = &channel->scripts[script];
    const char count[2] = {(char)('0' + keys), '\0'};
    argv[0] = "EVALSHA";
    argv[1] = slot->sha;
    argv[2] = count;
    for (size_t i = 0; lens && i < 3; i++)
        lens[i] = strlen(argv[i]);
    struct command *command = command_new(argc, argv, lens, done, arg);
    command->name = slot->name;
    command->script = script;
    transmit(channel, command);
}
