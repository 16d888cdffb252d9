// switchyard/client.h: a Switchyard client for C.
//
//   struct switchyard_options options = SWITCHYARD_OPTIONS_INIT;
//   options.urls = (const char *const[]){"ws://127.0.0.1:8000/ws"};
//   options.url_count = 1;
//   options.token = token;
//   options.on_message = on_message;
//   int error;
//   struct switchyard_client *client = switchyard_client_new(&options, &error);
//   switchyard_client_open(client);
//   switchyard_client_run(client);
//   switchyard_client_free(client);
//
// The client keeps one WebSocket to one of the edges, logs in, and comes back after
// every loss until it is closed or an edge says not to: full-jitter backoff from 0.5 s
// to 20 s, the next URL of the list at each failure, the waiting time the edge asked for.
//
// Threads: a client belongs to the thread that runs its loop; every function here, but
// switchyard_error_text, switchyard_reason_name and switchyard_state_name, is called from
// that thread. Clients on different loops share nothing. To reach a client from another
// thread, post to its loop (uv_async_send).
//
// Callbacks come from the loop, never from inside a call of yours; the exceptions are
// switchyard_client_free and, with a loop of the client's own, _run and _service, which are
// the loop. A callback may call anything on its client except _free, _run and _service.
// What a callback is given is borrowed until it returns.
//
// Memory: a client owns copies of all its options. A call that fails for want of memory
// answers SWITCHYARD_ENOMEM and changes nothing; nothing here aborts the process for
// anything that comes from outside.
//
// Process-wide effects of libwebsockets, which this library sits on: SIGPIPE is ignored,
// and its log is silenced unless options.keep_library_log is set.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct switchyard_client;
struct uv_loop_s;

// Errors: what a call answers, 0 or one of these.
enum switchyard_error {
    SWITCHYARD_OK = 0,
    SWITCHYARD_EINVAL = -1,    // an argument or option that cannot be
    SWITCHYARD_EFULL = -2,     // the send queue is at its bound; try again after an outcome
    SWITCHYARD_ECLOSED = -3,   // the client is closed, and will not come back by itself
    SWITCHYARD_ENOMEM = -4,    // out of memory
    SWITCHYARD_ETOOLARGE = -5, // larger than could ever be queued (max_queue_bytes)
    SWITCHYARD_ESYSTEM = -6,   // the loop or libwebsockets could not be set up
};
// One line for a person, for any number.
const char *switchyard_error_text(int error);

enum switchyard_state {
    SWITCHYARD_IDLE,       // not opened yet
    SWITCHYARD_CONNECTING, // name, TCP, TLS, WebSocket
    SWITCHYARD_LOGIN,      // Hello sent
    SWITCHYARD_LIVE,       // logged in: reachable from every edge
    SWITCHYARD_BACKOFF,    // not connected, waiting to try again
    SWITCHYARD_CLOSED,     // for good: by you, or by an edge that says not to come back
};
const char *switchyard_state_name(enum switchyard_state state);

// Why something was refused; the numbers of switchyard.v1.Reason.
enum switchyard_reason {
    SWITCHYARD_REASON_NONE = 0,
    SWITCHYARD_REASON_OFFLINE = 1,
    SWITCHYARD_REASON_NO_ROUTE = 2,
    SWITCHYARD_REASON_BUSY = 3,
    SWITCHYARD_REASON_TOO_LARGE = 4,
    SWITCHYARD_REASON_RATE = 5,
    SWITCHYARD_REASON_UNAUTHORIZED = 6,
    SWITCHYARD_REASON_EXPIRED = 7,
    SWITCHYARD_REASON_TIMEOUT = 8,
    SWITCHYARD_REASON_DIRECTORY_UNAVAILABLE = 9,
    SWITCHYARD_REASON_INVALID = 10,
    SWITCHYARD_REASON_OUT_OF_ORDER = 11,
    SWITCHYARD_REASON_UNAVAILABLE = 12,
};
// "offline", "no_route", ...; "unknown" for numbers this version does not know.
const char *switchyard_reason_name(int reason);

struct switchyard_state_change {
    enum switchyard_state state;
    enum switchyard_state previous;
    const char *url;      // the one in use, or the next one while in BACKOFF; never NULL
    unsigned code;        // WebSocket close code, or HTTP status of a refused handshake; 0: neither
    const char *text;     // what happened, for a person; never NULL
    uint32_t retry_in_ms; // in BACKOFF
    // When LIVE, else "":
    const char *node;
    const char *user;
    const char *device;
};

