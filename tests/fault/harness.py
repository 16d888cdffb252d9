"""harness.py: a cluster under load, a fault, and what must hold whatever the fault was.

A fault test is a class derived from Fault, in a file fNN_name.py:

    class Killed(Fault):
        def test_...(self):
            self.bring_up(users=self.size(2000, 10000), rate=self.size(300, 1000))
            calm = self.measure(5)                  # a window of measures without a fault
            self.driver.victims("edge-a")           # who is there now is a victim, the others are not
            self.driver.mark()                      # a new window begins
            self.kill("edge-a")                     # ... inject; act; look ...
            self.restart("edge-a")                  # a new process; the driver is told its port
            self.check_promises()                   # A2 to A6
            self.check_resources()                  # A7: everybody at home again first
            self.figures(reaped_per_s=..., ...)     # one line of numbers for the table

What is held by check_promises (of the whole run, for everybody unless it says otherwise):
  A2  no message arrives twice on a connection
  A3  per sender and receiver messages arrive in order, but for those to a user who has just moved
  A4  every send has exactly one answer within 5 s as long as its connection lives; of a
      send with an end on a victim that is asked only if victims_answered is left True
  A5  nothing arrives after its expiry
  A6  within rows_within seconds the rows and members in Redis are exactly the live
      connections of the driver
  and: nothing that was rejected arrived (but for `timeout`, which says so), and nothing of
  the others that was answered `sent` was lost
check_resources holds
  A7  descriptors and memory of each edge are back within 10 % of what they were after bring_up; an edge
      that has taken in others meanwhile may keep the memory it had with them (note_peak), for an allocator
      gives little back. What grows from round to round is found by assert_flat
The end of the test (cluster.py) holds
  A8  no sanitizer report in any log
  A9  no process ended that was not made to

The load is fault_driver, whose head says what its commands do; self.driver has a method for each.
Environment: SY_FAULT_LONG=1 the long form, SY_FAULT_SEED, SY_FAULT_ROUNDS, SY_FAULT_RESULTS where the
figures go; run.py sets them. BUILD_DIR and SY_TIME_SCALE as in cluster.py.
"""
import collections
import contextlib
import json
import os
import select
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(1, os.path.join(HERE, "..", "system"))

import cluster  # noqa: E402
from client import SCALE  # noqa: E402
from cluster import BIN, Case, wait_until  # noqa: E402

LONG = os.environ.get("SY_FAULT_LONG", "") != ""
SEED = int(os.environ.get("SY_FAULT_SEED", "1"))
ROUNDS = int(os.environ.get("SY_FAULT_ROUNDS", "0"))
RESULTS = os.environ.get("SY_FAULT_RESULTS", "")
# What an edge needs to be asked by thousands at once from a few addresses.
LOAD_SETTINGS = {"connections__max": 15000, "connections__max_half_open": 4000,
                 "limits__commands_per_second": 100000}
# Below this, or when others use more of the machine, a p99 says more about them than about the edges.
P99_FLOOR_US = 20000 * SCALE
FOREIGN_CPU = 0.1
# Heap that a process keeps after its first full load, whatever it held before.
MEMORY_SLACK = 4 << 20
REDIS_SETTLED_S = 10  # sweepers hold still until Redis has been up for so long (sweeper/rules.c)


