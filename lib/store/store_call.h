// store_call.h: what every call of store.h is made of.
//
// A call is a heap object that begins with struct call, lives from store_* to its
// callback, and is freed by whoever answers it. It is answered either by its last
// answer from Redis, or, if nothing could be sent, by `fail` on the next turn.
#pragma once

#include <stdbool.h>

#include "lib/base/log.h"
#include "lib/store/channel.h"
#include "lib/store/store.h"

struct call {
    struct store *store;
    struct call *next;               // in store->refused
    int error;                       // the first that happened
    void (*fail)(struct call *call); // answers with call->error and frees
};

struct store {
    struct channel *channel;
    struct store_opts opts; // its strings are not kept
    char max_devices[DECIMAL_SIZE];
    // Calls that were never sent, until the next turn answers them. As long as our
    // callers can make it in one turn: emptied in each.
    struct call *refused;
    struct call **refused_end;
    size_t refused_count;
    uv_idle_t idle;
    unsigned holds; // idle, channel
    // How far the index of the node reaped last has been walked. Any value is safe.
    struct {
        char node[NODE_ID_SIZE];
        uint64_t cursor;
    } walk;
    struct log_limit odd;
    void (*closed)(void *arg);
    void *closed_arg;
};

// Zeroed; aborts without memory.
void *store_call_new(struct store *store, size_t size, void (*fail)(struct call *call));
// Whether `commands` may be sent for it now. False: call->fail comes later, let go of it.
bool store_call_may_send(struct call *call, unsigned commands);
// Ends a call that sent nothing.
void store_call_refuse(struct call *call, int error);
// Notes the error of one answer; the first one stands. True if there is one by now.
bool store_call_note(struct call *call, int error);
// An answer that no script of ours gives: logged, SY_EREPLY.
void store_call_odd(struct call *call, const char *what);
// Ends a call that cannot succeed: with the error noted, or else as odd.
void store_call_give_up(struct call *call, const char *what);

// Sends strings; channel_send with the call as the callback's argument.
void store_call_send(struct call *call, channel_answer_cb *done, size_t argc, const char **argv);
void store_call_eval(struct call *call, channel_answer_cb *done, enum script script, unsigned keys,
                     size_t argc, const char **argv);
#define ARGV(...)                                                              \
    (sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)), (const char *[]) \
    {                                                                          \
        __VA_ARGS__                                                            \
    }
// For store_call_eval: the first three are filled in by channel_eval.
#define EVAL_ARGV(...) ARGV(NULL, NULL, NULL, __VA_ARGS__)

// Decimal text of a number.
struct number {
    char text[24];
};
struct number store_number_of(uint64_t value);
