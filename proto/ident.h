// ident.h: ids from outside, made safe for subjects and keys.
//
// A user or device id is 1-128 bytes of UTF-8 without control characters. Before
// it touches a NATS subject or a Redis key it is mapped to [A-Za-z0-9_-]: letters,
// digits and '-' stay, every other byte becomes '_' and two lower-case hex digits.
// The mapping is reversible, and two ids never map to one.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define IDENT_MAX_BYTES 128
// Room for any mapped id and its NUL.
#define IDENT_MAPPED_SIZE (3 * IDENT_MAX_BYTES + 1)

// 1..IDENT_MAX_BYTES bytes, valid UTF-8, no byte below 0x20, no 0x7f.
bool ident_is_valid(const char *id, size_t len);

// The length written, without the NUL; 0 if the id is not valid (then out is "").
size_t ident_map(const char *id, size_t len, char out[static IDENT_MAPPED_SIZE]);

// Undoes ident_map. The length of the id, 0 if `mapped` is no output of ident_map.
size_t ident_unmap(const char *mapped, size_t len, char out[static IDENT_MAX_BYTES + 1]);

// A node id is <name>.<incarnation>: name [a-z0-9-]{1,40}, incarnation 16 lower-case
// hex digits, new at every start of a process.
#define NODE_NAME_MAX 40
#define NODE_INCARNATION_LEN 16
#define NODE_ID_SIZE (NODE_NAME_MAX + 1 + NODE_INCARNATION_LEN + 1)

bool node_name_is_valid(const char *name, size_t len);
bool node_id_is_valid(const char *node, size_t len);
// Length of the name in front of the dot; node must be valid.
size_t node_name_len(const char *node);

// Valid UTF-8 as RFC 3629 has it: no surrogates, no overlong forms.
bool utf8_is_valid(const char *text, size_t len);
