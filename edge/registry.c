// registry.c: see registry.h for the states of a link.
//
// `work` looks at a user's links and begins the one operation that is due; its answer
// changes the link and looks again. Failures: the store is down, slow or refuses: the user
// waits until the lease has links tried again (registry_retry), at most one second, or until
// the store is up. No lease to write under: it is asked for, and the user waits likewise. A
// login does not wait for either: its session goes on, and the link is written when it can be.
#include "edge/registry.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "edge/core.h"
#include "edge/outbox.h"

static struct link
row_of(const struct link_state *link)
{
    struct link row = {
        .connection = link->connection, .epoch = link->epoch, .since_ms = link->since_ms};
    size_t device_len = strlen(link->device);
    assert(device_len < sizeof(row.device));
    memcpy(row.node, link->edge->node, sizeof(row.node));
    memcpy(row.device, link->device, device_len + 1);
    memcpy(row.device_class, link->device_class, sizeof(row.device_class));
    return row;
}

// Links.

static void
set_must_verify(struct link_state *link, bool must)
{
    struct registry *registry = &link->edge->registry;
    if (link->must_verify != must)
        registry->unverified += must ? 1 : (size_t)-1;
    link->must_verify = must;
}

static void
link_free(struct link_state *link)
{
    struct registry *registry = &link->edge->registry;
    set_must_verify(link, false);
    struct link_state **at = &link->user->links;
    while (*at != link)
        at = &(*at)->next_of_user;
    *at = link->next_of_user;
    if (registry->cursor == link)
        registry->cursor = link->next;
    *(link->prev != NULL ? &link->prev->next : &registry->links) = link->next;
    *(link->next != NULL ? &link->next->prev : &registry->last_link) = link->prev;
    registry->count--;
    if (link->session != NULL)
        link->session->link = NULL;
    free(link);
}

static struct link_state *
link_new(struct edge *edge, struct session *session)
{
    struct registry *registry = &edge->registry;
    size_t device_size = strlen(session->device) + 1;
    struct link_state *link = calloc(1, sizeof(*link) + device_size);
    if (link == NULL)
        abort();
    memcpy(link->device, session->device, device_size);
    link->edge = edge;
    link->user = session->user;
    link->session = session;
    link->connection = session->connection;
    link->since_ms = edge->wall_ms;
    link->login_ms = edge->now_ms;
    size_t class_len = strlen(session->device_class);
    assert(class_len < sizeof(link->device_class)); // session.c refused a longer one
    memcpy(link->device_class, session->device_class, class_len + 1);
    link->prev = registry->last_link;
    *(registry->last_link != NULL ? &registry->last_link->next : &registry->links) = link;
    registry->last_link = link;
    registry->count++;
    struct link_state **at = &session->user->links;
    while (*at != NULL)
        at = &(*at)->next_of_user;
    *at = link;
    session->link = link;
    return link;
}

static void
link_superseded(struct link_state *link)
{
    link->known = LINK_ABSENT;
    link->edge->counters.superseded++;
    if (link->session != NULL)
        session_end(link->session, CLOSE_REPLACED);
}

static void
tell_session(struct link_state *link)
{
    if (link->session != NULL)
        session_registered(link->session);
}

// A login does not wait for the directory to be well. The user must be queued: a session
// that ends of being told must not free it.
static void
tell_sessions(struct user *user)
{
    assert(user->is_queued);
    for (struct link_state *link = user->links; link != NULL; link = link->next_of_user)
        tell_session(link);
}

// The queue of users.

static void
enqueue(struct edge *edge, struct user *user)
{
    if (user->is_queued)
        return;
    struct registry *registry = &edge->registry;
    user->is_queued = true;
    user->next_queued = NULL;
    *(registry->queue != NULL ? &registry->last_queued->next_queued : &registry->queue) = user;
    registry->last_queued = user;
}

static void
enqueue_later(struct edge *edge, struct user *user)
{
    if (user->is_queued)
        return;
    user->is_queued = true;
    user->next_queued = edge->registry.later;
    edge->registry.later = user;
}

// An operation on this link has been answered.
static void
done(struct link_state *link, int error)
{
    struct edge *edge = link->edge;
    struct user *user = link->user;
    uint64_t held;
    user->is_busy = false;
    edge->registry.busy--;
    if (error == 0) {
        enqueue(edge, user);
    } else {
        if (error == SY_EREPLY && log_limit_pass(&edge->registry.complaint, edge->now_ms, &held))
            log_warn("registry_refused", "error=%s more=%llu", sy_error_name(error),
                     (unsigned long long)held);
        enqueue_later(edge, user);
        tell_sessions(user);
    }
    registry_pump(edge);
}

// Whether the answer says nothing about what the directory did.
static bool
is_unknown(int error)
{
    return error == SY_ETIME || error == SY_ELOST;
}

