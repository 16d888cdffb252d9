// test_bus_faults.c: what the bus does when nats-server is absent, killed, frozen,
// unwilling or silent. In all of it the loop goes on turning.
#include "rig.h"

#include <arpa/inet.h>
#include <malloc.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define PING_MS 500 // side_opts
// The loop may stand still for this long at most, whatever the server does.
#define GAP_US (100 * 1000)
#define MAX_BUFFERED ((size_t)4 * 1024 * 1024)

struct world {
    struct server server;
    struct rig rig;
    char url[64];
    struct side a, b;
};

static struct world *
world_new(const char *config)
{
    struct world *world = calloc(1, sizeof *world);
    assert_non_null(world);
    server_init(&world->server, config);
    rig_init(&world->rig);
    snprintf(world->url, sizeof world->url, "nats://127.0.0.1:%d", world->server.port);
    world->a.rig = world->b.rig = &world->rig;
    return world;
}

static void
world_free(struct world *world)
{
    if (world->a.bus != NULL)
        side_close(&world->a);
    if (world->b.bus != NULL)
        side_close(&world->b);
    rig_fini(&world->rig);
    server_fini(&world->server);
    free(world);
}

static void
open_both(struct world *world)
{
    struct bus_opts opts = side_opts(&world->a, "a", world->url);
    side_open(&world->a, &opts);
    opts = side_opts(&world->b, "b", world->url);
    side_open(&world->b, &opts);
}

static void
expect_up(struct side *side, uint64_t ms)
{
    if (!rig_run(side->rig, side_is_up, side, ms))
        fail_msg("not up within %lu ms: %s", (unsigned long)ms, bus_describe(side->bus));
}

static void
a_server_that_comes_later_is_found(void **state)
{
    (void)state;
    struct world *world = world_new(NULL);
    open_both(world);
    rig_run_for(&world->rig, 1500);
    assert_false(bus_is_up(world->a.bus));
    assert_int_equal(world->a.ups + world->a.downs, 0);
    assert_non_null(strstr(bus_describe(world->a.bus), "No server available"));
    assert_int_equal(bus_publish(world->a.bus, "b.x", NULL, "x", 1), SY_EDOWN);
    assert_int_equal(bus_max_payload(world->a.bus), 0);
    server_start(&world->server);
    expect_up(&world->a, 2500);
    expect_up(&world->b, 2500);
    assert_int_equal(bus_publish(world->a.bus, "b.x", NULL, "x", 1), 0);
    assert_true(rig_run(&world->rig, side_has_message, &world->b, 1000));
    assert_in_range(world->rig.longest_gap_us, 0, GAP_US);
    world_free(world);
}

static void
a_killed_server_is_noticed_at_once_and_nothing_arrives_late(void **state)
{
    (void)state;
    struct world *world = world_new(NULL);
    server_start(&world->server);
    open_both(world);
    expect_up(&world->a, 2000);
    expect_up(&world->b, 2000);
    uint64_t killed = now_ms();
    server_kill(&world->server);
    assert_true(rig_run(&world->rig, side_is_down, &world->a, 1000));
    assert_in_range(world->a.down_at_ms - killed, 0, 200);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(bus_publish(world->a.bus, "b.late", NULL, "late", 4), SY_EDOWN);
    rig_run_for(&world->rig, 3000);
    assert_int_equal(bus_publish(world->a.bus, "b.late", NULL, "late", 4), SY_EDOWN);
    server_start(&world->server);
    uint64_t started = now_ms();
    expect_up(&world->a, 2500);
    expect_up(&world->b, 2500);
    assert_in_range(world->a.up_at_ms - started, 0, 2500);
    assert_int_equal(world->a.ups, 2);
    assert_int_equal(world->a.downs, 1);
    assert_int_equal(bus_publish(world->a.bus, "b.new", NULL, "new", 3), 0);
    assert_true(rig_run(&world->rig, side_has_message, &world->b, 1000));
    rig_run_for(&world->rig, 200);
    assert_int_equal(world->b.messages, 1);
    assert_string_equal(world->b.subject, "b.new");
    struct bus_stats stats;
    bus_stats(world->a.bus, &stats);
    assert_int_equal(stats.refused, 1001);
    assert_int_equal(stats.connects, 2);
    assert_int_equal(stats.losses, 1);
    assert_in_range(world->rig.longest_gap_us, 0, GAP_US);
    world_free(world);
}

