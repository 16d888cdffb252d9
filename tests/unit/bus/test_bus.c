// test_bus.c: messages between two buses over a nats-server that is well.
#include "rig.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MIB (1024 * 1024)

struct pair {
    struct server server;
    struct rig rig;
    char url[64];
    struct side a, b;
};

static int
set_up(void **state)
{
    struct pair *pair = calloc(1, sizeof *pair);
    assert_non_null(pair);
    server_init(&pair->server, NULL);
    server_start(&pair->server);
    rig_init(&pair->rig);
    snprintf(pair->url, sizeof pair->url, "nats://127.0.0.1:%d", pair->server.port);
    pair->a.rig = pair->b.rig = &pair->rig;
    struct bus_opts opts = side_opts(&pair->a, "a", pair->url);
    side_open(&pair->a, &opts);
    opts = side_opts(&pair->b, "b", pair->url);
    side_open(&pair->b, &opts);
    assert_true(rig_run(&pair->rig, side_is_up, &pair->a, 3000));
    assert_true(rig_run(&pair->rig, side_is_up, &pair->b, 3000));
    *state = pair;
    return 0;
}

static int
tear_down(void **state)
{
    struct pair *pair = *state;
    if (pair->a.bus != NULL)
        side_close(&pair->a);
    if (pair->b.bus != NULL)
        side_close(&pair->b);
    rig_fini(&pair->rig);
    server_fini(&pair->server);
    free(pair);
    return 0;
}

static void
a_message_reaches_the_other_bus_as_it_was(void **state)
{
    struct pair *pair = *state;
    assert_int_equal(bus_publish(pair->a.bus, "b.hello", NULL, "a\0b", 3), 0);
    assert_true(rig_run(&pair->rig, side_has_message, &pair->b, 1000));
    assert_string_equal(pair->b.subject, "b.hello");
    assert_int_equal(pair->b.len, 3);
    assert_memory_equal(pair->b.bytes, "a\0b", 3);
    assert_int_equal(pair->a.messages, 0);
    // Also an empty one.
    pair->b.messages = 0;
    assert_int_equal(bus_publish(pair->a.bus, "b.empty", NULL, NULL, 0), 0);
    assert_true(rig_run(&pair->rig, side_has_message, &pair->b, 1000));
    assert_int_equal(pair->b.len, 0);
}

static void
a_bus_hears_its_own_messages_but_not_its_probes(void **state)
{
    struct pair *pair = *state;
    rig_run_for(&pair->rig, 1200); // two more probes
    assert_int_equal(pair->a.messages, 0);
    struct bus_stats stats;
    bus_stats(pair->a.bus, &stats);
    assert_int_equal(stats.received, 0);
    assert_in_range(stats.rtt_us, 1, 1000000);
    assert_int_equal(bus_publish(pair->a.bus, "a.self", NULL, "x", 1), 0);
    assert_true(rig_run(&pair->rig, side_has_message, &pair->a, 1000));
    // What looks like a probe but is another's is a message.
    char forged[32] = "sy-probe";
    pair->a.messages = 0;
    assert_int_equal(bus_publish(pair->b.bus, "a.self", NULL, forged, sizeof forged), 0);
    assert_true(rig_run(&pair->rig, side_has_message, &pair->a, 1000));
}

// Sizes up to 64 KiB, most of them small, as on a real bus.
static size_t
size_of(uint32_t number)
{
    size_t limit = number % 64 == 0 ? 64 * 1024 : 1024;
    return number % 4096 == 64 ? 64 * 1024 : 4 + (number * 2654435761U >> 8) % (limit - 3);
}

static void
expect_next(struct side *side, const char *subject, const void *bytes, size_t len, bool is_unheard)
{
    (void)subject;
    (void)is_unheard;
    uint32_t *next = side->arg;
    uint32_t number;
    assert_in_range(len, 4, 64 * 1024);
    memcpy(&number, bytes, 4);
    assert_int_equal(number, *next);
    assert_int_equal(len, size_of(number));
    assert_int_equal(((const uint8_t *)bytes)[len - 1], len > 4 ? number & 0xff : number >> 24);
    (*next)++;
}

static bool
ten_thousand_came(void *arg)
{
    return *(uint32_t *)((struct side *)arg)->arg == 10000;
}

