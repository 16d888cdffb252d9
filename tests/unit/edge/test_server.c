// test_server.c: WebSockets of a real server, from real sockets.
#include "tests/unit/edge/server_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edge/frame.h"
#include "edge/server_internal.h"

enum { TEXT = 1, BINARY = 2, CONTINUED = 0, CLOSE = 8, PING = 9, PONG = 10 };

static int
start(void **state)
{
    struct edge *rig = malloc(sizeof *rig);
    rig_start(rig);
    *state = rig;
    return 0;
}

static int
start_and_open(void **state)
{
    start(state);
    rig_open(*state);
    return 0;
}

static int
stop(void **state)
{
    struct edge *rig = *state;
    rig_stop(rig);
    free(rig);
    return 0;
}

// A frame with a number and padding, pushed to the last conn.
static int
push_number(struct edge *rig, uint32_t number, size_t len)
{
    uint8_t payload[8192];
    assert_true(len >= 4 && len <= sizeof payload);
    memset(payload, (uint8_t)number, len);
    memcpy(payload, &number, 4);
    struct frame *frame = frame_new(conn_format(rig->last), payload, len);
    int error = conn_push(rig->last, frame);
    frame_release(frame);
    return error;
}

static void
expect_number(struct client *client, uint32_t number, size_t len)
{
    uint8_t payload[8192];
    memset(payload, (uint8_t)number, len);
    memcpy(payload, &number, 4);
    client_expect(client, BINARY, payload, len);
}

// Messages.

static void
messages_come_back_in_both_formats(void **state)
{
    struct edge *rig = *state;
    struct client protobuf, json;
    client_upgrade(&protobuf, rig, UPGRADE_PROTOBUF);
    client_upgrade(&json, rig, UPGRADE_JSON);
    client_send_frame(&protobuf, BINARY, true, "\x00\xff\x01", 3);
    client_expect(&protobuf, BINARY, "\x00\xff\x01", 3);
    client_send_frame(&json, TEXT, true, "{\"a\":\"\xc3\xa9\"}", 10);
    client_expect(&json, TEXT, "{\"a\":\"\xc3\xa9\"}", 10);
    client_send_frame(&json, TEXT, true, "", 0);
    client_expect(&json, TEXT, "", 0);
    assert_int_equal(rig->received, 3);
    assert_int_equal(server_connections(rig->server), 2);
    struct server_stats stats = rig_stats(rig);
    assert_int_equal(stats.upgrades, 2);
    assert_int_equal(stats.messages_in, 3);
    assert_int_equal(stats.bytes_in, 13);
    assert_int_equal(stats.frames_out, 3);
    assert_int_equal(stats.bytes_out, 13 + 3 * 2);
    client_close(&protobuf);
    client_close(&json);
}

static void
a_message_sent_together_with_the_request_is_not_lost(void **state)
{
    struct edge *rig = *state;
    static const char bytes[] = UPGRADE_PROTOBUF "\x82\x83\0\0\0\0xyz";
    struct client client;
    struct reply reply;
    client_open(&client, rig);
    client_send(&client, bytes, sizeof bytes - 1);
    client_read_reply(&client, &reply, false);
    assert_int_equal(reply.status, 101);
    client_expect(&client, BINARY, "xyz", 3);
    client_close(&client);
}

static void
the_session_gets_the_token_and_the_peer(void **state)
{
    struct edge *rig = *state;
    struct client client;
    client_upgrade(&client, rig,
                   UPGRADE_HEAD "Authorization: Bearer abc.def.ghi\r\n"
                                "Sec-WebSocket-Protocol: switchyard.v1\r\n\r\n");
    assert_string_equal(rig->token, "abc.def.ghi");
    assert_int_equal(strncmp(conn_peer(rig->last), "127.0.0.1:", 10), 0);
    assert_int_equal(conn_format(rig->last), CODEC_PROTOBUF);
    client_close(&client);
    struct client other;
    client_upgrade(&other, rig, UPGRADE_JSON);
    assert_string_equal(rig->token, "");
    assert_int_equal(conn_format(rig->last), CODEC_JSON);
    client_close(&other);
}

static void
a_long_token_comes_through(void **state)
{
    struct edge *rig = *state;
    struct client client;
    char token[4001], request[4600];
    memset(token, 't', 4000);
    token[4000] = '\0';
    snprintf(request, sizeof request,
             UPGRADE_HEAD "Authorization: Bearer %s\r\n"
                          "Sec-WebSocket-Protocol: switchyard.v1\r\n\r\n",
             token);
    client_upgrade(&client, rig, request);
    assert_memory_equal(rig->token, token, sizeof rig->token - 1);
    client_close(&client);
}

static void
frames_pushed_in_one_turn_leave_in_one_write(void **state)
{
    struct edge *rig = *state;
    struct client client;
    client_upgrade(&client, rig, UPGRADE_PROTOBUF);
    struct server_stats before = rig_stats(rig);
    for (uint32_t i = 0; i < 500; i++)
        assert_int_equal(push_number(rig, i, 100), 0);
    assert_int_equal(conn_backlog(rig->last), 500 * 102);
    rig_turn(rig);
    struct server_stats after = rig_stats(rig);
    assert_int_equal(after.writes - before.writes, 1);
    assert_int_equal(after.frames_out - before.frames_out, 500);
    assert_int_equal(after.bytes_out - before.bytes_out, 500 * 102);
    assert_int_equal(conn_backlog(rig->last), 0);
    for (uint32_t i = 0; i < 500; i++)
        expect_number(&client, i, 100);
    client_close(&client);
}

