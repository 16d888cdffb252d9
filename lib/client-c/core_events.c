// core_events.c: what edges say, turned into events for the owner, one core_poll at a
// time. Bytes that cannot be decoded end the connection: an edge that speaks differently
// is of no use, another may be.
#include "lib/client-c/core_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *
on_alloc(void *arena, size_t size)
{
    return arena_take(arena, size);
}

static void
on_free(void *arena, void *pointer)
{
    (void)arena;
    (void)pointer;
}

// arena_init aborts when memory is out; a guest must not. The block is kept for the next
// message unless that is a small one after a big one.
static bool
fit_arena(struct core *core, size_t size)
{
    arena_clear(&core->arena);
    if (core->arena.size >= size && core->arena.size / 8 <= size)
        return true;
    uint8_t *block = malloc(size);
    if (block == NULL)
        return false;
    free(core->arena.block);
    core->arena = (struct arena){
        .allocator = {.alloc = on_alloc, .free = on_free, .allocator_data = &core->arena},
        .block = block,
        .size = size,
    };
    return true;
}

// The worst a frame can cost to decode is a hundred times its length; what edges send
// costs less than twice. So little is tried first.
static const char *
decode(struct core *core, const void *bytes, size_t len, struct codec_error *error)
{
    const size_t sizes[] = {2 * len + 8192, codec_arena_size(len)};
    for (int i = 0; i < 2 && core->frame == NULL; i++) {
        if (!fit_arena(core, sizes[i]))
            return "out of memory";
        core->frame = codec_read_server(CODEC_PROTOBUF, bytes, len, &core->arena, error);
    }
    return core->frame != NULL ? NULL : error->text;
}

void
core_received(struct core *core, const void *bytes, size_t len, bool is_binary, uint64_t now_ms)
{
    if (core->state != SWITCHYARD_LOGIN && core->state != SWITCHYARD_LIVE)
        return;
    core_alive(core, now_ms);
    if (!is_binary) {
        core_fail(core, CLOSE_UNSUPPORTED, close_text(CLOSE_UNSUPPORTED), now_ms);
        return;
    }
    core->frame = NULL;
    core->frame_next = 0;
    struct codec_error error;
    const char *wrong = decode(core, bytes, len, &error);
    if (wrong != NULL)
        core_fail(core, CLOSE_MALFORMED, wrong, now_ms);
}

static void
read_text(char *out, size_t size, const char *text)
{
    snprintf(out, size, "%s", text);
}

static void
on_welcome(struct core *core, const Switchyard__V1__Welcome *welcome, uint64_t now_ms)
{
    if (core->state != SWITCHYARD_LOGIN)
        return;
    read_text(core->node, sizeof(core->node), welcome->node);
    read_text(core->live_user, sizeof(core->live_user), welcome->user);
    read_text(core->live_device, sizeof(core->live_device), welcome->device);
    uint32_t ping_ms = welcome->ping_interval_ms != 0 ? welcome->ping_interval_ms : CORE_PING_MS;
    if (ping_ms < CORE_PING_LEAST_MS)
        ping_ms = CORE_PING_LEAST_MS;
    core->ping_ms = ping_ms < CORE_PING_MOST_MS ? ping_ms : CORE_PING_MOST_MS;
    core->max_frame_bytes = welcome->max_frame_bytes != 0 ? welcome->max_frame_bytes : SIZE_MAX;
    core->live_since_ms = now_ms;
    core->goaway_ms = UINT64_MAX;
    core->needs_new_token = false;
    core->failure_text[0] = 0;
    core->failure_retry_ms = 0;
    core->not_before_ms[core->url] = 0;
    core_move(core, SWITCHYARD_LIVE, 0, "logged in", 0);
}

static void
on_message(struct core *core, const Switchyard__V1__Message *message, uint64_t now_ms,
           struct core_event *event)
{
    if (core->state != SWITCHYARD_LIVE)
        return;
    if (dedup_is_repeat(&core->dedup, message->from, message->from_device, message->message_id,
                        now_ms))
        return;
    bool is_text = message->payload_case == SWITCHYARD__V1__MESSAGE__PAYLOAD_TEXT;
    bool is_body = message->payload_case == SWITCHYARD__V1__MESSAGE__PAYLOAD_BODY;
    event->kind = CORE_EVENT_MESSAGE;
    event->message = (struct switchyard_message){
        .from = message->from,
        .from_device = message->from_device,
        .body = is_text   ? (const void *)message->text
                : is_body ? message->body.data
                          : NULL,
        .len = is_text   ? strlen(message->text)
               : is_body ? message->body.len
                         : 0,
        .is_text = is_text,
        .content_type = message->content_type,
        .message_id = message->message_id,
        .sent_at_ms = message->sent_at_ms,
    };
}

// The list lives until the next outcome is polled.
static const struct switchyard_unreached *
list_unreached(struct core *core, const Switchyard__V1__Outcome *outcome)
{
    free(core->unreached);
    core->unreached = NULL;
    if (outcome->n_unreached == 0)
        return NULL;
    core->unreached = calloc(outcome->n_unreached, sizeof(*core->unreached));
    if (core->unreached == NULL)
        return NULL;
    for (size_t i = 0; i < outcome->n_unreached; i++) {
        core->unreached[i].user = outcome->unreached[i]->user;
        core->unreached[i].reason = (int)outcome->unreached[i]->reason;
    }
    return core->unreached;
}

// An answer to a send: takes it out of the list of those in flight. False: to none of ours,
// or to one that was given up before.
static bool
answer(struct core *core, uint64_t id, struct core_event *event)
{
    struct send *send = id != 0 ? sends_find(&core->sends, id) : NULL;
    if (send == NULL)
        return false;
    event->kind = CORE_EVENT_OUTCOME;
    event->done = send->done;
    event->arg = send->arg;
    sends_take(&core->sends, send);
    free(send);
    return true;
}

