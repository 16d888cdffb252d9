// server_rig.c: see server_rig.h.
#include "tests/unit/edge/server_rig.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "edge/frame.h"

// The edge above.

void
edge_handshake_policy(struct edge *edge, struct handshake_policy *policy)
{
    policy->origins = "*";
    policy->is_ready = edge->is_ready;
    policy->has_room = edge->has_room;
    policy->rooms = "";
    policy->retry_after_s = 7;
}

bool
edge_http(struct edge *edge, bool is_private, const char *method, const char *path,
          struct http_reply *reply)
{
    (void)edge;
    bool is_health = strcmp(path, "/healthz") == 0;
    bool is_ready = is_private && strcmp(path, "/readyz") == 0;
    if ((!is_health && !is_ready) || (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0))
        return false;
    reply->status = 200;
    reply->content_type = "text/plain";
    reply->len = (size_t)snprintf(reply->body, sizeof reply->body, is_ready ? "ready\n" : "ok\n");
    return true;
}

uint64_t
edge_now_ms(struct edge *edge)
{
    return uv_now(&edge->loop);
}

void
session_open(struct session *session, struct edge *edge, struct conn *conn, const char *token,
             uint64_t now_ms)
{
    session->edge = edge;
    session->conn = conn;
    session->heard_ms = now_ms;
    edge->opened++;
    edge->last = conn;
    snprintf(edge->token, sizeof edge->token, "%s", token != NULL ? token : "");
}

void
session_receive(struct session *session, const void *bytes, size_t len, uint64_t now_ms)
{
    struct edge *edge = session->edge;
    session->heard_ms = now_ms;
    edge->received++;
    if (edge->mode == RIG_RECORD) {
        assert_true(len <= sizeof edge->message);
        memcpy(edge->message, bytes, len);
        edge->message_len = len;
        return;
    }
    struct frame *frame = frame_new(conn_format(session->conn), bytes, len);
    (void)!conn_push(session->conn, frame);
    frame_release(frame);
    if (edge->mode == RIG_CLOSE)
        conn_close(session->conn, edge->close_with);
}

void
session_alive(struct session *session, uint64_t now_ms)
{
    session->heard_ms = now_ms;
    session->edge->alive++;
}

void
session_closed(struct session *session, enum close_code code, uint64_t now_ms)
{
    (void)now_ms;
    struct edge *edge = session->edge;
    edge->closed++;
    edge->last_code = code;
    if (edge->last == session->conn)
        edge->last = NULL;
    session->edge = NULL; // a second call would not survive this
}

// The rig.

static void
on_tick(uv_timer_t *timer)
{
    (void)timer;
}

void
rig_start(struct edge *rig)
{
    memset(rig, 0, sizeof *rig);
    assert_int_equal(uv_loop_init(&rig->loop), 0);
    uv_timer_init(&rig->loop, &rig->tick);
    uv_timer_start(&rig->tick, on_tick, 1, 1);
    rig->is_ready = rig->has_room = true;
    rig->opts = (struct server_opts){.host = "127.0.0.1",
                                     .private_host = "127.0.0.1",
                                     .tls_cert_file = "",
                                     .tls_key_file = "",
                                     .document_root = "",
                                     .index_file = "index.html",
                                     .max_connections = 10000,
                                     .max_per_address = 10000,
                                     .max_half_open = 1000,
                                     .max_frame_bytes = 65536,
                                     .max_fragments = 64,
                                     .max_queue_bytes = 1 << 20,
                                     .origins = "*"};
}

void
rig_open(struct edge *rig)
{
    char why[200] = "";
    int error = server_open(&rig->loop, &rig->opts, rig, &rig->server, why);
    assert_string_equal(why, "");
    assert_int_equal(error, 0);
}

static void
on_server_closed(void *arg)
{
    struct edge *rig = arg;
    rig->is_closed = true;
}

