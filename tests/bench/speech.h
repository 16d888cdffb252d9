// speech.h: what load says and hears, to an edge (switchyard.v1, protobuf) or to a floor
// (bare bytes of the same length).
//
// Every message carries a stamp in its first 16 bytes. What is said is encoded once and
// only stamped anew for each message; what is heard is scanned for the stamp by hand, so
// that the generator costs the same on both sides and little on either.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/buf.h"

enum speech { SPEAK_EDGE, SPEAK_FLOOR };

struct stamp {
    uint32_t stream; // who sends to whom
    uint32_t number; // from 1
    uint64_t due_ns; // when it should have been sent
};

// A message ready to be sent, but for its stamp.
struct phrase {
    struct buf bytes;
    size_t stamp_at;
};

// Login. Either may be "".
void speech_hello(const char *user, const char *token, struct buf *out);

// A message with `size` (at least that of a stamp) bytes of body. To a floor: as many bytes
// as the edge's longest frame for this message. `wants_outcome`: the edge answers.
void speech_send(enum speech speech, char *const *to, size_t count, size_t size, bool wants_outcome,
                 struct phrase *out);
// To everybody, on all edges.
void speech_broadcast(enum speech speech, size_t size, struct phrase *out);
static inline void
phrase_stamp(struct phrase *phrase, const struct stamp *stamp)
{
    __builtin_memcpy(phrase->bytes.bytes + phrase->stamp_at, stamp, sizeof(*stamp));
}

enum heard { HEARD_WELCOME, HEARD_MESSAGE, HEARD_SENT, HEARD_REJECTED, HEARD_FAILURE, HEARD_OTHER };

struct event {
    enum heard heard;
    struct stamp stamp; // of HEARD_MESSAGE
    unsigned reason;    // of HEARD_REJECTED and HEARD_FAILURE
};

// The event at *at, and *at behind it. False: the end, or nonsense (then *at is not the end).
bool speech_next(enum speech speech, const uint8_t *bytes, size_t len, size_t *at,
                 struct event *event);
