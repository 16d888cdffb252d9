// where.c: switchyard where. The user's links, each with whether its node lives: a link of a
// dead node is waiting for a sweeper, and reaches nobody.
#include "lib/cli/where.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/base/err.h"
#include "lib/cli/directory.h"
#include "lib/cli/print.h"

struct where {
    struct directory directory; // first: the callbacks' arg is both
    const char *user;
    struct link *links;
    size_t count;
    size_t asked; // links whose node was read
    bool lives;   // of at least one
};

static void
print_link(const struct link *link, bool lives)
{
    char device[4 * sizeof(link->device)], since[32] = "-";
    time_t seconds = (time_t)(link->since_ms / 1000);
    struct tm utc;
    print_safe(device, sizeof(device), link->device);
    if (gmtime_r(&seconds, &utc) != NULL)
        strftime(since, sizeof(since), "%Y-%m-%dT%H:%M:%SZ", &utc);
    printf("%-24s node %s  connection %llu  since %s  class %s  %s\n", device, link->node,
           (unsigned long long)link->connection, since,
           link->device_class[0] != 0 ? link->device_class : "-", lives ? "living" : "dead");
}

static void read_next(struct where *where);

static void
on_node(void *arg, int error, const struct store_node *node)
{
    struct where *where = arg;
    if (error != 0 && error != SY_ENOENT) {
        directory_fail(&where->directory, error);
        return;
    }
    bool lives = error == 0 && node->has_lease;
    where->lives |= lives;
    print_link(&where->links[where->asked++], lives);
    read_next(where);
}

static void
read_next(struct where *where)
{
    if (where->asked == where->count)
        directory_end(&where->directory, where->lives ? 0 : 1);
    else
        store_read_node(where->directory.store, where->links[where->asked].node, on_node, where);
}

static void
on_links(void *arg, int error, const struct link *links, size_t count)
{
    struct where *where = arg;
    if (error != 0) {
        directory_fail(&where->directory, error);
        return;
    }
    if (count == 0) {
        fprintf(stderr, "%s is not connected anywhere\n", where->user);
        directory_end(&where->directory, 1);
        return;
    }
    where->links = calloc(count, sizeof(*links));
    if (where->links == NULL)
        abort();
    memcpy(where->links, links, count * sizeof(*links));
    where->count = count;
    read_next(where);
}

static void
ask(struct directory *directory)
{
    struct where *where = (struct where *)directory;
    store_resolve(directory->store, where->user, NULL, 0, on_links, where);
}

int
where_run(const struct flags *flags)
{
    static struct where where;
    where = (struct where){.directory = {.ask = ask, .flags = flags}, .user = flags->words[0]};
    if (!ident_is_valid(where.user, strlen(where.user))) {
        fprintf(stderr, "switchyard where: USER is 1 to 128 bytes of UTF-8\n");
        return EXIT_USAGE;
    }
    int exit_code = directory_run(&where.directory, flags);
    free(where.links);
    return exit_code;
}
