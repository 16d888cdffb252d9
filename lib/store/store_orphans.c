// For sweepers: finding rows that no index names. See store.h.
//
//   1 SCAN for users, a slice of the key space, and HGETALL of each: rows, and the nodes
//     they name
//   2 EXISTS of the lease of each of these nodes
//   3 the rows of nodes that have none: SADD to the node's index, then SADD sy:nodes
// Nothing is deleted here. The node is then judged and reaped like any other, with lease,
// fence and exact match; so a row written again meanwhile, or a node that comes back, loses
// nothing. Of a dead node that waits to be reaped the index has its rows already. One that
// is reaped between 1 and 3 comes back with entries that name nothing, and is reaped once
// more: so callers do not do both at a time.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/store/store_call.h"

struct row {
    struct row *next;
    size_t node;
    char member[]; // of the node's index
};

struct suspect {
    char node[NODE_ID_SIZE];
    uint64_t has_lease;
};

struct orphans_call {
    struct call call;
    store_scrub_cb *done;
    void *arg;
    uint64_t cursor; // where to go on
    uint64_t added;
    size_t waiting; // answers to come of this step
    void (*then)(struct orphans_call *call);
    struct row *rows; // of this slice
    struct suspect *nodes;
    size_t node_count;
    // Answers come in order: whose is next.
    char (*users)[IDENT_MAPPED_SIZE];
    size_t users_read;
    size_t nodes_read;
};

static void
finish_orphans(struct call *base)
{
    struct orphans_call *call = (struct orphans_call *)base;
    call->done(call->arg, base->error, call->cursor, (unsigned)call->added);
    for (struct row *row = call->rows, *next; row != NULL; row = next) {
        next = row->next;
        free(row);
    }
    free(call->nodes);
    free(call->users);
    free(call);
}

// One answer less to wait for; after the last the next step, or the end.
static void
count_answer(struct orphans_call *call)
{
    if (--call->waiting > 0)
        return;
    if (call->call.error || call->then == NULL)
        finish_orphans(&call->call);
    else
        call->then(call);
}

static bool
has_room(struct orphans_call *call, size_t commands)
{
    return !store_call_note(&call->call,
                            channel_check(call->call.store->channel, (unsigned)commands));
}

// Step 3.

static void
on_added(void *arg, int error, const struct redisReply *answer)
{
    struct orphans_call *call = arg;
    uint64_t added = 0;
    if (!store_call_note(&call->call, error) && !redis_read_u64(answer, &added))
        store_call_odd(&call->call, "SADD");
    call->added += added;
    count_answer(call);
}

static void
on_listed(void *arg, int error, const struct redisReply *answer)
{
    struct orphans_call *call = arg;
    (void)answer;
    store_call_note(&call->call, error);
    count_answer(call);
}

// What finds no room now is an orphan of a later pass.
static void
add_rows(struct orphans_call *call)
{
    char key[KEY_SIZE];
    const struct channel *channel = call->call.store->channel;
    call->then = NULL;
    call->waiting = 1; // this function
    for (const struct row *row = call->rows; row != NULL; row = row->next) {
        const char *node = call->nodes[row->node].node;
        if (call->nodes[row->node].has_lease || channel_check(channel, 2) != 0)
            continue;
        key_members(node, key);
        call->waiting += 2;
        store_call_send(&call->call, on_added, ARGV("SADD", key, row->member));
        store_call_send(&call->call, on_listed, ARGV("SADD", KEY_NODES, node));
    }
    count_answer(call);
}

// Step 2.

static void
on_has_lease(void *arg, int error, const struct redisReply *answer)
{
    struct orphans_call *call = arg;
    if (!store_call_note(&call->call, error) &&
        !redis_read_u64(answer, &call->nodes[call->nodes_read].has_lease))
        store_call_odd(&call->call, "EXISTS");
    call->nodes_read++;
    count_answer(call);
}

static void
ask_nodes(struct orphans_call *call)
{
    char key[KEY_SIZE];
    if (call->node_count == 0 || !has_room(call, call->node_count)) {
        finish_orphans(&call->call);
        return;
    }
    call->then = add_rows;
    call->waiting = call->node_count;
    for (size_t i = 0; i < call->node_count; i++) {
        key_lease(call->nodes[i].node, key);
        store_call_send(&call->call, on_has_lease, ARGV("EXISTS", key));
    }
}

