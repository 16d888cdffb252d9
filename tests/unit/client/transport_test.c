// The whole client, over real sockets, against a small WebSocket server.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <uv.h>

#include "lib/client-c/include/switchyard/client.h"
#include "lib/client-c/transport.h"
#include "tests/unit/client/ws_server.h"

#define PATIENCE_MS 15000

// What one client has told.
struct notes {
    enum switchyard_state state;
    unsigned lives;
    unsigned backoffs;
    unsigned code; // of the last BACKOFF or CLOSED
    char text[256];
    char url[256];
    unsigned messages;
    size_t message_len;
    bool is_message_intact;
    unsigned outcomes;
    enum switchyard_status status;
    unsigned closed;
};

static void
on_state(void *arg, struct switchyard_client *client, const struct switchyard_state_change *change)
{
    struct notes *notes = arg;
    (void)client;
    notes->state = change->state;
    notes->lives += change->state == SWITCHYARD_LIVE;
    if (change->state == SWITCHYARD_BACKOFF || change->state == SWITCHYARD_CLOSED) {
        notes->backoffs += change->state == SWITCHYARD_BACKOFF;
        notes->code = change->code;
        snprintf(notes->text, sizeof(notes->text), "%s", change->text);
    }
    snprintf(notes->url, sizeof(notes->url), "%s", change->url);
}

static void
on_message(void *arg, struct switchyard_client *client, const struct switchyard_message *message)
{
    struct notes *notes = arg;
    const char *text = message->body;
    (void)client;
    notes->messages++;
    notes->message_len = message->len;
    notes->is_message_intact = message->is_text && text[message->len] == 0;
    for (size_t i = 0; i < message->len && message->len > 1000; i++)
        notes->is_message_intact &= text[i] == (char)('a' + i % 26);
}

static void
on_outcome(void *arg, struct switchyard_client *client, const struct switchyard_outcome *outcome)
{
    struct notes *notes = arg;
    (void)client;
    notes->outcomes++;
    notes->status = outcome->status;
}

static void
on_closed(void *arg)
{
    struct notes *notes = arg;
    notes->closed++;
}

struct setup {
    struct switchyard_options options;
    char urls[2][128];
    const char *list[2];
};

static void
use_ports(struct setup *setup, const char *scheme, const char *host, int port, int other)
{
    *setup = (struct setup){.options = SWITCHYARD_OPTIONS_INIT};
    snprintf(setup->urls[0], sizeof(setup->urls[0]), "%s://%s:%d/ws", scheme, host, port);
    snprintf(setup->urls[1], sizeof(setup->urls[1]), "%s://%s:%d/ws", scheme, host, other);
    setup->list[0] = setup->urls[0];
    setup->list[1] = setup->urls[1];
    setup->options.urls = setup->list;
    setup->options.url_count = other != 0 ? 2 : 1;
    setup->options.user = "alice";
    setup->options.on_state = on_state;
    setup->options.on_message = on_message;
}

static struct switchyard_client *
start(struct setup *setup, struct notes *notes)
{
    int error = 1;
    memset(notes, 0, sizeof(*notes));
    setup->options.arg = notes;
    struct switchyard_client *client = switchyard_client_new(&setup->options, &error);
    assert_int_equal(error, 0);
    assert_non_null(client);
    assert_int_equal(switchyard_client_open(client), 0);
    assert_int_equal(notes->state, SWITCHYARD_IDLE); // nothing is told inside a call
    return client;
}

// Runs the client's own loop until *number has reached `wanted`.
static void
await(struct switchyard_client *client, const unsigned *number, unsigned wanted)
{
    uint64_t end_ms = uv_hrtime() / 1000000 + PATIENCE_MS;
    while (*number < wanted) {
        if (uv_hrtime() / 1000000 > end_ms)
            fail_msg("waited too long");
        assert_int_equal(switchyard_client_service(client, 100), 0);
    }
}

