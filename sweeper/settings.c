// settings.c: the table of settings, and the rules between them.
#include "sweeper/settings.h"

#include <string.h>

#include "proto/ident.h"

#define AT(field) offsetof(struct settings, field)
// clang-format off
#define STRING(key, field, value, max, help) \
    {key, CONF_STRING, AT(field), value, 0, max, NULL, false, false, help}
#define SECRET(key, field, help) \
    {key, CONF_STRING, AT(field), "", 0, 4096, NULL, false, true, help}
#define NUMBER(key, type, field, value, min, max, help) \
    {key, type, AT(field), value, min, max, NULL, false, false, help}
#define CHOICE(key, field, value, choices, help) \
    {key, CONF_CHOICE, AT(field), value, 0, 0, choices, false, false, help}

const struct conf_row settings_rows[] = {
    STRING("node.name", node_name, "sweeper", NODE_NAME_MAX,
        "Name of this sweeper: lower-case letters, digits and '-'."),

    STRING("nats.url", nats_url, "nats://127.0.0.1:4222", 1024,
        "NATS servers, as nats://host:4222, several separated by commas."),
    STRING("nats.user", nats_user, "", 256, "User at the NATS server."),
    SECRET("nats.password", nats_password, "Password at the NATS server."),
    STRING("nats.credentials_file", nats_credentials_file, "", 4095, "NATS credentials file."),
    STRING("nats.tls_ca_file", nats_tls_ca_file, "", 4095,
        "Certificate authority of a tls:// server. Empty: those of the system."),
    NUMBER("nats.ping_interval", CONF_DURATION, nats_ping_interval, "2s", 100, 60000,
        "How often the sweeper sends itself a message through NATS; two without an echo and the "
        "connection is made anew."),

    STRING("redis.url", redis_url, "redis://127.0.0.1:6379", 1024,
        "Redis, as redis://host:6379/0 or unix:///path."),
    STRING("redis.user", redis_user, "", 256, "ACL user at Redis."),
    SECRET("redis.password", redis_password, "Password at Redis."),
    NUMBER("redis.command_timeout", CONF_DURATION, redis_command_timeout, "1s", 50, 60000,
        "A command unanswered for this long means the connection is lost."),

    NUMBER("reap.batch", CONF_INT, reap_batch, "200", 1, 1000,
        "Links of a dead edge removed in one round of commands. A round of 200 occupies Redis for "
        "about a millisecond."),
    NUMBER("reap.links_per_second", CONF_INT, reap_links_per_second, "100000", 1, 10000000,
        "Most links looked at in one second, so that cleaning up never takes Redis away from "
        "logins."),

    CHOICE("log.level", log_level, "info", "error|warn|info|debug", "Least level logged."),
    CHOICE("log.format", log_format, "auto", "auto|text|json",
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
