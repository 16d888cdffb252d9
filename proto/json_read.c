// json_read.c: a JSON text into a message.
//
// One pass, one object per message: for each key the field is found in the
// descriptor, checked against what was seen already, and its value read into place.
// Lists grow by doubling within the arena. The first thing that is wrong ends it, and
// the error names the place by its path, and what was expected there.
#include "proto/json_private.h"

#include <assert.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

// The longest wrong name an error repeats, and compares with the right ones.
#define NAME_SHOWN 40

#define FIRST_LIST_CAP 4

static bool read_message(struct json_reader *r, const struct json_place *place,
                         const ProtobufCMessageDescriptor *type, ProtobufCMessage **out);

static unsigned
smallest(unsigned a, unsigned b, unsigned c)
{
    unsigned least = a < b ? a : b;
    return least < c ? least : c;
}

// Edits between two names: insert, delete, replace, and swap of neighbours.
static unsigned
distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    unsigned rows[3][JSON_NAME_SIZE + 1];
    unsigned *before = rows[0];
    unsigned *last = rows[1];
    unsigned *row = rows[2];
    for (unsigned j = 0; j <= b_len; j++)
        last[j] = before[j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b_len; j++) {
            unsigned cost = a[i - 1] == b[j - 1] ? 0 : 1;
            row[j] = smallest(last[j] + 1, row[j - 1] + 1, last[j - 1] + cost);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = smallest(row[j], before[j - 2] + 1, row[j]);
        }
        unsigned *spare = before;
        before = last;
        last = row;
        row = spare;
    }
    return last[b_len];
}

// " (kind: a, b, c)", cut with dots if it must be.
static void
list_names(const char *kind, json_name_at name_at, const void *names, unsigned count, char *out,
           size_t size)
{
    char name[JSON_NAME_SIZE];
    size_t at = (size_t)snprintf(out, size, " (%s: %s", kind, count > 0 ? "" : "none");
    for (unsigned i = 0; i < count && at < size; i++) {
        name_at(names, i, name);
        at += (size_t)snprintf(out + at, size - at, "%s%s", i > 0 ? ", " : "", name);
    }
    if (at + 1 < size)
        snprintf(out + at, size - at, ")");
    else
        snprintf(out + size - 5, 5, "...)");
}

void
json_suggest(const char *wrong, const char *kind, json_name_at name_at, const void *names,
             unsigned count, char *out, size_t size)
{
    char name[JSON_NAME_SIZE];
    size_t wrong_len = strnlen(wrong, NAME_SHOWN);
    unsigned nearest = UINT_MAX;
    for (unsigned i = 0; i < count; i++) {
        name_at(names, i, name);
        size_t len = strlen(name);
        unsigned allowed = len <= 4 ? 1 : 2; // more, and "to" would be like "id"
        unsigned edits = distance(wrong, wrong_len, name, len);
        if (edits <= allowed && edits < nearest) {
            nearest = edits;
            snprintf(out, size, " (did you mean '%s'?)", name);
        }
    }
    if (nearest == UINT_MAX)
        list_names(kind, name_at, names, count, out, size);
}

static void
field_name_at(const void *type, unsigned i, char out[static JSON_NAME_SIZE])
{
    json_name(((const ProtobufCMessageDescriptor *)type)->fields[i].name, out);
}

// The field with this name, original or lowerCamelCase.
static const ProtobufCFieldDescriptor *
find_field(const ProtobufCMessageDescriptor *type, const char *key)
{
    char name[JSON_NAME_SIZE];
    for (unsigned i = 0; i < type->n_fields; i++) {
        if (strcmp(type->fields[i].name, key) == 0)
            return &type->fields[i];
        json_name(type->fields[i].name, name);
        if (strcmp(name, key) == 0)
            return &type->fields[i];
    }
    return NULL;
}

// Takes a key and its colon. *field is that of the key.
static bool
take_key(struct json_reader *r, const struct json_place *place,
         const ProtobufCMessageDescriptor *type, const ProtobufCFieldDescriptor **field)
{
    struct json_string key;
    size_t mark = r->arena->used; // keys are not kept
    if (json_peek(r) != '"')
        return json_fail(r, r->at, place, "expected a field name, found %s", json_found(r));
    size_t start = r->at;
    if (!json_take_string(r, place, &key))
        return false;
    *field = find_field(type, key.bytes);
    if (*field == NULL) {
        char hint[120];
        json_suggest(key.bytes, "fields", field_name_at, type, type->n_fields, hint, sizeof(hint));
        return json_fail(r, start, place, "unknown field '%.*s'%s", NAME_SHOWN, key.bytes, hint);
    }
    r->arena->used = mark;
    return json_take(r, place, ':', "':'");
}

static bool
read_value(struct json_reader *r, const struct json_place *place, void *slot)
{
    const ProtobufCFieldDescriptor *field = place->field;
    if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        return read_message(r, place, field->descriptor, slot);
    return json_read_scalar(r, place, field, slot);
}

// A list that grows in the arena; what it outgrows stays behind until the arena is cleared.
struct list {
    char *items;
    size_t count;
    size_t cap;
    size_t item_size;
};

