// rand.c: known answers for the generators and the hash; the kernel's bytes move, also
// when it hands them out in small pieces.
#include "lib/base/rand.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cmocka_all.h"
#include "lib/base/siphash.h"

static void
xoshiro_gives_the_reference_sequence(void **state)
{
    (void)state;
    // The authors' C code from the state 1, 2, 3, 4.
    static const uint64_t expected[] = {11520,
                                        0,
                                        1509978240,
                                        1215971899390074240,
                                        1216172134540287360,
                                        607988272756665600,
                                        16172922978634559625U,
                                        8476171486693032832,
                                        10595114339597558777U,
                                        2904607092377533576};
    struct rng rng = {{1, 2, 3, 4}};
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
        assert_int_equal(rng_next(&rng), expected[i]);
}

static void
seed_zero_is_as_good_as_any(void **state)
{
    (void)state;
    // splitmix64 from 0 is published: its first output is e220a8397b1dcdaf.
    struct rng rng;
    rng_seed(&rng, 0);
    assert_int_equal(rng.s[0], 0xe220a8397b1dcdaf);
    assert_int_equal(rng.s[1], 0x6e789e6aa1b965f4);
    assert_int_equal(rng.s[2], 0x06c45d188009454f);
    assert_int_equal(rng.s[3], 0xf88bb8a8724c81ec);
    assert_int_equal(rng_next(&rng), 0x99ec5f36cb75f2b4);
    assert_int_equal(rng_next(&rng), 0xbf6e1f784956452a);
}

static void
one_seed_gives_one_sequence(void **state)
{
    (void)state;
    struct rng a;
    struct rng b;
    struct rng other;
    rng_seed(&a, 7);
    rng_seed(&b, 7);
    rng_seed(&other, 8);
    int same = 0;
    for (int i = 0; i < 100; i++) {
        uint64_t number = rng_next(&a);
        assert_int_equal(number, rng_next(&b));
        same += number == rng_next(&other);
    }
    assert_int_equal(same, 0);
}

static void
below_stays_below_and_reaches_every_number(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, 1);
    unsigned seen[7] = {0};
    for (int i = 0; i < 7000; i++) {
        uint64_t number = rng_below(&rng, 7);
        assert_in_range(number, 0, 6);
        seen[number]++;
    }
    for (int i = 0; i < 7; i++)
        assert_in_range(seen[i], 850, 1150);
    for (int i = 0; i < 100; i++)
        assert_int_equal(rng_below(&rng, 1), 0);
}

static void
below_has_no_bias_where_a_plain_remainder_has_much(void **state)
{
    (void)state;
    // 2^64 mod (3 * 2^62) leaves the lower third twice as likely to a plain remainder.
    const uint64_t third = (uint64_t)1 << 62;
    struct rng rng;
    rng_seed(&rng, 2);
    unsigned lower = 0;
    for (int i = 0; i < 9000; i++)
        lower += rng_below(&rng, third * 3) < third;
    assert_in_range(lower, 2700, 3300);
    assert_true(rng_below(&rng, UINT64_MAX) < UINT64_MAX);
}

static void
kernel_bytes_fill_exactly_what_was_asked(void **state)
{
    (void)state;
    unsigned char bytes[600];
    unsigned changed = 0;
    for (int round = 0; round < 8; round++) {
        memset(bytes, 0, sizeof(bytes));
        rand_bytes(bytes + 1, sizeof(bytes) - 2);
        assert_int_equal(bytes[0], 0);
        assert_int_equal(bytes[sizeof(bytes) - 1], 0);
        changed += bytes[1] != 0 || bytes[2] != 0;
        changed += bytes[sizeof(bytes) - 2] != 0 || bytes[sizeof(bytes) - 3] != 0;
    }
    assert_true(changed >= 14);
    rand_bytes(bytes, 0);
    assert_true(rand_u64() != rand_u64());
}

// Stands in for the C library's. In pieces: 1, 2, 3, ... at most seven at a time, and
// every third call is interrupted.
static bool is_in_pieces;
static unsigned piece_calls;

ssize_t
getrandom(void *out, size_t len, unsigned flags)
{
    static unsigned char next;
    if (!is_in_pieces)
        return (ssize_t)syscall(SYS_getrandom, out, len, flags);
    if (++piece_calls % 3 == 0) {
        errno = EINTR;
        return -1;
    }
    if (len > 7)
        len = 7;
    for (size_t i = 0; i < len; i++)
        ((unsigned char *)out)[i] = ++next;
    return (ssize_t)len;
}

static void
kernel_bytes_in_pieces_are_put_together(void **state)
{
    (void)state;
    unsigned char bytes[100];
    is_in_pieces = true;
    rand_bytes(bytes, sizeof(bytes));
    is_in_pieces = false;
    for (size_t i = 0; i < sizeof(bytes); i++)
        assert_int_equal(bytes[i], i + 1);
    assert_true(piece_calls > 15);
}

static void
siphash13_gives_the_known_answers(void **state)
{
    (void)state;
    // Key 00..0f, message 00, 01, ... of each length, as in the paper's test vectors for
    // SipHash-2-4; these are the answers of the variant with one and three rounds.
    static const struct {
        size_t len;
        uint64_t hash;
    } known[] = {
        {0, 0xabac0158050fc4dc},  {1, 0xc9f49bf37d57ca93},  {2, 0x82cb9b024dc7d44d},
        {7, 0xd3927d989bb11140},  {8, 0x369095118d299a8e},  {9, 0x25a48eb36c063de4},
        {15, 0xd320d86d2a519956}, {16, 0xcc4fdd1a7d908b66}, {31, 0x2370dd1f8c21d1bc},
        {63, 0x9d199062b7bbb3a8},
    };
    const struct siphash_key key = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
    unsigned char message[64];
    for (size_t i = 0; i < sizeof(message); i++)
        message[i] = (unsigned char)i;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        assert_int_equal(siphash13(&key, message, known[i].len), known[i].hash);
}

static void
hash_bytes_is_steady_and_not_under_a_known_key(void **state)
{
    (void)state;
    const char text[] = "alice";
    assert_int_equal(hash_bytes(text, 5), hash_bytes(text, 5));
    assert_true(hash_bytes(text, 5) != hash_bytes(text, 4));
    assert_true(hash_bytes(text, 5) != siphash13(&(struct siphash_key){0, 0}, text, 5));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(xoshiro_gives_the_reference_sequence),
        cmocka_unit_test(seed_zero_is_as_good_as_any),
        cmocka_unit_test(one_seed_gives_one_sequence),
        cmocka_unit_test(below_stays_below_and_reaches_every_number),
        cmocka_unit_test(below_has_no_bias_where_a_plain_remainder_has_much),
        cmocka_unit_test(kernel_bytes_fill_exactly_what_was_asked),
        cmocka_unit_test(kernel_bytes_in_pieces_are_put_together),
        cmocka_unit_test(siphash13_gives_the_known_answers),
        cmocka_unit_test(hash_bytes_is_steady_and_not_under_a_known_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
