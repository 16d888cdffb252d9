// test_book.c: what the fault tests hold is only worth what the book notices.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/fault/book.h"

#define TO_LOGIN 1

static struct measures measures;
static struct book book;

static int
begin(void **state)
{
    (void)state;
    memset(&measures, 0, sizeof(measures));
    book_init(&book, 200000, &measures);
    return 0;
}

static int
end(void **state)
{
    (void)state;
    book_fini(&book);
    return 0;
}

static bool
all_live(void *arg, uint32_t user, uint32_t login)
{
    (void)arg;
    (void)user;
    (void)login;
    return true;
}

static bool
none_lives(void *arg, uint32_t user, uint32_t login)
{
    return !all_live(arg, user, login);
}

// User 1 writes to user 2.
static uint32_t
write_one(uint64_t now_us)
{
    return book_write(&book, 1, 2, 1, GROUP_OTHERS, now_us);
}

static void
arrive_at(uint32_t number, uint32_t from, uint32_t to, uint32_t to_login)
{
    struct arrival arrival = {.number = number,
                              .from = from,
                              .to = to,
                              .to_login = to_login,
                              .to_login_age_us = MOVED_US};
    book_arrive(&book, &arrival, 0);
}

static void
arrive(uint32_t number)
{
    arrive_at(number, 1, 2, TO_LOGIN);
}

static void
arrive_aged(uint32_t number, int64_t age_ms)
{
    struct arrival arrival = {
        .number = number, .from = 1, .to = 2, .to_login = TO_LOGIN, .age_ms = age_ms};
    book_arrive(&book, &arrival, 0);
}

static void
a_message_that_arrives_again_is_doubled(void **state)
{
    (void)state;
    uint32_t number = write_one(0);
    arrive(number);
    assert_int_equal(measures.now.doubled, 0);
    arrive(number);
    assert_int_equal(measures.now.doubled, 1);
    assert_int_equal(measures.now.arrived[GROUP_OTHERS], 1);
}

static void
what_nobody_sent_or_not_to_this_user_is_strange(void **state)
{
    (void)state;
    uint32_t number = write_one(0);
    arrive_at(number + 1, 1, 2, TO_LOGIN);
    arrive_at(number, 3, 2, TO_LOGIN);
    arrive_at(number, 1, 3, TO_LOGIN);
    assert_int_equal(measures.now.strange, 3);
    assert_int_equal(measures.now.arrived[GROUP_OTHERS], 0);
}

static void
an_earlier_message_after_a_later_one_is_disordered(void **state)
{
    (void)state;
    uint32_t first = write_one(0);
    uint32_t second = write_one(0);
    uint32_t third = write_one(0);
    arrive(first);
    arrive(third);
    assert_int_equal(measures.now.disordered, 0);
    arrive(second);
    assert_int_equal(measures.now.disordered, 1);
}

static void
order_is_held_per_pair_and_per_login_of_either(void **state)
{
    (void)state;
    uint32_t first = book_write(&book, 1, 2, 1, GROUP_OTHERS, 0);
    uint32_t elsewhere = book_write(&book, 1, 3, 1, GROUP_OTHERS, 0);
    uint32_t anew = book_write(&book, 1, 2, 2, GROUP_OTHERS, 0);
    arrive_at(elsewhere, 1, 3, TO_LOGIN);
    arrive_at(anew, 1, 2, TO_LOGIN);
    arrive_at(first, 1, 2, TO_LOGIN); // of the sender's earlier login
    uint32_t moved = book_write(&book, 1, 3, 2, GROUP_OTHERS, 0);
    uint32_t later = book_write(&book, 1, 3, 2, GROUP_OTHERS, 0);
    arrive_at(later, 1, 3, TO_LOGIN);
    arrive_at(moved, 1, 3, TO_LOGIN + 1); // at the receiver's next login
    assert_int_equal(measures.now.disordered, 0);
}

static void
to_one_who_has_just_moved_it_is_counted_apart(void **state)
{
    (void)state;
    struct arrival arrival = {.number = write_one(0), .from = 1, .to = 2, .to_login = TO_LOGIN};
    arrive(write_one(0));
    arrival.to_login_age_us = MOVED_US - 1;
    book_arrive(&book, &arrival, 0);
    assert_int_equal(measures.now.disordered, 0);
    assert_int_equal(measures.now.disordered_moving, 1);
    arrival.to_login++;
    book_arrive(&book, &arrival, 0);
    assert_int_equal(measures.now.doubled, 0);
    assert_int_equal(measures.now.doubled_moving, 1);
}

static void
order_is_still_known_after_many_pairs(void **state)
{
    (void)state;
    uint32_t first = write_one(0);
    uint32_t second = write_one(0);
    arrive(second);
    for (uint32_t user = 10; user < 100010; user++) {
        uint32_t number = book_write(&book, user, user + 1, 1, GROUP_OTHERS, 0);
        arrive_at(number, user, user + 1, TO_LOGIN);
    }
    assert_int_equal(measures.now.disordered, 0);
    arrive(first);
    assert_int_equal(measures.now.disordered, 1);
}

static void
a_message_older_than_its_time_to_live_is_late(void **state)
{
    (void)state;
    arrive_aged(write_one(0), TTL_MS + TTL_SLACK_MS);
    assert_int_equal(measures.now.late, 0);
    arrive_aged(write_one(0), TTL_MS + TTL_SLACK_MS + 1);
    assert_int_equal(measures.now.late, 1);
}

