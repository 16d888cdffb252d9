// conf.c: the table and its values; one value set; files read.
//
// 1. conf_init checks the table (our own fault if it is wrong: abort) and applies each
//    default like any other value, so a default cannot escape its own bounds.
// 2. Every later value, wherever it comes from, goes through conf_apply: parse, then
//    replace. A bad one is explained and changes nothing.
// 3. Texts live in conf->owned; the settings struct points there until the next value
//    of that row or conf_fini.
#include "lib/base/conf_internal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void *
conf_alloc(size_t size)
{
    void *memory = calloc(1, size > 0 ? size : 1);
    if (memory == NULL)
        abort();
    return memory;
}

char *
conf_copy(const char *text, size_t len)
{
    char *copy = conf_alloc(len + 1);
    memcpy(copy, text, len);
    return copy;
}

void
conf_wipe_free(char *text, size_t len)
{
    if (text != NULL)
        explicit_bzero(text, len);
    free(text);
}

void
conf_complain(FILE *complaints, const char *place, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(complaints, "%s: ", place);
    vfprintf(complaints, format, args);
    fputc('\n', complaints);
    va_end(args);
}

static void
check_key(const char *key)
{
    size_t len = strlen(key);
    assert(len > 0 && len < CONF_KEY_MAX);
    assert(strspn(key, "abcdefghijklmnopqrstuvwxyz0123456789_.") == len);
    const char *dot = strchr(key, '.');
    assert(dot != NULL && dot != key && key[len - 1] != '.' && strstr(key, "..") == NULL);
    (void)dot;
}

// Two rows must not share a key, a variable or a flag; no key may be a section as well.
static void
check_apart(const struct conf_row *a, const struct conf_row *b)
{
    char a_name[CONF_NAME_MAX];
    char b_name[CONF_NAME_MAX];
    conf_env_name(a, a_name);
    conf_env_name(b, b_name);
    assert(strcmp(a_name, b_name) != 0); // so the keys and the flags differ, too
    if (a->secret) {
        conf_env_file_name(a, a_name);
        assert(strcmp(a_name, b_name) != 0);
    }
}

static void
check_table(const struct conf *conf)
{
    for (size_t i = 0; i < conf->count; i++) {
        const struct conf_row *row = &conf->rows[i];
        check_key(row->key);
        assert(!conf_is_section(conf, row->key, strlen(row->key)));
        assert(row->help != NULL && row->value != NULL);
        assert(row->type != CONF_CHOICE || row->choices != NULL);
        assert(row->type == CONF_BOOL || row->type == CONF_CHOICE || row->type == CONF_LIST ||
               row->min < row->max); // forgotten bounds
        for (size_t j = 0; j < conf->count; j++)
            if (i != j)
                check_apart(row, &conf->rows[j]);
    }
}

void
conf_init(struct conf *conf, const char *program, const struct conf_row *rows, size_t count,
          void *settings)
{
    *conf = (struct conf){.program = program, .rows = rows, .count = count, .settings = settings};
    check_table(conf);
    conf->origins = conf_alloc(count * sizeof(*conf->origins));
    conf->owned = conf_alloc(count * sizeof(*conf->owned));
    for (size_t i = 0; i < count; i++) {
        const char *value = rows[i].value;
        int rc = conf_apply(conf, i, value, strlen(value), rows[i].key, "default", stderr);
        assert(rc == 0);
        (void)rc;
    }
}

static void
drop_text(struct conf *conf, size_t index)
{
    char *text = conf->owned[index];
    conf->owned[index] = NULL;
    conf_wipe_free(text, text != NULL ? strlen(text) : 0);
}

void
conf_fini(struct conf *conf)
{
    static char gone[] = "";
    for (size_t i = 0; i < conf->count; i++) {
        if (conf_has_text(&conf->rows[i]))
            conf_store(&conf->rows[i], conf->settings, &(struct conf_value){.text = gone});
        drop_text(conf, i);
        free(conf->origins[i]);
    }
    free(conf->owned);
    free(conf->origins);
    *conf = (struct conf){0};
}

int
conf_apply(struct conf *conf, size_t index, const char *text, size_t len, const char *place,
           const char *origin, FILE *complaints)
{
    const struct conf_row *row = &conf->rows[index];
    struct conf_value value;
    enum conf_fault fault = conf_parse(row, text, len, &value);
    if (fault != CONF_GOOD) {
        fprintf(complaints, "%s: ", place);
        conf_explain(row, text, len, fault, complaints);
        fputc('\n', complaints);
        return SY_EINVAL;
    }
    char *origin_copy = conf_copy(origin, strlen(origin)); // may be the one freed below
    conf_store(row, conf->settings, &value);
    drop_text(conf, index);
    conf->owned[index] = value.text;
    free(conf->origins[index]);
    conf->origins[index] = origin_copy;
    return 0;
}

int
conf_set(struct conf *conf, const char *key, const char *value, const char *origin,
         FILE *complaints)
{
    size_t index = conf_find(conf, key, strlen(key));
    if (index != SIZE_MAX)
        return conf_apply(conf, index, value, strlen(value), origin, origin, complaints);
    return conf_complain_key(conf, origin, key, strlen(key), false, complaints);
}

// Up to max bytes; one more found means SY_EFULL.
static int
read_all(int fd, size_t max, char *bytes, size_t *len)
{
    size_t used = 0;
    for (;;) {
        ssize_t got = read(fd, bytes + used, max + 1 - used);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return SY_EIO;
        used += (size_t)got;
        if (used > max)
            return SY_EFULL;
        if (got == 0)
            break;
    }
    *len = used;
    return 0;
}

int
conf_read_file(const char *path, size_t max, char **bytes, size_t *len, unsigned *mode)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return errno == ENOENT ? SY_ENOENT : SY_EIO;
    struct stat status;
    char *room = conf_alloc(max + 1);
    int rc = fstat(fd, &status) == 0 ? read_all(fd, max, room, len) : SY_EIO;
    int saved_errno = errno;
    close(fd);
    errno = saved_errno;
    if (rc != 0) {
        conf_wipe_free(room, max + 1);
        errno = saved_errno;
        return rc;
    }
    if (mode != NULL)
        *mode = (unsigned)(status.st_mode & 07777);
    *bytes = room;
    return 0;
}

int
conf_load_text(struct conf *conf, const char *name, const char *text, size_t len, FILE *complaints)
{
    if (len > CONF_FILE_MAX) {
        conf_complain(complaints, name, "is larger than 1 MiB");
        return SY_EINVAL;
    }
    return conf_read_yaml(conf, name, text, len, complaints);
}

int
conf_load_file(struct conf *conf, const char *path, FILE *complaints)
{
    char *text;
    size_t len;
    int rc = conf_read_file(path, CONF_FILE_MAX, &text, &len, NULL);
    if (rc == SY_EFULL) {
        conf_complain(complaints, path, "is larger than 1 MiB");
        return SY_EINVAL;
    }
    if (rc != 0) {
        conf_complain(complaints, path, "cannot be read: %s", strerror(errno));
        return rc == SY_ENOENT ? SY_ENOENT : SY_EINVAL;
    }
    rc = conf_load_text(conf, path, text, len, complaints);
    conf_wipe_free(text, len); // it may hold secrets
    return rc;
}

size_t
conf_count_set(const struct conf *conf)
{
    size_t count = 0;
    for (size_t i = 0; i < conf->count; i++)
        if (!conf_is_default(&conf->rows[i], conf->settings))
            count++;
    return count;
}
