// test_spent.c: when delivered messages go back to nats.c; with messages of the library
// and, for the bus as a whole, with a real nats-server. natsMsg_Destroy is looked at on
// its way into the library.
#include "rig.h"

#include <dlfcn.h>
#include <nats/nats.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/bus/spent.h"

static _Atomic unsigned destroyed; // since count_from_here
static natsMsg *_Atomic last_destroyed;

void
natsMsg_Destroy(natsMsg *msg)
{
    static void (*_Atomic library)(natsMsg * msg);
    if (library == NULL) {
        void *symbol = dlsym(RTLD_NEXT, "natsMsg_Destroy");
        assert_non_null(symbol);
        void (*found)(natsMsg *);
        memcpy(&found, &symbol, sizeof found);
        library = found;
    }
    last_destroyed = msg;
    destroyed++;
    library(msg);
}

static natsMsg *
message(size_t bytes)
{
    natsMsg *msg;
    char *payload = calloc(1, bytes + 1);
    assert_non_null(payload);
    assert_int_equal(natsMsg_Create(&msg, "a.b", "unheard.a", payload, (int)bytes), NATS_OK);
    free(payload);
    return msg;
}

static void
sixty_four_messages_go_back_together(void **state)
{
    (void)state;
    struct spent spent = {0};
    destroyed = 0;
    for (int round = 0; round < 3; round++) {
        for (unsigned i = 1; i < SPENT_MAX; i++) {
            spent_keep(&spent, message(10));
            assert_int_equal(spent.count, i);
            assert_int_equal(spent.bytes, 10 * i);
        }
        assert_int_equal(destroyed, SPENT_MAX * round);
        natsMsg *last = message(10);
        spent_keep(&spent, last);
        assert_int_equal(destroyed, SPENT_MAX * (round + 1));
        assert_ptr_equal(last_destroyed, last);
        assert_int_equal(spent.count, 0);
        assert_int_equal(spent.bytes, 0);
    }
}

static void
less_than_256_kib_are_kept_and_256_kib_are_not(void **state)
{
    (void)state;
    struct spent spent = {0};
    destroyed = 0;
    spent_keep(&spent, message(SPENT_MAX_BYTES - 2));
    spent_keep(&spent, message(1));
    assert_int_equal(destroyed, 0);
    assert_int_equal(spent.bytes, SPENT_MAX_BYTES - 1);
    spent_keep(&spent, message(1));
    assert_int_equal(destroyed, 3);
    assert_int_equal(spent.bytes, 0);
    spent_keep(&spent, message(SPENT_MAX_BYTES));
    assert_int_equal(destroyed, 4);
    spent_keep(&spent, message(0));
    assert_int_equal(destroyed, 4);
    spent_give_back(&spent);
    assert_int_equal(destroyed, 5);
    spent_give_back(&spent);
    assert_int_equal(destroyed, 5);
}

struct one {
    struct server server;
    struct rig rig;
    char url[64];
    struct side side;
    unsigned expected;
};

static struct one *
one_new(uint64_t ping_ms)
{
    struct one *one = calloc(1, sizeof *one);
    assert_non_null(one);
    server_init(&one->server, NULL);
    server_start(&one->server);
    rig_init(&one->rig);
    snprintf(one->url, sizeof one->url, "nats://127.0.0.1:%d", one->server.port);
    one->side.rig = &one->rig;
    struct bus_opts opts = side_opts(&one->side, "a", one->url);
    opts.ping_ms = ping_ms;
    destroyed = 0;
    side_open(&one->side, &opts);
    assert_true(rig_run(&one->rig, side_is_up, &one->side, 3000));
    return one;
}

static void
one_free(struct one *one)
{
    if (one->side.bus != NULL)
        side_close(&one->side);
    rig_fini(&one->rig);
    server_fini(&one->server);
    free(one);
}

