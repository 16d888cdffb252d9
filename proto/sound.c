// sound.c: is this a sound encoding, before anything is allocated for it?
//
// One pass over the bytes, led by the descriptors, with a stack of the messages that
// are open. What passes, protobuf-c unpacks without an error and within
// codec_arena_size bytes. Refused: lengths and varints that do not fit, groups, field
// number 0, wire types that are not the field's, strings that are not UTF-8 or hold a
// NUL, a message given twice in a field that holds one (protobuf-c would merge or
// drop), more than MAX_DEPTH levels, and more elements than the bounds of codec.h.
#include "proto/codec.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "proto/ident.h"

// Messages in messages. The deepest of ours needs 4.
#define MAX_DEPTH 8

// Of the encoding (protobuf.dev, "Encoding"): a field number has 29
// bits, a varint at most 10 bytes; protobuf-c reads tags and lengths of at most 5.
#define MAX_FIELD_NUMBER ((UINT32_C(1) << 29) - 1)
#define MAX_VARINT_BYTES 10
#define MAX_SHORT_BYTES 5

// A repeated field with a bound of its own.
struct bound {
    const ProtobufCMessageDescriptor *type;
    uint32_t field;
    uint32_t max;
};

static const struct bound bounds[] = {
    {&switchyard__v1__client_frame__descriptor, 1, CODEC_MAX_COMMANDS},
    {&switchyard__v1__send__descriptor, 1, CODEC_MAX_RECIPIENTS},
};

// A message that is open.
struct level {
    const ProtobufCMessageDescriptor *type;
    const uint8_t *end;
    uint64_t seen;          // bit i: fields[i] of type, if it holds one message
    uint32_t bounded_field; // 0: none
    uint32_t left;          // of its elements
};

struct walk {
    const uint8_t *start;
    const uint8_t *at;
    uint32_t items;
    unsigned depth; // levels[depth] is the innermost
    struct level levels[MAX_DEPTH];
    struct codec_error *error;
};

__attribute__((format(printf, 3, 4), cold)) static bool
fail(const struct walk *w, const ProtobufCFieldDescriptor *field, const char *format, ...)
{
    char what[96];
    va_list args;
    if (w->error == NULL)
        return false;
    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    snprintf(w->error->text, sizeof(w->error->text), "%s%s%s: %s at offset %zu",
             w->levels[w->depth].type->short_name, field != NULL ? "." : "",
             field != NULL ? field->name : "", what, (size_t)(w->at - w->start));
    return false;
}

__attribute__((cold)) static uint32_t
most_of(const struct level *level)
{
    for (size_t i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++)
        if (bounds[i].type == level->type)
            return bounds[i].max;
    return 0;
}

static bool
push(struct walk *w, const ProtobufCMessageDescriptor *type, const uint8_t *end)
{
    struct level *level = &w->levels[w->depth];
    *level = (struct level){.type = type, .end = end};
    for (size_t i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++) {
        if (bounds[i].type != type)
            continue;
        level->bounded_field = bounds[i].field;
        level->left = bounds[i].max;
    }
    assert(type->n_fields <= 64); // bits of level->seen
    return true;
}

static const uint8_t *
read_long_varint(const uint8_t *at, const uint8_t *end, unsigned max_bytes, uint64_t *out)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < max_bytes && at < end; i++) {
        uint8_t byte = *at++;
        if (i == MAX_VARINT_BYTES - 1 && byte > 1)
            return NULL; // more than 64 bits
        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            *out = value;
            return at;
        }
    }
    return NULL;
}

// Reads a varint of up to max_bytes (2 or more), NULL if there is none before `end`. Most have
// one byte, and most of the others two.
static inline const uint8_t *
read_varint(const uint8_t *at, const uint8_t *end, unsigned max_bytes, uint64_t *out)
{
    if (at != end && at[0] < 0x80) {
        *out = at[0];
        return at + 1;
    }
    if (end - at >= 2 && at[1] < 0x80) {
        *out = (at[0] & 0x7fu) | (uint64_t)at[1] << 7;
        return at + 2;
    }
    return read_long_varint(at, end, max_bytes, out);
}

static inline const ProtobufCFieldDescriptor *
find_field(const ProtobufCMessageDescriptor *type, uint32_t number)
{
    // Ours are numbered from 1 without gaps.
    if (number <= type->n_fields && type->fields[number - 1].id == number)
        return &type->fields[number - 1];
    return protobuf_c_message_descriptor_get_field(type, number);
}

