// bench_bus.c: what a message costs. One bus publishes a batch in each turn of its
// loop to a subject of its own and hears it again, with at most four batches under way.
//   bench_bus [messages per batch] [bytes per message] [seconds]
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static uint64_t
cpu_us(void)
{
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return (uint64_t)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) * 1000000 +
           (uint64_t)(use.ru_utime.tv_usec + use.ru_stime.tv_usec);
}

int
main(int argc, char **argv)
{
    uint64_t batch = argc > 1 ? strtoull(argv[1], NULL, 10) : 100;
    uint64_t bytes = argc > 2 ? strtoull(argv[2], NULL, 10) : 64;
    uint64_t seconds = argc > 3 ? strtoull(argv[3], NULL, 10) : 3;
    struct server server;
    server_init(&server, NULL);
    server_start(&server);
    struct rig rig;
    rig_init(&rig);
    char url[64];
    snprintf(url, sizeof url, "nats://127.0.0.1:%d", server.port);
    struct side side = {.rig = &rig};
    struct bus_opts opts = side_opts(&side, "a", url);
    side_open(&side, &opts);
    if (!rig_run(&rig, side_is_up, &side, 3000))
        return 1;
    uint8_t *payload = calloc(1, bytes + 1);
    uint64_t sent = 0, start = now_ms(), cpu = cpu_us();
    while (now_ms() - start < seconds * 1000) {
        for (uint64_t i = 0; sent - side.messages < 4 * batch && i < batch; i++)
            sent += bus_publish(side.bus, "a.bench", NULL, payload, bytes) == 0;
        bus_flush(side.bus);
        uv_run(&rig.loop, UV_RUN_ONCE);
    }
    uint64_t ms = now_ms() - start;
    cpu = cpu_us() - cpu;
    printf("batch %lu, %lu B: %.0f messages/s there and back, %.2f us CPU each\n",
           (unsigned long)batch, (unsigned long)bytes, (double)side.messages * 1000 / (double)ms,
           (double)cpu / (double)side.messages);
    free(payload);
    side_close(&side);
    rig_fini(&rig);
    server_fini(&server);
    return 0;
}
