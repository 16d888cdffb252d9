// bus.h: NATS in the loop. One connection, one loop, one thread; nothing blocks.
//
// nats.c's own reconnecting is off: a lost connection is thrown away and a fresh one
// is made on a worker thread (connecting blocks), then handed to the loop, which
// reads and writes it without blocking from then on. So no library thread ever holds
// the connection's mutex while the loop wants it. docs/decisions/ has the reasons.
//
// A connection counts as up only after a message to our own probe subject has come
// back: a subscription the server refused looks like any other to the client.
// Liveness: the probe repeats every ping_ms; no echo for 2 * ping_ms and the
// connection is dropped. While down every publish is refused: nothing is kept for
// later, nothing arrives late.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "lib/base/err.h"

struct bus;

#define BUS_MAX_SUBJECTS 8

struct bus_opts {
    // nats://[user:password@]host[:port], tls:// for TLS; several separated by commas.
    const char *url;
    const char *user; // overrides the URL's when not empty
    const char *password;
    const char *credentials_file; // .creds; empty: none
    const char *tls_ca_file;      // empty: the system's
    const char *name;             // shown by the server's monitoring
    // What to subscribe to, until NULL (all 8 may be used). Order is kept within each,
    // not between them. Reply subjects must be among those that begin with "unheard.":
    // only there is_unheard is reported.
    const char *subjects[BUS_MAX_SUBJECTS];
    const char *probe_subject;   // one that `subjects` covers; on_message sees no probes of our own
    uint64_t ping_ms;            // 2000
    uint64_t connect_timeout_ms; // 2000
    size_t max_buffered;         // 8 MiB: bytes not yet taken by the kernel
    // A message; subject is a C string, all borrowed for the call. is_unheard: nobody
    // listens on the subject we published to with this `subject` as reply (NATS status 503).
    void (*on_message)(void *arg, const char *subject, const void *bytes, size_t len,
                       bool is_unheard);
    void (*on_state)(void *arg, bool up, const char *why);
    void *arg;
};

// NULL with a line in *why for options that cannot be. Connects in the background.
struct bus *bus_open(uv_loop_t *loop, const struct bus_opts *opts, char why[static 160]);
// No callback comes after it but `closed`. What was published and not yet sent is
// sent if the kernel takes it at once.
void bus_close(struct bus *bus, void (*closed)(void *arg), void *arg);
bool bus_is_up(const struct bus *bus);
const char *bus_describe(const struct bus *bus); // as store_describe

// Queued; leaves in one write at bus_flush or at the end of the turn. reply may be
// NULL. SY_EDOWN, SY_EFULL (max_buffered), SY_EINVAL (larger than the server takes).
MUST_USE
int bus_publish(struct bus *bus, const char *subject, const char *reply, const void *bytes,
                size_t len);
void bus_flush(struct bus *bus);
// Largest payload the server takes; 0 while down.
size_t bus_max_payload(const struct bus *bus);

struct bus_stats {
    uint64_t published, received, bytes_out, bytes_in;
    uint64_t refused;    // publishes answered with an error
    uint64_t overflowed; // messages the library dropped since we read too slowly
    uint64_t connects, losses;
    uint64_t rtt_us; // of the last probe
};
void bus_stats(const struct bus *bus, struct bus_stats *out);
