// Sends: one outcome each whatever happens, the bounds of the queue, and messages coming in.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lib/client-c/dedup.h"
#include "lib/client-c/ws_url.h"
#include "proto/tables.h"
#include "tests/unit/client/core_rig.h"

#define SENT SWITCHYARD__V1__OUTCOME_STATUS__OUTCOME_STATUS_SENT
#define REJECTED SWITCHYARD__V1__OUTCOME_STATUS__OUTCOME_STATUS_REJECTED

static char *
plain(const char *text)
{
    char *out;
    memcpy(&out, &text, sizeof(out));
    return out;
}

static void
start(struct rig *rig)
{
    struct core_options options = rig_options(1, 1);
    rig_start(rig, &options);
}

static void
an_outcome_finds_its_send_by_id_in_any_order(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig);
    rig_live(&rig);
    struct rig_outcome outcomes[3] = {0};
    uint64_t ids[3];
    for (int i = 0; i < 3; i++) {
        assert_int_equal(rig_send(&rig, 10, &outcomes[i]), 0);
        assert_true(rig_write(&rig));
        ids[i] = rig_written_id(&rig);
    }
    rig_outcome(&rig, ids[2], SENT, 0);
    rig_outcome(&rig, ids[0], REJECTED, SWITCHYARD__V1__REASON__REASON_OFFLINE);
    assert_int_equal(outcomes[2].status, SWITCHYARD_SENT);
    assert_int_equal(outcomes[2].devices, 2);
    assert_int_equal(outcomes[2].unreached_count, 1);
    assert_string_equal(outcomes[2].unreached, "carol");
    assert_int_equal(outcomes[0].status, SWITCHYARD_REJECTED);
    assert_int_equal(outcomes[0].reason, SWITCHYARD_REASON_OFFLINE);
    assert_string_equal(outcomes[0].text, "the user has no device connected");
    assert_int_equal(outcomes[1].calls, 0);
    assert_int_equal(core_pending(rig.core), 1);
    rig_stop(&rig);
}

static void
a_rejection_that_may_have_arrived_is_told_as_unknown(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig);
    rig_live(&rig);
    struct rig_outcome outcome = {0};
    rig_send(&rig, 10, &outcome);
    rig_write(&rig);
    rig_outcome(&rig, rig_written_id(&rig), REJECTED, SWITCHYARD__V1__REASON__REASON_TIMEOUT);
    assert_int_equal(outcome.status, SWITCHYARD_UNKNOWN);
    rig_stop(&rig);
}

static void
a_failure_answers_a_send_too(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig);
    rig_live(&rig);
    struct rig_outcome outcome = {0};
    rig_send(&rig, 10, &outcome);
    rig_write(&rig);
    Switchyard__V1__Failure failure;
    switchyard__v1__failure__init(&failure);
    failure.reason = SWITCHYARD__V1__REASON__REASON_RATE;
    failure.retryable = true;
    Switchyard__V1__Event event;
    switchyard__v1__event__init(&event);
    event.id = rig_written_id(&rig);
    event.event_case = SWITCHYARD__V1__EVENT__EVENT_FAILURE;
    event.failure = &failure;
    rig_hear(&rig, &event);
    assert_int_equal(outcome.calls, 1);
    assert_int_equal(outcome.reason, SWITCHYARD_REASON_RATE);
    assert_true(outcome.is_retryable);
    rig_stop(&rig);
}

static void
no_answer_is_given_up_exactly_at_the_limit_and_a_late_one_changes_nothing(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig);
    rig_live(&rig);
    struct rig_outcome outcome = {0};
    rig_send(&rig, 10, &outcome);
    rig_write(&rig);
    uint64_t id = rig_written_id(&rig);
    rig_pass(&rig, CORE_ANSWER_MS - 1);
    assert_int_equal(outcome.calls, 0);
    rig_pass(&rig, 1);
    assert_int_equal(outcome.calls, 1);
    assert_int_equal(outcome.status, SWITCHYARD_UNKNOWN);
    rig_outcome(&rig, id, SENT, 0);
    assert_int_equal(outcome.calls, 1);
    rig_stop(&rig);
}

static void
the_same_outcome_twice_is_told_once(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig);
    rig_live(&rig);
    struct rig_outcome outcome = {0};
    rig_send(&rig, 10, &outcome);
    rig_write(&rig);
    uint64_t id = rig_written_id(&rig);
    rig_outcome(&rig, id, SENT, 0);
    rig_outcome(&rig, id, SENT, 0);
    assert_int_equal(outcome.calls, 1);
    rig_stop(&rig);
}

