"""client.py: a WebSocket client for tests, from a raw socket up.

It does what it is told, also what no client should: any header, any opcode, any
length, unmasked or half a frame. Single-threaded: frames are read when a test asks.
"""
import base64
import hashlib
import json
import os
import select
import socket
import ssl
import struct
import time

import wire

JSON = "switchyard.v1.json"
PROTOBUF = "switchyard.v1"
CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
# Sanitizer builds are several times slower; every deadline below is stretched by this.
SCALE = float(os.environ.get("SY_TIME_SCALE", "1"))
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Refused(Exception):
    """The handshake was answered with something else than 101."""

    def __init__(self, status, headers, body):
        super().__init__("%s %r" % (status, body[:200]))
        self.status = status
        self.headers = headers
        self.body = body


class Closed(Exception):
    """The connection has ended. code: from the close frame, None if there was none."""

    def __init__(self, code, reason=""):
        super().__init__("closed %s %s" % (code, reason))
        self.code = code
        self.reason = reason


def read_response(sock, timeout):
    """One HTTP response from a socket: (status, headers, body, bytes after it)."""
    sock.settimeout(timeout)
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = sock.recv(65536)
        if not chunk:
            raise ConnectionError("closed before the response head: %r" % data)
        data += chunk
    head, _, rest = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    status = int(lines[0].split()[1])
    headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    if status == 101:
        return status, headers, b"", rest
    length = headers.get("content-length")
    while length is None or len(rest) < int(length):
        try:
            chunk = sock.recv(65536)
        except OSError:
            break
        if not chunk:
            break
        rest += chunk
    return status, headers, rest, b""


def http(port, path, method="GET", headers=(), body=b"", host="127.0.0.1", timeout=5, raw=None):
    """A plain HTTP request: (status, headers, body). raw replaces the whole request."""
    with socket.create_connection((host, port), timeout * SCALE) as sock:
        if raw is None:
            head = "%s %s HTTP/1.1\r\nHost: %s:%d\r\nConnection: close\r\n" % (method, path, host, port)
            head += "".join("%s: %s\r\n" % pair for pair in headers)
            if body:
                head += "Content-Length: %d\r\n" % len(body)
            raw = head.encode() + b"\r\n" + body
        sock.sendall(raw)
        status, headers, body, _ = read_response(sock, timeout * SCALE)
        return status, headers, body


def tls_context(ca_file):
    context = ssl.create_default_context(cafile=ca_file)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