static void
more_than_64_KiB_take_one_write_each_64_KiB(void **state)
{
    struct edge *rig = *state;
    struct client client;
    client_upgrade(&client, rig, UPGRADE_PROTOBUF);
    struct server_stats before = rig_stats(rig);
    for (uint32_t i = 0; i < 20; i++) // of 6,000 + 4 bytes: ten fit
        assert_int_equal(push_number(rig, i, 6000), 0);
    for (uint32_t i = 0; i < 20; i++)
        expect_number(&client, i, 6000);
    assert_int_equal(rig_stats(rig).writes - before.writes, 2);
    client_close(&client);
}

static void
a_frame_larger_than_one_write_arrives(void **state)
{
    struct edge *rig = *state;
    struct client client;
    client_upgrade(&client, rig, UPGRADE_PROTOBUF);
    uint8_t *payload = malloc(300000);
    for (size_t i = 0; i < 300000; i++)
        payload[i] = (uint8_t)(i * 7 + (i >> 8));
    struct frame *frame = frame_new(CODEC_PROTOBUF, payload, 300000);
    assert_int_equal(push_number(rig, 1, 4), 0);
    assert_int_equal(conn_push(rig->last, frame), 0);
    assert_int_equal(push_number(rig, 2, 4), 0);
    frame_release(frame);
    expect_number(&client, 1, 4);
    client_expect(&client, BINARY, payload, 300000);
    expect_number(&client, 2, 4);
    free(payload);
    client_close(&client);
}

static void
a_fragmented_message_arrives_whole(void **state)
{
    struct edge *rig = *state;
    rig->mode = RIG_RECORD;
    struct client client;
    client_upgrade(&client, rig, UPGRADE_PROTOBUF);
    client_send_frame(&client, BINARY, false, "one ", 4);
    client_send_frame(&client, PING, true, "between", 7);
    client_send_frame(&client, CONTINUED, false, "", 0);
    client_send_frame(&client, CONTINUED, false, "two ", 4);
    client_send_frame(&client, CONTINUED, true, "three", 5);
    rig_until(rig, rig->received == 1);
    assert_int_equal(rig->message_len, 13);
    assert_memory_equal(rig->message, "one two three", 13);
    client_expect(&client, PONG, "between", 7);
    client_close(&client);
}

static void
a_message_dripped_byte_by_byte_arrives_and_shows_life(void **state)
{
    struct edge *rig = *state;
    rig->mode = RIG_RECORD;
    struct client client;
    client_upgrade(&client, rig, UPGRADE_PROTOBUF);
    client_send_frame_head(&client, BINARY, true, 20);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(rig->received, 0);
        client_send(&client, "x", 1);
        rig_turns(rig, 3);
    }
    rig_until(rig, rig->received == 1);
    assert_int_equal(rig->message_len, 20);
    assert_int_equal(rig->alive, 19);
    client_close(&client);
}

static void
a_message_larger_than_one_read_arrives_whole(void **state)
{
    struct edge *rig = *state;
    rig->opts.max_frame_bytes = 300000;
    rig_open(rig);
    struct client client;
    client_upgrade(&client, rig, UPGRADE_PROTOBUF);
    static uint8_t payload[300000]; // a read brings 256 KiB at most
    for (size_t i = 0; i < sizeof payload; i++)
        payload[i] = (uint8_t)(i % 251);
    client_send_frame(&client, BINARY, true, payload, sizeof payload);
    client_expect(&client, BINARY, payload, sizeof payload);
    client_close(&client);
}

static void
many_small_messages_in_one_segment_all_arrive_in_order(void **state)
{
    struct edge *rig = *state;
    struct client client;
    client_upgrade(&client, rig, UPGRADE_PROTOBUF);
    uint8_t bytes[300 * 10];
    for (uint32_t i = 0; i < 300; i++) {
        memcpy(bytes + 10 * i, "\x82\x84\0\0\0\0", 6);
        memcpy(bytes + 10 * i + 6, &i, 4);
    }
    client_send(&client, bytes, sizeof bytes);
    for (uint32_t i = 0; i < 300; i++)
        client_expect(&client, BINARY, &i, 4);
    assert_true(rig_stats(rig).writes < 50);
    client_close(&client);
}

static void
messages_behind_a_close_frame_in_the_same_read_are_dropped(void **state)
{
    struct edge *rig = *state;
    struct client client;
    client_upgrade(&client, rig, UPGRADE_PROTOBUF);
    static const uint8_t bytes[] = "\x82\x81\0\0\0\0a\x88\x82\0\0\0\0\x03\xe8\x82\x81\0\0\0\0b";
    client_send(&client, bytes, sizeof bytes - 1);
    client_expect(&client, BINARY, "a", 1);
    assert_int_equal(client_read_close(&client), 1000);
    rig_until(rig, rig->closed == 1);
    assert_int_equal(rig->received, 1);
    client_close(&client);
}

static void
a_whole_read_behind_a_refused_message_is_dropped(void **state)
{
    struct edge *rig = *state;
    struct client client;
    client_upgrade(&client, rig, UPGRADE_PROTOBUF);
    rig->mode = RIG_CLOSE;
    rig->close_with = CLOSE_RATE;
    static uint8_t bytes[20000 * 7];
    for (size_t i = 0; i < sizeof bytes; i += 7)
        memcpy(bytes + i, "\x82\x81\0\0\0\0a", 7);
    client_send(&client, bytes, sizeof bytes);
    client_expect_close(&client, CLOSE_RATE);
    assert_int_equal(rig->received, 1);
    client_close(&client);
}

// Slices: a crowd larger than what one turn writes to.

enum { SOON = 64, SLICE = 256, CROWD = SOON + 2 * SLICE + 20 };

