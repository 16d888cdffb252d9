// swarm.c: thousands of users on several edges, random sends across all of them, and a
// book of what became of each.
//
//   swarm --edges PORT,PORT [--users 2000] [--messages 50000] [--in-flight 512]
//         [--repeat 1] [--pids PID,PID] [--seed 1] [--deadline 120] [--json]
//
// One repetition: connect all users, log in, send, wait for every outcome and for the
// arrival of every message that was `sent`, disconnect. Every other user speaks JSON, the
// rest protobuf. Holds:
//   - each send has exactly one outcome
//   - each message that was `sent` arrived exactly once, at its receiver, from its sender
//   - a message that was rejected did not arrive, unless the reason is `timeout`
//   - in order per sender and receiver
// Exit status 0 if all of it held in every repetition; 1 with the first breaches on
// stderr if not; 64 for bad usage. With --pids it reports the resident memory of these
// processes at the end of each repetition, all users connected.
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "proto/tables.h"
#include "tests/lib/ws_say.h"

#define MAX_EDGES 16
#define MAX_USERS 20000
#define MAX_BREACHES_SHOWN 20
// Connections being opened at a time: below any listen backlog.
#define MAX_OPENING 200
// The loopback network has room; one address has about 28,000 ports.
#define PER_ADDRESS 1000
// After the last expected arrival: time for what should not come.
#define SETTLE_MS 300
#define ARENA_SIZE (1 << 20)

struct member {
    struct swarm *swarm;
    uint32_t number;
    bool is_live;
    uint32_t events; // epoll's
    struct ws_client socket;
};

// One send of this repetition.
struct note {
    uint32_t from, to;
    uint32_t place; // among the messages of this pair, from 1
    uint16_t arrivals;
    uint8_t outcomes;
    uint8_t reason; // enum reason
};

struct swarm {
    unsigned ports[MAX_EDGES], edges;
    long pids[MAX_EDGES];
    unsigned pid_count;
    uint32_t users, messages, in_flight, repeat;
    uint64_t deadline_ms;
    uint64_t random;
    bool json;

    int epoll;
    struct member *members;
    struct note *notes;
    uint32_t *written; // [from * users + to]: messages of the pair so far
    uint32_t *read;    // same: place of the last that arrived
    uint32_t opening, live, started, answered, sent, arrived, breaches, lost;
    uint32_t rejected[REASON_COUNT];
    struct arena arena;
    struct buf scratch;
};

static uint64_t
now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

// xorshift64*, so that a seed repeats a run's choices.
static uint32_t
draw(struct swarm *swarm, uint32_t below)
{
    swarm->random ^= swarm->random >> 12;
    swarm->random ^= swarm->random << 25;
    swarm->random ^= swarm->random >> 27;
    return (uint32_t)((swarm->random * 2685821657736338717u) >> 33) % below;
}

