"""What an edge does when it loses something it depends on, or itself.

The rules and their thresholds are unit tests; here
they meet real servers, real sockets and real signals.
"""
import signal
import time

from client import Closed
from cluster import LEASE_S, Case, wait_until


class Paused(Case):
    def test_after_a_long_pause_the_replaced_get_a_close_and_nothing_else(self):
        cluster = self.own().start(sweeper=False)
        stays = cluster.login("edge-a", "stays", "phone")
        roams = cluster.login("edge-a", "roams", "phone")
        caller = cluster.login("edge-a", "caller")
        paused = cluster["edge-a"]
        paused.signal(signal.SIGSTOP)
        # Read first when it goes on: answered with what was queued for a replaced connection.
        caller.command(send={"to": ["roams", "stays"], "text": "waited in the kernel"})
        time.sleep(LEASE_S + 1)
        moved = cluster.login("edge-b", "roams", "phone")
        paused.signal(signal.SIGCONT)
        # The third was closed by the kick that had waited for it, or found superseded.
        resumed = paused.wait_log(r"edge_resumed\b.*verified=(\d+) superseded=\d+ links=verified")
        self.assertIn(resumed.group(1), ("2", "3"))
        self.assertRegex(paused.log(), r"edge_paused\b.*output=held")
        # It counts from when it was read: the edge could not know how long it lay there.
        self.assertEqual(stays.message()["text"], "waited in the kernel")
        with self.assertRaises(Closed) as end:
            roams.event()
        self.assertEqual(end.exception.code, 4001)
        moved.expect("pong", moved.command(ping={}))
        self.assertFalse([visitor for visitor in (stays, caller, moved) if visitor.ended])

    def test_a_pause_shorter_than_the_lease_is_logged_and_nothing_else(self):
        cluster = self.own().start(edges=("edge-a",), sweeper=False)
        alice = cluster.login("edge-a", "alice")
        paused = cluster["edge-a"]
        paused.signal(signal.SIGSTOP)
        time.sleep(1.5)
        paused.signal(signal.SIGCONT)
        paused.wait_log(r"edge_paused\b.*output=goes_on")
        self.assert_sent(alice.send("alice", "on"), 1)
        self.assertNotIn("edge_resumed", paused.log())

    def test_without_redis_the_hold_ends_by_itself(self):
        cluster = self.own().start(edges=("edge-a",), sweeper=False)
        alice = cluster.login("edge-a", "alice")
        paused = cluster["edge-a"]
        paused.signal(signal.SIGSTOP)
        cluster.redis.kill()
        time.sleep(LEASE_S + 0.5)
        paused.signal(signal.SIGCONT)
        begin = time.monotonic()
        alice.command(id="7", ping={})
        alice.expect("pong", "7", timeout=8)
        self.assertGreater(time.monotonic() - begin, 4)
        self.assertRegex(paused.log(), r"edge_resumed\b.*links=unverified")


class OneAlone(Case):
    """edge-a has users of its own in Redis and NATS, which are then taken from it."""

    def start(self):
        cluster = self.own()
        cluster.start_nats(loner="publish: \">\", subscribe: \">\"")
        cluster.start_redis().wait_log("Ready to accept")
        with cluster.keys() as keys:
            keys.ask("ACL", "SETUSER", "loner", "on", ">" + cluster.password, "~sy:*", "+@all")
        cluster.start_edge("edge-a", redis__user="loner", nats__user="loner")
        cluster.start_edge("edge-b")
        for edge in cluster.edges.values():
            edge.wait_ready()
        return cluster

    def test_without_redis_its_clients_are_sent_away_until_it_is_back(self):
        cluster = self.start()
        visitors = [cluster.login("edge-a", "user%d" % number) for number in range(5)]
        with cluster.keys() as keys:
            keys.ask("ACL", "SETUSER", "loner", "off")
            keys.ask("CLIENT", "KILL", "USER", "loner")
            begin = time.monotonic()
            fenced = cluster["edge-a"].wait_log(r"edge_fenced\b.*cause=no_redis others=(\d+) well=(\d+)", LEASE_S + 12)
            self.assertEqual(fenced.groups(), ("1", "1"))
            self.assertGreater(time.monotonic() - begin, LEASE_S)
            for visitor in visitors:
                self.assertEqual(visitor.expect("goAway", timeout=10).get("url"), self.url(cluster["edge-b"]))
                self.assertEqual(visitor.closed(10), 1012)
            self.assertEqual(cluster["edge-a"].readiness()[0], 503)
            keys.ask("ACL", "SETUSER", "loner", "on")
        cluster["edge-a"].wait_log(r"edge_unfenced\b.*cause=no_redis", 10)
        cluster["edge-a"].wait_ready()
        self.assertFalse([visitor for visitor in [cluster.login("edge-a", "back")] if visitor.ended])

    def test_without_nats_likewise_after_thirty_seconds(self):
        cluster = self.start()
        alice, bob = cluster.login("edge-a", "alice"), cluster.login("edge-a", "bob")
        cluster.write_nats()
        cluster.nats.signal(signal.SIGHUP)
        begin = time.monotonic()
        cluster["edge-a"].wait_log(r"bus_down\b")
        self.assert_sent(alice.send("bob", "local goes on"), 1)
        bob.message()
        cluster["edge-a"].wait_log(r"edge_fenced\b.*cause=no_nats others=1 well=1", 45)
        self.assertGreater(time.monotonic() - begin, 29)
        for visitor in (alice, bob):
            self.assertEqual(visitor.closed(15), 1012)
        self.assertEqual(cluster["edge-b"].readiness()[0], 200)

    def test_when_everybody_lost_redis_everybody_stays(self):
        cluster = self.start()
        alice, bob = cluster.login("edge-a", "alice"), cluster.login("edge-a", "bob")
        cluster.redis.kill()
        wait_until(lambda: cluster["edge-a"].readiness()[1].get("degraded"), LEASE_S + 5, "degraded")
        time.sleep(8)
        self.assertNotIn("edge_fenced", cluster["edge-a"].log())
        self.assert_sent(alice.send("bob", "local goes on"), 1)
        bob.message()

    def url(self, edge):
        return "ws://127.0.0.1:%d/ws" % edge.port
