// transport.c: the WebSocket, on libwebsockets 4.1 or later, in a libuv loop.
//
// A try: look the name up (lookup.c, since libwebsockets would block), then for each address
// in turn TCP, TLS and upgrade by libwebsockets, until one answers.
//
// What libwebsockets 4.1.6 makes necessary:
// - It must not be told to close from inside its WRITEABLE callback (that runs twice and
//   loses the close frame): we close only from our own timer, with lws_set_timeout.
// - A connect that fails on the spot (no route, no IPv6) closes the socket but leaves its
//   uv_poll_t in the loop, with a pointer to freed memory: forget_polls closes it.
// - A message comes in fragments whenever it straddles a read: we join them, with a bound.
// - In a foreign loop its context goes in two steps: destroy, run the loop until its
//   handles are closed, destroy again. It does not tell when; we look (count_handles).
// - Its client rewrites close codes 1012 and 1013 to 1002, and 1012 is what an edge says
//   when it leaves; no edge sends 1002 itself. So 1002 is taken for 1012.
// - It takes a proxy from the environment, also for loopback: switched off.
#include "lib/client-c/transport.h"

#include <libwebsockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/client-c/include/switchyard/client.h"
#include "lib/client-c/lookup.h"
#include "proto/codec.h"
#include "proto/tables.h"

#define RX_BYTES 16384    // read at once
#define STEP_TIMEOUT_S 5  // TCP, TLS and upgrade each; the core bounds the whole
#define LINGER_MS 1000    // for the goodbye at the end
#define KEPT_BYTES 65536  // of buffers between messages
#define WRITES_PER_TURN 4 // so that one connection does not hold up a loop it shares

enum stage { STAGE_OPEN, STAGE_LINGER, STAGE_RELEASE };

struct transport {
    struct transport_options options;
    struct lws_context *context;
    struct lws_protocols protocols[2];
    uv_timer_t timer; // what must not be done inside a callback of libwebsockets
    enum stage stage;
    uint64_t linger_until_ms;

    struct ws_url url;
    struct lookup *lookup;
    struct addresses addresses;
    unsigned address_next;
    bool wants_try;

    struct lws *wsi;   // the connection, or the try; NULL: none
    struct lws *dying; // the one we said goodbye on last
    bool is_established;
    bool is_tcp_up;
    bool is_write_wanted;
    bool is_deaf; // overrun: nothing more is heard from this connection
    unsigned status;
    uint32_t retry_after_ms;
    unsigned close_code; // the peer's; 0: none came
    char close_text[128];
    char refusal[160];

    uint8_t *in; // a message in fragments
    size_t in_len;
    size_t in_size;
    uint8_t *out; // LWS_PRE bytes, then the message
    size_t out_size;
};

// No timers of libwebsockets for pings: the core sends its own.
static const lws_retry_bo_t no_validity_timers = {0};

static void on_timer(uv_timer_t *timer);

// on_timer soon, outside of whatever is running now.
static void
wake(struct transport *t)
{
    uv_timer_start(&t->timer, on_timer, 0, 0);
}

// Closes what libwebsockets has left in the loop of a failed connect: watchers of `wsi` that
// no longer watch. Its allocator is the C library's.
struct leftover {
    const void *wsi;
};

static void
on_poll_closed(uv_handle_t *handle)
{
    free(handle);
}

static void
on_walk_polls(uv_handle_t *handle, void *arg)
{
    const struct leftover *leftover = arg;
    if (handle->type == UV_POLL && handle->data == leftover->wsi && !uv_is_active(handle) &&
        !uv_is_closing(handle))
        uv_close(handle, on_poll_closed);
}

static void
forget_polls(struct transport *t, const void *wsi)
{
    struct leftover leftover = {wsi};
    uv_walk(t->options.loop, on_walk_polls, &leftover);
}

static void
clear_connection(struct transport *t)
{
    t->wsi = NULL;
    t->is_established = false;
    t->is_tcp_up = false;
    t->is_write_wanted = false;
    t->is_deaf = false;
    t->status = 0;
    t->retry_after_ms = 0;
    t->close_code = 0;
    t->close_text[0] = 0;
    t->refusal[0] = 0;
    t->in_len = 0;
}

