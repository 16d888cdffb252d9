"""F21: what must not be on the bus is there all the same.

Whoever may publish on node.* and heartbeat.* is trusted with what it says, not with how it
is written: an older or newer version, a broken one, a test in the wrong cluster.
"""
import os
import re
import time

from upkeep import LONG, Neighbours, Upkeep, percentile, seeded

from cluster import SANITIZED, SharedCase, wait_until
from wire import field, varint

ROUNDS = 4000 if LONG else 800
HEARD_MAX = 10000  # PEERS_HEARD_MAX of edge/peers.h
HUGE = 1 << 20  # max_payload of a nats-server that was not told otherwise
TURN_MS = 100


def mutate(rng, sample):
    """One of the ways in which real bytes go bad."""
    data = bytearray(sample)
    kind = rng.randrange(6)
    if kind == 0 or not data:
        return os.urandom(rng.randrange(300))
    if kind == 1:
        return bytes(data[:rng.randrange(len(data))])
    if kind == 2:
        for _ in range(rng.randint(1, 8)):
            data[rng.randrange(len(data))] = rng.randrange(256)
    elif kind == 3:  # fields nobody knows, of every wire type
        data += varint(rng.randrange(100, 1000) << 3 | rng.choice((0, 1, 2, 3, 5))) + os.urandom(rng.randrange(12))
    elif kind == 4:  # doubled: every single field twice, every list twice as long
        data += bytes(data)
    else:  # a length that promises more than there is
        data = bytearray(field(rng.randrange(1, 8), bytes(data)))
        data[1] = rng.randrange(128)
    return bytes(data)


class Poison(Upkeep, SharedCase):
    settings = {"limits__commands_per_second": 100000, "ping__interval": "60s"}

    def setUp(self):
        super().setUp()
        self.random = seeded(21)
        self.nats = self.cluster.tap(subject=None)
        self.addCleanup(self.nats.sock.close)
        for edge in (self.edge_a, self.edge_b):
            self.watch(edge)
        self.losses = [edge.counters()["nats_losses"] for edge in (self.edge_a, self.edge_b)]
        self.malformed = self.edge_b.counters()["bus_malformed"]
        self.addCleanup(self.assert_unmoved)

    def assert_unmoved(self):
        """Nobody lost NATS, nobody is held for dead, no turn was long."""
        counters = [edge.counters() for edge in (self.edge_a, self.edge_b)]
        self.assertEqual([one["nats_losses"] for one in counters], self.losses)
        if not SANITIZED:
            self.assertLess(max(one["loop_max_ms"] for one in counters), TURN_MS)
        for edge in (self.edge_a, self.edge_b):
            self.assertEqual(edge.readiness()[0], 200)
            self.assertLess(edge.log().count("bus_malformed"), 30, "a line for each is a line too many")
        self.assertNotRegex(self.cluster.sweeper.log(), "node_dead|node_reaped")
        sender, receiver = self.login("edge-a", "after-a"), self.login("edge-b", "after-b")
        self.assert_sent(sender.send("after-b", "the bus works"), 1)
        self.assertEqual(receiver.message()["text"], "the bus works")
        receiver.nothing(0.2)

    def samples(self):
        """What edges really say: {"node": [...], "heartbeat": [...]}."""
        with self.cluster.tap() as tap:
            sender, receiver = self.login("edge-a", "real-a"), self.login("edge-b", "real-b")
            for number in range(5):
                self.assert_sent(sender.send("real-b", "text %d" % number), 1)
                receiver.message()
            heard = tap.collect(1.5)
        found = {"node": [], "heartbeat": []}
        for subject, payload in heard:
            found.setdefault(subject.split(".")[0], []).append(payload)
        self.assertTrue(found["node"] and found["heartbeat"], sorted(found))
        return found

    def subject(self, kind):
        return "node." + self.edge_b.node if kind == "node" else "heartbeat.edge-z"

    def test_mutations_of_real_envelopes_and_heartbeats_are_counted_and_dropped(self):
        found = self.samples()
        with Neighbours(self.edge_a, "across", self.edge_b) as neighbours:
            for number in range(ROUNDS):
                kind = ("node", "heartbeat")[number % 2]
                self.nats.publish(self.subject(kind), mutate(self.random, self.random.choice(found[kind])))
                if number % 50 == 0:
                    self.nats.flush()
                    time.sleep(0.02)
            self.nats.flush()
            time.sleep(0.3)
        print("neighbours' p99 %.1f ms of %d" % (neighbours.p99() * 1000, len(neighbours.times)))
        wait_until(lambda: self.edge_b.counters()["bus_malformed"] > self.malformed + ROUNDS // 20, 5, "counted")

    def test_noise_of_every_size_up_to_the_largest_is_dropped(self):
        sizes = [0, 1, 2, 3, 1000, 65536, 1 << 18, HUGE] * (4 if LONG else 1)
        with Neighbours(self.edge_a, "beside", self.edge_b) as neighbours:
            for size in sizes:
                for kind in ("node", "heartbeat"):
                    self.nats.publish(self.subject(kind), os.urandom(size))
                self.nats.publish("all", os.urandom(size))
                self.nats.flush()
        print("neighbours' p99 %.1f ms" % (percentile(neighbours.times, 0.99) * 1000))
        self.assertGreater(self.edge_b.counters()["bus_malformed"], self.malformed)

    def test_a_frame_of_a_million_empty_things_is_no_long_turn(self):
        """Cheap to write, dear to decode: the densest lists a payload has room for."""
        for number in range(1, 9):
            self.nats.publish(self.subject("node"), bytes([number << 3 | 2, 0]) * (HUGE // 2))
            self.nats.publish(self.subject("heartbeat"), bytes([number << 3 | 2, 0]) * (HUGE // 2))
            self.nats.flush()
            time.sleep(0.1)
        wait_until(lambda: self.edge_b.readiness()[0] == 200, what="answers")

    def test_heartbeats_of_edges_that_never_were_do_not_pile_up(self):
        """Each names another node, and is remembered for ten minutes: a KiB for each at most."""
        real = self.samples()["heartbeat"][0]
        name = re.search(rb"edge-[ab]\.[a-z0-9]+", real).group(0)
        count = 20000 if LONG else 4000
        self.slack += min(count, HEARD_MAX) * 1024
        for number in range(count):
            fake = b"edge-z." + (b"%x" % number).rjust(len(name) - 7, b"0")
            self.nats.publish("heartbeat.edge-z", real.replace(name, fake[:len(name)]))
            if number % 500 == 0:
                self.nats.flush()
                time.sleep(0.02)
        self.nats.flush()
        time.sleep(1.2)
