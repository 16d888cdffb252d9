// test_outq.c: what waits for one socket.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "edge/outq.h"

#define NO_LIMIT SIZE_MAX

static int
drain(void **state)
{
    (void)state;
    assert_int_equal(frame_pool_live(), 0);
    frame_pool_drain();
    return 0;
}

// Pushes a frame whose payload is the number; the queue has the only hold.
static int
push_number(struct outq *q, uint32_t number, size_t max_bytes)
{
    struct frame *frame = frame_new(CODEC_PROTOBUF, &number, sizeof number);
    int error = outq_push(q, frame, max_bytes);
    frame_release(frame);
    return error;
}

static uint32_t
pop_number(struct outq *q)
{
    uint32_t number;
    struct frame *frame = outq_peek(q);
    assert_non_null(frame);
    memcpy(&number, frame_bytes(frame) + 2, sizeof number);
    outq_pop(q);
    return number;
}

static void
a_zeroed_queue_is_empty_and_owns_nothing(void **state)
{
    (void)state;
    struct outq q = {0};
    assert_true(outq_is_empty(&q));
    assert_null(outq_peek(&q));
    outq_fini(&q);
}

static void
a_single_frame_waits_without_a_ring(void **state)
{
    (void)state;
    struct outq q = {0};
    assert_int_equal(push_number(&q, 7, NO_LIMIT), 0);
    assert_int_equal(q.cap, 0);
    assert_int_equal(q.bytes, 6);
    assert_int_equal(pop_number(&q), 7);
    assert_true(outq_is_empty(&q));
    assert_int_equal(q.bytes, 0);
}

static void
frames_leave_in_the_order_they_came(void **state)
{
    (void)state;
    struct outq q = {0};
    for (uint32_t i = 0; i < 1000; i++)
        assert_int_equal(push_number(&q, i, NO_LIMIT), 0);
    assert_int_equal(q.count, 1000);
    for (uint32_t i = 0; i < 1000; i++)
        assert_int_equal(pop_number(&q), i);
    assert_true(outq_is_empty(&q));
}

static void
order_survives_growing_while_wrapped(void **state)
{
    (void)state;
    struct outq q = {0};
    uint32_t in = 0, out = 0;
    for (int round = 0; round < 200; round++) {
        for (int i = 0; i < 5; i++)
            assert_int_equal(push_number(&q, in++, NO_LIMIT), 0);
        for (int i = 0; i < 3; i++)
            assert_int_equal(pop_number(&q), out++);
        assert_int_equal(q.count, in - out);
        assert_int_equal(q.bytes, 6 * (in - out));
    }
    while (!outq_is_empty(&q))
        assert_int_equal(pop_number(&q), out++);
    assert_int_equal(out, in);
}

static void
an_emptied_queue_owns_no_memory(void **state)
{
    (void)state;
    struct outq q = {0};
    for (uint32_t i = 0; i < 20; i++)
        assert_int_equal(push_number(&q, i, NO_LIMIT), 0);
    assert_int_not_equal(q.cap, 0);
    while (!outq_is_empty(&q))
        outq_pop(&q);
    assert_int_equal(q.cap, 0);
    assert_null(q.one);
    assert_int_equal(q.cap, 0);
}

static void
a_frame_that_just_fits_is_taken(void **state)
{
    (void)state;
    struct outq q = {0};
    assert_int_equal(push_number(&q, 1, 12), 0);
    assert_int_equal(push_number(&q, 2, 12), 0);
    assert_int_equal(q.bytes, 12);
    outq_fini(&q);
}

static void
a_frame_that_passes_the_bound_is_neither_queued_nor_held(void **state)
{
    (void)state;
    struct outq q = {0};
    assert_int_equal(push_number(&q, 1, 11), 0);
    struct frame *frame = frame_new(CODEC_PROTOBUF, "abcd", 4);
    assert_int_equal(outq_push(&q, frame, 11), SY_EFULL);
    assert_int_equal(frame->refs, 1);
    assert_int_equal(q.count, 1);
    assert_int_equal(q.bytes, 6);
    assert_int_equal(outq_push(&q, frame, 5), SY_EFULL); // below what waits already
    frame_release(frame);
    assert_int_equal(pop_number(&q), 1);
}

