"""watch.py: what goes on at the edges while something else stands still, seen by threads of the test.

Watch looks at each edge ten times a second: counters, memory, readiness. How long its loop stood is what the
edge itself says (loop_max_ms, and a log line `long_turn` per turn above 100 ms). A turn is also long when the
machine had no core to give: so each look reads how long the edge's thread was runnable without running
(/proc/PID/schedstat), and what is judged is the turn without that time: computing, and every call that blocks.

Pings has a client on each edge send a WebSocket PING again and again, and waits for the PONG.

Writer sends messages of a given size from one edge to a user of another without asking for outcomes.
"""
import os
import re
import threading
import time

from client import PING, PONG, SCALE, Closed
from harness import Pulse

LOOP_GAP_MS = 100  # the promise of docs/explanation/failure-behaviour.md
LONG_TURN = re.compile(r"\blong_turn\b.*\bms=(\d+)")


def run_queue_ms(pid):
    """Time its first thread, the loop's, has waited for a core."""
    try:
        with open("/proc/%d/schedstat" % pid) as line:
            return int(line.read().split()[1]) / 1e6
    except FileNotFoundError:
        return 0.0  # a kernel that does not tell: every turn counts whole


class Turns:
    """The longest turns of one edge's loop."""

    def __init__(self, edge):
        self.edge = edge
        self.loop_max = edge.counters()["loop_max_ms"]
        self.log_at = os.path.getsize(edge.log_path)
        self.waited = run_queue_ms(edge.pid)
        self.longest = 0  # of those that made loop_max_ms rise, or the log
        self.own_longest = 0.0  # the same without the time there was no core for it

    def look(self):
        """The counters. What rose since the last look happened after that one's first line."""
        waited = run_queue_ms(self.edge.pid)
        counters = self.edge.counters()
        turns = [int(ms) for ms in LONG_TURN.findall(self._new_log())]
        if counters["loop_max_ms"] > self.loop_max:
            self.loop_max = counters["loop_max_ms"]
            turns.append(self.loop_max)
        if turns:
            without_core = run_queue_ms(self.edge.pid) - self.waited
            self.longest = max([self.longest] + turns)
            self.own_longest = max(self.own_longest, max(turns) - without_core)
        self.waited = waited
        return counters

    def _new_log(self):
        with open(self.edge.log_path, errors="replace") as log:
            log.seek(self.log_at)
            text = log.read()
        whole = text[:text.rfind("\n") + 1]
        self.log_at += len(whole.encode(errors="replace"))
        return whole


class Watch:
    """From now until stop(); samples: name -> [(time, counters, bytes, status of /readyz)]."""

    def __init__(self, edges, every=0.1):
        self.edges = edges
        self.every = every
        self.turns = {name: Turns(edge) for name, edge in edges.items()}
        self.samples = {name: [] for name in edges}
        self.unanswered = 0
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.is_over.wait(self.every):
            for name, edge in self.edges.items():
                try:
                    counters = self.turns[name].look()
                    status = edge.readiness()[0]
                except (OSError, AssertionError):
                    self.unanswered += 1
                    continue
                self.samples[name].append((time.monotonic(), counters, edge.memory(), status))

    def stop(self):
        self.is_over.set()
        self.thread.join()

    def loop_figures(self):
        return {"loop_max_ms": max(turns.loop_max for turns in self.turns.values()),
                "loop_longest_ms": max(turns.longest for turns in self.turns.values()),
                "loop_own_ms": round(max(turns.own_longest for turns in self.turns.values()))}

    def assert_loops(self, test):
        """No loop stood for LOOP_GAP_MS by its own doing, and no look went unanswered."""
        figures = self.loop_figures()
        test.numbers.update(figures)
        test.assertEqual(self.unanswered, 0, "looks at counters without an answer")
        test.assertLess(figures["loop_own_ms"], LOOP_GAP_MS * SCALE, "ms a loop stood: %s" % figures)

    def between(self, name, begin, end):
        return [sample for sample in self.samples[name] if begin <= sample[0] <= end]

    def most(self, counter, begin, end, names=None):
        """The highest value of a counter at any of the edges."""
        return max(sample[1][counter] for name in names or self.samples
                   for sample in self.between(name, begin, end))

    def growth(self, begin, end, names=None):
        """Bytes any edge grew by at most: highest in between against the last before."""
        most = 0
        for name in names or self.samples:
            before = [sample[2] for sample in self.samples[name] if sample[0] < begin][-1]
            most = max([most] + [sample[2] - before for sample in self.between(name, begin, end)])
        return most

    def first(self, name, begin, claim):
        """When the first look after begin for which claim(sample) holds was taken; None."""
        return next((sample[0] for sample in self.samples[name] if sample[0] >= begin and claim(sample)), None)


