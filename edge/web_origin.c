// web_origin.c: origins are compared part by part, never as text: a prefix or a
// suffix of an allowed name is another name, and :443 after https is no difference.
#include "edge/web_origin.h"

#include <string.h>
#include <strings.h>

static bool
is_letter_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool
is_one_of(char c, const char *set)
{
    return c != '\0' && strchr(set, c) != NULL;
}

struct place {
    const char *scheme; // only of an origin
    size_t scheme_len;
    const char *host;
    size_t host_len;
    unsigned port; // 0: not said
};

// 1 to 65535 without leading zeros, else 0.
static unsigned
read_port(const char *text, size_t len)
{
    unsigned port = 0;
    if (len == 0 || len > 5 || text[0] == '0')
        return 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return 0;
        port = port * 10 + (unsigned)(text[i] - '0');
    }
    return port <= 65535 ? port : 0;
}

// host, host:port, [v6] or [v6]:port. No user, no path, no spaces.
static bool
read_host(const char *text, size_t len, struct place *place)
{
    size_t i = 0;
    bool is_v6 = len > 0 && text[0] == '[';
    if (is_v6) {
        for (i = 1; i < len && (is_letter_or_digit(text[i]) || is_one_of(text[i], ":.")); i++)
            ;
        if (i == 1 || i == len || text[i++] != ']')
            return false;
    } else {
        while (i < len && (is_letter_or_digit(text[i]) || is_one_of(text[i], ".-_")))
            i++;
    }
    place->host = text;
    place->host_len = i;
    place->port = 0;
    if (i == 0 || i == len)
        return i > 0;
    place->port = text[i] == ':' ? read_port(text + i + 1, len - i - 1) : 0;
    return place->port != 0;
}

static bool
scheme_is(const struct place *place, const char *scheme)
{
    return place->scheme_len == strlen(scheme) &&
           strncasecmp(place->scheme, scheme, place->scheme_len) == 0;
}

static unsigned
default_port(const struct place *place)
{
    if (scheme_is(place, "http"))
        return 80;
    return scheme_is(place, "https") ? 443 : 0;
}

// scheme://host or scheme://host:port, nothing after it; RFC 6454, section 7. "null",
// lists and anything else are no origin. A default port is filled in.
static bool
read_origin(const char *text, size_t len, struct place *place)
{
    size_t i = 0;
    while (i < len && (is_letter_or_digit(text[i]) || is_one_of(text[i], "+-.")))
        i++;
    if (i == 0 || len - i < 3 || memcmp(text + i, "://", 3) != 0)
        return false;
    place->scheme = text;
    place->scheme_len = i;
    if (!read_host(text + i + 3, len - i - 3, place))
        return false;
    if (place->port == 0)
        place->port = default_port(place);
    return true;
}

static bool
has_same_host(const struct place *a, const struct place *b)
{
    return a->host_len == b->host_len && strncasecmp(a->host, b->host, a->host_len) == 0;
}

static bool
is_same_origin(const struct place *a, const struct place *b)
{
    return a->scheme_len == b->scheme_len &&
           strncasecmp(a->scheme, b->scheme, a->scheme_len) == 0 && has_same_host(a, b) &&
           a->port == b->port;
}

// The page came from where it connects to. TLS may end in front of us, so a Host without
// a port stands for the default port of either scheme, as the origin has it.
static bool
comes_from_host(const struct place *origin, const char *host)
{
    struct place here = {0};
    if (!scheme_is(origin, "http") && !scheme_is(origin, "https"))
        return false;
    if (!read_host(host, strlen(host), &here) || !has_same_host(origin, &here))
        return false;
    return origin->port == (here.port != 0 ? here.port : default_port(origin));
}

bool
web_origin_is_allowed(const char *text, const char *allowed, const char *host)
{
    struct place origin = {0};
    struct place entry = {0};
    bool is_origin = read_origin(text, strlen(text), &origin);
    allowed += strspn(allowed, " ");
    if (*allowed == '\0')
        return is_origin && comes_from_host(&origin, host);
    while (*allowed != '\0') {
        size_t len = strcspn(allowed, " ");
        if (len == 1 && *allowed == '*')
            return true;
        if (is_origin && read_origin(allowed, len, &entry) && is_same_origin(&origin, &entry))
            return true;
        allowed += len;
        allowed += strspn(allowed, " ");
    }
    return false;
}

bool
web_origin_is_valid(const char *text, size_t len)
{
    struct place place;
    return read_origin(text, len, &place);
}

bool
web_host_is_valid(const char *text)
{
    struct place place;
    return read_host(text, strlen(text), &place);
}
