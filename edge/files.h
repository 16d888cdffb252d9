// files.h: which file a URL path means, and how to describe it. No sockets here.
#pragma once

#include <stdint.h>

#include "lib/base/err.h"

struct file {
    int fd; // the caller's to close
    uint64_t size;
    const char *type; // Content-Type; static
    char etag[64];    // quoted; changes with size, time of change and inode
};

// `path` is a decoded URL path; one that ends in '/' means `index` there. SY_ENOENT for
// whatever is no regular file below `root`: also names that start with a dot, and
// symbolic links that lead out.
MUST_USE
int file_open(const char *root, const char *index, const char *path, struct file *out);
