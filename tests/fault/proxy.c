// proxy.c: a TCP proxy that does what a bad network does, when it is told to.
//
//   fault_proxy TARGET_PORT [SEED]
//
// Listens on a free port of 127.0.0.1, says `listening port=P seed=S`, and forwards each
// connection to 127.0.0.1:TARGET_PORT. Commands come line by line on standard input, each is
// answered by `ok` or `error: why`; the end of input ends the program. DIR is up (client to
// target), down, or both, which is what is meant without one. What a command sets
// holds for connections there are and for those to come.
//
//   delay MS JITTER [DIR]   each piece read leaves after MS + [0, JITTER]; order is kept
//   coalesce MS [DIR]       what comes within MS leaves in one write
//   chunk N [DIR]           at most N bytes a write and a turn; 0: as it comes
//   rate BYTES_PER_S [DIR]  0: no limit
//   stall, resume [DIR]     nothing is read or written; the kernel's buffers fill
//   drop-after BYTES [DIR]  a connection is reset when so many more bytes have gone through
//   reset                   all connections, on both sides
//   half-close DIR          a FIN in this direction; what still comes is thrown away
//   refuse, accept          new connections are reset; or taken again
//   clear                   everything above back to nothing
//   stats                   `ok pairs=N accepted=N up=BYTES down=BYTES`
//
// Memory: PAIRS_MAX connections of two buffers each; one more is reset. A full buffer is not
// read into, so the sender feels it. Descriptors are edge-triggered: what a descriptor can
// do is remembered until it says EAGAIN, so a stalled connection that ends does not spin.
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PAIRS_MAX 1024
#define BUFFER_BYTES (256 * 1024) // at 500 ms of delay still half a megabyte a second
#define PIECES_MAX 1024           // delayed on their own
#define READ_MAX (64 * 1024)
#define EVENTS_MAX 64
#define UNLIMITED UINT64_MAX

enum side { CLIENT, TARGET }; // way CLIENT is up, way TARGET is down: named by where it begins

struct rules {
    uint64_t delay_ms, jitter_ms, coalesce_ms, rate;
    size_t chunk; // 0: none
    bool is_stalled;
};

struct piece {
    uint64_t due_ms;
    size_t len;
};

// What was read on one side and not yet written on the other.
struct way {
    uint8_t *bytes; // a ring of BUFFER_BYTES
    size_t at, len;
    struct piece *pieces; // a ring of PIECES_MAX
    size_t first, count;
    uint64_t due_ms;       // of the last piece: none overtakes
    uint64_t gather_until; // coalesce
    uint64_t paid_ms;      // the rate is used up until then
    uint64_t until_drop;   // bytes
    bool is_ended;         // the sender's FIN was read
    bool is_finished;      // and passed on, or half-closed
};

struct pair {
    TAILQ_ENTRY(pair) siblings;
    int fd[2];
    bool can_read[2], can_write[2], is_broken;
    struct way way[2];
};

TAILQ_HEAD(pair_list, pair);

static struct pair_list pairs = TAILQ_HEAD_INITIALIZER(pairs);
static struct rules rules[2];
static uint64_t drop_after[2] = {UNLIMITED, UNLIMITED};
static uint64_t passed[2], accepted, random_state;
static unsigned pair_count;
static bool is_refusing;
static int poller, listener;
static struct sockaddr_in target;

static uint64_t
now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (uint64_t)at.tv_sec * 1000 + (uint64_t)at.tv_nsec / 1000000;
}

static uint64_t
random_below(uint64_t bound)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return bound == 0 ? 0 : random_state % bound;
}

