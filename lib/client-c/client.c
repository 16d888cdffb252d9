// client.c: the public API: the core and the transport, glued in a loop.
//
// One rule orders everything: what the core wants done (connect, hang up) is done from our
// timer, never inside a callback of the transport; what it wants told is told inside the
// transport's callbacks or our timer, never inside a call of the user's.
#include "lib/client-c/include/switchyard/client.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "lib/client-c/core.h"
#include "lib/client-c/transport.h"
#include "lib/client-c/ws_url.h"
#include "proto/tables.h"

#define DEFAULT_QUEUE_BYTES ((size_t)1 << 20)
#define DEFAULT_QUEUE_COUNT ((size_t)1024)
#define DEFAULT_MESSAGE_BYTES ((size_t)1 << 20)

enum stage {
    STAGE_RUNNING,
    STAGE_CLOSING,   // told to close; the last events are still to be told
    STAGE_RELEASING, // the transport is letting go
    STAGE_RELEASED,  // the loop holds nothing of ours
};

struct switchyard_client {
    struct core *core;
    struct transport *transport;
    uv_loop_t *loop;
    bool owns_loop;
    uv_loop_t own_loop;
    uv_timer_t timer;
    uv_timer_t patience; // bounds switchyard_client_service; own loop only
    uint64_t armed_ms;   // when timer fires; UINT64_MAX: it is not set
    enum stage stage;
    bool is_dispatching;
    bool is_orphan; // freed by its owner, and still letting go of the loop

    struct ws_url *urls;
    unsigned url_count;
    char *ca_file;
    switchyard_state_cb *on_state;
    switchyard_message_cb *on_message;
    switchyard_goaway_cb *on_goaway;
    void *arg;
    switchyard_closed_cb *on_closed;
    void *closed_arg;
};

static void on_timer(uv_timer_t *timer);

// Monotonic, as the core wants it. The loop's own clock stands still during a turn, and a
// turn may be long when the loop is the user's.
static uint64_t
now_ms(void)
{
    return uv_hrtime() / 1000000;
}

static void
arm(struct switchyard_client *client)
{
    uint64_t now = now_ms();
    uint64_t due = core_has_output(client->core) || client->stage == STAGE_CLOSING
                       ? 0
                       : core_deadline(client->core);
    // Firing early is harmless: on_timer looks and arms again.
    if (due >= client->armed_ms || client->stage > STAGE_CLOSING)
        return;
    client->armed_ms = due;
    uv_update_time(client->loop);
    uv_timer_start(&client->timer, on_timer, due > now ? due - now : 0, 0);
}

static const struct ws_url *
url_at(const struct switchyard_client *client, unsigned index)
{
    return index == CORE_URL_GIVEN ? core_given_url(client->core) : &client->urls[index];
}

static void
tell_state(struct switchyard_client *client, struct core_event *event)
{
    event->state.url = url_at(client, event->url)->text;
    if (client->on_state != NULL)
        client->on_state(client->arg, client, &event->state);
    if (event->state.state == SWITCHYARD_CLOSED && client->owns_loop)
        uv_stop(client->loop);
}

static void
tell(struct switchyard_client *client, struct core_event *event)
{
    switch (event->kind) {
    case CORE_EVENT_STATE:
        tell_state(client, event);
        break;
    case CORE_EVENT_MESSAGE:
        if (client->on_message != NULL)
            client->on_message(client->arg, client, &event->message);
        break;
    case CORE_EVENT_GOAWAY:
        if (client->on_goaway != NULL)
            client->on_goaway(client->arg, client, &event->goaway);
        break;
    case CORE_EVENT_OUTCOME:
        event->done(event->arg, client, &event->outcome);
        break;
    case CORE_EVENT_NONE:
        break;
    }
}

// Asking what there is to write may end sends that are too large, so events may follow.
static void
want_write(struct switchyard_client *client)
{
    if (core_write_size(client->core) > 0)
        transport_want_write(client->transport);
}

static void
dispatch(struct switchyard_client *client)
{
    struct core_event event;
    if (client->is_dispatching)
        return;
    client->is_dispatching = true;
    for (;;) {
        core_poll(client->core, now_ms(), &event);
        if (event.kind == CORE_EVENT_NONE) {
            want_write(client);
            core_poll(client->core, now_ms(), &event);
            if (event.kind == CORE_EVENT_NONE)
                break;
        }
        tell(client, &event);
    }
    client->is_dispatching = false;
    arm(client);
}

