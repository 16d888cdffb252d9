// clock.h: the two clocks. Called by loops and main functions only; everything
// below them takes time as an argument.
#pragma once

#include <stdint.h>

// Never goes back; starts anywhere. For durations and deadlines.
uint64_t clock_mono_us(void);
uint64_t clock_mono_ms(void);
// Milliseconds since 1970 UTC; may jump. For what other machines or people read.
uint64_t clock_wall_ms(void);
