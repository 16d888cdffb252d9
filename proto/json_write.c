// json_write.c: a message as proto3 JSON, in the one form the golden vectors hold:
// no white space, fields in the order of the .proto file, defaults left out.
#include "proto/json_private.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void write_message(const ProtobufCMessage *message, struct buf *out);

static void
write_text(struct buf *out, const char *text)
{
    buf_append(out, text, strlen(text));
}

static void
write_byte(struct buf *out, char byte)
{
    buf_append(out, &byte, 1);
}

__attribute__((format(printf, 2, 3))) static void
write_format(struct buf *out, const char *format, ...)
{
    char text[48]; // the longest is a 64-bit integer in quotes, or a double
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    write_text(out, text);
}

static bool
needs_escape(unsigned char byte)
{
    return byte < 0x20 || byte == '"' || byte == '\\';
}

static void
write_escape(struct buf *out, char byte)
{
    static const char meanings[] = "\"\\\b\f\n\r\t";
    static const char letters[] = "\"\\bfnrt";
    const char *found = strchr(meanings, byte);
    if (found != NULL)
        write_format(out, "\\%c", letters[found - meanings]);
    else
        write_format(out, "\\u%04x", (unsigned)(unsigned char)byte);
}

static void
write_string(struct buf *out, const char *text)
{
    write_byte(out, '"');
    while (text != NULL && *text != '\0') {
        size_t plain = 0;
        while (text[plain] != '\0' && !needs_escape((unsigned char)text[plain]))
            plain++;
        buf_append(out, text, plain);
        text += plain;
        if (*text != '\0')
            write_escape(out, *text++);
    }
    write_byte(out, '"');
}

static void
write_base64(struct buf *out, const ProtobufCBinaryData *data)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint8_t *to = buf_reserve(out, 2 + (data->len + 2) / 3 * 4);
    size_t at = 0;
    to[at++] = '"';
    for (size_t i = 0; i < data->len; i += 3) {
        size_t left = data->len - i;
        uint32_t bits = (uint32_t)data->data[i] << 16;
        bits |= left > 1 ? (uint32_t)data->data[i + 1] << 8 : 0;
        bits |= left > 2 ? data->data[i + 2] : 0;
        to[at++] = (uint8_t)digits[bits >> 18];
        to[at++] = (uint8_t)digits[bits >> 12 & 63];
        to[at++] = left > 1 ? (uint8_t)digits[bits >> 6 & 63] : '=';
        to[at++] = left > 2 ? (uint8_t)digits[bits & 63] : '=';
    }
    to[at++] = '"';
    out->len += at;
}

// The shortest decimal that reads back as the same number: `digits` are surely
// enough, `fewest` the first to try.
static void
write_double(struct buf *out, double value, bool is_float)
{
    char text[40];
    if (isnan(value)) {
        write_text(out, "\"NaN\"");
        return;
    }
    if (isinf(value)) {
        write_text(out, value > 0 ? "\"Infinity\"" : "\"-Infinity\"");
        return;
    }
    for (int digits = is_float ? 6 : 15; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, value);
        double again = strtod(text, NULL);
        if (is_float ? (float)again == (float)value : again == value)
            break;
    }
    write_text(out, text);
}

static void
write_enum(struct buf *out, const ProtobufCEnumDescriptor *type, int value)
{
    const ProtobufCEnumValue *known = protobuf_c_enum_descriptor_get_value(type, value);
    if (known == NULL) {
        write_format(out, "%d", value);
        return;
    }
    write_byte(out, '"');
    write_text(out, known->name);
    write_byte(out, '"');
}

static void
write_value(struct buf *out, const ProtobufCFieldDescriptor *field, const void *slot)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        write_format(out, "%" PRId32, *(const int32_t *)slot);
        break;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        write_format(out, "%" PRIu32, *(const uint32_t *)slot);
        break;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        write_format(out, "\"%" PRId64 "\"", *(const int64_t *)slot);
        break;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        write_format(out, "\"%" PRIu64 "\"", *(const uint64_t *)slot);
        break;
    case PROTOBUF_C_TYPE_FLOAT:
        write_double(out, (double)*(const float *)slot, true);
        break;
    case PROTOBUF_C_TYPE_DOUBLE:
        write_double(out, *(const double *)slot, false);
        break;
    case PROTOBUF_C_TYPE_BOOL:
        write_text(out, *(const protobuf_c_boolean *)slot ? "true" : "false");
        break;
    case PROTOBUF_C_TYPE_ENUM:
        write_enum(out, field->descriptor, *(const int *)slot);
        break;
    case PROTOBUF_C_TYPE_STRING:
        write_string(out, *(char *const *)slot);
        break;
    case PROTOBUF_C_TYPE_BYTES:
        write_base64(out, slot);
        break;
    case PROTOBUF_C_TYPE_MESSAGE:
        write_message(*(ProtobufCMessage *const *)slot, out);
        break;
    }
}

// Whether a value without presence of its own is the default, which is left out.
static bool
is_default(const ProtobufCFieldDescriptor *field, const void *slot)
{
    static const char zeros[sizeof(uint64_t)];
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING: {
        const char *text = *(char *const *)slot;
        return text == NULL || text[0] == '\0';
    }
    case PROTOBUF_C_TYPE_BYTES:
        return ((const ProtobufCBinaryData *)slot)->len == 0;
    case PROTOBUF_C_TYPE_MESSAGE:
        return *(ProtobufCMessage *const *)slot == NULL;
    default: // by bits, as protobuf's encoding: -0.0 is written
        return memcmp(slot, zeros, json_element_size(field->type)) == 0;
    }
}

static bool
is_written(const ProtobufCFieldDescriptor *field, const char *message)
{
    const void *slot = message + field->offset;
    const void *quantifier = message + field->quantifier_offset;
    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        return *(const size_t *)quantifier > 0;
    if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0)
        return *(const uint32_t *)quantifier == field->id;
    if (field->label == PROTOBUF_C_LABEL_OPTIONAL && field->quantifier_offset != 0)
        return *(const protobuf_c_boolean *)quantifier != 0;
    if (field->label == PROTOBUF_C_LABEL_OPTIONAL) // a pointer: absent is not empty
        return *(void *const *)slot != NULL && *(void *const *)slot != field->default_value;
    return !is_default(field, slot);
}

static void
write_list(struct buf *out, const ProtobufCFieldDescriptor *field, const char *message)
{
    size_t count = *(const size_t *)(const void *)(message + field->quantifier_offset);
    const char *items = *(char *const *)(const void *)(message + field->offset);
    size_t size = json_element_size(field->type);
    write_byte(out, '[');
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            write_byte(out, ',');
        write_value(out, field, items + i * size);
    }
    write_byte(out, ']');
}

static void
write_message(const ProtobufCMessage *message, struct buf *out)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;
    bool is_first = true;
    write_byte(out, '{');
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        char name[JSON_NAME_SIZE];
        if (!is_written(field, (const char *)message))
            continue;
        if (!is_first)
            write_byte(out, ',');
        is_first = false;
        json_name(field->name, name);
        write_byte(out, '"');
        write_text(out, name);
        write_text(out, "\":");
        if (field->label == PROTOBUF_C_LABEL_REPEATED)
            write_list(out, field, (const char *)message);
        else
            write_value(out, field, (const char *)message + field->offset);
    }
    write_byte(out, '}');
}

void
json_write(const ProtobufCMessage *message, struct buf *out)
{
    write_message(message, out);
}
