// main.c: switchyard, one command per run. Exit codes: 0 done, 1 the answer is no, 64 used
// wrongly, 69 an edge or the directory cannot be reached.
#include <stdio.h>
#include <string.h>

#include "lib/base/err.h"
#include "lib/cli/chat.h"
#include "lib/cli/flags.h"
#include "lib/cli/listen.h"
#include "lib/cli/nodes.h"
#include "lib/cli/send.h"
#include "lib/cli/suggest.h"
#include "lib/cli/where.h"

#define BIT(name) (1u << FLAG_##name)
#define LOGIN \
    (BIT(EDGE) | BIT(USER) | BIT(DEVICE) | BIT(TOKEN) | BIT(TOKEN_FILE) | BIT(CA) | BIT(INSECURE))

static const struct command commands[] = {
    {"chat", "", "Talks with others, line by line.",
     "Lines of input are '@user text' or, with --to, just text. Prints messages as 'user: text'\n"
     "and what became of each line; the state of the connection goes to stderr.",
     LOGIN | BIT(TO), 0, 0, chat_run},
    {"send", "TEXT...", "Sends one message and tells what became of it.",
     "Exit code: 0 sent, 1 rejected or unknown, 69 no edge within --timeout (default 5s).",
     LOGIN | BIT(TO) | BIT(FILE) | BIT(TIMEOUT), 0, -1, send_run},
    {"listen", "", "Prints the messages that come.",
     "Exit code: 0 after --count messages, at a signal, or at --timeout without --count;\n"
     "1 when fewer than --count came in time; 69 when no edge takes us.",
     LOGIN | BIT(COUNT) | BIT(TIMEOUT) | BIT(JSON), 0, 0, listen_run},
    {"nodes", "", "Lists the edges the directory knows.", "", BIT(REDIS) | BIT(TIMEOUT) | BIT(JSON),
     0, 0, nodes_run},
    {"where", "USER", "Tells where a user's devices are connected.",
     "Exit code: 0 when at least one is on a living node, else 1.", BIT(REDIS) | BIT(TIMEOUT), 1, 1,
     where_run},
};
#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static void
print_help(FILE *out)
{
    fprintf(out, "Usage: switchyard COMMAND [flags]\n\nCommands:\n");
    for (size_t i = 0; i < COMMANDS; i++)
        fprintf(out, "  %-8s %s\n", commands[i].name, commands[i].summary);
    fprintf(out, "  %-8s %s\n  %-8s %s\n", "version", "Prints the version.", "help",
            "Prints this.");
    fprintf(out, "\n'switchyard COMMAND --help' tells the flags of a command.\n");
}

static int
complain_unknown(const char *word)
{
    const char *names[COMMANDS + 2] = {"version", "help"};
    for (size_t i = 0; i < COMMANDS; i++)
        names[i + 2] = commands[i].name;
    const char *near = suggest(word, names, COMMANDS + 2);
    fprintf(stderr, "switchyard: unknown command '%s'", word);
    if (near != NULL)
        fprintf(stderr, " (did you mean '%s'?)", near);
    fprintf(stderr, "; see 'switchyard --help'\n");
    return EXIT_USAGE;
}

int
main(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "";
    if (word[0] == 0) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0) {
        print_help(stdout);
        return 0;
    }
    if (strcmp(word, "version") == 0 || strcmp(word, "--version") == 0) {
        printf("switchyard %s\n", SY_VERSION);
        return 0;
    }
    for (size_t i = 0; i < COMMANDS; i++) {
        struct flags flags;
        int exit_code;
        if (strcmp(word, commands[i].name) != 0)
            continue;
        if (flags_read(&commands[i], argc - 1, argv + 1, &flags, &exit_code))
            exit_code = commands[i].run(&flags);
        flags_fini(&flags);
        return exit_code;
    }
    return complain_unknown(word);
}
