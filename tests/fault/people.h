// people.h: thousands of users that behave as a good client does.
//
// A user logs in at an edge and, when that connection ends, comes back to another one after a
// pause: the SDK's backoff with full jitter, or the time and place a GoAway named. Every other
// user leaves by itself at that time, the rest wait for the edge's close. It stays
// away after a terminal close code (4001 and its like), closes a connection on which
// nothing was heard for a ping interval and ten seconds, and gives a connection attempt ten
// seconds.
//
//   ABSENT -> OPENING -> LIVE -> AWAY -> OPENING ...
//                           \-> ENDED, by a terminal code or people_leave, until people_revive
//
// At most 1,000 users share a source address (127.1.N.1), and every close is a reset, so that
// no port waits in TIME_WAIT.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "proto/ident.h"
#include "tests/fault/book.h"
#include "tests/lib/ws_client.h"

#define MAX_PEOPLE 20000u
#define MAX_EDGES 16
#define MAX_NODES 1024 // node ids seen in a run: an edge that starts again is a new one

enum person_state { PERSON_ABSENT, PERSON_OPENING, PERSON_LIVE, PERSON_AWAY, PERSON_ENDED };
#define PERSON_STATES 5

struct people;

struct person {
    struct people *people;
    struct ws_client socket;
    uint32_t number;     // its name is "u<number>"
    uint32_t logins;     // Welcomes so far: the number of the present login
    uint32_t events;     // epoll's
    uint8_t state;       // enum person_state
    uint8_t home;        // edge of the first login
    uint8_t edge;        // of this connection or the next
    uint8_t slot_edge;   // with has_slot: where to
    uint8_t failures;    // since it was last live for long
    bool is_affected;    // it was on a victim when that was last said
    bool has_slot;       // a GoAway named the time and perhaps the edge
    bool is_leaving;     // it has said so, at its slot
    uint16_t node;       // of people->nodes, while LIVE
    uint64_t connection; // number on that node
    uint64_t due_us;     // OPENING: give up; AWAY: try; LIVE: nothing was heard
    uint64_t began_us;   // OPENING: since when
    uint64_t live_us;    // LIVE: since when
    uint64_t lost_us;    // end of the last login; 0: none
    uint64_t slot_us;    // with has_slot
    uint32_t quiet_us;   // how long nothing may be heard
};

struct place {
    char name[41];
    uint16_t port;   // 0: gone for now
    uint16_t weight; // its share of the users
    uint32_t first;  // sum of the weights before it
    uint32_t second, logins_in_second, logins_max_per_s;
};

struct people {
    struct person *members;
    uint32_t count;
    struct place edges[MAX_EDGES];
    unsigned edge_count;
    uint32_t weights; // of all edges
    bool is_held;     // the affected do not come back for now
    char nodes[MAX_NODES][NODE_ID_SIZE];
    unsigned node_count;
    int epoll;
    uint64_t random;
    uint64_t scanned_us;
    uint32_t second, logins_in_second;
    uint32_t states[PERSON_STATES]; // how many are in each
    struct arena arena;
    struct buf scratch;
    struct book *book;
    struct measures *measures;
};

// Microseconds of the monotonic clock.
uint64_t now_us(void);
// xorshift64*: below `below`, from a state other than 0.
uint32_t draw(uint64_t *state, uint32_t below);

// The edges have been set.
void people_init(struct people *people, uint32_t count, uint64_t seed, struct book *book);
void people_fini(struct people *people);
// Logs in at home whoever is absent, at most `most` at a time. How many still are.
uint32_t people_open(struct people *people, uint32_t most);
// What is due by the clock: attempts, time-outs.
void people_tick(struct people *people, uint64_t now);
// Those LIVE elsewhere than at home move there, at most `most`. How many still have to.
uint32_t people_go_home(struct people *people, uint32_t most);
// Everybody ends the connection and is ABSENT.
void people_leave(struct people *people);
// Those who ENDED come back as if just closed. How many.
uint32_t people_revive(struct people *people);
// Marks as affected those on an edge of that name now; or nobody, with NULL.
void people_affect(struct people *people, const char *edge);
// While held, those who are affected stay away; let go, they come back after their backoff.
void people_hold(struct people *people, bool is_held);
// A user by chance: every user is as likely as any other, or every edge is.
uint32_t people_pick(const struct people *people, uint64_t *random, bool by_edge);
// "where": {"edge-a": n, ..., "opening": n, "away": n, "ended": n, "absent": n}
void people_print_where(const struct people *people, FILE *out);
// {"<node id>": [[user, connection], ...], ...}
void people_print_who(const struct people *people, FILE *out);
// book_lives
bool people_lives(void *arg, uint32_t user, uint32_t login);
