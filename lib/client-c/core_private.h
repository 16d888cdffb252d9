// core_private.h: what core.c (states, connection), core_retry.c (where and when to try
// next) and core_events.c (what edges say) share. For these alone.
#pragma once

#include "lib/client-c/core.h"
#include "lib/client-c/dedup.h"
#include "lib/client-c/sends.h"
#include "proto/codec.h"
#include "proto/ident.h"
#include "proto/keys.h"

#define CORE_TEXT_SIZE 200
// State changes not polled yet. The owner polls after every input, which makes two at
// most; should there be more, the newest takes the place of the one before it.
#define CORE_MAX_CHANGES 4

struct core_change {
    struct switchyard_state_change change; // text points to the next field
    char text[CORE_TEXT_SIZE];
    unsigned url;
};

struct core {
    unsigned url_count;
    bool takes_ws;
    bool takes_wss;
    switchyard_token_cb *on_token;
    void *token_arg;
    char *token; // in use; "" for none
    char *user;
    char *device;
    char *device_class;
    char *client_name;

    enum switchyard_state state;
    uint64_t state_due_ms; // CONNECTING, LOGIN: given up then; BACKOFF: tried again then
    bool is_linked;        // the owner has a connection, or a try, of ours
    bool wants_connect;
    unsigned disconnect_code; // 0: no disconnect wanted
    bool needs_new_token;     // the last one has expired

    unsigned url;
    struct ws_url given;                             // by the last GoAway that gave one
    bool was_given;                                  // and not tried yet
    uint64_t not_before_ms[SWITCHYARD_MAX_URLS + 1]; // what each edge asked us to wait
    unsigned failures;                               // in a row
    uint32_t failure_retry_ms;                       // from a Failure that answered our Hello
    char failure_text[CORE_TEXT_SIZE];               // of the same; "": none
    uint64_t rng;

    uint8_t *urgent; // a Hello or a Ping to write before anything else
    size_t urgent_len;
    uint64_t hello_id;
    uint64_t next_id;
    struct sends sends;

    // While LIVE.
    uint64_t live_since_ms;
    uint64_t heard_ms;
    uint64_t pong_due_ms; // UINT64_MAX: no ping is out
    uint64_t goaway_ms;   // when to move; UINT64_MAX: no GoAway
    bool is_leaving;      // moving as soon as nothing is in flight
    uint32_t ping_ms;
    size_t max_frame_bytes;
    char node[NODE_ID_SIZE];
    char live_user[IDENT_MAX_BYTES + 1];
    char live_device[IDENT_MAX_BYTES + 1];

    struct core_change changes[CORE_MAX_CHANGES];
    unsigned change_count;
    struct core_change told; // the one polled last: what the event points to

    // The frame being polled; it lives in the arena.
    const Switchyard__V1__ServerFrame *frame;
    size_t frame_next;
    struct arena arena;
    struct switchyard_unreached *unreached; // of the outcome polled last
    struct dedup dedup;
};

// The one place where the state changes.
void core_move(struct core *core, enum switchyard_state state, unsigned code, const char *text,
               uint32_t retry_in_ms);
// Forgets whatever belongs to one connection only, and hangs up with this code, if there is
// anything to hang up on; 0: there is not.
void core_drop_link(struct core *core, unsigned disconnect_code);
// For good.
void core_end(struct core *core, unsigned code, const char *text);

// core_retry.c
// For jitter and names, not for secrets.
uint64_t core_draw(struct core *core);
// The edge in use asks us to stay away for so long.
void core_note_wait(struct core *core, uint32_t wait_ms, uint64_t now_ms);
// The connection is of no use any more, or was lost: tidies up, and waits to try again.
void core_fail(struct core *core, unsigned code, const char *text, uint64_t now_ms);
// Full, or leaving: another edge may have room now.
void core_hop(struct core *core, unsigned status, const char *text, uint64_t now_ms);
