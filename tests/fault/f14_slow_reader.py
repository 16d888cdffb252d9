"""F14: clients that stop reading.

What waits for one is bounded in bytes, and at the bound it is closed with 4108. Below the
bound it is held to the ping rule: who does not read answers no pings, and is closed with
4109 after two intervals. Others are served meanwhile as if it was not there.
"""
import time

from upkeep import LONG, SCALE, Neighbours, Upkeep, anonymous_bytes, descriptors, percentile, seeded

from client import JSON, PROTOBUF
from cluster import SANITIZED, SharedCase, wait_until

RCVBUF = 64 << 10
CAP = 256 << 10
PING_S = 1
CLOSE_WAIT_S = 5
SLOW = 60 if LONG else 12
# What a socket costs besides its queue: the session, libwebsockets' and the piece of a
# write the kernel did not take.
BESIDE = 64 << 10


class SlowReaders(Upkeep, SharedCase):
    settings = {"edges": ("edge-a",), "sweeper": False, "limits__queue_bytes": "256KiB", "ping__interval": "60s",
                "limits__commands_per_second": 1000000}

    def setUp(self):
        super().setUp()
        self.random = seeded(14)
        self.edge = self.edge_a
        _, self.memory = self.watch(self.edge)

    def slow(self, count):
        visitors = [self.login("edge-a", "slow%d" % number, rcvbuf=RCVBUF, subprotocol=(JSON, PROTOBUF)[number % 2])
                    for number in range(count)]
        for visitor in visitors:
            self.addCleanup(visitor.sock.close)
        return visitors

    def fill(self, sender, users):
        """Writes to each until it is refused; returns the most memory seen meanwhile."""
        most, open_ones = 0, list(users)
        text = "x" * 30000
        for _ in range(1000):
            for user in list(open_ones):
                if sender.send(user, text)["status"] != "OUTCOME_STATUS_SENT":
                    open_ones.remove(user)
            most = max(most, anonymous_bytes(self.edge))
            if not open_ones:
                return most
        self.fail("30 MB each went into queues of %d bytes: %s" % (CAP, open_ones))

    def test_at_the_cap_it_is_4108_and_memory_is_the_cap_each_and_neighbours_notice_nothing(self):
        quiet = Neighbours(self.edge, "quiet")
        base = percentile(quiet.measure(300), 0.99)
        quiet.sender.close()
        quiet.receiver.close()
        visitors = self.slow(SLOW)
        sender = self.login("edge-a", "sender")
        closed = self.edge.counters()["closed_slow_reader"]
        begin = time.monotonic()
        with Neighbours(self.edge, "near", every=0.005) as neighbours:
            most = self.fill(sender, [visitor.user for visitor in visitors])
        print("%d slow readers: %.1f MiB more, neighbours' p99 %.1f ms (%.1f ms before), full after %.1f s" % (
            SLOW, (most - self.memory) / 1048576, neighbours.p99() * 1000, base * 1000, time.monotonic() - begin))
        if not SANITIZED:
            self.assertLess(most - self.memory, SLOW * (CAP + BESIDE) + self.slack)
            # Each neighbour's message stands behind what a turn writes to the slow ones.
            self.assertLess(neighbours.p99(), max(2 * base, 0.05) * SCALE)
        for visitor in visitors:
            self.assertIn(visitor.closed(), (4108, None))
        self.assertEqual(self.edge.counters()["closed_slow_reader"], closed + SLOW)
        wait_until(lambda: not self.cluster.links("slow0"), what="links gone")

    def test_it_is_cut_if_it_reads_no_close_frame_either(self):
        visitor = self.slow(1)[0]
        files = descriptors(self.edge)
        self.fill(self.login("edge-a", "sender"), [visitor.user])
        wait_until(lambda: descriptors(self.edge) <= files, CLOSE_WAIT_S + 2, "socket cut")


class Below(Upkeep, SharedCase):
    """Less than the bound waits."""
    settings = {"edges": ("edge-a",), "sweeper": False, "ping__interval": "%ds" % PING_S,
                "limits__queue_bytes": "4MiB", "limits__commands_per_second": 1000000}

    def setUp(self):
        super().setUp()
        self.edge = self.edge_a
        self.watch(self.edge)
        # More than the kernel takes, less than the queue.
        self.text = "x" * 60000

    def stop_reading(self, user):
        visitor = self.login("edge-a", user, rcvbuf=RCVBUF)
        self.addCleanup(visitor.sock.close)
        sender = self.login("edge-a", "to-" + user)
        for _ in range(40):
            self.assert_sent(sender.send(user, self.text), 1)
        sender.close()
        return visitor

    def test_a_stalled_client_below_the_cap_is_closed_as_silent_after_two_intervals(self):
        silent = self.edge.counters()["closed_silent"]
        begin = time.monotonic()
        visitor = self.stop_reading("stalled")
        wait_until(lambda: not self.cluster.links("stalled"), 2 * PING_S + 2, "link gone")
        self.assertGreater(time.monotonic() - begin, PING_S)
        wait_until(lambda: self.edge.counters()["closed_silent"] == silent + 1, CLOSE_WAIT_S + 1, "socket cut")
        self.assertIn(visitor.closed(10), (4109, None))

    def test_a_client_that_reads_slowly_but_reads_gets_everything(self):
        visitor = self.stop_reading("thirsty")
        time.sleep(PING_S * 0.7)
        for _ in range(40):
            self.assertEqual(len(visitor.message()["text"]), 60000)
            time.sleep(0.02)

    def test_a_client_that_talks_and_does_not_read_stays_and_costs_no_more_than_the_cap(self):
        """No rule ends it: it lives, by its own words, and what waits for it is bounded."""
        visitor = self.stop_reading("talker")
        until = time.monotonic() + 2.5 * PING_S
        while time.monotonic() < until:
            visitor.command(ping={})
            time.sleep(0.2)
        self.assertTrue(self.cluster.links("talker"))
        for _ in range(40):
            self.assertEqual(len(visitor.message()["text"]), 60000)
