// load.c: the load of the benchmark: users, messages, and what became of them.
//
//   load MODE --ports PORT[,PORT...] [--floor] [--secret KEY] [--pids NAME:PID,...] [--step]
//   load pairs   --pairs N (--rate R | --window W [--limit M] | --freeze PID --turns T)
//                [--idle N] [--outcomes]
//   load fanout  --audience N --rate R [--burst B] [--broadcast]
//   load idle    --users N
//   load storm   --users N --in-flight K [--block B] [--pairs N --rate R]
//   all:         [--seconds S] [--warm S] [--body BYTES] [--first NUMBER]
//
// Senders are on the first port, receivers on the second if there is one; audiences, the
// idle and logins are dealt out over all ports. Prints JSON lines: {"mark": ...} between
// the phases, where --step waits for a line on stdin so that someone can look at the
// servers (a storm at its last mark is ballast for another load, whose users then need
// numbers of their own: --first), and one {"result": ...} with counts, latency, and the CPU time of
// --pids by name. Exit status 0 with a result, 1 if it cannot begin, 64 for bad usage.
#include "tests/bench/load.h"

#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "edge/token.h"

#define OPEN_TIMEOUT_MS 120000
#define SILENCE_NS 2000000000u

// Phases.

void
phase_begin(struct phase *phase, const struct meter *meter)
{
    memset(phase, 0, sizeof(*phase));
    meter_read(meter, &phase->begin);
}

void
phase_arrival(struct phase *phase, struct tally *tally, uint32_t number, uint64_t took_ns)
{
    struct tally before = *tally;
    tally_add(tally, number);
    phase->duplicates += tally->duplicates - before.duplicates;
    phase->late += tally->late - before.late;
    if (tally->distinct == before.distinct)
        return;
    phase->delivered++;
    hist_add(&phase->latency, took_ns);
}

void
phase_end(struct phase *phase, const struct meter *meter, struct crowd *crowd)
{
    uint64_t seen = phase->delivered;
    uint64_t until = now_ns() + SILENCE_NS;
    while (phase->delivered < phase->sent && now_ns() < until) {
        crowd_turn(crowd, 10000000);
        if (phase->delivered > seen)
            until = now_ns() + SILENCE_NS;
        seen = phase->delivered;
    }
    meter_read(meter, &phase->end);
    linger(crowd, 0.05);
}

void
phase_print(const struct phase *phase, const struct meter *meter, FILE *out)
{
    uint64_t lost = phase->sent > phase->delivered ? phase->sent - phase->delivered : 0;
    fprintf(out,
            "\"sent\": %llu, \"delivered\": %llu, \"lost\": %llu, \"duplicated\": %llu, "
            "\"out_of_order\": %llu, \"latency_us\": ",
            (unsigned long long)phase->sent, (unsigned long long)phase->delivered,
            (unsigned long long)lost, (unsigned long long)phase->duplicates,
            (unsigned long long)phase->late);
    hist_print(&phase->latency, out);
    fputs(", ", out);
    meter_print(meter, &phase->begin, &phase->end, out);
}

void
linger(struct crowd *crowd, double seconds)
{
    uint64_t until = now_ns() + (uint64_t)(seconds * 1e9);
    for (uint64_t now; (now = now_ns()) < until;)
        crowd_turn(crowd, until - now);
}

void
mark(const struct load_opts *opts, struct crowd *crowd, const char *name)
{
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    printf("{\"mark\": \"%s\"}\n", name);
    fflush(stdout);
    if (!opts->step)
        return;
    while (poll(&in, 1, 0) == 0)
        crowd_turn(crowd, 5000000);
    char byte = ' ';
    while (read(STDIN_FILENO, &byte, 1) == 1 && byte != '\n')
        continue;
}

void
start_crowd(struct crowd *crowd, const struct load_opts *opts, uint32_t capacity)
{
    *crowd = (struct crowd){.speech = opts->speech, .secret = opts->secret, .first = opts->first};
    crowd_init(crowd, capacity);
}

void
open_or_end(struct crowd *crowd, const struct load_opts *opts)
{
    if (crowd_open_all(crowd, opts->in_flight, OPEN_TIMEOUT_MS))
        return;
    fprintf(stderr, "load: %u of %u are live, %u lost: %s\n", crowd->live, crowd->wanted,
            crowd->lost, crowd->first_loss);
    exit(1);
}

// Options.

enum {
    OPT_PORTS = 1,
    OPT_FLOOR,
    OPT_SECRET,
    OPT_PIDS,
    OPT_STEP,
    OPT_FIRST,
    OPT_RATE,
    OPT_WARM,
    OPT_SECONDS,
    OPT_WINDOW,
    OPT_LIMIT,
    OPT_BODY,
    OPT_OUTCOMES,
    OPT_PAIRS,
    OPT_IDLE,
    OPT_AUDIENCE,
    OPT_BURST,
    OPT_USERS,
    OPT_IN_FLIGHT,
    OPT_BLOCK,
    OPT_BROADCAST,
    OPT_FREEZE,
    OPT_TURNS,
};

