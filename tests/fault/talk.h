// talk.h: what people say and hear on their connections: the protocol's part of people.h.
#pragma once

#include "proto/codec.h"
#include "tests/fault/people.h"

// The functions of a ws_handler, with the person as arg.
void talk_on_opened(void *arg);
void talk_on_frame(void *arg, const uint8_t *bytes, size_t len);

// What talk.c tells people.c.
void people_welcome(struct person *person, const Switchyard__V1__Welcome *welcome);
void people_go_away(struct person *person, uint32_t after_ms, const char *url);
// Writes what was said.
void people_push(struct person *person);
