// test_support.h: cmocka and what it needs in front of it.
#pragma once

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <signal.h>
#include <cmocka.h>
// clang-format on

#include "aborts.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

// A small generator, so that random inputs are the same in every run.
static inline uint64_t
next_random(uint64_t *state)
{
    // splitmix64, by Sebastiano Vigna, public domain.
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}
