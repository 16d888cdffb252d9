// ws_url.c: see ws_url.h.
#include "lib/client-c/ws_url.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool
has_only_url_bytes(const char *text)
{
    for (; *text != 0; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte <= ' ' || byte >= 0x7f || strchr("\"<>\\^`{|}#", byte) != NULL)
            return false;
    }
    return true;
}

// ":port" or "" in [at, end).
static bool
read_port(const char *at, const char *end, int *port)
{
    if (at == end)
        return true;
    if (*at != ':' || end - at < 2 || end - at > 6)
        return false;
    int value = 0;
    for (at++; at < end; at++) {
        if (*at < '0' || *at > '9')
            return false;
        value = value * 10 + (*at - '0');
    }
    if (value < 1 || value > 65535)
        return false;
    *port = value;
    return true;
}

// host[:port] or [v6][:port] in [at, end).
static bool
read_authority(const char *at, const char *end, struct ws_url *url)
{
    bool is_v6 = at < end && *at == '[';
    const char *host = is_v6 ? at + 1 : at;
    const char *host_end = memchr(host, is_v6 ? ']' : ':', (size_t)(end - host));
    if (host_end == NULL && is_v6)
        return false;
    if (host_end == NULL)
        host_end = end;
    size_t len = (size_t)(host_end - host);
    if (len == 0 || len >= sizeof(url->host) || memchr(host, '@', len) != NULL)
        return false;
    if (is_v6 && url->is_tls)
        return false;
    memcpy(url->host, host, len);
    url->host[len] = 0;
    int standard = url->is_tls ? 443 : 80;
    url->port = standard;
    if (!read_port(is_v6 ? host_end + 1 : host_end, end, &url->port))
        return false;
    char port[8] = "";
    if (url->port != standard)
        snprintf(port, sizeof(port), ":%d", url->port);
    snprintf(url->authority, sizeof(url->authority), is_v6 ? "[%s]%s" : "%s%s", url->host, port);
    return true;
}

bool
ws_url_parse(const char *text, struct ws_url *out)
{
    if (strlen(text) >= WS_URL_SIZE || !has_only_url_bytes(text))
        return false;
    struct ws_url url = {0};
    snprintf(url.text, sizeof(url.text), "%s", text);
    if (strncasecmp(text, "wss://", 6) == 0)
        url.is_tls = true;
    else if (strncasecmp(text, "ws://", 5) != 0)
        return false;
    const char *authority = text + (url.is_tls ? 6 : 5);
    const char *path = authority + strcspn(authority, "/?");
    if (!read_authority(authority, path, &url))
        return false;
    if (*path == 0)
        path = "/ws";
    int len = snprintf(url.path, sizeof(url.path), "%s%s", *path == '?' ? "/ws" : "", path);
    if (len < 0 || (size_t)len >= sizeof(url.path))
        return false;
    *out = url;
    return true;
}
