"""F16: an edge without a descriptor left.

Those who are connected are served, those who come are turned away or wait, neither the
processor nor the log is filled by it, and when descriptors are back so is the service.
"""
import resource
import socket
import time

from upkeep import SCALE, Neighbours, Upkeep, cpu_seconds, descriptors, may_refuse, percentile

from cluster import SANITIZED, SharedCase, wait_until

LIMIT = 256
CALLERS = 400
WATCH_S = 4


class Descriptors(Upkeep, SharedCase):
    settings = {"edges": ("edge-a",), "sweeper": False, "ping__interval": "60s"}

    def setUp(self):
        super().setUp()
        self.edge = self.edge_a
        self.watch(self.edge)
        # An edge sets its own limit at its start only.
        before = resource.prlimit(self.edge.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(self.edge.pid, resource.RLIMIT_NOFILE, (LIMIT, before[1]))
        self.addCleanup(resource.prlimit, self.edge.pid, resource.RLIMIT_NOFILE, before)

    def crowd(self):
        """Idle clients, as many as get in, and sockets that wait, until no descriptor is left."""
        inside, waiting = [], []
        self.addCleanup(lambda: [one.close() for one in waiting])
        self.addCleanup(lambda: [one.sock.close() for one in inside])
        while descriptors(self.edge) < LIMIT - 8:
            inside.append(self.edge.login("crowd%d" % len(inside)))
        for _ in range(CALLERS):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", self.edge.port))
            waiting.append(sock)
        wait_until(lambda: descriptors(self.edge) >= LIMIT - 2, 5, "no descriptor left")
        return inside, waiting

    def test_without_descriptors_the_edge_is_quiet_and_serves_those_it_has(self):
        neighbours = Neighbours(self.edge, "inside", every=0.01)
        inside, waiting = self.crowd()
        with neighbours:
            begin, spent, lines = time.monotonic(), cpu_seconds(self.edge), self.edge.log().count("\n")
            time.sleep(WATCH_S)
            took = time.monotonic() - begin
            busy = (cpu_seconds(self.edge) - spent) / took
            logged = (self.edge.log().count("\n") - lines) / took
        print("%d inside, %.1f %% of a core, %.1f log lines a second, neighbours' p99 %.1f ms" % (
            len(inside), 100 * busy, logged, percentile(neighbours.times, 0.99) * 1000))
        self.assertLess(neighbours.p99(), 0.2 * SCALE)
        self.assertLessEqual(logged, 10)
        if not SANITIZED:
            # The neighbours' 100 messages a second are in it.
            self.assertLess(busy, 0.05)
        self.assertTrue(all(one.ended is None for one in inside))
        for one in waiting:
            one.close()
        for visitor in inside[:50]:
            visitor.close()
        begin = time.monotonic()
        back = wait_until(lambda: may_refuse(lambda: self.edge.login("back")), 5, "service again")
        print("service after %.2f s" % (time.monotonic() - begin))
        self.addCleanup(back.close)
        self.assertIn("out_of_descriptors", self.edge.log())

    def test_backends_that_go_meanwhile_are_found_again_afterwards(self):
        """Redis and NATS are lost when no socket can be made to either."""
        inside, waiting = self.crowd()
        with self.cluster.keys() as keys:
            keys.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        wait_until(lambda: self.edge.readiness()[0] != 200, 10, "not ready", every=0.2)
        for one in waiting:
            one.close()
        for visitor in inside[:50]:
            visitor.close()
        self.edge.wait_ready(15)
