#!/usr/bin/env python3
"""run.py: the scenarios S1-S6 and S8, each beside the floor. Started by run.sh, whose head
is its manual.

A case is one load. Its repeats alternate between floor and edges, so that both see the
same machine; ratios are taken within a repeat. A repeat is dirty when more than 12 % of all
cores went to others or to the host meanwhile; medians take the clean ones if there are any.
"""
import argparse
import json
import os
import statistics
import sys
import time

import rig
from rig import Bench, Load, Trouble

DIRTY = 0.12
COLUMNS = ("case", "edges us", "all us", "floor us", "edges/floor", "all/floor", "calls", "p50", "p99", "p999",
           "lost/dup/ooo", "dirty")


# As an edge comes: a storm is held to a rate.
STORM = {"auth__hs256_secret": rig.SECRET, "connections__accept_rate": 5000}


class Case:
    """What is run, how often, and what came of it."""

    def __init__(self, scenario, name, mode, edges=2, use=None, fresh=False, per="delivered", calls=True, **args):
        self.scenario, self.name, self.mode, self.args = scenario, name, mode, args
        self.edges = edges  # of the cluster
        self.use = use or edges  # ports the load gets
        self.fresh = fresh  # new servers for each run
        self.per = per  # what the cost is divided by
        self.calls = calls  # whether system calls are counted, in a run of their own
        self.settings = {}
        self.repeats = []
        self.syscalls = {}

    def describe(self):
        return {"scenario": self.scenario, "case": self.name, "mode": self.mode, "args": self.args,
                "repeats": self.repeats, "syscalls": self.syscalls, "summary": self.summary()}

    def good(self):
        clean = [repeat for repeat in self.repeats if not repeat["dirty"]]
        return clean or self.repeats

    def summary(self):
        """Medians over the repeats, and of ratios the least as well."""
        repeats = [repeat for repeat in self.good() if "edge" in repeat]
        if not repeats:
            return {}

        def middle(pick):
            values = [value for repeat in repeats if (value := pick(repeat)) is not None]
            return round(statistics.median(values), 3) if values else None

        def least(pick):
            values = [value for repeat in repeats if (value := pick(repeat)) is not None]
            return round(min(values), 3) if values else None

        def ratio(part):
            return lambda repeat: (repeat["edge"][part] / repeat["floor"]["edges_us"]
                                   if repeat.get("floor", {}).get("edges_us") else None)
        out = {"edges_us": middle(lambda r: r["edge"]["edges_us"]), "all_us": middle(lambda r: r["edge"]["all_us"]),
               "floor_us": middle(lambda r: r.get("floor", {}).get("edges_us")),
               "edges_ratio": middle(ratio("edges_us")), "edges_ratio_min": least(ratio("edges_us")),
               "all_ratio": middle(ratio("all_us")), "all_ratio_min": least(ratio("all_us"))}
        for part in ("p50", "p99", "p999"):
            out[part] = middle(lambda r: r["edge"]["latency_us"][part])
            out["floor_" + part] = middle(lambda r: r.get("floor", {}).get("latency_us", {}).get(part))
        for part in ("lost", "duplicated", "out_of_order"):
            out[part] = sum(repeat["edge"][part] for repeat in self.repeats if "edge" in repeat)
        out["dirty"] = sum(repeat["dirty"] for repeat in self.repeats)
        out["repeats"] = len(self.repeats)
        extra = {}
        for name in repeats[0]["edge"].get("extra", {}):
            extra[name] = middle(lambda r: r["edge"]["extra"].get(name))
        out["extra"] = extra
        out["floor_extra"] = {name: middle(lambda r: r.get("floor", {}).get("extra", {}).get(name))
                              for name in repeats[0].get("floor", {}).get("extra", {})}
        return out


