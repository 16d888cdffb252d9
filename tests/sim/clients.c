// clients.c: conn.h with a client behind each socket.
//
// A client that moves without a word leaves a half-open socket: the edge writes into it
// and hears nothing, until it gives up. Nothing here answers from inside a call.
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/world.h"

enum { NET_DELAY_MS = 5, RETRY_MS = 700, RESUMED_MS = 2000 };

void
client_user(const struct client *client, char out[static 16])
{
    snprintf(out, 16, "u%u", client->user);
}

void
client_device(const struct client *client, char out[static 16])
{
    snprintf(out, 16, "d%u", client->device);
}

static bool
is_attached(const struct conn *conn)
{
    return conn->client->conn == conn;
}

// From the edge to the client.

enum news_kind { NEWS_WELCOME, NEWS_MESSAGE, NEWS_OUTCOME, NEWS_CLOSED };

struct news {
    struct news *next;   // held
    uint64_t expires_ms; // wall clock; 0: never
    struct conn *conn;
    enum news_kind kind;
    uint64_t id;
    bool is_sent;
    enum reason reason;
    enum close_code code;
};

static void
on_told_to_close(struct conn *conn, enum close_code code)
{
    struct client *client = conn->client;
    struct world *world = client->world;
    world_trace(world, "u%u/d%u is closed: %s", client->user, client->device, close_name(code));
    client->conn = NULL;
    client->is_replaced = code == CLOSE_REPLACED;
    check_sender_gone(world, client);
    if (code == CLOSE_REPLACED && redis_newest(conn))
        world_fail(world, "u%u/d%u is closed as replaced, and is the newest login", client->user,
                   client->device);
}

static void
on_news(void *arg)
{
    struct news *news = arg;
    struct client *client = news->conn->client;
    struct world *world = client->world;
    if (!is_attached(news->conn))
        ;
    else if (news->kind == NEWS_MESSAGE)
        check_message(world, news->conn, news->id);
    else if (news->kind == NEWS_OUTCOME)
        check_outcome(world, news->id, news->is_sent, news->reason);
    else if (news->kind == NEWS_CLOSED)
        on_told_to_close(news->conn, news->code);
    free(news);
}

static struct news *
news_new(struct conn *conn, enum news_kind kind)
{
    struct news *news = calloc(1, sizeof(*news));
    if (news == NULL)
        abort();
    news->conn = conn;
    news->kind = kind;
    return news;
}

static void
on_pong(void *arg)
{
    struct conn *conn = arg;
    bool answers = is_attached(conn) || conn->is_twin ||
                   !world_keeps(conn->edge->world, RULE_SILENCE);
    if (answers && conn_is_open(conn))
        session_alive(&conn->session, conn->edge->edge.now_ms);
}

// Its edge stood still for longer than its lease, and its client has logged in elsewhere
// meanwhile: the edge, which reaches Redis, must have noticed before it goes on.
static bool
was_replaced_in_pause(const struct conn *conn)
{
    char user[16], device[16];
    const struct process *edge = conn->edge;
    const struct world *world = edge->world;
    client_user(conn->client, user);
    client_device(conn->client, device);
    const struct row *row = redis_row(world->redis, user, device);
    if (row == NULL || conn->order == 0 || edge->paused_until_ms + RESUMED_MS <= world->now_ms ||
        edge->paused_until_ms < edge->paused_from_ms + LEASE_MS ||
        !process_is_well_since(edge, edge->paused_until_ms) ||
        !redis_is_well_since(world->redis, edge->paused_until_ms))
        return false;
    const struct conn *newer = conn_find(world, row->link.node, row->link.connection);
    return newer != NULL && newer != conn && newer->order > conn->order &&
           row->placed_ms >= edge->paused_from_ms && row->placed_ms < edge->paused_until_ms;
}

// Leaves the edge. What is late must have been dropped before.
static void
write_news(struct news *news)
{
    struct world *world = news->conn->edge->world;
    if (news->kind == NEWS_MESSAGE && was_replaced_in_pause(news->conn))
        world_fail(world, "message %llu is written to a connection of before a pause",
                   (unsigned long long)news->id);
    if (news->expires_ms != 0 && news->expires_ms <= world_wall_ms(world))
        world_fail(world, "message %llu left after its time", (unsigned long long)news->id);
    world_plan(world, NULL, NET_DELAY_MS, on_news, news);
}

