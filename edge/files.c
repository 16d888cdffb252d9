// files.c: static files. Everything that is not plainly a file below the root is absent:
// the answer does not tell why.
#include "edge/files.h"

#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

// clang-format off
static const struct {
    const char *suffix;
    const char *type;
} types[] = {
    {".html", "text/html; charset=utf-8"},
    {".css",  "text/css; charset=utf-8"},
    {".js",   "text/javascript; charset=utf-8"},
    {".mjs",  "text/javascript; charset=utf-8"},
    {".json", "application/json"},
    {".map",  "application/json"},
    {".txt",  "text/plain; charset=utf-8"},
    {".md",   "text/plain; charset=utf-8"},
    {".xml",  "text/xml; charset=utf-8"},
    {".svg",  "image/svg+xml"},
    {".png",  "image/png"},
    {".jpg",  "image/jpeg"},
    {".jpeg", "image/jpeg"},
    {".gif",  "image/gif"},
    {".webp", "image/webp"},
    {".ico",  "image/vnd.microsoft.icon"},
    {".woff2", "font/woff2"},
    {".wasm", "application/wasm"},
    {".webmanifest", "application/manifest+json"},
};
// clang-format on

static const char *
type_of(const char *path)
{
    size_t len = strlen(path);
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        size_t suffix = strlen(types[i].suffix);
        if (len > suffix && strcasecmp(path + len - suffix, types[i].suffix) == 0)
            return types[i].type;
    }
    return "application/octet-stream";
}

// Segments that do not start with a dot and hold no control characters or backslashes.
static bool
path_is_plain(const char *path)
{
    if (path[0] != '/')
        return false;
    for (const char *at = path; *at != '\0'; at++) {
        if ((unsigned char)*at < 0x20 || *at == 0x7f || *at == '\\')
            return false;
        if (at[0] == '/' && (at[1] == '.' || at[1] == '/'))
            return false;
    }
    return true;
}

// The file's real path, if that is below the root's real path.
static bool
resolve(const char *root, const char *index, const char *path, char out[static PATH_MAX])
{
    char base[PATH_MAX], wanted[PATH_MAX];
    const char *tail = path[strlen(path) - 1] == '/' ? index : "";
    if (realpath(root, base) == NULL)
        return false;
    int len = snprintf(wanted, sizeof wanted, "%s%s%s", base, path, tail);
    if (len < 0 || (size_t)len >= sizeof wanted || realpath(wanted, out) == NULL)
        return false;
    size_t base_len = strcmp(base, "/") == 0 ? 0 : strlen(base);
    return strncmp(out, base, base_len) == 0 && out[base_len] == '/';
}

int
file_open(const char *root, const char *index, const char *path, struct file *out)
{
    char real[PATH_MAX];
    if (!path_is_plain(path) || !resolve(root, index, path, real))
        return SY_ENOENT;
    // Non-blocking: opening a FIFO must not wait for its writer.
    int fd = open(real, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return SY_ENOENT;
    struct stat info;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        close(fd);
        return SY_ENOENT;
    }
    out->fd = fd;
    out->size = (uint64_t)info.st_size;
    out->type = type_of(real);
    snprintf(out->etag, sizeof out->etag, "\"%llx-%llx.%lx-%llx\"",
             (unsigned long long)info.st_size, (unsigned long long)info.st_mtim.tv_sec,
             (unsigned long)info.st_mtim.tv_nsec, (unsigned long long)info.st_ino);
    return 0;
}
