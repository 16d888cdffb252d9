// sim.c: seeded runs of a whole cluster under faults.
//
//   sim                      the default number of runs, from seed 1
//   sim --runs N --seed S    N runs from seed S on
//       --jobs N             in so many processes
//       --without RULE       without one rule of the protocol
//       --faults RULE        with the faults that rule is for; --without has them, too
//       --trace              tells what happens, in order
//   sim --list               the rules
//   sim --mutations          without each rule in turn, until a run fails: each must; and
//                            none with the rule, under the same faults
//
// A run that fails prints its seed; `sim --runs 1 --seed S --trace` repeats it exactly, and
// tells how it came to that. The last line counts: `N passed, N failed`.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "edge/frame.h"
#include "lib/base/log.h"
#include "tests/sim/world.h"

enum {
    DEFAULT_RUNS = 300,
    WHOLE_RUNS = 10,
    QUIET_RUNS = 30,
    MUTATION_RUNS = 400, // without a rule, before it counts as not seen
    MOST_JOBS = 64,
    FAULTY_MS = 60000,
    CALM_MS = 130000, // a lease of a clock that went back, a held sweeper, a verify cycle
    ACTION_MS = 60,
};

struct plan {
    uint64_t seed;
    uint64_t runs;
    unsigned jobs;
    enum rule without;
    enum rule favours;
    bool is_traced;
    bool is_quiet;
    bool stops; // at the first failure
};

// What the jobs have found; shared by them.
struct found {
    uint64_t failed;
    uint64_t runs;
    char trouble[256]; // of the last
};

static void
on_action(void *arg)
{
    struct world *world = arg;
    if (world->is_calm || world->is_ending)
        return;
    faults_act(world);
    clients_act(world);
    check_late(world);
    world_plan(world, NULL, 1 + world_below(world, ACTION_MS), on_action, world);
}

// False: something that must hold did not.
static bool
run(const struct plan *plan, uint64_t seed, char *trouble, size_t size)
{
    struct world *world = world_new(seed, plan->without, plan->favours, plan->is_traced);
    clients_start(world);
    watch_start(world);
    world_plan(world, NULL, 3000, on_action, world);
    world_run(world, FAULTY_MS);
    if (!world->has_failed) {
        faults_end(world);
        world_run(world, world->now_ms + CALM_MS);
        check_late(world);
    }
    if (!world->has_failed)
        check_calm(world);
    if (!world->has_failed)
        check_reachable(world);
    bool ok = !world->has_failed;
    snprintf(trouble, size, "%s", world->trouble);
    world_free(world);
    return ok;
}

static void
run_share(const struct plan *plan, unsigned job, struct found *found)
{
    char trouble[256];
    for (uint64_t i = job; i < plan->runs; i += plan->jobs) {
        found->runs++;
        if (run(plan, plan->seed + i, trouble, sizeof(trouble)))
            continue;
        found->failed++;
        snprintf(found->trouble, sizeof(found->trouble), "%s", trouble);
        if (!plan->is_quiet) {
            printf("seed %llu: %s\n", (unsigned long long)(plan->seed + i), trouble);
            fflush(stdout);
        }
        if (plan->stops)
            break;
    }
    frame_pool_drain();
}

// Each job in a process of its own, so that one that dies is a failure and no more.
static struct found
run_all(const struct plan *plan)
{
    size_t size = plan->jobs * sizeof(struct found);
    struct found *all = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct found sum = {0};
    pid_t pids[MOST_JOBS];
    if (all == MAP_FAILED)
        abort();
    fflush(stdout);
    for (unsigned job = 0; job < plan->jobs; job++) {
        pids[job] = fork();
        if (pids[job] < 0)
            abort();
        if (pids[job] == 0) {
            run_share(plan, job, &all[job]);
            exit(0);
        }
    }
    for (unsigned job = 0; job < plan->jobs; job++) {
        int status;
        if (waitpid(pids[job], &status, 0) != pids[job])
            abort();
        if (status != 0) {
            all[job].failed++;
            snprintf(all[job].trouble, sizeof(all[job].trouble), "the process died, status %d",
                     status);
            if (!plan->is_quiet)
                printf("seed %llu: %s\n",
                       (unsigned long long)(plan->seed + job + (all[job].runs - 1) * plan->jobs),
                       all[job].trouble);
        }
        sum.failed += all[job].failed;
        sum.runs += all[job].runs;
        if (all[job].failed > 0)
            memcpy(sum.trouble, all[job].trouble, sizeof(sum.trouble));
    }
    munmap(all, size);
    return sum;
}