static int
say(struct switchyard_client *client, struct notes *notes, const char *text)
{
    const char *to[] = {"bob"};
    struct switchyard_payload payload = {.bytes = text, .len = strlen(text), .is_text = true};
    return switchyard_client_send(client, to, 1, &payload, NULL, on_outcome, notes);
}

static void
a_message_goes_out_and_its_outcome_and_echo_come_back(void **state)
{
    (void)state;
    struct ws_server server = {.script = {WS_SERVE}};
    struct notes notes;
    struct setup setup;
    ws_server_start(&server);
    use_ports(&setup, "ws", "127.0.0.1", server.port, 0);
    struct switchyard_client *client = start(&setup, &notes);
    assert_int_equal(say(client, &notes, "hello"), 0);
    await(client, &notes.messages, 1);
    assert_int_equal(notes.outcomes, 1);
    assert_int_equal(notes.status, SWITCHYARD_SENT);
    assert_int_equal(notes.message_len, 5);
    switchyard_client_free(client);
    assert_int_equal(notes.state, SWITCHYARD_CLOSED);
    ws_server_stop(&server);
    assert_int_equal(atomic_load(&server.close_code), 1000); // it has said goodbye
}

static void
many_sends_in_one_go_all_have_their_outcome(void **state)
{
    (void)state;
    struct ws_server server = {.script = {WS_SERVE}};
    struct notes notes;
    struct setup setup;
    ws_server_start(&server);
    use_ports(&setup, "ws", "127.0.0.1", server.port, 0);
    struct switchyard_client *client = start(&setup, &notes);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(say(client, &notes, "hello"), 0);
    await(client, &notes.messages, 1000);
    assert_int_equal(notes.outcomes, 1000);
    assert_int_equal(atomic_load(&server.sends), 1000);
    switchyard_client_free(client);
    ws_server_stop(&server);
}

static void
it_lives_in_a_loop_of_the_callers_and_leaves_nothing_behind(void **state)
{
    (void)state;
    struct ws_server server = {.script = {WS_SERVE}};
    struct notes notes;
    struct setup setup;
    uv_loop_t loop;
    ws_server_start(&server);
    assert_int_equal(uv_loop_init(&loop), 0);
    use_ports(&setup, "ws", "127.0.0.1", server.port, 0);
    setup.options.loop = &loop;
    struct switchyard_client *client = start(&setup, &notes);
    assert_int_equal(switchyard_client_run(client), SWITCHYARD_EINVAL); // not its loop
    assert_int_equal(say(client, &notes, "hello"), 0);
    while (notes.messages == 0)
        uv_run(&loop, UV_RUN_ONCE);
    switchyard_client_close(client, on_closed, &notes);
    assert_int_equal(notes.closed, 0);
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(notes.closed, 1);
    switchyard_client_free(client);
    assert_int_equal(uv_loop_close(&loop), 0);
    ws_server_stop(&server);
}

static void
freeing_it_open_in_the_callers_loop_tells_what_is_owed_and_no_more(void **state)
{
    (void)state;
    for (int when = 0; when < 3; when++) { // at once, connecting, live
        struct ws_server server = {.script = {WS_SERVE}};
        struct notes notes;
        struct setup setup;
        uv_loop_t loop;
        ws_server_start(&server);
        assert_int_equal(uv_loop_init(&loop), 0);
        use_ports(&setup, "ws", "127.0.0.1", server.port, 0);
        setup.options.loop = &loop;
        struct switchyard_client *client = start(&setup, &notes);
        while ((when == 1 && notes.state != SWITCHYARD_CONNECTING) ||
               (when == 2 && notes.state != SWITCHYARD_LIVE))
            uv_run(&loop, UV_RUN_ONCE);
        assert_int_equal(say(client, &notes, "hello"), 0);
        switchyard_client_free(client);
        assert_int_equal(notes.outcomes, 1);
        assert_int_equal(notes.status, SWITCHYARD_REJECTED);
        struct notes before = notes;
        assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
        assert_memory_equal(&before, &notes, sizeof(notes));
        assert_int_equal(uv_loop_close(&loop), 0);
        ws_server_stop(&server);
    }
}

