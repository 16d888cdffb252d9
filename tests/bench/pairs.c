// pairs.c: user 2i sends to user 2i+1, for i below --pairs; others may sit idle beside.
//
// Open loop (--rate): message k is due at k/rate whatever became of those before it, and
// its latency counts from then, so that a server that stalls is not spared the messages it
// would have been sent meanwhile. Pairs take turns. Closed loop (--window W): each pair has
// W messages under way. Turns (--freeze PID --turns T): the edge is stopped, one message is
// written on each pair, and it goes on: all of them are one turn of its loop, every time.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/load.h"

// Messages written before what has come is read.
#define BURST 64
#define STRIDE 7919 // a prime: neighbours in time are not neighbours in the table

uint64_t
pairs_due(const struct load_opts *opts, uint64_t start_ns, uint64_t index)
{
    return start_ns + (uint64_t)((double)index * 1e9 / opts->rate);
}

uint32_t
pairs_turn_of(const struct pairs *pairs, uint64_t index)
{
    return (uint32_t)(index * STRIDE % pairs->count);
}

void
pairs_send(struct pairs *pairs, uint32_t pair, uint64_t due_ns)
{
    struct stamp stamp = {.stream = pair, .number = ++pairs->numbers[pair], .due_ns = due_ns};
    struct member *sender = &pairs->crowd.members[2 * pair];
    phrase_stamp(&pairs->phrases[pair], &stamp);
    crowd_say(sender, &pairs->phrases[pair]);
    crowd_push(sender);
    pairs->phase.sent++;
}

static void
on_message(void *arg, struct member *member, const struct stamp *stamp, uint64_t now)
{
    struct pairs *pairs = arg;
    struct crowd *crowd = &pairs->crowd;
    uint32_t index = (uint32_t)(member - crowd->members);
    if (index / 2 >= pairs->count || index % 2 == 0 || stamp->stream != index / 2) {
        crowd->strange++;
        return;
    }
    phase_arrival(&pairs->phase, &member->tally, stamp->number, now - stamp->due_ns);
    if (!pairs->is_closed || pairs->budget == 0 || now >= pairs->stop_ns)
        return;
    pairs->budget--;
    pairs_send(pairs, stamp->stream, now);
}

void
pairs_init(struct pairs *pairs, const struct load_opts *opts, uint32_t more_members)
{
    struct crowd *crowd = &pairs->crowd;
    *pairs = (struct pairs){.opts = opts, .count = opts->pairs};
    start_crowd(crowd, opts, 2 * opts->pairs + opts->idle + more_members);
    crowd->on_message = on_message;
    crowd->arg = pairs;
    pairs->phrases = calloc(pairs->count + 1, sizeof(*pairs->phrases));
    pairs->numbers = calloc(pairs->count + 1, sizeof(*pairs->numbers));
    if (pairs->phrases == NULL || pairs->numbers == NULL)
        abort();
    for (uint32_t i = 0; i < pairs->count; i++) {
        char user[16];
        char *to[] = {user};
        crowd_add(crowd, ROLE_ONE, opts->ports[0]);
        struct member *receiver =
            crowd_add(crowd, ROLE_ONE, opts->ports[opts->port_count > 1 ? 1 : 0]);
        snprintf(user, sizeof(user), "b%u", receiver->number);
        speech_send(opts->speech, to, 1, opts->body, opts->wants_outcome, &pairs->phrases[i]);
    }
    for (uint32_t i = 0; i < opts->idle; i++)
        crowd_add(crowd, ROLE_ONE, opts->ports[i % opts->port_count]);
}

void
pairs_fini(struct pairs *pairs)
{
    crowd_fini(&pairs->crowd);
    for (uint32_t i = 0; i < pairs->count; i++)
        buf_fini(&pairs->phrases[i].bytes);
    free(pairs->phrases);
    free(pairs->numbers);
}

