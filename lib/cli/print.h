// print.h: messages and outcomes as lines.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "lib/client-c/include/switchyard/client.h"

// What others wrote, for a terminal: control characters become \n, \t or \xHH, so that a
// message is one line and cannot steer the terminal. Cut to fit.
void print_safe(char *out, size_t size, const char *text);

// "alice: hello", or "alice: (12 bytes, image/png)".
void print_message_text(FILE *out, const struct switchyard_message *message);
// One JSON object: from, from_device, message_id, text or body (base64), content_type,
// sent_at_ms, node, received_at_ms.
void print_message_json(FILE *out, const struct switchyard_message *message, const char *node,
                        uint64_t received_at_ms);
// "sent to 1 device in 1.2 ms", "rejected: offline (the user has no device connected)".
void print_outcome(FILE *out, const struct switchyard_outcome *outcome, uint64_t took_us);
