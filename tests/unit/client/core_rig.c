// core_rig.c: see core_rig.h.
#include "tests/unit/client/core_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct core_options
rig_options(unsigned url_count, uint64_t seed)
{
    return (struct core_options){
        .url_count = url_count,
        .takes_ws = true,
        .seed = {seed, 2, 3},
        .user = "alice",
        .max_queue_bytes = 4096,
        .max_queue_count = 8,
    };
}

void
rig_start(struct rig *rig, const struct core_options *options)
{
    memset(rig, 0, sizeof(*rig));
    int error = 1;
    rig->now_ms = 1000000;
    rig->core = core_new(options, &error);
    assert_int_equal(error, 0);
    assert_non_null(rig->core);
    arena_init(&rig->arena, codec_arena_size(4096));
}

void
rig_stop(struct rig *rig)
{
    core_free(rig->core);
    arena_fini(&rig->arena);
}

static void
note_state(struct rig *rig, const struct switchyard_state_change *change)
{
    assert_true(rig->state_count < RIG_MAX);
    rig->states[rig->state_count++] = change->state;
    rig->last = *change;
    snprintf(rig->last_text, sizeof(rig->last_text), "%s", change->text);
    snprintf(rig->last_device, sizeof(rig->last_device), "%s", change->device);
}

static void
note_message(struct rig *rig, const struct switchyard_message *message)
{
    assert_true(rig->message_count < RIG_MAX);
    snprintf(rig->messages[rig->message_count++], sizeof(rig->messages[0]), "%s/%s: %.*s",
             message->from, message->from_device, (int)message->len, (const char *)message->body);
    if (rig->on_message != NULL)
        rig->on_message(rig);
}

static void
on_outcome(void *arg, struct switchyard_client *client, const struct switchyard_outcome *outcome)
{
    struct rig_outcome *note = arg;
    assert_null(client);
    note->calls++;
    note->status = outcome->status;
    note->reason = outcome->reason;
    note->is_retryable = outcome->is_retryable;
    note->devices = outcome->devices;
    note->unreached_count = outcome->unreached_count;
    if (outcome->unreached_count > 0)
        snprintf(note->unreached, sizeof(note->unreached), "%s", outcome->unreached[0].user);
    snprintf(note->text, sizeof(note->text), "%s", outcome->text);
}

static bool
take_event(struct rig *rig)
{
    struct core_event event;
    core_poll(rig->core, rig->now_ms, &event);
    switch (event.kind) {
    case CORE_EVENT_NONE:
        return false;
    case CORE_EVENT_STATE:
        note_state(rig, &event.state);
        return true;
    case CORE_EVENT_MESSAGE:
        note_message(rig, &event.message);
        return true;
    case CORE_EVENT_GOAWAY:
        rig->goaway_count++;
        rig->goaway_ms = event.goaway.reconnect_in_ms;
        rig->goaway_reason = event.goaway.reason;
        snprintf(rig->goaway_url, sizeof(rig->goaway_url), "%s", event.goaway.url);
        return true;
    case CORE_EVENT_OUTCOME:
        rig->outcome_count++;
        event.done(event.arg, NULL, &event.outcome);
        return true;
    }
    return false;
}

static bool
take_action(struct rig *rig)
{
    struct core_action action;
    core_take_action(rig->core, rig->now_ms, &action);
    if (action.kind == CORE_CONNECT) {
        rig->connect_count++;
        rig->connect_url = action.url;
    } else if (action.kind == CORE_DISCONNECT) {
        rig->disconnect_count++;
        rig->disconnect_code = action.code;
    }
    return action.kind != CORE_NOTHING;
}

void
rig_settle(struct rig *rig)
{
    bool is_busy = true;
    while (is_busy) {
        is_busy = false;
        while (take_event(rig))
            is_busy = true;
        while (take_action(rig))
            is_busy = true;
    }
    assert_false(core_has_output(rig->core));
}

void
rig_pass(struct rig *rig, uint64_t ms)
{
    uint64_t until = rig->now_ms + ms;
    rig_settle(rig);
    for (int turns = 0; core_deadline(rig->core) <= until; turns++) {
        assert_true(turns < 1000); // a deadline that does not move is a busy loop
        uint64_t due = core_deadline(rig->core);
        rig->now_ms = due > rig->now_ms ? due : rig->now_ms;
        core_advance(rig->core, rig->now_ms);
        rig_settle(rig);
    }
    rig->now_ms = until;
}

