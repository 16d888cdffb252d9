"""F18: loss, delay and jitter between the edges and their backends.

Every send still ends in one outcome within 5 s; what is sent arrives once, in order, and
never after it has expired; and a network that is only bad makes nobody believe that an edge is dead.

Delay is made by a proxy for each edge and backend; loss by a network namespace in which
everything runs, so that TCP itself has to repeat what was lost.
"""
import contextlib
import re
import threading
import time

import netns
from upkeep import LONG, SCALE, Upkeep, percentile, seeded

from client import Closed
from cluster import Case
from faultproxy import FaultProxy

PLAY_S = 30 if LONG else 3
EVERY_S = 0.02
OUTCOME_S = 5
EXPIRY_S = 3  # of a live message, by default
DEAD = r"node_dead|node_reaped|node_down"


class Play:
    """alice writes to bob on the other edge, and keeps the book."""

    def __init__(self, test, cluster):
        self.test = test
        self.alice, self.bob = cluster.login("edge-a", "alice"), cluster.login("edge-b", "bob")
        self.sent, self.ended, self.arrived = {}, {}, []
        self.halt = threading.Event()

    def _receive(self):
        while not self.halt.is_set():
            try:
                text = self.bob.message(0.2)["text"]
            except AssertionError:
                continue
            except Closed as end:
                self.arrived.append(("closed", end.code))
                return
            self.arrived.append((text, time.monotonic()))

    def _read_outcomes(self, seconds):
        until = time.monotonic() + seconds
        while len(self.ended) < len(self.sent):
            left = until - time.monotonic()
            if left <= 0:
                return
            try:
                event = self.alice.event(left / SCALE)
            except TimeoutError:
                return
            if "outcome" not in event:
                continue
            id_ = event["id"]
            self.test.assertNotIn(id_, self.ended, "a second outcome")
            self.ended[id_] = (event["outcome"], time.monotonic())

    def run(self, seconds):
        receiver = threading.Thread(target=self._receive)
        receiver.start()
        try:
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                id_ = str(len(self.sent) + 1000)
                self.alice.command(id=id_, send={"to": ["bob"], "text": id_})
                self.sent[id_] = time.monotonic()
                self._read_outcomes(EVERY_S)
                time.sleep(max(0.0, self.sent[id_] + EVERY_S - time.monotonic()))
            self._read_outcomes(OUTCOME_S + 1)
            time.sleep(0.5)
        finally:
            self.halt.set()
            receiver.join()

    def check(self):
        test = self.test
        test.assertEqual(set(self.ended), set(self.sent), "A4: every send has its outcome")
        waits = [self.ended[id_][1] - at for id_, at in self.sent.items()]
        test.assertLess(max(waits), (OUTCOME_S + 0.3) * SCALE, "A4: within 5 s")
        texts = [text for text, _ in self.arrived]
        test.assertEqual(len(texts), len(set(texts)), "A2: nothing twice")
        test.assertEqual(texts, sorted(texts, key=int), "A3: in order")
        late = [at - self.sent[text] for text, at in self.arrived]
        test.assertLess(max(late, default=0), (EXPIRY_S + 0.7) * SCALE, "A5: nothing after its expiry")
        delivered = {id_ for id_, (outcome, _) in self.ended.items() if outcome["status"] == "OUTCOME_STATUS_SENT"}
        test.assertEqual(delivered - set(texts), set(), "A1: what is sent has arrived")
        print("%d sends, %d sent, %d arrived, p50 %.0f ms, p99 %.0f ms, worst outcome %.0f ms" % (
            len(self.sent), len(delivered), len(texts), 1000 * percentile(late or [0], 0.5),
            1000 * percentile(late or [0], 0.99), 1000 * max(waits)))
        return len(delivered) / len(self.sent)