struct switchyard_message {
    const char *from;
    const char *from_device;
    const void *body; // when is_text: UTF-8, with a NUL behind it that len does not count
    size_t len;
    bool is_text;
    const char *content_type; // never NULL; "" when the sender gave none
    const char *message_id;
    uint64_t sent_at_ms; // clock of the sender's edge, milliseconds since 1970
};

// How a send ended.
enum switchyard_status {
    // Written to the outgoing queue of at least one device of at least one recipient.
    SWITCHYARD_SENT = 1,
    // Not delivered to anyone: `reason` tells why, `is_retryable` whether it may work soon.
    SWITCHYARD_REJECTED = 2,
    // It is not known: the connection broke, or no answer came in time. It may have
    // arrived. Sending it again with the same message_id and from the same device is safe
    // against receivers that drop repeated ids, as this library does.
    SWITCHYARD_UNKNOWN = 3,
};

struct switchyard_unreached {
    const char *user;
    int reason; // enum switchyard_reason, or a newer one
};

struct switchyard_outcome {
    enum switchyard_status status;
    int reason;       // enum switchyard_reason, or a newer one
    const char *text; // for a person; never NULL
    bool is_retryable;
    uint32_t devices; // connections it was written to
    // Recipients that were not reached; NULL with a count if memory ran out.
    const struct switchyard_unreached *unreached;
    size_t unreached_count;
    const char *message_id; // as the edge knows it; "" if it never got there
};

struct switchyard_goaway {
    const char *text;
    uint32_t reconnect_in_ms; // the client moves by itself then; nothing to do
    const char *url;          // where it tries first; "": where options.urls say
    int reason;               // switchyard.v1.GoAwayReason: 1 the edge leaves, 2 it has lost the
                              // directory, 3 it has lost the other edges; 0 or newer: unknown
};

typedef void switchyard_state_cb(void *arg, struct switchyard_client *client,
                                 const struct switchyard_state_change *change);
typedef void switchyard_message_cb(void *arg, struct switchyard_client *client,
                                   const struct switchyard_message *message);
typedef void switchyard_goaway_cb(void *arg, struct switchyard_client *client,
                                  const struct switchyard_goaway *goaway);
typedef void switchyard_outcome_cb(void *arg, struct switchyard_client *client,
                                   const struct switchyard_outcome *outcome);
// Answers the token for the next login, good until the next call, or NULL: none to be had
// now, which counts as a failed try. Asked before every connection.
typedef const char *switchyard_token_cb(void *arg);
typedef void switchyard_closed_cb(void *arg);

#define SWITCHYARD_MAX_URLS 16

struct switchyard_options {
    size_t size; // of this struct, so that it may grow: SWITCHYARD_OPTIONS_INIT sets it

    // ws://host[:port][/path] or wss://..., tried in order, starting at one picked at random;
    // the path defaults to /ws. An edge that leaves may name another one, which is tried first:
    // wss only if one of these is, ws likewise. 1 to SWITCHYARD_MAX_URLS. For wss the host is
    // a name or an IPv4 address.
    const char *const *urls;
    size_t url_count;

    // Identity: a token, or a callback that gives one before every login (and wins). Both
    // NULL only against an edge in development mode, with `user`. A token that has expired
    // (close code 4004) ends the client, unless the callback then gives a different one.
    const char *token;
    switchyard_token_cb *on_token;
    const char *user;

    // Names this device among the user's devices, 1-128 bytes of UTF-8; a second login with
    // the same name replaces the first. NULL: a random one, kept for the client's life.
    const char *device;
    const char *device_class; // "phone", "web", ...; at most 32 bytes
    const char *client_name;  // name and version of your program; at most 128 bytes

    // For wss: the file with the CAs to trust instead of the system's; PEM.
    const char *ca_file;
    bool is_insecure; // wss without checking who answers; for trying things out only

    // The loop to live in; NULL: the client has its own, see switchyard_client_run.
    struct uv_loop_s *loop;

    switchyard_state_cb *on_state;
    switchyard_message_cb *on_message;
    switchyard_goaway_cb *on_goaway;
    void *arg; // handed to on_token, on_state, on_message and on_goaway

