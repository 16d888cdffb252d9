// speech.c: see speech.h.
#include "tests/bench/speech.h"

#include <assert.h>
#include <string.h>

#include "proto/codec.h"

// Saying.

static void
say(Switchyard__V1__Command *command, struct buf *out)
{
    Switchyard__V1__ClientFrame frame = SWITCHYARD__V1__CLIENT_FRAME__INIT;
    frame.n_commands = 1;
    frame.commands = &command;
    codec_write_client(CODEC_PROTOBUF, &frame, out);
}

void
speech_hello(const char *user, const char *token, struct buf *out)
{
    char device[] = "bench";
    Switchyard__V1__Hello hello;
    switchyard__v1__hello__init(&hello);
    hello.user = codec_borrowed(user);
    hello.token = codec_borrowed(token);
    hello.device = device;
    Switchyard__V1__Command command = SWITCHYARD__V1__COMMAND__INIT;
    command.id = 1;
    command.command_case = SWITCHYARD__V1__COMMAND__COMMAND_HELLO;
    command.hello = &hello;
    say(&command, out);
}

// The bytes of the Message that the edge makes of a body.
static size_t
message_size(size_t size)
{
    char from[] = "b12345";
    char device[] = "bench";
    char id[] = "0123456789abcdef-12345";
    Switchyard__V1__Message message;
    switchyard__v1__message__init(&message);
    message.from = from;
    message.from_device = device;
    message.message_id = id;
    message.sent_at_ms = 1800000000000;
    message.payload_case = SWITCHYARD__V1__MESSAGE__PAYLOAD_BODY;
    message.body.len = size;
    Switchyard__V1__Event event = SWITCHYARD__V1__EVENT__INIT;
    event.event_case = SWITCHYARD__V1__EVENT__EVENT_MESSAGE;
    event.message = &message;
    Switchyard__V1__Event *events[] = {&event};
    Switchyard__V1__ServerFrame frame = SWITCHYARD__V1__SERVER_FRAME__INIT;
    frame.n_events = 1;
    frame.events = events;
    return switchyard__v1__server_frame__get_packed_size(&frame);
}

// A body whose beginning is found again in what is made of it.
static void
fill_body(uint8_t *body, size_t size)
{
    assert(size >= sizeof(struct stamp));
    memset(body, 'x', size);
    memset(body, 0xc3, sizeof(struct stamp));
}

static void
find_stamp(struct phrase *phrase)
{
    uint8_t mark[sizeof(struct stamp)];
    memset(mark, 0xc3, sizeof(mark));
    const uint8_t *found = memmem(phrase->bytes.bytes, phrase->bytes.len, mark, sizeof(mark));
    assert(found != NULL);
    phrase->stamp_at = (size_t)(found - phrase->bytes.bytes);
}

static void
floor_message(size_t size, struct phrase *out)
{
    size_t len = message_size(size);
    fill_body(buf_reserve(&out->bytes, len), len);
    out->bytes.len = len;
    out->stamp_at = 0;
}

void
speech_send(enum speech speech, char *const *to, size_t count, size_t size, bool wants_outcome,
            struct phrase *out)
{
    buf_clear(&out->bytes);
    if (speech == SPEAK_FLOOR) {
        floor_message(size, out);
        return;
    }
    struct buf body = {0};
    fill_body(buf_reserve(&body, size), size);
    Switchyard__V1__Send send;
    switchyard__v1__send__init(&send);
    send.n_to = count;
    send.to = (char **)(uintptr_t)to;
    send.payload_case = SWITCHYARD__V1__SEND__PAYLOAD_BODY;
    send.body.len = size;
    send.body.data = body.bytes;
    Switchyard__V1__Command command = SWITCHYARD__V1__COMMAND__INIT;
    command.id = wants_outcome ? 2 : 0;
    command.command_case = SWITCHYARD__V1__COMMAND__COMMAND_SEND;
    command.send = &send;
    say(&command, &out->bytes);
    buf_fini(&body);
    find_stamp(out);
}