static const struct option options[] = {
    {"ports", required_argument, NULL, OPT_PORTS},
    {"floor", no_argument, NULL, OPT_FLOOR},
    {"secret", required_argument, NULL, OPT_SECRET},
    {"pids", required_argument, NULL, OPT_PIDS},
    {"step", no_argument, NULL, OPT_STEP},
    {"first", required_argument, NULL, OPT_FIRST},
    {"rate", required_argument, NULL, OPT_RATE},
    {"warm", required_argument, NULL, OPT_WARM},
    {"seconds", required_argument, NULL, OPT_SECONDS},
    {"window", required_argument, NULL, OPT_WINDOW},
    {"limit", required_argument, NULL, OPT_LIMIT},
    {"body", required_argument, NULL, OPT_BODY},
    {"outcomes", no_argument, NULL, OPT_OUTCOMES},
    {"pairs", required_argument, NULL, OPT_PAIRS},
    {"idle", required_argument, NULL, OPT_IDLE},
    {"audience", required_argument, NULL, OPT_AUDIENCE},
    {"burst", required_argument, NULL, OPT_BURST},
    {"users", required_argument, NULL, OPT_USERS},
    {"in-flight", required_argument, NULL, OPT_IN_FLIGHT},
    {"block", required_argument, NULL, OPT_BLOCK},
    {"broadcast", no_argument, NULL, OPT_BROADCAST},
    {"freeze", required_argument, NULL, OPT_FREEZE},
    {"turns", required_argument, NULL, OPT_TURNS},
    {NULL, 0, NULL, 0},
};

static bool
set_ports(struct load_opts *opts, char *list)
{
    char *rest = NULL;
    for (char *word = strtok_r(list, ",", &rest); word != NULL; word = strtok_r(NULL, ",", &rest)) {
        unsigned long port = strtoul(word, NULL, 10);
        if (port == 0 || port > UINT16_MAX || opts->port_count == CROWD_PORTS)
            return false;
        opts->ports[opts->port_count++] = (uint16_t)port;
    }
    return opts->port_count > 0;
}

static bool
set_word(struct load_opts *opts, int option, char *text)
{
    switch (option) {
    case OPT_PORTS:
        return set_ports(opts, text);
    case OPT_PIDS:
        return meter_init(&opts->meter, text) == 0;
    case OPT_SECRET:
        opts->secret = text;
        return strlen(text) >= TOKEN_MIN_KEY_BYTES;
    case OPT_FLOOR:
        opts->speech = SPEAK_FLOOR;
        return true;
    case OPT_STEP:
        return opts->step = true;
    case OPT_OUTCOMES:
        return opts->wants_outcome = true;
    case OPT_BROADCAST:
        return opts->broadcast = true;
    default:
        return false;
    }
}

static bool
set_number(struct load_opts *opts, int option, const char *text)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || value < 0 || value > 4e9)
        return false;
    switch (option) {
    case OPT_RATE:
        opts->rate = value;
        return true;
    case OPT_WARM:
        opts->warm_s = value;
        return value <= 600;
    case OPT_SECONDS:
        opts->seconds = value;
        return value <= 600;
    case OPT_LIMIT:
        opts->limit = (uint64_t)value;
        return true;
    case OPT_FREEZE:
        opts->freeze = (pid_t)value;
        return value > 0;
    case OPT_FIRST:
        opts->first = (uint32_t)value;
        return value < 400000; // 200 source addresses
    default:
        break;
    }
    uint32_t *counts[] = {
        [OPT_WINDOW] = &opts->window,       [OPT_BODY] = &opts->body,
        [OPT_PAIRS] = &opts->pairs,         [OPT_IDLE] = &opts->idle,
        [OPT_AUDIENCE] = &opts->audience,   [OPT_BURST] = &opts->burst,
        [OPT_USERS] = &opts->users,         [OPT_BLOCK] = &opts->block,
        [OPT_IN_FLIGHT] = &opts->in_flight, [OPT_TURNS] = &opts->turns,
    };
    *counts[option] = (uint32_t)value;
    return value <= 1000000;
}

static bool
read_options(struct load_opts *opts, int argc, char **argv)
{
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == '?')
            return false;
        bool is_word = option <= OPT_STEP || option == OPT_OUTCOMES || option == OPT_BROADCAST;
        if (!(is_word ? set_word(opts, option, optarg) : set_number(opts, option, optarg))) {
            fprintf(stderr, "load: --%s: what?\n", options[option - 1].name);
            return false;
        }
    }
    return optind == argc - 1 && opts->port_count > 0 && opts->body >= sizeof(struct stamp) &&
           opts->body <= 60000 && opts->burst > 0 && opts->in_flight > 0 && opts->block > 0;
}

static void
raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int
main(int argc, char **argv)
{
    static struct load_opts opts = {.warm_s = 0.5,
                                    .seconds = 3,
                                    .body = 128,
                                    .window = 1,
                                    .burst = 1,
                                    .in_flight = 64,
                                    .block = 1000};
    static const struct {
        const char *name;
        int (*run)(const struct load_opts *opts);
        uint32_t *needs;
    } modes[] = {
        {"pairs", run_pairs, &opts.pairs},
        {"fanout", run_fanout, &opts.audience},
        {"idle", run_idle, &opts.users},
        {"storm", run_storm, &opts.users},
    };
    raise_file_limit();
    prctl(PR_SET_TIMERSLACK, 1); // the default of 50 us would count as latency
    if (read_options(&opts, argc, argv))
        for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
            if (strcmp(argv[optind], modes[i].name) == 0 && *modes[i].needs > 0)
                return modes[i].run(&opts);
    fprintf(stderr, "usage: %s MODE --ports PORT...; see the head of load.c\n", argv[0]);
    return 64;
}
