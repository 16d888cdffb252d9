// conf_fixture.h: a table with one row of each kind, and the complaints as text.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "cmocka_all.h"
#include "lib/base/conf.h"

struct settings {
    const char *host;
    int64_t port;
    const char *tls_cert;
    int64_t offset;
    int64_t any;
    int64_t queue;
    int64_t interval;
    bool is_enabled;
    const char *format;
    const char *secret;
    int64_t pin;
    const char *origins;
};

extern struct conf conf;
extern struct settings settings;
extern const struct conf_row conf_rows[];
extern const size_t conf_row_count;

// Around each test.
int conf_setup(void **state);
int conf_teardown(void **state);

// What was complained about since the last call of this function.
const char *complaints(void);
// The stream to give to conf_*.
FILE *complaints_to(void);

// An environment as programs get it, of copies. Good until the next call.
#define ENV(...) environment((const char *const[]){__VA_ARGS__, NULL})
char *const *environment(const char *const *entries);

// What a function of conf.h prints. Good until the next call.
const char *printed(void (*print)(const struct conf *, FILE *));

int load(const char *yaml); // as t.yaml
int set(const char *key, const char *value);

// The YAML is refused, in these words.
#define assert_refused(yaml, words)                    \
    do {                                               \
        assert_int_equal(load(yaml), SY_EINVAL);       \
        assert_string_equal(complaints(), words "\n"); \
    } while (0)
#define assert_taken(yaml)                     \
    do {                                       \
        int rc_ = load(yaml);                  \
        assert_string_equal(complaints(), ""); \
        assert_int_equal(rc_, 0);              \
    } while (0)