static void
drop_held(struct conn *conn)
{
    for (struct news *news; (news = conn->held) != NULL; free(news))
        conn->held = news->next;
}

static void
hold_news(struct news *news)
{
    struct news **at = &news->conn->held;
    while (*at != NULL)
        at = &(*at)->next;
    *at = news;
}

void
conns_release(struct process *edge)
{
    uint64_t wall_ms = world_wall_ms(edge->world);
    for (struct conn *conn = edge->world->conns; conn != NULL; conn = conn->next) {
        if (conn->edge != edge || conn->edge_life != edge->life)
            continue;
        for (struct news *news; (news = conn->held) != NULL;) {
            conn->held = news->next;
            news->next = NULL;
            if (news->expires_ms != 0 && news->expires_ms <= wall_ms)
                free(news);
            else
                write_news(news);
        }
    }
}

static void
tell_event(struct conn *conn, const Switchyard__V1__Event *event, uint64_t expires_ms)
{
    struct news *news = news_new(conn, NEWS_WELCOME);
    if (event->event_case == SWITCHYARD__V1__EVENT__EVENT_MESSAGE) {
        news->kind = NEWS_MESSAGE;
        news->id = strtoull(event->message->message_id + 1, NULL, 10);
    } else if (event->event_case == SWITCHYARD__V1__EVENT__EVENT_OUTCOME) {
        news->kind = NEWS_OUTCOME;
        news->id = event->id;
        news->is_sent = event->outcome->status ==
                        SWITCHYARD__V1__OUTCOME_STATUS__OUTCOME_STATUS_SENT;
        news->reason = (enum reason)event->outcome->reason;
    } else if (event->event_case == SWITCHYARD__V1__EVENT__EVENT_WELCOME) {
        conn->live_ms = conn->edge->world->now_ms;
    } else if (event->event_case == SWITCHYARD__V1__EVENT__EVENT_FAILURE && event->id != 0) {
        news->kind = NEWS_OUTCOME;
        news->id = event->id;
        news->reason = (enum reason)event->failure->reason;
    }
    news->expires_ms = expires_ms;
    if (edge_is_holding(&conn->edge->edge))
        hold_news(news);
    else
        write_news(news);
}

// The payload of an unmasked message of less than 64 KiB.
static const uint8_t *
payload_of(const struct frame *frame, size_t *len)
{
    const uint8_t *bytes = frame_bytes(frame);
    size_t head = bytes[1] == 126 ? 4 : 2;
    assert(bytes[1] != 127);
    *len = frame->len - head;
    return bytes + head;
}

int
conn_push(struct conn *conn, struct frame *frame)
{
    size_t len;
    struct codec_error error;
    struct arena arena;
    if (conn->is_closing || !conn->edge->is_running)
        return SY_EDOWN; // killed: nothing of it is heard any more
    const uint8_t *payload = payload_of(frame, &len);
    if ((frame_bytes(frame)[0] & 15) == 9) {
        world_plan(conn->edge->world, conn->edge, 2 * NET_DELAY_MS, on_pong, conn);
        return 0;
    }
    arena_init(&arena, 65536);
    const Switchyard__V1__ServerFrame *server =
        codec_read_server(CODEC_PROTOBUF, payload, len, &arena, &error);
    if (server == NULL)
        world_fail(conn->edge->world, "a server frame cannot be read: %s", error.text);
    else
        for (size_t i = 0; i < server->n_events; i++)
            tell_event(conn, server->events[i], frame->expires_ms);
    arena_fini(&arena);
    return 0;
}

static void
on_closed(void *arg)
{
    struct conn *conn = arg;
    if (!conn_is_open(conn))
        return;
    conn->is_open = false;
    conn->closed_ms = conn->edge->world->now_ms;
    session_closed(&conn->session, conn->code, conn->edge->edge.now_ms);
}

void
conn_close(struct conn *conn, enum close_code code)
{
    if (conn->is_closing)
        return;
    conn->is_closing = true;
    conn->code = code;
    if (edge_is_holding(&conn->edge->edge))
        drop_held(conn);
    conn->closed_ms = conn->edge->world->now_ms;
    struct news *news = news_new(conn, NEWS_CLOSED);
    news->code = code;
    world_plan(conn->edge->world, NULL, NET_DELAY_MS, on_news, news);
    world_plan(conn->edge->world, conn->edge, 2 * NET_DELAY_MS, on_closed, conn);
}

