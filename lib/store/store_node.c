// Nodes: the lease of an edge, and what others see of it. See store.h.
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/store/store_call.h"

// Nodes asked for at the same time when listing: a slice of the commands in flight.
#define LIST_WINDOW 32

// The lease hash, as HGETALL answers it: [ field, value ... ]. Unknown fields are a
// newer edge's.
static bool
read_lease(const struct redisReply *answer, struct store_node *node)
{
    size_t count;
    if (!redis_read_array(answer, &count))
        return false;
    node->has_lease = count > 0;
    for (size_t i = 0; i + 1 < count; i += 2) {
        const struct redisReply *value = redis_item(answer, i + 1);
        const char *field, *text;
        size_t len;
        uint64_t number;
        if (!redis_read_text(redis_item(answer, i), &field, &len) ||
            !redis_read_text(value, &text, &len))
            return false;
        if (strcmp(field, "state") == 0)
            node->is_draining = strcmp(text, "draining") == 0;
        else if (strcmp(field, "url") == 0)
            snprintf(node->url, sizeof node->url, "%s", text);
        else if (strcmp(field, "nats") == 0) {
            node->says_nats = true;
            node->is_on_nats = strcmp(text, "up") == 0;
        } else if (!redis_read_u64(value, &number))
            continue;
        else if (strcmp(field, "nats_since_ms") == 0)
            node->nats_since_ms = number;
        else if (strcmp(field, "started_ms") == 0)
            node->started_ms = number;
        else if (strcmp(field, "connections") == 0)
            node->connections = (uint32_t)number;
        else if (strcmp(field, "max_connections") == 0)
            node->max_connections = (uint32_t)number;
    }
    return true;
}

// PTTL: -2 says that the lease ended since HGETALL.
static bool
read_left(const struct redisReply *answer, struct store_node *node)
{
    int64_t left;
    if (!redis_read_integer(answer, &left))
        return false;
    if (left == -2)
        node->has_lease = false;
    node->lease_left_ms = left > 0 ? (uint64_t)left : 0;
    return true;
}

// One node.

struct node_call {
    struct call call;
    store_node_cb *done;
    void *arg;
    struct store_node node;
};

static void
fail_node(struct call *base)
{
    struct node_call *call = (struct node_call *)base;
    call->done(call->arg, base->error, NULL);
    free(call);
}

static void
on_lease(void *arg, int error, const struct redisReply *answer)
{
    struct node_call *call = arg;
    if (!store_call_note(&call->call, error) && !read_lease(answer, &call->node))
        store_call_odd(&call->call, "HGETALL");
}

static void
on_left(void *arg, int error, const struct redisReply *answer)
{
    struct node_call *call = arg;
    if (!store_call_note(&call->call, error) && !read_left(answer, &call->node))
        store_call_odd(&call->call, "PTTL");
    if (!call->call.error && !call->node.has_lease)
        store_call_note(&call->call, SY_ENOENT);
    if (call->call.error) {
        fail_node(&call->call);
        return;
    }
    call->done(call->arg, 0, &call->node);
    free(call);
}

void
store_read_node(struct store *store, const char *node, store_node_cb *done, void *arg)
{
    struct node_call *call = store_call_new(store, sizeof *call, fail_node);
    call->done = done;
    call->arg = arg;
    if (!node_id_is_valid(node, strlen(node))) {
        store_call_refuse(&call->call, SY_EINVAL);
        return;
    }
    if (!store_call_may_send(&call->call, 2))
        return;
    memcpy(call->node.node, node, strlen(node) + 1);
    char key[KEY_SIZE];
    key_lease(node, key);
    store_call_send(&call->call, on_lease, ARGV("HGETALL", key));
    store_call_send(&call->call, on_left, ARGV("PTTL", key));
}

// All nodes: the ids, then three questions for each, LIST_WINDOW nodes at a time.

