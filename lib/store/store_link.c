// Links: register, unregister, verify, resolve. See store.h, and proto/redis/*.lua for
// what happens in Redis.
//
// The node's index is written before a row and cleaned after it, so that at every
// moment the index names at least all rows of the node: a spare entry costs the
// sweeper one look, a missing one would leave a row for ever. That holds as long as
// the operations of one user on one node are not mixed, which is the caller's to see to.
#include <stdlib.h>
#include <string.h>

#include "lib/store/store_call.h"

struct link_call {
    struct call call;
    union {
        store_register_cb *registered;
        store_done_cb *unregistered;
        store_verify_cb *verified;
        store_resolve_cb *resolved;
    } done;
    void *arg;
    char node[NODE_ID_SIZE];
    char user[IDENT_MAPPED_SIZE]; // mapped, both
    char device[IDENT_MAPPED_SIZE];
};

// A row in the pieces the scripts take.
struct row {
    char text[LINK_ROW_SIZE];
    const char *owner; // "<node> <connection>"
    const char *epoch;
    const char *rest; // "<since_ms> <class or -> <device>"
};

static void
cut_row(const struct link *link, struct row *row)
{
    link_write(link, row->text);
    char *first = strchr(row->text, ' ');
    char *second = strchr(first + 1, ' ');
    char *third = strchr(second + 1, ' ');
    *second = *third = '\0';
    row->owner = row->text;
    row->epoch = second + 1;
    row->rest = third + 1;
}

// What a row of this node begins with, and what this one does: up to its epoch.
static void
cut_owner(const struct link *link, char ours[static NODE_ID_SIZE + 1],
          char exact[static LINK_ROW_SIZE])
{
    size_t node_len = strlen(link->node);
    memcpy(ours, link->node, node_len);
    memcpy(ours + node_len, " ", 2);
    link_write(link, exact);
    char *end = exact;
    for (int fields = 0; fields < 3; fields++)
        end = strchr(end, ' ') + 1;
    *end = '\0';
}

static bool
take_user(struct link_call *call, const char *user)
{
    return ident_map(user, strlen(user), call->user) > 0;
}

static bool
take_link(struct link_call *call, const char *user, const struct link *link)
{
    if (!take_user(call, user) || !node_id_is_valid(link->node, strlen(link->node)) ||
        !device_class_is_valid(link->device_class, strlen(link->device_class)) ||
        ident_map(link->device, strlen(link->device), call->device) == 0)
        return false;
    memcpy(call->node, link->node, sizeof call->node);
    return true;
}

// SADD or SREM of the node's index entry.
static void
send_index(struct link_call *call, const char *command, channel_answer_cb *done)
{
    char key[KEY_SIZE];
    char member[MEMBER_SIZE];
    key_members(call->node, key);
    member_write(call->user, call->device, member);
    store_call_send(&call->call, done, ARGV(command, key, member));
}

static void
on_index_added(void *arg, int error, const struct redisReply *answer)
{
    struct link_call *call = arg;
    (void)answer;
    store_call_note(&call->call, error);
}

// [ row ... ]; those that can be read, for the caller to free.
static struct link *
read_links(const struct redisReply *rows, size_t *count)
{
    size_t most = 0;
    *count = 0;
    if (!redis_read_array(rows, &most) || most == 0)
        return NULL;
    struct link *links = calloc(most, sizeof *links);
    if (!links)
        abort();
    for (size_t i = 0; i < most; i++) {
        const char *row;
        size_t len;
        if (redis_read_text(redis_item(rows, i), &row, &len) && link_read(row, len, &links[*count]))
            (*count)++;
    }
    return links;
}

// What register.lua and verify.lua answer: [ verdict, epoch, [ row ... ], [ watcher ... ] ].
struct written {
    enum store_verdict verdict;
    struct store_registered answer;
    struct link *links;    // the rows: displaced, or that of the device
    size_t count;          // of links
    const char **watchers; // the strings are the reply's
};

static void
free_written(struct written *written)
{
    free(written->links);
    free(written->watchers);
}

static void
read_watchers(const struct redisReply *nodes, size_t most, struct written *out)
{
    if (most == 0)
        return;
    out->watchers = calloc(most, sizeof *out->watchers);
    if (!out->watchers)
        abort();
    for (size_t i = 0; i < most; i++) {
        const char *node;
        size_t len;
        if (redis_read_text(redis_item(nodes, i), &node, &len) && node_id_is_valid(node, len))
            out->watchers[out->answer.watcher_count++] = node;
    }
    out->answer.watchers = out->watchers;
}

