// workers.c: see workers.h. One thread, plain waitpid; signals are read from a descriptor,
// so that nothing happens inside a handler. Each turn starts who is due, waits for a signal
// or for a worker that listens, and collects who has ended.
#include "edge/workers.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"

#define PAUSE_FIRST_MS 100
#define PAUSE_MAX_MS 5000
#define STEADY_MS 30000 // who lived this long did not die of its start
#define SIGNAL_EXIT 128 // exit code of who was ended by a signal, as shells count

struct place {
    pid_t pid;    // 0: nobody runs here
    int fd;       // says when the worker listens; -1: it has said so, or will not
    bool listens; // and minds signals
    bool is_new;  // nobody has listened here yet: a wrong setting is wrong for all
    bool is_owed; // a SIGHUP came before it could mind one
    uint64_t started_ms;
    uint64_t due_ms;   // when to start the next one, if nobody runs
    uint64_t pause_ms; // before the last start
};

struct crew {
    const struct workers_opts *opts;
    struct place places[WORKERS_MAX];
    unsigned begun;   // places whose first worker was started
    unsigned running; // processes
    unsigned port;
    int port_fd;   // keeps the port
    int signal_fd; // SIGCHLD, SIGTERM, SIGINT, SIGUSR2, SIGHUP
    sigset_t old_mask;
    cpu_set_t cores; // those we may run on
    pid_t parent;
    uint64_t now_ms;
    uint64_t kill_ms; // when leaving is over; 0: not leaving
    int leave_signal; // why
    bool is_hurried;
    bool was_said; // that all listen
    int code;
};

uint64_t
workers_pause_ms(uint64_t last_ms, uint64_t lived_ms)
{
    if (last_ms == 0 || lived_ms >= STEADY_MS)
        return PAUSE_FIRST_MS;
    return last_ms * 2 < PAUSE_MAX_MS ? last_ms * 2 : PAUSE_MAX_MS;
}

unsigned
workers_cores(void)
{
    cpu_set_t cores;
    if (sched_getaffinity(0, sizeof(cores), &cores) != 0)
        return 1; // more than 1,024 of them: then a number has to be said
    int count = CPU_COUNT(&cores);
    return count < WORKERS_MAX ? (unsigned)count : WORKERS_MAX;
}

void
worker_is_listening(struct worker *worker)
{
    if (worker->parent_fd < 0)
        return;
    // Without a parent to read it there is a SIGTERM under way.
    (void)!write(worker->parent_fd, "l", 1);
    close(worker->parent_fd);
    worker->parent_fd = -1;
}

// The port.

static unsigned
port_of(int fd)
{
    struct sockaddr_storage at;
    socklen_t len = sizeof(at);
    if (getsockname(fd, (struct sockaddr *)&at, &len) != 0)
        return 0;
    if (at.ss_family == AF_INET)
        return ntohs(((const struct sockaddr_in *)(const void *)&at)->sin_port);
    return ntohs(((const struct sockaddr_in6 *)(const void *)&at)->sin6_port);
}