// Publishes 128 KiB every 5 ms, 25 MB/s: far more than the kernel keeps for a reader
// that does not read.
struct flood {
    uv_timer_t timer;
    struct side *side;
    uint32_t number;
    uint32_t taken, full, down;
    bool is_refused[16384];
    uint8_t bytes[16 * 1024];
};

static void
on_flood(uv_timer_t *timer)
{
    struct flood *flood = timer->data;
    for (int i = 0; i < 8 && flood->number < 16384; i++) {
        memcpy(flood->bytes, &flood->number, 4);
        int rc = bus_publish(flood->side->bus, "b.flood", NULL, flood->bytes, sizeof flood->bytes);
        flood->is_refused[flood->number++] = rc != 0;
        flood->taken += rc == 0;
        flood->full += rc == SY_EFULL;
        flood->down += rc == SY_EDOWN;
        assert_true(rc == 0 || rc == SY_EFULL || rc == SY_EDOWN);
    }
    bus_flush(flood->side->bus);
}

static void
expect_not_refused(struct side *side, const char *subject, const void *bytes, size_t len,
                   bool is_unheard)
{
    (void)subject;
    (void)len;
    assert_false(is_unheard);
    const struct flood *flood = side->arg;
    uint32_t number;
    memcpy(&number, bytes, 4);
    assert_false(flood->is_refused[number]);
}

static void
a_frozen_server_stops_neither_the_loop_nor_the_publisher(void **state)
{
    (void)state;
    struct world *world = world_new(NULL);
    server_start(&world->server);
    struct bus_opts opts = side_opts(&world->a, "a", world->url);
    opts.max_buffered = MAX_BUFFERED;
    side_open(&world->a, &opts);
    opts = side_opts(&world->b, "b", world->url);
    side_open(&world->b, &opts);
    expect_up(&world->a, 2000);
    expect_up(&world->b, 2000);
    struct flood *flood = calloc(1, sizeof *flood);
    assert_non_null(flood);
    flood->side = &world->a;
    flood->timer.data = flood;
    world->b.also = expect_not_refused;
    world->b.arg = flood;
    uv_timer_init(&world->rig.loop, &flood->timer);
    uv_timer_start(&flood->timer, on_flood, 5, 5);
    rig_run_for(&world->rig, 300);
    assert_int_equal(flood->full + flood->down, 0);
    size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;

    kill(world->server.pid, SIGSTOP);
    uint64_t frozen = now_ms();
    assert_true(rig_run(&world->rig, side_is_down, &world->a, 3 * PING_MS));
    size_t after = mallinfo2().uordblks + mallinfo2().hblkhd;
    uint64_t waited = world->a.down_at_ms - frozen;
    // The last echo came in the ping before: between one and two pings, and a little.
    assert_in_range(waited, PING_MS - 50, 2 * PING_MS + 100);
    assert_non_null(strstr(world->a.why, "no echo"));
    rig_run_for(&world->rig, 6000 - waited);
    if (flood->full == 0 || flood->down == 0)
        fail_msg("%u taken, %u full, %u down", flood->taken, flood->full, flood->down);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    assert_in_range(after, 0, before + MAX_BUFFERED + MAX_BUFFERED / 4);
#else
    (void)before; // not malloc's own numbers
    (void)after;
#endif
    uint32_t down = flood->down;
    kill(world->server.pid, SIGCONT);
    expect_up(&world->a, 4500);
    expect_up(&world->b, 4500);
    assert_true(flood->down >= down);
    uint64_t heard = world->b.messages;
    rig_run_for(&world->rig, 300);
    assert_true(world->b.messages > heard);
    print_message("frozen 6 s: down after %lu ms, longest gap %lu us, %u taken, %u full, %u down\n",
                  (unsigned long)waited, (unsigned long)world->rig.longest_gap_us, flood->taken,
                  flood->full, flood->down);
    assert_in_range(world->rig.longest_gap_us, 0, GAP_US);
    uv_close((uv_handle_t *)&flood->timer, NULL);
    world_free(world);
    free(flood);
}

