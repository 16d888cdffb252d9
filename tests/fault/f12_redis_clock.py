"""F12: the clock of Redis jumps by a minute, and with it every lease ends while every edge lives. Nothing of the
living is reaped, and everybody is reachable again once the edges have renewed."""
import re
import time

from cluster import LEASE_S
from harness import SCALE, Fault, wait_until
from stepped import SteppedCluster

GUARDED = re.compile(r"\breaping_held\b.*\breason=(redis_clock_jumped|mass_death)\b")
REACHABLE_S = 3  # leases are renewed every 2 s
WATCHED_S = 5


class Clock(Fault):
    def own(self):
        cluster = SteppedCluster()
        self.addCleanup(self._end, cluster)
        return cluster

    def ahead(self):
        """Seconds Redis's clock is ahead of ours."""
        return int(self.registry.keys.ask("TIME")[0]) - time.time()

    def jump(self, edges, seconds):
        users = self.size(600, 3000)
        self.bring_up(edges=edges, users=users, rate=self.size(200, 500))
        # A sweeper holds still for a while after its own start, and after that of Redis.
        time.sleep(max(0.0, self.redis_since + LEASE_S + 2 - time.monotonic()))
        before = self.driver.who()
        rewritten = self.counted("rewritten")
        lost = self.counted("leases_lost")
        self.assertLess(abs(self.ahead()), 2)
        self.cluster.step(seconds)
        jumped = time.monotonic()
        wait_until(lambda: abs(self.ahead() - seconds) < 2, 2, "Redis's clock jumps")
        missing = 0
        reachable = None
        while time.monotonic() < jumped + WATCHED_S:
            missing = max(missing, self.registry.difference(self.driver).get("rows_missing", 0))
            probe = self.driver.probe(users)
            if reachable is None and probe["reached"] == probe["probed"] == users:
                reachable = time.monotonic() - jumped
        self.assertEqual(self.driver.who(), before, "connections changed")
        guarded = GUARDED.search(self.cluster.sweeper.log())
        self.numbers.update(edges=edges, by_s=seconds, rows_missing=missing,
                            rewritten=self.counted("rewritten") - rewritten,
                            leases_lost=self.counted("leases_lost") - lost,
                            reachable_s=reachable and round(reachable, 2), guard=guarded and guarded.group(1))
        self.assertEqual((missing, self.numbers["rewritten"]), (0, 0), "rows of the living were reaped")
        self.assertNotIn("node_reaped", self.cluster.sweeper.log())
        self.assertIsNotNone(reachable, "everybody reachable within %d s" % WATCHED_S)
        self.assertLess(reachable, REACHABLE_S * SCALE)
        if seconds > LEASE_S:
            self.assertEqual(self.numbers["leases_lost"], edges, "the jump ended no lease")
            self.assertIsNotNone(guarded, "no guard: %s" % self.cluster.sweeper.log())
        self.check_promises()
        self.figures()

    def counted(self, name):
        return sum(edge.counters()[name] for edge in self.cluster.edges.values())

    def test_a_clock_a_minute_ahead_costs_two_edges_no_row(self):
        self.jump(2, 60)

    def test_the_same_with_one_edge(self):
        self.only_long()
        self.jump(1, 60)

    def test_the_same_with_three_edges(self):
        self.only_long()
        self.jump(3, 60)

    def test_a_clock_a_minute_back_costs_no_row(self):
        self.only_long()
        self.jump(2, -60)

    def only_long(self):
        if self.size(True, False):
            self.skipTest("only with --long")
