// json_scalar.c: tokens into values of proto3's scalar types.
#include "proto/json_private.h"

#include <errno.h>
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The longest excerpt of a client's text that an error repeats.
#define EXCERPT 40

// The longest number text a float or double is read from; 17 digits are exact.
#define FLOAT_TEXT_SIZE 128

// Exponents beyond this mean zero or out of range, whatever the digits before them:
// no frame is this long.
#define EXPONENT_LIMIT INT64_C(1000000000000)

struct integer {
    bool negative;
    uint64_t magnitude;
};

enum integer_result { INTEGER_OK, INTEGER_FRACTION, INTEGER_OVERFLOW };

size_t
json_element_size(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_ENUM:
        return 4;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return 8;
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    }
    abort(); // a type protobuf-c does not have
}

// The exponent of a number that json_number_len accepts whole, capped.
static int64_t
read_exponent(const char *text, size_t len)
{
    int64_t value = 0;
    bool negative = len > 0 && text[0] == '-';
    for (size_t i = len > 0 && (text[0] == '-' || text[0] == '+') ? 1 : 0; i < len; i++) {
        value = value * 10 + (text[i] - '0');
        if (value > EXPONENT_LIMIT)
            value = EXPONENT_LIMIT;
    }
    return negative ? -value : value;
}

// The exact value of a number by JSON's grammar: "1e3" and "10.0" are integers too.
static enum integer_result
read_integer(const char *text, size_t len, struct integer *out)
{
    size_t mantissa_len = 0; // up to the exponent
    while (mantissa_len < len && text[mantissa_len] != 'e' && text[mantissa_len] != 'E')
        mantissa_len++;
    size_t start = text[0] == '-' ? 1 : 0;
    const char *dot = memchr(text, '.', mantissa_len);
    // Digits in front of this many count as a whole number, those after must be zeros.
    int64_t whole = (int64_t)(dot != NULL ? (size_t)(dot - text) : mantissa_len) - (int64_t)start;
    if (mantissa_len < len)
        whole += read_exponent(text + mantissa_len + 1, len - mantissa_len - 1);

    struct integer value = {start == 1, 0};
    int64_t position = 0;
    for (size_t i = start; i < mantissa_len; i++) {
        if (text[i] == '.')
            continue;
        uint64_t digit = (uint64_t)(text[i] - '0');
        if (position++ >= whole) {
            if (digit != 0)
                return INTEGER_FRACTION;
            continue;
        }
        if (value.magnitude > (UINT64_MAX - digit) / 10)
            return INTEGER_OVERFLOW;
        value.magnitude = value.magnitude * 10 + digit;
    }
    for (; position < whole && value.magnitude != 0; position++) {
        if (value.magnitude > UINT64_MAX / 10)
            return INTEGER_OVERFLOW;
        value.magnitude *= 10;
    }
    *out = value;
    return INTEGER_OK;
}

// Takes a number, or a string that holds one, as proto3 JSON allows for all of them.
static bool
take_number_text(struct json_reader *r, const struct json_place *place, const char **text,
                 size_t *len)
{
    struct json_string string;
    if (json_peek(r) != '"')
        return json_take_number(r, place, text, len);
    size_t start = r->at;
    if (!json_take_string(r, place, &string))
        return false;
    if (string.len == 0 || json_number_len(string.bytes, string.len) != string.len)
        return json_fail(r, start, place, "expected a number, found the string '%.*s'", EXCERPT,
                         string.bytes);
    *text = string.bytes;
    *len = string.len;
    return true;
}

