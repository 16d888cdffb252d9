"""The rows of the original idea, each shown by a test that carries its number.

O8 is in test_start_order.py. O13, O14 and O17 belong to later parts.
"""
import base64
import http.server
import json
import os
import re
import subprocess
import threading
import time

import client
from client import JSON, PROTOBUF, SCALE, Client, Refused
from cluster import BIN, LEASE_S, ROOT, Case, SharedCase, wait_until


def sockets_of(pid):
    """(local port, remote port, state) of every IPv4 TCP socket of a process."""
    inodes = set()
    for fd in os.listdir("/proc/%d/fd" % pid):
        try:
            target = os.readlink("/proc/%d/fd/%s" % (pid, fd))
        except OSError:
            continue
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    found = []
    with open("/proc/%d/net/tcp" % pid) as table:
        for line in table.readlines()[1:]:
            words = line.split()
            if words[9] in inodes:
                found.append((int(words[1].split(":")[1], 16), int(words[2].split(":")[1], 16), words[3]))
    return found


class Origin(SharedCase):
    """One cluster of two edges for everything that leaves it whole."""

    def test_o2_a_user_sends_to_any_other_and_receives_from_them(self):
        alice = self.login("edge-a", "alice")
        bob = self.login("edge-b", "bob")
        carol = self.login("edge-a", "carol")
        self.assert_sent(alice.send("bob", "to one"), 1)
        self.assertEqual(bob.message()["text"], "to one")
        self.assert_sent(bob.send("alice", "and back"), 1)
        self.assertEqual(alice.message()["from"], "bob")
        self.assert_sent(alice.send(["bob", "carol"], "to several"), 2)
        for receiver in (bob, carol):
            message = receiver.message()
            self.assertEqual((message["from"], message["text"]), ("alice", "to several"))
        alice.nothing()

    def test_a_broadcast_reaches_every_connection_of_every_edge_once(self):
        everybody = [self.login(edge, "bc-%d" % number, subprotocol=subprotocol)
                     for number, (edge, subprotocol) in enumerate(
                         (edge, subprotocol) for edge in ("edge-a", "edge-b") for subprotocol in (JSON, PROTOBUF))]
        sender = everybody[0]
        for text in ("first", "second"):
            outcome = sender.expect("outcome", sender.command(broadcast={"text": text}))
            self.assert_sent(outcome, 2)
        for visitor in everybody:
            self.assertEqual([visitor.message()["text"] for _ in range(2)], ["first", "second"])
            visitor.nothing(0.1)

    def test_o3_login_puts_a_link_under_the_users_own_key(self):
        dan = self.login("edge-a", "dan", "phone")
        eve = self.login("edge-b", "eve", "laptop")
        for visitor, edge in ((dan, self.edge_a), (eve, self.edge_b)):
            links = self.cluster.links(visitor.user)
            self.assertEqual(list(links), [visitor.device])
            self.assertEqual(links[visitor.device].split()[0], edge.node)
            self.assertEqual(visitor.node, edge.node)
        dan.close()
        wait_until(lambda: not self.cluster.links("dan"), what="dan's link gone")
        self.assertTrue(self.cluster.links("eve"))

    def test_o4_a_receiver_on_the_same_edge_gets_it_without_nats(self):
        alice = self.login("edge-a", "o4-alice")
        bob = self.login("edge-a", "o4-bob")
        before = self.edge_a.counters()
        with self.cluster.tap("node.>") as tap:
            for number in range(20):
                self.assert_sent(alice.send("o4-bob", "local %d" % number), 1)
                self.assertEqual(bob.message()["text"], "local %d" % number)
            heard = [message for message in tap.collect(0.2) if b"local " in message[1]]
        after = self.edge_a.counters()
        self.assertEqual(heard, [])
        self.assertEqual(after["messages_local"] - before["messages_local"], 20)
        self.assertEqual(after["envelopes_out"], before["envelopes_out"])

    def test_o5_a_receiver_elsewhere_gets_one_envelope_on_the_subject_of_its_edge(self):
        alice = self.login("edge-a", "o5-alice")
        bob = self.login("edge-b", "o5-bob")
        before = self.edge_a.counters()
        with self.cluster.tap("node.>") as tap:
            self.assert_sent(alice.send("o5-bob", "far away"), 1)
            self.assertEqual(bob.message()["text"], "far away")
            heard = [subject for subject, payload in tap.collect(0.2) if b"far away" in payload]
        self.assertEqual(heard, ["node." + self.edge_b.node])
        self.assertEqual(self.edge_a.counters()["envelopes_out"] - before["envelopes_out"], 1)

    def test_o6_edges_never_connect_to_each_other_and_nats_is_private(self):
        self.assert_sent(self.login("edge-a", "o6-alice").send(
            self.login("edge-b", "o6-bob").user, "over nats"), 1)
        servers = {self.cluster.nats_port, self.cluster.redis_port}
        for edge in (self.edge_a, self.edge_b):
            own = {edge.port, edge.private_port}
            dialled = [remote for local, remote, state in sockets_of(edge.pid)
                       if state == "01" and local not in own]
            self.assertTrue(dialled)
            self.assertEqual(set(dialled) - servers, set())
        with self.assertRaises((PermissionError, ConnectionError)):
            import peers
            peers.Nats(self.cluster.nats_port)

    def test_o9_the_nodes_that_are_connected_can_be_seen(self):
        self.login("edge-a", "o9-alice")
        seen = self.cluster.cli("nodes")
        self.assertEqual(seen.returncode, 0, seen.stderr)
        for edge in (self.edge_a, self.edge_b):
            self.assertIn(edge.node, seen.stdout)
            self.assertIn("ws://127.0.0.1:%d/ws" % edge.port, seen.stdout)
        self.assertEqual(len(json.loads(self.cluster.cli("nodes", "--json").stdout)), 2)
        where = self.cluster.cli("where", "o9-alice")
        self.assertEqual(where.returncode, 0, where.stderr)
        self.assertIn(self.edge_a.node, where.stdout)
        self.assertEqual(self.cluster.cli("where", "o9-nobody").returncode, 1)

    def test_o10_connections_are_long_and_shared_by_all_messages(self):
        alice = self.login("edge-a", "o10-alice")
        self.login("edge-b", "o10-bob")
        self.assert_sent(alice.send("o10-bob", "warm"))
        before = self.monitor()
        received = self.redis_connections()
        for number in range(300):
            alice.command(send={"to": ["o10-bob"], "text": str(number)})
        for number in range(300):
            self.assert_sent(alice.expect("outcome"))
        after = self.monitor()
        self.assertEqual(after["total_connections"], before["total_connections"])
        # The two look-ups themselves are one connection each.
        self.assertLessEqual(self.redis_connections() - received, 1)
        # Batched: fewer messages on NATS than were sent by clients, receipts included.
        self.assertLess(after["in_msgs"] - before["in_msgs"], 600)

    def test_o10_without_an_outcome_a_message_is_one_nats_message(self):
        alice = self.login("edge-a", "o10-carol")
        bob = self.login("edge-b", "o10-dave")
        self.assert_sent(alice.send("o10-dave", "warm"))
        bob.message()
        before = self.monitor()
        for number in range(300):
            alice.command(id=0, send={"to": ["o10-dave"], "text": str(number)})
            self.assertEqual(bob.message()["text"], str(number))
        # Each alone in its turn. Heartbeats, and receipts about eight times a second, are beside it.
        self.assertLess(self.monitor()["in_msgs"] - before["in_msgs"], 400)

    def test_o11_two_terminals_on_two_edges_talk(self):
        def terminal(edge, user):
            return subprocess.Popen(
                [os.path.join(BIN, "switchyard"), "chat", "--edge", "ws://127.0.0.1:%d/ws" % edge.port, "--user", user],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1)

        class Screen:
            def __init__(self, process):
                self.process, self.lines = process, []
                self.reader = threading.Thread(target=self.read, daemon=True)
                self.reader.start()

            def read(self):
                for line in self.process.stdout:
                    self.lines.append(line)

            def shows(self, *words):
                wait_until(lambda: any(all(word in line for word in words) for line in self.lines),
                           what="%s on screen: %s" % (words, self.lines))

            def type(self, line):
                self.process.stdin.write(line + "\n")
                self.process.stdin.flush()

        left = Screen(terminal(self.edge_a, "o11-alice"))
        right = Screen(terminal(self.edge_b, "o11-bob"))
        try:
            left.shows("edge-a")
            right.shows("edge-b")
            left.type("@o11-bob hello from the first terminal")
            right.shows("o11-alice", "hello from the first terminal")
            right.type("@o11-alice hello yourself")
            left.shows("o11-bob", "hello yourself")
        finally:
            for screen in (left, right):
                screen.process.stdin.close()
                try:
                    screen.process.wait(10 * SCALE)
                finally:
                    screen.process.kill()
                    screen.process.wait()
                    screen.process.stdout.close()

    def test_o15_push_to_one_chosen_device_in_text_and_binary(self):
        alice = self.login("edge-a", "o15-alice", subprotocol=PROTOBUF)
        phone = self.login("edge-b", "o15-bob", "phone", subprotocol=JSON)
        laptop = self.login("edge-a", "o15-bob", "laptop", subprotocol=PROTOBUF)
        raw = base64.b64encode(bytes(range(256))).decode()
        self.assert_sent(alice.send("o15-bob", toDevice="phone", body=raw,
                                    contentType="application/octet-stream"), 1)
        message = phone.message()
        self.assertEqual(message["body"], raw)
        self.assertEqual(message["contentType"], "application/octet-stream")
        laptop.nothing(0.2)
        self.assert_sent(alice.send("o15-bob", "only here", toDevice="laptop"), 1)
        self.assertEqual(laptop.message()["text"], "only here")
        phone.nothing(0.2)
        self.assert_sent(alice.send("o15-bob", "both: grüße 🚉"), 2)
        for device in (phone, laptop):
            message = device.message()
            self.assertEqual((message["text"], message["fromDevice"]), ("both: grüße 🚉", alice.device))
        self.assert_rejected(alice.send("o15-bob", "nobody", toDevice="watch"), "offline")

    def test_o16_the_websocket_port_is_an_http_server_with_clear_errors(self):
        port = self.edge_a.port
        status, headers, body = client.http(port, "/nowhere", headers=[("Accept", "text/html")])
        self.assertEqual(status, 404)
        self.assertTrue(headers["content-type"].startswith("text/html"), headers)
        self.assertIn(b"404", body)
        status, headers, body = client.http(port, "/nowhere")
        self.assertEqual((status, headers["content-type"].split(";")[0]), (404, "text/plain"))
        self.assertTrue(body)
        status, _, body = client.http(port, "/ws")
        self.assertIn(status, (400, 426))
        self.assertIn(b"ebSocket", body)
        self.assertEqual(client.http(port, "/", method="POST")[0], 405)
        self.assertIn(client.http(port, "/", method="POST", body=b"x=1")[0], (400, 405, 413))
        self.assertEqual(client.http(port, "/healthz")[0], 200)
        self.assertEqual(client.http(port, "/readyz")[0], 404, "for the private port only")
        self.assertEqual(client.http(port, "/v0/counters")[0], 404, "for the private port only")

    def monitor(self):
        status, _, body = client.http(self.cluster.nats_monitor, "/varz")
        self.assertEqual(status, 200)
        return json.loads(body)

    def redis_connections(self):
        with self.cluster.keys() as keys:
            return int(re.search(r"total_connections_received:(\d+)", keys.ask("INFO", "stats")).group(1))


