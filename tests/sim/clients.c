// clients.c: conn.h with a client behind each socket.
//
// A client that moves without a word leaves a half-open socket: the edge writes into it
// and hears nothing, until it gives up. Nothing here answers from inside a call.
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/world.h"

enum { NET_DELAY_MS = 5, RETRY_MS = 700 };

struct conn {
    struct conn *next;
    struct process *edge;
    uint64_t edge_life;
    struct client *client;
    uint64_t number;
    struct session session;
    bool is_open; // the session is
    bool is_closing;
    enum close_code code;
    struct news *held; // written when the edge holds its output no more; oldest first
};

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
    enum close_code code;
    char message_id[65];
};

static void
on_news(void *arg)
{
    struct news *news = arg;
    struct client *client = news->conn->client;
    struct world *world = client->world;
    if (is_attached(news->conn)) {
        if (news->kind == NEWS_MESSAGE)
            check_message(world, news->conn->number, news->message_id);
        else if (news->kind == NEWS_OUTCOME)
            check_outcome(world, client, news->id, news->is_sent);
        else if (news->kind == NEWS_CLOSED) {
            client->conn = NULL;
            client->is_replaced = news->code == CLOSE_REPLACED;
            check_sender_gone(world, client);
        }
    }
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
    if (conn->is_open && conn->edge->life == conn->edge_life && is_attached(conn))
        session_alive(&conn->session, conn->edge->edge.now_ms);
}

// Leaves the edge. What is late must have been dropped before.
static void
write_news(struct news *news)
{
    struct world *world = news->conn->edge->world;
    if (news->expires_ms != 0 && news->expires_ms <= world_wall_ms(world))
        world_fail(world, "message %s left after its time", news->message_id);
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
        snprintf(news->message_id, sizeof(news->message_id), "%s", event->message->message_id);
    } else if (event->event_case == SWITCHYARD__V1__EVENT__EVENT_OUTCOME) {
        news->kind = NEWS_OUTCOME;
        news->id = event->id;
        news->is_sent = event->outcome->status ==
                        SWITCHYARD__V1__OUTCOME_STATUS__OUTCOME_STATUS_SENT;
    } else if (event->event_case == SWITCHYARD__V1__EVENT__EVENT_FAILURE && event->id != 0) {
        news->kind = NEWS_OUTCOME;
        news->id = event->id;
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
    if (conn->is_closing)
        return SY_EDOWN;
    const uint8_t *payload = payload_of(frame, &len);
    if ((frame_bytes(frame)[0] & 15) == 9) {
        if (is_attached(conn))
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
    if (!conn->is_open || conn->edge->life != conn->edge_life)
        return;
    conn->is_open = false;
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
            session_closed(&conn->session, CLOSE_LOST, edge->edge.now_ms);
        }
        conn->is_closing = true;
        if (is_attached(conn)) {
            conn->client->conn = NULL;
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
    if (conn->is_open && conn->edge->life == conn->edge_life)
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
    uint64_t id = wants_outcome ? ++client->next_id + 1 : 0;
    snprintf(to, sizeof(to), "u%u", to_user);
    snprintf(message_id, sizeof(message_id), "m%llu",
             (unsigned long long)++client->world->messages_sent);
    Switchyard__V1__Send send;
    switchyard__v1__send__init(&send);
    Switchyard__V1__Command command;
    switchyard__v1__command__init(&command);
    send.n_to = 1;
    send.to = list;
    send.payload_case = SWITCHYARD__V1__SEND__PAYLOAD_TEXT;
    send.text = text;
    send.message_id = message_id;
    command.id = id;
    command.command_case = SWITCHYARD__V1__COMMAND__COMMAND_SEND;
    command.send = &send;
    if (wants_outcome)
        check_sent(client->world, client, id);
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
    conn->client = client;
    conn->number = world->conns != NULL ? world->conns->number + 1 : 1;
    conn->next = world->conns;
    world->conns = conn;
    client->conn = conn;
    world_plan(world, edge, NET_DELAY_MS, on_open, conn);
}

void
client_gone(struct client *client, bool may_return)
{
    struct conn *conn = client->conn;
    client->wants = may_return;
    if (conn == NULL)
        return;
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

// The old socket stays, half open; the client comes back elsewhere.
static void
move_silently(struct client *client)
{
    client->conn = NULL;
    check_sender_gone(client->world, client);
}

static void
fault(struct world *world)
{
    const struct faults *faults = &world->faults;
    struct process *process = &world->processes[world_below(world, MAX_PROCESSES)];
    uint64_t now_ms = world->now_ms;
    if (world_chance(world, faults->kills)) {
        if (process->is_running)
            process_kill(process);
        else
            process_start(process);
    }
    if (world_chance(world, faults->pauses) && process->is_running) {
        uint64_t until_ms = now_ms + world_below(world, 5 * LEASE_MS / 2);
        if (until_ms > process->paused_until_ms)
            process->paused_until_ms = until_ms;
        process->paused_ms = process->paused_until_ms;
    }
    if (world_chance(world, faults->cuts))
        process->redis_cut_until_ms = now_ms + world_below(world, 2 * LEASE_MS);
    if (world_chance(world, faults->cuts))
        process->nats_cut_until_ms = now_ms + world_below(world, 4 * LEASE_MS);
    if (world_chance(world, faults->flushes))
        redis_flush(world->redis);
}

void
clients_act(struct world *world)
{
    struct client *client = &world->clients[world_below(world, MAX_CLIENTS)];
    uint64_t dice = world_below(world, 100);
    fault(world);
    if (world_chance(world, world->faults.moves))
        move_silently(client);
    else if (dice < 70)
        send_as(client, (unsigned)world_below(world, MAX_USERS), dice < 35);
    else if (dice < 76)
        client_gone(client, dice < 74);
    else if (dice < 84) {
        client->wants = true;
        client->is_replaced = false;
    }
}

const struct session *
client_session(const struct client *client)
{
    const struct conn *conn = client->conn;
    return conn != NULL && conn->is_open && conn->edge->life == conn->edge_life ? &conn->session
                                                                                : NULL;
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
        count += conn->is_open && conn->edge->life == conn->edge_life &&
                 conn->session.state == SESSION_LIVE && conn->client->user == user &&
                 conn->client->device == device;
    return count;
}
