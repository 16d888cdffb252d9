// The core's states: when it connects, logs in, gives up, waits, moves and stays away.
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "proto/tables.h"
#include "tests/unit/client/core_rig.h"

static char *
plain(const char *text)
{
    char *out;
    memcpy(&out, &text, sizeof(out));
    return out;
}

static void
start(struct rig *rig, unsigned url_count, uint64_t seed)
{
    struct core_options options = rig_options(url_count, seed);
    rig_start(rig, &options);
}

static void
assert_state(const struct rig *rig, enum switchyard_state state)
{
    assert_int_equal(core_state(rig->core), state);
    assert_int_equal(rig->last.state, state); // and the owner was told
}

static void
it_does_nothing_before_it_is_opened(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig, 1, 1);
    rig_pass(&rig, 3600000);
    assert_int_equal(core_state(rig.core), SWITCHYARD_IDLE);
    assert_int_equal(rig.connect_count, 0);
    assert_true(core_deadline(rig.core) == UINT64_MAX);
    rig_stop(&rig);
}

static void
the_way_to_live_is_told_step_by_step(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig, 1, 1);
    rig_live(&rig);
    assert_int_equal(rig.state_count, 3);
    assert_int_equal(rig.states[0], SWITCHYARD_CONNECTING);
    assert_int_equal(rig.states[1], SWITCHYARD_LOGIN);
    assert_int_equal(rig.states[2], SWITCHYARD_LIVE);
    assert_string_equal(rig.last.node, "edge-a.0123456789abcdef");
    assert_int_equal(core_open(rig.core, rig.now_ms), 0); // again: nothing
    rig_settle(&rig);
    assert_int_equal(rig.connect_count, 1);
    rig_stop(&rig);
}

static void
the_hello_carries_who_we_are(void **state)
{
    (void)state;
    struct core_options options = rig_options(1, 1);
    options.token = "abc.def.ghi";
    options.device_class = "phone";
    options.client_name = "test/1";
    struct rig rig;
    rig_start(&rig, &options);
    core_open(rig.core, rig.now_ms);
    rig_settle(&rig);
    assert_false(rig_write(&rig)); // nothing before the connection is there
    rig_connected(&rig);
    assert_true(rig_write(&rig));
    assert_int_equal(rig.written->n_commands, 1);
    const Switchyard__V1__Hello *hello = rig.written->commands[0]->hello;
    assert_int_equal(rig.written->commands[0]->command_case,
                     SWITCHYARD__V1__COMMAND__COMMAND_HELLO);
    assert_string_equal(hello->token, "abc.def.ghi");
    assert_string_equal(hello->user, "alice");
    assert_string_equal(hello->device, core_device(rig.core));
    assert_string_equal(hello->device_class, "phone");
    assert_string_equal(hello->client, "test/1");
    assert_false(rig_write(&rig));
    rig_stop(&rig);
}

static void
a_device_name_of_its_own_is_kept_over_reconnects_and_differs_between_clients(void **state)
{
    (void)state;
    struct rig a, b;
    start(&a, 1, 1);
    start(&b, 1, 2);
    assert_string_not_equal(core_device(a.core), core_device(b.core));
    rig_live(&a);
    char first[64];
    strcpy(first, core_device(a.core));
    rig_lose(&a, 0);
    rig_retry(&a);
    rig_connected(&a);
    assert_true(rig_write(&a));
    assert_string_equal(a.written->commands[0]->hello->device, first);
    rig_stop(&a);
    rig_stop(&b);
}

static void
a_try_without_a_connection_ends_exactly_at_the_limit(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig, 1, 1);
    core_open(rig.core, rig.now_ms);
    rig_pass(&rig, CORE_CONNECT_MS - 1);
    assert_state(&rig, SWITCHYARD_CONNECTING);
    rig_pass(&rig, 1);
    assert_state(&rig, SWITCHYARD_BACKOFF);
    assert_int_equal(rig.disconnect_count, 1); // the try is called off
    rig_stop(&rig);
}

