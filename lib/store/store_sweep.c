// For sweepers: leadership, Redis's clock, and reaping. See store.h.
//
// Reaping one batch of a dead node:
//   1 reap_list, in the node's slot: refuses if the node lives or the fence is stale;
//     some members of its index, from where the last batch ended
//   2 reap_row for each member, in the users' slots: deletes a row that still points
//     at the node; ROW_WINDOW at a time
//   3 reap_done, in the node's slot: asks lease and fence again, then drops the members
//   4 the index is empty: the node leaves sy:nodes
// Stopped anywhere, by any failure, it can be done again: each step compares before it
// deletes. A node that comes back between 1 and 3 keeps its index and may miss rows
// until it verifies them, as its heartbeat tells it to.
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "lib/store/store_call.h"

#define ROW_WINDOW 64
#define BATCH_MAX 1000
// No row of a batch is asked for later than this after the batch began. Whoever slept in the
// middle of it, or had a slow Redis, would remove rows of a node that has come back since and
// has verified them; reap_done tells whether it has.
#define BATCH_MS 1000

// Leadership.

struct lead_call {
    struct call call;
    store_lead_cb *led;
    store_done_cb *resigned;
    void *arg;
};

static void
fail_lead(struct call *base)
{
    struct lead_call *call = (struct lead_call *)base;
    if (call->led)
        call->led(call->arg, base->error, false, 0, 0);
    else
        call->resigned(call->arg, base->error);
    free(call);
}

static void
on_lead(void *arg, int error, const struct redisReply *answer)
{
    struct lead_call *call = arg;
    size_t count;
    uint64_t leads = 0, fence = 0, up_s = 0;
    if (!store_call_note(&call->call, error) && !(redis_read_array(answer, &count) && count == 3 &&
                                                  redis_read_u64(redis_item(answer, 0), &leads) &&
                                                  redis_read_u64(redis_item(answer, 1), &fence) &&
                                                  redis_read_u64(redis_item(answer, 2), &up_s)))
        store_call_odd(&call->call, "lead");
    if (call->call.error || !call->led) {
        fail_lead(&call->call);
        return;
    }
    call->led(call->arg, 0, leads == 1, fence, up_s);
    free(call);
}

static void
send_lead(struct lead_call *call, const char *sweeper, uint64_t lease_ms)
{
    struct number life = store_number_of(lease_ms);
    if (sweeper[0] == '\0')
        store_call_refuse(&call->call, SY_EINVAL);
    else if (store_call_may_send(&call->call, 1))
        store_call_eval(&call->call, on_lead, SCRIPT_LEAD, 2,
                        EVAL_ARGV(KEY_LEADER, KEY_LEADER_FENCE, sweeper, life.text));
}

void
store_lead(struct store *store, const char *sweeper, uint64_t lease_ms, store_lead_cb *done,
           void *arg)
{
    assert(lease_ms > 0); // 0 is how the script is told to resign
    struct lead_call *call = store_call_new(store, sizeof *call, fail_lead);
    call->led = done;
    call->arg = arg;
    send_lead(call, sweeper, lease_ms);
}

void
store_resign(struct store *store, const char *sweeper, store_done_cb *done, void *arg)
{
    struct lead_call *call = store_call_new(store, sizeof *call, fail_lead);
    call->resigned = done;
    call->arg = arg;
    send_lead(call, sweeper, 0);
}

// The clock.

struct clock_call {
    struct call call;
    store_clock_cb *done;
    void *arg;
    struct store_clock clock;
};

static void
finish_clock(struct call *base)
{
    struct clock_call *call = (struct clock_call *)base;
    call->done(call->arg, base->error, base->error ? NULL : &call->clock);
    free(call);
}

static void
on_time(void *arg, int error, const struct redisReply *answer)
{
    struct clock_call *call = arg;
    size_t count;
    uint64_t seconds = 0, us = 0;
    if (!store_call_note(&call->call, error) &&
        !(redis_read_array(answer, &count) && count == 2 &&
          redis_read_u64(redis_item(answer, 0), &seconds) &&
          redis_read_u64(redis_item(answer, 1), &us) && seconds < UINT32_MAX && us < 1000000))
        store_call_odd(&call->call, "TIME");
    call->clock.redis_ms = 1000 * seconds + us / 1000;
    call->clock.answered_ms = uv_now(call->call.store->idle.loop);
    finish_clock(&call->call);
}

