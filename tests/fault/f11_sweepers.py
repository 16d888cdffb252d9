"""F11: of two sweepers the leader is frozen beyond its leadership while it reaps, goes on, and then the other is
killed. The one that is left takes over, what the late one still does is refused, and no row of a living
connection goes.

A batch takes the leader a second, since each of its commands takes 200 ms to Redis and back: so it is frozen in the
middle of one."""
import re
import signal
import time

from cluster import Cluster
from faultproxy import FaultProxy
from harness import SCALE, Fault, wait_until

TAKEOVER_S = 12
LINKS_PER_S = 150  # so that the second sweeper still reaps when the first goes on
BATCH_S = 1  # BATCH_MS of lib/store/store_sweep.c
HEALED_S = 5  # VERIFY_AGAIN_MS of edge/lease.h, a tick, and the verifying
STALE = r"\breap_stopped\b.*\breason=stale_fence\b"


class TwoSweepers(Cluster):
    """The first of them is far from Redis."""

    def start_redis(self):
        redis = super().start_redis()
        self.proxy = FaultProxy(self.redis_port)
        self.proxy.do("delay 100 0")
        return redis

    def start_sweeper(self, name="sweeper", **more):
        more.setdefault("reap__links_per_second", LINKS_PER_S)
        if name == "sweeper":
            more["redis__url"] = "redis://127.0.0.1:%d" % self.proxy.port
        return super().start_sweeper(name, **more)

    def stop(self, quietly=False):
        complaints = super().stop(quietly)
        self.proxy.stop()
        return complaints


