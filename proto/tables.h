// tables.h: the closed lists of the protocol. One row makes the enum, the wire
// number, the name used in logs and counters, and the text a person reads.
#pragma once

#include <stdbool.h>

// clang-format off
// REASON(NAME, wire number, name, retryable, text): why a command was refused or
// a message not delivered. The numbers are those of switchyard.v1.Reason; a unit
// test holds the two lists together.
#define SY_REASONS(REASON) \
    REASON(NONE,                  0, "none",                  false, "no reason") \
    REASON(OFFLINE,               1, "offline",               false, "the user has no device connected") \
    REASON(NO_ROUTE,              2, "no_route",              true,  "the user's edge cannot be reached") \
    REASON(BUSY,                  3, "busy",                  true,  "a queue on the way is full") \
    REASON(TOO_LARGE,             4, "too_large",             false, "larger than this edge takes") \
    REASON(RATE,                  5, "rate",                  true,  "more than the allowed rate") \
    REASON(UNAUTHORIZED,          6, "unauthorized",          false, "not allowed") \
    REASON(EXPIRED,               7, "expired",               true,  "its time ran out before delivery") \
    REASON(TIMEOUT,               8, "timeout",               true,  "no answer from the receiver's edge in time; it may have arrived") \
    REASON(DIRECTORY_UNAVAILABLE, 9, "directory_unavailable", true,  "the directory cannot be read") \
    REASON(INVALID,              10, "invalid",               false, "not understood") \
    REASON(OUT_OF_ORDER,         11, "out_of_order",          false, "not allowed at this point") \
    REASON(UNAVAILABLE,          12, "unavailable",           true,  "this edge is leaving or full")

// CLOSE(NAME, code, name, text): why an edge closed a connection. 4000-4099: do
// not come back with the same login; 4100-4199 and 1012, 1013: come back later.
// The codes below 4000 are those of RFC 6455 and the IANA registry.
#define SY_CLOSES(CLOSE) \
    CLOSE(NORMAL,        1000, "normal",        "closed by the client") \
    CLOSE(UNSUPPORTED,   1003, "unsupported",   "text on a binary subprotocol or binary on a text one") \
    CLOSE(BAD_TEXT,      1007, "bad_text",      "text that is not UTF-8") \
    CLOSE(TOO_BIG,       1009, "too_big",       "message larger than the limit") \
    CLOSE(INTERNAL,      1011, "internal",      "error in the edge") \
    CLOSE(DRAINING,      1012, "draining",      "this edge is leaving") \
    CLOSE(MALFORMED,     4000, "malformed",     "a frame that cannot be decoded") \
    CLOSE(REPLACED,      4001, "replaced",      "a newer login took the place") \
    CLOSE(UNAUTHORIZED,  4002, "unauthorized",  "login refused") \
    CLOSE(HELLO_TIMEOUT, 4003, "hello_timeout", "no login in time") \
    CLOSE(TOKEN_EXPIRED, 4004, "token_expired", "the token has expired") \
    CLOSE(OUT_OF_ORDER,  4005, "out_of_order",  "command before login, or a second login") \
    CLOSE(SLOW_READER,   4108, "slow_reader",   "reads slower than others write to it") \
    CLOSE(SILENT,        4109, "silent",        "no sign of life for two ping intervals") \
    CLOSE(RATE,          4110, "rate",          "far more than the allowed rate") \
    CLOSE(LOST,          4111, "lost",          "the connection broke without a close")
// clang-format on

#define SY_AS_ENUM(name, number, ...) REASON_##name = (number),
enum reason { SY_REASONS(SY_AS_ENUM) REASON_COUNT };
#undef SY_AS_ENUM

#define SY_AS_ENUM(name, code, ...) CLOSE_##name = (code),
enum close_code { SY_CLOSES(SY_AS_ENUM) };
#undef SY_AS_ENUM

// All answer something for any number; unknown ones get "unknown".
const char *reason_name(enum reason reason);
const char *reason_text(enum reason reason);
bool reason_is_retryable(enum reason reason);
const char *close_name(unsigned code);
const char *close_text(unsigned code);
// Whether a client should stay away: 4000-4099 and RFC codes for broken peers.
bool close_is_terminal(unsigned code);
// Position in SY_CLOSES for counters, 0..close_count()-1; unknown codes: that of INTERNAL.
unsigned close_index(unsigned code);
unsigned close_count(void);
