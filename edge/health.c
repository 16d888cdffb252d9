// health.c: three JSON documents, written by hand since they are flat.
#include "edge/health.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "proto/tables.h"

// Of a text from elsewhere: three of them leave the document far from its bound.
#define TEXT_MAX 256

static void put(struct http_reply *reply, const char *format, ...) PRINTF_LIKE(2, 3);

static void
put(struct http_reply *reply, const char *format, ...)
{
    va_list args;
    size_t room = sizeof(reply->body) - reply->len;
    va_start(args, format);
    int len = vsnprintf(reply->body + reply->len, room, format, args);
    va_end(args);
    if (len > 0)
        reply->len += (size_t)len < room ? (size_t)len : room - 1;
}

static void
start(struct http_reply *reply, unsigned status)
{
    reply->status = status;
    reply->content_type = "application/json";
    reply->len = 0;
    reply->body[0] = '\0';
}

// A string value; what cannot stand in JSON as it is becomes '?'.
static void
put_text(struct http_reply *reply, const char *name, const char *text)
{
    char safe[TEXT_MAX + 1];
    size_t len = strnlen(text, TEXT_MAX);
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        safe[i] = c < 0x20 || c == '"' || c == '\\' || c > 0x7e ? '?' : text[i];
    }
    safe[len] = '\0';
    put(reply, "\"%s\":\"%s\"", name, safe);
}

void
health_alive(struct http_reply *reply)
{
    start(reply, 200);
    put(reply, "{\"status\":\"ok\"}\n");
}

static void
put_check(struct http_reply *reply, const char *name, bool ok, uint64_t for_ms, const char *detail)
{
    put(reply, ",\"%s\":{\"ok\":%s,\"for_ms\":%llu,", name, ok ? "true" : "false",
        (unsigned long long)for_ms);
    put_text(reply, "detail", detail);
    put(reply, "}");
}

// How far leaving has come, or another drain.
static void
put_drain(struct http_reply *reply, const struct edge *edge, const struct health *health)
{
    const struct drain *drain = &edge->drain;
    uint64_t now_ms = edge->now_ms;
    bool is_running = drain_is_running(edge);
    put(reply, ",\"drain\":{\"cause\":\"%s\",\"count\":%u,\"left\":%u,\"told\":%u",
        drain_cause_name(is_running ? (enum drain_cause)drain->cause : DRAIN_LEAVING), drain->count,
        drain->left, drain->told);
    if (is_running)
        put(reply, ",\"for_ms\":%llu,\"window_ms\":%llu",
            (unsigned long long)(now_ms - drain->started_ms), (unsigned long long)drain->window_ms);
    if (health->leave_until_ms != 0)
        put(reply, ",\"leaving_for_ms\":%llu,\"deadline_in_ms\":%llu",
            (unsigned long long)(now_ms - health->leave_since_ms),
            (unsigned long long)(health->leave_until_ms > now_ms ? health->leave_until_ms - now_ms
                                                                 : 0));
    put(reply, "}");
}

