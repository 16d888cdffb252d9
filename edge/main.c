// main.c: the program switchyard-edge and its subcommands.
//
// Exit codes: 0 done, 64 usage, 69 not ready or not reachable, 78 settings wrong.
#include <assert.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "edge/auth.h"
#include "edge/host.h"
#include "edge/settings.h"
#include "lib/base/clock.h"
#include "lib/base/last_words.h"
#include "lib/base/log.h"
#include "lib/base/rand.h"

// Beyond drain.timeout, which a worker keeps by itself unless it is stuck.
#define KILL_AFTER_MS 5000

extern char **environ;

static const char usage[] =
    "usage: switchyard-edge [serve] [--workers N] [--config FILE] [settings as flags]\n"
    "       switchyard-edge check-config [--config FILE]\n"
    "       switchyard-edge config defaults|env|show|origin|doc\n"
    "       switchyard-edge gen-config\n"
    "       switchyard-edge gen-token --user USER [--ttl 1h]\n"
    "       switchyard-edge check-token TOKEN\n"
    "       switchyard-edge health\n"
    "       switchyard-edge version\n"
    "Settings: switchyard-edge --help\n";

static int64_t
private_port_of(const struct settings *settings, unsigned worker)
{
    return settings->private_port == 0 ? 0 : settings->private_port + worker - 1;
}

static int
run_worker(const void *arg, struct worker *worker)
{
    static char name[sizeof("worker-4294967295")];
    struct settings mine = *(const struct settings *)arg;
    mine.listen_port = worker->port;
    mine.private_port = private_port_of(&mine, worker->number);
    snprintf(name, sizeof(name), "worker-%u", worker->number);
    log_setup_name(name);
    return host_run(&mine, worker);
}

static int
serve(const struct settings *settings)
{
    if (settings_check(settings, stderr) != 0)
        return EXIT_CONFIG;
    log_setup_words(settings->log_level, settings->log_format);
    last_words_prepare();
    struct workers_opts opts = {
        .count = settings_workers(settings),
        .host = settings->listen_host,
        .port = (unsigned)settings->listen_port,
        .is_pinned = settings->workers_pin,
        .leave_ms = (uint64_t)settings->drain_timeout + KILL_AFTER_MS,
        .work = run_worker,
        .arg = settings,
    };
    return opts.count > 1 ? workers_run(&opts) : host_run(settings, NULL);
}

static int
check_config(const struct conf *conf, const struct settings *settings)
{
    if (settings_check(settings, stderr) != 0)
        return EXIT_CONFIG;
    size_t set = conf_count_set(conf);
    printf("ok (%zu set, %zu default)\n", set, conf->count - set);
    return 0;
}

static int
show_config(const struct conf *conf, const char *what)
{
    if (strcmp(what, "defaults") == 0)
        conf_show_yaml(conf, stdout);
    else if (strcmp(what, "env") == 0)
        conf_show_env(conf, stdout);
    else if (strcmp(what, "show") == 0)
        conf_show(conf, false, stdout);
    else if (strcmp(what, "origin") == 0)
        conf_show(conf, true, stdout);
    else if (strcmp(what, "doc") == 0)
        conf_show_markdown(conf, stdout);
    else
        return EXIT_USAGE;
    return 0;
}

// A settings file with every default, commented out, but for a new key.
static int
gen_config(const struct conf *conf)
{
    static const char line[] = "  #hs256_secret: \"\"\n";
    char *text = NULL;
    size_t len = 0;
    uint8_t secret[32];
    FILE *memory = open_memstream(&text, &len);
    if (memory == NULL)
        abort();
    conf_show_yaml(conf, memory);
    fclose(memory);
    const char *at = strstr(text, line);
    assert(at != NULL); // the table has the key
    rand_bytes(secret, sizeof(secret));
    printf("%.*s  # New; every edge of a cluster needs the same one.\n  hs256_secret: \"",
           (int)(at - text), text);
    for (size_t i = 0; i < sizeof(secret); i++)
        printf("%02x", secret[i]);
    printf("\"\n%s", at + sizeof(line) - 1);
    explicit_bzero(secret, sizeof(secret));
    free(text);
    return 0;
}

