// See fixture.h.
#include "fixture.h"

#include <arpa/inet.h>
#include <assert.h>
#include <ftw.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static int
free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr *any = (struct sockaddr *)(void *)&address;
    assert_int_equal(bind(fd, any, len), 0);
    assert_int_equal(getsockname(fd, any, &len), 0);
    close(fd);
    return ntohs(address.sin_port);
}

void
server_prepare(struct server *server)
{
    *server = (struct server){.dir = "/tmp/sy-store-XXXXXX"};
    assert_non_null(mkdtemp(server->dir));
    server->port = free_port();
    snprintf(server->unix_url, sizeof server->unix_url, "unix://%s/s", server->dir);
    snprintf(server->tcp_url, sizeof server->tcp_url, "redis://127.0.0.1:%d", server->port);
}

static redisContext *
connect_to(struct server *server)
{
    redisContext *context = redisConnectUnix(server->unix_url + strlen("unix://"));
    assert_non_null(context);
    if (!context->err)
        return context;
    redisFree(context);
    return NULL;
}

static void
run_server(const struct server *server, const char *password)
{
    char port[8], path[64];
    snprintf(port, sizeof port, "%d", server->port);
    snprintf(path, sizeof path, "%s/s", server->dir);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execlp("redis-server", "redis-server", "--port", port, "--bind", "127.0.0.1", "--unixsocket",
           path, "--dir", server->dir, "--save", "", "--appendonly", "no", "--logfile", "log",
           "--requirepass", password, (char *)NULL);
    _exit(127);
}

void
server_launch(struct server *server, const char *password)
{
    server->pid = fork();
    assert_true(server->pid >= 0);
    if (server->pid == 0)
        run_server(server, password);
    for (int i = 0; i < 500; i++) {
        redisContext *context = connect_to(server);
        if (context) {
            redisFree(context);
            return;
        }
        usleep(10000);
    }
    fail_msg("redis-server did not start in %s", server->dir);
}

void
server_start(struct server *server)
{
    server_prepare(server);
    server_launch(server, "");
}

void
server_signal(struct server *server, int number)
{
    assert_int_equal(kill(server->pid, number), 0);
}

void
server_kill(struct server *server)
{
    if (server->pid == 0)
        return;
    server_signal(server, SIGKILL);
    waitpid(server->pid, NULL, 0);
    server->pid = 0;
}

static int
remove_one(const char *path, const struct stat *stat, int flag, struct FTW *ftw)
{
    (void)stat;
    (void)flag;
    (void)ftw;
    return remove(path);
}

