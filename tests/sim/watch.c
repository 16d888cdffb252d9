// watch.c: what must hold of the directory while things go wrong.
//
// A link is looked at as soon as nothing has been wrong with its edge and with Redis for
// SETTLE_MS: renewal of the lease (2 s, looked at once a second), one round of verifies and
// one of operations that failed. Then a connection has a row, and a row a connection.
// At once: nothing that lives is reaped. Within KICK_MS: who was replaced is closed.
#include <stdlib.h>
#include <string.h>

#include "tests/sim/world.h"

enum { LOOK_MS = 250, SETTLE_MS = 6000, KICK_MS = 2000, UP_MS = 3000 };

static bool
is_settled(const struct world *world, const struct process *edge)
{
    uint64_t since_ms = world->now_ms - SETTLE_MS;
    return process_is_well_since(edge, since_ms) && redis_is_well_since(world->redis, since_ms);
}

static void
look_at_client(struct world *world, const struct client *client)
{
    char user[16];
    char device[16];
    const struct conn *conn = client->conn;
    if (!client_is_live(client) || conn->is_closing || !is_settled(world, conn->edge) ||
        conn->live_ms + SETTLE_MS > world->now_ms)
        return;
    // When the row was taken by a login that its edge read late, or that Redis took for newer when
    // its clock had gone back, and that left, and the Kick was lost, the verify cycle repairs it.
    uint64_t cycle_ago_ms = world->now_ms - VERIFY_CYCLE_MS - SETTLE_MS;
    if (world->now_ms <= VERIFY_CYCLE_MS + SETTLE_MS)
        cycle_ago_ms = 0;
    if (conn->displaced_ms > cycle_ago_ms)
        return;
    client_user(client, user);
    client_device(client, device);
    if (redis_row(world->redis, user, device) == NULL)
        world_fail(world, "%s/%s is connected for %llu ms and not in the directory", user, device,
                   (unsigned long long)(world->now_ms - conn->live_ms));
}

static void
look_at_row(struct world *world, const struct row *row)
{
    const struct process *edge = process_find(world, row->link.node);
    if (edge == NULL || !is_settled(world, edge) || row->placed_ms + SETTLE_MS > world->now_ms)
        return;
    const struct conn *conn = conn_find(world, row->link.node, row->link.connection);
    if (conn == NULL || (conn->closed_ms != 0 && conn->closed_ms + SETTLE_MS <= world->now_ms))
        world_fail(world, "%s/%s has a row of a connection that is gone", row->user,
                   row->link.device);
    else if (!redis_is_indexed(world->redis, row))
        world_fail(world, "%s/%s has a row for %llu ms that no index names", row->user,
                   row->link.device, (unsigned long long)(world->now_ms - row->placed_ms));
}

static void
on_look(void *arg)
{
    struct world *world = arg;
    const struct row *row;
    if (world->is_ending)
        return;
    if (world->now_ms > SETTLE_MS) {
        for (size_t i = 0; i < MAX_CLIENTS; i++)
            look_at_client(world, &world->clients[i]);
        for (size_t i = 0; (row = redis_row_at(world->redis, i)) != NULL; i++)
            look_at_row(world, row);
    }
    world_plan(world, NULL, LOOK_MS, on_look, world);
}

void
watch_start(struct world *world)
{
    world_plan(world, NULL, LOOK_MS, on_look, world);
}

// Kicks.

struct due {
    struct process *from;
    struct conn *conn;
    uint64_t at_ms;
};

static void
on_kick_due(void *arg)
{
    struct due *due = arg;
    const struct conn *conn = due->conn;
    const struct process *to = conn->edge;
    struct world *world = to->world;
    bool is_told = process_is_well_since(due->from, due->at_ms) &&
                   process_is_well_since(to, due->at_ms) &&
                   redis_is_well_since(world->redis, due->at_ms) &&
                   world->lost_ms[process_index(due->from)][process_index(to)] < due->at_ms;
    if (!world->is_ending && is_told && conn_is_open(conn) && !conn->is_closing)
        world_fail(world, "u%u/d%u was replaced %u ms ago and is not closed", conn->client->user,
                   conn->client->device, KICK_MS);
    free(due);
}

void
watch_kick(struct process *from, const struct link *old)
{
    struct world *world = from->world;
    struct conn *conn = conn_find(world, old->node, old->connection);
    struct due *due;
    if (conn == NULL || !conn_is_open(conn) || conn->edge == from)
        return;
    if ((due = malloc(sizeof(*due))) == NULL)
        abort();
    *due = (struct due){.from = from, .conn = conn, .at_ms = world->now_ms};
    world_plan(world, NULL, KICK_MS, on_kick_due, due);
}

// Reaping.

// Runs, and will renew its lease within two seconds.
static bool
is_well(const struct process *edge)
{
    const struct world *world = edge->world;
    return edge->is_running && edge->started_ms + UP_MS <= world->now_ms &&
           edge->paused_until_ms <= world->now_ms && process_has_redis(edge) && !edge->is_leaving;
}

void
watch_reap(const struct process *sweeper, const struct row *row)
{
    struct world *world = sweeper->world;
    const struct process *edge = process_find(world, row->link.node);
    if (redis_leaseless_ms(world->redis, row->link.node) == 0) {
        world_fail(world, "a row of %s is reaped, which has its lease", row->link.node);
        return;
    }
    if (edge == NULL || !is_well(edge))
        return;
    uint64_t jumped_ms = redis_jumped_ms(world->redis, row->link.node);
    if (jumped_ms != 0 && world->now_ms < jumped_ms + MASS_DEATH_HOLD_MS &&
        process_is_well_since(edge, world->now_ms - UP_MS))
        world_fail(world, "a row of %s is reaped, whose lease a jump of Redis's clock ended",
                   row->link.node);
    unsigned died = 0;
    for (size_t i = 0; i < MAX_EDGES; i++)
        died += is_well(&world->processes[i]) &&
                redis_was_dead(world->redis, world->processes[i].id, sweeper) &&
                redis_leaseless_ms(world->redis, world->processes[i].id) > 0;
    if (redis_is_young(world->redis))
        world_fail(world, "a row of %s is reaped, just after Redis was started", row->link.node);
    else if (died >= MASS_DEATHS_MIN &&
             died * 100 > redis_node_count(world->redis) * MASS_DEATH_PERCENT)
        world_fail(world, "a row of %s is reaped, and %u edges that live lost their lease at once",
                   row->link.node, died);
}
