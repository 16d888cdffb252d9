// chat.c: switchyard chat. Lines go out as typed, "@bob text" or, with --to, plain text; what
// comes is printed to stdout, the state of the connection to stderr. At the end of input it
// waits for the outcomes that are owed, and goes.
#include "lib/cli/chat.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/err.h"
#include "lib/cli/connect.h"
#include "lib/cli/input.h"
#include "lib/cli/print.h"

struct chat {
    const struct flags *flags;
    struct switchyard_client *client;
    struct input input;
    struct cli_signals signals;
    unsigned owed; // outcomes
    bool is_ending;
    int exit_code;
};

// One send on its way.
struct line {
    struct chat *chat;
    uint64_t sent_us;
};

static void
leave(struct chat *chat, int exit_code)
{
    chat->exit_code = exit_code;
    if (!chat->input.is_ended)
        input_close(&chat->input);
    cli_signals_stop(&chat->signals);
    switchyard_client_close(chat->client, NULL, NULL);
}

static void
on_outcome(void *arg, struct switchyard_client *client, const struct switchyard_outcome *outcome)
{
    struct line *line = arg;
    struct chat *chat = line->chat;
    (void)client;
    print_outcome(stdout, outcome, clock_mono_us() - line->sent_us);
    free(line);
    chat->owed--;
    if (chat->is_ending && chat->owed == 0)
        leave(chat, 0);
}

static void
say(struct chat *chat, const char *const *to, size_t count, const char *text, size_t len)
{
    struct line *line = malloc(sizeof(*line));
    struct switchyard_payload payload = {.bytes = text, .len = len, .is_text = true};
    if (line == NULL)
        abort();
    *line = (struct line){chat, clock_mono_us()};
    int error = switchyard_client_send(chat->client, to, count, &payload, NULL, on_outcome, line);
    if (error == 0) {
        chat->owed++;
        return;
    }
    free(line);
    printf("not sent: %s\n", switchyard_error_text(error));
    fflush(stdout);
}

static void
on_line(void *arg, char *text, size_t len)
{
    struct chat *chat = arg;
    if (len > 0 && text[len - 1] == '\r')
        text[--len] = 0;
    if (len == 0)
        return;
    if (text[0] != '@' && chat->flags->to_count > 0) {
        say(chat, chat->flags->to, chat->flags->to_count, text, len);
        return;
    }
    size_t name = strcspn(text, " ");
    if (text[0] != '@' || name < 2 || text[name] == 0) {
        printf("not sent: write '@user text'%s\n",
               chat->flags->to_count > 0 ? "" : ", or start with --to user");
        fflush(stdout);
        return;
    }
    text[name] = 0;
    const char *to[] = {text + 1};
    say(chat, to, 1, text + name + 1, len - name - 1);
}

static void
on_end(void *arg)
{
    struct chat *chat = arg;
    chat->is_ending = true;
    if (chat->owed == 0)
        leave(chat, 0);
}

static void
on_signal(void *arg)
{
    leave(arg, 0);
}

static void
on_state(void *arg, struct switchyard_client *client, const struct switchyard_state_change *change)
{
    struct chat *chat = arg;
    (void)client;
    cli_tell_state(change);
    if (change->state == SWITCHYARD_CLOSED && change->code != 0)
        leave(chat, EXIT_UNAVAILABLE);
}

static void
on_message(void *arg, struct switchyard_client *client, const struct switchyard_message *message)
{
    (void)arg;
    (void)client;
    print_message_text(stdout, message);
}

int
chat_run(const struct flags *flags)
{
    static struct chat chat; // large: it holds a line
    uv_loop_t loop;
    struct switchyard_options options = SWITCHYARD_OPTIONS_INIT;
    chat = (struct chat){.flags = flags};
    options.on_state = on_state;
    options.on_message = on_message;
    options.arg = &chat;
    if (uv_loop_init(&loop) != 0)
        return EXIT_UNAVAILABLE;
    chat.client = cli_connect(&loop, flags, &options);
    if (chat.client == NULL) {
        uv_loop_close(&loop);
        return EXIT_USAGE;
    }
    cli_signals_start(&chat.signals, &loop, on_signal, &chat);
    chat.input.on_line = on_line;
    chat.input.on_end = on_end;
    chat.input.arg = &chat;
    int error = input_open(&chat.input, &loop);
    if (error != 0) {
        fprintf(stderr, "switchyard chat: cannot read standard input: %s\n", uv_strerror(error));
        leave(&chat, EXIT_UNAVAILABLE);
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    switchyard_client_free(chat.client);
    uv_loop_close(&loop);
    return chat.exit_code;
}