static const char *
text_or(const char *text, int reason)
{
    return text[0] != 0 ? text : reason_text((enum reason)reason);
}

static void
on_outcome(struct core *core, uint64_t id, const Switchyard__V1__Outcome *outcome,
           struct core_event *event)
{
    if (!answer(core, id, event))
        return;
    bool is_sent = outcome->status == SWITCHYARD__V1__OUTCOME_STATUS__OUTCOME_STATUS_SENT;
    int reason = (int)outcome->reason;
    enum switchyard_status status = SWITCHYARD_REJECTED;
    if (is_sent)
        status = SWITCHYARD_SENT;
    else if (reason == REASON_TIMEOUT) // "it may have arrived" is no rejection
        status = SWITCHYARD_UNKNOWN;
    event->outcome = (struct switchyard_outcome){
        .status = status,
        .reason = reason,
        .text = is_sent ? outcome->text : text_or(outcome->text, reason),
        .is_retryable = outcome->retryable,
        .devices = outcome->devices,
        .unreached = list_unreached(core, outcome),
        .unreached_count = outcome->n_unreached,
        .message_id = outcome->message_id,
    };
}

static void
on_failure(struct core *core, uint64_t id, const Switchyard__V1__Failure *failure,
           struct core_event *event)
{
    int reason = (int)failure->reason;
    if (core->state == SWITCHYARD_LOGIN && (id == core->hello_id || id == 0)) {
        // The close that follows decides whether we come back; this tells why.
        snprintf(core->failure_text, sizeof(core->failure_text), "%s: %s",
                 reason_name((enum reason)reason), text_or(failure->text, reason));
        core->failure_retry_ms = failure->retry_after_ms;
        return;
    }
    if (!answer(core, id, event))
        return;
    event->outcome = (struct switchyard_outcome){
        .status = reason == REASON_TIMEOUT ? SWITCHYARD_UNKNOWN : SWITCHYARD_REJECTED,
        .reason = reason,
        .text = text_or(failure->text, reason),
        .is_retryable = failure->retryable,
        .message_id = "",
    };
}

// A hint, as good as the edge: what is no address, or another kind than the owner's, is
// left alone.
static void
take_given_url(struct core *core, const char *text)
{
    struct ws_url url;
    core->was_given = ws_url_parse(text, &url) && (url.is_tls ? core->takes_wss : core->takes_ws);
    if (!core->was_given)
        return;
    core->given = url;
    core->not_before_ms[CORE_URL_GIVEN] = 0;
}

static void
on_goaway(struct core *core, const Switchyard__V1__GoAway *goaway, uint64_t now_ms,
          struct core_event *event)
{
    if (core->state != SWITCHYARD_LIVE)
        return;
    uint32_t wait_ms = goaway->reconnect_after_ms;
    if (wait_ms > CORE_RETRY_MOST_MS)
        wait_ms = CORE_RETRY_MOST_MS;
    core->goaway_ms = now_ms + wait_ms;
    event->kind = CORE_EVENT_GOAWAY;
    take_given_url(core, goaway->url);
    event->goaway = (struct switchyard_goaway){
        .text = goaway->text,
        .reconnect_in_ms = wait_ms,
        .url = core->was_given ? core->given.text : "",
        .reason = (int)goaway->reason,
    };
}

// May leave *event empty: not everything an edge says is for the owner.
static void
read_event(struct core *core, const Switchyard__V1__Event *said, uint64_t now_ms,
           struct core_event *event)
{
    switch (said->event_case) {
    case SWITCHYARD__V1__EVENT__EVENT_WELCOME:
        on_welcome(core, said->welcome, now_ms);
        break;
    case SWITCHYARD__V1__EVENT__EVENT_MESSAGE:
        on_message(core, said->message, now_ms, event);
        break;
    case SWITCHYARD__V1__EVENT__EVENT_OUTCOME:
        on_outcome(core, said->id, said->outcome, event);
        break;
    case SWITCHYARD__V1__EVENT__EVENT_FAILURE:
        on_failure(core, said->id, said->failure, event);
        break;
    case SWITCHYARD__V1__EVENT__EVENT_GO_AWAY:
        on_goaway(core, said->go_away, now_ms, event);
        break;
    default: // Pong has done its work by arriving; what is newer than we are is ignored
        break;
    }
}

static bool
poll_finished(struct core *core, struct core_event *event)
{
    struct send *send = sends_pop_finished(&core->sends);
    if (send == NULL)
        return false;
    event->kind = CORE_EVENT_OUTCOME;
    event->outcome = send->outcome;
    event->done = send->done;
    event->arg = send->arg;
    free(send);
    return true;
}

static bool
poll_change(struct core *core, struct core_event *event)
{
    if (core->change_count == 0)
        return false;
    core->told = core->changes[0];
    core->change_count--;
    memmove(core->changes, core->changes + 1, core->change_count * sizeof(core->changes[0]));
    event->kind = CORE_EVENT_STATE;
    event->url = core->told.url;
    event->state = core->told.change;
    event->state.text = core->told.text;
    return true;
}

void
core_poll(struct core *core, uint64_t now_ms, struct core_event *event)
{
    *event = (struct core_event){.kind = CORE_EVENT_NONE};
    while (!poll_finished(core, event) && !poll_change(core, event) && core->frame != NULL) {
        if (core->frame_next == core->frame->n_events) {
            core->frame = NULL;
            continue;
        }
        read_event(core, core->frame->events[core->frame_next++], now_ms, event);
        if (event->kind != CORE_EVENT_NONE)
            return;
    }
}
