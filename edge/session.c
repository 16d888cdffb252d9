// session.c: the client protocol, seen from the edge.
//
// 1. session_open: the deadline for Hello runs.
// 2. Hello: token or name -> identity; an older connection that the login takes the place of
//    is closed, if it is on this edge; the link is handed to the registry.
// 3. session_registered: Welcome; from now on messages come in and commands are taken.
// 4. The timer pings a silent client, closes a dead one, and closes at the token's end.
//
// Malformed frame: Failure with the reason, close 4000. Command before Hello, or a second
// Hello: Failure, close 4005. Token refused: Failure, close 4002. Commands above the rate:
// a Failure each; DEBT_SECONDS above it: close 4110. Full queue: close 4108.
#include "edge/session.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edge/core.h"
#include "lib/base/log.h"
#include "lib/base/owner.h"

// A client this far above its rate does not mean to stop.
#define DEBT_SECONDS 4
// Bucket size, in seconds of the rate.
#define BURST_SECONDS 2
#define COMMAND_COST 1000

static void on_timer(struct timer *timer, uint64_t now_ms);

// Telling.

void
session_tell(struct session *session, const Switchyard__V1__Event *event)
{
    struct edge *edge = session->edge;
    if (session->state == SESSION_CLOSED)
        return;
    buf_clear(&edge->wrapped);
    codec_write_event(conn_format(session->conn), event, &edge->wrapped);
    struct frame *frame =
        frame_new(conn_format(session->conn), edge->wrapped.bytes, edge->wrapped.len);
    if (conn_push(session->conn, frame) != 0)
        session_end(session, CLOSE_SLOW_READER);
    frame_release(frame);
}

static void
refuse(struct session *session, uint64_t id, enum reason reason, const char *text,
       uint32_t retry_after_ms)
{
    Switchyard__V1__Failure failure;
    switchyard__v1__failure__init(&failure);
    Switchyard__V1__Event event;
    switchyard__v1__event__init(&event);
    failure.reason = (Switchyard__V1__Reason)reason;
    failure.text = codec_borrowed(text);
    failure.retryable = reason_is_retryable(reason);
    failure.retry_after_ms = retry_after_ms;
    event.id = id;
    event.event_case = SWITCHYARD__V1__EVENT__EVENT_FAILURE;
    event.failure = &failure;
    session->edge->counters.failures++;
    session_tell(session, &event);
}

void
session_refuse(struct session *session, uint64_t id, enum reason reason, const char *text)
{
    refuse(session, id, reason, text, 0);
}

// A refusal that ends the connection.
static void
fail(struct session *session, uint64_t id, enum reason reason, const char *text,
     enum close_code code)
{
    refuse(session, id, reason, text, 0);
    session_end(session, code);
}

static void
tell_welcome(struct session *session)
{
    struct edge *edge = session->edge;
    Switchyard__V1__Welcome welcome;
    switchyard__v1__welcome__init(&welcome);
    Switchyard__V1__Event event;
    switchyard__v1__event__init(&event);
    welcome.node = edge->node;
    welcome.user = session->user->id;
    welcome.device = session->device;
    welcome.connection = session->connection;
    welcome.ping_interval_ms = (uint32_t)edge->limits.ping_ms;
    welcome.max_frame_bytes = (uint32_t)edge->limits.frame_bytes;
    welcome.server_time_ms = edge->wall_ms;
    welcome.clustered = !edge_is_alone(edge);
    event.id = session->hello_id;
    event.event_case = SWITCHYARD__V1__EVENT__EVENT_WELCOME;
    event.welcome = &welcome;
    session_tell(session, &event);
}

// States.

// While the edge stood still nobody could be heard, and nobody was pinged.
static uint64_t
quiet_since_ms(const struct session *session)
{
    uint64_t ended_ms = session->edge->pause.ended_ms;
    return session->heard_ms > ended_ms ? session->heard_ms : ended_ms;
}

static uint64_t
silence_ms(const struct session *session, uint64_t now_ms)
{
    uint64_t since_ms = quiet_since_ms(session);
    return now_ms > since_ms ? now_ms - since_ms : 0;
}

// The wheel looks again when something may be due: a ping, the end of a silence, or the
// end of the token.
static void
set_timer(struct session *session)
{
    struct edge *edge = session->edge;
    uint64_t ping_ms = edge->limits.ping_ms;
    bool is_pinged = silence_ms(session, edge->now_ms) >= ping_ms;
    uint64_t due_ms = quiet_since_ms(session) + (is_pinged ? 2 * ping_ms : ping_ms);
    if (session->expires_ms != 0) {
        uint64_t left_ms = session->expires_ms > edge->wall_ms ? session->expires_ms - edge->wall_ms
                                                               : 0;
        if (edge->now_ms + left_ms < due_ms)
            due_ms = edge->now_ms + left_ms;
    }
    wheel_set(&edge->wheel, &session->timer, due_ms);
}

