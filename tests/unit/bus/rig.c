// rig.c: see rig.h.
#include "rig.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static struct sockaddr_in
loopback(int port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

int
free_port(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in addr = loopback(0);
    socklen_t len = sizeof addr;
    assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
    close(fd);
    return ntohs(addr.sin_port);
}

void
server_init(struct server *server, const char *config)
{
    *server = (struct server){.port = free_port(), .config = config};
    snprintf(server->dir, sizeof server->dir, "/tmp/sy-bus-XXXXXX");
    assert_non_null(mkdtemp(server->dir));
}

static void
write_config(const struct server *server, char path[static 96])
{
    snprintf(path, 96, "%s/nats.conf", server->dir);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file, "listen: \"127.0.0.1:%d\"\n%s\n", server->port,
            server->config != NULL ? server->config : "");
    assert_int_equal(fclose(file), 0);
}

static bool
accepts(int port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in addr = loopback(port);
    int rc = connect(fd, (struct sockaddr *)&addr, sizeof addr);
    close(fd);
    return rc == 0;
}

void
server_start(struct server *server)
{
    char path[96];
    write_config(server, path);
    pid_t parent = getpid();
    server->pid = fork();
    assert_true(server->pid >= 0);
    if (server->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
        int null = open("/dev/null", O_RDWR);
        dup2(null, 1);
        dup2(null, 2);
        execlp("nats-server", "nats-server", "-c", path, (char *)NULL);
        _exit(127);
    }
    for (int i = 0; i < 500 && !accepts(server->port); i++)
        usleep(10 * 1000);
    assert_int_equal(waitpid(server->pid, NULL, WNOHANG), 0);
}

void
server_kill(struct server *server)
{
    if (server->pid <= 0)
        return;
    kill(server->pid, SIGKILL);
    waitpid(server->pid, NULL, 0);
    server->pid = 0;
}

void
server_fini(struct server *server)
{
    server_kill(server);
    DIR *dir = opendir(server->dir);
    const struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL)
        if (entry->d_name[0] != '.')
            unlinkat(dirfd(dir), entry->d_name, 0);
    if (dir != NULL)
        closedir(dir);
    rmdir(server->dir);
}

uint64_t
now_ms(void)
{
    return uv_hrtime() / 1000000;
}

// How long this thread was ready to run without a CPU, from the scheduler.
static uint64_t
queued_us(void)
{
    char text[96];
    int fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    unsigned long long ran, queued;
    return sscanf(text, "%llu %llu", &ran, &queued) == 2 ? queued / 1000 : 0;
}

static void
on_tick(uv_timer_t *timer)
{
    struct rig *rig = timer->data;
    uint64_t now = uv_hrtime() / 1000, queued = queued_us();
    uint64_t gap = now - rig->last_us, waited = queued - rig->last_queued_us;
    gap -= waited < gap ? waited : gap;
    if (rig->last_us != 0 && gap > rig->longest_gap_us)
        rig->longest_gap_us = gap;
    rig->last_us = now;
    rig->last_queued_us = queued;
}

void
rig_init(struct rig *rig)
{
    memset(rig, 0, sizeof *rig);
    assert_int_equal(uv_loop_init(&rig->loop), 0);
    assert_int_equal(uv_timer_init(&rig->loop, &rig->ticker), 0);
    rig->ticker.data = rig;
}

void
rig_fini(struct rig *rig)
{
    uv_close((uv_handle_t *)&rig->ticker, NULL);
    uv_run(&rig->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&rig->loop), 0);
}

bool
rig_run(struct rig *rig, bool (*is_done)(void *arg), void *arg, uint64_t ms)
{
    uint64_t end = now_ms() + ms;
    rig->last_us = 0; // the time outside the loop does not count
    uv_timer_start(&rig->ticker, on_tick, 5, 5);
    bool done;
    while (!(done = is_done != NULL && is_done(arg)) && now_ms() < end)
        uv_run(&rig->loop, UV_RUN_ONCE);
    uv_timer_stop(&rig->ticker);
    return done;
}

void
rig_run_for(struct rig *rig, uint64_t ms)
{
    rig_run(rig, NULL, NULL, ms);
}

static void
on_message(void *arg, const char *subject, const void *bytes, size_t len, bool is_unheard)
{
    struct side *side = arg;
    side->messages += !is_unheard;
    side->unheard += is_unheard;
    side->message_at_ms = now_ms();
    snprintf(side->subject, sizeof side->subject, "%s", subject);
    side->len = len;
    if (len > 0)
        memcpy(side->bytes, bytes, len < sizeof side->bytes ? len : sizeof side->bytes);
    if (side->also != NULL)
        side->also(side, subject, bytes, len, is_unheard);
}

static void
on_state(void *arg, bool up, const char *why)
{
    struct side *side = arg;
    // They take turns, beginning with up.
    assert_int_equal(side->ups, side->downs + (up ? 0 : 1));
    assert_int_equal(bus_is_up(side->bus), up);
    *(up ? &side->ups : &side->downs) += 1;
    *(up ? &side->up_at_ms : &side->down_at_ms) = now_ms();
    snprintf(side->why, sizeof side->why, "%s", why);
}

struct bus_opts
side_opts(struct side *side, const char *name, const char *url)
{
    static char texts[8][3][64]; // as many sides as any test opens at once
    static unsigned used;
    char(*text)[64] = texts[used++ % 8];
    snprintf(text[0], 64, "%s.>", name);
    snprintf(text[1], 64, "unheard.%s.>", name);
    snprintf(text[2], 64, "%s.self", name);
    return (struct bus_opts){.url = url,
                             .name = "test",
                             .subjects = {text[0], text[1]},
                             .probe_subject = text[2],
                             .ping_ms = 500,
                             .connect_timeout_ms = 1000,
                             .on_message = on_message,
                             .on_state = on_state,
                             .arg = side};
}

void
side_open(struct side *side, const struct bus_opts *opts)
{
    char why[160] = "";
    side->bus = bus_open(&side->rig->loop, opts, why);
    if (side->bus == NULL)
        fail_msg("bus_open: %s", why);
}

static void
on_closed(void *arg)
{
    ((struct side *)arg)->is_closed = true;
}

static bool
side_is_closed(void *arg)
{
    return ((struct side *)arg)->is_closed;
}

void
side_close(struct side *side)
{
    side->is_closed = false;
    uint64_t heard = side->messages;
    unsigned ups = side->ups, downs = side->downs;
    bus_close(side->bus, on_closed, side);
    assert_true(rig_run(side->rig, side_is_closed, side, 5000));
    side->bus = NULL;
    // No callback came after bus_close.
    assert_int_equal(side->messages, heard);
    assert_int_equal(side->ups, ups);
    assert_int_equal(side->downs, downs);
}

bool
side_is_up(void *arg)
{
    return bus_is_up(((struct side *)arg)->bus);
}

bool
side_is_down(void *arg)
{
    return !side_is_up(arg);
}

bool
side_has_message(void *arg)
{
    return ((struct side *)arg)->messages > 0;
}

unsigned
count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    unsigned count = 0;
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}
