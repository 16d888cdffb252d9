"""wire.py: switchyard.v1 in protobuf, by hand.

Independent of proto/ on purpose: a mistake made twice in the same way would not
show. Messages are dictionaries shaped like proto3 JSON, so that a test reads the
same under both subprotocols. The tables follow proto/switchyard/v1/client.proto.
"""
import base64

STATUS = {1: "OUTCOME_STATUS_SENT", 2: "OUTCOME_STATUS_REJECTED"}
REASON = {
    1: "REASON_OFFLINE", 2: "REASON_NO_ROUTE", 3: "REASON_BUSY", 4: "REASON_TOO_LARGE",
    5: "REASON_RATE", 6: "REASON_UNAUTHORIZED", 7: "REASON_EXPIRED", 8: "REASON_TIMEOUT",
    9: "REASON_DIRECTORY_UNAVAILABLE", 10: "REASON_INVALID", 11: "REASON_OUT_OF_ORDER",
    12: "REASON_UNAVAILABLE",
}
GO_AWAY_REASON = {1: "GO_AWAY_REASON_LEAVING", 2: "GO_AWAY_REASON_NO_DIRECTORY",
                  3: "GO_AWAY_REASON_NO_FORWARDING"}

# field number -> (JSON name, type, repeated); a type is a scalar's name, an enum's
# numbers (dict), or a message's name in MESSAGES.
MESSAGES = {
    "ClientFrame": {1: ("commands", "Command", True)},
    "Command": {1: ("id", "uint64", False), 2: ("hello", "Hello", False), 3: ("send", "Send", False),
                4: ("ping", "Empty", False), 5: ("refresh", "Refresh", False)},
    "Hello": {1: ("token", "string", False), 2: ("device", "string", False),
              3: ("deviceClass", "string", False), 4: ("client", "string", False),
              5: ("user", "string", False)},
    "Send": {1: ("to", "string", True), 2: ("toDevice", "string", False), 3: ("body", "bytes", False),
             4: ("text", "string", False), 5: ("contentType", "string", False),
             6: ("messageId", "string", False), 7: ("ttlMs", "uint32", False)},
    "Refresh": {1: ("token", "string", False)},
    "Empty": {},
    "ServerFrame": {1: ("events", "Event", True)},
    "Event": {1: ("id", "uint64", False), 2: ("welcome", "Welcome", False),
              3: ("message", "Message", False), 4: ("outcome", "Outcome", False),
              5: ("pong", "Pong", False), 6: ("failure", "Failure", False),
              7: ("goAway", "GoAway", False), 8: ("refreshed", "Refreshed", False)},
    "Welcome": {1: ("node", "string", False), 2: ("user", "string", False), 3: ("device", "string", False),
                4: ("connection", "uint64", False), 5: ("pingIntervalMs", "uint32", False),
                6: ("maxFrameBytes", "uint32", False), 7: ("serverTimeMs", "uint64", False),
                8: ("clustered", "bool", False)},
    "Message": {1: ("from", "string", False), 2: ("fromDevice", "string", False),
                3: ("body", "bytes", False), 4: ("text", "string", False),
                5: ("contentType", "string", False), 6: ("messageId", "string", False),
                7: ("sentAtMs", "uint64", False)},
    "Outcome": {1: ("status", STATUS, False), 2: ("reason", REASON, False), 3: ("text", "string", False),
                4: ("retryable", "bool", False), 5: ("devices", "uint32", False),
                6: ("unreached", "Unreached", True), 7: ("messageId", "string", False)},
    "Unreached": {1: ("user", "string", False), 2: ("reason", REASON, False)},
    "Pong": {1: ("serverTimeMs", "uint64", False)},
    "Refreshed": {1: ("expiresAtMs", "uint64", False)},
    "Failure": {1: ("reason", REASON, False), 2: ("text", "string", False),
                3: ("retryable", "bool", False), 4: ("retryAfterMs", "uint32", False)},
    "GoAway": {1: ("text", "string", False), 2: ("reconnectAfterMs", "uint32", False),
               3: ("url", "string", False), 4: ("reason", GO_AWAY_REASON, False)},
}


def varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("varint too long")


def field(number, payload):
    """A length-delimited field."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def encode(kind, message):
    by_name = {name: (number, type_, many) for number, (name, type_, many) in MESSAGES[kind].items()}
    out = b""
    for name, value in message.items():
        number, type_, many = by_name[name]
        for item in value if many else [value]:
            out += encode_one(number, type_, item)
    return out


def encode_one(number, type_, value):
    if type_ in ("uint64", "uint32", "bool"):
        return varint(number << 3) + varint(int(value))
    if type_ == "string":
        return field(number, value.encode() if isinstance(value, str) else value)
    if type_ == "bytes":
        return field(number, base64.b64decode(value))
    if isinstance(type_, dict):
        raise ValueError("clients send no enums")
    return field(number, encode(type_, value))


def decode(kind, data):
    message = {}
    at = 0
    while at < len(data):
        key, at = read_varint(data, at)
        name, type_, many = MESSAGES[kind][key >> 3]
        if key & 7 == 0:
            raw, at = read_varint(data, at)
        elif key & 7 == 2:
            size, at = read_varint(data, at)
            raw, at = data[at:at + size], at + size
            if len(raw) != size:
                raise ValueError("truncated")
        else:
            raise ValueError("wire type %d" % (key & 7))
        value = decode_one(type_, raw)
        if many:
            message.setdefault(name, []).append(value)
        else:
            message[name] = value
    return message


def decode_one(type_, raw):
    if type_ == "uint64":
        return str(raw)
    if type_ == "uint32":
        return raw
    if type_ == "bool":
        return bool(raw)
    if type_ == "string":
        return raw.decode()
    if type_ == "bytes":
        return base64.b64encode(raw).decode()
    if isinstance(type_, dict):
        return type_[raw]
    return decode(type_, raw)
