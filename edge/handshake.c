// handshake.c: the rules for becoming a WebSocket, and pages for those who come
// with a browser.
//
// The rules run in this order, and the first that is broken answers:
//   404 path, 405 method, 400 anything else wrong with the request (426: version),
//   400 where the token is, 403 origin, 503 no room.
// So a client in error learns of its error also while the edge is full.
//
// A header that came twice reaches us joined by a comma. That breaks the rule of each
// header that may come once: none of their values holds a comma.
//
// The token is only found here, not checked. `Authorization` of another scheme than
// Bearer is left alone: a proxy in front may ask for Basic, and browsers repeat it.
#include "edge/handshake.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "edge/web_origin.h"
#include "lib/base/err.h"

#define PATH "/ws"
#define BEARER_ENTRY "bearer."
// A key is 16 bytes in base64.
#define KEY_CHARS 22

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

// What is not visible ASCII or a space shows as '?': values are quoted into bodies
// and logs, where a control character could act.
static char
tame(char c)
{
    return c >= ' ' && c <= '~' ? c : '?';
}

// Text that grows in a buffer; what does not fit is left out and noted.
struct line {
    char *out;
    size_t size; // with the NUL
    size_t len;
    bool is_cut;
};

static void
line_add(struct line *line, const char *text)
{
    size_t len = strlen(text);
    if (line->is_cut || len >= line->size - line->len) {
        line->is_cut = true;
        return;
    }
    memcpy(line->out + line->len, text, len + 1);
    line->len += len;
}

static void
line_add_quoted(struct line *line, const char *text, size_t len)
{
    line_add(line, "\"");
    for (size_t i = 0; i < len; i++) {
        char c = tame(text[i]);
        line_add(line, (char[]){c == '"' || c == '\\' ? '\\' : c, '\0'});
        if (c == '"' || c == '\\')
            line_add(line, (char[]){c, '\0'});
    }
    line_add(line, "\"");
}

// The body up to its last brace: {"error":"...","text":"..."
static struct line
body_start(struct handshake_verdict *verdict, const char *error, const char *text)
{
    struct line line = {.out = verdict->body, .size = sizeof(verdict->body)};
    line_add(&line, "{\"error\":");
    line_add_quoted(&line, error, strlen(error));
    line_add(&line, ",\"text\":");
    line_add_quoted(&line, text, strlen(text));
    return line;
}

// Always false, for `return refuse(...)`. Values from the request are cut by their
// %.64s, which bounds the text: even if every character is escaped, it fits the body.
PRINTF_LIKE(4, 5)
static bool
refuse(struct handshake_verdict *verdict, unsigned status, const char *error, const char *format,
       ...)
{
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    struct line line = body_start(verdict, error, text);
    line_add(&line, "}");
    verdict->status = status;
    return false;
}

static const char *
or_nothing(const char *value)
{
    return value != NULL ? value : "";
}

static bool
is_equal(const char *value, const char *expected)
{
    return value != NULL && strcmp(value, expected) == 0;
}

static bool
check_request(const struct handshake *request, struct handshake_verdict *verdict)
{
    const char *host = or_nothing(request->host);
    if (!is_equal(request->path, PATH))
        return refuse(verdict, 404, "not_found",
                      "there is nothing at '%.64s'; WebSockets open at " PATH,
                      or_nothing(request->path));
    if (!is_equal(request->method, "GET"))
        return refuse(verdict, 405, "method", "a WebSocket opens with GET, not with '%.64s'",
                      or_nothing(request->method));
    if (!is_equal(request->http, "HTTP/1.1"))
        return refuse(
            verdict, 400, "http_version",
            "a WebSocket opens with HTTP/1.1, not with '%.64s'; a proxy in front may have "
            "to be told so",
            or_nothing(request->http));
    if (!web_host_is_valid(host))
        return refuse(verdict, 400, "host", "Host must be one name or address, not '%.64s'", host);
    if (request->has_body)
        return refuse(verdict, 400, "body", "a WebSocket opens with a request without a body");
    return true;
}

