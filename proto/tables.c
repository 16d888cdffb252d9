// tables.c: look-ups in the closed lists of tables.h. The lists are short; closes
// happen once per connection, so a walk is quick enough.
#include "proto/tables.h"

#include <stddef.h>

struct reason_row {
    const char *name;
    const char *text;
    bool retryable;
};

#define AS_ROW(NAME, number, name, retryable, text) [number] = {name, text, retryable},
static const struct reason_row reasons[] = {SY_REASONS(AS_ROW)};
#undef AS_ROW

_Static_assert(sizeof(reasons) / sizeof(reasons[0]) == REASON_COUNT,
               "the wire numbers of SY_REASONS run from 0 without a gap");

struct close_row {
    unsigned code;
    const char *name;
    const char *text;
};

#define AS_ROW(NAME, code, name, text) {code, name, text},
static const struct close_row closes[] = {SY_CLOSES(AS_ROW)};
#undef AS_ROW

#define CLOSE_ROWS ((unsigned)(sizeof(closes) / sizeof(closes[0])))

static const struct reason_row *
find_reason(enum reason reason)
{
    static const struct reason_row unknown = {"unknown", "unknown", false};
    unsigned number = (unsigned)reason;
    return number < REASON_COUNT ? &reasons[number] : &unknown;
}

const char *
reason_name(enum reason reason)
{
    return find_reason(reason)->name;
}

const char *
reason_text(enum reason reason)
{
    return find_reason(reason)->text;
}

bool
reason_is_retryable(enum reason reason)
{
    return find_reason(reason)->retryable;
}

static const struct close_row *
find_close(unsigned code)
{
    for (unsigned i = 0; i < CLOSE_ROWS; i++) {
        if (closes[i].code == code)
            return &closes[i];
    }
    return NULL;
}

const char *
close_name(unsigned code)
{
    const struct close_row *row = find_close(code);
    return row != NULL ? row->name : "unknown";
}

const char *
close_text(unsigned code)
{
    const struct close_row *row = find_close(code);
    return row != NULL ? row->text : "unknown";
}

bool
close_is_terminal(unsigned code)
{
    switch (code) {
    case 1002: // protocol error, unsupported, bad text, too big, missing extension
    case 1003: // (RFC 6455, 7.4.1): the same client would fail the same way again
    case 1007:
    case 1009:
    case 1010:
        return true;
    default:
        return code >= 4000 && code <= 4099;
    }
}

unsigned
close_index(unsigned code)
{
    const struct close_row *row = find_close(code);
    if (row == NULL)
        row = find_close(CLOSE_INTERNAL);
    return (unsigned)(row - closes);
}

unsigned
close_count(void)
{
    return CLOSE_ROWS;
}
