// last_words.c: a handler of SIGABRT that logs.
//
// Logging is not safe in every signal handler, but in this one: abort() is called, it does not
// interrupt, and nobody calls it from within the formatting of text or time. An abort in the
// handler ends the process at once.
#include "lib/base/last_words.h"

#include <errno.h>
#include <signal.h>

#include "lib/base/log.h"

static void
on_abort(int number)
{
    (void)number;
    if (errno == ENOMEM)
        log_error("out_of_memory", "meaning=%s", log_quote("no memory was left: the process ends"));
    else
        log_error("aborted", "meaning=%s", log_quote("a fault in the program: the process ends"));
}

void
last_words_prepare(void)
{
    struct sigaction action = {.sa_handler = on_abort, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGABRT, &action, NULL);
}
