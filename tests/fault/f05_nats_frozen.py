"""F5: nats-server stands still under load, with more to say to other edges than may wait. No loop waits for it,
PINGs are answered, who is on the same edge does not notice, and what waits is bounded: bytes for nats-server by
nats.max_buffered, sends without a receipt by limits.pending_bytes."""
import signal
import time

from harness import SCALE, Fault, wait_until
from watch import Pings, Talk, Watch, Writer

NOTICED_S = 6  # two echoes of nats.ping_interval missed, and slack
TOLD_S = 1.5
BACK_S = 2
MIB = 1 << 20
# Both are reached: 6.4 MB/s are written at each edge, and what has no receipt waits for 3.6 s.
MAX_BUFFERED = 4 * MIB
MAX_PENDING = 16 * MIB
# Other queues, and what malloc loses.
BESIDE = 4 * MIB


class NatsFrozen(Fault):
    def freeze(self, seconds):
        self.bring_up(users=self.size(1000, 5000), rate=self.size(300, 1000), settle=1.0,
                      nats__max_buffered=MAX_BUFFERED, limits__pending_bytes=MAX_PENDING)
        before = self.driver.who()
        pings = Pings(self.cluster)
        near = Talk(self.cluster.login("edge-a", "near"), "pinger-edge-a", every=0.02)
        watch = Watch(self.cluster.edges)
        self.addCleanup(watch.stop)
        self.measure(2)
        # 16 KiB so often fills the kernel's buffers and then nats.max_buffered.
        floods = [Writer(self.cluster.login(edge, "writer-" + edge), "pinger-" + to, 16000, 400)
                  for edge, to in (("edge-a", "edge-b"), ("edge-b", "edge-c"), ("edge-c", "edge-a"))]
        time.sleep(1)
        self.driver.mark()
        frozen = time.monotonic()
        self.cluster.nats.signal(signal.SIGSTOP)
        try:
            time.sleep(min(NOTICED_S * SCALE, seconds))
            # An edge that has noticed: whatever ends from now on must not have waited long.
            noticed = {name: watch.first(name, frozen, lambda sample: sample[3] == 503) for name in self.cluster.edges}
            unnoticed = self.driver.report()["window"]
            time.sleep(max(0.0, min(seconds, NOTICED_S + TOLD_S) - NOTICED_S) * SCALE)
            self.driver.mark()
            for flood in floods:
                flood.stop()
            time.sleep(max(0.0, frozen + seconds - time.monotonic()))
        finally:
            self.cluster.nats.signal(signal.SIGCONT)
        thawed = time.monotonic()
        ready = self.wait_ready(thawed)
        reachable = self.wait_reached(thawed)
        window = self.driver.report()["window"]
        watch.stop()
        near.stop()
        pings.assert_answered(self)
        for flood in floods:
            flood.sender.close()
        watch.assert_loops(self)
        self.assertEqual(len(self.driver.who() ^ before), 0, "connections changed")
        locally = near.between(frozen, thawed)
        self.assertEqual([one for one in locally if one[2] != "sent"], [], "local delivery")
        self.numbers.update(frozen_s=seconds, ready_s=ready, reachable_s=reachable,
                            local_sends=len(locally), local_max_ms=round(1000 * max(one[1] for one in locally)),
                            pending_mib=round(watch.most("pending_bytes", frozen, thawed) / MIB, 1),
                            grown_mib=round(watch.growth(frozen, thawed + 1) / MIB, 1),
                            rejected_before=unnoticed["others"]["rejected"],
                            rejected_after=window["others"]["rejected"])
        if seconds > NOTICED_S:
            self.assertNotIn(None, noticed.values(), "an edge did not notice within %d s: %s" % (NOTICED_S, noticed))
            told = window["others_us"]["answer"]["max"] / 1e6
            self.numbers.update(noticed_s=round(max(noticed.values()) - frozen, 2), told_max_s=round(told, 2))
            self.assertLess(told, TOLD_S * SCALE, "seconds until a send ended after the loss: %s" % window["others"])
        self.assertLess(watch.growth(frozen, thawed + 1), MAX_BUFFERED + MAX_PENDING + BESIDE, "bytes an edge grew by")
        self.assertLess(ready, BACK_S * SCALE, "seconds until all edges are ready again")
        self.check_promises()
        self.check_resources()
        self.figures()

    def wait_ready(self, since):
        for edge in self.cluster.edges.values():
            edge.wait_ready(10)
        return round(time.monotonic() - since, 2)

    def wait_reached(self, since):
        users = self.driver.users

        def all_reached():
            probe = self.driver.probe(users)
            return probe["reached"] == probe["probed"] == users
        wait_until(all_reached, 10, "everybody reachable")
        return round(time.monotonic() - since, 2)

    def test_no_loop_waits_for_a_frozen_nats_server(self):
        self.freeze(self.size(8, 12))

    def test_a_pause_too_short_to_be_noticed(self):
        self.only_long()
        self.freeze(5)

    def test_a_pause_of_15_seconds(self):
        self.only_long()
        self.freeze(15)

    def test_a_pause_of_a_minute(self):
        self.only_long()
        self.freeze(60)

    def only_long(self):
        if self.size(True, False):
            self.skipTest("only with --long")