static int
list(void)
{
    for (int rule = 0; rule < RULE_COUNT; rule++)
        printf("%-15s %s\n", rule_name((enum rule)rule), rule_text((enum rule)rule));
    return 0;
}

// A line of docs/explanation/simulation.md.
static bool
mutate(const struct plan *plan, enum rule rule)
{
    struct plan without = *plan;
    without.favours = rule;
    without.stops = true;
    without.runs = WHOLE_RUNS;
    bool is_whole = run_all(&without).failed == 0;
    without.runs = rule_is_quiet(rule) == NULL ? plan->runs : QUIET_RUNS;
    without.without = rule;
    without.is_quiet = true;
    struct found found = run_all(&without);
    bool is_expected = (found.failed > 0) == (rule_is_quiet(rule) == NULL);
    printf("| `%s` | %s | %llu | %s |\n", rule_name(rule), rule_text(rule),
           (unsigned long long)found.runs,
           found.failed > 0              ? found.trouble
           : rule_is_quiet(rule) != NULL ? rule_is_quiet(rule)
                                         : "NOT SEEN");
    if (!is_expected)
        printf("%s: %s\n", rule_name(rule),
               found.failed > 0 ? "it shows after all" : "its removal is not seen");
    if (!is_whole)
        printf("%s: its faults show with it, too\n", rule_name(rule));
    fflush(stdout);
    return is_expected && is_whole;
}

static int
mutations(const struct plan *plan)
{
    unsigned failed = 0;
    printf("| Rule | Without it | Runs | What is seen |\n|---|---|---|---|\n");
    for (int rule = 0; rule < RULE_COUNT; rule++)
        failed += !mutate(plan, (enum rule)rule);
    printf("%u passed, %u failed\n", RULE_COUNT - failed, failed);
    return failed == 0 ? 0 : 1;
}

static int
usage(void)
{
    fprintf(stderr,
            "sim [--runs N] [--seed N] [--jobs N] [--without RULE | --faults RULE] [--trace]\n"
            "sim --list\nsim --mutations [--runs N] [--seed N]\n");
    return EXIT_USAGE;
}

static bool
read_rule(const char *option, const char *name, struct plan *plan)
{
    plan->favours = rule_find(name);
    if (strcmp(option, "--without") == 0)
        plan->without = plan->favours;
    else if (strcmp(option, "--faults") != 0)
        return false;
    return plan->favours != RULE_NONE;
}

int
main(int argc, char **argv)
{
    struct plan plan = {.seed = 1, .jobs = 1, .without = RULE_NONE, .favours = RULE_NONE};
    bool is_mutating = false;
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--list") == 0)
            return list();
        if (strcmp(argv[i], "--mutations") == 0) {
            is_mutating = true;
            continue;
        }
        if (strcmp(argv[i], "--trace") == 0) {
            plan.is_traced = true;
            continue;
        }
        i++;
        if (strcmp(argv[i - 1], "--runs") == 0)
            plan.runs = strtoull(value, NULL, 10);
        else if (strcmp(argv[i - 1], "--seed") == 0)
            plan.seed = strtoull(value, NULL, 10);
        else if (strcmp(argv[i - 1], "--jobs") == 0)
            plan.jobs = (unsigned)strtoul(value, NULL, 10);
        else if (!read_rule(argv[i - 1], value, &plan))
            return usage();
    }
    if (plan.jobs < 1 || plan.jobs > MOST_JOBS)
        return usage();
    log_setup(plan.is_traced ? LOG_INFO : LOG_ERROR, LOG_TEXT, NULL);
    if (plan.runs == 0)
        plan.runs = is_mutating ? MUTATION_RUNS : DEFAULT_RUNS;
    if (is_mutating)
        return mutations(&plan);
    struct found found = run_all(&plan);
    printf("%llu passed, %llu failed\n", (unsigned long long)(found.runs - found.failed),
           (unsigned long long)found.failed);
    return found.failed == 0 ? 0 : 1;
}
