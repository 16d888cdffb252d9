// test_frame.c: ready frames and the lists they come from.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "edge/frame.h"
#include "edge/pool.h"

static int
drain(void **state)
{
    (void)state;
    assert_int_equal(frame_pool_live(), 0);
    frame_pool_drain();
    return 0;
}

static void
a_frame_is_a_whole_message_with_its_head(void **state)
{
    (void)state;
    struct frame *binary = frame_new(CODEC_PROTOBUF, "abc", 3);
    struct frame *text = frame_new(CODEC_JSON, "{}", 2);
    assert_int_equal(binary->len, 5);
    assert_memory_equal(frame_bytes(binary),
                        "\x82\x03"
                        "abc",
                        5);
    assert_int_equal(text->len, 4);
    assert_memory_equal(frame_bytes(text), "\x81\x02{}", 4);
    frame_release(binary);
    frame_release(text);
}

static void
lengths_change_form_at_126_and_65536(void **state)
{
    (void)state;
    static const struct {
        size_t len;
        size_t head;
        const char *bytes;
    } cases[] = {
        {0, 2, "\x82\x00"},
        {125, 2, "\x82\x7d"},
        {126, 4, "\x82\x7e\x00\x7e"},
        {65535, 4, "\x82\x7e\xff\xff"},
        {65536, 10, "\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00"},
    };
    uint8_t *payload = malloc(65536);
    memset(payload, 'x', 65536);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct frame *frame = frame_new(CODEC_PROTOBUF, payload, cases[i].len);
        assert_int_equal(frame->len, cases[i].head + cases[i].len);
        assert_memory_equal(frame_bytes(frame), cases[i].bytes, cases[i].head);
        assert_memory_equal(frame_bytes(frame) + cases[i].head, payload, cases[i].len);
        frame_release(frame);
    }
    free(payload);
}

static void
control_frames_carry_opcode_and_payload(void **state)
{
    (void)state;
    char payload[125];
    memset(payload, 'p', sizeof payload);
    struct frame *ping = frame_new_control(9, payload, sizeof payload);
    struct frame *empty = frame_new_control(8, NULL, 0);
    assert_int_equal(ping->len, 127);
    assert_memory_equal(frame_bytes(ping), "\x89\x7d", 2);
    assert_memory_equal(frame_bytes(ping) + 2, payload, 125);
    assert_int_equal(empty->len, 2);
    assert_memory_equal(frame_bytes(empty), "\x88\x00", 2);
    frame_release(ping);
    frame_release(empty);
}

static void
a_frame_lives_until_the_last_release(void **state)
{
    (void)state;
    struct frame *frame = frame_new(CODEC_PROTOBUF, "abc", 3);
    assert_ptr_equal(frame_hold(frame), frame);
    assert_int_equal(frame_pool_live(), 1);
    frame_release(frame);
    assert_int_equal(frame_pool_live(), 1);
    assert_memory_equal(frame_bytes(frame) + 2, "abc", 3);
    frame_release(frame);
    assert_int_equal(frame_pool_live(), 0);
}

static void
a_released_frame_is_used_again_for_its_size(void **state)
{
    (void)state;
    struct frame *first = frame_new(CODEC_PROTOBUF, "abc", 3);
    frame_release(first);
    size_t kept = frame_pool_kept();
    assert_true(kept > 0);
    char large[1000] = {0};
    struct frame *other = frame_new(CODEC_PROTOBUF, large, sizeof large);
    assert_ptr_not_equal(other, first); // another list
    assert_int_equal(frame_pool_kept(), kept);
    struct frame *again = frame_new(CODEC_JSON, "xyz!", 4);
    assert_ptr_equal(again, first);
    assert_int_equal(frame_pool_kept(), 0);
    assert_int_equal(frame_pool_live(), 2);
    frame_release(again);
    frame_release(other);
}

static void
lists_return_frames_in_any_number(void **state)
{
    (void)state;
    struct frame *frames[100];
    for (int round = 0; round < 3; round++) {
        for (uint8_t i = 0; i < 100; i++) {
            uint8_t payload[90];
            memset(payload, i, sizeof payload);
            frames[i] = frame_new(CODEC_PROTOBUF, payload, sizeof payload);
        }
        for (uint8_t i = 0; i < 100; i++) {
            assert_int_equal(frames[i]->refs, 1);
            assert_int_equal(frame_bytes(frames[i])[2], i);
            assert_int_equal(frame_bytes(frames[i])[91], i);
        }
        for (uint8_t i = 0; i < 100; i++)
            frame_release(frames[i]);
        assert_int_equal(frame_pool_kept(), 100 * 128);
    }
}

static void
what_the_lists_keep_is_bounded(void **state)
{
    (void)state;
    enum { COUNT = 100 };
    struct frame *frames[COUNT];
    static uint8_t payload[130000];
    for (int i = 0; i < COUNT; i++)
        frames[i] = frame_new(CODEC_PROTOBUF, payload, sizeof payload);
    for (int i = 0; i < COUNT; i++)
        frame_release(frames[i]);
    assert_int_equal(frame_pool_kept(), POOL_KEEP_BYTES);
}

static void
a_frame_beyond_the_largest_list_is_not_kept(void **state)
{
    (void)state;
    static uint8_t payload[300000];
    struct frame *frame = frame_new(CODEC_PROTOBUF, payload, sizeof payload);
    assert_int_equal(frame->len, sizeof payload + 10);
    frame_release(frame);
    assert_int_equal(frame_pool_kept(), 0);
}

static void
draining_gives_all_back(void **state)
{
    (void)state;
    frame_release(frame_new(CODEC_PROTOBUF, "abc", 3));
    assert_true(frame_pool_kept() > 0);
    frame_pool_drain();
    assert_int_equal(frame_pool_kept(), 0);
    frame_release(frame_new(CODEC_PROTOBUF, "abc", 3)); // and the pool still works
}

static void
what_lay_idle_is_given_back_but_for_the_floor(void **state)
{
    (void)state;
    struct frame *frames[10];
    for (int i = 0; i < 10; i++)
        frames[i] = frame_new(CODEC_PROTOBUF, "abc", 3);
    for (int i = 0; i < 10; i++)
        frame_release(frames[i]);
    assert_int_equal(frame_pool_trim(128), 0); // all were used since
    frame_release(frame_new(CODEC_PROTOBUF, "abc", 3));
    assert_int_equal(frame_pool_trim(128), 8 * 64); // nine were not, two are the floor
    assert_int_equal(frame_pool_kept(), 128);
    assert_int_equal(frame_pool_trim(0), 128);
    assert_int_equal(frame_pool_kept(), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_frame_is_a_whole_message_with_its_head, drain),
        cmocka_unit_test_teardown(lengths_change_form_at_126_and_65536, drain),
        cmocka_unit_test_teardown(control_frames_carry_opcode_and_payload, drain),
        cmocka_unit_test_teardown(a_frame_lives_until_the_last_release, drain),
        cmocka_unit_test_teardown(a_released_frame_is_used_again_for_its_size, drain),
        cmocka_unit_test_teardown(lists_return_frames_in_any_number, drain),
        cmocka_unit_test_teardown(what_the_lists_keep_is_bounded, drain),
        cmocka_unit_test_teardown(a_frame_beyond_the_largest_list_is_not_kept, drain),
        cmocka_unit_test_teardown(what_lay_idle_is_given_back_but_for_the_floor, drain),
        cmocka_unit_test_teardown(draining_gives_all_back, drain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