// The server only hashes the key, so unused bits in its last character may be set.
static bool
key_is_valid(const char *key)
{
    size_t i = 0;
    while (is_letter_or_digit(key[i]) || is_one_of(key[i], "+/"))
        i++;
    return i == KEY_CHARS && strcmp(key + i, "==") == 0;
}

static bool
check_upgrade(const struct handshake *request, struct handshake_verdict *verdict)
{
    if (request->upgrade == NULL || request->upgrade[0] == '\0')
        return refuse(verdict, 400, "upgrade",
                      "this address speaks WebSocket, and the request has no Upgrade header; a "
                      "proxy in front may have dropped it");
    if (strcasecmp(request->upgrade, "websocket") != 0)
        return refuse(verdict, 400, "upgrade", "Upgrade must be 'websocket', not '%.64s'",
                      request->upgrade);
    if (!is_equal(request->version, "13"))
        return refuse(verdict, 426, "version", "Sec-WebSocket-Version must be 13, not '%.64s'",
                      or_nothing(request->version));
    if (!key_is_valid(or_nothing(request->key)))
        return refuse(verdict, 400, "key", "Sec-WebSocket-Key must be 16 bytes in base64");
    return true;
}

// A token in a URL ends in logs and histories. The server gives the query decoded.
static bool
check_query(const struct handshake *request, struct handshake_verdict *verdict)
{
    static const char *const names[] = {"token", "access_token"};
    const char *query = or_nothing(request->query);
    while (*query != '\0') {
        size_t len = strcspn(query, "=&;");
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
            if (len == strlen(names[i]) && strncasecmp(query, names[i], len) == 0)
                return refuse(verdict, 400, "query_token",
                              "a token must not be in the URL, where logs keep it: send it as "
                              "'Authorization: Bearer ...', as the subprotocol entry '" BEARER_ENTRY
                              "...', or in the first message (hello.token)");
        }
        query += strcspn(query, "&;");
        query += *query != '\0';
    }
    return true;
}

static bool
take_token(const char *token, size_t len, struct handshake_verdict *verdict)
{
    if (verdict->token[0] != '\0')
        return refuse(verdict, 400, "two_tokens",
                      "the token came twice: send it as Authorization or as the subprotocol entry "
                      "'" BEARER_ENTRY "...', not both");
    for (size_t i = 0; i < len; i++) {
        // token68 of RFC 9110; a subprotocol entry has fewer, and was checked before.
        if (!is_letter_or_digit(token[i]) && !is_one_of(token[i], "-._~+/="))
            len = 0;
    }
    if (len == 0)
        return refuse(verdict, 400, "token", "the token is empty or holds a forbidden character");
    if (len >= sizeof(verdict->token))
        return refuse(verdict, 400, "token", "the token has %zu bytes, the most is %zu", len,
                      sizeof(verdict->token) - 1);
    memcpy(verdict->token, token, len);
    verdict->token[len] = '\0';
    return true;
}

static bool
read_authorization(const struct handshake *request, struct handshake_verdict *verdict)
{
    const char *value = or_nothing(request->authorization);
    size_t scheme_len = strcspn(value, " \t");
    if (scheme_len != strlen("Bearer") || strncasecmp(value, "Bearer", scheme_len) != 0)
        return true;
    value += scheme_len;
    value += strspn(value, " \t");
    size_t len = strlen(value);
    while (len > 0 && is_one_of(value[len - 1], " \t"))
        len--;
    return take_token(value, len, verdict);
}