void
health_ready(const struct edge *edge, const struct health *health, struct http_reply *reply)
{
    const char *why;
    bool ready = edge_is_ready(edge, &why);
    if (ready && !edge_is_alone(edge) && !roundtrip_is_well(edge)) {
        ready = false;
        why = "its own messages make no round trip";
    } else if (ready && edge->lease.is_refused) {
        ready = false; // the lease that it still has will end
        why = "Redis refuses to renew the lease";
    }
    start(reply, ready ? 200 : 503);
    put(reply, "{\"ready\":%s,", ready ? "true" : "false");
    put_text(reply, "why", why);
    put(reply,
        ",\"node\":\"%s\",\"clustered\":%s,\"draining\":%s,\"connections\":%u,"
        "\"max_connections\":%u",
        edge->node, edge_is_alone(edge) ? "false" : "true", edge->is_draining ? "true" : "false",
        edge->live_sessions, edge->limits.max_connections);
    if (health->leave_until_ms != 0 || drain_is_running(edge))
        put_drain(reply, edge, health);
    if (!edge_is_alone(edge)) {
        bool is_whole = bus_is_up(edge->bus) && lease_is_held(edge);
        put(reply, ",\"degraded\":%s", is_whole ? "false" : "true");
        put_check(reply, "nats", bus_is_up(edge->bus), edge->now_ms - health->nats_since_ms,
                  bus_describe(edge->bus));
        put_check(reply, "redis", store_is_up(edge->store), edge->now_ms - health->redis_since_ms,
                  store_describe(edge->store));
        put_check(reply, "lease", lease_is_held(edge),
                  edge->lease.beat_ms != 0 ? edge->now_ms - edge->lease.beat_ms : 0,
                  edge->lease.beat_ms != 0 ? "since the last renewal" : "not taken yet");
        put_check(reply, "round_trip", edge->roundtrip.ok_ms != 0 && roundtrip_is_well(edge),
                  roundtrip_age_ms(edge), roundtrip_describe(edge));
        put(reply, ",\"round_trip_us\":%llu", (unsigned long long)edge->roundtrip.took_us);
    }
    put(reply, "}\n");
}

static void
put_server(struct http_reply *reply, const struct server *server)
{
    struct server_stats stats;
    server_stats(server, &stats);
    put(reply,
        ",\"connections\":%u,\"accepted\":%llu,\"accept_waits\":%llu,\"refused_address\":%llu,"
        "\"refused_half_open\":%llu,\"refused_descriptors\":%llu,"
        "\"upgrades\":%llu,\"upgrade_refusals\":%llu,"
        "\"bytes_in\":%llu,\"bytes_out\":%llu,\"messages_in\":%llu,\"frames_out\":%llu,"
        "\"writes\":%llu",
        server_connections(server), (unsigned long long)stats.accepted,
        (unsigned long long)stats.paced, (unsigned long long)stats.refused_address,
        (unsigned long long)stats.refused_half_open, (unsigned long long)stats.refused_fd,
        (unsigned long long)stats.upgrades, (unsigned long long)stats.upgrade_refusals,
        (unsigned long long)stats.bytes_in, (unsigned long long)stats.bytes_out,
        (unsigned long long)stats.messages_in, (unsigned long long)stats.frames_out,
        (unsigned long long)stats.writes);
#define PUT_CLOSE(name, code, word, text) \
    put(reply, ",\"closed_%s\":%llu", word, (unsigned long long)stats.closes[close_index(code)]);
    SY_CLOSES(PUT_CLOSE)
#undef PUT_CLOSE
}

void
health_counters(const struct edge *edge, const struct health *health, const struct server *server,
                struct http_reply *reply)
{
    start(reply, 200);
    put(reply,
        "{\"node\":\"%s\",\"live_sessions\":%u,\"links\":%zu,\"pending_sends\":%zu,"
        "\"pending_bytes\":%zu,\"loop_max_ms\":%llu",
        edge->node, edge->live_sessions, edge->registry.count, edge->router.pending,
        edge->router.pending_bytes, (unsigned long long)health->loop_max_ms);
#define PUT_COUNTER(name, text) \
    put(reply, ",\"" #name "\":%llu", (unsigned long long)edge->counters.name);
    EDGE_COUNTERS(PUT_COUNTER)
#undef PUT_COUNTER
    if (edge->bus != NULL) {
        struct bus_stats bus;
        bus_stats(edge->bus, &bus);
        put(reply, ",\"nats_published\":%llu,\"nats_received\":%llu,\"nats_losses\":%llu",
            (unsigned long long)bus.published, (unsigned long long)bus.received,
            (unsigned long long)bus.losses);
    }
    if (server != NULL)
        put_server(reply, server);
    put(reply, "}\n");
}
