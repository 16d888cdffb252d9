// json_private.h: what the files of the JSON codec share.
//
// json_scan.c cuts the text into tokens, json_scalar.c turns tokens into field values,
// json_read.c builds messages from them; json_write.c is the other direction.
#pragma once

#include <stdbool.h>

#include "proto/json.h"

// A lowerCamelCase name is never longer than the original one.
#define JSON_NAME_SIZE 64

// Where in the message we are, for error texts: a chain that lives on the stack.
struct json_place {
    const struct json_place *up;           // NULL: the whole message
    const ProtobufCFieldDescriptor *field; // of the message at `up`
    long index;                            // in a repeated field; -1: the field itself
};

struct json_reader {
    const char *text;
    size_t len;
    size_t at;
    unsigned depth; // of objects and lists that are open
    struct arena *arena;
    struct json_error *error;
};

// Decoded, NUL-terminated, in the arena.
struct json_string {
    char *bytes;
    size_t len;
};

// Notes what is wrong at `offset`; always false.
__attribute__((format(printf, 4, 5))) bool json_fail(struct json_reader *r, size_t offset,
                                                     const struct json_place *place,
                                                     const char *format, ...);
bool json_fail_full(struct json_reader *r, const struct json_place *place);

// "toDevice" for the field to_device.
void json_name(const char *original, char out[static JSON_NAME_SIZE]);

// What stands at the reader, in words: "a string", "the end of the text" ...
const char *json_found(const struct json_reader *r);
// The next byte that is not white space, or -1; it is not taken.
int json_peek(struct json_reader *r);
// Takes `byte` after white space, or fails with `expected`.
bool json_take(struct json_reader *r, const struct json_place *place, char byte,
               const char *expected);
// Takes `word` if it is next.
bool json_take_word(struct json_reader *r, const char *word);
bool json_take_string(struct json_reader *r, const struct json_place *place,
                      struct json_string *out);
// Takes what JSON's grammar calls a number: its first byte and length.
bool json_take_number(struct json_reader *r, const struct json_place *place, const char **number,
                      size_t *len);
// How many bytes of `text` are a number by JSON's grammar; 0 if none.
size_t json_number_len(const char *text, size_t len);

// Reads a scalar of field's type into *slot.
bool json_read_scalar(struct json_reader *r, const struct json_place *place,
                      const ProtobufCFieldDescriptor *field, void *slot);
size_t json_element_size(ProtobufCType type);

// The names a client may have meant: writes the i-th of them.
typedef void (*json_name_at)(const void *names, unsigned i, char out[static JSON_NAME_SIZE]);
// " (did you mean 'x'?)" when one of the `count` names is near, else " (kind: a, b)".
void json_suggest(const char *wrong, const char *kind, json_name_at name_at, const void *names,
                  unsigned count, char *out, size_t size);
