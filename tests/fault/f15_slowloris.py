"""F15: thousands of sockets that drip: each costs the edge something, and none must cost
a real client its login.

Five kinds, a fifth each: request head drip, TLS hello drip (on an edge of its own: a port
speaks TLS or not), silence, a body that drips behind its head, and a WebSocket that drips a frame.
The limits of one address and of half-open sockets are raised above the attack, since
they would end it before it began; that they hold is told elsewhere (test_limits.py).
"""
import fcntl
import os
import socket
import subprocess
import time

from upkeep import LONG, SCALE, Upkeep, anonymous_bytes, cpu_seconds, descriptors, may_refuse, percentile, seeded

import client
from client import TEXT, encode_frame
from cluster import SANITIZED, Case

SOCKETS = 10000 if LONG else 2000
ABOVE_SELECT = 1100  # the test client waits with select, which ends at descriptor 1,023
DRIP_S = 0.5
REAPED_S = 15
FRAME_REAPED_S = 35  # those have become a WebSocket, and are waited for twice
LOGINS = 60
LOGINS_S = 4  # how long logins are timed while everything drips

HEAD = b"GET /ws HTTP/1.1\r\nHost: drip\r\nUser-Agent: " + b"x" * 2000
BODY = b"POST /ws HTTP/1.1\r\nHost: drip\r\nContent-Length: 1000000\r\n\r\n"
HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(508)
UPGRADE = (b"GET /ws HTTP/1.1\r\nHost: drip\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: switchyard.v1.json\r\n\r\n")
FRAME = encode_frame(TEXT, b"{" + b" " * 5000)


class Drip:
    """One socket: so much at once, then a byte at a time."""

    def __init__(self, port, at_once, then):
        with socket.socket() as low:
            self.sock = socket.socket(fileno=fcntl.fcntl(low.fileno(), fcntl.F_DUPFD_CLOEXEC, ABOVE_SELECT))
        self.sock.setblocking(False)
        self.born_at = time.monotonic()
        self.sock.connect_ex(("127.0.0.1", port))
        self.at_once, self.then, self.sent = at_once, then, 0
        self.ended_at = None

    def step(self, now):
        """A byte more; notices the end."""
        if self.ended_at is not None:
            return
        try:
            if self.at_once:
                self.at_once = self.at_once[self.sock.send(self.at_once):]
            elif self.sent < len(self.then):
                self.sent += self.sock.send(self.then[self.sent:self.sent + 1])
            while True:
                if self.sock.recv(4096) == b"":
                    raise ConnectionResetError
        except BlockingIOError:
            return
        except OSError:
            self.ended_at = now
            self.sock.close()