static bool
take_integer(struct json_reader *r, const struct json_place *place, int64_t min, uint64_t max,
             struct integer *out)
{
    const char *text;
    size_t len;
    json_peek(r);
    size_t start = r->at;
    if (!take_number_text(r, place, &text, &len))
        return false;
    int shown = len < EXCERPT ? (int)len : EXCERPT;
    enum integer_result result = read_integer(text, len, out);
    if (result == INTEGER_FRACTION)
        return json_fail(r, start, place, "expected an integer, found %.*s", shown, text);
    if (result == INTEGER_OVERFLOW ||
        out->magnitude > (out->negative ? (uint64_t)0 - (uint64_t)min : max))
        return json_fail(r, start, place, "%.*s is not in %" PRId64 "..%" PRIu64, shown, text, min,
                         max);
    return true;
}

static bool
take_signed(struct json_reader *r, const struct json_place *place, int64_t min, int64_t max,
            int64_t *out)
{
    struct integer value;
    if (!take_integer(r, place, min, (uint64_t)max, &value))
        return false;
    // Negated as unsigned: the magnitude of INT64_MIN is no int64_t.
    uint64_t bits = value.negative ? (uint64_t)0 - value.magnitude : value.magnitude;
    memcpy(out, &bits, sizeof(*out));
    return true;
}

static bool
read_int32(struct json_reader *r, const struct json_place *place, void *slot)
{
    int64_t value;
    if (!take_signed(r, place, INT32_MIN, INT32_MAX, &value))
        return false;
    *(int32_t *)slot = (int32_t)value;
    return true;
}

static bool
read_uint(struct json_reader *r, const struct json_place *place, size_t size, void *slot)
{
    struct integer value;
    if (!take_integer(r, place, 0, size == 4 ? UINT32_MAX : UINT64_MAX, &value))
        return false;
    if (size == 4)
        *(uint32_t *)slot = (uint32_t)value.magnitude;
    else
        *(uint64_t *)slot = value.magnitude;
    return true;
}

// "NaN", "Infinity" and "-Infinity" are strings in proto3 JSON.
static bool
take_special(struct json_reader *r, double *out)
{
    static const struct {
        const char *word;
        double value;
    } specials[] = {
        {"\"NaN\"", (double)NAN},
        {"\"Infinity\"", (double)INFINITY},
        {"\"-Infinity\"", -(double)INFINITY},
    };
    for (size_t i = 0; i < sizeof(specials) / sizeof(specials[0]); i++) {
        if (json_take_word(r, specials[i].word)) {
            *out = specials[i].value;
            return true;
        }
    }
    return false;
}

static bool
take_double(struct json_reader *r, const struct json_place *place, double max, double *out)
{
    char copy[FLOAT_TEXT_SIZE];
    const char *text;
    size_t len;
    if (take_special(r, out))
        return true;
    size_t start = r->at;
    if (!take_number_text(r, place, &text, &len))
        return false;
    if (len >= sizeof(copy))
        return json_fail(r, start, place, "a number of more than %zu digits", sizeof(copy) - 1);
    memcpy(copy, text, len);
    copy[len] = '\0';
    char *end;
    double value = strtod(copy, &end);
    if (*end != '\0' || !(fabs(value) <= max))
        return json_fail(r, start, place, "%.*s is out of range", EXCERPT, copy);
    *out = value;
    return true;
}

static bool
read_bool(struct json_reader *r, const struct json_place *place, void *slot)
{
    bool is_true = json_take_word(r, "true");
    if (!is_true && !json_take_word(r, "false"))
        return json_fail(r, r->at, place, "expected true or false, found %s", json_found(r));
    *(protobuf_c_boolean *)slot = is_true;
    return true;
}

static void
enum_name_at(const void *type, unsigned i, char out[static JSON_NAME_SIZE])
{
    snprintf(out, JSON_NAME_SIZE, "%s", ((const ProtobufCEnumDescriptor *)type)->values[i].name);
}

