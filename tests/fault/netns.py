"""netns.py: a network namespace of the test's own, with packet loss and walls inside.

A namespace has its loopback and nothing else, so that no rule can reach the machine's own
network, and nothing outlives it. Processes started and sockets opened inside
`with space.inside():` belong to it for good; the calling thread comes back out.

Rules are of iptables' INPUT chain: what is dropped there was sent, and is silently gone,
as on a wire; a rule names the TCP port it comes from or goes to, and so one direction.

Needs root, ip and iptables; without them need() skips the test.
"""
import atexit
import contextlib
import ctypes
import itertools
import os
import shutil
import subprocess
import unittest

CLONE_NEWNET = 0x40000000
SEARCH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"

numbers = itertools.count()
libc = ctypes.CDLL(None, use_errno=True)


def tool(name):
    path = shutil.which(name, path=SEARCH)
    if path is None:
        raise unittest.SkipTest("%s is not installed" % name)
    return path


def run(*words):
    done = subprocess.run(words, capture_output=True, text=True, timeout=20)
    if done.returncode != 0:
        raise RuntimeError("%s: %s" % (" ".join(words), done.stderr.strip()))
    return done.stdout


def need():
    """Skips the test where no namespace with rules can be made."""
    if os.geteuid() != 0:
        raise unittest.SkipTest("network namespaces need root")
    tool("iptables")
    try:
        with Namespace() as probe:
            probe.rule("-p", "tcp", "--dport", "1", "-m", "statistic", "--mode", "random",
                       "--probability", "0.5", "-j", "DROP")
    except RuntimeError as error:
        raise unittest.SkipTest("no network namespace here: %s" % error) from None


def enter(path):
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(fd, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns " + path)
    finally:
        os.close(fd)


class Namespace:
    def __init__(self):
        self.ip = tool("ip")
        self.name = "switchyard-%d-%d" % (os.getpid(), next(numbers))
        run(self.ip, "netns", "add", self.name)
        atexit.register(self.remove)
        try:
            run(self.ip, "-n", self.name, "link", "set", "lo", "up")
        except BaseException:
            self.remove()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.remove()

    def remove(self):
        """As often as one likes. Processes inside keep the network itself until they end."""
        atexit.unregister(self.remove)
        subprocess.run([self.ip, "netns", "del", self.name], capture_output=True, timeout=20, check=False)

    @contextlib.contextmanager
    def inside(self):
        home = "/proc/thread-self/ns/net"
        back = os.open(home, os.O_RDONLY | os.O_CLOEXEC)
        try:
            enter("/run/netns/" + self.name)
            yield self
        finally:
            if libc.setns(back, CLONE_NEWNET) != 0:
                os.abort()  # nothing may go on in the wrong network
            os.close(back)

    def _iptables(self, *words):
        return run(self.ip, "netns", "exec", self.name, tool("iptables"), "-w", *words)

    def rule(self, *words):
        """Appends to INPUT; takes what iptables takes."""
        self._iptables("-A", "INPUT", *words)

    def clear(self):
        self._iptables("-F", "INPUT")

    def drop(self, to=None, source=None):
        """What comes from port `source`, and goes to port `to`, is silently gone."""
        self.rule(*matching(to, source), "-j", "DROP")

    def reject(self, to=None, source=None):
        """It is answered with a reset."""
        self.rule(*matching(to, source), "-j", "REJECT", "--reject-with", "tcp-reset")

    def lose(self, share, to=None, source=None):
        """A share (0 to 1) of it is gone."""
        self.rule(*matching(to, source), "-m", "statistic", "--mode", "random", "--probability", "%.4f" % share,
                  "-j", "DROP")


def matching(to, source):
    words = ["-p", "tcp"]
    if to is not None:
        words += ["--dport", str(to)]
    if source is not None:
        words += ["--sport", str(source)]
    return words
