// check.c: what must hold of messages, and of everything after calm.
//
// Always: a send has at most one outcome, and one within five seconds as long as its
// client stays and its edge is not paused; a connection gets a message once, and not after
// its time; no edge gets it twice. Who is in the directory gets it, and who is nowhere is
// reported as offline, once memories had the time to age, and sooner where nothing was lost.
// After calm: the directory's rows are exactly the live connections; of each device there
// is one; no send is under way; every user who is connected is reached, whether the sender
// asked for the outcome or not.
#include <stdlib.h>
#include <string.h>

#include "tests/sim/world.h"

enum {
    OUTCOME_MS = 5000,
    NET_MS = 30,
    MOST_ENVELOPES = 8, // of one message
    WELL_MS = 2500,     // two heartbeats
    TOLD_MS = 1000,     // an Invalidate has arrived
    AGED_MS = 12500,    // what was remembered has aged: 10 s, and a lease believed for 1 s
    UNHEARD_MS = 21000, // a node's last heartbeat no longer makes it live
};

// A connection that must get the message.
struct must {
    struct conn *conn;
    uint64_t placed_ms; // of its row
    bool is_by_miss;    // only since every edge that is asked says so: see is_misled
};

struct message {
    struct client *from;
    struct process *edge;
    unsigned to_user;
    uint64_t at_ms;
    bool is_over; // nothing more is expected
    bool wants_outcome;
    bool has_outcome;
    bool was_sent;
    bool must_be_offline;
    struct must must[MAX_DEVICES];
    uint64_t got[4]; // connections
    unsigned got_count;
    char nodes[MOST_ENVELOPES][NODE_ID_SIZE];
    unsigned node_count;
};

struct messages {
    struct message *list; // by number, from 1
    size_t count;
    size_t room;
    size_t first_open; // everything before is over
    size_t got_count;
};

struct messages *
messages_new(void)
{
    struct messages *messages = calloc(1, sizeof(*messages));
    if (messages == NULL)
        abort();
    return messages;
}

void
messages_free(struct messages *messages)
{
    free(messages->list);
    free(messages);
}

static struct message *
find(const struct world *world, uint64_t number)
{
    const struct messages *messages = world->messages;
    return number >= 1 && number <= messages->count ? &messages->list[number - 1] : NULL;
}

// Who must get it.

static bool
is_row_of(const struct row *row, const struct conn *conn)
{
    return row != NULL && row->link.connection == conn->session.connection &&
           strcmp(row->link.node, conn->node) == 0;
}

static const struct row *
row_of(const struct conn *conn)
{
    char user[16];
    char device[16];
    client_user(conn->client, user);
    client_device(conn->client, device);
    const struct row *row = redis_row(conn->edge->world->redis, user, device);
    return is_row_of(row, conn) ? row : NULL;
}

// Nothing was lost between them since then, and nothing was wrong with either.
static bool
is_way_free(const struct process *a, const struct process *b, uint64_t since_ms)
{
    const struct world *world = a->world;
    return process_is_well_since(a, since_ms) && process_is_well_since(b, since_ms) &&
           world->lost_ms[process_index(a)][process_index(b)] <= since_ms &&
           world->lost_ms[process_index(b)][process_index(a)] <= since_ms;
}

// Whoever remembers the user without this row has been told of it.
static bool
is_announced(const struct conn *conn, const struct row *row)
{
    const struct world *world = conn->edge->world;
    uint64_t aged_ms = world->now_ms - AGED_MS;
    return row->placed_ms + TOLD_MS <= world->now_ms &&
           process_is_well_since(conn->edge, row->placed_ms - 1) &&
           world->uninvalidated_ms[conn->client->user] <= aged_ms &&
           redis_is_well_since(world->redis, aged_ms);
}

// No other device of the user was connected since then.
static bool
is_only_one(const struct conn *conn, uint64_t since_ms)
{
    for (const struct conn *other = conn->edge->world->conns; other != NULL; other = other->next)
        if (other != conn && other->client->user == conn->client->user &&
            (conn_is_open(other) || other->closed_ms >= since_ms))
            return false;
    return true;
}

