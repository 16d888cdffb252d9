// conf_name.c: the names of a row - key, variable, flag - and the guess for a name
// that is none of them.
#include "lib/base/conf_internal.h"

#include <assert.h>
#include <ctype.h>
#include <string.h>

size_t
conf_find(const struct conf *conf, const char *key, size_t len)
{
    for (size_t i = 0; i < conf->count; i++)
        if (strlen(conf->rows[i].key) == len && memcmp(conf->rows[i].key, key, len) == 0)
            return i;
    return SIZE_MAX;
}

bool
conf_is_section(const struct conf *conf, const char *path, size_t len)
{
    for (size_t i = 0; i < conf->count; i++) {
        const char *key = conf->rows[i].key;
        if (strlen(key) > len && key[len] == '.' && memcmp(key, path, len) == 0)
            return true;
    }
    return false;
}

void
conf_env_name(const struct conf_row *row, char out[CONF_NAME_MAX])
{
    size_t len = strlen(CONF_ENV_PREFIX);
    memcpy(out, CONF_ENV_PREFIX, len);
    for (const char *at = row->key; *at != '\0'; at++)
        out[len++] = *at == '.' ? '_' : (char)toupper((unsigned char)*at);
    out[len] = '\0';
}

void
conf_env_file_name(const struct conf_row *row, char out[CONF_NAME_MAX])
{
    conf_env_name(row, out);
    memcpy(out + strlen(out), "_FILE", sizeof("_FILE"));
}

void
conf_flag_name(const struct conf_row *row, char out[CONF_NAME_MAX])
{
    size_t len = 0;
    out[len++] = '-';
    out[len++] = '-';
    for (const char *at = row->key; *at != '\0'; at++)
        out[len++] = *at == '.' || *at == '_' ? '-' : *at;
    out[len] = '\0';
}

// Levenshtein, one row at a time. Both lengths are below CONF_NAME_MAX.
static size_t
edit_distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    size_t row[CONF_NAME_MAX];
    for (size_t j = 0; j <= b_len; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            if (best > row[j] + 1)
                best = row[j] + 1;
            if (best > row[j - 1] + 1)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[b_len];
}

void
conf_guess_start(struct conf_guess *guess, const char *wrong, size_t len, const char *prefix)
{
    *guess =
        (struct conf_guess){.wrong = wrong, .len = len, .prefix = prefix, .distance = SIZE_MAX};
}

void
conf_guess_offer(struct conf_guess *guess, const char *name)
{
    size_t name_len = strlen(name);
    assert(name_len < CONF_NAME_MAX);
    if (guess->len == 0 || guess->len >= CONF_NAME_MAX)
        return;
    size_t far = guess->len / 3 > 2 ? guess->len / 3 : 2;
    size_t distance = edit_distance(guess->wrong, guess->len, name, name_len);
    // A short name that shares no character is no guess, however short the way to it.
    if (distance > far || distance >= name_len || distance >= guess->distance)
        return;
    guess->distance = distance;
    memcpy(guess->best, name, name_len + 1);
}

void
conf_guess_write(const struct conf_guess *guess, FILE *out)
{
    if (guess->distance != SIZE_MAX)
        fprintf(out, " (did you mean '%s%s'?)", guess->prefix, guess->best);
}

// Each section once per row of it: offering a name twice changes nothing.
static void
offer_sections(struct conf_guess *guess, const char *key)
{
    char name[CONF_NAME_MAX];
    for (const char *dot = strchr(key, '.'); dot != NULL; dot = strchr(dot + 1, '.')) {
        memcpy(name, key, (size_t)(dot - key));
        name[dot - key] = '\0';
        conf_guess_offer(guess, name);
    }
}

int
conf_complain_key(const struct conf *conf, const char *place, const char *key, size_t len,
                  bool is_section, FILE *complaints)
{
    struct conf_guess guess;
    conf_guess_start(&guess, key, len, "");
    for (size_t i = 0; i < conf->count; i++) {
        if (is_section)
            offer_sections(&guess, conf->rows[i].key);
        else
            conf_guess_offer(&guess, conf->rows[i].key);
    }
    fprintf(complaints, "%s: %s ", place, is_section ? "section" : "key");
    conf_write_quoted(key, len, complaints);
    fputs(" is unknown", complaints);
    conf_guess_write(&guess, complaints);
    fputc('\n', complaints);
    return SY_EINVAL;
}
