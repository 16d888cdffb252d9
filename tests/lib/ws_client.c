// ws_client.c: see ws_client.h.
#include "tests/lib/ws_client.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

// The key of RFC 6455 1.3 and the answer that stands there.
#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
#define READ_SIZE 65536
// What a connection may keep of its buffer once everything is written.
#define KEEP_BYTES 4096

static const uint8_t mask[8] = {0x53, 0x79, 0xa5, 0x0f, 0x53, 0x79, 0xa5, 0x0f};

int
ws_client_open(struct ws_client *c, uint32_t from, uint16_t port, const char *path,
               enum codec_format format)
{
    struct sockaddr_in local = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(from)};
    struct sockaddr_in edge = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        return -1;
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (bind(c->fd, (struct sockaddr *)&local, sizeof(local)) < 0)
        goto fail;
    if (connect(c->fd, (struct sockaddr *)&edge, sizeof(edge)) < 0 && errno != EINPROGRESS)
        goto fail;
    c->format = format;
    c->state = WS_CONNECTING;
    buf_clear(&c->in);
    buf_clear(&c->out);
    c->out_done = 0;
    c->http_status = c->retry_after_s = c->close_code = 0;
    char request[400];
    int len = snprintf(request, sizeof(request),
                       "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nUpgrade: websocket\r\n"
                       "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                       "Sec-WebSocket-Key: " KEY "\r\nSec-WebSocket-Protocol: %s\r\n\r\n",
                       path, (unsigned)port,
                       format == CODEC_JSON ? CODEC_SUBPROTOCOL_JSON : CODEC_SUBPROTOCOL_PROTOBUF);
    assert(len > 0 && (size_t)len < sizeof(request));
    buf_append(&c->out, request, (size_t)len);
    return 0;
fail:
    close(c->fd);
    return -1;
}

static void
put_masked(uint8_t *at, const uint8_t *bytes, size_t len)
{
    size_t done = 0;
    uint64_t key;
    memcpy(&key, mask, sizeof(key));
    for (; len - done >= sizeof(key); done += sizeof(key)) {
        uint64_t word;
        memcpy(&word, bytes + done, sizeof(word));
        word ^= key;
        memcpy(at + done, &word, sizeof(word));
    }
    for (; done < len; done++)
        at[done] = bytes[done] ^ mask[done % 4];
}

static void
queue_frame(struct ws_client *c, unsigned opcode, const uint8_t *bytes, size_t len)
{
    assert(len <= UINT16_MAX);
    uint8_t *at = buf_reserve(&c->out, len + 8);
    uint8_t *begin = at;
    *at++ = (uint8_t)(0x80 | opcode);
    if (len < 126) {
        *at++ = (uint8_t)(0x80 | len);
    } else {
        *at++ = 0x80 | 126;
        *at++ = (uint8_t)(len >> 8);
        *at++ = (uint8_t)len;
    }
    memcpy(at, mask, 4);
    at += 4;
    put_masked(at, bytes, len);
    c->out.len += (size_t)(at - begin) + len;
}

void
ws_client_send(struct ws_client *c, const void *bytes, size_t len)
{
    queue_frame(c, c->format == CODEC_JSON ? 1 : 2, bytes, len);
}

void
ws_client_send_close(struct ws_client *c, uint16_t code)
{
    const uint8_t bytes[2] = {(uint8_t)(code >> 8), (uint8_t)code};
    queue_frame(c, 8, bytes, sizeof(bytes));
}

const char *
ws_client_on_writable(struct ws_client *c)
{
    if (c->state == WS_CONNECTING) {
        int error = 0;
        socklen_t size = sizeof(error);
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error != 0)
            return strerror(error);
        c->state = WS_HANDSHAKE;
    }
    while (c->out_done < c->out.len) {
        ssize_t n = send(c->fd, c->out.bytes + c->out_done, c->out.len - c->out_done, MSG_NOSIGNAL);
        if (n < 0)
            return errno == EAGAIN ? NULL : strerror(errno);
        c->out_done += (size_t)n;
    }
    buf_clear(&c->out);
    buf_trim(&c->out, KEEP_BYTES);
    c->out_done = 0;
    return NULL;
}

static void
note_status(struct ws_client *c, const char *head, size_t len)
{
    static const char wait[] = "\r\nRetry-After: ";
    const char *after = memmem(head, len, wait, sizeof(wait) - 1);
    if (len >= 12)
        c->http_status = (uint16_t)strtoul(head + 9, NULL, 10);
    if (after != NULL)
        c->retry_after_s = (uint16_t)strtoul(after + sizeof(wait) - 1, NULL, 10);
}