static void
refuse(struct transport *t, const char *why)
{
    unsigned status = t->status;
    uint32_t retry_after_ms = t->retry_after_ms;
    char text[320];
    if (status != 0 && status != 101)
        snprintf(text, sizeof(text), "%s answered HTTP %u", t->url.authority, status);
    else if (t->refusal[0] != 0)
        snprintf(text, sizeof(text), "%s %s", t->url.authority, t->refusal);
    else if (!t->is_tcp_up)
        snprintf(text, sizeof(text), "cannot connect to %s", t->url.authority);
    else
        snprintf(text, sizeof(text), "%s with %s failed: %s",
                 t->url.is_tls ? "TLS or WebSocket handshake" : "WebSocket handshake",
                 t->url.authority, why);
    clear_connection(t);
    t->options.on_refused(t->options.arg, status == 101 ? 0 : status, retry_after_ms, text);
}

// A try came to nothing: the next address, unless a server has spoken.
static void
fail_try(struct transport *t, const char *why)
{
    if (t->status == 0 && !t->is_tcp_up && t->address_next < t->addresses.count) {
        clear_connection(t);
        t->wants_try = true;
        wake(t);
        return;
    }
    refuse(t, why);
}

static int
tls_flags(const struct transport *t)
{
    if (!t->url.is_tls)
        return 0;
    int flags = LCCSCF_USE_SSL;
    if (t->options.is_insecure)
        flags |= LCCSCF_ALLOW_SELFSIGNED | LCCSCF_ALLOW_INSECURE | LCCSCF_ALLOW_EXPIRED |
                 LCCSCF_SKIP_SERVER_CERT_HOSTNAME_CHECK;
    return flags;
}

static void
try_address(struct transport *t)
{
    const char *address = t->addresses.text[t->address_next++];
    struct lws_client_connect_info info = {
        .context = t->context,
        .address = address,
        .port = t->url.port,
        .ssl_connection = tls_flags(t) | LCCSCF_HTTP_NO_FOLLOW_REDIRECT,
        .path = t->url.path,
        .host = t->url.authority, // also what the certificate must be for
        .protocol = CODEC_SUBPROTOCOL_PROTOBUF,
        .local_protocol_name = CODEC_SUBPROTOCOL_PROTOBUF,
        .ietf_version_or_minus_one = -1,
        .userdata = t,
        .alpn = "http/1.1",
        .retry_and_idle_policy = &no_validity_timers,
    };
    // on_libwebsockets learns the wsi as soon as it exists.
    if (lws_client_connect_via_info(&info) == NULL) {
        // Refused on the spot; libwebsockets calls nobody, and has freed the wsi.
        if (t->wsi != NULL)
            forget_polls(t, t->wsi);
        t->wsi = NULL;
        fail_try(t, "refused");
    }
}

static void
on_looked_up(void *arg, const struct addresses *found, int error)
{
    struct transport *t = arg;
    t->lookup = NULL;
    t->addresses = *found;
    if (found->count > 0) {
        t->wants_try = true;
        wake(t);
        return;
    }
    snprintf(t->refusal, sizeof(t->refusal), "is not known: %s", uv_strerror(error));
    refuse(t, "");
}

static void
abandon_lookup(struct transport *t)
{
    if (t->lookup != NULL)
        lookup_abandon(t->lookup);
    t->lookup = NULL;
}

void
transport_connect(struct transport *t, const struct ws_url *url)
{
    clear_connection(t);
    abandon_lookup(t);
    t->url = *url;
    t->address_next = 0;
    t->wants_try = false;
    if (!lookup_is_numeric(url->host, &t->addresses)) {
        t->lookup = lookup_start(t->options.loop, url->host, on_looked_up, t);
        if (t->lookup != NULL)
            return;
    }
    t->wants_try = true; // with no address: on_timer reports it
    wake(t);
}

