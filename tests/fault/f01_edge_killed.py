"""F1: an edge is killed under load. Its links stop counting when its lease ends, the sweeper takes them
out of Redis at once after that, and who has nothing to do with it does not notice."""
import time

from cluster import LEASE_S
from harness import SCALE, Fault, wait_until


class Killed(Fault):
    def test_a_killed_edge_is_forgotten_and_the_others_do_not_notice(self):
        users = self.size(2000, 12000)
        # Of 12 users 10 are on the edge that dies: in the long form 10,000 links.
        self.bring_up(users=users, rate=self.size(300, 1000), weights={"edge-a": 10})
        self.driver.victims("edge-a")
        calm = self.measure(4)
        reaped, memories = [], []
        for _ in range(self.rounds(1, 10)):
            reaped.append(self.round(calm))
            self.wait_all_live()
            self.restart("edge-a")
            self.driver.home()
            memories.append(self.cluster["edge-b"].memory())
        self.assert_flat(memories)
        report = self.check_promises()
        self.check_resources()
        self.figures(rounds=len(reaped), memory_kib=[memory >> 10 for memory in memories],
                     links=reaped[0]["links"], reaped_per_s=min(one["per_s"] for one in reaped),
                     reap_s=max(one["reap_s"] for one in reaped),
                     addressed_s=max(one["addressed_s"] for one in reaped),
                     away_p99_ms=round(report["window"]["away_us"]["p99"] / 1000))

    def round(self, calm):
        """The victims stay away, so that what is reaped are links and not what they left behind."""
        edge = self.cluster["edge-a"]
        self.wait_redis_settled()
        self.driver.victims("edge-a")
        self.driver.hold()
        self.driver.mark()
        links = self.registry.count_at(edge.node)
        ends = time.monotonic() + self.registry.lease_left_ms(edge.node) / 1000
        self.kill("edge-a")
        addressed, first, gone = self.follow(edge.node, links, ends)
        self.assertLess(addressed, 1 * SCALE, "seconds after its lease senders still address it")
        self.assertLess(gone, 5 * SCALE, "seconds after its lease its links are there")
        self.assert_p99(calm, self.driver.report())
        self.driver.release()
        # Links removed within less than a look at them are as many as the look can tell.
        return {"links": links, "addressed_s": round(addressed, 2), "reap_s": round(gone, 2),
                "per_s": round(links / max(gone - first, 0.02))}

    def follow(self, node, links, ends):
        """(addressed, first, gone), in seconds after the end of the lease: when a message for the dead
        edge was last published, when the first link was still all there, when none was."""
        peers = [self.cluster["edge-b"], self.cluster["edge-c"]]
        unheard = sum(edge.counters()["unheard"] for edge in peers)
        addressed = first = time.monotonic()
        looked = 0.0
        until = ends + 12 * SCALE
        gone = None
        while gone is None or time.monotonic() < ends + 3:
            now = time.monotonic()
            self.assertLess(now, until, "links are still there")
            left = self.registry.count_at(node)
            if left == links:
                first = now
            elif left == 0 and gone is None:
                gone = now
            if now - looked > 0.1:
                looked = now
                seen = sum(edge.counters()["unheard"] for edge in peers)
                if seen > unheard:
                    addressed, unheard = now, seen
            time.sleep(0.005)
        return max(addressed - ends, 0.0), first - ends, gone - ends

    def test_who_was_on_it_is_reachable_elsewhere_at_once(self):
        """The lease of the dead edge has not ended: the login elsewhere is the newer one."""
        users = self.size(1000, 5000)
        self.bring_up(users=users, rate=self.size(300, 1000), settle=1.0)
        self.driver.victims("edge-a")
        self.kill("edge-a")
        back = self.wait_all_live()
        begin = time.monotonic()

        def all_reached():
            probe = self.driver.probe(users)
            return probe["reached"] == probe["probed"] == users
        wait_until(all_reached, 5, "everybody reachable")
        reached = time.monotonic() - begin
        # The dead edge's index goes when it is reaped.
        self.check_promises(rows_within=LEASE_S + 20)
        self.figures(back_s=round(back, 2), reachable_after_s=round(reached, 2))
