// where.h: switchyard where: where a user's devices are connected.
#pragma once

#include "lib/cli/flags.h"

int where_run(const struct flags *flags); // answers the exit code
