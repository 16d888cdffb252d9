"""Who somebody is comes from the login and nothing else; no client byte reaches a NATS
subject or a Redis key unmapped."""
import base64
import hashlib
import hmac
import json
import re
import time

import client
from client import PROTOBUF, Refused
from cluster import BIN, Case, SharedCase, wait_until
import subprocess
import os

SECRET = "a secret of at least thirty-two bytes"
KID = "k1"


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sign(header, claims, secret=SECRET, digest=hashlib.sha256):
    signed = "%s.%s" % (b64(json.dumps(header).encode()), b64(json.dumps(claims).encode()))
    return signed + "." + b64(hmac.new(secret.encode(), signed.encode(), digest).digest())


def token(user="alice", ttl=60, header=None, secret=SECRET, digest=hashlib.sha256, **more):
    now = int(time.time())
    claims = {"sub": user, "iat": now, "exp": now + ttl, "iss": "tests", "aud": "switchyard"}
    claims.update(more)
    claims = {key: value for key, value in claims.items() if value is not None}
    return sign(header or {"alg": "HS256", "typ": "JWT", "kid": KID}, claims, secret, digest)


class Tokens(SharedCase):
    settings = {"edges": ("edge-a",), "sweeper": False, "nats": False, "redis": False,
                "auth__hs256_secret": SECRET, "auth__hs256_kid": KID, "auth__issuer": "tests",
                "auth__audience": "switchyard", "auth__leeway": "0"}

    def visitor(self, **options):
        visitor = self.edge_a.client(**options)
        self.addCleanup(visitor.close)
        return visitor

    def assert_refused(self, hello, **options):
        visitor = self.visitor(**options)
        visitor.command(hello=hello)
        event = visitor.event()
        self.assertEqual(event.get("failure", {}).get("reason"), "REASON_UNAUTHORIZED", event)
        self.assertNotRegex(event["failure"]["text"], "signature|kid|exp", "no oracle for forgers")
        self.assertEqual(visitor.closed(), 4002)

    def test_a_valid_token_logs_in_as_its_subject(self):
        self.assertEqual(self.visitor().login(token=token("alice"))["user"], "alice")
        self.assertEqual(self.visitor(subprotocol=PROTOBUF).login(token=token("bob"))["user"], "bob")
        self.assertEqual(self.visitor().login("carol", token=token("carol"))["user"], "carol")

    def test_only_a_token_with_the_scope_may_broadcast(self):
        plain, allowed = self.visitor(), self.visitor()
        plain.login(token=token("alice", scope="read broadcasting"))
        allowed.login(token=token("bob", scope="read broadcast"))
        self.assertEqual(plain.expect("failure", plain.command(broadcast={"text": "no"}))["reason"],
                         "REASON_UNAUTHORIZED")
        self.assertEqual(allowed.expect("outcome", allowed.command(broadcast={"text": "yes"}))["devices"], 2)
        self.assertEqual(plain.message()["text"], "yes")
        self.assertEqual(allowed.message()["text"], "yes")

    def test_the_handshake_may_carry_the_token(self):
        bearer = self.visitor(headers=[("Authorization", "Bearer " + token("alice"))])
        self.assertEqual(bearer.login()["user"], "alice")

    def test_a_token_too_long_for_a_subprotocol_entry_is_told_where_to_go(self):
        with self.assertRaises(Refused) as refused:
            self.visitor(subprotocol="switchyard.v1.json, bearer." + token("bob"))
        self.assertEqual(refused.exception.status, 400)
        self.assertIn(b"Authorization", refused.exception.body)

    def test_every_forged_or_stale_token_is_refused(self):
        good = token()
        head, claims, signature = good.split(".")
        none = b64(b'{"alg":"none","typ":"JWT","kid":"k1"}')
        now = int(time.time())
        forged = {
            "no token": "", "no dots": "abc", "two parts": head + "." + claims, "four parts": good + ".x",
            "empty signature": "%s.%s." % (head, claims),
            "alg none, no signature": "%s.%s." % (none, claims),
            "alg none, old signature": "%s.%s.%s" % (none, claims, signature),
            "alg None": token(header={"alg": "None", "kid": KID}),
            "alg hs256": token(header={"alg": "hs256", "kid": KID}),
            "alg HS512": token(header={"alg": "HS512", "kid": KID}, digest=hashlib.sha512),
            "alg RS256": token(header={"alg": "RS256", "kid": KID}),
            "another key": token(secret="another secret, thirty-two bytes or more"),
            "another kid": token(header={"alg": "HS256", "kid": "k2"}),
            "no kid": token(header={"alg": "HS256"}),
            "a path as kid": token(header={"alg": "HS256", "kid": "../../dev/null"}),
            "crit": token(header={"alg": "HS256", "kid": KID, "crit": ["b64"]}),
            "one bit of the signature": good[:-2] + ("A" if good[-2] != "A" else "B") + good[-1],
            "a cut signature": good[:-4], "a longer signature": good + "AAAA", "padding": good + "=",
            "claims of another": "%s.%s.%s" % (head, b64(b'{"sub":"admin","exp":9999999999}'), signature),
            "expired": token(exp=now - 5, iat=now - 100), "no exp": token(exp=None),
            "exp as text": token(exp=str(now + 60)), "exp 1e400": good.replace(claims, b64(b'{"exp":1e400}')),
            "not yet": token(nbf=now + 60), "another issuer": token(iss="others"), "no issuer": token(iss=None),
            "another audience": token(aud="others"), "no subject": token(None), "empty subject": token(""),
            "a number as subject": token(7), "a subject with CR LF": token("a\r\nb"),
            "a subject with NUL": token("alice\0x"), "a subject of 129 bytes": token("u" * 129),
            "5,000 bytes": token(extra="x" * 5000),
        }
        for name, text in forged.items():
            with self.subTest(name):
                self.assert_refused({"token": text})

    def test_a_refused_token_in_the_handshake_does_not_log_in(self):
        bad = token(secret="another secret, thirty-two bytes or more")
        try:
            visitor = self.visitor(headers=[("Authorization", "Bearer " + bad)])
        except Refused as refused:
            self.assertEqual(refused.status, 401)
            return
        visitor.command(hello={})
        self.assertEqual(visitor.expect("failure")["reason"], "REASON_UNAUTHORIZED")
        self.assertEqual(visitor.closed(), 4002)

    def test_a_name_in_hello_does_not_change_the_subject(self):
        self.assert_refused({"token": token("alice"), "user": "admin"})
        self.assert_refused({"user": "admin"})

    def test_the_connection_ends_with_its_token_unless_refreshed(self):
        short = self.visitor()
        short.login(token=token("short", ttl=2))
        longer = self.visitor()
        longer.login(token=token("longer", ttl=2))
        longer.expect("refreshed", longer.command(refresh={"token": token("longer", ttl=60)}))
        self.assertEqual(short.closed(6), 4004)
        longer.expect("pong", longer.command(ping={}))

    def test_a_refresh_cannot_change_the_user(self):
        visitor = self.visitor()
        visitor.login(token=token("alice"))
        visitor.command(refresh={"token": token("bob")})
        self.assertEqual(visitor.expect("failure")["reason"], "REASON_UNAUTHORIZED")

    def test_tokens_never_reach_the_log(self):
        canary = token("canary", jti="canary-jti-4711")
        self.visitor().login(token=canary)
        broken = canary[:-3] + "AAA"
        self.assert_refused({"token": broken})
        self.visitor(headers=[("Authorization", "Bearer " + canary)]).close()
        client.http(self.edge_a.port, "/ws?token=" + canary)
        log = self.edge_a.log()
        for part in (canary.split(".")[1], canary.split(".")[2], SECRET):
            self.assertNotIn(part, log)

    def test_gen_token_makes_tokens_the_edge_takes(self):
        config = os.path.join(self.cluster.directory, "edge-a.yaml")
        edge = os.path.join(BIN, "switchyard-edge")
        made = subprocess.run([edge, "gen-token", "-c", config, "--user", "made", "--ttl", "1h"],
                              capture_output=True, text=True)
        self.assertEqual(made.returncode, 0, made.stderr)
        self.assertRegex(made.stdout, r"^[\w-]+\.[\w-]+\.[\w-]+\n$")
        self.assertEqual(self.visitor().login(token=made.stdout.strip())["user"], "made")
        for text, status in ((made.stdout.strip(), 0), (token("x", exp=1), 1)):
            checked = subprocess.run([edge, "check-token", "-c", config, text], capture_output=True, text=True)
            self.assertEqual(checked.returncode == 0, status == 0, checked)


