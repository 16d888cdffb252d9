// failing_malloc.c: lets allocations of a process fail; for LD_PRELOAD.
//
// FAILING_MALLOC names a file. SIGUSR1 makes the library read it: `every N` fails each
// N-th allocation from then on, `random N SEED` one of N on average, `after N` all once N have
// passed. Until then nothing fails, so that a process starts as usual. What failed is
// counted; each failure sets errno to ENOMEM as malloc does. free is not touched.
//
// A crash is told on stderr: the modules on the way to it, the innermost first.
//
// The real functions are glibc's own names, so that nothing is looked up (dlsym allocates).
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *block, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

enum mode { NEVER, EVERY, RANDOM, AFTER };

static _Atomic(unsigned) mode;
static _Atomic(uint64_t) bound, seed, seen, failed;

static uint64_t
mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static int
must_fail(void)
{
    unsigned how = atomic_load_explicit(&mode, memory_order_acquire);
    if (how == NEVER)
        return 0;
    uint64_t number = atomic_fetch_add(&seen, 1) + 1;
    int is_due = how == EVERY    ? number % bound == 0
                 : how == RANDOM ? mix(seed ^ number) % bound == 0
                                 : number > bound;
    if (!is_due)
        return 0;
    atomic_fetch_add(&failed, 1);
    errno = ENOMEM;
    return 1;
}

void *
malloc(size_t size)
{
    return must_fail() ? NULL : __libc_malloc(size);
}

void *
calloc(size_t count, size_t size)
{
    return must_fail() ? NULL : __libc_calloc(count, size);
}

void *
realloc(void *block, size_t size)
{
    return must_fail() ? NULL : __libc_realloc(block, size);
}

void *
aligned_alloc(size_t alignment, size_t size)
{
    return must_fail() ? NULL : __libc_memalign(alignment, size);
}

static uint64_t
next_number(const char **at)
{
    uint64_t value = 0;
    while (**at == ' ')
        ++*at;
    while (**at >= '0' && **at <= '9')
        value = value * 10 + (uint64_t)(*(*at)++ - '0');
    return value;
}

static void
on_signal(int number)
{
    char text[128];
    const char *path = getenv("FAILING_MALLOC");
    int before = errno;
    (void)number;
    int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    ssize_t len = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    if (fd >= 0)
        close(fd);
    if (len > 0) {
        static const char *const words[] = {"never", "every", "random", "after"};
        text[len] = '\0';
        for (unsigned how = EVERY; how <= AFTER; how++) {
            size_t size = strlen(words[how]);
            const char *at = text + size;
            if (strncmp(text, words[how], size) != 0)
                continue;
            uint64_t value = next_number(&at);
            bound = value > 0 ? value : 1;
            seed = next_number(&at);
            seen = 0;
            atomic_store_explicit(&mode, how, memory_order_release);
        }
    }
    errno = before;
}

static void
on_crash(int number)
{
    static const char text[] = "failing_malloc: crashed\n";
    void *frames[24];
    int count = backtrace(frames, 24);
    (void)!write(STDERR_FILENO, text, sizeof text - 1);
    backtrace_symbols_fd(frames, count, STDERR_FILENO);
    signal(number, SIG_DFL);
    raise(number);
}

__attribute__((constructor)) static void
prepare(void)
{
    void *frame;
    struct sigaction crash = {.sa_handler = on_crash};
    backtrace(&frame, 1); // loads what it needs while there is memory
    sigaction(SIGSEGV, &crash, NULL);
    sigaction(SIGBUS, &crash, NULL);
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigaction(SIGUSR1, &action, NULL);
}
