// count_malloc.c: preloaded into a program, counts its allocations into a file that others
// map.
//
//   LD_PRELOAD=libcount_malloc.so COUNT_MALLOC_FILE=path [COUNT_MALLOC_SITES=path] program
//
// The file is a struct counts, at any time as it is now. Who sets its is_tracing has call
// paths recorded from then on: at the program's end each is a line of COUNT_MALLOC_SITES,
// "<calls> <bytes> <object+offset> <object+offset> ...", innermost first.
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct counts {
    _Atomic uint64_t calls; // malloc, calloc, realloc and their kin
    _Atomic uint64_t frees;
    _Atomic uint64_t asked; // bytes
    _Atomic int64_t live;   // usable bytes now
    _Atomic uint64_t is_tracing;
};

#define DEPTH 8
#define SITES 4096

struct site {
    void *path[DEPTH];
    uint64_t calls, bytes;
};

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *block);

static struct counts unmapped;
static struct counts *counts = &unmapped;
static struct site sites[SITES];
static const char *sites_path;
static __thread bool is_inside;

static void __attribute__((constructor)) start(void)
{
    const char *path = getenv("COUNT_MALLOC_FILE");
    void *warm[2];
    sites_path = getenv("COUNT_MALLOC_SITES");
    is_inside = true;
    backtrace(warm, 2); // loads what it needs, now
    is_inside = false;
    int fd = path != NULL ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (fd < 0)
        return;
    void *map = MAP_FAILED;
    if (ftruncate(fd, sizeof(struct counts)) == 0)
        map = mmap(NULL, sizeof(struct counts), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (map != MAP_FAILED)
        counts = map;
}

static void
note_site(size_t size)
{
    void *path[DEPTH + 2] = {0};
    is_inside = true;
    int depth = backtrace(path, DEPTH + 2);
    uint64_t hash = 1469598103934665603u;
    for (int i = 2; i < depth; i++)
        hash = (hash ^ (uintptr_t)path[i]) * 1099511628211u;
    for (size_t try = 0; try < SITES; try++) {
        struct site *site = &sites[(hash + try) % SITES];
        if (site->calls == 0)
            memcpy(site->path, path + 2, sizeof(site->path));
        else if (memcmp(site->path, path + 2, sizeof(site->path)) != 0)
            continue;
        site->calls++;
        site->bytes += size;
        break;
    }
    is_inside = false;
}

static void *
counted(void *block, size_t asked)
{
    if (block == NULL || is_inside)
        return block;
    counts->calls++;
    counts->asked += asked;
    counts->live += (int64_t)malloc_usable_size(block);
    if (counts->is_tracing != 0)
        note_site(asked);
    return block;
}

void *
malloc(size_t size)
{
    return counted(__libc_malloc(size), size);
}

void *
calloc(size_t count, size_t size)
{
    return counted(__libc_calloc(count, size), count * size);
}

void *
realloc(void *old, size_t size)
{
    size_t had = old != NULL ? malloc_usable_size(old) : 0;
    void *block = __libc_realloc(old, size);
    if (!is_inside && (block != NULL || size == 0))
        counts->live -= (int64_t)had;
    return counted(block, size);
}

void *
memalign(size_t alignment, size_t size)
{
    return counted(__libc_memalign(alignment, size), size);
}

void *
aligned_alloc(size_t alignment, size_t size)
{
    return memalign(alignment, size);
}

int
posix_memalign(void **out, size_t alignment, size_t size)
{
    void *block = memalign(alignment, size);
    if (block == NULL)
        return ENOMEM;
    *out = block;
    return 0;
}

void
free(void *block)
{
    if (block != NULL && !is_inside) {
        counts->frees++;
        counts->live -= (int64_t)malloc_usable_size(block);
    }
    __libc_free(block);
}

static void
print_site(FILE *out, const struct site *site)
{
    fprintf(out, "%llu %llu", (unsigned long long)site->calls, (unsigned long long)site->bytes);
    for (int i = 0; i < DEPTH && site->path[i] != NULL; i++) {
        Dl_info info;
        if (dladdr(site->path[i], &info) == 0 || info.dli_fname == NULL)
            continue;
        fprintf(out, " %s+0x%zx", info.dli_fname,
                (size_t)((char *)site->path[i] - (char *)info.dli_fbase - 1));
    }
    fputc('\n', out);
}

static void __attribute__((destructor)) finish(void)
{
    FILE *out = sites_path != NULL ? fopen(sites_path, "w") : NULL;
    if (out == NULL)
        return;
    is_inside = true;
    for (size_t i = 0; i < SITES; i++)
        if (sites[i].calls > 0)
            print_site(out, &sites[i]);
    fclose(out);
}
