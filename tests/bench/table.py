#!/usr/bin/env python3
"""table.py: results.json as the tables of docs/explanation/performance.md.

    table.py [RESULTS] [SCENARIO...]      build/bench/results.json; all that are in it
"""
import json
import os
import sys

COSTS = ("Load", "Edges, us", "All, us", "Floor, us", "Edges / floor", "All / floor", "Calls", "p50 / p99 / p999, us",
         "Lost, double, disordered")
EXTRAS = {"S3": ("writes_per_message", "nats_per_publication"), "S2": ("redis_per_s", "nats_per_message")}


def number(value, digits=1):
    return "" if value is None else "{:,.{}f}".format(value, digits)


def latency(summary):
    return " / ".join(number(summary[part], 0) for part in ("p50", "p99", "p999"))


def cost_row(case):
    s = case["summary"]
    row = [case["case"], number(s["edges_us"]), number(s["all_us"]), number(s["floor_us"]), number(s["edges_ratio"], 2),
           number(s["all_ratio"], 2), number(case["syscalls"].get("edge", {}).get("all"), 2), latency(s),
           "%d, %d, %d" % (s["lost"], s["duplicated"], s["out_of_order"])]
    return row + [number(s["extra"].get(name), 3) for name in EXTRAS.get(case["scenario"], ())]


def idle_row(case):
    extra = case["summary"]["extra"]
    grown = 100 * (extra["after_user_bytes"] / extra["user_bytes"] - 1)
    return [number(case["args"]["users"], 0), number(extra["user_bytes"], 0), number(extra["kernel_bytes"], 0),
            number(extra["both_bytes"], 0), "%+.1f %%" % grown, number(extra["cpu_us_per_s"], 2)]


def storm_row(case):
    s, extra = case["summary"], case["summary"]["extra"]
    is_mixed = bool(case["args"].get("pairs"))
    row = [case["case"], "" if is_mixed else number(s["edges_us"]), "" if is_mixed else number(s["all_us"]),
           number(extra["first_block_us"]), number(extra["last_block_us"]), number(extra["logins_per_s"], 0),
           number(extra["login_p99_us"] / 1000, 1)]
    return row + [number(s["p99"] / 1000, 2) if is_mixed else ""]


def growth_row(case):
    s, extra = case["summary"], case["summary"]["extra"]
    return [number(extra["users"], 0), number(s["edges_us"]), number(s["all_us"]), number(s["floor_us"]),
            number(extra["login_us"]), number(extra["redis_bytes_per_user"], 0),
            number(extra["redis_idle_commands_per_s"], 0)]


TABLES = {
    "S4": (("Users", "User bytes each", "Kernel bytes each", "Both", "After traffic", "CPU us/s each"), idle_row),
    "S5": (("Load", "Edge, us per login", "All, us", "Edge, first 1,000", "Edge, last 1,000", "Logins/s",
            "Login p99, ms", "Messages beside: p99, ms"), storm_row),
    "S8": (("Users", "Edges, us per message", "All, us", "Floor, us", "Edge, us per login", "Redis bytes per user",
            "Redis commands/s idle"), growth_row)}


def table(scenario, cases):
    head, row = TABLES.get(scenario, (COSTS + EXTRAS.get(scenario, ()), cost_row))
    lines = [head, ["---"] + ["--:"] * (len(head) - 1)] + [row(case) for case in cases if case["summary"]]
    return "\n".join("| %s |" % " | ".join(line) for line in lines)


def main():
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "build", "bench", "results.json")
    words = sys.argv[1:]
    if words and words[0].endswith(".json"):
        path = words.pop(0)
    with open(path) as file:
        cases = json.load(file)["cases"]
    for scenario in words or sorted({case["scenario"] for case in cases}):
        print("%s\n\n%s\n" % (scenario, table(scenario, [case for case in cases if case["scenario"] == scenario])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
