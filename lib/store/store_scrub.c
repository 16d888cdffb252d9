// For sweepers: finding indexes that no list of nodes leads to. See store.h.
//
//   1 SCAN for index keys, a slice of the key space
//   2 SADD sy:nodes with the nodes they belong to
// Adding a node that is there already, or that lives, changes nothing.
#include <stdlib.h>
#include <string.h>

#include "lib/store/store_call.h"

struct scrub_call {
    struct call call;
    store_scrub_cb *done;
    void *arg;
    uint64_t cursor; // where to go on
    uint64_t added;
};

static void
finish_scrub(struct call *base)
{
    struct scrub_call *call = (struct scrub_call *)base;
    call->done(call->arg, base->error, call->cursor, (unsigned)call->added);
    free(call);
}

static void
on_added(void *arg, int error, const struct redisReply *answer)
{
    struct scrub_call *call = arg;
    if (!store_call_note(&call->call, error) && !redis_read_u64(answer, &call->added))
        store_call_odd(&call->call, "SADD " KEY_NODES);
    finish_scrub(&call->call);
}

// Fills argv behind the command and the key; answers how many nodes there are.
static size_t
nodes_of(const struct redisReply *keys, size_t count, char (*nodes)[NODE_ID_SIZE],
         const char **argv)
{
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        const char *key;
        size_t len;
        if (!redis_read_text(redis_item(keys, i), &key, &len) ||
            !key_members_node(key, len, nodes[found]))
            continue;
        argv[2 + found] = nodes[found];
        found++;
    }
    return found;
}

static void
add_nodes(struct scrub_call *call, const struct redisReply *keys, size_t count)
{
    char(*nodes)[NODE_ID_SIZE] = calloc(count + 1, sizeof *nodes);
    const char **argv = calloc(count + 2, sizeof *argv);
    if (!nodes || !argv)
        abort();
    argv[0] = "SADD";
    argv[1] = KEY_NODES;
    size_t found = nodes_of(keys, count, nodes, argv);
    if (found == 0 || store_call_note(&call->call, channel_check(call->call.store->channel, 1)))
        finish_scrub(&call->call);
    else
        store_call_send(&call->call, on_added, found + 2, argv);
    free(argv);
    free(nodes);
}

static void
on_scanned(void *arg, int error, const struct redisReply *answer)
{
    struct scrub_call *call = arg;
    const struct redisReply *keys = NULL;
    size_t count = 0;
    if (!store_call_note(&call->call, error) &&
        !redis_read_scan(answer, &call->cursor, &keys, &count))
        store_call_odd(&call->call, "SCAN");
    if (call->call.error)
        finish_scrub(&call->call);
    else
        add_nodes(call, keys, count);
}

void
store_scrub(struct store *store, uint64_t cursor, unsigned count, store_scrub_cb *done, void *arg)
{
    struct scrub_call *call = store_call_new(store, sizeof *call, finish_scrub);
    call->done = done;
    call->arg = arg;
    struct number from = store_number_of(cursor);
    struct number most = store_number_of(count);
    if (count == 0)
        store_call_refuse(&call->call, SY_EINVAL);
    else if (store_call_may_send(&call->call, 1))
        store_call_send(&call->call, on_scanned,
                        ARGV("SCAN", from.text, "MATCH", KEY_MEMBERS_PATTERN, "COUNT", most.text));
}