static void
a_login_without_an_answer_ends_exactly_at_the_limit(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig, 1, 1);
    core_open(rig.core, rig.now_ms);
    rig_settle(&rig);
    rig_connected(&rig);
    rig_pass(&rig, CORE_LOGIN_MS - 1);
    assert_state(&rig, SWITCHYARD_LOGIN);
    rig_pass(&rig, 1);
    assert_state(&rig, SWITCHYARD_BACKOFF);
    assert_int_equal(rig.disconnect_count, 1);
    rig_stop(&rig);
}

static void
the_backoff_stays_in_its_bounds_and_grows_and_spreads(void **state)
{
    (void)state;
    uint64_t sum_first = 0, sum_late = 0;
    bool is_spread = false;
    uint32_t first_delay = 0;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct rig rig;
        start(&rig, 1, seed);
        core_open(rig.core, rig.now_ms);
        rig_settle(&rig);
        for (int i = 0; i < 9; i++) {
            core_refused(rig.core, 0, 0, "no", rig.now_ms);
            rig_settle(&rig);
            assert_state(&rig, SWITCHYARD_BACKOFF);
            uint32_t delay = rig.last.retry_in_ms;
            uint32_t spread = (uint32_t)CORE_BACKOFF_MIN_MS << (i < 6 ? i : 6);
            uint32_t most = CORE_BACKOFF_MIN_MS + spread;
            assert_in_range(delay, CORE_BACKOFF_MIN_MS,
                            most < CORE_BACKOFF_MAX_MS ? most : CORE_BACKOFF_MAX_MS);
            sum_first += i == 0 ? delay : 0;
            sum_late += i == 8 ? delay : 0;
            is_spread |= i == 0 && first_delay != 0 && delay != first_delay;
            first_delay = i == 0 ? delay : first_delay;
            unsigned before = rig.connect_count;
            rig_pass(&rig, delay - 1);
            assert_int_equal(rig.connect_count, before); // not a moment early
            rig_pass(&rig, 1);
            assert_int_equal(rig.connect_count, before + 1);
        }
        rig_stop(&rig);
    }
    assert_true(is_spread);
    assert_true(sum_late > 8 * sum_first);
}

// The delay of the first retry after a connection that was live for so long, the fifth
// failure in a row before it.
static uint32_t
delay_after_live(uint64_t live_ms)
{
    struct rig rig;
    start(&rig, 1, 7);
    core_open(rig.core, rig.now_ms);
    rig_settle(&rig);
    for (int i = 0; i < 6; i++) {
        core_refused(rig.core, 0, 0, "no", rig.now_ms);
        rig_settle(&rig);
        rig_pass(&rig, rig.last.retry_in_ms);
    }
    rig_connected(&rig);
    rig_welcome(&rig);
    rig_pass(&rig, live_ms);
    rig_lose(&rig, 0);
    uint32_t delay = rig.last.retry_in_ms;
    rig_stop(&rig);
    return delay;
}

static void
only_a_connection_that_held_starts_the_backoff_anew(void **state)
{
    (void)state;
    assert_in_range(delay_after_live(CORE_STABLE_MS), 500, 1000);
    assert_in_range(delay_after_live(CORE_STABLE_MS - 1), 1001, CORE_BACKOFF_MAX_MS);
}

