// host.h: a sweeper in a process: the loop, the clock, the signals.
//
// SIGTERM, SIGINT: gives leadership back and exits 0; a second signal exits at once.
#pragma once

#include "sweeper/settings.h"

// Runs until it is told to end; the process's exit code.
int host_run(const struct settings *settings);
