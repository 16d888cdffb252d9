// siphash.c: SipHash-1-3 (Aumasson and Bernstein, "SipHash: a fast short-input PRF",
// 2012), with one round per eight bytes and three at the end: too weak for a MAC,
// enough to keep an outsider who never sees a hash from choosing collisions.
#include "lib/base/siphash.h"

struct state {
    uint64_t a, b, c, d;
};

static inline uint64_t
rotate_left(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

static inline void
mix_round(struct state *s)
{
    s->a += s->b;
    s->c += s->d;
    s->b = rotate_left(s->b, 13) ^ s->a;
    s->d = rotate_left(s->d, 16) ^ s->c;
    s->a = rotate_left(s->a, 32);
    s->c += s->b;
    s->a += s->d;
    s->b = rotate_left(s->b, 17) ^ s->c;
    s->d = rotate_left(s->d, 21) ^ s->a;
    s->c = rotate_left(s->c, 32);
}

static inline void
absorb(struct state *s, uint64_t word)
{
    s->d ^= word;
    mix_round(s);
    s->a ^= word;
}

// Little-endian; compilers make one load of it.
static inline uint32_t
read_4(const unsigned char *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
           (uint32_t)bytes[3] << 24;
}

static inline uint64_t
read_8(const unsigned char *bytes)
{
    return (uint64_t)read_4(bytes) | (uint64_t)read_4(bytes + 4) << 32;
}

// The last 0 to 7 bytes. Without a loop: parts may overlap, where they say the same.
static inline uint64_t
read_rest(const unsigned char *bytes, size_t len)
{
    if (len >= 4)
        return (uint64_t)read_4(bytes) | (uint64_t)read_4(bytes + len - 4) << (8 * (len - 4));
    if (len == 0)
        return 0;
    return (uint64_t)bytes[0] | (uint64_t)bytes[len / 2] << (8 * (len / 2)) |
           (uint64_t)bytes[len - 1] << (8 * (len - 1));
}

uint64_t
siphash13(const struct siphash_key *key, const void *bytes, size_t len)
{
    struct state s = {
        .a = key->k0 ^ 0x736f6d6570736575,
        .b = key->k1 ^ 0x646f72616e646f6d,
        .c = key->k0 ^ 0x6c7967656e657261,
        .d = key->k1 ^ 0x7465646279746573,
    };
    const unsigned char *at = bytes;
    size_t rest = len;
    for (; rest >= 8; at += 8, rest -= 8)
        absorb(&s, read_8(at));
    absorb(&s, read_rest(at, rest) | (uint64_t)len << 56);
    s.c ^= 0xff;
    for (int i = 0; i < 3; i++)
        mix_round(&s);
    return s.a ^ s.b ^ s.c ^ s.d;
}