// "90s", "15m", "1h", "30d". 0 if it is none of these.
static uint64_t
seconds_of(const char *text)
{
    char *end;
    unsigned long long count = strtoull(text, &end, 10);
    unsigned long long unit = 0;
    if (strcmp(end, "s") == 0)
        unit = 1;
    else if (strcmp(end, "m") == 0)
        unit = 60;
    else if (strcmp(end, "h") == 0)
        unit = 3600;
    else if (strcmp(end, "d") == 0)
        unit = 86400;
    return text[0] >= '0' && text[0] <= '9' && count <= 36500 * 86400ULL ? count * unit : 0;
}

static int
gen_token(const struct settings *settings, const char *user, const char *ttl)
{
    char token[TOKEN_MAX_BYTES + 1];
    struct auth auth;
    uint64_t life_s = seconds_of(ttl);
    uint64_t now_s = clock_wall_ms() / 1000;
    if (user == NULL || life_s == 0) {
        fprintf(stderr, "gen-token needs --user USER and takes --ttl as 90s, 15m, 1h or 30d\n");
        return EXIT_USAGE;
    }
    if (settings_check(settings, stderr) != 0)
        return EXIT_CONFIG;
    if (settings->auth_hs256_secret[0] == '\0') {
        fprintf(stderr, "gen-token needs the key: set auth.hs256_secret\n");
        return EXIT_CONFIG;
    }
    auth_init(&auth, settings);
    int error = auth.keys == NULL ? SY_EINVAL
                                  : token_make_hs256(auth.keys, settings->auth_hs256_kid, user,
                                                     settings->auth_issuer, settings->auth_audience,
                                                     now_s, now_s + life_s, token, sizeof(token));
    auth_fini(&auth);
    if (error != 0) {
        fprintf(stderr,
                "cannot make a token for '%s': a user id is 1 to 128 bytes of UTF-8 "
                "without control characters\n",
                user);
        return EXIT_USAGE;
    }
    printf("%s\n", token);
    return 0;
}

static int
check_token(const struct settings *settings, const char *token)
{
    struct auth auth;
    struct token_claims claims;
    const char *why = "no key: set auth.hs256_secret";
    if (settings_check(settings, stderr) != 0)
        return EXIT_CONFIG;
    auth_init(&auth, settings);
    int error = auth.keys == NULL ? SY_EDENIED
                                  : token_check(auth.keys, &auth.rules, token, strlen(token),
                                                clock_wall_ms() / 1000, &claims, &why);
    auth_fini(&auth);
    if (error != 0) {
        fprintf(stderr, "refused: %s\n", why);
        return 1;
    }
    printf("user %s, expires in %lld s\n", claims.user,
           (long long)claims.expires_s - (long long)(clock_wall_ms() / 1000));
    return 0;
}

