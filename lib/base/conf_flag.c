// conf_flag.c: the command line, and the start-up order of a program.
//
// 1. The whole command line is read first, without touching a setting: it names the
//    settings file, and --help must work beside a broken file.
// 2. Then the file, the environment and the flags are applied, in this order.
// 3. Last, the words that are no flags move to the front of argv.
//
// On any error argc and argv stay as they were. A flag's value may start with one dash
// (a negative number) but not with two: "--a --b" is far more often a forgotten value.
#include "lib/base/conf_internal.h"

#include <stdlib.h>
#include <string.h>

struct flag {
    size_t index;      // row
    const char *value; // points into argv
    bool is_by_key;    // --set KEY=VALUE
};

struct command_line {
    const struct conf *conf;
    FILE *complaints;
    char **argv;
    int argc;
    int at;           // the word being read
    const char *file; // from --config, else NULL
    bool is_help;
    bool is_over; // after "--" all are words
    struct flag *flags;
    size_t flag_count;
    char **words;
    int word_count;
};

// `name` is the flag as it was written, for the message.
static int
take_value(struct command_line *line, const char *name, size_t name_len, const char *inline_value,
           const char **value)
{
    if (inline_value != NULL) {
        *value = inline_value;
        return 0;
    }
    const char *next = line->at + 1 < line->argc ? line->argv[line->at + 1] : NULL;
    if (next == NULL || strncmp(next, "--", 2) == 0) {
        fprintf(line->complaints, "%.*s: needs a value\n", (int)name_len, name);
        return SY_EINVAL;
    }
    line->at++;
    *value = next;
    return 0;
}

static int
complain_unknown(const struct command_line *line, const char *name, size_t len)
{
    static const char *const others[] = {"config", "help", "set"};
    size_t dashes = strspn(name, "-");
    struct conf_guess guess;
    conf_guess_start(&guess, name + dashes, len - dashes, "--");
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        conf_guess_offer(&guess, others[i]);
    for (size_t i = 0; i < line->conf->count; i++) {
        char known[CONF_NAME_MAX];
        conf_flag_name(&line->conf->rows[i], known);
        conf_guess_offer(&guess, known + 2);
    }
    fputs("flag ", line->complaints);
    conf_write_quoted(name, len, line->complaints);
    fputs(" is unknown", line->complaints);
    conf_guess_write(&guess, line->complaints);
    fputc('\n', line->complaints);
    return SY_EINVAL;
}

static void
keep_flag(struct command_line *line, size_t index, const char *value, bool is_by_key)
{
    line->flags[line->flag_count++] =
        (struct flag){.index = index, .value = value, .is_by_key = is_by_key};
}

// --set KEY=VALUE
static int
read_set(struct command_line *line, const char *inline_value)
{
    const char *pair;
    int rc = take_value(line, "--set", 5, inline_value, &pair);
    if (rc != 0)
        return rc;
    size_t key_len = strcspn(pair, "=");
    if (pair[key_len] != '=') {
        conf_complain(line->complaints, "--set", "needs KEY=VALUE");
        return SY_EINVAL;
    }
    size_t index = conf_find(line->conf, pair, key_len);
    if (index == SIZE_MAX)
        return conf_complain_key(line->conf, "--set", pair, key_len, false, line->complaints);
    keep_flag(line, index, pair + key_len + 1, true);
    return 0;
}

static size_t
find_flag(const struct conf *conf, const char *name, size_t len)
{
    for (size_t i = 0; i < conf->count; i++) {
        char known[CONF_NAME_MAX];
        conf_flag_name(&conf->rows[i], known);
        if (strlen(known) == len && memcmp(known, name, len) == 0)
            return i;
    }
    return SIZE_MAX;
}

static bool
is_flag(const char *name, size_t len, const char *flag)
{
    return strlen(flag) == len && memcmp(flag, name, len) == 0;
}

static int
read_flag(struct command_line *line, const char *word)
{
    size_t len = strcspn(word, "=");
    const char *inline_value = word[len] == '=' ? word + len + 1 : NULL;
    if (is_flag(word, len, "--help") || is_flag(word, len, "-h")) {
        line->is_help = true;
        return 0;
    }
    if (is_flag(word, len, "--config") || strcmp(word, "-c") == 0) {
        int rc = take_value(line, word, len, inline_value, &line->file);
        if (rc == 0 && *line->file == '\0') {
            fprintf(line->complaints, "%.*s: needs a value\n", (int)len, word);
            rc = SY_EINVAL;
        }
        return rc;
    }
    if (is_flag(word, len, "--set"))
        return read_set(line, inline_value);
    size_t index = find_flag(line->conf, word, len);
    if (index == SIZE_MAX)
        return complain_unknown(line, word, len);
    const char *value = "true";
    if (line->conf->rows[index].type != CONF_BOOL || inline_value != NULL) {
        int rc = take_value(line, word, len, inline_value, &value);
        if (rc != 0)
            return rc;
    }
    keep_flag(line, index, value, false);
    return 0;
}

static int
read_command_line(struct command_line *line)
{
    for (line->at = 1; line->at < line->argc && !line->is_help; line->at++) {
        char *word = line->argv[line->at];
        if (line->is_over || word[0] != '-' || word[1] == '\0') {
            line->words[line->word_count++] = word;
        } else if (strcmp(word, "--") == 0) {
            line->is_over = true;
        } else {
            int rc = read_flag(line, word);
            if (rc != 0)
                return rc;
        }
    }
    return 0;
}

static int
apply_flags(struct conf *conf, const struct command_line *line)
{
    for (size_t i = 0; i < line->flag_count; i++) {
        const struct flag *flag = &line->flags[i];
        char name[CONF_NAME_MAX] = "--set";
        if (!flag->is_by_key)
            conf_flag_name(&conf->rows[flag->index], name);
        int rc = conf_apply(conf, flag->index, flag->value, strlen(flag->value), name, "flag",
                            line->complaints);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static const char *
file_from_env(char *const *env)
{
    for (; *env != NULL; env++)
        if (strncmp(*env, CONF_ENV_FILE "=", sizeof(CONF_ENV_FILE)) == 0)
            return (*env)[sizeof(CONF_ENV_FILE)] != '\0' ? *env + sizeof(CONF_ENV_FILE) : NULL;
    return NULL;
}

static int
load_in_order(struct conf *conf, const struct command_line *line, char *const *env)
{
    const char *file = line->file != NULL ? line->file : file_from_env(env);
    int rc = file != NULL ? conf_load_file(conf, file, line->complaints) : 0;
    if (rc == 0)
        rc = conf_load_env(conf, env, line->complaints);
    if (rc == 0)
        rc = apply_flags(conf, line);
    return rc;
}

int
conf_load_all(struct conf *conf, int *argc, char **argv, char *const *env, FILE *complaints)
{
    size_t most = *argc > 0 ? (size_t)*argc : 0;
    struct command_line line = {
        .conf = conf,
        .complaints = complaints,
        .argv = argv,
        .argc = *argc,
        .flags = conf_alloc(most * sizeof(*line.flags)),
        .words = conf_alloc(most * sizeof(*line.words)),
    };
    int rc = read_command_line(&line);
    if (rc == 0 && line.is_help) {
        conf_help(conf, stdout);
        rc = 1;
    }
    if (rc == 0)
        rc = load_in_order(conf, &line, env);
    if (rc == 0 && *argc > 0) {
        memcpy(argv + 1, line.words, (size_t)line.word_count * sizeof(*argv));
        *argc = line.word_count + 1;
        argv[*argc] = NULL;
    }
    free(line.flags);
    free(line.words);
    return rc;
}