static void
ten_thousand_messages_of_mixed_sizes_keep_their_order(void **state)
{
    struct pair *pair = *state;
    static uint8_t bytes[64 * 1024];
    uint32_t next = 0;
    pair->b.also = expect_next;
    pair->b.arg = &next;
    uint64_t sent_bytes = 0;
    for (uint32_t i = 0; i < 10000; i++) {
        size_t len = size_of(i);
        memset(bytes, (int)(i & 0xff), len);
        memcpy(bytes, &i, 4);
        int rc;
        while ((rc = bus_publish(pair->a.bus, "b.order", NULL, bytes, len)) == SY_EFULL)
            rig_run_for(&pair->rig, 1);
        assert_int_equal(rc, 0);
        sent_bytes += len;
        if (i % 100 == 99)
            uv_run(&pair->rig.loop, UV_RUN_NOWAIT);
    }
    assert_true(rig_run(&pair->rig, ten_thousand_came, &pair->b, 20000));
    struct bus_stats a, b;
    bus_stats(pair->a.bus, &a);
    bus_stats(pair->b.bus, &b);
    assert_int_equal(a.published, 10000);
    assert_int_equal(a.bytes_out, sent_bytes);
    assert_int_equal(b.received, 10000);
    assert_int_equal(b.bytes_in, sent_bytes);
    assert_int_equal(b.overflowed, 0);
}

static bool
has_unheard(void *arg)
{
    return ((struct side *)arg)->unheard > 0;
}

static void
a_publish_that_nobody_hears_comes_back_under_its_reply_subject(void **state)
{
    struct pair *pair = *state;
    uint64_t start = now_ms();
    assert_int_equal(bus_publish(pair->a.bus, "gone.1", "unheard.a.gone-1", "x", 1), 0);
    assert_true(rig_run(&pair->rig, has_unheard, &pair->a, 1000));
    assert_in_range(pair->a.message_at_ms - start, 0, 49);
    assert_string_equal(pair->a.subject, "unheard.a.gone-1");
    assert_int_equal(pair->a.len, 0);
    assert_int_equal(pair->a.messages, 0);
}

static void
a_publish_that_is_heard_says_nothing_and_an_answer_is_a_message(void **state)
{
    struct pair *pair = *state;
    assert_int_equal(bus_publish(pair->a.bus, "b.here", "unheard.a.b", "x", 1), 0);
    assert_true(rig_run(&pair->rig, side_has_message, &pair->b, 1000));
    rig_run_for(&pair->rig, 50);
    assert_int_equal(pair->a.unheard, 0);
    assert_int_equal(bus_publish(pair->b.bus, "unheard.a.b", NULL, "answer", 6), 0);
    assert_true(rig_run(&pair->rig, side_has_message, &pair->a, 1000));
    assert_int_equal(pair->a.unheard, 0);
    assert_memory_equal(pair->a.bytes, "answer", 6);
}

static void
each_of_many_unheard_publishes_comes_back(void **state)
{
    struct pair *pair = *state;
    for (int i = 0; i < 500; i++) {
        char reply[64];
        snprintf(reply, sizeof reply, "unheard.a.peer-%d", i);
        assert_int_equal(bus_publish(pair->a.bus, "gone.1", reply, "x", 1), 0);
    }
    rig_run_for(&pair->rig, 300);
    assert_int_equal(pair->a.unheard, 500);
    assert_string_equal(pair->a.subject, "unheard.a.peer-499");
}

static void
the_largest_payload_passes_and_one_byte_more_is_refused(void **state)
{
    struct pair *pair = *state;
    size_t max = bus_max_payload(pair->a.bus);
    assert_int_equal(max, MIB); // the default of nats-server
    uint8_t *bytes = calloc(1, max + 1);
    assert_non_null(bytes);
    assert_int_equal(bus_publish(pair->a.bus, "b.big", NULL, bytes, max + 1), SY_EINVAL);
    assert_int_equal(bus_publish(pair->a.bus, "b.big", NULL, bytes, max), 0);
    assert_true(rig_run(&pair->rig, side_has_message, &pair->b, 2000));
    assert_int_equal(pair->b.len, max);
    assert_true(bus_is_up(pair->a.bus));
    free(bytes);
}