static void __attribute__((format(printf, 2, 3)))
breach(struct swarm *swarm, const char *format, ...)
{
    if (swarm->breaches++ >= MAX_BREACHES_SHOWN)
        return;
    va_list args;
    va_start(args, format);
    fputs("breach: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

static void
watch(struct member *member)
{
    ws_client_watch(&member->socket, member->swarm->epoll, member, &member->events);
}

static void
lose(struct member *member, const char *why)
{
    breach(member->swarm, "user %u: %s", member->number, why);
    if (member->is_live)
        member->swarm->live--;
    else
        member->swarm->opening--;
    member->swarm->lost++;
    member->is_live = false;
    member->events = 0;
    ws_client_close(&member->socket);
}

static void
push(struct member *member)
{
    const char *wrong = NULL;
    if (member->socket.state == WS_OPEN)
        wrong = ws_client_on_writable(&member->socket);
    if (wrong != NULL)
        lose(member, wrong);
    else
        watch(member);
}

static void
on_opened(void *arg)
{
    struct member *member = arg;
    char user[32];
    snprintf(user, sizeof(user), "swarm-%u", member->number);
    ws_say_hello(&member->socket, 1, user, "swarm", &member->swarm->scratch);
}

static void
on_arrival(struct member *member, const Switchyard__V1__Message *message)
{
    struct swarm *swarm = member->swarm;
    unsigned number;
    unsigned from;
    if (message->payload_case != SWITCHYARD__V1__MESSAGE__PAYLOAD_TEXT ||
        sscanf(message->text, "%u", &number) != 1 || number >= swarm->started ||
        sscanf(message->from, "swarm-%u", &from) != 1) {
        breach(swarm, "user %u got something nobody sent", member->number);
        return;
    }
    struct note *note = &swarm->notes[number];
    size_t pair = (size_t)note->from * swarm->users + note->to;
    if (note->to != member->number || note->from != from)
        breach(swarm, "message %u came to %u from %u", number, member->number, from);
    else if (note->arrivals++ > 0)
        breach(swarm, "message %u came %u times", number, note->arrivals);
    else if (note->place <= swarm->read[pair])
        breach(swarm, "message %u came after a later one of its pair", number);
    else
        swarm->read[pair] = note->place;
    swarm->arrived++;
}

static void
on_outcome(struct member *member, uint64_t id, const Switchyard__V1__Outcome *outcome)
{
    struct swarm *swarm = member->swarm;
    if (id == 0 || id > swarm->started || swarm->notes[id - 1].from != member->number) {
        breach(swarm, "user %u got an outcome for id %llu", member->number, (unsigned long long)id);
        return;
    }
    struct note *note = &swarm->notes[id - 1];
    if (note->outcomes++ > 0) {
        breach(swarm, "message %u has %u outcomes", (unsigned)id - 1, note->outcomes);
        return;
    }
    swarm->answered++;
    if (outcome->status == SWITCHYARD__V1__OUTCOME_STATUS__OUTCOME_STATUS_SENT) {
        swarm->sent++;
        return;
    }
    unsigned reason = (unsigned)outcome->reason;
    note->reason = (uint8_t)(reason > 0 && reason < REASON_COUNT ? reason : REASON_INVALID);
    swarm->rejected[note->reason]++;
}

static void
on_event(struct member *member, const Switchyard__V1__Event *event)
{
    switch (event->event_case) {
    case SWITCHYARD__V1__EVENT__EVENT_WELCOME:
        member->is_live = true;
        member->swarm->opening--;
        member->swarm->live++;
        break;
    case SWITCHYARD__V1__EVENT__EVENT_MESSAGE:
        on_arrival(member, event->message);
        break;
    case SWITCHYARD__V1__EVENT__EVENT_OUTCOME:
        on_outcome(member, event->id, event->outcome);
        break;
    case SWITCHYARD__V1__EVENT__EVENT_FAILURE:
        breach(member->swarm, "user %u: failure: %s", member->number, event->failure->text);
        break;
    default:
        break;
    }
}

static void
on_message(void *arg, const uint8_t *bytes, size_t len)
{
    struct member *member = arg;
    struct arena *arena = &member->swarm->arena;
    struct codec_error error;
    arena_clear(arena);
    Switchyard__V1__ServerFrame *frame =
        codec_read_server(member->socket.format, bytes, len, arena, &error);
    if (frame == NULL) {
        breach(member->swarm, "user %u got a frame that is none: %s", member->number, error.text);
        return;
    }
    for (size_t i = 0; i < frame->n_events; i++)
        on_event(member, frame->events[i]);
}

static void
turn(struct swarm *swarm, int wait_ms)
{
    struct epoll_event events[256];
    int n = epoll_wait(swarm->epoll, events, 256, wait_ms);
    for (int i = 0; i < n; i++) {
        struct member *member = events[i].data.ptr;
        struct ws_handler handler = {.opened = on_opened, .message = on_message, .arg = member};
        const char *wrong = NULL;
        if (events[i].events & EPOLLOUT)
            wrong = ws_client_on_writable(&member->socket);
        if (wrong == NULL && (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
            wrong = ws_client_on_readable(&member->socket, &handler);
        if (wrong != NULL)
            lose(member, wrong);
        else
            push(member);
    }
}

static void
send_one(struct swarm *swarm)
{
    uint32_t number = swarm->started;
    struct member *from = &swarm->members[draw(swarm, swarm->users)];
    uint32_t to = draw(swarm, swarm->users);
    if (!from->is_live)
        return;
    struct note *note = &swarm->notes[number];
    *note = (struct note){.from = from->number, .to = to};
    note->place = ++swarm->written[(size_t)from->number * swarm->users + to];
    swarm->started++;

    char user[32];
    snprintf(user, sizeof(user), "swarm-%u", to);
    ws_say_number(&from->socket, (uint64_t)number + 1, user, number, &swarm->scratch);
    push(from);
}

static void
open_all(struct swarm *swarm, uint64_t until_ms)
{
    for (uint32_t i = 0; i < swarm->users || swarm->opening > 0;) {
        while (i < swarm->users && swarm->opening < MAX_OPENING) {
            struct member *member = &swarm->members[i];
            uint32_t from = (127u << 24) + ((1 + i / PER_ADDRESS) << 8) + 1;
            unsigned port = swarm->ports[i % swarm->edges];
            // In pairs, so that each edge has users of both kinds.
            enum codec_format format = (i / swarm->edges) % 2 ? CODEC_JSON : CODEC_PROTOBUF;
            *member = (struct member){.swarm = swarm, .number = i++};
            swarm->opening++;
            if (ws_client_open(&member->socket, from, (uint16_t)port, "/ws", format) < 0)
                lose(member, strerror(errno));
            else
                watch(member);
        }
        turn(swarm, 100);
        if (now_ms() > until_ms) {
            breach(swarm, "only %u of %u users logged in by the deadline", swarm->live,
                   swarm->users);
            return;
        }
    }
}

static void
send_all(struct swarm *swarm, uint64_t until_ms)
{
    while (swarm->answered < swarm->messages || swarm->arrived < swarm->sent) {
        // A lost user will not answer; its breach is counted.
        if (now_ms() > until_ms || swarm->lost > 0) {
            breach(swarm, "stopped with %u sends, %u outcomes, %u sent, %u arrived", swarm->started,
                   swarm->answered, swarm->sent, swarm->arrived);
            return;
        }
        for (unsigned burst = 0; burst < 64 && swarm->started < swarm->messages &&
                                 swarm->started - swarm->answered < swarm->in_flight;
             burst++)
            send_one(swarm);
        turn(swarm, 20);
    }
    for (uint64_t quiet = now_ms() + SETTLE_MS; now_ms() < quiet;)
        turn(swarm, 50);
}

static void
check_book(struct swarm *swarm)
{
    for (uint32_t i = 0; i < swarm->started; i++) {
        const struct note *note = &swarm->notes[i];
        if (note->outcomes != 1)
            breach(swarm, "message %u has %u outcomes", i, note->outcomes);
        else if (note->reason == REASON_NONE && note->arrivals != 1)
            breach(swarm, "message %u was sent and came %u times", i, note->arrivals);
        else if (note->reason != REASON_NONE && note->reason != REASON_TIMEOUT &&
                 note->arrivals > 0)
            breach(swarm, "message %u was rejected (%s) and came", i, reason_name(note->reason));
    }
}

// Resident KiB of a process; 0 if there is none.
static unsigned long
memory_kib(long pid)
{
    char path[64];
    unsigned long pages = 0;
    snprintf(path, sizeof(path), "/proc/%ld/statm", pid);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return 0;
    if (fscanf(file, "%*u %lu", &pages) != 1)
        pages = 0;
    fclose(file);
    return pages * (unsigned long)sysconf(_SC_PAGESIZE) / 1024;
}

static void
report_json(const struct swarm *swarm, unsigned round, uint64_t login_ms, uint64_t send_ms)
{
    printf("{\"round\": %u, \"users\": %u, \"login_ms\": %llu, \"send_ms\": %llu, \"sends\": %u, "
           "\"sent\": %u, \"arrived\": %u, \"breaches\": %u, \"rejected\": {",
           round, swarm->live, (unsigned long long)login_ms, (unsigned long long)send_ms,
           swarm->started, swarm->sent, swarm->arrived, swarm->breaches);
    const char *comma = "";
    for (unsigned reason = 1; reason < REASON_COUNT; reason++) {
        if (swarm->rejected[reason] == 0)
            continue;
        printf("%s\"%s\": %u", comma, reason_name(reason), swarm->rejected[reason]);
        comma = ", ";
    }
    printf("}, \"rss_kib\": [");
    for (unsigned i = 0; i < swarm->pid_count; i++)
        printf("%s%lu", i > 0 ? ", " : "", memory_kib(swarm->pids[i]));
    printf("]}\n");
}

static void
report_text(const struct swarm *swarm, unsigned round, uint64_t login_ms, uint64_t send_ms)
{
    printf("round %u: %u users logged in within %llu ms; %u sends in %llu ms: %u sent, %u arrived, "
           "%u breaches",
           round, swarm->live, (unsigned long long)login_ms, swarm->started,
           (unsigned long long)send_ms, swarm->sent, swarm->arrived, swarm->breaches);
    for (unsigned reason = 1; reason < REASON_COUNT; reason++)
        if (swarm->rejected[reason] > 0)
            printf(", %u rejected: %s", swarm->rejected[reason], reason_name(reason));
    for (unsigned i = 0; i < swarm->pid_count; i++)
        printf("; pid %ld has %lu KiB", swarm->pids[i], memory_kib(swarm->pids[i]));
    printf("\n");
}

// One repetition; the breaches it found.
static uint32_t
play(struct swarm *swarm, unsigned round)
{
    size_t pairs = (size_t)swarm->users * swarm->users;
    memset(swarm->written, 0, pairs * sizeof(*swarm->written));
    memset(swarm->read, 0, pairs * sizeof(*swarm->read));
    memset(swarm->rejected, 0, sizeof(swarm->rejected));
    swarm->opening = swarm->live = swarm->started = swarm->answered = 0;
    swarm->sent = swarm->arrived = swarm->breaches = swarm->lost = 0;

    uint64_t begin = now_ms();
    open_all(swarm, begin + swarm->deadline_ms);
    uint64_t opened = now_ms();
    if (swarm->breaches == 0)
        send_all(swarm, begin + swarm->deadline_ms);
    check_book(swarm);
    (swarm->json ? report_json : report_text)(swarm, round, opened - begin, now_ms() - opened);
    fflush(stdout);
    for (uint32_t i = 0; i < swarm->users; i++)
        ws_client_close(&swarm->members[i].socket);
    return swarm->breaches;
}

static bool
read_number(const char *text, unsigned long min, unsigned long max, unsigned long *out)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    if (end == text || *end != '\0' || value < min || value > max)
        return false;
    *out = value;
    return true;
}

// "1,2,3" into values; how many, 0 if it is no such list.
static unsigned
read_list(char *text, unsigned long max, unsigned long values[static MAX_EDGES])
{
    unsigned count = 0;
    for (char *rest = NULL, *word = strtok_r(text, ",", &rest); word != NULL;
         word = strtok_r(NULL, ",", &rest))
        if (count == MAX_EDGES || !read_number(word, 1, max, &values[count++]))
            return 0;
    return count;
}

static bool
set_option(struct swarm *swarm, int option, char *text)
{
    unsigned long list[MAX_EDGES];
    unsigned long value = 0;
    if (option == 'e') {
        swarm->edges = read_list(text, 65535, list);
        for (unsigned i = 0; i < swarm->edges; i++)
            swarm->ports[i] = (unsigned)list[i];
        return swarm->edges > 0;
    }
    if (option == 'p') {
        swarm->pid_count = read_list(text, 1ul << 31, list);
        for (unsigned i = 0; i < swarm->pid_count; i++)
            swarm->pids[i] = (long)list[i];
        return swarm->pid_count > 0;
    }
    if (option == 'j') {
        swarm->json = true;
        return true;
    }
    if (!read_number(text, 1, option == 'u' ? MAX_USERS : 100000000, &value))
        return false;
    switch (option) {
    case 'u':
        swarm->users = (uint32_t)value;
        return true;
    case 'm':
        swarm->messages = (uint32_t)value;
        return true;
    case 'i':
        swarm->in_flight = (uint32_t)value;
        return true;
    case 'r':
        swarm->repeat = (uint32_t)value;
        return true;
    case 's':
        swarm->random = value;
        return true;
    case 'd':
        swarm->deadline_ms = value * 1000;
        return true;
    default:
        return false;
    }
}

static bool
read_options(struct swarm *swarm, int argc, char **argv)
{
    static const struct option options[] = {
        {"edges", required_argument, NULL, 'e'},    {"users", required_argument, NULL, 'u'},
        {"messages", required_argument, NULL, 'm'}, {"in-flight", required_argument, NULL, 'i'},
        {"repeat", required_argument, NULL, 'r'},   {"pids", required_argument, NULL, 'p'},
        {"seed", required_argument, NULL, 's'},     {"deadline", required_argument, NULL, 'd'},
        {"json", no_argument, NULL, 'j'},           {NULL, 0, NULL, 0},
    };
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;)
        if (option == '?' || !set_option(swarm, option, optarg))
            return false;
    return optind == argc && swarm->edges > 0;
}

int
main(int argc, char **argv)
{
    static struct swarm swarm = {.users = 2000,
                                 .messages = 50000,
                                 .in_flight = 512,
                                 .repeat = 1,
                                 .deadline_ms = 120000,
                                 .random = 1};
    if (!read_options(&swarm, argc, argv)) {
        fprintf(stderr, "usage: %s --edges PORT[,PORT...]; see the head of swarm.c\n", argv[0]);
        return 64;
    }
    size_t pairs = (size_t)swarm.users * swarm.users;
    swarm.epoll = epoll_create1(EPOLL_CLOEXEC);
    swarm.members = calloc(swarm.users, sizeof(*swarm.members));
    swarm.notes = calloc(swarm.messages, sizeof(*swarm.notes));
    swarm.written = calloc(pairs, sizeof(*swarm.written));
    swarm.read = calloc(pairs, sizeof(*swarm.read));
    if (swarm.epoll < 0 || !swarm.members || !swarm.notes || !swarm.written || !swarm.read) {
        perror("swarm");
        return 1;
    }
    arena_init(&swarm.arena, ARENA_SIZE);
    uint32_t breaches = 0;
    for (unsigned round = 1; round <= swarm.repeat && breaches == 0; round++)
        breaches += play(&swarm, round);
    arena_fini(&swarm.arena);
    buf_fini(&swarm.scratch);
    free(swarm.read);
    free(swarm.written);
    free(swarm.notes);
    free(swarm.members);
    close(swarm.epoll);
    return breaches == 0 ? 0 : 1;
}
