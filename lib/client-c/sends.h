// sends.h: every send that has no outcome yet.
//
//   queued --written--> in flight --answered, late or lost--> finished --popped--> gone
//
// A queued send waits, encoded, for a connection; it is bounded in bytes, in number and in
// time. An in-flight one waits for its Outcome; its bytes are gone. A finished one waits to
// be told to its owner: so an outcome is told exactly once, and never from inside a call.
// A send nobody asked the outcome of is forgotten where it would be finished or in flight.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/client-c/include/switchyard/client.h"
#include "proto/tables.h"

struct send {
    struct send *next;
    struct send *prev;
    struct send *next_in_bucket;
    uint64_t id;     // of the command; 0: no outcome wanted
    uint64_t due_ms; // queued: dropped then; in flight: given up then
    switchyard_outcome_cb *done;
    void *arg;
    uint8_t *bytes; // an encoded ClientFrame; NULL once written
    size_t len;
    struct switchyard_outcome outcome; // once finished; strings static
};

struct send_list {
    struct send *first;
    struct send *last;
};

#define SENDS_BUCKETS 256

struct sends {
    struct send_list queued;
    struct send_list in_flight; // in the order of due_ms, since all wait equally long
    struct send_list finished;
    size_t queued_bytes;
    size_t count; // in all three lists
    size_t max_bytes;
    size_t max_count;
    uint64_t next_expiry_ms;             // no queued send is due before
    struct send *buckets[SENDS_BUCKETS]; // in flight, by id
};

void sends_init(struct sends *sends, size_t max_bytes, size_t max_count);
void sends_fini(struct sends *sends); // tells nobody
// Takes bytes on success. SWITCHYARD_EFULL, _ETOOLARGE, _ENOMEM.
int sends_push(struct sends *sends, uint64_t id, uint8_t *bytes, size_t len, uint64_t expires_ms,
               switchyard_outcome_cb *done, void *arg);
// Whether sends_push would take so much now: 0, SWITCHYARD_EFULL or _ETOOLARGE.
int sends_check(const struct sends *sends, size_t len);
// The first queued one has been written.
void sends_written(struct sends *sends, uint64_t answer_due_ms);
// In flight only; NULL: not or no longer.
struct send *sends_find(const struct sends *sends, uint64_t id);
// Takes it out of its list without finishing it; the caller frees it (free).
void sends_take(struct sends *sends, struct send *send);
// The first queued one ends without having been written.
void sends_reject_first(struct sends *sends, enum reason reason, const char *text);
// All of a kind end.
void sends_reject_queued(struct sends *sends, enum reason reason, const char *text);
void sends_lose_in_flight(struct sends *sends, const char *text);
// Ends what is due.
void sends_expire(struct sends *sends, uint64_t now_ms);
// UINT64_MAX: nothing to wait for.
uint64_t sends_deadline(const struct sends *sends);
// The oldest finished one, taken; the caller frees it (free). NULL: none.
struct send *sends_pop_finished(struct sends *sends);
