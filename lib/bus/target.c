// target.c: see target.h. nats.c puts user, password and name unescaped into the JSON
// of its CONNECT line, hence what is refused below.
#include "lib/bus/target.h"

#include <assert.h>
#include <nats/nats.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// What one read takes at most, and so the most that is handled between two looks at
// the other sockets of the loop.
#define IO_BYTES (64 * 1024)
// Only TLS waits for the kernel on the loop (OpenSSL has to finish a record it has
// begun): not longer than this, then the connection is given up.
#define WRITE_DEADLINE_MS 50

#define URL_SIZE 512

struct url {
    bool is_tls;
    char full[URL_SIZE]; // as given to nats.c
    const char *place;   // host:port, in full
    uint16_t port;
};

static bool
is_plain(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == '"' || text[i] == '\\' || text[i] == 0x7f)
            return false;
    return true;
}

// The port in "host", "host:port" or "[v6]:port"; -1 if there cannot be one.
static int
port_of(const char *place)
{
    const char *bracket = strrchr(place, ']');
    const char *colon = strrchr(bracket != NULL ? bracket : place, ':');
    size_t host_len = colon != NULL ? (size_t)(colon - place) : strlen(place);
    if (host_len == 0 || strpbrk(place, "/ ?#") != NULL)
        return -1;
    if (colon == NULL)
        return 4222;
    char *end;
    long port = strtol(colon + 1, &end, 10);
    if (colon[1] < '0' || colon[1] > '9' || *end != '\0' || port < 1 || port > 65535)
        return -1;
    return (int)port;
}

static int
parse_url(const char *text, size_t len, bool drop_user, struct url *url, char why[static 160])
{
    bool is_tls = len > 6 && memcmp(text, "tls://", 6) == 0;
    bool is_nats = len > 7 && memcmp(text, "nats://", 7) == 0;
    if (!is_tls && !is_nats) {
        snprintf(why, 160, "bus URL must begin with nats:// or tls://");
        return SY_EINVAL;
    }
    if (len >= URL_SIZE || !is_plain(text, len)) {
        snprintf(why, 160, "bus URL is too long, or has a quote, backslash or control character");
        return SY_EINVAL;
    }
    size_t scheme_len = is_tls ? 6 : 7;
    memcpy(url->full, text, len);
    url->full[len] = '\0';
    char *rest = url->full + scheme_len;
    char *at = strrchr(rest, '@');
    if (at != NULL && drop_user) {
        memmove(rest, at + 1, strlen(at + 1) + 1);
        at = NULL;
    }
    url->is_tls = is_tls;
    url->place = at != NULL ? at + 1 : rest;
    int port = port_of(url->place);
    if (port < 0) {
        snprintf(why, 160, "bus URL: '%.100s' is not host:port", url->place);
        return SY_EINVAL;
    }
    url->port = (uint16_t)port;
    return 0;
}

// Fills urls from the comma-separated list.
static int
parse_list(const struct bus_opts *opts, struct url urls[static TARGET_MAX_SERVERS], size_t *count,
           char why[static 160])
{
    bool has_user = opts->user != NULL && opts->user[0] != '\0';
    const char *at = opts->url != NULL ? opts->url : "";
    *count = 0;
    for (;;) {
        at += strspn(at, " ");
        size_t len = strcspn(at, ",");
        size_t bare = len;
        while (bare > 0 && at[bare - 1] == ' ')
            bare--;
        if (*count == TARGET_MAX_SERVERS) {
            snprintf(why, 160, "bus URL: more than %d servers", TARGET_MAX_SERVERS);
            return SY_EINVAL;
        }
        int rc = parse_url(at, bare, has_user, &urls[*count], why);
        if (rc != 0)
            return rc;
        (*count)++;
        if (at[len] == '\0')
            return 0;
        at += len + 1;
    }
}

static int
check_texts(const struct bus_opts *opts, char why[static 160])
{
    const char *texts[][2] = {
        {"user", opts->user}, {"password", opts->password}, {"name", opts->name}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        const char *text = texts[i][1];
        if (text != NULL && !is_plain(text, strlen(text))) {
            snprintf(why, 160, "bus %s: a quote, backslash or control character cannot be sent",
                     texts[i][0]);
            return SY_EINVAL;
        }
    }
    return 0;
}