static inline unsigned
wire_type_of(ProtobufCType type)
{
    static const uint8_t wire_types[] = {
        [PROTOBUF_C_TYPE_INT32] = PROTOBUF_C_WIRE_TYPE_VARINT,
        [PROTOBUF_C_TYPE_SINT32] = PROTOBUF_C_WIRE_TYPE_VARINT,
        [PROTOBUF_C_TYPE_SFIXED32] = PROTOBUF_C_WIRE_TYPE_32BIT,
        [PROTOBUF_C_TYPE_INT64] = PROTOBUF_C_WIRE_TYPE_VARINT,
        [PROTOBUF_C_TYPE_SINT64] = PROTOBUF_C_WIRE_TYPE_VARINT,
        [PROTOBUF_C_TYPE_SFIXED64] = PROTOBUF_C_WIRE_TYPE_64BIT,
        [PROTOBUF_C_TYPE_UINT32] = PROTOBUF_C_WIRE_TYPE_VARINT,
        [PROTOBUF_C_TYPE_FIXED32] = PROTOBUF_C_WIRE_TYPE_32BIT,
        [PROTOBUF_C_TYPE_UINT64] = PROTOBUF_C_WIRE_TYPE_VARINT,
        [PROTOBUF_C_TYPE_FIXED64] = PROTOBUF_C_WIRE_TYPE_64BIT,
        [PROTOBUF_C_TYPE_FLOAT] = PROTOBUF_C_WIRE_TYPE_32BIT,
        [PROTOBUF_C_TYPE_DOUBLE] = PROTOBUF_C_WIRE_TYPE_64BIT,
        [PROTOBUF_C_TYPE_BOOL] = PROTOBUF_C_WIRE_TYPE_VARINT,
        [PROTOBUF_C_TYPE_ENUM] = PROTOBUF_C_WIRE_TYPE_VARINT,
        [PROTOBUF_C_TYPE_STRING] = PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED,
        [PROTOBUF_C_TYPE_BYTES] = PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED,
        [PROTOBUF_C_TYPE_MESSAGE] = PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED,
    };
    return wire_types[type];
}

// A packed list: each element counts as one.
static bool
check_packed(struct walk *w, const ProtobufCFieldDescriptor *field, size_t len)
{
    const uint8_t *end = w->at + len;
    unsigned wire = wire_type_of(field->type);
    if (wire != PROTOBUF_C_WIRE_TYPE_VARINT) {
        size_t size = wire == PROTOBUF_C_WIRE_TYPE_32BIT ? 4 : 8;
        if (len % size != 0)
            return fail(w, field, "a packed list that is not a multiple of %zu bytes", size);
        if (len / size > CODEC_MAX_ITEMS - w->items)
            return fail(w, field, "more than %d elements", CODEC_MAX_ITEMS);
        w->items += (uint32_t)(len / size);
        w->at = end;
        return true;
    }
    while (w->at < end) {
        uint64_t value;
        const uint8_t *next = read_varint(w->at, end, MAX_VARINT_BYTES, &value);
        if (next == NULL)
            return fail(w, field, "a varint that does not fit");
        if (w->items++ == CODEC_MAX_ITEMS)
            return fail(w, field, "more than %d elements", CODEC_MAX_ITEMS);
        w->at = next;
    }
    return true;
}

static bool
enter_message(struct walk *w, const ProtobufCFieldDescriptor *field, size_t len)
{
    struct level *level = &w->levels[w->depth];
    if (field->label != PROTOBUF_C_LABEL_REPEATED) {
        uint64_t bit = UINT64_C(1) << (field - level->type->fields);
        if ((level->seen & bit) != 0)
            return fail(w, field, "given twice");
        level->seen |= bit;
    }
    if (w->depth + 1 == MAX_DEPTH)
        return fail(w, field, "nested deeper than %d", MAX_DEPTH);
    w->depth++;
    return push(w, field->descriptor, w->at + len);
}

