// http.c: plain HTTP on both ports, and who may become a WebSocket.
//
// libwebsockets parses requests; everything about them is decided here and in handshake.c,
// from copies of the headers. A reply is written as one block; files are transfer.c's.
//
// Refused, always with a page that says why, and then the connection is closed:
//   a body, by Content-Length        413: nothing here takes one
//   a body, by Transfer-Encoding     411: libwebsockets does not decode chunks, so what follows
//                                    could be taken for a second request
//   headers larger than we copy      431
//   methods that are not answered    405
//   upgrades                         what handshake.c says
// What libwebsockets cannot even parse, it closes without a reply.
//
// Two guards that look needless and are not: libwebsockets 4.1.6 calls CONFIRM_UPGRADE with
// freed headers after it has refused an unknown Upgrade itself (so `in` is never read, and
// a request without that header is dropped); and it picks the subprotocol from the client's
// list by its own rules, with room for 126 and 62 bytes (so longer lists are refused here,
// with a reply, where it would only hang up).
#include "edge/server_internal.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "edge/files.h"
#include "edge/handshake.h"

#define HEADERS_MAX 9216      // what libwebsockets stores (8192), and separators
#define HEAD_MAX 1024         // of a reply
#define PROTOCOL_LIST_MAX 126 // the two limits of libwebsockets named above
#define PROTOCOL_NAME_MAX 62
#define WS_PATH "/ws"
#define SECURITY_HEADERS                                                         \
    "X-Content-Type-Options: nosniff\r\n"                                        \
    "Content-Security-Policy: default-src 'self'; connect-src 'self' ws: wss:; " \
    "style-src 'self' 'unsafe-inline'; script-src 'self' 'unsafe-inline'\r\n"

struct request {
    struct handshake handshake;
    const char *accept;
    const char *if_none_match;
    const char *connection;
    const char *length;
    const char *encoding;
    bool is_head;
    bool is_too_large;
    size_t used;
    char text[HEADERS_MAX];
};

// One request is looked at at a time.
static struct request request;
static struct http_reply reply;
static uint8_t reply_bytes[LWS_PRE + HEAD_MAX + sizeof reply.body];

// Reading the request.

// A copy of the header's value; NULL if it is absent or empty.
static const char *
copy_header(struct lws *wsi, enum lws_token_indexes token)
{
    if (lws_hdr_total_length(wsi, token) <= 0)
        return NULL;
    char *at = request.text + request.used;
    int len = lws_hdr_copy(wsi, at, (int)(sizeof request.text - request.used), token);
    if (len < 0) {
        request.is_too_large = true;
        return NULL;
    }
    request.used += (size_t)len + 1;
    return at;
}

// libwebsockets has taken the query apart; this puts it together again.
static const char *
copy_query(struct lws *wsi)
{
    char *start = request.text + request.used;
    size_t room = sizeof request.text - request.used, len = 0;
    for (int i = 0; lws_hdr_fragment_length(wsi, WSI_TOKEN_HTTP_URI_ARGS, i) > 0; i++) {
        if (len > 0 && len + 1 < room)
            start[len++] = '&';
        int more =
            lws_hdr_copy_fragment(wsi, start + len, (int)(room - len), WSI_TOKEN_HTTP_URI_ARGS, i);
        if (more < 0) {
            request.is_too_large = true;
            return NULL;
        }
        len += (size_t)more;
    }
    if (len == 0)
        return NULL;
    request.used += len + 1;
    return start;
}

static void
read_request_line(struct lws *wsi)
{
    static const struct {
        enum lws_token_indexes token;
        const char *method;
    } methods[] = {
        {WSI_TOKEN_GET_URI, "GET"},         {WSI_TOKEN_HEAD_URI, "HEAD"},
        {WSI_TOKEN_POST_URI, "POST"},       {WSI_TOKEN_PUT_URI, "PUT"},
        {WSI_TOKEN_DELETE_URI, "DELETE"},   {WSI_TOKEN_PATCH_URI, "PATCH"},
        {WSI_TOKEN_OPTIONS_URI, "OPTIONS"}, {WSI_TOKEN_CONNECT, "CONNECT"},
    };
    struct handshake *handshake = &request.handshake;
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        const char *path = copy_header(wsi, methods[i].token);
        if (path == NULL)
            continue;
        handshake->method = methods[i].method;
        handshake->path = path;
        break;
    }
    handshake->query = copy_query(wsi);
    handshake->http = copy_header(wsi, WSI_TOKEN_HTTP);
    request.is_head = handshake->method != NULL && strcmp(handshake->method, "HEAD") == 0;
}

