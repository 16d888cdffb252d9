// encode.h: commands as bytes. Each answers a ClientFrame holding one command, freshly
// allocated, so that frames can be joined by copying; the caller frees it (free).
// 0, SWITCHYARD_EINVAL for a value the protocol does not allow, or SWITCHYARD_ENOMEM.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "lib/client-c/include/switchyard/client.h"

struct hello {
    const char *token; // "" for none, like the others
    const char *user;
    const char *device;
    const char *device_class;
    const char *client_name;
};

int encode_hello(uint64_t id, const struct hello *hello, uint8_t **out, size_t *len);
int encode_ping(uint64_t id, uint8_t **out, size_t *len);

struct send_request {
    const char *const *to;
    size_t count;
    const struct switchyard_payload *payload;
    const struct switchyard_send_options *options; // may be NULL
};
int encode_send(uint64_t id, const struct send_request *request, uint8_t **out, size_t *len);
