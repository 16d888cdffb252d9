// exodus.c: thousands of users on an edge that is told to leave, and the book of who was told
// what, went when, and came back where.
//
//   exodus --edges PORT,PORT [--users 2000] [--obey 50] [--deadline 60]
//
// 1. All users log in at the first edge. Prints "ready".
// 2. Whoever started it signals that edge. Every user waits for GoAway; `obey` of a hundred
//    hang up at their slot, the others wait for the close and connect at their slot, or at
//    once if that has passed.
// 3. Each connects to the port GoAway's url names, and when refused to the other edges.
// 4. When all are back, or at the deadline: one line of JSON. Exit status 0 if every user was
//    told, with a url of one of the edges, closed with 1012 if it did not go itself, and is
//    back; else 1.
// Times are milliseconds since the first GoAway.
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

#include "tests/lib/ws_say.h"

#define MAX_EDGES 16
#define MAX_USERS 20000
#define MAX_OPENING 200 // below any listen backlog
#define PER_ADDRESS 1000
#define AGAIN_MS 500 // after a refusal
#define ARENA_SIZE (1 << 16)
#define BUCKET_MS 100
#define BUCKETS 1200

struct member {
    struct exodus *exodus;
    uint32_t number;
    uint32_t events;   // epoll's
    bool is_told;      // GoAway came
    bool has_left;     // the first edge
    bool is_live;      // logged in, wherever it is
    bool is_connected; // or trying
    unsigned port;     // to go to
    uint64_t slot_ms;  // when to
    uint64_t left_ms;
    struct ws_client socket;
};

struct exodus {
    unsigned ports[MAX_EDGES], edges;
    uint32_t users, obey;
    uint64_t deadline_ms;
    int epoll;
    struct member *members;
    uint64_t now_ms, first_told_ms, last_told_ms;
    uint32_t opening, live, told, strange_url, no_url, went, closed, cut, back, refused;
    uint32_t tries[BUCKETS]; // of all who came back, by time
    uint64_t away_max_ms, last_back_ms;
    struct arena arena;
    struct buf scratch;
};

static uint64_t
clock_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void
watch(struct member *member)
{
    ws_client_watch(&member->socket, member->exodus->epoll, member, &member->events);
}

static void
hang_up(struct member *member)
{
    struct exodus *exodus = member->exodus;
    if (member->is_live)
        exodus->live--;
    else
        exodus->opening--;
    member->is_live = member->is_connected = false;
    member->events = 0;
    ws_client_close(&member->socket);
}

static unsigned
another_port(const struct exodus *exodus, const struct member *member)
{
    return exodus->edges > 1 ? exodus->ports[1 + member->number % (exodus->edges - 1)]
                             : exodus->ports[0];
}

static void
fail(struct member *member)
{
    struct exodus *exodus = member->exodus;
    hang_up(member);
    exodus->refused++;
    member->slot_ms = exodus->now_ms + AGAIN_MS;
    member->port = another_port(exodus, member);
}

static void
begin(struct member *member, unsigned port)
{
    struct exodus *exodus = member->exodus;
    uint32_t from = (127u << 24) + ((1 + member->number / PER_ADDRESS) << 8) + 1;
    exodus->opening++;
    member->is_connected = true;
    if (ws_client_open(&member->socket, from, (uint16_t)port, "/ws", CODEC_PROTOBUF) < 0)
        fail(member);
    else
        watch(member);
}

static void
leave(struct member *member)
{
    hang_up(member);
    member->has_left = true;
    member->left_ms = member->exodus->now_ms;
}

// The end of a connection that was not ours to end.
static void
on_end(struct member *member, const char *why)
{
    struct exodus *exodus = member->exodus;
    if (member->has_left || !member->is_live) {
        fail(member);
        return;
    }
    if (member->is_told && strcmp(why, "closed with 1012") == 0)
        exodus->closed++;
    else if (exodus->cut++ < 5)
        fprintf(stderr, "user %u: %s\n", member->number, why);
    leave(member);
}

static void
on_opened(void *arg)
{
    struct member *member = arg;
    char user[32];
    snprintf(user, sizeof(user), "exodus-%u", member->number);
    ws_say_hello(&member->socket, 1, user, "exodus", &member->exodus->scratch);
}

