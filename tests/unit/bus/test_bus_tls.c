// test_bus_tls.c: the same over TLS, where the library by itself waits for the rest
// of a record it has begun to read or write.
#include "rig.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct world {
    struct server server;
    char config[512];
    char ca[96];
    char url[64];
    struct rig rig;
    struct side a, b;
};

// A certificate for the name 127.0.0.1 that vouches for itself.
static int
set_up(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    assert_non_null(world);
    server_init(&world->server, world->config);
    char command[512];
    snprintf(command, sizeof command,
             "cd %s && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes "
             "-days 2 -subj /CN=bus-test -addext subjectAltName=IP:127.0.0.1,DNS:127.0.0.1 "
             "-keyout key.pem -out cert.pem 2>/dev/null",
             world->server.dir);
    assert_int_equal(system(command), 0);
    snprintf(world->ca, sizeof world->ca, "%s/cert.pem", world->server.dir);
    snprintf(world->config, sizeof world->config,
             "tls { cert_file: \"%s\", key_file: \"%s/key.pem\" }", world->ca, world->server.dir);
    server_start(&world->server);
    rig_init(&world->rig);
    world->a.rig = world->b.rig = &world->rig;
    snprintf(world->url, sizeof world->url, "tls://127.0.0.1:%d", world->server.port);
    *state = world;
    return 0;
}

static int
tear_down(void **state)
{
    struct world *world = *state;
    if (world->a.bus != NULL)
        side_close(&world->a);
    if (world->b.bus != NULL)
        side_close(&world->b);
    rig_fini(&world->rig);
    server_fini(&world->server);
    free(world);
    return 0;
}

static void
open_side(struct world *world, struct side *side, const char *name)
{
    struct bus_opts opts = side_opts(side, name, world->url);
    opts.tls_ca_file = world->ca;
    opts.max_buffered = (size_t)4 * 1024 * 1024;
    side_open(side, &opts);
    if (!rig_run(&world->rig, side_is_up, side, 4000))
        fail_msg("not up: %s", bus_describe(side->bus));
}

struct order {
    uint32_t next, sent;
};

static void
expect_next(struct side *side, const char *subject, const void *bytes, size_t len, bool is_unheard)
{
    (void)subject;
    (void)is_unheard;
    struct order *order = side->arg;
    uint32_t number;
    assert_true(len >= 4);
    memcpy(&number, bytes, 4);
    assert_int_equal(number, order->next);
    order->next++;
}

static bool
all_came(void *arg)
{
    const struct order *order = ((struct side *)arg)->arg;
    return order->next == order->sent;
}

static void
messages_of_many_records_keep_their_order(void **state)
{
    struct world *world = *state;
    open_side(world, &world->a, "a");
    open_side(world, &world->b, "b");
    static uint8_t bytes[64 * 1024];
    struct order order = {0};
    world->b.also = expect_next;
    world->b.arg = &order;
    for (uint32_t i = 0; i < 2000; i++) {
        memcpy(bytes, &i, 4);
        size_t len = i % 16 == 0 ? sizeof bytes : 4 + i;
        assert_int_equal(bus_publish(world->a.bus, "b.order", NULL, bytes, len), 0);
        order.sent++;
        if (i % 50 == 49)
            assert_true(rig_run(&world->rig, all_came, &world->b, 5000));
    }
    assert_int_equal(world->a.downs + world->b.downs, 0);
}

static void
a_server_without_a_certificate_we_trust_is_refused(void **state)
{
    struct world *world = *state;
    struct bus_opts opts = side_opts(&world->a, "a", world->url);
    side_open(&world->a, &opts);
    rig_run_for(&world->rig, 1000);
    assert_false(bus_is_up(world->a.bus));
    assert_non_null(strstr(bus_describe(world->a.bus), "certificate"));
}

static void
a_certificate_for_another_name_is_refused(void **state)
{
    struct world *world = *state;
    snprintf(world->url, sizeof world->url, "tls://localhost:%d", world->server.port);
    struct bus_opts opts = side_opts(&world->a, "a", world->url);
    opts.tls_ca_file = world->ca;
    side_open(&world->a, &opts);
    rig_run_for(&world->rig, 1000);
    assert_false(bus_is_up(world->a.bus));
}

struct flood {
    uv_timer_t timer;
    struct side *side;
    uint32_t number, taken, full, down;
    uint8_t bytes[16 * 1024];
};

static void
on_flood(uv_timer_t *timer)
{
    struct flood *flood = timer->data;
    for (int i = 0; i < 8; i++) {
        int rc = bus_publish(flood->side->bus, "b.flood", NULL, flood->bytes, sizeof flood->bytes);
        flood->taken += rc == 0;
        flood->full += rc == SY_EFULL;
        flood->down += rc == SY_EDOWN;
    }
    bus_flush(flood->side->bus);
}

static void
a_frozen_server_does_not_stop_the_loop(void **state)
{
    struct world *world = *state;
    open_side(world, &world->a, "a");
    open_side(world, &world->b, "b");
    struct flood *flood = calloc(1, sizeof *flood);
    assert_non_null(flood);
    flood->side = &world->a;
    flood->timer.data = flood;
    uv_timer_init(&world->rig.loop, &flood->timer);
    uv_timer_start(&flood->timer, on_flood, 5, 5);
    rig_run_for(&world->rig, 20);
    uint64_t frozen = now_ms();
    kill(world->server.pid, SIGSTOP);
    assert_true(rig_run(&world->rig, side_is_down, &world->a, 1500));
    assert_in_range(world->a.down_at_ms - frozen, 0, 1100);
    print_message("down after %lu ms: %s\n", (unsigned long)(world->a.down_at_ms - frozen),
                  world->a.why);
    assert_true(rig_run(&world->rig, side_is_down, &world->b, 1500));
    // Connecting again has the TLS handshake to hang in, which has no deadline.
    rig_run_for(&world->rig, 4000);
    kill(world->server.pid, SIGCONT);
    assert_true(rig_run(&world->rig, side_is_up, &world->a, 5000));
    assert_true(rig_run(&world->rig, side_is_up, &world->b, 5000));
    uint64_t heard = world->b.messages;
    rig_run_for(&world->rig, 300);
    assert_true(world->b.messages > heard);
    print_message("longest gap %lu us, %u taken, %u full, %u down\n",
                  (unsigned long)world->rig.longest_gap_us, flood->taken, flood->full, flood->down);
    assert_in_range(world->rig.longest_gap_us, 0, 100 * 1000);
    uv_close((uv_handle_t *)&flood->timer, NULL);
    rig_run_for(&world->rig, 10);
    free(flood);
}

int
main(void)
{
#define WITH_WORLD(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_WORLD(messages_of_many_records_keep_their_order),
        WITH_WORLD(a_server_without_a_certificate_we_trust_is_refused),
        WITH_WORLD(a_certificate_for_another_name_is_refused),
        WITH_WORLD(a_frozen_server_does_not_stop_the_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
