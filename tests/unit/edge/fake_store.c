// fake_store.c: store.h, answered by the test.
#include <stdlib.h>
#include <string.h>

#include "tests/unit/edge/fake.h"

static struct call *
call_new(struct store *store, enum call_kind kind, void *arg)
{
    struct call *call = calloc(1, sizeof(*call));
    if ((store->count & (store->count - 1)) == 0) {
        size_t room = store->count == 0 ? 1 : 2 * store->count;
        store->calls = realloc(store->calls, room * sizeof(*store->calls));
    }
    if (call == NULL || store->calls == NULL)
        abort();
    call->kind = kind;
    call->arg = arg;
    store->calls[store->count++] = call;
    store->made[kind]++;
    return call;
}

static void
set_user(struct call *call, const char *user)
{
    assert_true(strlen(user) < sizeof(call->user));
    strcpy(call->user, user);
}

static void
set_node(struct call *call, const char *node)
{
    assert_true(strlen(node) < sizeof(call->node));
    strcpy(call->node, node);
}

// Function pointers in one field: each kind has its own type, so no mistake is possible
// that the switch below does not show.
#define SET_DONE(call, function) memcpy(&(call)->done, &(function), sizeof((call)->done))
#define GET_DONE(call, type, name) \
    type *name;                    \
    memcpy(&name, &(call)->done, sizeof(name))

bool
store_is_up(const struct store *store)
{
    return store->is_up;
}

const char *
store_describe(const struct store *store)
{
    return store->description != NULL ? store->description : "fake";
}

void
store_register(struct store *store, const char *user, const struct link *link, uint64_t age_ms,
               store_register_cb *done, void *arg)
{
    struct call *call = call_new(store, CALL_REGISTER, arg);
    set_user(call, user);
    call->link = *link;
    call->number = age_ms;
    SET_DONE(call, done);
}

void
store_unregister(struct store *store, const char *user, const struct link *link,
                 store_done_cb *done, void *arg)
{
    struct call *call = call_new(store, CALL_UNREGISTER, arg);
    set_user(call, user);
    call->link = *link;
    SET_DONE(call, done);
}

void
store_verify(struct store *store, const char *user, const struct link *link, store_verify_cb *done,
             void *arg)
{
    struct call *call = call_new(store, CALL_VERIFY, arg);
    set_user(call, user);
    call->link = *link;
    SET_DONE(call, done);
}

void
store_resolve(struct store *store, const char *user, const char *watcher, uint64_t watch_ms,
              store_resolve_cb *done, void *arg)
{
    struct call *call = call_new(store, CALL_RESOLVE, arg);
    set_user(call, user);
    if (watcher != NULL)
        set_node(call, watcher);
    call->number = watch_ms;
    SET_DONE(call, done);
}

void
store_read_node(struct store *store, const char *node, store_node_cb *done, void *arg)
{
    struct call *call = call_new(store, CALL_READ_NODE, arg);
    set_node(call, node);
    SET_DONE(call, done);
}

void
store_list_nodes(struct store *store, store_nodes_cb *done, void *arg)
{
    struct call *call = call_new(store, CALL_LIST_NODES, arg);
    SET_DONE(call, done);
}

void
store_heartbeat(struct store *store, const struct store_node *self, store_beat_cb *done, void *arg)
{
    struct call *call = call_new(store, CALL_HEARTBEAT, arg);
    call->self = *self;
    SET_DONE(call, done);
}

void
store_release(struct store *store, const char *node, store_done_cb *done, void *arg)
{
    struct call *call = call_new(store, CALL_RELEASE, arg);
    set_node(call, node);
    SET_DONE(call, done);
}

void
store_lead(struct store *store, const char *sweeper, uint64_t lease_ms, store_lead_cb *done,
           void *arg)
{
    struct call *call = call_new(store, CALL_LEAD, arg);
    set_node(call, sweeper);
    call->number = lease_ms;
    SET_DONE(call, done);
}

void
store_resign(struct store *store, const char *sweeper, store_done_cb *done, void *arg)
{
    struct call *call = call_new(store, CALL_RESIGN, arg);
    set_node(call, sweeper);
    SET_DONE(call, done);
}

void
store_read_clock(struct store *store, store_clock_cb *done, void *arg)
{
    struct call *call = call_new(store, CALL_CLOCK, arg);
    SET_DONE(call, done);
}

void
store_reap(struct store *store, const char *node, uint64_t fence, unsigned batch,
           store_reap_cb *done, void *arg)
{
    struct call *call = call_new(store, CALL_REAP, arg);
    set_node(call, node);
    call->number = fence;
    call->batch = batch;
    SET_DONE(call, done);
}