class Driver:
    """fault_driver as a child. A method per command; answers are what its JSON says."""

    def __init__(self, edges, users, seed=SEED, weights=None):
        """edges: name -> port; weights: name -> share of the users, 1 for those not named."""
        weights = weights or {}
        listed = ",".join("%s=%d*%d" % (name, port, weights.get(name, 1)) for name, port in edges.items())
        self.users = users
        self.buffer = b""
        self.marked = cpu_ticks()
        self.process = subprocess.Popen(
            [os.path.join(BIN, "fault_driver"), "--edges", listed, "--users", str(users), "--seed", str(seed)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        print("driver: %d users, seed %d" % (users, seed), flush=True)

    def tell(self, command):
        """Without waiting for the answer; answer() takes it later."""
        self.process.stdin.write(command.encode() + b"\n")
        self.process.stdin.flush()

    def answer(self, timeout=30):
        until = time.monotonic() + timeout * SCALE
        pipe = self.process.stdout.fileno()
        while b"\n" not in self.buffer:
            left = until - time.monotonic()
            if left <= 0 or not select.select([pipe], [], [], left)[0]:
                raise AssertionError("the driver did not answer within %gs" % (timeout * SCALE))
            chunk = os.read(pipe, 1 << 20)
            if not chunk:
                raise AssertionError("the driver ended with %s" % self.process.wait())
            self.buffer += chunk
        line, _, self.buffer = self.buffer.partition(b"\n")
        answer = json.loads(line)
        if "error" in answer:
            raise AssertionError("the driver: " + answer["error"])
        return answer

    def ask(self, command, timeout=30):
        self.tell(command)
        return self.answer(timeout)

    def connect(self, seconds=60):
        """All absent users log in at home."""
        answer = self.ask("connect %d" % (seconds * SCALE), seconds + 30)
        assert answer["live"] == self.users, "%s of %d users logged in" % (answer, self.users)
        return answer

    def rate(self, per_second):
        return self.ask("rate %d" % per_second)

    def victims(self, *names):
        return self.ask("victim " + " ".join(names))

    def hold(self):
        return self.ask("hold")

    def release(self):
        return self.ask("release")

    def mark(self):
        self.marked = cpu_ticks()
        return self.ask("mark")

    def report(self):
        """With window.foreign_cpu: the part of the machine that was used by others than this test."""
        answer = self.ask("report")
        total, busy, ours = (now - then for now, then in zip(cpu_ticks(), self.marked))
        answer["window"]["foreign_cpu"] = round(max(0, busy - ours) / max(1, total), 3)
        return answer

    def settle(self, seconds=10):
        return self.ask("settle %d" % (seconds * SCALE), seconds + 10)

    def where(self):
        return self.ask("where")

    def who(self):
        """{(user, node, connection)} of all live connections."""
        return {("u%d" % user, node, connection)
                for node, live in self.ask("who").items() for user, connection in live}

    def probe(self, users):
        return self.ask("probe %d" % users, 60)

    def edge(self, name, port):
        return self.ask("edge %s %d" % (name, port))

    def home(self, seconds=60):
        answer = self.ask("home %d" % (seconds * SCALE), seconds + 10)
        assert answer["elsewhere"] == 0, "%(elsewhere)d users did not come home" % answer
        return answer

    def revive(self):
        return self.ask("revive")["revived"]

    def leave(self):
        return self.ask("leave")

    def live(self):
        return self.where()["live"]

    def quit(self):
        if self.process.poll() is None:
            try:
                self.tell("quit")
                self.process.wait(10 * SCALE)
            except (OSError, subprocess.TimeoutExpired):
                self.process.kill()
        status = self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        assert status == 0, "the driver ended with %d" % status


class Pulse:
    """How long something takes, asked again and again by a thread until stopped."""

    def __init__(self, ask, every=0.02):
        self.ask = ask
        self.every = every
        self.took = []
        self.failed = 0
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.is_over.wait(self.every):
            begin = time.monotonic()
            try:
                self.ask()
                self.took.append(time.monotonic() - begin)
            except OSError:
                self.failed += 1

    def stop(self):
        """(p50, p99, max) in milliseconds."""
        self.is_over.set()
        self.thread.join()
        took = sorted(self.took) or [0.0]
        return tuple(round(1000 * took[min(len(took) - 1, int(part * len(took)))], 2) for part in (0.5, 0.99, 1))


class Registry:
    """Redis beside the driver: what A6 compares."""

    def __init__(self, keys):
        self.keys = keys

    def rows(self):
        """{(user, node, connection)} of all rows; more than one device is more than one entry."""
        names = self.keys.keys("sy:user:*")
        answers = self.keys.ask_all([("HVALS", name) for name in names])
        return {(name[len("sy:user:{"):-1], row.split(" ")[0], int(row.split(" ")[1]))
                for name, rows in zip(names, answers) for row in rows}

    def members(self):
        """{(user, node)} of all members."""
        names = self.keys.keys("sy:members:*")
        answers = self.keys.ask_all([("SMEMBERS", name) for name in names])
        return {(member.split("/")[0], name[len("sy:members:{"):-1])
                for name, members in zip(names, answers) for member in members}

    def difference(self, driver):
        """How far Redis is from the driver's live connections, as counts; empty: not at all."""
        live = driver.who()
        rows, members = self.rows(), self.members()
        wanted = {(user, node) for user, node, _ in live}
        counts = {"rows_missing": len(live - rows), "rows_extra": len(rows - live),
                  "members_missing": len(wanted - members), "members_extra": len(members - wanted)}
        return {name: count for name, count in counts.items() if count}

    def count_at(self, node):
        """Members of one node: what reaping it has left to do."""
        return self.keys.ask("SCARD", "sy:members:{%s}" % node)

    def lease_left_ms(self, node):
        """Milliseconds; negative when there is none."""
        return self.keys.ask("PTTL", "sy:lease:{%s}" % node)


def cpu_ticks():
    """(of the machine, idle included; of it busy; of it by this session) since ever."""
    with open("/proc/stat") as stat:
        total = [int(word) for word in stat.readline().split()[1:9]]
    ours, session = 0, str(os.getsid(0))
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/stat" % pid) as stat:
                words = stat.read().rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        if words[3] == session:
            ours += sum(int(word) for word in words[11:15])  # with children that were waited for
    return sum(total), sum(total) - total[3] - total[4], ours


def descriptors(pid):
    return len(os.listdir("/proc/%d/fd" % pid))


class Fault(Case):
    """See the head of this file."""
    cluster = driver = registry = None
    is_told = False  # its figures have been written

    def size(self, short, long):
        return long if LONG else short

    def rounds(self, short, long):
        return ROUNDS or self.size(short, long)

    def bring_up(self, edges=3, users=2000, rate=300, weights=None, settle=2.0, **settings):
        """A ready cluster of edge-a, edge-b, ... and a sweeper, all users logged in, and messages
        under way. settings: as for Cluster.start."""
        self.began = time.monotonic()
        self.numbers = {}
        names = tuple("edge-" + "abcdefgh"[number] for number in range(edges))
        self.cluster = self.own().start(edges=names, **dict(LOAD_SETTINGS, **settings))
        self.redis_since = time.monotonic()
        keys = self.cluster.keys()
        self.addCleanup(keys.close)
        self.registry = Registry(keys)
        self.driver = Driver({name: edge.port for name, edge in self.cluster.edges.items()}, users,
                             weights=weights)
        self.addCleanup(self._end_driver)
        self.numbers["connect_ms"] = self.driver.connect()["ms"]
        self.driver.rate(rate)
        self.rate = rate
        time.sleep(settle)
        self.baseline = {name: (descriptors(edge.pid), edge.memory())
                         for name, edge in self.cluster.edges.items()}
        self.peak = {}
        self.addCleanup(self._write_figures, failed=True)
        return self.cluster

    def _end_driver(self):
        self.driver.quit()

    def measure(self, seconds):
        """The report of a window of so many seconds from now."""
        self.driver.mark()
        time.sleep(seconds)
        return self.driver.report()

    def wait_redis_settled(self):
        """Until the sweeper would reap a node whose lease ends one lease from now."""
        time.sleep(max(0.0, self.redis_since + REDIS_SETTLED_S + 1 - cluster.LEASE_S - time.monotonic()))

    def reconnect_keys(self):
        """After Redis itself was restarted."""
        self.registry.keys.close()
        self.registry.keys = self.cluster.keys()
        self.addCleanup(self.registry.keys.close)

    def kill(self, name):
        """kill -9 of an edge; the driver's users find out by themselves."""
        self.cluster[name].kill()
        self.driver.edge(name, 0)

    def restart(self, name, **settings):
        """A new process for the edge, as bring_up started it; its time to be ready is not waited for
        by anybody but the test."""
        edge = self.cluster.start_edge(name, **dict(LOAD_SETTINGS, **settings)).wait_ready()
        self.driver.edge(name, edge.port)
        return edge

    def wait_rows_exact(self, within=30):
        """A6; the seconds it took."""
        begin = time.monotonic()
        last = {}

        def look():
            nonlocal last
            last = self.registry.difference(self.driver)
            return not last
        try:
            wait_until(look, within, "rows and members exact", every=0.1)
        except AssertionError as late:
            raise AssertionError("%s: %s" % (late, last)) from None
        return time.monotonic() - begin

    def wait_all_live(self, within=60):
        """Until every user is logged in somewhere; the seconds it took."""
        begin = time.monotonic()
        wait_until(lambda: self.driver.live() == self.driver.users, within, "everybody is back", every=0.05)
        took = time.monotonic() - begin
        self.note_peak()
        return took

    def note_peak(self):
        """The memory of each edge now, as much as it may have in the end."""
        for name, edge in self.cluster.edges.items():
            if edge.is_running():
                self.peak[name] = max(self.peak.get(name, 0), edge.memory())

    def assert_flat(self, memories):
        """Memory of one edge after each round: the last no more than the first, give or take 10 %."""
        if len(memories) > 2 and not cluster.SANITIZED:
            self.assertLess(memories[-1], memories[0] * 1.1 + MEMORY_SLACK, memories)

    def check_promises(self, settle=10, rows_within=30, victims_answered=True, victims_lost=True):
        """Stops sending and holds A2 to A6. victims_lost: what was sent to a victim may be lost."""
        settled = self.driver.settle(settle)
        report = self.driver.report()
        total = report["total"]
        wrong = {name: total[name] for name in ("doubled", "disordered", "answered_twice", "late", "strange")
                 if total[name]}
        overdue = total["others"]["overdue"] + (total["victims"]["overdue"] if victims_answered else 0)
        lost = sum(settled["lost"]["others"].values())
        if not victims_lost:
            lost += sum(settled["lost"]["victims"].values())
        for name, count in (("overdue", overdue), ("lost", lost), ("waiting", settled["waiting"]),
                            ("rejected_but_arrived", settled["rejected_but_arrived"])):
            if count:
                wrong[name] = count
        self.assertEqual(wrong, {}, "%s\n%s" % (settled, json.dumps(total)))
        for name in ("doubled_moving", "disordered_moving"):
            if total[name]:
                self.numbers[name] = total[name]
        self.assertGreater(total["others"]["arrived"], 0, "nothing was sent")
        self.numbers["rows_exact_s"] = round(self.wait_rows_exact(rows_within), 1)
        self.check_running()
        return report

    def check_running(self):
        """A8 and A9 so far."""
        self.assertEqual([wrong for wrong in (child.complaint() for child in self.cluster.children) if wrong], [])

    def check_resources(self, part=0.10):
        """A7, once everybody is at home and quiet; of edges whose process is new too."""
        self.driver.home()
        wrong = []

        def look():
            del wrong[:]
            for name, (fds, memory) in self.baseline.items():
                edge = self.cluster[name]
                if descriptors(edge.pid) > fds * (1 + part) + 4:
                    wrong.append("%s has %d descriptors, had %d" % (name, descriptors(edge.pid), fds))
                # An instrumented allocator keeps what was freed.
                most = max(memory, self.peak.get(name, 0)) * (1 + part) + MEMORY_SLACK
                if not cluster.SANITIZED and edge.memory() > most:
                    wrong.append("%s has %d KiB, had %d" % (name, edge.memory() >> 10, memory >> 10))
            return not wrong
        try:
            wait_until(look, 10, "descriptors and memory back", every=0.2)
        except AssertionError as late:
            raise AssertionError("%s: %s" % (late, "; ".join(wrong))) from None

    def assert_p99(self, calm, report, times=2, least=P99_FLOOR_US):
        """Travel times of the others now against those of a calm window, if the machine was ours."""
        before, now = (one["window"]["others_us"]["travel"]["p99"] for one in (calm, report))
        foreign = max(one["window"]["foreign_cpu"] for one in (calm, report))
        self.numbers.update({"p99_before_us": round(before), "p99_us": round(now), "foreign_cpu": foreign,
                             "lag_p999_us": round(report["window"]["lag_us"]["p999"])})
        if foreign < FOREIGN_CPU:
            self.assertLess(now, max(times * before, least), "p99 in us; before %s" % before)

    @contextlib.contextmanager
    def pending(self, why):
        """What is asserted inside is not so yet: when it fails the rest of the test goes on, and the test
        counts as skipped, unless it fails for another reason."""
        try:
            yield
        except AssertionError as known:
            print("pending: %s: %s" % (why, str(known)[:300]), flush=True)
            self.numbers["pending"] = why

    def figures(self, **numbers):
        """The last word of a test: writes its numbers."""
        self.numbers.update(numbers)
        self._write_figures()
        if "pending" in self.numbers:
            self.skipTest("pending: " + self.numbers["pending"])

    def _write_figures(self, failed=False):
        if self.is_told:
            return
        self.is_told = True
        if failed:
            self.numbers["failed"] = True
        line = dict(collections.OrderedDict(test=self.id(), form="long" if LONG else "short", seed=SEED,
                                            seconds=round(time.monotonic() - self.began, 1)), **self.numbers)
        print("figures: " + json.dumps(line), flush=True)
        if RESULTS:
            with open(RESULTS, "a") as out:
                out.write(json.dumps(line) + "\n")