    // Bounds. 0 takes the default.
    size_t max_queue_bytes;   // encoded sends not yet written: 1 MiB
    size_t max_queue_count;   // sends without an outcome, written or not: 1,024
    size_t max_message_bytes; // of one incoming WebSocket message: 1 MiB; more: reconnect

    bool keep_library_log; // leave libwebsockets' process-wide log level alone
};
#define SWITCHYARD_OPTIONS_INIT                   \
    {                                             \
        .size = sizeof(struct switchyard_options) \
    }

// NULL with *error (which may be NULL) set: SWITCHYARD_EINVAL, _ENOMEM, _ESYSTEM.
// Nothing connects before switchyard_client_open.
struct switchyard_client *switchyard_client_new(const struct switchyard_options *options,
                                                int *error);
// Starts. SWITCHYARD_ECLOSED after a close; opening an open client is fine and does nothing.
int switchyard_client_open(struct switchyard_client *client);
// The state now; on_state may still have to be told of the last changes.
enum switchyard_state switchyard_client_state(const struct switchyard_client *client);
// The device name in use.
const char *switchyard_client_device(const struct switchyard_client *client);

struct switchyard_payload {
    const void *bytes; // copied
    size_t len;
    bool is_text;             // UTF-8 without NUL; checked
    const char *content_type; // at most 128 bytes; may be NULL
};

struct switchyard_send_options {
    size_t size;            // SWITCHYARD_SEND_OPTIONS_INIT sets it
    const char *to_device;  // only this device; needs exactly one recipient; may be NULL
    const char *message_id; // at most 64 bytes; NULL: the edge makes one
    uint32_t ttl_ms; // how long it is worth delivering once an edge has it; at most 4,000; 0: 3,000
    uint32_t queue_ms; // how long it may wait here for a connection; 0: 5,000
};
#define SWITCHYARD_SEND_OPTIONS_INIT                   \
    {                                                  \
        .size = sizeof(struct switchyard_send_options) \
    }

// Sends one message to 1 to 1,000 users (ids of 1-128 bytes of UTF-8 without control
// characters). `options` may be NULL.
//
// On 0, on_outcome is called exactly once, later: at the latest queue_ms after this call
// when no edge could be reached, 6 s after it was written otherwise, or when the client is
// closed or freed. Nothing is ever sent twice: what was written when a connection broke ends as
// SWITCHYARD_UNKNOWN, what was not waits for the next connection. on_outcome may be NULL:
// then no edge is asked for an outcome.
//
// On an error nothing was queued and on_outcome is never called: SWITCHYARD_EINVAL,
// _EFULL, _ETOOLARGE, _ECLOSED, _ENOMEM.
int switchyard_client_send(struct switchyard_client *client, const char *const to[], size_t count,
                           const struct switchyard_payload *payload,
                           const struct switchyard_send_options *options,
                           switchyard_outcome_cb *on_outcome, void *arg);
// Sends without an outcome yet.
size_t switchyard_client_pending(const struct switchyard_client *client);

// For a client with its own loop (SWITCHYARD_EINVAL otherwise). _run: until it is closed,
// by switchyard_client_close (0) or by an edge (SWITCHYARD_ECLOSED). _service: handles
// what there is to handle, waiting for it at most timeout_ms (0: not at all).
int switchyard_client_run(struct switchyard_client *client);
int switchyard_client_service(struct switchyard_client *client, uint32_t timeout_ms);

// Says goodbye: ends every send without an outcome (REJECTED when it was never written,
// UNKNOWN otherwise), closes the connection with 1000 and lets go of the loop. Then, about
// a second later at worst, on_closed (may be NULL), inside which _free is allowed when the
// loop is yours. Closing twice is fine; the first on_closed counts.
void switchyard_client_close(struct switchyard_client *client, switchyard_closed_cb *on_closed,
                             void *arg);
// Closes what is not closed yet, calling the outcomes that are due from inside, and frees.
// With a loop of its own it returns when all is gone. In a loop of yours, that loop must run
// on afterwards until it has let go of the client's handles (uv_run to its end); no callback
// comes any more. NULL is fine.
void switchyard_client_free(struct switchyard_client *client);

#ifdef __cplusplus
}
#endif
