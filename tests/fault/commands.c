// commands.c: see driver.h.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fault/driver.h"

#define MAX_RATE 20000u

void
command_say(const char *text)
{
    puts(text);
    fflush(stdout);
}

static uint64_t
number_or(const char *word, uint64_t otherwise)
{
    return word != NULL ? strtoull(word, NULL, 10) : otherwise;
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
    command_say("}");
}

static void
set_rate(struct driver *driver, const char *word)
{
    uint64_t rate = number_or(word, 0);
    driver->rate = rate < MAX_RATE ? (uint32_t)rate : MAX_RATE;
    driver->due_us = now_us();
    printf("{\"rate\": %u", driver->rate);
    command_say("}");
}

static void
set_edge(struct driver *driver, const char *name, const char *port)
{
    for (unsigned i = 0; name != NULL && port != NULL && i < driver->people.edge_count; i++) {
        if (strcmp(driver->people.edges[i].name, name) != 0)
            continue;
        driver->people.edges[i].port = (uint16_t)strtoul(port, NULL, 10);
        command_say("{}");
        return;
    }
    command_say("{\"error\": \"no such edge\"}");
}

static void
set_victims(struct driver *driver, char **rest)
{
    people_affect(&driver->people, NULL);
    for (char *name; (name = strtok_r(NULL, " ", rest)) != NULL;)
        people_affect(&driver->people, name);
    command_say("{}");
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
        command_say("{}");
    } else if (strcmp(verb, "report") == 0) {
        report(driver);
    } else if (strcmp(verb, "where") == 0) {
        fputs("{", stdout);
        people_print_where(&driver->people, stdout);
        command_say("}");
    } else if (strcmp(verb, "who") == 0) {
        people_print_who(&driver->people, stdout);
        command_say("");
    } else if (strcmp(verb, "edge") == 0) {
        const char *name = strtok_r(NULL, " ", rest);
        set_edge(driver, name, strtok_r(NULL, " ", rest));
    } else if (strcmp(verb, "revive") == 0) {
        printf("{\"revived\": %u", people_revive(&driver->people));
        command_say("}");
    } else if (strcmp(verb, "hold") == 0 || strcmp(verb, "release") == 0) {
        people_hold(&driver->people, verb[0] == 'h');
        command_say("{}");
    } else if (strcmp(verb, "leave") == 0) {
        people_leave(&driver->people);
        command_say("{}");
    } else {
        return false;
    }
    return true;
}

void
command_obey(struct driver *driver, char *line)
{
    char *rest = NULL;
    const char *verb = strtok_r(line, " ", &rest);
    if (verb == NULL || obey_at_once(driver, verb, &rest))
        return;
    if (strcmp(verb, "connect") == 0) {
        task_begin(driver, TASK_CONNECT, number_or(strtok_r(NULL, " ", &rest), 60));
    } else if (strcmp(verb, "settle") == 0) {
        driver->rate = 0;
        task_begin(driver, TASK_SETTLE, number_or(strtok_r(NULL, " ", &rest), 10));
    } else if (strcmp(verb, "probe") == 0) {
        task_begin_probe(driver, (uint32_t)number_or(strtok_r(NULL, " ", &rest), 0));
    } else if (strcmp(verb, "home") == 0) {
        task_begin(driver, TASK_HOME, number_or(strtok_r(NULL, " ", &rest), 60));
    } else if (strcmp(verb, "quit") == 0) {
        driver->is_over = true;
    } else {
        command_say("{\"error\": \"no such command\"}");
    }
}
