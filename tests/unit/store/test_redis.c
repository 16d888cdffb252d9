// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on
#include <stdlib.h>
#include <string.h>

#include "lib/store/redis.h"

// Into a block of exactly the promised size, so that ASan sees a byte too many.
static void
assert_wire(size_t argc, const char *const *argv, const size_t *lens, const char *wire,
            size_t wire_len)
{
    size_t size = redis_format_size(argc, argv, lens);
    assert_int_equal(size, wire_len);
    char *out = malloc(size);
    assert_non_null(out);
    redis_format(out, argc, argv, lens);
    assert_memory_equal(out, wire, wire_len);
    free(out);
}

#define ASSERT_WIRE(argc, argv, lens, wire) assert_wire(argc, argv, lens, wire, sizeof(wire) - 1)

static void
a_command_of_strings_is_as_redis_reads_it(void **state)
{
    (void)state;
    const char *const argv[] = {"SADD", "sy:members:{a}", "", "0123456789"};
    ASSERT_WIRE(1, argv, NULL, "*1\r\n$4\r\nSADD\r\n");
    ASSERT_WIRE(4, argv, NULL,
                "*4\r\n$4\r\nSADD\r\n$14\r\nsy:members:{a}\r\n$0\r\n\r\n$10\r\n0123456789\r\n");
}

static void
with_lengths_arguments_are_bytes(void **state)
{
    (void)state;
    const char *const argv[] = {"SET", "a\0b", "\r\n$9", "cut here"};
    const size_t lens[] = {3, 3, 4, 3};
    ASSERT_WIRE(4, argv, lens, "*4\r\n$3\r\nSET\r\n$3\r\na\0b\r\n$4\r\n\r\n$9\r\n$3\r\ncut\r\n");
}

static void
counts_of_several_digits_are_whole(void **state)
{
    (void)state;
    const char *argv[12];
    char wire[200] = "*12\r\n";
    for (size_t i = 0; i < 12; i++) {
        argv[i] = "x";
        strcat(wire, "$1\r\nx\r\n");
    }
    assert_wire(12, argv, NULL, wire, strlen(wire));
    char big[1001];
    memset(big, 'b', 1000);
    big[1000] = '\0';
    const char *const one[] = {big};
    assert_int_equal(redis_format_size(1, one, NULL), strlen("*1\r\n$1000\r\n\r\n") + 1000);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_command_of_strings_is_as_redis_reads_it),
        cmocka_unit_test(with_lengths_arguments_are_bytes),
        cmocka_unit_test(counts_of_several_digits_are_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
