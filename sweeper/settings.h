// settings.h: everything a sweeper can be told.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "lib/base/conf.h"

struct settings {
    const char *node_name;
    const char *nats_url;
    const char *nats_user;
    const char *nats_password;
    const char *nats_credentials_file;
    const char *nats_tls_ca_file;
    int64_t nats_ping_interval;
    const char *redis_url;
    const char *redis_user;
    const char *redis_password;
    int64_t redis_command_timeout;
    int64_t reap_batch;
    int64_t reap_links_per_second;
    const char *log_level;
    const char *log_format;
};

extern const struct conf_row settings_rows[];
extern const size_t settings_count;

// 0, or SY_EINVAL after one line on `complaints`.
MUST_USE
int settings_check(const struct settings *settings, FILE *complaints);