static void
a_terminal_close_code_ends_it_for_good(void **state)
{
    (void)state;
    const unsigned codes[] = {CLOSE_MALFORMED,
                              CLOSE_REPLACED,
                              CLOSE_UNAUTHORIZED,
                              CLOSE_HELLO_TIMEOUT,
                              CLOSE_TOKEN_EXPIRED,
                              CLOSE_OUT_OF_ORDER,
                              4099,
                              CLOSE_UNSUPPORTED,
                              CLOSE_BAD_TEXT,
                              CLOSE_TOO_BIG};
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        struct rig rig;
        start(&rig, 2, 1);
        rig_live(&rig);
        rig_lose(&rig, codes[i]);
        assert_state(&rig, SWITCHYARD_CLOSED);
        assert_int_equal(rig.last.code, codes[i]);
        rig_pass(&rig, 3600000);
        assert_int_equal(rig.connect_count, 1);
        assert_int_equal(core_open(rig.core, rig.now_ms), SWITCHYARD_ECLOSED);
        assert_int_equal(rig_send(&rig, 1, NULL), SWITCHYARD_ECLOSED);
        rig_stop(&rig);
    }
}

static void
any_other_close_code_is_tried_again(void **state)
{
    (void)state;
    const unsigned codes[] = {0,          1000,      1001, CLOSE_INTERNAL,    CLOSE_DRAINING,
                              1013,       4100,      4199, CLOSE_SLOW_READER, CLOSE_SILENT,
                              CLOSE_RATE, CLOSE_LOST};
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        struct rig rig;
        start(&rig, 1, 1);
        rig_live(&rig);
        rig_lose(&rig, codes[i]);
        assert_state(&rig, SWITCHYARD_BACKOFF);
        assert_int_equal(rig.last.code, codes[i] != 0 ? codes[i] : CLOSE_LOST);
        rig_retry(&rig);
        assert_int_equal(rig.connect_count, 2);
        rig_stop(&rig);
    }
}

static void
a_terminal_code_during_login_tells_the_edges_words(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig, 1, 1);
    core_open(rig.core, rig.now_ms);
    rig_settle(&rig);
    rig_connected(&rig);
    assert_true(rig_write(&rig));
    Switchyard__V1__Failure failure;
    switchyard__v1__failure__init(&failure);
    failure.reason = SWITCHYARD__V1__REASON__REASON_UNAUTHORIZED;
    failure.text = plain("bad signature");
    Switchyard__V1__Event event;
    switchyard__v1__event__init(&event);
    event.id = rig_written_id(&rig);
    event.event_case = SWITCHYARD__V1__EVENT__EVENT_FAILURE;
    event.failure = &failure;
    rig_hear(&rig, &event);
    assert_int_equal(core_state(rig.core), SWITCHYARD_LOGIN); // the close decides
    rig_lose(&rig, CLOSE_UNAUTHORIZED);
    assert_state(&rig, SWITCHYARD_CLOSED);
    assert_string_equal(rig.last_text, "unauthorized: bad signature");
    rig_stop(&rig);
}

static void
a_failure_in_login_names_how_long_to_wait(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig, 1, 1);
    core_open(rig.core, rig.now_ms);
    rig_settle(&rig);
    rig_connected(&rig);
    Switchyard__V1__Failure failure;
    switchyard__v1__failure__init(&failure);
    failure.reason = SWITCHYARD__V1__REASON__REASON_DIRECTORY_UNAVAILABLE;
    failure.retry_after_ms = 7000;
    Switchyard__V1__Event event;
    switchyard__v1__event__init(&event);
    event.event_case = SWITCHYARD__V1__EVENT__EVENT_FAILURE;
    event.failure = &failure;
    rig_hear(&rig, &event);
    rig_lose(&rig, CLOSE_INTERNAL);
    assert_state(&rig, SWITCHYARD_BACKOFF);
    assert_int_equal(rig.last.retry_in_ms, 7000);
    rig_stop(&rig);
}

static const char *next_token;
static int token_calls;

static const char *
on_token(void *arg)
{
    (void)arg;
    token_calls++;
    return next_token;
}

static void
start_with_tokens(struct rig *rig, const char *token)
{
    struct core_options options = rig_options(1, 1);
    options.on_token = on_token;
    next_token = token;
    token_calls = 0;
    rig_start(rig, &options);
}

