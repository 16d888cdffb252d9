"""Whatever a client sends: a Failure, or a close with a code of the table; never a crash,
and nobody else notices."""
import json
import random

import wire
from client import BINARY, CLOSE, CONT, JSON, PING, PROTOBUF, TEXT, Closed, encode_frame
from cluster import SharedCase

MALFORMED, OUT_OF_ORDER = 4000, 4005
BIG = 64 * 1024
HELLO = {"id": "1", "hello": {"user": "mallory", "device": "d"}}


def commands(*list_):
    return json.dumps({"commands": list(list_)})


def deep(levels):
    return '{"commands":[{"id":"1","ping":' + '{"x":' * levels + "1" + "}" * levels + "}]}"


# What cannot be decoded closes the connection with 4000.
MALFORMED_JSON = {
    "an open brace": "{",
    "nothing": "",
    "a number": "17",
    "a list": "[]",
    "a string": '"commands"',
    "no JSON": "commands: []",
    "a NUL": "\0",
    "text behind": '{"commands":[]} x',
    "two values": '{"commands":[]}{"commands":[]}',
    "a comma too many": '{"commands":[],}',
    "an unknown key": '{"kommands":[]}',
    "an unknown key inside": commands({"id": "1", "hello": {"userr": "x"}}),
    "commands that is no list": '{"commands":{}}',
    "a repeated key": '{"commands":[],"commands":[]}',
    "an id that is no number": commands({"id": "one", "ping": {}}),
    "a negative id": commands({"id": -1, "ping": {}}),
    "an id of 2^64": commands({"id": "18446744073709551616", "ping": {}}),
    "a broken number": '{"commands":[{"id":1e,"ping":{}}]}',
    "two commands in one": commands({"id": "1", "ping": {}, "hello": {"user": "x"}}),
    "two payloads": commands({"id": "1", "send": {"to": ["x"], "text": "a", "body": "YQ=="}}),
    "a bad escape": r'{"commands":[{"hello":{"user":"\x41"}}]}',
    "half a surrogate pair": r'{"commands":[{"hello":{"user":"\ud800"}}]}',
    "bad base64": commands({"id": "1", "send": {"to": ["x"], "body": "!!!"}}),
    "a ttl of 2^32": commands({"id": "1", "send": {"to": ["x"], "ttlMs": 4294967296}}),
    "nesting": deep(50),
    "deep lists": "[" * 30000,
    "257 commands": commands(*[{"id": "1", "ping": {}}] * 257),
    "1,001 receivers": commands({"id": "1", "send": {"to": ["u"] * 1001, "text": "x"}}),
}

SEND_OPEN = wire.field(3, b"")
MALFORMED_PROTOBUF = {
    "a truncated length": b"\x0a\x7f",
    "a truncated varint": b"\x0a\x02\x08\xff",
    "a varint of 11 bytes": b"\x0a\x0c\x08" + b"\xff" * 10 + b"\x01",
    "field number 0": b"\x02\x00",
    "a group": b"\x0b\x0c",
    "wire type 7": b"\x0f\x00",
    "the wrong wire type": b"\x08\x01",
    "a string that is not UTF-8": wire.field(1, wire.field(2, wire.field(5, b"\xff\xfe"))),
    "an overlong UTF-8 NUL": wire.field(1, wire.field(2, wire.field(5, b"a\xc0\x80"))),
    "a NUL in a string": wire.field(1, wire.field(2, wire.field(5, b"alice\0x"))),
    "257 commands": wire.field(1, b"") * 257,
    "1,001 receivers": wire.field(1, wire.field(3, wire.field(1, b"u") * 1001)),
    "a length of 2^63": b"\x0a" + b"\xff" * 8 + b"\x7f",
    "noise": bytes(range(1, 255)),
}