void
session_registered(struct session *session)
{
    if (session->state != SESSION_LOGIN)
        return;
    session->state = SESSION_LIVE;
    broadcast_add(session->edge, session);
    session->edge->counters.logins++;
    session->heard_ms = session->edge->now_ms; // until now it waited for us
    tell_welcome(session);
    if (session->state != SESSION_LIVE)
        return;
    set_timer(session);
    drain_add(session->edge, session);
}

bool
session_is_reachable(struct session *session)
{
    session_registered(session);
    return session->state == SESSION_LIVE;
}

void
session_end(struct session *session, enum close_code code)
{
    struct edge *edge = session->edge;
    if (session->state == SESSION_CLOSED)
        return;
    session->state = SESSION_CLOSED;
    wheel_unset(&edge->wheel, &session->timer);
    broadcast_remove(edge, session);
    drain_remove(edge, session);
    router_session_ended(session);
    if (session->user != NULL) {
        struct user *user = session->user;
        edge->live_sessions--;
        log_debug("session_end", "user=%s connection=%llu code=%u reason=%s", log_quote(user->id),
                  (unsigned long long)session->connection, code, close_name(code));
        users_remove_session(user, session);
        session->user = NULL;
        if (session->link != NULL)
            registry_remove(session); // drops the user when the directory has heard
        else
            users_drop_if_idle(&edge->users, user);
    }
    conn_close(session->conn, code);
}

void
session_open(struct session *session, struct edge *edge, struct conn *conn, const char *token,
             uint64_t now_ms)
{
    memset(session, 0, sizeof(*session));
    session->edge = edge;
    session->conn = conn;
    session->connection = ++edge->next_connection;
    session->state = SESSION_NEW;
    session->heard_ms = now_ms;
    session->rate_at_ms = now_ms;
    session->rate_credit = (int64_t)edge->limits.commands_per_second * BURST_SECONDS * COMMAND_COST;
    session->timer.fire = on_timer;
    if (token != NULL && token[0] != '\0' && (session->token = strdup(token)) == NULL)
        abort();
    wheel_set(&edge->wheel, &session->timer, now_ms + edge->limits.hello_timeout_ms);
}

void
session_closed(struct session *session, enum close_code code, uint64_t now_ms)
{
    (void)now_ms;
    session_end(session, code);
    free(session->device);
    free(session->token);
    session->device = NULL;
    session->token = NULL;
}

void
session_alive(struct session *session, uint64_t now_ms)
{
    session->heard_ms = now_ms;
}

static void
on_timer(struct timer *timer, uint64_t now_ms)
{
    struct session *session = OWNER(timer, struct session, timer);
    struct edge *edge = session->edge;
    uint64_t silent_ms = silence_ms(session, now_ms);
    if (session->state == SESSION_NEW) {
        fail(session, 0, REASON_OUT_OF_ORDER, "no hello in time", CLOSE_HELLO_TIMEOUT);
    } else if (session->expires_ms != 0 && session->expires_ms <= edge->wall_ms) {
        fail(session, 0, REASON_UNAUTHORIZED, "the token has expired", CLOSE_TOKEN_EXPIRED);
    } else if (silent_ms >= 2 * edge->limits.ping_ms) {
        session_end(session, CLOSE_SILENT);
    } else {
        set_timer(session);
        if (silent_ms >= edge->limits.ping_ms) {
            struct frame *ping = frame_new_control(9, "?", 1); // see ws.c: not empty
            if (conn_push(session->conn, ping) != 0)
                session_end(session, CLOSE_SLOW_READER);
            frame_release(ping);
        }
    }
}

// Login.

static const char *
hello_complaint(const Switchyard__V1__Hello *hello)
{
    size_t device_len = strlen(hello->device);
    if (device_len > 0 && !ident_is_valid(hello->device, device_len))
        return "hello.device must be 1 to 128 bytes of UTF-8 without control characters";
    if (!device_class_is_valid(hello->device_class, strlen(hello->device_class)))
        return "hello.deviceClass must be one word of at most 32 bytes";
    if (strlen(hello->client) > 128)
        return "hello.client is longer than 128 bytes";
    return NULL;
}

