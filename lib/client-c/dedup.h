// dedup.h: has this message been seen already?
//
// A sender that does not know whether its message arrived sends it again under the same
// id. The last DEDUP_ENTRIES messages of the last DEDUP_MS are remembered, each as a keyed
// 64-bit hash of sender and id: nobody without the key can make two of them collide, and
// so have somebody else's message dropped.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define DEDUP_ENTRIES 128
// Covers a send's longest wait for its outcome (about 10 s) and a retry after it. Longer
// would swallow the messages of a sender that numbers them from 1 at each of its starts.
#define DEDUP_MS 30000

struct dedup {
    uint64_t key[2];
    struct {
        uint64_t hash;
        uint64_t seen_ms;
        bool is_set;
    } entries[DEDUP_ENTRIES];
    unsigned next; // where the next one goes: the oldest
};

void dedup_init(struct dedup *dedup, uint64_t key0, uint64_t key1);
// True if this device of this user sent this id before; else remembers it. A message
// without an id is always new.
bool dedup_is_repeat(struct dedup *dedup, const char *user, const char *device, const char *id,
                     uint64_t now_ms);
