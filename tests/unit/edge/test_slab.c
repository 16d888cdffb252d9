// test_slab.c: blocks of one size share memory, which goes back when the last one does.
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "edge/slab.h"

enum { COUNT = 1000 };

static uint8_t *blocks[COUNT];

static void
take_all(size_t size)
{
    for (size_t i = 0; i < COUNT; i++) {
        blocks[i] = slab_take(size);
        memset(blocks[i], (uint8_t)i, size);
    }
}

static void
blocks_do_not_overlap_and_give_their_memory_back(void **state)
{
    (void)state;
    for (size_t size = 16; size <= 2 * SLAB_BLOCK_MAX; size *= 2) {
        take_all(size);
        for (size_t i = 0; i < COUNT; i++)
            for (size_t at = 0; at < size; at += 7)
                assert_int_equal(blocks[i][at], (uint8_t)i);
        for (size_t i = 0; i < COUNT; i++) // from both ends
            slab_give(blocks[i % 2 == 0 ? i / 2 : COUNT - 1 - i / 2], size);
        assert_int_equal(slab_count(), 0);
    }
}

static void
a_block_given_back_is_taken_before_a_new_slab_is_made(void **state)
{
    (void)state;
    take_all(256);
    size_t slabs = slab_count();
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < COUNT; i += 3)
            slab_give(blocks[i], 256);
        for (size_t i = 0; i < COUNT; i += 3)
            blocks[i] = slab_take(256);
        assert_int_equal(slab_count(), slabs);
    }
    for (size_t i = 0; i < COUNT; i++)
        slab_give(blocks[i], 256);
    assert_int_equal(slab_count(), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_do_not_overlap_and_give_their_memory_back),
        cmocka_unit_test(a_block_given_back_is_taken_before_a_new_slab_is_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
