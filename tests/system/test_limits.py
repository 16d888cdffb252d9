"""Bounds in time and size, each from both sides."""
import time

import client
from client import JSON, PING, PROTOBUF, SCALE, Closed, Refused
from cluster import SANITIZED, Case, SharedCase, wait_until


class Patience(SharedCase):
    """How long an edge waits for a client. Alone: no backend has a part in it."""
    settings = {"edges": ("edge-a",), "sweeper": False, "nats": False, "redis": False,
                "limits__hello_timeout": "1s", "ping__interval": "1s"}

    def test_no_login_in_time_closes_with_4003(self):
        begin = time.monotonic()
        visitor = self.edge_a.client()
        self.assertEqual(visitor.closed(), 4003)
        self.assertTrue(0.8 <= time.monotonic() - begin <= 2.5 * SCALE)

    def test_a_login_in_time_stays(self):
        visitor = self.edge_a.client()
        self.addCleanup(visitor.close)
        time.sleep(0.6)
        visitor.login("late")
        visitor.nothing(1.2)
        visitor.expect("pong", visitor.command(ping={}))

    def test_an_idle_client_that_pongs_stays(self):
        visitor = self.login("edge-a", "idle")
        visitor.nothing(4.5)
        self.assertGreaterEqual(visitor.pings, 3)
        visitor.expect("pong", visitor.command(ping={}))

    def test_a_client_that_talks_needs_no_pings(self):
        visitor = self.login("edge-a", "talks")
        visitor.answers_pings = False
        until = time.monotonic() + 3.5
        while time.monotonic() < until:
            visitor.expect("pong", visitor.command(ping={}))
            time.sleep(0.2)

    def test_a_silent_client_closes_with_4109_after_two_intervals(self):
        visitor = self.login("edge-a", "silent")
        visitor.answers_pings = False
        begin = time.monotonic()
        self.assertEqual(visitor.closed(), 4109)
        self.assertTrue(1.7 <= time.monotonic() - begin <= 4 * SCALE, time.monotonic() - begin)

    def test_welcome_tells_the_limits(self):
        visitor = self.edge_a.client()
        self.addCleanup(visitor.close)
        welcome = visitor.login("curious", "d")
        self.assertEqual((welcome["pingIntervalMs"], welcome["maxFrameBytes"]), (1000, 65536))
        self.assertEqual(welcome["node"], self.edge_a.node)
        self.assertLess(abs(int(welcome["serverTimeMs"]) / 1000 - time.time()), 2)
        self.assertFalse(welcome.get("clustered", False))

    def test_a_handshake_that_drips_is_cut(self):
        import socket
        with socket.create_connection(("127.0.0.1", self.edge_a.port)) as drip:
            drip.settimeout(0.3)
            begin = time.monotonic()
            try:
                for byte in b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n" * 20:
                    drip.sendall(bytes([byte]))
                    try:
                        if drip.recv(1) == b"":
                            break
                    except socket.timeout:
                        pass
            except OSError:
                pass
            self.assertLess(time.monotonic() - begin, 14 * SCALE)


class Rates(SharedCase):
    settings = {"edges": ("edge-a",), "sweeper": False, "nats": False, "redis": False,
                "limits__commands_per_second": 50, "limits__frame_bytes": "8KiB"}

    def test_commands_above_the_rate_are_refused_and_below_it_are_not(self):
        visitor = self.login("edge-a", "quick")
        for _ in range(60):  # the burst is twice the rate, Hello included
            visitor.expect("pong", visitor.command(ping={}))
        for _ in range(150):
            visitor.command(send={"to": ["nobody"], "text": "x"})
        reasons = [visitor.event() for _ in range(150)]
        refused = [event for event in reasons
                   if (event.get("failure") or event.get("outcome"))["reason"] == "REASON_RATE"]
        self.assertTrue(60 <= len(refused) <= 130, len(refused))
        self.assertTrue(all((event.get("failure") or event["outcome"]).get("retryable") for event in refused))
        wait = [event["failure"]["retryAfterMs"] for event in refused if "failure" in event]
        time.sleep(max(wait, default=1000) / 1000 + 0.1)
        visitor.expect("pong", visitor.command(ping={}))

    def test_far_more_than_the_rate_closes_with_4110(self):
        visitor = self.login("edge-a", "flood")
        try:
            for _ in range(300):
                visitor.send_commands(*[{"id": str(n), "ping": {}} for n in range(1, 101)])
        except OSError:
            pass
        self.assertIn(visitor.closed(), (4110, None))
        wait_until(lambda: self.edge_a.counters()["closed_rate"] == 1, what="the close is counted by its reason")

    def test_the_frame_limit_is_a_setting(self):
        visitor = self.login("edge-a", "large")
        visitor.command(send={"to": ["large"], "text": "x" * 8200})
        self.assertEqual(visitor.closed(), 1009)


