// web_origin.h: which web pages may connect. An origin is scheme://host[:port], as
// browsers send it (RFC 6454, section 7). Pure.
#pragma once

#include <stdbool.h>
#include <stddef.h>

// No path and no slash at the end, so "https://chat.example/" is none; nor is "null".
bool web_origin_is_valid(const char *text, size_t len);

// A Host header: host, host:port, [v6] or [v6]:port.
bool web_host_is_valid(const char *text);

// `allowed`: origins separated by spaces; "*" among them allows anything, "null" too.
// Empty: only a page from `host`, a valid Host header, under http or https.
bool web_origin_is_allowed(const char *text, const char *allowed, const char *host);
