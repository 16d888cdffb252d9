// See channel.h: looking up the name, connecting, greeting. Any refusal gives the
// connection up with Redis's words as the reason.
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

#include "lib/store/channel_state.h"

// Greeting.

// True if the answer is a refusal, and the connection is given up for it.
static bool
is_refused(struct channel *channel, const struct redisReply *answer)
{
    const char *words;
    if (!redis_is_error(answer, &words))
        return false;
    channel_lose(channel, SY_ELOST, words);
    return true;
}

static void
on_auth(void *arg, int error, const struct redisReply *answer)
{
    struct channel *channel = arg;
    const char *words;
    if (error != SY_EREPLY || !redis_is_error(answer, &words))
        return;
    uint64_t held;
    if (log_limit_pass(&channel->refused, uv_now(channel->loop), &held))
        log_error("redis_login_refused", "at=%s user=%s error=%s more=%llu",
                  log_quote(channel->opts.url.name), log_quote(channel->opts.url.user),
                  log_quote(words), (unsigned long long)held);
    channel_lose(channel, SY_ELOST, words);
}

// [ "server", "redis", "version", "7.0.15", ... ]. Only to have a version to show.
static void
on_hello(void *arg, int error, const struct redisReply *answer)
{
    struct channel *channel = arg;
    size_t count;
    if (error || !redis_read_array(answer, &count))
        return;
    for (size_t i = 0; i + 1 < count; i += 2) {
        const char *key, *value;
        size_t key_len, value_len;
        if (redis_read_text(redis_item(answer, i), &key, &key_len) &&
            redis_read_text(redis_item(answer, i + 1), &value, &value_len) &&
            strcmp(key, "version") == 0)
            snprintf(channel->version, sizeof channel->version, "%s", value);
    }
}

static void
on_select(void *arg, int error, const struct redisReply *answer)
{
    if (error == SY_EREPLY)
        is_refused(arg, answer);
}

static void
become_ready(struct channel *channel)
{
    uint64_t now = uv_now(channel->loop);
    channel_move(channel, READY);
    channel->ready_ms = now;
    channel->failed = (struct log_limit){.interval_ms = COMPLAIN_MS};
    log_info("redis_ready", "at=%s version=%s", log_quote(channel->opts.url.name),
             log_quote(channel->version));
    if (channel->opts.on_state)
        channel->opts.on_state(channel->opts.arg, true, channel_describe(channel));
}

static void
on_loaded(void *arg, int error, const struct redisReply *answer)
{
    struct script_slot *slot = arg;
    struct channel *channel = slot->channel;
    const char *sha;
    size_t len;
    if (error && !answer)
        return;
    slot->is_loading = false;
    if (is_refused(channel, answer))
        return;
    if (!redis_read_text(answer, &sha, &len) || len != sizeof slot->sha - 1) {
        channel_lose(channel, SY_ELOST, "SCRIPT LOAD answered with something else than a SHA-1");
        return;
    }
    memcpy(slot->sha, sha, sizeof slot->sha);
    if (slot == &channel->scripts[SCRIPT_COUNT - 1])
        become_ready(channel);
}

static void
greet(struct channel *channel)
{
    const struct redis_url *url = &channel->opts.url;
    if (url->user[0]) {
        const char *argv[] = {"AUTH", url->user, url->password};
        channel_send_own(channel, 3, argv, on_auth, channel);
    } else if (url->password[0]) {
        const char *argv[] = {"AUTH", url->password};
        channel_send_own(channel, 2, argv, on_auth, channel);
    }
    const char *hello[] = {"HELLO", "2"};
    channel_send_own(channel, 2, hello, on_hello, channel);
    if (url->db) {
        char db[16];
        snprintf(db, sizeof db, "%d", url->db);
        const char *argv[] = {"SELECT", db};
        channel_send_own(channel, 2, argv, on_select, channel);
    }
    for (size_t i = 0; i < SCRIPT_COUNT; i++)
        channel_load(&channel->scripts[i], on_loaded);
}

// Connecting.

static void
connect_to(struct channel *channel, const char *ip)
{
    const struct redis_url *url = &channel->opts.url;
    const struct redis_hooks hooks = {channel_on_answer, channel_on_gone, channel_on_released,
                                      channel};
    char why[160];
    channel_move(channel, CONNECTING);
    channel->redis = redis_open(channel->loop, ip, url->port, url->path, &hooks, why);
    if (!channel->redis) {
        channel_lose(channel, SY_ELOST, why);
        return;
    }
    channel->holds++;
    greet(channel);
    channel_arm(channel, channel->opts.timeout_ms);
}

// The address whose turn it is, as text.
static void
pick_address(const struct addrinfo *list, unsigned turn, char ip[static INET6_ADDRSTRLEN])
{
    const struct addrinfo *pick = list;
    for (; turn > 0; turn--)
        pick = pick->ai_next ? pick->ai_next : list;
    const void *address = pick->ai_addr;
    if (pick->ai_family == AF_INET6)
        uv_ip6_name(address, ip, INET6_ADDRSTRLEN);
    else
        uv_ip4_name(address, ip, INET6_ADDRSTRLEN);
}

static void
on_resolved(uv_getaddrinfo_t *lookup, int status, struct addrinfo *list)
{
    struct channel *channel = lookup->data;
    char ip[INET6_ADDRSTRLEN] = "";
    if (status == 0)
        pick_address(list, channel->next_address % 64, ip);
    uv_freeaddrinfo(list);
    if (channel->state == RESOLVING) {
        if (status == 0)
            connect_to(channel, ip);
        else
            channel_lose(channel, SY_ELOST, uv_strerror(status));
    }
    channel_release(channel);
}

void
channel_dial(struct channel *channel)
{
    const struct redis_url *url = &channel->opts.url;
    unsigned char address[sizeof(struct in6_addr)];
    channel_move(channel, RESOLVING);
    if (url->path[0] || uv_inet_pton(AF_INET, url->host, address) == 0 ||
        uv_inet_pton(AF_INET6, url->host, address) == 0) {
        connect_to(channel, url->host);
        return;
    }
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    int error =
        uv_getaddrinfo(channel->loop, &channel->lookup, on_resolved, url->host, NULL, &hints);
    if (error)
        channel_lose(channel, SY_ELOST, uv_strerror(error));
    else
        channel->holds++;
}
