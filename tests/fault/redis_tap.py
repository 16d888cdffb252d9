"""redis_tap.py: between edges and Redis, to see what is under way when Redis answers nothing.

From freeze() on, what each connection sends is kept, as well as passed on. Nothing is answered
meanwhile, so that what was sent on a connection is in flight on it until it is closed."""
import queue
import socket
import threading

KEPT_MAX = 8 << 20  # bytes of one connection


class RedisTap:
    def __init__(self, redis_port, port):
        self.redis_port = redis_port
        self.is_frozen = False
        self.kept = {}  # connection number -> bytes
        self.pairs = []
        self.listener = socket.create_server(("127.0.0.1", port))
        self._start(self._accept)

    def _start(self, run, *arguments):
        threading.Thread(target=run, args=arguments, daemon=True).start()

    def _accept(self):
        while True:
            try:
                edge = self.listener.accept()[0]
            except OSError:
                return  # closed
            try:
                redis = socket.create_connection(("127.0.0.1", self.redis_port), 5)
            except OSError:
                edge.close()
                continue
            redis.settimeout(None)
            self.pairs.append((edge, redis))
            self._start(self._pump, edge, redis, len(self.pairs))
            self._start(self._pump, redis, edge, None)

    def _pump(self, source, sink, number):
        # Reading goes on when the other side takes nothing.
        waiting = queue.Queue()
        self._start(self._write, waiting, sink)
        try:
            while data := source.recv(1 << 16):
                if self.is_frozen and number is not None:
                    kept = self.kept.setdefault(number, bytearray())
                    if len(kept) < KEPT_MAX:
                        kept += data
                waiting.put(data)
        except OSError:
            pass
        waiting.put(b"")

    def _write(self, waiting, sink):
        try:
            while data := waiting.get():
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def freeze(self):
        """Call it when Redis has stopped."""
        self.is_frozen = True

    def in_flight(self):
        """Names of the commands each connection has sent since freeze(); ends keeping."""
        self.is_frozen = False
        return [names_of(bytes(kept)) for kept in self.kept.values()]

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self.listener.close()
        for pair in self.pairs:
            for side in pair:
                side.close()


def names_of(stream):
    """The first words of the commands in what a client sent. A part of one at either end is left out."""
    names = []
    at = stream.find(b"*")
    while at >= 0:
        try:
            end = stream.index(b"\r\n", at)
            words = []
            for _ in range(int(stream[at + 1:end])):
                line = stream.index(b"\r\n", end + 2)
                size = int(stream[end + 3:line])
                words.append(stream[line + 2:line + 2 + size])
                end = line + 2 + size
            if end + 2 > len(stream):
                break
        except ValueError:
            break
        names.append(words[0].decode())
        at = end + 2 if end + 2 < len(stream) else -1
    return names
