"""upkeep.py: what every fault test checks besides its own claim: what an edge held before, it
holds again afterwards. Descriptors exactly, memory within 10 % and SLACK_BYTES.

SY_FAULT_LONG=1 asks for the long forms, SY_FAULT_SEED sets the seed. Import this first: it finds tests/system.
"""
import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "system"))

import cluster  # noqa: E402
from client import SCALE, Closed, Refused  # noqa: E402,F401 - SCALE is for those who import this

LONG = os.environ.get("SY_FAULT_LONG", "") != ""
# An edge that starts is a few MiB; pools grow to their working size in steps of slabs.
SLACK_BYTES = 2 << 20


def seeded(default):
    """A random source whose seed is in the test's output."""
    seed = int(os.environ.get("SY_FAULT_SEED", default))
    print("seed %d" % seed, flush=True)
    return random.Random(seed)


def descriptors(process):
    return len(os.listdir("/proc/%d/fd" % process.pid))


def anonymous_bytes(process):
    """Resident memory that is the process's own, without what it maps of files."""
    with open("/proc/%d/status" % process.pid) as status:
        for line in status:
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    return 0


def cpu_seconds(process):
    with open("/proc/%d/stat" % process.pid) as stat:
        words = stat.read().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def percentile(values, share):
    """percentile([...], 0.99). The largest of few."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


class Neighbours:
    """Two logged-in clients of one edge that write to each other, timed, while something else
    happens. Use as a context; .times are seconds from send to receipt."""

    def __init__(self, edge, name, other=None, every=0.02):
        self.sender = edge.login(name + "-sender")
        self.receiver = (other or edge).login(name + "-receiver")
        self.every = every
        self.times = []
        self.trouble = None
        self.halt = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def measure(self, count):
        for _ in range(count):
            self._once()
        taken, self.times = self.times, []
        return taken

    def _once(self):
        begin = time.monotonic()
        self.sender.command(id="0", send={"to": [self.receiver.user], "text": "x"})
        self.receiver.message()
        self.times.append(time.monotonic() - begin)

    def _run(self):
        try:
            while not self.halt.wait(self.every):
                self._once()
        except (AssertionError, OSError, Closed) as error:
            self.trouble = error

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.halt.set()
        self.thread.join()
        self.sender.close()
        self.receiver.close()

    def p99(self):
        if self.trouble:
            raise AssertionError("a neighbour was not served: %r" % self.trouble)
        return percentile(self.times, 0.99)


class Upkeep:
    """Beside Case or SharedCase."""
    slack = SLACK_BYTES  # a test that leaves something behind on purpose sets more

    def run_warm(self, edge):
        """What an edge allocates once, it has allocated."""
        for number in range(20):
            visitor = edge.login("warm%d" % number)
            visitor.send("warm%d" % number, "x" * 1000)
            visitor.close()
        self.counters_of(edge)

    def counters_of(self, edge):
        """None while the private port does not answer."""
        try:
            return edge.counters()
        except OSError:
            return None

    def watch(self, edge, within=15, warm=True):
        """From now to the end of the test: descriptors and memory of this edge come back."""
        if warm:
            self.run_warm(edge)
        time.sleep(0.3)
        files, memory = descriptors(edge), anonymous_bytes(edge)

        def settle():
            cluster.wait_until(lambda: descriptors(edge) <= files, within,
                               "descriptors of %s back to %d" % (edge.name, files))
            if not cluster.SANITIZED:
                most = memory * 1.1 + self.slack
                cluster.wait_until(lambda: anonymous_bytes(edge) <= most, 5, "memory of %s back to %d KiB; it is %d"
                                   % (edge.name, memory // 1024, anonymous_bytes(edge) // 1024))

        def is_back():
            if edge.is_running():
                settle()
        self.addCleanup(is_back)
        return files, memory


def may_refuse(action):
    """action(), or None if the edge refused or closed meanwhile."""
    try:
        return action()
    except (OSError, Refused, Closed, AssertionError):
        return None