static void
a_client_never_opened_can_be_freed(void **state)
{
    (void)state;
    struct setup setup;
    struct notes notes = {.state = SWITCHYARD_IDLE};
    use_ports(&setup, "ws", "127.0.0.1", 1, 0);
    setup.options.arg = &notes;
    struct switchyard_client *client = switchyard_client_new(&setup.options, NULL);
    assert_non_null(client);
    assert_int_equal(switchyard_client_run(client), SWITCHYARD_EINVAL);
    switchyard_client_free(client);
    assert_int_equal(notes.state, SWITCHYARD_CLOSED);
    switchyard_client_free(NULL);
}

static void
options_that_cannot_be_are_refused(void **state)
{
    (void)state;
    struct setup setup;
    int error = 0;
    use_ports(&setup, "http", "127.0.0.1", 1, 0);
    assert_null(switchyard_client_new(&setup.options, &error));
    assert_int_equal(error, SWITCHYARD_EINVAL);
    use_ports(&setup, "wss", "127.0.0.1", 1, 0);
    setup.options.ca_file = "/nowhere/ca.pem";
    assert_null(switchyard_client_new(&setup.options, &error));
    assert_int_equal(error, SWITCHYARD_EINVAL);
    setup.options.ca_file = NULL;
    setup.options.url_count = 0;
    assert_null(switchyard_client_new(&setup.options, &error));
    setup.options.url_count = 1;
    setup.options.size = 0;
    assert_null(switchyard_client_new(&setup.options, &error));
    assert_null(switchyard_client_new(NULL, &error));
}

static void
a_full_edge_sends_it_to_the_next_at_once(void **state)
{
    (void)state;
    struct ws_server full = {.script = {WS_FULL}}, good = {.script = {WS_SERVE}};
    ws_server_start(&full);
    ws_server_start(&good);
    // Which one is first is drawn.
    for (int i = 0; i < 8 || atomic_load(&full.connections) == 0; i++) {
        assert_in_range(i, 0, 99);
        struct notes notes;
        struct setup setup;
        use_ports(&setup, "ws", "127.0.0.1", full.port, good.port);
        struct switchyard_client *client = start(&setup, &notes);
        uint64_t start_ms = uv_hrtime() / 1000000;
        await(client, &notes.lives, 1);
        assert_in_range(uv_hrtime() / 1000000 - start_ms, 0, 450); // the least backoff is 500
        assert_string_equal(notes.url, setup.urls[1]);
        if (notes.backoffs > 0) {
            assert_int_equal(notes.code, 503);
            assert_non_null(strstr(notes.text, "HTTP 503"));
        }
        switchyard_client_free(client);
    }
    ws_server_stop(&full);
    ws_server_stop(&good);
}

static void
a_terminal_close_ends_the_run(void **state)
{
    (void)state;
    struct ws_server server = {.script = {WS_CLOSE_REPLACED}};
    struct notes notes;
    struct setup setup;
    ws_server_start(&server);
    use_ports(&setup, "ws", "127.0.0.1", server.port, 0);
    struct switchyard_client *client = start(&setup, &notes);
    assert_int_equal(switchyard_client_run(client), SWITCHYARD_ECLOSED);
    assert_int_equal(notes.state, SWITCHYARD_CLOSED);
    assert_int_equal(notes.code, 4001);
    assert_string_equal(notes.text, "bye");
    switchyard_client_free(client);
    ws_server_stop(&server);
    assert_int_equal(atomic_load(&server.connections), 1);
}