static void
read_request(struct lws *wsi)
{
    struct handshake *handshake = &request.handshake;
    memset(&request, 0, offsetof(struct request, text));
    read_request_line(wsi);
    handshake->host = copy_header(wsi, WSI_TOKEN_HOST);
    handshake->upgrade = copy_header(wsi, WSI_TOKEN_UPGRADE);
    handshake->version = copy_header(wsi, WSI_TOKEN_VERSION);
    handshake->key = copy_header(wsi, WSI_TOKEN_KEY);
    handshake->subprotocols = copy_header(wsi, WSI_TOKEN_PROTOCOL);
    handshake->origin = copy_header(wsi, WSI_TOKEN_ORIGIN);
    handshake->authorization = copy_header(wsi, WSI_TOKEN_HTTP_AUTHORIZATION);
    request.accept = copy_header(wsi, WSI_TOKEN_HTTP_ACCEPT);
    request.if_none_match = copy_header(wsi, WSI_TOKEN_HTTP_IF_NONE_MATCH);
    request.connection = copy_header(wsi, WSI_TOKEN_CONNECTION);
    request.length = copy_header(wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH);
    request.encoding = copy_header(wsi, WSI_TOKEN_HTTP_TRANSFER_ENCODING);
    handshake->has_body =
        request.encoding != NULL ||
        (request.length != NULL && strspn(request.length, "0") < strlen(request.length));
}

// Whether a list of tokens separated by commas holds this one.
static bool
list_has(const char *list, const char *token)
{
    size_t len = strlen(token);
    while (list != NULL && *list != '\0') {
        list += strspn(list, ", \t");
        size_t word = strcspn(list, ", \t");
        if (word == len && strncasecmp(list, token, len) == 0)
            return true;
        list += word;
    }
    return false;
}

// Replies.

