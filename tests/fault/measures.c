// measures.c: see measures.h.
#include "tests/fault/measures.h"

#include <string.h>

static const char *const group_names[GROUP_COUNT] = {"others", "victims"};

unsigned
close_slot(unsigned code)
{
    if (code >= 1000 && code < 1015)
        return code - 1000;
    if (code >= 4000 && code < 4112)
        return code - 4000 + 15;
    return CLOSE_SLOTS - 1;
}

static unsigned
slot_code(unsigned slot)
{
    return slot == CLOSE_SLOTS - 1 ? 0 : slot < 15 ? slot + 1000 : slot - 15 + 4000;
}

static void
add_counts(struct counts *to, const struct counts *more)
{
    _Static_assert(sizeof(struct counts) % sizeof(uint64_t) == 0, "nothing else is in it");
    uint64_t sum;
    uint64_t add;
    for (size_t at = 0; at < sizeof(*to); at += sizeof(sum)) {
        memcpy(&sum, (const char *)to + at, sizeof(sum));
        memcpy(&add, (const char *)more + at, sizeof(add));
        sum += add;
        memcpy((char *)to + at, &sum, sizeof(sum));
    }
}

void
measures_mark(struct measures *measures, uint64_t now_us)
{
    struct counts total = measures->total;
    add_counts(&total, &measures->now);
    *measures = (struct measures){.total = total, .began_us = now_us};
}

static void
print_reasons(const char *name, const uint64_t counts[static REASON_COUNT], FILE *out)
{
    const char *comma = "";
    fprintf(out, "\"%s\": {", name);
    for (unsigned reason = 0; reason < REASON_COUNT; reason++) {
        if (counts[reason] == 0)
            continue;
        fprintf(out, "%s\"%s\": %llu", comma, reason_name(reason),
                (unsigned long long)counts[reason]);
        comma = ", ";
    }
    fputs("}, ", out);
}

static void
print_number(const char *name, uint64_t value, FILE *out)
{
    fprintf(out, "\"%s\": %llu, ", name, (unsigned long long)value);
}

static void
print_group(const struct counts *counts, enum group group, FILE *out)
{
    fprintf(out, "\"%s\": {", group_names[group]);
    print_number("sends", counts->sends[group], out);
    print_number("sent", counts->sent[group], out);
    print_reasons("rejected", counts->rejected[group], out);
    print_reasons("failed", counts->failed[group], out);
    print_number("unknown", counts->unknown[group], out);
    print_number("overdue", counts->overdue[group], out);
    fprintf(out, "\"arrived\": %llu}, ", (unsigned long long)counts->arrived[group]);
}

static void
print_codes(const struct counts *counts, FILE *out)
{
    const char *comma = "";
    fputs("\"closes\": {", out);
    for (unsigned slot = 0; slot < CLOSE_SLOTS; slot++) {
        if (counts->closes[slot] == 0)
            continue;
        fprintf(out, "%s\"%u\": %llu", comma, slot_code(slot),
                (unsigned long long)counts->closes[slot]);
        comma = ", ";
    }
    fputs("}, \"statuses\": {", out);
    comma = "";
    for (unsigned status = 0; status < STATUS_SLOTS; status++) {
        if (counts->statuses[status] == 0)
            continue;
        fprintf(out, "%s\"%u\": %llu", comma, status, (unsigned long long)counts->statuses[status]);
        comma = ", ";
    }
    fputs("}", out);
}

static void
print_counts(const struct counts *counts, FILE *out)
{
    print_group(counts, GROUP_OTHERS, out);
    print_group(counts, GROUP_VICTIMS, out);
    print_number("answered_twice", counts->answered_twice, out);
    print_number("doubled", counts->doubled, out);
    print_number("doubled_moving", counts->doubled_moving, out);
    print_number("disordered", counts->disordered, out);
    print_number("disordered_moving", counts->disordered_moving, out);
    print_number("late", counts->late, out);
    print_number("strange", counts->strange, out);
    print_number("logins", counts->logins, out);
    print_number("reconnects", counts->reconnects, out);
    print_number("resets", counts->resets, out);
    print_number("silences", counts->silences, out);
    print_number("refused", counts->refused, out);
    print_number("timeouts", counts->timeouts, out);
    print_number("failures", counts->failures, out);
    print_number("go_aways", counts->go_aways, out);
    print_number("go_away_slots", counts->go_away_slots, out);
    print_number("go_away_urls", counts->go_away_urls, out);
    print_codes(counts, out);
}

static void
print_hist(const char *name, const struct hist *hist, FILE *out)
{
    fprintf(out, "\"%s\": ", name);
    hist_print(hist, out);
}

void
measures_print(const struct measures *measures, uint64_t now_us, FILE *out)
{
    struct counts total = measures->total;
    add_counts(&total, &measures->now);
    fputs("\"window\": {", out);
    print_number("us", now_us - measures->began_us, out);
    print_number("slot_max_ms", measures->slot_max_ms, out);
    print_number("logins_max_per_s", measures->logins_max_per_s, out);
    print_number("gap_max_us", measures->gap_max_us, out);
    for (unsigned group = 0; group < GROUP_COUNT; group++) {
        fprintf(out, "\"%s_us\": {", group_names[group]);
        print_hist("travel", &measures->travel[group], out);
        fputs(", ", out);
        print_hist("answer", &measures->answer[group], out);
        fputs("}, ", out);
    }
    print_hist("lag_us", &measures->lag, out);
    fputs(", ", out);
    print_hist("away_us", &measures->away, out);
    fputs(", ", out);
    print_hist("login_us", &measures->login, out);
    fputs(", ", out);
    print_counts(&measures->now, out);
    fputs("}, \"total\": {", out);
    print_counts(&total, out);
    fputs("}", out);
}
