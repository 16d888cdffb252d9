// err.h: what a function that can fail answers: 0, or a negative SY_E*.
#pragma once

// clang-format off
#define SY_ERRORS(ERROR) \
    ERROR(SY_EINVAL,  -1, "invalid",  "a value that cannot be") \
    ERROR(SY_EFULL,   -2, "full",     "a queue is at its bound") \
    ERROR(SY_EDOWN,   -3, "down",     "the dependency is not connected") \
    ERROR(SY_ETIME,   -4, "timeout",  "no answer before the deadline; the outcome is unknown") \
    ERROR(SY_ELOST,   -5, "lost",     "the connection broke before the answer; the outcome is unknown") \
    ERROR(SY_EREPLY,  -6, "reply",    "the dependency answered with an error") \
    ERROR(SY_ENOENT,  -7, "absent",   "not there") \
    ERROR(SY_EDENIED, -8, "denied",   "not permitted") \
    ERROR(SY_EBUSY,   -9, "busy",     "already in use") \
    ERROR(SY_EIO,    -10, "io",       "a system call failed; errno tells")
// clang-format on

#define SY_AS_ENUM(name, number, ...) name = (number),
enum sy_error { SY_OK = 0, SY_ERRORS(SY_AS_ENUM) };
#undef SY_AS_ENUM

// Both answer something for any number.
const char *sy_error_name(int error);
const char *sy_error_text(int error);

#define MUST_USE __attribute__((warn_unused_result))
#define PRINTF_LIKE(format, first) __attribute__((__format__(__printf__, format, first)))

// Exit codes of every program, after sysexits.h.
enum { EXIT_USAGE = 64, EXIT_UNAVAILABLE = 69, EXIT_CONFIG = 78 };
