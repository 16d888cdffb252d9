// core.c: the life of a client's connection.
//
//   IDLE --open--> CONNECTING --connected--> LOGIN --Welcome--> LIVE
//                      ^                                          |
//                      +------- BACKOFF <---- any failure --------+
//   and from everywhere to CLOSED: by the owner, or by a close code that is terminal.
//
// Failures:
//   no connection, no Welcome in time, silence -> hang up, BACKOFF, next URL
//   HTTP 503            -> next URL at once while there is one not tried; then BACKOFF,
//                          not before the time the edge named
//   HTTP 401, 403       -> CLOSED: the same request would be refused again
//   terminal close code -> CLOSED; 4004 (token expired) only unless a new token is to be had
//   GoAway              -> stay until the time it names, finish what is in flight, then the
//                          URL it gave, or the next; lost before: come back at that time
//   lost connection     -> what is in flight ends UNKNOWN, what is queued waits on
#include "lib/client-c/core_private.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AS_CHECK(NAME, number, ...) \
    _Static_assert((int)SWITCHYARD_REASON_##NAME == (number), "client.h and tables.h agree");
SY_REASONS(AS_CHECK)
#undef AS_CHECK

static char *
copy(const char *text)
{
    return strdup(text != NULL ? text : "");
}

static bool
are_options_valid(const struct core_options *options)
{
    const char *device = options->device;
    const char *class = options->device_class;
    const char *name = options->client_name;
    const char *user = options->user;
    if (options->url_count < 1 || options->url_count > SWITCHYARD_MAX_URLS)
        return false;
    if (device != NULL && !ident_is_valid(device, strnlen(device, IDENT_MAX_BYTES + 1)))
        return false;
    if (user != NULL && user[0] != 0 && !ident_is_valid(user, strnlen(user, IDENT_MAX_BYTES + 1)))
        return false;
    if (options->token != NULL && !utf8_is_valid(options->token, strlen(options->token)))
        return false;
    return (class == NULL || (strlen(class) <= 32 && utf8_is_valid(class, strlen(class)))) &&
           (name == NULL || (strlen(name) <= 128 && utf8_is_valid(name, strlen(name))));
}

// A device without a name of its own gets one nobody else has; it keeps it over reconnects,
// so that a new connection replaces the old one instead of standing beside it.
static char *
make_device(struct core *core)
{
    char name[24];
    snprintf(name, sizeof(name), "c-%016llx", (unsigned long long)core_draw(core));
    return strdup(name);
}

struct core *
core_new(const struct core_options *options, int *error)
{
    *error = SWITCHYARD_EINVAL;
    if (!are_options_valid(options))
        return NULL;
    *error = SWITCHYARD_ENOMEM;
    struct core *core = calloc(1, sizeof(*core));
    if (core == NULL)
        return NULL;
    core->rng = options->seed[0];
    core->url_count = options->url_count;
    core->takes_ws = options->takes_ws;
    core->takes_wss = options->takes_wss;
    core->url = (unsigned)(core_draw(core) % options->url_count);
    core->on_token = options->on_token;
    core->token_arg = options->arg;
    core->token = copy(options->token);
    core->user = copy(options->user);
    core->device = options->device != NULL ? strdup(options->device) : make_device(core);
    core->device_class = copy(options->device_class);
    core->client_name = copy(options->client_name);
    core->next_id = 1;
    sends_init(&core->sends, options->max_queue_bytes, options->max_queue_count);
    dedup_init(&core->dedup, options->seed[1], options->seed[2]);
    core->goaway_ms = UINT64_MAX;
    core->pong_due_ms = UINT64_MAX;
    if (core->token == NULL || core->user == NULL || core->device == NULL ||
        core->device_class == NULL || core->client_name == NULL) {
        core_free(core);
        return NULL;
    }
    *error = 0;
    return core;
}

void
core_free(struct core *core)
{
    if (core == NULL)
        return;
    sends_fini(&core->sends);
    free(core->token);
    free(core->user);
    free(core->device);
    free(core->device_class);
    free(core->client_name);
    free(core->urgent);
    free(core->unreached);
    free(core->arena.block);
    free(core);
}

enum switchyard_state
core_state(const struct core *core)
{
    return core->state;
}

const char *
core_device(const struct core *core)
{
    return core->device;
}

unsigned
core_url(const struct core *core)
{
    return core->url;
}

const struct ws_url *
core_given_url(const struct core *core)
{
    return &core->given;
}

size_t
core_pending(const struct core *core)
{
    return core->sends.count;
}

static bool
is_legal(enum switchyard_state from, enum switchyard_state to)
{
    switch (to) {
    case SWITCHYARD_IDLE:
        return false;
    case SWITCHYARD_CONNECTING:
        return from == SWITCHYARD_IDLE || from == SWITCHYARD_BACKOFF;
    case SWITCHYARD_LOGIN:
        return from == SWITCHYARD_CONNECTING;
    case SWITCHYARD_LIVE:
        return from == SWITCHYARD_LOGIN;
    case SWITCHYARD_BACKOFF:
        return from == SWITCHYARD_CONNECTING || from == SWITCHYARD_LOGIN || from == SWITCHYARD_LIVE;
    case SWITCHYARD_CLOSED:
        return from != SWITCHYARD_CLOSED;
    }
    return false;
}

void
core_move(struct core *core, enum switchyard_state state, unsigned code, const char *text,
          uint32_t retry_in_ms)
{
    assert(is_legal(core->state, state));
    if (core->change_count == CORE_MAX_CHANGES)
        core->change_count--;
    struct core_change *entry = &core->changes[core->change_count++];
    bool is_live = state == SWITCHYARD_LIVE;
    entry->change = (struct switchyard_state_change){
        .state = state,
        .previous = core->state,
        .code = code,
        .retry_in_ms = retry_in_ms,
        .node = is_live ? core->node : "",
        .user = is_live ? core->live_user : "",
        .device = is_live ? core->live_device : "",
    };
    snprintf(entry->text, sizeof(entry->text), "%s", text);
    entry->url = core->url;
    core->state = state;
}

static void
set_urgent(struct core *core, uint8_t *bytes, size_t len)
{
    free(core->urgent);
    core->urgent = bytes;
    core->urgent_len = len;
}

void
core_drop_link(struct core *core, unsigned disconnect_code)
{
    if (core->is_linked && disconnect_code != 0)
        core->disconnect_code = disconnect_code;
    core->is_linked = false;
    core->wants_connect = false;
    core->frame = NULL;
    core->is_leaving = false;
    core->goaway_ms = UINT64_MAX;
    set_urgent(core, NULL, 0);
    sends_lose_in_flight(&core->sends,
                         "the connection broke before the answer; it may have arrived");
}

void
core_end(struct core *core, unsigned code, const char *text)
{
    core_drop_link(core, CLOSE_NORMAL);
    sends_reject_queued(&core->sends, REASON_UNAVAILABLE, "the client was closed; it was not sent");
    core_move(core, SWITCHYARD_CLOSED, code, text, 0);
}

static void
start_connecting(struct core *core, const char *text, uint64_t now_ms)
{
    core->wants_connect = true;
    core->failure_retry_ms = 0;
    core->failure_text[0] = 0;
    core->state_due_ms = now_ms + CORE_CONNECT_MS;
    core_move(core, SWITCHYARD_CONNECTING, 0, text, 0);
}

int
core_open(struct core *core, uint64_t now_ms)
{
    if (core->state == SWITCHYARD_CLOSED)
        return SWITCHYARD_ECLOSED;
    if (core->state == SWITCHYARD_IDLE)
        start_connecting(core, "opened", now_ms);
    return 0;
}

void
core_close(struct core *core, uint64_t now_ms)
{
    (void)now_ms;
    if (core->state != SWITCHYARD_CLOSED)
        core_end(core, 0, "closed");
}

int
core_send(struct core *core, const struct send_request *request, uint32_t queue_ms,
          switchyard_outcome_cb *done, void *arg, uint64_t now_ms)
{
    if (core->state == SWITCHYARD_CLOSED)
        return SWITCHYARD_ECLOSED;
    size_t least = request->payload != NULL ? request->payload->len : 0;
    int error = sends_check(&core->sends, least); // before copying the payload
    if (error != 0)
        return error;
    uint64_t id = done != NULL ? core->next_id : 0;
    uint8_t *bytes;
    size_t len;
    error = encode_send(id, request, &bytes, &len);
    if (error != 0)
        return error;
    uint64_t expires_ms = now_ms + (queue_ms > 0 ? queue_ms : CORE_QUEUE_MS);
    error = sends_push(&core->sends, id, bytes, len, expires_ms, done, arg);
    if (error != 0)
        free(bytes);
    else if (id != 0)
        core->next_id++;
    return error;
}

// True with core->token set: there is a token, or none is needed.
static bool
ask_token(struct core *core, uint64_t now_ms)
{
    if (core->on_token == NULL)
        return true;
    const char *token = core->on_token(core->token_arg);
    if (core->state != SWITCHYARD_CONNECTING) // closed from inside
        return false;
    if (token == NULL || !utf8_is_valid(token, strlen(token))) {
        core_fail(core, 0, "there is no token to log in with", now_ms);
        return false;
    }
    if (core->needs_new_token && strcmp(token, core->token) == 0) {
        core_end(core, CLOSE_TOKEN_EXPIRED, "the token has expired, and there is no new one");
        return false;
    }
    char *mine = strdup(token);
    if (mine == NULL) {
        core_fail(core, 0, "out of memory", now_ms);
        return false;
    }
    free(core->token);
    core->token = mine;
    core->needs_new_token = false;
    return true;
}

void
core_take_action(struct core *core, uint64_t now_ms, struct core_action *action)
{
    *action = (struct core_action){.kind = CORE_NOTHING};
    if (core->disconnect_code != 0) {
        action->kind = CORE_DISCONNECT;
        action->code = core->disconnect_code;
        core->disconnect_code = 0;
    } else if (core->wants_connect) {
        core->wants_connect = false;
        if (!ask_token(core, now_ms))
            return;
        core->is_linked = true;
        action->kind = CORE_CONNECT;
        action->url = core->url;
    }
}

bool
core_has_output(const struct core *core)
{
    return core->disconnect_code != 0 || core->wants_connect || core->change_count > 0 ||
           core->frame != NULL || core->sends.finished.first != NULL;
}

void
core_connected(struct core *core, uint64_t now_ms)
{
    if (core->state != SWITCHYARD_CONNECTING)
        return;
    struct hello hello = {core->token, core->user, core->device, core->device_class,
                          core->client_name};
    uint8_t *bytes;
    size_t len;
    core->hello_id = core->next_id++;
    if (encode_hello(core->hello_id, &hello, &bytes, &len) != 0) {
        core_fail(core, 0, "out of memory", now_ms);
        return;
    }
    set_urgent(core, bytes, len);
    core->state_due_ms = now_ms + CORE_LOGIN_MS;
    core_move(core, SWITCHYARD_LOGIN, 0, "connected", 0);
}

void
core_refused(struct core *core, unsigned status, uint32_t retry_after_ms, const char *text,
             uint64_t now_ms)
{
    if (core->state != SWITCHYARD_CONNECTING)
        return;
    core->is_linked = false;
    if (status == 503 && retry_after_ms == 0)
        retry_after_ms = CORE_RETRY_AFTER_MS;
    if (retry_after_ms > 0)
        core_note_wait(core, retry_after_ms, now_ms);
    if (status == 401 || status == 403) {
        core_end(core, status, text);
    } else if (status == 503) {
        core_drop_link(core, 0);
        core_hop(core, status, text, now_ms);
    } else {
        core_fail(core, status, text, now_ms);
    }
}

void
core_alive(struct core *core, uint64_t now_ms)
{
    core->heard_ms = now_ms;
    core->pong_due_ms = UINT64_MAX;
}

void
core_overrun(struct core *core, const char *text, uint64_t now_ms)
{
    if (core->state != SWITCHYARD_LOGIN && core->state != SWITCHYARD_LIVE)
        return;
    core_fail(core, CLOSE_TOO_BIG, text, now_ms);
    core->disconnect_code = CLOSE_TOO_BIG;
}

void
core_disconnected(struct core *core, unsigned code, const char *text, uint64_t now_ms)
{
    core->is_linked = false;
    if (core->state == SWITCHYARD_CONNECTING) {
        core_fail(core, code, text, now_ms);
        return;
    }
    if (core->state != SWITCHYARD_LOGIN && core->state != SWITCHYARD_LIVE)
        return;
    if (code == 0)
        code = CLOSE_LOST;
    if (text[0] == 0)
        text = close_text(code);
    if (code == CLOSE_TOKEN_EXPIRED && core->on_token != NULL && !core->needs_new_token) {
        core->needs_new_token = true;
        core_fail(core, code, text, now_ms);
    } else if (close_is_terminal(code)) {
        core_end(core, code, core->failure_text[0] != 0 ? core->failure_text : text);
    } else {
        core_fail(core, code, text, now_ms);
    }
}

static void
send_ping(struct core *core, uint64_t now_ms)
{
    uint8_t *bytes;
    size_t len;
    if (encode_ping(core->next_id, &bytes, &len) == 0) {
        core->next_id++;
        set_urgent(core, bytes, len);
    }
    // Also when memory was out: then silence decides.
    core->pong_due_ms = now_ms + CORE_PONG_MS;
}

static void
advance_live(struct core *core, uint64_t now_ms)
{
    if (core->pong_due_ms <= now_ms) {
        core_fail(core, CLOSE_LOST, "the edge has been silent", now_ms);
        return;
    }
    if (core->goaway_ms <= now_ms)
        core->is_leaving = true;
    if (core->is_leaving && core->sends.in_flight.first == NULL) {
        core_fail(core, 0, "moving, since the edge asked for it", now_ms);
        return;
    }
    if (core->pong_due_ms == UINT64_MAX && now_ms >= core->heard_ms + core->ping_ms)
        send_ping(core, now_ms);
}

void
core_advance(struct core *core, uint64_t now_ms)
{
    sends_expire(&core->sends, now_ms);
    if (core->state == SWITCHYARD_LIVE) {
        advance_live(core, now_ms);
        return;
    }
    if (now_ms < core->state_due_ms)
        return;
    if (core->state == SWITCHYARD_CONNECTING)
        core_fail(core, 0, "no connection in time", now_ms);
    else if (core->state == SWITCHYARD_LOGIN)
        core_fail(core, 0, "no answer to the login in time", now_ms);
    else if (core->state == SWITCHYARD_BACKOFF)
        start_connecting(core, "trying again", now_ms);
}

static uint64_t
earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t
core_deadline(const struct core *core)
{
    uint64_t due_ms = sends_deadline(&core->sends);
    switch (core->state) {
    case SWITCHYARD_CONNECTING:
    case SWITCHYARD_LOGIN:
    case SWITCHYARD_BACKOFF:
        return earlier(due_ms, core->state_due_ms);
    case SWITCHYARD_LIVE:
        if (core->pong_due_ms != UINT64_MAX)
            due_ms = earlier(due_ms, core->pong_due_ms);
        else
            due_ms = earlier(due_ms, core->heard_ms + core->ping_ms);
        if (core->is_leaving)
            return core->sends.in_flight.first == NULL ? 0 : due_ms;
        return earlier(due_ms, core->goaway_ms);
    default:
        return due_ms;
    }
}

// How many queued sends go into the next message, and their bytes.
static size_t
measure_batch(struct core *core, unsigned *count)
{
    while (core->sends.queued.first != NULL &&
           core->sends.queued.first->len > core->max_frame_bytes)
        sends_reject_first(&core->sends, REASON_TOO_LARGE, "larger than this edge takes");
    size_t limit = core->max_frame_bytes < CORE_BATCH_BYTES ? core->max_frame_bytes
                                                            : CORE_BATCH_BYTES;
    size_t total = 0;
    *count = 0;
    for (struct send *send = core->sends.queued.first; send != NULL; send = send->next) {
        if (*count > 0 && (send->len > limit || total > limit - send->len))
            break;
        total += send->len;
        if (++*count == CODEC_MAX_COMMANDS)
            break;
    }
    return total;
}

size_t
core_write_size(struct core *core)
{
    unsigned count;
    if (core->urgent != NULL)
        return core->urgent_len;
    if (core->state != SWITCHYARD_LIVE || core->is_leaving)
        return 0;
    return measure_batch(core, &count);
}

void
core_write(struct core *core, uint8_t *out, uint64_t now_ms)
{
    if (core->urgent != NULL) {
        memcpy(out, core->urgent, core->urgent_len);
        set_urgent(core, NULL, 0);
        return;
    }
    unsigned count;
    measure_batch(core, &count);
    for (; count > 0; count--) {
        struct send *send = core->sends.queued.first;
        memcpy(out, send->bytes, send->len);
        out += send->len;
        sends_written(&core->sends, now_ms + CORE_ANSWER_MS);
    }
}
