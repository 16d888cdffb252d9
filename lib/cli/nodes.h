// nodes.h: switchyard nodes: the edges the directory knows.
#pragma once

#include "lib/cli/flags.h"

int nodes_run(const struct flags *flags); // answers the exit code
