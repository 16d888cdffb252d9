"""F17: everybody of an edge that was killed comes back at once. The others take them in at their accept rate,
and neither they nor Redis nor NATS are drowned by it."""
import time

from harness import FOREIGN_CPU, SCALE, Fault, Pulse


class Storm(Fault):
    def test_everybody_comes_back_at_the_pace_of_the_edges(self):
        # 10 of 12 users come back: within a second by their own pause, 5,000 of them in the long form.
        users = self.size(2400, 6000)
        accept_rate = self.size(500, 1000)
        self.bring_up(users=users, rate=self.size(300, 1000), weights={"edge-a": 10},
                      connections__accept_rate=accept_rate)
        self.driver.victims("edge-a")
        calm = self.measure(4)
        memory = {name: self.cluster[name].memory() for name in ("edge-b", "edge-c")}
        with self.cluster.keys() as keys, self.cluster.tap(None) as nats:
            redis, bus = Pulse(lambda: keys.ask("PING")), Pulse(nats.flush)
            self.driver.mark()
            self.kill("edge-a")
            back = self.wait_all_live(60)
            report = self.driver.report()
            redis, bus = redis.stop(), bus.stop()
        self.assertEqual(report["connected"], users)
        most = max(report["logins_max_per_s"].values())
        # Those who had waited in one second may come in the beginning of the next.
        self.assertLessEqual(most, accept_rate * 1.25 + 20, report["logins_max_per_s"])
        if report["window"]["foreign_cpu"] < FOREIGN_CPU:
            self.assertLess(max(redis[1], bus[1]), 200 * SCALE, "p99 in ms of Redis and NATS")
        grown = max(self.cluster[name].memory() - before for name, before in memory.items())
        self.assertLess(grown, 64 << 20)
        # They are on the edges that take everybody in.
        self.assert_p99(calm, report, least=200e3 * SCALE)
        self.restart("edge-a", connections__accept_rate=accept_rate)
        self.check_promises()
        self.check_resources()
        window = report["window"]
        self.figures(came_back=window["reconnects"], back_s=round(back, 2), logins_max_per_s=most,
                     away_p50_ms=round(window["away_us"]["p50"] / 1000),
                     away_p99_ms=round(window["away_us"]["p99"] / 1000), refused=window["refused"],
                     attempts_too_long=window["timeouts"], redis_p99_ms=redis[1], nats_p99_ms=bus[1],
                     grown_kib=grown >> 10)
