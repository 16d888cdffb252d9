"""F6 and F7: packets between one edge and nats-server are dropped, in both directions or one. The edge notices
by the missing echoes; its own users still reach each other; after half a minute in which Redis and the other
edges were well it sends its users elsewhere, spread over a minute.

Everything runs in a network namespace. nats-server listens on all its addresses and edge-a connects to another
one than the others, so that rules can name what is edge-a's."""
import os
import time

import netns
from cluster import Child, Cluster, find_server
from harness import SCALE, Fault, wait_until
from watch import Talk, Watch

NOTICED_S = 6
TOLD_S = 1.5
# The rest of an attempt to connect (2 s), a packet's next retransmission, the longest backoff (2 s).
BACK_S = 5
WALLED = "127.0.0.2"  # nats-server, as edge-a sees it
FENCED_AFTER_S = 30
SPREAD_S = 60
PINGS_S = 2  # nats.ping_interval: what the time without NATS is known to


class Walled(Cluster):
    def start_nats(self):
        path = os.path.join(self.directory, "nats.conf")
        with open(path, "w") as conf:
            conf.write("host: 0.0.0.0\nport: %d\nwrite_deadline: \"500ms\"\n"
                       "accounts { switchyard { users: [ { user: switchyard, password: \"%s\" } ] } }\n"
                       % (self.nats_port, self.password))
        self.nats = self._child(Child, "nats", [find_server("nats-server"), "-c", path])
        return self.nats

    def start_edge(self, name="edge-a", **more):
        if name == "edge-a":
            more["nats__url"] = "nats://%s:%d" % (WALLED, self.nats_port)
        return super().start_edge(name, **more)


