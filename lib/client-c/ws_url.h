// ws_url.h: ws://host[:port][/path][?query], or wss://. Pure text; no look-ups.
#pragma once

#include <stdbool.h>

// libwebsockets 4.1 checks the certificate against at most 127 bytes of "host:port".
#define WS_URL_HOST_SIZE 121
#define WS_URL_SIZE 1024

struct ws_url {
    char text[WS_URL_SIZE]; // as given
    bool is_tls;
    char host[WS_URL_HOST_SIZE];           // without the brackets of an IPv6 address
    int port;                              // 80 or 443 unless given
    char authority[WS_URL_HOST_SIZE + 10]; // for the Host header: the port when not the default
    char path[WS_URL_SIZE];                // from '/', with the query; "/ws" unless given
};

// False if it cannot be. User names, fragments, blanks and control characters are refused;
// so is wss to an IPv6 address, whose certificate libwebsockets 4.1 cannot check.
bool ws_url_parse(const char *text, struct ws_url *out);
