// ws_server.c: see ws_server.h.
#include "tests/unit/client/ws_server.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/codec.h"

#define MAX_FRAME (1 << 20)

struct peer {
    struct ws_server *server;
    int fd;
    SSL *ssl;
    uint8_t *in; // one message
    struct arena arena;
    bool is_over;
};

static bool
read_all(struct peer *peer, void *out, size_t len)
{
    uint8_t *at = out;
    while (len > 0) {
        struct pollfd wait = {.fd = peer->fd, .events = POLLIN};
        if (!(peer->ssl != NULL && SSL_pending(peer->ssl) > 0) && poll(&wait, 1, 50) == 0) {
            if (atomic_load(&peer->server->is_stopping))
                return false;
            continue;
        }
        ssize_t n = peer->ssl != NULL ? SSL_read(peer->ssl, at, (int)len) : read(peer->fd, at, len);
        if (n <= 0)
            return false;
        at += n;
        len -= (size_t)n;
    }
    return true;
}

static void
write_all(struct peer *peer, const void *bytes, size_t len)
{
    const uint8_t *at = bytes;
    while (len > 0) {
        ssize_t n = peer->ssl != NULL ? SSL_write(peer->ssl, at, (int)len)
                                      : send(peer->fd, at, len, MSG_NOSIGNAL);
        if (n <= 0)
            return;
        at += n;
        len -= (size_t)n;
    }
}

static void
write_frame(struct peer *peer, unsigned first_byte, const void *bytes, size_t len)
{
    uint8_t head[4] = {(uint8_t)first_byte, 126, (uint8_t)(len >> 8), (uint8_t)len};
    assert(len < 65536);
    if (len < 126)
        head[1] = (uint8_t)len;
    write_all(peer, head, len < 126 ? 2 : 4);
    write_all(peer, bytes, len);
}

static void
write_event(struct peer *peer, const Switchyard__V1__Event *event)
{
    struct buf out = {0};
    codec_write_event(CODEC_PROTOBUF, event, &out);
    write_frame(peer, 0x82, out.bytes, out.len);
    buf_fini(&out);
}

static void
write_close(struct peer *peer, unsigned code)
{
    uint8_t bytes[] = {(uint8_t)(code >> 8), (uint8_t)code, 'b', 'y', 'e'};
    write_frame(peer, 0x88, bytes, sizeof(bytes));
}

static bool
read_request(struct peer *peer, char *out, size_t size)
{
    size_t len = 0;
    while (len + 1 < size && (len < 4 || memcmp(out + len - 4, "\r\n\r\n", 4) != 0)) {
        if (!read_all(peer, out + len, 1))
            return false;
        len++;
    }
    out[len] = 0;
    return true;
}