static void
a_queued_send_expires_exactly_at_the_limit(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig);
    struct rig_outcome outcome = {0};
    assert_int_equal(rig_send(&rig, 10, &outcome), 0); // not even opened
    rig_pass(&rig, CORE_QUEUE_MS - 1);
    assert_int_equal(outcome.calls, 0);
    rig_pass(&rig, 1);
    assert_int_equal(outcome.calls, 1);
    assert_int_equal(outcome.status, SWITCHYARD_REJECTED);
    assert_int_equal(outcome.reason, SWITCHYARD_REASON_EXPIRED);
    rig_live(&rig);
    assert_false(rig_write(&rig)); // and is never written
    rig_stop(&rig);
}

static void
a_send_made_offline_is_written_at_the_next_login(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig);
    struct rig_outcome outcome = {0};
    rig_send(&rig, 10, &outcome);
    rig_live(&rig);
    assert_true(rig_write(&rig));
    const Switchyard__V1__Send *send = rig.written->commands[0]->send;
    assert_string_equal(send->to[0], "bob");
    assert_string_equal(send->text, "xxxxxxxxxx");
    rig_outcome(&rig, rig_written_id(&rig), SENT, 0);
    assert_int_equal(outcome.calls, 1);
    rig_stop(&rig);
}

static void
waiting_sends_share_one_message(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig);
    struct rig_outcome outcomes[5] = {0};
    for (int i = 0; i < 5; i++)
        rig_send(&rig, 10, &outcomes[i]);
    rig_live(&rig);
    assert_true(rig_write(&rig));
    assert_int_equal(rig.written->n_commands, 5);
    assert_false(rig_write(&rig));
    rig_stop(&rig);
}

static void
a_message_never_passes_what_the_edge_takes(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig);
    struct rig_outcome a = {0}, b = {0}, c = {0};
    rig_send(&rig, 1500, &a); // the edge of the rig takes 2,048
    rig_send(&rig, 2100, &b);
    rig_send(&rig, 400, &c);
    rig_live(&rig);
    assert_true(rig_write(&rig));
    assert_int_equal(rig.written->n_commands, 1);
    assert_true(rig_write(&rig));
    assert_int_equal(rig.written->n_commands, 1);
    assert_false(rig_write(&rig));
    assert_int_equal(b.calls, 1);
    assert_int_equal(b.reason, SWITCHYARD_REASON_TOO_LARGE);
    assert_int_equal(a.calls + c.calls, 0);
    rig_stop(&rig);
}

static void
the_queue_is_bounded_in_number_until_an_outcome_makes_room(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig);
    struct rig_outcome outcomes[9] = {0};
    for (int i = 0; i < 8; i++)
        assert_int_equal(rig_send(&rig, 10, &outcomes[i]), 0);
    assert_int_equal(rig_send(&rig, 10, &outcomes[8]), SWITCHYARD_EFULL);
    rig_live(&rig);
    assert_true(rig_write(&rig)); // written ones still count: their outcomes are owed
    uint64_t first = rig_written_id(&rig);
    assert_int_equal(rig_send(&rig, 10, &outcomes[8]), SWITCHYARD_EFULL);
    rig_outcome(&rig, first, SENT, 0);
    assert_int_equal(rig_send(&rig, 10, &outcomes[8]), 0);
    assert_int_equal(outcomes[8].calls, 0);
    rig_stop(&rig);
}

static void
the_queue_is_bounded_in_bytes_on_both_sides(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig);
    struct rig_outcome outcome = {0};
    size_t len = 4000;
    while (rig_send(&rig, len + 1, &outcome) == 0) { // find the largest that fits in 4,096
        core_close(rig.core, rig.now_ms);
        rig_settle(&rig);
        rig_stop(&rig);
        start(&rig);
        len++;
    }
    assert_in_range(len, 4050, 4096);
    assert_int_equal(rig_send(&rig, len + 1, &outcome), SWITCHYARD_ETOOLARGE);
    assert_int_equal(rig_send(&rig, len, &outcome), 0);
    assert_int_equal(rig_send(&rig, 0, &outcome), SWITCHYARD_EFULL);
    rig_stop(&rig);
}