static bool
list_grow(struct arena *arena, struct list *list)
{
    if (list->count < list->cap)
        return true;
    size_t cap = list->cap > 0 ? list->cap * 2 : FIRST_LIST_CAP;
    char *items = arena_take(arena, cap * list->item_size);
    if (items == NULL)
        return false;
    if (list->count > 0)
        memcpy(items, list->items, list->count * list->item_size);
    list->items = items;
    list->cap = cap;
    return true;
}

static bool
open_level(struct json_reader *r, const struct json_place *place)
{
    if (r->depth == JSON_MAX_DEPTH)
        return json_fail(r, r->at, place, "nested deeper than %d", JSON_MAX_DEPTH);
    r->depth++;
    return true;
}

// After a value: true with *more telling whether a comma or `end` was there.
static bool
take_separator(struct json_reader *r, const struct json_place *place, char end, bool *more)
{
    int next = json_peek(r);
    if (next != ',' && next != end)
        return json_fail(r, r->at, place, "expected ',' or '%c', found %s", end, json_found(r));
    r->at++;
    *more = next == ',';
    return true;
}

static bool
read_list(struct json_reader *r, const struct json_place *place, char *message)
{
    const ProtobufCFieldDescriptor *field = place->field;
    struct list list = {.item_size = json_element_size(field->type)};
    if (!json_take(r, place, '[', "a list") || !open_level(r, place))
        return false;
    bool more = json_peek(r) != ']';
    if (!more)
        r->at++;
    while (more) {
        struct json_place item = {place->up, field, (long)list.count};
        if (!list_grow(r->arena, &list))
            return json_fail_full(r, &item);
        if (!read_value(r, &item, list.items + list.count * list.item_size))
            return false;
        list.count++;
        if (!take_separator(r, &item, ']', &more))
            return false;
    }
    r->depth--;
    memcpy(message + field->quantifier_offset, &list.count, sizeof(list.count));
    memcpy(message + field->offset, &list.items, sizeof(list.items));
    return true;
}

// Refuses a second member of a oneof.
static bool
check_oneof(struct json_reader *r, const struct json_place *place,
            const ProtobufCMessageDescriptor *type, const char *message)
{
    const ProtobufCFieldDescriptor *field = place->field;
    uint32_t chosen;
    char name[JSON_NAME_SIZE];
    memcpy(&chosen, message + field->quantifier_offset, sizeof(chosen));
    if (chosen == 0)
        return true;
    json_name(protobuf_c_message_descriptor_get_field(type, chosen)->name, name);
    return json_fail(r, r->at, place, "only one of '%s' and this may be given", name);
}

static bool
read_field(struct json_reader *r, const struct json_place *place,
           const ProtobufCMessageDescriptor *type, char *message)
{
    const ProtobufCFieldDescriptor *field = place->field;
    bool in_oneof = (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0;
    if (json_take_word(r, "null"))
        return true;
    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        return read_list(r, place, message);
    if (in_oneof && !check_oneof(r, place, type, message))
        return false;
    if (!read_value(r, place, message + field->offset))
        return false;
    if (in_oneof) {
        memcpy(message + field->quantifier_offset, &field->id, sizeof(field->id));
    } else if (field->quantifier_offset != 0) {
        const protobuf_c_boolean has = 1; // proto3's "optional": presence is told apart
        memcpy(message + field->quantifier_offset, &has, sizeof(has));
    }
    return true;
}

static bool
read_fields(struct json_reader *r, const struct json_place *place,
            const ProtobufCMessageDescriptor *type, char *message)
{
    uint64_t seen = 0;
    assert(type->n_fields <= 64);
    for (bool more = true; more;) {
        struct json_place at = {place, NULL, -1};
        json_peek(r);
        size_t start = r->at;
        if (!take_key(r, place, type, &at.field))
            return false;
        uint64_t bit = UINT64_C(1) << (at.field - type->fields);
        if ((seen & bit) != 0)
            return json_fail(r, start, &at, "given twice");
        seen |= bit;
        if (!read_field(r, &at, type, message) || !take_separator(r, place, '}', &more))
            return false;
    }
    return true;
}

static bool
read_message(struct json_reader *r, const struct json_place *place,
             const ProtobufCMessageDescriptor *type, ProtobufCMessage **out)
{
    if (!json_take(r, place, '{', "an object") || !open_level(r, place))
        return false;
    ProtobufCMessage *message = arena_take(r->arena, type->sizeof_message);
    if (message == NULL)
        return json_fail_full(r, place);
    protobuf_c_message_init(type, message);
    if (json_peek(r) == '}')
        r->at++;
    else if (!read_fields(r, place, type, (char *)message))
        return false;
    r->depth--;
    *out = message;
    return true;
}

ProtobufCMessage *
json_read(const ProtobufCMessageDescriptor *type, const char *text, size_t len, struct arena *arena,
          struct json_error *error)
{
    struct json_reader reader = {.text = text, .len = len, .arena = arena, .error = error};
    const struct json_place whole = {NULL, NULL, -1};
    ProtobufCMessage *message;
    if (!read_message(&reader, &whole, type, &message))
        return NULL;
    if (json_peek(&reader) != -1) {
        json_fail(&reader, reader.at, &whole, "expected the end of the text, found %s",
                  json_found(&reader));
        return NULL;
    }
    return message;
}