static void
a_draining_edge_is_left_and_come_back_to_under_the_same_name(void **state)
{
    (void)state;
    struct ws_server server = {.script = {WS_CLOSE_DRAINING, WS_SERVE}};
    struct notes notes;
    struct setup setup;
    ws_server_start(&server);
    use_ports(&setup, "ws", "127.0.0.1", server.port, 0);
    struct switchyard_client *client = start(&setup, &notes);
    await(client, &notes.lives, 2);
    assert_int_equal(notes.backoffs, 1);
    assert_int_equal(notes.code, 1012);
    char device[160];
    snprintf(device, sizeof(device), "%s", switchyard_client_device(client));
    switchyard_client_free(client);
    ws_server_stop(&server);
    assert_string_equal(server.devices[0], device);
    assert_string_equal(server.devices[1], device);
}

static void
a_connection_that_breaks_makes_a_send_unknown_and_comes_back(void **state)
{
    (void)state;
    struct ws_server server = {.script = {WS_VANISH, WS_SERVE}};
    struct notes notes;
    struct setup setup;
    ws_server_start(&server);
    use_ports(&setup, "ws", "127.0.0.1", server.port, 0);
    struct switchyard_client *client = start(&setup, &notes);
    assert_int_equal(say(client, &notes, "hello"), 0);
    await(client, &notes.outcomes, 1);
    assert_int_equal(notes.status, SWITCHYARD_UNKNOWN);
    await(client, &notes.lives, 2);
    assert_int_equal(say(client, &notes, "hello"), 0);
    await(client, &notes.outcomes, 2);
    assert_int_equal(notes.status, SWITCHYARD_SENT);
    switchyard_client_free(client);
    ws_server_stop(&server);
}

static void
a_message_in_pieces_is_one_message_up_to_the_limit(void **state)
{
    (void)state;
    for (int over = 0; over < 2; over++) {
        // 22 bytes of protobuf around the text.
        struct ws_server server = {.script = {WS_PIECES, WS_SERVE}, .pieces_len = 300000};
        struct notes notes;
        struct setup setup;
        ws_server_start(&server);
        use_ports(&setup, "ws", "127.0.0.1", server.port, 0);
        setup.options.max_message_bytes = over ? 300000 : 300100;
        struct switchyard_client *client = start(&setup, &notes);
        if (over) {
            await(client, &notes.lives, 2); // it hung up, and came back
            assert_int_equal(notes.messages, 0);
        } else {
            await(client, &notes.messages, 1);
            assert_int_equal(notes.message_len, 300000);
            assert_true(notes.is_message_intact);
            assert_int_equal(notes.lives, 1);
        }
        switchyard_client_free(client);
        ws_server_stop(&server);
    }
}

static void
a_large_send_arrives_whole(void **state)
{
    (void)state;
    struct ws_server server = {.script = {WS_SERVE}};
    struct notes notes;
    struct setup setup;
    ws_server_start(&server);
    use_ports(&setup, "ws", "127.0.0.1", server.port, 0);
    struct switchyard_client *client = start(&setup, &notes);
    char *text = malloc(600001);
    assert_non_null(text);
    memset(text, 'x', 600000);
    text[600000] = 0;
    assert_int_equal(say(client, &notes, text), 0);
    assert_int_equal(say(client, &notes, "after"), 0);
    free(text);
    await(client, &notes.messages, 2);
    assert_int_equal(atomic_load(&server.largest_send), 600000);
    switchyard_client_free(client);
    ws_server_stop(&server);
}

static void
a_name_is_tried_at_each_of_its_addresses(void **state)
{
    (void)state;
    struct ws_server server = {.script = {WS_SERVE}};
    struct notes notes;
    struct setup setup;
    ws_server_start(&server); // on 127.0.0.1 only; localhost may be ::1 as well
    use_ports(&setup, "ws", "localhost", server.port, 0);
    struct switchyard_client *client = start(&setup, &notes);
    await(client, &notes.lives, 1);
    assert_int_equal(notes.backoffs, 0);
    switchyard_client_free(client);
    ws_server_stop(&server);
}

