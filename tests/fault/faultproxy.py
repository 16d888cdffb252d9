"""faultproxy.py: a bad network between two processes (proxy.c, whose head lists the commands)."""
import os
import re
import select
import subprocess

import cluster
from client import SCALE


class FaultProxy:
    """Forwards .port to the target's port of 127.0.0.1; do("stall up") and so on."""

    def __init__(self, target_port, seed=1):
        self.process = subprocess.Popen([os.path.join(cluster.BIN, "fault_proxy"), str(target_port), str(seed)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.port = int(re.search(r"port=(\d+)", self._line()).group(1))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def _line(self):
        ready, _, _ = select.select([self.process.stdout], [], [], 10 * SCALE)
        line = self.process.stdout.readline().decode() if ready else ""
        if not line:
            raise AssertionError("fault_proxy does not answer; status %s" % self.process.poll())
        return line

    def do(self, command):
        """Returns the proxy's numbers: pairs, accepted, up, down."""
        self.process.stdin.write(command.encode() + b"\n")
        self.process.stdin.flush()
        answer = self._line()
        if not answer.startswith("ok "):
            raise AssertionError("fault_proxy: %s: %s" % (command, answer))
        return {name: int(value) for name, value in re.findall(r"(\w+)=(\d+)", answer)}

    def stop(self):
        if self.process.poll() is None:
            self.process.stdin.close()
            try:
                self.process.wait(5 * SCALE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process.stdout.close()
        if self.process.returncode != 0:
            raise AssertionError("fault_proxy ended with %d" % self.process.returncode)
