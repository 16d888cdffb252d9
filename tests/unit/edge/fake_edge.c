// fake_edge.c: an edge, its clock and its clients.
#include <stdlib.h>
#include <string.h>

#include "edge/frame.h"
#include "proto/subject.h"
#include "tests/unit/edge/fake.h"

#define NOW_MS 1000000
#define WALL_MS 1700000000000

static struct rig *
rig_start(bool is_alone)
{
    struct rig *rig = calloc(1, sizeof(*rig));
    if (rig == NULL)
        abort();
    struct edge *edge = &rig->edge;
    log_setup(LOG_ERROR, LOG_TEXT, NULL);
    strcpy(edge->node, NODE_A);
    strcpy(edge->url, "ws://127.0.0.1:8000/ws");
    edge->limits = (struct edge_limits){
        .frame_bytes = 64 * 1024,
        .pending_bytes = 1024 * 1024,
        .commands_per_second = 500,
        .hello_timeout_ms = 5000,
        .ping_ms = 25000,
        .route_ttl_ms = 10000,
        .max_routes = 1000,
        .max_connections = 1000,
        .max_devices = DEVICES_MAX_DEFAULT,
    };
    edge->now_ms = NOW_MS;
    edge->wall_ms = WALL_MS;
    edge->started_wall_ms = WALL_MS;
    edge->auth = &rig->auth;
    rng_seed(&edge->rng, 1);
    rig->store.is_up = true;
    rig->bus.is_up = true;
    rig->bus.max_payload = 1024 * 1024;
    if (!is_alone) {
        edge->store = &rig->store;
        edge->bus = &rig->bus;
    }
    edge_init(edge);
    return rig;
}

void
rig_hold_lease(struct rig *rig)
{
    if (!rig->edge.lease.is_beating)
        rig->edge.lease.beat_ms = rig->edge.now_ms;
}

struct rig *
rig_new(void)
{
    return rig_start(false);
}

struct rig *
rig_new_alone(void)
{
    return rig_start(true);
}

void
rig_free(struct rig *rig)
{
    for (struct conn *conn = rig->conns; conn != NULL; conn = conn->next)
        rig_hang_up(conn);
    rig->store.is_up = false;
    rig->bus.is_up = false;
    answer_all(&rig->store, SY_ELOST);
    edge_fini(&rig->edge);
    auth_fini(&rig->auth);
    for (struct conn *conn; (conn = rig->conns) != NULL;) {
        rig->conns = conn->next;
        conn_free(conn);
    }
    store_fini(&rig->store);
    bus_fini(&rig->bus);
    assert_int_equal(frame_pool_live(), 0);
    frame_pool_drain();
    free(rig);
}

int
rig_setup(void **state)
{
    *state = rig_new();
    return 0;
}

int
rig_setup_alone(void **state)
{
    *state = rig_new_alone();
    return 0;
}

int
rig_teardown(void **state)
{
    rig_free(*state);
    return 0;
}

void
rig_pass(struct rig *rig, uint64_t ms)
{
    rig->edge.now_ms += ms;
    rig->edge.wall_ms += ms;
    if (rig->edge.lease.beat_ms != 0 && rig->store.is_up)
        rig_hold_lease(rig);
    wheel_advance(&rig->edge.wheel, rig->edge.now_ms);
}

void
rig_turn_end(struct rig *rig)
{
    edge_turn_end(&rig->edge);
}

void
store_goes_down(struct rig *rig)
{
    rig->store.is_up = false;
    answer_all(&rig->store, SY_ELOST);
    edge_on_store_state(&rig->edge, false, "test");
}

void
store_comes_up(struct rig *rig)
{
    rig->store.is_up = true;
    edge_on_store_state(&rig->edge, true, "test");
}

// Clients.

struct conn *
rig_connect(struct rig *rig, enum codec_format format, const char *token)
{
    struct conn *conn = calloc(1, sizeof(*conn));
    if (conn == NULL)
        abort();
    conn->format = format;
    conn->is_open = true;
    conn->next = rig->conns;
    rig->conns = conn;
    rig_hold_lease(rig);
    session_open(&conn->session, &rig->edge, conn, token, rig->edge.now_ms);
    return conn;
}

struct conn *
rig_login_as(struct rig *rig, enum codec_format format, const char *user, const char *device)
{
    struct conn *conn = rig_connect(rig, format, NULL);
    say_hello(conn, 1, user, device);
    if (rig->edge.store != NULL && rig->store.is_up)
        answer_registered(call_for(&rig->store, CALL_REGISTER, user),
                          100 + conn->session.connection);
    expect_welcome(conn);
    expect_nothing(conn);
    return conn;
}

struct conn *
rig_login(struct rig *rig, const char *user, const char *device)
{
    return rig_login_as(rig, CODEC_PROTOBUF, user, device);
}

void
rig_hang_up(struct conn *conn)
{
    if (!conn->is_open)
        return;
    conn->is_closing = true; // as the socket layer has it: nothing can be queued any more
    session_closed(&conn->session, CLOSE_LOST, conn->session.edge->now_ms);
    conn->is_open = false;
}

