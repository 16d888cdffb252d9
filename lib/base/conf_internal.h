// conf_internal.h: what the conf_*.c files share. Private to lib/base.
//
//   conf.c        the table, one value set, files read
//   conf_env.c    environment variables, secrets in files
//   conf_flag.c   the command line and the whole start-up order
//   conf_name.c   names of a row, and the guess for a misspelt one
//   conf_value.c  text to typed value and back
//   conf_yaml.c   YAML events to values
//   conf_show.c   everything printed from the table
#pragma once

#include "lib/base/conf.h"

enum {
    CONF_KEY_MAX = 96,           // bytes in a key of the table
    CONF_NAME_MAX = 128,         // of any name made from it, with its end
    CONF_SHOWN_MAX = 64,         // bytes of a wrong value repeated in a message
    CONF_FILE_MAX = 1024 * 1024, // bytes in a settings file: far above any real one
    CONF_SECRET_MAX = 64 * 1024, // bytes in the file of one secret
};

#define CONF_ENV_PREFIX "SWITCHYARD_"
#define CONF_ENV_FILE "SWITCHYARD_CONFIG" // names the settings file

// Names and lookups. Answers SIZE_MAX when there is none.
size_t conf_find(const struct conf *conf, const char *key, size_t len);
bool conf_is_section(const struct conf *conf, const char *path, size_t len);
void conf_env_name(const struct conf_row *row, char out[CONF_NAME_MAX]);
void conf_env_file_name(const struct conf_row *row, char out[CONF_NAME_MAX]); // NAME_FILE
void conf_flag_name(const struct conf_row *row, char out[CONF_NAME_MAX]);     // with the dashes

// The nearest of the names offered, if it is near enough to be what was meant: at most
// two edits away, or a third of the length of what was written.
struct conf_guess {
    const char *wrong;
    size_t len;
    const char *prefix; // what all these names start with, left out of the comparison
    size_t distance;    // of `best`; SIZE_MAX while there is none
    char best[CONF_NAME_MAX];
};
void conf_guess_start(struct conf_guess *guess, const char *wrong, size_t len, const char *prefix);
// Both `wrong` above and `name` come without the prefix.
void conf_guess_offer(struct conf_guess *guess, const char *name);
// " (did you mean 'PREFIXNAME'?)", or nothing.
void conf_guess_write(const struct conf_guess *guess, FILE *out);
// "PLACE: key 'KEY' is unknown" and the guess; answers SY_EINVAL.
int conf_complain_key(const struct conf *conf, const char *place, const char *key, size_t len,
                      bool is_section, FILE *complaints);

// Values.
enum conf_fault {
    CONF_GOOD,
    CONF_BAD_SHAPE,
    CONF_BAD_RANGE,
    CONF_BAD_UNIT, // a duration without one
    CONF_BAD_NUL,
};
struct conf_value {
    int64_t number; // INT, DURATION, SIZE
    bool flag;      // BOOL
    char *text;     // STRING, CHOICE, LIST: on the heap, the caller's
};
enum conf_fault conf_parse(const struct conf_row *row, const char *text, size_t len,
                           struct conf_value *value);
// What was wrong and what would be right; names a secret's key, never its value.
void conf_explain(const struct conf_row *row, const char *text, size_t len, enum conf_fault fault,
                  FILE *out);
bool conf_has_text(const struct conf_row *row); // its value is a const char *
void conf_read(const struct conf_row *row, const void *settings, struct conf_value *value);
void conf_store(const struct conf_row *row, void *settings, const struct conf_value *value);
bool conf_is_default(const struct conf_row *row, const void *settings);
void conf_write_value(const struct conf_row *row, const struct conf_value *value, FILE *out);
void conf_write_range(const struct conf_row *row, FILE *out); // "0 to 65535"
// In single quotes, control characters escaped, cut at CONF_SHOWN_MAX.
void conf_write_quoted(const char *text, size_t len, FILE *out);

// "PLACE: ..." as one line.
void conf_complain(FILE *complaints, const char *place, const char *format, ...) PRINTF_LIKE(3, 4);
// Sets row `index` or complains about the value at `place`.
MUST_USE
int conf_apply(struct conf *conf, size_t index, const char *text, size_t len, const char *place,
               const char *origin, FILE *complaints);
// At most `max` bytes of a file. SY_ENOENT, SY_EIO (errno), SY_EFULL when there is more.
// *mode gets its permission bits unless NULL. The bytes are the caller's to free.
MUST_USE
int conf_read_file(const char *path, size_t max, char **bytes, size_t *len, unsigned *mode);
MUST_USE
int conf_read_yaml(struct conf *conf, const char *name, const char *text, size_t len,
                   FILE *complaints);

// Memory. Start-up cannot go on without it, so these abort instead of failing.
void *conf_alloc(size_t size);
char *conf_copy(const char *text, size_t len);
// Overwrites what it frees.
void conf_wipe_free(char *text, size_t len);