static void
crowd_upgrade(struct edge *rig, struct client *clients, struct conn **conns)
{
    for (unsigned i = 0; i < CROWD; i++) {
        client_upgrade(&clients[i], rig, UPGRADE_PROTOBUF);
        conns[i] = rig->last;
    }
    server_flush(rig->server); // a turn begins
}

static void
push_to(struct conn *conn, size_t len)
{
    static const uint8_t payload[40000];
    struct frame *frame = frame_new(CODEC_PROTOBUF, payload, len);
    assert_int_equal(conn_push(conn, frame), 0);
    frame_release(frame);
}

static void
push_to_all(struct conn **conns)
{
    for (unsigned i = 0; i < CROWD; i++)
        push_to(conns[i], 10);
}

static void
a_crowd_is_written_to_in_slices(void **state)
{
    struct edge *rig = *state;
    static struct client clients[CROWD];
    static struct conn *conns[CROWD];
    crowd_upgrade(rig, clients, conns);
    uint64_t before = rig_stats(rig).writes;
    push_to_all(conns);
    assert_true(server_flush(rig->server));
    assert_int_equal(rig_stats(rig).writes - before, SOON + SLICE);
    assert_int_equal(conn_backlog(conns[SOON + SLICE - 1]), 0); // the oldest first
    assert_true(server_flush(rig->server));
    assert_int_equal(rig_stats(rig).writes - before, SOON + 2 * SLICE);
    assert_false(server_flush(rig->server));
    assert_int_equal(rig_stats(rig).writes - before, CROWD);
    for (unsigned i = 0; i < CROWD; i++)
        client_close(&clients[i]);
}

static void
what_comes_for_those_who_wait_leaves_in_the_same_write(void **state)
{
    struct edge *rig = *state;
    static struct client clients[CROWD];
    static struct conn *conns[CROWD];
    crowd_upgrade(rig, clients, conns);
    push_to_all(conns);
    assert_true(server_flush(rig->server));
    uint64_t before = rig_stats(rig).writes;
    push_to_all(conns);
    while (server_flush(rig->server)) {
    }
    struct server_stats stats = rig_stats(rig);
    assert_int_equal(stats.writes - before, CROWD);
    assert_int_equal(stats.frames_out, 2 * CROWD);
    for (unsigned i = 0; i < CROWD; i++)
        client_close(&clients[i]);
}

static void
a_lone_message_much_and_the_end_do_not_wait_for_the_crowd(void **state)
{
    struct edge *rig = *state;
    rig->opts.max_queue_bytes = 65536;
    rig_open(rig);
    static struct client clients[CROWD];
    static struct conn *conns[CROWD];
    crowd_upgrade(rig, clients, conns);
    push_to_all(conns);
    push_to(conns[CROWD - 1], 32000); // less than half of the queue
    push_to(conns[CROWD - 2], 33000);
    conn_close(conns[CROWD - 3], CLOSE_DRAINING);
    assert_true(server_flush(rig->server));
    assert_int_not_equal(conn_backlog(conns[CROWD - 1]), 0);
    assert_int_equal(conn_backlog(conns[CROWD - 2]), 0);
    assert_int_equal(conn_backlog(conns[CROWD - 3]), 0);
    push_to(conns[CROWD - 1], 10);
    assert_true(server_flush(rig->server));
    assert_int_equal(conn_backlog(conns[CROWD - 1]), 0);
    assert_int_not_equal(conn_backlog(conns[CROWD - 4]), 0);
    for (unsigned i = 0; i < CROWD; i++)
        client_close(&clients[i]);
}

static void
those_who_wait_may_go(void **state)
{
    struct edge *rig = *state;
    static struct client clients[CROWD];
    static struct conn *conns[CROWD];
    crowd_upgrade(rig, clients, conns);
    push_to_all(conns);
    for (unsigned i = 0; i < CROWD; i++)
        client_reset(&clients[i]);
    rig_until(rig, rig->closed == CROWD);
    assert_false(server_flush(rig->server));
}

// What is refused.

static void
a_message_of_exactly_the_limit_is_taken(void **state)
{
    struct edge *rig = *state;
    rig->opts.max_frame_bytes = 5000;
    rig_open(rig);
    struct client client;
    client_upgrade(&client, rig, UPGRADE_PROTOBUF);
    char payload[5000] = {0};
    client_send_frame(&client, BINARY, true, payload, 5000);
    client_expect(&client, BINARY, payload, 5000);
    client_send_frame(&client, BINARY, false, payload, 2500);
    client_send_frame(&client, CONTINUED, true, payload, 2500);
    client_expect(&client, BINARY, payload, 5000);
    client_close(&client);
}

static void
one_byte_over_the_limit_is_1009(void **state)
{
    struct edge *rig = *state;
    rig->opts.max_frame_bytes = 5000;
    rig_open(rig);
    struct client client;
    char payload[5001] = {0};
    client_upgrade(&client, rig, UPGRADE_PROTOBUF);
    client_send_frame(&client, BINARY, true, payload, 5001);
    client_expect_close(&client, 1009);
    client_close(&client);
    client_upgrade(&client, rig, UPGRADE_PROTOBUF);
    client_send_frame(&client, BINARY, false, payload, 2500);
    client_send_frame(&client, CONTINUED, true, payload, 2501);
    client_expect_close(&client, 1009);
    client_close(&client);
    rig_until(rig, rig->closed == 2);
    assert_int_equal(rig->last_code, CLOSE_TOO_BIG);
    assert_int_equal(rig->received, 0);
    assert_int_equal(rig_stats(rig).closes[close_index(CLOSE_TOO_BIG)], 2);
}

