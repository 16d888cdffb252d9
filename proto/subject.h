// subject.h: every NATS subject Switchyard uses, built here and nowhere else.
//
//   node.<name>.<incarnation>                  BusFrame for that edge
//   unheard.<node>.<peer>.<batch>              reply subject of what is published to a peer;
//                                              nats-server answers on it when the peer is gone
//   heartbeat.<name>                           Heartbeat of that edge, once a second
//   all                                        BusFrame for every edge
//   event.node_down                            NodeDown, by the sweeper
//   event.node_unheard                         NodeUnheard, by edges, for sweepers
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/ident.h"

// The longest is an unheard subject: its prefix, two nodes, ten digits.
#define SUBJECT_SIZE (24 + 2 * NODE_ID_SIZE)
#define SUBJECT_ALL "all"
#define SUBJECT_HEARTBEATS "heartbeat.*"
#define SUBJECT_NODE_DOWN "event.node_down"
#define SUBJECT_NODE_UNHEARD "event.node_unheard"

// `node` must satisfy node_id_is_valid; asserted. All return the length.
size_t subject_node(const char *node, char out[static SUBJECT_SIZE]);
size_t subject_heartbeat(const char *node, char out[static SUBJECT_SIZE]);
// batch: the publisher's own number for what it published.
size_t subject_unheard(const char *node, const char *peer, uint32_t batch,
                       char out[static SUBJECT_SIZE]);
// unheard.<node>.*.*.*, to subscribe.
size_t subject_unheard_all(const char *node, char out[static SUBJECT_SIZE]);
// Reads peer and batch of an unheard subject; false, with both untouched, if it is none.
bool subject_unheard_read(const char *subject, char peer[static NODE_ID_SIZE], uint32_t *batch);

// May be published to: tokens of [A-Za-z0-9_-] joined by single dots, at most
// 1,024 bytes. nats.c does not check, and a CR LF in a subject is a second
// protocol line, so the bus wrapper asserts this for every publish.
bool subject_is_safe(const char *subject, size_t len);
