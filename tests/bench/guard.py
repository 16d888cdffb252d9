#!/usr/bin/env python3
"""guard.py: what must not become more expensive, counted and not timed. Started by
guards.sh, whose head is its manual.

Counts, not clocks: system calls under strace, instructions under callgrind, allocations by a
preloaded counter. A turn of the edge's loop is made the same size every time by stopping
the edge while its messages are written (load pairs --freeze). Budgets: guards/budgets.txt.
"""
import argparse
import glob
import mmap
import os
import re
import shutil
import struct
import subprocess
import sys
import time

import rig
from rig import BUILD, Bench, Load

BUDGETS = os.path.join(rig.HERE, "guards", "budgets.txt")
COUNTER = os.path.join(BUILD, "lib", "libcount_malloc.so")
# Per turn, in the guards that freeze the edge.
PAIRS = 100


class Guards:
    def __init__(self, only):
        self.only = only
        self.found = {}  # name -> (value, unit)

    def wants(self, prefix):
        return self.only in prefix or prefix in self.only

    def note(self, name, value, unit):
        self.found[name] = (value, unit)


def count_of(result):
    if result["lost"] or result["duplicated"] or result["out_of_order"] or result["lost_connections"]:
        raise rig.Trouble("messages were lost: %s" % result)
    return result["delivered"]


def turns(bench, use, number):
    """Arguments of load for turns of PAIRS messages at the first edge."""
    return {"pairs": PAIRS, "freeze": bench.edges["edge-a"].pid, "turns": number}, bench.ports("edge")[:use]


def run(bench, args, ports, before, after, mode="pairs"):
    """A load with before() and after() around what is counted."""
    load = Load(mode, bench, "edge", args, ports=ports, pids="edge:%d" % bench.edges["edge-a"].pid)

    def on_mark(name):
        if name == "begin":
            before()
        elif name == "end":
            after()
    return load.finish(on_mark)


# System calls.

def guard_syscalls(guards):
    with_bench(guards, lambda bench: syscalls_of(guards, bench, 1, "s1"), edges=1, clustered=False)
    with_bench(guards, lambda bench: syscalls_of(guards, bench, 2, "s2"))


def syscalls_of(guards, bench, use, name):
    for kind in ("turn", "single"):
        args, ports = turns(bench, use, 30)
        if kind == "single":
            args, ports = {"pairs": 1, "window": 1, "limit": 1000, "seconds": 20}, ports
        counter = rig.Syscalls([edge.pid for edge in bench.edges.values()], use_perf=False)
        counts = {}
        result = run(bench, args, ports, counter.begin, lambda: counts.update(counter.end()))
        messages = count_of(result)
        # How often threads of nats.c get into each other's way is luck, so it stands apart.
        futex = counts.get("futex", 0)
        guards.note("syscalls.%s.%s" % (name, kind), (counts["all"] - futex) / messages, "system calls per message")
        guards.note("futex.%s.%s" % (name, kind), futex / messages, "futex calls per message")
        guards.note("epoll_ctl.%s.%s" % (name, kind), counts.get("epoll_ctl", 0) / messages, "epoll_ctl per message")
        print("    %s %s: %s" % (name, kind, counts))


def guard_writes(guards):
    """By the edges' own counters: what of a burst is joined into one write, and what a message
    to another edge costs on NATS when nobody waits for its outcome."""
    with_bench(guards, lambda bench: writes_of(guards, bench))
    with_bench(guards, lambda bench: published_of(guards, bench))


def published_of(guards, bench):
    def published():
        return sum(edge.counters()["nats_published"] for edge in bench.edges.values())
    args = {"pairs": 1, "window": 1, "limit": 3000, "seconds": 20}
    seen = []
    result = run(bench, args, bench.ports("edge"), lambda: seen.append(published()),
                 lambda: seen.append(published()))
    guards.note("nats.s2.single", (seen[1] - seen[0]) / count_of(result), "NATS messages per message")


