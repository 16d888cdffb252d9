// encode.c: see encode.h. Packs into malloc'ed memory of the exact size: the growing
// buffer of proto/ aborts when memory is out, and a guest must not.
#include "lib/client-c/encode.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "proto/codec.h"
#include "proto/ident.h"

// Bounds of client.proto.
#define MAX_CONTENT_TYPE 128
#define MAX_MESSAGE_ID 64
#define MAX_TTL_MS 4000

// protobuf-c's structs have no const; packing only reads.
static char *
borrow(const char *text)
{
    char *plain;
    memcpy(&plain, &text, sizeof(plain));
    return plain;
}

static int
pack(Switchyard__V1__Command *command, uint8_t **out, size_t *len)
{
    Switchyard__V1__ClientFrame frame;
    switchyard__v1__client_frame__init(&frame);
    Switchyard__V1__Command *commands[] = {command};
    frame.commands = commands;
    frame.n_commands = 1;
    size_t size = switchyard__v1__client_frame__get_packed_size(&frame);
    uint8_t *bytes = malloc(size);
    if (bytes == NULL)
        return SWITCHYARD_ENOMEM;
    switchyard__v1__client_frame__pack(&frame, bytes);
    *out = bytes;
    *len = size;
    return 0;
}

int
encode_hello(uint64_t id, const struct hello *hello, uint8_t **out, size_t *len)
{
    Switchyard__V1__Hello body;
    switchyard__v1__hello__init(&body);
    body.token = borrow(hello->token);
    body.user = borrow(hello->user);
    body.device = borrow(hello->device);
    body.device_class = borrow(hello->device_class);
    body.client = borrow(hello->client_name);
    Switchyard__V1__Command command;
    switchyard__v1__command__init(&command);
    command.id = id;
    command.command_case = SWITCHYARD__V1__COMMAND__COMMAND_HELLO;
    command.hello = &body;
    return pack(&command, out, len);
}

int
encode_ping(uint64_t id, uint8_t **out, size_t *len)
{
    Switchyard__V1__Ping body;
    switchyard__v1__ping__init(&body);
    Switchyard__V1__Command command;
    switchyard__v1__command__init(&command);
    command.id = id;
    command.command_case = SWITCHYARD__V1__COMMAND__COMMAND_PING;
    command.ping = &body;
    return pack(&command, out, len);
}

static bool
is_short_text(const char *text, size_t max_len)
{
    return text == NULL ||
           (strnlen(text, max_len + 1) <= max_len && utf8_is_valid(text, strlen(text)));
}

static bool
is_ident(const char *id)
{
    return id != NULL && ident_is_valid(id, strnlen(id, IDENT_MAX_BYTES + 1));
}

static bool
is_payload(const struct switchyard_payload *payload)
{
    if (payload == NULL || (payload->bytes == NULL && payload->len > 0))
        return false;
    if (!is_short_text(payload->content_type, MAX_CONTENT_TYPE))
        return false;
    return !payload->is_text || payload->len == 0 ||
           (utf8_is_valid(payload->bytes, payload->len) &&
            memchr(payload->bytes, 0, payload->len) == NULL);
}

static bool
is_request(const struct send_request *request)
{
    const struct switchyard_send_options *options = request->options;
    if (request->to == NULL || request->count < 1 || request->count > CODEC_MAX_RECIPIENTS)
        return false;
    for (size_t i = 0; i < request->count; i++) {
        if (!is_ident(request->to[i]))
            return false;
    }
    if (!is_payload(request->payload))
        return false;
    if (options == NULL)
        return true;
    return options->size >= sizeof(*options) &&
           is_short_text(options->message_id, MAX_MESSAGE_ID) && options->ttl_ms <= MAX_TTL_MS &&
           (options->to_device == NULL || (request->count == 1 && is_ident(options->to_device)));
}

// Text needs a NUL behind it; NULL: out of memory.
static char *
copy_text(const struct switchyard_payload *payload)
{
    char *text = malloc(payload->len + 1);
    if (text == NULL)
        return NULL;
    if (payload->len > 0)
        memcpy(text, payload->bytes, payload->len);
    text[payload->len] = 0;
    return text;
}

int
encode_send(uint64_t id, const struct send_request *request, uint8_t **out, size_t *len)
{
    if (!is_request(request))
        return SWITCHYARD_EINVAL;
    const struct switchyard_payload *payload = request->payload;
    const struct switchyard_send_options *options = request->options;
    Switchyard__V1__Send body;
    switchyard__v1__send__init(&body);
    body.n_to = request->count;
    memcpy(&body.to, &request->to, sizeof(body.to));
    if (payload->content_type != NULL)
        body.content_type = borrow(payload->content_type);
    if (options != NULL) {
        if (options->to_device != NULL)
            body.to_device = borrow(options->to_device);
        if (options->message_id != NULL)
            body.message_id = borrow(options->message_id);
        body.ttl_ms = options->ttl_ms;
    }
    char *text = NULL;
    if (payload->is_text) {
        text = copy_text(payload);
        if (text == NULL)
            return SWITCHYARD_ENOMEM;
        body.payload_case = SWITCHYARD__V1__SEND__PAYLOAD_TEXT;
        body.text = text;
    } else {
        body.payload_case = SWITCHYARD__V1__SEND__PAYLOAD_BODY;
        body.body.len = payload->len;
        memcpy(&body.body.data, &payload->bytes, sizeof(body.body.data));
    }
    Switchyard__V1__Command command;
    switchyard__v1__command__init(&command);
    command.id = id;
    command.command_case = SWITCHYARD__V1__COMMAND__COMMAND_SEND;
    command.send = &body;
    int error = pack(&command, out, len);
    free(text);
    return error;
}