struct list_call {
    struct call call;
    store_nodes_cb *done;
    void *arg;
    struct store_node *nodes;
    size_t count;
    size_t asked;    // nodes
    size_t answered; // nodes whose last answer has come
    // Answers come in order, so these say which node each belongs to.
    size_t leases;
    size_t lefts;
};

static void
finish_list(struct call *base)
{
    struct list_call *call = (struct list_call *)base;
    call->done(call->arg, base->error, base->error ? NULL : call->nodes,
               base->error ? 0 : call->count);
    free(call->nodes);
    free(call);
}

static void on_each_members(void *arg, int error, const struct redisReply *answer);

static void
on_each_lease(void *arg, int error, const struct redisReply *answer)
{
    struct list_call *call = arg;
    if (!store_call_note(&call->call, error) && !read_lease(answer, &call->nodes[call->leases]))
        store_call_odd(&call->call, "HGETALL");
    call->leases++;
}

static void
on_each_left(void *arg, int error, const struct redisReply *answer)
{
    struct list_call *call = arg;
    if (!store_call_note(&call->call, error) && !read_left(answer, &call->nodes[call->lefts]))
        store_call_odd(&call->call, "PTTL");
    call->lefts++;
}

// Asks for more; ends the call when there is nothing to ask and nothing to wait for.
static void
continue_list(struct list_call *call)
{
    while (!call->call.error && call->asked < call->count &&
           call->asked - call->answered < LIST_WINDOW) {
        int error = channel_check(call->call.store->channel, 3);
        if (error && call->asked > call->answered)
            return; // room comes with the next answer
        if (store_call_note(&call->call, error))
            break;
        const char *node = call->nodes[call->asked++].node;
        char lease[KEY_SIZE], members[KEY_SIZE];
        key_lease(node, lease);
        key_members(node, members);
        store_call_send(&call->call, on_each_lease, ARGV("HGETALL", lease));
        store_call_send(&call->call, on_each_left, ARGV("PTTL", lease));
        store_call_send(&call->call, on_each_members, ARGV("SCARD", members));
    }
    if (call->asked == call->answered)
        finish_list(&call->call);
}

static void
on_each_members(void *arg, int error, const struct redisReply *answer)
{
    struct list_call *call = arg;
    if (!store_call_note(&call->call, error) &&
        !redis_read_u64(answer, &call->nodes[call->answered].members))
        store_call_odd(&call->call, "SCARD");
    call->answered++;
    continue_list(call);
}

static void
on_ids(void *arg, int error, const struct redisReply *answer)
{
    struct list_call *call = arg;
    size_t count = 0;
    if (!store_call_note(&call->call, error) && !redis_read_array(answer, &count))
        store_call_odd(&call->call, "SMEMBERS");
    call->nodes = calloc(count + 1, sizeof *call->nodes);
    if (!call->nodes)
        abort();
    for (size_t i = 0; i < count; i++) {
        const char *node;
        size_t len;
        if (redis_read_text(redis_item(answer, i), &node, &len) && node_id_is_valid(node, len))
            memcpy(call->nodes[call->count++].node, node, len + 1);
    }
    continue_list(call);
}

void
store_list_nodes(struct store *store, store_nodes_cb *done, void *arg)
{
    struct list_call *call = store_call_new(store, sizeof *call, finish_list);
    call->done = done;
    call->arg = arg;
    if (store_call_may_send(&call->call, 1))
        store_call_send(&call->call, on_ids, ARGV("SMEMBERS", KEY_NODES));
}

// Heartbeat: node list, lease, and the number that tells whether Redis lost its data.

struct beat_call {
    struct call call;
    store_beat_cb *done;
    void *arg;
    uint64_t gen;
};

static void
fail_beat(struct call *base)
{
    struct beat_call *call = (struct beat_call *)base;
    call->done(call->arg, base->error, 0, 0);
    free(call);
}

static void
on_beat_part(void *arg, int error, const struct redisReply *answer)
{
    struct beat_call *call = arg;
    (void)answer;
    store_call_note(&call->call, error);
}

