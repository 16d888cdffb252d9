"""What an edge does when it loses something it depends on, or itself.

The rules and their thresholds are unit tests; here
they meet real servers, real sockets and real signals.
"""
import signal
import time

from client import Closed
from cluster import LEASE_S, Case


class Paused(Case):
    def test_after_a_long_pause_the_replaced_get_a_close_and_nothing_else(self):
        cluster = self.own().start(sweeper=False)
        stays = cluster.login("edge-a", "stays", "phone")
        roams = cluster.login("edge-a", "roams", "phone")
        caller = cluster.login("edge-a", "caller")
        paused = cluster["edge-a"]
        paused.signal(signal.SIGSTOP)
        # Read first when it goes on: answered with what was queued for a replaced connection.
        caller.command(send={"to": ["roams", "stays"], "text": "waited in the kernel"})
        time.sleep(LEASE_S + 1)
        moved = cluster.login("edge-b", "roams", "phone")
        paused.signal(signal.SIGCONT)
        # The third was closed by the kick that had waited for it, or found superseded.
        resumed = paused.wait_log(r"edge_resumed\b.*verified=(\d+) superseded=\d+ links=verified")
        self.assertIn(resumed.group(1), ("2", "3"))
        self.assertRegex(paused.log(), r"edge_paused\b.*output=held")
        # It counts from when it was read: the edge could not know how long it lay there.
        self.assertEqual(stays.message()["text"], "waited in the kernel")
        with self.assertRaises(Closed) as end:
            roams.event()
        self.assertEqual(end.exception.code, 4001)
        moved.expect("pong", moved.command(ping={}))
        self.assertFalse([visitor for visitor in (stays, caller, moved) if visitor.ended])

    def test_a_pause_shorter_than_the_lease_is_logged_and_nothing_else(self):
        cluster = self.own().start(edges=("edge-a",), sweeper=False)
        alice = cluster.login("edge-a", "alice")
        paused = cluster["edge-a"]
        paused.signal(signal.SIGSTOP)
        time.sleep(1.5)
        paused.signal(signal.SIGCONT)
        paused.wait_log(r"edge_paused\b.*output=goes_on")
        self.assert_sent(alice.send("alice", "on"), 1)
        self.assertNotIn("edge_resumed", paused.log())

    def test_without_redis_the_hold_ends_by_itself(self):
        cluster = self.own().start(edges=("edge-a",), sweeper=False)
        alice = cluster.login("edge-a", "alice")
        paused = cluster["edge-a"]
        paused.signal(signal.SIGSTOP)
        cluster.redis.kill()
        time.sleep(LEASE_S + 0.5)
        paused.signal(signal.SIGCONT)
        begin = time.monotonic()
        alice.command(id="7", ping={})
        alice.expect("pong", "7", timeout=8)
        self.assertGreater(time.monotonic() - begin, 4)
        self.assertRegex(paused.log(), r"edge_resumed\b.*links=unverified")
