// people.c: see people.h. Logging in and out; what is said and heard is in talk.c.
#include "tests/fault/people.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "tests/fault/talk.h"

#define PER_ADDRESS 1000
#define SCAN_US 5000u
#define ATTEMPT_US 10000000u
// The SDK's: lib/client-c/core.h.
#define BACKOFF_MIN_MS 500u
#define BACKOFF_MAX_MS 20000u
#define STABLE_US 5000000u
#define RETRY_AFTER_MS 1000u
#define FAREWELL_US 2000000u // for the answer to a close
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

static void
move(struct person *person, enum person_state state)
{
    person->people->states[person->state]--;
    person->people->states[state]++;
    person->state = (uint8_t)state;
}

static void
hang_up(struct person *person)
{
    person->events = 0;
    ws_client_close(&person->socket);
}

// Another edge than the present one, if there is any.
static uint8_t
pick_edge(struct people *people, uint8_t present)
{
    uint8_t open[MAX_EDGES];
    uint32_t count = 0;
    for (unsigned i = 0; i < people->edge_count; i++)
        if (people->edges[i].port != 0 && i != present)
            open[count++] = (uint8_t)i;
    return count > 0 ? open[draw(&people->random, count)] : present;
}

static uint64_t
backoff_us(struct person *person)
{
    unsigned step = person->failures < 6 ? person->failures : 6;
    uint32_t spread = BACKOFF_MIN_MS << step;
    if (spread > BACKOFF_MAX_MS)
        spread = BACKOFF_MAX_MS;
    if (person->failures < UINT8_MAX)
        person->failures++;
    uint32_t delay = BACKOFF_MIN_MS + draw(&person->people->random, spread + 1);
    return (delay < BACKOFF_MAX_MS ? delay : BACKOFF_MAX_MS) * 1000ull;
}

// Even ones leave at the time a GoAway has named, odd ones wait to be closed.
static bool
leaves_at_slot(const struct person *person)
{
    return person->has_slot && !person->is_leaving && person->number % 2 == 0;
}

static void
await_sign(struct person *person, uint64_t now)
{
    person->due_us = now + (person->is_leaving ? FAREWELL_US : person->quiet_us);
    if (leaves_at_slot(person) && person->slot_us < person->due_us)
        person->due_us = person->slot_us;
}

static void
say_farewell(struct person *person, uint64_t now)
{
    person->is_leaving = true;
    ws_client_send_close(&person->socket, CLOSE_NORMAL);
    await_sign(person, now);
    people_push(person);
}

static void
come_back(struct person *person, uint64_t now)
{
    uint8_t last = person->edge;
    bool was_told = person->has_slot;
    person->has_slot = false;
    if (was_told) { // edge and time are the GoAway's
        person->failures = 0;
        person->edge = person->slot_edge;
        person->due_us = person->slot_us > now ? person->slot_us : now;
    } else {
        person->due_us = now + backoff_us(person);
        person->edge = pick_edge(person->people, last);
    }
    if (person->socket.http_status > 101 && person->edge == last) {
        uint32_t wait_ms = person->socket.retry_after_s * 1000u;
        uint64_t least = now + (wait_ms > 0 ? wait_ms : RETRY_AFTER_MS) * 1000ull;
        person->due_us = person->due_us > least ? person->due_us : least;
    }
    move(person, PERSON_AWAY);
}

static void
count_end(struct person *person, bool is_silent)
{
    struct counts *counts = &person->people->measures->now;
    const struct ws_client *socket = &person->socket;
    if (socket->close_code != 0)
        counts->closes[close_slot(socket->close_code)]++;
    else if (is_silent)
        counts->silences++;
    else if (person->state == PERSON_LIVE)
        counts->resets++;
    else if (socket->http_status > 101)
        counts->statuses[socket->http_status % STATUS_SLOTS]++;
    else
        counts->refused++;
}

// The connection has ended, however it did.
static void
lose(struct person *person, bool is_silent)
{
    uint64_t now = now_us();
    unsigned code = person->socket.close_code;
    count_end(person, is_silent);
    if (person->state == PERSON_LIVE) {
        person->lost_us = now;
        if (now - person->live_us >= STABLE_US)
            person->failures = 0;
    }
    hang_up(person);
    if (code != 0 && close_is_terminal(code))
        move(person, PERSON_ENDED);
    else
        come_back(person, now);
}

static void
start(struct person *person, uint64_t now)
{
    struct people *people = person->people;
    uint32_t from = (127u << 24) + (1u << 16) + ((1 + person->number / PER_ADDRESS) << 8) + 1;
    uint16_t port = people->edges[person->edge].port;
    // Every other one at each edge.
    enum codec_format format = (person->number / people->weights) % 2 ? CODEC_JSON : CODEC_PROTOBUF;
    move(person, PERSON_OPENING);
    person->began_us = now;
    person->due_us = now + ATTEMPT_US;
    if (port == 0 || ws_client_open(&person->socket, from, port, "/ws", format) < 0) {
        people->measures->now.refused++;
        person->socket.http_status = 0;
        come_back(person, now);
    } else {
        ws_client_watch(&person->socket, people->epoll, person, &person->events);
    }
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
            person->edge = pick_edge(people, person->edge);
        start(person, now);
    }
    return people->count - people->states[PERSON_LIVE];
}