def writes_of(guards, bench):
    def counters():
        return {name: sum(edge.counters()[name] for edge in bench.edges.values())
                for name in ("writes", "nats_published")}
    # How much of a burst of Sends has come when the edge looks depends on the machine: that
    # budget has room, up to an eighth of a write, which is what is promised.
    for name, burst, args in (("broadcast", 1, {"audience": 400, "rate": 40000, "seconds": 1.3}),
                              ("broadcast", 32, {"audience": 400, "rate": 40000, "seconds": 1.3}),
                              ("send", 32, {"audience": 1000, "rate": 60000, "seconds": 2.1})):
        seen = []
        args = dict(args, burst=burst, broadcast=name == "broadcast")
        result = run(bench, args, bench.ports("edge"), lambda: seen.append(counters()),
                     lambda: seen.append(counters()), "fanout")
        writes = seen[1]["writes"] - seen[0]["writes"]
        guards.note("writes.%s.%d" % (name, burst), writes / count_of(result), "writes per delivery")
        if name == "send":
            continue
        published = seen[1]["nats_published"] - seen[0]["nats_published"]
        guards.note("nats.%s.%d" % (name, burst), published / result["publications"],
                    "NATS messages per publication")


# Instructions.

CALLGRIND = ["valgrind", "--tool=callgrind", "--quiet", "--vgdb-poll=1000000"]


class Callgrind:
    """Instructions of edges that run under callgrind: what a dump has is what came since the
    one before. (Its command to zero its counts leaves some standing.)"""

    def __init__(self, bench):
        self.bench = bench
        self.last = []  # files of the newest dump

    def wrapper(self):
        return CALLGRIND + ["--callgrind-out-file=%s/callgrind.%%p" % self.bench.directory]

    def dump(self):
        """Instructions since the last dump."""
        pattern = self.bench.directory + "/callgrind.*"
        before = set(glob.glob(pattern))
        for edge in self.bench.edges.values():
            done = subprocess.run(["vgdb", "--pid=%d" % edge.pid, "dump"], capture_output=True, text=True, timeout=60)
            if done.returncode != 0:
                raise rig.Trouble("vgdb: " + done.stderr)
        self.last = sorted(set(glob.glob(pattern)) - before)
        total = 0
        for path in self.last:
            with open(path) as file:
                total += sum(int(line.split()[1]) for line in file if line.startswith("totals:"))
        return total


def guard_instructions(guards):
    with_bench(guards, lambda bench: alone(guards, bench), edges=1, clustered=False, callgrind=True)
    with_bench(guards, lambda bench: unicast(guards, bench, 2, "s2"), callgrind=True)


def alone(guards, bench):
    unicast(guards, bench, 1, "s1")
    for name, broadcast in (("s3.send", False), ("s3.broadcast", True)):
        args = {"audience": 200, "rate": 20000, "seconds": 0.6, "broadcast": broadcast}
        instructions_of(guards, bench, name, "fanout", args, bench.ports("edge"))


def unicast(guards, bench, use, name):
    args, ports = turns(bench, use, 30)
    instructions_of(guards, bench, name + ".turn", "pairs", args, ports)
    args = {"pairs": 1, "window": 1, "limit": 900, "seconds": 30}
    instructions_of(guards, bench, name + ".single", "pairs", args, ports)


def instructions_of(guards, bench, name, mode, args, ports):
    totals = []
    result = run(bench, args, ports, bench.callgrind.dump, lambda: totals.append(bench.callgrind.dump()), mode)
    messages = count_of(result)
    guards.note("instructions." + name, totals[0] / messages, "instructions per message")
    print("    %s, instructions per message by function:" % name)
    for path in bench.callgrind.last:
        print_profile(path, messages)


COST = re.compile(r"[+*-]?\d*\s+\d+$")


def print_profile(path, count, most=12):
    """The functions with the highest own cost in a callgrind file, and the sum per object."""
    functions, objects, names = {}, {}, ({}, {})
    place = [None, None]  # object, function
    is_call = False

    def name_of(text, table):
        number, _, name = text.partition(" ")
        return table.setdefault(number, name)
    with open(path) as file:
        for line in file:
            word, equals, rest = line.rstrip("\n").partition("=")
            if equals:
                kind = {"ob": 0, "cob": 0, "fn": 1, "cfn": 1}.get(word)
                if kind is not None:
                    name = name_of(rest, names[kind])
                    if not word.startswith("c"):
                        place[kind] = name
                is_call |= word == "calls"
            elif COST.match(word) and place[1] is not None:
                cost = 0 if is_call else int(word.split()[1])  # a call's own line has what it called
                is_call = False
                owner = os.path.basename(place[0])
                functions[owner, place[1]] = functions.get((owner, place[1]), 0) + cost
                objects[owner] = objects.get(owner, 0) + cost

    def top(table):
        return sorted(table.items(), key=lambda item: -item[1])
    print("      " + ", ".join("%s %.0f" % (name, cost / count) for name, cost in top(objects)[:7]))
    for (owner, function), cost in top(functions)[:most]:
        print("      %6.0f %s (%s)" % (cost / count, function, owner))


