// test_pool.c: blocks that are kept for the next one.
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "edge/pool.h"

static void
a_block_given_back_is_the_next_of_its_class(void **state)
{
    (void)state;
    struct pool pool = {0};
    void *block = pool_take(&pool, 65);
    pool_give(&pool, block, 65);
    void *smaller = pool_take(&pool, 64); // another class
    assert_ptr_not_equal(smaller, block);
    assert_ptr_equal(pool_take(&pool, 128), block);
    pool_give(&pool, smaller, 64);
    pool_give(&pool, block, 128);
    pool_fini(&pool);
}

static void
every_size_is_usable_to_its_last_byte(void **state)
{
    (void)state;
    struct pool pool = {0};
    for (size_t size = 0; size <= 200000; size += 1 + size / 7) {
        for (int again = 0; again < 2; again++) {
            void *block = pool_take(&pool, size);
            memset(block, 0xa5, size); // ASan watches
            pool_give(&pool, block, size);
        }
    }
    pool_fini(&pool);
}

static void
nothing_is_no_block(void **state)
{
    (void)state;
    struct pool pool = {0};
    pool_give(&pool, NULL, 10);
    pool_fini(&pool);
}

static void
what_is_kept_is_bounded(void **state)
{
    (void)state;
    struct pool pool = {0};
    enum { COUNT = 20, SIZE = 131072 };
    void *blocks[COUNT];
    for (size_t i = 0; i < COUNT; i++)
        blocks[i] = pool_take(&pool, SIZE);
    for (size_t i = 0; i < COUNT; i++)
        pool_give(&pool, blocks[i], SIZE);
    assert_int_equal(pool_kept(&pool), POOL_KEEP_BYTES);
    pool_give(&pool, pool_take(&pool, SIZE + 1), SIZE + 1); // too large to keep
    assert_int_equal(pool_kept(&pool), POOL_KEEP_BYTES);
    pool_fini(&pool);
    assert_int_equal(pool_kept(&pool), 0);
}

// Takes `count` blocks of 1 KiB and gives them back.
static void
use(struct pool *pool, size_t count)
{
    void *blocks[16];
    for (size_t i = 0; i < count; i++)
        blocks[i] = pool_take(pool, 1024);
    for (size_t i = 0; i < count; i++)
        pool_give(pool, blocks[i], 1024);
}

static void
what_lay_idle_is_given_back_but_for_the_floor(void **state)
{
    (void)state;
    struct pool pool = {0};
    use(&pool, 16);
    assert_int_equal(pool_trim(&pool, 4096), 0); // all were used since
    assert_int_equal(pool_kept(&pool), 16384);
    use(&pool, 10);
    assert_int_equal(pool_trim(&pool, 4096), 6 * 1024); // these were not
    assert_int_equal(pool_trim(&pool, 4096), 6 * 1024);
    assert_int_equal(pool_kept(&pool), 4096);
    assert_int_equal(pool_trim(&pool, 4096), 0);
    assert_int_equal(pool_trim(&pool, 0), 4096);
    assert_int_equal(pool_kept(&pool), 0);
    pool_fini(&pool);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_block_given_back_is_the_next_of_its_class),
        cmocka_unit_test(every_size_is_usable_to_its_last_byte),
        cmocka_unit_test(nothing_is_no_block),
        cmocka_unit_test(what_is_kept_is_bounded),
        cmocka_unit_test(what_lay_idle_is_given_back_but_for_the_floor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
