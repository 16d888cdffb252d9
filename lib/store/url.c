// See url.h.
#include "lib/store/url.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static int refuse(char why[static 160], const char *format, ...) PRINTF_LIKE(2, 3);

static int
refuse(char why[static 160], const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(why, 160, format, args);
    va_end(args);
    return SY_EINVAL;
}

// Only digits, min..max.
static int
read_number(const char *text, size_t len, int min, int max, int *out)
{
    long value = 0;
    if (len == 0 || len > 6)
        return SY_EINVAL;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return SY_EINVAL;
        value = value * 10 + (text[i] - '0');
    }
    if (value < min || value > max)
        return SY_EINVAL;
    *out = (int)value;
    return 0;
}

static int
hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

// Copies and undoes %XX; SY_EINVAL if it does not fit or hides a NUL.
static int
decode(const char *text, size_t len, char *out, size_t size)
{
    size_t used = 0;
    for (size_t i = 0; i < len; i++) {
        int byte = (unsigned char)text[i];
        if (byte == '%') {
            int high = i + 2 < len ? hex_digit(text[i + 1]) : -1;
            int low = i + 2 < len ? hex_digit(text[i + 2]) : -1;
            if (high < 0 || low < 0)
                return SY_EINVAL;
            byte = high * 16 + low;
            i += 2;
        }
        if (byte == 0 || used + 1 >= size)
            return SY_EINVAL;
        out[used++] = (char)byte;
    }
    out[used] = '\0';
    return 0;
}

static int
read_identity(const char *text, size_t len, struct redis_url *url, char why[static 160])
{
    const char *colon = memchr(text, ':', len);
    size_t user_len = colon ? (size_t)(colon - text) : len;
    if (decode(text, user_len, url->user, sizeof url->user))
        return refuse(why, "redis URL: the user is longer than %zu bytes or badly %%-encoded",
                      sizeof url->user - 1);
    if (colon && decode(colon + 1, len - user_len - 1, url->password, sizeof url->password))
        return refuse(why, "redis URL: the password is longer than %zu bytes or badly %%-encoded",
                      sizeof url->password - 1);
    return 0;
}

// host, host:port, [v6], [v6]:port
static int
read_place(const char *text, size_t len, struct redis_url *url, char why[static 160])
{
    const char *host = text;
    const char *end = memchr(text, ':', len);
    const char *rest = end ? end : text + len;
    if (len > 0 && text[0] == '[') {
        host = text + 1;
        end = memchr(text, ']', len);
        if (!end)
            return refuse(why, "redis URL: '[' without ']'");
        rest = end + 1;
    } else if (!end) {
        end = rest;
    }
    size_t host_len = (size_t)(end - host);
    if (host_len == 0)
        return refuse(why, "redis URL: no host; right would be redis://127.0.0.1:%d", URL_PORT);
    if (host_len >= sizeof url->host)
        return refuse(why, "redis URL: the host is longer than %zu bytes", sizeof url->host - 1);
    memcpy(url->host, host, host_len);
    url->host[host_len] = '\0';
    size_t rest_len = len - (size_t)(rest - text);
    url->port = URL_PORT;
    if (rest_len > 0 &&
        (rest[0] != ':' || read_number(rest + 1, rest_len - 1, 1, 65535, &url->port)))
        return refuse(why, "redis URL: '%.*s' is no port; right would be :1 to :65535",
                      (int)(rest_len < 32 ? rest_len : 32), rest);
    bool is_v6 = strchr(url->host, ':') != NULL;
    snprintf(url->name, sizeof url->name, "%s%s%s:%d", is_v6 ? "[" : "", url->host,
             is_v6 ? "]" : "", url->port);
    return 0;
}

static int
read_tcp(const char *text, struct redis_url *url, char why[static 160])
{
    size_t len = strlen(text);
    const char *at = memrchr(text, '@', len);
    if (at) {
        int error = read_identity(text, (size_t)(at - text), url, why);
        if (error)
            return error;
        text = at + 1;
    }
    len = strlen(text);
    const char *slash = memchr(text, '/', len);
    size_t place_len = slash ? (size_t)(slash - text) : len;
    if (slash && slash[1] && read_number(slash + 1, strlen(slash + 1), 0, 999999, &url->db))
        return refuse(why, "redis URL: '%.32s' is no database number", slash + 1);
    return read_place(text, place_len, url, why);
}

int
redis_url_parse(const char *text, struct redis_url *out, char why[static 160])
{
    struct redis_url url = {.port = URL_PORT};
    int error = 0;
    if (strncmp(text, "redis://", 8) == 0) {
        error = read_tcp(text + 8, &url, why);
    } else if (strncmp(text, "unix:///", 8) == 0) {
        const char *path = text + 7;
        if (!path[1] || strlen(path) >= sizeof url.path)
            return refuse(why, "redis URL: a unix socket has a path of 2 to %zu bytes",
                          sizeof url.path - 1);
        snprintf(url.path, sizeof url.path, "%s", path);
        snprintf(url.name, sizeof url.name, "%s", path);
    } else {
        return refuse(why, "redis URL: must begin with redis:// or unix:///%s",
                      strncmp(text, "rediss:", 7) == 0 ? " (TLS is not supported)" : "");
    }
    if (error)
        return error;
    *out = url;
    return 0;
}
