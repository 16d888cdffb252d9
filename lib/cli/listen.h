// listen.h: switchyard listen: prints the messages that come.
#pragma once

#include "lib/cli/flags.h"

int listen_run(const struct flags *flags); // answers the exit code