def guard_logins(guards):
    """A login beside 4,000 sessions costs what one beside 200 costs."""
    with_bench(guards, lambda bench: logins_of(guards, bench), edges=1, callgrind=True)
    with_bench(guards, lambda bench: token_logins_of(guards, bench), edges=1, callgrind=True, secret=rig.SECRET)


def logins_of(guards, bench):
    costs = costs_of_logins(bench, None, ((200, False), (200, True), (3600, False), (200, True)))
    guards.note("instructions.login", costs[200], "instructions per login, beside 200 sessions")
    guards.note("login.growth", costs[4000] / costs[200], "login beside 4,000 sessions / beside 200")


def token_logins_of(guards, bench):
    costs = costs_of_logins(bench, rig.SECRET, ((200, False), (200, True)))
    guards.note("instructions.login.token", costs[200], "instructions per login with a token")


def costs_of_logins(bench, secret, storms):
    """{sessions there already: instructions per login} for storms of (users, counted)."""
    costs = {}
    loads = []
    first = 0

    def log_in(users, counted):
        nonlocal first
        load = Load("storm", bench, "edge", {"users": users, "in_flight": 16, "first": first, "secret": secret},
                    pids="edge:%d" % bench.edges["edge-a"].pid)
        loads.append(load)
        load.wait_mark("begin")
        if counted:
            bench.callgrind.dump()
        begin = time.monotonic()
        load.go_on()
        load.wait_mark("end")
        first += users
        if counted:
            cost = bench.callgrind.dump()
            # Sessions are looked after meanwhile, more of them if there are more.
            time.sleep(time.monotonic() - begin)
            costs[first - users] = (cost - bench.callgrind.dump()) / users
    try:
        for users, counted in storms:
            log_in(users, counted)
    finally:
        for load in loads:
            load.end()
    return costs


# Allocations.

class Allocations:
    """What guards/count_malloc.c counts in an edge."""
    FIELDS = ("calls", "frees", "asked", "live", "is_tracing")

    def __init__(self, bench, name):
        self.path = os.path.join(bench.directory, name + ".counts")
        self.sites = os.path.join(bench.directory, name + ".sites")

    def env(self):
        return {"LD_PRELOAD": COUNTER, "COUNT_MALLOC_FILE": self.path, "COUNT_MALLOC_SITES": self.sites}

    def read(self):
        with open(self.path, "rb") as file:
            return dict(zip(self.FIELDS, struct.unpack("QQQqQ", file.read(40))))

    def trace(self, on):
        with open(self.path, "r+b") as file, mmap.mmap(file.fileno(), 40) as counts:
            counts[32:40] = struct.pack("Q", on)

    def print_sites(self, messages):
        """Call paths that allocate at least once in a hundred messages, when the edge has ended."""
        if not os.path.exists(self.sites):
            return
        with open(self.sites) as sites:
            rows = sorted(((int(line.split()[0]), line.split()[2:]) for line in sites), reverse=True)
        for calls, path in rows[:12]:
            if calls * 100 >= messages:
                print("    %.2f a message: %s" % (calls / messages, " < ".join(map(where, path[:7]))))


def where(place):
    """"/path/object+0x123" as a function's name and line."""
    path, _, offset = place.rpartition("+")
    done = subprocess.run(["addr2line", "-f", "-s", "-e", path, offset], capture_output=True, text=True)
    words = done.stdout.split()
    if len(words) < 2 or words[0] == "??":
        return os.path.basename(path) + "+" + offset
    return "%s (%s)" % (words[0], words[1])


def guard_allocations(guards):
    with_bench(guards, lambda bench: allocations_of(guards, bench, 1, "s1"), edges=1, clustered=False, counted=True)
    with_bench(guards, lambda bench: allocations_of(guards, bench, 2, "s2"), counted=True)
    with_bench(guards, lambda bench: sessions_of(guards, bench), edges=1, counted=True)


