// server.c: the ports, the libwebsockets context behind them, and their beginning and end.
//
// Beginning: everything that fails for ordinary reasons (certificate, ports) is tried before
// the context is made, since a context in a foreign loop can be undone only in later turns.
//
// End: all conns get a close frame, as far as the kernel takes it; the context is destroyed
// once, which closes its sockets; when the loop holds no handle of the context any more it is
// destroyed again, which frees it; then our handles go, and `closed` is called.
//
// Limits: libwebsockets sizes two tables by RLIMIT_NOFILE when the context is made, 16 bytes
// for each possible descriptor, and falls back to 2,560 if the limit is over ten million. It
// also looks through one of them, whole, whenever a connection closes. So the limit is made
// what connections can need, as far as the hard limit allows: raised or, where a container
// or systemd set a million, lowered.
#include "edge/server_internal.h"

#include <assert.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "edge/certificate.h"
#include "edge/lws_memory.h"
#include "lib/base/log.h"

// Shared; what one read may bring: some 30 commands with a thousand receivers each, which take
// about 10 ms. Less would join fewer of them (flush.c), more would keep others waiting.
#define CONTEXT_BUFFER (256u << 10)
#define SMALL_READ 1024        // where each WebSocket keeps as much as its reads bring
#define HEADERS_STORED 8192    // of one request, all together; a token has up to 4096
#define HANDSHAKE_S 5          // for TLS and for the request, and idle between requests
#define OTHER_DESCRIPTORS 1024 // NATS, Redis, files, logs, what a refused client costs
#define LOG_EVERY_MS 1000

// All zero: no pings by libwebsockets, whose timers cost time in proportion to connections.
static const lws_retry_bo_t no_pings;

// rx_buffer_size is set by open_context.
static struct lws_protocols public_protocols[] = {
    // No client can ask for a protocol with an empty name.
    {.name = "", .callback = http_callback, .tx_packet_size = WRITE_MAX},
    {.name = CODEC_SUBPROTOCOL_PROTOBUF,
     .callback = ws_callback,
     .per_session_data_size = sizeof(struct conn *),
     .id = CODEC_PROTOBUF,
     .tx_packet_size = WRITE_MAX},
    {.name = CODEC_SUBPROTOCOL_JSON,
     .callback = ws_callback,
     .per_session_data_size = sizeof(struct conn *),
     .id = CODEC_JSON,
     .tx_packet_size = WRITE_MAX},
    {0},
};

static const struct lws_protocols private_protocols[] = {
    {.name = "", .callback = http_callback, .tx_packet_size = WRITE_MAX},
    {0},
};

// Libwebsockets' log.

// It has one log for the process; clients can cause lines, so they are limited.
static struct {
    struct log_limit limit;
    uv_loop_t *loop;
} lws_log;

static void
on_lws_log(int level, const char *line)
{
    uint64_t held = 0;
    if (lws_log.loop != NULL && !log_limit_pass(&lws_log.limit, uv_now(lws_log.loop), &held))
        return;
    // Its errors, too, are what clients do: nobody is called for them.
    log_warn("libwebsockets", "level=%s text=%s held=%llu", level == LLL_ERR ? "error" : "warn",
             log_quote_n(line, strcspn(line, "\r\n")), (unsigned long long)held);
}

// Options.

static char *
copy(const char *text)
{
    char *made = strdup(text != NULL ? text : "");
    if (made == NULL)
        abort();
    return made;
}

static void
opts_copy(struct server_opts *to, const struct server_opts *from)
{
    *to = *from;
    to->host = copy(from->host);
    to->private_host = copy(from->private_host);
    to->tls_cert_file = copy(from->tls_cert_file);
    to->tls_key_file = copy(from->tls_key_file);
    to->document_root = copy(from->document_root);
    to->index_file = copy(from->index_file);
    to->origins = copy(from->origins);
}

static void
opts_free(struct server_opts *opts)
{
    const char *copies[] = {opts->host,         opts->private_host,  opts->tls_cert_file,
                            opts->tls_key_file, opts->document_root, opts->index_file,
                            opts->origins};
    for (size_t i = 0; i < sizeof copies / sizeof copies[0]; i++) {
        union {
            const char *borrowed;
            char *owned;
        } text = {.borrowed = copies[i]};
        free(text.owned);
    }
}

