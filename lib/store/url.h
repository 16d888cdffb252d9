// url.h: where Redis is and who we are there, from one line of configuration.
//
//   redis://[user[:password]@]host[:port][/db]     user and password may be %-encoded
//   unix:///path
//
// Pure text; no look-ups.
#pragma once

#include "lib/base/err.h"

#define URL_PORT 6379

struct redis_url {
    char path[108]; // of a unix socket; "" for TCP
    char host[256]; // name or address, without brackets
    int port;
    int db;
    char user[128];
    char password[256];
    char name[280]; // for people: "host:port" or the path, never a secret
};

// SY_EINVAL with one line in *why, which never holds the user or the password.
MUST_USE
int redis_url_parse(const char *text, struct redis_url *out, char why[static 160]);