// 16 hex digits, of which at least one is not 0.
static bool
read_gen(const struct redisReply *answer, uint64_t *gen)
{
    const char *text;
    size_t len;
    if (!redis_read_text(answer, &text, &len) || len != 16 ||
        strspn(text, "0123456789abcdef") != 16)
        return false;
    *gen = strtoull(text, NULL, 16);
    return *gen != 0;
}

static void
on_gen(void *arg, int error, const struct redisReply *answer)
{
    struct beat_call *call = arg;
    if (!store_call_note(&call->call, error) && !read_gen(answer, &call->gen))
        store_call_odd(&call->call, "GET " KEY_GEN);
}

static void
on_renewed(void *arg, int error, const struct redisReply *answer)
{
    struct beat_call *call = arg;
    uint64_t taken;
    if (store_call_note(&call->call, error) || !redis_read_u64(answer, &taken)) {
        store_call_give_up(&call->call, "heartbeat");
        return;
    }
    call->done(call->arg, 0, taken, call->gen);
    free(call);
}

static void
send_lease(struct beat_call *call, const struct store_node *self)
{
    char key[KEY_SIZE];
    key_lease(self->node, key);
    struct number life = store_number_of(LEASE_MS);
    struct number started = store_number_of(self->started_ms);
    struct number connections = store_number_of(self->connections);
    struct number most = store_number_of(self->max_connections);
    struct number since = store_number_of(self->nats_since_ms);
    const char *nats = self->is_on_nats ? "up" : "down";
    const char *state = self->is_draining ? "draining" : "up";
    store_call_eval(&call->call, on_renewed, SCRIPT_HEARTBEAT, 1,
                    EVAL_ARGV(key, life.text, "state", state, "url", self->url, "started_ms",
                              started.text, "connections", connections.text, "max_connections",
                              most.text, "nats", nats, "nats_since_ms", since.text));
}

void
store_heartbeat(struct store *store, const struct store_node *self, store_beat_cb *done, void *arg)
{
    struct beat_call *call = store_call_new(store, sizeof *call, fail_beat);
    call->done = done;
    call->arg = arg;
    if (!node_id_is_valid(self->node, strlen(self->node))) {
        store_call_refuse(&call->call, SY_EINVAL);
        return;
    }
    if (!store_call_may_send(&call->call, 4))
        return;
    char gen[17];
    snprintf(gen, sizeof gen, "%016" PRIx64, rand_u64() | 1);
    store_call_send(&call->call, on_beat_part, ARGV("SADD", KEY_NODES, self->node));
    store_call_send(&call->call, on_beat_part, ARGV("SET", KEY_GEN, gen, "NX"));
    store_call_send(&call->call, on_gen, ARGV("GET", KEY_GEN));
    // The script last: its answer ends the call, and it may have to be sent again.
    send_lease(call, self);
}

// Release. sy:nodes keeps the id until a sweeper finds its index empty.

struct release_call {
    struct call call;
    store_done_cb *done;
    void *arg;
};

static void
finish_release(struct call *base)
{
    struct release_call *call = (struct release_call *)base;
    call->done(call->arg, base->error);
    free(call);
}

static void
on_lease_deleted(void *arg, int error, const struct redisReply *answer)
{
    struct release_call *call = arg;
    (void)answer;
    store_call_note(&call->call, error);
    finish_release(&call->call);
}

void
store_release(struct store *store, const char *node, store_done_cb *done, void *arg)
{
    struct release_call *call = store_call_new(store, sizeof *call, finish_release);
    call->done = done;
    call->arg = arg;
    if (!node_id_is_valid(node, strlen(node))) {
        store_call_refuse(&call->call, SY_EINVAL);
        return;
    }
    if (!store_call_may_send(&call->call, 1))
        return;
    char key[KEY_SIZE];
    key_lease(node, key);
    store_call_send(&call->call, on_lease_deleted, ARGV("DEL", key));
}