static void
an_empty_queue_refuses_what_is_larger_than_its_bound(void **state)
{
    (void)state;
    struct outq q = {0};
    assert_int_equal(push_number(&q, 1, 5), SY_EFULL);
    assert_true(outq_is_empty(&q));
}

static void
a_frame_may_wait_in_many_queues(void **state)
{
    (void)state;
    struct outq queues[10] = {0};
    struct frame *frame = frame_new(CODEC_PROTOBUF, "abcd", 4);
    for (int i = 0; i < 10; i++)
        assert_int_equal(outq_push(&queues[i], frame, NO_LIMIT), 0);
    assert_int_equal(frame->refs, 11);
    frame_release(frame);
    for (int i = 0; i < 10; i++) {
        assert_ptr_equal(outq_peek(&queues[i]), frame);
        outq_pop(&queues[i]);
    }
}

static void
push_until(struct outq *q, uint32_t number, uint64_t expires_ms)
{
    struct frame *frame = frame_new(CODEC_PROTOBUF, &number, sizeof number);
    frame->expires_ms = expires_ms;
    assert_int_equal(outq_push(q, frame, NO_LIMIT), 0);
    frame_release(frame);
}

static void
what_is_late_is_dropped_and_the_rest_keeps_its_order(void **state)
{
    (void)state;
    for (uint32_t count = 1; count <= 20; count++) {
        struct outq q = {0};
        for (uint32_t i = 0; i < count; i++)
            push_until(&q, i, i % 3 == 0 ? 1000 : i % 3 == 1 ? 1001 : 0);
        assert_int_equal(outq_drop_late(&q, 999), 0);
        assert_int_equal(outq_drop_late(&q, 1000), (count + 2) / 3);
        for (uint32_t i = 0; i < count; i++)
            if (i % 3 != 0)
                assert_int_equal(pop_number(&q), i);
        assert_true(outq_is_empty(&q));
        assert_int_equal(q.bytes, 0);
    }
}

static void
an_empty_queue_has_nothing_late(void **state)
{
    (void)state;
    struct outq q = {0};
    assert_int_equal(outq_drop_late(&q, UINT64_MAX), 0);
}

static void
ending_a_queue_releases_what_waits(void **state)
{
    (void)state;
    struct outq q = {0};
    for (uint32_t i = 0; i < 100; i++)
        assert_int_equal(push_number(&q, i, NO_LIMIT), 0);
    outq_fini(&q);
    assert_int_equal(frame_pool_live(), 0);
    assert_true(outq_is_empty(&q));
    outq_fini(&q); // twice is fine
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_zeroed_queue_is_empty_and_owns_nothing, drain),
        cmocka_unit_test_teardown(a_single_frame_waits_without_a_ring, drain),
        cmocka_unit_test_teardown(frames_leave_in_the_order_they_came, drain),
        cmocka_unit_test_teardown(order_survives_growing_while_wrapped, drain),
        cmocka_unit_test_teardown(an_emptied_queue_owns_no_memory, drain),
        cmocka_unit_test_teardown(a_frame_that_just_fits_is_taken, drain),
        cmocka_unit_test_teardown(a_frame_that_passes_the_bound_is_neither_queued_nor_held, drain),
        cmocka_unit_test_teardown(an_empty_queue_refuses_what_is_larger_than_its_bound, drain),
        cmocka_unit_test_teardown(a_frame_may_wait_in_many_queues, drain),
        cmocka_unit_test_teardown(what_is_late_is_dropped_and_the_rest_keeps_its_order, drain),
        cmocka_unit_test_teardown(an_empty_queue_has_nothing_late, drain),
        cmocka_unit_test_teardown(ending_a_queue_releases_what_waits, drain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