void
store_read_clock(struct store *store, store_clock_cb *done, void *arg)
{
    struct clock_call *call = store_call_new(store, sizeof *call, finish_clock);
    call->done = done;
    call->arg = arg;
    call->clock.asked_ms = uv_now(store->idle.loop);
    if (store_call_may_send(&call->call, 1))
        store_call_send(&call->call, on_time, ARGV("TIME"));
}

// Reaping.

struct reap_call {
    struct call call;
    store_reap_cb *done;
    void *arg;
    char node[NODE_ID_SIZE];
    char lease_key[KEY_SIZE];
    char members_key[KEY_SIZE];
    char fence_key[KEY_SIZE];
    struct number fence;
    char **members; // as Redis has them
    size_t *lens;
    size_t count;
    size_t asked; // rows
    size_t answered;
    uint64_t until_ms; // BATCH_MS after its begin, by the loop's clock
    struct store_reaped reaped;
};

static void
finish_reap(struct call *base)
{
    struct reap_call *call = (struct reap_call *)base;
    call->reaped.answered_ms = uv_now(base->store->idle.loop);
    call->done(call->arg, base->error, base->error ? NULL : &call->reaped);
    for (size_t i = 0; i < call->count; i++)
        free(call->members[i]);
    free(call->members);
    free(call->lens);
    free(call);
}

// Reads the word both scripts begin with. False: the call has its error.
static bool
is_allowed(struct reap_call *call, const struct redisReply *answer, size_t *count)
{
    const char *word;
    size_t len;
    if (!redis_read_array(answer, count) || *count == 0 ||
        !redis_read_text(redis_item(answer, 0), &word, &len))
        store_call_odd(&call->call, "reap");
    else if (strcmp(word, "alive") == 0)
        store_call_note(&call->call, SY_EBUSY);
    else if (strcmp(word, "stale") == 0)
        store_call_note(&call->call, SY_EDENIED);
    else
        return true;
    return false;
}

static void
on_node_removed(void *arg, int error, const struct redisReply *answer)
{
    struct reap_call *call = arg;
    (void)answer;
    store_call_note(&call->call, error);
    finish_reap(&call->call);
}

static void
forget_node(struct reap_call *call)
{
    call->call.store->walk.node[0] = '\0';
    store_call_send(&call->call, on_node_removed, ARGV("SREM", KEY_NODES, call->node));
}

static void
on_reap_done(void *arg, int error, const struct redisReply *answer)
{
    struct reap_call *call = arg;
    size_t count;
    if (!store_call_note(&call->call, error) && is_allowed(call, answer, &count) &&
        !(count == 2 && redis_read_u64(redis_item(answer, 1), &call->reaped.left)))
        store_call_odd(&call->call, "reap_done");
    if (call->call.error || call->reaped.left > 0 ||
        store_call_note(&call->call, channel_check(call->call.store->channel, 1)))
        finish_reap(&call->call);
    else
        forget_node(call);
}

static void
send_done(struct reap_call *call)
{
    size_t argc = 7 + call->count;
    const char **argv = calloc(argc, sizeof *argv);
    size_t *lens = calloc(argc, sizeof *lens);
    if (!argv || !lens)
        abort();
    argv[3] = call->lease_key;
    argv[4] = call->members_key;
    argv[5] = call->fence_key;
    argv[6] = call->fence.text;
    for (size_t i = 3; i < 7; i++)
        lens[i] = strlen(argv[i]);
    for (size_t i = 0; i < call->count; i++) {
        argv[7 + i] = call->members[i];
        lens[7 + i] = call->lens[i];
    }
    channel_eval(call->call.store->channel, SCRIPT_REAP_DONE, 3, argc, argv, lens, on_reap_done,
                 call);
    free(lens);
    free(argv);
}

static void on_row(void *arg, int error, const struct redisReply *answer);

// An entry that names no row has nothing to delete but itself.
static bool
send_row(struct reap_call *call, size_t i)
{
    char member[MEMBER_SIZE];
    char *user, *device;
    size_t len = call->lens[i];
    if (len >= sizeof member || strlen(call->members[i]) != len)
        return false;
    memcpy(member, call->members[i], len + 1);
    if (!member_split(member, &user, &device))
        return false;
    char key[KEY_SIZE];
    char prefix[NODE_ID_SIZE + 1];
    key_user(user, key);
    snprintf(prefix, sizeof prefix, "%s ", call->node);
    store_call_eval(&call->call, on_row, SCRIPT_REAP_ROW, 1, EVAL_ARGV(key, device, prefix));
    return true;
}

