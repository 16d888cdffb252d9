// driver.c: thousands of users on several edges, random sends among them, and a book of
// every send, while somebody else kills, freezes and restarts what they are connected to.
//
//   fault_driver --edges NAME=PORT,NAME=PORT*WEIGHT [--users 2000] [--seed 1]
//                [--max-sends 2000000]
//
// The users' homes are shared out by weight, which is 1 if not given.
//
// Reads commands on stdin, one per line, and answers each with one line of JSON on stdout.
// People (people.h), messages and measures go on meanwhile.
//
//   connect [S]        all absent users log in at home, within S seconds (60) -> {"live": n, "ms":
//   n} rate N             from now on N sends per second, at most 20,000; 0 stops victim NAME...
//   users there now are the victims; without a name: nobody is mark               a new window of
//   measures begins report             -> {"connected": n, "window": {...}, "total": {...}};
//   measures.h settle S           stops sending; once every outcome and arrival is in, or after S
//   seconds
//                      -> {"waiting": n, "missing": n, "lost": {...}, "rejected_but_arrived": n}
//   where              -> {"edges": {name: n}, "away": n, ...}
//   who                -> {node id: [[user, connection], ...]} of those who are live
//   probe N            sends to N live users, each once, from others
//                      -> {"probed": n, "reached": n, "rejected": {...}, "unanswered": n}
//   edge NAME PORT     the edge is there now; 0: it is gone
//   home [S]           whoever is elsewhere goes home, within S seconds (60) -> {"elsewhere": n}
//   revive             those who met a terminal close code come back -> {"revived": n}
//   leave              everybody disconnects
//   quit
//
// A command that is none is answered with {"error": "..."}; commands wait while connect,
// settle, probe or home are under way. The end of stdin is quit. The seed decides who sends
// to whom: half the times one of eight companions of the sender, in runs of up to four
// messages, so that order shows; else anybody. Half the times all users are as likely, half the
// times all edges.
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "tests/fault/people.h"

#define MAX_RATE 20000u
#define MAX_BURST 200u   // sends made up for in one turn
#define MAX_OPENING 200u // below any listen backlog
#define TURN_US 5000u    // longest wait for an event
#define PROBE_PER_S 5000u
#define PROBE_WAIT_US (ANSWER_US + ANSWER_SLACK_US)
#define QUIET_US 300000u // time for what should not come
#define COMPANIONS 8u

enum task { TASK_NONE, TASK_CONNECT, TASK_SETTLE, TASK_PROBE, TASK_HOME };

struct probe {
    uint32_t wanted, next, sent;
    uint32_t first; // user it starts with
    uint32_t *notes;
    uint64_t last_us; // when the last was sent
};

struct driver {
    struct people people;
    struct book book;
    struct measures measures;
    uint64_t random;
    uint32_t users, rate, max_sends;
    uint64_t seed;
    uint64_t due_us;         // of the next send
    uint32_t from, to, left; // the present run of messages
    enum task task;
    uint64_t task_began_us, task_until_us, quiet_us;
    struct probe probe;
    char line[4096];
    size_t line_len;
    bool is_over;
};

// Traffic.

static void
pick_pair(struct driver *driver)
{
    bool by_edge = draw(&driver->random, 2) == 0;
    driver->left = 1;
    driver->from = people_pick(&driver->people, &driver->random, by_edge);
    driver->to = people_pick(&driver->people, &driver->random, by_edge);
    if (draw(&driver->random, 2) == 0)
        return;
    uint64_t companion = 2 * (driver->from * COMPANIONS + draw(&driver->random, COMPANIONS)) + 1;
    driver->left = 1 + draw(&driver->random, 4);
    driver->to = people_pick(&driver->people, &companion, by_edge);
}

static void
send_due(struct driver *driver, uint64_t now)
{
    if (driver->rate == 0)
        return;
    uint64_t step_us = 1000000 / driver->rate;
    for (unsigned burst = 0; driver->due_us <= now; burst++) {
        if (burst == MAX_BURST) {
            driver->due_us = now; // too late for the rest
            return;
        }
        if (driver->left == 0)
            pick_pair(driver);
        driver->left--;
        people_send(&driver->people, driver->from, driver->to, now);
        driver->due_us += step_us > 0 ? step_us : 1;
    }
}

// Answers.

static void
say(const char *text)
{
    puts(text);
    fflush(stdout);
}

static void
report(struct driver *driver)
{
    printf("{\"seed\": %llu, \"connected\": %u, \"messages\": %u, ",
           (unsigned long long)driver->seed, driver->people.states[PERSON_LIVE],
           driver->book.count);
    fputs("\"logins_max_per_s\": {", stdout);
    for (unsigned i = 0; i < driver->people.edge_count; i++)
        printf("%s\"%s\": %u", i > 0 ? ", " : "", driver->people.edges[i].name,
               driver->people.edges[i].logins_max_per_s);
    fputs("}, ", stdout);
    measures_print(&driver->measures, now_us(), stdout);
    say("}");
}

