// fanout.c: one user sends to an audience of thousands, on one edge or over several.
//
// By Send, which names up to 1,000 users, in as many commands as it takes; or by
// Broadcast. A publication is due when deliveries/rate says; --burst B makes B of them due
// together. Latency is that of each delivery; `last_us` is when the last receiver of a
// publication had it.
#include <stdio.h>
#include <stdlib.h>

#include "proto/codec.h"
#include "tests/bench/load.h"

// Publications that can be under way: more than a bounded run makes.
#define MAX_PUBLICATIONS 65536

struct fanout {
    const struct load_opts *opts;
    struct crowd crowd;
    struct phrase *phrases; // said together they are one publication
    uint32_t phrase_count;
    uint32_t number;   // of the last publication
    uint32_t *arrived; // of each
    struct phase phase;
    struct hist last;
};

static void
on_message(void *arg, struct member *member, const struct stamp *stamp, uint64_t now)
{
    struct fanout *fanout = arg;
    uint64_t before = fanout->phase.delivered;
    if (stamp->number == 0 || stamp->number > fanout->number) {
        fanout->crowd.strange++;
        return;
    }
    if (member->role != ROLE_HALL)
        return; // a broadcast reaches its sender as well
    phase_arrival(&fanout->phase, &member->tally, stamp->number, now - stamp->due_ns);
    if (fanout->phase.delivered > before &&
        ++fanout->arrived[stamp->number % MAX_PUBLICATIONS] == fanout->opts->audience)
        hist_add(&fanout->last, now - stamp->due_ns);
}

static void
prepare_sends(struct fanout *fanout)
{
    const struct load_opts *opts = fanout->opts;
    char(*names)[16] = calloc(opts->audience, sizeof(*names));
    char **to = calloc(opts->audience, sizeof(*to));
    if (names == NULL || to == NULL)
        abort();
    for (uint32_t i = 0; i < opts->audience; i++) {
        snprintf(names[i], sizeof(names[i]), "b%u", opts->first + 1 + i);
        to[i] = names[i];
    }
    for (uint32_t begin = 0; begin < opts->audience; begin += CODEC_MAX_RECIPIENTS) {
        uint32_t count = opts->audience - begin;
        if (count > CODEC_MAX_RECIPIENTS)
            count = CODEC_MAX_RECIPIENTS;
        speech_send(opts->speech, to + begin, count, opts->body, opts->wants_outcome,
                    &fanout->phrases[fanout->phrase_count++]);
        if (opts->speech == SPEAK_FLOOR)
            break; // its hub speaks to all at once
    }
    free(to);
    free(names);
}

static void
fanout_init(struct fanout *fanout, const struct load_opts *opts)
{
    struct crowd *crowd = &fanout->crowd;
    *fanout = (struct fanout){.opts = opts};
    start_crowd(crowd, opts, opts->audience + 1);
    crowd->on_message = on_message;
    crowd->arg = fanout;
    crowd_add(crowd, ROLE_HUB, opts->ports[0]);
    for (uint32_t i = 0; i < opts->audience; i++)
        crowd_add(crowd, ROLE_HALL, opts->ports[i % opts->port_count]);
    fanout->phrases = calloc(opts->audience / CODEC_MAX_RECIPIENTS + 1, sizeof(*fanout->phrases));
    fanout->arrived = calloc(MAX_PUBLICATIONS, sizeof(*fanout->arrived));
    if (fanout->phrases == NULL || fanout->arrived == NULL)
        abort();
    if (opts->broadcast) {
        speech_broadcast(opts->speech, opts->body, &fanout->phrases[fanout->phrase_count++]);
        return;
    }
    prepare_sends(fanout);
}

static void
publish(struct fanout *fanout, uint64_t due_ns)
{
    struct stamp stamp = {.number = ++fanout->number, .due_ns = due_ns};
    fanout->arrived[stamp.number % MAX_PUBLICATIONS] = 0;
    for (uint32_t i = 0; i < fanout->phrase_count; i++) {
        phrase_stamp(&fanout->phrases[i], &stamp);
        crowd_say(&fanout->crowd.members[0], &fanout->phrases[i]);
    }
    fanout->phase.sent += fanout->opts->audience;
}

static void
run_phase(struct fanout *fanout, double seconds)
{
    const struct load_opts *opts = fanout->opts;
    struct crowd *crowd = &fanout->crowd;
    double per_second = opts->rate / opts->audience; // publications
    uint64_t total = (uint64_t)(per_second * seconds / opts->burst + 0.5) * opts->burst;
    uint64_t start = now_ns() + 1000000;
    if (total == 0)
        total = opts->burst;
    phase_begin(&fanout->phase, &opts->meter);
    fanout->last = (struct hist){0};
    for (uint64_t done = 0; done < total && crowd->lost == 0;) {
        uint64_t now = now_ns();
        uint64_t due = start + (uint64_t)((double)done * 1e9 / per_second);
        if (due > now) {
            crowd_turn(crowd, due - now);
            continue;
        }
        for (uint32_t i = 0; i < opts->burst; i++, done++)
            publish(fanout, due);
        crowd_push(&crowd->members[0]);
        crowd_turn(crowd, 0);
    }
    phase_end(&fanout->phase, &opts->meter, crowd);
}

int
run_fanout(const struct load_opts *opts)
{
    static struct fanout fanout;
    fanout_init(&fanout, opts);
    open_or_end(&fanout.crowd, opts);
    linger(&fanout.crowd, 0.5); // every route is in memory after the first publication
    run_phase(&fanout, opts->warm_s);
    mark(opts, &fanout.crowd, "begin");
    uint32_t before = fanout.number;
    run_phase(&fanout, opts->seconds);
    mark(opts, &fanout.crowd, "end");
    printf("{\"result\": \"fanout\", \"publications\": %u, \"commands\": %u, \"last_us\": ",
           fanout.number - before, fanout.phrase_count);
    hist_print(&fanout.last, stdout);
    printf(", ");
    phase_print(&fanout.phase, &opts->meter, stdout);
    printf(", ");
    crowd_print(&fanout.crowd, stdout);
    printf("}\n");
    crowd_fini(&fanout.crowd);
    for (uint32_t i = 0; i < fanout.phrase_count; i++)
        buf_fini(&fanout.phrases[i].bytes);
    free(fanout.phrases);
    free(fanout.arrived);
    return 0;
}