void
store_scrub(struct store *store, uint64_t cursor, unsigned count, store_scrub_cb *done, void *arg)
{
    struct call *call = call_new(store, CALL_SCRUB, arg);
    call->number = cursor;
    call->batch = count;
    SET_DONE(call, done);
}

void
store_scrub_rows(struct store *store, uint64_t cursor, unsigned count, store_scrub_cb *done,
                 void *arg)
{
    struct call *call = call_new(store, CALL_SCRUB_ROWS, arg);
    call->number = cursor;
    call->batch = count;
    SET_DONE(call, done);
}

// Looking at calls.

void
store_fini(struct store *store)
{
    for (size_t i = 0; i < store->count; i++)
        free(store->calls[i]);
    free(store->calls);
}

size_t
calls_open_of(const struct store *store, enum call_kind kind)
{
    size_t open = 0;
    for (size_t i = store->first_open; i < store->count; i++)
        open += !store->calls[i]->is_answered &&
                (kind == CALL_KINDS || store->calls[i]->kind == kind);
    return open;
}

size_t
calls_open(const struct store *store)
{
    return calls_open_of(store, CALL_KINDS);
}

static struct call *
find(struct store *store, enum call_kind kind, const char *user)
{
    while (store->first_open < store->count && store->calls[store->first_open]->is_answered)
        store->first_open++;
    for (size_t i = store->first_open; i < store->count; i++) {
        struct call *call = store->calls[i];
        if (!call->is_answered && (kind == CALL_KINDS || call->kind == kind) &&
            (user == NULL || strcmp(user, call->user) == 0))
            return call;
    }
    return NULL;
}

struct call *
call_for(struct store *store, enum call_kind kind, const char *user)
{
    struct call *call = find(store, kind, user);
    if (call == NULL)
        fail_msg("no call of kind %d for %s waits", (int)kind, user != NULL ? user : "anybody");
    return call;
}

struct call *
call_of(struct store *store, enum call_kind kind)
{
    return call_for(store, kind, NULL);
}

// Answering.

static void
close_call(struct call *call)
{
    assert_false(call->is_answered);
    call->is_answered = true;
}

void
answer_error(struct call *call, int error)
{
    close_call(call);
    GET_DONE(call, store_register_cb, registered);
    GET_DONE(call, store_done_cb, done);
    GET_DONE(call, store_verify_cb, verified);
    GET_DONE(call, store_resolve_cb, resolved);
    GET_DONE(call, store_node_cb, node);
    GET_DONE(call, store_nodes_cb, nodes);
    GET_DONE(call, store_beat_cb, beat);
    GET_DONE(call, store_lead_cb, lead);
    GET_DONE(call, store_clock_cb, clock);
    GET_DONE(call, store_reap_cb, reaped);
    GET_DONE(call, store_scrub_cb, scrubbed);
    switch (call->kind) {
    case CALL_REGISTER:
        registered(call->arg, error, NULL);
        break;
    case CALL_UNREGISTER:
    case CALL_RELEASE:
    case CALL_RESIGN:
        done(call->arg, error);
        break;
    case CALL_VERIFY:
        verified(call->arg, error, STORE_KEPT, NULL);
        break;
    case CALL_RESOLVE:
        resolved(call->arg, error, NULL, 0);
        break;
    case CALL_READ_NODE:
        node(call->arg, error, NULL);
        break;
    case CALL_LIST_NODES:
        nodes(call->arg, error, NULL, 0);
        break;
    case CALL_HEARTBEAT:
        beat(call->arg, error, false, 0);
        break;
    case CALL_LEAD:
        lead(call->arg, error, false, 0, 0);
        break;
    case CALL_CLOCK:
        clock(call->arg, error, NULL);
        break;
    case CALL_REAP:
        reaped(call->arg, error, NULL);
        break;
    case CALL_SCRUB:
    case CALL_SCRUB_ROWS:
        scrubbed(call->arg, error, 0, 0);
        break;
    case CALL_KINDS:
        break;
    }
}

void
answer_all(struct store *store, int error)
{
    for (struct call *call; (call = find(store, CALL_KINDS, NULL)) != NULL;)
        answer_error(call, error);
}

void
answer_replaced(struct call *call, uint64_t epoch, const struct link *old, const char *watcher)
{
    assert_int_equal(call->kind, CALL_REGISTER);
    close_call(call);
    struct store_registered answer = {
        .epoch = epoch,
        .displaced_count = old != NULL,
        .displaced = old,
        .watcher_count = watcher != NULL,
        .watchers = &watcher,
    };
    GET_DONE(call, store_register_cb, done);
    done(call->arg, 0, &answer);
}

