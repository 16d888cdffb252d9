// test_health.c: what an edge says of itself is JSON, whatever there is to say.
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "edge/health.h"
#include "proto/tables.h"
#include "tests/unit/edge/fake.h"

// server.h, as far as health.c uses it.

struct server {
    uint32_t connections;
};

uint32_t
server_connections(const struct server *server)
{
    return server->connections;
}

void
server_stats(const struct server *server, struct server_stats *out)
{
    (void)server;
    memset(out, 0xff, sizeof(*out)); // as large as they can be
}

static json_t *
read_reply(const struct http_reply *reply)
{
    json_error_t error;
    assert_string_equal(reply->content_type, "application/json");
    assert_int_equal(strlen(reply->body), reply->len);
    json_t *document = json_loadb(reply->body, reply->len, JSON_DECODE_INT_AS_REAL, &error);
    if (document == NULL)
        fail_msg("%s at %d: %s", error.text, error.position, reply->body);
    return document;
}

static void
alive_is_always_ok(void **state)
{
    struct http_reply reply;
    (void)state;
    health_alive(&reply);
    assert_int_equal(reply.status, 200);
    json_decref(read_reply(&reply));
}

static void
ready_says_what_is_missing(void **state)
{
    struct rig *rig = *state;
    struct health health = {.nats_since_ms = rig->edge.now_ms - 70};
    struct http_reply reply;
    health_ready(&rig->edge, &health, &reply);
    assert_int_equal(reply.status, 503);
    json_t *document = read_reply(&reply);
    assert_true(json_is_false(json_object_get(document, "ready")));
    assert_string_equal(json_string_value(json_object_get(document, "why")), "no lease in Redis");
    const json_t *nats = json_object_get(document, "nats");
    assert_true(json_is_true(json_object_get(nats, "ok")));
    assert_int_equal((int)json_number_value(json_object_get(nats, "for_ms")), 70);
    assert_true(json_is_false(json_object_get(json_object_get(document, "lease"), "ok")));
    json_decref(document);

    lease_tick(&rig->edge);
    answer_beat(call_of(&rig->store, CALL_HEARTBEAT), true, 1);
    health_ready(&rig->edge, &health, &reply);
    assert_int_equal(reply.status, 200);
    json_decref(read_reply(&reply));

    rig->bus.is_up = false;
    health_ready(&rig->edge, &health, &reply);
    assert_int_equal(reply.status, 503);
    json_decref(read_reply(&reply));
}

static void
a_renewal_that_redis_refuses_is_not_ready_though_the_lease_still_lives(void **state)
{
    struct rig *rig = *state;
    struct health health = {0};
    struct http_reply reply;
    lease_tick(&rig->edge);
    answer_beat(call_of(&rig->store, CALL_HEARTBEAT), true, 1);
    const int errors[] = {SY_ETIME, SY_EREPLY}; // a lost answer says nothing yet
    for (int i = 0; i < 2; i++) {
        rig_pass(rig, LEASE_RENEW_MS);
        lease_tick(&rig->edge);
        answer_error(call_of(&rig->store, CALL_HEARTBEAT), errors[i]);
        health_ready(&rig->edge, &health, &reply);
        assert_int_equal(reply.status, errors[i] == SY_EREPLY ? 503 : 200);
        json_decref(read_reply(&reply));
    }
    assert_true(lease_is_held(&rig->edge));
    rig_pass(rig, LEASE_RENEW_MS);
    lease_tick(&rig->edge);
    answer_beat(call_of(&rig->store, CALL_HEARTBEAT), false, 1);
    health_ready(&rig->edge, &health, &reply);
    assert_int_equal(reply.status, 200);
    json_decref(read_reply(&reply));
}

static void
without_a_round_trip_for_four_seconds_it_is_not_ready(void **state)
{
    struct rig *rig = *state;
    struct health health = {0};
    struct http_reply reply;
    lease_tick(&rig->edge);
    answer_beat(call_of(&rig->store, CALL_HEARTBEAT), true, 1);
    roundtrip_tick(&rig->edge);
    rig_pass(rig, ROUNDTRIP_FAIL_MS - 1);
    health_ready(&rig->edge, &health, &reply);
    assert_int_equal(reply.status, 200);
    rig_pass(rig, 1);
    health_ready(&rig->edge, &health, &reply);
    assert_int_equal(reply.status, 503);
    json_t *document = read_reply(&reply);
    assert_string_equal(json_string_value(json_object_get(document, "why")),
                        "its own messages make no round trip");
    const json_t *trip = json_object_get(document, "round_trip");
    assert_true(json_is_false(json_object_get(trip, "ok")));
    assert_int_equal((int)json_number_value(json_object_get(trip, "for_ms")), ROUNDTRIP_FAIL_MS);
    assert_string_equal(json_string_value(json_object_get(trip, "detail")), "no answer from redis");
    assert_true(json_is_false(json_object_get(document, "degraded")));
    json_decref(document);
}