static bool
has_tls(const struct server *server)
{
    return server->opts.tls_cert_file[0] != '\0';
}

// Beginning.

static void
set_descriptor_limit(const struct server_opts *opts)
{
    struct rlimit limit;
    rlim_t wanted = (rlim_t)opts->max_connections + opts->max_half_open + OTHER_DESCRIPTORS;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == wanted)
        return;
    rlim_t hard = limit.rlim_max;
    limit.rlim_cur = hard == RLIM_INFINITY || hard > wanted ? wanted : hard;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < wanted)
        log_warn("few_descriptors", "wanted=%llu allowed=%llu", (unsigned long long)wanted,
                 (unsigned long long)limit.rlim_cur);
}

// Hands an accepted socket to libwebsockets, which owns it from here, whatever happens.
static void
adopt(struct server *server, struct lws_vhost *vhost, int fd, struct caller *caller)
{
    struct visitor *visitor = calloc(1, sizeof *visitor);
    if (visitor == NULL)
        abort();
    visitor->caller = caller;
    visitor->file = -1;
    visitor->is_private = vhost == server->private_vhost;
    lws_adopt_desc_t adoption = {.vh = vhost,
                                 .type = LWS_ADOPT_SOCKET | LWS_ADOPT_HTTP | LWS_ADOPT_ALLOW_SSL,
                                 .fd.sockfd = fd,
                                 .opaque = visitor};
    server->is_wsi_created = false;
    if (lws_adopt_descriptor_vhost_via_info(&adoption) != NULL || server->is_wsi_created)
        return; // LWS_CALLBACK_WSI_DESTROY will come
    caller_free(caller);
    free(visitor);
}

static void
on_public_socket(void *arg, int fd, struct caller *caller)
{
    struct server *server = arg;
    adopt(server, server->public_vhost, fd, caller);
}

static void
on_private_socket(void *arg, int fd, struct caller *caller)
{
    struct server *server = arg;
    adopt(server, server->private_vhost, fd, caller);
}

static int
open_listeners(struct server *server, char why[static 200])
{
    const struct server_opts *opts = &server->opts;
    struct listener_opts public = {.host = opts->host,
                                   .port = opts->port,
                                   .key = "listen.port",
                                   .is_shared = opts->shares_port,
                                   .max_per_address = opts->max_per_address,
                                   .max_half_open = opts->max_half_open,
                                   .per_second = opts->accept_rate,
                                   .on_socket = on_public_socket,
                                   .arg = server};
    // No limits on the private port: it must answer when the public one is flooded. It is
    // never shared: each process has its own.
    struct listener_opts private = {.host = opts->private_host,
                                    .port = opts->private_port,
                                    .key = "private.port",
                                    .on_socket = on_private_socket,
                                    .arg = server};
    int error = listener_open(server->loop, &public, &server->public_listener, why);
    if (error == 0)
        error = listener_open(server->loop, &private, &server->private_listener, why);
    return error;
}

static void
note_handle_of(uv_handle_t *handle, void *arg)
{
    const void **looked_for = arg;
    if (handle->data == *looked_for)
        *looked_for = NULL;
}

// Whether the loop holds handles that libwebsockets marks with the context: its timer and
// its idle handler, closed after all of its sockets.
static bool
is_in_loop(const struct server *server)
{
    const void *looked_for = server->context;
    uv_walk(server->loop, note_handle_of, &looked_for);
    return looked_for == NULL;
}

