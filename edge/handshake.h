// handshake.h: may this request become a WebSocket? Pure: text in, verdict out.
//
// Every rule that libwebsockets does not keep itself stands here: GET, HTTP/1.1,
// `Upgrade: websocket` and nothing else, version 13, a key of 16 bytes, path /ws, one
// of our subprotocols, an allowed Origin, room for one more.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "proto/codec.h"

// What the request says; NULL: the header is absent. Borrowed.
struct handshake {
    const char *method;
    const char *path;  // decoded, without the query
    const char *query; // without '?'
    const char *http;  // "HTTP/1.1"
    const char *host;
    const char *upgrade;
    const char *version;
    const char *key;
    const char *subprotocols;
    const char *origin;
    const char *authorization;
    bool has_body; // Content-Length over 0, or Transfer-Encoding
};

struct handshake_policy {
    // Allowed, separated by spaces: "https://chat.example:8443"; "*" any; empty: only the
    // origin that Host names. A request without Origin is from no web page, and allowed.
    const char *origins;
    bool is_ready;     // the edge takes new clients
    bool has_room;     // below connections.max
    const char *rooms; // URLs of edges with room, separated by spaces; may be empty
    unsigned retry_after_s;
};

struct handshake_verdict {
    unsigned status; // 101, or what to answer
    enum codec_format format;
    const char *subprotocol; // to echo; static
    char token[4096]; // from `Authorization: Bearer` or the subprotocol entry "bearer.<token>"
    // For anything but 101, one line of JSON in visible ASCII: {"error":"version",
    // "text":"..."}, and with 503 also "retry_after_s" and "edges", a list of URLs.
    char body[1024];
    unsigned retry_after_s; // 0: no such header
};

void handshake_judge(const struct handshake *request, const struct handshake_policy *policy,
                     struct handshake_verdict *verdict);

// Plain HTTP on a public or private port, for what is no file.
struct http_reply {
    unsigned status;
    const char *content_type;
    size_t len;
    char body[4096];
};
// A page that says what is wrong: for a browser as HTML when `accept` wants it, else text.
// `detail` may be NULL and may come from the request: it is escaped, and what is not
// visible ASCII becomes '?'.
void http_error_page(unsigned status, const char *accept, const char *detail,
                     struct http_reply *reply);
