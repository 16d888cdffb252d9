// test_workers.c: the parent of workers, with real processes that do next to nothing.
// Each test runs workers_run in a child; its workers tell the test what they see through
// a pipe.
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "edge/workers.h"
#include "lib/base/log.h"

#define LONG_MS 10000 // nothing here takes that long
#define NEVER_MS 60000

struct report {
    char what; // 's' started, 'h' SIGHUP came, 't' SIGTERM came
    unsigned number;
    unsigned port;
    pid_t pid;
    int cores;   // it may run on
    int core;    // the first of them
    int blocked; // signals blocked when it started
};

struct rig {
    struct workers_opts opts;
    pid_t parent;
    int reports[2];
    // What the workers do.
    unsigned odd;       // this one is not like the others; 0: none
    int exit_at_once;   // the odd one ends with this before it listens
    int exit_when_told; // the odd one's code at SIGTERM
    bool is_deaf;       // the odd one ignores SIGTERM
    int *good_starts;   // shared; the odd one has so many before exit_at_once is true of it
};

static void
tell(const struct rig *rig, const struct worker *worker, char what, int blocked)
{
    struct report report = {.what = what,
                            .number = worker->number,
                            .port = worker->port,
                            .pid = getpid(),
                            .blocked = blocked};
    cpu_set_t cores;
    sched_getaffinity(0, sizeof(cores), &cores);
    report.cores = CPU_COUNT(&cores);
    while (!CPU_ISSET((size_t)report.core, &cores))
        report.core++;
    if (write(rig->reports[1], &report, sizeof(report)) != (ssize_t)sizeof(report))
        _exit(99);
}

static int
work(const void *arg, struct worker *worker)
{
    const struct rig *rig = arg;
    bool is_odd = worker->number == rig->odd;
    int number = 0;
    sigset_t set, old;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, &old);
    tell(rig, worker, 's', sigismember(&old, SIGTERM) + sigismember(&old, SIGCHLD));
    bool is_good = is_odd && rig->good_starts != NULL && (*rig->good_starts)-- > 0;
    if (is_odd && rig->exit_at_once != 0 && !is_good)
        return rig->exit_at_once;
    worker_is_listening(worker);
    while (number != SIGTERM || (is_odd && rig->is_deaf)) {
        sigwait(&set, &number);
        tell(rig, worker, number == SIGTERM ? 't' : 'h', 0);
    }
    return is_odd ? rig->exit_when_told : 0;
}

static void
start(struct rig *rig, unsigned count)
{
    rig->opts.count = count;
    rig->opts.work = work;
    rig->opts.arg = rig;
    if (rig->opts.host == NULL)
        rig->opts.host = "127.0.0.1";
    if (rig->opts.leave_ms == 0)
        rig->opts.leave_ms = NEVER_MS;
    assert_int_equal(pipe2(rig->reports, O_CLOEXEC), 0);
    rig->parent = fork();
    assert_true(rig->parent >= 0);
    if (rig->parent == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); // a test that fails leaves nobody behind
        close(rig->reports[0]);
        log_setup(LOG_ERROR, LOG_TEXT, NULL);
        _exit(workers_run(&rig->opts));
    }
    close(rig->reports[1]);
}

// The next report, which must be of this kind.
static struct report
expect(struct rig *rig, char what)
{
    struct report report;
    struct pollfd fd = {.fd = rig->reports[0], .events = POLLIN};
    assert_int_equal(poll(&fd, 1, LONG_MS), 1);
    assert_int_equal(read(rig->reports[0], &report, sizeof(report)), sizeof(report));
    assert_int_equal(report.what, what);
    return report;
}

// The parent's exit code; every process of the rig has ended then, or the read would wait.
static int
end_of(struct rig *rig, unsigned *left)
{
    int status = 0;
    struct report report;
    *left = 0;
    while (read(rig->reports[0], &report, sizeof(report)) == (ssize_t)sizeof(report))
        *left += 1;
    close(rig->reports[0]);
    assert_int_equal(waitpid(rig->parent, &status, 0), rig->parent);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void
the_pause_doubles_up_to_five_seconds(void **state)
{
    (void)state;
    uint64_t pause_ms = 0;
    const uint64_t wanted[] = {100, 200, 400, 800, 1600, 3200, 5000, 5000};
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        pause_ms = workers_pause_ms(pause_ms, 10);
        assert_int_equal(pause_ms, wanted[i]);
    }
}

static void
a_worker_that_lived_for_half_a_minute_starts_the_pauses_anew(void **state)
{
    (void)state;
    assert_int_equal(workers_pause_ms(3200, 29999), 5000);
    assert_int_equal(workers_pause_ms(3200, 30000), 100);
    assert_int_equal(workers_pause_ms(0, 30000), 100);
}

