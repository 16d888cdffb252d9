"""A cluster whose Redis has a clock that can be set: its wall clock steps, its monotonic clock goes on."""
import os
import struct

from cluster import BUILD, Cluster


class SteppedCluster(Cluster):
    """redis-server asks tests/lib/stepped_clock.c for the time."""

    def _child(self, kind, name, argv):
        if name == "redis":
            self.ahead_path = os.path.join(self.directory, "redis-clock")
            self.step(0)
            argv = ["env", "LD_PRELOAD=" + os.path.join(BUILD, "lib", "stepped_clock.so"),
                    "STEPPED_CLOCK=" + self.ahead_path] + argv
        return super()._child(kind, name, argv)

    def step(self, seconds):
        """Redis's clock is so far ahead of the machine's; whole seconds."""
        fd = os.open(self.ahead_path, os.O_WRONLY | os.O_CREAT, 0o600)
        os.pwrite(fd, struct.pack("=q", seconds), 0)
        os.close(fd)