// What is known of a link's epoch orders the logins after it, too.
static void
learn_epoch(struct link_state *link, uint64_t epoch)
{
    link->known = LINK_WRITTEN;
    link->epoch = epoch;
    if (epoch > link->user->epoch)
        link->user->epoch = epoch;
}

static void
tell_watchers(struct link_state *link, const struct store_registered *answer)
{
    struct edge *edge = link->edge;
    const struct user *user = link->user;
    for (size_t i = 0; i < answer->watcher_count; i++) {
        const char *node = answer->watchers[i];
        if (strcmp(node, edge->node) == 0)
            // Our name was handed out with the others: nobody would tell us of the next change.
            routes_forget(edge, user->id, user->id_len);
        else if (node_id_is_valid(node, strlen(node)))
            outbox_invalidate(edge, node, user->id);
    }
}

// Ends one of our own links, if it is still the one that is meant. False: it is not.
static bool
end_link(struct edge *edge, const struct user *user, const char *device, uint64_t connection,
         uint64_t epoch)
{
    struct session *session = user != NULL ? users_find_device(user, device) : NULL;
    if (session == NULL || session->connection != connection || session->link == NULL)
        return false; // it left, or came back since: another connection is meant
    if (session->link->epoch != epoch) {
        // It overtook the answer of our register: the directory knows better.
        set_must_verify(session->link, true);
        enqueue(edge, session->user);
        registry_pump(edge);
        return false;
    }
    // The link is removed like any other, by exact match. The row should be another's by now,
    // but a kick may be late: if that login has gone, a verify has written our row again.
    session_end(session, CLOSE_REPLACED);
    return true;
}

static void
kick_displaced(struct link_state *link, const struct store_registered *answer)
{
    struct edge *edge = link->edge;
    for (size_t i = 0; i < answer->displaced_count; i++) {
        const struct link *old = &answer->displaced[i];
        if (strcmp(old->node, edge->node) != 0)
            outbox_kick(edge, old->node, link->user->id, old->device, old->connection, old->epoch);
        else
            (void)end_link(edge, link->user, old->device, old->connection, old->epoch);
    }
}

// Operations and their answers.

static void
on_registered(void *arg, int error, const struct store_registered *answer)
{
    struct link_state *link = arg;
    if (error == 0 && answer->is_superseded) {
        link_superseded(link);
    } else if (error == 0) {
        learn_epoch(link, answer->epoch);
        link->edge->counters.registers++;
        tell_watchers(link, answer);
        kick_displaced(link, answer);
        tell_session(link);
    } else if (is_unknown(error)) {
        link->known = LINK_UNKNOWN;
    }
    done(link, error);
}

static void
on_unregistered(void *arg, int error)
{
    struct link_state *link = arg;
    if (error == 0 || error == SY_ENOENT) {
        link->known = LINK_ABSENT;
        link->edge->counters.unregisters++;
        error = 0;
    }
    done(link, error); // lost answers: still WRITTEN, and asking again is harmless
}

static void
on_verified(void *arg, int error, enum store_verdict verdict, const struct store_registered *answer)
{
    struct link_state *link = arg;
    if (error == 0) {
        set_must_verify(link, false);
        link->edge->counters.verifies++;
        link->edge->counters.rewritten += verdict == STORE_REWRITTEN;
        if (verdict == STORE_SUPERSEDED) {
            link_superseded(link);
        } else {
            learn_epoch(link, answer->epoch);
            tell_watchers(link, answer);
            kick_displaced(link, answer); // older logins, which nobody has told
        }
    }
    done(link, error);
}

// Looks for what became of a link whose register had no answer.
static void
on_looked(void *arg, int error, const struct link *rows, size_t count)
{
    struct link_state *link = arg;
    if (error != 0) {
        done(link, error);
        return;
    }
    link->known = LINK_ABSENT;
    for (size_t i = 0; i < count; i++) {
        const struct link *row = &rows[i];
        if (strcmp(row->device, link->device) != 0)
            continue;
        if (strcmp(row->node, link->edge->node) == 0 && row->connection == link->connection) {
            learn_epoch(link, row->epoch);
            tell_session(link);
        } // another's: register finds out which login is newer
    }
    done(link, 0);
}

enum due { DUE_NOTHING, DUE_LOOK, DUE_REGISTER, DUE_UNREGISTER, DUE_VERIFY };

// For a link that is wanted or in the directory.
static enum due
what_is_due(const struct link_state *link)
{
    if (link->known == LINK_UNKNOWN)
        return DUE_LOOK;
    if (link->known == LINK_ABSENT)
        return DUE_REGISTER;
    if (link->session == NULL)
        return DUE_UNREGISTER;
    return link->must_verify ? DUE_VERIFY : DUE_NOTHING;
}

