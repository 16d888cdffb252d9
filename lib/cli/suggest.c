// suggest.c: Damerau-Levenshtein distance (optimal string alignment) over short words.
#include "lib/cli/suggest.h"

#include <string.h>

#define MAX_WORD 32

static size_t
least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t
distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    size_t rows[3][MAX_WORD + 1] = {0};
    size_t *before = rows[0], *last = rows[1], *row = rows[2];
    for (size_t j = 0; j <= b_len; j++)
        last[j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t cost = a[i - 1] == b[j - 1] ? 0 : 1;
            row[j] = least(least(last[j], row[j - 1]) + 1, last[j - 1] + cost);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = least(row[j], before[j - 2] + 1);
        }
        size_t *oldest = before;
        before = last;
        last = row;
        row = oldest;
    }
    return last[b_len];
}

const char *
suggest(const char *word, const char *const words[], size_t count)
{
    size_t len = strlen(word);
    size_t best = len / 3 + 1; // one edit in a short word, more in a long one
    const char *found = NULL;
    if (len == 0 || len > MAX_WORD)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        size_t other = strlen(words[i]);
        if (other > MAX_WORD)
            continue;
        size_t edits = distance(word, len, words[i], other);
        if (edits < best || (edits == best && found == NULL)) {
            best = edits;
            found = words[i];
        }
    }
    return found;
}
