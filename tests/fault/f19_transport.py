"""F19: what can happen to a TCP connection between a client and its edge.

Whatever it is, the session ends with its reason, its link leaves Redis, and its socket
is given back; and what is only slow or in pieces arrives whole and in order.
"""
import socket
import time

from upkeep import SCALE, Upkeep, may_refuse, seeded

import client
from client import JSON, PROTOBUF, TEXT
from cluster import SharedCase, wait_until
from faultproxy import FaultProxy

PING_S = 0.5
HELLO_S = 0.5
CLOSE_WAIT_S = 5  # how long an edge waits for the end of a closed connection
HANDSHAKE_S = 5   # and for the end of a handshake


class Transport(Upkeep):
    def setUp(self):
        super().setUp()
        self.random = seeded(19)
        self.edge = self.edge_a
        self.watch(self.edge)
        self.proxy = self.between()

    def between(self):
        proxy = FaultProxy(self.edge.port, self.random.randrange(1, 1 << 32))
        self.addCleanup(proxy.stop)
        return proxy

    def through(self, user, proxy=None, **options):
        visitor = client.Client((proxy or self.proxy).port, **options)
        self.addCleanup(visitor.sock.close)
        if user:
            visitor.login(user)
        return visitor

    def assert_gone(self, user, seconds, what):
        wait_until(lambda: not self.cluster.links(user), seconds, "link gone after " + what)

    def closes(self, word):
        return self.edge.counters()["closed_" + word]


class Torn(Transport, SharedCase):
    """Ends, and pieces."""
    settings = {"edges": ("edge-a",), "sweeper": False, "ping__interval": "60s"}

    def test_a_reset_within_a_frame_ends_the_session_as_lost_and_delivers_nothing(self):
        observer = self.login("edge-a", "observer")
        for subprotocol in (JSON, PROTOBUF):
            lost = self.closes("lost")
            visitor = self.through("torn", subprotocol=subprotocol)
            self.assertTrue(self.cluster.links("torn"))
            self.proxy.do("drop-after %d up" % self.random.randrange(1, 20000))
            visitor.command(send={"to": ["observer"], "text": "x" * 30000})
            self.assertIsNone(visitor.closed())
            self.assert_gone("torn", 2, "a reset within a frame")
            wait_until(lambda: self.closes("lost") == lost + 1, what="counted as lost")
            self.proxy.do("clear")
        observer.nothing(0.2)

    def test_a_reset_within_the_handshake_leaves_nothing(self):
        for _ in range(20):
            self.proxy.do("drop-after %d up" % self.random.randrange(1, 150))
            with self.assertRaises(OSError):
                self.through(None)
        self.proxy.do("clear")
        self.through("after").close()

    def test_a_half_close_by_the_client_ends_the_session(self):
        visitor = self.through("halved")
        self.proxy.do("half-close up")
        self.assertIn(visitor.closed(), (None, 1000, 1001))
        self.assert_gone("halved", 2, "a FIN without a close frame")

    def test_bytes_one_by_one_make_whole_messages(self):
        observer = self.login("edge-a", "observer")
        self.proxy.do("chunk 1")
        for subprotocol in (JSON, PROTOBUF):
            visitor = self.through("drop-%s" % subprotocol[-4:], subprotocol=subprotocol)
            for size in (0, 1, 125, 126, 700):
                self.assert_sent(visitor.send("observer", "y" * size), 1)
                self.assertEqual(observer.message()["text"], "y" * size)
                self.assert_sent(observer.send(visitor.user, "z" * size), 1)
                self.assertEqual(visitor.message()["text"], "z" * size)
            visitor.close()

    def test_frames_that_come_at_once_are_answered_in_order(self):
        observer = self.login("edge-a", "observer")
        self.proxy.do("coalesce 150")
        for subprotocol in (JSON, PROTOBUF):
            visitor = self.through("gathered", subprotocol=subprotocol)
            self.assert_sent(visitor.send("observer", "so that it is known where that is"), 1)
            observer.message()
            ids = [visitor.command(ping={}) if number % 2 else
                   visitor.command(send={"to": ["observer"], "text": str(number)}) for number in range(60)]
            # Pongs overtake outcomes only if those had to be asked for elsewhere: not here.
            self.assertEqual([visitor.event()["id"] for _ in ids], ids)
            self.assertEqual([observer.message()["text"] for _ in ids[::2]],
                             [str(number) for number in range(0, 60, 2)])
            visitor.close()
            self.assert_gone("gathered", 2, "a close")

    def test_garbage_from_a_broken_middle_is_a_protocol_error(self):
        visitor = self.through("garbled")
        visitor.send_bytes(bytes([0x80 | TEXT | 0x70]) + bytes(self.random.randrange(256) for _ in range(40)))
        self.assertIn(visitor.closed(), (1002, 1007, 1009, 4000, None))
        self.assert_gone("garbled", 2, "garbage")


class Stalled(Transport, SharedCase):
    """What does not move any more."""
    settings = {"edges": ("edge-a",), "sweeper": False, "ping__interval": "%dms" % (1000 * PING_S),
                "limits__hello_timeout": "%dms" % (1000 * HELLO_S)}

    def test_a_stall_is_cut_wherever_it_begins(self):
        silent, late = self.closes("silent"), self.closes("hello_timeout")
        ways = {"unheard": "stall up", "still": "stall both", "deafened": "half-close down"}
        proxies, visitors = {}, {}
        for user, command in ways.items():
            proxies[user] = self.between()
            visitors[user] = self.through(user, proxies[user])
            if user == "deafened":
                proxies[user].do("stall up")  # the network eats the client's own end
            proxies[user].do(command)
        begin = time.monotonic()
        self.assertIsNone(visitors["deafened"].closed())
        mute = self.through(None)  # no login
        self.proxy.do("stall")
        half = socket.create_connection(("127.0.0.1", self.edge.port))
        self.addCleanup(half.close)
        half.sendall(b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: webs")

        for user in ways:
            self.assert_gone(user, 2 * PING_S + 2, "two intervals of silence")
        self.assertGreater(time.monotonic() - begin, 0.9 * PING_S)
        wait_until(lambda: self.closes("silent") == silent + len(ways), CLOSE_WAIT_S + 1, "silent sockets cut")
        wait_until(lambda: self.closes("hello_timeout") == late + 1, HELLO_S + CLOSE_WAIT_S + 1, "no login: cut")
        half.settimeout((HANDSHAKE_S + 4) * SCALE)
        may_refuse(lambda: half.recv(4096))  # whatever it is told
        self.assertIn(may_refuse(lambda: half.recv(4096)), (b"", None))
        self.assertLess(time.monotonic() - begin, (HANDSHAKE_S + 4) * SCALE)

        for proxy in (proxies["unheard"], proxies["still"], self.proxy):
            proxy.do("resume")
        for user in ("unheard", "still"):
            self.assertIn(visitors[user].closed(), (4109, None))
        self.assertIn(mute.closed(), (4003, None))