// Bound, never listening. Without SO_REUSEPORT: so it is refused when anybody listens, also
// another edge's workers. With SO_REUSEADDR: so our workers may bind beside it.
static int
bind_port(const struct addrinfo *info)
{
    int on = 1, off = 0;
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (info->ai_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
        bind(fd, info->ai_addr, info->ai_addrlen) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static int
take_port(struct crew *crew)
{
    const struct workers_opts *opts = crew->opts;
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found;
    char service[16];
    const char *problem = "";
    snprintf(service, sizeof(service), "%u", opts->port);
    int error = getaddrinfo(opts->host, service, &hints, &found);
    if (error != 0) {
        problem = gai_strerror(error);
    } else {
        if ((crew->port_fd = bind_port(found)) < 0)
            problem = errno == EADDRINUSE ? "address in use" : strerror(errno);
        freeaddrinfo(found);
    }
    if (crew->port_fd < 0) {
        fprintf(stderr, "cannot listen on %s:%u: %s (listen.port)\n", opts->host, opts->port,
                problem);
        return SY_EIO;
    }
    crew->port = port_of(crew->port_fd);
    return 0;
}

// Starting.

// The first worker on the first core we may run on, and so on; round again if they are more.
static void
pin(const struct crew *crew, unsigned number)
{
    cpu_set_t mine;
    unsigned skip = (number - 1) % (unsigned)CPU_COUNT(&crew->cores);
    for (size_t core = 0; core < CPU_SETSIZE; core++) {
        if (!CPU_ISSET(core, &crew->cores) || skip-- > 0)
            continue;
        CPU_ZERO(&mine);
        CPU_SET(core, &mine);
        if (sched_setaffinity(0, sizeof(mine), &mine) != 0)
            log_warn("worker_not_pinned", "worker=%u core=%zu reason=%s", number, core,
                     log_quote(strerror(errno)));
        return;
    }
}

// In the new process: nothing of the parent's stays, but for the way to tell it.
static void
become_worker(struct crew *crew, unsigned number)
{
    // A parent that died before this call is not seen by it, but we are another's child now.
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != crew->parent)
        _exit(0);
    close(crew->port_fd);
    close(crew->signal_fd);
    for (unsigned i = 0; i < crew->begun; i++)
        if (crew->places[i].fd >= 0)
            close(crew->places[i].fd);
    if (crew->opts->is_pinned)
        pin(crew, number);
    sigprocmask(SIG_SETMASK, &crew->old_mask, NULL);
}

static void
start_later(struct crew *crew, struct place *place)
{
    uint64_t lived_ms = crew->now_ms - place->started_ms;
    place->pause_ms = workers_pause_ms(place->pause_ms, lived_ms);
    place->due_ms = crew->now_ms + place->pause_ms;
}

// Whether this is the new process; then *worker is who it is.
static bool
start(struct crew *crew, unsigned index, struct worker *worker)
{
    struct place *place = &crew->places[index];
    int ends[2] = {-1, -1};
    place->started_ms = crew->now_ms;
    fflush(NULL); // or both would write what is buffered
    pid_t pid = pipe2(ends, O_CLOEXEC) == 0 ? fork() : -1;
    if (pid == 0) {
        close(ends[0]);
        become_worker(crew, index + 1);
        *worker = (struct worker){.number = index + 1, .port = crew->port, .parent_fd = ends[1]};
        return true;
    }
    if (pid < 0) {
        log_error("worker_not_started", "worker=%u reason=%s", index + 1,
                  log_quote(strerror(errno)));
        start_later(crew, place);
    }
    if (ends[1] >= 0)
        close(ends[1]);
    if (pid < 0 && ends[0] >= 0)
        close(ends[0]);
    if (pid < 0)
        return false;
    place->pid = pid;
    place->fd = ends[0];
    place->is_owed = place->listens = false;
    crew->running++;
    log_info("worker_started", "worker=%u pid=%d", index + 1, (int)pid);
    return false;
}

static bool
has_settled(const struct place *place)
{
    return place->listens || place->pid == 0;
}

static bool
start_due(struct crew *crew, struct worker *worker)
{
    if (crew->kill_ms != 0)
        return false;
    for (unsigned i = 0; i < crew->begun; i++)
        if (crew->places[i].pid == 0 && crew->now_ms >= crew->places[i].due_ms &&
            start(crew, i, worker))
            return true;
    // One at a time, so that what is wrong for all of them is said once.
    if (crew->begun < crew->opts->count &&
        (crew->begun == 0 || has_settled(&crew->places[crew->begun - 1])))
        return start(crew, crew->begun++, worker);
    return false;
}

// Leaving.

static void
tell_all(const struct crew *crew, int number)
{
    for (unsigned i = 0; i < crew->begun; i++)
        if (crew->places[i].pid != 0)
            kill(crew->places[i].pid, number);
}

static void
leave(struct crew *crew)
{
    crew->kill_ms = crew->now_ms + crew->opts->leave_ms;
    tell_all(crew, SIGTERM);
}

static void
on_leave_signal(struct crew *crew, int number)
{
    int before = crew->leave_signal;
    crew->leave_signal = number;
    if (crew->kill_ms == 0) {
        log_info("leaving", "signal=%s workers=%u", sigabbrev_np(number), crew->running);
        leave(crew);
        return;
    }
    if (before == SIGUSR2 && number != SIGUSR2) {
        log_info("leaving_already", "signal=%s workers=%u", sigabbrev_np(number), crew->running);
        return;
    }
    log_warn("leaving_at_once", "workers=%u", crew->running);
    crew->is_hurried = true;
    tell_all(crew, SIGKILL);
}

static void
kill_late(struct crew *crew)
{
    if (crew->kill_ms == 0 || crew->now_ms < crew->kill_ms || crew->is_hurried)
        return;
    log_warn("workers_late", "workers=%u", crew->running);
    crew->kill_ms = crew->now_ms + crew->opts->leave_ms; // said once
    tell_all(crew, SIGKILL);
}

// Ends.

static void
say_when_all_listen(struct crew *crew)
{
    for (unsigned i = 0; i < crew->opts->count; i++)
        if (crew->places[i].is_new)
            return;
    if (!crew->was_said)
        log_info("workers_listening", "workers=%u port=%u", crew->opts->count, crew->port);
    crew->was_said = true;
}

static void
hear(struct crew *crew, struct place *place)
{
    char word;
    if (read(place->fd, &word, 1) == 1) {
        place->is_new = false;
        place->listens = true;
        if (place->is_owed && place->pid != 0)
            kill(place->pid, SIGHUP);
        say_when_all_listen(crew);
    } // else it has died, which SIGCHLD tells
    close(place->fd);
    place->fd = -1;
}

static void
say_end(const struct crew *crew, const struct place *place, pid_t pid, int status)
{
    char how[32];
    if (WIFSIGNALED(status))
        snprintf(how, sizeof(how), "signal=%s", sigabbrev_np(WTERMSIG(status)));
    else
        snprintf(how, sizeof(how), "exit=%d", WEXITSTATUS(status));
    unsigned number = (unsigned)(place - crew->places) + 1;
    unsigned long long lived_ms = crew->now_ms - place->started_ms;
    if (crew->kill_ms != 0)
        log_info("worker_ended", "worker=%u pid=%d %s lived_ms=%llu", number, (int)pid, how,
                 lived_ms);
    else
        log_warn("worker_ended", "worker=%u pid=%d %s lived_ms=%llu again_in_ms=%llu", number,
                 (int)pid, how, lived_ms, (unsigned long long)(place->due_ms - crew->now_ms));
}

static void
on_end(struct crew *crew, struct place *place, pid_t pid, int status)
{
    bool was_told = crew->kill_ms != 0;
    int code = WIFSIGNALED(status) ? SIGNAL_EXIT + WTERMSIG(status) : WEXITSTATUS(status);
    place->pid = 0; // collected, so the number may be another's
    crew->running--;
    if (place->fd >= 0)
        hear(crew, place);
    if (!was_told && place->is_new && code == EXIT_CONFIG)
        leave(crew);
    else if (was_told && !place->listens && code == SIGNAL_EXIT + SIGTERM)
        code = 0; // it had nobody to say goodbye to
    if (crew->kill_ms == 0)
        start_later(crew, place);
    else if (crew->code == 0)
        crew->code = code;
    say_end(crew, place, pid, status);
}

static void
collect(struct crew *crew)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        for (unsigned i = 0; i < crew->begun; i++)
            if (crew->places[i].pid == pid) {
                on_end(crew, &crew->places[i], pid, status);
                break;
            }
}

