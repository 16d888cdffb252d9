// session.h: one client, from its first frame to its end: login, commands, liveness.
//
//   NEW --Hello--> LOGIN --link written--> LIVE --> CLOSED
//
// Every edge may go to CLOSED, always through session_end, always with a close code.
// One thread; embedded in its conn, freed with it.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "edge/conn.h"
#include "lib/base/wheel.h"
#include "proto/keys.h"

struct edge;
struct user;

enum session_state { SESSION_NEW, SESSION_LOGIN, SESSION_LIVE, SESSION_CLOSED };

struct session {
    struct edge *edge;
    struct conn *conn;
    uint64_t connection; // this connection's number on this node, from 1
    struct user *user;   // set at login, NULL after the end
    struct session *next_of_user;
    struct session *next_live; // of the broadcast's list of LIVE sessions
    struct session *prev_live;
    struct link_state *link; // the registry's; NULL before login and after the end
    struct send *sends;      // the router's: sends without an outcome yet
    char *device;            // set at login; NULL before
    char *device_class;      // in the same memory
    char *token;             // carried by the handshake; NULL once used
    struct timer timer;      // hello deadline, then pings
    uint64_t heard_ms;       // last byte from the client
    uint64_t expires_ms;     // of the token and its leeway, wall clock; 0: never
    uint64_t hello_id;       // id of the Hello, for the Welcome
    int64_t rate_credit;     // commands it may send, in thousandths; negative: debt
    uint64_t rate_at_ms;     // when the credit was counted
    uint32_t drain_slot;     // place in the drain's order, from 1; 0: none
    uint32_t broadcast_seen; // number of the last broadcast it was given
    bool may_broadcast;      // set at login
    uint8_t state;           // enum session_state; changed by session.c only
};

// A WebSocket is established. `token`: what the handshake carried (Authorization,
// subprotocol entry), copied; NULL or "" if none. now is monotonic.
void session_open(struct session *session, struct edge *edge, struct conn *conn, const char *token,
                  uint64_t now_ms);
// One whole message from the client, at most limits.frame_bytes long. The socket layer
// has checked that text came as text and is UTF-8. It may call conn_close.
void session_receive(struct session *session, const void *bytes, size_t len, uint64_t now_ms);
// Any sign of life that is no message: a pong, or part of a message.
void session_alive(struct session *session, uint64_t now_ms);
// The socket is gone, whoever closed it; code is why, as far as known. After it the
// session owns nothing.
void session_closed(struct session *session, enum close_code code, uint64_t now_ms);

// For the modules around: all of them may find the session already CLOSED.

// Encodes an event and queues it. A full queue ends the session.
void session_tell(struct session *session, const Switchyard__V1__Event *event);
// A Failure in answer to command `id`.
void session_refuse(struct session *session, uint64_t id, enum reason reason, const char *text);
// May be given messages: LIVE, or LOGIN, which this makes LIVE: somebody already found
// it in the directory, and Welcome must come before the first message.
bool session_is_reachable(struct session *session);
// The registry is done with the login: the link is written, or cannot be for now.
void session_registered(struct session *session);
// Ends it: no more messages, the socket closes with this code. Idempotent.
void session_end(struct session *session, enum close_code code);