size_t
conn_backlog(const struct conn *conn)
{
    (void)conn;
    return 0;
}

enum codec_format
conn_format(const struct conn *conn)
{
    (void)conn;
    return CODEC_PROTOBUF;
}

const char *
conn_peer(const struct conn *conn)
{
    (void)conn;
    return "sim";
}

void
conns_lost(struct process *edge)
{
    for (struct conn *conn = edge->world->conns; conn != NULL; conn = conn->next) {
        if (conn->edge != edge || conn->edge_life + 1 != edge->life)
            continue;
        if (conn->is_open) {
            conn->is_open = false;
            conn->closed_ms = edge->world->now_ms;
            session_closed(&conn->session, CLOSE_LOST, edge->edge.now_ms);
        }
        conn->is_closing = true;
        if (is_attached(conn)) {
            conn->client->conn = NULL;
            // Some do not come back, and leave a row behind.
            if (!edge->world->is_calm && world_chance(edge->world, 200))
                conn->client->wants = false;
            check_sender_gone(edge->world, conn->client);
        }
    }
}

void
conns_free(struct world *world)
{
    for (struct conn *conn; (conn = world->conns) != NULL;) {
        world->conns = conn->next;
        drop_held(conn);
        free(conn);
    }
}

// From the client to the edge.

struct words {
    struct conn *conn;
    size_t len;
    uint8_t bytes[256];
};

static void
on_words(void *arg)
{
    struct words *words = arg;
    struct conn *conn = words->conn;
    if (conn_is_open(conn))
        session_receive(&conn->session, words->bytes, words->len, conn->edge->edge.now_ms);
    free(words);
}

static void
say(struct conn *conn, Switchyard__V1__Command *command)
{
    struct words *words = malloc(sizeof(*words));
    if (words == NULL)
        abort();
    Switchyard__V1__ClientFrame frame;
    switchyard__v1__client_frame__init(&frame);
    frame.n_commands = 1;
    frame.commands = &command;
    words->conn = conn;
    words->len = switchyard__v1__client_frame__pack(&frame, words->bytes);
    assert(words->len <= sizeof(words->bytes));
    world_plan(conn->edge->world, conn->edge, NET_DELAY_MS, on_words, words);
}

static void
say_hello(struct conn *conn)
{
    char user[16];
    char device[16];
    Switchyard__V1__Hello hello;
    switchyard__v1__hello__init(&hello);
    Switchyard__V1__Command command;
    switchyard__v1__command__init(&command);
    client_user(conn->client, user);
    client_device(conn->client, device);
    hello.user = user;
    hello.device = device;
    command.id = 1;
    command.command_case = SWITCHYARD__V1__COMMAND__COMMAND_HELLO;
    command.hello = &hello;
    say(conn, &command);
}

static void
send_as(struct client *client, unsigned to_user, bool wants_outcome)
{
    char to[16];
    char message_id[32];
    char *list[1] = {to};
    char text[] = "x";
    if (client->conn == NULL || client->conn->is_closing || !client_is_live(client))
        return;
    uint64_t number = check_sent(client, to_user, wants_outcome);
    snprintf(to, sizeof(to), "u%u", to_user);
    snprintf(message_id, sizeof(message_id), "m%llu", (unsigned long long)number);
    Switchyard__V1__Send send;
    switchyard__v1__send__init(&send);
    Switchyard__V1__Command command;
    switchyard__v1__command__init(&command);
    send.n_to = 1;
    send.to = list;
    send.payload_case = SWITCHYARD__V1__SEND__PAYLOAD_TEXT;
    send.text = text;
    send.message_id = message_id;
    command.id = wants_outcome ? number : 0;
    command.command_case = SWITCHYARD__V1__COMMAND__COMMAND_SEND;
    command.send = &send;
    say(client->conn, &command);
}

void
client_send(struct client *client, unsigned to_user)
{
    send_as(client, to_user, true);
}

void
client_send_unasked(struct client *client, unsigned to_user)
{
    send_as(client, to_user, false);
}