static void
set_device(struct session *session, const char *wanted, const char *device_class)
{
    char made[40];
    if (wanted[0] == '\0') {
        snprintf(made, sizeof(made), "d-%016llx",
                 (unsigned long long)rng_next(&session->edge->rng));
        wanted = made;
    }
    size_t device_size = strlen(wanted) + 1;
    size_t class_size = strlen(device_class) + 1;
    session->device = malloc(device_size + class_size);
    if (session->device == NULL)
        abort();
    memcpy(session->device, wanted, device_size);
    memcpy(session->device + device_size, device_class, class_size);
    session->device_class = session->device + device_size;
}

// From then on no check would take the token any more.
static uint64_t
end_of(const struct session *session, const struct identity *identity)
{
    if (identity->expires_ms == 0)
        return 0;
    return identity->expires_ms + session->edge->auth->rules.leeway_s * 1000;
}

static bool
takes_place_of(const struct session *newer, const struct session *older)
{
    switch (newer->edge->limits.devices) {
    case DEVICES_ONE:
        return true;
    case DEVICES_CLASS:
        if (strcmp(newer->device_class, older->device_class) == 0)
            return true;
        break;
    case DEVICES_MANY:
        break;
    }
    return strcmp(newer->device, older->device) == 0;
}

// Ends what the login takes the place of, as far as it is on this edge: those were here
// before it, whatever the directory knows by now. It names those elsewhere (registry.c).
static void
displace_older(const struct session *session)
{
    uint32_t kept = 1;
    struct session *next;
    for (struct session *s = session->user->sessions; s != NULL; s = next) { // newest first
        next = s->next_of_user;
        if (s == session)
            continue;
        if (takes_place_of(session, s) || kept == session->edge->limits.max_devices)
            session_end(s, CLOSE_REPLACED);
        else
            kept++;
    }
}

static void
log_in(struct session *session, const struct identity *identity, const Switchyard__V1__Hello *hello)
{
    struct edge *edge = session->edge;
    struct user *user = users_take(&edge->users, identity->user, strlen(identity->user));
    set_device(session, hello->device, hello->device_class);
    session->expires_ms = end_of(session, identity);
    session->may_broadcast = identity->may_broadcast;
    session->state = SESSION_LOGIN;
    session->user = user;
    users_add_session(user, session);
    edge->live_sessions++;
    wheel_unset(&edge->wheel, &session->timer);
    log_debug("login", "user=%s device=%s connection=%llu peer=%s client=%s", log_quote(user->id),
              log_quote(session->device), (unsigned long long)session->connection,
              log_quote(conn_peer(session->conn)), log_quote(hello->client));
    displace_older(session);
    registry_add(edge, session);
}

// The token of Hello, or else that of the handshake, which serves once.
static int
check_identity(struct session *session, const Switchyard__V1__Hello *hello,
               struct identity *identity, const char **why)
{
    struct edge *edge = session->edge;
    const char *token = hello->token;
    if (token[0] == '\0' && session->token != NULL)
        token = session->token;
    int error = auth_check(edge->auth, token, hello->user, edge->wall_ms, identity, why);
    free(session->token);
    session->token = NULL;
    return error;
}

static void
on_hello(struct session *session, uint64_t id, const Switchyard__V1__Hello *hello)
{
    struct identity identity;
    const char *why = hello_complaint(hello);
    if (session->state != SESSION_NEW) {
        fail(session, id, REASON_OUT_OF_ORDER, "hello was said already", CLOSE_OUT_OF_ORDER);
    } else if (why != NULL) {
        session->edge->counters.logins_refused++;
        fail(session, id, REASON_INVALID, why, CLOSE_UNAUTHORIZED);
    } else if (check_identity(session, hello, &identity, &why) != 0) {
        session->edge->counters.logins_refused++;
        log_info("login_refused", "peer=%s reason=%s", log_quote(conn_peer(session->conn)),
                 log_quote(why));
        fail(session, id, REASON_UNAUTHORIZED, why, CLOSE_UNAUTHORIZED);
    } else {
        session->hello_id = id;
        log_in(session, &identity, hello);
    }
}