static int
open_context(struct server *server, char why[static 200])
{
    void *loops[] = {server->loop};
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN_SERVER,
        .options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS |
                   LWS_SERVER_OPTION_SKIP_SERVER_CANONICAL_NAME |
                   (has_tls(server) ? LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT : 0),
        .foreign_loops = loops,
        .user = server,
        .pt_serv_buf_size = CONTEXT_BUFFER,
        .max_http_header_data = HEADERS_STORED,
        .timeout_secs = HANDSHAKE_S,
        .retry_and_idle_policy = &no_pings,
        .alpn = "http/1.1",
    };
    size_t read_size = lws_memory_setup(CONTEXT_BUFFER - LWS_PRE, SMALL_READ);
    public_protocols[CODEC_PROTOBUF + 1].rx_buffer_size = read_size;
    public_protocols[CODEC_JSON + 1].rx_buffer_size = read_size;
    server->context = lws_create_context(&info);
    if (server->context != NULL && !is_in_loop(server)) {
        lws_context_destroy(server->context); // on its own loop, this is all it takes
        server->context = NULL;
    }
    if (server->context == NULL) {
        snprintf(why, 200,
                 "libwebsockets cannot use the event loop: its libuv plugin is missing "
                 "(package libwebsockets-evlib-uv)");
        return SY_EIO;
    }
    return 0;
}

// The two virtual hosts get different port numbers, which libwebsockets compares when it
// looks for the host that a request's Host header names: no header leads from one to the other.
static int
open_vhosts(struct server *server, char why[static 200])
{
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN_SERVER,
        .vhost_name = "public",
        .protocols = public_protocols,
        .timeout_secs_ah_idle = HANDSHAKE_S,
        .keepalive_timeout = HANDSHAKE_S,
        .retry_and_idle_policy = &no_pings,
        .alpn = "http/1.1",
    };
    if (has_tls(server)) {
        info.options = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT;
        info.ssl_cert_filepath = server->opts.tls_cert_file;
        info.ssl_private_key_filepath = server->opts.tls_key_file;
        info.ssl_options_set = (long)(SSL_OP_NO_SSLv3 | SSL_OP_NO_TLSv1 | SSL_OP_NO_TLSv1_1 |
                                      SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    }
    server->public_vhost = lws_create_vhost(server->context, &info);
    info.port = CONTEXT_PORT_NO_LISTEN;
    info.vhost_name = "private";
    info.protocols = private_protocols;
    info.options = 0;
    info.ssl_cert_filepath = info.ssl_private_key_filepath = NULL;
    server->private_vhost = lws_create_vhost(server->context, &info);
    if (server->public_vhost != NULL && server->private_vhost != NULL)
        return 0;
    snprintf(why, 200, "libwebsockets refuses to serve: its last log line says why");
    return SY_EIO;
}

static int
check_tls(const struct server_opts *opts, char why[static 200])
{
    bool has_cert = opts->tls_cert_file[0] != '\0', has_key = opts->tls_key_file[0] != '\0';
    if (has_cert != has_key) {
        snprintf(why, 200,
                 "a certificate needs a key and a key a certificate "
                 "(listen.tls_cert_file, listen.tls_key_file)");
        return SY_EINVAL;
    }
    return has_cert ? certificate_check(opts->tls_cert_file, opts->tls_key_file, why) : 0;
}

static struct server *
server_new(uv_loop_t *loop, const struct server_opts *opts, struct edge *edge)
{
    struct server *server = calloc(1, sizeof *server);
    if (server == NULL || (server->scratch = malloc(WRITE_MAX)) == NULL)
        abort();
    server->loop = loop;
    server->edge = edge;
    opts_copy(&server->opts, opts);
    TAILQ_INIT(&server->open);
    TAILQ_INIT(&server->closing);
    TAILQ_INIT(&server->soon);
    TAILQ_INIT(&server->later);
    TAILQ_INIT(&server->transfers);
    uv_timer_init(loop, &server->cut_timer);
    uv_timer_init(loop, &server->watch_timer);
    uv_idle_init(loop, &server->sweep);
    uv_idle_init(loop, &server->teardown);
    server->cut_timer.data = server->watch_timer.data = server;
    server->sweep.data = server->teardown.data = server;
    return server;
}

static void
ignore_closed(void *arg)
{
    (void)arg;
}

int
server_open(uv_loop_t *loop, const struct server_opts *opts, struct edge *edge, struct server **out,
            char why[static 200])
{
    struct server *server = server_new(loop, opts, edge);
    lws_log.loop = loop;
    lws_log.limit.interval_ms = LOG_EVERY_MS;
    lws_set_log_level(LLL_ERR | LLL_WARN, on_lws_log);
    set_descriptor_limit(&server->opts);
    int error = check_tls(&server->opts, why);
    if (error == 0)
        error = open_listeners(server, why);
    if (error == 0)
        error = open_context(server, why);
    if (error == 0)
        error = open_vhosts(server, why);
    if (error != 0) {
        server_close(server, ignore_closed, NULL); // freed in the turns to come, if any
        return error;
    }
    *out = server;
    return 0;
}