// False: not of this shape, and nothing to free.
static bool
read_written(const struct redisReply *reply, struct written *out)
{
    size_t count, rows, watchers;
    uint64_t verdict;
    *out = (struct written){0};
    if (!redis_read_array(reply, &count) || count != 4 ||
        !redis_read_u64(redis_item(reply, 0), &verdict) || verdict > STORE_SUPERSEDED ||
        !redis_read_u64(redis_item(reply, 1), &out->answer.epoch) ||
        !redis_read_array(redis_item(reply, 2), &rows) ||
        !redis_read_array(redis_item(reply, 3), &watchers))
        return false;
    out->verdict = (enum store_verdict)verdict;
    out->links = read_links(redis_item(reply, 2), &out->count);
    read_watchers(redis_item(reply, 3), watchers, out);
    out->answer.is_superseded = out->verdict == STORE_SUPERSEDED;
    if (!out->answer.is_superseded) {
        out->answer.displaced = out->links;
        out->answer.displaced_count = out->count;
    }
    return true;
}

static void
on_spare_removed(void *arg, int error, const struct redisReply *answer)
{
    (void)arg;
    (void)error;
    (void)answer;
}

// The entry we added before asking is spare, unless a row of this node stands there. Nobody
// waits: whatever the caller sends next comes after it on this connection.
static void
drop_spare(struct link_call *call, const struct written *written)
{
    bool is_ours = written->count > 0 && strcmp(written->links[0].node, call->node) == 0;
    if (written->answer.is_superseded && !is_ours &&
        channel_check(call->call.store->channel, 1) == 0)
        send_index(call, "SREM", on_spare_removed);
}

// Register.

// The epoch alone, as at most logins, or more.
static bool
read_register(const struct redisReply *reply, struct written *out)
{
    const char *text;
    size_t len;
    if (!redis_read_text(reply, &text, &len))
        return read_written(reply, out);
    *out = (struct written){.verdict = STORE_REWRITTEN};
    return redis_read_u64(reply, &out->answer.epoch);
}

static void
fail_register(struct call *base)
{
    struct link_call *call = (struct link_call *)base;
    call->done.registered(call->arg, base->error, NULL);
    free(call);
}

static void
on_registered(void *arg, int error, const struct redisReply *answer)
{
    struct link_call *call = arg;
    struct written written;
    if (store_call_note(&call->call, error) || !read_register(answer, &written)) {
        store_call_give_up(&call->call, "register");
        return;
    }
    drop_spare(call, &written);
    call->done.registered(call->arg, 0, &written.answer);
    free_written(&written);
    free(call);
}

void
store_register(struct store *store, const char *user, const struct link *link, uint64_t age_ms,
               store_register_cb *done, void *arg)
{
    struct link_call *call = store_call_new(store, sizeof *call, fail_register);
    call->done.registered = done;
    call->arg = arg;
    if (!take_link(call, user, link)) {
        store_call_refuse(&call->call, SY_EINVAL);
        return;
    }
    if (!store_call_may_send(&call->call, 2))
        return;
    char user_key[KEY_SIZE], watch_key[KEY_SIZE], age[DECIMAL_SIZE];
    struct row row;
    key_user(call->user, user_key);
    key_watch(call->user, watch_key);
    cut_row(link, &row);
    decimal_write(age_ms, age);
    send_index(call, "SADD", on_index_added);
    store_call_eval(&call->call, on_registered, SCRIPT_REGISTER, 2,
                    EVAL_ARGV(user_key, watch_key, call->device, row.owner, row.rest, age,
                              device_policy_name(store->opts.devices), store->max_devices,
                              row.epoch));
}

// Unregister.

static void
fail_unregister(struct call *base)
{
    struct link_call *call = (struct link_call *)base;
    call->done.unregistered(call->arg, base->error);
    free(call);
}

static void
on_index_removed(void *arg, int error, const struct redisReply *answer)
{
    struct link_call *call = arg;
    (void)answer;
    // The row is dealt with either way; a spare entry harms nobody.
    if (error && !call->call.error)
        store_call_note(&call->call, error);
    fail_unregister(&call->call);
}