static bool
take_subprotocol(const char *entry, size_t len, struct handshake_verdict *verdict)
{
    static const struct {
        const char *name;
        enum codec_format format;
    } ours[] = {
        {CODEC_SUBPROTOCOL_PROTOBUF, CODEC_PROTOBUF},
        {CODEC_SUBPROTOCOL_JSON, CODEC_JSON},
    };
    for (size_t i = 0; i < len; i++) {
        if (!is_letter_or_digit(entry[i]) && !is_one_of(entry[i], "!#$%&'*+-.^_`|~"))
            return refuse(verdict, 400, "subprotocol",
                          "Sec-WebSocket-Protocol holds a character that no subprotocol has");
    }
    size_t mark = strlen(BEARER_ENTRY);
    if (len >= mark && strncmp(entry, BEARER_ENTRY, mark) == 0)
        return take_token(entry + mark, len - mark, verdict);
    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]) && verdict->subprotocol == NULL; i++) {
        if (len == strlen(ours[i].name) && strncmp(entry, ours[i].name, len) == 0) {
            verdict->subprotocol = ours[i].name;
            verdict->format = ours[i].format;
        }
    }
    return true;
}

// The first of the client's list that is ours; unknown ones may stand beside it.
static bool
read_subprotocols(const struct handshake *request, struct handshake_verdict *verdict)
{
    const char *list = or_nothing(request->subprotocols);
    while (*list != '\0') {
        const char *entry = list + strspn(list, " \t");
        size_t whole = strcspn(entry, ",");
        size_t len = whole;
        while (len > 0 && is_one_of(entry[len - 1], " \t"))
            len--;
        if (!take_subprotocol(entry, len, verdict))
            return false;
        list = entry + whole;
        list += *list != '\0';
    }
    if (verdict->subprotocol == NULL)
        return refuse(verdict, 400, "subprotocol",
                      "Sec-WebSocket-Protocol must offer '" CODEC_SUBPROTOCOL_PROTOBUF
                      "' (protobuf) or '" CODEC_SUBPROTOCOL_JSON "' (JSON)");
    return true;
}

static bool
check_origin(const struct handshake *request, const struct handshake_policy *policy,
             struct handshake_verdict *verdict)
{
    // Only browsers send it, to tell whose page is asking; other clients need not.
    if (request->origin == NULL)
        return true;
    if (web_origin_is_allowed(request->origin, or_nothing(policy->origins), request->host))
        return true;
    return refuse(verdict, 403, "origin", "pages of the origin '%.64s' may not connect here",
                  request->origin);
}

// As many edges as fit whole; the client needs one.
static void
add_edges(struct line *line, const char *rooms)
{
    const char *end = "]}";
    size_t size = line->size - strlen(end);
    bool is_first = true;
    line_add(line, ",\"edges\":[");
    for (rooms += strspn(rooms, " "); *rooms != '\0'; rooms += strspn(rooms, " ")) {
        size_t len = strcspn(rooms, " ");
        struct line longer = {.out = line->out, .size = size, .len = line->len};
        line_add(&longer, is_first ? "" : ",");
        line_add_quoted(&longer, rooms, len);
        if (longer.is_cut)
            break;
        line->len = longer.len;
        is_first = false;
        rooms += len;
    }
    line_add(line, end);
}

static bool
check_room(const struct handshake_policy *policy, struct handshake_verdict *verdict)
{
    if (policy->is_ready && policy->has_room)
        return true;
    struct line line =
        policy->is_ready ? body_start(verdict, "full", "this edge has all the connections it takes")
                         : body_start(verdict, "not_ready", "this edge takes no new clients now");
    char number[40];
    snprintf(number, sizeof(number), ",\"retry_after_s\":%u", policy->retry_after_s);
    line_add(&line, number);
    add_edges(&line, or_nothing(policy->rooms));
    verdict->status = 503;
    verdict->retry_after_s = policy->retry_after_s;
    return false;
}

void
handshake_judge(const struct handshake *request, const struct handshake_policy *policy,
                struct handshake_verdict *verdict)
{
    *verdict = (struct handshake_verdict){.status = 101, .format = CODEC_PROTOBUF};
    bool is_allowed = check_request(request, verdict) && check_upgrade(request, verdict) &&
                      check_query(request, verdict) && read_authorization(request, verdict) &&
                      read_subprotocols(request, verdict) &&
                      check_origin(request, policy, verdict) && check_room(policy, verdict);
    if (is_allowed)
        return;
    // Nobody needs these of a refused client, least of all a log.
    memset(verdict->token, 0, sizeof(verdict->token));
    verdict->subprotocol = NULL;
    verdict->format = CODEC_PROTOBUF;
}