void
say_bytes(struct conn *conn, const void *bytes, size_t len)
{
    session_receive(&conn->session, bytes, len, conn->session.edge->now_ms);
}

void
say_all(struct conn *conn, Switchyard__V1__Command **commands, size_t count)
{
    struct buf buf = {0};
    Switchyard__V1__ClientFrame frame;
    switchyard__v1__client_frame__init(&frame);
    frame.n_commands = count;
    frame.commands = commands;
    codec_write_client(conn->format, &frame, &buf);
    say_bytes(conn, buf.bytes, buf.len);
    buf_fini(&buf);
}

void
say(struct conn *conn, const Switchyard__V1__Command *command)
{
    Switchyard__V1__Command copy = *command;
    Switchyard__V1__Command *list[] = {&copy};
    say_all(conn, list, 1);
}

static void
say_as(struct conn *conn, uint64_t id, const char *user, const char *token, const char *device)
{
    Switchyard__V1__Hello hello;
    switchyard__v1__hello__init(&hello);
    Switchyard__V1__Command command;
    switchyard__v1__command__init(&command);
    hello.user = codec_borrowed(user);
    hello.token = codec_borrowed(token);
    hello.device = codec_borrowed(device);
    command.id = id;
    command.command_case = SWITCHYARD__V1__COMMAND__COMMAND_HELLO;
    command.hello = &hello;
    say(conn, &command);
}

void
say_hello(struct conn *conn, uint64_t id, const char *user, const char *device)
{
    say_as(conn, id, user, "", device);
}

void
say_hello_token(struct conn *conn, uint64_t id, const char *token, const char *device)
{
    say_as(conn, id, "", token, device);
}

void
say_ping(struct conn *conn, uint64_t id)
{
    Switchyard__V1__Ping ping;
    switchyard__v1__ping__init(&ping);
    Switchyard__V1__Command command;
    switchyard__v1__command__init(&command);
    command.id = id;
    command.command_case = SWITCHYARD__V1__COMMAND__COMMAND_PING;
    command.ping = &ping;
    say(conn, &command);
}

void
say_refresh(struct conn *conn, uint64_t id, const char *token)
{
    Switchyard__V1__Refresh refresh;
    switchyard__v1__refresh__init(&refresh);
    Switchyard__V1__Command command;
    switchyard__v1__command__init(&command);
    refresh.token = codec_borrowed(token);
    command.id = id;
    command.command_case = SWITCHYARD__V1__COMMAND__COMMAND_REFRESH;
    command.refresh = &refresh;
    say(conn, &command);
}

static void
say_send_as(struct conn *conn, uint64_t id, const char *const *to, size_t count, const char *device,
            const char *text)
{
    Switchyard__V1__Send send;
    switchyard__v1__send__init(&send);
    Switchyard__V1__Command command;
    switchyard__v1__command__init(&command);
    char **list = calloc(count + 1, sizeof(*list));
    if (list == NULL)
        abort();
    for (size_t i = 0; i < count; i++)
        list[i] = codec_borrowed(to[i]);
    send.n_to = count;
    send.to = list;
    send.to_device = codec_borrowed(device);
    send.payload_case = SWITCHYARD__V1__SEND__PAYLOAD_TEXT;
    send.text = codec_borrowed(text);
    command.id = id;
    command.command_case = SWITCHYARD__V1__COMMAND__COMMAND_SEND;
    command.send = &send;
    say(conn, &command);
    free(list);
}

void
say_send_many(struct conn *conn, uint64_t id, const char *const *to, size_t count, const char *text)
{
    say_send_as(conn, id, to, count, "", text);
}

void
say_send_device(struct conn *conn, uint64_t id, const char *to, const char *device,
                const char *text)
{
    say_send_as(conn, id, &to, 1, device, text);
}

void
say_send(struct conn *conn, uint64_t id, const char *to, const char *text)
{
    say_send_as(conn, id, &to, 1, "", text);
}

// Other edges.

void
rig_bus_item(struct rig *rig, const char *origin, const Switchyard__Bus__V1__BusItem *item)
{
    char subject[SUBJECT_SIZE];
    struct buf buf = {0};
    subject_node(rig->edge.node, subject);
    codec_bus_start(origin, &buf);
    codec_bus_append(item, &buf);
    edge_on_bus(&rig->edge, subject, buf.bytes, buf.len, false);
    buf_fini(&buf);
}

void
rig_heartbeat(struct rig *rig, const char *node)
{
    rig_heartbeat_of(rig, node, true);
}

void
rig_heartbeat_of(struct rig *rig, const char *node, bool has_directory)
{
    Switchyard__Bus__V1__Heartbeat beat;
    switchyard__bus__v1__heartbeat__init(&beat);
    char subject[SUBJECT_SIZE];
    uint8_t bytes[512];
    beat.node = codec_borrowed(node);
    beat.url = codec_borrowed("ws://other/ws");
    beat.state = SWITCHYARD__BUS__V1__NODE_STATE__NODE_STATE_UP;
    beat.max_connections = 10;
    beat.directory_ok = has_directory;
    subject_heartbeat(node, subject);
    size_t len = switchyard__bus__v1__heartbeat__pack(&beat, bytes);
    edge_on_bus(&rig->edge, subject, bytes, len, false);
}

