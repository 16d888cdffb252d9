// send.c: switchyard send. The message waits for a login as long as --timeout; its outcome
// is the command's.
#include "lib/cli/send.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/err.h"
#include "lib/cli/connect.h"
#include "lib/cli/print.h"

#define DEFAULT_TIMEOUT_MS 5000
#define MAX_BYTES ((size_t)64 << 20) // of a file; edges take far less, and say so

struct sending {
    struct switchyard_client *client;
    bool was_live;
    char why[256]; // of the last failure to connect
    uint64_t live_us;
    int exit_code;
};

static void
on_state(void *arg, struct switchyard_client *client, const struct switchyard_state_change *change)
{
    struct sending *sending = arg;
    (void)client;
    if (change->state == SWITCHYARD_LIVE && !sending->was_live) {
        sending->was_live = true;
        sending->live_us = clock_mono_us();
    }
    if (change->state == SWITCHYARD_BACKOFF || change->code != 0) // CLOSED by us has no code
        print_safe(sending->why, sizeof(sending->why), change->text);
}

static void
on_outcome(void *arg, struct switchyard_client *client, const struct switchyard_outcome *outcome)
{
    struct sending *sending = arg;
    if (sending->was_live) {
        sending->exit_code = outcome->status == SWITCHYARD_SENT ? 0 : 1;
        print_outcome(stdout, outcome, clock_mono_us() - sending->live_us);
    } else {
        sending->exit_code = EXIT_UNAVAILABLE;
    }
    switchyard_client_close(client, NULL, NULL);
}

static char *
join(char **words, int count, size_t *len)
{
    size_t size = 1;
    for (int i = 0; i < count; i++)
        size += strlen(words[i]) + 1;
    char *text = malloc(size), *at = text;
    if (text == NULL)
        abort();
    *at = 0;
    for (int i = 0; i < count; i++)
        at += sprintf(at, "%s%s", i > 0 ? " " : "", words[i]);
    *len = (size_t)(at - text);
    return text;
}

// All of it, grown as it is read; NULL: it cannot be read, or *len is over MAX_BYTES.
static char *
read_all(FILE *file, size_t *len)
{
    size_t size = 65536;
    char *bytes = malloc(size);
    *len = 0;
    for (;;) {
        if (bytes == NULL)
            abort();
        *len += fread(bytes + *len, 1, size - *len, file);
        if (*len < size || *len > MAX_BYTES)
            break;
        size *= 2;
        char *more = realloc(bytes, size);
        if (more == NULL)
            abort();
        bytes = more;
    }
    if (!ferror(file) && *len <= MAX_BYTES)
        return bytes;
    free(bytes);
    return NULL;
}

static char *
read_file(const char *path, size_t *len)
{
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    *len = 0;
    char *bytes = file != NULL ? read_all(file, len) : NULL;
    if (bytes == NULL)
        fprintf(stderr, "switchyard send: cannot read '%s': %s\n", path,
                *len > MAX_BYTES ? "larger than 64 MiB" : strerror(errno));
    if (file != NULL && file != stdin)
        fclose(file);
    return bytes;
}

static int
send_it(struct sending *sending, const struct flags *flags,
        const struct switchyard_payload *payload)
{
    struct switchyard_send_options options = SWITCHYARD_SEND_OPTIONS_INIT;
    options.queue_ms = flags->timeout_ms != 0 ? flags->timeout_ms : DEFAULT_TIMEOUT_MS;
    int error = switchyard_client_send(sending->client, flags->to, flags->to_count, payload,
                                       &options, on_outcome, sending);
    if (error == 0)
        return 0;
    fprintf(stderr, "switchyard send: %s (look at --to, and at the text: UTF-8)\n",
            switchyard_error_text(error));
    return EXIT_USAGE;
}

static int
run_with(const struct flags *flags, const struct switchyard_payload *payload)
{
    uv_loop_t loop;
    struct sending sending = {.exit_code = 1};
    struct switchyard_options options = SWITCHYARD_OPTIONS_INIT;
    options.on_state = on_state;
    options.arg = &sending;
    options.max_queue_bytes = MAX_BYTES + 65536;
    if (uv_loop_init(&loop) != 0)
        return EXIT_UNAVAILABLE;
    sending.client = cli_connect(&loop, flags, &options);
    if (sending.client == NULL) {
        uv_loop_close(&loop);
        return EXIT_USAGE;
    }
    int error = send_it(&sending, flags, payload);
    if (error != 0)
        switchyard_client_close(sending.client, NULL, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    switchyard_client_free(sending.client);
    uv_loop_close(&loop);
    if (error == 0 && sending.exit_code == EXIT_UNAVAILABLE)
        fprintf(stderr, "switchyard send: no edge to send through: %s\n",
                sending.why[0] != 0 ? sending.why : "no answer in time");
    return error != 0 ? error : sending.exit_code;
}

int
send_run(const struct flags *flags)
{
    struct switchyard_payload payload = {.is_text = flags->file == NULL};
    if (flags->to_count == 0 || (flags->file == NULL) == (flags->word_count == 0)) {
        fprintf(stderr, "switchyard send: %s; see 'switchyard send --help'\n",
                flags->to_count == 0 ? "--to is missing" : "give either TEXT or --file");
        return EXIT_USAGE;
    }
    char *bytes = flags->file != NULL ? read_file(flags->file, &payload.len)
                                      : join(flags->words, flags->word_count, &payload.len);
    if (bytes == NULL)
        return EXIT_USAGE;
    payload.bytes = bytes;
    int exit_code = run_with(flags, &payload);
    free(bytes);
    return exit_code;
}