// What the edge remembers is wrong, and it will be told so: everywhere it would send to
// lives, and says that the user is gone, or is dead, and NATS says so.
static bool
is_misled(const struct process *from, const struct conn *conn)
{
    char user[16];
    struct route *route;
    struct world *world = from->world;
    client_user(conn->client, user);
    HASH_FIND(hh, from->edge.routes.table, user, strlen(user), route);
    if (route == NULL || route->is_reading || !route->is_known || route->peer_count == 0)
        return false;
    for (uint32_t i = 0; i < route->peer_count; i++) {
        const struct process *peer = process_find(world, route->peers[i]->node);
        if (peer != NULL && (peer == conn->edge || peer->is_leaving ||
                             !is_way_free(from, peer, world->now_ms - WELL_MS)))
            return false;
    }
    return is_only_one(conn, world->now_ms);
}

static bool
must_reach(const struct process *from, const struct conn *conn, bool *is_by_miss)
{
    const struct world *world = from->world;
    uint64_t now_ms = world->now_ms;
    const struct row *row = row_of(conn);
    if (now_ms < AGED_MS || conn->is_closing || conn->live_ms == 0 || row == NULL ||
        !is_way_free(from, conn->edge, now_ms - WELL_MS) ||
        !redis_is_well_since(world->redis, now_ms - WELL_MS))
        return false;
    if (from == conn->edge)
        return conn->live_ms < now_ms;
    if (row->placed_ms + AGED_MS <= now_ms || is_announced(conn, row))
        return true;
    *is_by_miss = row->placed_ms + TOLD_MS <= now_ms && is_misled(from, conn);
    return *is_by_miss;
}

// Whoever was asked instead could say so.
static bool
could_hear_all(const struct process *edge, uint64_t since_ms)
{
    const struct world *world = edge->world;
    for (size_t i = 0; i < MAX_EDGES; i++)
        if (world->lost_ms[i][process_index(edge)] > since_ms ||
            world->lost_ms[process_index(edge)][i] > since_ms)
            return false;
    return true;
}

static bool
still_must(const struct message *message, const struct must *must)
{
    const struct world *world = message->from->world;
    const struct conn *conn = must->conn;
    uint64_t since_ms = message->at_ms - WELL_MS;
    if (conn == NULL || conn->client->conn != conn || !conn_is_open(conn) || conn->is_closing)
        return false;
    const struct row *row = row_of(conn);
    return row != NULL && row->placed_ms == must->placed_ms &&
           (!must->is_by_miss ||
            (is_only_one(conn, message->at_ms) && could_hear_all(message->edge, since_ms))) &&
           is_way_free(message->edge, conn->edge, since_ms) &&
           redis_is_well_since(world->redis, since_ms);
}

// Who is nowhere.

static bool
is_dead_for_long(struct world *world, const char *node)
{
    const struct process *process = process_find(world, node);
    uint64_t long_ago_ms = world->now_ms - UNHEARD_MS;
    if (redis_leaseless_ms(world->redis, node) < AGED_MS)
        return false;
    if (process != NULL)
        return process->paused_until_ms > world->now_ms && process->paused_from_ms <= long_ago_ms;
    for (size_t i = 0; i < MAX_EDGES; i++)
        if (world->processes[i].ended_ms > long_ago_ms)
            return false; // perhaps it was this one
    return true;
}

static bool
is_nowhere(const struct process *from, unsigned user)
{
    char id[16];
    const struct row *row;
    struct world *world = from->world;
    snprintf(id, sizeof(id), "u%u", user);
    if (world->now_ms < UNHEARD_MS || !process_is_well_since(from, world->now_ms - WELL_MS) ||
        from->redis_cut_until_ms + AGED_MS > world->now_ms ||
        from->paused_until_ms + UNHEARD_MS > world->now_ms || // heartbeats waited for it
        !redis_is_well_since(world->redis, world->now_ms - AGED_MS) ||
        redis_changed_ms(world->redis, user) + AGED_MS > world->now_ms ||
        users_find(&from->edge.users, id, strlen(id)) != NULL)
        return false;
    for (size_t i = 0; (row = redis_row_at(world->redis, i)) != NULL; i++)
        if (strcmp(row->user, id) == 0 && !is_dead_for_long(world, row->link.node))
            return false;
    return true;
}

