// settings.c: the table of settings, and the rules between them.
#include "sweeper/settings.h"

#include <string.h>

#include "proto/ident.h"

#define ROW(kind, ...) CONF_##kind##_ROW(struct settings, __VA_ARGS__)

// clang-format off
const struct conf_row settings_rows[] = {
    ROW(STRING, "node.name", node_name, "sweeper", NODE_NAME_MAX,
        "Name of this sweeper: lower-case letters, digits and '-'."),

    ROW(STRING, "nats.url", nats_url, "nats://127.0.0.1:4222", 1024,
        "NATS servers, as nats://host:4222, several separated by commas."),
    ROW(STRING, "nats.user", nats_user, "", 256, "User at the NATS server."),
    ROW(SECRET, "nats.password", nats_password, "Password at the NATS server."),
    ROW(STRING, "nats.credentials_file", nats_credentials_file, "", 4095, "NATS credentials file."),
    ROW(STRING, "nats.tls_ca_file", nats_tls_ca_file, "", 4095,
        "Certificate authority of a tls:// server. Empty: those of the system."),
    ROW(NUMBER, "nats.ping_interval", CONF_DURATION, nats_ping_interval, "2s", 100, 60000,
        "How often the sweeper sends itself a message through NATS; two without an echo and the "
        "connection is made anew."),

    ROW(STRING, "redis.url", redis_url, "redis://127.0.0.1:6379", 1024,
        "Redis, as redis://host:6379/0 or unix:///path."),
    ROW(STRING, "redis.user", redis_user, "", 256, "ACL user at Redis."),
    ROW(SECRET, "redis.password", redis_password, "Password at Redis."),
    ROW(NUMBER, "redis.command_timeout", CONF_DURATION, redis_command_timeout, "1s", 50, 60000,
        "A command unanswered for this long means the connection is lost."),

    ROW(NUMBER, "reap.batch", CONF_INT, reap_batch, "500", 1, 1000,
        "Links of a dead edge removed in one round of commands. Others wait for a part of it at "
        "most: less than 5 ms."),
    ROW(NUMBER, "reap.links_per_second", CONF_INT, reap_links_per_second, "50000", 1, 10000000,
        "Most links looked at in one second, so that cleaning up never takes Redis away from "
        "logins: 50000 are about half of what one Redis does."),

    ROW(CHOICE, "log.level", log_level, "info", "error|warn|info|debug", "Least level logged."),
    ROW(CHOICE, "log.format", log_format, "auto", "auto|text|json",
        "auto: text on a terminal, JSON otherwise."),
};
// clang-format on
const size_t settings_count = sizeof(settings_rows) / sizeof(settings_rows[0]);

int
settings_check(const struct settings *settings, FILE *complaints)
{
    const char *wrong = NULL;
    if (!node_name_is_valid(settings->node_name, strlen(settings->node_name)))
        wrong = "node.name must be 1 to 40 of a-z, 0-9 and '-'";
    else if (settings->nats_url[0] == '\0' || settings->redis_url[0] == '\0')
        wrong = "a sweeper needs nats.url and redis.url";
    if (wrong == NULL)
        return 0;
    fprintf(complaints, "%s\n", wrong);
    return SY_EINVAL;
}
