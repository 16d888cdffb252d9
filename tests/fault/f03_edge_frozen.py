"""F3: an edge stops for a while and goes on. Shorter than its lease: nothing of it is taken away. Longer: its
users are elsewhere when it comes back, and it takes none of them back. Nobody else waits for it.

A client leaves a connection that has been silent for a ping interval and ten seconds, so the interval decides
whether it has noticed the pause by its end."""
import signal
import time

from cluster import LEASE_S
from harness import SCALE, Fault, wait_until


class Frozen(Fault):
    def freeze(self, seconds):
        edge = self.cluster["edge-a"]
        self.driver.victims("edge-a")
        calm = self.measure(3)
        self.driver.mark()
        edge.signal(signal.SIGSTOP)
        try:
            time.sleep(seconds)
            report = self.driver.report()
        finally:
            edge.signal(signal.SIGCONT)
        self.assertEqual(report["window"]["others"]["overdue"], 0)
        answer = report["window"]["others_us"]["answer"]
        self.assertLess(answer["max"], 1e6 * SCALE, "an outcome of the others took so many us: %s" % answer)
        self.assert_p99(calm, report)
        self.numbers["others_answer_max_ms"] = round(answer["max"] / 1000)
        return edge

    def live_on(self, edge):
        """WebSockets the edge holds, as it says itself."""
        return edge.counters()["connections"]

    def test_a_pause_shorter_than_the_lease_costs_nobody_the_connection(self):
        self.bring_up(users=self.size(1000, 10000), rate=self.size(300, 1000))
        before = self.driver.who()
        self.freeze(5)
        time.sleep(3)
        self.assertEqual(len(self.driver.who() ^ before), 0, "connections changed")
        self.check_promises(victims_answered=False)
        self.assertNotIn("node_reaped", self.cluster.sweeper.log())
        self.check_resources()
        self.figures(frozen_s=5)

    def outlast(self, seconds, ping):
        self.bring_up(users=self.size(1000, 10000), rate=self.size(300, 1000), ping__interval=ping)
        self.wait_redis_settled()
        edge = self.freeze(seconds)
        thawed = time.monotonic()
        elsewhere = self.driver.users - self.driver.where()["edges"]["edge-a"]
        self.wait_all_live(60)
        # What clients have left, the edge has dropped; and it holds nobody who is elsewhere.
        wait_until(lambda: self.live_on(edge) == self.driver.where()["edges"]["edge-a"], 60,
                   "no stale socket", every=0.5)
        stale = time.monotonic() - thawed
        window = self.driver.report()["window"]
        self.assertEqual(window["closes"].get("4001", 0), 0, "newer sessions were taken back by the frozen edge")
        self.check_promises(victims_answered=False, rows_within=60)
        self.check_resources()
        self.figures(frozen_s=seconds, stale_gone_s=round(stale, 1), elsewhere=elsewhere, closes=window["closes"],
                     resets=window["resets"], silences=window["silences"])

    def test_after_a_pause_longer_than_the_lease_who_left_stays_away(self):
        self.outlast(LEASE_S + 5, ping="1s")

    def test_after_a_pause_longer_than_the_lease_who_noticed_nothing_is_reachable(self):
        self.outlast(LEASE_S + 5, ping="25s")

    def test_after_a_minute_the_users_are_elsewhere_and_stay_there(self):
        if self.size(True, False):
            self.skipTest("only with --long")
        self.outlast(60, ping="5s")
