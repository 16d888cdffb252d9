// crowd.c: see crowd.h.
#include "tests/bench/crowd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "edge/token.h"
#include "proto/tables.h"

#define PER_ADDRESS 2000
#define TOKEN_LIFE_S 3600

uint64_t
now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void
crowd_init(struct crowd *crowd, uint32_t capacity)
{
    crowd->members = calloc(capacity, sizeof(*crowd->members));
    crowd->capacity = capacity;
    crowd->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (crowd->members == NULL || crowd->epoll < 0)
        abort();
    if (crowd->secret == NULL)
        return;
    crowd->keys = token_keys_new();
    if (token_keys_add_hs256(crowd->keys, "", crowd->secret, strlen(crowd->secret)) != 0)
        abort(); // the caller checked its length
}

void
crowd_fini(struct crowd *crowd)
{
    for (uint32_t i = 0; i < crowd->count; i++)
        ws_client_close(&crowd->members[i].socket);
    if (crowd->keys != NULL)
        token_keys_free(crowd->keys);
    buf_fini(&crowd->scratch);
    free(crowd->members);
    close(crowd->epoll);
}

struct member *
crowd_add(struct crowd *crowd, enum role role, uint16_t port)
{
    if (crowd->count == crowd->capacity)
        abort();
    struct member *member = &crowd->members[crowd->count];
    member->crowd = crowd;
    member->number = crowd->first + crowd->count++;
    member->role = (uint8_t)role;
    member->port = port;
    return member;
}

static void
watch(struct member *member)
{
    ws_client_watch(&member->socket, member->crowd->epoll, member, &member->events);
}

static void
lose(struct member *member, const char *why)
{
    struct crowd *crowd = member->crowd;
    if (crowd->lost++ == 0)
        snprintf(crowd->first_loss, sizeof(crowd->first_loss), "b%u: %s", member->number, why);
    if (member->state == MEMBER_LIVE)
        crowd->live--;
    else
        crowd->opening--;
    member->state = MEMBER_LOST;
    member->events = 0;
    ws_client_close(&member->socket);
}

void
crowd_push(struct member *member)
{
    const char *wrong = NULL;
    if (member->socket.state == WS_OPEN && member->socket.out.len > 0)
        wrong = ws_client_on_writable(&member->socket);
    if (wrong != NULL)
        lose(member, wrong);
    else if (member->socket.state != WS_CLOSED)
        watch(member);
}

void
crowd_say(struct member *member, const struct phrase *phrase)
{
    if (member->state == MEMBER_LIVE)
        ws_client_send(&member->socket, phrase->bytes.bytes, phrase->bytes.len);
}

// Logging in.

static void
go_live(struct member *member)
{
    struct crowd *crowd = member->crowd;
    member->state = MEMBER_LIVE;
    crowd->opening--;
    crowd->live++;
    if (crowd->on_live != NULL)
        crowd->on_live(crowd->arg, member, now_ns());
}

static void
make_token(const struct crowd *crowd, const char *user, char out[static TOKEN_MAX_BYTES])
{
    uint64_t now_s = (uint64_t)time(NULL);
    if (token_make_hs256(crowd->keys, "", user, "", "", now_s, now_s + TOKEN_LIFE_S, out,
                         TOKEN_MAX_BYTES) != 0)
        abort();
}

static void
on_opened(void *arg)
{
    struct member *member = arg;
    struct crowd *crowd = member->crowd;
    char user[16];
    char token[TOKEN_MAX_BYTES] = "";
    if (crowd->speech == SPEAK_FLOOR) {
        go_live(member);
        return;
    }
    snprintf(user, sizeof(user), "b%u", member->number);
    if (crowd->keys != NULL)
        make_token(crowd, user, token);
    buf_clear(&crowd->scratch);
    speech_hello(crowd->keys != NULL ? "" : user, token, &crowd->scratch);
    ws_client_send(&member->socket, crowd->scratch.bytes, crowd->scratch.len);
}

