// peers.c: the table of other edges and the rule for who lives.
#include "edge/peers.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/keys.h"

#define FORGET_MS (10 * 60 * 1000)
#define ROOMS_MAX 8

struct peer *
peers_find(struct peers *peers, const char *node)
{
    struct peer *peer = peers->recent;
    if (peer != NULL && strcmp(peer->node, node) == 0)
        return peer;
    HASH_FIND(hh, peers->table, node, strlen(node), peer);
    if (peer != NULL)
        peers->recent = peer;
    return peer;
}

struct peer *
peers_take(struct peers *peers, const char *node)
{
    struct peer *peer = peers_find(peers, node);
    if (peer != NULL)
        return peer;
    size_t len = strlen(node);
    assert(len < NODE_ID_SIZE);
    peer = calloc(1, sizeof(*peer));
    if (peer == NULL)
        abort();
    memcpy(peer->node, node, len + 1);
    peer->batch_number = 1;
    HASH_ADD_KEYPTR(hh, peers->table, peer->node, len, peer);
    return peer;
}

void
peers_hear(struct peers *peers, const Switchyard__Bus__V1__Heartbeat *beat, uint64_t now_ms)
{
    if (peers_find(peers, beat->node) == NULL && HASH_COUNT(peers->table) >= PEERS_HEARD_MAX)
        return;
    struct peer *peer = peers_take(peers, beat->node);
    peer->heard_ms = now_ms;
    peer->is_unheard = false;
    peer->is_draining = beat->state == SWITCHYARD__BUS__V1__NODE_STATE__NODE_STATE_DRAINING;
    peer->has_directory = beat->directory_ok;
    peer->connections = beat->connections;
    peer->max_connections = beat->max_connections;
    snprintf(peer->url, sizeof(peer->url), "%s", beat->url);
}

enum peer_state
peer_state(const struct peer *peer, uint64_t now_ms)
{
    if (!peer->is_unheard && peer->heard_ms != 0 && now_ms - peer->heard_ms < LEASE_MS)
        return PEER_LIVES;
    if (peer->lease_ms == 0 || now_ms - peer->lease_ms >= PEER_LEASE_BELIEF_MS)
        return PEER_UNKNOWN;
    if (!peer->lease_lives)
        return PEER_DEAD;
    return peer->is_unheard ? PEER_CUT_OFF : PEER_LIVES;
}

uint32_t
peer_room(const struct peer *peer, uint64_t now_ms)
{
    if (peer->is_draining || peer->url[0] == '\0' || peer_state(peer, now_ms) != PEER_LIVES ||
        peer->connections >= peer->max_connections)
        return 0;
    return peer->max_connections - peer->connections;
}

void
peers_rooms(const struct peers *peers, uint64_t now_ms, char *out, size_t size)
{
    const struct peer *best[ROOMS_MAX] = {NULL};
    size_t count = 0;
    for (const struct peer *peer = peers->table; peer != NULL; peer = peer->hh.next) {
        uint32_t room = peer_room(peer, now_ms);
        if (room == 0)
            continue;
        size_t at = count < ROOMS_MAX ? count++ : ROOMS_MAX - 1;
        if (best[at] != NULL && peer_room(best[at], now_ms) >= room)
            continue;
        for (; at > 0 && peer_room(best[at - 1], now_ms) < room; at--)
            best[at] = best[at - 1];
        best[at] = peer;
    }
    out[0] = '\0';
    size_t len = 0;
    for (size_t i = 0; i < count; i++) {
        size_t need = strlen(best[i]->url) + 1;
        if (len + need >= size)
            break;
        len += (size_t)snprintf(out + len, size - len, "%s%s", len > 0 ? " " : "", best[i]->url);
    }
}

static void
peer_free(struct peers *peers, struct peer *peer)
{
    HASH_DELETE(hh, peers->table, peer);
    if (peers->recent == peer)
        peers->recent = NULL;
    buf_fini(&peer->batch);
    free(peer);
}

void
peers_forget(struct peers *peers, uint64_t now_ms)
{
    struct peer *peer;
    struct peer *next;
    HASH_ITER (hh, peers->table, peer, next) {
        uint64_t last_ms = peer->heard_ms > peer->lease_ms ? peer->heard_ms : peer->lease_ms;
        if (now_ms - last_ms > FORGET_MS && peer->holds == 0 && !peer->is_dirty &&
            !peer->is_waiting)
            peer_free(peers, peer);
    }
}

void
peers_fini(struct peers *peers)
{
    struct peer *peer;
    struct peer *next;
    HASH_ITER (hh, peers->table, peer, next) {
        peer_free(peers, peer);
    }
}