static bool
all_are_here(void *arg)
{
    const struct one *one = arg;
    return one->side.messages == one->expected;
}

static void
hear(struct one *one, unsigned count)
{
    one->expected += count;
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(bus_publish(one->side.bus, "a.x", NULL, "x", 1), 0);
    assert_true(rig_run(&one->rig, all_are_here, one, 2000));
}

static bool
all_are_destroyed(void *arg)
{
    const struct one *one = arg;
    return destroyed >= one->expected;
}

static void
a_busy_bus_gives_back_every_sixty_fourth_time(void **state)
{
    (void)state;
    struct one *one = one_new(60000);
    hear(one, SPENT_MAX - 2); // the echo of the probe came before
    assert_int_equal(destroyed, 0);
    hear(one, 1);
    assert_int_equal(destroyed, SPENT_MAX);
    hear(one, SPENT_MAX - 1);
    assert_int_equal(destroyed, SPENT_MAX);
    hear(one, 1);
    assert_int_equal(destroyed, 2 * SPENT_MAX);
    one_free(one);
}

static void
a_quiet_bus_gives_back_with_its_next_probe(void **state)
{
    (void)state;
    struct one *one = one_new(300);
    hear(one, 10);
    assert_true(rig_run(&one->rig, all_are_destroyed, one, 1000));
    one_free(one);
}

static void
a_closed_bus_keeps_nothing(void **state)
{
    (void)state;
    struct one *one = one_new(60000);
    hear(one, 10);
    assert_int_equal(destroyed, 0);
    side_close(&one->side);
    assert_int_equal(destroyed, 11);
    one_free(one);
}

static void
a_lost_server_leaves_nothing_kept(void **state)
{
    (void)state;
    struct one *one = one_new(60000);
    hear(one, 10);
    assert_int_equal(destroyed, 0);
    server_kill(&one->server);
    assert_true(rig_run(&one->rig, side_is_down, &one->side, 1000));
    assert_int_equal(destroyed, 11);
    one_free(one);
}

static void
close_at_the_fifth(struct side *side, const char *subject, const void *bytes, size_t len,
                   bool is_unheard)
{
    (void)subject;
    (void)bytes;
    (void)len;
    (void)is_unheard;
    if (side->messages < 5)
        return;
    bus_close(side->bus, NULL, NULL);
    side->bus = NULL;
    assert_int_equal(destroyed, 5); // the echo and four, but not this one: it is still in use
}

static void
a_bus_closed_by_its_own_message_keeps_nothing(void **state)
{
    (void)state;
    struct one *one = one_new(60000);
    one->side.also = close_at_the_fifth;
    for (int i = 0; i < 5; i++)
        assert_int_equal(bus_publish(one->side.bus, "a.x", NULL, "x", 1), 0);
    one->expected = 5;
    assert_true(rig_run(&one->rig, all_are_here, one, 2000));
    assert_int_equal(destroyed, 6);
    rig_run_for(&one->rig, 300); // the connection ends meanwhile
    one_free(one);
}

static int
open_library(void **state)
{
    (void)state;
    return nats_Open(-1) == NATS_OK ? 0 : -1;
}

// Waits for the collector, so that a message nobody destroyed shows as a leak.
static int
close_library(void **state)
{
    (void)state;
    nats_Close();
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sixty_four_messages_go_back_together),
        cmocka_unit_test(less_than_256_kib_are_kept_and_256_kib_are_not),
        cmocka_unit_test(a_busy_bus_gives_back_every_sixty_fourth_time),
        cmocka_unit_test(a_quiet_bus_gives_back_with_its_next_probe),
        cmocka_unit_test(a_closed_bus_keeps_nothing),
        cmocka_unit_test(a_lost_server_leaves_nothing_kept),
        cmocka_unit_test(a_bus_closed_by_its_own_message_keeps_nothing),
    };
    return cmocka_run_group_tests(tests, open_library, close_library);
}
