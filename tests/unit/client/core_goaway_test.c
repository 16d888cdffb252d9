// core_goaway_test.c: an edge sends the client away: when, where to, and what if not.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "proto/tables.h"
#include "tests/unit/client/core_rig.h"

#define THERE "ws://b.example:8000/ws"

static void
start(struct rig *rig, unsigned url_count)
{
    struct core_options options = rig_options(url_count, 1);
    rig_start(rig, &options);
    rig_live(rig);
}

static void
hear_goaway(struct rig *rig, uint32_t after_ms, const char *url)
{
    Switchyard__V1__GoAway goaway;
    switchyard__v1__go_away__init(&goaway);
    char text[WS_URL_SIZE + 8];
    snprintf(text, sizeof(text), "%s", url);
    goaway.reconnect_after_ms = after_ms;
    goaway.url = text;
    goaway.reason = SWITCHYARD__V1__GO_AWAY_REASON__GO_AWAY_REASON_LEAVING;
    Switchyard__V1__Event event;
    switchyard__v1__event__init(&event);
    event.event_case = SWITCHYARD__V1__EVENT__EVENT_GO_AWAY;
    event.go_away = &goaway;
    rig_hear(rig, &event);
}

static void
go_live(struct rig *rig)
{
    rig_connected(rig);
    assert_true(rig_write(rig));
    rig_welcome(rig);
    assert_int_equal(core_state(rig->core), SWITCHYARD_LIVE);
}

static void
at_its_slot_it_goes_where_it_was_told(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig, 2);
    hear_goaway(&rig, 3000, THERE);
    assert_string_equal(rig.goaway_url, THERE);
    assert_int_equal(rig.goaway_reason, 1);
    rig_pass(&rig, 2999);
    assert_int_equal(core_state(rig.core), SWITCHYARD_LIVE);
    assert_int_equal(rig.disconnect_count, 0);
    rig_pass(&rig, 1);
    assert_int_equal(rig.disconnect_count, 1); // closed before it connects
    assert_int_equal(rig.disconnect_code, CLOSE_NORMAL);
    assert_int_equal(rig.connect_count, 2);
    assert_int_equal(rig.connect_url, CORE_URL_GIVEN);
    assert_string_equal(core_given_url(rig.core)->text, THERE);
    go_live(&rig);
    rig_stop(&rig);
}

static void
closed_before_its_slot_it_waits_for_it_and_goes_there(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig, 2);
    hear_goaway(&rig, 3000, THERE);
    rig_pass(&rig, 1000);
    rig_lose(&rig, CLOSE_DRAINING);
    assert_int_equal(core_state(rig.core), SWITCHYARD_BACKOFF);
    assert_int_equal(rig.last.retry_in_ms, 2000);
    rig_pass(&rig, 1999);
    assert_int_equal(rig.connect_count, 1);
    rig_pass(&rig, 1);
    assert_int_equal(rig.connect_count, 2);
    assert_int_equal(rig.connect_url, CORE_URL_GIVEN);
    rig_stop(&rig);
}

static void
killed_before_its_slot_it_waits_for_it_too(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig, 2);
    hear_goaway(&rig, 3000, THERE);
    rig_lose(&rig, 0);
    rig_pass(&rig, 2999);
    assert_int_equal(rig.connect_count, 1);
    rig_pass(&rig, 1);
    assert_int_equal(rig.connect_url, CORE_URL_GIVEN);
    rig_stop(&rig);
}

static void
who_finds_it_full_goes_through_its_list_at_once(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig, 3);
    hear_goaway(&rig, 0, THERE);
    rig_pass(&rig, 0);
    assert_int_equal(rig.connect_url, CORE_URL_GIVEN);
    unsigned tried = 0;
    for (unsigned i = 0; i < 3; i++) {
        core_refused(rig.core, 503, 2000, "full", rig.now_ms);
        rig_pass(&rig, 0);
        assert_int_equal(rig.connect_count, 3 + i);
        assert_true(rig.connect_url < 3);
        tried |= 1u << rig.connect_url;
    }
    assert_int_equal(tried, 7);
    core_refused(rig.core, 503, 2000, "full", rig.now_ms);
    rig_settle(&rig);
    assert_int_equal(core_state(rig.core), SWITCHYARD_BACKOFF); // now it waits
    assert_true(rig.last.retry_in_ms > 0);
    rig_stop(&rig);
}

static void
who_finds_nobody_there_waits_and_goes_through_its_list(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig, 2);
    hear_goaway(&rig, 0, THERE);
    rig_pass(&rig, 0);
    core_refused(rig.core, 0, 0, "cannot connect", rig.now_ms);
    rig_settle(&rig);
    assert_int_equal(core_state(rig.core), SWITCHYARD_BACKOFF);
    assert_true(rig.last.retry_in_ms >= CORE_BACKOFF_MIN_MS);
    rig_retry(&rig);
    assert_true(rig.connect_url < 2);
    rig_stop(&rig);
}