static void
receive_receipt(struct rig *rig, const char *origin, Switchyard__Bus__V1__Receipt *receipt)
{
    Switchyard__Bus__V1__BusItem item;
    switchyard__bus__v1__bus_item__init(&item);
    item.item_case = SWITCHYARD__BUS__V1__BUS_ITEM__ITEM_RECEIPT;
    item.receipt = receipt;
    rig_bus_item(rig, origin, &item);
}

void
rig_receipt(struct rig *rig, const char *origin, uint64_t ref, uint32_t devices)
{
    Switchyard__Bus__V1__Receipt receipt;
    switchyard__bus__v1__receipt__init(&receipt);
    receipt.ref = ref;
    receipt.devices = devices;
    receive_receipt(rig, origin, &receipt);
}

void
rig_receipt_miss(struct rig *rig, const char *origin, uint64_t ref, uint32_t devices,
                 uint32_t index, enum reason reason)
{
    Switchyard__Bus__V1__Receipt receipt;
    switchyard__bus__v1__receipt__init(&receipt);
    Switchyard__Bus__V1__Miss miss;
    switchyard__bus__v1__miss__init(&miss);
    Switchyard__Bus__V1__Miss *misses[] = {&miss};
    miss.index = index;
    miss.reason = (uint32_t)reason;
    receipt.ref = ref;
    receipt.devices = devices;
    receipt.n_misses = 1;
    receipt.misses = misses;
    receive_receipt(rig, origin, &receipt);
}

void
rig_unheard(struct rig *rig, const char *node, uint32_t batch)
{
    char subject[SUBJECT_SIZE];
    subject_unheard(rig->edge.node, node, batch, subject);
    edge_on_bus(&rig->edge, subject, NULL, 0, true);
}

void
rig_invalidate(struct rig *rig, const char *user)
{
    Switchyard__Bus__V1__Invalidate invalidate;
    switchyard__bus__v1__invalidate__init(&invalidate);
    Switchyard__Bus__V1__BusItem item;
    switchyard__bus__v1__bus_item__init(&item);
    invalidate.user = codec_borrowed(user);
    item.item_case = SWITCHYARD__BUS__V1__BUS_ITEM__ITEM_INVALIDATE;
    item.invalidate = &invalidate;
    rig_bus_item(rig, NODE_B, &item);
}

void
rig_kick(struct rig *rig, const char *user, const char *device, uint64_t connection, uint64_t epoch)
{
    Switchyard__Bus__V1__Kick kick;
    switchyard__bus__v1__kick__init(&kick);
    Switchyard__Bus__V1__BusItem item;
    switchyard__bus__v1__bus_item__init(&item);
    kick.user = codec_borrowed(user);
    kick.device = codec_borrowed(device);
    kick.connection = connection;
    kick.epoch = epoch;
    item.item_case = SWITCHYARD__BUS__V1__BUS_ITEM__ITEM_KICK;
    item.kick = &kick;
    rig_bus_item(rig, NODE_B, &item);
}

void
rig_envelope(struct rig *rig, const char *origin, uint64_t ref, const char *user,
             const char *device, const char *text, uint64_t expires_at_ms)
{
    Switchyard__V1__Message message;
    switchyard__v1__message__init(&message);
    Switchyard__V1__Event event;
    switchyard__v1__event__init(&event);
    Switchyard__Bus__V1__Envelope envelope;
    switchyard__bus__v1__envelope__init(&envelope);
    Switchyard__Bus__V1__BusItem item;
    switchyard__bus__v1__bus_item__init(&item);
    uint8_t bytes[1024];
    char *to[] = {codec_borrowed(user)};
    message.from = codec_borrowed("afar");
    message.payload_case = SWITCHYARD__V1__MESSAGE__PAYLOAD_TEXT;
    message.text = codec_borrowed(text);
    event.event_case = SWITCHYARD__V1__EVENT__EVENT_MESSAGE;
    event.message = &message;
    assert_true(switchyard__v1__event__get_packed_size(&event) <= sizeof(bytes));
    envelope.event.data = bytes;
    envelope.event.len = switchyard__v1__event__pack(&event, bytes);
    envelope.ref = ref;
    envelope.n_to = 1;
    envelope.to = to;
    envelope.to_device = codec_borrowed(device);
    envelope.expires_at_ms = expires_at_ms;
    item.item_case = SWITCHYARD__BUS__V1__BUS_ITEM__ITEM_ENVELOPE;
    item.envelope = &envelope;
    rig_bus_item(rig, origin, &item);
}

const Switchyard__Bus__V1__Envelope *
rig_envelope_to(struct rig *rig, const char *node)
{
    const Switchyard__Bus__V1__BusFrame *frame = bus_only(&rig->bus, node);
    assert_int_equal(frame->n_items, 1);
    assert_int_equal(frame->items[0]->item_case, SWITCHYARD__BUS__V1__BUS_ITEM__ITEM_ENVELOPE);
    assert_string_equal(frame->origin, rig->edge.node);
    return frame->items[0]->envelope;
}