// A socket to the private port, with two seconds for everything; -1: not reachable.
static int
dial(const char *host, int64_t port)
{
    char service[8];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    struct timeval patience = {.tv_sec = 2};
    snprintf(service, sizeof(service), "%u", (unsigned)(port & 0xffff));
    if (getaddrinfo(host, service, &hints, &found) != 0)
        return -1;
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
        if (connect(fd, found->ai_addr, found->ai_addrlen) != 0) {
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(found);
    return fd;
}

static int
health_of(const char *host, int64_t port)
{
    static const char request[] = "GET /readyz HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n\r\n";
    char answer[8192];
    size_t len = 0;
    int fd = dial(host, port);
    if (fd >= 0 && write(fd, request, sizeof(request) - 1) == (ssize_t)sizeof(request) - 1) {
        ssize_t got;
        while (len < sizeof(answer) - 1 &&
               (got = read(fd, answer + len, sizeof(answer) - 1 - len)) > 0)
            len += (size_t)got;
    }
    if (fd >= 0)
        close(fd);
    answer[len] = '\0';
    const char *body = strstr(answer, "\r\n\r\n");
    if (body == NULL) {
        fprintf(stderr, "no answer from %s:%lld\n", host, (long long)port);
        return EXIT_UNAVAILABLE;
    }
    printf("%s", body + 4);
    return strncmp(answer, "HTTP/1.", 7) == 0 && strncmp(answer + 8, " 200", 4) == 0
               ? 0
               : EXIT_UNAVAILABLE;
}

// All workers are asked; one that is not ready is enough to say so.
static int
health(const struct settings *settings)
{
    int code = 0;
    for (unsigned worker = 1; worker <= settings_workers(settings); worker++) {
        int one = health_of(settings->private_host, private_port_of(settings, worker));
        code = code == 0 ? one : code;
    }
    return code;
}

// Takes `flag VALUE` or `flag=VALUE` out of argv; NULL if it is not there.
static const char *
take_flag(int *argc, char **argv, const char *flag)
{
    size_t len = strlen(flag);
    for (int i = 1; i < *argc; i++) {
        int used = 0;
        const char *value = NULL;
        if (strcmp(argv[i], flag) == 0 && i + 1 < *argc) {
            value = argv[i + 1];
            used = 2;
        } else if (strncmp(argv[i], flag, len) == 0 && argv[i][len] == '=') {
            value = argv[i] + len + 1;
            used = 1;
        }
        if (value == NULL)
            continue;
        memmove(&argv[i], &argv[i + used], (size_t)(*argc - i - used + 1) * sizeof(*argv));
        *argc -= used;
        return value;
    }
    return NULL;
}

static int
run(const struct conf *conf, const struct settings *settings, int argc, char **argv,
    const char *user, const char *ttl)
{
    const char *command = argc > 1 ? argv[1] : "serve";
    const char *word = argc > 2 ? argv[2] : "";
    int words = argc > 1 ? argc - 1 : 1;
    if (strcmp(command, "serve") == 0 && words == 1)
        return serve(settings);
    if (strcmp(command, "check-config") == 0 && words == 1)
        return check_config(conf, settings);
    if (strcmp(command, "config") == 0 && words == 2 && show_config(conf, word) == 0)
        return 0;
    if (strcmp(command, "gen-config") == 0 && words == 1)
        return gen_config(conf);
    if (strcmp(command, "gen-token") == 0 && words == 1)
        return gen_token(settings, user, ttl != NULL ? ttl : "1h");
    if (strcmp(command, "check-token") == 0 && words == 2)
        return check_token(settings, word);
    if (strcmp(command, "health") == 0 && words == 1)
        return health(settings);
    if (strcmp(command, "version") == 0 && words == 1) {
        printf("switchyard-edge %s\n", SY_VERSION);
        return 0;
    }
    fprintf(stderr, "unknown command '%s'\n%s", command, usage);
    return EXIT_USAGE;
}

int
main(int argc, char **argv)
{
    struct conf conf;
    struct settings settings;
    bool makes_token = argc > 1 && strcmp(argv[1], "gen-token") == 0;
    const char *user = makes_token ? take_flag(&argc, argv, "--user") : NULL;
    const char *ttl = makes_token ? take_flag(&argc, argv, "--ttl") : NULL;
    const char *workers = take_flag(&argc, argv, "--workers");
    conf_init(&conf, "switchyard-edge", settings_rows, settings_count, &settings);
    int error = conf_load_all(&conf, &argc, argv, environ, stderr);
    if (error == 0 && workers != NULL)
        error = conf_set(&conf, "workers.count", workers, "--workers", stderr);
    int code = error == 1 ? 0 : EXIT_CONFIG;
    if (error == 0)
        code = run(&conf, &settings, argc, argv, user, ttl);
    conf_fini(&conf);
    return code;
}
