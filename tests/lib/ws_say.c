// ws_say.c: see ws_say.h.
#include "tests/lib/ws_say.h"

#include <stdio.h>

void
ws_say(struct ws_client *client, Switchyard__V1__Command *command, struct buf *scratch)
{
    Switchyard__V1__ClientFrame frame = SWITCHYARD__V1__CLIENT_FRAME__INIT;
    frame.n_commands = 1;
    frame.commands = &command;
    buf_clear(scratch);
    codec_write_client(client->format, &frame, scratch);
    ws_client_send(client, scratch->bytes, scratch->len);
}

void
ws_say_hello(struct ws_client *client, uint64_t id, const char *user, const char *device,
             struct buf *scratch)
{
    Switchyard__V1__Hello hello;
    switchyard__v1__hello__init(&hello);
    hello.user = codec_borrowed(user);
    hello.device = codec_borrowed(device);
    Switchyard__V1__Command command = SWITCHYARD__V1__COMMAND__INIT;
    command.id = id;
    command.command_case = SWITCHYARD__V1__COMMAND__COMMAND_HELLO;
    command.hello = &hello;
    ws_say(client, &command, scratch);
}

void
ws_say_number(struct ws_client *client, uint64_t id, const char *to, uint32_t number,
              struct buf *scratch)
{
    char text[160];
    char *users[] = {codec_borrowed(to)};
    snprintf(text, sizeof(text), "%u %0*u", number, (int)(8 + number % 130), number);
    Switchyard__V1__Send send;
    switchyard__v1__send__init(&send);
    send.n_to = 1;
    send.to = users;
    send.payload_case = SWITCHYARD__V1__SEND__PAYLOAD_TEXT;
    send.text = text;
    Switchyard__V1__Command command = SWITCHYARD__V1__COMMAND__INIT;
    command.id = id;
    command.command_case = SWITCHYARD__V1__COMMAND__COMMAND_SEND;
    command.send = &send;
    ws_say(client, &command, scratch);
}