void
transport_disconnect(struct transport *t, unsigned code)
{
    abandon_lookup(t);
    t->wants_try = false;
    struct lws *wsi = t->wsi;
    bool is_established = t->is_established;
    clear_connection(t);
    if (wsi == NULL)
        return;
    t->dying = wsi;
    if (is_established)
        lws_close_reason(wsi, (enum lws_close_status)code, NULL, 0);
    // Sends the close frame and waits up to 5 s for the answer; a mere try ends at once.
    lws_set_timeout(wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_SYNC);
}

void
transport_want_write(struct transport *t)
{
    if (!t->is_established || t->is_write_wanted)
        return;
    t->is_write_wanted = true;
    lws_callback_on_writable(t->wsi);
}

static bool
fit(uint8_t **bytes, size_t *size, size_t needed, size_t kept)
{
    if (needed <= *size)
        return true;
    size_t grown = *size * 2 > needed ? *size * 2 : needed;
    if (grown < kept)
        grown = kept;
    uint8_t *more = realloc(*bytes, grown);
    if (more == NULL)
        return false;
    *bytes = more;
    *size = grown;
    return true;
}

static void
trim(uint8_t **bytes, size_t *size)
{
    if (*size <= KEPT_BYTES)
        return;
    free(*bytes);
    *bytes = NULL;
    *size = 0;
}

static void
overrun(struct transport *t, const char *text)
{
    t->is_deaf = true;
    t->in_len = 0;
    t->options.on_overrun(t->options.arg, text);
}

static int
on_writable(struct transport *t)
{
    t->is_write_wanted = false;
    for (int i = 0; i < WRITES_PER_TURN && !lws_partial_buffered(t->wsi); i++) {
        size_t len = t->options.write_size(t->options.arg);
        if (len == 0 || t->is_deaf)
            return 0;
        if (!fit(&t->out, &t->out_size, LWS_PRE + len, 0)) {
            overrun(t, "out of memory");
            return 0;
        }
        t->options.write(t->options.arg, t->out + LWS_PRE);
        if (lws_write(t->wsi, t->out + LWS_PRE, len, LWS_WRITE_BINARY) < (int)len)
            return -1;
        trim(&t->out, &t->out_size);
    }
    transport_want_write(t);
    return 0;
}

static void
on_receive(struct transport *t, struct lws *wsi, const void *bytes, size_t len)
{
    bool is_whole = lws_is_final_fragment(wsi) && lws_remaining_packet_payload(wsi) == 0;
    bool is_binary = lws_frame_is_binary(wsi);
    if (t->is_deaf)
        return;
    if (len > t->options.max_message_bytes || t->in_len > t->options.max_message_bytes - len) {
        overrun(t, "a message over the limit of this client");
        return;
    }
    if (is_whole && t->in_len == 0) {
        t->options.on_message(t->options.arg, bytes, len, is_binary);
        return;
    }
    if (!fit(&t->in, &t->in_size, t->in_len + len, RX_BYTES)) {
        overrun(t, "out of memory");
        return;
    }
    if (len > 0)
        memcpy(t->in + t->in_len, bytes, len);
    t->in_len += len;
    if (!is_whole) {
        t->options.on_alive(t->options.arg);
        return;
    }
    size_t total = t->in_len;
    t->in_len = 0;
    t->options.on_message(t->options.arg, t->in, total, is_binary);
    trim(&t->in, &t->in_size);
}

// The server's answer to the upgrade, whatever it is. Nonzero: not to be taken.
static int
on_answer(struct transport *t, struct lws *wsi)
{
    char text[64];
    t->status = lws_http_client_http_response(wsi);
    if (lws_hdr_copy(wsi, text, sizeof(text), WSI_TOKEN_HTTP_RETRY_AFTER) > 0) {
        long seconds = strtol(text, NULL, 10);
        if (seconds > 0)
            t->retry_after_ms = seconds > 86400 ? 86400000 : (uint32_t)seconds * 1000;
    }
    if (t->status != 101)
        return 0;
    int len = lws_hdr_copy(wsi, text, sizeof(text), WSI_TOKEN_PROTOCOL);
    if (len > 0 && strcmp(text, CODEC_SUBPROTOCOL_PROTOBUF) == 0)
        return 0;
    snprintf(t->refusal, sizeof(t->refusal), "does not speak %s", CODEC_SUBPROTOCOL_PROTOBUF);
    return 1;
}

