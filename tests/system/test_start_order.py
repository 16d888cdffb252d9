"""O8: nothing has to be started before anything else."""
import concurrent.futures
import itertools
import time

from cluster import SANITIZED, Case, Cluster

GAP_S = 0.05
AT_ONCE = 6


def bring_up(order):
    """One cluster started in this order: None, or what went wrong."""
    cluster = Cluster()
    start = {"nats": cluster.start_nats, "redis": cluster.start_redis, "sweeper": cluster.start_sweeper,
             "edge-a": lambda: cluster.start_edge("edge-a"), "edge-b": lambda: cluster.start_edge("edge-b")}
    wrong = []
    try:
        for part in order:
            start[part]()
            time.sleep(GAP_S)
        for edge in cluster.edges.values():
            edge.wait_ready(20)
        cluster.sweeper.wait_log("sweeper_leader", 20)
        alice = cluster.login("edge-a", "alice")
        bob = cluster.login("edge-b", "bob")
        outcome = alice.send("bob", "first")
        if outcome.get("status") != "OUTCOME_STATUS_SENT" or bob.message()["text"] != "first":
            wrong.append("outcome %s" % outcome)
    except Exception as error:  # in a thread: any failure must reach the report
        wrong.append("%r\n%s" % (error, "".join("--- %s\n%s" % (child.name, child.log()[-2000:])
                                                for child in cluster.children)))
    wrong += cluster.stop(quietly=True)
    return " ".join(order) + ": " + "; ".join(wrong) if wrong else None


class StartOrder(Case):
    def test_o8_every_order_of_start_reaches_ready_and_delivers(self):
        orders = list(itertools.permutations(("nats", "redis", "edge-a", "edge-b", "sweeper")))
        self.assertEqual(len(orders), 120)
        if SANITIZED:
            orders = orders[::8]  # slow builds take every eighth
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            wrong = [problem for problem in pool.map(bring_up, orders) if problem]
        self.assertEqual(wrong, [])

    def test_o8_every_part_may_restart_at_any_time(self):
        cluster = self.own().start()
        alice = cluster.login("edge-a", "alice")
        bob = cluster.login("edge-b", "bob")
        self.assert_sent(alice.send("bob", "before"), 1)
        cluster.sweeper.terminate()
        cluster.start_sweeper("sweeper-2").wait_log("sweeper_leader")
        cluster.nats.kill()
        cluster.start_nats()
        cluster.redis.kill()
        cluster.start_redis()
        for edge in cluster.edges.values():
            edge.wait_ready(20)
        deadline = time.monotonic() + 20
        while True:
            outcome = alice.send("bob", "after")
            if outcome["status"] == "OUTCOME_STATUS_SENT":
                break
            self.assertLess(time.monotonic(), deadline, outcome)
            time.sleep(0.1)
        bob.expect("message")
        cluster["edge-a"].terminate()
        self.assertEqual(alice.closed(), 1012)
        cluster.start_edge("edge-a").wait_ready()
        self.assert_sent(cluster.login("edge-a", "alice").send("bob", "new incarnation"), 1)
