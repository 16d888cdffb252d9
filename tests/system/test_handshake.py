"""Requests that must not become a WebSocket, each with the answer it gets."""
import client
from client import JSON, PROTOBUF, Client, Refused
from cluster import SharedCase

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
GOOD = {"Host": "127.0.0.1", "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": KEY, "Sec-WebSocket-Protocol": JSON}


def request(line="GET /ws HTTP/1.1", drop=(), extra="", **changed):
    headers = dict(GOOD, **{name.replace("_", "-"): value for name, value in changed.items()})
    text = line + "\r\n" + "".join("%s: %s\r\n" % pair for pair in headers.items() if pair[0] not in drop)
    return (text + extra + "\r\n").encode("latin-1")


# name -> (request, statuses; None: closed without an answer)
REFUSED = {
    "another path": (request("GET /other HTTP/1.1"), {404, 400}),
    "POST": (request("POST /ws HTTP/1.1"), {400, 405}),
    "POST with a body": (request("POST /ws HTTP/1.1", Content_Length="3") + b"abc", {400, 405}),
    "GET with a body": (request(Content_Length="3") + b"abc", {400}),
    "GET with chunks": (request(Transfer_Encoding="chunked") + b"0\r\n\r\n", {400}),
    "HEAD": (request("HEAD /ws HTTP/1.1"), {400, 405}),
    "PUT": (request("PUT /ws HTTP/1.1"), {400, 405}),
    "CONNECT": (request("CONNECT 127.0.0.1:22 HTTP/1.1"), {400, 405}),
    "HTTP/1.0": (request("GET /ws HTTP/1.0"), {400, 505}),
    "HTTP/2 in clear by upgrade": (request(Upgrade="h2c", extra="HTTP2-Settings: AAMAAABkAAQAAP__\r\n"), {400}),
    "an HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400, 403, 505}),
    "another upgrade": (request(Upgrade="tcp"), {400, 403}),
    "two upgrades": (request(Upgrade="websocket, h2c"), {400, 403}),
    "no upgrade": (request(drop=("Upgrade",)), {400, 426}),
    "version 12": (request(Sec_WebSocket_Version="12"), {400, 426}),
    "version 8": (request(Sec_WebSocket_Version="8"), {400, 426}),
    "no version": (request(drop=("Sec-WebSocket-Version",)), {400, 426}),
    "no key": (request(drop=("Sec-WebSocket-Key",)), {400}),
    "a short key": (request(Sec_WebSocket_Key="c2hvcnQ="), {400}),
    "a key that is no base64": (request(Sec_WebSocket_Key="!" * 24), {400}),
    "no subprotocol": (request(drop=("Sec-WebSocket-Protocol",)), {400}),
    "an unknown subprotocol": (request(Sec_WebSocket_Protocol="chat"), {400}),
    "a longer subprotocol": (request(Sec_WebSocket_Protocol="switchyard.v1.jsonx"), {400}),
    "an origin elsewhere": (request(Origin="https://evil.example"), {403}),
    "the origin null": (request(Origin="null"), {403}),
    "no HTTP at all": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 40 + b"\r\n\r\n", {400, 403}),
    "a header of 20,000 bytes": (request(extra="X-Long: %s\r\n" % ("x" * 20000)), {400, 413, 431}),
    "a path of 20,000 bytes": (request("GET /%s HTTP/1.1" % ("w" * 20000)), {400, 404, 414, 431}),
}


class Handshake(SharedCase):
    settings = {"edges": ("edge-a",), "sweeper": False, "nats": False, "redis": False}

    def knock(self, data):
        """The status answered, 101 for an upgrade, None when just closed."""
        try:
            Client(self.edge_a.port, request=data).sock.close()
            return 101
        except Refused as refused:
            self.body = refused.body
            return refused.status
        except ConnectionError:
            return None

    def test_what_must_not_upgrade_does_not(self):
        for name, (data, statuses) in REFUSED.items():
            with self.subTest(name):
                self.assertIn(self.knock(data), statuses | {None})

    def test_the_common_mistakes_get_an_answer_and_not_just_a_closed_socket(self):
        for name in ("another path", "no upgrade", "version 12", "no subprotocol", "an unknown subprotocol",
                     "an origin elsewhere"):
            with self.subTest(name):
                data, statuses = REFUSED[name]
                self.assertIn(self.knock(data), statuses)
                self.assertTrue(self.body)

    def test_what_may_upgrade_does(self):
        port = self.edge_a.port
        good = {
            "the plain request": request(),
            "protobuf": request(Sec_WebSocket_Protocol=PROTOBUF),
            "ours among others": request(Sec_WebSocket_Protocol="chat, switchyard.v1.json, soap"),
            "Upgrade in capitals": request(Upgrade="WebSocket"),
            "keep-alive beside Upgrade": request(Connection="keep-alive, Upgrade"),
            "a query": request("GET /ws?x=1 HTTP/1.1"),
            "the page's own origin": request(Host="127.0.0.1:%d" % port, Origin="http://127.0.0.1:%d" % port),
            "extensions offered": request(Sec_WebSocket_Extensions="permessage-deflate"),
        }
        for name, data in good.items():
            with self.subTest(name):
                self.assertEqual(self.knock(data), 101)

    def test_compression_is_never_agreed(self):
        visitor = Client(self.edge_a.port, headers=[("Sec-WebSocket-Extensions", "permessage-deflate")])
        self.assertNotIn("sec-websocket-extensions", visitor.headers)
        visitor.close()

    def test_our_first_wish_among_the_subprotocols_is_chosen(self):
        visitor = Client(self.edge_a.port, subprotocol="switchyard.v1, switchyard.v1.json")
        self.assertEqual(visitor.headers["sec-websocket-protocol"], "switchyard.v1")
        visitor.close()

    def test_refusals_leave_nothing_behind(self):
        from cluster import wait_until
        import os
        path = "/proc/%d/fd" % self.edge_a.pid
        before = len(os.listdir(path))
        for _ in range(50):
            self.knock(REFUSED["no subprotocol"][0])
        wait_until(lambda: len(os.listdir(path)) <= before + 2, 15, "file descriptors back")

    def test_health_is_plain(self):
        status, _, body = client.http(self.edge_a.port, "/healthz")
        self.assertEqual(status, 200)
        status, _, body = client.http(self.edge_a.private_port, "/healthz")
        self.assertEqual(status, 200)
        status, body = self.edge_a.readiness()
        self.assertEqual(status, 200, body)