// A message's life.

static struct message *
add(struct messages *messages)
{
    if (messages->count == messages->room) {
        messages->room = messages->room == 0 ? 1024 : 2 * messages->room;
        messages->list = realloc(messages->list, messages->room * sizeof(*messages->list));
        if (messages->list == NULL)
            abort();
    }
    return &messages->list[messages->count++];
}

uint64_t
check_sent(struct client *from, unsigned to_user, bool wants_outcome)
{
    struct world *world = from->world;
    struct message *message = add(world->messages);
    *message = (struct message){
        .from = from,
        .edge = from->conn->edge,
        .to_user = to_user,
        .at_ms = world->now_ms,
        .is_over = !wants_outcome,
        .wants_outcome = wants_outcome,
    };
    if (!wants_outcome)
        return world->messages->count;
    message->must_be_offline = is_nowhere(message->edge, to_user);
    for (unsigned d = 0; d < MAX_DEVICES; d++) {
        const struct client *to = &world->clients[to_user * MAX_DEVICES + d];
        struct must must = {.conn = to->conn};
        if (!client_is_live(to) || !must_reach(message->edge, to->conn, &must.is_by_miss))
            continue;
        must.placed_ms = row_of(to->conn)->placed_ms;
        message->must[d] = must;
    }
    world_trace(world, "u%u/d%u sends message %zu to u%u, by %s", from->user, from->device,
                world->messages->count, to_user, from->conn->node);
    return world->messages->count;
}

static bool
has_got(const struct message *message, uint64_t conn)
{
    for (unsigned i = 0; i < message->got_count; i++)
        if (message->got[i] == conn)
            return true;
    return false;
}

static void
check_reached(struct world *world, const struct message *message, uint64_t id, enum reason reason)
{
    for (unsigned d = 0; d < MAX_DEVICES; d++) {
        const struct must *must = &message->must[d];
        if (!still_must(message, must))
            continue;
        if (!has_got(message, must->conn->number))
            world_fail(world,
                       "u%u/d%u was in the directory for %llu ms and did not get message %llu (%s)",
                       message->to_user, d, (unsigned long long)(message->at_ms - must->placed_ms),
                       (unsigned long long)id, reason_name(reason));
        else if (!message->was_sent)
            world_fail(world, "message %llu came and was rejected (%s)", (unsigned long long)id,
                       reason_name(reason));
    }
    if (message->must_be_offline && is_nowhere(message->edge, message->to_user) &&
        reason != REASON_OFFLINE)
        world_fail(world, "message %llu to nobody ends as %s, not as offline",
                   (unsigned long long)id, reason_name(reason));
}

void
check_outcome(struct world *world, uint64_t id, bool is_sent, enum reason reason)
{
    struct message *message = find(world, id);
    if (message == NULL || !message->wants_outcome) {
        world_fail(world, "an outcome for send %llu, which nobody sent", (unsigned long long)id);
        return;
    }
    if (message->has_outcome)
        world_fail(world, "a second outcome for send %llu", (unsigned long long)id);
    message->is_over = true;
    message->has_outcome = true;
    message->was_sent = is_sent;
    world_trace(world, "message %llu: %s", (unsigned long long)id,
                is_sent ? "sent" : reason_name(reason));
    check_reached(world, message, id, reason);
}

void
check_sender_gone(struct world *world, const struct client *from)
{
    struct messages *messages = world->messages;
    for (size_t i = messages->first_open; i < messages->count; i++)
        if (messages->list[i].from == from)
            messages->list[i].is_over = true;
}

