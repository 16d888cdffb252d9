// chat.h: switchyard chat: reads lines to send, prints what comes.
#pragma once

#include "lib/cli/flags.h"

int chat_run(const struct flags *flags); // answers the exit code