static void
a_server_that_speaks_something_else_is_refused(void **state)
{
    (void)state;
    struct ws_server server = {.script = {WS_NO_SUBPROTOCOL, WS_DROP, WS_SERVE}};
    struct notes notes;
    struct setup setup;
    ws_server_start(&server);
    use_ports(&setup, "ws", "127.0.0.1", server.port, 0);
    struct switchyard_client *client = start(&setup, &notes);
    await(client, &notes.backoffs, 1);
    assert_non_null(strstr(notes.text, "does not speak switchyard.v1"));
    await(client, &notes.backoffs, 2);
    await(client, &notes.lives, 1);
    switchyard_client_free(client);
    ws_server_stop(&server);
}

static void
a_quiet_connection_is_kept_alive_by_pings(void **state)
{
    (void)state;
    struct ws_server server = {.script = {WS_SERVE}};
    struct notes notes;
    struct setup setup;
    ws_server_start(&server); // asks for pings each second
    use_ports(&setup, "ws", "127.0.0.1", server.port, 0);
    struct switchyard_client *client = start(&setup, &notes);
    uint64_t end_ms = uv_hrtime() / 1000000 + PATIENCE_MS;
    while (atomic_load(&server.pings) < 2 && uv_hrtime() / 1000000 < end_ms)
        switchyard_client_service(client, 100);
    assert_true(atomic_load(&server.pings) >= 2);
    assert_int_equal(notes.lives, 1);
    switchyard_client_free(client);
    ws_server_stop(&server);
}

// Transport alone, refused again and again: what is left in the loop each time?
struct refusals {
    struct transport *transport;
    struct ws_url url;
    unsigned count;
    unsigned handles;
    bool is_released;
};

static void
on_walk(uv_handle_t *handle, void *arg)
{
    unsigned *count = arg;
    *count += !uv_is_closing(handle);
}

static void
on_refused(void *arg, unsigned status, uint32_t retry_after_ms, const char *text)
{
    struct refusals *refusals = arg;
    assert_int_equal(status, 0);
    assert_int_equal(retry_after_ms, 0);
    assert_non_null(strstr(text, "cannot connect to "));
    refusals->count++;
}

static void
on_released(void *arg)
{
    struct refusals *refusals = arg;
    refusals->is_released = true;
}

