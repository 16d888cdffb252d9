// siphash.h: SipHash-1-3 under a given key. Tables use hash_bytes of rand.h; this is
// the keyed function below it, apart so that it can be checked against known answers.
#pragma once

#include <stddef.h>
#include <stdint.h>

struct siphash_key {
    uint64_t k0; // the first eight bytes of the key, little-endian
    uint64_t k1;
};

uint64_t siphash13(const struct siphash_key *key, const void *bytes, size_t len);