static bool
read_enum(struct json_reader *r, const struct json_place *place,
          const ProtobufCEnumDescriptor *type, void *slot)
{
    struct json_string name;
    if (json_peek(r) != '"') {
        if (json_number_len(r->text + r->at, r->len - r->at) == 0)
            return json_fail(r, r->at, place, "expected a name or a number of %s, found %s",
                             type->short_name, json_found(r));
        return read_int32(r, place, slot); // unknown numbers stay, as proto3's enums are open
    }
    size_t start = r->at;
    if (!json_take_string(r, place, &name))
        return false;
    const ProtobufCEnumValue *value =
        protobuf_c_enum_descriptor_get_value_by_name(type, name.bytes);
    if (value == NULL) {
        char hint[120];
        json_suggest(name.bytes, "values", enum_name_at, type, type->n_values, hint, sizeof(hint));
        return json_fail(r, start, place, "unknown value '%.*s'%s", EXCERPT, name.bytes, hint);
    }
    *(int32_t *)slot = value->value;
    return true;
}

// The value of a digit of base64, of the standard or the URL-safe alphabet; -1 if none.
static int
base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+' || c == '-')
        return 62;
    return c == '/' || c == '_' ? 63 : -1;
}

// Decodes in place. False if it is not base64: padding may be missing but not
// wrong, and the bits that are left over must be zero.
static bool
base64_decode(struct json_string *text)
{
    size_t len = text->len;
    size_t padding = 0;
    while (len > 0 && padding < 2 && text->bytes[len - 1] == '=') {
        len--;
        padding++;
    }
    if (len % 4 == 1 || (padding > 0 && (len + padding) % 4 != 0))
        return false;
    uint32_t bits = 0;
    unsigned have = 0;
    size_t at = 0;
    for (size_t i = 0; i < len; i++) {
        int value = base64_value(text->bytes[i]);
        if (value < 0)
            return false;
        bits = (bits << 6 | (uint32_t)value) & 0xffff;
        have += 6;
        if (have >= 8) {
            have -= 8;
            text->bytes[at++] = (char)(uint8_t)(bits >> have);
        }
    }
    if ((bits & ((1u << have) - 1)) != 0)
        return false;
    text->len = at;
    return true;
}

static bool
read_bytes(struct json_reader *r, const struct json_place *place, void *slot)
{
    struct json_string text;
    json_peek(r);
    size_t start = r->at;
    if (!json_take_string(r, place, &text))
        return false;
    if (!base64_decode(&text))
        return json_fail(r, start, place, "expected bytes as base64");
    ProtobufCBinaryData data = {text.len, text.len > 0 ? (uint8_t *)text.bytes : NULL};
    *(ProtobufCBinaryData *)slot = data;
    return true;
}

static bool
read_string(struct json_reader *r, const struct json_place *place, void *slot)
{
    struct json_string string;
    if (!json_take_string(r, place, &string))
        return false;
    *(char **)slot = string.bytes;
    return true;
}

bool
json_read_scalar(struct json_reader *r, const struct json_place *place,
                 const ProtobufCFieldDescriptor *field, void *slot)
{
    double number;
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        return read_int32(r, place, slot);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        return take_signed(r, place, INT64_MIN, INT64_MAX, slot);
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        return read_uint(r, place, 4, slot);
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return read_uint(r, place, 8, slot);
    case PROTOBUF_C_TYPE_FLOAT:
        if (!take_double(r, place, (double)FLT_MAX, &number))
            return false;
        *(float *)slot = (float)number;
        return true;
    case PROTOBUF_C_TYPE_DOUBLE:
        return take_double(r, place, DBL_MAX, slot);
    case PROTOBUF_C_TYPE_BOOL:
        return read_bool(r, place, slot);
    case PROTOBUF_C_TYPE_ENUM:
        return read_enum(r, place, field->descriptor, slot);
    case PROTOBUF_C_TYPE_STRING:
        return read_string(r, place, slot);
    case PROTOBUF_C_TYPE_BYTES:
        return read_bytes(r, place, slot);
    case PROTOBUF_C_TYPE_MESSAGE:
        break;
    }
    abort(); // messages are json_read.c's
}
