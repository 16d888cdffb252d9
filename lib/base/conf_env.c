// conf_env.c: settings from environment variables, and secrets from files they name.
//
// An empty variable counts as not set, so that `NAME= program` undoes an export. A
// variable that only looks like ours is warned about, never refused: the processes of
// one cluster often share one environment, and each knows only its own names.
#include "lib/base/conf_internal.h"

#include <errno.h>
#include <string.h>

// NULL when absent or empty. The first entry of a name wins, as with getenv.
static const char *
find_variable(char *const *env, const char *name)
{
    size_t len = strlen(name);
    for (; *env != NULL; env++)
        if (strncmp(*env, name, len) == 0 && (*env)[len] == '=')
            return (*env)[len + 1] != '\0' ? *env + len + 1 : NULL;
    return NULL;
}

static int
complain_about_file(const char *variable, const char *path, int rc, FILE *complaints)
{
    int cause = errno;
    fprintf(complaints, "%s: ", variable);
    conf_write_quoted(path, strlen(path), complaints);
    if (rc == SY_EFULL)
        fputs(" is larger than 64 KiB, too large for a secret\n", complaints);
    else
        fprintf(complaints, " cannot be read: %s\n", strerror(cause));
    return SY_EINVAL;
}

static int
load_secret_file(struct conf *conf, size_t index, const char *variable, const char *path,
                 FILE *complaints)
{
    char *text;
    size_t len;
    unsigned mode;
    int rc = conf_read_file(path, CONF_SECRET_MAX, &text, &len, &mode);
    if (rc != 0)
        return complain_about_file(variable, path, rc, complaints);
    if ((mode & 044) != 0) {
        fprintf(complaints, "warning: %s: ", variable);
        conf_write_quoted(path, strlen(path), complaints);
        fprintf(complaints, " can be read by others than its owner (mode %04o)\n", mode);
    }
    size_t used = len;
    if (used > 0 && text[used - 1] == '\n')
        used -= used > 1 && text[used - 2] == '\r' ? 2 : 1;
    char origin[CONF_NAME_MAX + 8];
    snprintf(origin, sizeof(origin), "env %s", variable);
    rc = conf_apply(conf, index, text, used, variable, origin, complaints);
    conf_wipe_free(text, len);
    return rc;
}

static int
load_row(struct conf *conf, size_t index, char *const *env, FILE *complaints)
{
    const struct conf_row *row = &conf->rows[index];
    char name[CONF_NAME_MAX];
    conf_env_name(row, name);
    const char *value = find_variable(env, name);
    if (row->secret) {
        char file_name[CONF_NAME_MAX];
        conf_env_file_name(row, file_name);
        const char *path = find_variable(env, file_name);
        if (path != NULL && value != NULL) {
            conf_complain(complaints, name, "is set and so is %s: keep one of them", file_name);
            return SY_EINVAL;
        }
        if (path != NULL)
            return load_secret_file(conf, index, file_name, path, complaints);
    }
    if (value == NULL)
        return 0;
    char origin[CONF_NAME_MAX + 8];
    snprintf(origin, sizeof(origin), "env %s", name);
    return conf_apply(conf, index, value, strlen(value), name, origin, complaints);
}

static bool
is_name(const char *text, size_t len, const char *name)
{
    return strlen(name) == len && memcmp(name, text, len) == 0;
}

static void
warn_if_unknown(const struct conf *conf, const char *name, size_t len, FILE *complaints)
{
    if (is_name(name, len, CONF_ENV_FILE))
        return;
    size_t prefix = strlen(CONF_ENV_PREFIX);
    struct conf_guess guess;
    conf_guess_start(&guess, name + prefix, len - prefix, CONF_ENV_PREFIX);
    conf_guess_offer(&guess, &CONF_ENV_FILE[prefix]);
    for (size_t i = 0; i < conf->count; i++) {
        char known[CONF_NAME_MAX];
        conf_env_name(&conf->rows[i], known);
        if (is_name(name, len, known))
            return;
        conf_guess_offer(&guess, known + prefix);
        if (!conf->rows[i].secret)
            continue;
        conf_env_file_name(&conf->rows[i], known);
        if (is_name(name, len, known))
            return;
        conf_guess_offer(&guess, known + prefix);
    }
    fputs("warning: ", complaints);
    conf_write_quoted(name, len, complaints);
    fprintf(complaints, " is no setting of %s", conf->program);
    conf_guess_write(&guess, complaints);
    fputc('\n', complaints);
}

int
conf_load_env(struct conf *conf, char *const *env, FILE *complaints)
{
    for (char *const *at = env; *at != NULL; at++) {
        size_t len = strcspn(*at, "=");
        if (strncmp(*at, CONF_ENV_PREFIX, strlen(CONF_ENV_PREFIX)) == 0 && (*at)[len] == '=')
            warn_if_unknown(conf, *at, len, complaints);
    }
    for (size_t i = 0; i < conf->count; i++) {
        int rc = load_row(conf, i, env, complaints);
        if (rc != 0)
            return rc;
    }
    return 0;
}