void
rig_retry(struct rig *rig)
{
    assert_int_equal(core_state(rig->core), SWITCHYARD_BACKOFF);
    rig_pass(rig, rig->last.retry_in_ms);
}

bool
rig_write(struct rig *rig)
{
    size_t size = core_write_size(rig->core);
    rig_settle(rig);
    if (size == 0)
        return false;
    uint8_t *bytes = malloc(size);
    assert_non_null(bytes);
    core_write(rig->core, bytes, rig->now_ms);
    arena_clear(&rig->arena);
    struct codec_error error;
    rig->written = codec_read_client(CODEC_PROTOBUF, bytes, size, &rig->arena, &error);
    free(bytes);
    assert_non_null(rig->written);
    return true;
}

void
rig_hear(struct rig *rig, const Switchyard__V1__Event *event)
{
    struct buf frame = {0};
    codec_write_event(CODEC_PROTOBUF, event, &frame);
    core_received(rig->core, frame.bytes, frame.len, true, rig->now_ms);
    buf_fini(&frame); // what events point to must not be in here
    rig_settle(rig);
}

void
rig_connected(struct rig *rig)
{
    core_connected(rig->core, rig->now_ms);
    rig_settle(rig);
}

static char *
plain(const char *text)
{
    char *out;
    memcpy(&out, &text, sizeof(out));
    return out;
}

void
rig_welcome(struct rig *rig)
{
    Switchyard__V1__Welcome welcome;
    switchyard__v1__welcome__init(&welcome);
    welcome.node = plain("edge-a.0123456789abcdef");
    welcome.user = plain("alice");
    welcome.device = plain(core_device(rig->core));
    welcome.ping_interval_ms = 20000;
    welcome.max_frame_bytes = 2048;
    Switchyard__V1__Event event;
    switchyard__v1__event__init(&event);
    event.event_case = SWITCHYARD__V1__EVENT__EVENT_WELCOME;
    event.welcome = &welcome;
    rig_hear(rig, &event);
}

void
rig_live(struct rig *rig)
{
    assert_int_equal(core_open(rig->core, rig->now_ms), 0);
    rig_settle(rig);
    rig_connected(rig);
    assert_true(rig_write(rig));
    rig_welcome(rig);
    assert_int_equal(core_state(rig->core), SWITCHYARD_LIVE);
}

void
rig_lose(struct rig *rig, unsigned code)
{
    core_disconnected(rig->core, code, "", rig->now_ms);
    rig_settle(rig);
}

int
rig_send(struct rig *rig, size_t len, struct rig_outcome *outcome)
{
    char text[8192];
    assert_true(len < sizeof(text));
    memset(text, 'x', len);
    const char *to[] = {"bob"};
    struct switchyard_payload payload = {.bytes = text, .len = len, .is_text = true};
    struct send_request request = {.to = to, .count = 1, .payload = &payload};
    switchyard_outcome_cb *done = outcome != NULL ? on_outcome : NULL;
    return core_send(rig->core, &request, 0, done, outcome, rig->now_ms);
}

void
rig_outcome(struct rig *rig, uint64_t id, Switchyard__V1__OutcomeStatus status,
            Switchyard__V1__Reason reason)
{
    Switchyard__V1__Unreached unreached;
    switchyard__v1__unreached__init(&unreached);
    Switchyard__V1__Unreached *list[] = {&unreached};
    unreached.user = plain("carol");
    unreached.reason = SWITCHYARD__V1__REASON__REASON_OFFLINE;
    Switchyard__V1__Outcome outcome;
    switchyard__v1__outcome__init(&outcome);
    outcome.status = status;
    outcome.reason = reason;
    outcome.devices = 2;
    outcome.unreached = list;
    outcome.n_unreached = 1;
    Switchyard__V1__Event event;
    switchyard__v1__event__init(&event);
    event.id = id;
    event.event_case = SWITCHYARD__V1__EVENT__EVENT_OUTCOME;
    event.outcome = &outcome;
    rig_hear(rig, &event);
}

uint64_t
rig_written_id(const struct rig *rig)
{
    assert_true(rig->written->n_commands >= 1);
    return rig->written->commands[0]->id;
}