static void
on_open(void *arg)
{
    struct conn *conn = arg;
    const char *why;
    if (conn->edge->life != conn->edge_life)
        return; // killed meanwhile; conns_lost told the client
    if (!edge_is_ready(&conn->edge->edge, &why)) {
        conn->is_closing = true;
        if (is_attached(conn))
            conn->client->conn = NULL;
        return;
    }
    conn->is_open = true;
    session_open(&conn->session, &conn->edge->edge, conn, NULL, conn->edge->edge.now_ms);
    say_hello(conn);
}

static void
connect_to(struct client *client, struct process *edge)
{
    struct world *world = client->world;
    struct conn *conn = calloc(1, sizeof(*conn));
    if (conn == NULL)
        abort();
    conn->edge = edge;
    conn->edge_life = edge->life;
    memcpy(conn->node, edge->id, sizeof(conn->node));
    conn->client = client;
    conn->number = world->conns != NULL ? world->conns->number + 1 : 1;
    conn->next = world->conns;
    world->conns = conn;
    client->conn = conn;
    world_trace(world, "u%u/d%u connects to %s", client->user, client->device, edge->id);
    world_plan(world, edge, NET_DELAY_MS, on_open, conn);
}

void
client_gone(struct client *client, bool may_return)
{
    struct conn *conn = client->conn;
    client->wants = may_return;
    if (conn == NULL)
        return;
    world_trace(client->world, "u%u/d%u leaves %s", client->user, client->device, conn->node);
    client->conn = NULL;
    check_sender_gone(client->world, client);
    conn->is_closing = true;
    conn->code = CLOSE_NORMAL;
    world_plan(client->world, conn->edge, NET_DELAY_MS, on_closed, conn);
}

static void
on_retry(void *arg)
{
    struct client *client = arg;
    struct world *world = client->world;
    struct process *edge = world_running_edge(world);
    if (world->is_ending)
        return;
    if (client->wants && client->conn == NULL && !client->is_replaced && edge != NULL)
        connect_to(client, edge);
    world_plan(world, NULL, 1 + world_below(world, RETRY_MS), on_retry, client);
}

void
clients_start(struct world *world)
{
    for (size_t i = 0; i < MAX_CLIENTS; i++) {
        world->clients[i].wants = true;
        world_plan(world, NULL, world_below(world, RETRY_MS), on_retry, &world->clients[i]);
    }
}

void
client_moves(struct client *client)
{
    if (client->conn == NULL)
        return;
    world_trace(client->world, "u%u/d%u leaves %s without a word", client->user, client->device,
                client->conn->node);
    // A second program with the same login, perhaps: nothing ends it but a kick or a verify.
    client->conn->is_twin = world_chance(client->world, 300);
    client->conn = NULL;
    check_sender_gone(client->world, client);
}

void
clients_act(struct world *world)
{
    struct client *client = &world->clients[world_below(world, MAX_CLIENTS)];
    uint64_t dice = world_below(world, 100);
    if (world_chance(world, world->faults.moves))
        client_moves(client);
    else if (dice < 70)
        send_as(client, (unsigned)world_below(world, MAX_USERS), dice < 35);
    else if (dice < 76)
        client_gone(client, dice < 74);
    else if (dice < 79) {
        client->wants = true;
        client->is_replaced = false;
    }
}

bool
conn_is_open(const struct conn *conn)
{
    return conn->is_open && conn->edge->life == conn->edge_life;
}

struct conn *
conn_find(const struct world *world, const char *node, uint64_t connection)
{
    for (struct conn *conn = world->conns; conn != NULL; conn = conn->next)
        if (conn->session.connection == connection && strcmp(conn->node, node) == 0)
            return conn;
    return NULL;
}

const struct session *
client_session(const struct client *client)
{
    const struct conn *conn = client->conn;
    return conn != NULL && conn_is_open(conn) ? &conn->session : NULL;
}

bool
client_is_live(const struct client *client)
{
    const struct session *session = client_session(client);
    return session != NULL && session->state == SESSION_LIVE;
}

unsigned
conns_of(const struct world *world, unsigned user, unsigned device)
{
    unsigned count = 0;
    for (const struct conn *conn = world->conns; conn != NULL; conn = conn->next)
        count += conn_is_open(conn) && conn->session.state == SESSION_LIVE &&
                 conn->client->user == user && conn->client->device == device;
    return count;
}
