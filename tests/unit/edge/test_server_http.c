// test_server_http.c: everything of the ports but WebSockets: who is let in, handshakes that
// are refused, files, TLS.
#include "tests/unit/edge/server_rig.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "edge/listener.h"

enum { TEXT = 1, BINARY = 2 };

static char dir[64]; // a temporary directory of this process

static int
make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/sy-test-http-XXXXXX");
    return mkdtemp(dir) != NULL ? 0 : -1;
}

static int
remove_dir(void **state)
{
    (void)state;
    char command[100];
    snprintf(command, sizeof command, "rm -r '%s'", dir);
    return system(command);
}

static int
start(void **state)
{
    struct edge *rig = malloc(sizeof *rig);
    rig_start(rig);
    *state = rig;
    return 0;
}

static int
start_and_open(void **state)
{
    start(state);
    rig_open(*state);
    return 0;
}

static int
stop(void **state)
{
    struct edge *rig = *state;
    rig_stop(rig);
    free(rig);
    return 0;
}

// One request on a connection of its own.
static void
ask(struct edge *rig, struct client *client, struct reply *reply, const char *request)
{
    client_open(client, rig);
    client_ask(client, reply, request);
}

// Handshakes.

static void
handshakes_that_cannot_be_are_refused_in_words(void **state)
{
    struct edge *rig = *state;
#define HEAD(method, path) method " " path " HTTP/1.1\r\nHost: localhost\r\n"
#define UPGRADE "Connection: Upgrade\r\nUpgrade: websocket\r\n"
#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define V13 "Sec-WebSocket-Version: 13\r\n"
#define PROTOCOL "Sec-WebSocket-Protocol: switchyard.v1\r\n"
    static const struct {
        const char *request;
        unsigned status;
    } cases[] = {
        {HEAD("GET", "/ws") UPGRADE KEY "Sec-WebSocket-Version: 8\r\n" PROTOCOL "\r\n", 426},
        {HEAD("GET", "/ws") UPGRADE KEY PROTOCOL "\r\n", 426},
        {HEAD("GET", "/ws") UPGRADE KEY V13 "\r\n", 400},
        {HEAD("GET", "/ws") UPGRADE KEY V13 "Sec-WebSocket-Protocol: chat\r\n\r\n", 400},
        {HEAD("GET", "/ws") UPGRADE V13 PROTOCOL "\r\n", 400},
        {HEAD("GET", "/ws") UPGRADE V13 PROTOCOL "Sec-WebSocket-Key: c2hvcnQ=\r\n\r\n", 400},
        {HEAD("GET", "/ws") "Upgrade: websocket\r\n" KEY V13 PROTOCOL "\r\n", 400},
        {HEAD("GET", "/ws") "Connection: keep-alive\r\nUpgrade: websocket\r\n" KEY V13 PROTOCOL
                            "\r\n",
         400},
        {HEAD("GET", "/ws") "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
                            "HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
         400},
        {HEAD("GET", "/") "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
                          "HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
         404},
        {HEAD("GET", "/chat") UPGRADE KEY V13 PROTOCOL "\r\n", 404},
        {HEAD("POST", "/ws") UPGRADE KEY V13 PROTOCOL "Content-Length: 0\r\n\r\n", 405},
        {HEAD("GET", "/ws") UPGRADE KEY V13 PROTOCOL "Content-Length: 5\r\n\r\nhello", 400},
        {HEAD("GET", "/ws") "\r\n", 400},
        {"GET /ws HTTP/1.0\r\nHost: localhost\r\n" UPGRADE KEY V13 PROTOCOL "\r\n", 400},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct client client;
        struct reply reply;
        ask(rig, &client, &reply, cases[i].request);
        if (reply.status != cases[i].status)
            print_message("case %zu: %u\n", i, reply.status);
        assert_int_equal(reply.status, cases[i].status);
        assert_string_equal(reply_header(&reply, "Content-Type"), "application/json");
        assert_string_equal(reply_header(&reply, "Connection"), "close");
        assert_memory_equal(reply.body, "{\"error\":\"", 10);
        if (reply.status == 426) {
            assert_string_equal(reply_header(&reply, "Sec-WebSocket-Version"), "13");
            assert_string_equal(reply_header(&reply, "Upgrade"), "websocket");
        }
        client_until_end(&client);
        client_close(&client);
    }
    assert_int_equal(rig->opened, 0);
    assert_int_equal(rig_stats(rig).upgrade_refusals, sizeof cases / sizeof cases[0]);
    assert_int_equal(rig_stats(rig).upgrades, 0);
}

static void
lists_of_subprotocols_that_the_library_would_drop_are_refused_in_words(void **state)
{
    struct edge *rig = *state;
    char request[4096], token[200];
    memset(token, 't', sizeof token);
    static const struct {
        const char *before;
        int token_len;
        const char *after;
        unsigned status;
    } cases[] = {
        {"switchyard.v1, bearer.", 104, "", 101}, // 126 bytes
        {"switchyard.v1, bearer.", 105, "", 400},
        {"bearer.", 55, ", switchyard.v1", 101}, // an entry of 62
        {"bearer.", 56, ", switchyard.v1", 400},
        {"chat", 0, ", switchyard.v1.json", 101},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct client client;
        struct reply reply;
        snprintf(request, sizeof request, "%sSec-WebSocket-Protocol: %s%.*s%s\r\n\r\n",
                 UPGRADE_HEAD, cases[i].before, cases[i].token_len, token, cases[i].after);
        ask(rig, &client, &reply, request);
        assert_int_equal(reply.status, cases[i].status);
        if (reply.status != 101)
            assert_memory_equal(reply.body, "{\"error\":\"subprotocols\"", 23);
        else if (cases[i].token_len > 0)
            assert_int_equal(strlen(rig->token), cases[i].token_len);
        client_close(&client);
    }
}