// The response head, once it is whole; *used is 0 until then.
static const char *
read_handshake(struct ws_client *c, const uint8_t *bytes, size_t size, size_t *used,
               const struct ws_handler *handler)
{
    const char *text = (const char *)bytes;
    const char *end = memmem(text, size, "\r\n\r\n", 4);
    *used = 0;
    if (end == NULL)
        return NULL;
    size_t len = (size_t)(end - text);
    note_status(c, text, len);
    if (len < 12 || memcmp(text, "HTTP/1.1 101", 12) != 0)
        return "the handshake was not answered with 101";
    if (memmem(text, len, ACCEPT, sizeof(ACCEPT) - 1) == NULL)
        return "Sec-WebSocket-Accept is missing or wrong";
    *used = len + 4;
    c->state = WS_OPEN;
    if (c->out.len == 0)
        buf_trim(&c->out, 0);
    handler->opened(handler->arg);
    return NULL;
}

// One frame; *used is 0 when it is not whole yet.
static const char *
read_frame(struct ws_client *c, const uint8_t *at, size_t left, size_t *used,
           const struct ws_handler *handler)
{
    static char closed[64];
    *used = 0;
    if (left < 2)
        return NULL;
    if ((at[0] & 0xf0) != 0x80 || (at[1] & 0x80) != 0)
        return "a frame with reserved bits, in pieces, or masked";
    size_t head = at[1] == 127 ? 10 : at[1] == 126 ? 4 : 2;
    if (left < head)
        return NULL;
    uint64_t size = head == 2 ? at[1] : 0;
    for (size_t i = 2; i < head; i++)
        size = size << 8 | at[i];
    if (left - head < size)
        return NULL;
    *used = head + (size_t)size;
    unsigned opcode = at[0] & 0x0f;
    if (opcode == 9)
        queue_frame(c, 10, at + head, (size_t)size);
    if (opcode == 8) {
        unsigned code = size >= 2 ? (unsigned)at[head] << 8 | at[head + 1] : 1005;
        c->close_code = (uint16_t)code;
        snprintf(closed, sizeof(closed), "closed with %u", code);
        return closed;
    }
    if (opcode == (c->format == CODEC_JSON ? 1 : 2))
        handler->message(handler->arg, at + head, (size_t)size);
    return NULL;
}

// As much as is whole; *used tells how far that is.
static const char *
read_all(struct ws_client *c, const uint8_t *bytes, size_t len, size_t *used,
         const struct ws_handler *handler)
{
    const char *wrong = NULL;
    size_t step = 0;
    *used = 0;
    if (c->state == WS_HANDSHAKE)
        wrong = read_handshake(c, bytes, len, used, handler);
    while (wrong == NULL && c->state == WS_OPEN) {
        wrong = read_frame(c, bytes + *used, len - *used, &step, handler);
        if (step == 0)
            break;
        *used += step;
    }
    return wrong;
}

const char *
ws_client_on_readable(struct ws_client *c, const struct ws_handler *handler)
{
    static uint8_t scratch[READ_SIZE]; // most reads end where a frame ends
    bool has_rest = c->in.len > 0;
    uint8_t *at = has_rest ? buf_reserve(&c->in, READ_SIZE) : scratch;
    ssize_t n = recv(c->fd, at, READ_SIZE, 0);
    if (n < 0)
        return errno == EAGAIN ? NULL : strerror(errno);
    if (n == 0)
        return "ended without a close frame";
    size_t used;
    if (!has_rest) {
        const char *wrong = read_all(c, scratch, (size_t)n, &used, handler);
        if (used < (size_t)n)
            buf_append(&c->in, scratch + used, (size_t)n - used);
        return wrong;
    }
    c->in.len += (size_t)n;
    const char *wrong = read_all(c, c->in.bytes, c->in.len, &used, handler);
    memmove(c->in.bytes, c->in.bytes + used, c->in.len - used);
    c->in.len -= used;
    if (c->in.len == 0)
        buf_fini(&c->in);
    return wrong;
}

void
ws_client_watch(const struct ws_client *client, int epoll, void *owner, uint32_t *events)
{
    uint32_t wanted = EPOLLIN | (ws_client_wants_write(client) ? EPOLLOUT : 0);
    if (wanted == *events)
        return;
    struct epoll_event event = {.events = wanted, .data.ptr = owner};
    epoll_ctl(epoll, *events == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, client->fd, &event);
    *events = wanted;
}

void
ws_client_close(struct ws_client *c)
{
    if (c->state == WS_CLOSED)
        return;
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    close(c->fd);
    buf_fini(&c->in);
    buf_fini(&c->out);
    c->state = WS_CLOSED;
}