static void
a_send_without_an_answer_is_overdue_if_its_login_lives(void **state)
{
    (void)state;
    uint64_t limit = ANSWER_US + ANSWER_SLACK_US;
    write_one(1000);
    book_check(&book, 1000 + limit - 1, all_live, NULL);
    assert_int_equal(measures.now.overdue[GROUP_OTHERS], 0);
    book_check(&book, 1000 + limit, all_live, NULL);
    assert_int_equal(measures.now.overdue[GROUP_OTHERS], 1);
    write_one(2000);
    book_check(&book, 2000 + limit, none_lives, NULL);
    assert_int_equal(measures.now.overdue[GROUP_OTHERS], 1);
    assert_int_equal(measures.now.unknown[GROUP_OTHERS], 1);
}

static void
an_answer_that_comes_too_late_is_overdue_once(void **state)
{
    (void)state;
    uint64_t limit = ANSWER_US + ANSWER_SLACK_US;
    assert_true(book_answer(&book, write_one(0) + 1, 1, 1, NOTE_SENT, 0, limit));
    assert_int_equal(measures.now.overdue[GROUP_OTHERS], 0);
    assert_true(book_answer(&book, write_one(0) + 1, 1, 1, NOTE_SENT, 0, limit + 1));
    assert_int_equal(measures.now.overdue[GROUP_OTHERS], 1);
    uint32_t waiting = write_one(0);
    book_check(&book, limit, all_live, NULL);
    assert_true(book_answer(&book, waiting + 1, 1, 1, NOTE_SENT, 0, limit + 2));
    assert_int_equal(measures.now.overdue[GROUP_OTHERS], 2);
}

static void
a_second_answer_is_counted_and_one_for_nobody_is_refused(void **state)
{
    (void)state;
    uint64_t id = write_one(0) + 1;
    assert_true(book_answer(&book, id, 1, 1, NOTE_SENT, 0, 0));
    assert_true(book_answer(&book, id, 1, 1, NOTE_REJECTED, REASON_BUSY, 0));
    assert_int_equal(measures.now.answered_twice, 1);
    assert_int_equal(measures.now.sent[GROUP_OTHERS], 1);
    assert_false(book_answer(&book, id, 2, 1, NOTE_SENT, 0, 0));
    assert_false(book_answer(&book, id, 1, 2, NOTE_SENT, 0, 0));
    assert_false(book_answer(&book, id + 1, 1, 1, NOTE_SENT, 0, 0));
    assert_false(book_answer(&book, 0, 1, 1, NOTE_SENT, 0, 0));
}

static char *
audit(void)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    book_audit(&book, out);
    fclose(out);
    return text;
}

static void
the_audit_tells_what_was_sent_and_never_came(void **state)
{
    (void)state;
    book_answer(&book, write_one(0) + 1, 1, 1, NOTE_SENT, 0, 10);
    uint32_t came = write_one(0);
    book_answer(&book, came + 1, 1, 1, NOTE_SENT, 0, 10);
    arrive(came);
    book_mark(&book, 20);
    uint32_t lost = book_write(&book, 1, 2, 1, GROUP_VICTIMS, 15);
    book_answer(&book, lost + 1, 1, 1, NOTE_SENT, 0, 21);
    uint32_t open = write_one(20);
    book_answer(&book, open + 1, 1, 1, NOTE_REJECTED, REASON_TIMEOUT, 21);
    arrive(open); // `timeout` leaves open whether it came
    uint32_t refused = write_one(20);
    book_answer(&book, refused + 1, 1, 1, NOTE_REJECTED, REASON_OFFLINE, 21);
    arrive(refused);
    char *text = audit();
    assert_string_equal(text, "\"lost\": {\"others\": {\"before\": 1, \"after\": 0}, "
                              "\"victims\": {\"before\": 0, \"after\": 1}}, "
                              "\"rejected_but_arrived\": 1");
    free(text);
}

static void
a_mark_begins_the_window_anew_and_keeps_the_sum(void **state)
{
    (void)state;
    uint32_t number = write_one(0);
    arrive(number);
    arrive(number);
    book_mark(&book, 20);
    assert_int_equal(measures.now.doubled, 0);
    assert_int_equal(measures.travel[GROUP_OTHERS].count, 0);
    assert_int_equal(measures.total.doubled, 1);
    arrive(number);
    assert_int_equal(measures.now.doubled, 1);
}

static void
a_full_book_takes_nothing_more(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < book.max; i++)
        assert_int_equal(write_one(0), i);
    assert_int_equal(write_one(0), UINT32_MAX);
    assert_int_equal(book.count, book.max);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_message_that_arrives_again_is_doubled, begin, end),
        cmocka_unit_test_setup_teardown(what_nobody_sent_or_not_to_this_user_is_strange, begin,
                                        end),
        cmocka_unit_test_setup_teardown(an_earlier_message_after_a_later_one_is_disordered, begin,
                                        end),
        cmocka_unit_test_setup_teardown(order_is_held_per_pair_and_per_login_of_either, begin, end),
        cmocka_unit_test_setup_teardown(to_one_who_has_just_moved_it_is_counted_apart, begin, end),
        cmocka_unit_test_setup_teardown(order_is_still_known_after_many_pairs, begin, end),
        cmocka_unit_test_setup_teardown(a_message_older_than_its_time_to_live_is_late, begin, end),
        cmocka_unit_test_setup_teardown(a_send_without_an_answer_is_overdue_if_its_login_lives,
                                        begin, end),
        cmocka_unit_test_setup_teardown(an_answer_that_comes_too_late_is_overdue_once, begin, end),
        cmocka_unit_test_setup_teardown(a_second_answer_is_counted_and_one_for_nobody_is_refused,
                                        begin, end),
        cmocka_unit_test_setup_teardown(the_audit_tells_what_was_sent_and_never_came, begin, end),
        cmocka_unit_test_setup_teardown(a_mark_begins_the_window_anew_and_keeps_the_sum, begin,
                                        end),
        cmocka_unit_test_setup_teardown(a_full_book_takes_nothing_more, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
