// meter.c: see meter.h.
#include "tests/bench/meter.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static uint64_t
read_clock(clockid_t clock)
{
    struct timespec t;
    if (clock_gettime(clock, &t) != 0)
        abort();
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int
meter_init(struct meter *meter, char *list)
{
    char *rest = NULL;
    for (char *word = strtok_r(list, ",", &rest); word != NULL; word = strtok_r(NULL, ",", &rest)) {
        char *colon = strchr(word, ':');
        if (meter->count == METER_MAX || colon == NULL || colon - word > 15)
            return -1;
        *colon = '\0';
        pid_t pid = (pid_t)strtol(colon + 1, NULL, 10);
        if (pid <= 0 || clock_getcpuclockid(pid, &meter->clocks[meter->count]) != 0)
            return -1;
        snprintf(meter->names[meter->count++], sizeof(meter->names[0]), "%s", word);
    }
    return 0;
}

void
meter_read(const struct meter *meter, struct meter_reading *reading)
{
    unsigned long long user = 0;
    unsigned long long nice = 0;
    unsigned long long system = 0;
    unsigned long long steal = 0;
    uint64_t tick_ns = 1000000000u / (uint64_t)sysconf(_SC_CLK_TCK);
    FILE *stat = fopen("/proc/stat", "r");
    if (stat != NULL) {
        if (fscanf(stat, "cpu %llu %llu %llu %*u %*u %*u %*u %llu", &user, &nice, &system,
                   &steal) != 4)
            user = nice = system = steal = 0;
        fclose(stat);
    }
    reading->busy_ns = (user + nice + system) * tick_ns;
    reading->steal_ns = steal * tick_ns;
    reading->wall_ns = read_clock(CLOCK_MONOTONIC);
    reading->own_ns = read_clock(CLOCK_PROCESS_CPUTIME_ID);
    for (unsigned i = 0; i < meter->count; i++)
        reading->cpu_ns[i] = read_clock(meter->clocks[i]);
}

static bool
was_named(const struct meter *meter, unsigned i)
{
    for (unsigned k = 0; k < i; k++)
        if (strcmp(meter->names[k], meter->names[i]) == 0)
            return true;
    return false;
}

void
meter_print(const struct meter *meter, const struct meter_reading *begin,
            const struct meter_reading *end, FILE *out)
{
    uint64_t ours = end->own_ns - begin->own_ns;
    fputs("\"cpu_us\": {", out);
    for (unsigned i = 0; i < meter->count; i++) {
        ours += end->cpu_ns[i] - begin->cpu_ns[i];
        if (was_named(meter, i))
            continue;
        uint64_t sum = 0;
        for (unsigned k = i; k < meter->count; k++)
            if (strcmp(meter->names[k], meter->names[i]) == 0)
                sum += end->cpu_ns[k] - begin->cpu_ns[k];
        fprintf(out, "%s\"%s\": %.1f", i > 0 ? ", " : "", meter->names[i], (double)sum / 1e3);
    }
    uint64_t wall = end->wall_ns - begin->wall_ns;
    uint64_t busy = end->busy_ns - begin->busy_ns;
    uint64_t others = (busy > ours ? busy - ours : 0) + end->steal_ns - begin->steal_ns;
    double cores = (double)sysconf(_SC_NPROCESSORS_ONLN);
    fprintf(out, "}, \"own_us\": %.1f, \"wall_s\": %.3f, \"elsewhere\": %.3f",
            (double)(end->own_ns - begin->own_ns) / 1e3, (double)wall / 1e9,
            wall > 0 ? (double)others / (double)wall / cores : 0);
}