// After a call of the user's: nothing is told inside it, all of it soon.
static void
after_call(struct switchyard_client *client)
{
    if (client->is_dispatching)
        return; // dispatch goes on after the callback
    want_write(client);
    arm(client);
}

static void
on_connected(void *arg)
{
    struct switchyard_client *client = arg;
    core_connected(client->core, now_ms());
    dispatch(client);
}

static void
on_refused(void *arg, unsigned status, uint32_t retry_after_ms, const char *text)
{
    struct switchyard_client *client = arg;
    core_refused(client->core, status, retry_after_ms, text, now_ms());
    dispatch(client);
}

static void
on_received(void *arg, const void *bytes, size_t len, bool is_binary)
{
    struct switchyard_client *client = arg;
    core_received(client->core, bytes, len, is_binary, now_ms());
    dispatch(client);
}

static void
on_alive(void *arg)
{
    struct switchyard_client *client = arg;
    core_alive(client->core, now_ms());
}

static void
on_overrun(void *arg, const char *text)
{
    struct switchyard_client *client = arg;
    core_overrun(client->core, text, now_ms());
    dispatch(client);
}

static void
on_disconnected(void *arg, unsigned code, const char *text)
{
    struct switchyard_client *client = arg;
    core_disconnected(client->core, code, text, now_ms());
    dispatch(client);
}

static size_t
on_write_size(void *arg)
{
    struct switchyard_client *client = arg;
    size_t size = core_write_size(client->core);
    arm(client); // it may have ended sends that are too large
    return size;
}

static void
on_write(void *arg, uint8_t *out)
{
    struct switchyard_client *client = arg;
    core_write(client->core, out, now_ms());
    arm(client);
}

static void
forget(struct switchyard_client *client)
{
    core_free(client->core);
    free(client->urls);
    free(client->ca_file);
    free(client);
}

static void
on_last_handle_closed(uv_handle_t *handle)
{
    struct switchyard_client *client = handle->data;
    client->stage = STAGE_RELEASED;
    if (client->is_orphan)
        forget(client);
    else if (client->on_closed != NULL)
        client->on_closed(client->closed_arg); // may free the client
}

static void
close_last_handle(struct switchyard_client *client)
{
    uv_close((uv_handle_t *)&client->timer, on_last_handle_closed);
}

static void
on_patience_closed(uv_handle_t *handle)
{
    close_last_handle(handle->data);
}

static void
on_released(void *arg)
{
    struct switchyard_client *client = arg;
    if (client->owns_loop)
        uv_close((uv_handle_t *)&client->patience, on_patience_closed);
    else
        close_last_handle(client);
}

static void
act(struct switchyard_client *client)
{
    struct core_action action;
    for (;;) {
        core_take_action(client->core, now_ms(), &action);
        if (action.kind == CORE_NOTHING)
            return;
        if (action.kind == CORE_CONNECT)
            transport_connect(client->transport, url_at(client, action.url));
        else
            transport_disconnect(client->transport, action.code);
    }
}

static void
on_timer(uv_timer_t *timer)
{
    struct switchyard_client *client = timer->data;
    client->armed_ms = UINT64_MAX;
    core_advance(client->core, now_ms());
    dispatch(client);
    client->is_dispatching = true; // on_token is a callback too
    act(client);
    client->is_dispatching = false;
    dispatch(client);
    if (client->stage == STAGE_CLOSING && !core_has_output(client->core)) {
        client->stage = STAGE_RELEASING;
        uv_timer_stop(&client->timer);
        transport_close(client->transport);
    }
}

static bool
copy_urls(struct switchyard_client *client, const struct switchyard_options *options, int *error)
{
    *error = SWITCHYARD_EINVAL;
    if (options->urls == NULL || options->url_count < 1 || options->url_count > SWITCHYARD_MAX_URLS)
        return false;
    client->urls = calloc(options->url_count, sizeof(*client->urls));
    if (client->urls == NULL) {
        *error = SWITCHYARD_ENOMEM;
        return false;
    }
    for (size_t i = 0; i < options->url_count; i++) {
        if (options->urls[i] == NULL || !ws_url_parse(options->urls[i], &client->urls[i]))
            return false;
        client->url_count++;
    }
    return true;
}

