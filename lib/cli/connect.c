// connect.c: see connect.h.
#include "lib/cli/connect.h"

#include <signal.h>
#include <stdio.h>

#include "lib/cli/print.h"

struct switchyard_client *
cli_connect(uv_loop_t *loop, const struct flags *flags, struct switchyard_options *options)
{
    options->urls = flags->edges;
    options->url_count = flags->edge_count;
    options->token = flags->token;
    options->user = flags->user;
    options->device = flags->device;
    options->device_class = "cli";
    options->client_name = "switchyard-cli/" SY_VERSION;
    options->ca_file = flags->ca_file;
    options->is_insecure = flags->is_insecure;
    options->loop = loop;
    int error;
    struct switchyard_client *client = switchyard_client_new(options, &error);
    if (client == NULL) {
        fprintf(stderr, "switchyard: cannot start: %s", switchyard_error_text(error));
        if (error == SWITCHYARD_EINVAL)
            fprintf(stderr, " (look at --edge %s%s, --user, --device and --ca)", flags->edges[0],
                    flags->edge_count > 1 ? ", ..." : "");
        fprintf(stderr, "\n");
        return NULL;
    }
    switchyard_client_open(client);
    return client;
}

static void
on_signal(uv_signal_t *handle, int number)
{
    struct cli_signals *signals = handle->data;
    (void)number;
    cli_signals_stop(signals);
    signals->end(signals->arg);
}

void
cli_signals_start(struct cli_signals *signals, uv_loop_t *loop, void (*end)(void *arg), void *arg)
{
    const int numbers[] = {SIGINT, SIGTERM};
    signals->end = end;
    signals->arg = arg;
    for (int i = 0; i < 2; i++) {
        uv_signal_init(loop, &signals->signals[i]);
        signals->signals[i].data = signals;
        uv_signal_start(&signals->signals[i], on_signal, numbers[i]);
        uv_unref((uv_handle_t *)&signals->signals[i]);
    }
}

void
cli_signals_stop(struct cli_signals *signals)
{
    for (int i = 0; i < 2; i++) {
        if (!uv_is_closing((uv_handle_t *)&signals->signals[i]))
            uv_close((uv_handle_t *)&signals->signals[i], NULL);
    }
}

void
cli_tell_state(const struct switchyard_state_change *change)
{
    char text[512];
    switch (change->state) {
    case SWITCHYARD_CONNECTING:
        fprintf(stderr, "connecting to %s\n", change->url);
        break;
    case SWITCHYARD_LIVE:
        fprintf(stderr, "live as %s/%s on node %s\n", change->user, change->device, change->node);
        break;
    case SWITCHYARD_BACKOFF:
        print_safe(text, sizeof(text), change->text);
        fprintf(stderr, "not connected: %s; trying %s in %.1f s\n", text, change->url,
                change->retry_in_ms / 1000.0);
        break;
    case SWITCHYARD_CLOSED:
        print_safe(text, sizeof(text), change->text);
        if (change->code != 0)
            fprintf(stderr, "closed for good: %s (%u)\n", text, change->code);
        break;
    case SWITCHYARD_IDLE:
    case SWITCHYARD_LOGIN:
        break;
    }
}