void
speech_broadcast(enum speech speech, size_t size, struct phrase *out)
{
    buf_clear(&out->bytes);
    if (speech == SPEAK_FLOOR) {
        floor_message(size, out);
        return;
    }
    struct buf body = {0};
    fill_body(buf_reserve(&body, size), size);
    Switchyard__V1__Broadcast broadcast;
    switchyard__v1__broadcast__init(&broadcast);
    broadcast.payload_case = SWITCHYARD__V1__BROADCAST__PAYLOAD_BODY;
    broadcast.body.len = size;
    broadcast.body.data = body.bytes;
    Switchyard__V1__Command command = SWITCHYARD__V1__COMMAND__INIT;
    command.command_case = SWITCHYARD__V1__COMMAND__COMMAND_BROADCAST;
    command.broadcast = &broadcast;
    say(&command, &out->bytes);
    buf_fini(&body);
    find_stamp(out);
}

// Hearing: protobuf by hand.

struct span {
    const uint8_t *at, *end;
};

struct field {
    unsigned number;
    uint64_t value; // of a varint
    struct span bytes;
};

static bool
read_varint(struct span *in, uint64_t *out)
{
    *out = 0;
    for (unsigned shift = 0; in->at < in->end && shift < 64; shift += 7) {
        uint8_t byte = *in->at++;
        *out |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return true;
    }
    return false;
}

// False: the end, or nonsense (then in->at is not the end).
static bool
read_field(struct span *in, struct field *field)
{
    const uint8_t *begin = in->at;
    uint64_t tag;
    uint64_t size;
    if (!read_varint(in, &tag))
        goto nonsense;
    field->number = (unsigned)(tag >> 3);
    if ((tag & 7) == 0 && read_varint(in, &field->value))
        return true;
    if ((tag & 7) != 2 || !read_varint(in, &size) || size > (size_t)(in->end - in->at))
        goto nonsense;
    field->bytes = (struct span){.at = in->at, .end = in->at + size};
    in->at += size;
    return true;
nonsense:
    if (begin < in->end)
        in->at = begin;
    return false;
}

static void
read_message(struct span in, struct event *event)
{
    struct field field;
    while (read_field(&in, &field)) {
        if (field.number != SWITCHYARD__V1__MESSAGE__PAYLOAD_BODY ||
            field.bytes.end - field.bytes.at < (ptrdiff_t)sizeof(event->stamp))
            continue;
        memcpy(&event->stamp, field.bytes.at, sizeof(event->stamp));
        event->heard = HEARD_MESSAGE;
    }
}

static void
read_outcome(struct span in, struct event *event)
{
    struct field field;
    event->heard = HEARD_REJECTED;
    while (read_field(&in, &field)) {
        if (field.number == 1 && field.value == SWITCHYARD__V1__OUTCOME_STATUS__OUTCOME_STATUS_SENT)
            event->heard = HEARD_SENT;
        else if (field.number == 2)
            event->reason = (unsigned)field.value;
    }
}

static void
read_failure(struct span in, struct event *event)
{
    struct field field;
    event->heard = HEARD_FAILURE;
    while (read_field(&in, &field))
        if (field.number == 1)
            event->reason = (unsigned)field.value;
}

static void
read_event(struct span in, struct event *event)
{
    struct field field;
    while (read_field(&in, &field)) {
        if (field.number == SWITCHYARD__V1__EVENT__EVENT_MESSAGE)
            read_message(field.bytes, event);
        else if (field.number == SWITCHYARD__V1__EVENT__EVENT_WELCOME)
            event->heard = HEARD_WELCOME;
        else if (field.number == SWITCHYARD__V1__EVENT__EVENT_OUTCOME)
            read_outcome(field.bytes, event);
        else if (field.number == SWITCHYARD__V1__EVENT__EVENT_FAILURE)
            read_failure(field.bytes, event);
    }
}

bool
speech_next(enum speech speech, const uint8_t *bytes, size_t len, size_t *at, struct event *event)
{
    *event = (struct event){.heard = HEARD_OTHER};
    if (speech == SPEAK_FLOOR) {
        if (*at > 0 || len < sizeof(event->stamp))
            return false;
        memcpy(&event->stamp, bytes, sizeof(event->stamp));
        event->heard = HEARD_MESSAGE;
        *at = len;
        return true;
    }
    struct span in = {.at = bytes + *at, .end = bytes + len};
    struct field field;
    if (!read_field(&in, &field)) {
        *at = (size_t)(in.at - bytes);
        return false;
    }
    *at = (size_t)(in.at - bytes);
    read_event(field.bytes, event);
    return true;
}