static void
the_token_is_asked_for_before_every_login(void **state)
{
    (void)state;
    struct rig rig;
    start_with_tokens(&rig, "one");
    core_open(rig.core, rig.now_ms);
    rig_settle(&rig);
    rig_connected(&rig);
    assert_true(rig_write(&rig));
    assert_string_equal(rig.written->commands[0]->hello->token, "one");
    next_token = "two";
    rig_lose(&rig, 0);
    rig_retry(&rig);
    rig_connected(&rig);
    assert_true(rig_write(&rig));
    assert_string_equal(rig.written->commands[0]->hello->token, "two");
    assert_int_equal(token_calls, 2);
    rig_stop(&rig);
}

static void
without_a_token_nothing_connects_and_it_is_asked_again(void **state)
{
    (void)state;
    struct rig rig;
    start_with_tokens(&rig, NULL);
    core_open(rig.core, rig.now_ms);
    rig_settle(&rig);
    assert_state(&rig, SWITCHYARD_BACKOFF);
    assert_int_equal(rig.connect_count, 0);
    next_token = "one";
    rig_retry(&rig);
    assert_int_equal(rig.connect_count, 1);
    rig_stop(&rig);
}

static void
an_expired_token_is_replaced_by_a_new_one_but_not_by_itself(void **state)
{
    (void)state;
    for (int has_new = 0; has_new < 2; has_new++) {
        struct rig rig;
        start_with_tokens(&rig, "old");
        rig_live(&rig);
        next_token = has_new ? "new" : "old";
        rig_lose(&rig, CLOSE_TOKEN_EXPIRED);
        assert_state(&rig, SWITCHYARD_BACKOFF);
        rig_pass(&rig, 1000);
        assert_state(&rig, has_new ? SWITCHYARD_CONNECTING : SWITCHYARD_CLOSED);
        assert_int_equal(rig.connect_count, has_new ? 2 : 1);
        rig_stop(&rig);
    }
}

static struct core *closed_from_inside;

static const char *
on_token_that_closes(void *arg)
{
    (void)arg;
    core_close(closed_from_inside, 0);
    return "token";
}

static void
closing_while_the_token_is_asked_for_connects_nothing(void **state)
{
    (void)state;
    struct core_options options = rig_options(1, 1);
    options.on_token = on_token_that_closes;
    struct rig rig;
    rig_start(&rig, &options);
    closed_from_inside = rig.core;
    core_open(rig.core, rig.now_ms);
    rig_settle(&rig);
    assert_state(&rig, SWITCHYARD_CLOSED);
    assert_int_equal(rig.connect_count, 0);
    rig_stop(&rig);
}

static void
a_503_goes_to_the_next_url_at_once_until_all_were_tried(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig, 3, 1);
    core_open(rig.core, rig.now_ms);
    rig_settle(&rig);
    unsigned first = rig.connect_url;
    for (unsigned i = 1; i < 3; i++) {
        core_refused(rig.core, 503, 30000, "full", rig.now_ms);
        rig_pass(&rig, 0);
        assert_int_equal(rig.connect_count, i + 1);
        assert_int_equal(rig.connect_url, (first + i) % 3);
    }
    core_refused(rig.core, 503, 40000, "full", rig.now_ms);
    rig_pass(&rig, 29999); // the first one wanted 30 s, and nobody less
    assert_int_equal(rig.connect_count, 3);
    rig_pass(&rig, 1);
    assert_int_equal(rig.connect_count, 4);
    assert_int_equal(rig.connect_url, first);
    rig_stop(&rig);
}