class SlowReaders(Case):
    def test_a_slow_reader_closes_with_4108_and_others_are_served(self):
        cluster = self.own().start(limits__queue_bytes="256KiB", limits__commands_per_second=100000)
        for name, format_ in (("edge-a", JSON), ("edge-b", PROTOBUF)):
            slow = cluster[name].client(subprotocol=format_, rcvbuf=4096)
            slow.login("slow-" + name)
            fast = cluster.login("edge-b", "fast-" + name)
            sender = cluster.login("edge-a", "sender-" + name)
            memory = cluster[name].memory()
            text = "x" * 30000
            refused = None
            for number in range(400):
                outcome = sender.send("slow-" + name, text)
                self.assert_sent(sender.send("fast-" + name, str(number)), 1)
                self.assertEqual(fast.message()["text"], str(number))
                if outcome["status"] != "OUTCOME_STATUS_SENT":
                    refused = outcome
                    break
            self.assertIsNotNone(refused, "12 MB went into a queue of 256 KiB")
            self.assert_rejected(refused, "busy", "offline")
            # What the kernel had taken may still be read; then the code, or the cut.
            self.assertIn(slow.closed(10), (4108, None))
            self.assertEqual(cluster[name].counters()["closed_slow_reader"], 1)
            if not SANITIZED:
                self.assertLess(cluster[name].memory() - memory, 4 << 20)
            wait_until(lambda: not self.is_there(sender, "slow-" + name), what="the link of the slow one gone")

    def is_there(self, sender, user):
        return sender.send(user, "there?").get("reason") != "REASON_OFFLINE"


class Admission(Case):
    def test_sockets_of_one_address_are_bounded_and_other_addresses_are_not(self):
        cluster = self.own()
        edge = cluster.start_edge("edge-a", nats=False, redis=False, connections__max_per_address=5)
        edge.wait_listening()
        first = [edge.client(source="127.0.0.9") for _ in range(5)]
        with self.assertRaises((OSError, Refused)):
            edge.client(source="127.0.0.9")
        other = edge.client(source="127.0.0.10")
        first.pop().close()

        def admitted():
            try:
                first.append(edge.client(source="127.0.0.9"))
                return True
            except (OSError, Refused):
                return False
        wait_until(admitted, what="room after one left")
        for visitor in first + [other]:
            visitor.close()

    def test_half_open_sockets_are_bounded_and_logged_in_clients_live_on(self):
        import socket
        cluster = self.own()
        edge = cluster.start_edge("edge-a", nats=False, redis=False, connections__max_half_open=16)
        edge.wait_listening()
        visitor = cluster.login("edge-a", "inside")
        silent = [socket.create_connection(("127.0.0.1", edge.port)) for _ in range(40)]
        try:
            visitor.expect("pong", visitor.command(ping={}))
            wait_until(lambda: self.can_login(edge), 15, "room once the silent ones are cut")
        finally:
            for one in silent:
                one.close()

    def can_login(self, edge):
        try:
            edge.login("next").close()
            return True
        except (OSError, Refused, AssertionError, Closed):
            return False


class Expiry(SharedCase):
    settings = {"sweeper": False}

    def test_both_subprotocols_have_every_kind_of_answer(self):
        for subprotocol in (JSON, PROTOBUF):
            visitor = self.login("edge-a", "kinds", subprotocol=subprotocol)
            self.assertLess(abs(int(visitor.expect("pong", visitor.command(ping={}))["serverTimeMs"]) / 1000
                                - time.time()), 2)
            self.assert_rejected(visitor.send("absent", "x"), "offline")
            outcome = visitor.send(["kinds", "absent"], "x")
            self.assert_sent(outcome, 1)
            self.assertEqual(outcome["unreached"], [{"user": "absent", "reason": "REASON_OFFLINE"}])
            self.assertEqual(visitor.message()["text"], "x")
            visitor.close()
            wait_until(lambda: not self.cluster.links("kinds"), what="link gone")

    def test_no_id_means_no_answer(self):
        visitor = self.login("edge-a", "quiet")
        visitor.send_commands({"send": {"to": ["quiet"], "text": "x"}}, {"ping": {}})
        self.assertIn("message", visitor.event())
        visitor.nothing(0.3)

    def test_the_control_frame_ping_of_a_client_is_answered_under_load(self):
        visitor = self.login("edge-a", "pinger")
        visitor.send_frame(PING, b"now")
        fin, opcode, payload = visitor.recv_frame()
        self.assertEqual((fin, opcode, payload), (True, client.PONG, b"now"))
