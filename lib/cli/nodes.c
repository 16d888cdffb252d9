// nodes.c: switchyard nodes. Every node the directory knows; a node without a lease is dead,
// and stays listed until a sweeper has removed its links.
#include "lib/cli/nodes.h"

#include <jansson.h>
#include <stdio.h>

#include "lib/base/clock.h"
#include "lib/cli/directory.h"

static const char *
state_of(const struct store_node *node)
{
    if (!node->has_lease)
        return "dead";
    return node->is_draining ? "draining" : "up";
}

static void
write_uptime(const struct store_node *node, uint64_t now_ms, char *out, size_t size)
{
    uint64_t s = now_ms > node->started_ms ? (now_ms - node->started_ms) / 1000 : 0;
    if (!node->has_lease || node->started_ms == 0)
        snprintf(out, size, "-");
    else if (s < 60)
        snprintf(out, size, "%us", (unsigned)s);
    else if (s < 3600)
        snprintf(out, size, "%um%02us", (unsigned)(s / 60), (unsigned)(s % 60));
    else if (s < 86400)
        snprintf(out, size, "%uh%02um", (unsigned)(s / 3600), (unsigned)(s / 60 % 60));
    else
        snprintf(out, size, "%ud%02uh", (unsigned)(s / 86400), (unsigned)(s / 3600 % 24));
}

static void
print_table(const struct store_node *nodes, size_t count)
{
    printf("%-32s %-9s %11s %8s %7s %7s  %-36s %s\n", "NODE", "STATE", "CONNECTIONS", "CAPACITY",
           "LEASE", "LINKS", "URL", "UPTIME");
    for (size_t i = 0; i < count; i++) {
        const struct store_node *node = &nodes[i];
        char connections[16] = "-", capacity[16] = "-", lease[16] = "-", links[24], uptime[24];
        if (node->has_lease) {
            snprintf(connections, sizeof(connections), "%u", node->connections);
            snprintf(capacity, sizeof(capacity), "%u", node->max_connections);
            snprintf(lease, sizeof(lease), "%.1fs", (double)node->lease_left_ms / 1000);
        }
        snprintf(links, sizeof(links), "%llu", (unsigned long long)node->members);
        write_uptime(node, clock_wall_ms(), uptime, sizeof(uptime));
        printf("%-32s %-9s %11s %8s %7s %7s  %-36s %s\n", node->node, state_of(node), connections,
               capacity, lease, links, node->url[0] != 0 ? node->url : "-", uptime);
    }
}

static void
print_json(const struct store_node *nodes, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        const struct store_node *node = &nodes[i];
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:s, s:I}", "node", node->node, "state",
                            state_of(node), "connections", (json_int_t)node->connections,
                            "capacity", (json_int_t)node->max_connections, "lease_left_ms",
                            (json_int_t)node->lease_left_ms, "links", (json_int_t)node->members,
                            "url", node->url, "started_ms", (json_int_t)node->started_ms));
    }
    json_dumpf(list, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    printf("\n");
    json_decref(list);
}

static void
on_nodes(void *arg, int error, const struct store_node *nodes, size_t count)
{
    struct directory *directory = arg;
    const struct flags *flags = directory->flags;
    if (error != 0) {
        directory_fail(directory, error);
        return;
    }
    if (flags->wants_json)
        print_json(nodes, count);
    else
        print_table(nodes, count);
    directory_end(directory, 0);
}

static void
ask(struct directory *directory)
{
    store_list_nodes(directory->store, on_nodes, directory);
}

int
nodes_run(const struct flags *flags)
{
    static struct directory directory;
    directory = (struct directory){.ask = ask, .flags = flags};
    return directory_run(&directory, flags);
}