# Understood, but with an impossible value: answered with INVALID (as Failure or Outcome), and
# the connection lives on.
INVALID_SENDS = {
    "to nobody": {"to": [], "text": "x"},
    "to an empty name": {"to": [""], "text": "x"},
    "to a name of 129 bytes": {"to": ["u" * 129], "text": "x"},
    "to a name of 4 KiB": {"to": ["u" * 4096], "text": "x"},
    "to a name with CR LF": {"to": ["bob\r\nPUB x 0\r\n\r\n"], "text": "x"},
    "to a name with DEL": {"to": ["bob\x7f"], "text": "x"},
    "to one good name and a bad one": {"to": ["bob", "\n"], "text": "x"},
    "to a device of two users": {"to": ["a", "b"], "toDevice": "d", "text": "x"},
    "to a device of 129 bytes": {"to": ["a"], "toDevice": "d" * 129, "text": "x"},
    "a content type of 129 bytes": {"to": ["a"], "text": "x", "contentType": "t" * 129},
    "a message id of 65 bytes": {"to": ["a"], "text": "x", "messageId": "m" * 65},
    "a ttl of 4,001 ms": {"to": ["a"], "text": "x", "ttlMs": 4001},
}

BAD_HELLOS = {
    "no user": {},
    "an empty user": {"user": ""},
    "a user of 129 bytes": {"user": "u" * 129},
    "a user with a line feed": {"user": "a\nb"},
    "a user with CR LF": {"user": "a\r\nSUB > 1\r\n"},
    "a device of 129 bytes": {"user": "u", "device": "d" * 129},
    "a device with a tab": {"user": "u", "device": "a\tb"},
    "a device class of 33 bytes": {"user": "u", "deviceClass": "c" * 33},
    "a client of 129 bytes": {"user": "u", "client": "c" * 129},
}


