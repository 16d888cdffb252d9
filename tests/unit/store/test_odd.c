// Answers that no Redis of ours gives, from a server of a few lines in the same loop:
// each call ends once, with an error, and nothing is read that is not there.
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uv_loop_t loop;
static struct peer peer;

// What the server says to an EVALSHA, to a SCRIPT LOAD, and to all else but the greeting.
static const char *to_script;
static const char *to_load;
static const char *to_rest;

#define GOOD_LOAD "$40\r\n0123456789012345678901234567890123456789\r\n"

struct client {
    uv_tcp_t tcp;
    char bytes[65536];
};

static uv_tcp_t listener;
static char url[64];

static void
on_client_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void
on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
    struct client *client = handle->data;
    (void)size;
    *buf = uv_buf_init(client->bytes, sizeof client->bytes - 1);
}

static void
say(struct client *client, const char *bytes)
{
    size_t len = strlen(bytes);
    char copy[256];
    memcpy(copy, bytes, len);
    uv_buf_t buf = uv_buf_init(copy, (unsigned)len);
    assert_int_equal(uv_try_write((uv_stream_t *)&client->tcp, &buf, 1), len);
}

// One answer for each command. That it arrives in one piece is sure enough on loopback.
static void
on_bytes(uv_stream_t *stream, ssize_t len, const uv_buf_t *buf)
{
    struct client *client = stream->data;
    (void)buf;
    if (len < 0) {
        uv_close((uv_handle_t *)stream, on_client_closed);
        return;
    }
    client->bytes[len] = '\0';
    for (char *at = client->bytes; at; at = strstr(at, "\r\n*")) {
        at += at == client->bytes ? 0 : 2;
        char *name = strchr(strchr(at, '$'), '\n') + 1;
        if (strncmp(name, "HELLO", 5) == 0)
            say(client, "-ERR unknown command\r\n");
        else if (strncmp(name, "SCRIPT", 6) == 0)
            say(client, to_load);
        else if (strncmp(name, "EVALSHA", 7) == 0)
            say(client, to_script);
        else
            say(client, to_rest);
        at = name;
    }
}

static void
on_connection(uv_stream_t *stream, int status)
{
    assert_int_equal(status, 0);
    struct client *client = calloc(1, sizeof *client);
    uv_tcp_init(&loop, &client->tcp);
    client->tcp.data = client;
    assert_int_equal(uv_accept(stream, (uv_stream_t *)&client->tcp), 0);
    uv_read_start((uv_stream_t *)&client->tcp, on_alloc, on_bytes);
}

static int
start(void **state)
{
    (void)state;
    struct sockaddr_storage bound;
    struct sockaddr_in any;
    int len = sizeof bound;
    uv_loop_init(&loop);
    uv_tcp_init(&loop, &listener);
    uv_ip4_addr("127.0.0.1", 0, &any);
    uv_tcp_bind(&listener, (struct sockaddr *)&any, 0);
    assert_int_equal(uv_listen((uv_stream_t *)&listener, 8, on_connection), 0);
    uv_tcp_getsockname(&listener, (struct sockaddr *)&bound, &len);
    snprintf(url, sizeof url, "redis://127.0.0.1:%d",
             ntohs(((struct sockaddr_in *)(void *)&bound)->sin_port));
    to_load = GOOD_LOAD;
    to_script = to_rest = ":1\r\n";
    peer_open(&peer, &loop, NULL, (struct store_opts){.url = url});
    return 0;
}

