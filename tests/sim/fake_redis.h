// fake_redis.h: what Redis holds, and a command on its way to it. For fake_redis.c, which
// keeps it, fake_scripts.c, which changes it as the scripts do, and fake_store.c, which brings
// commands and answers; all others see world.h.
#pragma once

#include "tests/sim/world.h"

enum { MOST = 512, START_MS = 1000000 };

struct member {
    char node[NODE_ID_SIZE];
    char user[16];
    char device[16];
};
struct lease {
    struct store_node node;
    uint64_t until_ms;
    uint64_t fence;
    uint64_t taken;
    uint64_t jumped_ms;           // when a jump of the clock ended it; 0: it was not that
    bool was_dead[MAX_PROCESSES]; // when this sweeper looked last
};
struct watch {
    char user[16];
    char node[NODE_ID_SIZE];
    uint64_t until_ms;
};

struct redis {
    struct world *world;
    struct row rows[MOST];
    size_t row_count;
    struct member members[MOST * 4];
    size_t member_count;
    struct lease nodes[MOST]; // sy:nodes, with lease and fence of each
    size_t node_count;
    struct watch watches[MOST];
    size_t watch_count;
    uint64_t gen;
    char leader[NODE_ID_SIZE];
    uint64_t leader_until_ms;
    uint64_t fence;
    uint64_t changed_ms[MAX_USERS]; // when rows of the user changed
    // What outlives a loss of data.
    int64_t clock_offset_ms;
    bool has_jumped; // the clock
    bool has_gone_back;
    uint64_t epoch; // the last one handed out by the clock alone
    uint64_t frozen_until_ms;
    uint64_t up_since_ms;
    uint64_t boots;
    uint64_t trouble_ms; // see struct process
};

enum kind {
    REGISTER,
    UNREGISTER,
    VERIFY,
    RESOLVE,
    READ_NODE,
    LIST_NODES,
    HEARTBEAT,
    RELEASE,
    LEAD,
    RESIGN,
    CLOCK,
    REAP,
    SCRUB,
    SCRUB_ROWS,
};

struct call {
    struct call *next; // of the process, in flight
    struct process *process;
    enum kind kind;
    bool is_answered;
    int error;
    uint64_t begun_ms;
    uint64_t boots; // of Redis then
    void *arg;
    union {
        store_register_cb *registered;
        store_done_cb *done;
        store_verify_cb *verified;
        store_resolve_cb *resolved;
        store_node_cb *node;
        store_nodes_cb *nodes;
        store_beat_cb *beat;
        store_lead_cb *lead;
        store_clock_cb *clock;
        store_reap_cb *reaped;
        store_scrub_cb *scrubbed;
    } to;
    char user[16];
    char name[NODE_ID_SIZE]; // node, watcher or sweeper
    struct link link;
    struct store_node self;
    uint64_t taken;
    uint64_t number; // age_ms, watch_ms, lease_ms, fence
    unsigned batch;
    // The answer.
    struct store_registered registered;
    struct link old;
    char watchers[8][NODE_ID_SIZE];
    const char *watcher_list[8];
    enum store_verdict verdict;
    struct link links[8];
    struct store_node nodes[64];
    size_t count;
    bool flag;
    struct store_reaped reaped;
    struct store_clock clock;
};

// fake_redis.c
uint64_t redis_clock_ms(const struct redis *redis);
struct row *redis_find_row(const struct redis *redis, const char *user, const char *device);
struct lease *redis_find_node(const struct redis *redis, const char *node);
struct lease *redis_take_node(struct redis *redis, const char *node);
bool redis_has_lease(const struct redis *redis, const struct lease *lease);
bool redis_is_member(const struct redis *redis, const char *node, const char *user,
                     const char *device);
struct member redis_member_of(const char *node, const char *user, const char *device);
void redis_add_member(struct redis *redis, const char *node, const char *user, const char *device);
void redis_remove_member(struct redis *redis, const char *node, const char *user,
                         const char *device);
void redis_write_row(struct redis *redis, const char *user, const struct link *link);
void redis_remove_row(struct redis *redis, struct row *row);
void redis_add_watch(struct redis *redis, const char *user, const char *node, uint64_t for_ms);

// fake_scripts.c: what the command asks for, in one step.
void redis_execute(struct redis *redis, struct call *call);