static void
note_close(struct transport *t, const uint8_t *bytes, size_t len)
{
    if (len < 2)
        return;
    t->close_code = (unsigned)(bytes[0] << 8 | bytes[1]);
    if (t->close_code == 1002)
        t->close_code = CLOSE_DRAINING; // see the head of this file
    snprintf(t->close_text, sizeof(t->close_text), "%.*s", (int)(len - 2), (const char *)bytes + 2);
}

static void
on_closed(struct transport *t)
{
    unsigned code = t->close_code;
    char text[sizeof(t->close_text)];
    memcpy(text, t->close_text, sizeof(text));
    clear_connection(t);
    t->options.on_disconnected(t->options.arg, code, text);
}

static void
on_connect_error(struct transport *t, struct lws *wsi, const char *text, size_t len)
{
    char why[128];
    snprintf(why, sizeof(why), "%.*s", text != NULL ? (int)len : 0, text != NULL ? text : "");
    if (lws_get_socket_fd(wsi) < 0) // closed by libwebsockets, its watcher not
        forget_polls(t, wsi);
    fail_try(t, why);
}

// What concerns the connection, or try, in use.
static int
on_connection(struct transport *t, struct lws *wsi, enum lws_callback_reasons reason, void *in,
              size_t len)
{
    switch (reason) {
    case LWS_CALLBACK_WSI_CREATE:
        t->is_tcp_up = true;
        return 0;
    case LWS_CALLBACK_ESTABLISHED_CLIENT_HTTP:
        return on_answer(t, wsi);
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
        t->is_established = true;
        t->options.on_connected(t->options.arg);
        return 0;
    case LWS_CALLBACK_CLIENT_WRITEABLE:
        return t->is_established ? on_writable(t) : 0;
    case LWS_CALLBACK_CLIENT_RECEIVE:
        on_receive(t, wsi, in, len);
        return 0;
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
        note_close(t, in, len);
        return 0;
    case LWS_CALLBACK_CLIENT_CLOSED:
        on_closed(t);
        return 0;
    default: // LWS_CALLBACK_CLIENT_CONNECTION_ERROR, LWS_CALLBACK_CLOSED_CLIENT_HTTP
        on_connect_error(t, wsi, in, len);
        return 0;
    }
}

// `user` is ours in these callbacks only; in others it is whatever libwebsockets thinks of,
// an SSL_CTX for one.
static int
on_libwebsockets(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                 size_t len)
{
    struct transport *t = user;
    switch (reason) {
    case LWS_CALLBACK_CLIENT_HTTP_BIND_PROTOCOL:
        if (t->wsi == NULL && wsi != t->dying)
            t->wsi = wsi;
        return 0;
    case LWS_CALLBACK_WSI_DESTROY:
        if (t == NULL || wsi != t->dying) // NULL: it was never one of our connections
            return 0;
        t->dying = NULL;
        if (t->stage == STAGE_LINGER)
            wake(t);
        return 0;
    case LWS_CALLBACK_WSI_CREATE:
    case LWS_CALLBACK_ESTABLISHED_CLIENT_HTTP:
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
    case LWS_CALLBACK_CLOSED_CLIENT_HTTP:
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
    case LWS_CALLBACK_CLIENT_WRITEABLE:
    case LWS_CALLBACK_CLIENT_RECEIVE:
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
    case LWS_CALLBACK_CLIENT_CLOSED:
        return t != NULL && wsi == t->wsi ? on_connection(t, wsi, reason, in, len) : 0;
    default:
        return 0;
    }
}