void
rig_stop(struct edge *rig)
{
    if (rig->server != NULL) {
        struct server *server = rig->server;
        server_close(server, on_server_closed, rig);
        rig->server = NULL; // not to be flushed by us any more
        rig_until(rig, rig->is_closed);
    }
    uv_close((uv_handle_t *)&rig->tick, NULL);
    for (int i = 0; i < 10 && uv_loop_alive(&rig->loop); i++)
        uv_run(&rig->loop, UV_RUN_NOWAIT);
    assert_int_equal(uv_loop_close(&rig->loop), 0);
    assert_int_equal(rig->opened, rig->closed);
    assert_int_equal(frame_pool_live(), 0);
    frame_pool_drain();
    assert_int_equal(frame_pool_kept(), 0);
}

void
rig_turn(struct edge *rig)
{
    uv_run(&rig->loop, UV_RUN_ONCE);
    if (rig->server != NULL)
        server_flush(rig->server);
}

void
rig_turns(struct edge *rig, int turns)
{
    while (turns-- > 0)
        rig_turn(rig);
}

uint64_t
rig_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

struct server_stats
rig_stats(const struct edge *rig)
{
    struct server_stats stats;
    server_stats(rig->server, &stats);
    return stats;
}

unsigned
rig_open_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    unsigned count = 0;
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

// Bytes.

static void
connect_to(struct client *client, struct edge *rig, unsigned port)
{
    memset(client, 0, sizeof *client);
    client->rig = rig;
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(client->fd >= 0);
    if (rig->has_narrow_clients) {
        // The segment must be much smaller than the buffer, or TCP waits before it says
        // that there is room again.
        int size = 16384, segment = 1000;
        setsockopt(client->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
        setsockopt(client->fd, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof segment);
    }
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(client->fd, (struct sockaddr *)&at, sizeof at), 0);
    int on = 1;
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    assert_int_equal(fcntl(client->fd, F_SETFL, O_NONBLOCK), 0);
}

void
client_open(struct client *client, struct edge *rig)
{
    connect_to(client, rig, server_port(rig->server));
}

void
client_open_private(struct client *client, struct edge *rig)
{
    connect_to(client, rig, server_private_port(rig->server));
}

void
client_start_tls(struct client *client, SSL_CTX *ctx)
{
    client->ssl = SSL_new(ctx);
    assert_non_null(client->ssl);
    SSL_set_fd(client->ssl, client->fd);
    uint64_t deadline = rig_ms() + RIG_PATIENCE_MS;
    int result;
    while ((result = SSL_connect(client->ssl)) != 1) {
        int error = SSL_get_error(client->ssl, result);
        assert_true(error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE);
        assert_true(rig_ms() < deadline);
        rig_turn(client->rig);
    }
}

void
client_close(struct client *client)
{
    SSL_free(client->ssl);
    if (client->fd >= 0)
        close(client->fd);
    free(client->bytes);
    memset(client, 0, sizeof *client);
    client->fd = -1;
}

void
client_reset(struct client *client)
{
    struct linger hard = {.l_onoff = 1, .l_linger = 0};
    setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    client_close(client);
}

static ssize_t
send_some(struct client *client, const uint8_t *bytes, size_t len)
{
    if (client->ssl == NULL)
        return send(client->fd, bytes, len, MSG_NOSIGNAL);
    int sent = SSL_write(client->ssl, bytes, (int)len);
    return sent > 0 ? sent : -1;
}

void
client_send(struct client *client, const void *bytes, size_t len)
{
    const uint8_t *at = bytes;
    uint64_t deadline = rig_ms() + RIG_PATIENCE_MS;
    while (len > 0) {
        ssize_t sent = send_some(client, at, len);
        if (sent > 0) {
            at += sent;
            len -= (size_t)sent;
            continue;
        }
        if (client->ssl == NULL && errno != EAGAIN)
            return; // the server has closed: what it said before is read elsewhere
        assert_true(rig_ms() < deadline);
        rig_turn(client->rig);
    }
}

