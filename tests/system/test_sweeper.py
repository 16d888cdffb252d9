"""What the sweeper notices, what it removes and when, and when it holds back.

Nodes that are needed only as the dead are rows written here: an index, links, no lease.
"""
import os
import re
import signal
import time

from client import SCALE
from cluster import LEASE_S, ROOT, Case, wait_until
from stepped import SteppedCluster

DEAD = "edge-z.00000000000000dd"
HELD = r"reaping_held\b.*reason=redis_clock_jumped\b.*by_ms=(-?\d+)"


PUT = """
for n = 0, ARGV[2] - 1 do
    if ARGV[3] == '1' then
        redis.call('SADD', 'sy:members:{' .. ARGV[1] .. '}', 'ghost' .. n .. '/d')
    end
    redis.call('HSET', 'sy:user:{ghost' .. n .. '}', 'd', ARGV[1] .. ' ' .. n + 1 .. ' 1000 5 - d')
end
if ARGV[3] == '1' then
    redis.call('SADD', 'sy:nodes', ARGV[1])
end
"""


def put_dead(keys, count, node=DEAD, is_indexed=True):
    """`count` links of a node that has no lease."""
    keys.ask("EVAL", PUT, 0, node, count, int(is_indexed))


def hint(node, origin):
    """A NodeUnheard, as an edge publishes it."""
    return b"\x0a%c%s\x12%c%s" % (len(node), node.encode(), len(origin), origin.encode())


def wait_settled(*sweepers):
    """Until those have watched Redis's clock for the time of a lease."""
    for sweeper in sweepers:
        sweeper.wait_log(r"reaping_held\b.*reason=just_started")
    time.sleep(LEASE_S + 0.5)


class RedisClock(Case):
    def own(self):
        cluster = SteppedCluster()
        self.addCleanup(self._end, cluster)
        return cluster

    def jump(self, cluster, seconds, sweepers):
        """The clock jumps; everybody who watches says so and reaps nothing."""
        visitors = [cluster.login(name, "user" + name[-1]) for name in cluster.edges]
        wait_settled(*sweepers)
        with cluster.keys() as keys:
            # Just renewed, so the next look comes before the next renewal.
            lease = "sy:lease:{%s}" % cluster["edge-a"].node
            wait_until(lambda: keys.ask("PTTL", lease) > 1000 * LEASE_S - 100, 5, "a renewal")
            before = int(keys.ask("TIME")[0])
            cluster.step(seconds)
            self.assertAlmostEqual(int(keys.ask("TIME")[0]) - before, seconds, delta=1)
            for sweeper in sweepers:
                by_ms = int(sweeper.wait_log(HELD, 3).group(1))
                self.assertAlmostEqual(by_ms, 1000 * seconds, delta=500)
            time.sleep(3)  # a renewal, and several looks
            self.assertEqual(len(keys.keys("sy:lease:*")), len(cluster.edges))
        for name in cluster.edges:
            self.assertTrue(cluster.links("user" + name[-1]), "the link of a living edge was removed")
        for sweeper in sweepers:
            self.assertNotIn("node_reaped", sweeper.log())
            self.assertEqual(len(re.findall(HELD, sweeper.log())), 1)
        self.assertFalse([visitor for visitor in visitors if visitor.ended])

    def test_a_jump_reaps_nobody_in_a_cluster_of_one(self):
        cluster = self.own().start(edges=("edge-a",))
        self.jump(cluster, 60, [cluster.sweeper])
        self.assertGreater(cluster["edge-a"].counters()["leases_lost"], 0, "the jump ended no lease")
        self.assertIn("reason=lease_gone", cluster.sweeper.log(), "it was not seen without its lease")

    def test_whoever_takes_over_at_the_jump_has_seen_it_too(self):
        cluster = self.own().start()
        first = cluster.sweeper
        second = cluster.start_sweeper("sweeper-2")
        self.jump(cluster, 60, [first, second])
        self.assertIn("sweeper_leader", second.log(), "the jump did not end the leadership")

    def test_a_clock_set_back_is_a_jump_too(self):
        cluster = self.own().start(edges=("edge-a",))
        self.jump(cluster, -60, [cluster.sweeper])


class Away(Case):
    def test_a_redis_that_stood_still_reaps_nobody_in_a_cluster_of_one(self):
        cluster = self.own().start(edges=("edge-a",))
        cluster.login("edge-a", "bob")
        wait_settled(cluster.sweeper)
        cluster.redis.signal(signal.SIGSTOP)
        time.sleep(LEASE_S + 1)
        cluster.redis.signal(signal.SIGCONT)
        cluster.sweeper.wait_log(r"reaping_held\b.*reason=redis_was_away", 10)
        cluster["edge-a"].wait_ready(20)
        wait_until(lambda: cluster.links("bob"), 10, "bob's link")
        time.sleep(1)
        self.assertNotIn("node_reaped", cluster.sweeper.log())


