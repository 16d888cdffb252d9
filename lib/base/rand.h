// rand.h: random numbers. `struct rng` is seedable and fast, for jitter and tests
// (xoshiro256**, Blackman and Vigna 2018); rand_bytes is for secrets and ids.
#pragma once

#include <stddef.h>
#include <stdint.h>

struct rng {
    uint64_t s[4];
};

void rng_seed(struct rng *rng, uint64_t seed); // any seed, also 0
uint64_t rng_next(struct rng *rng);
// 0..below-1, without bias; below must not be 0.
uint64_t rng_below(struct rng *rng, uint64_t below);

// From the kernel; aborts if it has none to give.
void rand_bytes(void *out, size_t len);
uint64_t rand_u64(void);

// SipHash-1-3 (Aumasson and Bernstein) under a key drawn at process start: for
// tables whose keys outsiders choose.
uint64_t hash_bytes(const void *bytes, size_t len);
