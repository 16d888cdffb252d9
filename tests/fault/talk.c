// talk.c: see talk.h.
#include "tests/fault/talk.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tests/lib/ws_say.h"

#define DEVICE "d"

void
talk_on_opened(void *arg)
{
    struct person *person = arg;
    char user[16];
    snprintf(user, sizeof(user), "u%u", person->number);
    ws_say_hello(&person->socket, UINT64_MAX >> 12, user, DEVICE, // no send has that id
                 &person->people->scratch);
}

bool
talk_send(struct people *people, uint32_t from, uint32_t to, uint64_t now)
{
    struct person *person = &people->members[from];
    if (person->state != PERSON_LIVE || person->is_leaving)
        return false;
    bool is_affected = person->is_affected || people->members[to].is_affected;
    uint32_t number = book_write(people->book, from, to, person->logins,
                                 is_affected ? GROUP_VICTIMS : GROUP_OTHERS, now);
    if (number == UINT32_MAX)
        return false;
    char user[16];
    snprintf(user, sizeof(user), "u%u", to);
    ws_say_number(&person->socket, (uint64_t)number + 1, user, number, &people->scratch);
    person_push(person);
    return true;
}

static void
on_message(struct person *person, const Switchyard__V1__Message *message)
{
    struct people *people = person->people;
    struct timespec wall;
    unsigned number;
    unsigned from;
    if (message->payload_case != SWITCHYARD__V1__MESSAGE__PAYLOAD_TEXT ||
        sscanf(message->text, "%u", &number) != 1 || sscanf(message->from, "u%u", &from) != 1) {
        people->measures->now.strange++;
        return;
    }
    clock_gettime(CLOCK_REALTIME, &wall);
    int64_t wall_ms = (int64_t)wall.tv_sec * 1000 + wall.tv_nsec / 1000000;
    uint64_t now = now_us();
    struct arrival arrival = {.number = number,
                              .from = from,
                              .to = person->number,
                              .to_login = person->logins,
                              .to_login_age_us = now - person->live_us,
                              .age_ms = wall_ms - (int64_t)message->sent_at_ms};
    book_arrive(people->book, &arrival, now);
}

static void
on_answer(struct person *person, uint64_t id, enum note_status status, unsigned reason)
{
    struct people *people = person->people;
    if (!book_answer(people->book, id, person->number, person->logins, status, reason, now_us()))
        people->measures->now.strange++;
}

// An edge may name the place to go to; asked for by name, since it is newer than this program.
static const char *
url_of(const Switchyard__V1__GoAway *go_away)
{
    const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field_by_name(
        &switchyard__v1__go_away__descriptor, "url");
    if (field == NULL || field->type != PROTOBUF_C_TYPE_STRING)
        return "";
    const char *url;
    memcpy(&url, (const char *)go_away + field->offset, sizeof(url));
    return url != NULL ? url : "";
}

static void
on_event(struct person *person, const Switchyard__V1__Event *event)
{
    struct counts *counts = &person->people->measures->now;
    switch (event->event_case) {
    case SWITCHYARD__V1__EVENT__EVENT_WELCOME:
        person_welcome(person, event->welcome);
        break;
    case SWITCHYARD__V1__EVENT__EVENT_MESSAGE:
        on_message(person, event->message);
        break;
    case SWITCHYARD__V1__EVENT__EVENT_OUTCOME:
        on_answer(person, event->id,
                  event->outcome->status == SWITCHYARD__V1__OUTCOME_STATUS__OUTCOME_STATUS_SENT
                      ? NOTE_SENT
                      : NOTE_REJECTED,
                  (unsigned)event->outcome->reason);
        break;
    case SWITCHYARD__V1__EVENT__EVENT_FAILURE:
        if (person->state == PERSON_LIVE)
            on_answer(person, event->id, NOTE_FAILED, (unsigned)event->failure->reason);
        else
            counts->failures++;
        break;
    case SWITCHYARD__V1__EVENT__EVENT_GO_AWAY:
        person_go_away(person, event->go_away->reconnect_after_ms, url_of(event->go_away));
        break;
    default:
        break;
    }
}

void
talk_on_frame(void *arg, const uint8_t *bytes, size_t len)
{
    struct person *person = arg;
    struct arena *arena = &person->people->arena;
    struct codec_error error;
    arena_clear(arena);
    Switchyard__V1__ServerFrame *frame =
        codec_read_server(person->socket.format, bytes, len, arena, &error);
    if (frame == NULL) {
        person->people->measures->now.strange++;
        return;
    }
    for (size_t i = 0; i < frame->n_events; i++)
        on_event(person, frame->events[i]);
}