static void
a_frame_that_promises_too_much_is_refused_at_its_first_byte(void **state)
{
    struct edge *rig = *state;
    struct client client;
    client_upgrade(&client, rig, UPGRADE_PROTOBUF);
    client_send_frame_head(&client, BINARY, true, UINT64_C(1) << 40);
    client_send(&client, "x", 1);
    assert_int_equal(client_read_close(&client), 1009);
    client_close(&client);
    rig_until(rig, rig->closed == 1);
}

static void
a_message_of_max_fragments_is_taken_and_one_more_is_1009(void **state)
{
    struct edge *rig = *state;
    rig->opts.max_fragments = 5;
    rig_open(rig);
    struct client client;
    client_upgrade(&client, rig, UPGRADE_PROTOBUF);
    client_send_frame(&client, BINARY, false, "a", 1);
    for (int i = 0; i < 3; i++)
        client_send_frame(&client, CONTINUED, false, "b", 1);
    client_send_frame(&client, CONTINUED, true, "c", 1);
    client_expect(&client, BINARY, "abbbc", 5);
    client_send_frame(&client, BINARY, false, "", 0);
    for (int i = 0; i < 4; i++)
        client_send_frame(&client, CONTINUED, false, "", 0);
    client_send_frame(&client, CONTINUED, true, "", 0);
    client_expect_close(&client, 1009);
    client_close(&client);
}

static void
the_wrong_type_of_message_is_1003(void **state)
{
    struct edge *rig = *state;
    struct client client;
    client_upgrade(&client, rig, UPGRADE_PROTOBUF);
    client_send_frame(&client, TEXT, true, "{}", 2);
    client_expect_close(&client, 1003);
    client_close(&client);
    client_upgrade(&client, rig, UPGRADE_JSON);
    client_send_frame(&client, BINARY, true, "{}", 2);
    client_expect_close(&client, 1003);
    client_close(&client);
    rig_until(rig, rig->closed == 2);
    assert_int_equal(rig->last_code, CLOSE_UNSUPPORTED);
    assert_int_equal(rig->received, 0);
}

static void
text_that_is_no_UTF_8_is_1007(void **state)
{
    struct edge *rig = *state;
    struct client client;
    client_upgrade(&client, rig, UPGRADE_JSON);
    client_send_frame(&client, TEXT, true, "\"\xc3\x28\"", 4);
    client_expect_close(&client, 1007);
    client_close(&client);
    client_upgrade(&client, rig, UPGRADE_JSON);
    client_send_frame(&client, TEXT, false, "\"\xc3", 2);
    client_send_frame(&client, CONTINUED, true, "\"", 1);
    client_expect_close(&client, 1007);
    client_close(&client);
    rig_until(rig, rig->closed == 2);
    assert_int_equal(rig->last_code, CLOSE_BAD_TEXT);
    assert_int_equal(rig->received, 0);
}

static void
a_character_may_be_split_between_fragments(void **state)
{
    struct edge *rig = *state;
    struct client client;
    client_upgrade(&client, rig, UPGRADE_JSON);
    client_send_frame(&client, TEXT, false, "\"\xc3", 2);
    client_send_frame(&client, PONG, true, "\xff\xfe", 2); // no text, and none of its business
    client_send_frame(&client, CONTINUED, true, "\xa9\"", 2);
    client_expect(&client, TEXT, "\"\xc3\xa9\"", 4);
    client_close(&client);
}

static void
a_breach_of_the_protocol_is_1002(void **state)
{
    struct edge *rig = *state;
    struct client client;
    client_upgrade(&client, rig, UPGRADE_PROTOBUF);
    client_send_frame(&client, 3, true, "x", 1);
    assert_int_equal(client_read_close(&client), 1002);
    assert_int_equal(push_number(rig, 1, 10), SY_EDOWN);
    client_send_close(&client, 1002);
    client_until_end(&client);
    client_close(&client);
    rig_until(rig, rig->closed == 1);
    assert_int_equal(rig->last_code, CLOSE_MALFORMED);
}

// Life.

static void
pings_are_answered_and_pongs_show_life(void **state)
{
    struct edge *rig = *state;
    struct client client;
    client_upgrade(&client, rig, UPGRADE_PROTOBUF);
    client_send_frame(&client, PING, true, "hello", 5);
    client_expect(&client, PONG, "hello", 5);
    assert_int_equal(rig->alive, 0);
    struct frame *ping = frame_new_control(9, "1", 1);
    assert_int_equal(conn_push(rig->last, ping), 0);
    frame_release(ping);
    client_expect(&client, PING, "1", 1);
    client_send_frame(&client, PONG, true, "1", 1);
    rig_until(rig, rig->alive == 1);
    client_close(&client);
}

// Slow readers.

// Pushes until the queue refuses; how many were taken.
static uint32_t
push_until_full(struct edge *rig, size_t len)
{
    uint32_t count = 0;
    int error;
    while ((error = push_number(rig, count, len)) == 0) {
        if (++count % 16 == 0)
            rig_turn(rig);
        assert_true(count < 100000);
    }
    assert_int_equal(error, SY_EFULL);
    return count;
}

