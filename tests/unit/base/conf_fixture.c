#include "conf_fixture.h"

#include <stdlib.h>
#include <string.h>

struct conf conf;
struct settings settings;

#define AT(field) offsetof(struct settings, field)

const struct conf_row conf_rows[] = {
    {.key = "listen.host",
     .type = CONF_STRING,
     .offset = AT(host),
     .value = "127.0.0.1",
     .min = 1,
     .max = 16,
     .help = "Address to listen on."},
    {.key = "listen.port",
     .type = CONF_INT,
     .offset = AT(port),
     .value = "8000",
     .max = 65535,
     .help = "Port for clients; 0 takes a free one."},
    {.key = "listen.tls.cert",
     .type = CONF_STRING,
     .offset = AT(tls_cert),
     .value = "",
     .max = 4096,
     .reloadable = true,
     .help = "Path of the certificate chain."},
    {.key = "limits.clock_offset",
     .type = CONF_INT,
     .offset = AT(offset),
     .value = "-5",
     .min = -10,
     .max = 10,
     .help = "A number that may be negative."},
    {.key = "limits.any",
     .type = CONF_INT,
     .offset = AT(any),
     .value = "0",
     .min = INT64_MIN,
     .max = INT64_MAX,
     .help = "Any number there is."},
    {.key = "limits.queue",
     .type = CONF_SIZE,
     .offset = AT(queue),
     .value = "64KiB",
     .min = 1024,
     .max = (int64_t)1 << 30,
     .help = "What may wait for one client."},
    {.key = "ping.interval",
     .type = CONF_DURATION,
     .offset = AT(interval),
     .value = "25s",
     .min = 1000,
     .max = 600000,
     .reloadable = true,
     .help = "How often a silent client is asked."},
    {.key = "ping.enabled",
     .type = CONF_BOOL,
     .offset = AT(is_enabled),
     .value = "true",
     .help = "Whether it is asked at all."},
    {.key = "log.format",
     .type = CONF_CHOICE,
     .offset = AT(format),
     .value = "auto",
     .choices = "auto|text|json",
     .help = "Form of the log lines."},
    {.key = "token.secret",
     .type = CONF_STRING,
     .offset = AT(secret),
     .value = "",
     .max = 32,
     .secret = true,
     .help = "What tokens are signed with."},
    {.key = "token.pin",
     .type = CONF_INT,
     .offset = AT(pin),
     .value = "0",
     .max = 9999,
     .secret = true,
     .help = "A secret number."},
    {.key = "origins.allowed",
     .type = CONF_LIST,
     .offset = AT(origins),
     .value = "https://a.example https://b.example",
     .help = "Pages that may connect | all others may not."},
};
const size_t conf_row_count = sizeof(conf_rows) / sizeof(conf_rows[0]);

static FILE *stream;
static char *stream_text;
static size_t stream_len;
static char taken[65536];
static char *print_text;

FILE *
complaints_to(void)
{
    if (stream == NULL) {
        stream = open_memstream(&stream_text, &stream_len);
        assert_non_null(stream);
    }
    return stream;
}

const char *
complaints(void)
{
    if (stream == NULL)
        return "";
    fclose(stream);
    stream = NULL;
    assert_true(stream_len < sizeof(taken));
    memcpy(taken, stream_text, stream_len + 1);
    free(stream_text);
    return taken;
}

const char *
printed(void (*print)(const struct conf *, FILE *))
{
    free(print_text);
    size_t len;
    FILE *out = open_memstream(&print_text, &len);
    assert_non_null(out);
    print(&conf, out);
    fclose(out);
    return print_text;
}

char *const *
environment(const char *const *entries)
{
    static char copies[16][128];
    static char *env[17];
    size_t count = 0;
    for (; entries[count] != NULL; count++) {
        assert_true(count < 16 && strlen(entries[count]) < sizeof(copies[0]));
        env[count] = strcpy(copies[count], entries[count]);
    }
    env[count] = NULL;
    return env;
}

int
conf_setup(void **state)
{
    (void)state;
    memset(&settings, 0xa5, sizeof(settings));
    conf_init(&conf, "switchyard-edge", conf_rows, conf_row_count, &settings);
    return 0;
}

int
conf_teardown(void **state)
{
    (void)state;
    complaints();
    free(print_text);
    print_text = NULL;
    conf_fini(&conf);
    return 0;
}

int
load(const char *yaml)
{
    // A copy that ends where the text ends, so that a sanitizer sees a byte too far.
    size_t len = strlen(yaml);
    char *exact = malloc(len > 0 ? len : 1);
    assert_non_null(exact);
    memcpy(exact, yaml, len);
    int rc = conf_load_text(&conf, "t.yaml", exact, len, complaints_to());
    free(exact);
    return rc;
}

int
set(const char *key, const char *value)
{
    return conf_set(&conf, key, value, "flag", complaints_to());
}
