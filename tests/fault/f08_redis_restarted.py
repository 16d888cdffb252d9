"""F8 and F9: Redis loses everything, by a crash or by a flush. Every edge writes its links again, nobody is
disconnected, and the sweeper takes away nothing that lives."""
import re
import time

from harness import SCALE, Fault, wait_until

REWRITTEN_S = 15
REACHABLE_S = 10


class Forgetful(Fault):
    def look_around(self, everybody):
        """Everybody is reachable through whoever is asked; the seconds it took from now."""
        begin = time.monotonic()

        def all_reached():
            probe = self.driver.probe(everybody)
            return probe["reached"] == everybody
        wait_until(all_reached, REACHABLE_S, "everybody reachable", every=0.1)
        return time.monotonic() - begin

    def check_nobody_left(self, before):
        self.assertEqual(len(self.driver.who() ^ before), 0, "connections changed")
        reaped = re.findall(r"node_reaped node=\S+ links=\d+", self.cluster.sweeper.log())
        self.assertEqual([line for line in reaped if not line.endswith(" links=0")], [])

    def rewritten(self):
        return sum(edge.counters()["rewritten"] for edge in self.cluster.edges.values())

    def test_redis_comes_back_empty(self):
        users = self.size(2000, 10000)
        self.bring_up(users=users, rate=self.size(300, 1000), routes__ttl="2s")
        before = self.driver.who()
        away = self.size(3, 12)
        self.cluster.redis.kill()
        time.sleep(away)
        self.cluster.start_redis()
        begin = time.monotonic()
        wait_until(self.redis_answers, 5, "Redis is there")
        self.reconnect_keys()
        rows = self.wait_rows_exact(REWRITTEN_S)
        took = time.monotonic() - begin
        for edge in self.cluster.edges.values():
            edge.wait_ready(REWRITTEN_S)
        reach = self.look_around(users)
        self.check_nobody_left(before)
        self.check_promises()
        self.check_resources()
        self.figures(users=users, rows_again_s=round(took, 2), rows_per_s=round(users / max(rows, 0.1)),
                     reachable_s=round(took + reach, 2))

    def redis_answers(self):
        try:
            with self.cluster.keys() as keys:
                return keys.ask("PING")
        except (OSError, RuntimeError):
            return None

    def test_two_flushes_within_five_seconds(self):
        users = self.size(4000, 10000)
        self.bring_up(users=users, rate=self.size(300, 1000), routes__ttl="2s")
        before = self.driver.who()
        took = []
        for _ in range(self.rounds(1, 5)):
            self.registry.keys.ask("FLUSHALL")
            time.sleep(4)
            self.registry.keys.ask("FLUSHALL")
            begin = time.monotonic()
            rows = self.wait_rows_exact(REWRITTEN_S)
            reach = self.look_around(users)
            took.append((rows, rows + reach))
            self.check_nobody_left(before)
            self.assertLess(time.monotonic() - begin, (REACHABLE_S + 5) * SCALE)
        self.check_promises()
        self.check_resources()
        self.figures(users=users, rewritten=self.rewritten(), rows_again_s=round(max(took)[0], 2),
                     reachable_s=round(max(one for _, one in took), 2))
