"""F24: allocations fail in a running edge.

What is promised: an edge that gets no memory ends at once, by abort, with a line that says
why; it never goes on with half of a state. A library may live without the memory, one connection
then ends, or end the process itself (KNOWN_CRASH). The cluster heals as after any other death.

failing_malloc.so makes them fail, from a signal on, by a seed. Under a sanitizer, whose
malloc is its own, nothing can be injected.
"""
import os
import re
import signal
import socket
import time
import unittest

from upkeep import LONG, Upkeep, may_refuse, seeded

from cluster import BUILD, LEASE_S, SANITIZED, Case, wait_until

LIBRARY = os.path.join(BUILD, "lib", "failing_malloc.so")
ROUNDS = 40 if LONG else 6
WORK_S = 10
SAYS_SO = re.compile(r"error out_of_memory ")
# The one crash there is to be found, and nothing of ours is near it: redisBufferWrite of hiredis 0.14
# asks for a new buffer and for its length without looking whether it got one.
KNOWN_CRASH = re.compile(r"failing_malloc: crashed\n(?:\S*(?:failing_malloc|libc)\.so\S*\n)*"
                         r"\S*libhiredis\S*\(redisBufferWrite\+")
OWN_ASSERT = re.compile(r"(?:edge|lib|proto|sweeper)/\w[\w/]*\.c:\d+: .*Assertion")
CORRUPT = re.compile(r"double free|corrupted|invalid pointer|invalid next size|stack smashing|malloc\(\):|free\(\):")