static const char accounts[] =
    "authorization { users = [\n"
    "  {user: full, password: pw}\n"
    "  {user: deaf, password: pw, permissions: {subscribe: {deny: [\"a.>\", \"a.self\"]}}}\n"
    "  {user: half, password: pw, permissions: {subscribe: {deny: \"unheard.>\"}}}\n"
    "  {user: mute, password: pw, permissions: {publish: [\"a.>\"]}}\n"
    "] }\n";

static void
a_refused_subscription_means_never_up(void **state)
{
    (void)state;
    struct world *world = world_new(accounts);
    server_start(&world->server);
    // "half" may hear its own probes, but not everything it asked for.
    static const char *const users[] = {"deaf", "half"};
    for (size_t i = 0; i < 2; i++) {
        struct bus_opts opts = side_opts(&world->a, "a", world->url);
        opts.user = users[i];
        opts.password = "pw";
        side_open(&world->a, &opts);
        rig_run_for(&world->rig, 1500);
        assert_false(bus_is_up(world->a.bus));
        assert_int_equal(world->a.ups + world->a.downs, 0);
        assert_non_null(
            strstr(bus_describe(world->a.bus), "Permissions Violation for Subscription"));
        assert_int_equal(bus_publish(world->a.bus, "b.x", NULL, "x", 1), SY_EDOWN);
        side_close(&world->a);
    }
    world_free(world);
}

static void
a_refused_publish_does_not_bring_the_bus_down(void **state)
{
    (void)state;
    struct world *world = world_new(accounts);
    server_start(&world->server);
    struct bus_opts opts = side_opts(&world->a, "a", world->url);
    opts.user = "mute";
    opts.password = "pw";
    side_open(&world->a, &opts);
    expect_up(&world->a, 2000);
    for (int i = 0; i < 100; i++)
        assert_int_equal(bus_publish(world->a.bus, "b.x", NULL, "x", 1), 0);
    assert_int_equal(bus_publish(world->a.bus, "a.x", NULL, "x", 1), 0);
    assert_true(rig_run(&world->rig, side_has_message, &world->a, 1000));
    rig_run_for(&world->rig, 3 * PING_MS);
    assert_true(bus_is_up(world->a.bus));
    assert_int_equal(world->a.downs, 0);
    world_free(world);
}

static void
a_wrong_password_means_never_up_and_the_right_one_wins_over_the_url(void **state)
{
    (void)state;
    struct world *world = world_new(accounts);
    server_start(&world->server);
    char url[96];
    snprintf(url, sizeof url, "nats://full:wrong@127.0.0.1:%d", world->server.port);
    struct bus_opts opts = side_opts(&world->a, "a", url);
    side_open(&world->a, &opts);
    rig_run_for(&world->rig, 500);
    assert_false(bus_is_up(world->a.bus));
    assert_non_null(strstr(bus_describe(world->a.bus), "Authorization"));
    side_close(&world->a);
    opts.user = "full";
    opts.password = "pw";
    side_open(&world->a, &opts);
    expect_up(&world->a, 2000);
    world_free(world);
}

// A server of our own that says INFO and nothing else, as one frozen just then.
struct silent {
    uv_poll_t poll;
    int listener, fd;
    unsigned accepted;
};

