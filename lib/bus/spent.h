// spent.h: delivered messages on their way back to nats.c.
//
// natsMsg_Destroy gives a message to the library's collector thread and wakes it, if it
// sleeps: with messages that come one by one that is up to four futex calls for each.
// Kept for a moment and given back together they cost one wake-up.
//
// A message is one block of memory; of what it points to only its parsed headers lie
// elsewhere, and they are its own. So it may outlive its subscription and connection.
#pragma once

#include <nats/nats.h>
#include <stddef.h>

// At 64 the wake-ups are a few per cent of what they were, and what is kept of small
// messages still fits into the processor's nearest caches.
#define SPENT_MAX 64
// Payloads. Beside them a message has at most a line of the server's max_control_line,
// 4 KiB unless changed.
#define SPENT_MAX_BYTES ((size_t)256 * 1024)

// Zeroed: empty.
struct spent {
    natsMsg *msgs[SPENT_MAX];
    size_t count;
    size_t bytes;
};

// Takes msg. What is kept goes back when that makes it SPENT_MAX messages or
// SPENT_MAX_BYTES.
void spent_keep(struct spent *spent, natsMsg *msg);
void spent_give_back(struct spent *spent);
