// config.c: a settings file of any bytes. Whatever it says, each setting stays within
// its bounds, a refusal is one line that starts with the file's name, and a secret that
// was refused is not in it.
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

struct settings {
    const char *host;
    int64_t port;
    const char *cert;
    const char *private_host;
    int64_t connections;
    int64_t queue;
    int64_t ping;
    int64_t grace;
    bool is_compressed;
    const char *level;
    const char *secret;
    const char *origins;
    int64_t any;
};

#define AT(field) offsetof(struct settings, field)

static const struct conf_row rows[] = {
    {"listen.host", CONF_STRING, AT(host), "127.0.0.1", 1, 255, NULL, false, false, "Address."},
    {"listen.port", CONF_INT, AT(port), "8000", 0, 65535, NULL, false, false, "Port."},
    {"listen.tls.cert", CONF_STRING, AT(cert), "", 0, 4096, NULL, true, false, "Certificate."},
    {"private.host", CONF_STRING, AT(private_host), "::1", 1, 255, NULL, false, false, "Address."},
    {"limits.connections", CONF_INT, AT(connections), "500", 1, 1000000, NULL, true, false,
     "Full."},
    {"limits.queue", CONF_SIZE, AT(queue), "256KiB", 1024, 1 << 30, NULL, true, false, "Queue."},
    {"ping.interval", CONF_DURATION, AT(ping), "25s", 1000, 600000, NULL, true, false, "Ping."},
    {"drain.grace", CONF_DURATION, AT(grace), "0", 0, 3600000, NULL, true, false, "Grace."},
    {"ws.compressed", CONF_BOOL, AT(is_compressed), "no", 0, 0, NULL, false, false, "Deflate."},
    {"log.level", CONF_CHOICE, AT(level), "info", 0, 0, "error|warn|info|debug", true, false,
     "Level."},
    {"token.secret", CONF_STRING, AT(secret), "", 0, 64, NULL, false, true, "Secret."},
    {"origins.allowed", CONF_LIST, AT(origins), "", 0, 0, NULL, true, false, "Origins."},
    {"test.any", CONF_INT, AT(any), "0", INT64_MIN, INT64_MAX, NULL, false, false, "Any."},
};
enum { ROWS = sizeof(rows) / sizeof(rows[0]) };

static void
check(const struct settings *settings)
{
    size_t host_len = strlen(settings->host);
    assert(host_len >= 1 && host_len <= 255);
    assert(settings->port >= 0 && settings->port <= 65535);
    assert(strlen(settings->cert) <= 4096);
    assert(settings->connections >= 1 && settings->connections <= 1000000);
    assert(settings->queue >= 1024 && settings->queue <= 1 << 30);
    assert(settings->ping >= 1000 && settings->ping <= 600000);
    assert(settings->grace >= 0 && settings->grace <= 3600000);
    assert(strlen(settings->secret) <= 64);
    assert(settings->level[0] != '\0' && strstr("error|warn|info|debug", settings->level) != NULL);
    assert(strstr(settings->origins, "  ") == NULL && strpbrk(settings->origins, "\t\r\n") == NULL);
    assert(settings->origins[0] != ' ');
}

static bool
ends_with(const char *text, size_t len, const char *end)
{
    size_t end_len = strlen(end);
    return len >= end_len && memcmp(text + len - end_len, end, end_len) == 0;
}

// A refused value is named at the end, after anything a file can put into the line.
static void
check_secret(const char *said, size_t len)
{
    if (!ends_with(said, len, " for token.secret: 0 to 64 bytes\n") &&
        !ends_with(said, len, ", which token.secret cannot\n"))
        return;
    int place = 0;
    sscanf(said, "f.yaml:%*u:%*u: %n", &place);
    assert(place > 0 && strncmp(said + place, "the value ", 10) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct settings settings;
    struct conf conf;
    conf_init(&conf, "fuzz", rows, ROWS, &settings);
    char *said;
    size_t said_len;
    FILE *out = open_memstream(&said, &said_len);
    assert(out != NULL);
    int rc = conf_load_text(&conf, "f.yaml", (const char *)bytes, len, out);
    fclose(out);
    assert(rc == 0 ? said_len == 0 : rc == SY_EINVAL);
    if (rc != 0) {
        assert(memcmp(said, "f.yaml:", 7) == 0);
        assert(strchr(said, '\n') == said + said_len - 1);
        check_secret(said, said_len);
    }
    free(said);
    check(&settings);
    size_t differing = conf_count_set(&conf);
    assert(differing <= ROWS);
    out = open_memstream(&said, &said_len);
    assert(out != NULL);
    conf_show(&conf, true, out);
    fclose(out);
    size_t lines = 0;
    for (size_t i = 0; i < said_len; i++)
        lines += said[i] == '\n';
    assert(lines == ROWS); // no value starts a line of its own
    free(said);
    conf_fini(&conf);
    return 0;
}