class Hinted(Case):
    def test_a_dead_edge_is_suspect_at_once_and_reaped_as_its_lease_ends(self):
        cluster = self.own().start()
        alice = cluster.login("edge-b", "alice")
        cluster.login("edge-a", "bob", "phone")
        self.assert_sent(alice.send("bob", "before"), 1)
        node = cluster["edge-a"].node
        time.sleep(3)  # the end of its lease comes later than what a new sweeper waits for
        with cluster.keys() as keys:
            cluster["edge-a"].kill()

            def unheard():  # nats-server may need a moment to see that the socket has ended
                return alice.send("bob", "into the void", ttlMs=100)["reason"] in ("REASON_NO_ROUTE", "REASON_OFFLINE")
            wait_until(unheard, 5, "nobody listens for it")
            begin = time.monotonic()
            cluster.sweeper.wait_log(r"node_suspect\b.*node=%s\b.*reason=no_responders" % re.escape(node), 1)
            self.assertLess(time.monotonic() - begin, 1.0 * SCALE)
            ends = time.monotonic() + keys.ask("PTTL", "sy:lease:{%s}" % node) / 1000
        cluster.sweeper.wait_log(r"node_reaped\b.*node=%s\b.*links=1\b" % re.escape(node), LEASE_S + 2)
        late = time.monotonic() - ends
        self.assertGreater(late, 0, "reaped while the lease lived")
        self.assertLess(late, 0.2 * SCALE)

    def test_an_edge_that_lost_only_nats_is_suspect_and_keeps_its_links(self):
        cluster = self.own().start()
        cluster.login("edge-a", "bob")
        wait_settled(cluster.sweeper)
        node = cluster["edge-a"].node
        with cluster.tap(None) as tap:
            # A node that holds a lease, and for which nobody listens.
            with cluster.keys() as keys:
                put_dead(keys, 1)
                keys.ask("HSET", "sy:lease:{%s}" % DEAD, "state", "up")
                cluster.sweeper.wait_log(r"node_alive\b.*node=%s" % re.escape(DEAD), 2)
                tap.publish("event.node_unheard", hint(DEAD, node))
                tap.flush()
                cluster.sweeper.wait_log(r"node_suspect\b.*node=%s\b.*reason=no_responders" % re.escape(DEAD), 1)
                # A hint alone is not believed: somebody listens for this one.
                tap.publish("event.node_unheard", hint(node, DEAD))
                tap.flush()
                time.sleep(1.5)
                self.assertTrue(cluster.links("ghost0"))
        self.assertNotRegex(cluster.sweeper.log(), r"node_suspect\b.*node=%s" % re.escape(node))
        self.assertNotIn("node_reaped", cluster.sweeper.log())


class Speed(Case):
    def test_ten_thousand_links_are_gone_within_five_seconds(self):
        cluster = self.own().start(edges=("edge-a",))
        wait_settled(cluster.sweeper)
        with cluster.keys() as keys:
            put_dead(keys, 10000)
            found = cluster.sweeper.wait_log(r"node_reaped\b.*links=(\d+) took_ms=(\d+) links_per_s=(\d+)", 6)
            links, took_ms, _ = (int(text) for text in found.groups())
            self.assertEqual(links, 10000)
            self.assertLess(took_ms, 5000 * SCALE)
            self.assertEqual(keys.keys("sy:user:*"), [])


class Overtaken(Case):
    def test_a_leader_that_slept_beyond_its_lease_is_refused(self):
        cluster = self.own().start(edges=("edge-a",), sweeper=False, redis__command_timeout="10s")
        options = {"reap__batch": 20, "reap__links_per_second": 20, "redis__command_timeout": "40s"}
        first = cluster.start_sweeper("sweeper-1", **options)
        first.wait_log("sweeper_leader")
        second = cluster.start_sweeper("sweeper-2", **options)
        cluster.login("edge-a", "bob")
        wait_settled(first, second)
        with cluster.keys() as keys:
            put_dead(keys, 200)
            first.wait_log(r"node_dead\b.*node=%s" % re.escape(DEAD), 3)
            # The leader asks for its next batch, and sleeps before it hears the answer.
            cluster.redis.signal(signal.SIGSTOP)
            time.sleep(1.2)
            first.signal(signal.SIGSTOP)
            cluster.redis.signal(signal.SIGCONT)
            slept = time.monotonic()
            second.wait_log("sweeper_leader", 14)
            self.assertLess(time.monotonic() - slept, 12 * SCALE)
            fence = re.search(r"sweeper_leader\b.*fence=(\d+)", second.log()).group(1)
            wait_until(lambda: keys.ask("GET", "sy:fence:{%s}" % DEAD) == fence, 5, "the new leader reaps")
            self.assertGreater(keys.ask("SCARD", "sy:members:{%s}" % DEAD), 0)
            first.signal(signal.SIGCONT)
            first.wait_log(r"reap_stopped\b.*reason=stale_fence\b.*times=1\b", 5)
            second.wait_log(r"node_reaped\b.*node=%s" % re.escape(DEAD), 20)
            self.assertEqual(keys.keys("sy:user:*"), ["sy:user:{bob}"])
        self.assertNotIn("node_reaped", first.log())


class LeastPrivilege(Case):
    def test_the_documented_access_list_is_enough_for_all_it_does(self):
        cluster = self.own().start(edges=("edge-a",), sweeper=False)
        with open(os.path.join(ROOT, "docs", "how-to", "run-a-cluster.md")) as page:
            rules = re.search(r"^ *user sweeper on >\S+ (.*)$", page.read(), re.M).group(1)
        cluster.login("edge-a", "bob")
        with cluster.keys() as keys:
            keys.ask("ACL", "SETUSER", "sweeper", "on", ">" + cluster.password, *rules.split())
            sweeper = cluster.start_sweeper(redis__user="sweeper")
            wait_settled(sweeper)
            put_dead(keys, 30)
            sweeper.wait_log(r"node_reaped\b.*node=%s\b.*links=30\b" % re.escape(DEAD), 3)
            # Rows that no index names are found by the scrub.
            put_dead(keys, 30, is_indexed=False)
            sweeper.wait_log(r"orphan_rows_found count=30\b", 10)
            wait_until(lambda: keys.keys("sy:user:*") == ["sy:user:{bob}"], 5, "orphans gone")
        self.assertNotIn("redis_refused", sweeper.log())
