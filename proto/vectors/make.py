#!/usr/bin/env python3
"""Writes the .bin files of the golden vectors, and everything in bad/.

The encodings come from protoc, not from this project's code:
    proto/vectors/make.py                # needs protoc; writes *.bin and bad/*
    SY_VECTORS_WRITE=1 ctest -R vectors  # writes *.json from *.bin; read the diff
README.md says what the files are for.
"""
import pathlib
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
PROTO = HERE.parent
CLIENT, SERVER = "switchyard.v1.ClientFrame", "switchyard.v1.ServerFrame"
CLIENT_PROTO, BUS_PROTO = "switchyard/v1/client.proto", "switchyard/bus/v1/bus.proto"
MAX32, MAX64 = 2**32 - 1, 2**64 - 1

# name -> frame in protobuf's text format.
GOOD = {
    "client_empty": "",
    "client_command_empty": "commands {}",
    "client_command_id_only": "commands { id: 1 }",
    "client_hello": 'commands { id: 1 hello { token: "header.claims.signature" device: "phone-7"'
                    ' device_class: "phone" client: "switchyard-js/0.1.0" } }',
    "client_hello_defaults": "commands { id: 1 hello {} }",
    "client_hello_user": 'commands { id: 1 hello { device: "d" user: "alice@example.org" } }',
    "client_send_text": 'commands { id: 2 send { to: "bob" text: "hello" } }',
    "client_send_body": 'commands { id: 3 send { to: "bob" body: "\\000\\001\\376\\377"'
                        ' content_type: "application/octet-stream" } }',
    "client_send_text_empty": 'commands { id: 4 send { to: "bob" text: "" } }',
    "client_send_body_empty": 'commands { id: 5 send { to: "bob" body: "" } }',
    "client_send_no_payload": 'commands { id: 6 send { to: "bob" } }',
    "client_send_full": 'commands { id: 7 send { to: "bob" to_device: "tv" text: "{\\"a\\":1}"'
                        ' content_type: "application/json" message_id: "m-0001" ttl_ms: 4000 } }',
    "client_send_many": 'commands { id: 8 send { to: "bob" to: "carol" to: "" to: "dave" text: "all" } }',
    "client_send_unicode": 'commands { id: 9 send { to: "\u00e9mile" to: "\u5f20\u4f1f"'
                           ' text: "\u00fc\u20ac\U0001f600\u2028\u200f\ufeff" } }',
    "client_send_escapes": 'commands { id: 10 send { to: "q\\"b\\\\s/<>&"'
                           ' text: "\\b\\f\\n\\r\\t\\001\\037\\177" } }',
    "client_send_base64": "".join(
        'commands { send { to: "b" body: "%s" } }' % ("\\377" * n) for n in range(1, 5)),
    "client_ping": "commands { id: 11 ping {} }",
    "client_ping_id_0": "commands { ping {} }",
    "client_refresh": 'commands { id: 12 refresh { token: "header.claims.signature" } }',
    "client_broadcast": 'commands { id: 14 broadcast { text: "to all" content_type: "text/plain"'
                        ' message_id: "m-0002" ttl_ms: 500 } }',
    "client_broadcast_body": 'commands { id: 15 broadcast { body: "\\000\\377" } }',
    "client_max_ints": 'commands { id: %d send { to: "b" ttl_ms: %d } }' % (MAX64, MAX32),
    "client_id_beyond_double": "commands { id: 9007199254740993 ping {} }",
    "client_batch": 'commands { id: 1 hello { device: "d" } } commands { send { to: "a" text: "1" } }'
                    ' commands { id: 3 send { to: "b" text: "2" } } commands { id: 4 ping {} }',
    "client_text_long": 'commands { id: 13 send { to: "bob" text: "%s" } }' % ("0123456789abcdef" * 20),
    "server_empty": "",
    "server_welcome": 'events { id: 1 welcome { node: "edge-1.0123456789abcdef" user: "alice"'
                      ' device: "phone-7" connection: 42 ping_interval_ms: 25000'
                      ' max_frame_bytes: 65536 server_time_ms: 1700000000123 clustered: true } }',
    "server_welcome_alone": 'events { id: 1 welcome { node: "edge.00000000000000ff" user: "u"'
                            ' device: "d" connection: 1 } }',
    "server_message_text": 'events { message { from: "alice" from_device: "phone-7" text: "hello"'
                           ' content_type: "text/plain" message_id: "m-0001"'
                           ' sent_at_ms: 1700000000123 } }',
    "server_message_body": 'events { message { from: "alice" body: "\\000\\001\\376\\377" } }',
    "server_outcome_sent": 'events { id: 2 outcome { status: OUTCOME_STATUS_SENT devices: 2'
                           ' message_id: "m-0001" } }',
    "server_outcome_partial": 'events { id: 8 outcome { status: OUTCOME_STATUS_SENT devices: 1'
                              ' unreached { user: "carol" reason: REASON_OFFLINE }'
                              ' unreached { user: "" reason: REASON_INVALID }'
                              ' unreached { user: "dave" reason: REASON_TIMEOUT } } }',
    "server_outcome_rejected": 'events { id: 2 outcome { status: OUTCOME_STATUS_REJECTED'
                               ' reason: REASON_OFFLINE text: "the user has no device connected"'
                               ' unreached { user: "bob" reason: REASON_OFFLINE } } }',
    "server_pong": "events { id: 11 pong { server_time_ms: 1700000000123 } }",
    "server_failure": 'events { id: 3 failure { reason: REASON_RATE text: "more than the allowed rate"'
                      ' retryable: true retry_after_ms: 250 } }',
    "server_go_away": 'events { go_away { text: "this edge is leaving" reconnect_after_ms: 1500 } }',
    "server_go_away_where": 'events { go_away { text: "this edge is leaving" reconnect_after_ms: 5200'
                            ' url: "wss://b.chat.example:8443/ws" reason: GO_AWAY_REASON_LEAVING } }',
    "server_refreshed": "events { id: 12 refreshed { expires_at_ms: 1700003600000 } }",
    "server_enum_unknown": "events { id: 1 failure { reason: 99 } }",
    "server_enum_negative": "events { id: 1 failure { reason: -1 } }",
    "server_max_ints": "events { id: %d welcome { connection: %d ping_interval_ms: %d"
                       " max_frame_bytes: %d server_time_ms: %d } }"
                       % (MAX64, MAX64, MAX32, MAX32, MAX64),
    "server_all_reasons": "".join("events { failure { reason: %d } }" % n for n in range(13)),
    "server_batch": 'events { id: 11 pong {} } events { message { from: "a" text: "1" } }'
                    ' events { message { from: "b" text: "2" } } events { go_away {} }',
}


