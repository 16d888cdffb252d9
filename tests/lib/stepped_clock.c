// stepped_clock.c: the wall clock of one process steps while its monotonic clock goes on.
//
// Preloaded (LD_PRELOAD) into a server under test. STEPPED_CLOCK names a file of eight
// bytes: how many seconds the clock is ahead, a signed number in the machine's byte order.
// It is mapped at the first question, so a write to the file is a step at once. Without the
// file the process ends: a test that steps nothing is none.
//
// Nothing here allocates: an allocator asks for the time before it can serve anyone.
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static _Atomic(const _Atomic int64_t *) mapped;

static int64_t
ahead_s(void)
{
    const _Atomic int64_t *seconds = atomic_load(&mapped);
    if (seconds == NULL) {
        const char *path = getenv("STEPPED_CLOCK");
        int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        void *page = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);
        if (page == MAP_FAILED)
            _exit(127);
        close(fd);
        seconds = page;
        atomic_store(&mapped, seconds);
    }
    return atomic_load(seconds);
}

int
clock_gettime(clockid_t clock, struct timespec *out)
{
    int error = (int)syscall(SYS_clock_gettime, clock, out);
    if (error == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        out->tv_sec += ahead_s();
    return error;
}

int
gettimeofday(struct timeval *restrict out, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    int error = clock_gettime(CLOCK_REALTIME, &now);
    if (error == 0)
        *out = (struct timeval){.tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000};
    return error;
}

time_t
time(time_t *out)
{
    struct timespec now = {0};
    clock_gettime(CLOCK_REALTIME, &now);
    if (out != NULL)
        *out = now.tv_sec;
    return now.tv_sec;
}
