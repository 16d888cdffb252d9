// sends.c: three lists and an index. See sends.h.
#include "lib/client-c/sends.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static void
append(struct send_list *list, struct send *send)
{
    send->next = NULL;
    send->prev = list->last;
    if (list->last != NULL)
        list->last->next = send;
    else
        list->first = send;
    list->last = send;
}

static void
unlink_from(struct send_list *list, struct send *send)
{
    if (send->prev != NULL)
        send->prev->next = send->next;
    else
        list->first = send->next;
    if (send->next != NULL)
        send->next->prev = send->prev;
    else
        list->last = send->prev;
    send->next = send->prev = NULL;
}

// The first, taken; NULL: none.
static struct send *
pop(struct send_list *list)
{
    struct send *send = list->first;
    if (send == NULL)
        return NULL;
    list->first = send->next;
    if (list->first != NULL)
        list->first->prev = NULL;
    else
        list->last = NULL;
    send->next = NULL;
    return send;
}

static void
drop_bytes(struct sends *sends, struct send *send)
{
    sends->queued_bytes -= send->len;
    free(send->bytes);
    send->bytes = NULL;
}

// Ids are consecutive, so the low bits spread them evenly.
static struct send **
bucket_of(struct sends *sends, uint64_t id)
{
    return &sends->buckets[id % SENDS_BUCKETS];
}

static void
unlink_from_bucket(struct sends *sends, struct send *send)
{
    struct send **at = bucket_of(sends, send->id);
    while (*at != send)
        at = &(*at)->next_in_bucket;
    *at = send->next_in_bucket;
}

void
sends_init(struct sends *sends, size_t max_bytes, size_t max_count)
{
    *sends = (struct sends){
        .max_bytes = max_bytes, .max_count = max_count, .next_expiry_ms = UINT64_MAX};
}

static void
free_list(struct send_list *list)
{
    struct send *send;
    while ((send = pop(list)) != NULL) {
        free(send->bytes);
        free(send);
    }
}

void
sends_fini(struct sends *sends)
{
    free_list(&sends->queued);
    free_list(&sends->in_flight);
    free_list(&sends->finished);
    *sends = (struct sends){0};
}

int
sends_check(const struct sends *sends, size_t len)
{
    if (len > sends->max_bytes)
        return SWITCHYARD_ETOOLARGE;
    if (sends->count >= sends->max_count || len > sends->max_bytes - sends->queued_bytes)
        return SWITCHYARD_EFULL;
    return 0;
}

int
sends_push(struct sends *sends, uint64_t id, uint8_t *bytes, size_t len, uint64_t expires_ms,
           switchyard_outcome_cb *done, void *arg)
{
    int error = sends_check(sends, len);
    if (error != 0)
        return error;
    struct send *send = calloc(1, sizeof(*send));
    if (send == NULL)
        return SWITCHYARD_ENOMEM;
    *send = (struct send){
        .id = id, .due_ms = expires_ms, .done = done, .arg = arg, .bytes = bytes, .len = len};
    append(&sends->queued, send);
    sends->queued_bytes += len;
    sends->count++;
    if (expires_ms < sends->next_expiry_ms)
        sends->next_expiry_ms = expires_ms;
    return 0;
}

static void
forget(struct sends *sends, struct send *send)
{
    sends->count--;
    free(send);
}

void
sends_written(struct sends *sends, uint64_t answer_due_ms)
{
    struct send *send = pop(&sends->queued);
    assert(send != NULL);
    drop_bytes(sends, send);
    if (send->id == 0) {
        forget(sends, send);
        return;
    }
    send->due_ms = answer_due_ms;
    append(&sends->in_flight, send);
    struct send **bucket = bucket_of(sends, send->id);
    send->next_in_bucket = *bucket;
    *bucket = send;
}

struct send *
sends_find(const struct sends *sends, uint64_t id)
{
    struct send *send = sends->buckets[id % SENDS_BUCKETS];
    while (send != NULL && send->id != id)
        send = send->next_in_bucket;
    return send;
}

void
sends_take(struct sends *sends, struct send *send)
{
    unlink_from_bucket(sends, send);
    unlink_from(&sends->in_flight, send);
    sends->count--;
}

// From here to lose(): `send` is in no list any more.
static void
finish(struct sends *sends, struct send *send, enum switchyard_status status, enum reason reason,
       const char *text)
{
    if (send->id == 0) {
        forget(sends, send);
        return;
    }
    send->outcome = (struct switchyard_outcome){
        .status = status,
        .reason = (int)reason,
        .text = text,
        .is_retryable = reason_is_retryable(reason),
        .message_id = "",
    };
    append(&sends->finished, send);
}

static void
reject(struct sends *sends, struct send *send, enum reason reason, const char *text)
{
    drop_bytes(sends, send);
    finish(sends, send, SWITCHYARD_REJECTED, reason, text);
}

static void
lose(struct sends *sends, struct send *send, const char *text)
{
    unlink_from_bucket(sends, send);
    finish(sends, send, SWITCHYARD_UNKNOWN, REASON_TIMEOUT, text);
}

void
sends_reject_first(struct sends *sends, enum reason reason, const char *text)
{
    struct send *send = pop(&sends->queued);
    assert(send != NULL);
    reject(sends, send, reason, text);
}

void
sends_reject_queued(struct sends *sends, enum reason reason, const char *text)
{
    struct send *send;
    while ((send = pop(&sends->queued)) != NULL)
        reject(sends, send, reason, text);
}

void
sends_lose_in_flight(struct sends *sends, const char *text)
{
    struct send *send;
    while ((send = pop(&sends->in_flight)) != NULL)
        lose(sends, send, text);
}

void
sends_expire(struct sends *sends, uint64_t now_ms)
{
    while (sends->in_flight.first != NULL && sends->in_flight.first->due_ms <= now_ms)
        lose(sends, pop(&sends->in_flight), "no answer from the edge in time; it may have arrived");
    if (now_ms < sends->next_expiry_ms)
        return;
    sends->next_expiry_ms = UINT64_MAX;
    for (struct send *send = sends->queued.first, *next; send != NULL; send = next) {
        next = send->next;
        if (send->due_ms <= now_ms) {
            unlink_from(&sends->queued, send);
            reject(sends, send, REASON_EXPIRED,
                   "no connection to an edge in time; it was not sent");
        } else if (send->due_ms < sends->next_expiry_ms) {
            sends->next_expiry_ms = send->due_ms;
        }
    }
}

uint64_t
sends_deadline(const struct sends *sends)
{
    uint64_t deadline = sends->queued.first != NULL ? sends->next_expiry_ms : UINT64_MAX;
    if (sends->in_flight.first != NULL && sends->in_flight.first->due_ms < deadline)
        deadline = sends->in_flight.first->due_ms;
    return deadline;
}

struct send *
sends_pop_finished(struct sends *sends)
{
    struct send *send = pop(&sends->finished);
    if (send != NULL)
        sends->count--;
    return send;
}
