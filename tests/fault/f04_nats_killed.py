"""F4: nats-server is killed and started again under load. Who is on the same edge does not notice, everybody
else is told at once, no loop waits, and it all works again with nats-server."""
import time

from harness import SCALE, Fault, wait_until
from watch import Pings, Talk, Watch

TOLD_S = 1.5
BACK_S = 2


class NatsKilled(Fault):
    def test_sends_end_at_once_and_everybody_is_reachable_when_it_is_back(self):
        users = self.size(1000, 5000)
        self.bring_up(users=users, rate=self.size(300, 1000), settle=1.0)
        self.pings = Pings(self.cluster)
        self.near = Talk(self.cluster.login("edge-a", "near"), "pinger-edge-a", every=0.02)
        self.watch = Watch(self.cluster.edges)
        self.addCleanup(self.watch.stop)
        before = self.driver.who()
        self.measure(2)
        rounds = [self.round(users, away) for _ in range(self.rounds(1, 3)) for away in self.size((1,), (1, 20))]
        self.watch.stop()
        self.assertEqual(len(self.driver.who() ^ before), 0, "connections changed")
        self.near.stop()
        self.pings.assert_answered(self)
        self.watch.assert_loops(self)
        self.check_promises(victims_lost=False)
        self.check_resources()
        self.figures(rounds=len(rounds), told_max_s=max(one["told_s"] for one in rounds),
                     no_route=sum(one["rejected"].get("no_route", 0) for one in rounds),
                     rejected=[one["rejected"] for one in rounds],
                     ready_s=max(one["ready_s"] for one in rounds),
                     reachable_s=max(one["reachable_s"] for one in rounds))

    def round(self, users, away):
        self.driver.mark()
        lost = time.monotonic()
        self.cluster.nats.kill()
        time.sleep(TOLD_S * SCALE if away > TOLD_S else away)
        if away > TOLD_S:
            # Whatever ended before was told in time; whatever ends from now on must not have waited.
            self.driver.mark()
            time.sleep(away - TOLD_S)
        again = time.monotonic()
        self.cluster.start_nats()
        if away <= TOLD_S:
            time.sleep(max(0.0, lost + TOLD_S - time.monotonic()))
            self.driver.mark()
        ready = {}

        def all_ready():
            for name, edge in self.cluster.edges.items():
                if name not in ready and edge.readiness()[0] == 200:
                    ready[name] = time.monotonic() - again
            return len(ready) == len(self.cluster.edges)
        wait_until(all_ready, 10, "all edges ready")

        def all_reached():
            probe = self.driver.probe(users)
            return probe["reached"] == probe["probed"] == users
        wait_until(all_reached, 10, "everybody reachable")
        reachable = time.monotonic() - again
        time.sleep(2)
        window = self.driver.report()["window"]
        told = window["others_us"]["answer"]["max"] / 1e6
        locally = self.near.between(lost, again)
        self.assertTrue(locally)
        self.assertEqual([one for one in locally if one[2] != "sent"], [], "local delivery")
        self.assertLess(told, TOLD_S * SCALE, "seconds until a send ended after the loss: %s" % window["others"])
        self.assertLess(max(ready.values()), BACK_S * SCALE, "seconds until ready: %s" % ready)
        return {"told_s": round(told, 2), "rejected": window["others"]["rejected"],
                "ready_s": round(max(ready.values()), 2), "reachable_s": round(reachable, 2)}