void
client_send_text(struct client *client, const char *text)
{
    client_send(client, text, strlen(text));
}

static ssize_t
read_some(struct client *client, uint8_t *into, size_t room)
{
    if (client->ssl == NULL)
        return recv(client->fd, into, room, 0);
    int got = SSL_read(client->ssl, into, (int)room);
    if (got > 0)
        return got;
    int error = SSL_get_error(client->ssl, got);
    errno = EAGAIN;
    return error == SSL_ERROR_WANT_READ ? -1 : 0;
}

void
client_fill(struct client *client)
{
    for (;;) {
        if (client->cap - client->len < 65536) {
            client->cap = 2 * client->cap + 131072;
            client->bytes = realloc(client->bytes, client->cap);
            assert_non_null(client->bytes);
        }
        ssize_t got = read_some(client, client->bytes + client->len, client->cap - client->len);
        if (got > 0) {
            client->len += (size_t)got;
            continue;
        }
        if (got == 0 || errno != EAGAIN)
            client->is_at_end = true;
        if (got < 0 && errno == ECONNRESET)
            client->is_reset = true;
        return;
    }
}

void
client_need(struct client *client, size_t len)
{
    client_fill(client);
    uint64_t deadline = rig_ms() + RIG_PATIENCE_MS;
    while (client->len < len) {
        assert_false(client->is_at_end);
        assert_true(rig_ms() < deadline);
        rig_turn(client->rig);
        client_fill(client);
    }
}

void
client_take(struct client *client, size_t len)
{
    assert_true(len <= client->len);
    memmove(client->bytes, client->bytes + len, client->len - len);
    client->len -= len;
}

void
client_until_end(struct client *client)
{
    uint64_t deadline = rig_ms() + RIG_PATIENCE_MS;
    for (client_fill(client); !client->is_at_end; client_fill(client)) {
        assert_true(rig_ms() < deadline);
        rig_turn(client->rig);
    }
}

// HTTP.

const char *
reply_header(const struct reply *reply, const char *name)
{
    static char value[512];
    size_t len = strlen(name);
    for (const char *line = strstr(reply->head, "\r\n"); line != NULL;
         line = strstr(line, "\r\n")) {
        line += 2;
        if (strncasecmp(line, name, len) != 0 || line[len] != ':')
            continue;
        line += len + 1;
        line += strspn(line, " ");
        snprintf(value, sizeof value, "%.*s", (int)strcspn(line, "\r"), line);
        return value;
    }
    return "";
}

void
client_read_reply(struct client *client, struct reply *reply, bool is_head)
{
    uint8_t *end;
    client_fill(client);
    while ((end = memmem(client->bytes, client->len, "\r\n\r\n", 4)) == NULL)
        client_need(client, client->len + 1);
    size_t head_len = (size_t)(end - client->bytes) + 4;
    assert_true(head_len < sizeof reply->head);
    memcpy(reply->head, client->bytes, head_len);
    reply->head[head_len] = '\0';
    assert_int_equal(sscanf(reply->head, "HTTP/1.%*d %u", &reply->status), 1);
    client_take(client, head_len);
    reply->body_len = is_head ? 0 : (size_t)atol(reply_header(reply, "Content-Length"));
    client_need(client, reply->body_len);
    reply->body = client->bytes;
}

void
client_ask(struct client *client, struct reply *reply, const char *request)
{
    client_send_text(client, request);
    client_read_reply(client, reply, strncmp(request, "HEAD", 4) == 0);
}

void
client_upgrade(struct client *client, struct edge *rig, const char *request)
{
    struct reply reply;
    client_open(client, rig);
    client_ask(client, &reply, request);
    assert_int_equal(reply.status, 101);
    assert_string_equal(reply_header(&reply, "Sec-WebSocket-Accept"),
                        "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="); // RFC 6455, 1.3
}

// WebSocket.

