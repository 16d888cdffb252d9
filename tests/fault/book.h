// book.h: every send of a run, what was answered and what arrived.
//
// Sends are numbered from 0 in the order in which they were written; the number is the
// message's text and, plus one, the id of its command. Order is held per sender, receiver
// and login of either: who logs in anew may find its earlier messages still under way. A
// message that had to be looked up again since its receiver had just moved may come behind
// later ones, and a device that moves may get one on its old connection and on the new; both
// are counted apart (docs/explanation/sending.md).
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "tests/fault/measures.h"

// The protocol promises an outcome within this time; the rest is for the driver's own turns.
#define ANSWER_US 5000000u
#define ANSWER_SLACK_US 250000u
// A send's default time to live, and the same slack.
#define TTL_MS 3000u
#define TTL_SLACK_MS 250u
// So long after a login others may look for the user where it was: routes.ttl.
#define MOVED_US 10000000u

enum note_status { NOTE_WAITING, NOTE_SENT, NOTE_REJECTED, NOTE_FAILED, NOTE_UNKNOWN };

struct note {
    uint64_t sent_us;
    uint32_t from, to;
    uint32_t login;     // of the sender: which of its connections asked
    uint32_t answer_us; // after sent_us; valid unless waiting or unknown
    uint32_t to_login;  // of the receiver, at the first arrival
    uint8_t status;     // enum note_status
    uint8_t reason;     // of a rejection or failure
    uint8_t arrivals;
    uint8_t group;
    bool is_overdue;
};

// A message as its receiver sees it.
struct arrival {
    uint32_t number;
    uint32_t from, to;
    uint32_t to_login;        // of the receiver
    uint64_t to_login_age_us; // how long it has lived
    int64_t age_ms;           // since the sender's edge took the message, by the wall clock
};

struct order; // the last message read of a sender by a receiver

struct book {
    struct note *notes;
    uint32_t count, capacity, max;
    uint32_t checked; // notes before this one are older than the answer may take
    uint32_t marked;  // count at the last mark
    uint64_t marked_us;
    struct order *orders; // open addressing
    uint32_t order_count, order_slots;
    struct measures *measures;
};

// What the people know, for the book: whether this login of the user still lives.
typedef bool (*book_lives)(void *arg, uint32_t user, uint32_t login);

void book_init(struct book *book, uint32_t max, struct measures *measures);
void book_fini(struct book *book);
// The number of a new note; UINT32_MAX when the book is full.
uint32_t book_write(struct book *book, uint32_t from, uint32_t to, uint32_t login, enum group group,
                    uint64_t now_us);
// False if there is no such note that waits for this login's answer.
bool book_answer(struct book *book, uint64_t id, uint32_t from, uint32_t login,
                 enum note_status status, unsigned reason, uint64_t now_us);
void book_arrive(struct book *book, const struct arrival *arrival, uint64_t now_us);
// Counts what should have been answered by now.
void book_check(struct book *book, uint64_t now_us, book_lives lives, void *arg);
void book_mark(struct book *book, uint64_t now_us);
// Sends that wait for an answer on a living login; and those that were sent and are not
// there yet.
void book_open(struct book *book, uint32_t from_note, book_lives lives, void *arg,
               uint32_t *waiting, uint32_t *missing);
// "lost": {...}: what was answered `sent` and never arrived, by group and by whether it was
// answered before the mark; "rejected_but_arrived": n
void book_audit(const struct book *book, FILE *out);