static void
answer_upgrade(struct peer *peer, const char *request, bool names_subprotocol)
{
    const char *key = strstr(request, "Sec-WebSocket-Key: ");
    assert(key != NULL && strstr(request, "Sec-WebSocket-Protocol: switchyard.v1\r\n") != NULL);
    char text[128], accept[64], answer[512];
    uint8_t hash[SHA_DIGEST_LENGTH];
    snprintf(text, sizeof(text), "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key + 19);
    SHA1((const uint8_t *)text, strlen(text), hash);
    EVP_EncodeBlock((uint8_t *)accept, hash, sizeof(hash));
    int len = snprintf(answer, sizeof(answer),
                       "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                       "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n%s\r\n",
                       accept,
                       names_subprotocol ? "Sec-WebSocket-Protocol: switchyard.v1\r\n" : "");
    write_all(peer, answer, (size_t)len);
}

// The opcode of the next frame, its payload in peer->in; -1: the connection is over.
static int
read_frame(struct peer *peer, size_t *len)
{
    uint8_t head[2], extended[8], mask[4];
    if (!read_all(peer, head, 2))
        return -1;
    assert((head[1] & 0x80) != 0); // clients mask
    *len = head[1] & 0x7f;
    size_t more = *len == 126 ? 2 : *len == 127 ? 8 : 0;
    if (more > 0) {
        if (!read_all(peer, extended, more))
            return -1;
        *len = 0;
        for (size_t i = 0; i < more; i++)
            *len = *len << 8 | extended[i];
    }
    assert(*len <= MAX_FRAME);
    if (!read_all(peer, mask, 4) || !read_all(peer, peer->in, *len))
        return -1;
    for (size_t i = 0; i < *len; i++)
        peer->in[i] ^= mask[i % 4];
    return head[0] & 0x0f;
}

static char *
plain(const char *text)
{
    char *out;
    memcpy(&out, &text, sizeof(out));
    return out;
}

static void
welcome(struct peer *peer, uint64_t id, const Switchyard__V1__Hello *hello)
{
    int at = atomic_fetch_add(&peer->server->hellos, 1);
    if (at < 8)
        snprintf(peer->server->devices[at], sizeof(peer->server->devices[0]), "%s", hello->device);
    Switchyard__V1__Welcome body;
    switchyard__v1__welcome__init(&body);
    body.node = plain("edge-t.0123456789abcdef");
    body.user = hello->user;
    body.device = hello->device;
    body.ping_interval_ms = 1000;
    body.max_frame_bytes = MAX_FRAME;
    Switchyard__V1__Event event;
    switchyard__v1__event__init(&event);
    event.id = id;
    event.event_case = SWITCHYARD__V1__EVENT__EVENT_WELCOME;
    event.welcome = &body;
    write_event(peer, &event);
}

static void
echo(struct peer *peer, uint64_t id, const Switchyard__V1__Send *send)
{
    Switchyard__V1__Outcome outcome;
    switchyard__v1__outcome__init(&outcome);
    outcome.status = SWITCHYARD__V1__OUTCOME_STATUS__OUTCOME_STATUS_SENT;
    outcome.devices = 1;
    Switchyard__V1__Event event;
    switchyard__v1__event__init(&event);
    event.id = id;
    event.event_case = SWITCHYARD__V1__EVENT__EVENT_OUTCOME;
    event.outcome = &outcome;
    write_event(peer, &event);
    int len = (int)strlen(send->text);
    if (len > atomic_load(&peer->server->largest_send))
        atomic_store(&peer->server->largest_send, len);
    Switchyard__V1__Message message;
    switchyard__v1__message__init(&message);
    message.from = plain("alice");
    message.payload_case = SWITCHYARD__V1__MESSAGE__PAYLOAD_TEXT;
    message.text = len < 1000 ? send->text : plain("(long)");
    event.id = 0;
    event.event_case = SWITCHYARD__V1__EVENT__EVENT_MESSAGE;
    event.message = &message;
    write_event(peer, &event);
    atomic_fetch_add(&peer->server->sends, 1);
}

// One message in frames of 3,000 bytes and in writes that match neither.
static void
write_pieces(struct peer *peer)
{
    size_t len = peer->server->pieces_len;
    char *text = malloc(len + 1);
    assert(text != NULL);
    for (size_t i = 0; i < len; i++)
        text[i] = (char)('a' + i % 26);
    text[len] = 0;
    Switchyard__V1__Message message;
    switchyard__v1__message__init(&message);
    message.from = plain("bob");
    message.payload_case = SWITCHYARD__V1__MESSAGE__PAYLOAD_TEXT;
    message.text = text;
    Switchyard__V1__Event event;
    switchyard__v1__event__init(&event);
    event.event_case = SWITCHYARD__V1__EVENT__EVENT_MESSAGE;
    event.message = &message;
    struct buf out = {0};
    codec_write_event(CODEC_PROTOBUF, &event, &out);
    for (size_t at = 0; at < out.len; at += 3000) {
        size_t part = out.len - at < 3000 ? out.len - at : 3000;
        unsigned opcode = at == 0 ? 0x02 : 0x00;
        unsigned final = at + part == out.len ? 0x80 : 0x00;
        write_frame(peer, final | opcode, out.bytes + at, part);
        if (at == 3000)
            write_frame(peer, 0x89, "ping", 4); // control frames may come in between
    }
    buf_fini(&out);
    free(text);
}

static void
on_hello(struct peer *peer, enum ws_script script, const Switchyard__V1__Command *command)
{
    welcome(peer, command->id, command->hello);
    if (script == WS_CLOSE_REPLACED)
        write_close(peer, 4001);
    else if (script == WS_CLOSE_DRAINING)
        write_close(peer, 1012);
    else if (script == WS_PIECES)
        write_pieces(peer);
}

static void
on_command(struct peer *peer, enum ws_script script, const Switchyard__V1__Command *command)
{
    Switchyard__V1__Pong pong;
    switchyard__v1__pong__init(&pong);
    Switchyard__V1__Event event;
    switchyard__v1__event__init(&event);
    switch (command->command_case) {
    case SWITCHYARD__V1__COMMAND__COMMAND_HELLO:
        on_hello(peer, script, command);
        break;
    case SWITCHYARD__V1__COMMAND__COMMAND_SEND:
        if (script == WS_VANISH)
            peer->is_over = true;
        else
            echo(peer, command->id, command->send);
        break;
    case SWITCHYARD__V1__COMMAND__COMMAND_PING:
        atomic_fetch_add(&peer->server->pings, 1);
        event.id = command->id;
        event.event_case = SWITCHYARD__V1__EVENT__EVENT_PONG;
        event.pong = &pong;
        write_event(peer, &event);
        break;
    default:
        break;
    }
}

static void
on_frame(struct peer *peer, enum ws_script script, size_t len)
{
    struct codec_error error;
    arena_clear(&peer->arena);
    const Switchyard__V1__ClientFrame *frame =
        codec_read_client(CODEC_PROTOBUF, peer->in, len, &peer->arena, &error);
    assert(frame != NULL);
    for (size_t i = 0; i < frame->n_commands && !peer->is_over; i++)
        on_command(peer, script, frame->commands[i]);
}

static void
serve(struct peer *peer, enum ws_script script)
{
    char request[4096];
    static const char full[] = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 60\r\n"
                               "Content-Length: 0\r\nConnection: close\r\n\r\n";
    if (!read_request(peer, request, sizeof(request)) || script == WS_DROP)
        return;
    if (script == WS_FULL) {
        write_all(peer, full, sizeof(full) - 1);
        return;
    }
    answer_upgrade(peer, request, script != WS_NO_SUBPROTOCOL);
    while (!peer->is_over) {
        size_t len;
        int opcode = read_frame(peer, &len);
        if (opcode == 8) {
            atomic_store(&peer->server->close_code, len >= 2 ? peer->in[0] << 8 | peer->in[1] : 0);
            write_frame(peer, 0x88, peer->in, len);
            return;
        }
        if (opcode == 2)
            on_frame(peer, script, len);
        if (opcode < 0)
            return;
    }
}

static void
accept_one(struct ws_server *server, int fd)
{
    enum ws_script script = WS_SERVE;
    int at = atomic_fetch_add(&server->connections, 1);
    for (int i = 0; i <= at && i < 8 && server->script[i] != WS_END; i++)
        script = server->script[i];
    struct peer peer = {.server = server, .fd = fd, .in = malloc(MAX_FRAME)};
    assert(peer.in != NULL);
    arena_init(&peer.arena, 8 * MAX_FRAME);
    bool is_up = true;
    if (server->tls != NULL) {
        peer.ssl = SSL_new(server->tls);
        SSL_set_fd(peer.ssl, fd);
        is_up = SSL_accept(peer.ssl) == 1;
    }
    if (is_up)
        serve(&peer, script);
    SSL_free(peer.ssl);
    close(fd);
    free(peer.in);
    arena_fini(&peer.arena);
}

static void *
run(void *arg)
{
    struct ws_server *server = arg;
    while (!atomic_load(&server->is_stopping)) {
        struct pollfd wait = {.fd = server->listen_fd, .events = POLLIN};
        if (poll(&wait, 1, 50) <= 0)
            continue;
        int fd = accept(server->listen_fd, NULL, NULL);
        if (fd >= 0)
            accept_one(server, fd);
    }
    return NULL;
}

static int
listen_on_any_port(int *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int error = bind(fd, (struct sockaddr *)&address, len);
    error |= listen(fd, 64);
    error |= getsockname(fd, (struct sockaddr *)&address, &len);
    assert(fd >= 0 && error == 0);
    *port = ntohs(address.sin_port);
    return fd;
}

void
ws_server_start(struct ws_server *server)
{
    server->listen_fd = listen_on_any_port(&server->port);
    if (server->cert_file != NULL) {
        SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
        int good = SSL_CTX_use_certificate_file(tls, server->cert_file, SSL_FILETYPE_PEM);
        good &= SSL_CTX_use_PrivateKey_file(tls, server->key_file, SSL_FILETYPE_PEM);
        assert(good == 1);
        server->tls = tls;
    }
    int error = pthread_create(&server->thread, NULL, run, server);
    assert(error == 0);
}

void
ws_server_stop(struct ws_server *server)
{
    atomic_store(&server->is_stopping, true);
    pthread_join(server->thread, NULL);
    close(server->listen_fd);
    SSL_CTX_free(server->tls);
}

int
ws_closed_port(void)
{
    int port;
    close(listen_on_any_port(&port));
    return port;
}
