// routes.c: reading and remembering where users are.
//
// 1. routes_wait asks the directory for the user's links, leaving our name.
// 2. Links of this edge are dropped, those of one other edge become one peer.
// 3. A peer of unknown state has its lease read; dead peers are dropped, those cut off stay.
// 4. Everyone who waits is told; the route is kept.
// Told of a change during 1-3: read again, once per change. Directory down: the waiters
// hear the error, with an old answer if there is one.
#include "edge/routes.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "edge/core.h"

static void ask(struct route *route);
static void read_next(struct edge *edge);

static struct route *
find(const struct edge *edge, const char *user, size_t len)
{
    struct route *route;
    HASH_FIND(hh, edge->routes.table, user, len, route);
    return route;
}

static void
unlist(struct routes *routes, struct route *route)
{
    *(route->older != NULL ? &route->older->newer : &routes->oldest) = route->newer;
    *(route->newer != NULL ? &route->newer->older : &routes->newest) = route->older;
    route->older = NULL;
    route->newer = NULL;
}

static void
list_newest(struct routes *routes, struct route *route)
{
    route->older = routes->newest;
    *(routes->newest != NULL ? &routes->newest->newer : &routes->oldest) = route;
    routes->newest = route;
}

static void
drop_peers(struct route *route)
{
    for (uint32_t i = 0; i < route->peer_count; i++)
        route->peers[i]->holds--;
    free(route->peers);
    route->peers = NULL;
    route->peer_count = 0;
}

static void
route_free(struct route *route)
{
    struct routes *routes = &route->edge->routes;
    assert(!route->is_reading && route->waiters == NULL);
    unlist(routes, route);
    HASH_DELETE(hh, routes->table, route);
    drop_peers(route);
    free(route);
}

static struct route *
take(struct edge *edge, const char *user, size_t len)
{
    struct route *route = find(edge, user, len);
    if (route != NULL)
        return route;
    while (edge->routes.oldest != NULL && HASH_COUNT(edge->routes.table) >= edge->limits.max_routes)
        route_free(edge->routes.oldest);
    route = calloc(1, sizeof(*route) + len + 1);
    if (route == NULL)
        abort();
    route->edge = edge;
    memcpy(route->id, user, len);
    route->id_len = (uint8_t)len;
    HASH_ADD_KEYPTR(hh, edge->routes.table, route->id, len, route);
    list_newest(&edge->routes, route);
    return route;
}

// Tells everyone who waits. Until that is done the route counts as being read, so that
// nobody evicts it.
static void
finish(struct route *route, int error)
{
    struct edge *edge = route->edge;
    struct waiter *waiter = route->waiters;
    route->waiters = NULL;
    route->last_waiter = NULL;
    for (struct waiter *w = waiter; w != NULL; w = w->next)
        w->route = NULL;
    while (waiter != NULL) {
        struct waiter *next = waiter->next;
        waiter->next = NULL;
        waiter->prev = NULL;
        router_resolved(edge, waiter, route->peers, route->peer_count, error);
        waiter = next;
    }
    assert(route->waiters == NULL); // router_resolved begins no new wait
    route->is_reading = false;
    list_newest(&edge->routes, route);
    edge->routes.busy--;
    read_next(edge);
}

static void
add_peer(struct route *route, struct peer *peer)
{
    for (uint32_t i = 0; i < route->peer_count; i++)
        if (route->peers[i] == peer)
            return;
    struct peer **peers = realloc(route->peers, (route->peer_count + 1) * sizeof(struct peer *));
    if (peers == NULL)
        abort();
    peers[route->peer_count++] = peer;
    peer->holds++;
    route->peers = peers;
}

// Every peer's state is known now, or could not be had.
static void
settle(struct route *route)
{
    if (route->has_changed) {
        ask(route);
        return;
    }
    uint32_t kept = 0;
    for (uint32_t i = 0; i < route->peer_count; i++) {
        struct peer *peer = route->peers[i];
        // A lease that could not be read counts as living: a message to a dead edge is
        // answered within a millisecond, one withheld from a living edge is lost.
        if (peer_state(peer, route->edge->now_ms) == PEER_DEAD) {
            peer->holds--;
            peer->is_left_out = true;
        } else {
            route->peers[kept++] = peer;
        }
    }
    route->peer_count = kept;
    route->is_known = true;
    route->expires_ms = route->edge->now_ms + route->edge->limits.route_ttl_ms;
    finish(route, 0);
}

struct check {
    struct route *route;
    struct peer *peer;
};