static void
die(const char *what)
{
    fprintf(stderr, "fault_proxy: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void *
take_memory(size_t size)
{
    void *memory = calloc(1, size);
    if (memory == NULL)
        die("memory");
    return memory;
}

// Pairs.

static void
close_hard(int fd)
{
    struct linger none = {.l_onoff = 1};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    close(fd);
}

static void
pair_end(struct pair *pair, bool is_reset)
{
    for (int side = 0; side < 2; side++) {
        if (is_reset)
            close_hard(pair->fd[side]);
        else
            close(pair->fd[side]);
        free(pair->way[side].bytes);
        free(pair->way[side].pieces);
    }
    TAILQ_REMOVE(&pairs, pair, siblings);
    pair_count--;
    free(pair);
}

static void
watch(struct pair *pair, int side)
{
    // The side is the lowest bit of the pointer: one descriptor, one event.
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                .data.u64 = (uint64_t)(uintptr_t)pair | (unsigned)side};
    int on = 1;
    (void)setsockopt(pair->fd[side], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (epoll_ctl(poller, EPOLL_CTL_ADD, pair->fd[side], &event) != 0)
        die("epoll_ctl");
}

static void
pair_open(int client)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || is_refusing || pair_count == PAIRS_MAX ||
        (connect(fd, (struct sockaddr *)&target, sizeof target) != 0 && errno != EINPROGRESS)) {
        close_hard(client);
        if (fd >= 0)
            close(fd);
        return;
    }
    struct pair *pair = take_memory(sizeof *pair);
    pair->fd[CLIENT] = client;
    pair->fd[TARGET] = fd;
    for (int side = 0; side < 2; side++) {
        pair->way[side].bytes = take_memory(BUFFER_BYTES);
        pair->way[side].pieces = take_memory(PIECES_MAX * sizeof(struct piece));
        pair->way[side].until_drop = drop_after[side];
    }
    TAILQ_INSERT_TAIL(&pairs, pair, siblings);
    pair_count++;
    accepted++;
    watch(pair, CLIENT);
    watch(pair, TARGET);
}

static void
accept_all(void)
{
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
        pair_open(fd);
}

// One way.

static uint64_t
due_of_next(struct way *way, const struct rules *rule, uint64_t at)
{
    uint64_t due = at + rule->delay_ms + random_below(rule->jitter_ms + 1);
    if (rule->coalesce_ms > 0) {
        if (way->gather_until <= at)
            way->gather_until = at + rule->coalesce_ms;
        due = way->gather_until + rule->delay_ms;
    }
    way->due_ms = due > way->due_ms ? due : way->due_ms;
    return way->due_ms;
}

// Pieces that leave together are one.
static void
note_piece(struct way *way, size_t len, uint64_t due_ms)
{
    struct piece *last = &way->pieces[(way->first + way->count - 1) % PIECES_MAX];
    if (way->count > 0 && last->due_ms == due_ms) {
        last->len += len;
        return;
    }
    assert(way->count < PIECES_MAX);
    way->pieces[(way->first + way->count) % PIECES_MAX] = (struct piece){due_ms, len};
    way->count++;
}

static bool
read_once(struct pair *pair, int side, uint64_t at)
{
    struct way *way = &pair->way[side];
    static uint8_t scrap[READ_MAX];
    size_t end = (way->at + way->len) % BUFFER_BYTES;
    size_t room = end >= way->at && way->len < BUFFER_BYTES ? BUFFER_BYTES - end
                                                            : BUFFER_BYTES - way->len;
    if (!pair->can_read[side] || way->is_ended || room == 0 || way->count == PIECES_MAX)
        return false;
    bool is_thrown = way->is_finished;
    ssize_t got = read(pair->fd[side], is_thrown ? scrap : way->bytes + end,
                       room < READ_MAX ? room : READ_MAX);
    if (got > 0 && !is_thrown) {
        way->len += (size_t)got;
        note_piece(way, (size_t)got, due_of_next(way, &rules[side], at));
    } else if (got == 0) {
        way->is_ended = true;
        due_of_next(way, &rules[side], at); // the FIN is as late as data
    } else if (got < 0 && errno == EAGAIN) {
        pair->can_read[side] = false;
    } else if (got < 0 && errno != EINTR) {
        pair->is_broken = true;
    }
    return got > 0;
}

static size_t
may_write(const struct way *way, const struct rules *rule, uint64_t at)
{
    if (way->count == 0 || way->pieces[way->first].due_ms > at || way->paid_ms > at)
        return 0;
    size_t len = way->pieces[way->first].len;
    if (len > BUFFER_BYTES - way->at)
        len = BUFFER_BYTES - way->at;
    if (rule->chunk > 0 && len > rule->chunk)
        len = rule->chunk;
    if (rule->rate > 0 && len > rule->rate / 100 + 1)
        len = rule->rate / 100 + 1; // what 10 ms allow
    return len < way->until_drop ? len : (size_t)way->until_drop;
}

static void
forget_written(struct way *way, size_t len)
{
    struct piece *piece = &way->pieces[way->first];
    piece->len -= len;
    if (piece->len == 0) {
        way->first = (way->first + 1) % PIECES_MAX;
        way->count--;
    }
    way->at = (way->at + len) % BUFFER_BYTES;
    way->len -= len;
    if (way->until_drop != UNLIMITED)
        way->until_drop -= len;
}