// Turns.

static void
pass_hangup(struct crew *crew)
{
    for (unsigned i = 0; i < crew->begun; i++) {
        struct place *place = &crew->places[i];
        place->is_owed = !place->listens;
        if (place->pid != 0 && place->listens)
            kill(place->pid, SIGHUP);
    }
}

static void
read_signals(struct crew *crew)
{
    struct signalfd_siginfo info;
    while (read(crew->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo == SIGHUP)
            pass_hangup(crew);
        else if (info.ssi_signo != SIGCHLD) // everybody who ended is collected anyway
            on_leave_signal(crew, (int)info.ssi_signo);
    }
}

static int
wait_ms(const struct crew *crew)
{
    uint64_t next_ms = crew->kill_ms;
    for (unsigned i = 0; crew->kill_ms == 0 && i < crew->begun; i++) {
        const struct place *place = &crew->places[i];
        if (place->pid == 0 && (next_ms == 0 || place->due_ms < next_ms))
            next_ms = place->due_ms;
    }
    if (next_ms == 0 || crew->is_hurried)
        return -1;
    return next_ms > crew->now_ms ? (int)(next_ms - crew->now_ms) : 0;
}

static void
wait_for_news(struct crew *crew)
{
    struct pollfd fds[WORKERS_MAX + 1] = {{.fd = crew->signal_fd, .events = POLLIN}};
    for (unsigned i = 0; i < crew->begun; i++)
        fds[i + 1] = (struct pollfd){.fd = crew->places[i].fd, .events = POLLIN}; // -1: skipped
    int ready = poll(fds, crew->begun + 1, wait_ms(crew));
    crew->now_ms = clock_mono_ms();
    if (ready <= 0)
        return;
    for (unsigned i = 0; i < crew->begun; i++)
        if (fds[i + 1].revents != 0)
            hear(crew, &crew->places[i]);
    if (fds[0].revents != 0)
        read_signals(crew);
}

static void
take_signals(struct crew *crew)
{
    static const int numbers[] = {SIGCHLD, SIGTERM, SIGINT, SIGUSR2, SIGHUP};
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        sigaddset(&set, numbers[i]);
    signal(SIGPIPE, SIG_IGN); // the log's reader may go
    sigprocmask(SIG_BLOCK, &set, &crew->old_mask);
    crew->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (crew->signal_fd < 0)
        abort();
}

int
workers_run(const struct workers_opts *opts)
{
    struct crew crew = {.opts = opts, .port_fd = -1, .parent = getpid()};
    struct worker worker;
    assert(opts->count > 1 && opts->count <= WORKERS_MAX);
    for (unsigned i = 0; i < opts->count; i++)
        crew.places[i] = (struct place){.fd = -1, .is_new = true};
    if (sched_getaffinity(0, sizeof(crew.cores), &crew.cores) != 0)
        CPU_SET(0, &crew.cores);
    if (take_port(&crew) != 0)
        return EXIT_CONFIG;
    take_signals(&crew);
    crew.now_ms = clock_mono_ms();
    do {
        if (start_due(&crew, &worker))
            return opts->work(opts->arg, &worker);
        wait_for_news(&crew);
        collect(&crew);
        kill_late(&crew);
    } while (crew.kill_ms == 0 || crew.running > 0);
    int code = crew.is_hurried ? 1 : crew.code;
    log_info("left", "exit=%d", code);
    close(crew.signal_fd);
    close(crew.port_fd);
    sigprocmask(SIG_SETMASK, &crew.old_mask, NULL);
    return code;
}