static void
a_503_from_the_only_edge_waits_as_long_as_it_asks_within_reason(void **state)
{
    (void)state;
    const uint32_t asked[] = {0, 15000, 86400000};
    const uint32_t least[] = {CORE_RETRY_AFTER_MS, 15000, CORE_RETRY_MOST_MS};
    for (int i = 0; i < 3; i++) {
        struct rig rig;
        start(&rig, 1, 1);
        core_open(rig.core, rig.now_ms);
        rig_settle(&rig);
        core_refused(rig.core, 503, asked[i], "full", rig.now_ms);
        rig_settle(&rig);
        assert_state(&rig, SWITCHYARD_BACKOFF);
        assert_int_equal(rig.last.code, 503);
        assert_int_equal(rig.last.retry_in_ms, least[i]);
        rig_stop(&rig);
    }
}

static void
a_401_or_403_is_the_end_and_other_statuses_are_not(void **state)
{
    (void)state;
    const unsigned status[] = {401, 403, 400, 404, 429, 500, 502, 0};
    for (int i = 0; i < 8; i++) {
        struct rig rig;
        start(&rig, 1, 1);
        core_open(rig.core, rig.now_ms);
        rig_settle(&rig);
        core_refused(rig.core, status[i], 0, "no", rig.now_ms);
        rig_settle(&rig);
        assert_state(&rig, i < 2 ? SWITCHYARD_CLOSED : SWITCHYARD_BACKOFF);
        rig_stop(&rig);
    }
}

static void
every_failure_goes_on_to_the_next_url(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig, 2, 1);
    rig_live(&rig);
    unsigned first = rig.connect_url;
    rig_lose(&rig, 0);
    rig_retry(&rig);
    assert_int_equal(rig.connect_url, 1 - first);
    core_refused(rig.core, 0, 0, "no", rig.now_ms);
    rig_settle(&rig);
    rig_retry(&rig);
    assert_int_equal(rig.connect_url, first);
    rig_stop(&rig);
}

static void
clients_do_not_all_start_at_the_same_url(void **state)
{
    (void)state;
    unsigned starts[4] = {0};
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct rig rig;
        start(&rig, 4, seed);
        starts[core_url(rig.core)]++;
        rig_stop(&rig);
    }
    for (int i = 0; i < 4; i++)
        assert_in_range(starts[i], 10, 45);
}

static void
hear_goaway(struct rig *rig, uint32_t after_ms)
{
    Switchyard__V1__GoAway goaway;
    switchyard__v1__go_away__init(&goaway);
    goaway.reconnect_after_ms = after_ms;
    Switchyard__V1__Event event;
    switchyard__v1__event__init(&event);
    event.event_case = SWITCHYARD__V1__EVENT__EVENT_GO_AWAY;
    event.go_away = &goaway;
    rig_hear(rig, &event);
}

static void
a_goaway_is_followed_at_the_time_it_names(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig, 2, 1);
    rig_live(&rig);
    unsigned first = rig.connect_url;
    hear_goaway(&rig, 3000);
    assert_int_equal(rig.goaway_count, 1);
    assert_int_equal(rig.goaway_ms, 3000);
    rig_pass(&rig, 2999);
    assert_state(&rig, SWITCHYARD_LIVE);
    rig_pass(&rig, 1);
    assert_int_equal(rig.disconnect_count, 1);
    assert_int_equal(rig.disconnect_code, CLOSE_NORMAL);
    assert_int_equal(rig.connect_count, 2); // at once
    assert_int_equal(rig.connect_url, 1 - first);
    rig_stop(&rig);
}

static void
a_goaway_waits_for_what_is_in_flight_and_keeps_what_is_queued(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig, 2, 1);
    rig_live(&rig);
    struct rig_outcome a = {0}, b = {0};
    rig_send(&rig, 10, &a);
    assert_true(rig_write(&rig));
    uint64_t id = rig_written_id(&rig);
    hear_goaway(&rig, 1000);
    rig_pass(&rig, 1500);
    assert_state(&rig, SWITCHYARD_LIVE);
    rig_send(&rig, 10, &b);
    assert_false(rig_write(&rig)); // nothing new on a connection we leave
    rig_outcome(&rig, id, SWITCHYARD__V1__OUTCOME_STATUS__OUTCOME_STATUS_SENT, 0);
    assert_int_equal(a.status, SWITCHYARD_SENT);
    rig_pass(&rig, 0);
    assert_int_equal(rig.connect_count, 2);
    rig_connected(&rig);
    rig_write(&rig);
    rig_welcome(&rig);
    assert_true(rig_write(&rig));
    assert_int_equal(b.calls, 0);
    rig_stop(&rig);
}