// Connects to it again and again; the loop must not fill up, and must be empty at the end.
// Sockets refused last may still be closing.
static void
refuse_often(const char *url)
{
    uv_loop_t loop;
    assert_int_equal(uv_loop_init(&loop), 0);
    struct refusals refusals = {0};
    struct transport_options options = {
        .loop = &loop,
        .max_message_bytes = 1000,
        .on_refused = on_refused,
        .on_released = on_released,
        .arg = &refusals,
    };
    int error = 1;
    refusals.transport = transport_open(&options, &error);
    assert_non_null(refusals.transport);
    assert_true(ws_url_parse(url, &refusals.url));
    unsigned first = 0;
    for (unsigned i = 1; i <= 50; i++) {
        transport_connect(refusals.transport, &refusals.url);
        while (refusals.count < i)
            uv_run(&loop, UV_RUN_ONCE);
        uv_run(&loop, UV_RUN_NOWAIT);
        unsigned handles = 0;
        uv_walk(&loop, on_walk, &handles);
        first = i == 1 ? handles : first;
        assert_in_range(handles, 1, first + 2);
    }
    transport_close(refusals.transport);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_true(refusals.is_released);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void
refused_connections_leave_nothing_in_the_loop(void **state)
{
    (void)state;
    char url[64];
    snprintf(url, sizeof(url), "ws://127.0.0.1:%d", ws_closed_port());
    refuse_often(url);                         // refused by the other side
    refuse_often("ws://255.255.255.255:8000"); // by the kernel, on the spot: no TCP to there
}

static char certificates[] = "/tmp/switchyard-client-XXXXXX";
static char cert_file[128], key_file[128], other_file[128];

static int
make_certificates(void **state)
{
    (void)state;
    if (mkdtemp(certificates) == NULL)
        return -1;
    snprintf(cert_file, sizeof(cert_file), "%s/cert.pem", certificates);
    snprintf(key_file, sizeof(key_file), "%s/key.pem", certificates);
    snprintf(other_file, sizeof(other_file), "%s/other.pem", certificates);
    const char *const files[] = {cert_file, other_file};
    for (int i = 0; i < 2; i++) {
        char command[768];
        snprintf(command, sizeof(command),
                 "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
                 "-subj /CN=localhost -addext subjectAltName=DNS:localhost "
                 "-keyout %s%s -out %s 2>/dev/null",
                 key_file, i == 0 ? "" : ".other", files[i]);
        if (system(command) != 0)
            return -1;
    }
    return 0;
}

static int
drop_certificates(void **state)
{
    (void)state;
    char other_key[160];
    snprintf(other_key, sizeof(other_key), "%s.other", key_file);
    unlink(cert_file);
    unlink(other_file);
    unlink(key_file);
    unlink(other_key);
    return rmdir(certificates);
}

static void
wss_trusts_the_given_ca_only_and_the_right_name_only(void **state)
{
    (void)state;
    const struct {
        const char *host;
        const char *ca_file;
        bool is_insecure;
        bool is_taken;
    } cases[] = {
        {"localhost", cert_file, false, true},   // signed by the CA we were given
        {"localhost", other_file, false, false}, // by another one
        {"localhost", NULL, false, false},       // by none the system knows
        {"127.0.0.1", cert_file, false, false},  // for another name
        {"localhost", NULL, true, true},         // not checked
        {"127.0.0.1", NULL, true, true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ws_server server = {
            .script = {WS_SERVE}, .cert_file = cert_file, .key_file = key_file};
        struct notes notes;
        struct setup setup;
        ws_server_start(&server);
        use_ports(&setup, "wss", cases[i].host, server.port, 0);
        setup.options.ca_file = cases[i].ca_file;
        setup.options.is_insecure = cases[i].is_insecure;
        struct switchyard_client *client = start(&setup, &notes);
        if (cases[i].is_taken) {
            assert_int_equal(say(client, &notes, "hello"), 0);
            await(client, &notes.messages, 1);
            assert_int_equal(notes.backoffs, 0);
        } else {
            await(client, &notes.backoffs, 1);
            assert_int_equal(notes.lives, 0);
            assert_non_null(strstr(notes.text, "TLS"));
        }
        switchyard_client_free(client);
        ws_server_stop(&server);
        assert_int_equal(atomic_load(&server.hellos), cases[i].is_taken ? 1 : 0);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_goes_out_and_its_outcome_and_echo_come_back),
        cmocka_unit_test(many_sends_in_one_go_all_have_their_outcome),
        cmocka_unit_test(it_lives_in_a_loop_of_the_callers_and_leaves_nothing_behind),
        cmocka_unit_test(freeing_it_open_in_the_callers_loop_tells_what_is_owed_and_no_more),
        cmocka_unit_test(a_client_never_opened_can_be_freed),
        cmocka_unit_test(options_that_cannot_be_are_refused),
        cmocka_unit_test(a_full_edge_sends_it_to_the_next_at_once),
        cmocka_unit_test(a_terminal_close_ends_the_run),
        cmocka_unit_test(a_draining_edge_is_left_and_come_back_to_under_the_same_name),
        cmocka_unit_test(a_connection_that_breaks_makes_a_send_unknown_and_comes_back),
        cmocka_unit_test(a_message_in_pieces_is_one_message_up_to_the_limit),
        cmocka_unit_test(a_large_send_arrives_whole),
        cmocka_unit_test(a_name_is_tried_at_each_of_its_addresses),
        cmocka_unit_test(a_server_that_speaks_something_else_is_refused),
        cmocka_unit_test(a_quiet_connection_is_kept_alive_by_pings),
        cmocka_unit_test(refused_connections_leave_nothing_in_the_loop),
        cmocka_unit_test(wss_trusts_the_given_ca_only_and_the_right_name_only),
    };
    return cmocka_run_group_tests(tests, make_certificates, drop_certificates);
}
