// settings.h: everything an edge can be told, one struct, filled from one table.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "lib/base/conf.h"
#include "proto/keys.h"

struct settings {
    const char *node_name;
    const char *listen_host;
    int64_t listen_port;
    const char *listen_url;
    const char *listen_tls_cert_file;
    const char *listen_tls_key_file;
    const char *private_host;
    int64_t private_port;
    int64_t connections_max;
    int64_t connections_max_per_address;
    int64_t connections_max_half_open;
    int64_t connections_accept_rate;
    int64_t limits_frame_bytes;
    int64_t limits_queue_bytes;
    int64_t limits_fragments;
    int64_t limits_commands_per_second;
    int64_t limits_pending_bytes;
    int64_t limits_hello_timeout;
    int64_t ping_interval;
    const char *devices_policy;
    int64_t devices_max;
    const char *auth_mode;
    const char *auth_hs256_secret;
    const char *auth_hs256_kid;
    const char *auth_hs256_old_secret;
    const char *auth_hs256_old_kid;
    const char *auth_issuer;
    const char *auth_audience;
    int64_t auth_leeway;
    int64_t auth_max_life;
    const char *origins_allowed;
    const char *nats_url;
    const char *nats_user;
    const char *nats_password;
    const char *nats_credentials_file;
    const char *nats_tls_ca_file;
    int64_t nats_ping_interval;
    int64_t nats_max_buffered;
    const char *redis_url;
    const char *redis_user;
    const char *redis_password;
    int64_t redis_command_timeout;
    int64_t routes_ttl;
    int64_t routes_max;
    int64_t drain_timeout;
    int64_t drain_delay;
    const char *web_root;
    int64_t workers_count;
    bool workers_pin;
    const char *log_level;
    const char *log_format;
};

extern const struct conf_row settings_rows[];
extern const size_t settings_count;

// What the table cannot say: which settings need each other, and which together are
// unsafe. 0, or SY_EINVAL after one line on `complaints`.
MUST_USE
int settings_check(const struct settings *settings, FILE *complaints);
// Whether clients must bring a token ("auto" decided).
bool settings_need_token(const struct settings *settings);
enum device_policy settings_device_policy(const struct settings *settings);
// How many processes share the public port (workers.count, with 0 made a number).
unsigned settings_workers(const struct settings *settings);
// Neither NATS nor Redis: local delivery only.
bool settings_is_alone(const struct settings *settings);
