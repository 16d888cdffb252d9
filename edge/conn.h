// conn.h: one WebSocket, as the session above it sees it. Implemented by ws.c over
// libwebsockets, and by a fake in unit tests and simulation.
//
// One thread. A conn lives from session_open to the end of session_closed; conn_close
// never calls back from inside.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "edge/frame.h"
#include "lib/base/err.h"
#include "proto/tables.h"

struct conn;

// Queues a frame, with a hold of its own; it leaves in one write with everything else
// queued in this turn. SY_EFULL: the queue is at limits.queue_bytes, nothing was queued.
// SY_EDOWN: closing.
MUST_USE
int conn_push(struct conn *conn, struct frame *frame);
// Starts closing: what is queued is written as far as the kernel takes it now, then a
// close frame. Later pushes are refused. Idempotent: the first code counts.
void conn_close(struct conn *conn, enum close_code code);
// Bytes queued and not yet taken by the kernel.
size_t conn_backlog(const struct conn *conn);
enum codec_format conn_format(const struct conn *conn);
// "127.0.0.1:54321" of the socket's other end.
const char *conn_peer(const struct conn *conn);
