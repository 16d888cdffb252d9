// suggest.h: what a misspelt word may have meant.
#pragma once

#include <stddef.h>

// The nearest of `words` by edits (insert, delete, replace, swap), if near enough for its
// length; else NULL.
const char *suggest(const char *word, const char *const words[], size_t count);