class Runner:
    def __init__(self, options):
        self.options = options
        self.bench = None
        self.cores = ({0}, {1}) if options.pin and (os.cpu_count() or 1) > 1 else (None, None)

    # Servers.

    def servers(self, case):
        if self.bench is None or case.fresh or self.bench.shape != (case.edges, case.use, case.settings):
            self.close()
            bench = Bench()
            bench.cores = self.cores[0]
            bench.shape = (case.edges, case.use, case.settings)
            self.bench = bench
            bench.start_all(edges=case.edges, **case.settings)
            bench.start_floors(case.use)
            time.sleep(1.2)  # a heartbeat, so that the edges know each other
        return self.bench

    def close(self):
        if self.bench is not None:
            for complaint in self.bench.stop():
                print("trouble:", complaint, file=sys.stderr)
        self.bench = None

    # Runs.

    def load(self, case, side, on_mark=None, **more):
        bench = self.servers(case)
        args = dict(case.args, **more)
        load = Load(case.mode, bench, side, args, ports=bench.ports(side)[:case.use], cores=self.cores[1],
                    limit_s=300)
        return self.cost(case, load.finish(on_mark))

    @staticmethod
    def cost(case, result):
        count = max(1, result.get(case.per, 0))
        cpu = result["cpu_us"]
        result["edges_us"] = cpu.get("edge", 0) / count
        result["all_us"] = sum(cpu.values()) / count
        return result

    def measure(self, case, side):
        """One run with what can be seen of the servers around its measured phase."""
        before, after = {}, {}

        def look(into):
            if side != "edge":
                return
            into["redis"] = rig.redis_info(self.bench)["total_commands_processed"]
            for edge in self.bench.edges.values():
                for name, value in edge.counters().items():
                    into[name] = into.get(name, 0) + value

        def on_mark(name):
            if name in ("begin", "end"):
                look(before if name == "begin" else after)
        result = self.load(case, side, on_mark)
        if side == "edge":
            count = max(1, result["delivered"])
            result["extra"] = {
                "writes_per_message": (after["writes"] - before["writes"]) / count,
                "nats_per_message": (after.get("nats_published", 0) - before.get("nats_published", 0)) / count,
                "resolves_per_message": (after["resolves"] - before["resolves"]) / count,
                "redis_per_s": (after["redis"] - before["redis"]) / max(0.001, result["wall_s"])}
            if case.mode == "fanout":
                published = max(1, result["publications"])
                result["extra"]["nats_per_publication"] = \
                    (after.get("nats_published", 0) - before.get("nats_published", 0)) / published
                result["extra"]["last_p50_us"] = result["last_us"]["p50"]
        return result

    def count_syscalls(self, case):
        """A run of its own, short: counting by strace costs the server time."""
        bench = self.servers(case)
        for side in ("floor", "edge"):
            pids = [child.pid for child in (bench.floors if side == "floor" else bench.edges.values())]
            counter = rig.Syscalls(pids)
            counts = {}

            def on_mark(name):
                if name == "begin":
                    counter.begin()
                elif name == "end":
                    counts.update(counter.end())
            result = self.load(case, side, on_mark, seconds=1.5)
            count = max(1, result["delivered"])
            case.syscalls[side] = {name: round(value / count, 3) for name, value in counts.items()}
            case.syscalls["by"] = "perf" if counter.use_perf else "strace"

    def play(self, case, run=None, most=1000):
        run = run or self.measure
        for number in range(min(self.options.repeats, most)):
            sides = ("floor", "edge") if number % 2 == 0 else ("edge", "floor")
            repeat = {"dirty": False}
            for side in sides:
                try:
                    repeat[side] = run(case, side)
                except Trouble as trouble:
                    print("trouble:", trouble, file=sys.stderr)
                    self.close()
                    continue
                repeat["dirty"] |= repeat[side]["elsewhere"] > DIRTY
            case.repeats.append(repeat)
        if case.calls:
            try:
                self.count_syscalls(case)
            except Trouble as trouble:
                print("trouble:", trouble, file=sys.stderr)
        print_row(case)
        return case

    # Scenarios: lists of cases, or what does not fit into one.

    def s1(self, scenario="S1", use=1):
        q = self.options.quick
        for body in (128, 1024):
            for rate in (2000, 10000, 40000):
                if q and (body, rate) not in ((128, 2000), (128, 10000), (128, 40000), (1024, 10000)):
                    continue
                yield self.play(Case(scenario, "%d B %dk/s" % (body, rate // 1000), "pairs", use=use, pairs=500,
                                     rate=rate, body=body, warm=0.5, seconds=self.options.seconds))
            if not q or body == 128:
                yield self.play(Case(scenario, "%d B window 1" % body, "pairs", use=use, pairs=500, window=1,
                                     body=body, warm=0.5, seconds=self.options.seconds))
        yield self.play(Case(scenario, "128 B 10k/s outcomes", "pairs", use=use, pairs=500, rate=10000, body=128,
                             warm=0.5, seconds=self.options.seconds, outcomes=True))

    def s2(self):
        return self.s1("S2", use=2)

    def s3(self):
        q = self.options.quick
        for audience, use in ((1000, 1), (5000, 1), (10000, 2)):
            for way in ("send", "broadcast"):
                shape = {"use": use, "audience": audience, "body": 128, "warm": 0.5, "broadcast": way == "broadcast"}
                for rate in (20000, 60000):
                    if q and rate == 20000:
                        continue
                    yield self.play(Case("S3", "1->%d %s %dk/s" % (audience, way, rate // 1000), "fanout", rate=rate,
                                         seconds=self.options.seconds, **shape))
                if audience == 10000 and q:
                    continue
                # Bursts of 32 take far less per delivery; the rate leaves pauses between them.
                yield self.play(Case("S3", "1->%d %s burst 32" % (audience, way), "fanout", rate=100000, burst=32,
                                     seconds=max(self.options.seconds, 3 * 32 * audience / 100000), **shape))

    def s4(self):
        for users in (1000, 10000) if self.options.quick else (1000, 5000, 10000, 19000):
            seconds = 5 if self.options.quick else 60 if users > 10000 else 15
            case = Case("S4", "%d idle" % users, "idle", edges=1, fresh=True, calls=False, users=users, in_flight=200,
                        seconds=seconds)
            yield self.play(case, self.idle, most=2)  # bytes hardly differ, and it is long

    def idle(self, case, side):
        seen = {}
        users = case.args["users"]

        def on_mark(name):
            bench = self.bench
            server = bench.floors[0] if side == "floor" else bench.edges["edge-a"]
            seen[name] = dict(rig.memory(server.pid), **rig.kernel_memory())
        self.servers(case)  # anew, before the first look
        case.fresh = False
        try:
            result = self.load(case, side, on_mark)
        finally:
            case.fresh = True

        def grown(name, key):
            return (seen[name][key] - seen["empty"][key]) / users
        # Both ends of each socket are on this machine: half of the kernel's part is a server's.
        kernel = (grown("idle", "slab") + grown("idle", "sockets")) / 2
        user = grown("idle", "rss")
        quiet = result["quiet"]
        result["extra"] = {
            "user_bytes": user, "private_bytes": grown("idle", "private_dirty"), "kernel_bytes": kernel,
            "both_bytes": user + kernel, "busy_user_bytes": grown("busy", "rss"),
            "after_user_bytes": grown("after", "rss"),
            "cpu_us_per_s": quiet["cpu_us"]["edge"] / quiet["wall_s"] / users}
        result["elsewhere"] = max(result["elsewhere"], quiet["elsewhere"])
        return result

    def s5(self):
        q = self.options.quick
        for users in (5000,) if q else (5000, 18000):
            for in_flight in (64, 512):
                case = Case("S5", "%d logins, %d at a time" % (users, in_flight), "storm", edges=1, fresh=True,
                            per="logins", calls=False, users=users, in_flight=in_flight, block=1000,
                            secret=rig.SECRET)
                case.settings = STORM
                yield self.play(case, self.storm)
            case = Case("S5", "%d logins beside 2k/s" % users, "storm", edges=1, fresh=True, calls=False, users=users,
                        in_flight=64, block=1000, secret=rig.SECRET, pairs=100, rate=2000)
            case.settings = STORM
            yield self.play(case, self.storm)

    def storm(self, case, side):
        result = self.load(case, side)
        count = max(1, result["logins"])
        growth = [block["cpu_us"]["edge"] / case.args["block"] for block in result["growth"]]
        result["extra"] = {"logins_per_s": count / max(0.001, result["storm_s"]),
                           "login_p50_us": result["login_us"]["p50"], "login_p99_us": result["login_us"]["p99"],
                           "first_block_us": growth[0] if growth else None,
                           "last_block_us": growth[-1] if growth else None}
        return result

    def s6(self):
        seconds = 5 if self.options.quick else 30
        for use, where in ((1, "same edge"), (2, "across")):
            yield self.play(Case("S6", "5k/s %s, 10k idle" % where, "pairs", use=use, calls=False, pairs=500, idle=10000,
                                 in_flight=200, rate=5000, body=128, warm=1, seconds=seconds))

    def s8(self):
        for users in (1000, 4000) if self.options.quick else (1000, 2000, 5000, 10000, 20000):
            case = Case("S8", "%d users" % users, "pairs", use=2, fresh=True, calls=False, pairs=250, rate=2000,
                        body=128, warm=0.5, seconds=self.options.seconds)
            case.users = users
            yield self.play(case, self.grow)

    def grow(self, case, side):
        """Ballast logs in as a storm and stays; then pairs of one edge talk."""
        bench = self.servers(case)
        ballast = max(0, case.users - 500)
        block = max(1, min(1000, ballast // 2))
        keys = rig.redis_info(bench)["used_memory"] if side == "edge" else 0
        storm = Load("storm", bench, side, {"users": ballast, "in_flight": 64, "block": block, "first": 10000},
                     cores=self.cores[1])
        try:
            storm.wait_mark("begin")
            storm.go_on()
            storm.wait_mark("end")
            time.sleep(1)
            extra = {}
            if side == "edge":
                first = rig.redis_info(bench)
                time.sleep(3)
                second = rig.redis_info(bench)
                commands = second["total_commands_processed"] - first["total_commands_processed"] - 2
                extra = {"redis_bytes_per_user": (first["used_memory"] - keys) / ballast,
                         "redis_idle_commands_per_s": commands / 3}
            load = Load("pairs", bench, side, case.args, ports=bench.ports(side)[:1], cores=self.cores[1])
            result = self.cost(case, load.finish())
        except Trouble:
            storm.end()
            raise
        storm.go_on()
        grown = storm.finish()
        blocks = [each["cpu_us"]["edge"] / block for each in grown["growth"]]
        result["extra"] = dict(extra, users=case.users, login_us=blocks[-1], login_first_us=blocks[0])
        result["elsewhere"] = max(result["elsewhere"], grown["elsewhere"])
        return result


# Words.

def show(value, digits=2):
    return "-" if value is None else ("%%.%df" % digits) % value


def print_row(case):
    s = case.summary()
    if not s:
        print("%-4s%-30s no result" % (case.scenario, case.name), flush=True)
        return
    calls = case.syscalls.get("edge", {}).get("all")
    print("%-4s%-30s %9s %9s %9s %6s/%-6s %6s/%-6s %6s %8s %8s %8s  %d/%d/%d  %d/%d" % (
        case.scenario, case.name, show(s["edges_us"]), show(s["all_us"]), show(s["floor_us"]),
        show(s["edges_ratio"]), show(s["edges_ratio_min"]), show(s["all_ratio"]), show(s["all_ratio_min"]),
        show(calls), show(s["p50"], 0), show(s["p99"], 0), show(s["p999"], 0), s["lost"], s["duplicated"],
        s["out_of_order"], s["dirty"], s["repeats"]))
    for title, extra in (("", s["extra"]), ("floor ", s["floor_extra"])):
        if extra:
            print("      %s%s" % (title, ", ".join("%s %s" % (name, show(value)) for name, value in extra.items())))
    counts = {name: value for name, value in case.syscalls.get("edge", {}).items() if name != "all" and value >= 0.005}
    if counts:
        print("      calls by %s: %s" % (case.syscalls["by"], ", ".join("%s %s" % item for item in counts.items())))
    sys.stdout.flush()


def print_head():
    print("CPU in us per delivery (S5, storms: per login), ratios as median/least, latency in us")
    print("%-34s %9s %9s %9s %13s %13s %6s %8s %8s %8s  %s  %s" % COLUMNS, flush=True)


def kept(path, scenarios):
    """What an earlier run found out about scenarios that this one does not repeat."""
    if not os.path.exists(path):
        return []
    with open(path) as file:
        return [case for case in json.load(file)["cases"] if case["scenario"] not in scenarios]


def main():
    parser = argparse.ArgumentParser(usage="run.sh [--quick] [--repeats N] [--seconds S] [--pin] [scenario...]")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--pin", action="store_true")
    parser.add_argument("--out", default=os.path.join(rig.ROOT, "build", "bench", "results.json"))
    parser.add_argument("scenarios", nargs="*", metavar="scenario")
    options = parser.parse_args()
    options.repeats = options.repeats or (2 if options.quick else 5)
    options.seconds = options.seconds or (1.0 if options.quick else 3.0)
    known = ("S1", "S2", "S3", "S4", "S5", "S6", "S8")
    wanted = [name.upper() for name in options.scenarios] or list(known)
    if not set(wanted) <= set(known):
        parser.error("scenarios are " + " ".join(known))
    os.makedirs(os.path.dirname(options.out), exist_ok=True)

    results = {"machine": rig.machine(), "repeats": options.repeats, "seconds": options.seconds,
               "pinned": bool(options.pin), "cases": kept(options.out, wanted)}
    print("; ".join("%s %s" % item for item in results["machine"].items()))
    print_head()
    runner = Runner(options)
    lost = 0
    try:
        for name in wanted:
            for case in getattr(runner, name.lower())():
                results["cases"].append(case.describe())
                lost += case.summary().get("lost", 1)
                with open(options.out, "w") as out:
                    json.dump(results, out, indent=1)
    finally:
        runner.close()
    print("written to", os.path.relpath(options.out))
    return 0 if lost == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