static void
begin_register(struct link_state *link)
{
    struct link row = row_of(link);
    // All links before this one that were written are older logins, of this edge.
    row.epoch = link->user->epoch;
    store_register(link->edge->store, link->user->id, &row, link->edge->now_ms - link->login_ms,
                   on_registered, link);
}

static void
begin(struct link_state *link, enum due due)
{
    struct store *store = link->edge->store;
    const char *user = link->user->id;
    struct link row = row_of(link);
    if (due == DUE_LOOK)
        store_resolve(store, user, NULL, 0, on_looked, link);
    else if (due == DUE_REGISTER)
        begin_register(link);
    else if (due == DUE_UNREGISTER)
        store_unregister(store, user, &row, on_unregistered, link);
    else
        store_verify(store, user, &row, on_verified, link);
    link->user->is_busy = true;
    link->edge->registry.busy++;
}

// What is due must not be written now: the renewal goes first, and its answer looks again.
static void
wait_for_lease(struct edge *edge, struct user *user)
{
    enqueue_later(edge, user);
    lease_renew(edge);
    tell_sessions(user);
}

// Begins the first operation due for a user, oldest login first.
static void
work(struct edge *edge, struct user *user)
{
    if (user->is_busy)
        return; // its answer looks again
    struct link_state *next;
    for (struct link_state *link = user->links; link != NULL; link = next) {
        next = link->next_of_user;
        if (link->session == NULL && link->known == LINK_ABSENT) {
            link_free(link);
            continue;
        }
        enum due due = what_is_due(link);
        if ((due == DUE_REGISTER || due == DUE_VERIFY) && !lease_may_write(edge)) {
            wait_for_lease(edge, user);
            return;
        }
        if (due != DUE_NOTHING) {
            begin(link, due);
            return;
        }
    }
    users_drop_if_idle(&edge->users, user);
}

void
registry_pump(struct edge *edge)
{
    struct registry *registry = &edge->registry;
    while (registry->queue != NULL && registry->busy < REGISTRY_MAX_BUSY &&
           store_is_up(edge->store)) {
        struct user *user = registry->queue;
        registry->queue = user->next_queued;
        user->is_queued = false;
        work(edge, user);
    }
}

// What the lease tells.

void
registry_verify_from_oldest(struct edge *edge)
{
    edge->registry.cursor = edge->registry.links;
}

void
registry_verify(struct edge *edge, size_t count)
{
    struct registry *registry = &edge->registry;
    for (; count > 0 && registry->links != NULL; count--) {
        struct link_state *link = registry->cursor != NULL ? registry->cursor : registry->links;
        registry->cursor = link->next;
        set_must_verify(link, true);
        enqueue(edge, link->user);
    }
}

void
registry_retry(struct edge *edge)
{
    for (struct user *user; (user = edge->registry.later) != NULL;) {
        edge->registry.later = user->next_queued;
        user->is_queued = false;
        enqueue(edge, user);
    }
}

// What the rest of the edge asks for.

void
registry_add(struct edge *edge, struct session *session)
{
    if (edge_is_alone(edge)) {
        session_registered(session);
        return;
    }
    struct link_state *link = link_new(edge, session);
    enqueue(edge, session->user);
    if (!store_is_up(edge->store))
        tell_session(link);
    else
        registry_pump(edge);
}

void
registry_remove(struct session *session)
{
    struct link_state *link = session->link;
    if (link == NULL)
        return;
    link->session = NULL;
    session->link = NULL;
    enqueue(link->edge, link->user);
    registry_pump(link->edge);
}

void
registry_kick(struct edge *edge, const char *user_id, const char *device, uint64_t connection,
              uint64_t epoch)
{
    const struct user *user = users_find(&edge->users, user_id, strlen(user_id));
    if (end_link(edge, user, device, connection, epoch))
        edge->counters.kicks_in++;
}

void
registry_store_state(struct edge *edge, bool up)
{
    registry_retry(edge);
    if (up) {
        lease_renew(edge);
        registry_pump(edge);
        return;
    }
    // Every call has been answered: all work there is waits in the queue.
    for (struct user *user = edge->registry.queue; user != NULL; user = user->next_queued)
        tell_sessions(user);
}

bool
registry_is_settled(const struct edge *edge)
{
    return edge->registry.count == 0;
}

void
registry_fini(struct edge *edge)
{
    struct registry *registry = &edge->registry;
    assert(registry->busy == 0); // the store has answered everything
    registry_retry(edge);
    for (struct user *user; (user = registry->queue) != NULL;) {
        registry->queue = user->next_queued;
        user->is_queued = false;
        users_drop_if_idle(&edge->users, user);
    }
    for (struct link_state *link; (link = registry->links) != NULL;) {
        struct user *user = link->user;
        link_free(link);
        users_drop_if_idle(&edge->users, user);
    }
}
