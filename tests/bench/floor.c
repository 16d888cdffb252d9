// floor.c: the least that passes a WebSocket message on, as the limit on this machine.
//
//   floor --port PORT [--link-listen PORT | --link-connect PORT]
//
// One thread, one epoll, no library but for the SHA-1 of the handshake. The path of the
// handshake says what a connection is:
//   /one/N  number N; what it says goes to number N^1
//   /hub    what it says goes to everybody in the hall
//   /hall   hears the hub
// With a link, two floors are one: what is for a number that is not here, and what the hub
// says, also goes to the other, in one TCP stream written once per turn.
//
// What came in one read goes out in one write per receiver. What a receiver does not take
// waits, without a bound: load is bounded by its generator. Anything unexpected on a
// connection closes it; the end of the link ends the program.
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/buf.h"

#define MAX_NUMBERS 65536
#define READ_SIZE 65536
#define TO_HALL UINT32_MAX
#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

enum kind { LISTENER, LINK, HANDSHAKE, ONE, HUB, HALL };

struct end {
    int fd;
    enum kind kind;
    uint32_t number; // of ONE; of HALL: place in hall[]
    bool is_armed;   // EPOLLOUT is asked for
    bool is_dead;
    struct buf in;  // what is not whole yet
    struct buf out; // what was not taken yet
    struct end *next_dead;
};

// A record of the link: receiver, length, and ready frames.
struct record {
    uint32_t to;
    uint32_t len;
};

static int epoll;
static struct end *numbers[MAX_NUMBERS];
static struct end *hall[MAX_NUMBERS];
static uint32_t hall_count;
static struct end *link_end;
static struct end *dead; // freed at the end of the turn
static uint8_t scratch[READ_SIZE];
static struct buf frames; // made from one read

static void
die(const char *what)
{
    perror(what);
    exit(1);
}

static struct end *
end_new(int fd, enum kind kind)
{
    struct end *end = calloc(1, sizeof(*end));
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = end};
    int on = 1;
    if (end == NULL || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        die("floor");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    end->fd = fd;
    end->kind = kind;
    return end;
}

static void
end_close(struct end *end)
{
    if (end->is_dead)
        return;
    if (end->kind == LINK)
        _exit(0); // two floors end together
    if (end->kind == ONE && numbers[end->number] == end)
        numbers[end->number] = NULL;
    if (end->kind == HALL) {
        hall[end->number] = hall[--hall_count];
        hall[end->number]->number = end->number;
    }
    close(end->fd);
    end->is_dead = true;
    end->next_dead = dead;
    dead = end;
}

static void
arm(struct end *end, bool on)
{
    struct epoll_event event = {.events = EPOLLIN | (on ? EPOLLOUT : 0), .data.ptr = end};
    if (end->is_armed == on)
        return;
    end->is_armed = on;
    epoll_ctl(epoll, EPOLL_CTL_MOD, end->fd, &event);
}

static void
end_write(struct end *end, const uint8_t *bytes, size_t len)
{
    ssize_t n = 0;
    if (end->out.len == 0) {
        n = send(end->fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN) {
            end_close(end);
            return;
        }
        n = n < 0 ? 0 : n;
    }
    if ((size_t)n == len)
        return;
    buf_append(&end->out, bytes + n, len - (size_t)n);
    arm(end, true);
}

static void
on_writable(struct end *end)
{
    ssize_t n = send(end->fd, end->out.bytes, end->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno != EAGAIN) {
        end_close(end);
        return;
    }
    n = n < 0 ? 0 : n;
    memmove(end->out.bytes, end->out.bytes + n, end->out.len - (size_t)n);
    end->out.len -= (size_t)n;
    arm(end, end->out.len > 0);
}

// Passing on.

static void
pass_here(uint32_t to, const uint8_t *bytes, size_t len)
{
    if (to != TO_HALL) {
        if (numbers[to] != NULL)
            end_write(numbers[to], bytes, len);
        return;
    }
    for (uint32_t i = hall_count; i-- > 0;) // from the end: who leaves is replaced by the last
        end_write(hall[i], bytes, len);
}

