// table.h: uthash, with a hash that outsiders cannot aim at.
//
// User, device and room names are chosen by clients; with a public hash they could
// pick thousands that fall in one bucket. Include this instead of <uthash.h>.
// The macros are those of uthash: HASH_ADD_KEYPTR, HASH_FIND, HASH_DEL, HASH_ITER.
#pragma once

#include <stdlib.h>

#include "lib/base/rand.h"

#ifdef UTHASH_H
#error "include lib/base/table.h instead of <uthash.h>: its hash can be aimed at"
#endif

// For looking one key up in several tables (HASH_FIND_BYHASHVALUE).
static inline unsigned
table_hash(const void *key, size_t len)
{
    return (unsigned)hash_bytes(key, len);
}

#define HASH_FUNCTION(key, len, hash) ((hash) = table_hash((key), (len)))
#define uthash_fatal(text) abort()

#include <uthash.h>
