// keys.h: every Redis key Switchyard uses, and the row that names a link.
//
//   sy:lease:{<node>}     hash, the edge lives while it exists (state, url, started_ms ...)
//   sy:members:{<node>}   set of <user>/<device>, mapped: what the edge may own in user hashes
//   sy:fence:{<node>}     highest sweeper fence that reaped this node
//   sy:user:{<user>}      hash, mapped device -> row
//   sy:watch:{<user>}     hash, node -> 1: who remembers this user's row and is told of changes
//   sy:nodes              set of node ids, for the sweeper to look through
//   sy:gen                random; another value means Redis lost its data
//   sy:{sweeper}:leader   who may reap; sy:{sweeper}:fence counts leaderships
//
// docs/reference/redis-keys.md has type, lifetime, writer and reader of each.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/ident.h"

#define KEY_SIZE (16 + IDENT_MAPPED_SIZE)
#define KEY_NODES "sy:nodes"
#define KEY_GEN "sy:gen"
#define KEY_LEADER "sy:{sweeper}:leader"
#define KEY_LEADER_FENCE "sy:{sweeper}:fence"

// The lease ends this long after its last renewal; renewed every LEASE_RENEW_MS.
// Five missed renewals end it, so one slow Redis command never does.
#define LEASE_MS 10000
#define LEASE_RENEW_MS 2000

// `node` must satisfy node_id_is_valid, `mapped` be an output of ident_map;
// asserted. All return the length.
size_t key_lease(const char *node, char out[static KEY_SIZE]);
size_t key_members(const char *node, char out[static KEY_SIZE]);
// sy:members:* as a pattern for SCAN, and the node in a key that matched; false, with
// node untouched, if it is no such key.
#define KEY_MEMBERS_PATTERN "sy:members:{*}"
bool key_members_node(const char *key, size_t len, char node[static NODE_ID_SIZE]);
size_t key_fence(const char *node, char out[static KEY_SIZE]);
size_t key_user(const char *mapped, char out[static KEY_SIZE]);
// The same for sy:user:*; answers the mapped user.
#define KEY_USER_PATTERN "sy:user:{*}"
bool key_user_mapped(const char *key, size_t len, char mapped[static IDENT_MAPPED_SIZE]);
size_t key_watch(const char *mapped, char out[static KEY_SIZE]);

// A member of sy:members: <mapped user>/<mapped device>.
#define MEMBER_SIZE (2 * IDENT_MAPPED_SIZE)
size_t member_write(const char *mapped_user, const char *mapped_device,
                    char out[static MEMBER_SIZE]);
// Splits in place at the '/'; false (and nothing changed) if it is no member.
bool member_split(char *member, char **mapped_user, char **mapped_device);

// Decimal digits and a NUL. The length.
#define DECIMAL_SIZE sizeof("18446744073709551615")
size_t decimal_write(uint64_t value, char out[static DECIMAL_SIZE]);

// Where a user's device is connected. In Redis, as one string:
// "<node> <connection> <epoch> <since_ms> <class or -> <device>".
struct link {
    char node[NODE_ID_SIZE];
    uint64_t connection; // number of the connection on that node
    uint64_t epoch;      // order of logins of this device: higher is newer
    uint64_t since_ms;   // wall clock of the login
    char device[IDENT_MAX_BYTES + 1];
    char device_class[33]; // may be empty
};
#define LINK_ROW_SIZE 320

// What a login takes the place of: the user's links of the same device, also those of the
// same class, or all. All edges must agree. As the scripts and the settings name them.
enum device_policy { DEVICES_MANY, DEVICES_CLASS, DEVICES_ONE };
const char *device_policy_name(enum device_policy policy);
// Devices a user may have; one more, and the link with the oldest login goes.
#define DEVICES_MAX_DEFAULT 32

// What a link can hold: empty, or up to 32 bytes of UTF-8 without spaces and control
// characters, other than "-". Check what a client sent before it becomes a link.
bool device_class_is_valid(const char *device_class, size_t len);
// node, device and device_class must be valid; asserted. The length.
size_t link_write(const struct link *link, char out[static LINK_ROW_SIZE]);
// False, with *link untouched, on anything link_write would not have written.
bool link_read(const char *row, size_t len, struct link *link);