static void
only_cores_we_may_run_on_are_counted(void **state)
{
    (void)state;
    cpu_set_t all, one;
    assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
    int count = CPU_COUNT(&all);
    assert_int_equal(workers_cores(), count < WORKERS_MAX ? count : WORKERS_MAX);
    CPU_ZERO(&one);
    CPU_SET((size_t)sched_getcpu(), &one);
    assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
    assert_int_equal(workers_cores(), 1);
    assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
}

static void
workers_start_in_order_on_one_port_and_leave_when_told(void **state)
{
    (void)state;
    struct rig rig = {0};
    unsigned left, port = 0;
    start(&rig, 3);
    for (unsigned number = 1; number <= 3; number++) {
        struct report report = expect(&rig, 's');
        assert_int_equal(report.number, number);
        assert_int_equal(report.blocked, 0);
        assert_true(report.port > 0 && (port == 0 || report.port == port));
        port = report.port;
    }
    kill(rig.parent, SIGTERM);
    assert_int_equal(end_of(&rig, &left), 0);
    assert_int_equal(left, 3);
}

static void
a_dead_worker_is_replaced_and_the_others_are_not_touched(void **state)
{
    (void)state;
    struct rig rig = {0};
    unsigned left;
    start(&rig, 2);
    struct report first = expect(&rig, 's');
    expect(&rig, 's');
    kill(first.pid, SIGKILL);
    struct report again = expect(&rig, 's');
    assert_int_equal(again.number, 1);
    assert_int_not_equal(again.pid, first.pid);
    assert_int_equal(again.port, first.port);
    kill(again.pid, SIGTERM); // also one that ends well
    expect(&rig, 't');
    assert_int_equal(expect(&rig, 's').number, 1);
    kill(rig.parent, SIGINT);
    assert_int_equal(end_of(&rig, &left), 0);
}

static void
wrong_settings_at_the_first_start_end_all(void **state)
{
    (void)state;
    unsigned left;
    for (unsigned odd = 1; odd <= 2; odd++) {
        struct rig rig = {.odd = odd, .exit_at_once = EXIT_CONFIG};
        start(&rig, 3);
        for (unsigned number = 1; number <= odd; number++)
            assert_int_equal(expect(&rig, 's').number, number);
        assert_int_equal(end_of(&rig, &left), EXIT_CONFIG);
        assert_int_equal(left, odd - 1); // those before were told to leave, none came after
    }
}

