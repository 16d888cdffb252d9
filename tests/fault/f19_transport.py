"""F19: what can happen to a TCP connection between a client and its edge.

Whatever it is, the session ends with its reason, its link leaves Redis, and its socket
is given back; and what is only slow or in pieces arrives whole and in order.
"""
import time

from upkeep import SCALE, Upkeep, seeded

import client
from client import JSON, PROTOBUF, TEXT
from cluster import SharedCase, wait_until
from faultproxy import FaultProxy

PING_S = 0.5
HELLO_S = 0.5
CLOSE_WAIT_S = 5  # how long an edge waits for the end of a closed connection
HANDSHAKE_S = 5   # and for the end of a handshake


class Transport(Upkeep, SharedCase):
    settings = {"edges": ("edge-a",), "sweeper": False, "ping__interval": "%dms" % (1000 * PING_S),
                "limits__hello_timeout": "%dms" % (1000 * HELLO_S)}

    def setUp(self):
        super().setUp()
        self.random = seeded(19)
        self.edge = self.edge_a
        self.watch(self.edge)
        self.proxy = FaultProxy(self.edge.port, self.random.randrange(1, 1 << 32))
        self.addCleanup(self.proxy.stop)

    def observe(self):
        """Only where it is read from: who does not answer pings is closed."""
        observer = self.edge.login("observer")
        self.addCleanup(observer.close)
        return observer

    def through(self, user, **options):
        visitor = client.Client(self.proxy.port, **options)
        self.addCleanup(visitor.sock.close)
        if user:
            visitor.login(user)
        return visitor

    def assert_gone(self, user, seconds, what):
        wait_until(lambda: not self.cluster.links(user), seconds, "link gone after " + what)

    def closes(self, word):
        return self.edge.counters()["closed_" + word]

    def test_a_reset_within_a_frame_ends_the_session_as_lost_and_delivers_nothing(self):
        observer = self.observe()
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

    def test_a_client_that_hears_the_end_first_is_missed_within_two_pings(self):
        visitor = self.through("deafened")
        silent = self.closes("silent")
        self.proxy.do("stall up")  # the network eats the client's own end
        self.proxy.do("half-close down")
        self.assertIsNone(visitor.closed())
        self.assert_gone("deafened", 2 * PING_S + 1.5, "two intervals of silence")
        wait_until(lambda: self.closes("silent") == silent + 1, CLOSE_WAIT_S + 1, "counted as silent")
        self.proxy.do("clear")
        self.proxy.do("reset")

    def test_bytes_one_by_one_make_whole_messages(self):
        observer = self.observe()
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
        observer = self.observe()
        self.proxy.do("coalesce 150")
        for subprotocol in (JSON, PROTOBUF):
            visitor = self.through("gathered", subprotocol=subprotocol)
            ids = [visitor.command(ping={}) if number % 2 else
                   visitor.command(send={"to": ["observer"], "text": str(number)}) for number in range(60)]
            # Pongs overtake outcomes only if those had to be asked for elsewhere: not here.
            self.assertEqual([visitor.event()["id"] for _ in ids], ids)
            self.assertEqual([observer.message()["text"] for _ in ids[::2]],
                             [str(number) for number in range(0, 60, 2)])
            visitor.close()
            self.assert_gone("gathered", 2, "a close")

    def test_a_stall_after_the_handshake_is_cut_as_no_login(self):
        late = self.closes("hello_timeout")
        visitor = self.through(None)
        self.proxy.do("stall")
        begin = time.monotonic()
        wait_until(lambda: self.closes("hello_timeout") == late + 1, HELLO_S + CLOSE_WAIT_S + 1, "cut")
        self.assertGreater(time.monotonic() - begin, 0.7 * HELLO_S)
        self.proxy.do("resume")
        self.assertIn(visitor.closed(), (4003, None))

    def test_a_stall_of_a_logged_in_client_is_silence(self):
        for way in ("up", "both"):
            silent = self.closes("silent")
            visitor = self.through("stalled")
            self.proxy.do("stall " + way)
            begin = time.monotonic()
            self.assert_gone("stalled", 2 * PING_S + 1.5, "two intervals of silence")
            self.assertGreater(time.monotonic() - begin, PING_S)
            wait_until(lambda: self.closes("silent") == silent + 1, CLOSE_WAIT_S + 1, "its socket cut")
            self.proxy.do("resume")
            self.assertIn(visitor.closed(), (4109, None))

    def test_a_stall_within_the_handshake_is_cut(self):
        self.proxy.do("drop-after 1000000")
        half = client.socket.create_connection(("127.0.0.1", self.proxy.port))
        self.addCleanup(half.close)
        half.sendall(b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: webs")
        half.settimeout((HANDSHAKE_S + 5) * SCALE)
        begin = time.monotonic()
        try:
            while half.recv(4096):
                pass
        except ConnectionResetError:
            pass
        self.assertLess(time.monotonic() - begin, (HANDSHAKE_S + 4) * SCALE)

    def test_garbage_from_a_broken_middle_is_a_protocol_error(self):
        visitor = self.through("garbled")
        visitor.send_bytes(bytes([0x80 | TEXT | 0x70]) + bytes(self.random.randrange(256) for _ in range(40)))
        self.assertIn(visitor.closed(), (1002, 1007, 1009, 4000, None))
        self.assert_gone("garbled", 2, "garbage")