def allocations_of(guards, bench, use, name):
    def calls():
        return sum(counter.read()["calls"] for counter in bench.counters.values())
    for kind in ("turn", "single"):
        args, ports = turns(bench, use, 40)
        if kind == "single":
            args = {"pairs": 1, "window": 1, "limit": 4000, "seconds": 20}
        seen = []
        result = run(bench, args, ports, lambda: seen.append(calls()), lambda: seen.append(calls()))
        guards.note("mallocs.%s.%s" % (name, kind), (seen[1] - seen[0]) / count_of(result), "allocations per message")
    # Who it is, in a run that does not count.
    for counter in bench.counters.values():
        counter.trace(1)
    result = run(bench, {"pairs": 1, "window": 1, "limit": 2000, "seconds": 20}, ports, lambda: None, lambda: None)
    for counter in bench.counters.values():
        counter.trace(0)
    bench.traced = count_of(result)


def sessions_of(guards, bench):
    users = 1000
    seen = {}

    def look(name):
        seen[name] = bench.counters["edge-a"].read()
    Load("idle", bench, "edge", {"users": users, "seconds": 3}, pids="edge:%d" % bench.edges["edge-a"].pid).finish(look)
    guards.note("bytes.session", (seen["idle"]["live"] - seen["empty"]["live"]) / users, "bytes held per idle session")
    guards.note("bytes.session.after", (seen["after"]["live"] - seen["empty"]["live"]) / users,
                "bytes held per session after one message each")
    guards.note("mallocs.login", (seen["idle"]["calls"] - seen["empty"]["calls"]) / users, "allocations per login")


# The whole.

def with_bench(guards, body, edges=2, clustered=True, callgrind=False, counted=False, secret=None):
    bench = Bench()
    try:
        bench.counters, bench.traced = {}, 0
        bench.callgrind = Callgrind(bench)
        if clustered:
            bench.start_nats()
            bench.start_redis()
        for name in ["edge-a", "edge-b"][:edges]:
            more = {}
            if callgrind:
                more.update(wrapper=bench.callgrind.wrapper(), ping__interval="30m")
            if secret:
                more["auth__hs256_secret"] = secret
            if counted:
                bench.counters[name] = Allocations(bench, name)
                more["env"] = bench.counters[name].env()
            bench.start_edge(name, nats=clustered, redis=clustered, **dict(rig.ROOMY, **more))
        for edge in bench.edges.values():
            edge.wait_ready(60)
        time.sleep(1.5)  # a heartbeat: the edges know each other
        body(bench)
        for edge in bench.edges.values():
            edge.terminate(60)
        for counter in bench.counters.values():
            counter.print_sites(max(1, bench.traced))
    finally:
        complaints = bench.stop()
    for complaint in complaints:
        raise rig.Trouble(complaint)


def budgets():
    found = {}
    with open(BUDGETS) as lines:
        for line in lines:
            words = line.split()
            if words and not line.startswith("#"):
                found[words[0]] = (float(words[1]), float(words[2]))
    return found


def judge(guards, measured):
    allowed = budgets()
    passed = failed = 0
    for name, (value, unit) in guards.found.items():
        if measured:
            margin = allowed.get(name, (0, 10))[1]
            print("%-29s %9.3f  %6g  %s" % (name, value, margin, unit))
            continue
        if name not in allowed:
            print("  failed %s: %.3f %s, and no budget" % (name, value, unit))
            failed += 1
            continue
        base, margin = allowed[name]
        # What is nought may be a hundredth: heartbeats go on meanwhile.
        limit = max(base * (1 + margin / 100), 0.01)
        passed += value <= limit
        failed += value > limit
        print("  %s %s: %.3f %s; measured %g, limit %.3f" % ("passed" if value <= limit else "failed", name, value,
                                                             unit, base, limit))
    return passed, failed


def main():
    parser = argparse.ArgumentParser(usage="guards.sh [--only WORD] [--measured]")
    parser.add_argument("--only", default="")
    parser.add_argument("--measured", action="store_true")
    options = parser.parse_args()
    guards = Guards(options.only)
    passed = failed = skipped = 0
    for part, needs in ((guard_syscalls, "strace"), (guard_writes, None), (guard_allocations, None), (guard_instructions, "valgrind"),
                        (guard_logins, "valgrind")):
        if not re.search(options.only, part.__name__):
            continue
        if needs and shutil.which(needs) is None:
            print("  skipped %s: %s is not installed" % (part.__name__, needs))
            skipped += 1
            continue
        try:
            part(guards)
        except (rig.Trouble, AssertionError) as trouble:
            print("  failed %s: %s" % (part.__name__, trouble))
            failed += 1
    good, bad = judge(guards, options.measured)
    passed, failed = passed + good, failed + bad
    print("%d passed, %d failed" % (passed, failed) + (", %d skipped" % skipped if skipped else ""))
    return 0 if failed == 0 and passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