static void
run_open(struct pairs *pairs, double seconds)
{
    const struct load_opts *opts = pairs->opts;
    uint64_t total = (uint64_t)(opts->rate * seconds);
    uint64_t start = now_ns() + 1000000;
    for (uint64_t sent = 0; sent < total && pairs->crowd.lost == 0;) {
        uint64_t now = now_ns();
        uint64_t due = pairs_due(opts, start, sent);
        for (unsigned burst = 0; burst < BURST && sent < total && due <= now; burst++) {
            pairs_send(pairs, pairs_turn_of(pairs, sent), due);
            due = pairs_due(opts, start, ++sent);
        }
        now = now_ns();
        crowd_turn(&pairs->crowd, due > now ? due - now : 0);
    }
}

static void
run_closed(struct pairs *pairs, double seconds, uint64_t limit)
{
    uint64_t first = (uint64_t)pairs->count * pairs->opts->window;
    pairs->stop_ns = now_ns() + (uint64_t)(seconds * 1e9);
    if (first > limit)
        first = limit;
    pairs->budget = limit - first;
    pairs->is_closed = true;
    for (uint64_t i = 0; i < first; i++)
        pairs_send(pairs, (uint32_t)(i % pairs->count), now_ns());
    while (now_ns() < pairs->stop_ns && pairs->crowd.lost == 0 &&
           (pairs->budget > 0 || pairs->phase.delivered < pairs->phase.sent))
        crowd_turn(&pairs->crowd, 10000000);
    pairs->is_closed = false;
}

// Stopped, or under a tracer stopped by it.
static void
wait_stopped(pid_t pid)
{
    char path[64];
    char state = ' ';
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    for (int tries = 0; tries < 2000 && state != 'T' && state != 't'; tries++) {
        FILE *stat = fopen(path, "r");
        if (stat == NULL || fscanf(stat, "%*d %*[^)]) %c", &state) != 1)
            state = ' ';
        if (stat != NULL)
            fclose(stat);
        usleep(100);
    }
}

static void
run_turns(struct pairs *pairs, uint32_t turns)
{
    pid_t pid = pairs->opts->freeze;
    for (uint32_t turn = 0; turn < turns && pairs->crowd.lost == 0; turn++) {
        kill(pid, SIGSTOP);
        wait_stopped(pid);
        for (uint32_t pair = 0; pair < pairs->count; pair++)
            pairs_send(pairs, pair, now_ns());
        kill(pid, SIGCONT);
        uint64_t until = now_ns() + 5000000000;
        while (pairs->phase.delivered < pairs->phase.sent && now_ns() < until)
            crowd_turn(&pairs->crowd, 10000000);
    }
}

static void
run_phase(struct pairs *pairs, double seconds, bool is_warming)
{
    const struct load_opts *opts = pairs->opts;
    phase_begin(&pairs->phase, &opts->meter);
    if (opts->freeze > 0)
        run_turns(pairs, is_warming ? 3 : opts->turns);
    else if (opts->rate > 0)
        run_open(pairs, seconds);
    else
        run_closed(pairs, seconds,
                   opts->limit == 0 ? UINT64_MAX
                   : is_warming     ? opts->limit / 4 + 1
                                    : opts->limit);
    phase_end(&pairs->phase, &opts->meter, &pairs->crowd);
}

int
run_pairs(const struct load_opts *opts)
{
    static struct pairs pairs;
    pairs_init(&pairs, opts, 0);
    open_or_end(&pairs.crowd, opts);
    linger(&pairs.crowd, 0.2);
    run_phase(&pairs, opts->warm_s, true);
    mark(opts, &pairs.crowd, "begin");
    run_phase(&pairs, opts->seconds, false);
    mark(opts, &pairs.crowd, "end");
    printf("{\"result\": \"pairs\", ");
    phase_print(&pairs.phase, &opts->meter, stdout);
    printf(", ");
    crowd_print(&pairs.crowd, stdout);
    printf("}\n");
    pairs_fini(&pairs);
    return 0;
}
