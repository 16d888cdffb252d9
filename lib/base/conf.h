// conf.h: settings from one table.
//
// A program describes each of its settings in one row. From the rows come the YAML
// keys, the environment variables, the flags, --help, `config doc` (the reference
// page), `config env`, `gen-config` and the checks.
//
// Order: defaults < file < environment < flags. An empty environment variable counts
// as not set. A secret may be given as <VARIABLE>_FILE, the path of a file that holds
// it; its last newline is dropped.
//
// Bad input: the first error is written to the given stream as one line that names
// place, key, value and what would be right, with a guess for misspelt keys:
//   edge.yaml:3:5: key 'listen.prot' is unknown (did you mean 'listen.port'?)
//   SWITCHYARD_LISTEN_PORT: '80000' is out of range for listen.port: 0 to 65535
// A value with an error changes nothing; those before it stay. A secret is never repeated.
// Unknown SWITCHYARD_* variables are warned about with the nearest name: another program
// of the family may own them.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "lib/base/err.h"

enum conf_type {
    CONF_STRING,   // const char *, never NULL; min and max are lengths
    CONF_INT,      // int64_t
    CONF_BOOL,     // bool: true/false, yes/no, on/off
    CONF_DURATION, // int64_t milliseconds: "250ms", "10s", "5m", "2h"; a bare number is refused,
                   // but for 0
    CONF_SIZE,     // int64_t bytes: "512", "64KiB", "1MiB", "1GiB"
    CONF_CHOICE,   // const char *: one of the words in `choices`, separated by '|'
    CONF_LIST,     // const char *: words separated by single spaces; a YAML sequence or a scalar
};

struct conf_row {
    const char *key; // "section.name" or "section.sub.name": [a-z0-9_.], also the YAML path
    enum conf_type type;
    size_t offset;       // of the value in the program's settings struct
    const char *value;   // default, as it would be written
    int64_t min, max;    // for STRING, INT, DURATION, SIZE: min < max, or conf_init aborts
    const char *choices; // for CHOICE
    bool reloadable;     // SIGHUP takes a new value
    bool secret;         // never printed; also accepted as a file
    const char *help;    // one sentence or more, without the default
};

// Rows of a table whose values go into a T.
// clang-format off
#define CONF_STRING_ROW(T, key, field, value, max, help) \
    {key, CONF_STRING, offsetof(T, field), value, 0, max, NULL, false, false, help}
#define CONF_SECRET_ROW(T, key, field, help) \
    {key, CONF_STRING, offsetof(T, field), "", 0, 4096, NULL, false, true, help}
#define CONF_NUMBER_ROW(T, key, type, field, value, min, max, help) \
    {key, type, offsetof(T, field), value, min, max, NULL, false, false, help}
#define CONF_CHOICE_ROW(T, key, field, value, choices, help) \
    {key, CONF_CHOICE, offsetof(T, field), value, 0, 0, choices, false, false, help}
// clang-format on

struct conf {
    const char *program; // "switchyard-edge"
    const struct conf_row *rows;
    size_t count;
    void *settings; // where the values go
    // Below: filled by conf_load.
    char **origins; // per row: "default", "FILE:LINE", "env NAME", "flag"
    char **owned;   // per row: text the settings point to, good until the row's next value
};

// Fills settings with defaults. Call once before the others. A table that is wrong in
// itself (a default out of bounds, two rows with one name) aborts.
void conf_init(struct conf *conf, const char *program, const struct conf_row *rows, size_t count,
               void *settings);
void conf_fini(struct conf *conf);

// Each answers 0, or SY_EINVAL after writing one line to `complaints`. SY_ENOENT: no such file
// (also written).
MUST_USE
int conf_load_file(struct conf *conf, const char *path, FILE *complaints);
// The same from memory, for tests and fuzzing; `name` stands for the path.
MUST_USE
int conf_load_text(struct conf *conf, const char *name, const char *text, size_t len,
                   FILE *complaints);
MUST_USE
int conf_load_env(struct conf *conf, char *const *env, FILE *complaints);
// One setting, as a flag: key "listen.port" from --listen-port or --set listen.port=...
MUST_USE
int conf_set(struct conf *conf, const char *key, const char *value, const char *origin,
             FILE *complaints);

// The whole start-up order for a program: --config FILE (or -c, or SWITCHYARD_CONFIG), the
// environment, flags (--listen-port=8000, --listen-port 8000, --flag for true, --set
// listen.port=8000). Words that are not flags are moved to the front of argv and *argc is set
// to their number (argv[0] included); "--" ends the flags. --help prints conf_help to stdout
// and answers 1, before any file is read. Errors as above; argv is then as it was.
MUST_USE
int conf_load_all(struct conf *conf, int *argc, char **argv, char *const *env, FILE *complaints);

// Prints. Secrets appear as "***" unless they are empty or the default.
void conf_help(const struct conf *conf, FILE *out);
void conf_show(const struct conf *conf, bool with_origin, FILE *out); // key = value
void conf_show_env(const struct conf *conf, FILE *out);      // every variable with its default
void conf_show_yaml(const struct conf *conf, FILE *out);     // a commented file with defaults
void conf_show_markdown(const struct conf *conf, FILE *out); // the reference table

// How many settings do not have their default.
size_t conf_count_set(const struct conf *conf);