static void
after_a_goaway_a_closed_connection_comes_back_at_the_time_it_named(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig, 1, 1);
    rig_live(&rig);
    hear_goaway(&rig, 3000);
    rig_pass(&rig, 1000);
    rig_lose(&rig, CLOSE_DRAINING);
    assert_state(&rig, SWITCHYARD_BACKOFF);
    assert_int_equal(rig.last.retry_in_ms, 2000);
    rig_stop(&rig);
}

static void
a_silent_edge_is_pinged_and_then_left(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig, 1, 1);
    rig_live(&rig);
    rig_pass(&rig, 19999);
    assert_false(rig_write(&rig));
    rig_pass(&rig, 1);
    assert_true(rig_write(&rig));
    assert_int_equal(rig.written->commands[0]->command_case, SWITCHYARD__V1__COMMAND__COMMAND_PING);
    assert_true(rig_written_id(&rig) != 0);
    rig_pass(&rig, CORE_PONG_MS - 1);
    assert_state(&rig, SWITCHYARD_LIVE);
    rig_pass(&rig, 1);
    assert_state(&rig, SWITCHYARD_BACKOFF);
    assert_int_equal(rig.disconnect_count, 1);
    rig_stop(&rig);
}

static void
any_sign_of_life_answers_a_ping(void **state)
{
    (void)state;
    struct rig rig;
    start(&rig, 1, 1);
    rig_live(&rig);
    for (int i = 0; i < 5; i++) {
        rig_pass(&rig, 20000);
        assert_true(rig_write(&rig));
        rig_pass(&rig, CORE_PONG_MS - 1);
        core_alive(rig.core, rig.now_ms);
    }
    assert_state(&rig, SWITCHYARD_LIVE);
    rig_stop(&rig);
}

static void
what_cannot_be_understood_ends_the_connection_not_the_client(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct rig rig;
        start(&rig, 1, 1);
        rig_live(&rig);
        if (i == 0)
            core_received(rig.core, "\x0a\xff", 2, true, rig.now_ms);
        else if (i == 1)
            core_received(rig.core, "{}", 2, false, rig.now_ms);
        else
            core_overrun(rig.core, "too much", rig.now_ms);
        rig_settle(&rig);
        assert_state(&rig, SWITCHYARD_BACKOFF);
        assert_int_equal(rig.disconnect_count, 1);
        rig_stop(&rig);
    }
}

static void
closing_works_in_every_state_and_is_final(void **state)
{
    (void)state;
    for (int at = 0; at < 5; at++) {
        struct rig rig;
        start(&rig, 1, 1);
        if (at >= 1)
            core_open(rig.core, rig.now_ms);
        if (at >= 1)
            rig_settle(&rig);
        if (at >= 2)
            rig_connected(&rig);
        if (at >= 3)
            rig_welcome(&rig);
        if (at >= 4)
            rig_lose(&rig, 0);
        core_close(rig.core, rig.now_ms);
        core_close(rig.core, rig.now_ms);
        rig_settle(&rig);
        assert_state(&rig, SWITCHYARD_CLOSED);
        assert_int_equal(rig.disconnect_count, at >= 1 && at <= 3 ? 1 : 0);
        rig_pass(&rig, 3600000);
        assert_int_equal(rig.connect_count, at >= 1 ? 1 : 0);
        // Late news from the connection changes nothing.
        core_connected(rig.core, rig.now_ms);
        core_disconnected(rig.core, 0, "", rig.now_ms);
        core_refused(rig.core, 0, 0, "", rig.now_ms);
        core_received(rig.core, "", 0, true, rig.now_ms);
        rig_settle(&rig);
        assert_state(&rig, SWITCHYARD_CLOSED);
        rig_stop(&rig);
    }
}

