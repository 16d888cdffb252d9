// meter.h: the CPU time of other processes and of the machine.
//
// Processes by their CPU clocks, which count nanoseconds; /proc's ticks miss what is
// short. The machine's share comes from /proc/stat and is good to a few per cent.
#pragma once

#include <stdint.h>
#include <stdio.h>
#include <time.h>

#define METER_MAX 16

struct meter {
    unsigned count;
    char names[METER_MAX][16];
    clockid_t clocks[METER_MAX];
};

struct meter_reading {
    uint64_t wall_ns;
    uint64_t own_ns;
    uint64_t cpu_ns[METER_MAX];
    uint64_t busy_ns;  // all processes together, without interrupts
    uint64_t steal_ns; // taken by the host
};

// "edge:123,nats:124": 0, or -1 if a process is not there or the text is no such list.
int meter_init(struct meter *meter, char *list);
// Aborts when a process is gone.
void meter_read(const struct meter *meter, struct meter_reading *reading);
// "cpu_us": {"edge": ..}, "own_us": .., "wall_s": .., "elsewhere": share of all cores that
// went to others or to the host. Processes of one name are added up.
void meter_print(const struct meter *meter, const struct meter_reading *begin,
                 const struct meter_reading *end, FILE *out);
