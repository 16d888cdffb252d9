// rules.c: see rules.h.
#include "tests/sim/rules.h"

#include <stddef.h>
#include <string.h>

struct rule_row {
    const char *name;
    const char *text;
};

#define SIM_AS_ROW(name, word, text) {word, text},
static const struct rule_row rows[] = {SIM_RULES(SIM_AS_ROW)};

const char *
rule_name(enum rule rule)
{
    return rows[rule].name;
}

const char *
rule_text(enum rule rule)
{
    return rows[rule].text;
}

enum rule
rule_find(const char *name)
{
    for (int rule = 0; rule < RULE_COUNT; rule++)
        if (strcmp(rows[rule].name, name) == 0)
            return (enum rule)rule;
    return RULE_NONE;
}

const char *
rule_is_quiet(enum rule rule)
{
    if (rule == RULE_REAP_FENCE)
        return "nothing: each batch asks for the lease, so a leader of before removes no more than "
               "it may; it bounds the pace of two at once";
    if (rule == RULE_FENCE_CLOCK)
        return "nothing, too rare here: a leader of before must reap between a loss of data and "
               "the "
               "end of its term. tests/model finds it (P5)";
    if (rule == RULE_OWN_CLOCK || rule == RULE_GEN)
        return "nothing: the lease tells by when it was taken that it was gone (`taken`), and does "
               "not outlive lost data here; a Redis that comes back with data of before may differ";
    if (rule == RULE_ANEW)
        return "nothing: after a long absence of Redis reaping is held anyway, and after a short "
               "one "
               "edges renew in time";
    if (rule == RULE_CLOCK_JUMP || rule == RULE_SETTLED)
        return "nothing: who is heard without a lease has five seconds to take it again, and many "
               "that lose it at once hold reaping; only one or two that NATS lost, too, would show "
               "it";
    if (rule == RULE_SCRUB_ROWS)
        return "nothing: here a batch is one step, and an edge writes no row without a lease. "
               "tests/model shows which rows it is for (reaped writer)";
    return NULL;
}