void
server_stop(struct server *server)
{
    server_kill(server);
    nftw(server->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void
put_reply(FILE *out, const redisReply *reply)
{
    switch (reply->type) {
    case REDIS_REPLY_INTEGER:
        fprintf(out, "%lld", reply->integer);
        break;
    case REDIS_REPLY_NIL:
        fprintf(out, "(nil)");
        break;
    case REDIS_REPLY_ARRAY:
        for (size_t i = 0; i < reply->elements; i++) {
            if (i > 0)
                fputc(' ', out);
            put_reply(out, reply->element[i]);
        }
        break;
    default:
        fprintf(out, "%s", reply->str);
    }
}

const char *
server_ask(struct server *server, const char *format, ...)
{
    static char answers[16][4096];
    static unsigned next;
    char line[2048];
    const char *argv[64];
    int argc = 0;
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    for (char *word = strtok(line, " "); word && argc < 64; word = strtok(NULL, " ")) {
        for (char *c = word; *c; c++)
            if (*c == '`') // a space within a word
                *c = ' ';
        argv[argc++] = word;
    }
    redisContext *context = connect_to(server);
    assert_non_null(context);
    redisReply *reply = redisCommandArgv(context, argc, argv, NULL);
    assert_non_null(reply);
    char *answer = answers[next++ % 16];
    FILE *out = fmemopen(answer, sizeof answers[0], "w");
    put_reply(out, reply);
    fclose(out);
    freeReplyObject(reply);
    redisFree(context);
    return answer;
}

static void
on_state(void *arg, bool up, const char *why)
{
    struct peer *peer = arg;
    if (up)
        peer->ups++;
    else
        peer->downs++;
    snprintf(peer->why, sizeof peer->why, "%s", why);
}

void
peer_open(struct peer *peer, uv_loop_t *loop, struct server *server, struct store_opts opts)
{
    char why[160];
    *peer = (struct peer){0};
    if (!opts.url)
        opts.url = server->unix_url;
    if (!opts.command_timeout_ms)
        opts.command_timeout_ms = 1000;
    if (!opts.max_in_flight)
        opts.max_in_flight = 1024;
    opts.on_state = on_state;
    opts.arg = peer;
    peer->store = store_open(loop, &opts, why);
    assert_non_null(peer->store);
}

void
peer_wait_up(struct peer *peer, uv_loop_t *loop)
{
    wait_for(loop, &peer->ups, peer->downs + 1);
    assert_true(store_is_up(peer->store));
}

static void
on_closed(void *arg)
{
    struct peer *peer = arg;
    peer->closed++;
}

void
peer_close(struct peer *peer, uv_loop_t *loop)
{
    store_close(peer->store, on_closed, peer);
    wait_for(loop, &peer->closed, 1);
}

static void
on_guard(uv_timer_t *timer)
{
    bool *is_over = timer->data;
    *is_over = true;
}

bool
run_until(uv_loop_t *loop, const int *count, int target, unsigned ms)
{
    bool is_over = false;
    uv_timer_t guard;
    uv_timer_init(loop, &guard);
    guard.data = &is_over;
    uv_update_time(loop);
    uv_timer_start(&guard, on_guard, ms, 0);
    while (*count < target && !is_over)
        uv_run(loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&guard, NULL);
    uv_run(loop, UV_RUN_NOWAIT);
    return *count >= target;
}

void
wait_for(uv_loop_t *loop, const int *count, int target)
{
    if (!run_until(loop, count, target, 5000))
        fail_msg("only %d of %d after 5 s", *count, target);
}

static void
keep_registered(struct seen *seen, const struct store_registered *answer)
{
    seen->epoch = answer->epoch;
    seen->is_superseded = answer->is_superseded;
    seen->displaced_count = answer->displaced_count;
    for (size_t i = 0; i < answer->displaced_count && i < 8; i++)
        seen->displaced[i] = answer->displaced[i];
    seen->watcher_count = answer->watcher_count;
    if (answer->watcher_count > 0)
        snprintf(seen->watcher, sizeof seen->watcher, "%s", answer->watchers[0]);
}

void
on_register(void *arg, int error, const struct store_registered *answer)
{
    struct seen *seen = arg;
    seen->calls++;
    seen->error = error;
    assert_true((error == 0) == (answer != NULL));
    if (answer)
        keep_registered(seen, answer);
}

void
on_verify(void *arg, int error, enum store_verdict verdict, const struct store_registered *answer)
{
    struct seen *seen = arg;
    on_register(arg, error, answer);
    seen->verdict = verdict;
}

void
on_resolve(void *arg, int error, const struct link *links, size_t count)
{
    struct seen *seen = arg;
    seen->calls++;
    seen->error = error;
    seen->link_count = count;
    for (size_t i = 0; i < count && i < 8; i++)
        seen->links[i] = links[i];
}

void
on_done(void *arg, int error)
{
    struct seen *seen = arg;
    seen->calls++;
    seen->error = error;
}

struct link
link_of(const char *node, uint64_t connection, const char *device)
{
    struct link link = {.connection = connection, .since_ms = 1700000000000};
    snprintf(link.node, sizeof link.node, "%s", node);
    snprintf(link.device, sizeof link.device, "%s", device);
    snprintf(link.device_class, sizeof link.device_class, "phone");
    return link;
}
