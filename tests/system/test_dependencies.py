"""What an edge does when it loses something it depends on, or itself.

The rules and their thresholds are unit tests; here
they meet real servers, real sockets and real signals.
"""
import glob
import signal
import time

from client import SCALE, Closed, Refused
from cluster import LEASE_S, Case, wait_until


def freeze(child):
    """SIGSTOP, and every thread has stopped."""
    child.signal(signal.SIGSTOP)

    def state(path):
        with open(path) as stat:
            return stat.read().rpartition(")")[2].split()[0]
    wait_until(lambda: {state(path) for path in glob.glob("/proc/%d/task/*/stat" % child.pid)} == {"T"},
               what=child.name + " stopped")


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


class SelfProbe(Case):
    """An edge counts as connected when it hears itself, and no sooner."""

    EVERYTHING = "publish: \">\", subscribe: \">\""
    DEAF = "publish: \">\", subscribe: { allow: \">\", deny: \"node.>\" }"

    def start(self, rules):
        cluster = self.own()
        cluster.start_nats(loner=rules)
        cluster.start_redis().wait_log("Ready to accept")
        with cluster.keys() as keys:
            keys.ask("ACL", "SETUSER", "loner", "on", ">" + cluster.password, "~sy:*", "+@all")
        cluster.start_edge("edge-a", redis__user="loner", nats__user="loner").wait_listening()
        return cluster

    def give(self, cluster, rules):
        cluster.write_nats(loner=rules)
        cluster.nats.signal(signal.SIGHUP)

    def wait_unready(self, edge, begin, why):
        wait_until(lambda: edge.readiness()[0] == 503, 6, "not ready")
        # From the last success, which is up to two seconds old, so never more than five.
        self.assertLess(time.monotonic() - begin, 5.3 * SCALE)
        self.assertRegex(edge.readiness()[1]["why"], why)

    def test_without_its_subscription_it_takes_neither_lease_nor_clients(self):
        cluster = self.start(self.DEAF)
        edge = cluster["edge-a"]
        edge.wait_log(r"bus_unavailable\b.*Permissions Violation for Subscription")
        time.sleep(3)
        status, body = edge.readiness()
        self.assertEqual((status, body["why"]), (503, "not connected to NATS"))
        self.assertIn("Permissions Violation", body["nats"]["detail"])
        with self.assertRaises(Refused) as refused:
            edge.client()
        self.assertEqual(refused.exception.status, 503)
        with cluster.keys() as keys:
            self.assertEqual(keys.keys("sy:lease:*"), [])
        self.give(cluster, self.EVERYTHING)
        edge.wait_ready()
        cluster.login("edge-a", "alice")

    def test_a_subscription_that_is_taken_away_is_noticed(self):
        cluster = self.start(self.EVERYTHING)
        edge = cluster["edge-a"].wait_ready()
        begin = time.monotonic()
        self.give(cluster, self.DEAF)
        self.wait_unready(edge, begin, "NATS")
        self.give(cluster, self.EVERYTHING)
        edge.wait_ready()

    def test_a_user_that_is_taken_away_from_nats_is_noticed(self):
        cluster = self.start(self.EVERYTHING)
        edge = cluster["edge-a"].wait_ready()
        begin = time.monotonic()
        cluster.write_nats()
        cluster.nats.signal(signal.SIGHUP)
        self.wait_unready(edge, begin, "NATS")
        self.give(cluster, self.EVERYTHING)
        edge.wait_ready()

    def test_permissions_that_are_taken_away_in_redis_are_noticed(self):
        cluster = self.start(self.EVERYTHING)
        edge = cluster["edge-a"].wait_ready()
        wait_until(lambda: edge.readiness()[1]["round_trip"]["ok"], what="a round trip")
        self.assertGreater(edge.readiness()[1]["round_trip_us"], 0)
        with cluster.keys() as keys:
            for taken, given in (("-evalsha", "+evalsha"), ("resetkeys", "~sy:*"), ("off", "on")):
                begin = time.monotonic()
                keys.ask("ACL", "SETUSER", "loner", taken)
                if taken == "off":  # Redis goes on serving who is connected
                    keys.ask("CLIENT", "KILL", "USER", "loner")
                self.wait_unready(edge, begin, "round trip|Redis")
                keys.ask("ACL", "SETUSER", "loner", given)
                edge.wait_ready()


class Late(Case):
    """What waited for a server that stood still is dropped, not delivered late."""

    def test_what_waited_for_nats_does_not_arrive_after_its_end(self):
        cluster = self.own().start(sweeper=False)
        alice, bob = cluster.login("edge-a", "alice"), cluster.login("edge-b", "bob")
        self.assert_sent(alice.send("bob", "before"), 1)
        bob.message()
        freeze(cluster.nats)
        ids = [alice.command(send={"to": ["bob"], "text": "late", "ttlMs": 500}) for _ in range(20)]
        time.sleep(1.5)  # less than it takes to give nats-server up
        cluster.nats.signal(signal.SIGCONT)
        for id_ in ids:
            self.assert_rejected(alice.expect("outcome", id_), "timeout", "expired")
        self.assert_sent(alice.send("bob", "after"), 1)
        self.assertEqual(bob.message()["text"], "after")
        # Some may still have been in alice's edge when their time came.
        self.assertGreater(cluster["edge-b"].counters()["envelopes_late"], 0)

    def test_what_waited_for_redis_does_not_arrive_after_its_end(self):
        cluster = self.own().start(sweeper=False, redis__command_timeout="3s")
        alice, bob = cluster.login("edge-a", "alice"), cluster.login("edge-b", "bob")
        near = cluster.login("edge-a", "near")
        freeze(cluster.redis)
        far_id = alice.command(send={"to": ["bob"], "text": "late", "ttlMs": 300})
        near_id = alice.command(send={"to": ["near"], "text": "in time", "ttlMs": 300})
        self.assertEqual(near.message()["text"], "in time", "who is here does not wait for Redis")
        time.sleep(1.2)
        cluster.redis.signal(signal.SIGCONT)
        self.assert_rejected(alice.expect("outcome", far_id), "expired", "directory_unavailable")
        self.assert_sent(alice.expect("outcome", near_id), 1)
        self.assert_sent(alice.send("bob", "after"), 1)
        self.assertEqual(bob.message()["text"], "after")

    def test_a_frozen_nats_costs_neither_the_loop_nor_memory(self):
        cluster = self.own().start(sweeper=False, limits__commands_per_second=100000, nats__max_buffered=4 << 20)
        alice, bob = cluster.login("edge-a", "alice"), cluster.login("edge-b", "bob")
        self.assert_sent(alice.send("bob", "before"), 1)
        edge = cluster["edge-a"]
        before = edge.memory()
        freeze(cluster.nats)
        sent = 0
        until = time.monotonic() + 3.5
        while time.monotonic() < until:  # 30 MB a second, eight times the bound in all
            sent += 1
            alice.command(id="0", send={"to": ["bob"], "text": "x" * 30000, "ttlMs": 1000})
            alice.expect("pong", alice.command(ping={}))
        grown = edge.memory() - before
        cluster.nats.signal(signal.SIGCONT)
        self.assertGreater(sent * 30000, 20 << 20, "too little load to tell")
        # nats.c doubles its buffer; sends wait for their time, which limits.pending_bytes bounds.
        self.assertLess(grown, 64 << 20)
        self.assertLess(edge.counters()["loop_max_ms"], 100 * SCALE)
        edge.wait_ready(20)