static void
on_refresh(struct session *session, uint64_t id, const Switchyard__V1__Refresh *refresh)
{
    struct identity identity;
    const char *why;
    struct edge *edge = session->edge;
    int error = auth_check(edge->auth, refresh->token, "", edge->wall_ms, &identity, &why);
    if (error == 0 && strcmp(identity.user, session->user->id) != 0) {
        error = SY_EDENIED;
        why = "the token is for another user";
    }
    if (error != 0) {
        session_refuse(session, id, REASON_UNAUTHORIZED, why); // the old token still holds
        return;
    }
    session->expires_ms = end_of(session, &identity);
    session->may_broadcast = identity.may_broadcast;
    set_timer(session);
    Switchyard__V1__Refreshed refreshed;
    switchyard__v1__refreshed__init(&refreshed);
    Switchyard__V1__Event event;
    switchyard__v1__event__init(&event);
    refreshed.expires_at_ms = identity.expires_ms;
    event.id = id;
    event.event_case = SWITCHYARD__V1__EVENT__EVENT_REFRESHED;
    event.refreshed = &refreshed;
    if (id != 0)
        session_tell(session, &event);
}

static void
on_ping(struct session *session, uint64_t id)
{
    Switchyard__V1__Pong pong;
    switchyard__v1__pong__init(&pong);
    Switchyard__V1__Event event;
    switchyard__v1__event__init(&event);
    pong.server_time_ms = session->edge->wall_ms;
    event.id = id;
    event.event_case = SWITCHYARD__V1__EVENT__EVENT_PONG;
    event.pong = &pong;
    if (id != 0)
        session_tell(session, &event);
}

// Commands.

// Pays for one command. False: it was refused.
static bool
pay(struct session *session, uint64_t id, uint64_t now_ms)
{
    int64_t rate = session->edge->limits.commands_per_second;
    int64_t most = rate * BURST_SECONDS * COMMAND_COST;
    // Credit grows by `rate` thousandths a millisecond: rate commands a second.
    uint64_t passed_ms = now_ms - session->rate_at_ms;
    int64_t grown = passed_ms < 3600000 ? (int64_t)passed_ms * rate : most;
    session->rate_credit += grown;
    if (session->rate_credit > most)
        session->rate_credit = most;
    session->rate_at_ms = now_ms;
    session->rate_credit -= COMMAND_COST;
    if (session->rate_credit >= 0)
        return true;
    if (session->rate_credit < -rate * DEBT_SECONDS * COMMAND_COST) {
        fail(session, id, REASON_RATE, "far more commands than allowed", CLOSE_RATE);
        return false;
    }
    uint32_t wait_ms = (uint32_t)(-session->rate_credit / rate) + 1;
    refuse(session, id, REASON_RATE, reason_text(REASON_RATE), wait_ms);
    return false;
}

static void
on_command(struct session *session, const Switchyard__V1__Command *command, uint64_t now_ms)
{
    struct edge *edge = session->edge;
    edge->counters.commands++;
    if (!pay(session, command->id, now_ms))
        return;
    if (command->command_case == SWITCHYARD__V1__COMMAND__COMMAND_HELLO) {
        on_hello(session, command->id, command->hello);
        return;
    }
    if (session->state == SESSION_NEW) {
        fail(session, command->id, REASON_OUT_OF_ORDER, "hello must be the first command",
             CLOSE_OUT_OF_ORDER);
        return;
    }
    // Who does not wait for Welcome gets it before any answer.
    if (!session_is_reachable(session))
        return;
    switch (command->command_case) {
    case SWITCHYARD__V1__COMMAND__COMMAND_SEND:
        router_send(edge, session, command->id, command->send);
        break;
    case SWITCHYARD__V1__COMMAND__COMMAND_PING:
        on_ping(session, command->id);
        break;
    case SWITCHYARD__V1__COMMAND__COMMAND_BROADCAST:
        broadcast_send(edge, session, command->id, command->broadcast);
        break;
    case SWITCHYARD__V1__COMMAND__COMMAND_REFRESH:
        on_refresh(session, command->id, command->refresh);
        break;
    default:
        // A newer client's command: refused, not fatal, so that it can do without.
        session_refuse(session, command->id, REASON_INVALID, "this edge does not know the command");
        break;
    }
}

void
session_receive(struct session *session, const void *bytes, size_t len, uint64_t now_ms)
{
    struct edge *edge = session->edge;
    struct codec_error error;
    session->heard_ms = now_ms;
    if (session->state == SESSION_CLOSED)
        return;
    arena_clear(&edge->arena);
    Switchyard__V1__ClientFrame *frame =
        codec_read_client(conn_format(session->conn), bytes, len, &edge->arena, &error);
    if (frame == NULL) {
        fail(session, 0, REASON_INVALID, error.text, CLOSE_MALFORMED);
        return;
    }
    for (size_t i = 0; i < frame->n_commands && session->state != SESSION_CLOSED; i++)
        on_command(session, frame->commands[i], now_ms);
}