// ASCII without NUL, as most text is: UTF-8, and nothing more to look for.
static inline bool
is_plain(const uint8_t *text, size_t len)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    for (; len >= 8; text += 8, len -= 8) {
        uint64_t eight;
        memcpy(&eight, text, 8);
        // The high bit of a byte is set in `eight` if it is not ASCII; the lowest byte that is 0
        // sets its own in the difference.
        if (((eight | (eight - ones)) & (ones << 7)) != 0)
            return false;
    }
    for (size_t i = 0; i < len; i++)
        if ((uint8_t)(text[i] - 1) >= 0x7f)
            return false;
    return true;
}

// The content of a length-prefixed field, `len` bytes from w->at.
static bool
check_content(struct walk *w, const ProtobufCFieldDescriptor *field, size_t len)
{
    const char *text = (const char *)w->at;
    if (field == NULL || field->type == PROTOBUF_C_TYPE_BYTES) {
        w->at += len;
        return true;
    }
    if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        return enter_message(w, field, len);
    if (field->type != PROTOBUF_C_TYPE_STRING)
        return check_packed(w, field, len);
    if (is_plain(w->at, len)) {
        w->at += len;
        return true;
    }
    if (!utf8_is_valid(text, len))
        return fail(w, field, "not UTF-8");
    if (memchr(text, '\0', len) != NULL)
        return fail(w, field, "U+0000 cannot be in a string");
    w->at += len;
    return true;
}

static bool
check_value(struct walk *w, const ProtobufCFieldDescriptor *field, unsigned wire)
{
    const uint8_t *end = w->levels[w->depth].end;
    const uint8_t *next;
    uint64_t number;
    size_t size = 8;
    switch (wire) {
    case PROTOBUF_C_WIRE_TYPE_VARINT:
        next = read_varint(w->at, end, MAX_VARINT_BYTES, &number);
        if (next == NULL)
            return fail(w, field, "a varint that does not fit");
        w->at = next;
        return true;
    case PROTOBUF_C_WIRE_TYPE_32BIT:
        size = 4; // fall through
    case PROTOBUF_C_WIRE_TYPE_64BIT:
        if ((size_t)(end - w->at) < size)
            return fail(w, field, "cut short");
        w->at += size;
        return true;
    case PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED:
        next = read_varint(w->at, end, MAX_SHORT_BYTES, &number);
        if (next == NULL || number > (uint64_t)(end - next))
            return fail(w, field, "a length that does not fit");
        w->at = next;
        return check_content(w, field, (size_t)number);
    default:
        return fail(w, field, "wire type %u, which is not used", wire);
    }
}

// One field: its tag, whether it may stand here, and its value.
static bool
check_element(struct walk *w)
{
    struct level *level = &w->levels[w->depth];
    uint64_t tag;
    const uint8_t *next = read_varint(w->at, level->end, MAX_SHORT_BYTES, &tag);
    if (next == NULL || tag >> 3 == 0 || tag >> 3 > MAX_FIELD_NUMBER)
        return fail(w, NULL, "a tag that cannot be");
    const ProtobufCFieldDescriptor *field = find_field(level->type, (uint32_t)(tag >> 3));
    unsigned wire = (unsigned)(tag & 7);
    if (w->items++ == CODEC_MAX_ITEMS)
        return fail(w, field, "more than %d elements", CODEC_MAX_ITEMS);
    if (field != NULL) {
        unsigned expected = wire_type_of(field->type);
        bool is_packed = wire == PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED &&
                         field->label == PROTOBUF_C_LABEL_REPEATED;
        if (wire != expected && !is_packed)
            return fail(w, field, "wire type %u instead of %u", wire, expected);
        if (field->id == level->bounded_field && level->left-- == 0)
            return fail(w, field, "more than %u", most_of(level));
    }
    w->at = next;
    return check_value(w, field, wire);
}

bool
codec_is_sound(const ProtobufCMessageDescriptor *type, const void *bytes, size_t len,
               struct codec_error *error)
{
    // An empty frame may come without an address; no arithmetic with that.
    const uint8_t *start = len > 0 ? bytes : (const uint8_t *)"";
    struct walk w; // levels are filled when they open: clearing them all costs as much
    w.start = start;
    w.at = start;
    w.items = 0;
    w.depth = 0;
    w.error = error;
    push(&w, type, start + len);
    for (;;) {
        if (w.at == w.levels[w.depth].end) {
            if (w.depth == 0)
                return true;
            w.depth--;
        } else if (!check_element(&w)) {
            return false;
        }
    }
}