static int
stop(void **state)
{
    (void)state;
    peer_close(&peer, &loop);
    uv_close((uv_handle_t *)&listener, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    return 0;
}

// Every call at once, each counted.

struct all {
    int calls;
    int fine;
};

static void
note(struct all *all, int error)
{
    all->calls++;
    all->fine += error == 0;
    assert_true(error == 0 || error == SY_EREPLY || error == SY_ENOENT || error == SY_EBUSY ||
                error == SY_EDENIED || error == SY_ELOST);
}

static void
all_register(void *arg, int error, const struct store_registered *answer)
{
    assert_true((answer != NULL) == (error == 0));
    note(arg, error);
}

static void
all_verify(void *arg, int error, enum store_verdict verdict, const struct store_registered *answer)
{
    (void)verdict;
    assert_true((answer != NULL) == (error == 0));
    note(arg, error);
}

static void
all_done(void *arg, int error)
{
    note(arg, error);
}

static void
all_resolve(void *arg, int error, const struct link *links, size_t count)
{
    (void)links;
    assert_true(error == 0 || count == 0);
    note(arg, error);
}

static void
all_node(void *arg, int error, const struct store_node *node)
{
    assert_true((node != NULL) == (error == 0));
    note(arg, error);
}

static void
all_nodes(void *arg, int error, const struct store_node *nodes, size_t count)
{
    (void)nodes;
    assert_true(error == 0 || count == 0);
    note(arg, error);
}

static void
all_beat(void *arg, int error, uint64_t taken, uint64_t gen)
{
    assert_true(error == 0 || (taken == 0 && gen == 0));
    note(arg, error);
}

static void
all_lead(void *arg, int error, bool is_leader, uint64_t fence, uint64_t up_s)
{
    (void)fence;
    (void)up_s;
    assert_true(error == 0 || !is_leader);
    note(arg, error);
}

static void
all_reap(void *arg, int error, const struct store_reaped *answer)
{
    assert_true((answer != NULL) == (error == 0));
    note(arg, error);
}

static void
all_scrub(void *arg, int error, uint64_t cursor, unsigned found)
{
    (void)cursor;
    (void)found;
    note(arg, error);
}

static void
all_clock(void *arg, int error, const struct store_clock *clock)
{
    assert_true((clock != NULL) == (error == 0));
    note(arg, error);
}

#define CALLS 13

static struct all
call_everything(void)
{
    struct all all = {0};
    struct link link = link_of(NODE_A, 1, "dev");
    struct store_node self = {.node = NODE_A};
    struct store *store = peer.store;
    store_register(store, "ann", &link, 0, all_register, &all);
    store_unregister(store, "ann", &link, all_done, &all);
    store_verify(store, "ann", &link, all_verify, &all);
    store_resolve(store, "ann", NODE_B, 1, all_resolve, &all);
    store_read_node(store, NODE_A, all_node, &all);
    store_list_nodes(store, all_nodes, &all);
    store_heartbeat(store, &self, all_beat, &all);
    store_lead(store, "s", 1, all_lead, &all);
    store_resign(store, "s", all_done, &all);
    store_reap(store, NODE_A, 1, 10, all_reap, &all);
    store_scrub(store, 0, 10, all_scrub, &all);
    store_scrub_rows(store, 0, 10, all_scrub, &all);
    store_read_clock(store, all_clock, &all);
    assert_int_equal(all.calls, 0);
    wait_for(&loop, &all.calls, CALLS);
    return all;
}

static void
odd_answers_are_errors_of_their_calls(void **state)
{
    (void)state;
    static const char *const odd[] = {
        "+OK\r\n",
        "$-1\r\n",
        "$0\r\n\r\n",
        "*-1\r\n",
        "*0\r\n",
        "*1\r\n:1\r\n",
        "*1\r\n$2\r\nok\r\n",
        "*2\r\n$2\r\nok\r\n$-1\r\n",
        "*2\r\n$2\r\nok\r\n:-1\r\n",
        "*3\r\n:1\r\n$1\r\n1\r\n*0\r\n",
        "*4\r\n:1\r\n$-1\r\n*0\r\n*0\r\n",
        "*4\r\n:1\r\n:-1\r\n*0\r\n*0\r\n",
        "*4\r\n:1\r\n$21\r\n111111111111111111111\r\n*0\r\n*0\r\n",
        "*4\r\n:1\r\n$20\r\n99999999999999999999\r\n*0\r\n*0\r\n",
        "*4\r\n:1\r\n$1\r\n1\r\n$1\r\nx\r\n*0\r\n",
        "*4\r\n:1\r\n$1\r\n1\r\n*0\r\n$1\r\nx\r\n",
        "*4\r\n:1\r\n$1\r\n1\r\n*2\r\n:1\r\n$3\r\nbad\r\n*2\r\n:1\r\n$3\r\nbad\r\n",
        "*4\r\n:3\r\n$1\r\n1\r\n*0\r\n*0\r\n",
        "*4\r\n$-1\r\n$1\r\n1\r\n*0\r\n*0\r\n",
        "*4\r\n:2\r\n$1\r\n1\r\n*1\r\n$3\r\nbad\r\n*1\r\n*1\r\n:1\r\n",
        "*2\r\n*1\r\n*0\r\n*0\r\n",
        ":-9223372036854775808\r\n",
    };
    peer_wait_up(&peer, &loop);
    assert_string_equal(store_describe(peer.store) + strlen("redis "), strstr(peer.why, " at"));
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        to_script = to_rest = odd[i];
        struct all all = call_everything();
        assert_int_equal(all.calls, CALLS);
        assert_in_range(all.fine, 0, 5);
    }
    assert_int_equal(peer.downs, 0);
}

