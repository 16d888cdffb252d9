// driver.h: what the parts of fault_driver share. See the head of driver.c.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/fault/people.h"

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

// commands.c: carries out one line of stdin, or begins the task that does.
void command_obey(struct driver *driver, char *line);
// Ends a line of the answer.
void command_say(const char *text);

// tasks.c: what takes a while; its answer comes when it is done.
void task_begin(struct driver *driver, enum task task, uint64_t seconds);
// Sends to so many users.
void task_begin_probe(struct driver *driver, uint32_t wanted);
void task_step(struct driver *driver, uint64_t now);