static void
end_connect(struct driver *driver)
{
    printf("{\"live\": %u, \"ms\": %llu", driver->people.states[PERSON_LIVE],
           (unsigned long long)(now_us() - driver->task_began_us) / 1000);
    say("}");
    driver->task = TASK_NONE;
}

static void
end_settle(struct driver *driver, uint32_t waiting, uint32_t missing)
{
    printf("{\"waiting\": %u, \"missing\": %u, ", waiting, missing);
    book_audit(&driver->book, stdout);
    say("}");
    driver->task = TASK_NONE;
}

static void
end_probe(struct driver *driver)
{
    uint32_t reached = 0;
    uint32_t unanswered = 0;
    uint32_t rejected[REASON_COUNT] = {0};
    const char *comma = "";
    for (uint32_t i = 0; i < driver->probe.sent; i++) {
        const struct note *note = &driver->book.notes[driver->probe.notes[i]];
        if (note->status == NOTE_REJECTED || note->status == NOTE_FAILED)
            rejected[note->reason]++;
        else if (note->status == NOTE_SENT && note->arrivals > 0)
            reached++;
        else
            unanswered++;
    }
    printf("{\"probed\": %u, \"reached\": %u, \"unanswered\": %u, \"rejected\": {",
           driver->probe.sent, reached, unanswered);
    for (unsigned reason = 0; reason < REASON_COUNT; reason++) {
        if (rejected[reason] == 0)
            continue;
        printf("%s\"%s\": %u", comma, reason_name(reason), rejected[reason]);
        comma = ", ";
    }
    say("}}");
    free(driver->probe.notes);
    driver->task = TASK_NONE;
}

// Tasks: what takes a while.

static void
step_settle(struct driver *driver, uint64_t now)
{
    uint32_t waiting;
    uint32_t missing;
    if (now < driver->quiet_us)
        return;
    book_open(&driver->book, driver->book.checked, people_lives, &driver->people, &waiting,
              &missing);
    bool is_done = waiting == 0 && missing == 0;
    // Older ones than the answer may take are lost or overdue already.
    if (is_done || now > driver->task_until_us)
        end_settle(driver, waiting, missing);
    else
        driver->quiet_us = now + QUIET_US;
}

static uint32_t
pick_live(struct driver *driver, uint32_t not_this)
{
    for (unsigned tries = 0; tries < 1000; tries++) {
        uint32_t user = draw(&driver->random, driver->users);
        if (user != not_this && driver->people.members[user].state == PERSON_LIVE)
            return user;
    }
    return UINT32_MAX;
}

static bool
probe_is_answered(const struct driver *driver)
{
    for (uint32_t i = 0; i < driver->probe.sent; i++) {
        const struct note *note = &driver->book.notes[driver->probe.notes[i]];
        if (note->status == NOTE_WAITING || (note->status == NOTE_SENT && note->arrivals == 0))
            return false;
    }
    return true;
}

static void
step_probe(struct driver *driver, uint64_t now)
{
    struct probe *probe = &driver->probe;
    uint64_t due = (now - driver->task_began_us) * PROBE_PER_S / 1000000;
    while (probe->next < driver->users && probe->sent < probe->wanted && probe->sent < due) {
        uint32_t to = (probe->first + probe->next++) % driver->users;
        uint32_t from = pick_live(driver, to);
        if (driver->people.members[to].state != PERSON_LIVE || from == UINT32_MAX)
            continue;
        uint32_t number = driver->book.count;
        if (people_send(&driver->people, from, to, now))
            probe->notes[probe->sent++] = number;
        probe->last_us = now;
    }
    bool all_sent = probe->next == driver->users || probe->sent == probe->wanted;
    if (all_sent && (now > probe->last_us + PROBE_WAIT_US || probe_is_answered(driver)))
        end_probe(driver);
}

static void
step_task(struct driver *driver, uint64_t now)
{
    uint32_t elsewhere;
    switch (driver->task) {
    case TASK_NONE:
        break;
    case TASK_CONNECT:
        if (people_open(&driver->people, MAX_OPENING) == 0 || now > driver->task_until_us)
            end_connect(driver);
        break;
    case TASK_SETTLE:
        step_settle(driver, now);
        break;
    case TASK_PROBE:
        step_probe(driver, now);
        break;
    case TASK_HOME:
        elsewhere = people_go_home(&driver->people, MAX_OPENING);
        if (elsewhere == 0 || now > driver->task_until_us) {
            printf("{\"elsewhere\": %u", elsewhere);
            say("}");
            driver->task = TASK_NONE;
        }
        break;
    }
}