class BadLinks(Upkeep, Case):
    def setUp(self):
        self.random = seeded(18)
        self.proxies = []
        self.space = None

    def begin(self, stack, loss=False, sweeper_too=True):
        """A cluster whose processes reach NATS and Redis through proxies; `do` commands all."""
        if loss:
            netns.need()
            self.space = stack.enter_context(netns.Namespace())
            stack.enter_context(self.space.inside())
        cluster = self.own()
        cluster.start_nats()
        cluster.start_redis()
        cluster.nats.wait_log("Server is ready")
        for name in ("edge-a", "edge-b"):
            cluster.start_edge(name, limits__commands_per_second=100000, **self.through(cluster, stack))
        cluster.start_sweeper(**(self.through(cluster, stack) if sweeper_too else {}))
        for edge in cluster.edges.values():
            edge.wait_ready()
        cluster.sweeper.wait_log("sweeper_leader")
        stack.callback(self.finish, cluster)  # before its network goes
        self.losses = [edge.counters() for edge in cluster.edges.values()]
        return cluster

    def through(self, cluster, stack):
        nats, redis = (stack.enter_context(FaultProxy(port, self.random.randrange(1, 1 << 32)))
                       for port in (cluster.nats_port, cluster.redis_port))
        self.proxies += [nats, redis]
        return {"nats__url": "nats://127.0.0.1:%d" % nats.port, "redis__url": "redis://127.0.0.1:%d" % redis.port}

    def finish(self, cluster):
        self.heal(cluster)
        self._end(cluster)

    def heal(self, cluster):
        if self.space:
            self.space.clear()
        self.do("clear")
        for edge in cluster.edges.values():
            edge.wait_ready(20)

    def do(self, command):
        for proxy in self.proxies:
            proxy.do(command)

    def lose(self, cluster, share):
        for port in (cluster.nats_port, cluster.redis_port):
            self.space.lose(share, to=port)
            self.space.lose(share, source=port)

    def assert_nobody_died(self, cluster):
        self.assertNotRegex(cluster.sweeper.log(), DEAD)
        for edge, before in zip(cluster.edges.values(), self.losses):
            counters = edge.counters()
            self.assertEqual((counters["leases_lost"], counters["nats_losses"], counters["unheard"]),
                             (before["leases_lost"], before["nats_losses"], before["unheard"]), edge.name)
            self.assertNotIn("edge_not_ready", edge.log().rpartition("edge_ready")[2])

    def play(self, cluster, seconds=PLAY_S):
        play = Play(self, cluster)
        play.run(seconds)
        return play.check()

    def test_delay_and_jitter_only_cost_time(self):
        with contextlib.ExitStack() as stack:
            cluster = self.begin(stack)
            for delay, jitter in ((50, 50), (150, 0), (250, 250), (100, 300)) if LONG else ((100, 300),):
                self.do("delay %d %d" % (delay, jitter))
                self.assertGreater(self.play(cluster, PLAY_S / 2), 0.95, "delay %d, jitter %d" % (delay, jitter))
                self.assert_nobody_died(cluster)

    def test_five_percent_loss_at_300_ms_round_trip_kills_nobody(self):
        with contextlib.ExitStack() as stack:
            cluster = self.begin(stack, loss=True)
            self.do("delay 150 0")
            self.lose(cluster, 0.05)
            self.assertGreater(self.play(cluster), 0.95)
            time.sleep(20 if LONG else 1)
            self.assert_nobody_died(cluster)

    def test_one_percent_loss_is_hardly_felt(self):
        with contextlib.ExitStack() as stack:
            cluster = self.begin(stack, loss=True)
            self.lose(cluster, 0.01)
            self.assertGreater(self.play(cluster, PLAY_S / 2), 0.99)
            self.assert_nobody_died(cluster)

    def test_at_twenty_percent_loss_the_promises_hold_all_the_same(self):
        """An edge may lose a backend over it and come back; outcomes say what became of what."""
        with contextlib.ExitStack() as stack:
            cluster = self.begin(stack, loss=True)
            self.do("delay 25 50")
            self.lose(cluster, 0.2)
            self.play(cluster)
            self.heal(cluster)
            self.assertFalse(re.search("node_reaped", cluster.sweeper.log()), "loss of packets is not death")

    def test_a_slow_line_to_nats_delays_and_refuses_but_never_lies(self):
        with contextlib.ExitStack() as stack:
            cluster = self.begin(stack)
            self.do("rate 20000")
            self.play(cluster, PLAY_S / 2)
