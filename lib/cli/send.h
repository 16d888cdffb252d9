// send.h: switchyard send: sends one message and tells what became of it.
#pragma once

#include "lib/cli/flags.h"

int send_run(const struct flags *flags); // answers the exit code