# name -> (client's bytes, what is wrong)
BAD_BIN = {
    "tag_zero": (b"\x00\x00", "field number 0"),
    "tag_cut": (b"\x8a", "a tag that does not end"),
    "tag_too_long": (b"\x8a\x80\x80\x80\x80\x00\x00", "a tag of more than 5 bytes"),
    "length_missing": (b"\x0a", "no length after the tag"),
    "length_too_long": (b"\x0a\x05\x08\x01", "a length beyond the end of the frame"),
    "length_huge": (b"\x0a\xff\xff\xff\xff\x0f", "a length of 4 GiB"),
    "length_beyond_parent": (b"\x0a\x04\x1a\x04\x0a\x01a\x00", "a length beyond the end of the command"),
    "varint_cut": (b"\x0a\x02\x08\x80", "a number that does not end"),
    "varint_over_64_bits": (b"\x0a\x0b\x08" + b"\xff" * 9 + b"\x02", "a number of 65 bits"),
    "varint_11_bytes": (b"\x0a\x0c\x08" + b"\x80" * 10 + b"\x00", "a number of 11 bytes"),
    "group": (b"\x0a\x02\x33\x34", "a group"),
    "group_end": (b"\x0c", "the end of a group that has no start"),
    "wire_type_6": (b"\x0a\x02\x36\x00", "wire type 6"),
    "wire_type_of_id": (b"\x0a\x02\x0a\x00", "an id with the wire type of a string"),
    "wire_type_of_commands": (b"\x08\x01", "commands with the wire type of a number"),
    "text_not_utf8": (b"\x0a\x05\x1a\x03\x22\x01\xff", "a text that is not UTF-8"),
    "text_surrogate": (b"\x0a\x07\x1a\x05\x22\x03\xed\xa0\x80", "a text with an encoded surrogate"),
    "text_overlong": (b"\x0a\x06\x1a\x04\x22\x02\xc0\xaf", "a text with an overlong form"),
    "text_nul": (b"\x0a\x07\x1a\x05\x22\x03a\x00b", "a text with U+0000"),
    "user_not_utf8": (b"\x0a\x05\x1a\x03\x0a\x01\x80", "a user id that is not UTF-8"),
    "send_twice": (b"\x0a\x08\x1a\x02\x22\x00\x1a\x02\x22\x00", "two sends in one command"),
    "commands_257": (b"\x0a\x00" * 257, "more than 256 commands"),
    "recipients_1001": (b"\x0a\xd5\x0f\x1a\xd2\x0f" + b"\x0a\x00" * 1001, "more than 1,000 recipients"),
    "json_as_binary": (b'{"commands":[]}', "JSON where protobuf belongs"),
}
BAD_JSON = {
    "empty": (b"", "no text at all"),
    "array": (b"[]", "a list where a frame belongs"),
    "string": (b'"commands"', "a string where a frame belongs"),
    "cut": (b'{"commands":[{"ping":{}', "no end"),
    "trailing_comma": (b'{"commands":[{"ping":{}},]}', "a comma without a command after it"),
    "trailing_text": (b'{"commands":[]} {}', "a second value"),
    "byte_order_mark": (b'\xef\xbb\xbf{"commands":[]}', "a byte order mark"),
    "comment": (b'{"commands":[]/* none */}', "a comment"),
    "single_quotes": (b"{'commands':[]}", "quotes that JSON does not have"),
    "field_unknown": (b'{"commands":[{"send":{"txet":"hi"}}]}', "an unknown field"),
    "field_twice": (b'{"commands":[{"id":1,"id":1}]}', "a field given twice"),
    "field_twice_in_two_spellings": (b'{"commands":[{"send":{"toDevice":"a","to_device":"a"}}]}',
                                     "a field given twice, in both spellings"),
    "oneof_two_members": (b'{"commands":[{"send":{"to":["b"],"text":"a","body":"YQ=="}}]}',
                          "a text and a body"),
    "oneof_two_commands": (b'{"commands":[{"ping":{},"hello":{}}]}', "two commands in one"),
    "to_not_a_list": (b'{"commands":[{"send":{"to":"bob"}}]}', "a string where a list belongs"),
    "null_in_list": (b'{"commands":[null]}', "null in a list"),
    "number_leading_zero": (b'{"commands":[{"id":01}]}', "a number with a leading zero"),
    "number_plus": (b'{"commands":[{"id":+1}]}', "a number with a plus"),
    "number_hex": (b'{"commands":[{"id":0x1}]}', "a number in hex"),
    "number_fraction": (b'{"commands":[{"id":1.5}]}', "an id that is no integer"),
    "number_negative": (b'{"commands":[{"id":-1}]}', "an id below 0"),
    "number_over_64_bits": (b'{"commands":[{"id":"18446744073709551616"}]}', "an id of 65 bits"),
    "number_over_32_bits": (b'{"commands":[{"send":{"ttlMs":4294967296}}]}', "a ttl of 33 bits"),
    "number_empty_string": (b'{"commands":[{"id":""}]}', "an id that is an empty string"),
    "string_control_character": (b'{"commands":[{"send":{"text":"a\nb"}}]}', "a raw line feed in a string"),
    "string_bad_escape": (b'{"commands":[{"send":{"text":"\\x41"}}]}', "an unknown escape"),
    "string_nul": (b'{"commands":[{"send":{"text":"a\\u0000b"}}]}', "U+0000 in a string"),
    "string_lone_high_surrogate": (b'{"commands":[{"send":{"text":"\\ud83d"}}]}', "half of a surrogate pair"),
    "string_lone_low_surrogate": (b'{"commands":[{"send":{"text":"\\ude00"}}]}', "half of a surrogate pair"),
    "string_not_utf8": (b'{"commands":[{"send":{"text":"\xff"}}]}', "a string that is not UTF-8"),
    "base64_length": (b'{"commands":[{"send":{"body":"A"}}]}', "base64 of an impossible length"),
    "base64_alphabet": (b'{"commands":[{"send":{"body":"AA*="}}]}', "a character that is not base64"),
    "base64_padding": (b'{"commands":[{"send":{"body":"AA="}}]}', "wrong padding"),
    "base64_bits_left": (b'{"commands":[{"send":{"body":"AB=="}}]}', "bits beyond the last byte"),
    "nested_too_deep": (b'{"commands":' * 9 + b"1" + b"}" * 9, "not a list, and nested too deep anyway"),
    "commands_257": (b'{"commands":[{}' + b",{}" * 256 + b"]}", "more than 256 commands"),
    "recipients_1001": (b'{"commands":[{"send":{"to":[""' + b',""' * 1000 + b"]}}]}",
                        "more than 1,000 recipients"),
}


