#!/usr/bin/python3
"""run.py: the fault suite, one test after the other: each wants the machine for itself.

    run.py [--only PATTERN] [--long] [--seed N] [--rounds N] [--list] [--table]

Short forms by default; --long takes an hour and wants a quiet machine. Prints a line per
test and ends with a table of the figures and `N passed, N failed, N skipped`. Exit status 0 only if
something ran and nothing failed. The figures of the last run are in build/fault/results.json, a line of
JSON per test; --table prints them again. BUILD_DIR, SY_TIME_SCALE: see tests/system/cluster.py.
"""
import argparse
import json
import os
import re
import signal
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.path.join(HERE, "..", ".."))
sys.path.insert(0, os.path.join(HERE, "..", "system"))
import run as system  # noqa: E402 - the system tests' runner

RESULTS = os.path.join(ROOT, "build", "fault", "results.json")
# A class that has not ended after this many seconds (times the scale) is stuck.
SHORT_LIMIT_S, LONG_LIMIT_S = 240, 1800


def print_table():
    try:
        with open(RESULTS) as lines:
            rows = [json.loads(line) for line in lines]
    except FileNotFoundError:
        return
    for row in rows:
        head = "%s (%s, seed %s, %s s)" % (row.pop("test"), row.pop("form"), row.pop("seed"), row.pop("seconds"))
        print(head + "".join("\n    %-24s %s" % (name, value) for name, value in row.items()))


def report(counts, results, rest):
    for verdict, seconds, test, note in results:
        counts[verdict] += 1
        print("  %-7s %6ss  %s %s" % (verdict, seconds, test, note), flush=True)
    if rest.strip():
        print("  | " + "\n  | ".join(rest.strip().splitlines()), flush=True)


def choose(pattern):
    for name, tests in system.classes(HERE, "f[0-9]*.py"):
        wanted = [test for test in tests if re.search(pattern, "%s.%s" % (name, test), re.I)]
        if wanted:
            yield name, wanted


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--only", default="")
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--class", dest="one")
    parser.add_argument("tests", nargs="*")
    options = parser.parse_args()
    if options.table:
        print_table()
        return 0
    if options.one:
        sys.path.insert(0, HERE)
        return system.run_class(options.one, options.tests)
    chosen = list(choose(options.only))
    if options.list:
        for name, tests in chosen:
            print("\n".join("%s.%s" % (name, test) for test in tests))
        return 0

    os.makedirs(os.path.dirname(RESULTS), exist_ok=True)
    open(RESULTS, "w").close()
    os.environ.update({"SY_FAULT_LONG": "1" if options.long else "", "SY_FAULT_SEED": str(options.seed),
                       "SY_FAULT_ROUNDS": str(options.rounds), "SY_FAULT_RESULTS": RESULTS})
    scale = float(os.environ.get("SY_TIME_SCALE", "1"))
    signal.signal(signal.SIGINT, system.end_all)
    signal.signal(signal.SIGTERM, system.end_all)
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    for name, tests in chosen:
        limit = (LONG_LIMIT_S if options.long else SHORT_LIMIT_S) * scale
        report(counts, *system.supervise(name, tests, limit, os.path.abspath(__file__)))
    print_table()
    print("%(passed)d passed, %(failed)d failed, %(skipped)d skipped" % counts)
    return 0 if counts["failed"] == 0 and counts["passed"] > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