static void
an_upgrade_nobody_knows_is_refused_and_hurts_nobody(void **state)
{
    struct edge *rig = *state;
    struct client client;
    struct reply reply;
    client_open(&client, rig);
    client_ask(&client, &reply, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_int_equal(reply.status, 200);
    client_take(&client, reply.body_len);
    // Two at once, on a connection that is kept: once a use after free in the library.
    client_send_text(&client, "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive\r\n"
                              "Upgrade: telnet\r\n\r\n"
                              "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive\r\n"
                              "Upgrade: telnet\r\n\r\n");
    client_read_reply(&client, &reply, false);
    assert_int_equal(reply.status, 403);
    client_until_end(&client);
    client_close(&client);
    assert_int_equal(rig->opened, 0);
}

static void
headers_without_measure_are_refused(void **state)
{
    struct edge *rig = *state;
    struct client client;
    char *request = malloc(20000);
    int at = snprintf(request, 20000, "GET / HTTP/1.1\r\nHost: localhost\r\nAccept: ");
    memset(request + at, 'a', 15000);
    snprintf(request + at + 15000, 20000 - 15000 - (size_t)at, "\r\n\r\n");
    client_open(&client, rig);
    client_send_text(&client, request);
    client_until_end(&client);
    client_close(&client);
    free(request);
}

static void
no_room_is_503_with_when_to_come_back(void **state)
{
    struct edge *rig = *state;
    struct client client;
    struct reply reply;
    rig->has_room = false;
    ask(rig, &client, &reply, UPGRADE_PROTOBUF);
    assert_int_equal(reply.status, 503);
    assert_string_equal(reply_header(&reply, "Retry-After"), "7");
    assert_non_null(memmem(reply.body, reply.body_len, "\"retry_after_s\":7", 17));
    client_close(&client);
    rig->has_room = true;
    rig->is_ready = false;
    ask(rig, &client, &reply, UPGRADE_PROTOBUF);
    assert_int_equal(reply.status, 503);
    client_close(&client);
    rig->is_ready = true;
    client_upgrade(&client, rig, UPGRADE_PROTOBUF);
    client_close(&client);
}

static void
one_more_than_max_connections_is_503(void **state)
{
    struct edge *rig = *state;
    rig->opts.max_connections = 2;
    rig_open(rig);
    struct client clients[2], third;
    struct reply reply;
    client_upgrade(&clients[0], rig, UPGRADE_PROTOBUF);
    client_upgrade(&clients[1], rig, UPGRADE_PROTOBUF);
    ask(rig, &third, &reply, UPGRADE_PROTOBUF);
    assert_int_equal(reply.status, 503);
    client_close(&third);
    client_close(&clients[0]);
    rig_until(rig, rig->closed == 1);
    client_upgrade(&third, rig, UPGRADE_PROTOBUF);
    client_close(&clients[1]);
    client_close(&third);
}

// Plain requests.

static void
the_edge_answers_what_it_knows_on_each_port(void **state)
{
    struct edge *rig = *state;
    struct client client;
    struct reply reply;
    ask(rig, &client, &reply, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_int_equal(reply.status, 200);
    assert_int_equal(reply.body_len, 3);
    assert_memory_equal(reply.body, "ok\n", 3);
    assert_string_equal(reply_header(&reply, "Cache-Control"), "no-store");
    client_take(&client, 3);
    client_ask(&client, &reply, "HEAD /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply_header(&reply, "Content-Length"), "3");
    client_ask(&client, &reply, "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_int_equal(reply.status, 404); // and HEAD had no body, or this would not be read
    client_close(&client);
    client_open_private(&client, rig);
    client_ask(&client, &reply, "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_int_equal(reply.status, 200);
    client_close(&client);
}

static void
a_connection_that_asked_before_may_upgrade(void **state)
{
    struct edge *rig = *state;
    struct client client;
    struct reply reply;
    ask(rig, &client, &reply, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_int_equal(reply.status, 200);
    client_take(&client, reply.body_len);
    client_ask(&client, &reply, UPGRADE_PROTOBUF);
    assert_int_equal(reply.status, 101);
    client_send_frame(&client, BINARY, true, "x", 1);
    client_expect(&client, BINARY, "x", 1);
    client_close(&client);
}

static void
no_Host_header_leads_to_the_private_port(void **state)
{
    struct edge *rig = *state;
    struct client client;
    struct reply reply;
    ask(rig, &client, &reply, "GET /readyz HTTP/1.1\r\nHost: private\r\n\r\n");
    assert_int_equal(reply.status, 404);
    client_close(&client);
    ask(rig, &client, &reply, "GET /readyz HTTP/1.1\r\nHost: private:8001\r\n\r\n");
    assert_int_equal(reply.status, 404);
    client_close(&client);
    client_open_private(&client, rig);
    client_ask(&client, &reply, "GET /readyz HTTP/1.1\r\nHost: public\r\n\r\n");
    assert_int_equal(reply.status, 200);
    client_close(&client);
}

static void
the_private_port_upgrades_nobody(void **state)
{
    struct edge *rig = *state;
    struct client client;
    struct reply reply;
    client_open_private(&client, rig);
    client_ask(&client, &reply, UPGRADE_PROTOBUF);
    assert_int_equal(reply.status, 404);
    client_until_end(&client);
    client_close(&client);
    assert_int_equal(rig->opened, 0);
}

static void
a_page_that_is_not_there_is_404_for_people_and_programs(void **state)
{
    struct edge *rig = *state;
    struct client client;
    struct reply reply;
    ask(rig, &client, &reply,
        "GET /nothing HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\n\r\n");
    assert_int_equal(reply.status, 404);
    assert_string_equal(reply_header(&reply, "Content-Type"), "text/html; charset=utf-8");
    assert_string_equal(reply_header(&reply, "X-Content-Type-Options"), "nosniff");
    assert_memory_equal(reply.body, "<!doctype html>", 15);
    client_close(&client);
    ask(rig, &client, &reply, "GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_int_equal(reply.status, 404);
    assert_string_equal(reply_header(&reply, "Content-Type"), "text/plain; charset=utf-8");
    client_close(&client);
}

static void
bodies_and_methods_are_refused_and_the_connection_closed(void **state)
{
    struct edge *rig = *state;
    static const struct {
        const char *request;
        unsigned status;
    } cases[] = {
        {"POST /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", 413},
        {"GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", 413},
        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n", 413},
        {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
         411},
        {"GET /healthz HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411},
        {"POST /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 405},
        {"POST /healthz HTTP/1.1\r\nHost: a\r\n\r\n", 405},
        {"PUT / HTTP/1.1\r\nHost: a\r\n\r\n", 405},
        {"DELETE / HTTP/1.1\r\nHost: a\r\n\r\n", 405},
        {"OPTIONS / HTTP/1.1\r\nHost: a\r\n\r\n", 405},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct client client;
        struct reply reply;
        ask(rig, &client, &reply, cases[i].request);
        if (reply.status != cases[i].status)
            print_message("case %zu: %u\n", i, reply.status);
        assert_int_equal(reply.status, cases[i].status);
        assert_string_equal(reply_header(&reply, "Connection"), "close");
        if (reply.status == 405)
            assert_string_equal(reply_header(&reply, "Allow"), "GET, HEAD");
        client_take(&client, reply.body_len);
        client_until_end(&client);
        assert_int_equal(client.len, 0); // no second reply: a body is no request
        client_close(&client);
    }
}

static void
what_is_no_request_ends_the_connection(void **state)
{
    struct edge *rig = *state;
    static const char *const requests[] = {
        "CONNECT example.com:80 HTTP/1.1\r\nHost: example.com\r\n\r\n",
        "BREW /pot HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "\x16\x03\x01\x02",
        "GET http HTTP/1.1\r\nHost: localhost\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        struct client client;
        client_open(&client, rig);
        client_send_text(&client, requests[i]);
        client_until_end(&client);
        client_close(&client);
    }
    assert_int_equal(rig->opened, 0);
}

// Files.

static void
write_file(const char *name, const void *bytes, size_t len)
{
    char path[200];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, len, file), len);
    fclose(file);
}

#define BIG (3000000 + 17)
static uint8_t big[BIG];

static int
start_with_files(void **state)
{
    static char root[80];
    char path[200], secret[200];
    start(state);
    struct edge *rig = *state;
    snprintf(root, sizeof root, "%s/root", dir);
    mkdir(root, 0755);
    snprintf(path, sizeof path, "%s/sub", root);
    mkdir(path, 0755);
    for (size_t i = 0; i < BIG; i++)
        big[i] = (uint8_t)((i * 31) ^ (i >> 11));
    write_file("root/index.html", "<p>home", 7);
    write_file("root/app.js", "let a", 5);
    write_file("root/sub/index.html", "<p>sub", 6);
    write_file("root/data", "raw", 3);
    write_file("root/empty.txt", "", 0);
    write_file("root/big.bin", big, BIG);
    write_file("root/.hidden", "SECRET", 6);
    write_file("secret", "SECRET", 6);
    write_file("root2", "SECRET", 6); // its path begins as the root's does
    snprintf(secret, sizeof secret, "%s/secret", dir);
    snprintf(path, sizeof path, "%s/link", root);
    (void)!symlink(secret, path);
    rig->opts.document_root = root;
    rig_open(rig);
    return 0;
}

static void
files_are_served_with_type_and_tag(void **state)
{
    struct edge *rig = *state;
    static const struct {
        const char *path;
        const char *type;
        const char *body;
    } cases[] = {
        {"/", "text/html; charset=utf-8", "<p>home"},
        {"/index.html", "text/html; charset=utf-8", "<p>home"},
        {"/?a=b&c=d", "text/html; charset=utf-8", "<p>home"},
        {"/app.js", "text/javascript; charset=utf-8", "let a"},
        {"/sub/", "text/html; charset=utf-8", "<p>sub"},
        {"/data", "application/octet-stream", "raw"},
        {"/empty.txt", "text/plain; charset=utf-8", ""},
    };
    struct client client;
    client_open(&client, rig);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) { // all on one connection
        char request[200];
        struct reply reply;
        snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n",
                 cases[i].path);
        client_ask(&client, &reply, request);
        assert_int_equal(reply.status, 200);
        assert_string_equal(reply_header(&reply, "Content-Type"), cases[i].type);
        assert_string_equal(reply_header(&reply, "X-Content-Type-Options"), "nosniff");
        assert_string_equal(reply_header(&reply, "Cache-Control"), "no-cache");
        assert_string_equal(reply_header(&reply, "Content-Security-Policy"),
                            "default-src 'self'; connect-src 'self' ws: wss:; "
                            "style-src 'self' 'unsafe-inline'; script-src 'self' 'unsafe-inline'");
        assert_int_equal(reply.body_len, strlen(cases[i].body));
        assert_memory_equal(reply.body, cases[i].body, reply.body_len);
        client_take(&client, reply.body_len);
    }
    client_close(&client);
}

static void
a_file_the_client_has_is_304_until_it_changes(void **state)
{
    struct edge *rig = *state;
    struct client client;
    struct reply reply;
    char request[300], etag[64];
    ask(rig, &client, &reply, "GET /app.js HTTP/1.1\r\nHost: localhost\r\n\r\n");
    snprintf(etag, sizeof etag, "%s", reply_header(&reply, "ETag"));
    assert_int_equal(etag[0], '"');
    client_take(&client, reply.body_len);
    snprintf(request, sizeof request,
             "GET /app.js HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: \"x\", %s\r\n\r\n", etag);
    client_ask(&client, &reply, request);
    assert_int_equal(reply.status, 304);
    assert_string_equal(reply_header(&reply, "ETag"), etag);
    assert_int_equal(reply.body_len, 0);
    write_file("root/app.js", "let b", 5);
    client_ask(&client, &reply, request);
    assert_int_equal(reply.status, 200);
    assert_memory_equal(reply.body, "let b", 5);
    client_close(&client);
}

static void
HEAD_describes_a_file_without_sending_it(void **state)
{
    struct edge *rig = *state;
    struct client client;
    struct reply reply;
    client_open(&client, rig);
    client_ask(&client, &reply, "HEAD /big.bin HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_int_equal(reply.status, 200);
    assert_int_equal(atol(reply_header(&reply, "Content-Length")), BIG);
    client_ask(&client, &reply, "GET /data HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_memory_equal(reply.body, "raw", 3);
    client_close(&client);
}

static void
a_large_file_arrives_whole_and_the_next_request_after_it(void **state)
{
    struct edge *rig = *state;
    struct client client;
    struct reply reply;
    unsigned fds = rig_open_fds();
    client_open(&client, rig);
    client_send_text(&client, "GET /big.bin HTTP/1.1\r\nHost: localhost\r\n\r\n"
                              "GET /data HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client_read_reply(&client, &reply, false);
    assert_int_equal(reply.body_len, BIG);
    assert_memory_equal(reply.body, big, BIG);
    client_take(&client, BIG);
    client_read_reply(&client, &reply, false);
    assert_memory_equal(reply.body, "raw", 3);
    client_close(&client);
    rig_until(rig, rig_open_fds() == fds);
}

static void
a_client_that_leaves_or_talks_while_it_is_sent_a_file_is_cut(void **state)
{
    struct edge *rig = *state;
    unsigned fds = rig_open_fds();
    rig->has_narrow_clients = true;
    for (int way = 0; way < 3; way++) {
        struct client client;
        client_open(&client, rig);
        client_send_text(&client, "GET /big.bin HTTP/1.1\r\nHost: localhost\r\n\r\n");
        rig_turns(rig, 50); // it does not read: the file is stuck
        if (way == 0) {
            client_reset(&client);
        } else if (way == 1) {
            shutdown(client.fd, SHUT_WR);
        } else {
            client_send_text(&client, "GET");
        }
        rig_until(rig, rig_open_fds() <= fds + (way > 0)); // the client's own
        if (way > 0)
            client_close(&client);
    }
}

static void
a_file_that_shrinks_while_it_is_sent_ends_the_connection(void **state)
{
    struct edge *rig = *state;
    struct client client;
    char path[200];
    rig->has_narrow_clients = true;
    client_open(&client, rig);
    client_send_text(&client, "GET /big.bin HTTP/1.1\r\nHost: localhost\r\n\r\n");
    rig_turns(rig, 50);
    snprintf(path, sizeof path, "%s/root/big.bin", dir);
    assert_int_equal(truncate(path, 1000), 0);
    client_until_end(&client);
    assert_true(client.len < BIG);
    client_close(&client);
}

static void
no_path_leads_out_of_the_root(void **state)
{
    struct edge *rig = *state;
    static const char *const paths[] = {
        "/../secret",       "/%2e%2e/secret",     "/..%2fsecret",
        "/%2e%2e%2fsecret", "/sub/../../secret",  "/sub/%2e%2e/../secret",
        "/.hidden",         "/%2ehidden",         "/link",
        "/../root2",        "//../secret",        "/sub/..\\..\\secret",
        "/..%5csecret",     "/%252e%252e/secret", "/sub",
        "/index.html/",     "/data%00.html",      "/./../secret",
        "/....//secret",
    };
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        struct client client;
        char request[200];
        snprintf(request, sizeof request,
                 "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", paths[i]);
        client_open(&client, rig);
        client_send_text(&client, request);
        client_until_end(&client);
        assert_null(memmem(client.bytes, client.len, "SECRET", 6));
        if (client.len > 0 && memcmp(client.bytes, "HTTP/1.1 4", 10) != 0 &&
            memcmp(client.bytes, "HTTP/1.0 4", 10) != 0)
            fail_msg("%s: %.40s", paths[i], (const char *)client.bytes);
        client_close(&client);
    }
}

static void
the_private_port_serves_no_files(void **state)
{
    struct edge *rig = *state;
    struct client client;
    struct reply reply;
    client_open_private(&client, rig);
    client_ask(&client, &reply, "GET /index.html HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_int_equal(reply.status, 404);
    client_close(&client);
}

// Who is let in.

static void
one_address_has_a_limited_number_of_sockets(void **state)
{
    struct edge *rig = *state;
    rig->opts.max_per_address = 2;
    rig_open(rig);
    struct client first, second, third, private;
    client_upgrade(&first, rig, UPGRADE_PROTOBUF);
    client_open(&second, rig);
    rig_until(rig, rig_stats(rig).accepted == 2);
    client_open(&third, rig);
    client_until_end(&third);
    client_close(&third);
    assert_int_equal(rig_stats(rig).refused_address, 1);
    assert_int_equal(rig_stats(rig).accepted, 2);
    struct reply reply; // the private port does not count, and is not counted
    client_open_private(&private, rig);
    client_ask(&private, &reply, "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_int_equal(reply.status, 200);
    client_close(&first);
    rig_until(rig, rig->closed == 1);
    rig_turns(rig, 5);
    client_upgrade(&third, rig, UPGRADE_PROTOBUF);
    client_close(&second);
    client_close(&third);
    client_close(&private);
}

static void
sockets_that_are_no_WebSocket_yet_are_limited(void **state)
{
    struct edge *rig = *state;
    rig->opts.max_half_open = 2;
    rig_open(rig);
    struct client settled[3], half[2], more;
    for (int i = 0; i < 3; i++)
        client_upgrade(&settled[i], rig, UPGRADE_PROTOBUF);
    client_open(&half[0], rig);
    client_open(&half[1], rig);
    rig_until(rig, rig_stats(rig).accepted == 5);
    client_open(&more, rig);
    client_until_end(&more);
    client_close(&more);
    assert_int_equal(rig_stats(rig).refused_half_open, 1);
    client_close(&half[0]);
    rig_turns(rig, 10);
    client_upgrade(&more, rig, UPGRADE_PROTOBUF);
    client_close(&more);
    client_close(&half[1]);
    for (int i = 0; i < 3; i++)
        client_close(&settled[i]);
}

// At 500 a second the credit of 10 ms is five sockets.
static void
sockets_above_the_rate_wait_and_are_not_lost(void **state)
{
    enum { COUNT = 60, RATE = 500, AT_ONCE = 5 };
    struct edge *rig = *state;
    rig->opts.accept_rate = RATE;
    rig_open(rig);
    rig_turns(rig, 3);
    struct client clients[COUNT];
    uint64_t began = rig_ms();
    for (int i = 0; i < COUNT; i++)
        client_open(&clients[i], rig);
    while (rig_stats(rig).accepted < COUNT) {
        rig_turns(rig, 1);
        uint64_t most = AT_ONCE + (rig_ms() - began + 1) * RATE / 1000;
        assert_true(rig_stats(rig).accepted <= most);
        assert_true(rig_ms() - began < 5000);
    }
    assert_true(rig_stats(rig).paced > 0);
    for (int i = 0; i < COUNT; i++)
        client_close(&clients[i]);
}

static void
a_lone_socket_does_not_wait_for_the_rate(void **state)
{
    struct edge *rig = *state;
    rig->opts.accept_rate = 1; // the next one a second later
    rig_open(rig);
    rig_turns(rig, 3);
    struct client first;
    client_open(&first, rig);
    rig_until(rig, rig_stats(rig).accepted == 1);
    assert_int_equal(rig_stats(rig).paced, 1); // asked once more, and slept
    client_close(&first);
}

static void
a_request_that_does_not_end_has_5_s(void **state)
{
    struct edge *rig = *state;
    struct client silent, dripping;
    client_open(&silent, rig);
    client_open(&dripping, rig);
    uint64_t began = rig_ms();
    client_send_text(&dripping, "GET /");
    while (!dripping.is_at_end) {
        client_send(&dripping, "a", 1);
        rig_turns(rig, 100);
        client_fill(&dripping);
        assert_true(rig_ms() - began < 8000);
    }
    client_until_end(&silent);
    assert_true(rig_ms() - began > 4000);
    client_close(&silent);
    client_close(&dripping);
}

// Others than clients: 1024, see server.c.
static void
open_under_limit(struct edge *rig, rlim_t current)
{
    struct rlimit before, limit;
    getrlimit(RLIMIT_NOFILE, &before);
    if (before.rlim_max < 1300)
        skip();
    limit = before;
    limit.rlim_cur = current;
    setrlimit(RLIMIT_NOFILE, &limit);
    rig->opts.max_connections = 100;
    rig->opts.max_half_open = 10;
    rig_open(rig);
    getrlimit(RLIMIT_NOFILE, &limit);
    assert_int_equal(limit.rlim_cur, 100 + 10 + 1024);
    setrlimit(RLIMIT_NOFILE, &before);
}

static void
a_limit_of_descriptors_that_is_too_high_is_lowered(void **state)
{
    open_under_limit(*state, 1300);
}

static void
a_limit_of_descriptors_that_is_too_low_is_raised(void **state)
{
    open_under_limit(*state, 300);
}

static void
without_descriptors_a_client_is_sent_away_and_the_others_wait(void **state)
{
    struct edge *rig = *state;
    rig_turns(rig, 3);
    struct client clients[5];
    for (int i = 0; i < 5; i++)
        client_open(&clients[i], rig); // the kernel takes them for us
    struct rlimit limit, none;
    getrlimit(RLIMIT_NOFILE, &limit);
    none = limit;
    none.rlim_cur = 3; // no new descriptor, whatever its number
    setrlimit(RLIMIT_NOFILE, &none);
    rig_until(rig, rig_stats(rig).refused_fd == 1);
    rig_turns(rig, 20); // it pauses: 100 ms are more than 20 turns
    assert_int_equal(rig_stats(rig).refused_fd, 1);
    setrlimit(RLIMIT_NOFILE, &limit);
    rig_until(rig, rig_stats(rig).accepted >= 4);
    int away = 0;
    for (int i = 0; i < 5; i++) {
        client_fill(&clients[i]);
        away += clients[i].is_at_end;
        client_close(&clients[i]);
    }
    assert_true(away <= 1);
}

static void
after_stop_accepting_nobody_comes_to_the_public_port_and_those_there_stay(void **state)
{
    struct edge *rig = *state;
    assert_true(server_port(rig->server) > 0);
    assert_true(server_private_port(rig->server) > 0);
    struct client client;
    client_upgrade(&client, rig, UPGRADE_PROTOBUF);
    unsigned port = server_port(rig->server);
    server_stop_accepting(rig->server);
    server_stop_accepting(rig->server);
    rig_turns(rig, 2);
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof at), -1);
    assert_int_equal(errno, ECONNREFUSED);
    close(fd);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    at.sin_port = htons((uint16_t)server_private_port(rig->server));
    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
    close(fd);
    client_send_frame(&client, BINARY, true, "still", 5);
    client_expect(&client, BINARY, "still", 5);
    client_close(&client);
}

static void
a_port_that_is_taken_is_named(void **state)
{
    struct edge *rig = *state;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, 1), 0);
    getsockname(fd, (struct sockaddr *)&at, &len);
    char why[200] = "", expected[200];
    rig->opts.private_port = ntohs(at.sin_port);
    assert_int_equal(server_open(&rig->loop, &rig->opts, rig, &rig->server, why), SY_EIO);
    snprintf(expected, sizeof expected,
             "cannot listen on 127.0.0.1:%u: address in use (private.port)", ntohs(at.sin_port));
    assert_string_equal(why, expected);
    rig->opts.private_port = 0;
    rig->opts.port = ntohs(at.sin_port);
    assert_int_equal(server_open(&rig->loop, &rig->opts, rig, &rig->server, why), SY_EIO);
    snprintf(expected, sizeof expected,
             "cannot listen on 127.0.0.1:%u: address in use (listen.port)", ntohs(at.sin_port));
    assert_string_equal(why, expected);
    close(fd);
    rig_turns(rig, 10);
    rig->opts.port = 0;
    rig->opts.host = "192.0.2.1"; // not ours
    assert_int_equal(server_open(&rig->loop, &rig->opts, rig, &rig->server, why), SY_EIO);
    assert_int_equal(strncmp(why, "cannot listen on 192.0.2.1:0: ", 30), 0);
    rig_turns(rig, 10);
}

static void
on_second_closed(void *arg)
{
    *(bool *)arg = true;
}

static int
open_second(struct edge *rig, struct server **second, char why[static 200])
{
    rig->opts.port = server_port(rig->server);
    return server_open(&rig->loop, &rig->opts, rig, second, why);
}

static void
a_second_edge_on_the_same_port_is_told(void **state)
{
    struct edge *rig = *state;
    char why[200] = "";
    struct server *second;
    assert_int_equal(open_second(rig, &second, why), SY_EIO);
    assert_non_null(strstr(why, "address in use (listen.port)"));
    rig_turns(rig, 10);
}

static void
edges_that_say_so_share_the_public_port_but_not_the_private_one(void **state)
{
    struct edge *rig = *state;
    char why[200] = "";
    struct server *first;
    struct server *second;
    rig->opts.shares_port = true;
    assert_int_equal(server_open(&rig->loop, &rig->opts, rig, &first, why), 0);
    rig->opts.port = server_port(first);
    assert_int_equal(server_open(&rig->loop, &rig->opts, rig, &second, why), 0);
    assert_int_equal(server_port(second), server_port(first));
    bool is_closed = false;
    server_close(second, on_second_closed, &is_closed);
    rig_until(rig, is_closed);
    rig->opts.private_port = server_private_port(first);
    assert_int_equal(server_open(&rig->loop, &rig->opts, rig, &second, why), SY_EIO);
    assert_non_null(strstr(why, "address in use (private.port)"));
    is_closed = false;
    server_close(first, on_second_closed, &is_closed);
    rig_until(rig, is_closed);
    rig_turns(rig, 10);
}

struct accepted {
    int fd;
    struct caller *caller;
    bool is_closed;
};

static void
on_socket(void *arg, int fd, struct caller *caller)
{
    struct accepted *accepted = arg;
    accepted->fd = fd;
    accepted->caller = caller;
}

static void
on_listener_closed(void *arg)
{
    struct accepted *accepted = arg;
    accepted->is_closed = true;
}

static unsigned
port_of(int fd)
{
    struct sockaddr_storage at;
    socklen_t len = sizeof at;
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    return ntohs(at.ss_family == AF_INET ? ((struct sockaddr_in *)&at)->sin_port
                                         : ((struct sockaddr_in6 *)&at)->sin6_port);
}

static void
accept_one(struct edge *rig, const char *host, const struct sockaddr *at, socklen_t len,
           void (*check)(const struct accepted *))
{
    struct accepted accepted = {.fd = -1};
    struct listener_opts opts = {
        .host = host, .key = "k", .max_per_address = 1, .on_socket = on_socket, .arg = &accepted};
    struct listener *listener;
    char why[200] = "";
    assert_int_equal(listener_open(&rig->loop, &opts, &listener, why), 0);
    struct sockaddr_storage to;
    memcpy(&to, at, len);
    uint16_t port = htons((uint16_t)listener_port(listener));
    if (to.ss_family == AF_INET)
        ((struct sockaddr_in *)&to)->sin_port = port;
    else
        ((struct sockaddr_in6 *)&to)->sin6_port = port;
    int fd = socket(to.ss_family, SOCK_STREAM, 0);
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f6414ff)};
    if (to.ss_family == AF_INET)
        assert_int_equal(bind(fd, (struct sockaddr *)&from, sizeof from), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, len), 0);
    rig_until(rig, accepted.fd >= 0);
    char name[64];
    snprintf(name, sizeof name, to.ss_family == AF_INET ? "127.100.20.255:%u" : "[::1]:%u",
             port_of(fd));
    assert_string_equal(accepted.caller->name, name);
    check(&accepted);
    close(accepted.fd);
    close(fd);
    caller_free(accepted.caller);
    listener_close(listener, on_listener_closed, &accepted);
    rig_until(rig, accepted.is_closed);
}

static void
check_options(const struct accepted *accepted)
{
    int value = 0;
    socklen_t len = sizeof value;
    getsockopt(accepted->fd, IPPROTO_TCP, TCP_NODELAY, &value, &len);
    assert_int_equal(value, 1);
    getsockopt(accepted->fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &value, &len);
    assert_int_equal(value, 64 << 10);
}

static void
accepted_sockets_inherit_their_options(void **state)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    accept_one(*state, "127.0.0.1", (struct sockaddr *)&at, sizeof at, check_options);
}

static void
IPv6_works_where_there_is_any(void **state)
{
    struct sockaddr_in6 at = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    bool has_ipv6 = fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof at) == 0;
    if (fd >= 0)
        close(fd);
    if (!has_ipv6)
        skip();
    accept_one(*state, "::1", (struct sockaddr *)&at, sizeof at, check_options);
    struct sockaddr_in at4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    accept_one(*state, "::", (struct sockaddr *)&at4, sizeof at4, check_options); // both
}