static size_t
frame_head(uint8_t head[static 14], unsigned opcode, bool is_final, uint64_t len)
{
    size_t at = 0;
    head[at++] = (uint8_t)(opcode | (is_final ? 0x80 : 0));
    unsigned length_bytes = len < 126 ? 0 : len < 65536 ? 2 : 8;
    head[at++] = (uint8_t)(0x80 | (length_bytes == 0 ? len : length_bytes == 2 ? 126 : 127));
    for (unsigned i = length_bytes; i-- > 0;)
        head[at++] = (uint8_t)(len >> (8 * i));
    memset(head + at, 0, 4);
    return at;
}

void
client_send_frame_head(struct client *client, unsigned opcode, bool is_final, uint64_t len)
{
    uint8_t head[14];
    size_t at = frame_head(head, opcode, is_final, len);
    client_send(client, head, at + 4);
}

void
client_send_frame(struct client *client, unsigned opcode, bool is_final, const void *payload,
                  size_t len)
{
    static const uint8_t mask[4] = {0x12, 0x00, 0xfe, 0x77};
    uint8_t *bytes = malloc(14 + len);
    assert_non_null(bytes);
    size_t at = frame_head(bytes, opcode, is_final, len);
    memcpy(bytes + at, mask, 4);
    at += 4;
    for (size_t i = 0; i < len; i++)
        bytes[at + i] = ((const uint8_t *)payload)[i] ^ mask[i % 4];
    client_send(client, bytes, at + len);
    free(bytes);
}

bool
client_has_frame(struct client *client, struct ws_frame *frame)
{
    client_fill(client);
    if (client->len < 2)
        return false;
    const uint8_t *bytes = client->bytes;
    assert_int_equal(bytes[0] & 0x70, 0); // no extension was agreed on
    assert_int_equal(bytes[1] & 0x80, 0); // servers do not mask
    size_t head = 2, len = bytes[1];
    if (len >= 126) {
        size_t length_bytes = len == 126 ? 2 : 8;
        head += length_bytes;
        if (client->len < head)
            return false;
        len = 0;
        for (size_t i = 0; i < length_bytes; i++)
            len = len << 8 | bytes[2 + i];
    }
    assert_true(len < 1 << 24);
    if (client->len < head + len)
        return false;
    *frame = (struct ws_frame){.opcode = bytes[0] & 15u,
                               .is_final = (bytes[0] & 0x80) != 0,
                               .payload = bytes + head,
                               .len = len,
                               .total = head + len};
    return true;
}

void
client_read_frame(struct client *client, struct ws_frame *frame)
{
    uint64_t deadline = rig_ms() + RIG_PATIENCE_MS;
    while (!client_has_frame(client, frame)) {
        assert_false(client->is_at_end);
        assert_true(rig_ms() < deadline);
        rig_turn(client->rig);
    }
}

void
client_expect(struct client *client, unsigned opcode, const void *payload, size_t len)
{
    struct ws_frame frame;
    client_read_frame(client, &frame);
    assert_int_equal(frame.opcode, opcode);
    assert_true(frame.is_final);
    assert_int_equal(frame.len, len);
    if (len > 0)
        assert_memory_equal(frame.payload, payload, len);
    client_take(client, frame.total);
}

unsigned
client_read_close(struct client *client)
{
    struct ws_frame frame;
    for (;;) {
        client_read_frame(client, &frame);
        if (frame.opcode == 8)
            break;
        client_take(client, frame.total);
    }
    assert_true(frame.len >= 2);
    unsigned code = (unsigned)frame.payload[0] << 8 | frame.payload[1];
    client_take(client, frame.total);
    return code;
}

void
client_send_close(struct client *client, unsigned code)
{
    uint8_t payload[2] = {(uint8_t)(code >> 8), (uint8_t)code};
    client_send_frame(client, 8, true, payload, 2);
}

void
client_expect_close(struct client *client, unsigned code)
{
    assert_int_equal(client_read_close(client), code);
    client_send_close(client, code);
    client_until_end(client);
}