static void
the_buffer_takes_max_buffered_and_not_more(void **state)
{
    struct pair *pair = *state;
    // Nothing leaves within one turn, so this is exact but for the protocol's own bytes.
    uint8_t *bytes = calloc(1, MIB);
    assert_non_null(bytes);
    for (int i = 0; i < 7; i++)
        assert_int_equal(bus_publish(pair->a.bus, "b.fill", NULL, bytes, MIB), 0);
    assert_int_equal(bus_publish(pair->a.bus, "b.fill", NULL, bytes, MIB), SY_EFULL);
    assert_int_equal(bus_publish(pair->a.bus, "b.fill", NULL, bytes, MIB - 1024), 0);
    assert_int_equal(bus_publish(pair->a.bus, "b.fill", NULL, bytes, 1024), SY_EFULL);
    struct bus_stats stats;
    bus_stats(pair->a.bus, &stats);
    assert_int_equal(stats.published, 8);
    assert_int_equal(stats.refused, 2);
    // Room again once it has left.
    rig_run_for(&pair->rig, 300);
    assert_int_equal(pair->b.messages, 8);
    assert_int_equal(bus_publish(pair->a.bus, "b.fill", NULL, bytes, MIB), 0);
    free(bytes);
}

static void
what_was_published_before_closing_arrives(void **state)
{
    struct pair *pair = *state;
    uint8_t bytes[1000] = {0};
    for (int i = 0; i < 500; i++)
        assert_int_equal(bus_publish(pair->a.bus, "b.last", NULL, bytes, sizeof bytes), 0);
    uint64_t start = now_ms();
    side_close(&pair->a);
    assert_in_range(now_ms() - start, 0, 200); // the server answers, nobody waits for a limit
    rig_run_for(&pair->rig, 200);
    assert_int_equal(pair->b.messages, 500);
}

static void
close_on_message(struct side *side, const char *subject, const void *bytes, size_t len,
                 bool is_unheard)
{
    (void)subject;
    (void)bytes;
    (void)len;
    (void)is_unheard;
    bus_close(side->bus, NULL, NULL);
    side->bus = NULL;
}

static void
a_bus_may_be_closed_by_its_own_message(void **state)
{
    struct pair *pair = *state;
    pair->b.also = close_on_message;
    for (int i = 0; i < 10; i++)
        assert_int_equal(bus_publish(pair->a.bus, "b.x", NULL, "x", 1), 0);
    rig_run_for(&pair->rig, 400);
    assert_int_equal(pair->b.messages, 1);
}

// A subscriber without a loop.
static int
raw_subscriber(int port, const char *subject)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_port = htons((uint16_t)port),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    struct timeval limit = {.tv_sec = 1};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
    char text[4096];
    int len =
        snprintf(text, sizeof text, "CONNECT {\"verbose\":false}\r\nSUB %s 1\r\nPING\r\n", subject);
    assert_int_equal(send(fd, text, (size_t)len, MSG_NOSIGNAL), len);
    do {
        ssize_t n = recv(fd, text, sizeof text - 1, 0);
        assert_true(n > 0);
        text[n] = '\0';
    } while (strstr(text, "PONG") == NULL);
    return fd;
}

static void
a_publish_leaves_at_the_flush_and_not_before(void **state)
{
    struct pair *pair = *state;
    int fd = raw_subscriber(pair->server.port, "now.>");
    char text[256] = "";
    assert_int_equal(bus_publish(pair->a.bus, "now.x", NULL, "payload", 7), 0);
    usleep(30 * 1000);
    assert_int_equal(recv(fd, text, sizeof text, MSG_DONTWAIT), -1);
    // No turn of the loop in between.
    bus_flush(pair->a.bus);
    assert_true(recv(fd, text, sizeof text - 1, 0) > 0);
    assert_string_equal(text, "MSG now.x 1 7\r\npayload\r\n");
    bus_flush(pair->a.bus); // nothing to do
    close(fd);
    rig_run_for(&pair->rig, 20);
    assert_true(bus_is_up(pair->a.bus));
}

static void
its_description_names_the_server_and_no_password(void **state)
{
    struct pair *pair = *state;
    char expected[64];
    snprintf(expected, sizeof expected, "nats at 127.0.0.1:%d", pair->server.port);
    assert_string_equal(bus_describe(pair->a.bus), expected);
    struct side c = {.rig = &pair->rig};
    char url[96];
    snprintf(url, sizeof url, "nats://127.0.0.1:1,nats://joe:s3cret@127.0.0.1:%d",
             pair->server.port);
    struct bus_opts opts = side_opts(&c, "c", url);
    side_open(&c, &opts);
    assert_null(strstr(bus_describe(c.bus), "s3cret"));
    assert_non_null(strstr(bus_describe(c.bus), "not connected to nats at 127.0.0.1:1,127.0.0.1:"));
    // The second of the list answers.
    assert_true(rig_run(&pair->rig, side_is_up, &c, 4000));
    assert_string_equal(bus_describe(c.bus), expected);
    side_close(&c);
}

