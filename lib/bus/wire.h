// wire.h: one connection of nats.c in the loop, from its making to its end. It is
// never repaired: bus.c throws it away and opens another.
//
// 1 wire_open: a worker thread connects and subscribes, then on_open.
// 2 The loop polls a dup() of the socket. Readable: the library reads and parses,
//   then every subscription is drained. What was published since the last flush
//   leaves in one send(); the loop polls for writing only while the kernel is full.
// 3 wire_close: a worker thread ends the connection, then on_closed; the wire is gone.
//
// Not made: on_open with an error, then wire_close. Lost: on_lost once, then
// wire_close. All callbacks come from the loop, never from inside a call.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "lib/base/err.h"

struct target;
struct wire;

struct wire_hooks {
    void (*on_open)(void *arg, int error, const char *why);
    // As bus_opts.on_message.
    void (*on_message)(void *arg, const char *subject, const void *bytes, size_t len,
                       bool is_unheard);
    // The server refused a subscription or a publish; `text` is its own.
    void (*on_refused)(void *arg, const char *text);
    void (*on_lost)(void *arg, const char *why);
    void (*on_closed)(void *arg);
    void *arg;
};

// target and subjects (until NULL) must stay until on_closed; one wire per target at
// a time.
struct wire *wire_open(uv_loop_t *loop, struct target *target, const char *const *subjects,
                       const struct wire_hooks *hooks);
// At any time, once. `gently`: what the kernel took still reaches the server.
void wire_close(struct wire *wire, bool gently);
// Ends an attempt to connect that its own timeouts did not end.
void wire_unstick(struct wire *wire);

// The rest between on_open and wire_close.

// SY_EINVAL: larger than the server takes; SY_EDOWN.
MUST_USE
int wire_publish(struct wire *wire, const char *subject, const char *reply, const void *bytes,
                 size_t len);
void wire_flush(struct wire *wire);
// For deciding about life and death: takes in what has arrived already.
void wire_read(struct wire *wire);
// Every now and then: frees the memory of delivered messages, of which up to 64 or 256 KiB
// are kept otherwise (spent.h).
void wire_tidy(struct wire *wire);
size_t wire_buffered(const struct wire *wire); // bytes the kernel has not taken
size_t wire_max_payload(const struct wire *wire);
const char *wire_peer(const struct wire *wire); // host:port
uint64_t wire_overflowed(struct wire *wire);
