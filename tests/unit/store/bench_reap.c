// bench_reap.c: how fast a dead node's links leave a real Redis, what that costs Redis, and
// how long others wait meanwhile: a second process asks PING all the time.
//   bench_reap [links, at most 200000] [links per batch]
#include "fixture.h"

#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define LINKS_MAX 200000
#define WAITS_MAX 1000000

struct waits {
    uint64_t count;
    uint32_t us[WAITS_MAX];
};

struct bench {
    struct peer peer;
    unsigned batch;
    uint64_t removed;
    int done;
};

static uint64_t
now_us(void)
{
    return uv_hrtime() / 1000;
}

// The user and system time of the server, in microseconds.
static uint64_t
server_cpu_us(struct server *server)
{
    double user = 0, sys = 0;
    const char *info = server_ask(server, "INFO cpu");
    const char *at = strstr(info, "used_cpu_user:");
    user = at != NULL ? strtod(at + strlen("used_cpu_user:"), NULL) : 0;
    at = strstr(info, "used_cpu_sys:");
    sys = at != NULL ? strtod(at + strlen("used_cpu_sys:"), NULL) : 0;
    return (uint64_t)((user + sys) * 1e6);
}

static void
fill(struct server *server, uint64_t links)
{
    server_ask(server, "SADD sy:nodes " NODE_A);
    for (uint64_t i = 0; i < links; i += 1000) {
        char text[600];
        char from[24], to[24];
        snprintf(from, sizeof from, "%llu", (unsigned long long)i);
        snprintf(to, sizeof to, "%llu",
                 (unsigned long long)((i + 1000 < links ? i + 1000 : links) - 1));
        snprintf(text, sizeof text,
                 "for`i=%s,%s`do`local`u='user'..i;"
                 "redis.call('SADD','sy:members:{" NODE_A "}',u..'/phone');"
                 "redis.call('HSET','sy:user:{'..u..'}','phone',"
                 "'" NODE_A "`'..i..'`1795385241823351`1795385241823`cli`phone')end",
                 from, to);
        server_ask(server, "EVAL %s 0", text);
    }
}

// The neighbour: until it is killed.
static void
ask_all_the_time(const struct server *server, struct waits *waits)
{
    redisContext *context = redisConnectUnix(server->unix_url + strlen("unix://"));
    if (context == NULL || context->err)
        _exit(1);
    while (waits->count < WAITS_MAX) {
        uint64_t begin = now_us();
        redisReply *reply = redisCommand(context, "PING");
        if (reply == NULL)
            _exit(1);
        freeReplyObject(reply);
        waits->us[waits->count++] = (uint32_t)(now_us() - begin);
        usleep(200);
    }
    _exit(0);
}

static int
compare(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return (left > right) - (left < right);
}

static void
on_reaped(void *arg, int error, const struct store_reaped *answer)
{
    struct bench *bench = arg;
    assert_int_equal(error, 0);
    bench->removed += answer->removed;
    if (answer->left == 0)
        bench->done = 1;
    else
        store_reap(bench->peer.store, NODE_A, 1, bench->batch, on_reaped, bench);
}

static void
report(const struct bench *bench, uint64_t took_us, uint64_t cpu_us, struct waits *waits)
{
    uint64_t count = waits->count > 0 ? waits->count : 1;
    qsort(waits->us, count, sizeof waits->us[0], compare);
    printf("batch %u: %llu links in %.0f ms, %.0f links/s, %.1f us of Redis CPU each; "
           "PING waits p50 %u us, p99 %u us, max %u us (%llu asked)\n",
           bench->batch, (unsigned long long)bench->removed, (double)took_us / 1000,
           (double)bench->removed * 1e6 / (double)took_us, (double)cpu_us / (double)bench->removed,
           waits->us[count / 2], waits->us[count - 1 - count / 100], waits->us[count - 1],
           (unsigned long long)count);
}

int
main(int argc, char **argv)
{
    uint64_t links = argc > 1 ? strtoull(argv[1], NULL, 10) : 100000;
    struct bench bench = {.batch = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 200};
    struct waits *waits =
        mmap(NULL, sizeof *waits, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct server server;
    uv_loop_t loop;
    if (links == 0 || links > LINKS_MAX || waits == MAP_FAILED)
        return 1;
    server_start(&server);
    uv_loop_init(&loop);
    peer_open(&bench.peer, &loop, &server,
              (struct store_opts){.command_timeout_ms = 10000, .max_in_flight = 4096});
    peer_wait_up(&bench.peer, &loop);
    fill(&server, links);
    pid_t neighbour = fork();
    if (neighbour == 0)
        ask_all_the_time(&server, waits);
    uint64_t cpu_us = server_cpu_us(&server), begin_us = now_us();
    store_reap(bench.peer.store, NODE_A, 1, bench.batch, on_reaped, &bench);
    run_until(&loop, &bench.done, 1, 30000);
    uint64_t took_us = now_us() - begin_us;
    kill(neighbour, SIGKILL);
    waitpid(neighbour, NULL, 0);
    report(&bench, took_us, server_cpu_us(&server) - cpu_us, waits);
    peer_close(&bench.peer, &loop);
    uv_loop_close(&loop);
    server_stop(&server);
    return bench.done && bench.removed == links ? 0 : 1;
}