int
server_reload_tls(struct server *server, char why[static 200])
{
    if (!has_tls(server)) {
        snprintf(why, 200, "no certificate is configured (listen.tls_cert_file)");
        return SY_EINVAL;
    }
    const struct server_opts *opts = &server->opts;
    int error = certificate_check(opts->tls_cert_file, opts->tls_key_file, why);
    if (error != 0)
        return error;
    lws_tls_cert_updated(server->context, opts->tls_cert_file, opts->tls_key_file, NULL, 0, NULL,
                         0);
    return 0;
}

// End.

void
server_stop_accepting(struct server *server)
{
    listener_stop(server->public_listener);
}

static void
on_part_closed(void *arg)
{
    struct server *server = arg;
    if (--server->parts > 0)
        return;
    void (*closed)(void *closed_arg) = server->closed;
    void *closed_arg = server->closed_arg;
    if (lws_log.loop == server->loop)
        lws_log.loop = NULL;
    opts_free(&server->opts);
    free(server->scratch);
    free(server);
    closed(closed_arg);
}

static void
on_handle_closed(uv_handle_t *handle)
{
    on_part_closed(handle->data);
}

static void
close_parts(struct server *server)
{
    uv_handle_t *handles[] = {(uv_handle_t *)&server->cut_timer,
                              (uv_handle_t *)&server->watch_timer, (uv_handle_t *)&server->sweep,
                              (uv_handle_t *)&server->teardown};
    struct listener *listeners[] = {server->public_listener, server->private_listener};
    server->parts = 1; // this function
    for (size_t i = 0; i < sizeof listeners / sizeof listeners[0]; i++) {
        if (listeners[i] == NULL)
            continue;
        server->parts++;
        listener_close(listeners[i], on_part_closed, server);
    }
    for (size_t i = 0; i < sizeof handles / sizeof handles[0]; i++) {
        server->parts++;
        uv_close(handles[i], on_handle_closed);
    }
    on_part_closed(server);
}

static void
on_teardown(uv_idle_t *idle)
{
    struct server *server = idle->data;
    if (server->context != NULL && !server->is_destroying) {
        struct conn *conn;
        while ((conn = TAILQ_FIRST(&server->open)) != NULL)
            conn_close(conn, CLOSE_DRAINING);
        while (server_flush(server)) {
        }
        server->is_destroying = true;
        lws_context_destroy(server->context);
        return;
    }
    if (server->context != NULL && is_in_loop(server))
        return;
    if (server->context != NULL)
        lws_context_destroy(server->context);
    server->context = NULL;
    uv_idle_stop(idle);
    close_parts(server);
}

void
server_close(struct server *server, void (*closed)(void *arg), void *arg)
{
    assert(server->closed == NULL);
    server->closed = closed;
    server->closed_arg = arg;
    if (server->public_listener != NULL)
        listener_stop(server->public_listener);
    if (server->private_listener != NULL)
        listener_stop(server->private_listener);
    uv_idle_stop(&server->sweep);
    uv_idle_start(&server->teardown, on_teardown);
}

// Numbers.

unsigned
server_port(const struct server *server)
{
    return listener_port(server->public_listener);
}

unsigned
server_private_port(const struct server *server)
{
    return listener_port(server->private_listener);
}

uint32_t
server_connections(const struct server *server)
{
    return server->connections;
}

void
server_stats(const struct server *server, struct server_stats *out)
{
    struct listener_stats public, private;
    listener_stats(server->public_listener, &public);
    listener_stats(server->private_listener, &private);
    *out = server->stats;
    out->accepted = public.accepted + private.accepted;
    out->refused_address = public.refused_address;
    out->refused_half_open = public.refused_half_open;
    out->refused_fd = public.refused_fd + private.refused_fd;
    out->paced = public.paced;
}
