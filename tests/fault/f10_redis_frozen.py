"""F10: Redis stands still under load. What waits for it is bounded in number and in time, what is remembered
and what is local goes on, and nothing of it is left when Redis goes on."""
import signal
import time

from cluster import free_port
from harness import SCALE, Fault, wait_until
from redis_tap import RedisTap
from watch import Pings, Talk, Watch

COMMAND_S = 1.0  # redis.command_timeout
SLACK_S = 0.25  # the client's own turns, as book.h has it
IN_FLIGHT = 1024  # max_in_flight of edge/host.c
BUSY = 384  # directory reads at once: ROUTES_MAX_BUSY of edge/routes.h
BACK_S = 5  # a dial that hangs is given up after a second, then the longest backoff is 2 s
FLAT = 4 << 20
STRANGERS = 100  # to be looked up, in one send
BURST = 15  # such sends at once at each edge: more than may be in flight


class RedisFrozen(Fault):
    def freeze(self, seconds):
        port = free_port()
        self.bring_up(users=self.size(1000, 5000), rate=self.size(300, 1000), settle=1.0, routes__ttl="2s",
                      redis__url="redis://127.0.0.1:%d" % port, tap=port)
        before = self.driver.who()
        self.pings = Pings(self.cluster)
        talks = [Talk(self.cluster.login("edge-a", "near"), "pinger-edge-a"),
                 Talk(self.cluster.login("edge-a", "caller"), "pinger-edge-b")]
        askers = {name: self.cluster.login(name, "asker-" + name) for name in self.cluster.edges}
        watch = Watch(self.cluster.edges)
        self.addCleanup(watch.stop)
        self.measure(2)
        self.driver.mark()
        frozen = time.monotonic()
        self.cluster.redis.signal(signal.SIGSTOP)
        try:
            self.tap.freeze()
            told = self.ask_for_strangers(askers)
            time.sleep(max(0.0, frozen + 2 * COMMAND_S + SLACK_S - time.monotonic()))
            later = self.ask_for_strangers(askers)
            time.sleep(max(0.0, frozen + seconds - time.monotonic()))
            report = self.driver.report()["window"]
            in_flight = self.tap.in_flight()
        finally:
            self.cluster.redis.signal(signal.SIGCONT)
        thawed = time.monotonic()
        ready, reachable = self.wait_back(thawed)
        watch.stop()
        for talk in talks:
            talk.stop()
        for asker in askers.values():
            asker.close()
        self.pings.assert_answered(self)
        watch.assert_loops(self)
        most = max(sum(name != "PING" for name in names) for names in in_flight)
        answer = report["others_us"]["answer"]["max"] / 1e6
        talked = [talk.between(frozen, thawed) for talk in talks]
        self.numbers.update(frozen_s=seconds, in_flight=most, told_max_s=round(told, 2), told_later_s=round(later, 3),
                            answer_max_s=round(answer, 2), rejected=report["others"]["rejected"],
                            grown_mib=round(watch.growth(frozen, thawed) / (1 << 20), 2),
                            waiting=watch.most("pending_sends", frozen, thawed),
                            local_max_s=round(max(one[1] for one in talked[0]), 2),
                            remembered_max_s=round(max(one[1] for one in talked[1]), 2),
                            ready_s=ready, reachable_s=reachable)
        self.assertLessEqual(most, IN_FLIGHT, "commands in flight on one connection")
        self.assertGreaterEqual(most, BUSY, "directory reads did not reach their bound")
        self.assertLess(told, COMMAND_S * SCALE + SLACK_S)
        self.assertLess(later, SLACK_S * SCALE, "once it is known that Redis does not answer")
        self.assertLess(answer, COMMAND_S * SCALE + SLACK_S, "seconds a send took: %s" % report["others"])
        for name, ends in (("local", talked[0]), ("remembered", talked[1])):
            self.assertTrue(ends)
            self.assertEqual([one for one in ends if one[2] != "sent"], [], name)
        self.assertLess(watch.growth(frozen, thawed), FLAT, "bytes an edge grew by")
        self.assertLess(ready, BACK_S * SCALE)
        self.assertEqual(len(self.driver.who() ^ before), 0, "connections changed")
        self.check_promises()
        self.assertNotIn("node_reaped", self.cluster.sweeper.log())
        self.assertEqual(max(edge.counters()["pending_sends"] for edge in self.cluster.edges.values()), 0)
        self.check_resources()
        self.figures()

    def bring_up(self, tap, **more):
        """With a tap on that port between the edges and Redis."""
        own = self.own

        def tapped():
            cluster = own()
            self.tap = RedisTap(cluster.redis_port, tap)
            self.addCleanup(self.tap.close)
            return cluster
        self.own = tapped
        return super().bring_up(**more)

    def ask_for_strangers(self, askers):
        """Sends to users nobody knows, from each edge; seconds until the last outcome."""
        begin = time.monotonic()
        asked = []
        for name, asker in askers.items():
            for number in range(BURST):
                strangers = ["stranger-%s-%d-%d-%d" % (name, begin * 1000, number, i) for i in range(STRANGERS)]
                asked.append((asker, asker.command(send={"to": strangers, "text": "?"})))
        for asker, number in asked:
            outcome = asker.expect("outcome", number, timeout=6)
            self.assert_rejected(outcome, "directory_unavailable")
        return time.monotonic() - begin

    def wait_back(self, since):
        for edge in self.cluster.edges.values():
            edge.wait_ready(20)
        ready = round(time.monotonic() - since, 2)
        users = self.driver.users

        def all_reached():
            probe = self.driver.probe(users)
            return probe["reached"] == probe["probed"] == users
        wait_until(all_reached, 20, "everybody reachable")
        return ready, round(time.monotonic() - since, 2)

    def test_what_waits_for_a_frozen_redis_is_bounded(self):
        self.freeze(6)

    def test_a_pause_of_5_seconds(self):
        self.only_long()
        self.freeze(5)

    def test_a_pause_of_15_seconds(self):
        self.only_long()
        self.freeze(15)

    def test_a_pause_of_30_seconds(self):
        self.only_long()
        self.freeze(30)

    def test_a_pause_of_a_minute(self):
        self.only_long()
        self.freeze(60)

    def only_long(self):
        if self.size(True, False):
            self.skipTest("only with --long")