// TLS.

static char cert_file[100], key_file[100];

static void
make_cert(const char *name)
{
    char command[500];
    snprintf(command, sizeof command,
             "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
             "-subj /CN=%s -keyout %s -out %s 2>/dev/null",
             name, key_file, cert_file);
    assert_int_equal(system(command), 0);
}

static int
start_with_tls(void **state)
{
    start(state);
    struct edge *rig = *state;
    snprintf(cert_file, sizeof cert_file, "%s/cert.pem", dir);
    snprintf(key_file, sizeof key_file, "%s/key.pem", dir);
    make_cert("first");
    rig->opts.tls_cert_file = cert_file;
    rig->opts.tls_key_file = key_file;
    rig_open(rig);
    return 0;
}

static SSL_CTX *
client_ctx(void)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    assert_non_null(ctx);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
    static const uint8_t alpn[] = "\x02h2\x08http/1.1";
    SSL_CTX_set_alpn_protos(ctx, alpn, sizeof alpn - 1);
    return ctx;
}

static void
upgrade_tls(struct client *client, struct edge *rig, SSL_CTX *ctx)
{
    struct reply reply;
    client_open(client, rig);
    client_start_tls(client, ctx);
    client_ask(client, &reply, UPGRADE_PROTOBUF);
    assert_int_equal(reply.status, 101);
}

