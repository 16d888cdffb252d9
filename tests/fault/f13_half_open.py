"""F13: a client whose packets stop: no FIN, no reset, just silence on the wire.

The edge misses it within two ping intervals; with that its link leaves Redis, so that
nobody waits for it. Its socket lives on for the seconds a close may take, and is cut then.
"""
import time

import netns
from upkeep import LONG, SCALE, Upkeep, descriptors

from cluster import Case, wait_until

PING_S = 10 if LONG else 1
CLOSE_WAIT_S = 5
CLIENTS = 100 if LONG else 20


class HalfOpen(Upkeep, Case):
    def setUp(self):
        netns.need()
        self.space = netns.Namespace()
        self.addCleanup(self.space.remove)  # after the cluster has ended
        with self.space.inside():
            self.cluster = self.own().start(sweeper=False, ping__interval="%ds" % PING_S)
        self.edge = self.cluster["edge-a"]

    def cut(self, user, cut):
        """Clients, of whom all but one are cut off; what becomes of them is timed."""
        with self.space.inside():
            self.watch(self.edge)
            before = descriptors(self.edge)
            silent = self.edge.counters()["closed_silent"]
            visitors = [self.cluster.login("edge-a", "%s%d" % (user, number)) for number in range(CLIENTS)]
            neighbour = self.cluster.login("edge-b", "near" + user)
            self.assert_sent(neighbour.send(user + "0", "before"), 1)
            begin = time.monotonic()
            for visitor in visitors:
                cut(visitor.sock.getsockname()[1])
            with self.cluster.keys() as keys:
                wait_until(lambda: self.pong(neighbour) and not keys.keys("sy:user:{%s*" % user), 2 * PING_S + 2,
                           "links gone")
            print("links gone after %.1f s" % (time.monotonic() - begin))
            self.assertGreater(time.monotonic() - begin, PING_S * 0.9, "nobody is given up early")
            self.assert_rejected(neighbour.send(user + "0", "after"), "offline")
            wait_until(lambda: self.pong(neighbour) and descriptors(self.edge) <= before, CLOSE_WAIT_S + 2,
                       "sockets cut")
            print("sockets gone after %.1f s" % (time.monotonic() - begin))
            self.assertLessEqual(time.monotonic() - begin, (2 * PING_S + CLOSE_WAIT_S + 4) * SCALE)
            self.assertEqual(self.edge.counters()["closed_silent"], silent + CLIENTS)
            self.space.clear()
            # The user is back at once, on whichever edge.
            self.assertTrue(self.cluster.login("edge-b", user + "0"))
            self.assert_sent(neighbour.send(user + "0", "again"), 1)

    def pong(self, visitor):
        return visitor.expect("pong", visitor.command(ping={})) is not None

    def test_a_client_nobody_hears_any_more_is_missed_in_two_ping_intervals(self):
        self.cut("mute", lambda port: self.space.drop(source=port))

    def test_a_client_that_hears_nothing_any_more_is_missed_too(self):
        """What the edge says is lost, so no ping is answered."""
        self.cut("deaf", lambda port: self.space.drop(to=port))

    def test_an_edge_whose_packets_are_rejected_hears_of_it_at_once(self):
        """A reset instead of silence: the firewall of a client that went away politely."""
        with self.space.inside():
            self.watch(self.edge)
            visitor = self.cluster.login("edge-a", "rejected")
            self.space.reject(to=visitor.sock.getsockname()[1])
            begin = time.monotonic()
            wait_until(lambda: not self.cluster.links("rejected"), 2 * PING_S + 2, "link gone")
            print("gone after %.1f s" % (time.monotonic() - begin))
            self.space.clear()