static void
on_connect(uv_poll_t *poll, int status, int events)
{
    (void)events;
    struct silent *silent = poll->data;
    assert_int_equal(status, 0);
    static const char info[] = "INFO {\"server_id\":\"X\",\"version\":\"2.9.10\",\"proto\":1,"
                               "\"headers\":true,\"max_payload\":1048576}\r\n";
    if (silent->fd >= 0)
        close(silent->fd);
    silent->fd = accept4(silent->listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(silent->fd >= 0);
    assert_int_equal(send(silent->fd, info, sizeof info - 1, MSG_NOSIGNAL), sizeof info - 1);
    silent->accepted++;
}

static void
silent_start(struct silent *silent, struct world *world)
{
    *silent = (struct silent){.fd = -1};
    silent->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_port = htons((uint16_t)world->server.port),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(bind(silent->listener, (struct sockaddr *)&addr, sizeof addr), 0);
    assert_int_equal(listen(silent->listener, 8), 0);
    uv_poll_init(&world->rig.loop, &silent->poll, silent->listener);
    silent->poll.data = silent;
    uv_poll_start(&silent->poll, UV_READABLE, on_connect);
}

static void
silent_stop(struct silent *silent, struct world *world)
{
    uv_close((uv_handle_t *)&silent->poll, NULL);
    rig_run_for(&world->rig, 10);
    close(silent->listener);
    if (silent->fd >= 0)
        close(silent->fd);
}

static bool
was_tried_twice(void *arg)
{
    return ((struct silent *)arg)->accepted >= 2;
}

static bool
was_tried(void *arg)
{
    return ((struct silent *)arg)->accepted >= 1;
}

static void
a_server_that_falls_silent_in_its_greeting_is_given_up(void **state)
{
    (void)state;
    struct world *world = world_new(NULL);
    struct silent silent;
    silent_start(&silent, world);
    struct bus_opts opts = side_opts(&world->a, "a", world->url);
    side_open(&world->a, &opts);
    assert_true(rig_run(&world->rig, was_tried, &silent, 1000));
    // 1 s of the library's own, 0.5 s of ours, the pause of at most 0.1 s.
    assert_true(rig_run(&world->rig, was_tried_twice, &silent, 2500));
    // Closing does not wait for it.
    rig_run_for(&world->rig, 100);
    uint64_t start = now_ms();
    side_close(&world->a);
    assert_in_range(now_ms() - start, 0, 300);
    assert_in_range(world->rig.longest_gap_us, 0, GAP_US);
    silent_stop(&silent, world);
    world_free(world);
}

// A server of our own that greets, echoes the probe, and sends a part of a message.
static void
say(int fd, const char *text, size_t len)
{
    assert_int_equal(send(fd, text, len, MSG_NOSIGNAL), len);
}

static void
on_client(uv_poll_t *poll, int status, int events)
{
    (void)events;
    struct silent *silent = poll->data;
    assert_int_equal(status, 0);
    char text[8192], head[64];
    ssize_t n = recv(silent->fd, text, sizeof text, MSG_DONTWAIT);
    if (n <= 0) {
        uv_poll_stop(poll);
        return;
    }
    if (memmem(text, (size_t)n, "PING\r\n", 6) != NULL)
        say(silent->fd, "PONG\r\n", 6);
    const char *probe = memmem(text, (size_t)n, "PUB a.self 32\r\n", 15);
    if (probe == NULL)
        return;
    int len = snprintf(head, sizeof head, "MSG a.self 1 32\r\n");
    say(silent->fd, head, (size_t)len);
    say(silent->fd, probe + 15, 34);
    static char payload[50000];
    len = snprintf(head, sizeof head, "MSG a.part 1 %d\r\n", 2 * (int)sizeof payload);
    say(silent->fd, head, (size_t)len);
    say(silent->fd, payload, sizeof payload);
    silent->accepted = 100;
}

static bool
has_sent_part(void *arg)
{
    return ((struct silent *)arg)->accepted == 100;
}

// LeakSanitizer is the judge: the library by itself forgets the buffer.
static void
a_connection_that_ends_within_a_message_leaves_nothing_behind(void **state)
{
    (void)state;
    for (int is_closed_by_us = 0; is_closed_by_us < 2; is_closed_by_us++) {
        struct world *world = world_new(NULL);
        struct silent silent;
        silent_start(&silent, world);
        struct bus_opts opts = side_opts(&world->a, "a", world->url);
        side_open(&world->a, &opts);
        assert_true(rig_run(&world->rig, was_tried, &silent, 1000));
        uv_poll_t client;
        uv_poll_init(&world->rig.loop, &client, silent.fd);
        client.data = &silent;
        uv_poll_start(&client, UV_READABLE, on_client);
        assert_true(rig_run(&world->rig, has_sent_part, &silent, 1000));
        expect_up(&world->a, 1000);
        rig_run_for(&world->rig, 50);
        uv_close((uv_handle_t *)&client, NULL);
        if (is_closed_by_us) {
            side_close(&world->a);
        } else {
            uv_poll_stop(&silent.poll);
            shutdown(silent.fd, SHUT_RDWR);
            assert_true(rig_run(&world->rig, side_is_down, &world->a, 1000));
            assert_non_null(strstr(world->a.why, "closed the connection"));
            side_close(&world->a);
        }
        assert_int_equal(world->a.messages, 0);
        silent_stop(&silent, world);
        world_free(world);
    }
}

// Opens and closes sockets in each turn of the loop, each polled, so that a number the
// library has closed is at once another's.
#define CHURN 8
struct churn {
    uv_idle_t idle;
    struct world *world;
    uv_poll_t polls[CHURN];
    int fds[CHURN][2]; // -1: none
    unsigned at, opened, woken;
};

static void
on_churn_closed(uv_handle_t *handle)
{
    struct churn *churn = handle->data;
    size_t i = (size_t)((uv_poll_t *)handle - churn->polls);
    assert_int_equal(close(churn->fds[i][0]), 0);
    assert_int_equal(close(churn->fds[i][1]), 0);
    churn->fds[i][0] = -1;
}

static void
on_churn_poll(uv_poll_t *poll, int status, int events)
{
    struct churn *churn = poll->data;
    assert_int_equal(status, 0);
    assert_true((events & UV_READABLE) != 0);
    churn->woken++;
    uv_close((uv_handle_t *)poll, on_churn_closed);
}

static void
on_churn(uv_idle_t *idle)
{
    struct churn *churn = idle->data;
    unsigned i = churn->at++ % CHURN;
    if (churn->fds[i][0] >= 0) {
        // Opened a few turns ago, is to be woken now.
        (void)send(churn->fds[i][1], "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        return;
    }
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, churn->fds[i]), 0);
    assert_int_equal(uv_poll_init(&churn->world->rig.loop, &churn->polls[i], churn->fds[i][0]), 0);
    churn->polls[i].data = churn;
    assert_int_equal(uv_poll_start(&churn->polls[i], UV_READABLE, on_churn_poll), 0);
    churn->opened++;
}

