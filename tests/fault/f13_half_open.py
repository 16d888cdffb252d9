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

    def pong(self, visitor):
        return visitor.expect("pong", visitor.command(ping={})) is not None

    def test_cut_off_in_either_direction_a_client_is_missed_in_two_ping_intervals(self):
        """mute: nobody hears it. deaf: it hears nothing, so it answers no ping."""
        with self.space.inside():
            self.watch(self.edge)
            files = descriptors(self.edge)
            silent = self.edge.counters()["closed_silent"]
            clients = {user: [self.cluster.login("edge-a", "%s%d" % (user, number)) for number in range(CLIENTS)]
                       for user in ("mute", "deaf")}
            neighbour = self.cluster.login("edge-b", "near")
            self.assert_sent(neighbour.send(["mute0", "deaf0"], "before"), 2)
            begin = time.monotonic()
            for visitor in clients["mute"]:
                self.space.drop(source=visitor.sock.getsockname()[1])
            for visitor in clients["deaf"]:
                self.space.drop(to=visitor.sock.getsockname()[1])
            with self.cluster.keys() as keys:
                wait_until(lambda: self.pong(neighbour) and keys.keys("sy:user:*") == ["sy:user:{near}"],
                           2 * PING_S + 2, "links gone")
            links_s = time.monotonic() - begin
            self.assertGreater(links_s, PING_S * 0.9, "nobody is given up early")
            self.assert_rejected(neighbour.send("mute0", "after"), "offline")
            wait_until(lambda: self.pong(neighbour) and descriptors(self.edge) <= files, CLOSE_WAIT_S + 2,
                       "sockets cut")
            print("links gone after %.1f s, sockets after %.1f s" % (links_s, time.monotonic() - begin))
            self.assertLessEqual(time.monotonic() - begin, (2 * PING_S + CLOSE_WAIT_S + 4) * SCALE)
            self.assertEqual(self.edge.counters()["closed_silent"], silent + 2 * CLIENTS)
            self.space.clear()
            # Who comes back is back at once, on whichever edge.
            for user in ("mute0", "deaf0"):
                self.cluster.login("edge-b", user)
                self.assert_sent(neighbour.send(user, "again"), 1)

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
