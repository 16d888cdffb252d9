// listen.c: switchyard listen. Prints what comes, until --count, --timeout, a signal, or an
// edge that says not to come back.
#include "lib/cli/listen.h"

#include <stdio.h>

#include "lib/base/clock.h"
#include "lib/base/err.h"
#include "lib/cli/connect.h"
#include "lib/cli/print.h"

struct listening {
    const struct flags *flags;
    struct switchyard_client *client;
    uv_timer_t timer;
    struct cli_signals signals;
    uint64_t heard;
    bool was_live;
    char node[128];
    int exit_code;
};

static void
end(struct listening *listening, int exit_code)
{
    listening->exit_code = exit_code;
    if (!uv_is_closing((uv_handle_t *)&listening->timer))
        uv_close((uv_handle_t *)&listening->timer, NULL);
    cli_signals_stop(&listening->signals);
    switchyard_client_close(listening->client, NULL, NULL);
}

static void
on_state(void *arg, struct switchyard_client *client, const struct switchyard_state_change *change)
{
    struct listening *listening = arg;
    (void)client;
    if (change->state == SWITCHYARD_LIVE) {
        listening->was_live = true;
        snprintf(listening->node, sizeof(listening->node), "%s", change->node);
        fprintf(stderr, "listening as %s/%s on node %s\n", change->user, change->device,
                change->node);
    } else if (change->state != SWITCHYARD_CONNECTING) {
        cli_tell_state(change);
    }
    if (change->state == SWITCHYARD_CLOSED && change->code != 0)
        end(listening, EXIT_UNAVAILABLE);
}

static void
on_message(void *arg, struct switchyard_client *client, const struct switchyard_message *message)
{
    struct listening *listening = arg;
    (void)client;
    if (listening->flags->wants_json)
        print_message_json(stdout, message, listening->node, clock_wall_ms());
    else
        print_message_text(stdout, message);
    if (++listening->heard == listening->flags->count)
        end(listening, 0);
}

static void
on_timeout(uv_timer_t *timer)
{
    struct listening *listening = timer->data;
    const struct flags *flags = listening->flags;
    if (!listening->was_live) {
        fprintf(stderr, "switchyard listen: no edge to listen at in time\n");
        end(listening, EXIT_UNAVAILABLE);
    } else if (flags->count > 0) {
        fprintf(stderr, "switchyard listen: heard %llu of %llu messages in time\n",
                (unsigned long long)listening->heard, (unsigned long long)flags->count);
        end(listening, 1);
    } else {
        end(listening, 0);
    }
}

static void
on_signal(void *arg)
{
    end(arg, 0);
}

int
listen_run(const struct flags *flags)
{
    uv_loop_t loop;
    struct listening listening = {.flags = flags};
    struct switchyard_options options = SWITCHYARD_OPTIONS_INIT;
    options.on_state = on_state;
    options.on_message = on_message;
    options.arg = &listening;
    if (uv_loop_init(&loop) != 0)
        return EXIT_UNAVAILABLE;
    listening.client = cli_connect(&loop, flags, &options);
    if (listening.client == NULL) {
        uv_loop_close(&loop);
        return EXIT_USAGE;
    }
    uv_timer_init(&loop, &listening.timer);
    listening.timer.data = &listening;
    if (flags->timeout_ms > 0)
        uv_timer_start(&listening.timer, on_timeout, flags->timeout_ms, 0);
    cli_signals_start(&listening.signals, &loop, on_signal, &listening);
    uv_run(&loop, UV_RUN_DEFAULT);
    switchyard_client_free(listening.client);
    uv_loop_close(&loop);
    return listening.exit_code;
}