class Sweepers(Fault):
    def own(self):
        cluster = TwoSweepers()
        self.addCleanup(self._end, cluster)
        return cluster

    def begin(self, users):
        """The two sweepers, the first of which leads; most users are on edge-c."""
        self.bring_up(users=users, rate=self.size(200, 500), weights={"edge-c": 8}, settle=0.5)
        first = self.cluster.sweeper
        second = self.cluster.start_sweeper("sweeper-2")
        second.wait_log("sweeper_ready")
        self.wait_redis_settled()
        self.driver.victims("edge-c")
        return first, second

    def freeze_while_it_reaps(self, sweeper, node):
        """Once the lease of the node has ended; the sweeper stops in the middle of a batch."""
        links = self.registry.count_at(node)
        sweeper.wait_log(r"\bnode_dead\b.*node=%s\b" % re.escape(node), 15)
        rows = len(self.registry.rows())
        wait_until(lambda: len(self.registry.rows()) < rows, 5, "rows go", every=0.01)
        sweeper.signal(signal.SIGSTOP)
        self.assertEqual(self.registry.count_at(node), links, "its first batch is not done")
        return links

    def wait_leader(self, sweeper, since, already=0):
        wait_until(lambda: len(re.findall(r"\bsweeper_leader\b", sweeper.log())) > already, TAKEOVER_S + 2,
                   "takeover", every=0.01)
        took = time.monotonic() - since
        self.assertLess(took, TAKEOVER_S * SCALE, "seconds until another led")
        return round(took, 2)

    def test_a_leader_that_slept_is_refused_and_the_other_takes_over(self):
        first, second = self.begin(self.size(1500, 5000))
        edge = self.cluster["edge-c"]
        self.driver.hold()
        self.kill("edge-c")
        links = self.freeze_while_it_reaps(first, edge.node)
        frozen = time.monotonic()
        # Whom it was about to remove live elsewhere by the time it goes on.
        self.driver.release()
        self.wait_all_live()
        takeover = self.wait_leader(second, frozen)
        wait_until(lambda: self.registry.count_at(edge.node) < links, 5, "the second reaps")
        time.sleep(max(0.0, frozen + self.size(0, 15) - time.monotonic()))
        left = self.registry.count_at(edge.node)
        self.assertGreater(left, 0, "too few links for the second to be still at it")
        live = self.driver.who()
        first.signal(signal.SIGCONT)
        first.wait_log(STALE, 5)
        refused = len(re.findall(STALE, first.log()))
        time.sleep(0.5)
        self.assertEqual(live - self.registry.rows(), set(), "rows of living connections are gone")
        self.assertNotIn("node_reaped", first.log())
        second.wait_log(r"\bnode_reaped\b.*node=%s\b" % re.escape(edge.node), 60)
        # And now the other way round, by a kill.
        killed = time.monotonic()
        second.kill()
        again = self.wait_leader(first, killed, already=1)
        self.restart("edge-c")
        self.driver.home()
        self.check_promises(victims_answered=False)
        self.assertEqual(len(re.findall(r"\bsweeper_leader\b", second.log())), 1)
        self.figures(links=links, left_when_it_woke=left, stale_refused=refused, takeover_s=takeover,
                     takeover_after_kill_s=again)

    def sleep_both(self, seconds):
        """Both sleep: the edge beyond its lease, then the sweeper that was about to remove it, which goes on so
        long after the edge has. The most rows of living connections that were missing after that."""
        first, _ = self.begin(self.size(1000, 5000))
        edge = self.cluster["edge-c"]
        edge.signal(signal.SIGSTOP)
        try:
            self.freeze_while_it_reaps(first, edge.node)
        finally:
            edge.signal(signal.SIGCONT)
        awake = time.monotonic()
        self.wait_rows_exact(15)
        time.sleep(max(0.0, awake + seconds - time.monotonic()))
        slept = time.monotonic() - awake
        first.signal(signal.SIGCONT)
        missing = 0
        until = time.monotonic() + HEALED_S * SCALE
        while time.monotonic() < until:
            missing = max(missing, len(self.driver.who() - self.registry.rows()))
            time.sleep(0.05)  # the driver has answers to read meanwhile
        self.assertEqual(self.driver.who() - self.registry.rows(), set(), "rows of living connections stay away")
        self.assertRegex(first.log(), r"\breap_stopped\b")
        self.assertNotIn("node_reaped", first.log())
        self.check_promises(victims_answered=False)
        self.figures(rows_missing=missing, slept_s=round(slept, 2))
        return missing

    def test_an_edge_that_is_back_before_the_leader_is_keeps_its_rows(self):
        missing = self.sleep_both(BATCH_S + 0.2)
        self.assertEqual(missing, 0, "rows of living connections were removed")

    def test_rows_removed_in_the_second_in_which_an_edge_came_back_are_written_again(self):
        self.only_long()
        self.sleep_both(0)

    def test_a_pause_shorter_than_its_lease_changes_nothing(self):
        self.only_long()
        first, second = self.begin(1000)
        first.signal(signal.SIGSTOP)
        time.sleep(5)
        first.signal(signal.SIGCONT)
        time.sleep(5)
        self.assertNotIn("sweeper_leader", second.log())
        self.assertEqual(len(re.findall(r"\bsweeper_follower\b", first.log())), 0, first.log())
        self.check_promises()
        self.figures()

    def outlast(self, seconds):
        first, second = self.begin(1000)
        frozen = time.monotonic()
        first.signal(signal.SIGSTOP)
        takeover = self.wait_leader(second, frozen)
        time.sleep(max(0.0, frozen + seconds - time.monotonic()))
        first.signal(signal.SIGCONT)
        time.sleep(5)
        self.assertEqual(len(re.findall(r"\bsweeper_leader\b", first.log())), 1, "the first leads again")
        self.assertNotIn("node_reaped", first.log() + second.log())
        self.check_promises()
        self.figures(frozen_s=seconds, takeover_s=takeover)

    def test_a_pause_of_15_seconds(self):
        self.only_long()
        self.outlast(15)

    def test_a_pause_of_a_minute(self):
        self.only_long()
        self.outlast(60)

    def only_long(self):
        if self.size(True, False):
            self.skipTest("only with --long")
