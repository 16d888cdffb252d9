// check.c: what must hold, always and after calm.
//
// Always: a send has at most one outcome, and one within five seconds as long as its
// client stays and its edge is not paused; a connection gets a message once.
// After calm: the directory's rows are exactly the live connections; of each device there
// is one; no send is under way; every user who is connected is reached, whether the sender
// asked for the outcome or not.
#include <stdlib.h>
#include <string.h>

#include "tests/sim/world.h"

enum { OUTCOME_MS = 5000, NET_MS = 30 };

struct sent {
    const struct client *from;
    const struct process *edge;
    uint64_t id;
    uint64_t at_ms;
    bool is_over; // nothing more is expected
    bool has_outcome;
    bool was_sent;
};

struct got {
    uint64_t conn;
    char message_id[32];
};

struct sends {
    struct sent *sent;
    size_t count;
    size_t room;
    size_t first_open; // everything before is over
    struct got *got;
    size_t got_count;
    size_t got_room;
};

struct sends *
sends_new(void)
{
    struct sends *sends = calloc(1, sizeof(*sends));
    if (sends == NULL)
        abort();
    return sends;
}

void
sends_free(struct sends *sends)
{
    free(sends->sent);
    free(sends->got);
    free(sends);
}

static const struct process *
edge_of(const struct client *client)
{
    const struct session *session = client_session(client);
    for (size_t i = 0; session != NULL && i < MAX_EDGES; i++)
        if (&client->world->processes[i].edge == session->edge)
            return &client->world->processes[i];
    return NULL;
}

void
check_sent(struct world *world, const struct client *from, uint64_t id)
{
    struct sends *sends = world->sends;
    if (sends->count == sends->room) {
        sends->room = sends->room == 0 ? 1024 : 2 * sends->room;
        sends->sent = realloc(sends->sent, sends->room * sizeof(*sends->sent));
        if (sends->sent == NULL)
            abort();
    }
    sends->sent[sends->count++] =
        (struct sent){.from = from, .edge = edge_of(from), .id = id, .at_ms = world->now_ms};
}

static struct sent *
find(struct sends *sends, const struct client *from, uint64_t id)
{
    for (size_t i = sends->count; i-- > 0;)
        if (sends->sent[i].from == from && sends->sent[i].id == id)
            return &sends->sent[i];
    return NULL;
}

void
check_outcome(struct world *world, const struct client *from, uint64_t id, bool is_sent)
{
    struct sent *sent = find(world->sends, from, id);
    if (sent == NULL) {
        world_fail(world, "an outcome for send %llu, which nobody sent", (unsigned long long)id);
        return;
    }
    if (sent->has_outcome)
        world_fail(world, "a second outcome for send %llu", (unsigned long long)id);
    sent->is_over = true;
    sent->has_outcome = true;
    sent->was_sent = is_sent;
}

void
check_sender_gone(struct world *world, const struct client *from)
{
    for (size_t i = world->sends->first_open; i < world->sends->count; i++)
        if (world->sends->sent[i].from == from)
            world->sends->sent[i].is_over = true;
}

void
check_message(struct world *world, uint64_t conn, const char *message_id)
{
    struct sends *sends = world->sends;
    for (size_t i = sends->got_count; i-- > 0;) {
        const struct got *got = &sends->got[i];
        if (got->conn == conn && strcmp(got->message_id, message_id) == 0)
            world_fail(world, "message %s came twice to connection %llu", message_id,
                       (unsigned long long)conn);
    }
    if (sends->got_count == sends->got_room) {
        sends->got_room = sends->got_room == 0 ? 1024 : 2 * sends->got_room;
        sends->got = realloc(sends->got, sends->got_room * sizeof(*sends->got));
        if (sends->got == NULL)
            abort();
    }
    struct got *got = &sends->got[sends->got_count++];
    got->conn = conn;
    snprintf(got->message_id, sizeof(got->message_id), "%s", message_id);
}

void
check_late(struct world *world)
{
    struct sends *sends = world->sends;
    while (sends->first_open < sends->count && sends->sent[sends->first_open].is_over)
        sends->first_open++;
    for (size_t i = sends->first_open; i < sends->count; i++) {
        struct sent *sent = &sends->sent[i];
        if (sent->edge == NULL || sent->edge->paused_ms + OUTCOME_MS >= sent->at_ms)
            sent->is_over = true; // a paused edge answers when it goes on; not counted
        if (!sent->is_over && world->now_ms - sent->at_ms > OUTCOME_MS + NET_MS)
            world_fail(world, "send %llu has no outcome after %llu ms",
                       (unsigned long long)sent->id,
                       (unsigned long long)(world->now_ms - sent->at_ms));
    }
}

static void
check_client(struct world *world, const struct client *client)
{
    char user[16];
    char device[16];
    client_user(client, user);
    client_device(client, device);
    const struct link *row = redis_row(world->redis, user, device);
    const struct session *session = client_session(client);
    unsigned live = conns_of(world, client->user, client->device);
    if (live > 1)
        world_fail(world, "%s/%s has %u live connections", user, device, live);
    if (client_is_live(client)) {
        if (row == NULL)
            world_fail(world, "%s/%s is connected but not in the directory", user, device);
        else if (strcmp(row->node, session->edge->node) != 0 ||
                 row->connection != session->connection)
            world_fail(world, "%s/%s: the directory points elsewhere", user, device);
    } else if (client->wants && !client->is_replaced) {
        world_fail(world, "%s/%s wants to be connected and is not", user, device);
    } else if (row != NULL) {
        world_fail(world, "%s/%s is gone but in the directory", user, device);
    }
}

void
check_calm(struct world *world)
{
    char which[128];
    if (redis_names_dead_node(world->redis, which, sizeof(which)))
        world_fail(world, "the directory has a link on a dead node: %s", which);
    for (size_t i = 0; i < MAX_CLIENTS; i++)
        check_client(world, &world->clients[i]);
    for (size_t i = 0; i < MAX_EDGES; i++)
        if (world->processes[i].edge.router.pending != 0)
            world_fail(world, "%s has sends that do not end", world->processes[i].id);
}

// Everybody to everybody who is connected; how many messages must arrive.
static size_t
everybody_sends(struct world *world, void (*say)(struct client *client, unsigned to_user))
{
    size_t expected = 0;
    for (unsigned user = 0; user < MAX_USERS; user++) {
        size_t devices = 0;
        for (unsigned d = 0; d < MAX_DEVICES; d++)
            devices += client_is_live(&world->clients[user * MAX_DEVICES + d]);
        for (size_t i = 0; devices > 0 && i < MAX_CLIENTS; i++) {
            expected += client_is_live(&world->clients[i]) ? devices : 0;
            say(&world->clients[i], user);
        }
    }
    return expected;
}

void
check_reachable(struct world *world)
{
    size_t first = world->sends->count;
    size_t got = world->sends->got_count;
    size_t expected = everybody_sends(world, client_send);
    expected += everybody_sends(world, client_send_unasked);
    world_run(world, world->now_ms + OUTCOME_MS);
    if (world->sends->got_count - got != expected)
        world_fail(world, "%zu messages came after calm, not %zu", world->sends->got_count - got,
                   expected);
    for (size_t i = first; i < world->sends->count; i++)
        if (!world->sends->sent[i].was_sent)
            world_fail(world, "a connected user was not reached after calm");
}
