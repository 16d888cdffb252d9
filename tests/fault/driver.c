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

#include "tests/fault/driver.h"
#include "tests/fault/person.h"
#include "tests/fault/talk.h"

#define MAX_BURST 200u // sends made up for in one turn
#define TURN_US 5000u  // longest wait for an event
#define COMPANIONS 8u

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
        talk_send(&driver->people, driver->from, driver->to, now);
        driver->due_us += step_us > 0 ? step_us : 1;
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
        command_obey(driver, line);
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
    if (n == 0)
        hist_add(&driver->measures.lag, (begin - before - wait_us) * 1000);
    for (int i = 0; i < n; i++) {
        if (events[i].data.ptr == NULL)
            on_stdin(driver);
        else
            person_on_ready(events[i].data.ptr, events[i].events);
    }
    obey_lines(driver);
    uint64_t now = now_us();
    people_tick(&driver->people, now);
    book_check(&driver->book, now, people_lives, &driver->people);
    task_step(driver, now);
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