void
check_message(struct world *world, const struct conn *conn, uint64_t number)
{
    struct message *message = find(world, number);
    if (message == NULL) {
        world_fail(world, "message %llu came, which nobody sent", (unsigned long long)number);
        return;
    }
    if (has_got(message, conn->number))
        world_fail(world, "message %llu came twice to one connection", (unsigned long long)number);
    uint64_t age_ms = world->now_ms - message->at_ms;
    if (age_ms > SEND_TTL_DEFAULT_MS + NET_MS &&
        process_is_well_since(message->edge, message->at_ms))
        world_fail(world, "message %llu came %llu ms after it was sent", (unsigned long long)number,
                   (unsigned long long)age_ms);
    if (message->got_count < sizeof(message->got) / sizeof(message->got[0]))
        message->got[message->got_count++] = conn->number;
    world->messages->got_count++;
    world_trace(world, "message %llu comes to u%u/d%u", (unsigned long long)number,
                conn->client->user, conn->client->device);
}

void
check_envelope(struct world *world, uint64_t number, const char *node)
{
    struct message *message = find(world, number);
    if (message == NULL)
        return;
    for (unsigned i = 0; i < message->node_count; i++)
        if (strcmp(message->nodes[i], node) == 0)
            world_fail(world, "message %llu is sent to %s twice", (unsigned long long)number, node);
    if (message->node_count < MOST_ENVELOPES)
        snprintf(message->nodes[message->node_count++], NODE_ID_SIZE, "%s", node);
}

void
check_late(struct world *world)
{
    struct messages *messages = world->messages;
    while (messages->first_open < messages->count && messages->list[messages->first_open].is_over)
        messages->first_open++;
    for (size_t i = messages->first_open; i < messages->count; i++) {
        struct message *message = &messages->list[i];
        if (message->edge->paused_until_ms + OUTCOME_MS >= message->at_ms)
            message->is_over = true; // a paused edge answers when it goes on; not counted
        if (!message->is_over && world->now_ms - message->at_ms > OUTCOME_MS + NET_MS)
            world_fail(world, "send %zu has no outcome after %llu ms", i + 1,
                       (unsigned long long)(world->now_ms - message->at_ms));
    }
}

// After calm.

static bool
is_of_twin(const struct world *world, const struct row *row)
{
    const struct conn *conn = conn_find(world, row->link.node, row->link.connection);
    return conn != NULL && conn->is_twin && conn_is_open(conn);
}

static void
check_client(struct world *world, const struct client *client)
{
    char user[16];
    char device[16];
    client_user(client, user);
    client_device(client, device);
    const struct row *row = redis_row(world->redis, user, device);
    unsigned live = conns_of(world, client->user, client->device);
    if (live > 1)
        world_fail(world, "%s/%s has %u live connections", user, device, live);
    if (client_is_live(client)) {
        if (row == NULL)
            world_fail(world, "%s/%s is connected but not in the directory", user, device);
        else if (!is_row_of(row, client->conn))
            world_fail(world, "%s/%s: the directory points elsewhere", user, device);
    } else if (client->wants && !client->is_replaced) {
        world_fail(world, "%s/%s wants to be connected and is not", user, device);
    } else if (row != NULL && !is_of_twin(world, row)) {
        world_fail(world, "%s/%s is gone but in the directory", user, device);
    }
}

void
check_calm(struct world *world)
{
    const struct row *row;
    for (size_t i = 0; (row = redis_row_at(world->redis, i)) != NULL; i++) {
        if (process_find(world, row->link.node) == NULL)
            world_fail(world, "%s/%s has a row of %s, which is dead", row->user, row->link.device,
                       row->link.node);
        if (!redis_is_indexed(world->redis, row))
            world_fail(world, "%s/%s has a row that no index names", row->user, row->link.device);
    }
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
    const struct messages *messages = world->messages;
    size_t first = messages->count;
    size_t got = messages->got_count;
    size_t expected = everybody_sends(world, client_send);
    expected += everybody_sends(world, client_send_unasked);
    world_run(world, world->now_ms + OUTCOME_MS);
    if (messages->got_count - got != expected)
        world_fail(world, "%zu messages came after calm, not %zu", messages->got_count - got,
                   expected);
    for (size_t i = first; i < messages->count; i++)
        if (messages->list[i].wants_outcome && !messages->list[i].was_sent)
            world_fail(world, "a connected user was not reached after calm");
}
