// flags.h: the flags of all commands, in one table; a command names those it takes.
//
// Order: environment < flags. What cannot be is told on stderr, with what would be right,
// and ends with EXIT_USAGE.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/client-c/include/switchyard/client.h"

enum flag {
    FLAG_EDGE,
    FLAG_USER,
    FLAG_TO,
    FLAG_DEVICE,
    FLAG_TOKEN,
    FLAG_TOKEN_FILE,
    FLAG_CA,
    FLAG_INSECURE,
    FLAG_TIMEOUT,
    FLAG_FILE,
    FLAG_COUNT,
    FLAG_JSON,
    FLAG_REDIS,
    FLAG_HELP,
    FLAGS,
};

#define FLAGS_MAX_RECIPIENTS 1000

struct flags {
    const char *edges[SWITCHYARD_MAX_URLS];
    unsigned edge_count;
    const char *user;
    const char **to;
    size_t to_count;
    const char *device;
    const char *token;
    const char *ca_file;
    bool is_insecure;
    uint32_t timeout_ms; // 0: not given
    const char *file;
    uint64_t count; // 0: not given
    bool wants_json;
    const char *redis;
    char **words; // what is no flag
    int word_count;
    char **copies; // what edges and recipients point into
    size_t copy_count;
};

struct command {
    const char *name;
    const char *words; // "USER", "TEXT...", or ""
    const char *summary;
    const char *help; // more, for --help
    unsigned flags;   // bits 1 << enum flag
    int min_words;
    int max_words;                         // -1: any number
    int (*run)(const struct flags *flags); // answers the exit code
};

// True: go on. False: *exit_code says how it ended (help was printed, or a complaint).
// The flags point into argv, the environment, and memory that flags_fini frees.
bool flags_read(const struct command *command, int argc, char **argv, struct flags *flags,
                int *exit_code);
void flags_fini(struct flags *flags); // also when flags_read answered false
