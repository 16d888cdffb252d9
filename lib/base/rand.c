// rand.c: xoshiro256** seeded through splitmix64, the kernel's random bytes, and the
// process-wide key of hash_bytes.
//
// A kernel without random bytes would leave us with guessable ids and tokens: abort.
#include "lib/base/rand.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "lib/base/siphash.h"

static inline uint64_t
rotate_left(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

// splitmix64 (Steele, Lea and Flood 2014): what the authors of xoshiro seed it with.
// Four answers in a row are never all zero, the one state xoshiro cannot leave.
static uint64_t
splitmix_next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

void
rng_seed(struct rng *rng, uint64_t seed)
{
    for (int i = 0; i < 4; i++)
        rng->s[i] = splitmix_next(&seed);
}

uint64_t
rng_next(struct rng *rng)
{
    uint64_t *s = rng->s;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t shifted = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = rotate_left(s[3], 45);
    return result;
}

uint64_t
rng_below(struct rng *rng, uint64_t below)
{
    assert(below != 0);
    // 2^64 mod below: with that many of the lowest numbers refused, each remainder is
    // equally frequent among the rest. At most one half is refused.
    uint64_t refused = (0 - below) % below;
    uint64_t number;
    do {
        number = rng_next(rng);
    } while (number < refused);
    return number % below;
}

void
rand_bytes(void *out, size_t len)
{
    unsigned char *at = out;
    while (len > 0) {
        ssize_t got = getrandom(at, len, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            fprintf(stderr, "no random bytes from the kernel: %s\n", strerror(errno));
            abort();
        }
        at += got;
        len -= (size_t)got;
    }
}

uint64_t
rand_u64(void)
{
    uint64_t number;
    rand_bytes(&number, sizeof(number));
    return number;
}

static struct siphash_key process_key;

// Before main, so that hash_bytes needs neither a lock nor a check.
__attribute__((constructor)) static void
draw_process_key(void)
{
    rand_bytes(&process_key, sizeof(process_key));
}

uint64_t
hash_bytes(const void *bytes, size_t len)
{
    return siphash13(&process_key, bytes, len);
}