class Partition(Fault):
    def setUp(self):
        netns.need()
        self.space = self.enterContext(netns.Namespace())
        self.enterContext(self.space.inside())

    def own(self):
        cluster = Walled()
        self.addCleanup(self._end, cluster)
        return cluster

    def wall(self, out, into):
        """Drops what edge-a sends to nats-server, and what nats-server sends to it."""
        port = str(self.cluster.nats_port)
        if out:
            self.space.rule("-p", "tcp", "-d", WALLED, "--dport", port, "-j", "DROP")
        if into:
            self.space.rule("-p", "tcp", "-s", WALLED, "--sport", port, "-j", "DROP")

    def begin(self, users, **more):
        self.bring_up(users=users, rate=self.size(300, 1000), settle=1.0, **more)
        edge = self.cluster["edge-a"]
        self.watch = Watch(self.cluster.edges)
        self.addCleanup(self.watch.stop)
        self.listeners = [self.cluster.login("edge-a", "far"), self.cluster.login("edge-b", "beyond")]
        self.near = Talk(self.cluster.login("edge-a", "near"), "far", every=0.02)
        self.across = Talk(self.cluster.login("edge-a", "here"), "beyond", every=0.02)
        self.driver.victims("edge-a")
        return edge

    def cut(self, out, into):
        """Until it is noticed and 1.5 s longer; the figures."""
        self.driver.mark()
        cut = time.monotonic()
        self.wall(out, into)
        noticed = wait_until(lambda: self.watch.first("edge-a", cut, lambda sample: sample[3] == 503),
                             NOTICED_S + 2, "edge-a notices")
        noticed -= cut
        before = self.driver.report()["window"]
        time.sleep(max(0.0, TOLD_S * SCALE))
        self.driver.mark()
        self.assertLess(noticed, NOTICED_S * SCALE, "seconds until edge-a noticed")
        return {"noticed_s": round(noticed, 2), "before": before["victims"]["rejected"]}, cut

    def heal(self, cut, noticed):
        """The rest of the figures."""
        window = self.driver.report()["window"]
        locally = self.near.between(cut, time.monotonic() - 1)
        self.assertEqual([one for one in locally if one[2] != "sent"], [], "local delivery")
        across = self.across.between(cut, time.monotonic() - TOLD_S * SCALE)
        late = [one for one in across if one[0] + one[1] > max(one[0], noticed) + TOLD_S * SCALE]
        self.assertEqual(late, [], "sends of edge-a that ended late, noticed at %s" % noticed)
        self.assertEqual({one[2] for one in across if one[0] > noticed}, {"no_route"})
        self.assertEqual(window["others"]["rejected"], {}, "who has nothing to do with edge-a")
        self.space.clear()
        healed = time.monotonic()
        self.cluster["edge-a"].wait_ready(20)
        back = time.monotonic() - healed
        self.assertLess(back, BACK_S * SCALE, "seconds until edge-a is ready again")
        users = self.driver.users

        def all_reached():
            probe = self.driver.probe(users)
            return probe["reached"] == probe["probed"] == users
        wait_until(all_reached, 10, "everybody reachable")
        return {"after": window["victims"]["rejected"], "ready_s": round(back, 2),
                "reachable_s": round(time.monotonic() - healed, 2)}

    def end_talks(self):
        self.near.stop()
        self.across.stop()
        for listener in self.listeners:
            listener.close()

    def finish(self):
        self.watch.stop()
        self.watch.assert_loops(self)
        self.check_promises(victims_answered=True, victims_lost=False)
        self.check_resources()

    def test_a_wall_in_either_direction_is_noticed_within_six_seconds(self):
        """F6 until the edge would fence itself, and F7."""
        self.begin(self.size(1000, 5000))
        before = self.driver.who()
        figures = {}
        for name, out, into in (("both", True, True), ("out", True, False), ("into", False, True)):
            seen, cut = self.cut(out, into)
            time.sleep(self.size(1, 15))
            seen.update(self.heal(cut, cut + seen["noticed_s"]))
            figures[name] = seen
        self.assertEqual(len({one for one in self.driver.who() ^ before if one[0].startswith("u")}), 0,
                         "connections changed")
        self.end_talks()
        self.finish()
        self.figures(**figures)

    def fence(self, out, into):
        # 7,200 of 9,000 are on edge-a: fewer than 6,000 would go faster, at 100 a second.
        self.begin(9000, weights={"edge-a": 8})
        seen, cut = self.cut(out, into)
        self.end_talks()
        lost = cut + seen["noticed_s"]
        there = self.driver.where()["edges"]["edge-a"]
        closes = []  # (seconds since it noticed, sent away so far)
        while time.monotonic() < cut + 40:
            count = there - self.driver.where()["edges"]["edge-a"]
            closes.append((time.monotonic() - lost, count))
            time.sleep(0.25)
        first = next((at for at, count in closes if count > 0), None)
        self.assertIsNotNone(first, "nobody was sent elsewhere within 40 s")
        # From the last echo, which is up to NOTICED_S before it was noticed.
        self.assertGreater(first + seen["noticed_s"], FENCED_AFTER_S - PINGS_S)
        self.assertLess(first, (FENCED_AFTER_S + 4) * SCALE)
        part = closes[-1][1] / there
        expected = (closes[-1][0] - first) / SPREAD_S
        self.numbers.update(seen, fenced_after_s=round(first, 1), closed=closes[-1][1], of=there,
                            closed_part=round(part, 3), expected_part=round(expected, 3))
        self.assertGreater(part, expected / 2, "closes come too slowly")
        self.assertLess(part, expected * 2 + 0.02, "closes come too fast")
        window = self.driver.report()["window"]
        # Who leaves at the time and to the place it was told does so by itself, with 1000.
        self.assertEqual(window["closes"].keys() - {"1000", "1012"}, set())
        self.assertEqual((window["resets"], window["silences"]), (0, 0))
        self.numbers.update(closes=window["closes"], go_aways=window["go_aways"], at_edges=self.driver.where()["edges"])
        self.space.clear()
        self.cluster["edge-a"].wait_ready(20)
        self.wait_all_live()
        self.finish()
        self.figures()

    def test_after_half_a_minute_its_users_are_sent_elsewhere(self):
        self.only_long()
        self.fence(True, True)

    def test_also_when_only_its_own_packets_are_lost(self):
        self.only_long()
        self.fence(True, False)

    def test_also_when_only_packets_to_it_are_lost(self):
        self.only_long()
        self.fence(False, True)

    def only_long(self):
        if self.size(True, False):
            self.skipTest("only with --long")