static void
a_stalled_reader_costs_a_bounded_amount_and_loses_nothing(void **state)
{
    struct edge *rig = *state;
    rig->opts.max_queue_bytes = 256 * 1024;
    rig->has_narrow_clients = true;
    rig_open(rig);
    struct client client;
    client_upgrade(&client, rig, UPGRADE_PROTOBUF);
    uint32_t count = push_until_full(rig, 1000);
    // Queue, one write in libwebsockets, and the rest is the kernel's: 64 KiB unsent and
    // what the client's side takes.
    assert_true(conn_backlog(rig->last) <= 256 * 1024 + 64 * 1024);
    assert_true(conn_backlog(rig->last) > 200 * 1024);
    assert_true((size_t)count * 1004 < 1024 * 1024);
    struct server_stats full = rig_stats(rig);
    for (uint32_t i = 0; i < count; i++)
        expect_number(&client, i, 1000);
    assert_int_equal(conn_backlog(rig->last), 0);
    assert_true(rig_stats(rig).writes - full.writes <= 2 * (256 / 64) + 2);
    assert_int_equal(push_number(rig, 77, 1000), 0); // and it goes on
    expect_number(&client, 77, 1000);
    client_close(&client);
}

static void
a_stream_stays_intact_through_stalls_pings_and_pushes(void **state)
{
    struct edge *rig = *state;
    rig->opts.max_queue_bytes = 128 * 1024;
    rig->has_narrow_clients = true;
    rig_open(rig);
    struct client client;
    client_upgrade(&client, rig, UPGRADE_PROTOBUF);
    uint32_t pushed = 0, seen = 0;
    unsigned pongs = 0;
    for (int round = 0; round < 30; round++) {
        int error;
        while ((error = push_number(rig, pushed, 4 + pushed * 37 % 3000)) == 0) {
            if (++pushed % 8 == 0)
                rig_turn(rig);
        }
        assert_int_equal(error, SY_EFULL);
        client_send_frame(&client, PING, true, "p", 1); // a pong between the writes
        for (int i = 0; i < 40; i++) {
            struct ws_frame frame;
            client_read_frame(&client, &frame);
            if (frame.opcode == PONG) {
                pongs++;
            } else {
                uint32_t number;
                memcpy(&number, frame.payload, 4);
                assert_int_equal(frame.opcode, BINARY);
                assert_int_equal(number, seen);
                assert_int_equal(frame.len, 4 + seen * 37 % 3000);
                seen++;
            }
            client_take(&client, frame.total);
        }
    }
    while (seen < pushed) {
        struct ws_frame frame;
        client_read_frame(&client, &frame);
        if (frame.opcode == PONG)
            pongs++;
        else
            seen++;
        client_take(&client, frame.total);
    }
    assert_true(pongs > 0);
    client_close(&client);
}

static void
a_stalled_reader_that_is_closed_gets_whole_frames_then_the_close(void **state)
{
    struct edge *rig = *state;
    rig->opts.max_queue_bytes = 256 * 1024;
    rig->has_narrow_clients = true;
    rig_open(rig);
    struct client client;
    client_upgrade(&client, rig, UPGRADE_PROTOBUF);
    uint32_t count = push_until_full(rig, 1000);
    conn_close(rig->last, CLOSE_SLOW_READER);
    rig_turns(rig, 3);
    assert_true(conn_backlog(rig->last) < 70 * 1024); // the queue was dropped
    uint32_t seen = 0;
    struct ws_frame frame;
    for (client_read_frame(&client, &frame); frame.opcode == BINARY;
         client_read_frame(&client, &frame)) {
        uint32_t number;
        memcpy(&number, frame.payload, 4);
        assert_int_equal(number, seen++);
        client_take(&client, frame.total);
    }
    assert_true(seen < count);
    assert_int_equal(frame.opcode, CLOSE);
    client_expect_close(&client, CLOSE_SLOW_READER);
    rig_until(rig, rig->closed == 1);
    assert_int_equal(rig->last_code, CLOSE_SLOW_READER);
    client_close(&client);
}

// The server's own slack is half a second; a sanitizer's build is slower all round.
static void
expect_cut_in_5_s(uint64_t began_ms)
{
    const char *scale = getenv("SY_TIME_SCALE");
    uint64_t took_ms = rig_ms() - began_ms;
    assert_in_range(took_ms, 4000, 5000 * (scale != NULL ? strtoull(scale, NULL, 10) : 1));
}

static void
a_stalled_reader_that_does_not_take_the_close_is_cut_in_5_s(void **state)
{
    struct edge *rig = *state;
    rig->opts.max_queue_bytes = 256 * 1024;
    rig->has_narrow_clients = true;
    rig_open(rig);
    struct client client;
    client_upgrade(&client, rig, UPGRADE_PROTOBUF);
    unsigned fds = rig_open_fds();
    uint8_t *payload = calloc(1, 250000); // libwebsockets keeps most of it
    struct frame *frame = frame_new(CODEC_PROTOBUF, payload, 250000);
    assert_int_equal(conn_push(rig->last, frame), 0);
    frame_release(frame);
    free(payload);
    rig_turns(rig, 20);
    assert_true(conn_backlog(rig->last) > 0);
    uint64_t began = rig_ms();
    conn_close(rig->last, CLOSE_SLOW_READER);
    rig_until(rig, rig->closed == 1);
    expect_cut_in_5_s(began);
    assert_int_equal(rig->last_code, CLOSE_SLOW_READER);
    assert_int_equal(server_connections(rig->server), 0);
    rig_turns(rig, 100);
    assert_int_equal(rig_open_fds(), fds - 1); // the socket, too, though output was left
    client_close(&client);
}

// The end.

