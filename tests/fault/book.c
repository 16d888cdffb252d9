// book.c: see book.h.
#include "tests/fault/book.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_NOTES 65536u

// A pair of users and the newest message that came over it. Free: to_login is 0.
struct order {
    uint32_t from, to;
    uint32_t to_login;
    uint32_t last; // number of the note
};

void
book_init(struct book *book, uint32_t max, struct measures *measures)
{
    *book = (struct book){.max = max, .measures = measures};
    book->capacity = FIRST_NOTES;
    book->order_slots = FIRST_NOTES;
    book->notes = calloc(book->capacity, sizeof(*book->notes));
    book->orders = calloc(book->order_slots, sizeof(*book->orders));
    if (book->notes == NULL || book->orders == NULL)
        abort();
}

void
book_fini(struct book *book)
{
    free(book->orders);
    free(book->notes);
}

static struct order *
find_order(struct order *orders, uint32_t slots, uint32_t from, uint32_t to)
{
    uint64_t mixed = ((uint64_t)from << 32 | to) * 0x9e3779b97f4a7c15u;
    uint32_t at = (uint32_t)(mixed >> 32) & (slots - 1);
    while (orders[at].to_login != 0 && (orders[at].from != from || orders[at].to != to))
        at = (at + 1) & (slots - 1);
    return &orders[at];
}

static void
grow_orders(struct book *book)
{
    uint32_t slots = book->order_slots * 2;
    struct order *orders = calloc(slots, sizeof(*orders));
    if (orders == NULL)
        abort();
    for (uint32_t i = 0; i < book->order_slots; i++) {
        const struct order *old = &book->orders[i];
        if (old->to_login != 0)
            *find_order(orders, slots, old->from, old->to) = *old;
    }
    free(book->orders);
    book->orders = orders;
    book->order_slots = slots;
}

uint32_t
book_write(struct book *book, uint32_t from, uint32_t to, uint32_t login, enum group group,
           uint64_t now_us)
{
    if (book->count == book->max)
        return UINT32_MAX;
    if (book->count == book->capacity) {
        book->capacity *= 2;
        book->notes = realloc(book->notes, book->capacity * sizeof(*book->notes));
        if (book->notes == NULL)
            abort();
    }
    book->notes[book->count] = (struct note){
        .sent_us = now_us, .from = from, .to = to, .login = login, .group = (uint8_t)group};
    book->measures->now.sends[group]++;
    return book->count++;
}

bool
book_answer(struct book *book, uint64_t id, uint32_t from, uint32_t login, enum note_status status,
            unsigned reason, uint64_t now_us)
{
    struct counts *now = &book->measures->now;
    if (id == 0 || id > book->count)
        return false;
    struct note *note = &book->notes[id - 1];
    if (note->from != from || note->login != login)
        return false;
    if (note->status != NOTE_WAITING) {
        now->answered_twice++;
        return true;
    }
    uint64_t took_us = now_us - note->sent_us;
    note->status = (uint8_t)status;
    note->reason = (uint8_t)(reason < REASON_COUNT ? reason : REASON_INVALID);
    note->answer_us = (uint32_t)took_us;
    hist_add(&book->measures->answer[note->group], took_us * 1000);
    if (status == NOTE_SENT)
        now->sent[note->group]++;
    else if (status == NOTE_REJECTED)
        now->rejected[note->group][note->reason]++;
    else
        now->failed[note->group][note->reason]++;
    if (took_us > ANSWER_US + ANSWER_SLACK_US && !note->is_overdue) {
        note->is_overdue = true;
        now->overdue[note->group]++;
    }
    return true;
}

static void
check_order(struct book *book, const struct arrival *arrival)
{
    uint32_t number = arrival->number;
    uint32_t to_login = arrival->to_login;
    const struct note *note = &book->notes[number];
    struct order *order = find_order(book->orders, book->order_slots, note->from, note->to);
    if (order->to_login == to_login && order->last > number &&
        book->notes[order->last].login == note->login) {
        if (arrival->to_login_age_us < MOVED_US)
            book->measures->now.disordered_moving++;
        else
            book->measures->now.disordered++;
        return;
    }
    if (order->to_login == 0)
        book->order_count++;
    *order =
        (struct order){.from = note->from, .to = note->to, .to_login = to_login, .last = number};
    if (book->order_count > book->order_slots / 2)
        grow_orders(book);
}

void
book_arrive(struct book *book, const struct arrival *arrival, uint64_t now_us)
{
    struct counts *now = &book->measures->now;
    if (arrival->number >= book->count || book->notes[arrival->number].from != arrival->from ||
        book->notes[arrival->number].to != arrival->to) {
        now->strange++;
        return;
    }
    struct note *note = &book->notes[arrival->number];
    if (note->arrivals < UINT8_MAX)
        note->arrivals++;
    if (note->arrivals > 1) {
        if (note->to_login != arrival->to_login)
            now->doubled_moving++;
        else
            now->doubled++;
        return;
    }
    note->to_login = arrival->to_login;
    now->arrived[note->group]++;
    hist_add(&book->measures->travel[note->group], (now_us - note->sent_us) * 1000);
    if (arrival->age_ms > (int64_t)(TTL_MS + TTL_SLACK_MS))
        now->late++;
    check_order(book, arrival);
}

void
book_check(struct book *book, uint64_t now_us, book_lives lives, void *arg)
{
    struct counts *now = &book->measures->now;
    while (book->checked < book->count) {
        struct note *note = &book->notes[book->checked];
        if (note->sent_us + ANSWER_US + ANSWER_SLACK_US > now_us)
            return;
        book->checked++;
        if (note->status != NOTE_WAITING)
            continue;
        if (!lives(arg, note->from, note->login)) {
            note->status = NOTE_UNKNOWN;
            now->unknown[note->group]++;
        } else {
            note->is_overdue = true; // the answer may come yet, and stays overdue
            now->overdue[note->group]++;
        }
    }
}

void
book_mark(struct book *book, uint64_t now_us)
{
    book->marked = book->count;
    book->marked_us = now_us;
    measures_mark(book->measures, now_us);
}

void
book_open(struct book *book, uint32_t from_note, book_lives lives, void *arg, uint32_t *waiting,
          uint32_t *missing)
{
    *waiting = *missing = 0;
    for (uint32_t i = from_note; i < book->count; i++) {
        const struct note *note = &book->notes[i];
        if (note->status == NOTE_WAITING && lives(arg, note->from, note->login))
            ++*waiting;
        else if (note->status == NOTE_SENT && note->arrivals == 0)
            ++*missing;
    }
}

void
book_audit(const struct book *book, FILE *out)
{
    uint32_t before[GROUP_COUNT] = {0};
    uint32_t after[GROUP_COUNT] = {0};
    uint32_t surprises = 0;
    for (uint32_t i = 0; i < book->count; i++) {
        const struct note *note = &book->notes[i];
        if (note->status == NOTE_SENT && note->arrivals == 0) {
            bool is_before = note->sent_us + note->answer_us <= book->marked_us;
            (is_before ? before : after)[note->group]++;
        } else if ((note->status == NOTE_REJECTED || note->status == NOTE_FAILED) &&
                   note->reason != REASON_TIMEOUT && note->arrivals > 0) {
            surprises++;
        }
    }
    fprintf(out,
            "\"lost\": {\"others\": {\"before\": %u, \"after\": %u}, "
            "\"victims\": {\"before\": %u, \"after\": %u}}, \"rejected_but_arrived\": %u",
            before[GROUP_OTHERS], after[GROUP_OTHERS], before[GROUP_VICTIMS], after[GROUP_VICTIMS],
            surprises);
}
