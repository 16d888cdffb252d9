// people.c: see people.h. What each of them does by itself is in person.c.
#include "tests/fault/people.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "tests/fault/person.h"

#define SCAN_US 5000u
#define ARENA_SIZE (1 << 20)

uint64_t
now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

uint32_t
draw(uint64_t *state, uint32_t below)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (uint32_t)((*state * 2685821657736338717u) >> 33) % below;
}

void
people_init(struct people *people, uint32_t count, uint64_t seed, struct book *book)
{
    people->count = count;
    people->random = seed * 2 + 1;
    people->book = book;
    people->measures = book->measures;
    people->members = calloc(count, sizeof(*people->members));
    people->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (people->members == NULL || people->epoll < 0)
        abort();
    arena_init(&people->arena, ARENA_SIZE);
    people->states[PERSON_ABSENT] = count;
    for (uint32_t i = 0; i < count; i++) {
        struct person *person = &people->members[i];
        person->people = people;
        person->number = i;
        while (i % people->weights >=
               people->edges[person->home].first + people->edges[person->home].weight)
            person->home++;
        person->edge = person->home;
    }
}

void
people_fini(struct people *people)
{
    for (uint32_t i = 0; i < people->count; i++)
        ws_client_close(&people->members[i].socket);
    arena_fini(&people->arena);
    buf_fini(&people->scratch);
    free(people->members);
    close(people->epoll);
}

uint32_t
people_pick(const struct people *people, uint64_t *random, bool by_edge)
{
    if (!by_edge)
        return draw(random, people->count);
    const struct place *edge = &people->edges[draw(random, people->edge_count)];
    uint32_t slot = edge->first + draw(random, edge->weight);
    uint32_t round = draw(random, people->count / people->weights);
    return round * people->weights + slot;
}

uint32_t
people_open(struct people *people, uint32_t most)
{
    uint64_t now = now_us();
    for (uint32_t i = 0; i < people->count && people->states[PERSON_OPENING] < most; i++) {
        struct person *person = &people->members[i];
        if (person->state != PERSON_ABSENT)
            continue;
        person->edge = person->home;
        if (people->edges[person->edge].port == 0)
            person->edge = person_pick_edge(people, person->edge);
        person_start(person, now);
    }
    return people->count - people->states[PERSON_LIVE];
}

void
people_tick(struct people *people, uint64_t now)
{
    if (now < people->scanned_us + SCAN_US)
        return;
    people->scanned_us = now;
    for (uint32_t i = 0; i < people->count; i++) {
        struct person *person = &people->members[i];
        if (person->due_us <= now && person->state != PERSON_ABSENT &&
            person->state != PERSON_ENDED)
            person_on_due(person, now);
    }
}

uint32_t
people_go_home(struct people *people, uint32_t most)
{
    uint32_t left = 0;
    uint64_t now = now_us();
    for (uint32_t i = 0; i < people->count; i++) {
        struct person *person = &people->members[i];
        if (person->state == PERSON_LIVE && person->edge == person->home)
            continue;
        left++;
        if (person->state != PERSON_LIVE || people->states[PERSON_OPENING] >= most ||
            people->edges[person->home].port == 0)
            continue;
        person_hang_up(person);
        person->edge = person->home;
        person->has_slot = false;
        person->lost_us = 0; // by its own will
        person_start(person, now);
    }
    return left;
}

void
people_leave(struct people *people)
{
    for (uint32_t i = 0; i < people->count; i++) {
        struct person *person = &people->members[i];
        person_hang_up(person);
        person->lost_us = 0;
        person->has_slot = false;
        person_move(person, PERSON_ABSENT);
    }
}

uint32_t
people_revive(struct people *people)
{
    uint32_t revived = 0;
    uint64_t now = now_us();
    for (uint32_t i = 0; i < people->count; i++)
        if (people->members[i].state == PERSON_ENDED) {
            person_come_back(&people->members[i], now);
            revived++;
        }
    return revived;
}

void
people_hold(struct people *people, bool is_held)
{
    uint64_t now = now_us();
    for (uint32_t i = 0; i < people->count && people->is_held && !is_held; i++)
        if (people->members[i].state == PERSON_AWAY && people->members[i].is_affected)
            person_come_back(&people->members[i], now);
    people->is_held = is_held;
}

void
people_affect(struct people *people, const char *edge)
{
    for (uint32_t i = 0; i < people->count; i++) {
        struct person *person = &people->members[i];
        if (edge == NULL)
            person->is_affected = false;
        else if (strcmp(people->edges[person->edge].name, edge) == 0)
            person->is_affected = true;
    }
}

bool
people_lives(void *arg, uint32_t user, uint32_t login)
{
    const struct people *people = arg;
    const struct person *person = &people->members[user];
    return person->state == PERSON_LIVE && person->logins == login;
}

void
people_print_where(const struct people *people, FILE *out)
{
    static const char *const names[PERSON_STATES] = {"absent", "opening", "live", "away", "ended"};
    uint32_t at[MAX_EDGES] = {0};
    for (uint32_t i = 0; i < people->count; i++)
        at[people->members[i].edge] += people->members[i].state == PERSON_LIVE;
    fputs("\"edges\": {", out);
    for (unsigned i = 0; i < people->edge_count; i++)
        fprintf(out, "%s\"%s\": %u", i > 0 ? ", " : "", people->edges[i].name, at[i]);
    fputs("}", out);
    for (unsigned state = 0; state < PERSON_STATES; state++)
        fprintf(out, ", \"%s\": %u", names[state], people->states[state]);
}

void
people_print_who(const struct people *people, FILE *out)
{
    const char *node_comma = "";
    fputs("{", out);
    for (unsigned node = 0; node < people->node_count; node++) {
        const char *comma = "";
        fprintf(out, "%s\"%s\": [", node_comma, people->nodes[node]);
        for (uint32_t i = 0; i < people->count; i++) {
            const struct person *person = &people->members[i];
            if (person->state != PERSON_LIVE || person->node != node)
                continue;
            fprintf(out, "%s[%u, %llu]", comma, i, (unsigned long long)person->connection);
            comma = ", ";
        }
        fputs("]", out);
        node_comma = ", ";
    }
    fputs("}", out);
}