static void
a_close_from_inside_a_message_follows_what_was_pushed(void **state)
{
    struct edge *rig = *state;
    rig->mode = RIG_CLOSE;
    rig->close_with = CLOSE_UNAUTHORIZED;
    struct client client;
    client_upgrade(&client, rig, UPGRADE_PROTOBUF);
    client_send(&client, "\x82\x81\0\0\0\0a\x82\x81\0\0\0\0b", 14); // the second is not delivered
    client_expect(&client, BINARY, "a", 1);
    struct ws_frame frame;
    client_read_frame(&client, &frame);
    assert_int_equal(frame.opcode, CLOSE);
    assert_int_equal(frame.len, 2 + strlen(close_text(CLOSE_UNAUTHORIZED)));
    assert_memory_equal(frame.payload + 2, close_text(CLOSE_UNAUTHORIZED), frame.len - 2);
    assert_int_equal(rig->closed, 0); // until the client has answered
    client_expect_close(&client, 4002);
    rig_until(rig, rig->closed == 1);
    assert_int_equal(rig->last_code, CLOSE_UNAUTHORIZED);
    assert_int_equal(rig->received, 1);
    client_close(&client);
}

static void
a_close_from_outside_ends_pushes_and_the_first_code_counts(void **state)
{
    struct edge *rig = *state;
    struct client client;
    client_upgrade(&client, rig, UPGRADE_PROTOBUF);
    assert_int_equal(push_number(rig, 5, 50), 0);
    conn_close(rig->last, CLOSE_REPLACED);
    conn_close(rig->last, CLOSE_SILENT);
    assert_int_equal(push_number(rig, 6, 50), SY_EDOWN);
    expect_number(&client, 5, 50);
    client_expect_close(&client, 4001);
    rig_until(rig, rig->closed == 1);
    assert_int_equal(rig->last_code, CLOSE_REPLACED);
    assert_int_equal(rig_stats(rig).closes[close_index(CLOSE_REPLACED)], 1);
    client_close(&client);
}

static void
a_client_that_does_not_answer_the_close_is_cut_in_5_s(void **state)
{
    struct edge *rig = *state;
    struct client client;
    client_upgrade(&client, rig, UPGRADE_PROTOBUF);
    uint64_t began = rig_ms();
    conn_close(rig->last, CLOSE_SILENT);
    assert_int_equal(client_read_close(&client), 4109);
    client_until_end(&client);
    expect_cut_in_5_s(began);
    rig_until(rig, rig->closed == 1);
    assert_int_equal(rig->last_code, CLOSE_SILENT);
    client_close(&client);
}

static void
closes_begun_at_different_times_are_cut_in_turn(void **state)
{
    struct edge *rig = *state;
    struct client first, second;
    client_upgrade(&first, rig, UPGRADE_PROTOBUF);
    conn_close(rig->last, CLOSE_SILENT);
    client_upgrade(&second, rig, UPGRADE_PROTOBUF);
    uint64_t began = rig_ms();
    rig_until(rig, rig_ms() - began > 300);
    conn_close(rig->last, CLOSE_RATE);
    rig_until(rig, rig->closed == 1);
    assert_int_equal(rig->last_code, CLOSE_SILENT);
    rig_turns(rig, 10);
    assert_int_equal(rig->closed, 1);
    rig_until(rig, rig->closed == 2);
    assert_int_equal(rig->last_code, CLOSE_RATE);
    client_close(&first);
    client_close(&second);
}

static void
the_clients_close_is_sent_back_and_is_normal(void **state)
{
    struct edge *rig = *state;
    static const unsigned codes[] = {1000, 1001, 3000, 4999};
    for (unsigned i = 0; i < 4; i++) {
        struct client client;
        client_upgrade(&client, rig, UPGRADE_PROTOBUF);
        client_send_close(&client, codes[i]);
        assert_int_equal(client_read_close(&client), codes[i]);
        client_until_end(&client);
        client_close(&client);
        rig_until(rig, rig->closed == i + 1);
        assert_int_equal(rig->last_code, CLOSE_NORMAL);
    }
    struct client client;
    client_upgrade(&client, rig, UPGRADE_PROTOBUF);
    client_send_frame(&client, CLOSE, true, "", 0);
    client_expect(&client, CLOSE, "", 0);
    client_until_end(&client);
    client_close(&client);
    rig_until(rig, rig->closed == 5);
    assert_int_equal(rig->last_code, CLOSE_NORMAL);
}

static void
answers_precede_the_close_that_was_sent_with_the_question(void **state)
{
    struct edge *rig = *state;
    struct client client;
    client_upgrade(&client, rig, UPGRADE_PROTOBUF);
    client_send(&client, "\x82\x81\0\0\0\0q\x88\x82\0\0\0\0\x03\xe8", 15);
    client_expect(&client, BINARY, "q", 1);
    assert_int_equal(client_read_close(&client), 1000);
    client_until_end(&client);
    client_close(&client);
}

static void
a_malformed_close_ends_it_at_once(void **state)
{
    struct edge *rig = *state;
    struct client client;
    client_upgrade(&client, rig, UPGRADE_PROTOBUF);
    client_send_frame(&client, CLOSE, true, "x", 1);
    client_until_end(&client);
    assert_int_equal(client.len, 0);
    client_close(&client);
    client_upgrade(&client, rig, UPGRADE_PROTOBUF);
    client_send_frame(&client, CLOSE, true, "\x03\xe8\xff", 3); // its reason is no UTF-8
    client_until_end(&client);
    assert_int_equal(client.len, 0);
    client_close(&client);
    rig_until(rig, rig->closed == 2);
}

static void
a_socket_that_ends_without_a_close_is_lost(void **state)
{
    struct edge *rig = *state;
    struct client client;
    client_upgrade(&client, rig, UPGRADE_PROTOBUF);
    client_close(&client);
    rig_until(rig, rig->closed == 1);
    assert_int_equal(rig->last_code, CLOSE_LOST);
    client_upgrade(&client, rig, UPGRADE_PROTOBUF);
    client_reset(&client);
    rig_until(rig, rig->closed == 2);
    assert_int_equal(rig->last_code, CLOSE_LOST);
    assert_int_equal(rig_stats(rig).closes[close_index(CLOSE_LOST)], 2);
}

