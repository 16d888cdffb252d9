// flags.c: see flags.h.
#include "lib/cli/flags.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/err.h"
#include "lib/cli/suggest.h"

#define DEFAULT_EDGE "ws://127.0.0.1:8000/ws"
#define DEFAULT_REDIS "redis://127.0.0.1:6379"
#define MAX_TOKEN 8192
#define MAX_TIMEOUT_MS (24ull * 3600 * 1000)

static const struct {
    const char *name;
    const char *value; // NULL: takes none
    const char *help;
} table[FLAGS] = {
    [FLAG_EDGE] = {"edge", "URL",
                   "edge to connect to, ws:// or wss://; may be repeated or separated by commas\n"
                   "(SWITCHYARD_EDGE; default " DEFAULT_EDGE ")"},
    [FLAG_USER] = {"user", "ID", "who to log in as, where an edge takes logins without a token"},
    [FLAG_TO] = {"to", "ID", "who to send to; several separated by commas, or repeated"},
    [FLAG_DEVICE] = {"device", "NAME", "name of this device (default: a random one)"},
    [FLAG_TOKEN] = {"token", "TOKEN", "token to log in with (SWITCHYARD_TOKEN)"},
    [FLAG_TOKEN_FILE] = {"token-file", "FILE", "file that holds the token"},
    [FLAG_CA] = {"ca", "FILE", "PEM file with the CAs to trust for wss, instead of the system's"},
    [FLAG_INSECURE] = {"insecure", NULL, "wss without checking the certificate"},
    [FLAG_TIMEOUT] = {"timeout", "TIME", "how long to wait: 500ms, 5s, 2m"},
    [FLAG_FILE] = {"file", "PATH", "send the bytes of this file; - is standard input"},
    [FLAG_COUNT] = {"count", "N", "end after so many messages"},
    [FLAG_JSON] = {"json", NULL, "print JSON"},
    [FLAG_REDIS] = {"redis", "URL",
                    "the directory (SWITCHYARD_REDIS_URL; default " DEFAULT_REDIS ")"},
    [FLAG_HELP] = {"help", NULL, "print this"},
};

static bool
takes(const struct command *command, int flag)
{
    return flag == FLAG_HELP || (command->flags >> flag & 1) != 0;
}

static void
print_help(const struct command *command)
{
    printf("Usage: switchyard %s [flags]%s%s\n\n%s\n", command->name, command->words[0] ? " " : "",
           command->words, command->summary);
    if (command->help[0] != 0)
        printf("\n%s\n", command->help);
    printf("\nFlags:\n");
    for (int i = 0; i < FLAGS; i++) {
        if (!takes(command, i))
            continue;
        char head[32];
        snprintf(head, sizeof(head), "--%s%s%s", table[i].name, table[i].value ? " " : "",
                 table[i].value ? table[i].value : "");
        const char *rest = strchr(table[i].help, '\n');
        int first = rest != NULL ? (int)(rest - table[i].help) : (int)strlen(table[i].help);
        printf("  %-18s %.*s\n", head, first, table[i].help);
        if (rest != NULL)
            printf("  %-18s %s\n", "", rest + 1);
    }
}

static void
complain_unknown(const struct command *command, const char *given)
{
    const char *names[FLAGS];
    size_t count = 0;
    char word[64];
    given += strspn(given, "-");
    snprintf(word, sizeof(word), "%.*s", (int)strcspn(given, "="), given);
    for (int i = 0; i < FLAGS; i++) {
        if (takes(command, i))
            names[count++] = table[i].name;
    }
    const char *near = suggest(word, names, count);
    fprintf(stderr, "switchyard %s: unknown flag '--%s'", command->name, word);
    if (near != NULL)
        fprintf(stderr, " (did you mean '--%s'?)", near);
    fprintf(stderr, "; see 'switchyard %s --help'\n", command->name);
}

static bool
complain(const struct command *command, const char *what, const char *value, const char *right)
{
    fprintf(stderr, "switchyard %s: %s: '%s' is not %s\n", command->name, what, value, right);
    return false;
}

// Splits a copy at commas; empty pieces are dropped.
static bool
split(struct flags *flags, const char *text, const char **out, size_t max, size_t *count)
{
    char *copy = strdup(text), *rest = NULL;
    flags->copies = realloc(flags->copies, (flags->copy_count + 1) * sizeof(*flags->copies));
    if (copy == NULL || flags->copies == NULL)
        abort();
    flags->copies[flags->copy_count++] = copy;
    for (char *word = strtok_r(copy, ",", &rest); word != NULL; word = strtok_r(NULL, ",", &rest)) {
        if (*count == max)
            return false;
        out[(*count)++] = word;
    }
    return true;
}

static bool
add_edges(const struct command *command, const char *what, const char *text, struct flags *flags)
{
    size_t count = flags->edge_count;
    if (!split(flags, text, flags->edges, SWITCHYARD_MAX_URLS, &count))
        return complain(command, what, text, "at most 16 URLs together");
    flags->edge_count = (unsigned)count;
    return true;
}

static bool
add_recipients(const struct command *command, const char *text, struct flags *flags)
{
    if (flags->to == NULL)
        flags->to = calloc(FLAGS_MAX_RECIPIENTS, sizeof(*flags->to));
    if (flags->to == NULL)
        abort();
    if (!split(flags, text, flags->to, FLAGS_MAX_RECIPIENTS, &flags->to_count))
        return complain(command, "--to", text, "at most 1,000 users together");
    return true;
}

