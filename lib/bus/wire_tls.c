// wire_tls.c: reading over TLS without standing still.
//
// The library waits within a TLS record, in OpenSSL, for as long as it takes. So the
// loop looks into the kernel's buffer first, and lets it read whole records only.
#include <errno.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

#include "lib/bus/wire_private.h"

#define TLS_HEADER 5
// The longest the loop stands still for the rest of a TLS record.
#define GUARD_MS 80
// On loopback a segment is 64 KiB, and a part of a record that waits in the kernel can
// leave a window smaller than that: the sender then stops for 200 ms. The kernel cuts
// it to net.core.rmem_max, 208 KiB if nobody changed it, and that is enough.
static const int tls_window = 1024 * 1024;

static void
set_low_water(struct wire *wire, int bytes)
{
    if (wire->low_water == bytes)
        return;
    wire->low_water = bytes;
    (void)setsockopt(wire->fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof bytes);
}

// The library waits only within a TLS record, so the next must be
// here whole; until then the kernel is told not to wake us. A line of NATS never
// begins with a byte below space, a TLS record always does.
enum wire_ready
wire_look(struct wire *wire)
{
    unsigned char header[TLS_HEADER];
    ssize_t n = recv(wire->fd, header, sizeof header, MSG_PEEK | MSG_DONTWAIT);
    if (n <= 0) // the end and errors are for the library to notice
        return n < 0 && (errno == EAGAIN || errno == EINTR) ? WIRE_NOTHING : WIRE_WHOLE;
    if (!wire->has_seen_data) {
        wire->has_seen_data = true;
        wire->is_tls = header[0] < ' ';
        if (wire->is_tls)
            (void)setsockopt(wire->fd, SOL_SOCKET, SO_RCVBUF, &tls_window, sizeof tls_window);
    }
    if (!wire->is_tls)
        return WIRE_WHOLE;
    int here = 0, need = TLS_HEADER;
    if (n == TLS_HEADER)
        need += header[3] << 8 | header[4];
    if (ioctl(wire->fd, FIONREAD, &here) != 0 || here >= need) {
        set_low_water(wire, 1);
        return WIRE_WHOLE;
    }
    set_low_water(wire, need);
    struct pollfd poll_fd = {.fd = wire->fd, .events = POLLIN | POLLRDHUP};
    return poll(&poll_fd, 1, 0) > 0 ? WIRE_PART : WIRE_NOTHING;
}

struct guard {
    int fd;
    sem_t done;
    bool has_cut;
};

static void *
guard_main(void *arg)
{
    struct guard *guard = arg;
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_nsec += GUARD_MS * 1000000L;
    if (end.tv_nsec >= 1000000000L) {
        end.tv_nsec -= 1000000000L;
        end.tv_sec++;
    }
    int rc;
    while ((rc = sem_timedwait(&guard->done, &end)) != 0 && errno == EINTR)
        continue;
    guard->has_cut = rc != 0;
    if (guard->has_cut)
        shutdown(guard->fd, SHUT_RDWR);
    return NULL;
}

// Reads a part of a TLS record. The kernel asks for it when the connection has ended,
// and when the few bytes left of a large segment keep its receive window shut: then
// the rest comes as soon as they are taken. If it does not (a server frozen just
// there), the wait is cut short by a thread made for it. Rare; costs some 50 us.
void
wire_read_part(struct wire *wire)
{
    struct guard guard = {.fd = wire->fd};
    pthread_t thread;
    sem_init(&guard.done, 0, 0);
    if (pthread_create(&thread, NULL, guard_main, &guard) == 0) {
        natsConnection_ProcessReadEvent(wire->nc);
        sem_post(&guard.done);
        pthread_join(thread, NULL);
        wire->is_cut = guard.has_cut;
    }
    sem_destroy(&guard.done);
}