static void
a_reset_noticed_by_a_write_is_lost(void **state)
{
    struct edge *rig = *state;
    struct client client;
    client_upgrade(&client, rig, UPGRADE_PROTOBUF);
    client_reset(&client);
    assert_int_equal(push_number(rig, 1, 50), 0);
    server_flush(rig->server); // before the loop could tell
    assert_int_equal(rig->closed, 1);
    assert_int_equal(rig->last_code, CLOSE_LOST);
    rig_turns(rig, 5);
    assert_int_equal(rig->closed, 1);
}

static void
a_stalled_reader_that_resets_is_lost(void **state)
{
    struct edge *rig = *state;
    rig->opts.max_queue_bytes = 256 * 1024;
    rig->has_narrow_clients = true;
    rig_open(rig);
    struct client client;
    client_upgrade(&client, rig, UPGRADE_PROTOBUF);
    push_until_full(rig, 1000);
    client_reset(&client);
    rig_until(rig, rig->closed == 1);
    assert_int_equal(rig->last_code, CLOSE_LOST);
}

static void
closing_all_is_sliced_by_turns(void **state)
{
    struct edge *rig = *state;
    enum { COUNT = 10 };
    struct client clients[COUNT];
    for (int i = 0; i < COUNT; i++)
        client_upgrade(&clients[i], rig, UPGRADE_PROTOBUF);
    server_close_all(rig->server, CLOSE_DRAINING, 3);
    rig_turn(rig);
    struct ws_frame frame;
    int closing = 0;
    for (int i = 0; i < COUNT; i++)
        closing += client_has_frame(&clients[i], &frame);
    assert_int_equal(closing, 3);
    for (int i = 0; i < COUNT; i++)
        client_expect_close(&clients[i], 1012);
    rig_until(rig, rig->closed == COUNT);
    assert_int_equal(server_connections(rig->server), 0);
    for (int i = 0; i < COUNT; i++)
        client_close(&clients[i]);
    struct client late; // it closed who was there, and does not go on
    client_upgrade(&late, rig, UPGRADE_PROTOBUF);
    rig_turns(rig, 5);
    assert_false(client_has_frame(&late, &frame));
    client_close(&late);
}

static void
closing_the_server_tells_every_client_and_every_session(void **state)
{
    struct edge *rig = *state;
    struct client open, closing, half_open;
    client_upgrade(&closing, rig, UPGRADE_PROTOBUF);
    conn_close(rig->last, CLOSE_REPLACED);
    client_upgrade(&open, rig, UPGRADE_PROTOBUF);
    client_open(&half_open, rig);
    rig_turns(rig, 3);
    rig_stop(rig);
    assert_int_equal(rig->closed, 2);
    client_fill(&open);
    assert_memory_equal(open.bytes, "\x88", 1);
    assert_memory_equal(open.bytes + 2, "\x03\xf4", 2); // 1012
    client_fill(&closing);
    assert_memory_equal(closing.bytes + 2, "\x0f\xa1", 2); // 4001
    client_close(&open);
    client_close(&closing);
    client_close(&half_open);
    rig_start(rig); // for the teardown
}

static void
five_hundred_comings_and_goings_leave_nothing(void **state)
{
    struct edge *rig = *state;
    struct client client;
    client_upgrade(&client, rig, UPGRADE_PROTOBUF); // first: what is made once
    client_close(&client);
    rig_until(rig, rig->closed == 1);
    rig_turns(rig, 5);
    unsigned fds = rig_open_fds();
    for (unsigned i = 0; i < 500; i++) {
        client_upgrade(&client, rig, i % 2 == 0 ? UPGRADE_PROTOBUF : UPGRADE_JSON);
        client_send_frame(&client, i % 2 == 0 ? BINARY : TEXT, true, "{}", 2);
        client_expect(&client, i % 2 == 0 ? BINARY : TEXT, "{}", 2);
        if (i % 3 == 0)
            client_reset(&client);
        else if (i % 3 == 1)
            client_close(&client);
        else {
            client_send_close(&client, 1000);
            client_until_end(&client);
            client_close(&client);
        }
    }
    rig_until(rig, rig->closed == 501);
    rig_turns(rig, 5);
    assert_int_equal(rig_open_fds(), fds);
    assert_int_equal(frame_pool_live(), 0);
    assert_int_equal(server_connections(rig->server), 0);
}

// Held.

static void
while_held_nothing_is_written_and_then_everything(void **state)
{
    struct edge *rig = *state;
    struct client client;
    client_upgrade(&client, rig, UPGRADE_PROTOBUF);
    uint64_t writes = rig_stats(rig).writes;
    server_hold(rig->server, true);
    assert_int_equal(push_number(rig, 1, 100), 0);
    assert_int_equal(push_number(rig, 2, 100), 0);
    rig_turns(rig, 10);
    assert_int_equal(rig_stats(rig).writes, writes);
    assert_int_equal(conn_backlog(rig->last), 2 * 102);
    server_hold(rig->server, false);
    expect_number(&client, 1, 100);
    expect_number(&client, 2, 100);
    client_close(&client);
}

static void
who_is_closed_while_held_gets_the_close_alone(void **state)
{
    struct edge *rig = *state;
    struct client client;
    client_upgrade(&client, rig, UPGRADE_PROTOBUF);
    server_hold(rig->server, true);
    assert_int_equal(push_number(rig, 1, 100), 0);
    conn_close(rig->last, CLOSE_REPLACED);
    rig_turns(rig, 10);
    server_hold(rig->server, false);
    struct ws_frame frame;
    client_read_frame(&client, &frame);
    assert_int_equal(frame.opcode, CLOSE);
    assert_int_equal(frame.payload[0] << 8 | frame.payload[1], CLOSE_REPLACED);
    client_close(&client);
}