void
answer_displaced(struct call *call, uint64_t epoch, const struct link *links, size_t count)
{
    assert_int_equal(call->kind, CALL_REGISTER);
    close_call(call);
    struct store_registered answer = {.epoch = epoch, .displaced_count = count, .displaced = links};
    GET_DONE(call, store_register_cb, done);
    done(call->arg, 0, &answer);
}

void
answer_superseded(struct call *call, uint64_t epoch)
{
    assert_int_equal(call->kind, CALL_REGISTER);
    close_call(call);
    struct store_registered answer = {.epoch = epoch, .is_superseded = true};
    GET_DONE(call, store_register_cb, done);
    done(call->arg, 0, &answer);
}

void
answer_registered(struct call *call, uint64_t epoch)
{
    answer_replaced(call, epoch, NULL, NULL);
}

void
answer_done(struct call *call, int error)
{
    assert_true(call->kind == CALL_UNREGISTER || call->kind == CALL_RELEASE ||
                call->kind == CALL_RESIGN);
    answer_error(call, error);
}

void
answer_verified(struct call *call, enum store_verdict verdict, uint64_t epoch, const char *watcher)
{
    assert_int_equal(call->kind, CALL_VERIFY);
    close_call(call);
    struct store_registered answer = {
        .epoch = epoch,
        .is_superseded = verdict == STORE_SUPERSEDED,
        .watcher_count = watcher != NULL,
        .watchers = &watcher,
    };
    GET_DONE(call, store_verify_cb, done);
    done(call->arg, 0, verdict, &answer);
}

void
answer_rewritten(struct call *call, uint64_t epoch, const struct link *old)
{
    answer_verified_over(call, STORE_REWRITTEN, epoch, old);
}

void
answer_verified_over(struct call *call, enum store_verdict verdict, uint64_t epoch,
                     const struct link *old)
{
    assert_int_equal(call->kind, CALL_VERIFY);
    close_call(call);
    struct store_registered answer = {.epoch = epoch, .displaced_count = 1, .displaced = old};
    GET_DONE(call, store_verify_cb, done);
    done(call->arg, 0, verdict, &answer);
}

void
answer_links(struct call *call, const struct link *links, size_t count)
{
    assert_int_equal(call->kind, CALL_RESOLVE);
    close_call(call);
    GET_DONE(call, store_resolve_cb, done);
    done(call->arg, 0, links, count);
}

void
answer_nodes(struct call *call, size_t count, ...)
{
    struct link links[8];
    char device[8] = "d0";
    va_list nodes;
    assert_true(count <= 8);
    va_start(nodes, count);
    for (size_t i = 0; i < count; i++) {
        device[1] = (char)('0' + i);
        links[i] = link_on(va_arg(nodes, const char *), device, i + 1, 100 + i);
    }
    va_end(nodes);
    answer_links(call, links, count);
}

void
answer_listed(struct call *call, const struct store_node *nodes, size_t count)
{
    assert_int_equal(call->kind, CALL_LIST_NODES);
    close_call(call);
    GET_DONE(call, store_nodes_cb, done);
    done(call->arg, 0, nodes, count);
}

void
answer_lease(struct call *call, bool lives)
{
    assert_int_equal(call->kind, CALL_READ_NODE);
    close_call(call);
    struct store_node node = {.has_lease = lives};
    strcpy(node.node, call->node);
    GET_DONE(call, store_node_cb, done);
    done(call->arg, lives ? 0 : SY_ENOENT, lives ? &node : NULL);
}

void
answer_beat(struct call *call, bool was_lost, uint64_t gen)
{
    static uint64_t taken = 1;
    assert_int_equal(call->kind, CALL_HEARTBEAT);
    taken += was_lost;
    answer_beat_taken(call, taken, gen);
}

void
answer_beat_taken(struct call *call, uint64_t taken, uint64_t gen)
{
    assert_int_equal(call->kind, CALL_HEARTBEAT);
    close_call(call);
    GET_DONE(call, store_beat_cb, done);
    done(call->arg, 0, taken, gen);
}

struct link
link_on(const char *node, const char *device, uint64_t connection, uint64_t epoch)
{
    struct link link = {.connection = connection, .epoch = epoch, .since_ms = 1};
    strcpy(link.node, node);
    strcpy(link.device, device);
    return link;
}