# Message of the bus protocol -> its text; written to bus/.
BUS = {
    "Heartbeat": 'node: "edge-1.0123456789abcdef" state: NODE_STATE_UP connections: 3'
                 ' max_connections: 500 url: "ws://127.0.0.1:8000/ws" started_at_ms: 1700000000123'
                 ' seq: 7 directory_ok: true',
    "NodeDown": 'node: "edge-1.0123456789abcdef" links_removed: 500 took_ms: 20',
    "NodeUnheard": 'node: "edge-1.0123456789abcdef" origin: "edge-2.00000000000000ff"',
}


def encode(proto, message, text):
    return subprocess.run(
        ["protoc", f"--proto_path={PROTO}", f"--encode={message}", proto],
        cwd=PROTO, input=text.encode(), stdout=subprocess.PIPE, check=True).stdout


def main():
    for name, text in GOOD.items():
        frame = CLIENT if name.startswith("client_") else SERVER
        (HERE / f"{name}.bin").write_bytes(encode(CLIENT_PROTO, frame, text))
    for name, text in BUS.items():
        (HERE / "bus" / f"{name}.bin").write_bytes(encode(BUS_PROTO, "switchyard.bus.v1." + name, text))
    rows = []
    for extension, frames in (("bin", BAD_BIN), ("json", BAD_JSON)):
        for name, (content, wrong) in frames.items():
            (HERE / "bad" / f"{name}.{extension}").write_bytes(content)
            rows.append(f"| `{name}.{extension}` | {wrong} |\n")
    (HERE / "bad" / "README.md").write_text(
        "# Frames that must be refused\n\n"
        "Each is a client's frame that an edge answers with close code 4000 (malformed): `.bin` as a\n"
        "binary message, `.json` as a text message (one that is not UTF-8 with 1007). Made by\n"
        "`../make.py`.\n\n"
        "| file | what is wrong |\n| --- | --- |\n" + "".join(rows))


if __name__ == "__main__":
    main()
