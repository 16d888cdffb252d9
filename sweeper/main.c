// main.c: the program switchyard-sweeper and its subcommands.
#include <stdio.h>
#include <string.h>

#include "lib/base/last_words.h"
#include "lib/base/log.h"
#include "sweeper/host.h"
#include "sweeper/settings.h"

extern char **environ;

static const char usage[] =
    "usage: switchyard-sweeper [serve] [--config FILE] [settings as flags]\n"
    "       switchyard-sweeper check-config [--config FILE]\n"
    "       switchyard-sweeper config doc\n"
    "       switchyard-sweeper gen-config\n"
    "       switchyard-sweeper version\n"
    "Settings: switchyard-sweeper --help\n";

static int
check_config(const struct conf *conf, const struct settings *settings)
{
    if (settings_check(settings, stderr) != 0)
        return EXIT_CONFIG;
    size_t set = conf_count_set(conf);
    printf("ok (%zu set, %zu default)\n", set, conf->count - set);
    return 0;
}

static int
serve(const struct settings *settings)
{
    if (settings_check(settings, stderr) != 0)
        return EXIT_CONFIG;
    log_setup_words(settings->log_level, settings->log_format);
    last_words_prepare();
    return host_run(settings);
}

static int
run(const struct conf *conf, const struct settings *settings, int argc, char **argv)
{
    const char *command = argc > 1 ? argv[1] : "serve";
    const char *word = argc > 2 ? argv[2] : "";
    if (strcmp(command, "serve") == 0 && argc <= 2)
        return serve(settings);
    if (strcmp(command, "check-config") == 0 && argc == 2)
        return check_config(conf, settings);
    if (strcmp(command, "config") == 0 && argc == 3 && strcmp(word, "doc") == 0)
        conf_show_markdown(conf, stdout);
    else if (strcmp(command, "gen-config") == 0 && argc == 2)
        conf_show_yaml(conf, stdout);
    else if (strcmp(command, "version") == 0 && argc == 2)
        printf("switchyard-sweeper %s\n", SY_VERSION);
    else {
        fprintf(stderr, "unknown command '%s'\n%s", command, usage);
        return EXIT_USAGE;
    }
    return 0;
}

int
main(int argc, char **argv)
{
    struct conf conf;
    struct settings settings;
    conf_init(&conf, "switchyard-sweeper", settings_rows, settings_count, &settings);
    int error = conf_load_all(&conf, &argc, argv, environ, stderr);
    int code = error == 1 ? 0 : EXIT_CONFIG;
    if (error == 0)
        code = run(&conf, &settings, argc, argv);
    conf_fini(&conf);
    return code;
}