// Without a handler of ours newer libraries print to stderr. What it would tell we
// read with natsConnection_GetLastError, in the loop.
static void
on_library_error(natsConnection *nc, natsSubscription *sub, natsStatus error, void *closure)
{
    (void)nc;
    (void)sub;
    (void)error;
    (void)closure;
}

static natsStatus
set_identity(natsOptions *options, const struct bus_opts *opts)
{
    natsStatus s = NATS_OK;
    if (opts->user != NULL && opts->user[0] != '\0')
        s = natsOptions_SetUserInfo(options, opts->user,
                                    opts->password != NULL ? opts->password : "");
    if (s == NATS_OK && opts->credentials_file != NULL && opts->credentials_file[0] != '\0')
        s = natsOptions_SetUserCredentialsFromFiles(options, opts->credentials_file, NULL);
    if (s == NATS_OK && opts->name != NULL && opts->name[0] != '\0')
        s = natsOptions_SetName(options, opts->name);
    // Also for nats://, since a server may ask for TLS on its own.
    if (s == NATS_OK && opts->tls_ca_file != NULL && opts->tls_ca_file[0] != '\0')
        s = natsOptions_LoadCATrustedCertificates(options, opts->tls_ca_file);
    return s;
}

static natsStatus
set_behaviour(natsOptions *options, uint64_t timeout_ms)
{
    natsStatus s = natsOptions_SetAllowReconnect(options, false);
    if (s == NATS_OK)
        s = natsOptions_SetPingInterval(options, 0); // no timer: the pulse is ours
    if (s == NATS_OK)
        s = natsOptions_SetSendAsap(options, true); // no flusher thread
    if (s == NATS_OK)
        s = natsOptions_SetIOBufSize(options, IO_BYTES);
    if (s == NATS_OK)
        s = natsOptions_SetTimeout(options, (int64_t)timeout_ms);
    if (s == NATS_OK)
        s = natsOptions_SetWriteDeadline(options, WRITE_DEADLINE_MS);
    if (s == NATS_OK)
        s = natsOptions_SetErrorHandler(options, on_library_error, NULL);
    return s;
}

static natsStatus
set_servers(struct target *target, const struct url *urls, size_t count)
{
    const char *servers[TARGET_MAX_SERVERS];
    bool is_tls = false;
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        servers[i] = urls[i].full;
        is_tls = is_tls || urls[i].is_tls;
        target->ports[i] = urls[i].port;
        int n = snprintf(target->where + used, sizeof target->where - used, "%s%s",
                         i > 0 ? "," : "", urls[i].place);
        used += (size_t)n;
        if (used >= sizeof target->where)
            used = sizeof target->where - 1;
    }
    target->server_count = count;
    natsStatus s = natsOptions_SetServers(target->options, servers, (int)count);
    if (s == NATS_OK && is_tls)
        s = natsOptions_SetSecure(target->options, true);
    return s;
}

struct target *
target_new(const struct bus_opts *opts, char why[static 160])
{
    struct url urls[TARGET_MAX_SERVERS];
    size_t count;
    if (parse_list(opts, urls, &count, why) != 0 || check_texts(opts, why) != 0)
        return NULL;
    struct target *target = calloc(1, sizeof *target);
    if (target == NULL)
        abort();
    target->timeout_ms = opts->connect_timeout_ms;
    natsStatus s = natsOptions_Create(&target->options);
    if (s == NATS_OK)
        s = set_behaviour(target->options, opts->connect_timeout_ms);
    if (s == NATS_OK)
        s = set_identity(target->options, opts);
    if (s == NATS_OK)
        s = set_servers(target, urls, count);
    if (s != NATS_OK) {
        const char *text = nats_GetLastError(NULL);
        snprintf(why, 160, "bus options: %.140s", text != NULL ? text : natsStatus_GetText(s));
        target_free(target);
        return NULL;
    }
    return target;
}

void
target_free(struct target *target)
{
    if (target == NULL)
        return;
    natsOptions_Destroy(target->options);
    free(target);
}
