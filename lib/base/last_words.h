// last_words.h: a process that aborts says why.
#pragma once

// From here on abort() logs a line before the process ends: out_of_memory if errno is ENOMEM, as
// a failed allocation leaves it, aborted otherwise. Kept over fork. It still ends by SIGABRT.
void last_words_prepare(void);
