// fake_conn.c: conn.h, for a test that reads what a client would.
#include <stdlib.h>
#include <string.h>

#include "tests/unit/edge/fake.h"

// One frame's events; usually one.
struct heard {
    struct heard *next;
    struct arena arena;
    const Switchyard__V1__ServerFrame *frame;
    size_t taken;
};

enum { OPCODE_TEXT = 1, OPCODE_BINARY = 2, OPCODE_PING = 9 };

static const uint8_t *
payload_of(const struct frame *frame, size_t *len)
{
    const uint8_t *bytes = frame_bytes(frame);
    size_t head = bytes[1] < 126 ? 2 : bytes[1] == 126 ? 4 : 10;
    *len = frame->len - head;
    return bytes + head;
}

static void
hear(struct conn *conn, const uint8_t *payload, size_t len)
{
    struct codec_error error;
    struct heard *heard = calloc(1, sizeof(*heard));
    if (heard == NULL)
        abort();
    arena_init(&heard->arena, 4096 + 512 * len);
    heard->frame = codec_read_server(conn->format, payload, len, &heard->arena, &error);
    assert_non_null(heard->frame);
    *(conn->heard != NULL ? &conn->last_heard->next : &conn->heard) = heard;
    conn->last_heard = heard;
}

int
conn_push(struct conn *conn, struct frame *frame)
{
    size_t len;
    const uint8_t *payload = payload_of(frame, &len);
    unsigned opcode = frame_bytes(frame)[0] & 15;
    assert_true(conn->is_open);
    if (conn->is_closing)
        return SY_EDOWN;
    if (conn->full_in > 0 && --conn->full_in == 0)
        return SY_EFULL;
    conn->pushed++;
    if (opcode == OPCODE_PING) {
        conn->pings++;
        conn->ping_bytes = len;
        return 0;
    }
    assert_int_equal(opcode, conn->format == CODEC_JSON ? OPCODE_TEXT : OPCODE_BINARY);
    hear(conn, payload, len);
    return 0;
}

void
conn_close(struct conn *conn, enum close_code code)
{
    if (conn->is_closing)
        return;
    conn->is_closing = true;
    conn->code = code;
}

size_t
conn_backlog(const struct conn *conn)
{
    return conn->backlog;
}

enum codec_format
conn_format(const struct conn *conn)
{
    return conn->format;
}

const char *
conn_peer(const struct conn *conn)
{
    (void)conn;
    return "127.0.0.1:1";
}

// Reading.

static void
drop_oldest(struct conn *conn)
{
    struct heard *heard = conn->heard;
    conn->heard = heard->next;
    arena_fini(&heard->arena);
    free(heard);
}

void
events_forget(struct conn *conn)
{
    while (conn->heard != NULL)
        drop_oldest(conn);
}

void
conn_free(struct conn *conn)
{
    events_forget(conn);
    free(conn);
}

static bool
has_event(const struct conn *conn)
{
    return conn->heard != NULL &&
           (conn->heard->taken < conn->heard->frame->n_events || conn->heard->next != NULL);
}

const Switchyard__V1__Event *
event_take(struct conn *conn, Switchyard__V1__Event__EventCase kind)
{
    if (!has_event(conn))
        fail_msg("no event where one of kind %d should be", (int)kind);
    if (conn->heard->taken == conn->heard->frame->n_events)
        drop_oldest(conn);
    const Switchyard__V1__Event *event = conn->heard->frame->events[conn->heard->taken++];
    assert_int_equal(event->event_case, kind);
    return event;
}

void
expect_nothing(const struct conn *conn)
{
    assert_false(has_event(conn));
}

void
expect_failure(struct conn *conn, uint64_t id, enum reason reason)
{
    const Switchyard__V1__Event *event = event_take(conn, SWITCHYARD__V1__EVENT__EVENT_FAILURE);
    assert_int_equal(event->id, id);
    assert_int_equal(event->failure->reason, reason);
    assert_int_equal(event->failure->retryable, reason_is_retryable(reason));
}

void
expect_sent(struct conn *conn, uint64_t id, uint32_t devices)
{
    const Switchyard__V1__Event *event = event_take(conn, SWITCHYARD__V1__EVENT__EVENT_OUTCOME);
    assert_int_equal(event->id, id);
    assert_int_equal(event->outcome->status, SWITCHYARD__V1__OUTCOME_STATUS__OUTCOME_STATUS_SENT);
    assert_int_equal(event->outcome->devices, devices);
}

void
expect_rejected(struct conn *conn, uint64_t id, enum reason reason)
{
    const Switchyard__V1__Event *event = event_take(conn, SWITCHYARD__V1__EVENT__EVENT_OUTCOME);
    assert_int_equal(event->id, id);
    assert_int_equal(event->outcome->status,
                     SWITCHYARD__V1__OUTCOME_STATUS__OUTCOME_STATUS_REJECTED);
    assert_int_equal(event->outcome->reason, reason);
    assert_int_equal(event->outcome->retryable, reason_is_retryable(reason));
    assert_int_equal(event->outcome->devices, 0);
}

void
expect_message(struct conn *conn, const char *from, const char *text)
{
    const Switchyard__V1__Event *event = event_take(conn, SWITCHYARD__V1__EVENT__EVENT_MESSAGE);
    assert_string_equal(event->message->from, from);
    assert_int_equal(event->message->payload_case, SWITCHYARD__V1__MESSAGE__PAYLOAD_TEXT);
    assert_string_equal(event->message->text, text);
}

void
expect_welcome(struct conn *conn)
{
    event_take(conn, SWITCHYARD__V1__EVENT__EVENT_WELCOME);
}

void
expect_closed(const struct conn *conn, enum close_code code)
{
    assert_true(conn->is_closing);
    assert_int_equal(conn->code, code);
    assert_int_equal(conn->session.state, SESSION_CLOSED);
    assert_null(conn->session.user);
    assert_null(conn->session.link);
    assert_null(conn->session.sends);
    assert_false(timer_is_set(&conn->session.timer));
}