static bool
read_time(const char *text, uint32_t *ms)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    unsigned long long unit = strcmp(end, "ms") == 0  ? 1
                              : strcmp(end, "s") == 0 ? 1000
                              : strcmp(end, "m") == 0 ? 60000
                                                      : 0;
    if (errno != 0 || text[0] < '0' || text[0] > '9' || unit == 0 || value == 0 ||
        value > MAX_TIMEOUT_MS / unit)
        return false;
    *ms = (uint32_t)(value * unit);
    return true;
}

static bool
read_count(const char *text, uint64_t *count)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0 || text[0] < '0' || text[0] > '9' || *end != 0 || value == 0)
        return false;
    *count = value;
    return true;
}

static bool
read_token_file(const struct command *command, const char *path, struct flags *flags)
{
    static char token[MAX_TOKEN];
    FILE *file = fopen(path, "re");
    size_t len = file != NULL ? fread(token, 1, sizeof(token) - 1, file) : 0;
    if (file != NULL)
        fclose(file);
    token[len] = 0;
    token[strcspn(token, "\r\n")] = 0;
    if (token[0] == 0)
        return complain(command, "--token-file", path, "a readable file that holds a token");
    flags->token = token;
    return true;
}

static bool
take(const struct command *command, int flag, const char *value, struct flags *flags)
{
    switch (flag) {
    case FLAG_EDGE:
        return add_edges(command, "--edge", value, flags);
    case FLAG_TO:
        return add_recipients(command, value, flags);
    case FLAG_USER:
        flags->user = value;
        return true;
    case FLAG_DEVICE:
        flags->device = value;
        return true;
    case FLAG_TOKEN:
        flags->token = value;
        return true;
    case FLAG_TOKEN_FILE:
        return read_token_file(command, value, flags);
    case FLAG_CA:
        flags->ca_file = value;
        return true;
    case FLAG_INSECURE:
        flags->is_insecure = true;
        return true;
    case FLAG_TIMEOUT:
        return read_time(value, &flags->timeout_ms) ||
               complain(command, "--timeout", value, "a time like 500ms, 5s or 2m, at most a day");
    case FLAG_FILE:
        flags->file = value;
        return true;
    case FLAG_COUNT:
        return read_count(value, &flags->count) ||
               complain(command, "--count", value, "a number from 1 on");
    case FLAG_JSON:
        flags->wants_json = true;
        return true;
    default:
        flags->redis = value;
        return true;
    }
}

static const char *
env_or(const char *name, const char *otherwise)
{
    const char *value = getenv(name);
    return value != NULL && value[0] != 0 ? value : otherwise;
}

// What no flag has said.
static bool
fill_in(const struct command *command, struct flags *flags)
{
    if (flags->redis == NULL)
        flags->redis = env_or("SWITCHYARD_REDIS_URL", DEFAULT_REDIS);
    if (flags->token == NULL && takes(command, FLAG_TOKEN))
        flags->token = env_or("SWITCHYARD_TOKEN", NULL);
    if (flags->edge_count == 0 && takes(command, FLAG_EDGE))
        return add_edges(command, "SWITCHYARD_EDGE", env_or("SWITCHYARD_EDGE", DEFAULT_EDGE),
                         flags);
    return true;
}

static bool
check_words(const struct command *command, const struct flags *flags)
{
    const char *hint = command->words[0] != 0 ? command->words : "no words";
    if (flags->word_count < command->min_words) {
        fprintf(stderr, "switchyard %s: %s is missing; see 'switchyard %s --help'\n", command->name,
                hint, command->name);
        return false;
    }
    if (command->max_words >= 0 && flags->word_count > command->max_words) {
        fprintf(stderr,
                "switchyard %s: '%s' is too much: it takes %s; see 'switchyard %s --help'\n",
                command->name, flags->words[command->max_words], hint, command->name);
        return false;
    }
    return true;
}

bool
flags_read(const struct command *command, int argc, char **argv, struct flags *flags,
           int *exit_code)
{
    struct option options[FLAGS + 1] = {0};
    int count = 0;
    for (int i = 0; i < FLAGS; i++) {
        if (takes(command, i))
            options[count++] = (struct option){
                table[i].name, table[i].value ? required_argument : no_argument, NULL, 256 + i};
    }
    *flags = (struct flags){0};
    *exit_code = EXIT_USAGE;
    opterr = 0;
    optind = 1;
    for (int got; (got = getopt_long(argc, argv, ":h", options, NULL)) != -1;) {
        if (got == 'h' || got == 256 + FLAG_HELP) {
            print_help(command);
            *exit_code = 0;
            return false;
        }
        if (got == ':') {
            fprintf(stderr, "switchyard %s: %s needs a value\n", command->name, argv[optind - 1]);
            return false;
        }
        if (got == '?' && optopt >= 256) {
            fprintf(stderr, "switchyard %s: --%s takes no value\n", command->name,
                    table[optopt - 256].name);
            return false;
        }
        if (got == '?') {
            complain_unknown(command, argv[optind - 1]);
            return false;
        }
        if (!take(command, got - 256, optarg, flags))
            return false;
    }
    flags->words = argv + optind;
    flags->word_count = argc - optind;
    return check_words(command, flags) && fill_in(command, flags);
}

void
flags_fini(struct flags *flags)
{
    for (size_t i = 0; i < flags->copy_count; i++)
        free(flags->copies[i]);
    free(flags->copies);
    free(flags->to);
}