static void
cert_name(struct client *client, char name[static 64])
{
    X509 *cert = SSL_get1_peer_certificate(client->ssl);
    assert_non_null(cert);
    X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, name, 64);
    X509_free(cert);
}

static void
wss_speaks_TLS_1_2_or_later_and_only_HTTP_1_1(void **state)
{
    struct edge *rig = *state;
    SSL_CTX *ctx = client_ctx();
    for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
        struct client client;
        SSL_CTX_set_max_proto_version(ctx, version);
        upgrade_tls(&client, rig, ctx);
        assert_int_equal(SSL_version(client.ssl), version);
        const uint8_t *alpn;
        unsigned len;
        SSL_get0_alpn_selected(client.ssl, &alpn, &len);
        assert_int_equal(len, 8);
        assert_memory_equal(alpn, "http/1.1", 8);
        client_send_frame(&client, BINARY, true, "secret", 6);
        client_expect(&client, BINARY, "secret", 6);
        conn_close(rig->last, CLOSE_SILENT);
        client_expect_close(&client, 4109);
        client_close(&client);
    }
    SSL_CTX_free(ctx);
}

static void
TLS_1_1_is_refused(void **state)
{
    struct edge *rig = *state;
    SSL_CTX *ctx = client_ctx();
    SSL_CTX_set_security_level(ctx, 0);
    SSL_CTX_set_min_proto_version(ctx, TLS1_VERSION);
    SSL_CTX_set_max_proto_version(ctx, TLS1_1_VERSION);
    SSL_CTX_set_cipher_list(ctx, "ALL:@SECLEVEL=0");
    struct client client;
    client_open(&client, rig);
    client.ssl = SSL_new(ctx);
    SSL_set_fd(client.ssl, client.fd);
    int result, error = SSL_ERROR_WANT_READ;
    while ((result = SSL_connect(client.ssl)) != 1 &&
           (error = SSL_get_error(client.ssl, result)) == SSL_ERROR_WANT_READ)
        rig_turn(rig);
    assert_int_not_equal(result, 1);
    assert_int_equal(error, SSL_ERROR_SSL); // an alert
    client_close(&client);
    SSL_CTX_free(ctx);
}

