// registry.c: see registry.h for the states of a link.
//
// `work` looks at a user's links and begins the one operation that is due; its answer
// changes the link and looks again. Failures: the store is down, slow or refuses: the user
// waits until the next tick, at most one second, or until the store is up. A login does
// not wait for that: its session goes on, and the link is written when it can be.
#include "edge/registry.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "edge/core.h"
#include "edge/outbox.h"

static void pump(struct edge *edge);

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
    pump(edge);
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
        pump(edge);
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

static bool
may_write(const struct edge *edge)
{
    const struct registry *registry = &edge->registry;
    return registry->beat_ms != 0 && edge->now_ms - registry->beat_ms < LEASE_MS - WRITE_MARGIN_MS;
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
    registry_renew(edge);
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
        if ((due == DUE_REGISTER || due == DUE_VERIFY) && !may_write(edge)) {
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

static void
pump(struct edge *edge)
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
        pump(edge);
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
    pump(link->edge);
}

void
registry_kick(struct edge *edge, const char *user_id, const char *device, uint64_t connection,
              uint64_t epoch)
{
    const struct user *user = users_find(&edge->users, user_id, strlen(user_id));
    if (end_link(edge, user, device, connection, epoch))
        edge->counters.kicks_in++;
}

// Time.

static void
verify_all(struct edge *edge)
{
    edge->registry.burst = edge->registry.count;
    edge->registry.cursor = edge->registry.links; // logins meanwhile come behind all of these
}

static void
verify_again(struct edge *edge)
{
    if (edge->registry.again_ms == 0 || edge->now_ms < edge->registry.again_ms)
        return;
    edge->registry.again_ms = 0;
    verify_all(edge);
}

static void
verify_some(struct edge *edge)
{
    struct registry *registry = &edge->registry;
    // The regular share of one second, rounded up so that a cycle always ends in time.
    size_t count = (registry->count * 1000 + VERIFY_CYCLE_MS - 1) / VERIFY_CYCLE_MS;
    if (registry->burst > 0) {
        count = registry->burst < VERIFY_BURST_PER_S ? registry->burst : VERIFY_BURST_PER_S;
        registry->burst -= count;
    }
    for (; count > 0 && registry->links != NULL; count--) {
        struct link_state *link = registry->cursor != NULL ? registry->cursor : registry->links;
        registry->cursor = link->next;
        set_must_verify(link, true);
        enqueue(edge, link->user);
    }
}

static void beat(struct edge *edge);

// The lease that was asked for after the doubt is held: the rows are next, at once.
static void
end_doubt(struct edge *edge)
{
    struct registry *registry = &edge->registry;
    if (registry->doubted_ms == 0)
        return;
    if (registry->beat_tried_ms < registry->doubted_ms) {
        beat(edge);
        return;
    }
    registry->doubted_ms = 0;
    verify_all(edge);
    verify_some(edge);
    pump(edge);
}

static void
retry_failed(struct edge *edge)
{
    for (struct user *user; (user = edge->registry.later) != NULL;) {
        edge->registry.later = user->next_queued;
        user->is_queued = false;
        enqueue(edge, user);
    }
}

static void
on_beat(void *arg, int error, uint64_t taken, uint64_t gen)
{
    struct edge *edge = arg;
    struct registry *registry = &edge->registry;
    registry->is_beating = false;
    if (error != 0) {
        if (registry->failed_since_ms == 0)
            registry->failed_since_ms = edge->now_ms;
        return;
    }
    bool is_first = registry->beat_ms == 0;
    bool has_new_gen = registry->gen != 0 && registry->gen != gen;
    bool was_lost = registry->taken != 0 && registry->taken != taken;
    // By our own clock: this much Redis may have been wrong about.
    bool has_run_out = registry->beat_tried_ms - registry->beat_ms >= LEASE_MS;
    registry->failed_since_ms = 0;
    // The lease runs from when it was asked for, at the earliest.
    registry->beat_ms = registry->beat_tried_ms;
    registry->taken = taken;
    registry->gen = gen;
    if (is_first) {
        log_info("lease_taken", "node=%s", edge->node);
    } else if (was_lost || has_run_out || has_new_gen) {
        edge->counters.leases_lost++;
        log_warn("lease_lost", "node=%s links=%zu reason=%s", edge->node, registry->count,
                 has_new_gen ? "redis_lost_its_data" : "expired");
        registry->again_ms = has_new_gen ? 0 : edge->now_ms + VERIFY_AGAIN_MS;
        verify_all(edge);
    }
    retry_failed(edge);
    pump(edge);
    end_doubt(edge);
}

static void
beat(struct edge *edge)
{
    struct registry *registry = &edge->registry;
    struct store_node self = {
        .is_draining = edge->is_draining,
        .connections = edge->live_sessions,
        .max_connections = edge->limits.max_connections,
        .started_ms = edge->started_wall_ms,
        .says_nats = true,
        .is_on_nats = bus_is_up(edge->bus),
        .nats_since_ms = edge->fence.bus_wall_ms,
    };
    memcpy(self.node, edge->node, sizeof(self.node));
    memcpy(self.url, edge->url, sizeof(self.url));
    registry->is_beating = true;
    registry->beat_tried_ms = edge->now_ms;
    store_heartbeat(edge->store, &self, on_beat, edge);
}

void
registry_renew(struct edge *edge)
{
    const struct registry *registry = &edge->registry;
    if (registry->beat_ms == 0 && !bus_is_up(edge->bus))
        return;
    if (!registry->is_beating && store_is_up(edge->store))
        beat(edge);
}

void
registry_store_state(struct edge *edge, bool up)
{
    retry_failed(edge);
    if (up) {
        registry_renew(edge);
        pump(edge);
        return;
    }
    // Every call has been answered: all work there is waits in the queue.
    for (struct user *user = edge->registry.queue; user != NULL; user = user->next_queued)
        tell_sessions(user);
}

void
registry_tick(struct edge *edge)
{
    const struct registry *registry = &edge->registry;
    if (edge_is_alone(edge))
        return;
    retry_failed(edge);
    if (registry->beat_tried_ms == 0 || registry->doubted_ms != 0 ||
        edge->now_ms - registry->beat_tried_ms >= LEASE_RENEW_MS)
        registry_renew(edge);
    verify_again(edge);
    verify_some(edge);
    pump(edge);
}

bool
registry_holds_lease(const struct edge *edge)
{
    return edge->registry.beat_ms != 0 && edge->now_ms - edge->registry.beat_ms < LEASE_MS;
}

uint64_t
registry_lease_left_ms(const struct edge *edge, uint64_t at_ms)
{
    const struct registry *registry = &edge->registry;
    uint64_t ends_ms = registry->beat_ms + LEASE_MS;
    return registry->beat_ms != 0 && ends_ms > at_ms ? ends_ms - at_ms : 0;
}

void
registry_doubt(struct edge *edge)
{
    edge->registry.doubted_ms = edge->now_ms;
    registry_renew(edge);
}

bool
registry_is_verified(const struct edge *edge)
{
    const struct registry *registry = &edge->registry;
    return registry->doubted_ms == 0 && registry->burst == 0 && registry->unverified == 0;
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
    retry_failed(edge);
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