static void
a_send_nobody_asks_about_has_no_id_and_leaves_no_trace(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig);
    rig_live(&rig);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(rig_send(&rig, 10, NULL), 0);
        assert_true(rig_write(&rig));
        assert_true(rig_written_id(&rig) == 0);
        assert_int_equal(core_pending(rig.core), 0);
    }
    rig_send(&rig, 10, NULL);
    rig_lose(&rig, 0);
    rig_pass(&rig, CORE_QUEUE_MS);
    assert_int_equal(core_pending(rig.core), 0);
    assert_int_equal(rig.outcome_count, 0);
    rig_stop(&rig);
}

// A scripted life with six sends; cut short after `steps` steps by `cut`.
static void
live_until(struct rig *rig, struct rig_outcome *outcomes, int steps)
{
    uint64_t id = 0;
    for (int step = 0; step < steps; step++) {
        switch (step) {
        case 0:
            rig_send(rig, 10, &outcomes[0]);
            break;
        case 1:
            core_open(rig->core, rig->now_ms);
            rig_settle(rig);
            break;
        case 2:
            rig_send(rig, 10, &outcomes[1]);
            break;
        case 3:
            rig_connected(rig);
            break;
        case 4:
            rig_write(rig);
            rig_send(rig, 10, &outcomes[2]);
            break;
        case 5:
            rig_welcome(rig);
            break;
        case 6:
            rig_write(rig);
            id = rig_written_id(rig);
            break;
        case 7:
            rig_send(rig, 10, &outcomes[3]);
            break;
        case 8:
            rig_outcome(rig, id, SENT, 0);
            break;
        case 9:
            rig_write(rig);
            rig_send(rig, 10, &outcomes[4]);
            break;
        case 10:
            rig_outcome(rig, id + 1, REJECTED, SWITCHYARD__V1__REASON__REASON_OFFLINE);
            break;
        default:
            rig_send(rig, 10, &outcomes[5]);
            break;
        }
    }
}

static void
every_send_has_exactly_one_outcome_wherever_it_is_cut_off(void **state)
{
    (void)state;
    const int made[] = {0, 1, 1, 2, 2, 3, 3, 3, 4, 4, 5, 5, 6};
    for (int steps = 0; steps <= 12; steps++) {
        for (int cut = 0; cut < 5; cut++) {
            struct rig rig;
            start(&rig);
            struct rig_outcome outcomes[6] = {0};
            live_until(&rig, outcomes, steps);
            if (cut == 0)
                rig_lose(&rig, 0);
            else if (cut == 1)
                rig_lose(&rig, CLOSE_REPLACED);
            else if (cut == 2)
                core_close(rig.core, rig.now_ms);
            else if (cut == 3)
                core_received(rig.core, "\xff", 1, true, rig.now_ms);
            // cut == 4: mere silence
            rig_pass(&rig, 60000);
            int told = 0;
            for (int i = 0; i < 6; i++) {
                assert_int_equal(outcomes[i].calls, i < made[steps] ? 1 : 0);
                told += outcomes[i].calls;
            }
            assert_int_equal(told, rig.outcome_count);
            assert_int_equal(core_pending(rig.core), 0);
            rig_stop(&rig);
        }
    }
}

static void
a_lost_connection_tells_written_from_unwritten(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig);
    rig_live(&rig);
    struct rig_outcome written = {0}, queued = {0};
    rig_send(&rig, 10, &written);
    rig_write(&rig);
    rig_send(&rig, 10, &queued);
    rig_lose(&rig, 0);
    assert_int_equal(written.status, SWITCHYARD_UNKNOWN);
    assert_int_equal(queued.calls, 0);
    rig_pass(&rig, 1000);
    rig_connected(&rig);
    rig_write(&rig);
    rig_welcome(&rig);
    assert_true(rig_write(&rig)); // only the queued one
    assert_int_equal(rig.written->n_commands, 1);
    rig_outcome(&rig, rig_written_id(&rig), SENT, 0);
    assert_int_equal(queued.status, SWITCHYARD_SENT);
    rig_stop(&rig);
}

static void
hear_message(struct rig *rig, const char *from, const char *device, const char *id,
             const char *text)
{
    Switchyard__V1__Message message;
    switchyard__v1__message__init(&message);
    message.from = plain(from);
    message.from_device = plain(device);
    message.message_id = plain(id);
    message.payload_case = SWITCHYARD__V1__MESSAGE__PAYLOAD_TEXT;
    message.text = plain(text);
    Switchyard__V1__Event event;
    switchyard__v1__event__init(&event);
    event.event_case = SWITCHYARD__V1__EVENT__EVENT_MESSAGE;
    event.message = &message;
    rig_hear(rig, &event);
}