static bool
write_once(struct pair *pair, int side, uint64_t at)
{
    struct way *way = &pair->way[side];
    const struct rules *rule = &rules[side];
    size_t len = may_write(way, rule, at);
    if (len == 0 || !pair->can_write[!side] || way->is_finished)
        return false;
    ssize_t put = send(pair->fd[!side], way->bytes + way->at, len, MSG_NOSIGNAL);
    if (put > 0) {
        passed[side] += (uint64_t)put;
        forget_written(way, (size_t)put);
        if (rule->rate > 0)
            way->paid_ms = at + (uint64_t)put * 1000 / rule->rate + 1;
    } else if (errno == EAGAIN) {
        pair->can_write[!side] = false;
    } else if (errno != EINTR) {
        pair->is_broken = true;
    }
    return put > 0 && rule->chunk == 0;
}

static void
way_run(struct pair *pair, int side, uint64_t at)
{
    struct way *way = &pair->way[side];
    if (rules[side].is_stalled)
        return;
    while (!pair->is_broken && read_once(pair, side, at))
        continue;
    while (!pair->is_broken && write_once(pair, side, at))
        continue;
    if (way->is_ended && !way->is_finished && way->len == 0 && way->due_ms <= at) {
        (void)shutdown(pair->fd[!side], SHUT_WR);
        way->is_finished = true;
    }
}

// When this way wants to be run again without an event: in so many ms, or -1.
static int64_t
wait_of(const struct pair *pair, int side, uint64_t at)
{
    const struct way *way = &pair->way[side];
    bool has_room = way->len < BUFFER_BYTES && way->count < PIECES_MAX;
    if (!rules[side].is_stalled && pair->can_read[side] && has_room && !way->is_ended)
        return 0; // reading stopped at a full buffer
    bool has_work = way->count > 0 ? pair->can_write[!side] && !way->is_finished
                                   : way->is_ended && !way->is_finished;
    if (rules[side].is_stalled || !has_work)
        return -1;
    uint64_t due = way->count > 0 ? way->pieces[way->first].due_ms : way->due_ms;
    due = way->paid_ms > due ? way->paid_ms : due;
    return due > at ? (int64_t)(due - at) : 0;
}

// All ways; how long to wait then.
static int
run_all(uint64_t at)
{
    int64_t wait = -1;
    struct pair *pair, *next;
    for (pair = TAILQ_FIRST(&pairs); pair != NULL; pair = next) {
        next = TAILQ_NEXT(pair, siblings);
        way_run(pair, CLIENT, at);
        way_run(pair, TARGET, at);
        bool is_cut = pair->way[CLIENT].until_drop == 0 || pair->way[TARGET].until_drop == 0;
        if (pair->is_broken || is_cut) {
            pair_end(pair, true);
            continue;
        }
        if (pair->way[CLIENT].is_finished && pair->way[TARGET].is_finished) {
            pair_end(pair, false);
            continue;
        }
        for (int side = 0; side < 2; side++) {
            int64_t one = wait_of(pair, side, at);
            if (one >= 0 && (wait < 0 || one < wait))
                wait = one;
        }
    }
    return wait < 0 ? -1 : (int)(wait < 1000 ? wait : 1000);
}

// Commands.

static void
reset_all(void)
{
    while (!TAILQ_EMPTY(&pairs))
        pair_end(TAILQ_FIRST(&pairs), true);
}

static void
half_close(int side)
{
    struct pair *pair;
    for (pair = TAILQ_FIRST(&pairs); pair != NULL; pair = TAILQ_NEXT(pair, siblings)) {
        struct way *way = &pair->way[side];
        (void)shutdown(pair->fd[!side], SHUT_WR);
        way->is_finished = true;
        way->len = way->count = 0;
    }
}

static void
set_drop(int side, uint64_t bytes)
{
    struct pair *pair;
    drop_after[side] = bytes;
    for (pair = TAILQ_FIRST(&pairs); pair != NULL; pair = TAILQ_NEXT(pair, siblings))
        pair->way[side].until_drop = bytes;
}

static void
clear(void)
{
    memset(rules, 0, sizeof rules);
    is_refusing = false;
    for (int side = 0; side < 2; side++)
        set_drop(side, UNLIMITED);
}

static bool
obey_for(int side, const char *verb, uint64_t first, uint64_t second)
{
    struct rules *rule = &rules[side];
    if (strcmp(verb, "delay") == 0) {
        rule->delay_ms = first;
        rule->jitter_ms = second;
    } else if (strcmp(verb, "coalesce") == 0)
        rule->coalesce_ms = first;
    else if (strcmp(verb, "chunk") == 0)
        rule->chunk = first;
    else if (strcmp(verb, "rate") == 0)
        rule->rate = first;
    else if (strcmp(verb, "drop-after") == 0)
        set_drop(side, first);
    else if (strcmp(verb, "half-close") == 0)
        half_close(side);
    else if (strcmp(verb, "stall") == 0 || strcmp(verb, "resume") == 0)
        rule->is_stalled = verb[0] == 's';
    else
        return false;
    return true;
}