static void
on_welcome(struct member *member)
{
    struct exodus *exodus = member->exodus;
    exodus->opening--;
    exodus->live++;
    member->is_live = true;
    if (!member->has_left)
        return;
    exodus->back++;
    exodus->last_back_ms = exodus->now_ms;
    uint64_t due_ms = member->slot_ms > member->left_ms ? member->slot_ms : member->left_ms;
    if (exodus->now_ms > due_ms && exodus->now_ms - due_ms > exodus->away_max_ms)
        exodus->away_max_ms = exodus->now_ms - due_ms;
}

static void
on_go_away(struct member *member, const Switchyard__V1__GoAway *go_away)
{
    struct exodus *exodus = member->exodus;
    unsigned port = 0;
    if (member->is_told)
        return;
    if (exodus->told++ == 0)
        exodus->first_told_ms = exodus->now_ms;
    exodus->last_told_ms = exodus->now_ms;
    member->is_told = true;
    member->slot_ms = exodus->now_ms + go_away->reconnect_after_ms;
    member->port = another_port(exodus, member);
    if (go_away->url[0] == '\0') {
        exodus->no_url++;
    } else {
        bool is_known = false;
        if (sscanf(go_away->url, "ws://127.0.0.1:%u/ws", &port) == 1)
            for (unsigned i = 1; i < exodus->edges; i++)
                is_known |= exodus->ports[i] == port;
        exodus->strange_url += !is_known;
        if (is_known)
            member->port = port;
    }
}

static void
on_message(void *arg, const uint8_t *bytes, size_t len)
{
    struct member *member = arg;
    struct exodus *exodus = member->exodus;
    struct codec_error error;
    arena_clear(&exodus->arena);
    const Switchyard__V1__ServerFrame *frame =
        codec_read_server(member->socket.format, bytes, len, &exodus->arena, &error);
    for (size_t i = 0; frame != NULL && i < frame->n_events; i++) {
        const Switchyard__V1__Event *event = frame->events[i];
        if (event->event_case == SWITCHYARD__V1__EVENT__EVENT_WELCOME)
            on_welcome(member);
        else if (event->event_case == SWITCHYARD__V1__EVENT__EVENT_GO_AWAY)
            on_go_away(member, event->go_away);
    }
}

