// log_json.h: one log line as JSON. Private to lib/base; no I/O.
#pragma once

#include <stdbool.h>
#include <stddef.h>

// One line in the making. `limit` leaves room for what must still be written to end
// the line properly after it was cut.
struct log_out {
    char *text;
    size_t len;
    size_t limit;
    bool is_cut;
};

// Whole or not at all; when it does not fit, the line counts as cut.
bool log_out_raw(struct log_out *out, const char *text, size_t len);
// A member of an object that has members already: ,"key":"value". A value that does
// not fit is cut between two characters.
void log_json_member(struct log_out *out, const char *key, const char *value, size_t len);
// The key=value pairs of a text line as members. Words without '=' come together as
// the member "text".
void log_json_pairs(struct log_out *out, const char *pairs);