static void
a_repeated_message_is_told_once_per_sender(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig);
    rig_live(&rig);
    hear_message(&rig, "bob", "d1", "1", "a");
    hear_message(&rig, "bob", "d1", "1", "b");   // repeated
    hear_message(&rig, "bob", "d2", "1", "c");   // another device
    hear_message(&rig, "carol", "d1", "1", "d"); // another user
    hear_message(&rig, "bobd", "1", "1", "e");   // the same bytes, cut elsewhere
    hear_message(&rig, "bob", "d1", "", "f");    // no id: never a repetition
    hear_message(&rig, "bob", "d1", "", "g");
    assert_int_equal(rig.message_count, 6);
    assert_string_equal(rig.messages[0], "bob/d1: a");
    assert_string_equal(rig.messages[1], "bob/d2: c");
    assert_string_equal(rig.messages[5], "bob/d1: g");
    rig_stop(&rig);
}

static void
the_filter_remembers_over_a_reconnect(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig);
    rig_live(&rig);
    hear_message(&rig, "bob", "d1", "1", "a");
    rig_lose(&rig, 0);
    rig_pass(&rig, 1000);
    rig_connected(&rig);
    rig_welcome(&rig);
    hear_message(&rig, "bob", "d1", "1", "a");
    assert_int_equal(rig.message_count, 1);
    rig_stop(&rig);
}

static void
the_filter_forgets_by_time_and_by_number_at_its_limits(void **state)
{
    (void)state;
    struct dedup dedup;
    dedup_init(&dedup, 1, 2);
    assert_false(dedup_is_repeat(&dedup, "bob", "d", "1", 1000));
    assert_true(dedup_is_repeat(&dedup, "bob", "d", "1", 1000 + DEDUP_MS - 1));
    assert_false(dedup_is_repeat(&dedup, "bob", "d", "1", 1000 + DEDUP_MS));

    dedup_init(&dedup, 1, 2);
    for (int i = 0; i <= DEDUP_ENTRIES; i++) {
        char id[8];
        snprintf(id, sizeof(id), "%d", i);
        assert_false(dedup_is_repeat(&dedup, "bob", "d", id, 1000));
    }
    assert_true(dedup_is_repeat(&dedup, "bob", "d", "1", 1000));  // the oldest kept
    assert_false(dedup_is_repeat(&dedup, "bob", "d", "0", 1000)); // pushed out
}

static void
close_inside(struct rig *rig)
{
    core_close(rig->core, rig->now_ms);
}

static void
closing_inside_a_message_hears_no_further_one_of_the_same_frame(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig);
    rig_live(&rig);
    rig.on_message = close_inside;
    struct buf frame = {0};
    Switchyard__V1__Message message;
    switchyard__v1__message__init(&message);
    message.from = plain("bob");
    Switchyard__V1__Event event;
    switchyard__v1__event__init(&event);
    event.event_case = SWITCHYARD__V1__EVENT__EVENT_MESSAGE;
    event.message = &message;
    codec_write_event(CODEC_PROTOBUF, &event, &frame);
    codec_write_event(CODEC_PROTOBUF, &event, &frame);
    core_received(rig.core, frame.bytes, frame.len, true, rig.now_ms);
    buf_fini(&frame);
    rig_settle(&rig);
    assert_int_equal(rig.message_count, 1);
    assert_int_equal(core_state(rig.core), SWITCHYARD_CLOSED);
    rig_stop(&rig);
}

static void
a_batch_of_events_is_told_in_order(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig);
    rig_live(&rig);
    struct buf frame = {0};
    for (int i = 0; i < 3; i++) {
        char text[2] = {(char)('a' + i), 0};
        Switchyard__V1__Message message;
        switchyard__v1__message__init(&message);
        message.from = plain("bob");
        message.payload_case = SWITCHYARD__V1__MESSAGE__PAYLOAD_TEXT;
        message.text = text;
        Switchyard__V1__Event event;
        switchyard__v1__event__init(&event);
        event.event_case = SWITCHYARD__V1__EVENT__EVENT_MESSAGE;
        event.message = &message;
        codec_write_event(CODEC_PROTOBUF, &event, &frame);
    }
    core_received(rig.core, frame.bytes, frame.len, true, rig.now_ms);
    buf_fini(&frame);
    rig_settle(&rig);
    assert_int_equal(rig.message_count, 3);
    assert_string_equal(rig.messages[2], "bob/: c");
    rig_stop(&rig);
}