// They stay in the index, for another batch.
static void
drop_members(struct reap_call *call, size_t from)
{
    for (size_t i = from; i < call->count; i++)
        free(call->members[i]);
    call->count = call->reaped.listed = from;
}

static void
continue_reap(struct reap_call *call)
{
    if (uv_now(call->call.store->idle.loop) >= call->until_ms)
        drop_members(call, call->asked);
    while (!call->call.error && call->asked < call->count &&
           call->asked - call->answered < ROW_WINDOW) {
        int error = channel_check(call->call.store->channel, 1);
        if (error && call->asked > call->answered)
            return; // room comes with the next answer
        if (store_call_note(&call->call, error))
            break;
        if (!send_row(call, call->asked++))
            call->answered++;
    }
    if (call->asked > call->answered)
        return;
    if (call->call.error ||
        store_call_note(&call->call, channel_check(call->call.store->channel, 1)))
        finish_reap(&call->call);
    else
        send_done(call);
}

static void
on_row(void *arg, int error, const struct redisReply *answer)
{
    struct reap_call *call = arg;
    uint64_t removed = 0;
    if (!store_call_note(&call->call, error) && !redis_read_u64(answer, &removed))
        store_call_odd(&call->call, "reap_row");
    call->reaped.removed += removed;
    call->answered++;
    continue_reap(call);
}

static void
copy_members(struct reap_call *call, const struct redisReply *answer, size_t count)
{
    call->members = calloc(count + 1, sizeof *call->members);
    call->lens = calloc(count + 1, sizeof *call->lens);
    if (!call->members || !call->lens)
        abort();
    for (size_t i = 0; i < count; i++) {
        const char *text;
        size_t len;
        if (!redis_read_text(redis_item(answer, i), &text, &len))
            continue;
        char *copy = malloc(len + 1);
        if (!copy)
            abort();
        memcpy(copy, text, len + 1);
        call->members[call->count] = copy;
        call->lens[call->count++] = len;
    }
    call->reaped.listed = call->count;
}

static void
on_reap_list(void *arg, int error, const struct redisReply *answer)
{
    struct reap_call *call = arg;
    size_t count, members;
    uint64_t cursor;
    if (store_call_note(&call->call, error) || !is_allowed(call, answer, &count)) {
        finish_reap(&call->call);
        return;
    }
    if (count != 3 || !redis_read_u64(redis_item(answer, 1), &cursor) ||
        !redis_read_array(redis_item(answer, 2), &members)) {
        store_call_odd(&call->call, "reap_list");
        finish_reap(&call->call);
        return;
    }
    call->call.store->walk.cursor = cursor;
    copy_members(call, redis_item(answer, 2), members);
    continue_reap(call);
}

void
store_reap(struct store *store, const char *node, uint64_t fence, unsigned batch,
           store_reap_cb *done, void *arg)
{
    struct reap_call *call = store_call_new(store, sizeof *call, finish_reap);
    call->done = done;
    call->arg = arg;
    if (!node_id_is_valid(node, strlen(node)) || batch == 0 || batch > BATCH_MAX) {
        store_call_refuse(&call->call, SY_EINVAL);
        return;
    }
    if (!store_call_may_send(&call->call, 1))
        return;
    call->until_ms = uv_now(store->idle.loop) + BATCH_MS;
    memcpy(call->node, node, strlen(node) + 1);
    key_lease(node, call->lease_key);
    key_members(node, call->members_key);
    key_fence(node, call->fence_key);
    call->fence = store_number_of(fence);
    if (strcmp(store->walk.node, node) != 0)
        store->walk.cursor = 0;
    memcpy(store->walk.node, node, strlen(node) + 1);
    struct number most = store_number_of(batch);
    struct number from = store_number_of(store->walk.cursor);
    store_call_eval(&call->call, on_reap_list, SCRIPT_REAP_LIST, 3,
                    EVAL_ARGV(call->lease_key, call->members_key, call->fence_key, call->fence.text,
                              most.text, from.text));
}