static void
a_stalled_reader_that_reads_on_while_held_gets_nothing_new(void **state)
{
    struct edge *rig = *state;
    struct client client;
    rig->has_narrow_clients = true;
    rig_open(rig);
    client_upgrade(&client, rig, UPGRADE_PROTOBUF);
    uint32_t pushed = 0;
    while (rig->last->outq.bytes < 100 * 1024) { // the kernel and libwebsockets are full
        assert_int_equal(push_number(rig, pushed++, 8000), 0);
        rig_turn(rig);
    }
    server_hold(rig->server, true);
    size_t waits = rig->last->outq.bytes;
    uint64_t until_ms = rig_ms() + 300;
    while (rig_ms() < until_ms) { // what was written before comes, and the socket is writable
        client_fill(&client);
        rig_turn(rig);
    }
    assert_int_equal(rig->last->outq.bytes, waits);
    server_hold(rig->server, false);
    for (uint32_t i = 0; i < pushed; i++)
        expect_number(&client, i, 8000);
    client_close(&client);
}

static void
what_is_late_is_dropped_wherever_it_waits(void **state)
{
    struct edge *rig = *state;
    struct client client;
    client_upgrade(&client, rig, UPGRADE_PROTOBUF);
    server_hold(rig->server, true);
    assert_int_equal(push_number(rig, 1, 100), 0);
    outq_peek(&rig->last->outq)->expires_ms = 5000;
    assert_int_equal(push_number(rig, 2, 100), 0);
    assert_int_equal(server_drop_late(rig->server, 4999), 0);
    assert_int_equal(server_drop_late(rig->server, 5000), 1);
    server_hold(rig->server, false);
    expect_number(&client, 2, 100);
    client_close(&client);
}

#define OPENED(test) cmocka_unit_test_setup_teardown(test, start_and_open, stop)
#define UNOPENED(test) cmocka_unit_test_setup_teardown(test, start, stop)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        OPENED(messages_come_back_in_both_formats),
        OPENED(a_message_sent_together_with_the_request_is_not_lost),
        OPENED(the_session_gets_the_token_and_the_peer),
        OPENED(a_long_token_comes_through),
        OPENED(frames_pushed_in_one_turn_leave_in_one_write),
        OPENED(more_than_64_KiB_take_one_write_each_64_KiB),
        OPENED(a_frame_larger_than_one_write_arrives),
        OPENED(a_fragmented_message_arrives_whole),
        OPENED(a_message_dripped_byte_by_byte_arrives_and_shows_life),
        OPENED(messages_behind_a_close_frame_in_the_same_read_are_dropped),
        OPENED(a_whole_read_behind_a_refused_message_is_dropped),
        OPENED(a_crowd_is_written_to_in_slices),
        OPENED(what_comes_for_those_who_wait_leaves_in_the_same_write),
        UNOPENED(a_lone_message_much_and_the_end_do_not_wait_for_the_crowd),
        OPENED(those_who_wait_may_go),
        UNOPENED(a_message_larger_than_one_read_arrives_whole),
        OPENED(many_small_messages_in_one_segment_all_arrive_in_order),
        UNOPENED(a_message_of_exactly_the_limit_is_taken),
        UNOPENED(one_byte_over_the_limit_is_1009),
        OPENED(a_frame_that_promises_too_much_is_refused_at_its_first_byte),
        UNOPENED(a_message_of_max_fragments_is_taken_and_one_more_is_1009),
        OPENED(the_wrong_type_of_message_is_1003),
        OPENED(text_that_is_no_UTF_8_is_1007),
        OPENED(a_character_may_be_split_between_fragments),
        OPENED(a_breach_of_the_protocol_is_1002),
        OPENED(pings_are_answered_and_pongs_show_life),
        UNOPENED(a_stalled_reader_costs_a_bounded_amount_and_loses_nothing),
        UNOPENED(a_stream_stays_intact_through_stalls_pings_and_pushes),
        UNOPENED(a_stalled_reader_that_is_closed_gets_whole_frames_then_the_close),
        UNOPENED(a_stalled_reader_that_does_not_take_the_close_is_cut_in_5_s),
        OPENED(a_close_from_inside_a_message_follows_what_was_pushed),
        OPENED(a_close_from_outside_ends_pushes_and_the_first_code_counts),
        OPENED(a_client_that_does_not_answer_the_close_is_cut_in_5_s),
        OPENED(closes_begun_at_different_times_are_cut_in_turn),
        OPENED(the_clients_close_is_sent_back_and_is_normal),
        OPENED(answers_precede_the_close_that_was_sent_with_the_question),
        OPENED(a_malformed_close_ends_it_at_once),
        OPENED(a_socket_that_ends_without_a_close_is_lost),
        OPENED(a_reset_noticed_by_a_write_is_lost),
        UNOPENED(a_stalled_reader_that_resets_is_lost),
        OPENED(closing_all_is_sliced_by_turns),
        OPENED(closing_the_server_tells_every_client_and_every_session),
        OPENED(while_held_nothing_is_written_and_then_everything),
        OPENED(who_is_closed_while_held_gets_the_close_alone),
        UNOPENED(a_stalled_reader_that_reads_on_while_held_gets_nothing_new),
        OPENED(what_is_late_is_dropped_wherever_it_waits),
        OPENED(five_hundred_comings_and_goings_leave_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
