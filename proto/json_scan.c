// json_scan.c: tokens of JSON (RFC 8259), strictly: no byte order mark, no comments,
// no trailing commas, no leading zeros, no lone surrogates, and no U+0000 in strings,
// since strings are C strings from here on.
#include "proto/json_private.h"

#include <assert.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "proto/ident.h"

void
json_name(const char *original, char out[static JSON_NAME_SIZE])
{
    size_t len = 0;
    bool raise = false;
    for (; *original != '\0'; original++) {
        if (*original == '_') {
            raise = true;
            continue;
        }
        assert(len + 1 < JSON_NAME_SIZE);
        bool is_lower = *original >= 'a' && *original <= 'z';
        out[len++] = raise && is_lower ? (char)(*original - 'a' + 'A') : *original;
        raise = false;
    }
    out[len] = '\0';
}

// Error texts repeat what a client wrote: whatever a cut or a control character
// would spoil becomes '?'.
static void
make_printable(char *text)
{
    size_t len = strlen(text);
    for (size_t i = 0; i < len;) {
        unsigned char byte = (unsigned char)text[i];
        size_t step = 1;
        if (byte < 0x20 || byte == 0x7f) {
            text[i] = '?';
        } else if (byte >= 0x80) {
            size_t sequence = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
            if (sequence <= len - i && utf8_is_valid(text + i, sequence))
                step = sequence;
            else
                text[i] = '?';
        }
        i += step;
    }
}

// "commands[0].send: " into text, cut if it must be.
static size_t
write_path(const struct json_place *place, char *text, size_t size)
{
    // A list and its element are two places with one field: at most one place for
    // each level of depth.
    const struct json_place *chain[JSON_MAX_DEPTH + 2];
    size_t count = 0;
    size_t at = 0;
    for (; place != NULL && place->up != NULL; place = place->up) {
        assert(count < sizeof(chain) / sizeof(chain[0]));
        chain[count++] = place;
    }
    text[0] = '\0';
    for (size_t i = count; i-- > 0 && at < size - 1;) {
        char name[JSON_NAME_SIZE];
        char index[24] = "";
        json_name(chain[i]->field->name, name);
        if (chain[i]->index >= 0)
            snprintf(index, sizeof(index), "[%ld]", chain[i]->index);
        int written = snprintf(text + at, size - at, "%s%s%s", name, index, i > 0 ? "." : ": ");
        at += written > 0 ? (size_t)written : 0;
    }
    return at < size - 1 ? at : size - 1;
}

bool
json_fail(struct json_reader *r, size_t offset, const struct json_place *place, const char *format,
          ...)
{
    va_list args;
    r->error->offset = offset;
    size_t at = write_path(place, r->error->text, sizeof(r->error->text));
    va_start(args, format);
    vsnprintf(r->error->text + at, sizeof(r->error->text) - at, format, args);
    va_end(args);
    make_printable(r->error->text);
    return false;
}

bool
json_fail_full(struct json_reader *r, const struct json_place *place)
{
    return json_fail(r, r->at, place, "more than there is room to decode");
}

int
json_peek(struct json_reader *r)
{
    for (; r->at < r->len; r->at++) {
        char c = r->text[r->at];
        if (c != ' ' && c != '\n' && c != '\r' && c != '\t')
            return (unsigned char)c;
    }
    return -1;
}

const char *
json_found(const struct json_reader *r)
{
    if (r->at >= r->len)
        return "the end of the text";
    switch (r->text[r->at]) {
    case '{':
        return "an object";
    case '[':
        return "a list";
    case '"':
        return "a string";
    case 't':
        return "true";
    case 'f':
        return "false";
    case 'n':
        return "null";
    case ',':
    case ':':
    case '}':
    case ']':
        return "punctuation";
    default:
        return json_number_len(r->text + r->at, r->len - r->at) > 0 ? "a number"
                                                                    : "what is not JSON";
    }
}

bool
json_take(struct json_reader *r, const struct json_place *place, char byte, const char *expected)
{
    if (json_peek(r) != byte)
        return json_fail(r, r->at, place, "expected %s, found %s", expected, json_found(r));
    r->at++;
    return true;
}

bool
json_take_word(struct json_reader *r, const char *word)
{
    size_t len = strlen(word);
    json_peek(r);
    if (r->len - r->at < len || memcmp(r->text + r->at, word, len) != 0)
        return false;
    r->at += len;
    return true;
}

