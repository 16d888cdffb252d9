// outcome.h: how a send ended, for its client.
#pragma once

struct send;

// Told if the command has an id and its client is still there; counted always.
void outcome_tell(struct send *send);