static void
options_that_cannot_be_are_refused(void **state)
{
    (void)state;
    char long_id[130];
    memset(long_id, 'x', 129);
    long_id[129] = 0;
    struct core_options options[8];
    for (int i = 0; i < 8; i++)
        options[i] = rig_options(1, 1);
    options[0].url_count = 0;
    options[1].url_count = SWITCHYARD_MAX_URLS + 1;
    options[2].device = "";
    options[3].device = long_id;
    options[4].user = "a\nb";
    options[5].device_class = "123456789012345678901234567890123";
    options[6].client_name = long_id;
    options[7].token = "\xff";
    for (int i = 0; i < 8; i++) {
        int error = 0;
        assert_null(core_new(&options[i], &error));
        assert_int_equal(error, SWITCHYARD_EINVAL);
    }
    struct core_options good = rig_options(SWITCHYARD_MAX_URLS, 1);
    good.device = long_id + 1; // 128
    good.device_class = "12345678901234567890123456789012";
    int error = 1;
    struct core *core = core_new(&good, &error);
    assert_non_null(core);
    core_free(core);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_does_nothing_before_it_is_opened),
        cmocka_unit_test(the_way_to_live_is_told_step_by_step),
        cmocka_unit_test(the_hello_carries_who_we_are),
        cmocka_unit_test(
            a_device_name_of_its_own_is_kept_over_reconnects_and_differs_between_clients),
        cmocka_unit_test(a_try_without_a_connection_ends_exactly_at_the_limit),
        cmocka_unit_test(a_login_without_an_answer_ends_exactly_at_the_limit),
        cmocka_unit_test(the_backoff_stays_in_its_bounds_and_grows_and_spreads),
        cmocka_unit_test(only_a_connection_that_held_starts_the_backoff_anew),
        cmocka_unit_test(a_terminal_close_code_ends_it_for_good),
        cmocka_unit_test(any_other_close_code_is_tried_again),
        cmocka_unit_test(a_terminal_code_during_login_tells_the_edges_words),
        cmocka_unit_test(a_failure_in_login_names_how_long_to_wait),
        cmocka_unit_test(the_token_is_asked_for_before_every_login),
        cmocka_unit_test(without_a_token_nothing_connects_and_it_is_asked_again),
        cmocka_unit_test(an_expired_token_is_replaced_by_a_new_one_but_not_by_itself),
        cmocka_unit_test(closing_while_the_token_is_asked_for_connects_nothing),
        cmocka_unit_test(a_503_goes_to_the_next_url_at_once_until_all_were_tried),
        cmocka_unit_test(a_503_from_the_only_edge_waits_as_long_as_it_asks_within_reason),
        cmocka_unit_test(a_401_or_403_is_the_end_and_other_statuses_are_not),
        cmocka_unit_test(every_failure_goes_on_to_the_next_url),
        cmocka_unit_test(clients_do_not_all_start_at_the_same_url),
        cmocka_unit_test(a_goaway_is_followed_at_the_time_it_names),
        cmocka_unit_test(a_goaway_waits_for_what_is_in_flight_and_keeps_what_is_queued),
        cmocka_unit_test(after_a_goaway_a_closed_connection_comes_back_at_the_time_it_named),
        cmocka_unit_test(a_silent_edge_is_pinged_and_then_left),
        cmocka_unit_test(any_sign_of_life_answers_a_ping),
        cmocka_unit_test(what_cannot_be_understood_ends_the_connection_not_the_client),
        cmocka_unit_test(closing_works_in_every_state_and_is_final),
        cmocka_unit_test(options_that_cannot_be_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