static void
count_login(struct people *people, struct place *edge, uint64_t now)
{
    uint32_t second = (uint32_t)(now / 1000000);
    if (edge->second != second)
        edge->logins_in_second = 0;
    edge->second = second;
    if (++edge->logins_in_second > edge->logins_max_per_s)
        edge->logins_max_per_s = edge->logins_in_second;
    if (people->second != second)
        people->logins_in_second = 0;
    people->second = second;
    if (++people->logins_in_second > people->measures->logins_max_per_s)
        people->measures->logins_max_per_s = people->logins_in_second;
}

// By the newest first: what is asked for was seen a moment ago.
static uint16_t
node_number(struct people *people, const char *node)
{
    for (unsigned i = people->node_count; i-- > 0;)
        if (strcmp(people->nodes[i], node) == 0)
            return (uint16_t)i;
    if (people->node_count == MAX_NODES)
        abort(); // no run starts that many edges
    snprintf(people->nodes[people->node_count], NODE_ID_SIZE, "%s", node);
    return (uint16_t)people->node_count++;
}

void
people_welcome(struct person *person, const Switchyard__V1__Welcome *welcome)
{
    struct people *people = person->people;
    struct measures *measures = people->measures;
    uint64_t now = now_us();
    if (person->state != PERSON_OPENING)
        return;
    move(person, PERSON_LIVE);
    person->logins++;
    person->has_slot = person->is_leaving = false;
    person->live_us = now;
    person->quiet_us = welcome->ping_interval_ms * 1000 + ATTEMPT_US;
    await_sign(person, now);
    person->node = node_number(people, welcome->node);
    person->connection = welcome->connection;
    measures->now.logins++;
    hist_add(&measures->login, (now - person->began_us) * 1000);
    if (person->lost_us != 0) {
        measures->now.reconnects++;
        hist_add(&measures->away, (now - person->lost_us) * 1000);
    }
    count_login(people, &people->edges[person->edge], now);
}

// The edge a URL (ws://127.0.0.1:8000/ws) leads to; `otherwise` if we know of none.
static uint8_t
edge_at(const struct people *people, const char *url, uint8_t otherwise)
{
    const char *colon = strrchr(url, ':');
    unsigned long port = colon != NULL ? strtoul(colon + 1, NULL, 10) : 0;
    for (unsigned i = 0; i < people->edge_count; i++)
        if (port != 0 && people->edges[i].port == port)
            return (uint8_t)i;
    return otherwise;
}

void
people_go_away(struct person *person, uint32_t after_ms, const char *url)
{
    struct people *people = person->people;
    struct measures *measures = people->measures;
    measures->now.go_aways++;
    measures->now.go_away_slots += after_ms > 0;
    measures->now.go_away_urls += url[0] != 0;
    if (after_ms > measures->slot_max_ms)
        measures->slot_max_ms = after_ms;
    person->has_slot = true;
    person->slot_us = now_us() + after_ms * 1000ull;
    person->slot_edge = edge_at(people, url, pick_edge(people, person->edge));
}

void
people_on_ready(struct person *person, uint32_t events)
{
    struct ws_handler handler = {.opened = talk_on_opened, .message = talk_on_frame, .arg = person};
    const char *wrong = NULL;
    if (person->socket.state == WS_CLOSED)
        return; // by what came before in this turn
    if (events & EPOLLOUT)
        wrong = ws_client_on_writable(&person->socket);
    if (wrong == NULL && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        wrong = ws_client_on_readable(&person->socket, &handler);
    if (person->state == PERSON_LIVE && !person->is_leaving)
        await_sign(person, now_us());
    if (wrong != NULL)
        lose(person, false);
    else
        people_push(person);
}

void
people_push(struct person *person)
{
    const char *wrong = NULL;
    if (person->socket.state == WS_OPEN && person->socket.out.len > 0)
        wrong = ws_client_on_writable(&person->socket);
    if (wrong != NULL)
        lose(person, false);
    else
        ws_client_watch(&person->socket, person->people->epoll, person, &person->events);
}

static void
on_due(struct person *person, uint64_t now)
{
    if (person->state == PERSON_AWAY) {
        if (!person->is_affected || !person->people->is_held)
            start(person, now);
    } else if (person->state == PERSON_LIVE && leaves_at_slot(person) && person->slot_us <= now) {
        say_farewell(person, now);
    } else if (person->state == PERSON_LIVE) {
        lose(person, true);
    } else {
        person->people->measures->now.timeouts++;
        hang_up(person);
        come_back(person, now);
    }
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
            on_due(person, now);
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
        hang_up(person);
        person->edge = person->home;
        person->has_slot = false;
        person->lost_us = 0; // by its own will
        start(person, now);
    }
    return left;
}

void
people_leave(struct people *people)
{
    for (uint32_t i = 0; i < people->count; i++) {
        struct person *person = &people->members[i];
        hang_up(person);
        person->lost_us = 0;
        person->has_slot = false;
        move(person, PERSON_ABSENT);
    }
}

uint32_t
people_revive(struct people *people)
{
    uint32_t revived = 0;
    uint64_t now = now_us();
    for (uint32_t i = 0; i < people->count; i++)
        if (people->members[i].state == PERSON_ENDED) {
            come_back(&people->members[i], now);
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
            come_back(&people->members[i], now);
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