// The link's bytes wait for the end of the turn.
static void
pass_on(uint32_t to, const uint8_t *bytes, size_t len)
{
    if (link_end == NULL)
        return;
    struct record record = {.to = to, .len = (uint32_t)len};
    buf_append(&link_end->out, &record, sizeof(record));
    buf_append(&link_end->out, bytes, len);
}

static size_t
read_link(const uint8_t *bytes, size_t len)
{
    size_t used = 0;
    struct record record;
    while (len - used >= sizeof(record)) {
        memcpy(&record, bytes + used, sizeof(record));
        if (len - used - sizeof(record) < record.len)
            break;
        if (record.to != TO_HALL && record.to >= MAX_NUMBERS)
            die("floor: nonsense on the link");
        pass_here(record.to, bytes + used + sizeof(record), record.len);
        used += sizeof(record) + record.len;
    }
    return used;
}

// One frame of a client, appended to `frames` as one of a server. 0: not whole.
static size_t
turn_frame(struct end *end, uint8_t *at, size_t left)
{
    if (left < 6)
        return 0;
    size_t size = at[1] & 0x7f;
    size_t head = 6;
    if (size == 126) {
        head = 8;
        size = (size_t)at[2] << 8 | at[3];
    }
    if (size == 127 || (at[1] & 0x80) == 0 || (at[0] & 0x0f) == 8) {
        end_close(end);
        return 0;
    }
    if (left < head + size)
        return 0;
    if ((at[0] & 0x0f) == 2) {
        uint8_t out[4] = {at[0], (uint8_t)size};
        if (head == 8) {
            out[1] = 126;
            out[2] = (uint8_t)(size >> 8);
            out[3] = (uint8_t)size;
        }
        buf_append(&frames, out, head - 4);
        uint8_t *to = buf_reserve(&frames, size);
        for (size_t i = 0; i < size; i++)
            to[i] = at[head + i] ^ at[head - 4 + i % 4];
        frames.len += size;
    }
    return head + size;
}

static size_t
read_client(struct end *end, uint8_t *bytes, size_t len)
{
    size_t used = 0;
    buf_clear(&frames);
    for (size_t step; !end->is_dead && (step = turn_frame(end, bytes + used, len - used)) > 0;)
        used += step;
    if (frames.len == 0 || end->kind == HALL)
        return used;
    uint32_t to = end->kind == HUB ? TO_HALL : end->number ^ 1;
    if (to == TO_HALL || numbers[to] == NULL)
        pass_on(to, frames.bytes, frames.len);
    pass_here(to, frames.bytes, frames.len);
    return used;
}

// The handshake.

static void
answer(struct end *end, const char *key, size_t len)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned char accept[64];
    char text[200];
    int key_len = snprintf(text, sizeof(text), "%.*s" GUID, (int)len, key);
    EVP_Digest(text, (size_t)key_len, digest, NULL, EVP_sha1(), NULL);
    EVP_EncodeBlock(accept, digest, 20);
    int n = snprintf(text, sizeof(text),
                     "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                     "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
                     (const char *)accept);
    end_write(end, (const uint8_t *)text, (size_t)n);
}

static bool
settle(struct end *end, const char *path)
{
    unsigned number;
    if (sscanf(path, "/one/%u ", &number) == 1 && number < MAX_NUMBERS) {
        end->kind = ONE;
        end->number = number;
        numbers[number] = end;
    } else if (strncmp(path, "/hub ", 5) == 0) {
        end->kind = HUB;
    } else if (strncmp(path, "/hall ", 6) == 0 && hall_count < MAX_NUMBERS) {
        end->kind = HALL;
        end->number = hall_count;
        hall[hall_count++] = end;
    } else {
        return false;
    }
    return true;
}