static void
an_error_to_everything_is_an_error_of_every_call(void **state)
{
    (void)state;
    peer_wait_up(&peer, &loop);
    to_script = to_rest = "-ERR no\r\n";
    struct all all = call_everything();
    assert_int_equal(all.fine, 0);
    assert_int_equal(peer.downs, 0);
}

static void
a_script_that_stays_unknown_is_an_error_and_no_circle(void **state)
{
    (void)state;
    peer_wait_up(&peer, &loop);
    to_script = "-NOSCRIPT No matching script.\r\n";
    to_rest = "*0\r\n";
    struct all all = call_everything();
    assert_in_range(all.fine, 0, 1); // an empty list of nodes
    assert_int_equal(peer.downs, 0);
}

static void
bytes_that_are_no_answer_end_the_connection(void **state)
{
    (void)state;
    peer_wait_up(&peer, &loop);
    to_script = to_rest = "rubbish\r\n";
    struct all all = call_everything();
    assert_int_equal(all.fine, 0);
    wait_for(&loop, &peer.downs, 1);
    assert_non_null(strstr(peer.why, "Protocol error"));
    to_script = to_rest = ":1\r\n";
    peer_wait_up(&peer, &loop);
}

static void
a_script_load_without_a_hash_is_a_reason(void **state)
{
    (void)state;
    static const char *const odd[] = {"+OK\r\n", ":1\r\n", "$2\r\nab\r\n"};
    for (size_t i = 0; i < 3; i++) {
        to_load = odd[i];
        int never = 0;
        run_until(&loop, &never, 1, 150);
        assert_int_equal(peer.ups, 0);
        assert_non_null(strstr(store_describe(peer.store), "SCRIPT LOAD"));
    }
    to_load = "-LOADING Redis is loading the dataset in memory\r\n";
    for (int i = 0; i < 250 && !strstr(store_describe(peer.store), "LOADING"); i++) {
        int never = 0;
        run_until(&loop, &never, 1, 20);
    }
    assert_non_null(strstr(store_describe(peer.store), "LOADING"));
    to_load = GOOD_LOAD;
    peer_wait_up(&peer, &loop);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(odd_answers_are_errors_of_their_calls),
        TEST(an_error_to_everything_is_an_error_of_every_call),
        TEST(a_script_that_stays_unknown_is_an_error_and_no_circle),
        TEST(bytes_that_are_no_answer_end_the_connection),
        TEST(a_script_load_without_a_hash_is_a_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