// False: not a command.
static bool
obey(const char *line)
{
    char verb[16] = "", words[3][16] = {"", "", ""};
    uint64_t numbers[2] = {0, 0};
    int count = sscanf(line, "%15s %15s %15s %15s", verb, words[0], words[1], words[2]);
    bool is_up = true, is_down = true;
    for (int i = 0, number = 0; i < count - 1; i++) {
        char *end;
        uint64_t value = strtoull(words[i], &end, 10);
        if (*end == '\0' && number < 2)
            numbers[number++] = value;
        else if (strcmp(words[i], "up") == 0)
            is_down = false;
        else if (strcmp(words[i], "down") == 0)
            is_up = false;
        else if (strcmp(words[i], "both") != 0)
            return false;
    }
    if (strcmp(verb, "reset") == 0)
        reset_all();
    else if (strcmp(verb, "clear") == 0)
        clear();
    else if (strcmp(verb, "refuse") == 0 || strcmp(verb, "accept") == 0)
        is_refusing = verb[0] == 'r';
    else if (strcmp(verb, "stats") != 0)
        return (!is_up || obey_for(CLIENT, verb, numbers[0], numbers[1])) &&
               (!is_down || obey_for(TARGET, verb, numbers[0], numbers[1]));
    return true;
}

// False: the end of input.
static bool
read_commands(void)
{
    static char line[256];
    static size_t len;
    ssize_t got = read(STDIN_FILENO, line + len, sizeof line - 1 - len);
    if (got <= 0)
        return false;
    len += (size_t)got;
    line[len] = '\0';
    char *end;
    while ((end = strchr(line, '\n')) != NULL) {
        *end = '\0';
        if (!obey(line))
            printf("error: '%s'\n", line);
        else
            printf("ok pairs=%u accepted=%llu up=%llu down=%llu\n", pair_count,
                   (unsigned long long)accepted, (unsigned long long)passed[CLIENT],
                   (unsigned long long)passed[TARGET]);
        fflush(stdout);
        len -= (size_t)(end + 1 - line);
        memmove(line, end + 1, len + 1);
    }
    return len < sizeof line - 1;
}

// The loop.

static void
on_event(const struct epoll_event *event)
{
    struct pair *pair = (struct pair *)(uintptr_t)(event->data.u64 & ~(uint64_t)1);
    unsigned side = event->data.u64 & 1;
    uint32_t ended = EPOLLHUP | EPOLLRDHUP | EPOLLERR;
    if ((event->events & (EPOLLIN | ended)) != 0)
        pair->can_read[side] = true;
    if ((event->events & (EPOLLOUT | EPOLLERR)) != 0)
        pair->can_write[side] = true;
}

static void
run(void)
{
    struct epoll_event events[EVENTS_MAX];
    int wait = -1;
    for (;;) {
        bool has_line = false, has_caller = false;
        int count = epoll_wait(poller, events, EVENTS_MAX, wait);
        for (int i = 0; i < count; i++) {
            if (events[i].data.u64 == 0)
                has_line = true;
            else if (events[i].data.u64 == 1)
                has_caller = true;
            else
                on_event(&events[i]);
        }
        if (has_caller)
            accept_all();
        // Pairs end below only, when no event names them any more.
        if (has_line && !read_commands())
            return;
        wait = run_all(now());
    }
}

static void
open_listener(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = 1};
    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&at, sizeof at) != 0 ||
        listen(listener, SOMAXCONN) != 0 ||
        getsockname(listener, (struct sockaddr *)&at, &len) != 0 ||
        epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event) != 0)
        die("listen");
    printf("listening port=%u seed=%llu\n", ntohs(at.sin_port), (unsigned long long)random_state);
    fflush(stdout);
}

int
main(int argc, char **argv)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = 0};
    unsigned long port = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
    if (port == 0 || port > 65535) {
        fprintf(stderr, "usage: fault_proxy TARGET_PORT [SEED]\n");
        return 64;
    }
    target = (struct sockaddr_in){.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    random_state = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    if (random_state == 0)
        random_state = 1; // xorshift stays at zero
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (poller < 0 || epoll_ctl(poller, EPOLL_CTL_ADD, STDIN_FILENO, &event) != 0)
        die("epoll");
    open_listener();
    run();
    reset_all();
    return 0;
}
