// core_rig.h: a core under a clock of the test's, with an edge's side to play by hand.
#pragma once

#include "lib/client-c/core.h"
#include "proto/codec.h"

#define RIG_MAX 256

struct rig_outcome {
    int calls;
    enum switchyard_status status;
    int reason;
    bool is_retryable;
    uint32_t devices;
    size_t unreached_count;
    char unreached[64]; // the first one
    char text[128];
};

struct rig {
    struct core *core;
    uint64_t now_ms;
    // What came out, in order.
    enum switchyard_state states[RIG_MAX];
    unsigned state_count;
    struct switchyard_state_change last; // texts are copied below
    char last_text[256];
    char last_device[160];
    char messages[RIG_MAX][64]; // "from/device: text"
    unsigned message_count;
    unsigned goaway_count;
    uint32_t goaway_ms;
    int goaway_reason;
    char goaway_url[128];
    unsigned outcome_count;
    unsigned connect_count;
    unsigned connect_url;
    unsigned disconnect_count;
    unsigned disconnect_code;
    // Called for each message, to do something from inside.
    void (*on_message)(struct rig *rig);
    // The last frame written, decoded; good until the next.
    Switchyard__V1__ClientFrame *written;
    struct arena arena;
};

// Options with a seed, one URL and small bounds; change what the test is about.
struct core_options rig_options(unsigned url_count, uint64_t seed);
void rig_start(struct rig *rig, const struct core_options *options);
void rig_stop(struct rig *rig);

// Takes all events and actions.
void rig_settle(struct rig *rig);
// Lets time pass, advancing at every deadline on the way.
void rig_pass(struct rig *rig, uint64_t ms);
// Waits out a backoff.
void rig_retry(struct rig *rig);
// Writes one message; false if there is nothing to write.
bool rig_write(struct rig *rig);
void rig_hear(struct rig *rig, const Switchyard__V1__Event *event);
void rig_connected(struct rig *rig);
void rig_welcome(struct rig *rig);
// Opens and goes all the way to LIVE.
void rig_live(struct rig *rig);
void rig_lose(struct rig *rig, unsigned code);
// A text message to bob with this much text; its outcome goes to *outcome.
int rig_send(struct rig *rig, size_t len, struct rig_outcome *outcome);
void rig_outcome(struct rig *rig, uint64_t id, Switchyard__V1__OutcomeStatus status,
                 Switchyard__V1__Reason reason);
// The id of the first command of the frame written last.
uint64_t rig_written_id(const struct rig *rig);