static struct lws_context *
make_context(struct transport *t)
{
    const struct transport_options *options = &t->options;
    void *loops[] = {options->loop};
    t->protocols[0] = (struct lws_protocols){
        .name = CODEC_SUBPROTOCOL_PROTOBUF,
        .callback = on_libwebsockets,
        .rx_buffer_size = RX_BYTES,
        .tx_packet_size = 65536, // its default would be rx_buffer_size
    };
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN,
        .protocols = t->protocols,
        .options = LWS_SERVER_OPTION_LIBUV,
        .foreign_loops = loops,
        .pt_serv_buf_size = RX_BYTES,
        .timeout_secs = STEP_TIMEOUT_S,
        .connect_timeout_secs = STEP_TIMEOUT_S,
        .retry_and_idle_policy = &no_validity_timers,
        // Its tables would be as long as the process' limit of open files otherwise. Needed:
        // its pipe, a connection, and those being closed.
        .fd_limit_per_thread = 16,
        .http_proxy_address = ":0", // port 0 is "no proxy"
    };
    if (options->wants_tls) {
        info.options |= LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT;
        if (options->ca_file != NULL) {
            info.options |= LWS_SERVER_OPTION_DISABLE_OS_CA_CERTS;
            info.client_ssl_ca_filepath = options->ca_file;
        }
    }
    if (!options->keep_library_log)
        lws_set_log_level(0, NULL);
    return lws_create_context(&info);
}

struct transport *
transport_open(const struct transport_options *options, int *error)
{
    if (options->wants_tls && options->ca_file != NULL && access(options->ca_file, R_OK) != 0) {
        *error = SWITCHYARD_EINVAL;
        return NULL;
    }
    struct transport *t = calloc(1, sizeof(*t));
    if (t == NULL) {
        *error = SWITCHYARD_ENOMEM;
        return NULL;
    }
    t->options = *options;
    t->context = make_context(t);
    if (t->context == NULL) {
        free(t);
        *error = SWITCHYARD_ESYSTEM;
        return NULL;
    }
    uv_timer_init(options->loop, &t->timer);
    t->timer.data = t;
    return t;
}

static void
on_timer_closed(uv_handle_t *handle)
{
    struct transport *t = handle->data;
    void (*on_released)(void *arg) = t->options.on_released;
    void *arg = t->options.arg;
    free(t->in);
    free(t->out);
    free(t);
    on_released(arg);
}

struct handle_count {
    const void *context;
    unsigned count;
};

static void
on_walk_count(uv_handle_t *handle, void *arg)
{
    struct handle_count *count = arg;
    if (handle->data == count->context)
        count->count++;
}

// libwebsockets closes its own handles in the loop, marked with the context, after those of
// all its connections.
static unsigned
count_handles(struct transport *t)
{
    struct handle_count count = {.context = t->context};
    uv_walk(t->options.loop, on_walk_count, &count);
    return count.count;
}

static void
advance_release(struct transport *t)
{
    if (t->stage == STAGE_LINGER) {
        uint64_t now_ms = uv_now(t->options.loop);
        if (t->dying != NULL && now_ms < t->linger_until_ms) {
            uv_timer_start(&t->timer, on_timer, t->linger_until_ms - now_ms, 0);
            return;
        }
        t->stage = STAGE_RELEASE;
        lws_context_destroy(t->context);
    } else if (count_handles(t) == 0) {
        lws_context_destroy(t->context);
        uv_close((uv_handle_t *)&t->timer, on_timer_closed);
        return;
    }
    // In a later turn: a timer of 0 set in its own callback fires again in the same one.
    uv_timer_start(&t->timer, on_timer, 1, 0);
}

static void
on_timer(uv_timer_t *timer)
{
    struct transport *t = timer->data;
    if (t->stage != STAGE_OPEN) {
        advance_release(t);
        return;
    }
    if (!t->wants_try)
        return;
    t->wants_try = false;
    if (t->address_next < t->addresses.count)
        try_address(t);
    else
        refuse(t, "out of memory");
}

void
transport_close(struct transport *t)
{
    transport_disconnect(t, CLOSE_NORMAL);
    t->stage = STAGE_LINGER;
    uv_update_time(t->options.loop);
    t->linger_until_ms = uv_now(t->options.loop) + LINGER_MS;
    wake(t);
}
