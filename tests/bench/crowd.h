// crowd.h: thousands of users in one thread, on an edge or a floor.
//
// Members are added, then logged in, a bounded number at a time; crowd_turn does what is
// due on all sockets. At most 2,000 members share a source address: one address has about
// 28,000 ports, and a table with that many in TIME_WAIT is slow to search.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "tests/bench/speech.h"
#include "tests/bench/tally.h"
#include "tests/lib/ws_client.h"

#define CROWD_PORTS 8
#define CROWD_REASONS 32

enum role { ROLE_ONE, ROLE_HUB, ROLE_HALL };
enum member_state { MEMBER_ABSENT, MEMBER_OPENING, MEMBER_LIVE, MEMBER_LOST };

struct member {
    struct crowd *crowd;
    struct ws_client socket;
    uint32_t number; // its user is "b<number>"
    uint16_t port;
    uint8_t role;
    uint8_t state;
    uint32_t events;   // epoll's
    uint64_t began_ns; // of its login
    struct tally tally;
};

struct crowd {
    enum speech speech;
    const char *secret; // of tokens; NULL: the edge takes names
    uint32_t first;     // number of the first member
    int epoll;
    struct member *members;
    uint32_t count, capacity;
    uint32_t wanted, started, in_flight; // of those added: to be live; tried; at a time
    uint32_t opening, live, lost;
    char first_loss[128];
    uint64_t outcomes, rejected[CROWD_REASONS], failures, strange;
    struct token_keys *keys;
    struct buf scratch;

    void (*on_live)(void *arg, struct member *member, uint64_t now_ns); // may be NULL
    void (*on_message)(void *arg, struct member *member, const struct stamp *stamp,
                       uint64_t now_ns);
    void *arg;
};

uint64_t now_ns(void);
// Members are reserved for `capacity`; the rest of *crowd is zero or set by the caller.
void crowd_init(struct crowd *crowd, uint32_t capacity);
void crowd_fini(struct crowd *crowd);
struct member *crowd_add(struct crowd *crowd, enum role role, uint16_t port);
// From now on crowd_turn logs in what was added, at most `in_flight` at a time.
void crowd_want_all(struct crowd *crowd, uint32_t in_flight);
// The same, and waits for it. False: not all were live after timeout_ms.
bool crowd_open_all(struct crowd *crowd, uint32_t in_flight, uint64_t timeout_ms);
// Waits at most `wait` ns for events, and handles them.
void crowd_turn(struct crowd *crowd, uint64_t wait);
void crowd_say(struct member *member, const struct phrase *phrase);
// Writes what was said.
void crowd_push(struct member *member);
// "lost_connections": .., "rejected": {..}, ...
void crowd_print(const struct crowd *crowd, FILE *out);
