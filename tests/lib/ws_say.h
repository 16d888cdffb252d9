// ws_say.h: commands as the programs that load a cluster say them.
#pragma once

#include "tests/lib/ws_client.h"

// Queues a frame of this one command. scratch is overwritten.
void ws_say(struct ws_client *client, Switchyard__V1__Command *command, struct buf *scratch);
// A Hello in development mode: no token.
void ws_say_hello(struct ws_client *client, uint64_t id, const char *user, const char *device,
                  struct buf *scratch);
// A Send of `number` to one user: that number twice, in 10 to 140 bytes of text.
void ws_say_number(struct ws_client *client, uint64_t id, const char *to, uint32_t number,
                   struct buf *scratch);
