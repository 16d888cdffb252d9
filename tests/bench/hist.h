// hist.h: how often which duration, in logarithmic buckets of 1/64 of their value.
#pragma once

#include <stdint.h>
#include <stdio.h>

// Values below 128 have a bucket each; above, 64 buckets per power of two, up to 2^40 ns
// (18 minutes). What is longer counts as that.
#define HIST_BUCKETS (128 + 33 * 64)

struct hist {
    uint64_t count;
    uint64_t sum;
    uint64_t max;
    uint32_t buckets[HIST_BUCKETS];
};

void hist_add(struct hist *hist, uint64_t ns);
// The largest value a bucket holds that contains the given part (0 to 1); 0 if empty.
uint64_t hist_at(const struct hist *hist, double part);
// {"count":..,"mean":..,"p50":..,"p90":..,"p99":..,"p999":..,"max":..} in microseconds.
void hist_print(const struct hist *hist, FILE *out);