static void
a_stalled_reader_over_TLS_loses_nothing(void **state)
{
    struct edge *rig = *state;
    SSL_CTX *ctx = client_ctx();
    struct client client;
    rig->has_narrow_clients = true;
    upgrade_tls(&client, rig, ctx);
    uint32_t count = 0;
    for (;; count++) {
        uint8_t payload[1000];
        memset(payload, (uint8_t)count, sizeof payload);
        memcpy(payload, &count, 4);
        struct frame *frame = frame_new(CODEC_PROTOBUF, payload, sizeof payload);
        int error = conn_push(rig->last, frame);
        frame_release(frame);
        if (error != 0)
            break;
        if (count % 16 == 0)
            rig_turn(rig);
    }
    for (uint32_t i = 0; i < count; i++) {
        uint8_t payload[1000];
        memset(payload, (uint8_t)i, sizeof payload);
        memcpy(payload, &i, 4);
        client_expect(&client, BINARY, payload, sizeof payload);
    }
    client_close(&client);
    SSL_CTX_free(ctx);
}

static void
without_TLS_nothing_is_said_on_a_TLS_port(void **state)
{
    struct edge *rig = *state;
    struct client client;
    struct reply reply;
    client_open(&client, rig);
    client_send_text(&client, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client_until_end(&client);
    assert_null(memmem(client.bytes, client.len, "200", 3));
    client_close(&client);
    client_open_private(&client, rig); // which stays plain
    client_ask(&client, &reply, "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_int_equal(reply.status, 200);
    client_close(&client);
}

static void
a_reloaded_certificate_is_for_new_connections(void **state)
{
    struct edge *rig = *state;
    SSL_CTX *ctx = client_ctx();
    struct client old, new;
    char why[200] = "", name[64];
    upgrade_tls(&old, rig, ctx);
    make_cert("second");
    assert_int_equal(server_reload_tls(rig->server, why), 0);
    upgrade_tls(&new, rig, ctx);
    cert_name(&new, name);
    assert_string_equal(name, "second");
    cert_name(&old, name);
    assert_string_equal(name, "first");
    client_send_frame(&old, BINARY, true, "old", 3);
    client_expect(&old, BINARY, "old", 3);
    client_close(&new);
    client_close(&old);
    SSL_CTX_free(ctx);
}

static void
a_bad_certificate_leaves_the_old_one(void **state)
{
    struct edge *rig = *state;
    SSL_CTX *ctx = client_ctx();
    struct client client;
    char why[200] = "", name[64], real_key[100], command[300];
    snprintf(real_key, sizeof real_key, "%s", key_file);
    snprintf(key_file, sizeof key_file, "%s/other.pem", dir);
    make_cert("second"); // the new certificate's key is elsewhere
    snprintf(key_file, sizeof key_file, "%s", real_key);
    assert_int_equal(server_reload_tls(rig->server, why), SY_EINVAL);
    assert_non_null(strstr(why, "is not that of the certificate"));
    snprintf(command, sizeof command, "echo nonsense > %s", cert_file);
    assert_int_equal(system(command), 0);
    assert_int_equal(server_reload_tls(rig->server, why), SY_EINVAL);
    assert_non_null(strstr(why, "is no certificate"));
    unlink(cert_file);
    assert_int_equal(server_reload_tls(rig->server, why), SY_EINVAL);
    assert_non_null(strstr(why, "No such file"));
    upgrade_tls(&client, rig, ctx);
    cert_name(&client, name);
    assert_string_equal(name, "first");
    client_close(&client);
    SSL_CTX_free(ctx);
}

static void
a_server_does_not_start_with_half_a_certificate(void **state)
{
    struct edge *rig = *state;
    char why[200] = "";
    rig->opts.tls_cert_file = "/nonexistent/cert.pem";
    assert_int_equal(server_open(&rig->loop, &rig->opts, rig, &rig->server, why), SY_EINVAL);
    assert_non_null(strstr(why, "listen.tls_key_file"));
    rig->opts.tls_key_file = "/nonexistent/key.pem";
    assert_int_equal(server_open(&rig->loop, &rig->opts, rig, &rig->server, why), SY_EINVAL);
    assert_non_null(strstr(why, "/nonexistent/cert.pem: No such file"));
    rig->opts.tls_cert_file = rig->opts.tls_key_file = "";
    rig_open(rig);
    assert_int_equal(server_reload_tls(rig->server, why), SY_EINVAL);
}

#define OPENED(test) cmocka_unit_test_setup_teardown(test, start_and_open, stop)
#define UNOPENED(test) cmocka_unit_test_setup_teardown(test, start, stop)
#define WITH_FILES(test) cmocka_unit_test_setup_teardown(test, start_with_files, stop)
#define WITH_TLS(test) cmocka_unit_test_setup_teardown(test, start_with_tls, stop)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        OPENED(handshakes_that_cannot_be_are_refused_in_words),
        OPENED(lists_of_subprotocols_that_the_library_would_drop_are_refused_in_words),
        OPENED(an_upgrade_nobody_knows_is_refused_and_hurts_nobody),
        OPENED(headers_without_measure_are_refused),
        OPENED(no_room_is_503_with_when_to_come_back),
        UNOPENED(one_more_than_max_connections_is_503),
        OPENED(the_edge_answers_what_it_knows_on_each_port),
        OPENED(a_connection_that_asked_before_may_upgrade),
        OPENED(no_Host_header_leads_to_the_private_port),
        OPENED(the_private_port_upgrades_nobody),
        OPENED(a_page_that_is_not_there_is_404_for_people_and_programs),
        OPENED(bodies_and_methods_are_refused_and_the_connection_closed),
        OPENED(what_is_no_request_ends_the_connection),
        WITH_FILES(files_are_served_with_type_and_tag),
        WITH_FILES(a_file_the_client_has_is_304_until_it_changes),
        WITH_FILES(HEAD_describes_a_file_without_sending_it),
        WITH_FILES(a_large_file_arrives_whole_and_the_next_request_after_it),
        WITH_FILES(a_client_that_leaves_or_talks_while_it_is_sent_a_file_is_cut),
        WITH_FILES(a_file_that_shrinks_while_it_is_sent_ends_the_connection),
        WITH_FILES(no_path_leads_out_of_the_root),
        WITH_FILES(the_private_port_serves_no_files),
        UNOPENED(one_address_has_a_limited_number_of_sockets),
        UNOPENED(sockets_that_are_no_WebSocket_yet_are_limited),
        UNOPENED(sockets_above_the_rate_wait_and_are_not_lost),
        UNOPENED(a_lone_socket_does_not_wait_for_the_rate),
        OPENED(a_request_that_does_not_end_has_5_s),
        UNOPENED(a_limit_of_descriptors_that_is_too_high_is_lowered),
        UNOPENED(a_limit_of_descriptors_that_is_too_low_is_raised),
        OPENED(without_descriptors_a_client_is_sent_away_and_the_others_wait),
        OPENED(after_stop_accepting_nobody_comes_to_the_public_port_and_those_there_stay),
        UNOPENED(a_port_that_is_taken_is_named),
        OPENED(a_second_edge_on_the_same_port_is_told),
        OPENED(edges_that_say_so_share_the_public_port_but_not_the_private_one),
        UNOPENED(accepted_sockets_inherit_their_options),
        UNOPENED(IPv6_works_where_there_is_any),
        WITH_TLS(wss_speaks_TLS_1_2_or_later_and_only_HTTP_1_1),
        WITH_TLS(TLS_1_1_is_refused),
        WITH_TLS(a_stalled_reader_over_TLS_loses_nothing),
        WITH_TLS(without_TLS_nothing_is_said_on_a_TLS_port),
        WITH_TLS(a_reloaded_certificate_is_for_new_connections),
        WITH_TLS(a_bad_certificate_leaves_the_old_one),
        UNOPENED(a_server_does_not_start_with_half_a_certificate),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
