// log_json.c: turns the key=value pairs of a text line into JSON members.
//
// 1. Words are separated by single spaces; the key ends at the first '='.
// 2. A value that starts with a double quote is log_quote's form and ends at the next
//    quote that is not escaped; \", \\ and \xHH become the bytes they stand for.
// 3. Those bytes are escaped for JSON. Bytes that are not UTF-8 become U+FFFD.
// A value that ends too early (the text was cut) counts up to where it ends.
#include "lib/base/log_json.h"

#include <stdint.h>
#include <string.h>

bool
log_out_raw(struct log_out *out, const char *text, size_t len)
{
    if (out->is_cut || len > out->limit - out->len) {
        out->is_cut = true;
        return false;
    }
    memcpy(out->text + out->len, text, len);
    out->len += len;
    return true;
}

// The length of the UTF-8 character at `at`, or 0: RFC 3629, table in section 4.
static size_t
utf8_char(const unsigned char *at, size_t len)
{
    unsigned char first = at[0];
    if (first < 0x80)
        return 1;
    size_t need = first >= 0xc2 && first <= 0xdf   ? 2
                  : first >= 0xe0 && first <= 0xef ? 3
                  : first >= 0xf0 && first <= 0xf4 ? 4
                                                   : 0;
    if (need == 0 || need > len)
        return 0;
    for (size_t i = 1; i < need; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    bool is_overlong = (first == 0xe0 && at[1] < 0xa0) || (first == 0xf0 && at[1] < 0x90);
    bool is_surrogate = first == 0xed && at[1] >= 0xa0;
    bool is_beyond = first == 0xf4 && at[1] >= 0x90;
    return is_overlong || is_surrogate || is_beyond ? 0 : need;
}

// One character of at most len bytes; sets how many were used.
static bool
put_char(struct log_out *out, const unsigned char *at, size_t len, size_t *used)
{
    static const char hex[] = "0123456789abcdef";
    *used = 1;
    if (*at == '"' || *at == '\\')
        return log_out_raw(out, (const char[]){'\\', (char)*at}, 2);
    if (*at < 0x20 || *at == 0x7f) {
        const char escape[] = {'\\', 'u', '0', '0', hex[*at >> 4], hex[*at & 15]};
        return log_out_raw(out, escape, sizeof(escape));
    }
    size_t width = utf8_char(at, len);
    if (width == 0)
        return log_out_raw(out, "\\ufffd", 6);
    if (*at == 0xc2 && at[1] < 0xa0) { // U+0080 to U+009F: control characters, too
        const char escape[] = {'\\', 'u', '0', '0', hex[at[1] >> 4], hex[at[1] & 15]};
        *used = width;
        return log_out_raw(out, escape, sizeof(escape));
    }
    *used = width;
    return log_out_raw(out, (const char *)at, width);
}

static void
put_string(struct log_out *out, const char *text, size_t len)
{
    const unsigned char *at = (const unsigned char *)text;
    size_t used;
    for (size_t i = 0; i < len; i += used)
        if (!put_char(out, at + i, len - i, &used))
            return;
}

void
log_json_member(struct log_out *out, const char *key, const char *value, size_t len)
{
    size_t start = out->len;
    // The closing quote is paid for in advance: cut or not, the member is complete.
    size_t limit = out->limit;
    if (out->is_cut || limit - start < 1) {
        out->is_cut = true;
        return;
    }
    out->limit = limit - 1;
    log_out_raw(out, ",\"", 2);
    put_string(out, key, strlen(key));
    if (!log_out_raw(out, "\":\"", 3)) {
        out->len = start;
        out->limit = limit;
        return;
    }
    put_string(out, value, len);
    out->limit = limit;
    out->text[out->len++] = '"';
}

static int
hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// Reads log_quote's form from just behind the first quote; answers where it ended.
// `out` has room for as many bytes as stand at `at`.
static const char *
unquote(const char *at, char *out, size_t *out_len)
{
    size_t len = 0;
    while (*at != '\0' && *at != '"') {
        if (at[0] == '\\' && at[1] == 'x' && hex_digit(at[2]) >= 0 && hex_digit(at[3]) >= 0) {
            out[len++] = (char)(hex_digit(at[2]) << 4 | hex_digit(at[3]));
            at += 4;
        } else if (at[0] == '\\' && at[1] != '\0') {
            out[len++] = at[1];
            at += 2;
        } else {
            out[len++] = *at++;
        }
    }
    *out_len = len;
    return *at == '"' ? at + 1 : at;
}

enum { PAIRS_MAX = 2048, KEY_MAX = 64 };

void
log_json_pairs(struct log_out *out, const char *pairs)
{
    char value[PAIRS_MAX];
    char loose[PAIRS_MAX]; // words without '='
    size_t loose_len = 0;
    const char *at = pairs;
    while (*at != '\0') {
        size_t word_len = strcspn(at, " ");
        size_t key_len = strcspn(at, "= ");
        if (at[key_len] != '=' || key_len == 0 || key_len >= KEY_MAX) {
            if (loose_len + word_len + 1 < sizeof(loose)) {
                if (loose_len > 0)
                    loose[loose_len++] = ' ';
                memcpy(loose + loose_len, at, word_len);
                loose_len += word_len;
            }
            at += word_len;
        } else {
            char key[KEY_MAX];
            memcpy(key, at, key_len);
            key[key_len] = '\0';
            const char *start = at + key_len + 1;
            if (*start == '"' && strlen(start) <= sizeof(value)) {
                size_t value_len;
                at = unquote(start + 1, value, &value_len);
                log_json_member(out, key, value, value_len);
            } else {
                log_json_member(out, key, start, word_len - key_len - 1);
                at += word_len;
            }
        }
        at += strspn(at, " ");
    }
    if (loose_len > 0)
        log_json_member(out, "text", loose, loose_len);
}
