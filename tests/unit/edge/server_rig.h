// server_rig.h: a real server in the test's own loop, with a fake edge and fake sessions
// above it, and clients that speak HTTP and WebSocket by hand over real sockets.
//
// One thread. Whoever waits for bytes turns the loop meanwhile; a turn is one uv_run and
// one server_flush, as in the edge. Waiting longer than RIG_PATIENCE_MS fails the test.
#pragma once

#include <openssl/ssl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include <cmocka.h>

#include "edge/server.h"
#include "edge/session.h"

#define RIG_PATIENCE_MS 8000

enum rig_mode {
    RIG_ECHO,   // answer each message with itself
    RIG_RECORD, // keep it
    RIG_CLOSE,  // answer, then close with `close_with`
};

struct edge { // what the server sees of one
    uv_loop_t loop;
    uv_timer_t tick; // so that uv_run returns
    struct server_opts opts;
    struct server *server;
    bool is_closed;

    enum rig_mode mode;
    enum close_code close_with;
    bool is_ready;
    bool has_room;
    bool has_narrow_clients; // their kernel takes little ahead of them

    unsigned opened, closed, received, alive;
    enum close_code last_code;
    struct conn *last; // the conn opened last; NULL when it is gone
    char token[256];
    uint8_t message[1 << 17];
    size_t message_len;
};

void rig_start(struct edge *rig); // with defaults, rig->opts may be changed between
void rig_open(struct edge *rig);  // opens the server
void rig_stop(struct edge *rig);  // closes it; checks that nothing is left
void rig_turn(struct edge *rig);  // waits 1 ms at most
void rig_turns(struct edge *rig, int turns);
uint64_t rig_ms(void); // monotonic
struct server_stats rig_stats(const struct edge *rig);
unsigned rig_open_fds(void);
// Turns until the condition holds.
#define rig_until(rig, condition)                              \
    do {                                                       \
        uint64_t rig_deadline_ms = rig_ms() + RIG_PATIENCE_MS; \
        while (!(condition)) {                                 \
            assert_true(rig_ms() < rig_deadline_ms);           \
            rig_turn(rig);                                     \
        }                                                      \
    } while (0)

struct client {
    struct edge *rig;
    int fd;
    SSL *ssl; // NULL: plain
    uint8_t *bytes;
    size_t len, cap;
    bool is_at_end; // the server closed
    bool is_reset;
};

struct reply { // to an HTTP request
    unsigned status;
    char head[4096];
    uint8_t *body; // in the client's buffer until the next read
    size_t body_len;
};

void client_open(struct client *client, struct edge *rig);
void client_open_private(struct client *client, struct edge *rig);
void client_start_tls(struct client *client, SSL_CTX *ctx);
void client_close(struct client *client); // FIN, without a close frame
void client_reset(struct client *client); // RST
void client_send(struct client *client, const void *bytes, size_t len);
void client_send_text(struct client *client, const char *text);
void client_fill(struct client *client); // reads what is there
void client_need(struct client *client, size_t len);
void client_take(struct client *client, size_t len); // drops the first bytes
void client_until_end(struct client *client);

// The reply to a request that was sent. With is_head no body is expected.
void client_read_reply(struct client *client, struct reply *reply, bool is_head);
void client_ask(struct client *client, struct reply *reply, const char *request);
const char *reply_header(const struct reply *reply, const char *name); // "" if absent

#define UPGRADE_HEAD                                                                       \
    "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" \
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define UPGRADE_PROTOBUF UPGRADE_HEAD "Sec-WebSocket-Protocol: switchyard.v1\r\n\r\n"
#define UPGRADE_JSON UPGRADE_HEAD "Sec-WebSocket-Protocol: switchyard.v1.json\r\n\r\n"

// Connects and upgrades; the request is one of the above.
void client_upgrade(struct client *client, struct edge *rig, const char *request);

struct ws_frame {
    unsigned opcode;
    bool is_final;
    const uint8_t *payload; // in the client's buffer, until client_take
    size_t len;
    size_t total; // with its head
};

void client_send_frame(struct client *client, unsigned opcode, bool is_final, const void *payload,
                       size_t len);
// The head of a masked frame of this length, without a payload. Its mask is zero.
void client_send_frame_head(struct client *client, unsigned opcode, bool is_final, uint64_t len);
void client_read_frame(struct client *client, struct ws_frame *frame);
bool client_has_frame(struct client *client, struct ws_frame *frame);
// Reads a frame, checks it, drops it.
void client_expect(struct client *client, unsigned opcode, const void *payload, size_t len);
// Skips messages until a close frame comes, checks its code, answers it, waits for the end.
void client_expect_close(struct client *client, unsigned code);
// The code of the next close frame.
unsigned client_read_close(struct client *client);
void client_send_close(struct client *client, unsigned code);