static void
on_lease(void *arg, int error, const struct store_node *node)
{
    struct check *check = arg;
    struct route *route = check->route;
    if (error == 0 || error == SY_ENOENT) {
        check->peer->lease_ms = route->edge->now_ms;
        check->peer->lease_lives = error == 0 && node->has_lease;
        if (check->peer->lease_lives)
            routes_peer_lives(route->edge, check->peer);
    }
    free(check);
    if (--route->checks == 0)
        settle(route);
}

static void
check_lease(struct route *route, struct peer *peer)
{
    struct check *check = malloc(sizeof(*check));
    if (check == NULL)
        abort();
    check->route = route;
    check->peer = peer;
    route->checks++;
    store_read_node(route->edge->store, peer->node, on_lease, check);
}

static void
on_links(void *arg, int error, const struct link *links, size_t count)
{
    struct route *route = arg;
    struct edge *edge = route->edge;
    if (error != 0) {
        route->expires_ms = 0;
        finish(route, error);
        return;
    }
    drop_peers(route);
    for (size_t i = 0; i < count; i++)
        if (strcmp(links[i].node, edge->node) != 0)
            add_peer(route, peers_take(&edge->peers, links[i].node));
    for (uint32_t i = 0; i < route->peer_count; i++)
        if (peer_state(route->peers[i], edge->now_ms) == PEER_UNKNOWN)
            check_lease(route, route->peers[i]);
    if (route->checks == 0)
        settle(route);
}

static void
ask(struct route *route)
{
    struct edge *edge = route->edge;
    route->has_changed = false;
    route->epoch = edge->routes.epoch;
    edge->counters.resolves++;
    // Longer than we remember, so that our name is there for as long as we do.
    store_resolve(edge->store, route->id, edge->node, 2 * edge->limits.route_ttl_ms, on_links,
                  route);
}

static void
read_next(struct edge *edge)
{
    struct routes *routes = &edge->routes;
    while (routes->next_to_read != NULL && routes->busy < ROUTES_MAX_BUSY) {
        struct route *route = routes->next_to_read;
        routes->next_to_read = route->newer;
        route->newer = NULL;
        if (route->waiters == NULL) { // all of them gave up
            route->is_reading = false;
            list_newest(routes, route);
            continue;
        }
        routes->busy++;
        ask(route);
    }
}

const struct route *
routes_find(struct edge *edge, const char *user, size_t len, unsigned hash)
{
    const struct route *route;
    HASH_FIND_BYHASHVALUE(hh, edge->routes.table, user, len, hash, route);
    if (route == NULL || route->is_reading || !route->is_known ||
        route->epoch != edge->routes.epoch || route->expires_ms <= edge->now_ms)
        return NULL;
    edge->counters.route_hits++;
    return route;
}

// Behind everyone with a lower number: the order in which they were sent.
static void
queue(struct route *route, struct waiter *waiter)
{
    struct waiter *before = route->last_waiter;
    while (before != NULL && before->number > waiter->number)
        before = before->prev;
    waiter->route = route;
    waiter->prev = before;
    waiter->next = before != NULL ? before->next : route->waiters;
    *(before != NULL ? &before->next : &route->waiters) = waiter;
    *(waiter->next != NULL ? &waiter->next->prev : &route->last_waiter) = waiter;
}

void
routes_wait(struct edge *edge, const char *user, size_t len, struct waiter *waiter)
{
    struct route *route = take(edge, user, len);
    queue(route, waiter);
    if (route->is_reading)
        return;
    struct routes *routes = &edge->routes;
    route->is_reading = true;
    unlist(routes, route);
    *(routes->next_to_read != NULL ? &routes->last_to_read->newer : &routes->next_to_read) = route;
    routes->last_to_read = route;
    read_next(edge);
}

void
routes_cancel(struct waiter *waiter)
{
    struct route *route = waiter->route;
    if (route == NULL)
        return;
    *(waiter->prev != NULL ? &waiter->prev->next : &route->waiters) = waiter->next;
    *(waiter->next != NULL ? &waiter->next->prev : &route->last_waiter) = waiter->prev;
    *waiter = (struct waiter){.number = waiter->number};
}

void
routes_forget(struct edge *edge, const char *user, size_t len)
{
    struct route *route = find(edge, user, len);
    if (route == NULL)
        return;
    if (route->is_reading)
        route->has_changed = true;
    route->expires_ms = 0;
}

void
routes_forget_all(struct edge *edge)
{
    edge->routes.epoch++;
}

void
routes_peer_lives(struct edge *edge, struct peer *peer)
{
    if (!peer->is_left_out)
        return;
    peer->is_left_out = false;
    routes_forget_all(edge);
}

void
routes_fini(struct edge *edge)
{
    while (edge->routes.oldest != NULL)
        route_free(edge->routes.oldest);
    assert(HASH_COUNT(edge->routes.table) == 0); // the store has answered every read
}
