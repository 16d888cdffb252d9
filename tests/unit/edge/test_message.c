// test_message.c: the id of a message, and what its receivers are told of its sender.
#include <stdio.h>
#include <string.h>

#include "edge/message.h"
#include "tests/unit/edge/fake.h"

static void
an_id_that_was_wanted_is_taken_whatever_its_length(void **state)
{
    struct rig *rig = *state;
    char wanted[MESSAGE_ID_SIZE];
    char id[MESSAGE_ID_SIZE];
    memset(wanted, 'x', sizeof(wanted));
    wanted[MESSAGE_ID_SIZE - 1] = '\0';
    message_pick_id(&rig->edge, wanted, 5, id);
    assert_string_equal(id, wanted);
    message_pick_id(&rig->edge, "a", 5, id);
    assert_string_equal(id, "a");
}

static void
an_id_we_make_is_the_incarnation_and_the_number_in_hex(void **state)
{
    struct rig *rig = *state;
    uint64_t numbers[4 * 64 + 1] = {0};
    for (unsigned bit = 0; bit < 64; bit++) {
        numbers[4 * bit] = UINT64_C(1) << bit;
        numbers[4 * bit + 1] = (UINT64_C(1) << bit) - 1;
        numbers[4 * bit + 2] = UINT64_C(0x123456789abcdef0) >> bit;
        numbers[4 * bit + 3] = UINT64_MAX >> bit;
    }
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        char id[MESSAGE_ID_SIZE];
        char expected[MESSAGE_ID_SIZE];
        snprintf(expected, sizeof(expected), "00000000000000aa-%llx",
                 (unsigned long long)numbers[i]);
        message_pick_id(&rig->edge, "", numbers[i], id);
        assert_string_equal(id, expected);
    }
}

static void
the_sender_is_who_logged_in(void **state)
{
    struct rig *rig = *state;
    struct conn *alice = rig_login(rig, "alice", "phone");
    say_send(alice, 0, "alice", "note");
    const Switchyard__V1__Event *event = event_take(alice, SWITCHYARD__V1__EVENT__EVENT_MESSAGE);
    assert_int_equal(event->id, 0);
    assert_string_equal(event->message->from, "alice");
    assert_string_equal(event->message->from_device, "phone");
    assert_string_equal(event->message->text, "note");
    assert_string_equal(event->message->content_type, "");
    assert_string_equal(event->message->message_id, "00000000000000aa-1");
    assert_int_equal(event->message->sent_at_ms, rig->edge.wall_ms);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_TEST(an_id_that_was_wanted_is_taken_whatever_its_length),
        RIG_TEST(an_id_we_make_is_the_incarnation_and_the_number_in_hex),
        RIG_TEST(the_sender_is_who_logged_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
