// directory.h: one question to the directory in Redis, asked by a command and then done.
#pragma once

#include <stdbool.h>
#include <uv.h>

#include "lib/cli/flags.h"
#include "lib/store/store.h"

struct directory {
    struct store *store;
    uv_loop_t loop;
    uv_timer_t timer;                         // how long we are willing to wait
    void (*ask)(struct directory *directory); // called once Redis is there
    const struct flags *flags;
    bool was_asked;
    bool is_over;
    char why[200];
    int exit_code;
};

// Runs to the end of the question and answers the exit code given to directory_end;
// EXIT_UNAVAILABLE, with a complaint, when Redis does not answer within --timeout (5 s).
int directory_run(struct directory *directory, const struct flags *flags);
// The question is answered, or cannot be.
void directory_end(struct directory *directory, int exit_code);
// The same after telling that the store answered with an error.
void directory_fail(struct directory *directory, int error);