static void
a_frame_of_very_many_small_events_is_read_too(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig);
    rig_live(&rig);
    struct buf frame = {0};
    Switchyard__V1__Pong pong;
    switchyard__v1__pong__init(&pong);
    Switchyard__V1__Event event;
    switchyard__v1__event__init(&event);
    event.event_case = SWITCHYARD__V1__EVENT__EVENT_PONG;
    event.pong = &pong;
    for (int i = 0; i < 5000; i++) // costs far more to decode than its length
        codec_write_event(CODEC_PROTOBUF, &event, &frame);
    Switchyard__V1__Message message;
    switchyard__v1__message__init(&message);
    message.from = plain("bob");
    event.event_case = SWITCHYARD__V1__EVENT__EVENT_MESSAGE;
    event.message = &message;
    codec_write_event(CODEC_PROTOBUF, &event, &frame);
    core_received(rig.core, frame.bytes, frame.len, true, rig.now_ms);
    buf_fini(&frame);
    rig_settle(&rig);
    assert_int_equal(rig.message_count, 1);
    assert_int_equal(core_state(rig.core), SWITCHYARD_LIVE);
    rig_stop(&rig);
}

static int
send_with(struct rig *rig, const char *to, const struct switchyard_payload *payload,
          const struct switchyard_send_options *options, size_t count)
{
    const char *all[CODEC_MAX_RECIPIENTS + 1];
    for (size_t i = 0; i < count; i++)
        all[i] = to;
    struct send_request request = {all, count, payload, options};
    return core_send(rig->core, &request, 0, NULL, NULL, rig->now_ms);
}

static void
what_the_protocol_forbids_is_refused_and_what_it_allows_is_not(void **state)
{
    (void)state;
    struct core_options roomy = rig_options(1, 1);
    roomy.max_queue_bytes = 1 << 20;
    roomy.max_queue_count = 100;
    struct rig rig;
    rig_start(&rig, &roomy);
    char id[130], type[130];
    memset(id, 'x', sizeof(id));
    memset(type, 'x', sizeof(type));
    id[129] = type[129] = 0;
    struct switchyard_payload text = {.bytes = "hi", .len = 2, .is_text = true};
    struct switchyard_payload bad = {.bytes = "\xff\xfe", .len = 2, .is_text = true};
    struct switchyard_payload zero = {.bytes = "a\0b", .len = 3, .is_text = true};
    struct switchyard_payload typed = {.bytes = "hi", .len = 2, .content_type = type};
    struct switchyard_send_options options = SWITCHYARD_SEND_OPTIONS_INIT;

    assert_int_equal(send_with(&rig, "bob", &text, NULL, 0), SWITCHYARD_EINVAL);
    assert_int_equal(send_with(&rig, "b", &text, NULL, CODEC_MAX_RECIPIENTS + 1),
                     SWITCHYARD_EINVAL);
    assert_int_equal(send_with(&rig, "b", &text, NULL, CODEC_MAX_RECIPIENTS), 0);
    assert_int_equal(send_with(&rig, "", &text, NULL, 1), SWITCHYARD_EINVAL);
    assert_int_equal(send_with(&rig, id, &text, NULL, 1), SWITCHYARD_EINVAL);
    assert_int_equal(send_with(&rig, id + 1, &text, NULL, 1), 0);
    assert_int_equal(send_with(&rig, "bob", NULL, NULL, 1), SWITCHYARD_EINVAL);
    assert_int_equal(send_with(&rig, "bob", &bad, NULL, 1), SWITCHYARD_EINVAL);
    assert_int_equal(send_with(&rig, "bob", &zero, NULL, 1), SWITCHYARD_EINVAL);
    bad.is_text = zero.is_text = false; // as bytes they are fine
    assert_int_equal(send_with(&rig, "bob", &bad, NULL, 1), 0);
    assert_int_equal(send_with(&rig, "bob", &zero, NULL, 1), 0);
    assert_int_equal(send_with(&rig, "bob", &typed, NULL, 1), SWITCHYARD_EINVAL);
    typed.content_type = type + 1;
    assert_int_equal(send_with(&rig, "bob", &typed, NULL, 1), 0);
    options.ttl_ms = 4001;
    assert_int_equal(send_with(&rig, "bob", &text, &options, 1), SWITCHYARD_EINVAL);
    options.ttl_ms = 4000;
    assert_int_equal(send_with(&rig, "bob", &text, &options, 1), 0);
    options.message_id = id + (129 - 65);
    assert_int_equal(send_with(&rig, "bob", &text, &options, 1), SWITCHYARD_EINVAL);
    options.message_id = id + (129 - 64);
    assert_int_equal(send_with(&rig, "bob", &text, &options, 1), 0);
    options.to_device = "phone";
    assert_int_equal(send_with(&rig, "bob", &text, &options, 2), SWITCHYARD_EINVAL);
    assert_int_equal(send_with(&rig, "bob", &text, &options, 1), 0);
    options.size = 1;
    assert_int_equal(send_with(&rig, "bob", &text, &options, 1), SWITCHYARD_EINVAL);
    rig_stop(&rig);
}

