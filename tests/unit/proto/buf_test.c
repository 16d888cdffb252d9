// buf.c and arena.c.
#include "claims.h"

#include <string.h>

#include "proto/buf.h"

static void
what_is_appended_stays_while_it_grows(void **state)
{
    (void)state;
    struct buf buf = {0};
    for (unsigned i = 0; i < 10000; i++) {
        uint8_t byte = (uint8_t)(i * 7);
        buf_append(&buf, &byte, 1);
    }
    assert_int_equal(buf.len, 10000);
    for (unsigned i = 0; i < 10000; i++)
        assert_int_equal(buf.bytes[i], (uint8_t)(i * 7));
    buf_fini(&buf);
    assert_null(buf.bytes);
    assert_int_equal(buf.cap, 0);
}

static void
reserved_bytes_follow_what_is_there(void **state)
{
    (void)state;
    struct buf buf = {0};
    buf_append(&buf, "abc", 3);
    uint8_t *room = buf_reserve(&buf, 1000);
    assert_ptr_equal(room, buf.bytes + 3);
    memset(room, 'x', 1000); // a sanitizer watches that all of it is ours
    assert_int_equal(buf.len, 3);
    buf_fini(&buf);
}

static void
reserving_what_fits_moves_nothing(void **state)
{
    (void)state;
    struct buf buf = {0};
    buf_reserve(&buf, 100);
    size_t cap = buf.cap;
    uint8_t *bytes = buf.bytes;
    buf.len = 40;
    assert_ptr_equal(buf_reserve(&buf, cap - 40), bytes + 40);
    assert_int_equal(buf.cap, cap);
    buf_reserve(&buf, cap - 40 + 1);
    assert_true(buf.cap > cap);
    buf_fini(&buf);
}

static void
appending_nothing_needs_no_address(void **state)
{
    (void)state;
    struct buf buf = {0};
    buf_append(&buf, NULL, 0);
    assert_int_equal(buf.len, 0);
    buf_fini(&buf);
}

static void
clearing_keeps_the_memory_and_trimming_frees_it_above_the_mark(void **state)
{
    (void)state;
    struct buf buf = {0};
    buf_reserve(&buf, 5000);
    buf.len = 5000;
    size_t cap = buf.cap;
    buf_clear(&buf);
    assert_int_equal(buf.cap, cap);
    buf_trim(&buf, cap);
    assert_int_equal(buf.cap, cap);
    buf_trim(&buf, cap - 1);
    assert_int_equal(buf.cap, 0);
    assert_null(buf.bytes);
}

static void
trim_call(const void *buf)
{
    struct buf copy = *(const struct buf *)buf;
    buf_trim(&copy, 0);
}

static void
trimming_what_is_not_empty_is_our_fault(void **state)
{
    (void)state;
    struct buf buf = {0};
    buf_append(&buf, "x", 1);
    assert_true(aborts(trim_call, &buf));
    buf_fini(&buf);
}

static void
reserve_call(const void *more)
{
    struct buf buf = {0};
    buf_reserve(&buf, *(const size_t *)more);
}

static void
a_size_that_cannot_be_aborts_instead_of_wrapping(void **state)
{
    (void)state;
    size_t more = SIZE_MAX - 10;
    assert_true(aborts(reserve_call, &more));
}

static void
an_arena_gives_aligned_bytes_that_do_not_overlap(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 4096);
    uint8_t *last = NULL;
    size_t last_size = 0;
    for (size_t size = 0; size < 60; size++) {
        uint8_t *got = arena_take(&arena, size);
        assert_non_null(got);
        assert_int_equal((uintptr_t)got % 16, 0);
        memset(got, 0xaa, size);
        if (last != NULL)
            assert_true(got >= last + last_size);
        last = got;
        last_size = size;
    }
    arena_fini(&arena);
}

static void
an_arena_gives_its_last_byte_and_not_one_more(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 100);
    assert_null(arena_take(&arena, 101));
    uint8_t *all = arena_take(&arena, 100);
    assert_non_null(all);
    memset(all, 1, 100);
    assert_null(arena_take(&arena, 1));
    assert_null(arena_take(&arena, SIZE_MAX));
    arena_clear(&arena);
    assert_ptr_equal(arena_take(&arena, 84), all);
    assert_null(arena_take(&arena, 5)); // 84 rounds up to 96
    assert_non_null(arena_take(&arena, 4));
    arena_fini(&arena);
}

static void
an_arena_may_have_no_room_at_all(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 0);
    assert_null(arena_take(&arena, 1));
    arena_fini(&arena);
}

static void
the_allocator_takes_from_its_arena_and_frees_nothing(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 64);
    ProtobufCAllocator *allocator = &arena.allocator;
    void *first = allocator->alloc(allocator->allocator_data, 40);
    assert_non_null(first);
    allocator->free(allocator->allocator_data, first);
    assert_int_equal(arena.used, 40);
    assert_null(allocator->alloc(allocator->allocator_data, 40));
    arena_fini(&arena);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_appended_stays_while_it_grows),
        cmocka_unit_test(reserved_bytes_follow_what_is_there),
        cmocka_unit_test(reserving_what_fits_moves_nothing),
        cmocka_unit_test(appending_nothing_needs_no_address),
        cmocka_unit_test(clearing_keeps_the_memory_and_trimming_frees_it_above_the_mark),
        cmocka_unit_test(trimming_what_is_not_empty_is_our_fault),
        cmocka_unit_test(a_size_that_cannot_be_aborts_instead_of_wrapping),
        cmocka_unit_test(an_arena_gives_aligned_bytes_that_do_not_overlap),
        cmocka_unit_test(an_arena_gives_its_last_byte_and_not_one_more),
        cmocka_unit_test(an_arena_may_have_no_room_at_all),
        cmocka_unit_test(the_allocator_takes_from_its_arena_and_frees_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