class Pings:
    """A client per edge, pinger-NAME, that pings it; every PING must be answered within a second."""

    def __init__(self, cluster, names=None):
        self.pulses = {}
        self.visitors = []
        for name in names or cluster.edges:
            visitor = cluster.login(name, "pinger-" + name)
            self.visitors.append(visitor)
            self.pulses[name] = Pulse(lambda visitor=visitor: self._ping(visitor), every=0.05)

    def _ping(self, visitor):
        visitor.send_frame(PING, b"here")
        try:
            opcode = None
            while opcode != PONG:
                _, opcode, payload = visitor.recv_frame(1)
                if opcode == PING:  # as any client must
                    visitor.send_frame(PONG, payload)
        except Closed as end:
            raise OSError("closed: %s" % end) from end

    def assert_answered(self, test):
        """Also ends them, and their connections."""
        figures = {name: pulse.stop() for name, pulse in self.pulses.items()}
        for visitor in self.visitors:
            visitor.close()
        test.numbers.update({"ping_p99_ms": max(one[1] for one in figures.values()),
                             "ping_max_ms": max(one[2] for one in figures.values())})
        test.assertEqual([name for name, pulse in self.pulses.items() if pulse.failed], [], "PINGs unanswered")
        test.assertTrue(all(pulse.took for pulse in self.pulses.values()))


class Writer:
    """A thread that writes `per_second` messages of `size` bytes to one user."""

    def __init__(self, sender, to, size, per_second):
        self.sender = sender
        self.to = to
        self.size = size
        self.step = 1 / per_second
        self.wrong = None
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        due = time.monotonic()
        try:
            while not self.is_over.wait(max(0.0, due - time.monotonic())):
                due = max(due + self.step, time.monotonic() - 0.5)
                self.sender.command(id="0", send={"to": [self.to], "text": "x" * self.size})
        except OSError as error:
            self.wrong = error

    def stop(self):
        self.is_over.set()
        self.thread.join()
        if self.wrong is not None:
            raise AssertionError("a writer was stopped: %s" % self.wrong)


class Talk:
    """One sender, one receiver, again and again: how each send ended and how long it took."""

    def __init__(self, sender, to, every=0.05):
        self.sender = sender
        self.to = to
        self.ends = []  # (when sent, seconds, status or reason)
        self.pulse = Pulse(self._send, every)

    def _send(self):
        begin = time.monotonic()
        outcome = self.sender.send(self.to, "talk", timeout=6)
        end = "sent"
        if outcome["status"] != "OUTCOME_STATUS_SENT":
            end = outcome["reason"][len("REASON_"):].lower()
        self.ends.append((begin, time.monotonic() - begin, end))

    def between(self, begin, end):
        return [one for one in self.ends if begin <= one[0] <= end]

    def stop(self):
        """Also ends the sender's connection."""
        self.pulse.stop()
        self.sender.close()
        if self.pulse.failed:
            raise AssertionError("%d sends could not be written" % self.pulse.failed)
        return self.ends