static void
begin_task(struct driver *driver, enum task task, const char *seconds, unsigned otherwise)
{
    unsigned long wait_s = seconds != NULL ? strtoul(seconds, NULL, 10) : otherwise;
    driver->task = task;
    driver->task_began_us = now_us();
    driver->task_until_us = driver->task_began_us + wait_s * 1000000;
    driver->quiet_us = driver->task_began_us + QUIET_US;
}

// Commands.

static void
set_rate(struct driver *driver, const char *word)
{
    unsigned long rate = word != NULL ? strtoul(word, NULL, 10) : 0;
    driver->rate = rate < MAX_RATE ? (uint32_t)rate : MAX_RATE;
    driver->due_us = now_us();
    printf("{\"rate\": %u", driver->rate);
    say("}");
}

static void
set_edge(struct driver *driver, const char *name, const char *port)
{
    for (unsigned i = 0; name != NULL && port != NULL && i < driver->people.edge_count; i++) {
        if (strcmp(driver->people.edges[i].name, name) != 0)
            continue;
        driver->people.edges[i].port = (uint16_t)strtoul(port, NULL, 10);
        say("{}");
        return;
    }
    say("{\"error\": \"no such edge\"}");
}

static void
set_victims(struct driver *driver, char **rest)
{
    people_affect(&driver->people, NULL);
    for (char *name; (name = strtok_r(NULL, " ", rest)) != NULL;)
        people_affect(&driver->people, name);
    say("{}");
}

static void
begin_probe(struct driver *driver, const char *word)
{
    unsigned long wanted = word != NULL ? strtoul(word, NULL, 10) : 0;
    driver->probe =
        (struct probe){.wanted = wanted < driver->users ? (uint32_t)wanted : driver->users};
    driver->probe.first = draw(&driver->random, driver->users);
    driver->probe.notes = calloc(driver->users, sizeof(*driver->probe.notes));
    if (driver->probe.notes == NULL)
        abort();
    begin_task(driver, TASK_PROBE, NULL, 0);
}

// Those that are answered at once. False: it is none of them.
static bool
obey_at_once(struct driver *driver, const char *verb, char **rest)
{
    if (strcmp(verb, "rate") == 0) {
        set_rate(driver, strtok_r(NULL, " ", rest));
    } else if (strcmp(verb, "victim") == 0) {
        set_victims(driver, rest);
    } else if (strcmp(verb, "mark") == 0) {
        book_mark(&driver->book, now_us());
        for (unsigned i = 0; i < driver->people.edge_count; i++)
            driver->people.edges[i].logins_max_per_s = 0;
        say("{}");
    } else if (strcmp(verb, "report") == 0) {
        report(driver);
    } else if (strcmp(verb, "where") == 0) {
        fputs("{", stdout);
        people_print_where(&driver->people, stdout);
        say("}");
    } else if (strcmp(verb, "who") == 0) {
        people_print_who(&driver->people, stdout);
        say("");
    } else if (strcmp(verb, "edge") == 0) {
        const char *name = strtok_r(NULL, " ", rest);
        set_edge(driver, name, strtok_r(NULL, " ", rest));
    } else if (strcmp(verb, "revive") == 0) {
        printf("{\"revived\": %u", people_revive(&driver->people));
        say("}");
    } else if (strcmp(verb, "hold") == 0 || strcmp(verb, "release") == 0) {
        people_hold(&driver->people, verb[0] == 'h');
        say("{}");
    } else if (strcmp(verb, "leave") == 0) {
        people_leave(&driver->people);
        say("{}");
    } else {
        return false;
    }
    return true;
}

static void
obey(struct driver *driver, char *line)
{
    char *rest = NULL;
    const char *verb = strtok_r(line, " ", &rest);
    if (verb == NULL || obey_at_once(driver, verb, &rest))
        return;
    if (strcmp(verb, "connect") == 0) {
        begin_task(driver, TASK_CONNECT, strtok_r(NULL, " ", &rest), 60);
    } else if (strcmp(verb, "settle") == 0) {
        driver->rate = 0;
        begin_task(driver, TASK_SETTLE, strtok_r(NULL, " ", &rest), 10);
    } else if (strcmp(verb, "probe") == 0) {
        begin_probe(driver, strtok_r(NULL, " ", &rest));
    } else if (strcmp(verb, "home") == 0) {
        begin_task(driver, TASK_HOME, strtok_r(NULL, " ", &rest), 60);
    } else if (strcmp(verb, "quit") == 0) {
        driver->is_over = true;
    } else {
        say("{\"error\": \"no such command\"}");
    }
}

