// print.c: see print.h.
#include "lib/cli/print.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define ESCAPE_SIZE 5 // \xHH and its NUL

// The escape of a byte that must not reach a terminal, or "".
static const char *
escape(unsigned char byte, char out[static ESCAPE_SIZE])
{
    out[0] = 0;
    if (byte == '\n' || byte == '\t')
        snprintf(out, ESCAPE_SIZE, "%s", byte == '\n' ? "\\n" : "\\t");
    else if (byte < 0x20 || byte == 0x7f)
        snprintf(out, ESCAPE_SIZE, "\\x%02x", (unsigned)byte);
    return out;
}

// C1 controls (U+0080 to U+009F) are C2 80 to C2 9F in UTF-8; terminals obey some of them.
static bool
is_c1(const char *text, size_t left)
{
    return left >= 2 && (unsigned char)text[0] == 0xc2 && (unsigned char)text[1] >= 0x80 &&
           (unsigned char)text[1] <= 0x9f;
}

// How many bytes of text the next piece of output stands for.
static size_t
next_piece(const char *text, size_t left, char out[static ESCAPE_SIZE])
{
    if (is_c1(text, left)) {
        snprintf(out, ESCAPE_SIZE, "\\x%02x", (unsigned)(unsigned char)text[1]);
        return 2;
    }
    if (escape((unsigned char)text[0], out)[0] == 0) {
        out[0] = text[0];
        out[1] = 0;
    }
    return 1;
}

void
print_safe(char *out, size_t size, const char *text)
{
    size_t left = strlen(text), used = 0;
    char piece[ESCAPE_SIZE];
    while (left > 0) {
        size_t taken = next_piece(text, left, piece);
        size_t len = strlen(piece);
        if (used + len >= size)
            break;
        memcpy(out + used, piece, len);
        used += len;
        text += taken;
        left -= taken;
    }
    out[used] = 0;
}

static void
write_safe(FILE *out, const char *text, size_t left)
{
    char piece[ESCAPE_SIZE];
    while (left > 0) {
        size_t taken = next_piece(text, left, piece);
        fputs(piece, out);
        text += taken;
        left -= taken;
    }
}

void
print_message_text(FILE *out, const struct switchyard_message *message)
{
    write_safe(out, message->from, strlen(message->from));
    fputs(": ", out);
    if (message->is_text) {
        write_safe(out, message->body, message->len);
    } else {
        fprintf(out, "(%zu bytes", message->len);
        if (message->content_type[0] != 0)
            fputs(", ", out);
        write_safe(out, message->content_type, strlen(message->content_type));
        fputc(')', out);
    }
    fputc('\n', out);
    fflush(out);
}

static char *
base64(const uint8_t *bytes, size_t len)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *out = malloc((len + 2) / 3 * 4 + 1), *at = out;
    if (out == NULL)
        abort();
    for (size_t i = 0; i < len; i += 3) {
        uint32_t three = (uint32_t)bytes[i] << 16;
        three |= i + 1 < len ? (uint32_t)bytes[i + 1] << 8 : 0;
        three |= i + 2 < len ? bytes[i + 2] : 0;
        *at++ = digits[three >> 18];
        *at++ = digits[three >> 12 & 63];
        *at++ = i + 1 < len ? digits[three >> 6 & 63] : '=';
        *at++ = i + 2 < len ? digits[three & 63] : '=';
    }
    *at = 0;
    return out;
}

void
print_message_json(FILE *out, const struct switchyard_message *message, const char *node,
                   uint64_t received_at_ms)
{
    json_t *line = json_pack("{s:s, s:s, s:s}", "from", message->from, "from_device",
                             message->from_device, "message_id", message->message_id);
    if (message->is_text) {
        json_object_set_new(line, "text", json_stringn(message->body, message->len));
    } else {
        char *body = base64(message->body, message->len);
        json_object_set_new(line, "body", json_string(body));
        free(body);
    }
    if (message->content_type[0] != 0)
        json_object_set_new(line, "content_type", json_string(message->content_type));
    json_object_set_new(line, "sent_at_ms", json_integer((json_int_t)message->sent_at_ms));
    json_object_set_new(line, "node", json_string(node));
    json_object_set_new(line, "received_at_ms", json_integer((json_int_t)received_at_ms));
    json_dumpf(line, out, JSON_COMPACT | JSON_PRESERVE_ORDER);
    json_decref(line);
    fputc('\n', out);
    fflush(out);
}

static void
print_unreached(FILE *out, const struct switchyard_outcome *outcome)
{
    size_t shown = outcome->unreached != NULL ? outcome->unreached_count : 0;
    if (shown > 10)
        shown = 10;
    for (size_t i = 0; i < shown; i++) {
        fputs(i == 0 ? "; not reached: " : ", ", out);
        write_safe(out, outcome->unreached[i].user, strlen(outcome->unreached[i].user));
        fprintf(out, " (%s)", switchyard_reason_name(outcome->unreached[i].reason));
    }
    if (outcome->unreached_count > shown)
        fprintf(out, "; %zu more not reached", outcome->unreached_count - shown);
}

void
print_outcome(FILE *out, const struct switchyard_outcome *outcome, uint64_t took_us)
{
    char text[256];
    print_safe(text, sizeof(text), outcome->text);
    if (outcome->status == SWITCHYARD_SENT) {
        fprintf(out, "sent to %u device%s in %.1f ms", outcome->devices,
                outcome->devices == 1 ? "" : "s", (double)took_us / 1000);
        print_unreached(out, outcome);
    } else {
        fprintf(out, "%s: %s (%s)", outcome->status == SWITCHYARD_REJECTED ? "rejected" : "unknown",
                switchyard_reason_name(outcome->reason), text);
        if (outcome->unreached_count > 1)
            print_unreached(out, outcome);
    }
    fputc('\n', out);
    fflush(out);
}