@unittest.skipIf(SANITIZED, "a sanitizer has a malloc of its own")
class Memory(Upkeep, Case):
    def start_failing(self, cluster, name, **more):
        """An edge whose memory can be taken away; `order(...)` does it."""
        before = dict(os.environ)
        path = os.path.join(cluster.directory, name + ".order")
        os.environ.update(LD_PRELOAD=LIBRARY, FAILING_MALLOC=path)
        try:
            edge = cluster.start_edge(name, **more)
        finally:
            os.environ.clear()
            os.environ.update(before)
        return edge.wait_ready(), path

    def order(self, edge, path, text):
        with open(path, "w") as order:
            order.write(text)
        edge.signal(signal.SIGUSR1)

    def work(self, cluster, edge, name):
        """Logins, sends, torn connections, requests, until the edge ends or time is up."""
        other = cluster.login("edge-b", "outside")
        until = time.monotonic() + WORK_S
        number = 0
        while edge.is_running() and time.monotonic() < until:
            number += 1
            user = "%s-%d" % (name, number)
            visitor = may_refuse(lambda: edge.login(user, timeout=1))
            if visitor is not None:
                may_refuse(lambda: visitor.send("outside", "x" * 3000, timeout=1))
                may_refuse(lambda: other.send(user, "y" * 3000, timeout=1))
                may_refuse(lambda: visitor.send_frame(1, b'{"commands":[{"id":"1","send"', fin=False))
                may_refuse(visitor.abort if number % 2 else visitor.close)
            may_refuse(edge.counters)
            with socket.socket() as torn:
                may_refuse(lambda: torn.connect(("127.0.0.1", edge.port)))
                may_refuse(lambda: torn.sendall(b"GET /ws HTTP/1.1\r\nHo"))
        other.close()
        return number

    def judge(self, cluster, edge, what):
        """How it ended: "abort", "crash in hiredis" or "alive". Anything else fails the test."""
        log = edge.log()
        cluster.children.remove(edge)  # judged here, not by the cluster
        self.assertNotRegex(log, CORRUPT, what)
        self.assertNotRegex(log, OWN_ASSERT, what)
        if edge.is_running():
            return "alive"
        status = edge.process.returncode
        if status == -signal.SIGSEGV and KNOWN_CRASH.search(log):
            return "crash in hiredis"
        self.assertEqual(status, -signal.SIGABRT, "%s: ended with %s\n%s" % (what, status, log[-4000:]))
        self.assertRegex(log[-2000:], SAYS_SO, what + ": an abort without a word")
        return "abort"

    def test_an_edge_without_memory_ends_with_a_word_or_lives_on(self):
        self.assertTrue(os.path.exists(LIBRARY), LIBRARY)
        rng = seeded(24)
        cluster = self.own().start(edges=("edge-b",))
        self.watch(cluster["edge-b"])
        ends = []
        for number in range(ROUNDS):
            rule = rng.choice(("random %d %d" % (rng.choice((20, 100, 400)), rng.randrange(1 << 30)),
                               "every %d" % rng.randrange(2, 300), "after %d" % rng.randrange(300)))
            edge, path = self.start_failing(cluster, "edge-a%d" % number)
            edge.login("before").sock.close()
            self.order(edge, path, rule)
            turns = self.work(cluster, edge, "n%d" % number)
            ends.append(self.judge(cluster, edge, rule))
            print("%s: %s in turn %d" % (rule, ends[-1], turns))
            if edge.is_running():
                edge.kill()
        self.assertIn("abort", ends)
        # A neighbour through all of it.
        alice = cluster.login("edge-b", "alice")
        self.assert_sent(alice.send("alice", "still here"), 1)
        alice.close()

    def test_the_cluster_heals(self):
        cluster = self.own().start(edges=("edge-b", "edge-c", "edge-d"))
        edge, path = self.start_failing(cluster, "edge-a")
        cluster.login("edge-a", "bob", "phone")
        cluster.login("edge-a", "carol", "phone")
        alice = cluster.login("edge-b", "alice")
        self.assert_sent(alice.send("bob", "before"), 1)
        self.order(edge, path, "after 0")
        wait_until(lambda: not edge.is_running(), 10, "ended")
        self.assertEqual(self.judge(cluster, edge, "after 0"), "abort")
        bob = cluster.login("edge-c", "bob", "phone")

        def reached():
            return alice.send("bob", "back", timeout=6)["status"] == "OUTCOME_STATUS_SENT"
        wait_until(reached, 3, "bob")
        self.assertEqual(bob.message()["text"], "back")
        # carol came back nowhere: the row of the dead one counts until its lease ends, and not longer.
        self.assertTrue(cluster.links("carol"))

        def forgotten():
            return alice.send("carol", "?", timeout=6).get("reason") == "REASON_OFFLINE"
        wait_until(forgotten, LEASE_S + 3, "carol offline", every=0.3)

    def test_an_edge_alone_too(self):
        rng = seeded(25)
        for rule in ("after 0", "after %d" % rng.randrange(50), "random 50 %d" % rng.randrange(1 << 30)):
            cluster = self.own()
            edge, path = self.start_failing(cluster, "edge-a", nats=False, redis=False)
            cluster.edges["edge-b"] = cluster.start_edge("edge-b", nats=False, redis=False).wait_ready()
            self.order(edge, path, rule)
            self.work(cluster, edge, "lonely")
            print("%s: %s" % (rule, self.judge(cluster, edge, rule)))
            if edge.is_running():
                edge.kill()
            cluster.stop()

    def test_a_sweeper_too(self):
        cluster = self.own().start(edges=("edge-b",), sweeper=False)
        path = os.path.join(cluster.directory, "sweeper.order")
        os.environ.update(LD_PRELOAD=LIBRARY, FAILING_MALLOC=path)
        try:
            sweeper = cluster.start_sweeper()
        finally:
            del os.environ["LD_PRELOAD"], os.environ["FAILING_MALLOC"]
        sweeper.wait_log("sweeper_leader")
        self.order(sweeper, path, "after 10")
        wait_until(lambda: not sweeper.is_running(), 15, "ended")
        self.assertEqual(self.judge(cluster, sweeper, "after 10"), "abort")
        cluster.start_sweeper("sweeper-2").wait_log("sweeper_leader", LEASE_S + 5)