static void
turn(struct exodus *exodus, int wait_ms)
{
    struct epoll_event events[256];
    int n = epoll_wait(exodus->epoll, events, 256, wait_ms);
    exodus->now_ms = clock_ms();
    for (int i = 0; i < n; i++) {
        struct member *member = events[i].data.ptr;
        struct ws_handler handler = {.opened = on_opened, .message = on_message, .arg = member};
        const char *wrong = NULL;
        if (!member->is_connected)
            continue;
        if (events[i].events & EPOLLOUT)
            wrong = ws_client_on_writable(&member->socket);
        if (wrong == NULL && (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
            wrong = ws_client_on_readable(&member->socket, &handler);
        if (wrong == NULL && member->socket.state == WS_OPEN && member->socket.out.len > 0)
            wrong = ws_client_on_writable(&member->socket);
        if (wrong != NULL)
            on_end(member, wrong);
        else
            watch(member);
    }
}

static void
open_all(struct exodus *exodus)
{
    uint32_t begun = 0;
    uint64_t until_ms = clock_ms() + exodus->deadline_ms;
    while (exodus->live < exodus->users) {
        while (begun < exodus->users && exodus->opening < MAX_OPENING) {
            struct member *member = &exodus->members[begun];
            *member = (struct member){.exodus = exodus, .number = begun++};
            begin(member, exodus->ports[0]);
        }
        turn(exodus, 100);
        if (exodus->refused > 0 || exodus->now_ms > until_ms) {
            fprintf(stderr, "only %u of %u could log in\n", exodus->live, exodus->users);
            exit(1);
        }
    }
}

static void
go(struct exodus *exodus)
{
    for (uint32_t i = 0; i < exodus->users; i++) {
        struct member *member = &exodus->members[i];
        if (!member->is_told || exodus->now_ms < member->slot_ms)
            continue;
        if (!member->has_left && member->number % 100 < exodus->obey) {
            exodus->went++;
            leave(member);
        }
        if (!member->has_left || member->is_connected)
            continue;
        uint64_t bucket = (exodus->now_ms - exodus->first_told_ms) / BUCKET_MS;
        exodus->tries[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
        begin(member, member->port);
    }
}

static uint32_t
most_in(const struct exodus *exodus, unsigned buckets)
{
    uint32_t most = 0;
    for (unsigned at = 0; at + buckets <= BUCKETS; at++) {
        uint32_t sum = 0;
        for (unsigned i = at; i < at + buckets; i++)
            sum += exodus->tries[i];
        most = sum > most ? sum : most;
    }
    return most;
}

static void
print(const struct exodus *exodus)
{
    printf("{\"users\": %u, \"told\": %u, \"told_in_ms\": %llu, \"no_url\": %u, "
           "\"strange_url\": %u, \"went\": %u, \"closed_1012\": %u, \"cut\": %u, \"back\": %u, "
           "\"refused\": %u, \"most_in_1s\": %u, \"most_in_100ms\": %u, \"back_after_ms\": %llu, "
           "\"away_max_ms\": %llu}\n",
           exodus->users, exodus->told,
           (unsigned long long)(exodus->last_told_ms - exodus->first_told_ms), exodus->no_url,
           exodus->strange_url, exodus->went, exodus->closed, exodus->cut, exodus->back,
           exodus->refused, most_in(exodus, 1000 / BUCKET_MS), most_in(exodus, 1),
           (unsigned long long)(exodus->last_back_ms - exodus->first_told_ms),
           (unsigned long long)exodus->away_max_ms);
}

static bool
read_options(struct exodus *exodus, int argc, char **argv)
{
    static const struct option names[] = {{"edges", required_argument, NULL, 'e'},
                                          {"users", required_argument, NULL, 'u'},
                                          {"obey", required_argument, NULL, 'o'},
                                          {"deadline", required_argument, NULL, 'd'},
                                          {0}};
    int name;
    while ((name = getopt_long(argc, argv, "", names, NULL)) != -1) {
        if (name == '?')
            return false;
        char *at = optarg;
        unsigned long number = strtoul(at, &at, 10);
        if (name == 'u')
            exodus->users = (uint32_t)number;
        else if (name == 'o')
            exodus->obey = (uint32_t)number;
        else if (name == 'd')
            exodus->deadline_ms = 1000 * number;
        for (; name == 'e' && exodus->edges < MAX_EDGES; number = strtoul(at + 1, &at, 10)) {
            exodus->ports[exodus->edges++] = (unsigned)number;
            if (*at != ',')
                break;
        }
    }
    return optind == argc && exodus->edges > 0 && exodus->users > 0 && exodus->users <= MAX_USERS;
}

int
main(int argc, char **argv)
{
    static struct exodus exodus = {.users = 2000, .obey = 50, .deadline_ms = 60000};
    if (!read_options(&exodus, argc, argv)) {
        fputs("usage: exodus --edges PORT,PORT [--users N] [--obey PERCENT] [--deadline S]\n",
              stderr);
        return 64;
    }
    exodus.epoll = epoll_create1(EPOLL_CLOEXEC);
    exodus.members = calloc(exodus.users, sizeof(*exodus.members));
    if (exodus.epoll < 0 || exodus.members == NULL)
        abort();
    arena_init(&exodus.arena, ARENA_SIZE);
    open_all(&exodus);
    puts("ready");
    fflush(stdout);
    uint64_t until_ms = clock_ms() + exodus.deadline_ms;
    while (exodus.back < exodus.users && exodus.now_ms < until_ms) {
        turn(&exodus, 5);
        go(&exodus);
    }
    print(&exodus);
    bool is_well = exodus.told == exodus.users && exodus.strange_url == 0 && exodus.cut == 0 &&
                   exodus.went + exodus.closed == exodus.users && exodus.back == exodus.users;
    for (uint32_t i = 0; i < exodus.users; i++)
        if (exodus.members[i].is_connected)
            ws_client_close(&exodus.members[i].socket);
    free(exodus.members);
    arena_fini(&exodus.arena);
    buf_fini(&exodus.scratch);
    return is_well ? 0 : 1;
}
