// tally.h: what became of a numbered stream at its receiver.
//
// Numbers count from 1. The last 64 are remembered one by one; what is older counts as
// out of order when it comes.
#pragma once

#include <stdint.h>

struct tally {
    uint32_t highest;
    uint64_t window; // bit i: highest - i has come
    uint32_t distinct;
    uint32_t duplicates;
    uint32_t late; // after a later one of the stream
};

void tally_add(struct tally *tally, uint32_t number);
