// shift_clock.c: preloaded into redis-server, sets its wall clock forward or back: by what the
// file named in SHIFT_CLOCK holds, an int64_t of milliseconds, read anew at each call through a
// mapping. Monotonic clocks are left alone, as by whoever sets a machine's clock.
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *shift_ms;

__attribute__((constructor)) static void
open_shift(void)
{
    const char *path = getenv("SHIFT_CLOCK");
    int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *map = fd >= 0 ? mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
    if (map == MAP_FAILED)
        abort();
    shift_ms = map;
    close(fd);
}

static void
shift(struct timespec *at)
{
    int64_t ms = shift_ms != NULL ? *shift_ms : 0;
    at->tv_sec += ms / 1000;
    at->tv_nsec += ms % 1000 * 1000000;
    if (at->tv_nsec >= 1000000000 || at->tv_nsec < 0) {
        int64_t more = at->tv_nsec < 0 ? -1 : 1;
        at->tv_sec += more;
        at->tv_nsec -= more * 1000000000;
    }
}

int
clock_gettime(clockid_t clock, struct timespec *at)
{
    int error = (int)syscall(SYS_clock_gettime, clock, at);
    if (error == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        shift(at);
    return error;
}

int
gettimeofday(struct timeval *restrict at, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    int error = clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return error;
}

time_t
time(time_t *at)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at != NULL)
        *at = now.tv_sec;
    return now.tv_sec;
}