static size_t
read_handshake(struct end *end, uint8_t *bytes, size_t len)
{
    static const char name[] = "Sec-WebSocket-Key: ";
    const uint8_t *stop = memmem(bytes, len, "\r\n\r\n", 4);
    if (stop == NULL)
        return 0;
    const char *key = memmem(bytes, len, name, sizeof(name) - 1);
    if (key == NULL || memcmp(bytes, "GET ", 4) != 0 || !settle(end, (const char *)bytes + 4)) {
        end_close(end);
        return len;
    }
    key += sizeof(name) - 1;
    answer(end, key, strcspn(key, "\r"));
    return (size_t)(stop - bytes) + 4;
}

static void
on_readable(struct end *end)
{
    bool has_rest = end->in.len > 0;
    uint8_t *at = has_rest ? buf_reserve(&end->in, READ_SIZE) : scratch;
    ssize_t n = recv(end->fd, at, READ_SIZE, MSG_DONTWAIT);
    if (n <= 0) {
        if (n == 0 || errno != EAGAIN)
            end_close(end);
        return;
    }
    uint8_t *bytes = has_rest ? end->in.bytes : scratch;
    size_t len = (size_t)n + (has_rest ? end->in.len : 0);
    size_t used = 0;
    if (end->kind == HANDSHAKE)
        used = read_handshake(end, bytes, len);
    else if (end->kind == LINK)
        used = read_link(bytes, len);
    else
        used = read_client(end, bytes, len);
    if (!has_rest) {
        if (used < len)
            buf_append(&end->in, scratch + used, len - used);
        return;
    }
    memmove(bytes, bytes + used, len - used);
    end->in.len = len - used;
}

static void
on_connection(const struct end *listener)
{
    for (int fd; (fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;)
        end_new(fd, HANDSHAKE);
}

static void
turn(void)
{
    struct epoll_event events[256];
    int n = epoll_wait(epoll, events, 256, -1);
    for (int i = 0; i < n; i++) {
        struct end *end = events[i].data.ptr;
        if (end->kind == LISTENER) {
            on_connection(end);
            continue;
        }
        if (!end->is_dead && (events[i].events & EPOLLOUT))
            on_writable(end);
        if (!end->is_dead && (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
            on_readable(end);
    }
    if (link_end != NULL && link_end->out.len > 0 && !link_end->is_armed)
        on_writable(link_end);
    while (dead != NULL) {
        struct end *end = dead;
        dead = end->next_dead;
        buf_fini(&end->in);
        buf_fini(&end->out);
        free(end);
    }
}

// The start.

static int
listen_on(unsigned port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 4096))
        die("floor: listen");
    return fd;
}

// Blocking: the two floors wait for each other before anything else.
static int
link_up(unsigned listen_port, unsigned connect_port)
{
    int fd;
    if (listen_port != 0) {
        int listener = listen_on(listen_port);
        while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) < 0)
            usleep(1000);
        close(listener);
        return fd;
    }
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)connect_port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    for (int tries = 0; tries < 5000; tries++) {
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
            break;
        if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
            return fd;
        close(fd);
        usleep(1000);
    }
    die("floor: the other does not listen");
    return -1;
}

int
main(int argc, char **argv)
{
    static const struct option options[] = {
        {"port", required_argument, NULL, 'p'},
        {"link-listen", required_argument, NULL, 'l'},
        {"link-connect", required_argument, NULL, 'c'},
        {NULL, 0, NULL, 0},
    };
    unsigned ports[3] = {0, 0, 0};
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == '?')
            return 64;
        ports[option == 'p' ? 0 : option == 'l' ? 1 : 2] = (unsigned)strtoul(optarg, NULL, 10);
    }
    if (ports[0] == 0 || ports[0] > UINT16_MAX || optind != argc) {
        fprintf(stderr, "usage: floor --port PORT [--link-listen PORT | --link-connect PORT]\n");
        return 64;
    }
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0)
        die("floor: epoll");
    if (ports[1] != 0 || ports[2] != 0)
        link_end = end_new(link_up(ports[1], ports[2]), LINK);
    end_new(listen_on(ports[0]), LISTENER);
    printf("listening\n");
    fflush(stdout);
    for (;;)
        turn();
}