class BadInput(SharedCase):
    settings = {"edges": ("edge-a",), "sweeper": False, "nats": False, "redis": False}

    def setUp(self):
        super().setUp()
        self.watcher = self.login("edge-a", "watcher")
        self.addCleanup(self.others_did_not_notice)

    def others_did_not_notice(self):
        self.assert_sent(self.watcher.send("watcher", "still here"), 1)
        self.watcher.message()

    def visitor(self, subprotocol=JSON, user="mallory"):
        visitor = self.edge_a.client(subprotocol=subprotocol)
        self.addCleanup(visitor.sock.close)
        if user:
            visitor.login(user)
        return visitor

    def ends_with(self, visitor, *codes):
        self.assertIn(visitor.closed(), codes)

    def test_malformed_json_closes_with_4000(self):
        for name, text in MALFORMED_JSON.items():
            for user in (None, "mallory"):
                with self.subTest(name, user=user):
                    visitor = self.visitor(JSON, user)
                    visitor.send_frame(TEXT, text.encode())
                    self.ends_with(visitor, MALFORMED)

    def test_malformed_protobuf_closes_with_4000(self):
        for name, data in MALFORMED_PROTOBUF.items():
            for user in (None, "mallory"):
                with self.subTest(name, user=user):
                    visitor = self.visitor(PROTOBUF, user)
                    visitor.send_frame(BINARY, data)
                    self.ends_with(visitor, MALFORMED)

    def test_a_failure_says_what_was_malformed_before_the_close(self):
        visitor = self.visitor()
        visitor.send_frame(TEXT, b'{"kommands":[]}')
        failure = visitor.expect("failure")
        self.assertEqual(failure["reason"], "REASON_INVALID")
        self.assertIn("kommands", failure["text"])
        self.ends_with(visitor, MALFORMED)

    def test_binary_on_the_text_subprotocol_and_the_reverse_close_with_1003(self):
        for subprotocol, opcode in ((JSON, BINARY), (PROTOBUF, TEXT)):
            visitor = self.visitor(subprotocol)
            visitor.send_frame(opcode, b"{}")
            self.ends_with(visitor, 1003)

    def test_text_that_is_not_utf8_closes_with_1007(self):
        for data in (b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b'{"commands":[]}\xe2\x82'):
            visitor = self.visitor()
            visitor.send_frame(TEXT, data)
            self.ends_with(visitor, 1007)

    def test_a_message_at_the_limit_is_taken_and_one_byte_more_closes_with_1009(self):
        empty = len(commands({"id": "7", "send": {"to": ["watcher"], "text": ""}}))
        for extra, is_taken in ((0, True), (1, False)):
            visitor = self.visitor()
            text = commands({"id": "7", "send": {"to": ["watcher"], "text": "x" * (BIG - empty + extra)}})
            visitor.send_frame(TEXT, text.encode())
            if is_taken:
                self.assert_sent(visitor.expect("outcome", "7"), 1)
                self.assertEqual(len(self.watcher.message()["text"]), BIG - empty)
            else:
                self.ends_with(visitor, 1009)

    def test_a_declared_length_is_believed_before_the_bytes_come(self):
        for size in (BIG + 1, 1 << 40, 1 << 62):
            visitor = self.visitor()
            visitor.send_bytes(b"\x81\xff" + size.to_bytes(8, "big") + b"\0\0\0\0" + b"x" * 10)
            self.ends_with(visitor, 1009)

    def test_fragments_count_together(self):
        visitor = self.visitor()
        visitor.send_frame(TEXT, b" " * 40000, fin=False)
        visitor.send_frame(CONT, b" " * 40000, fin=True)
        self.ends_with(visitor, 1009)

    def test_more_than_64_fragments_are_refused(self):
        visitor = self.visitor()
        visitor.send_frame(TEXT, b"{", fin=False)
        try:
            for _ in range(2000):
                visitor.send_frame(CONT, b"", fin=False)
        except OSError:
            pass
        self.ends_with(visitor, 1009, 4000, 1002, None)

    def test_breaches_of_rfc_6455_end_the_connection(self):
        breaches = {
            "reserved bit 1": encode_frame(TEXT, b"{}", rsv=4),
            "reserved bit 3": encode_frame(TEXT, b"{}", rsv=1),
            "reserved data opcode": encode_frame(3, b"x"),
            "reserved control opcode": encode_frame(11, b"x"),
            "ping in fragments": encode_frame(PING, b"x", fin=False),
            "ping of 126 bytes": encode_frame(PING, b"x" * 126),
            "continuation of nothing": encode_frame(CONT, b"x"),
            "message inside a message": encode_frame(TEXT, b"{", fin=False) + encode_frame(TEXT, b"{}"),
        }
        for name, data in breaches.items():
            with self.subTest(name):
                visitor = self.visitor()
                visitor.send_bytes(data)
                self.ends_with(visitor, 1002, 4000, None)

    def test_commands_before_hello_and_a_second_hello_close_with_4005(self):
        for command in ({"send": {"to": ["watcher"], "text": "x"}}, {"ping": {}}, {"refresh": {"token": "x"}}):
            visitor = self.visitor(user=None)
            visitor.command(**command)
            self.assertEqual(visitor.expect("failure")["reason"], "REASON_OUT_OF_ORDER")
            self.ends_with(visitor, OUT_OF_ORDER)
        visitor = self.visitor()
        visitor.send_commands(HELLO)
        self.ends_with(visitor, OUT_OF_ORDER)
        self.watcher.nothing(0.1)

    def test_commands_behind_a_hello_in_one_frame_are_served_in_order(self):
        visitor = self.visitor(user=None)
        visitor.send_commands({"id": "1", "hello": {"user": "eager"}}, {"id": "2", "ping": {}},
                              {"id": "3", "send": {"to": ["watcher"], "text": "at once"}})
        kinds = [visitor.event() for _ in range(3)]
        self.assertIn("welcome", kinds[0], kinds)
        self.assertEqual(sorted(event["id"] for event in kinds), ["1", "2", "3"])
        self.assertEqual(self.watcher.message()["from"], "eager")

    def test_impossible_values_are_answered_and_the_connection_lives_on(self):
        for subprotocol in (JSON, PROTOBUF):
            visitor = self.visitor(subprotocol)
            for name, send in INVALID_SENDS.items():
                with self.subTest(name, subprotocol=subprotocol):
                    id_ = visitor.command(send=send)
                    event = visitor.event()
                    self.assertEqual(event.get("id"), id_, event)
                    answer = event.get("failure") or event.get("outcome")
                    self.assertEqual(answer["reason"], "REASON_INVALID", event)
                    self.assertTrue(answer["text"], event)
                    self.assertNotEqual(answer.get("status"), "OUTCOME_STATUS_SENT")
            id_ = visitor.command(ping={})
            visitor.expect("pong", id_)

    def test_an_empty_command_is_a_failure(self):
        visitor = self.visitor()
        visitor.send_commands({"id": "5"})
        self.assertEqual(visitor.expect("failure", "5")["reason"], "REASON_INVALID")
        visitor.expect("pong", visitor.command(ping={}))

    def test_a_hello_with_impossible_values_does_not_log_in(self):
        for name, hello in BAD_HELLOS.items():
            with self.subTest(name):
                visitor = self.visitor(user=None)
                visitor.command(hello=hello)
                event = visitor.event()
                self.assertIn("failure", event)
                self.assertIn(event["failure"]["reason"], ("REASON_INVALID", "REASON_UNAUTHORIZED"))

    def test_a_nul_in_a_name_does_not_cut_it(self):
        visitor = self.visitor(user=None)
        visitor.send_frame(TEXT, br'{"commands":[{"id":"1","hello":{"user":"watcher\u0000x"}}]}')
        with self.assertRaises((Closed, AssertionError)):
            visitor.expect("welcome", timeout=1)

    def test_pieces_of_any_size_make_whole_messages(self):
        visitor = self.visitor()
        data = encode_frame(TEXT, commands({"id": "9", "ping": {}}).encode())
        for byte in data:
            visitor.send_bytes(bytes([byte]))
        visitor.expect("pong", "9")
        visitor.send_bytes(data * 50)
        for _ in range(50):
            visitor.expect("pong", "9")
        text = '{"commands":[{"id":"10","send":{"to":["watcher"],"text":"grüße"}}]}'.encode()
        cut = text.index(b"\xc3") + 1  # in the middle of a code point
        visitor.send_frame(TEXT, text[:cut], fin=False)
        visitor.send_frame(PING, b"between")
        visitor.send_frame(CONT, text[cut:], fin=True)
        self.assert_sent(visitor.expect("outcome", "10"), 1)
        self.assertEqual(self.watcher.message()["text"], "grüße")

    def test_a_ping_is_ponged_and_a_close_is_echoed(self):
        visitor = self.visitor()
        visitor.send_frame(PING, b"123")
        self.assertEqual(visitor.recv_frame(), (True, 10, b"123"))
        visitor.send_frame(CLOSE, (1000).to_bytes(2, "big"))
        self.ends_with(visitor, 1000)

    def test_noise_never_hurts(self):
        rng = random.Random(20)
        seeds = {JSON: (TEXT, commands(HELLO, {"id": "2", "send": {"to": ["nobody"], "text": "x"}}).encode()),
                 PROTOBUF: (BINARY, wire.encode("ClientFrame", {"commands": [
                     HELLO, {"id": "2", "send": {"to": ["nobody"], "text": "x"}}]}))}
        for round_ in range(150):
            subprotocol = (JSON, PROTOBUF)[round_ % 2]
            opcode, seed = seeds[subprotocol]
            data = bytearray(seed)
            for _ in range(rng.randint(1, 8)):
                data[rng.randrange(len(data))] = rng.randrange(256)
            frame = bytearray(encode_frame(opcode, bytes(data)))
            if round_ % 3 == 0:
                frame[rng.randrange(len(frame))] = rng.randrange(256)
            visitor = self.visitor(subprotocol, None)
            try:
                visitor.send_bytes(bytes(frame))
                visitor.abort()
            except OSError:
                pass
