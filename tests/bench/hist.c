// hist.c: see hist.h.
#include "tests/bench/hist.h"

#define FINE 128u
#define LIMIT (((uint64_t)1 << 40) - 1)

static unsigned
bucket_of(uint64_t ns)
{
    if (ns > LIMIT)
        ns = LIMIT;
    if (ns < FINE)
        return (unsigned)ns;
    unsigned power = 63 - (unsigned)__builtin_clzll(ns); // 7 and up
    return FINE + (power - 7) * 64 + (unsigned)((ns >> (power - 6)) & 63);
}

static uint64_t
top_of(unsigned bucket)
{
    if (bucket < FINE)
        return bucket;
    unsigned power = 7 + (bucket - FINE) / 64;
    uint64_t step = (uint64_t)1 << (power - 6);
    return ((uint64_t)1 << power) + ((bucket - FINE) % 64 + 1) * step - 1;
}

void
hist_add(struct hist *hist, uint64_t ns)
{
    hist->count++;
    hist->sum += ns;
    if (ns > hist->max)
        hist->max = ns;
    hist->buckets[bucket_of(ns)]++;
}

uint64_t
hist_at(const struct hist *hist, double part)
{
    uint64_t wanted = (uint64_t)(part * (double)hist->count);
    uint64_t seen = 0;
    if (hist->count == 0)
        return 0;
    if (wanted >= hist->count)
        wanted = hist->count - 1;
    for (unsigned i = 0; i < HIST_BUCKETS; i++) {
        seen += hist->buckets[i];
        if (seen > wanted)
            return top_of(i) < hist->max ? top_of(i) : hist->max;
    }
    return hist->max;
}

void
hist_print(const struct hist *hist, FILE *out)
{
    double mean = hist->count > 0 ? (double)hist->sum / (double)hist->count : 0;
    fprintf(out,
            "{\"count\": %llu, \"mean\": %.1f, \"p50\": %.1f, \"p90\": %.1f, \"p99\": %.1f, "
            "\"p999\": %.1f, \"max\": %.1f}",
            (unsigned long long)hist->count, mean / 1e3, (double)hist_at(hist, 0.5) / 1e3,
            (double)hist_at(hist, 0.9) / 1e3, (double)hist_at(hist, 0.99) / 1e3,
            (double)hist_at(hist, 0.999) / 1e3, (double)hist->max / 1e3);
}