static void
urls_are_read_whole_or_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *host, *authority, *path;
        int port;
        bool is_tls;
    } good[] = {
        {"ws://127.0.0.1:8000/ws", "127.0.0.1", "127.0.0.1:8000", "/ws", 8000, false},
        {"ws://edge", "edge", "edge", "/ws", 80, false},
        {"WSS://Edge.example", "Edge.example", "Edge.example", "/ws", 443, true},
        {"wss://e:443/", "e", "e", "/", 443, true},
        {"ws://e:443", "e", "e:443", "/ws", 443, false},
        {"ws://[::1]:8000/a/b?c=d", "::1", "[::1]:8000", "/a/b?c=d", 8000, false},
        {"ws://e?x=1", "e", "e", "/ws?x=1", 80, false},
        {"ws://e:65535", "e", "e:65535", "/ws", 65535, false},
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct ws_url url;
        assert_true(ws_url_parse(good[i].text, &url));
        assert_string_equal(url.host, good[i].host);
        assert_string_equal(url.authority, good[i].authority);
        assert_string_equal(url.path, good[i].path);
        assert_int_equal(url.port, good[i].port);
        assert_int_equal(url.is_tls, good[i].is_tls);
    }
    static const char *const bad[] = {
        "",          "http://e",     "ws:/e",          "ws://",        "ws:///ws",
        "ws://:80",  "ws://e:",      "ws://e:0",       "ws://e:65536", "ws://e:8o",
        "ws://e f",  "ws://e\r\nX:", "ws://u:p@e",     "ws://u@e",     "ws://e/#f",
        "ws://[::1", "ws://[::1]8",  "ws://e:1234567", "wss://[::1]",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct ws_url url = {.port = -1};
        if (ws_url_parse(bad[i], &url))
            fail_msg("'%s' was taken", bad[i]);
        assert_int_equal(url.port, -1);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_outcome_finds_its_send_by_id_in_any_order),
        cmocka_unit_test(a_rejection_that_may_have_arrived_is_told_as_unknown),
        cmocka_unit_test(a_failure_answers_a_send_too),
        cmocka_unit_test(no_answer_is_given_up_exactly_at_the_limit_and_a_late_one_changes_nothing),
        cmocka_unit_test(the_same_outcome_twice_is_told_once),
        cmocka_unit_test(a_queued_send_expires_exactly_at_the_limit),
        cmocka_unit_test(a_send_made_offline_is_written_at_the_next_login),
        cmocka_unit_test(waiting_sends_share_one_message),
        cmocka_unit_test(a_message_never_passes_what_the_edge_takes),
        cmocka_unit_test(the_queue_is_bounded_in_number_until_an_outcome_makes_room),
        cmocka_unit_test(the_queue_is_bounded_in_bytes_on_both_sides),
        cmocka_unit_test(a_send_nobody_asks_about_has_no_id_and_leaves_no_trace),
        cmocka_unit_test(every_send_has_exactly_one_outcome_wherever_it_is_cut_off),
        cmocka_unit_test(a_lost_connection_tells_written_from_unwritten),
        cmocka_unit_test(a_repeated_message_is_told_once_per_sender),
        cmocka_unit_test(the_filter_remembers_over_a_reconnect),
        cmocka_unit_test(the_filter_forgets_by_time_and_by_number_at_its_limits),
        cmocka_unit_test(closing_inside_a_message_hears_no_further_one_of_the_same_frame),
        cmocka_unit_test(a_batch_of_events_is_told_in_order),
        cmocka_unit_test(a_frame_of_very_many_small_events_is_read_too),
        cmocka_unit_test(what_the_protocol_forbids_is_refused_and_what_it_allows_is_not),
        cmocka_unit_test(urls_are_read_whole_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
