// settings.c: the table of settings, and the rules between them.
#include "edge/settings.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

#include "edge/token.h"
#include "edge/web_origin.h"
#include "edge/workers.h"
#include "proto/ident.h"

#define KIB 1024
#define MIB (1024 * 1024)
#define SECOND 1000
#define MINUTE (60 * SECOND)

#define ROW(kind, ...) CONF_##kind##_ROW(struct settings, __VA_ARGS__)

// clang-format off
const struct conf_row settings_rows[] = {
    ROW(STRING, "node.name", node_name, "edge", NODE_NAME_MAX,
        "Name of this edge: lower-case letters, digits and '-'. The node id is this name and an "
        "incarnation that is new at every start."),

    ROW(STRING, "listen.host", listen_host, "127.0.0.1", 255,
        "Address of the public port. Anything but loopback needs auth.hs256_secret and "
        "origins.allowed."),
    ROW(NUMBER, "listen.port", CONF_INT, listen_port, "8000", 0, 65535,
        "Public port: WebSockets on /ws, the files of web.root, /healthz. 0 takes any free port."),
    ROW(STRING, "listen.url", listen_url, "", 127,
        "Where clients reach this edge, told to clients that must go elsewhere. Empty: made from "
        "listen.host and listen.port."),
    ROW(STRING, "listen.tls_cert_file", listen_tls_cert_file, "", 4095,
        "Certificate chain in PEM; with it the public port speaks wss and https only."),
    ROW(STRING, "listen.tls_key_file", listen_tls_key_file, "", 4095,
        "Private key of the certificate, in PEM."),

    ROW(STRING, "private.host", private_host, "127.0.0.1", 255,
        "Address of the private port. It has no login: keep it off public networks."),
    ROW(NUMBER, "private.port", CONF_INT, private_port, "8001", 0, 65535,
        "Private port: /healthz, /readyz and counters. 0 takes any free port."),

    ROW(NUMBER, "connections.max", CONF_INT, connections_max, "10000", 1, 1000000,
        "WebSockets this edge takes. One more is answered 503 with Retry-After and the edges "
        "that have room."),
    ROW(NUMBER, "connections.max_per_address", CONF_INT, connections_max_per_address, "1000", 1, 1000000,
        "Sockets from one address. Raise it when a balancer in front makes all clients one "
        "address."),
    ROW(NUMBER, "connections.max_half_open", CONF_INT, connections_max_half_open, "1000", 16, 100000,
        "Sockets that have not become a WebSocket yet; each costs about 6 KiB and lasts 5 s at "
        "most."),
    ROW(NUMBER, "connections.accept_rate", CONF_INT, connections_accept_rate, "5000", 0, 1000000,
        "Sockets accepted in a second, so that a storm of logins leaves time for those who are "
        "connected. More wait in the kernel's backlog. 0 is no limit."),

    ROW(NUMBER, "limits.frame_bytes", CONF_SIZE, limits_frame_bytes, "64KiB", 1 * KIB, 256 * KIB,
        "Largest message a client may send on its WebSocket; larger ones close it with 1009."),
    ROW(NUMBER, "limits.queue_bytes", CONF_SIZE, limits_queue_bytes, "1MiB", 64 * KIB, 64 * MIB,
        "What may wait for one client, at least twice limits.frame_bytes. A client that reads more "
        "slowly is closed with 4108."),
    ROW(NUMBER, "limits.fragments", CONF_INT, limits_fragments, "64", 1, 4096,
        "Fragments of one message."),
    ROW(NUMBER, "limits.commands_per_second", CONF_INT, limits_commands_per_second, "500", 1, 1000000,
        "Commands of one connection, with a burst of twice as many. Those above are refused; a "
        "client that keeps on is closed with 4110."),
    ROW(NUMBER, "limits.pending_bytes", CONF_SIZE, limits_pending_bytes, "64MiB", 1 * MIB, 4096LL * MIB,
        "Sends of this edge's clients that wait for another edge or for Redis. Above it sends are "
        "rejected as busy."),
    ROW(NUMBER, "limits.hello_timeout", CONF_DURATION, limits_hello_timeout, "5s", 100, 5 * MINUTE,
        "How long a new WebSocket may stay without logging in; then it is closed with 4003."),

    ROW(NUMBER, "ping.interval", CONF_DURATION, ping_interval, "25s", 200, 30 * MINUTE,
        "A client that has been silent this long is pinged; after two intervals of silence it is "
        "closed with 4109."),

    ROW(CHOICE, "devices.policy", devices_policy, "many", "many|class|one",
        "What a login takes the place of; the older link is closed with 4001. many: a link of the "
        "same device. class: also those of other devices of its class (device_class of Hello). "
        "one: all links of the user. The same on all edges."),
    ROW(NUMBER, "devices.max", CONF_INT, devices_max, "32", 1, 1000,
        "Devices one user may have connected. One more takes the place of the one that logged in "
        "first. The same on all edges."),

    ROW(CHOICE, "auth.mode", auth_mode, "auto", "auto|token|development",
        "token: clients log in with a signed token. development: anyone may log in under any "
        "name, on loopback only. auto: token if auth.hs256_secret is set, else development."),
    ROW(SECRET, "auth.hs256_secret", auth_hs256_secret,
        "Key of HS256 tokens, at least 32 bytes."),
    ROW(STRING, "auth.hs256_kid", auth_hs256_kid, "", 64,
        "Key id (kid) that tokens signed with the key carry. Empty: tokens without one."),
    ROW(SECRET, "auth.hs256_old_secret", auth_hs256_old_secret,
        "A second key that is still accepted, for changing keys."),
    ROW(STRING, "auth.hs256_old_kid", auth_hs256_old_kid, "", 64,
        "Key id of the second key; must differ from the first."),
    ROW(STRING, "auth.issuer", auth_issuer, "", 256, "Required iss of tokens. Empty: any."),
    ROW(STRING, "auth.audience", auth_audience, "", 256, "Required aud of tokens. Empty: any."),
    ROW(NUMBER, "auth.leeway", CONF_DURATION, auth_leeway, "30s", 0, MINUTE,
        "How far clocks may differ when exp and nbf are checked."),
    ROW(NUMBER, "auth.max_life", CONF_DURATION, auth_max_life, "0", 0, 366LL * 24 * 60 * MINUTE,
        "Longest life of a token, from iat to exp. 0: any."),

    {"origins.allowed", CONF_LIST, offsetof(struct settings, origins_allowed), "", 0, 4096, NULL, false, false,
        "Web origins whose pages may connect, as https://chat.example. * allows any. Empty: only "
        "pages this edge served itself."},

    ROW(STRING, "nats.url", nats_url, "", 1024,
        "NATS servers, as nats://host:4222, several separated by commas. Empty together with "
        "redis.url: the edge runs alone and delivers locally only."),
    ROW(STRING, "nats.user", nats_user, "", 256, "User at the NATS server."),
    ROW(SECRET, "nats.password", nats_password, "Password at the NATS server."),
    ROW(STRING, "nats.credentials_file", nats_credentials_file, "", 4095, "NATS credentials file."),
    ROW(STRING, "nats.tls_ca_file", nats_tls_ca_file, "", 4095,
        "Certificate authority of a tls:// server. Empty: those of the system."),
    ROW(NUMBER, "nats.ping_interval", CONF_DURATION, nats_ping_interval, "2s", 100, MINUTE,
        "How often the edge sends itself a message through NATS; two without an echo and the "
        "connection is made anew."),
    ROW(NUMBER, "nats.max_buffered", CONF_SIZE, nats_max_buffered, "8MiB", 1 * MIB, 1024LL * MIB,
        "What may wait for the NATS server; above it sends to other edges are rejected as busy."),

    ROW(STRING, "redis.url", redis_url, "", 1024,
        "Redis, as redis://host:6379/0 or unix:///path."),
    ROW(STRING, "redis.user", redis_user, "", 256, "ACL user at Redis."),
    ROW(SECRET, "redis.password", redis_password, "Password at Redis."),
    ROW(NUMBER, "redis.command_timeout", CONF_DURATION, redis_command_timeout, "1s", 50, MINUTE,
        "A command unanswered for this long means the connection is lost."),

    ROW(NUMBER, "routes.ttl", CONF_DURATION, routes_ttl, "10s", 100, 10 * MINUTE,
        "How long it is remembered where a user is. Changes are told at once; this bounds how "
        "long a change can be missed when that message is lost."),
    ROW(NUMBER, "routes.max", CONF_INT, routes_max, "100000", 100, 100000000,
        "Users whose place is remembered, about 200 bytes each."),

    ROW(NUMBER, "drain.timeout", CONF_DURATION, drain_timeout, "9s", 500, 10 * MINUTE,
        "How long leaving may take after SIGTERM or SIGUSR2; then what is left is cut. Keep it "
        "below what your supervisor waits before it kills (docker stop: 10 s)."),
    ROW(NUMBER, "drain.delay", CONF_DURATION, drain_delay, "0", 0, 5 * MINUTE,
        "Of that, how long the edge takes clients in while /readyz says 503 already: what a "
        "balancer needs to notice. 0 suits clients that know several edges: they go on to the "
        "next when they are answered 503."),

    ROW(STRING, "web.root", web_root, "", 4095,
        "Directory whose files the public port serves. Empty: none."),

    ROW(NUMBER, "workers.count", CONF_INT, workers_count, "1", 0, WORKERS_MAX,
        "Processes that share the public port, each an edge of its own with its own node id and "
        "limits; also --workers. The private port of the first is private.port, of the next one "
        "more, and so on. 0: one for each core the process may run on. More than one needs "
        "nats.url and redis.url."),
    {"workers.pin", CONF_BOOL, offsetof(struct settings, workers_pin), "false", 0, 0, NULL, false, false,
        "Keeps each worker on a core of its own, the first on the first core the process may run "
        "on. Nothing with one worker."},

    ROW(CHOICE, "log.level", log_level, "info", "error|warn|info|debug", "Least level logged."),
    ROW(CHOICE, "log.format", log_format, "auto", "auto|text|json",
        "auto: text on a terminal, JSON otherwise."),
};
// clang-format on
const size_t settings_count = sizeof(settings_rows) / sizeof(settings_rows[0]);