static void
wrong_settings_at_a_later_start_end_nobody_else(void **state)
{
    (void)state;
    unsigned left, odd = 0;
    int *good_starts =
        mmap(NULL, sizeof(int), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(good_starts, MAP_FAILED);
    *good_starts = 1;
    struct rig rig = {.odd = 1, .exit_at_once = EXIT_CONFIG, .good_starts = good_starts};
    start(&rig, 2);
    struct report first = expect(&rig, 's');
    expect(&rig, 's');
    kill(first.pid, SIGKILL);
    for (int i = 0; i < 3; i++)
        odd += expect(&rig, 's').number == 1;
    assert_int_equal(odd, 3);
    kill(rig.parent, SIGTERM);
    int code = end_of(&rig, &left);
    assert_true(code == 0 || code == EXIT_CONFIG); // if it ends by itself meanwhile
    assert_int_equal(left, 1);                     // the other was told then, and not before
    munmap(good_starts, sizeof(int));
}

static void
another_exit_code_at_the_start_is_tried_again(void **state)
{
    (void)state;
    struct rig rig = {.odd = 1, .exit_at_once = 1};
    unsigned left, odd = 0;
    start(&rig, 2);
    for (int i = 0; i < 4; i++) // the second is not held up for ever
        odd += expect(&rig, 's').number == 1;
    assert_int_equal(odd, 3);
    kill(rig.parent, SIGTERM);
    assert_in_range(end_of(&rig, &left), 0, 1); // 1 if it ends by itself meanwhile
}

static void
the_first_code_that_is_not_zero_is_the_parents(void **state)
{
    (void)state;
    struct rig rig = {.odd = 1, .exit_when_told = 7};
    unsigned left;
    start(&rig, 2);
    expect(&rig, 's');
    expect(&rig, 's'); // so the first listens
    kill(rig.parent, SIGTERM);
    assert_int_equal(end_of(&rig, &left), 7);
}

static void
a_second_signal_kills(void **state)
{
    (void)state;
    struct rig rig = {.odd = 1, .is_deaf = true};
    unsigned left;
    start(&rig, 2);
    expect(&rig, 's');
    expect(&rig, 's');
    kill(rig.parent, SIGTERM);
    expect(&rig, 't');
    kill(rig.parent, SIGTERM);
    assert_int_equal(end_of(&rig, &left), 1);
}

static void
who_does_not_leave_in_time_is_killed(void **state)
{
    (void)state;
    struct rig rig = {.opts.leave_ms = 200, .odd = 1, .is_deaf = true};
    unsigned left;
    start(&rig, 2);
    expect(&rig, 's');
    expect(&rig, 's');
    kill(rig.parent, SIGTERM);
    assert_int_equal(end_of(&rig, &left), 128 + SIGKILL);
}

static void
workers_leave_when_the_parent_is_killed(void **state)
{
    (void)state;
    struct rig rig = {0};
    struct report report;
    int status;
    start(&rig, 2);
    expect(&rig, 's');
    expect(&rig, 's');
    kill(rig.parent, SIGKILL);
    while (read(rig.reports[0], &report, sizeof(report)) > 0)
        assert_int_equal(report.what, 't');
    close(rig.reports[0]); // the end of the pipe: nobody is left
    waitpid(rig.parent, &status, 0);
}

static void
a_hangup_is_passed_on(void **state)
{
    (void)state;
    struct rig rig = {0};
    unsigned left;
    start(&rig, 2);
    expect(&rig, 's');
    expect(&rig, 's'); // a hangup before it listens is kept for it
    kill(rig.parent, SIGHUP);
    assert_int_equal(expect(&rig, 'h').number + expect(&rig, 'h').number, 3);
    kill(rig.parent, SIGTERM);
    assert_int_equal(end_of(&rig, &left), 0);
}

static void
pinned_workers_take_turns_on_the_cores(void **state)
{
    (void)state;
    struct rig rig = {.opts.is_pinned = true};
    cpu_set_t all;
    unsigned left;
    sched_getaffinity(0, sizeof(all), &all);
    unsigned cores = (unsigned)CPU_COUNT(&all);
    if (cores >= WORKERS_MAX)
        skip();
    int seen[WORKERS_MAX + 1];
    start(&rig, cores + 1);
    for (unsigned i = 0; i <= cores; i++) {
        struct report report = expect(&rig, 's');
        assert_int_equal(report.cores, 1);
        assert_true(CPU_ISSET((size_t)report.core, &all));
        assert_true(i == 0 || i == cores || report.core > seen[i - 1]);
        seen[i] = report.core;
    }
    assert_int_equal(seen[cores], seen[0]);
    kill(rig.parent, SIGTERM);
    assert_int_equal(end_of(&rig, &left), 0);
}

static void
a_port_that_somebody_listens_on_is_refused_though_it_could_be_shared(void **state)
{
    (void)state;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    int on = 1;
    unsigned left;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
    assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
    assert_int_equal(listen(fd, 1), 0);
    getsockname(fd, (struct sockaddr *)&at, &len);
    struct rig rig = {.opts.port = ntohs(at.sin_port)};
    start(&rig, 2);
    assert_int_equal(end_of(&rig, &left), EXIT_CONFIG);
    assert_int_equal(left, 0);
    close(fd);
}

static void
an_address_of_another_machine_is_refused(void **state)
{
    (void)state;
    struct rig rig = {.opts.host = "192.0.2.1"};
    unsigned left;
    start(&rig, 2);
    assert_int_equal(end_of(&rig, &left), EXIT_CONFIG);
    assert_int_equal(left, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_pause_doubles_up_to_five_seconds),
        cmocka_unit_test(a_worker_that_lived_for_half_a_minute_starts_the_pauses_anew),
        cmocka_unit_test(only_cores_we_may_run_on_are_counted),
        cmocka_unit_test(workers_start_in_order_on_one_port_and_leave_when_told),
        cmocka_unit_test(a_dead_worker_is_replaced_and_the_others_are_not_touched),
        cmocka_unit_test(wrong_settings_at_the_first_start_end_all),
        cmocka_unit_test(wrong_settings_at_a_later_start_end_nobody_else),
        cmocka_unit_test(another_exit_code_at_the_start_is_tried_again),
        cmocka_unit_test(the_first_code_that_is_not_zero_is_the_parents),
        cmocka_unit_test(a_second_signal_kills),
        cmocka_unit_test(who_does_not_leave_in_time_is_killed),
        cmocka_unit_test(workers_leave_when_the_parent_is_killed),
        cmocka_unit_test(a_hangup_is_passed_on),
        cmocka_unit_test(pinned_workers_take_turns_on_the_cores),
        cmocka_unit_test(a_port_that_somebody_listens_on_is_refused_though_it_could_be_shared),
        cmocka_unit_test(an_address_of_another_machine_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
