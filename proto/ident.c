// ident.c: validity of ids, and their mapping to the alphabet of subjects and keys.
#include "proto/ident.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "proto/ident_private.h"

// Rows of sixteen, up to 0x7f; what follows is nothing.
#define D (LETTER_NAME | LETTER_PLAIN | LETTER_SUBJECT | LETTER_HEX) // a digit of hex
#define L (LETTER_NAME | LETTER_PLAIN | LETTER_SUBJECT)
#define U (LETTER_PLAIN | LETTER_SUBJECT)
#define S LETTER_SUBJECT
// clang-format off
static const unsigned char letters[256] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, L, S, 0,
    D, D, D, D, D, D, D, D, D, D, 0, 0, 0, 0, 0, 0,
    0, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U,
    U, U, U, U, U, U, U, U, U, U, U, 0, 0, 0, 0, S,
    0, D, D, D, D, D, D, L, L, L, L, L, L, L, L, L,
    L, L, L, L, L, L, L, L, L, L, L, 0, 0, 0, 0, 0,
};
// clang-format on
#undef D
#undef L
#undef U
#undef S

unsigned
ident_letters_in_common(const char *text, size_t len)
{
    const unsigned char *byte = (const unsigned char *)text;
    unsigned common = ~0u;
    for (; len >= 4; len -= 4, byte += 4)
        common &= letters[byte[0]] & letters[byte[1]] & letters[byte[2]] & letters[byte[3]];
    for (; len > 0; len--, byte++)
        common &= letters[*byte];
    return common;
}

// The length of the UTF-8 sequence at `text`, 0 if there is none that RFC 3629 allows.
static size_t
utf8_sequence_len(const unsigned char *text, size_t len)
{
    unsigned char first = text[0];
    if (first < 0x80)
        return 1;
    // The second byte's range excludes overlong forms, surrogates and > U+10FFFF.
    unsigned char low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    unsigned char high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    size_t need;
    if (first < 0xc2 || first > 0xf4)
        return 0;
    need = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (need > len || text[1] < low || text[1] > high)
        return 0;
    for (size_t i = 2; i < need; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    }
    return need;
}

bool
utf8_is_valid(const char *text, size_t len)
{
    const unsigned char *bytes = (const unsigned char *)text;
    size_t at = 0;
    while (at < len) {
        uint64_t eight;
        if (len - at >= sizeof(eight)) {
            memcpy(&eight, bytes + at, sizeof(eight));
            if ((eight & UINT64_C(0x8080808080808080)) == 0) {
                at += sizeof(eight);
                continue;
            }
        }
        size_t step = utf8_sequence_len(bytes + at, len - at);
        if (step == 0)
            return false;
        at += step;
    }
    return true;
}

bool
ident_is_valid(const char *id, size_t len)
{
    if (len == 0 || len > IDENT_MAX_BYTES)
        return false;
    unsigned seen = 0;
    bool has_control = false;
    for (size_t i = 0; i < len; i++) {
        unsigned char byte = (unsigned char)id[i];
        seen |= byte;
        has_control |= byte < 0x20 || byte == 0x7f;
    }
    return !has_control && (seen < 0x80 || utf8_is_valid(id, len));
}

// What stays as it is. '_' does not: it starts an escape.
static bool
stays(unsigned char byte)
{
    return (letters[byte] & LETTER_PLAIN) != 0;
}

size_t
ident_map(const char *id, size_t len, char out[static IDENT_MAPPED_SIZE])
{
    static const char hex[] = "0123456789abcdef";
    size_t at = 0;
    if (!ident_is_valid(id, len)) {
        out[0] = '\0';
        return 0;
    }
    for (size_t i = 0; i < len; i++) {
        unsigned char byte = (unsigned char)id[i];
        if (stays(byte)) {
            out[at++] = (char)byte;
        } else {
            out[at++] = '_';
            out[at++] = hex[byte >> 4];
            out[at++] = hex[byte & 0xf];
        }
    }
    out[at] = '\0';
    return at;
}

// The value of a lower-case hex digit, -1 if it is none.
static int
hex_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + 10;
    return -1;
}

size_t
ident_unmap(const char *mapped, size_t len, char out[static IDENT_MAX_BYTES + 1])
{
    char id[IDENT_MAX_BYTES];
    size_t id_len = 0;
    out[0] = '\0';
    for (size_t i = 0; i < len; i++) {
        unsigned char byte = (unsigned char)mapped[i];
        if (byte == '_') {
            int high = len - i > 2 ? hex_value(mapped[i + 1]) : -1;
            int low = len - i > 2 ? hex_value(mapped[i + 2]) : -1;
            if (high < 0 || low < 0)
                return 0;
            byte = (unsigned char)(high * 16 + low);
            if (stays(byte))
                return 0; // ident_map would not have escaped it
            i += 2;
        } else if (!stays(byte)) {
            return 0;
        }
        if (id_len == sizeof(id))
            return 0;
        id[id_len++] = (char)byte;
    }
    if (!ident_is_valid(id, id_len))
        return 0;
    memcpy(out, id, id_len);
    out[id_len] = '\0';
    return id_len;
}

bool
node_name_is_valid(const char *name, size_t len)
{
    return len > 0 && len <= NODE_NAME_MAX &&
           (ident_letters_in_common(name, len) & LETTER_NAME) != 0;
}

bool
node_id_is_valid(const char *node, size_t len)
{
    if (len < 1 + 1 + NODE_INCARNATION_LEN || len >= NODE_ID_SIZE)
        return false;
    size_t name_len = len - NODE_INCARNATION_LEN - 1;
    const char *incarnation = node + name_len + 1;
    return node[name_len] == '.' && node_name_is_valid(node, name_len) &&
           (ident_letters_in_common(incarnation, NODE_INCARNATION_LEN) & LETTER_HEX) != 0;
}

size_t
node_name_len(const char *node)
{
    size_t len = strlen(node);
    assert(node_id_is_valid(node, len));
    return len - NODE_INCARNATION_LEN - 1;
}