static void
expect_refused(struct rig *rig, const struct bus_opts *opts, const char *words)
{
    char why[160] = "";
    assert_null(bus_open(&rig->loop, opts, why));
    if (strstr(why, words) == NULL)
        fail_msg("'%s' does not say '%s'", why, words);
}

static void
options_that_cannot_be_are_refused_with_the_reason(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    struct side side = {.rig = &rig};
    static const char *const urls[][2] = {
        {"", "nats://"},
        {"127.0.0.1:4222", "nats://"},
        {"http://127.0.0.1", "nats://"},
        {"nats://", "nats://"},
        {"nats://:4222", "not host:port"},
        {"nats://h:0", "not host:port"},
        {"nats://h:65536", "not host:port"},
        {"nats://h:4222x", "not host:port"},
        {"nats://h:", "not host:port"},
        {"nats://h:4222/path", "not host:port"},
        {"nats://h:1,", "nats://"},
        {"nats://a\"b@h:1", "quote"},
        {"nats://h\r\nPUB:1", "control"},
    };
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        struct bus_opts opts = side_opts(&side, "a", urls[i][0]);
        expect_refused(&rig, &opts, urls[i][1]);
    }
    struct bus_opts good = side_opts(&side, "a", "nats://127.0.0.1:1"), opts = good;
    opts.password = "a\"b";
    expect_refused(&rig, &opts, "password");
    opts = good;
    opts.user = "a\nb";
    expect_refused(&rig, &opts, "user");
    opts = good;
    opts.tls_ca_file = "/nonexistent";
    expect_refused(&rig, &opts, "/nonexistent");
    opts = good;
    opts.probe_subject = "a.*";
    expect_refused(&rig, &opts, "probe");
    opts = good;
    opts.subjects[0] = NULL;
    expect_refused(&rig, &opts, "subscribe");
    opts = good;
    opts.max_buffered = (size_t)1024 * MIB + 1;
    expect_refused(&rig, &opts, "max_buffered");
    rig_fini(&rig);
}

static void
fifty_lives_leave_no_descriptor_behind(void **state)
{
    struct pair *pair = *state;
    side_close(&pair->a);
    unsigned before = count_fds();
    for (int i = 0; i < 50; i++) {
        struct side side = {.rig = &pair->rig};
        struct bus_opts opts = side_opts(&side, "c", pair->url);
        side_open(&side, &opts);
        if (i % 5 != 0) // each fifth is closed while it connects
            assert_true(rig_run(&pair->rig, side_is_up, &side, 3000));
        if (i % 5 == 1)
            assert_int_equal(bus_publish(side.bus, "gone.1", "unheard.c.x", "x", 1), 0);
        side_close(&side);
    }
    assert_int_equal(count_fds(), before);
}

int
main(void)
{
#define WITH_PAIR(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_PAIR(a_message_reaches_the_other_bus_as_it_was),
        WITH_PAIR(a_bus_hears_its_own_messages_but_not_its_probes),
        WITH_PAIR(ten_thousand_messages_of_mixed_sizes_keep_their_order),
        WITH_PAIR(a_publish_that_nobody_hears_comes_back_under_its_reply_subject),
        WITH_PAIR(a_publish_that_is_heard_says_nothing_and_an_answer_is_a_message),
        WITH_PAIR(each_of_many_unheard_publishes_comes_back),
        WITH_PAIR(the_largest_payload_passes_and_one_byte_more_is_refused),
        WITH_PAIR(the_buffer_takes_max_buffered_and_not_more),
        WITH_PAIR(what_was_published_before_closing_arrives),
        WITH_PAIR(a_bus_may_be_closed_by_its_own_message),
        WITH_PAIR(a_publish_leaves_at_the_flush_and_not_before),
        WITH_PAIR(its_description_names_the_server_and_no_password),
        cmocka_unit_test(options_that_cannot_be_are_refused_with_the_reason),
        WITH_PAIR(fifty_lives_leave_no_descriptor_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
