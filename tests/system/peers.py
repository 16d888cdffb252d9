"""peers.py: just enough Redis and NATS to look behind the edges."""
import socket
import time

from client import SCALE


def encode_command(words):
    out = b"*%d\r\n" % len(words)
    for word in words:
        word = word if isinstance(word, bytes) else str(word).encode()
        out += b"$%d\r\n%s\r\n" % (len(word), word)
    return out


class Redis:
    """Asks one question at a time. Answers are str, int, None or lists of them."""

    def __init__(self, port, user=None, password=None):
        self.sock = socket.create_connection(("127.0.0.1", port), 5 * SCALE)
        self.file = self.sock.makefile("rb")
        if user:
            self.ask("AUTH", user, password)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.file.close()
        self.sock.close()

    def ask(self, *words):
        self.sock.sendall(encode_command(words))
        return self._answer()

    def ask_all(self, commands):
        """The answers to many commands (tuples of words), 200 on the way at a time."""
        answers = []
        for first in range(0, len(commands), 200):
            some = commands[first:first + 200]
            self.sock.sendall(b"".join(encode_command(words) for words in some))
            answers += [self._answer() for _ in some]
        return answers

    def _answer(self):
        line = self.file.readline()
        if not line:
            raise ConnectionError("redis closed")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest.decode()
        if kind == b"-":
            raise RuntimeError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            size = int(rest)
            return None if size < 0 else self.file.read(size + 2)[:-2].decode(errors="surrogateescape")
        if kind == b"*":
            return [self._answer() for _ in range(max(0, int(rest)))]
        raise ValueError(line)

    def hash(self, key):
        flat = self.ask("HGETALL", key)
        return dict(zip(flat[::2], flat[1::2]))

    def keys(self, pattern="*"):
        return sorted(self.ask("KEYS", pattern))


class Nats:
    """Subscribes and remembers what came."""

    def __init__(self, port, user=None, password=None, subject=">"):
        self.sock = socket.create_connection(("127.0.0.1", port), 5 * SCALE)
        self.buffer = b""
        self.messages = []  # (subject, payload)
        login = '"user":"%s","pass":"%s",' % (user, password) if user else ""
        self.sock.sendall(b'CONNECT {%s"verbose":false,"pedantic":false,"name":"test"}\r\n' % login.encode()
                          + (b"SUB %s 1\r\n" % subject.encode() if subject else b""))
        self.flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def publish(self, subject, payload):
        self.sock.sendall(b"PUB %s %d\r\n%s\r\n" % (subject.encode(), len(payload), payload))

    def flush(self):
        """Everything the server had for us before now has been read after it."""
        self.sock.sendall(b"PING\r\n")
        self._read_until_pong()

    def collect(self, seconds):
        time.sleep(seconds)
        self.flush()
        taken, self.messages = self.messages, []
        return taken

    def _line(self):
        while b"\r\n" not in self.buffer:
            self._more()
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        return line

    def _more(self):
        chunk = self.sock.recv(65536)
        if not chunk:
            raise ConnectionError("nats closed")
        self.buffer += chunk

    def _read_until_pong(self):
        while True:
            line = self._line()
            if line.startswith(b"MSG "):
                words = line.decode().split()
                size = int(words[-1])
                while len(self.buffer) < size + 2:
                    self._more()
                self.messages.append((words[1], self.buffer[:size]))
                self.buffer = self.buffer[size + 2:]
            elif line == b"PONG":
                return
            elif line == b"PING":
                self.sock.sendall(b"PONG\r\n")
            elif line.startswith(b"-ERR"):
                raise PermissionError(line.decode())