// The value of the four hex digits at `text`, -1 if they are not.
static int32_t
hex4(const char *text)
{
    int32_t value = 0;
    for (int i = 0; i < 4; i++) {
        char c = text[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

static size_t
put_utf8(uint32_t code, char *out)
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xc0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (char)(0xe0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3f));
        out[2] = (char)(0x80 | (code & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 0x3f));
    out[2] = (char)(0x80 | (code >> 6 & 0x3f));
    out[3] = (char)(0x80 | (code & 0x3f));
    return 4;
}

// Reads "uXXXX" at in[*at], or the two of a surrogate pair; *at moves past it.
static bool
unescape_unicode(struct json_reader *r, const struct json_place *place, const char *in, size_t len,
                 size_t *at, struct json_string *out)
{
    size_t offset = (size_t)(in - r->text) + *at;
    int32_t code = len - *at >= 5 ? hex4(in + *at + 1) : -1;
    if (code < 0)
        return json_fail(r, offset, place, "\\u needs four hex digits");
    *at += 5;
    if (code == 0)
        return json_fail(r, offset, place, "U+0000 cannot be in a string");
    if (code >= 0xd800 && code <= 0xdfff) {
        int32_t low = -1;
        if (code <= 0xdbff && len - *at >= 6 && in[*at] == '\\' && in[*at + 1] == 'u')
            low = hex4(in + *at + 2);
        if (low < 0xdc00 || low > 0xdfff)
            return json_fail(r, offset, place, "half of a surrogate pair");
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        *at += 6;
    }
    out->len += put_utf8((uint32_t)code, out->bytes + out->len);
    return true;
}

// Undoes the escapes of `in`, which has no unescaped quote; never longer than `in`.
static bool
unescape(struct json_reader *r, const struct json_place *place, const char *in, size_t len,
         struct json_string *out)
{
    static const char letters[] = "\"\\/bfnrt";
    static const char meanings[] = "\"\\/\b\f\n\r\t";
    for (size_t i = 0; i < len;) {
        if (in[i] != '\\') {
            out->bytes[out->len++] = in[i++];
            continue;
        }
        i++; // A backslash is never last: the quote after it would have been skipped.
        const char *letter = in[i] != '\0' ? strchr(letters, in[i]) : NULL;
        if (letter != NULL) {
            out->bytes[out->len++] = meanings[letter - letters];
            i++;
        } else if (in[i] != 'u') {
            return json_fail(r, (size_t)(in - r->text) + i, place, "unknown escape in a string");
        } else if (!unescape_unicode(r, place, in, len, &i, out)) {
            return false;
        }
    }
    return true;
}

// The length of the string that starts at r->at, up to its closing quote.
static bool
find_quote(struct json_reader *r, const struct json_place *place, size_t *len, bool *has_escapes)
{
    const char *in = r->text + r->at;
    size_t limit = r->len - r->at;
    for (size_t i = 0; i < limit; i++) {
        if (in[i] == '"') {
            *len = i;
            return true;
        }
        if ((unsigned char)in[i] < 0x20)
            return json_fail(r, r->at + i, place, "a control character in a string; escape it");
        if (in[i] == '\\') {
            *has_escapes = true;
            i++;
            if (i < limit && (unsigned char)in[i] < 0x20)
                return json_fail(r, r->at + i, place, "unknown escape in a string");
        }
    }
    return json_fail(r, r->len, place, "a string without an end");
}

bool
json_take_string(struct json_reader *r, const struct json_place *place, struct json_string *out)
{
    size_t len = 0;
    bool has_escapes = false;
    if (!json_take(r, place, '"', "a string") || !find_quote(r, place, &len, &has_escapes))
        return false;
    const char *in = r->text + r->at;
    struct json_string string = {arena_take(r->arena, len + 1), 0};
    if (string.bytes == NULL)
        return json_fail_full(r, place);
    if (!utf8_is_valid(in, len))
        return json_fail(r, r->at, place, "a string that is not UTF-8");
    if (!has_escapes) {
        memcpy(string.bytes, in, len);
        string.len = len;
    } else if (!unescape(r, place, in, len, &string)) {
        return false;
    }
    string.bytes[string.len] = '\0';
    r->at += len + 1;
    *out = string;
    return true;
}

static size_t
digits_len(const char *text, size_t len)
{
    size_t count = 0;
    while (count < len && text[count] >= '0' && text[count] <= '9')
        count++;
    return count;
}

size_t
json_number_len(const char *text, size_t len)
{
    size_t at = len > 0 && text[0] == '-' ? 1 : 0;
    size_t digits = digits_len(text + at, len - at);
    if (digits == 0)
        return 0;
    at += text[at] == '0' ? 1 : digits;
    if (at < len && text[at] == '.') {
        digits = digits_len(text + at + 1, len - at - 1);
        if (digits == 0)
            return 0;
        at += 1 + digits;
    }
    if (at < len && (text[at] == 'e' || text[at] == 'E')) {
        size_t sign = at + 1 < len && (text[at + 1] == '+' || text[at + 1] == '-') ? 1 : 0;
        digits = digits_len(text + at + 1 + sign, len - at - 1 - sign);
        if (digits == 0)
            return 0;
        at += 1 + sign + digits;
    }
    return at;
}

bool
json_take_number(struct json_reader *r, const struct json_place *place, const char **number,
                 size_t *len)
{
    json_peek(r);
    const char *text = r->text + r->at;
    size_t found = json_number_len(text, r->len - r->at);
    if (found == 0)
        return json_fail(r, r->at, place, "expected a number, found %s", json_found(r));
    // "01" and "1x": what follows a number must end it.
    if (r->at + found < r->len && strchr(",]} \t\r\n", text[found]) == NULL)
        return json_fail(r, r->at, place, "a number that JSON does not allow");
    *number = text;
    *len = found;
    r->at += found;
    return true;
}