class Client:
    """One WebSocket. After connect() speak frames; after login() commands and events."""

    def __init__(self, port, subprotocol=JSON, host="127.0.0.1", path="/ws", headers=(), timeout=5,
                 rcvbuf=None, source=None, tls=None, request=None):
        self.timeout = timeout * SCALE
        self.subprotocol = subprotocol
        self.buffer = b""
        self.fragments = b""
        self.events = []
        self.answers_pings = True
        self.pings = 0
        self.ended = None
        self.user = self.device = self.node = None
        self.next_id = 1
        self.sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        if source:
            self.sock.bind((source, 0))
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect((host, port))
            if tls:
                self.sock = tls.wrap_socket(self.sock, server_hostname="localhost")
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._handshake(host, port, path, headers, request)
        except BaseException:
            self.sock.close()
            raise

    def _handshake(self, host, port, path, headers, request):
        key = base64.b64encode(os.urandom(16))
        if request is None:
            lines = ["GET %s HTTP/1.1" % path, "Host: %s:%d" % (host, port), "Upgrade: websocket",
                     "Connection: Upgrade", "Sec-WebSocket-Version: 13",
                     "Sec-WebSocket-Key: " + key.decode()]
            if self.subprotocol:
                lines.append("Sec-WebSocket-Protocol: " + self.subprotocol)
            lines += ["%s: %s" % pair for pair in headers]
            request = ("\r\n".join(lines) + "\r\n\r\n").encode()
        self.sock.sendall(request)
        status, self.headers, body, self.buffer = read_response(self.sock, self.timeout)
        if status != 101:
            raise Refused(status, self.headers, body)
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest()).decode()
        if b"Sec-WebSocket-Key: " + key in request and self.headers.get("sec-websocket-accept") != accept:
            raise AssertionError("wrong Sec-WebSocket-Accept")
        chosen = self.headers.get("sec-websocket-protocol", "")
        self.subprotocol = chosen or self.subprotocol
        self.is_json = self.subprotocol == JSON

    # Frames.

    def send_frame(self, opcode, payload=b"", fin=True, rsv=0, mask=True):
        self.send_bytes(encode_frame(opcode, payload, fin, rsv, mask))

    def send_bytes(self, data):
        self.sock.settimeout(self.timeout)
        self.sock.sendall(data)

    def _fill(self, need, deadline):
        while len(self.buffer) < need:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("no frame in time")
            if not (isinstance(self.sock, ssl.SSLSocket) and self.sock.pending()):
                ready, _, _ = select.select([self.sock], [], [], left)
                if not ready:
                    continue
            try:
                chunk = self.sock.recv(65536)
            except ConnectionError:
                chunk = b""
            if not chunk:
                self._end(None, "no close frame")
            self.buffer += chunk

    def _end(self, code, reason):
        if self.ended is None:
            self.ended = Closed(code, reason)
        self.sock.close()
        raise self.ended

    def recv_frame(self, timeout=None):
        """(fin, opcode, payload) of the next frame, whatever it is."""
        if self.ended:
            raise self.ended
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout * SCALE)
        self._fill(2, deadline)
        first, second = self.buffer[0], self.buffer[1]
        if second & 0x80:
            raise AssertionError("a server must not mask")
        if first & 0x70:
            raise AssertionError("reserved bits set")
        size, head = second & 0x7F, 2
        if size >= 126:
            head = 4 if size == 126 else 10
            self._fill(head, deadline)
            size = int.from_bytes(self.buffer[2:head], "big")
        self._fill(head + size, deadline)
        payload = self.buffer[head:head + size]
        self.buffer = self.buffer[head + size:]
        return bool(first & 0x80), first & 15, payload

    def recv_message(self, timeout=None):
        """(opcode, payload) of the next text or binary message; raises Closed at the end."""
        until = time.monotonic() + (self.timeout if timeout is None else timeout * SCALE)
        while True:
            left = max(0.0, until - time.monotonic()) / SCALE
            fin, opcode, payload = self.recv_frame(left)
            if opcode == PING:
                self.pings += 1
                if self.answers_pings:
                    self.send_frame(PONG, payload)
            elif opcode == CLOSE:
                code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else 1005
                try:
                    self.send_frame(CLOSE, payload[:2])
                except OSError:
                    pass
                self._end(code, payload[2:].decode())
            elif opcode in (TEXT, BINARY, CONT):
                if not fin:
                    raise AssertionError("the edge sends whole messages")
                return opcode, payload

    # Commands and events.

    def send_commands(self, *commands):
        frame = {"commands": list(commands)}
        if self.is_json:
            self.send_frame(TEXT, json.dumps(frame).encode())
        else:
            self.send_frame(BINARY, wire.encode("ClientFrame", frame))

    def command(self, **command):
        """Sends one command with a fresh id (given as id= otherwise) and returns the id."""
        if "id" not in command:
            command["id"] = str(self.next_id)
            self.next_id += 1
        self.send_commands(command)
        return command["id"]

    def event(self, timeout=None):
        """The next event."""
        while not self.events:
            opcode, payload = self.recv_message(timeout)
            if self.is_json:
                assert opcode == TEXT, opcode
                frame = json.loads(payload)
            else:
                assert opcode == BINARY, opcode
                frame = wire.decode("ServerFrame", payload)
            self.events += frame.get("events", [])
        return self.events.pop(0)

    def expect(self, kind, id=None, timeout=None):
        """The next event of this kind (and id), skipping and keeping the others."""
        kept = []
        until = time.monotonic() + (self.timeout if timeout is None else timeout * SCALE)
        try:
            while True:
                event = self.event(max(0.0, until - time.monotonic()) / SCALE)
                if kind in event and (id is None or event.get("id") == id):
                    return event[kind]
                kept.append(event)
        except TimeoutError:
            raise AssertionError("no %s (id %s); of %d other events the last: %s"
                                 % (kind, id, len(kept), kept[-3:])) from None
        finally:
            self.events = kept + self.events

    def nothing(self, seconds=0.3):
        """Asserts that no event comes for so long."""
        try:
            event = self.event(seconds / SCALE)
        except TimeoutError:
            return
        raise AssertionError("unexpected %s" % event)

    def login(self, user=None, device=None, token=None):
        hello = {"client": "system-test"}
        if user is not None:
            hello["user"] = user
        if device is not None:
            hello["device"] = device
        if token is not None:
            hello["token"] = token
        welcome = self.expect("welcome", self.command(hello=hello))
        self.user, self.device, self.node = welcome["user"], welcome["device"], welcome["node"]
        return welcome

    def send(self, to, text=None, timeout=None, **more):
        """Sends to a user or a list of users and returns the Outcome."""
        send = dict(more, to=[to] if isinstance(to, str) else to)
        if text is not None:
            send["text"] = text
        return self.expect("outcome", self.command(send=send), timeout)

    def message(self, timeout=None):
        return self.expect("message", timeout=timeout)

    def closed(self, timeout=None):
        """The close code, once the edge has closed; None without a close frame."""
        until = time.monotonic() + (self.timeout if timeout is None else timeout * SCALE)
        try:
            while True:
                self.recv_message(max(0.0, until - time.monotonic()) / SCALE)
        except Closed as end:
            return end.code
        except TimeoutError:
            raise AssertionError("still open") from None

    def close(self, code=1000):
        if self.ended is None:
            try:
                self.send_frame(CLOSE, code.to_bytes(2, "big"))
                self.closed(2)
            except (OSError, AssertionError):
                pass
        self.sock.close()

    def abort(self):
        """Gone without a word: a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()
        self.ended = self.ended or Closed(None, "aborted here")


def encode_frame(opcode, payload=b"", fin=True, rsv=0, mask=True):
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    bit = 0x80 if mask else 0
    if len(payload) < 126:
        head += bytes([bit | len(payload)])
    elif len(payload) < 65536:
        head += bytes([bit | 126]) + len(payload).to_bytes(2, "big")
    else:
        head += bytes([bit | 127]) + len(payload).to_bytes(8, "big")
    if not mask:
        return head + payload
    key = os.urandom(4)
    stream = (key * (len(payload) // 4 + 1))[:len(payload)]
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(stream, "big")
    return head + key + masked.to_bytes(len(payload), "big")