static bool
churned_enough(void *arg)
{
    return ((struct churn *)arg)->opened >= 200;
}

static bool
all_are_woken(void *arg)
{
    struct churn *churn = arg;
    for (size_t i = 0; i < CHURN; i++)
        if (churn->fds[i][0] >= 0)
            (void)send(churn->fds[i][1], "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    return churn->woken == churn->opened;
}

static void
reused_descriptors_are_not_mistaken_for_the_connection(void **state)
{
    (void)state;
    struct world *world = world_new(NULL);
    server_start(&world->server);
    open_both(world);
    struct churn churn = {.world = world};
    for (size_t i = 0; i < CHURN; i++)
        churn.fds[i][0] = -1;
    uv_idle_init(&world->rig.loop, &churn.idle);
    churn.idle.data = &churn;
    for (int i = 0; i < 10; i++) {
        expect_up(&world->a, 3000);
        expect_up(&world->b, 3000);
        churn.opened = churn.woken = 0;
        uv_idle_start(&churn.idle, on_churn);
        server_kill(&world->server);
        rig_run_for(&world->rig, 50);
        server_start(&world->server);
        assert_true(rig_run(&world->rig, churned_enough, &churn, 5000));
        expect_up(&world->a, 3000);
        expect_up(&world->b, 3000);
        uv_idle_stop(&churn.idle);
        // Every socket that was made gets its event: none lost it, or itself.
        assert_true(rig_run(&world->rig, all_are_woken, &churn, 1000));
        rig_run_for(&world->rig, 10);
        world->b.messages = 0;
        assert_int_equal(bus_publish(world->a.bus, "b.x", NULL, "x", 1), 0);
        assert_true(rig_run(&world->rig, side_has_message, &world->b, 1000));
    }
    uv_close((uv_handle_t *)&churn.idle, NULL);
    rig_run_for(&world->rig, 20);
    world_free(world);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_server_that_comes_later_is_found),
        cmocka_unit_test(a_killed_server_is_noticed_at_once_and_nothing_arrives_late),
        cmocka_unit_test(a_frozen_server_stops_neither_the_loop_nor_the_publisher),
        cmocka_unit_test(a_refused_subscription_means_never_up),
        cmocka_unit_test(a_refused_publish_does_not_bring_the_bus_down),
        cmocka_unit_test(a_wrong_password_means_never_up_and_the_right_one_wins_over_the_url),
        cmocka_unit_test(a_server_that_falls_silent_in_its_greeting_is_given_up),
        cmocka_unit_test(a_connection_that_ends_within_a_message_leaves_nothing_behind),
        cmocka_unit_test(reused_descriptors_are_not_mistaken_for_the_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