static void
alone_an_edge_is_ready_and_has_no_dependencies(void **state)
{
    struct rig *rig = *state;
    struct health health = {0};
    struct http_reply reply;
    health_ready(&rig->edge, &health, &reply);
    assert_int_equal(reply.status, 200);
    json_t *document = read_reply(&reply);
    assert_null(json_object_get(document, "nats"));
    assert_true(json_is_false(json_object_get(document, "clustered")));
    json_decref(document);
}

static void
descriptions_of_any_kind_and_length_stay_json(void **state)
{
    struct rig *rig = *state;
    struct health health = {0};
    struct http_reply reply;
    static char text[6000]; // outlives the rig, which points to it
    const char fills[] = {'x', '"', '\\', '\n', '\x01', '\x7f', '\xff'};
    rig->bus.description = text;
    rig->store.description = text;
    for (size_t f = 0; f < sizeof(fills); f++) {
        for (size_t len = 0; len < sizeof(text); len = len < 300 ? len + 1 : len + 97) {
            memset(text, fills[f], len);
            text[len] = '\0';
            health_ready(&rig->edge, &health, &reply);
            json_t *document = read_reply(&reply);
            const char *detail =
                json_string_value(json_object_get(json_object_get(document, "redis"), "detail"));
            assert_int_equal(strlen(detail), len < 256 ? len : 256);
            json_decref(document);
        }
    }
}

static void
the_counters_fit_at_their_largest(void **state)
{
    struct rig *rig = *state;
    struct server server = {.connections = UINT32_MAX};
    struct health health;
    struct http_reply reply;
    memset(&health, 0xff, sizeof(health));
    memset(&rig->edge.counters, 0xff, sizeof(rig->edge.counters));
    memset(rig->edge.node, 'n', sizeof(rig->edge.node) - 1);
    rig->edge.live_sessions = UINT32_MAX;
    rig->edge.registry.count = SIZE_MAX;
    rig->edge.router.pending = SIZE_MAX;
    rig->edge.router.pending_bytes = SIZE_MAX;
    health_counters(&rig->edge, &health, &server, &reply);
    rig->edge.live_sessions = 0;
    rig->edge.registry.count = 0;
    rig->edge.router.pending = 0;
    rig->edge.router.pending_bytes = 0;
    assert_true(reply.len + 256 < sizeof(reply.body)); // room for some more
    json_t *document = read_reply(&reply);
#define EXPECT(name, text)                             \
    assert_non_null(json_object_get(document, #name)); \
    assert_true(json_is_number(json_object_get(document, #name)));
    EDGE_COUNTERS(EXPECT)
#undef EXPECT
#define EXPECT(name, code, word, text) assert_non_null(json_object_get(document, "closed_" word));
    SY_CLOSES(EXPECT)
#undef EXPECT
    json_decref(document);
}

static void
counters_are_told_without_a_server_too(void **state)
{
    struct rig *rig = *state;
    struct health health = {.loop_max_ms = 12};
    struct http_reply reply;
    rig_login(rig, "alice", "phone");
    health_counters(&rig->edge, &health, NULL, &reply);
    json_t *document = read_reply(&reply);
    assert_int_equal((int)json_number_value(json_object_get(document, "logins")), 1);
    assert_int_equal((int)json_number_value(json_object_get(document, "live_sessions")), 1);
    assert_int_equal((int)json_number_value(json_object_get(document, "loop_max_ms")), 12);
    json_decref(document);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alive_is_always_ok),
        RIG_TEST(ready_says_what_is_missing),
        RIG_TEST(a_renewal_that_redis_refuses_is_not_ready_though_the_lease_still_lives),
        RIG_TEST(without_a_round_trip_for_four_seconds_it_is_not_ready),
        ALONE_TEST(alone_an_edge_is_ready_and_has_no_dependencies),
        RIG_TEST(descriptions_of_any_kind_and_length_stay_json),
        RIG_TEST(the_counters_fit_at_their_largest),
        ALONE_TEST(counters_are_told_without_a_server_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
