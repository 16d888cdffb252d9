// talk.h: what people say and hear on their connections.
#pragma once

#include "tests/fault/person.h"

// The functions of a ws_handler, with the person as arg.
void talk_on_opened(void *arg);
void talk_on_frame(void *arg, const uint8_t *bytes, size_t len);
// Sends one message; false if `from` is not live or the book is full.
bool talk_send(struct people *people, uint32_t from, uint32_t to, uint64_t now);