static void
on_unregistered(void *arg, int error, const struct redisReply *answer)
{
    struct link_call *call = arg;
    int64_t verdict = 0;
    if (store_call_note(&call->call, error) || !redis_read_integer(answer, &verdict)) {
        store_call_give_up(&call->call, "unregister");
        return;
    }
    if (verdict != 1)
        store_call_note(&call->call, SY_ENOENT);
    if (verdict != 0 && channel_check(call->call.store->channel, 1) == 0)
        send_index(call, "SREM", on_index_removed);
    else
        fail_unregister(&call->call);
}

void
store_unregister(struct store *store, const char *user, const struct link *link,
                 store_done_cb *done, void *arg)
{
    struct link_call *call = store_call_new(store, sizeof *call, fail_unregister);
    call->done.unregistered = done;
    call->arg = arg;
    if (!take_link(call, user, link)) {
        store_call_refuse(&call->call, SY_EINVAL);
        return;
    }
    if (!store_call_may_send(&call->call, 1))
        return;
    char user_key[KEY_SIZE], ours[NODE_ID_SIZE + 1], exact[LINK_ROW_SIZE];
    key_user(call->user, user_key);
    cut_owner(link, ours, exact);
    store_call_eval(&call->call, on_unregistered, SCRIPT_UNREGISTER, 1,
                    EVAL_ARGV(user_key, call->device, ours, exact));
}

// Verify.

static void
fail_verify(struct call *base)
{
    struct link_call *call = (struct link_call *)base;
    call->done.verified(call->arg, base->error, STORE_KEPT, NULL);
    free(call);
}

static void
on_verified(void *arg, int error, const struct redisReply *answer)
{
    struct link_call *call = arg;
    struct written written;
    if (store_call_note(&call->call, error) || !read_written(answer, &written)) {
        store_call_give_up(&call->call, "verify");
        return;
    }
    drop_spare(call, &written);
    call->done.verified(call->arg, 0, written.verdict, &written.answer);
    free_written(&written);
    free(call);
}

void
store_verify(struct store *store, const char *user, const struct link *link, store_verify_cb *done,
             void *arg)
{
    struct link_call *call = store_call_new(store, sizeof *call, fail_verify);
    call->done.verified = done;
    call->arg = arg;
    if (!take_link(call, user, link)) {
        store_call_refuse(&call->call, SY_EINVAL);
        return;
    }
    if (!store_call_may_send(&call->call, 2))
        return;
    char user_key[KEY_SIZE], watch_key[KEY_SIZE];
    struct row row;
    key_user(call->user, user_key);
    key_watch(call->user, watch_key);
    cut_row(link, &row);
    send_index(call, "SADD", on_index_added);
    store_call_eval(&call->call, on_verified, SCRIPT_VERIFY, 2,
                    EVAL_ARGV(user_key, watch_key, call->device, row.owner, row.epoch, row.rest,
                              device_policy_name(store->opts.devices), store->max_devices));
}

// Resolve.

static void
fail_resolve(struct call *base)
{
    struct link_call *call = (struct link_call *)base;
    call->done.resolved(call->arg, base->error, NULL, 0);
    free(call);
}

static void
on_resolved(void *arg, int error, const struct redisReply *answer)
{
    struct link_call *call = arg;
    size_t count;
    if (store_call_note(&call->call, error) || !redis_read_array(answer, &count)) {
        store_call_give_up(&call->call, "resolve");
        return;
    }
    struct link *links = read_links(answer, &count);
    call->done.resolved(call->arg, 0, links, count);
    free(links);
    free(call);
}

void
store_resolve(struct store *store, const char *user, const char *watcher, uint64_t watch_ms,
              store_resolve_cb *done, void *arg)
{
    struct link_call *call = store_call_new(store, sizeof *call, fail_resolve);
    call->done.resolved = done;
    call->arg = arg;
    bool is_valid = take_user(call, user) &&
                    (!watcher || node_id_is_valid(watcher, strlen(watcher)));
    if (!is_valid) {
        store_call_refuse(&call->call, SY_EINVAL);
        return;
    }
    if (!store_call_may_send(&call->call, 1))
        return;
    char user_key[KEY_SIZE], watch_key[KEY_SIZE];
    key_user(call->user, user_key);
    key_watch(call->user, watch_key);
    const char *who = watcher ? watcher : "";
    struct number life = store_number_of(watch_ms);
    store_call_eval(&call->call, on_resolved, SCRIPT_RESOLVE, 2,
                    EVAL_ARGV(user_key, watch_key, who, life.text));
}