static bool
make_core(struct switchyard_client *client, const struct switchyard_options *options, int *error)
{
    struct core_options core = {
        .url_count = client->url_count,
        .token = options->token,
        .on_token = options->on_token,
        .arg = options->arg,
        .user = options->user,
        .device = options->device,
        .device_class = options->device_class,
        .client_name = options->client_name,
        .max_queue_bytes = options->max_queue_bytes ? options->max_queue_bytes
                                                    : DEFAULT_QUEUE_BYTES,
        .max_queue_count = options->max_queue_count ? options->max_queue_count
                                                    : DEFAULT_QUEUE_COUNT,
    };
    for (unsigned i = 0; i < client->url_count; i++) {
        core.takes_wss |= client->urls[i].is_tls;
        core.takes_ws |= !client->urls[i].is_tls;
    }
    *error = SWITCHYARD_ESYSTEM;
    if (uv_random(NULL, NULL, core.seed, sizeof(core.seed), 0, NULL) != 0)
        return false;
    client->core = core_new(&core, error);
    return client->core != NULL;
}

static bool
make_transport(struct switchyard_client *client, const struct switchyard_options *options,
               int *error)
{
    size_t max = options->max_message_bytes ? options->max_message_bytes : DEFAULT_MESSAGE_BYTES;
    struct transport_options transport = {
        .loop = client->loop,
        .ca_file = client->ca_file,
        .is_insecure = options->is_insecure,
        .keep_library_log = options->keep_library_log,
        .max_message_bytes = max,
        .on_connected = on_connected,
        .on_refused = on_refused,
        .on_message = on_received,
        .on_alive = on_alive,
        .on_overrun = on_overrun,
        .on_disconnected = on_disconnected,
        .write_size = on_write_size,
        .write = on_write,
        .on_released = on_released,
        .arg = client,
    };
    for (unsigned i = 0; i < client->url_count; i++)
        transport.wants_tls |= client->urls[i].is_tls;
    client->transport = transport_open(&transport, error);
    return client->transport != NULL;
}

static void
take_callbacks(struct switchyard_client *client, const struct switchyard_options *options)
{
    client->on_state = options->on_state;
    client->on_message = options->on_message;
    client->on_goaway = options->on_goaway;
    client->arg = options->arg;
}

struct switchyard_client *
switchyard_client_new(const struct switchyard_options *options, int *error)
{
    int ignored = 0;
    error = error != NULL ? error : &ignored;
    *error = SWITCHYARD_EINVAL;
    if (options == NULL || options->size < sizeof(*options))
        return NULL;
    struct switchyard_client *client = calloc(1, sizeof(*client));
    if (client == NULL) {
        *error = SWITCHYARD_ENOMEM;
        return NULL;
    }
    take_callbacks(client, options);
    client->armed_ms = UINT64_MAX;
    client->loop = options->loop;
    if (!copy_urls(client, options, error) || !make_core(client, options, error))
        goto fail;
    if (options->ca_file != NULL) {
        *error = SWITCHYARD_ENOMEM;
        client->ca_file = strdup(options->ca_file);
        if (client->ca_file == NULL)
            goto fail;
    }
    if (client->loop == NULL) {
        *error = SWITCHYARD_ESYSTEM;
        if (uv_loop_init(&client->own_loop) != 0)
            goto fail;
        client->loop = &client->own_loop;
        client->owns_loop = true;
    }
    if (!make_transport(client, options, error))
        goto fail_loop;
    uv_timer_init(client->loop, &client->timer);
    client->timer.data = client;
    if (client->owns_loop) {
        uv_timer_init(client->loop, &client->patience);
        client->patience.data = client;
    }
    *error = 0;
    return client;

fail_loop:
    if (client->owns_loop)
        uv_loop_close(client->loop);
fail:
    forget(client);
    return NULL;
}

int
switchyard_client_open(struct switchyard_client *client)
{
    int error = core_open(client->core, now_ms());
    after_call(client);
    return error;
}

