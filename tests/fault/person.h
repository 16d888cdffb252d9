// person.h: one of the people: logging in, being told to go, losing the connection, coming back.
#pragma once

#include "proto/codec.h"
#include "tests/fault/people.h"

// The one place where a person's state changes.
void person_move(struct person *person, enum person_state state);
// Closes the connection, if there is one; the state is the caller's.
void person_hang_up(struct person *person);
// Opens a connection to the person's edge: OPENING.
void person_start(struct person *person, uint64_t now);
// Decides when and where to try next: AWAY. There is no connection any more.
void person_come_back(struct person *person, uint64_t now);
// Another edge than the present one, if there is any.
uint8_t person_pick_edge(struct people *people, uint8_t present);
// due_us has come.
void person_on_due(struct person *person, uint64_t now);
// An event of epoll, with the person as its pointer.
void person_on_ready(struct person *person, uint32_t events);
// Writes what was said.
void person_push(struct person *person);
// What the edge has told.
void person_welcome(struct person *person, const Switchyard__V1__Welcome *welcome);
void person_go_away(struct person *person, uint32_t after_ms, const char *url);