static const char *
status_text(unsigned status)
{
    static const struct {
        unsigned status;
        const char *text;
    } texts[] = {
        {200, "OK"},
        {304, "Not Modified"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {411, "Length Required"},
        {413, "Content Too Large"},
        {421, "Misdirected Request"},
        {426, "Upgrade Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {503, "Service Unavailable"},
        {505, "HTTP Version Not Supported"},
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (texts[i].status == status)
            return texts[i].text;
    }
    return "Status";
}

// Ready for the next request, or -1: libwebsockets closes.
static int
finish(struct lws *wsi)
{
    return lws_http_transaction_completed(wsi) ? -1 : 0;
}

// Writes `reply` as it stands. `extra`: more header lines, each with its CR LF.
static int
send_reply(struct lws *wsi, const char *extra, bool is_last)
{
    char *head = (char *)reply_bytes + LWS_PRE;
    int len = snprintf(head, HEAD_MAX,
                       "HTTP/1.1 %u %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
                       "Cache-Control: no-store\r\n" SECURITY_HEADERS "%s%s\r\n",
                       reply.status, status_text(reply.status), reply.content_type, reply.len,
                       extra, is_last ? "Connection: close\r\n" : "");
    assert(len > 0 && len < HEAD_MAX && reply.len <= sizeof reply.body);
    size_t total = (size_t)len;
    if (!request.is_head) {
        memcpy(head + len, reply.body, reply.len);
        total += reply.len;
    }
    if (lws_write(wsi, reply_bytes + LWS_PRE, total, LWS_WRITE_HTTP_FINAL) < 0)
        return -1;
    return is_last ? -1 : finish(wsi);
}

static int
send_page(struct lws *wsi, unsigned status, const char *detail, const char *extra, bool is_last)
{
    http_error_page(status, request.accept, detail, &reply);
    reply.status = status;
    return send_reply(wsi, extra, is_last);
}

static int
send_refusal(struct lws *wsi, const struct handshake_verdict *verdict)
{
    char extra[96];
    int len = snprintf(
        extra, sizeof extra, "%s",
        verdict->status == 426 ? "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" : "");
    if (verdict->retry_after_s > 0)
        snprintf(extra + len, sizeof extra - (size_t)len, "Retry-After: %u\r\n",
                 verdict->retry_after_s);
    reply.status = verdict->status;
    reply.content_type = "application/json";
    reply.len = strlen(verdict->body);
    memcpy(reply.body, verdict->body, reply.len);
    return send_reply(wsi, extra, true);
}

// Upgrades.

// Whether libwebsockets will take the list of subprotocols, and pick one of ours from it.
static bool
list_is_takeable(struct lws *wsi, const char *list)
{
    if (strlen(list) > PROTOCOL_LIST_MAX)
        return false;
    while (*list != '\0') {
        char name[PROTOCOL_NAME_MAX + 1];
        list += strspn(list, ", \t");
        size_t len = strcspn(list, ", \t");
        if (len > PROTOCOL_NAME_MAX)
            return false;
        memcpy(name, list, len);
        name[len] = '\0';
        const struct lws_protocols *known =
            len > 0 ? lws_vhost_name_to_protocol(lws_get_vhost(wsi), name) : NULL;
        if (known != NULL)
            return known->callback == ws_callback;
        list += len;
    }
    return false;
}

static void
refuse(struct handshake_verdict *verdict, const char *error, const char *text)
{
    explicit_bzero(verdict->token, sizeof verdict->token);
    verdict->status = 400;
    snprintf(verdict->body, sizeof verdict->body, "{\"error\":\"%s\",\"text\":\"%s\"}\n", error,
             text);
}

static void
judge(struct server *server, struct lws *wsi)
{
    struct handshake_policy policy = {0};
    struct handshake_verdict *verdict = &server->verdict;
    policy.origins = server->opts.origins;
    edge_handshake_policy(server->edge, &policy);
    policy.has_room = policy.has_room && server->connections < server->opts.max_connections;
    handshake_judge(&request.handshake, &policy, verdict);
    if (verdict->status != 101)
        return;
    if (!list_has(request.connection, "upgrade"))
        refuse(verdict, "connection", "the request needs the header Connection: Upgrade");
    else if (!list_is_takeable(wsi, request.handshake.subprotocols))
        refuse(verdict, "subprotocols",
               "Sec-WebSocket-Protocol may have 126 bytes, and each entry 62: bring a longer "
               "token in the Authorization header or in Hello");
}

static int
on_confirm_upgrade(struct server *server, struct lws *wsi, const struct visitor *visitor)
{
    server->upgrading = NULL;
    if (lws_hdr_total_length(wsi, WSI_TOKEN_UPGRADE) <= 0)
        return -1; // see the head of this file
    read_request(wsi);
    server->stats.upgrade_refusals++; // until it is not
    if (request.is_too_large)
        return send_page(wsi, 431, "The request's headers are too large.", "", true);
    if (visitor->is_private)
        return send_page(wsi, 404, "There are no WebSockets on this port.", "", true);
    judge(server, wsi);
    if (server->verdict.status != 101)
        return send_refusal(wsi, &server->verdict);
    server->stats.upgrade_refusals--;
    server->upgrading = wsi;
    return 0;
}

// Files.

static int
send_file(struct server *server, struct lws *wsi, struct visitor *visitor, const struct file *file)
{
    bool is_known = request.if_none_match != NULL &&
                    (strstr(request.if_none_match, file->etag) != NULL ||
                     strcmp(request.if_none_match, "*") == 0);
    char *head = (char *)reply_bytes + LWS_PRE;
    char length[48] = "";
    if (!is_known)
        snprintf(length, sizeof length, "Content-Length: %llu\r\n", (unsigned long long)file->size);
    int len = snprintf(head, HEAD_MAX,
                       "HTTP/1.1 %s\r\nContent-Type: %s\r\n%sETag: %s\r\n"
                       "Cache-Control: no-cache\r\n" SECURITY_HEADERS "\r\n",
                       is_known ? "304 Not Modified" : "200 OK", file->type, length, file->etag);
    assert(len > 0 && len < HEAD_MAX);
    bool has_body = !is_known && !request.is_head && file->size > 0;
    int written = lws_write(wsi, reply_bytes + LWS_PRE, (size_t)len,
                            has_body ? LWS_WRITE_HTTP : LWS_WRITE_HTTP_FINAL);
    if (written < 0 || !has_body) {
        close(file->fd);
        return written < 0 ? -1 : finish(wsi);
    }
    return transfer_start(server, wsi, visitor, file->fd, file->size);
}

// Requests.

static int
on_http(struct server *server, struct lws *wsi, struct visitor *visitor)
{
    read_request(wsi);
    const char *method = request.handshake.method, *path = request.handshake.path;
    if (request.is_too_large || method == NULL)
        return send_page(wsi, 431, "The request's headers are too large.", "", true);
    if (request.encoding != NULL)
        return send_page(wsi, 411, "Bodies in chunks are not taken.", "", true);
    if (request.handshake.has_body)
        return send_page(wsi, 413, "Nothing here takes a request with a body.", "", true);
    if (!visitor->is_private && strcmp(path, WS_PATH) == 0) {
        judge(server, wsi);
        if (server->verdict.status == 101)
            refuse(&server->verdict, "upgrade", "the request needs the header Upgrade: websocket");
        server->stats.upgrade_refusals++;
        return send_refusal(wsi, &server->verdict);
    }
    bool is_read = request.is_head || strcmp(method, "GET") == 0;
    if (edge_http(server->edge, visitor->is_private, method, path, &reply))
        return send_reply(wsi, "", !is_read);
    if (!is_read)
        return send_page(wsi, 405, "Only GET and HEAD are answered here.", "Allow: GET, HEAD\r\n",
                         true);
    struct file file;
    if (!visitor->is_private && server->opts.document_root[0] != '\0' &&
        file_open(server->opts.document_root, server->opts.index_file, path, &file) == 0)
        return send_file(server, wsi, visitor, &file);
    return send_page(wsi, 404, "There is nothing at this address.", "", false);
}

static void
on_destroy(struct server *server, struct visitor *visitor)
{
    if (visitor->conn != NULL)
        conn_gone(visitor->conn); // LWS_CALLBACK_CLOSED has not come for some reason
    transfer_drop(server, visitor);
    caller_free(visitor->caller);
    free(visitor);
}

int
http_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
    (void)user, (void)in, (void)len;
    struct server *server;
    struct visitor *visitor;
    switch (reason) {
    case LWS_CALLBACK_WSI_CREATE:
        server = lws_context_user(lws_get_context(wsi));
        server->is_wsi_created = true;
        return 0;
    case LWS_CALLBACK_HTTP:
    case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE:
    case LWS_CALLBACK_HTTP_WRITEABLE:
    case LWS_CALLBACK_WSI_DESTROY:
        break;
    case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION: // a WebSocket here would speak no protocol
    case LWS_CALLBACK_RAW_ADOPT:                  // CONNECT would end here
    case LWS_CALLBACK_HTTP_BODY:                  // was refused
        return -1;
    default:
        return 0;
    }
    server = lws_context_user(lws_get_context(wsi));
    visitor = lws_get_opaque_user_data(wsi);
    if (visitor == NULL)
        return 0;
    if (reason == LWS_CALLBACK_WSI_DESTROY) {
        lws_set_opaque_user_data(wsi, NULL);
        on_destroy(server, visitor);
        return 0;
    }
    if (reason == LWS_CALLBACK_HTTP_WRITEABLE)
        return visitor->file >= 0 ? transfer_continue(server, wsi, visitor) : 0;
    return reason == LWS_CALLBACK_HTTP ? on_http(server, wsi, visitor)
                                       : on_confirm_upgrade(server, wsi, visitor);
}
