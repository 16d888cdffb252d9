// log.h: one line per event on stderr.
//
//   log_info("edge_ready", "node=%s port=%d", node, port)
//
// text: 2026-01-31T10:00:00.123Z info  edge_ready node=a.0f port=8000
// json: {"ts":"...","level":"info","event":"edge_ready","node":"a.0f","port":"8000"}
//
// The format is a list of key=value pairs separated by single spaces; a value that
// may hold a space, a quote, '=' or a control character is written with %s through
// log_quote, so no outside byte can forge a line. Never a token, never a payload.
// With a name set by log_setup, program=<name> stands before the pairs. A line is at most
// 2 KiB; a longer one is cut and ends in " [cut]" (text) or has "cut":"true" (JSON).
// One process, one loop thread; log_* may be called from any thread, one line is
// one write(2).
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/err.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };
enum log_format { LOG_TEXT, LOG_JSON };

// Starts as LOG_INFO, LOG_TEXT. `name` ("edge", "sweeper") is added to each line if not NULL;
// it is borrowed for good.
void log_setup(enum log_level level, enum log_format format, const char *name);
// The same from the words of the settings log.level (error|warn|info|debug) and log.format
// (auto|text|json; auto: text on a terminal).
void log_setup_words(const char *level, const char *format);
// Only the name, as log_setup takes it.
void log_setup_name(const char *name);
bool log_enabled(enum log_level level);
void log_line(enum log_level level, const char *event, const char *format, ...) PRINTF_LIKE(3, 4);

#define log_error(event, ...) log_line(LOG_ERROR, event, __VA_ARGS__)
#define log_warn(event, ...) log_line(LOG_WARN, event, __VA_ARGS__)
#define log_info(event, ...) log_line(LOG_INFO, event, __VA_ARGS__)
#define log_debug(event, ...)                        \
    do {                                             \
        if (log_enabled(LOG_DEBUG))                  \
            log_line(LOG_DEBUG, event, __VA_ARGS__); \
    } while (0)

// `text` as a value: as is when harmless, else in double quotes with \", \\ and \xHH
// escapes (every byte outside printable ASCII); cut at 256 bytes with "..." at the end.
// NULL is an empty text. The answer stays good for the next 7 calls in this thread.
const char *log_quote(const char *text);
const char *log_quote_n(const char *text, size_t len);

// At most one line per interval for something that may repeat.
struct log_limit {
    uint64_t interval_ms; // set by the owner
    uint64_t last_ms;     // 0: never yet
    uint64_t held;        // not logged since the last line
};
// True when the line may be written now; then *held is how many were swallowed since.
bool log_limit_pass(struct log_limit *limit, uint64_t now_ms, uint64_t *held);