static void
an_address_is_good_for_one_try(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig, 1);
    hear_goaway(&rig, 0, THERE);
    rig_pass(&rig, 0);
    assert_int_equal(rig.connect_url, CORE_URL_GIVEN);
    go_live(&rig);
    rig_lose(&rig, 0);
    rig_retry(&rig);
    assert_int_equal(rig.connect_url, 0);
    go_live(&rig);
    hear_goaway(&rig, 0, ""); // anywhere
    rig_pass(&rig, 0);
    assert_int_equal(rig.connect_url, 0);
    rig_stop(&rig);
}

static void
a_second_goaway_takes_the_place_of_the_first(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig, 1);
    hear_goaway(&rig, 1000, THERE);
    hear_goaway(&rig, 2000, "ws://c.example/ws");
    rig_pass(&rig, 1999);
    assert_int_equal(rig.connect_count, 1);
    rig_pass(&rig, 1);
    assert_int_equal(rig.connect_url, CORE_URL_GIVEN);
    assert_string_equal(core_given_url(rig.core)->text, "ws://c.example/ws");
    rig_stop(&rig);
}

static void
assert_not_followed(const struct core_options *options, const char *url)
{
    struct rig rig;
    rig_start(&rig, options);
    rig_live(&rig);
    hear_goaway(&rig, 0, url);
    assert_string_equal(rig.goaway_url, "");
    rig_pass(&rig, 0);
    assert_int_equal(rig.connect_count, 2);
    assert_int_equal(rig.connect_url, 0);
    rig_stop(&rig);
}

static void
what_is_no_address_is_not_followed(void **state)
{
    (void)state;
    struct core_options options = rig_options(1, 1);
    char long_url[WS_URL_SIZE + 1];
    memset(long_url, 'x', sizeof(long_url));
    memcpy(long_url, "ws://", 5);
    long_url[WS_URL_SIZE] = '\0';
    const char *const urls[] = {"",          "b.example",          "http://b.example/ws",
                                "ws://",     "ws://b:99999/ws",    "ws://b.example/w s",
                                "ws://u@b/", "ws://b/\x01\x7f/ws", long_url};
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++)
        assert_not_followed(&options, urls[i]);
}

static void
nobody_is_led_from_wss_to_ws_or_to_what_the_owner_has_no_keys_for(void **state)
{
    (void)state;
    struct core_options options = rig_options(1, 1);
    assert_not_followed(&options, "wss://b.example/ws");
    options.takes_ws = false;
    options.takes_wss = true;
    assert_not_followed(&options, "ws://b.example/ws");
    struct rig rig;
    rig_start(&rig, &options);
    rig_live(&rig);
    hear_goaway(&rig, 0, "wss://b.example/ws");
    rig_pass(&rig, 0);
    assert_int_equal(rig.connect_url, CORE_URL_GIVEN);
    rig_stop(&rig);
}

static void
sends_end_once_each_over_the_move(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig, 1);
    struct rig_outcome answered = {0}, lost = {0}, queued = {0};
    rig_send(&rig, 10, &answered);
    assert_true(rig_write(&rig));
    uint64_t first = rig_written_id(&rig);
    rig_send(&rig, 10, &lost);
    assert_true(rig_write(&rig));
    hear_goaway(&rig, 1000, THERE);
    rig_pass(&rig, 1000); // waits for both answers
    assert_int_equal(core_state(rig.core), SWITCHYARD_LIVE);
    rig_send(&rig, 10, &queued);
    assert_false(rig_write(&rig));
    rig_outcome(&rig, first, SWITCHYARD__V1__OUTCOME_STATUS__OUTCOME_STATUS_SENT, 0);
    rig_lose(&rig, CLOSE_DRAINING); // the edge's patience ends
    rig_pass(&rig, 0);
    assert_int_equal(rig.connect_url, CORE_URL_GIVEN);
    go_live(&rig);
    assert_true(rig_write(&rig));
    rig_outcome(&rig, rig_written_id(&rig), SWITCHYARD__V1__OUTCOME_STATUS__OUTCOME_STATUS_SENT, 0);
    assert_int_equal(answered.calls, 1);
    assert_int_equal(answered.status, SWITCHYARD_SENT);
    assert_int_equal(lost.calls, 1);
    assert_int_equal(lost.status, SWITCHYARD_UNKNOWN);
    assert_int_equal(queued.calls, 1);
    assert_int_equal(queued.status, SWITCHYARD_SENT);
    rig_stop(&rig);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(at_its_slot_it_goes_where_it_was_told),
        cmocka_unit_test(closed_before_its_slot_it_waits_for_it_and_goes_there),
        cmocka_unit_test(killed_before_its_slot_it_waits_for_it_too),
        cmocka_unit_test(who_finds_it_full_goes_through_its_list_at_once),
        cmocka_unit_test(who_finds_nobody_there_waits_and_goes_through_its_list),
        cmocka_unit_test(an_address_is_good_for_one_try),
        cmocka_unit_test(a_second_goaway_takes_the_place_of_the_first),
        cmocka_unit_test(what_is_no_address_is_not_followed),
        cmocka_unit_test(nobody_is_led_from_wss_to_ws_or_to_what_the_owner_has_no_keys_for),
        cmocka_unit_test(sends_end_once_each_over_the_move),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
