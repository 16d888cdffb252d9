// json.h: proto3 JSON for any message, driven by protobuf-c's descriptors.
//
// Reading: lowerCamelCase and original field names, enum names or numbers, 64-bit
// integers as strings or numbers, bytes as base64 (standard or URL-safe alphabet),
// null as absent. Refused, with the place named: unknown and repeated keys, wrong
// types, out-of-range numbers, two members of a oneof, invalid UTF-8 or escapes,
// depth over JSON_MAX_DEPTH, anything after the value. Nothing is allocated
// outside the arena.
//
// Writing: lowerCamelCase names, enum names, 64-bit integers as strings, bytes as
// standard base64, fields with default values left out.
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>

#include "proto/buf.h"

#define JSON_MAX_DEPTH 8

struct json_error {
    size_t offset;  // in the text
    char text[160]; // what is wrong, where, and what would be right
};

// NULL with *error filled if the text is not such a message. The message lives in
// the arena: never free it with protobuf-c.
ProtobufCMessage *json_read(const ProtobufCMessageDescriptor *type, const char *text, size_t len,
                            struct arena *arena, struct json_error *error);

void json_write(const ProtobufCMessage *message, struct buf *out);
