// test_measures.c: what the figures of the benchmark rest on.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/codec.h"
#include "tests/bench/hist.h"
#include "tests/bench/speech.h"
#include "tests/bench/tally.h"

static struct hist hist;

static int
clear(void **state)
{
    (void)state;
    memset(&hist, 0, sizeof(hist));
    return 0;
}

static void
an_empty_histogram_answers_zero(void **state)
{
    (void)state;
    assert_int_equal(hist_at(&hist, 0.5), 0);
}

static void
a_small_value_is_exact(void **state)
{
    (void)state;
    hist_add(&hist, 127);
    assert_int_equal(hist_at(&hist, 0.5), 127);
}

static void
any_value_is_found_to_within_a_sixty_fourth(void **state)
{
    (void)state;
    for (uint64_t value = 1; value < (uint64_t)1 << 39; value += value / 3 + 1) {
        memset(&hist, 0, sizeof(hist));
        hist_add(&hist, value);
        hist_add(&hist, (uint64_t)1 << 39); // else the maximum would answer
        uint64_t found = hist_at(&hist, 0.4);
        assert_true(found >= value);
        assert_true(found <= value + value / 64);
    }
}

static void
a_percentile_splits_what_was_added(void **state)
{
    (void)state;
    for (unsigned i = 1; i <= 1000; i++)
        hist_add(&hist, i * 1000);
    uint64_t p99 = hist_at(&hist, 0.99);
    assert_true(p99 >= 990000 && p99 <= 1006000);
    assert_int_equal(hist_at(&hist, 1.0), 1000000);
}

static void
what_is_longer_than_the_longest_bucket_is_counted(void **state)
{
    (void)state;
    hist_add(&hist, UINT64_MAX);
    assert_int_equal(hist.count, 1);
    assert_int_equal(hist.max, UINT64_MAX);
}

static void
a_stream_in_order_is_clean(void **state)
{
    (void)state;
    struct tally tally = {0};
    for (uint32_t i = 1; i <= 200; i++)
        tally_add(&tally, i);
    assert_int_equal(tally.distinct, 200);
    assert_int_equal(tally.duplicates, 0);
    assert_int_equal(tally.late, 0);
}

static void
a_second_arrival_is_a_duplicate_up_to_63_numbers_back(void **state)
{
    (void)state;
    struct tally tally = {0};
    for (uint32_t i = 1; i <= 100; i++)
        tally_add(&tally, i);
    tally_add(&tally, 100);
    tally_add(&tally, 37);
    assert_int_equal(tally.duplicates, 2);
    tally_add(&tally, 36); // not remembered any more
    assert_int_equal(tally.duplicates, 2);
    assert_int_equal(tally.late, 1);
}

static void
an_arrival_after_a_later_one_is_late_and_counts_once(void **state)
{
    (void)state;
    struct tally tally = {0};
    tally_add(&tally, 1);
    tally_add(&tally, 3);
    tally_add(&tally, 2);
    tally_add(&tally, 2);
    assert_int_equal(tally.distinct, 3);
    assert_int_equal(tally.late, 1);
    assert_int_equal(tally.duplicates, 1);
}

static void
a_gap_is_seen_as_fewer_distinct_numbers(void **state)
{
    (void)state;
    struct tally tally = {0};
    tally_add(&tally, 1);
    tally_add(&tally, 500);
    assert_int_equal(tally.distinct, 2);
    assert_int_equal(tally.highest, 500);
}