class Page(SharedCase):
    """O18: the page, from the edge and from elsewhere."""
    WEB = os.path.join(ROOT, "edge", "web")
    settings = {"edges": ("edge-a",), "sweeper": False, "nats": False, "redis": False, "web__root": WEB}

    def test_o18_the_edge_serves_the_chat_page(self):
        for path, kind, name in (("/", "text/html", "index.html"), ("/index.html", "text/html", "index.html"),
                                 ("/chat.js", "javascript", "chat.js"), ("/chat.css", "text/css", "chat.css")):
            status, headers, body = client.http(self.edge_a.port, path)
            with open(os.path.join(self.WEB, name), "rb") as file:
                self.assertEqual((status, body), (200, file.read()), path)
            self.assertIn(kind, headers["content-type"], path)

    def test_o18_the_page_asks_nothing_of_others(self):
        for name in os.listdir(self.WEB):
            with open(os.path.join(self.WEB, name)) as file:
                text = file.read()
            outside = re.findall(r"""(?:src|href|import|url)\s*[=(]?\s*["'(]\s*(?:https?:)?//[^"')]+""", text)
            self.assertEqual(outside, [], name)
            self.assertNotIn("<script>", text, "scripts are files: the policy forbids inline ones")
            self.assertIsNone(re.search(r"\son\w+=|\sstyle=", text) if name.endswith("html") else None)

    def test_o18_only_the_document_root_is_served(self):
        for path in ("/../handshake.h", "/%2e%2e/handshake.h", "/..%2fhandshake.h", "/../../CMakeLists.txt",
                     "//etc/passwd", "/%00", "/chat.js/../../handshake.h", "/.%2e/%2e./CMakeLists.txt", "/a" * 3000):
            raw = ("GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % path).encode()
            try:
                status, _, body = client.http(self.edge_a.port, path, raw=raw)
            except OSError:
                continue  # refused without a word is fine too
            with open(os.path.join(self.WEB, "index.html"), "rb") as page:
                is_page = (status, body) == (200, page.read())
            self.assertTrue(is_page or status in (400, 403, 404, 414, 431), (path, status))

    def test_o18_a_page_from_another_server_connects_if_its_origin_is_allowed(self):
        class Quiet(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *args):
                super().__init__(*args, directory=Page.WEB)

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            port = server.server_address[1]
            self.assertIn(b"chat.js", client.http(port, "/")[2])
            origin = "http://127.0.0.1:%d" % port
            cluster = self.own()
            edge = cluster.start_edge("edge-o", nats=False, redis=False,
                                      origins__allowed=origin).wait_listening()
            Client(edge.port, headers=[("Origin", origin)]).close()
            with self.assertRaises(Refused) as refused:
                Client(edge.port, headers=[("Origin", "http://127.0.0.1:%d.evil.example" % port)])
            self.assertEqual(refused.exception.status, 403)
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


class Full(Case):
    def test_o1_a_full_edge_refuses_with_503_and_says_where_there_is_room(self):
        cluster = self.own().start(connections__max=500)
        full, other = cluster["edge-a"], cluster["edge-b"]
        visitors = [full.login("user-%d" % number) for number in range(500)]
        try:
            with self.assertRaises(Refused) as refused:
                full.client()
            self.assertEqual(refused.exception.status, 503)
            self.assertGreater(int(refused.exception.headers["retry-after"]), 0)
            wait_until(lambda: self.room_told(full, other), what="the 503 names edge-b")
            # The place for one more is elsewhere, and messages reach it.
            late = cluster.login("edge-b", "late")
            self.assert_sent(visitors[499].send("late", "over there"), 1)
            self.assertEqual(late.message()["text"], "over there")
            # One leaves, one may come.
            visitors.pop().close()
            wait_until(lambda: self.admitted(full, visitors), what="room after a client left")
            with self.assertRaises(Refused):
                full.client()
        finally:
            for visitor in visitors:
                visitor.abort()

    def room_told(self, full, other):
        try:
            full.client()
        except Refused as refused:
            json.loads(refused.body)
            return (":%d" % other.port).encode() in refused.body
        self.fail("admitted")

    def admitted(self, edge, visitors):
        try:
            visitors.append(edge.client())
            return True
        except Refused:
            return False


class Death(Case):
    def test_o7_the_sweeper_removes_all_links_of_a_dead_edge(self):
        cluster = self.own().start()
        lost = [cluster.login("edge-a", "lost%d" % number) for number in range(30)]
        stays = cluster.login("edge-b", "stays")
        self.assert_sent(stays.send("lost7", "before"), 1)
        dead = cluster["edge-a"].node
        died = time.monotonic()
        cluster["edge-a"].kill()
        for visitor in lost:
            self.assertIsNone(visitor.closed())
        cluster.sweeper.wait_log(r"node_reaped\b.*node=%s\b.*links=30\b" % re.escape(dead), LEASE_S + 10)
        took = time.monotonic() - died
        self.assertLess(took, (LEASE_S + 6) * SCALE)
        with cluster.keys() as keys:
            left = [key for key in keys.keys() if dead in key and not key.startswith("sy:fence:")]
            self.assertEqual(left, [])
            self.assertEqual(keys.keys("sy:user:*"), ["sy:user:{stays}"])
        self.assert_rejected(stays.send("lost7", "after"), "offline")
        back = cluster.login("edge-b", "lost7")
        self.assert_sent(stays.send("lost7", "again"), 1)
        self.assertEqual(back.message()["text"], "again")


class Secure(Case):
    def test_o12_ws_and_wss(self):
        cluster = self.own()
        cert, key = os.path.join(cluster.directory, "cert.pem"), os.path.join(cluster.directory, "key.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                        "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
                        "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", cert],
                       check=True, capture_output=True)
        cluster.start(edges=("edge-a",), sweeper=False)
        cluster.start_edge("edge-b", listen__tls_cert_file=cert, listen__tls_key_file=key).wait_ready()
        plain = cluster.login("edge-a", "alice")
        secure = cluster.login("edge-b", "bob", tls=client.tls_context(cert), host="localhost")
        self.assertEqual(secure.sock.selected_alpn_protocol(), "http/1.1")
        self.assertIn(secure.sock.version(), ("TLSv1.2", "TLSv1.3"))
        self.assert_sent(plain.send("bob", "to the secure one"), 1)
        self.assertEqual(secure.message()["text"], "to the secure one")
        big = "x" * 40000
        self.assert_sent(secure.send("alice", big), 1)
        self.assertEqual(plain.message()["text"], big)
        with self.assertRaises((OSError, Refused)):
            cluster["edge-b"].client()
