// Requests that want to become a WebSocket, and error pages for them.
//
// The input is text in lines. The first character of a line says which field the rest
// is: M method, P path, Q query, V HTTP version, H Host, U Upgrade, N version (number),
// K key, S subprotocols, O Origin, A Authorization; L the allowed origins, R the edges
// with room, C the Accept of the error page; B has a body, D not ready (draining),
// F full. A field that is not given is absent.
#include <assert.h>
#include <jansson.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "edge/handshake.h"

#define INPUT_MAX 16384

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

struct input {
    struct handshake request;
    struct handshake_policy policy;
    const char *accept;
};

static void
set_field(struct input *in, char name, const char *value)
{
    switch (name) {
    case 'M':
        in->request.method = value;
        break;
    case 'P':
        in->request.path = value;
        break;
    case 'Q':
        in->request.query = value;
        break;
    case 'V':
        in->request.http = value;
        break;
    case 'H':
        in->request.host = value;
        break;
    case 'U':
        in->request.upgrade = value;
        break;
    case 'N':
        in->request.version = value;
        break;
    case 'K':
        in->request.key = value;
        break;
    case 'S':
        in->request.subprotocols = value;
        break;
    case 'O':
        in->request.origin = value;
        break;
    case 'A':
        in->request.authorization = value;
        break;
    case 'L':
        in->policy.origins = value;
        break;
    case 'R':
        in->policy.rooms = value;
        break;
    case 'C':
        in->accept = value;
        break;
    case 'B':
        in->request.has_body = true;
        break;
    case 'D':
        in->policy.is_ready = false;
        break;
    case 'F':
        in->policy.has_room = false;
        break;
    default:
        break;
    }
}

static bool
is_visible(const char *text, char first)
{
    for (; *text != '\0'; text++) {
        if (*text < first || *text > '~')
            return false;
    }
    return true;
}

static bool
is_one_of_ours(const char *subprotocol, enum codec_format format)
{
    if (strcmp(subprotocol, CODEC_SUBPROTOCOL_JSON) == 0)
        return format == CODEC_JSON;
    return strcmp(subprotocol, CODEC_SUBPROTOCOL_PROTOBUF) == 0 && format == CODEC_PROTOBUF;
}

// What must hold of every upgrade, said again in other words than the judge's.
static void
check_upgrade(const struct input *in, const struct handshake_verdict *verdict)
{
    const struct handshake *request = &in->request;
    assert(strcmp(request->method, "GET") == 0 && strcmp(request->path, "/ws") == 0);
    assert(strcmp(request->http, "HTTP/1.1") == 0 && !request->has_body);
    assert(strcasecmp(request->upgrade, "websocket") == 0);
    assert(strcmp(request->version, "13") == 0);
    assert(strlen(request->key) == 24 && strcmp(request->key + 22, "==") == 0);
    assert(request->host[0] != '\0' && is_visible(request->host, '!'));
    assert(is_one_of_ours(verdict->subprotocol, verdict->format));
    assert(strstr(request->subprotocols, verdict->subprotocol) != NULL);
    assert(in->policy.is_ready && in->policy.has_room);
    assert(is_visible(verdict->token, '!'));
    if (verdict->token[0] != '\0')
        assert((request->authorization != NULL && strstr(request->authorization, verdict->token)) ||
               strstr(request->subprotocols, verdict->token));
    const char *origins = in->policy.origins != NULL ? in->policy.origins : "";
    if (request->origin != NULL && strchr(origins, '*') == NULL)
        assert(strstr(request->origin, "://") != NULL && is_visible(request->origin, '!'));
    assert(verdict->body[0] == '\0' && verdict->retry_after_s == 0);
}

static void
check_refusal(const struct handshake_verdict *verdict)
{
    assert(verdict->status == 400 || verdict->status == 403 || verdict->status == 404 ||
           verdict->status == 405 || verdict->status == 426 || verdict->status == 503);
    assert(memchr(verdict->body, '\0', sizeof(verdict->body)) != NULL);
    assert(is_visible(verdict->body, ' '));
    json_t *body = json_loads(verdict->body, JSON_REJECT_DUPLICATES, NULL);
    assert(json_is_string(json_object_get(body, "error")));
    assert(json_is_string(json_object_get(body, "text")));
    assert((verdict->status == 503) == json_is_array(json_object_get(body, "edges")));
    assert((verdict->status == 503) == (verdict->retry_after_s == 5));
    json_decref(body);
    assert(verdict->subprotocol == NULL && verdict->token[0] == '\0');
}

static void
check_page(const struct input *in, unsigned status)
{
    struct http_reply reply;
    http_error_page(status, in->accept, in->request.path, &reply);
    assert(reply.status == status && reply.len == strnlen(reply.body, sizeof(reply.body)));
    bool is_html = strncmp(reply.content_type, "text/html", 9) == 0;
    size_t marks = 0;
    for (size_t i = 0; i < reply.len; i++) {
        assert((reply.body[i] >= ' ' && reply.body[i] <= '~') || reply.body[i] == '\n');
        marks += reply.body[i] == '<';
    }
    // No element but those of the page itself, and its end is there.
    assert(!is_html || marks == 12);
    assert(!is_html || strcmp(reply.body + reply.len - 8, "</html>\n") == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    char text[INPUT_MAX];
    if (len >= sizeof(text))
        return 0;
    for (size_t i = 0; i < len; i++)
        text[i] = (char)bytes[i];
    text[len] = '\0';
    struct input in = {.policy = {.is_ready = true, .has_room = true, .retry_after_s = 5}};
    char *rest = text;
    for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
        if (line[0] != '\0')
            set_field(&in, line[0], line + 1);
    }
    struct handshake_verdict verdict;
    memset(&verdict, 0x5a, sizeof(verdict));
    handshake_judge(&in.request, &in.policy, &verdict);
    if (verdict.status == 101)
        check_upgrade(&in, &verdict);
    else
        check_refusal(&verdict);
    check_page(&in, verdict.status);
    return 0;
}