// What has come on stdin; one command after the other, and none during a task.
static void
obey_lines(struct driver *driver)
{
    char *end;
    while (driver->task == TASK_NONE && !driver->is_over &&
           (end = memchr(driver->line, '\n', driver->line_len)) != NULL) {
        char line[sizeof(driver->line)];
        size_t len = (size_t)(end - driver->line);
        memcpy(line, driver->line, len);
        line[len] = 0;
        driver->line_len -= len + 1;
        memmove(driver->line, end + 1, driver->line_len);
        obey(driver, line);
    }
}

static void
on_stdin(struct driver *driver)
{
    ssize_t n = read(STDIN_FILENO, driver->line + driver->line_len,
                     sizeof(driver->line) - driver->line_len);
    if (n <= 0)
        driver->is_over = true; // or a line longer than any command
    else
        driver->line_len += (size_t)n;
}

static void
turn(struct driver *driver)
{
    struct epoll_event events[512];
    uint64_t before = now_us();
    uint64_t wait_us = driver->rate == 0                   ? TURN_US
                       : driver->due_us <= before          ? 0
                       : driver->due_us - before < TURN_US ? driver->due_us - before
                                                           : TURN_US;
    struct timespec limit = {.tv_nsec = (long)wait_us * 1000};
    int n = epoll_pwait2(driver->people.epoll, events, 512, &limit, NULL);
    uint64_t begin = now_us();
    for (int i = 0; i < n; i++) {
        if (events[i].data.ptr == NULL)
            on_stdin(driver);
        else
            people_on_ready(events[i].data.ptr, events[i].events);
    }
    obey_lines(driver);
    uint64_t now = now_us();
    people_tick(&driver->people, now);
    book_check(&driver->book, now, people_lives, &driver->people);
    step_task(driver, now);
    send_due(driver, now);
    now = now_us();
    if (now - begin > driver->measures.gap_max_us)
        driver->measures.gap_max_us = now - begin;
}

// "NAME=PORT,NAME=PORT*WEIGHT"
static bool
read_edges(struct people *people, char *text)
{
    for (char *rest = NULL, *word = strtok_r(text, ",", &rest); word != NULL;
         word = strtok_r(NULL, ",", &rest)) {
        char *equals = strchr(word, '=');
        char *star = word;
        unsigned long port = equals != NULL ? strtoul(equals + 1, &star, 10) : 0;
        unsigned long weight = *star == '*' ? strtoul(star + 1, NULL, 10) : 1;
        if (people->edge_count == MAX_EDGES || port == 0 || port > UINT16_MAX || weight == 0 ||
            weight > 100)
            return false;
        struct place *edge = &people->edges[people->edge_count++];
        *equals = 0;
        snprintf(edge->name, sizeof(edge->name), "%s", word);
        edge->port = (uint16_t)port;
        edge->weight = (uint16_t)weight;
        edge->first = people->weights;
        people->weights += edge->weight;
    }
    return people->edge_count > 0;
}

static bool
read_options(struct driver *driver, int argc, char **argv)
{
    static const struct option options[] = {
        {"edges", required_argument, NULL, 'e'},
        {"users", required_argument, NULL, 'u'},
        {"seed", required_argument, NULL, 's'},
        {"max-sends", required_argument, NULL, 'm'},
        {NULL, 0, NULL, 0},
    };
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == '?' || (option == 'e' && !read_edges(&driver->people, optarg)))
            return false;
        unsigned long long value = strtoull(optarg, NULL, 10);
        if (option == 'u')
            driver->users = (uint32_t)value;
        else if (option == 's')
            driver->seed = value;
        else if (option == 'm')
            driver->max_sends = (uint32_t)value;
    }
    return optind == argc && driver->people.edge_count > 0 &&
           driver->users >= 2 * driver->people.weights && driver->users <= MAX_PEOPLE;
}

int
main(int argc, char **argv)
{
    static struct driver driver = {.users = 2000, .seed = 1, .max_sends = 2000000};
    if (!read_options(&driver, argc, argv)) {
        fprintf(stderr, "usage: %s --edges NAME=PORT[,...]; see the head of driver.c\n", argv[0]);
        return 64;
    }
    driver.random = driver.seed * 2 + 1;
    measures_mark(&driver.measures, now_us());
    book_init(&driver.book, driver.max_sends, &driver.measures);
    people_init(&driver.people, driver.users, driver.seed, &driver.book);
    struct epoll_event event = {.events = EPOLLIN};
    if (epoll_ctl(driver.people.epoll, EPOLL_CTL_ADD, STDIN_FILENO, &event) < 0) {
        perror("stdin");
        return 1;
    }
    while (!driver.is_over)
        turn(&driver);
    people_fini(&driver.people);
    book_fini(&driver.book);
    return 0;
}