static void
a_stamp_is_found_again_in_what_the_edge_would_read(void **state)
{
    (void)state;
    char user[] = "b1";
    char *to[] = {user};
    struct phrase phrase = {0};
    struct stamp stamp = {.stream = 7, .number = 8, .due_ns = 9};
    speech_send(SPEAK_EDGE, to, 1, 128, true, &phrase);
    phrase_stamp(&phrase, &stamp);
    struct arena arena;
    struct codec_error error;
    arena_init(&arena, 1 << 16);
    Switchyard__V1__ClientFrame *frame =
        codec_read_client(CODEC_PROTOBUF, phrase.bytes.bytes, phrase.bytes.len, &arena, &error);
    assert_non_null(frame);
    assert_int_equal(frame->n_commands, 1);
    const Switchyard__V1__Send *send = frame->commands[0]->send;
    assert_string_equal(send->to[0], "b1");
    assert_int_equal(send->body.len, 128);
    assert_memory_equal(send->body.data, &stamp, sizeof(stamp));
    arena_fini(&arena);
    buf_fini(&phrase.bytes);
}

static struct buf
event_bytes(const Switchyard__V1__Event *event)
{
    struct buf out = {0};
    codec_write_event(CODEC_PROTOBUF, event, &out);
    return out;
}

static void
two_events_in_a_frame_are_heard_as_two(void **state)
{
    (void)state;
    uint8_t body[32] = {0};
    struct stamp stamp = {.stream = 1, .number = 2, .due_ns = 3};
    memcpy(body, &stamp, sizeof(stamp));
    Switchyard__V1__Message message;
    switchyard__v1__message__init(&message);
    message.payload_case = SWITCHYARD__V1__MESSAGE__PAYLOAD_BODY;
    message.body.data = body;
    message.body.len = sizeof(body);
    Switchyard__V1__Event event = SWITCHYARD__V1__EVENT__INIT;
    event.event_case = SWITCHYARD__V1__EVENT__EVENT_MESSAGE;
    event.message = &message;
    struct buf bytes = event_bytes(&event);
    Switchyard__V1__Outcome outcome;
    switchyard__v1__outcome__init(&outcome);
    outcome.status = SWITCHYARD__V1__OUTCOME_STATUS__OUTCOME_STATUS_REJECTED;
    outcome.reason = SWITCHYARD__V1__REASON__REASON_BUSY;
    event.event_case = SWITCHYARD__V1__EVENT__EVENT_OUTCOME;
    event.outcome = &outcome;
    codec_write_event(CODEC_PROTOBUF, &event, &bytes);

    size_t at = 0;
    struct event heard;
    assert_true(speech_next(SPEAK_EDGE, bytes.bytes, bytes.len, &at, &heard));
    assert_int_equal(heard.heard, HEARD_MESSAGE);
    assert_memory_equal(&heard.stamp, &stamp, sizeof(stamp));
    assert_true(speech_next(SPEAK_EDGE, bytes.bytes, bytes.len, &at, &heard));
    assert_int_equal(heard.heard, HEARD_REJECTED);
    assert_int_equal(heard.reason, SWITCHYARD__V1__REASON__REASON_BUSY);
    assert_false(speech_next(SPEAK_EDGE, bytes.bytes, bytes.len, &at, &heard));
    assert_int_equal(at, bytes.len);

    size_t cut = 0;
    assert_false(speech_next(SPEAK_EDGE, bytes.bytes, 5, &cut, &heard));
    assert_int_not_equal(cut, 5);
    buf_fini(&bytes);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(an_empty_histogram_answers_zero, clear),
        cmocka_unit_test_setup(a_small_value_is_exact, clear),
        cmocka_unit_test_setup(any_value_is_found_to_within_a_sixty_fourth, clear),
        cmocka_unit_test_setup(a_percentile_splits_what_was_added, clear),
        cmocka_unit_test_setup(what_is_longer_than_the_longest_bucket_is_counted, clear),
        cmocka_unit_test(a_stream_in_order_is_clean),
        cmocka_unit_test(a_second_arrival_is_a_duplicate_up_to_63_numbers_back),
        cmocka_unit_test(an_arrival_after_a_later_one_is_late_and_counts_once),
        cmocka_unit_test(a_gap_is_seen_as_fewer_distinct_numbers),
        cmocka_unit_test(a_stamp_is_found_again_in_what_the_edge_would_read),
        cmocka_unit_test(two_events_in_a_frame_are_heard_as_two),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
