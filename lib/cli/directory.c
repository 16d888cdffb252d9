// directory.c: see directory.h.
#include "lib/cli/directory.h"

#include <stdio.h>
#include <string.h>

#include "lib/base/err.h"
#include "lib/base/log.h"

#define DEFAULT_TIMEOUT_MS 5000

static void
on_store_closed(void *arg)
{
    (void)arg;
}

void
directory_end(struct directory *directory, int exit_code)
{
    if (directory->is_over)
        return;
    directory->is_over = true;
    directory->exit_code = exit_code;
    uv_close((uv_handle_t *)&directory->timer, NULL);
    store_close(directory->store, on_store_closed, NULL);
}

void
directory_fail(struct directory *directory, int error)
{
    if (directory->is_over)
        return;
    fprintf(stderr, "switchyard: the directory did not answer: %s\n", sy_error_text(error));
    directory_end(directory, EXIT_UNAVAILABLE);
}

static void
on_state(void *arg, bool up, const char *why)
{
    struct directory *directory = arg;
    if (!up && why != NULL)
        snprintf(directory->why, sizeof(directory->why), "%s", why);
    if (up && !directory->was_asked) {
        directory->was_asked = true;
        directory->ask(directory);
    }
}

static void
on_timeout(uv_timer_t *timer)
{
    struct directory *directory = timer->data;
    fprintf(stderr, "switchyard: %s\n", store_describe(directory->store));
    directory_end(directory, EXIT_UNAVAILABLE);
}

int
directory_run(struct directory *directory, const struct flags *flags)
{
    char why[160];
    struct store_opts opts = {
        .url = flags->redis,
        .user = "",
        .password = "",
        .command_timeout_ms = 2000,
        .max_in_flight = 4096,
        .on_state = on_state,
        .arg = directory,
    };
    log_setup(LOG_ERROR, LOG_TEXT, NULL); // the command tells what matters itself
    if (uv_loop_init(&directory->loop) != 0)
        return EXIT_UNAVAILABLE;
    directory->store = store_open(&directory->loop, &opts, why);
    if (directory->store == NULL) {
        fprintf(stderr, "switchyard: --redis: %s\n", why);
        uv_loop_close(&directory->loop);
        return EXIT_USAGE;
    }
    uint32_t timeout_ms = flags->timeout_ms != 0 ? flags->timeout_ms : DEFAULT_TIMEOUT_MS;
    uv_timer_init(&directory->loop, &directory->timer);
    directory->timer.data = directory;
    uv_timer_start(&directory->timer, on_timeout, timeout_ms, 0);
    uv_run(&directory->loop, UV_RUN_DEFAULT);
    uv_loop_close(&directory->loop);
    return directory->exit_code;
}