class Slowloris(Upkeep, Case):
    def certificate(self, directory):
        paths = [os.path.join(directory, name) for name in ("cert.pem", "key.pem")]
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                        "-nodes", "-keyout", paths[1], "-out", paths[0], "-days", "2", "-subj", "/CN=localhost",
                        "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True)
        return paths

    def start(self):
        cluster = self.own()
        limits = {"connections__max_per_address": 20000, "connections__max_half_open": 12000,
                  "connections__max": 20000, "nats": False, "redis": False}
        certificate, key = self.certificate(cluster.directory)
        cluster.start_edge("edge-a", **limits)
        cluster.start_edge("edge-b", listen__tls_cert_file=certificate, listen__tls_key_file=key, **limits)
        for edge in cluster.edges.values():
            edge.wait_listening()
        self.tls = client.tls_context(certificate)
        return cluster["edge-a"], cluster["edge-b"]

    def login(self, edge, tls):
        begin = time.monotonic()
        visitor = client.Client(edge.port, tls=tls)
        visitor.login("real")
        took = time.monotonic() - begin
        visitor.close()
        return took

    def test_real_logins_take_less_than_a_second_and_every_dripping_socket_is_cut(self):
        plain, secure = self.start()
        edges = (plain, secure)
        for edge, tls in ((plain, None), (secure, self.tls)):
            for _ in range(10):
                self.login(edge, tls)
        files = [descriptors(edge) for edge in edges]
        rng = seeded(15)
        kinds = {"head": (plain, b"", HEAD), "hello": (secure, b"", HELLO), "silent": (plain, b"", b""),
                 "body": (plain, BODY, b"x" * 2000), "frame": (plain, UPGRADE, FRAME)}
        begin = time.monotonic()
        drips = {kind: [] for kind in kinds}
        for number in range(SOCKETS // 5):
            for kind, (edge, at_once, then) in kinds.items():
                drips[kind].append(Drip(edge.port, at_once, then))
            if number % 20 == 19:
                time.sleep(0.04)  # a burst beyond the kernel's backlog is another test's subject
        every = [drip for drips_ in drips.values() for drip in drips_]
        rng.shuffle(every)
        self.addCleanup(lambda: [drip.sock.close() for drip in every])
        spent = [cpu_seconds(edge) for edge in edges]
        logins, most = [], 0
        next_drip = opened = time.monotonic()
        while True:
            now = time.monotonic()
            if now >= next_drip:
                for drip in every:
                    drip.step(now)
                next_drip = now + DRIP_S
            if len(logins) < 2 * LOGINS and now - opened < LOGINS_S * SCALE:
                logins += [self.login(plain, None), self.login(secure, self.tls)]
            if sum(drip.ended_at is None for drip in every) == 0 or now - begin > FRAME_REAPED_S * SCALE:
                break
            most = max([most] + [anonymous_bytes(edge) for edge in edges])
            time.sleep(0.02)
        took = time.monotonic() - begin
        busy = [(cpu_seconds(edge) - before) / took for edge, before in zip(edges, spent)]
        for kind, drips_ in drips.items():
            ends = [drip.ended_at - drip.born_at for drip in drips_ if drip.ended_at is not None]
            print("%-6s %d of %d ended, %.1f to %.1f s" % (kind, len(ends), len(drips_), min(ends, default=0),
                                                          max(ends, default=0)))
            self.assertEqual(len(ends), len(drips_), kind + ": not all were cut")
            self.assertLess(max(ends), (FRAME_REAPED_S if kind == "frame" else REAPED_S) * SCALE, kind)
        print("%d logins, p99 %.0f ms, worst %.0f ms; %.1f MiB; %.0f and %.0f %% of a core" % (
            len(logins), percentile(logins, 0.99) * 1000, max(logins) * 1000, most / 1048576, *[100 * b for b in busy]))
        self.assertGreater(len(logins), 10)
        self.assertLess(percentile(logins, 0.99), 1.0 * SCALE)
        if not SANITIZED:
            self.assertLess(most, 100 << 20)
            self.assertLess(max(busy), 0.5)
        for edge, before in zip(edges, files):
            self.assertLessEqual(descriptors(edge), before, "sockets are given back")

    def test_a_logged_in_client_may_drip_a_frame_as_long_as_it_likes_and_costs_what_an_idle_one_does(self):
        """Each byte is a sign of life; the frame's bound is the bound of what it costs."""
        cluster = self.own()
        edge = cluster.start_edge("edge-a", nats=False, redis=False, ping__interval="500ms")
        edge.wait_listening()
        visitor = cluster.login("edge-a", "dripper")
        visitor.answers_pings = False
        frame = encode_frame(TEXT, b'{"commands":[{"id":"7","ping":{}}]}')
        for byte in frame[:-1]:
            visitor.send_bytes(bytes([byte]))
            time.sleep(0.08)
        visitor.send_bytes(frame[-1:])
        visitor.expect("pong", "7")
        # And with the drip its life ends as any silent one's.
        begin = time.monotonic()
        visitor.send_bytes(frame[:3])
        self.assertEqual(visitor.closed(), 4109)
        self.assertLess(time.monotonic() - begin, 2 * SCALE)
        self.assertIsNone(may_refuse(lambda: visitor.send_bytes(frame[3:])))