static void
start_one(struct crowd *crowd)
{
    struct member *member = &crowd->members[crowd->started++];
    uint32_t from = (127u << 24) + (1u << 16) + ((member->number / PER_ADDRESS) << 8) + 1;
    char path[32] = "/ws";
    if (crowd->speech == SPEAK_FLOOR && member->role == ROLE_ONE)
        snprintf(path, sizeof(path), "/one/%u", member->number);
    else if (crowd->speech == SPEAK_FLOOR)
        snprintf(path, sizeof(path), member->role == ROLE_HUB ? "/hub" : "/hall");
    member->state = MEMBER_OPENING;
    member->began_ns = now_ns();
    crowd->opening++;
    if (ws_client_open(&member->socket, from, member->port, path, CODEC_PROTOBUF) < 0)
        lose(member, strerror(errno));
    else
        watch(member);
}

void
crowd_want_all(struct crowd *crowd, uint32_t in_flight)
{
    crowd->wanted = crowd->count;
    crowd->in_flight = in_flight;
}

bool
crowd_open_all(struct crowd *crowd, uint32_t in_flight, uint64_t timeout_ms)
{
    uint64_t until = now_ns() + timeout_ms * 1000000;
    crowd_want_all(crowd, in_flight);
    while (crowd->live < crowd->wanted) {
        crowd_turn(crowd, 100000000);
        if (crowd->lost > 0 || now_ns() > until)
            return false;
    }
    return true;
}

// Hearing.

static void
on_event(struct member *member, const struct event *event)
{
    struct crowd *crowd = member->crowd;
    switch (event->heard) {
    case HEARD_WELCOME:
        go_live(member);
        break;
    case HEARD_MESSAGE:
        crowd->on_message(crowd->arg, member, &event->stamp, now_ns());
        break;
    case HEARD_SENT:
        crowd->outcomes++;
        break;
    case HEARD_REJECTED:
        crowd->outcomes++;
        crowd->rejected[event->reason % CROWD_REASONS]++;
        break;
    case HEARD_FAILURE:
        crowd->failures++;
        crowd->rejected[event->reason % CROWD_REASONS]++;
        break;
    case HEARD_OTHER:
        break;
    }
}

static void
on_frame(void *arg, const uint8_t *bytes, size_t len)
{
    struct member *member = arg;
    struct event event;
    size_t at = 0;
    while (speech_next(member->crowd->speech, bytes, len, &at, &event))
        on_event(member, &event);
    if (at < len)
        member->crowd->strange++;
}

static void
on_ready(struct member *member, uint32_t events)
{
    struct ws_handler handler = {.opened = on_opened, .message = on_frame, .arg = member};
    const char *wrong = NULL;
    if (member->state == MEMBER_LOST)
        return; // by what came before in this turn
    if (events & EPOLLOUT)
        wrong = ws_client_on_writable(&member->socket);
    if (wrong == NULL && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        wrong = ws_client_on_readable(&member->socket, &handler);
    if (wrong != NULL)
        lose(member, wrong);
    else
        crowd_push(member);
}

void
crowd_turn(struct crowd *crowd, uint64_t wait)
{
    struct epoll_event events[512];
    struct timespec limit = {.tv_sec = (time_t)(wait / 1000000000),
                             .tv_nsec = (long)(wait % 1000000000)};
    while (crowd->started < crowd->wanted && crowd->opening < crowd->in_flight)
        start_one(crowd);
    int n = epoll_pwait2(crowd->epoll, events, 512, &limit, NULL);
    for (int i = 0; i < n; i++)
        on_ready(events[i].data.ptr, events[i].events);
}

void
crowd_print(const struct crowd *crowd, FILE *out)
{
    const char *comma = "";
    fprintf(out,
            "\"live\": %u, \"lost_connections\": %u, \"first_loss\": \"%s\", \"outcomes\": %llu, "
            "\"failures\": %llu, \"strange\": %llu, \"rejected\": {",
            crowd->live, crowd->lost, crowd->first_loss, (unsigned long long)crowd->outcomes,
            (unsigned long long)crowd->failures, (unsigned long long)crowd->strange);
    for (unsigned reason = 1; reason < REASON_COUNT && reason < CROWD_REASONS; reason++) {
        if (crowd->rejected[reason] == 0)
            continue;
        fprintf(out, "%s\"%s\": %llu", comma, reason_name(reason),
                (unsigned long long)crowd->rejected[reason]);
        comma = ", ";
    }
    fputs("}", out);
}
