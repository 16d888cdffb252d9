// log.c: builds one line on the stack and gives it to the kernel in one write(2).
//
// 1. The caller's format makes the key=value pairs.
// 2. Text: time, level, event and pairs; control characters that slipped through
//    become '?', so that a line is one line. JSON: log_json.c.
// 3. A line longer than 2 KiB is cut and says so: " [cut]", or "cut":"true".
//
// A stderr that takes nothing loses the line: logging never fails its caller, and
// errno is as it was.
#include "lib/base/log.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/log_json.h"

enum {
    LINE_MAX_BYTES = 2048,
    QUOTE_MAX_BYTES = 256, // of the text, before escapes
    QUOTE_RING = 8,        // answers of log_quote good at a time
};

static _Atomic enum log_level max_level = LOG_INFO;
static _Atomic enum log_format line_format = LOG_TEXT;
static const char *_Atomic program_name;

static const char *const level_names[] = {
    [LOG_ERROR] = "error",
    [LOG_WARN] = "warn",
    [LOG_INFO] = "info",
    [LOG_DEBUG] = "debug",
};

void
log_setup(enum log_level level, enum log_format format, const char *name)
{
    max_level = level;
    line_format = format;
    program_name = name;
}

void
log_setup_words(const char *level, const char *format)
{
    static const char *const levels[] = {"error", "warn", "info", "debug"};
    enum log_level wanted = LOG_INFO;
    for (unsigned i = 0; i < sizeof(levels) / sizeof(levels[0]); i++)
        if (strcmp(level, levels[i]) == 0)
            wanted = (enum log_level)i;
    bool is_json = strcmp(format, "json") == 0 ||
                   (strcmp(format, "auto") == 0 && isatty(STDERR_FILENO) == 0);
    log_setup(wanted, is_json ? LOG_JSON : LOG_TEXT, NULL);
}

void
log_setup_name(const char *name)
{
    program_name = name;
}

bool
log_enabled(enum log_level level)
{
    return level <= max_level;
}

enum { TIME_BYTES = sizeof("2026-01-31T10:00:00.123Z") };

static void
write_time(uint64_t wall_ms, char out[TIME_BYTES])
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm utc;
    gmtime_r(&seconds, &utc);
    size_t len = strftime(out, TIME_BYTES, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(out + len, TIME_BYTES - len, ".%03uZ", (unsigned)(wall_ms % 1000));
}

static void
send_line(const char *line, size_t len)
{
    ssize_t rc;
    do {
        rc = write(STDERR_FILENO, line, len);
    } while (rc < 0 && errno == EINTR);
}

static void
add_text(struct log_out *out, const char *text)
{
    size_t room = out->limit - out->len;
    size_t len = strlen(text);
    if (len > room) {
        out->is_cut = true;
        len = room;
        // Not in the middle of a UTF-8 character.
        while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80)
            len--;
    }
    for (size_t i = 0; i < len; i++) {
        bool is_control = (unsigned char)text[i] < 0x20 || text[i] == 0x7f;
        out->text[out->len++] = is_control ? '?' : text[i];
    }
}

static void
build_text(struct log_out *out, enum log_level level, const char *event, const char *pairs)
{
    static const char mark[] = " [cut]\n";
    out->limit -= strlen(mark);
    char head[TIME_BYTES + 16];
    write_time(clock_wall_ms(), head);
    snprintf(head + TIME_BYTES - 1, sizeof(head) - TIME_BYTES + 1, " %-5s ", level_names[level]);
    add_text(out, head);
    add_text(out, event);
    const char *name = program_name;
    if (name != NULL) {
        add_text(out, " program=");
        add_text(out, name);
    }
    if (*pairs != '\0') {
        add_text(out, " ");
        add_text(out, pairs);
    }
    const char *end = out->is_cut ? mark : "\n";
    memcpy(out->text + out->len, end, strlen(end));
    out->len += strlen(end);
}