static bool
is_loopback(const char *host)
{
    struct in_addr v4; // a name may begin with "127." and lie anywhere
    bool is_v4 = inet_pton(AF_INET, host, &v4) == 1;
    return (is_v4 && ntohl(v4.s_addr) >> 24 == 127) || strcmp(host, "::1") == 0 ||
           strcasecmp(host, "localhost") == 0;
}

bool
settings_need_token(const struct settings *settings)
{
    if (strcmp(settings->auth_mode, "auto") == 0)
        return settings->auth_hs256_secret[0] != '\0';
    return strcmp(settings->auth_mode, "token") == 0;
}

unsigned
settings_workers(const struct settings *settings)
{
    return settings->workers_count == 0 ? workers_cores() : (unsigned)settings->workers_count;
}

bool
settings_is_alone(const struct settings *settings)
{
    return settings->nats_url[0] == '\0' && settings->redis_url[0] == '\0';
}

enum device_policy
settings_device_policy(const struct settings *settings)
{
    enum device_policy policy = DEVICES_MANY;
    while (strcmp(settings->devices_policy, device_policy_name(policy)) != 0)
        policy++;
    return policy;
}

// As token.h takes it.
static bool
kid_is_valid(const char *kid)
{
    size_t len = strspn(kid, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");
    return len <= 64 && kid[len] == '\0';
}

// The first word of origins.allowed that no browser would ever send, or NULL.
static const char *
bad_origin(const char *origins, char *word, size_t size)
{
    while (*origins != '\0') {
        size_t len = strcspn(origins, " ");
        bool is_any = len == 1 && origins[0] == '*';
        if (len > 0 && !is_any && !web_origin_is_valid(origins, len)) {
            snprintf(word, size, "%.*s", (int)len, origins);
            return word;
        }
        origins += len + (origins[len] == ' ');
    }
    return NULL;
}

// The sentence that is wrong, or NULL.
static const char *
complaint(const struct settings *s)
{
    bool has_secret = s->auth_hs256_secret[0] != '\0';
    bool has_old_secret = s->auth_hs256_old_secret[0] != '\0';
    if (!node_name_is_valid(s->node_name, strlen(s->node_name)))
        return "node.name must be 1 to 40 of a-z, 0-9 and '-'";
    if ((s->nats_url[0] == '\0') != (s->redis_url[0] == '\0'))
        return "nats.url and redis.url go together: set both for a cluster, none to run alone";
    if (settings_workers(s) > 1 && settings_is_alone(s))
        return "workers.count is more than one (0: one for each core), and workers reach each "
               "other's clients through NATS and Redis: set nats.url and redis.url, or "
               "workers.count 1";
    if (s->private_port != 0 && s->private_port + settings_workers(s) - 1 > 65535)
        return "private.port is too high: each worker takes one port more, up to 65535";
    if ((s->listen_tls_cert_file[0] == '\0') != (s->listen_tls_key_file[0] == '\0'))
        return "listen.tls_cert_file and listen.tls_key_file go together";
    if (s->limits_queue_bytes < 2 * s->limits_frame_bytes)
        return "limits.queue_bytes must be at least twice limits.frame_bytes: a message a client "
               "may send must find room at its receiver, as JSON too";
    if (settings_need_token(s) && !has_secret)
        return "auth.mode 'token' needs auth.hs256_secret";
    if (has_secret && strlen(s->auth_hs256_secret) < TOKEN_MIN_KEY_BYTES)
        return "auth.hs256_secret is too short: at least 32 bytes";
    if (has_old_secret && strlen(s->auth_hs256_old_secret) < TOKEN_MIN_KEY_BYTES)
        return "auth.hs256_old_secret is too short: at least 32 bytes";
    if (!kid_is_valid(s->auth_hs256_kid) || !kid_is_valid(s->auth_hs256_old_kid))
        return "auth.hs256_kid and auth.hs256_old_kid are at most 64 of A-Z, a-z, 0-9, '.', '_', "
               "'-'";
    if (has_old_secret && strcmp(s->auth_hs256_kid, s->auth_hs256_old_kid) == 0)
        return "auth.hs256_old_kid must differ from auth.hs256_kid";
    if (s->drain_delay > s->drain_timeout / 2)
        return "drain.delay must be at most half of drain.timeout: the clients need the rest";
    if (!is_loopback(s->listen_host) && !settings_need_token(s))
        return "listen.host is not loopback, so clients must bring tokens: set auth.hs256_secret";
    if (!is_loopback(s->listen_host) && s->origins_allowed[0] == '\0')
        return "listen.host is not loopback, so origins.allowed must say whose pages may connect";
    return NULL;
}

int
settings_check(const struct settings *settings, FILE *complaints)
{
    char word[256];
    const char *wrong = complaint(settings);
    const char *origin = bad_origin(settings->origins_allowed, word, sizeof(word));
    if (wrong != NULL)
        fprintf(complaints, "%s\n", wrong);
    else if (origin != NULL)
        fprintf(complaints,
                "origins.allowed: '%s' is no origin: write scheme and host, and the "
                "port if it is not the usual one, as https://chat.example:8443\n",
                origin);
    return wrong != NULL || origin != NULL ? SY_EINVAL : 0;
}