// Step 1.

static size_t
take_node(struct orphans_call *call, const char *node, size_t len)
{
    for (size_t i = call->node_count; i-- > 0;)
        if (strncmp(call->nodes[i].node, node, len) == 0 && call->nodes[i].node[len] == '\0')
            return i;
    if ((call->node_count & (call->node_count + 1)) == 0)
        call->nodes = realloc(call->nodes, (2 * call->node_count + 2) * sizeof *call->nodes);
    if (call->nodes == NULL)
        abort();
    struct suspect *suspect = &call->nodes[call->node_count];
    *suspect = (struct suspect){.has_lease = 1};
    memcpy(suspect->node, node, len);
    return call->node_count++;
}

// A field and a value that no edge wrote are no row.
static void
take_row(struct orphans_call *call, const char *user, const struct redisReply *field,
         const struct redisReply *value)
{
    const char *device, *text;
    size_t device_len, text_len;
    char member[MEMBER_SIZE], copy[MEMBER_SIZE];
    char *split_user, *split_device;
    if (!redis_read_text(field, &device, &device_len) || device_len >= IDENT_MAPPED_SIZE ||
        strlen(device) != device_len || !redis_read_text(value, &text, &text_len))
        return;
    size_t node_len = strcspn(text, " ");
    int len = snprintf(member, sizeof member, "%s/%s", user, device);
    memcpy(copy, member, sizeof copy);
    if (node_len == text_len || !node_id_is_valid(text, node_len) ||
        !member_split(copy, &split_user, &split_device))
        return;
    struct row *row = malloc(sizeof *row + (size_t)len + 1);
    if (row == NULL)
        abort();
    row->node = take_node(call, text, node_len);
    memcpy(row->member, member, (size_t)len + 1);
    row->next = call->rows;
    call->rows = row;
}

static void
on_user(void *arg, int error, const struct redisReply *answer)
{
    struct orphans_call *call = arg;
    const char *user = call->users[call->users_read++];
    size_t count = 0;
    if (error != SY_EREPLY) // what is no hash holds no rows; it must not end every pass
        store_call_note(&call->call, error);
    if (error == 0 && redis_read_array(answer, &count))
        for (size_t i = 0; i + 1 < count; i += 2)
            take_row(call, user, redis_item(answer, i), redis_item(answer, i + 1));
    count_answer(call);
}

static void
read_users(struct orphans_call *call, const struct redisReply *keys, size_t count)
{
    size_t found = 0;
    call->users = calloc(count + 1, sizeof *call->users);
    if (call->users == NULL)
        abort();
    for (size_t i = 0; i < count; i++) {
        const char *key;
        size_t len;
        found += redis_read_text(redis_item(keys, i), &key, &len) &&
                 key_user_mapped(key, len, call->users[found]);
    }
    if (found == 0 || !has_room(call, found)) {
        finish_orphans(&call->call);
        return;
    }
    call->then = ask_nodes;
    call->waiting = found;
    for (size_t i = 0; i < found; i++) {
        char key[KEY_SIZE];
        key_user(call->users[i], key);
        store_call_send(&call->call, on_user, ARGV("HGETALL", key));
    }
}

static void
on_scanned(void *arg, int error, const struct redisReply *answer)
{
    struct orphans_call *call = arg;
    const struct redisReply *keys = NULL;
    size_t count = 0;
    if (!store_call_note(&call->call, error) &&
        !redis_read_scan(answer, &call->cursor, &keys, &count))
        store_call_odd(&call->call, "SCAN");
    if (call->call.error)
        finish_orphans(&call->call);
    else
        read_users(call, keys, count);
}

void
store_scrub_rows(struct store *store, uint64_t cursor, unsigned count, store_scrub_cb *done,
                 void *arg)
{
    struct orphans_call *call = store_call_new(store, sizeof *call, finish_orphans);
    call->done = done;
    call->arg = arg;
    struct number from = store_number_of(cursor);
    struct number most = store_number_of(count);
    if (count == 0)
        store_call_refuse(&call->call, SY_EINVAL);
    else if (store_call_may_send(&call->call, 1))
        store_call_send(&call->call, on_scanned,
                        ARGV("SCAN", from.text, "MATCH", KEY_USER_PATTERN, "COUNT", most.text));
}