class Forging(SharedCase):
    settings = {"sweeper": False}

    def test_the_sender_is_who_logged_in_whatever_the_payload_says(self):
        mallory = self.login("edge-a", "mallory", "m1")
        for edge in ("edge-a", "edge-b"):
            bob = self.login(edge, "bob", edge)
            mallory.send_commands({"id": "7", "send": {"to": ["bob"], "toDevice": edge, "text": "hi",
                                                       "messageId": "from=alice"}})
            self.assert_sent(mallory.expect("outcome", "7"), 1)
            message = bob.message()
            self.assertEqual((message["from"], message["fromDevice"]), ("mallory", "m1"))
        # A field that would carry a sender is no field of Send.
        mallory.send_commands({"id": "8", "send": {"to": ["bob"], "text": "hi", "from": "alice"}})
        self.assertEqual(mallory.closed(), 4000)

    def test_message_ids_are_passed_on_and_made_when_missing(self):
        alice, bob = self.login("edge-a", "mid-alice"), self.login("edge-b", "mid-bob")
        outcome = alice.send("mid-bob", "x", messageId="my own")
        self.assertEqual((outcome["messageId"], bob.message()["messageId"]), ("my own", "my own"))
        made = [alice.send("mid-bob", "x")["messageId"] for _ in range(3)]
        self.assertEqual(len(set(made)), 3)
        self.assertEqual([bob.message()["messageId"] for _ in range(3)], made)

    def test_names_of_any_shape_reach_no_subject_and_no_key_as_they_are(self):
        names = ["a b", "a.b", "a>b", "*", ">", "node.>", "x*y", "a/b", "{x}", "}{", "a:b", "$SYS", "_INBOX.x",
                 "sy:user:{a}", "ä", "日本語", "🚉" * 32, "u" * 128, "a_20b", "%s%n", "'; FLUSHALL", "\\r\\n", "-", "0"]
        sender = self.login("edge-a", "names-sender")
        with self.cluster.tap(">") as tap:
            for number, name in enumerate(names):
                with self.subTest(name):
                    receiver = self.login("edge-b", name, name)
                    self.assert_sent(sender.send(name, "to %d" % number, toDevice=name), 1)
                    self.assertEqual(receiver.message()["text"], "to %d" % number)
                    self.assert_sent(receiver.send("names-sender", "back"), 1)
                    self.assertEqual(sender.message()["from"], name)
            heard = {subject for subject, _ in tap.collect(1.2)}
        for subject in heard:
            self.assertRegex(subject, r"\A(node|heartbeat|event|unheard)(\.[a-z0-9-]+)+\Z")
        with self.cluster.keys() as keys:
            for key in keys.keys():
                self.assertRegex(key, r"\Asy:(nodes|gen|[a-z]+:\{[A-Za-z0-9_.-]+\}|\{sweeper\}:[a-z]+)\Z")

    def test_two_names_never_share_a_key(self):
        # "a b" is mapped to a_20b, which is also a name of its own.
        first, second = self.login("edge-a", "c d"), self.login("edge-b", "c_20d")
        sender = self.login("edge-a", "pair-sender")
        self.assert_sent(sender.send("c d", "one"), 1)
        self.assert_sent(sender.send("c_20d", "two"), 1)
        self.assertEqual((first.message()["text"], second.message()["text"]), ("one", "two"))
        first.nothing(0.1)
        second.nothing(0.1)

    def test_garbage_on_the_bus_is_dropped(self):
        alice, bob = self.login("edge-a", "bus-alice"), self.login("edge-b", "bus-bob")
        before = self.edge_b.counters()["bus_malformed"]
        subject = "node." + self.edge_b.node
        garbage = [b"", b"\xff" * 100, b"\x0a\x05ab", b"x" * 60000, bytes(range(256)), b"\x12\x80\x80\x80\x80\x10"]
        with self.cluster.tap(None) as tap:
            for payload in garbage:
                tap.publish(subject, payload)
                tap.publish("heartbeat.edge-x", payload)
                tap.publish("event.node_down", payload)
            tap.flush()
        wait_until(lambda: self.edge_b.counters()["bus_malformed"] > before, what="counted")
        self.assert_sent(alice.send("bus-bob", "after the noise"), 1)
        self.assertEqual(bob.message()["text"], "after the noise")


class Modes(Case):
    def test_development_mode_is_for_loopback_only(self):
        cluster = self.own()
        edge = cluster.start_edge("edge-x", nats=False, redis=False, listen__host="0.0.0.0")
        edge.expected_exit = 78
        edge.process.wait(5 * client.SCALE)
        self.assertIn("auth.hs256_secret", edge.log())