static const struct page {
    unsigned status;
    const char *reason;
    const char *sentence;
} pages[] = {
    {400, "Bad Request", "The request cannot be understood or is not allowed here."},
    {401, "Unauthorized", "A valid token is needed for this."},
    {403, "Forbidden", "This is not allowed."},
    {404, "Not Found", "There is nothing at this address."},
    {405, "Method Not Allowed", "This address takes another method."},
    {408, "Request Timeout", "The request took too long to arrive."},
    {411, "Length Required", "A request with a body must state its Content-Length."},
    {413, "Content Too Large", "The request is larger than this server takes."},
    {415, "Unsupported Media Type", "This address takes another content type."},
    {426, "Upgrade Required", "This address speaks WebSocket, version 13."},
    {429, "Too Many Requests", "Requests came faster than allowed; slow down and try again."},
    {431, "Request Header Fields Too Large", "The headers are larger than this server takes."},
    {500, "Internal Server Error", "The server failed at this; the fault is its own."},
    {503, "Service Unavailable", "The server cannot do this now; try again later."},
};

static const struct page *
page_find(unsigned status)
{
    static const struct page other = {0, "Error", "The request was not answered."};
    for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
        if (pages[i].status == status)
            return &pages[i];
    }
    return &other;
}

// Whether text/html is named with a weight other than 0. What merely allows it, as
// curl's */*, gets text.
static bool
wants_html(const char *accept)
{
    static const char html[] = "text/html";
    while (*accept != '\0') {
        accept += strspn(accept, " \t,");
        size_t len = strcspn(accept, ",");
        size_t type_len = strcspn(accept, " \t;,");
        const char *weight = accept + type_len + strspn(accept + type_len, " \t;");
        bool is_html = type_len == strlen(html) && strncasecmp(accept, html, type_len) == 0;
        bool is_zero = strncasecmp(weight, "q=0", 3) == 0 &&
                       strspn(weight + 2, "0.") == strcspn(weight + 2, " \t;,");
        if (is_html && !is_zero)
            return true;
        accept += len;
    }
    return false;
}

static void
add_escaped(struct line *line, const char *text, bool is_html)
{
    static const struct {
        char c;
        const char *name;
    } entities[] = {{'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}, {'"', "&quot;"}, {'\'', "&#39;"}};
    for (; *text != '\0'; text++) {
        char one[] = {tame(*text), '\0'};
        const char *as = one;
        for (size_t i = 0; is_html && i < sizeof(entities) / sizeof(entities[0]); i++) {
            if (*text == entities[i].c)
                as = entities[i].name;
        }
        line_add(line, as);
    }
}

void
http_error_page(unsigned status, const char *accept, const char *detail, struct http_reply *reply)
{
    static const char tail[] = "</p>\n</html>\n";
    const struct page *page = page_find(status);
    bool is_html = wants_html(or_nothing(accept));
    char head[300];
    if (is_html)
        snprintf(head, sizeof(head),
                 "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n"
                 "<title>%u %s</title>\n<h1>%u %s</h1>\n<p>%s</p>\n<p>",
                 status, page->reason, status, page->reason, page->sentence);
    else
        snprintf(head, sizeof(head), "%u %s\n%s\n", status, page->reason, page->sentence);
    reply->status = status;
    reply->content_type = is_html ? "text/html; charset=utf-8" : "text/plain; charset=utf-8";
    struct line line = {.out = reply->body, .size = sizeof(reply->body) - sizeof(tail)};
    line_add(&line, head);
    add_escaped(&line, or_nothing(detail), is_html);
    line.size = sizeof(reply->body);
    line.is_cut = false;
    if (is_html)
        line_add(&line, tail);
    else if (detail != NULL && detail[0] != '\0')
        line_add(&line, "\n");
    reply->len = line.len;
}
