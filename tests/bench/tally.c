// tally.c: see tally.h.
#include "tests/bench/tally.h"

void
tally_add(struct tally *tally, uint32_t number)
{
    if (number > tally->highest) {
        uint32_t step = number - tally->highest;
        tally->window = step < 64 ? tally->window << step | 1 : 1;
        tally->highest = number;
        tally->distinct++;
        return;
    }
    uint32_t age = tally->highest - number;
    if (age < 64 && (tally->window >> age & 1) != 0) {
        tally->duplicates++;
        return;
    }
    if (age < 64)
        tally->window |= (uint64_t)1 << age;
    tally->late++;
    tally->distinct++;
}