enum switchyard_state
switchyard_client_state(const struct switchyard_client *client)
{
    return core_state(client->core);
}

const char *
switchyard_client_device(const struct switchyard_client *client)
{
    return core_device(client->core);
}

size_t
switchyard_client_pending(const struct switchyard_client *client)
{
    return core_pending(client->core);
}

int
switchyard_client_send(struct switchyard_client *client, const char *const to[], size_t count,
                       const struct switchyard_payload *payload,
                       const struct switchyard_send_options *options,
                       switchyard_outcome_cb *on_outcome, void *arg)
{
    struct send_request request = {to, count, payload, options};
    uint32_t queue_ms = options != NULL ? options->queue_ms : 0;
    int error = core_send(client->core, &request, queue_ms, on_outcome, arg, now_ms());
    if (error == 0)
        after_call(client);
    return error;
}

int
switchyard_client_run(struct switchyard_client *client)
{
    if (!client->owns_loop || core_state(client->core) == SWITCHYARD_IDLE)
        return SWITCHYARD_EINVAL;
    while (client->stage != STAGE_RELEASED) {
        if (client->stage == STAGE_RUNNING && core_state(client->core) == SWITCHYARD_CLOSED &&
            !core_has_output(client->core))
            return SWITCHYARD_ECLOSED;
        uv_run(client->loop, UV_RUN_DEFAULT);
    }
    return 0;
}

static void
on_patience(uv_timer_t *timer)
{
    (void)timer; // waking the loop is all
}

int
switchyard_client_service(struct switchyard_client *client, uint32_t timeout_ms)
{
    if (!client->owns_loop)
        return SWITCHYARD_EINVAL;
    if (timeout_ms == 0 || client->stage > STAGE_CLOSING) {
        uv_run(client->loop, UV_RUN_NOWAIT);
        return 0;
    }
    uv_update_time(client->loop);
    uv_timer_start(&client->patience, on_patience, timeout_ms, 0);
    uv_run(client->loop, UV_RUN_ONCE);
    if (client->stage <= STAGE_CLOSING)
        uv_timer_stop(&client->patience);
    return 0;
}

void
switchyard_client_close(struct switchyard_client *client, switchyard_closed_cb *on_closed,
                        void *arg)
{
    if (client->stage != STAGE_RUNNING)
        return;
    client->stage = STAGE_CLOSING;
    client->on_closed = on_closed;
    client->closed_arg = arg;
    core_close(client->core, now_ms());
    after_call(client);
}

void
switchyard_client_free(struct switchyard_client *client)
{
    if (client == NULL)
        return;
    switchyard_client_close(client, NULL, NULL);
    if (client->stage == STAGE_CLOSING)
        dispatch(client);
    if (client->owns_loop) {
        while (client->stage != STAGE_RELEASED)
            uv_run(client->loop, UV_RUN_DEFAULT);
        uv_run(client->loop, UV_RUN_DEFAULT); // a name look-up may still be under way
        uv_loop_close(client->loop);
        forget(client);
    } else if (client->stage == STAGE_RELEASED) {
        forget(client);
    } else {
        client->on_state = NULL;
        client->is_orphan = true;
    }
}

const char *
switchyard_error_text(int error)
{
    switch (error) {
    case SWITCHYARD_OK:
        return "no error";
    case SWITCHYARD_EINVAL:
        return "an argument or option that cannot be";
    case SWITCHYARD_EFULL:
        return "the send queue is full";
    case SWITCHYARD_ECLOSED:
        return "the client is closed";
    case SWITCHYARD_ENOMEM:
        return "out of memory";
    case SWITCHYARD_ETOOLARGE:
        return "larger than the send queue";
    case SWITCHYARD_ESYSTEM:
        return "the event loop or libwebsockets could not be set up";
    default:
        return "unknown error";
    }
}

const char *
switchyard_state_name(enum switchyard_state state)
{
    static const char *const names[] = {"idle", "connecting", "login", "live", "backoff", "closed"};
    return (unsigned)state < sizeof(names) / sizeof(names[0]) ? names[state] : "unknown";
}

const char *
switchyard_reason_name(int reason)
{
    return reason_name((enum reason)reason);
}