static void
build_json(struct log_out *out, enum log_level level, const char *event, const char *pairs)
{
    static const char mark[] = ",\"cut\":\"true\"}\n";
    bool was_cut = out->is_cut;
    out->is_cut = false; // what did arrive is still written
    out->limit -= strlen(mark);
    char time[TIME_BYTES];
    write_time(clock_wall_ms(), time);
    log_out_raw(out, "{\"ts\":\"", 7);
    log_out_raw(out, time, strlen(time));
    log_out_raw(out, "\"", 1);
    log_json_member(out, "level", level_names[level], strlen(level_names[level]));
    log_json_member(out, "event", event, strlen(event));
    const char *name = program_name;
    if (name != NULL)
        log_json_member(out, "program", name, strlen(name));
    log_json_pairs(out, pairs);
    const char *end = was_cut || out->is_cut ? mark : "}\n";
    memcpy(out->text + out->len, end, strlen(end));
    out->len += strlen(end);
}

void
log_line(enum log_level level, const char *event, const char *format, ...)
{
    assert(level >= LOG_ERROR && level <= LOG_DEBUG);
    if (!log_enabled(level))
        return;
    int saved_errno = errno;
    char pairs[LINE_MAX_BYTES];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(pairs, sizeof(pairs), format, args);
    va_end(args);
    if (len < 0)
        pairs[0] = '\0';
    char line[LINE_MAX_BYTES];
    struct log_out out = {.text = line, .limit = sizeof(line), .is_cut = len >= LINE_MAX_BYTES};
    if (line_format == LOG_JSON)
        build_json(&out, level, event, pairs);
    else
        build_text(&out, level, event, pairs);
    send_line(line, out.len);
    errno = saved_errno;
}

// Printable ASCII that ends neither a word nor a key. Bytes from 0x80 are quoted, too:
// some are control characters to a terminal, some reverse the direction of writing.
static bool
is_harmless(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (text[i] <= ' ' || text[i] > '~' || text[i] == '"' || text[i] == '=')
            return false;
    return len > 0;
}

const char *
log_quote(const char *text)
{
    if (text == NULL)
        text = "";
    // One byte more than is shown, to know that there is more.
    return log_quote_n(text, strnlen(text, QUOTE_MAX_BYTES + 1));
}

const char *
log_quote_n(const char *text, size_t len)
{
    static const char hex[] = "0123456789abcdef";
    // Each byte as \xHH, two quotes, the dots of a cut text and the end.
    static _Thread_local char ring[QUOTE_RING][QUOTE_MAX_BYTES * 4 + 6];
    static _Thread_local unsigned turn;
    char *answer = ring[turn++ % QUOTE_RING];
    bool is_cut = len > QUOTE_MAX_BYTES;
    if (is_cut)
        len = QUOTE_MAX_BYTES;
    if (!is_cut && is_harmless(text, len)) {
        memcpy(answer, text, len);
        answer[len] = '\0';
        return answer;
    }
    char *out = answer;
    *out++ = '"';
    for (size_t i = 0; i < len; i++) {
        unsigned char byte = (unsigned char)text[i];
        if (byte == '"' || byte == '\\') {
            *out++ = '\\';
            *out++ = text[i];
        } else if (byte >= ' ' && byte <= '~') {
            *out++ = text[i];
        } else {
            *out++ = '\\';
            *out++ = 'x';
            *out++ = hex[byte >> 4];
            *out++ = hex[byte & 15];
        }
    }
    memcpy(out, is_cut ? "...\"" : "\"", is_cut ? 5 : 2);
    return answer;
}

bool
log_limit_pass(struct log_limit *limit, uint64_t now_ms, uint64_t *held)
{
    uint64_t since_ms = now_ms > limit->last_ms ? now_ms - limit->last_ms : 0;
    if (limit->last_ms != 0 && since_ms < limit->interval_ms) {
        limit->held++;
        return false;
    }
    *held = limit->held;
    limit->held = 0;
    limit->last_ms = now_ms != 0 ? now_ms : 1; // 0 stands for never
    return true;
}
