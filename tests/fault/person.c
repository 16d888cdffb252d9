// person.c: see person.h.
#include "tests/fault/person.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "tests/fault/talk.h"

#define PER_ADDRESS 1000
#define ATTEMPT_US 10000000u
// The SDK's: lib/client-c/core.h.
#define BACKOFF_MIN_MS 500u
#define BACKOFF_MAX_MS 20000u
#define STABLE_US 5000000u
#define RETRY_AFTER_MS 1000u
#define FAREWELL_US 2000000u // for the answer to a close

void
person_move(struct person *person, enum person_state state)
{
    person->people->states[person->state]--;
    person->people->states[state]++;
    person->state = (uint8_t)state;
}

void
person_hang_up(struct person *person)
{
    person->events = 0;
    ws_client_close(&person->socket);
}

// Another edge than the present one, if there is any.
uint8_t
person_pick_edge(struct people *people, uint8_t present)
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
    person_push(person);
}

void
person_come_back(struct person *person, uint64_t now)
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
        person->edge = person_pick_edge(person->people, last);
    }
    if (person->socket.http_status > 101 && person->edge == last) {
        uint32_t wait_ms = person->socket.retry_after_s * 1000u;
        uint64_t least = now + (wait_ms > 0 ? wait_ms : RETRY_AFTER_MS) * 1000ull;
        person->due_us = person->due_us > least ? person->due_us : least;
    }
    person_move(person, PERSON_AWAY);
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
person_lose(struct person *person, bool is_silent)
{
    uint64_t now = now_us();
    unsigned code = person->socket.close_code;
    count_end(person, is_silent);
    if (person->state == PERSON_LIVE) {
        person->lost_us = now;
        if (now - person->live_us >= STABLE_US)
            person->failures = 0;
    }
    person_hang_up(person);
    if (code != 0 && close_is_terminal(code))
        person_move(person, PERSON_ENDED);
    else
        person_come_back(person, now);
}

void
person_start(struct person *person, uint64_t now)
{
    struct people *people = person->people;
    uint32_t from = (127u << 24) + (1u << 16) + ((1 + person->number / PER_ADDRESS) << 8) + 1;
    uint16_t port = people->edges[person->edge].port;
    // Every other one at each edge.
    enum codec_format format = (person->number / people->weights) % 2 ? CODEC_JSON : CODEC_PROTOBUF;
    person_move(person, PERSON_OPENING);
    person->began_us = now;
    person->due_us = now + ATTEMPT_US;
    if (port == 0 || ws_client_open(&person->socket, from, port, "/ws", format) < 0) {
        people->measures->now.refused++;
        person->socket.http_status = 0;
        person_come_back(person, now);
    } else {
        ws_client_watch(&person->socket, people->epoll, person, &person->events);
    }
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
person_welcome(struct person *person, const Switchyard__V1__Welcome *welcome)
{
    struct people *people = person->people;
    struct measures *measures = people->measures;
    uint64_t now = now_us();
    if (person->state != PERSON_OPENING)
        return;
    person_move(person, PERSON_LIVE);
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
person_go_away(struct person *person, uint32_t after_ms, const char *url)
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
    person->slot_edge = edge_at(people, url, person_pick_edge(people, person->edge));
}

void
person_on_ready(struct person *person, uint32_t events)
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
        person_lose(person, false);
    else
        person_push(person);
}

void
person_push(struct person *person)
{
    const char *wrong = NULL;
    if (person->socket.state == WS_OPEN && person->socket.out.len > 0)
        wrong = ws_client_on_writable(&person->socket);
    if (wrong != NULL)
        person_lose(person, false);
    else
        ws_client_watch(&person->socket, person->people->epoll, person, &person->events);
}

void
person_on_due(struct person *person, uint64_t now)
{
    if (person->state == PERSON_AWAY) {
        if (!person->is_affected || !person->people->is_held)
            person_start(person, now);
    } else if (person->state == PERSON_LIVE && leaves_at_slot(person) && person->slot_us <= now) {
        say_farewell(person, now);
    } else if (person->state == PERSON_LIVE) {
        person_lose(person, true);
    } else {
        person->people->measures->now.timeouts++;
        person_hang_up(person);
        person_come_back(person, now);
    }
}
