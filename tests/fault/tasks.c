// tasks.c: see driver.h.
#include <stdlib.h>

#include "tests/fault/driver.h"
#include "tests/fault/talk.h"

#define MAX_OPENING 200u // below any listen backlog
#define PROBE_PER_S 5000u
#define PROBE_WAIT_US (ANSWER_US + ANSWER_SLACK_US)
#define QUIET_US 300000u // time for what should not come

static void
end_connect(struct driver *driver)
{
    printf("{\"live\": %u, \"ms\": %llu", driver->people.states[PERSON_LIVE],
           (unsigned long long)(now_us() - driver->task_began_us) / 1000);
    command_say("}");
    driver->task = TASK_NONE;
}

static void
end_settle(struct driver *driver, uint32_t waiting, uint32_t missing)
{
    printf("{\"waiting\": %u, \"missing\": %u, ", waiting, missing);
    book_audit(&driver->book, stdout);
    command_say("}");
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
    command_say("}}");
    free(driver->probe.notes);
    driver->task = TASK_NONE;
}

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
        if (talk_send(&driver->people, from, to, now))
            probe->notes[probe->sent++] = number;
        probe->last_us = now;
    }
    bool all_sent = probe->next == driver->users || probe->sent == probe->wanted;
    if (all_sent && (now > probe->last_us + PROBE_WAIT_US || probe_is_answered(driver)))
        end_probe(driver);
}

void
task_step(struct driver *driver, uint64_t now)
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
            command_say("}");
            driver->task = TASK_NONE;
        }
        break;
    }
}

void
task_begin(struct driver *driver, enum task task, uint64_t seconds)
{
    driver->task = task;
    driver->task_began_us = now_us();
    driver->task_until_us = driver->task_began_us + seconds * 1000000;
    driver->quiet_us = driver->task_began_us + QUIET_US;
}

void
task_begin_probe(struct driver *driver, uint32_t wanted)
{
    driver->probe = (struct probe){.wanted = wanted < driver->users ? wanted : driver->users};
    driver->probe.first = draw(&driver->random, driver->users);
    driver->probe.notes = calloc(driver->users, sizeof(*driver->probe.notes));
    if (driver->probe.notes == NULL)
        abort();
    task_begin(driver, TASK_PROBE, 0);
}
