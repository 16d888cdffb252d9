"""cluster.py: nats-server, redis-server, edges and a sweeper as children of a test.

Everything lives in a private temporary directory on private ports of 127.0.0.1,
with passwords made for the occasion, and ends with the test, by process id. A child that
dies unasked, ends with another status than 0, or leaves a sanitizer report fails the test.

BUILD_DIR names the build to test (build/release); SY_TIME_SCALE stretches deadlines.
"""
import json
import os
import random
import re
import resource
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

import client
import peers
from client import SCALE

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
BUILD = os.path.abspath(os.environ.get("BUILD_DIR", os.path.join(ROOT, "build", "release")))
BIN = os.path.join(BUILD, "bin")
SANITIZED = os.environ.get("SY_SANITIZED", "") != ""
LEASE_S = 10  # LEASE_MS of proto/keys.h

TROUBLE = re.compile(r"AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:|Assertion `|"
                     r"double free|corrupted size|stack smashing")
READY_KEYS = re.compile(r"\bport=(\d+).*\bprivate_port=(\d+)")


def raise_file_limit():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


raise_file_limit()


port_claims = []  # an abstract socket per port handed out, held as long as this process lives


def claim_port(port):
    """Whether nobody listens on it, and no other test was given it; then it is ours."""
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind("\0switchyard-test-port-%d" % port)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
    except OSError:
        claim.close()
        return False
    port_claims.append(claim)
    return True


def free_port(row=1):
    """A port, or the first of so many in a row. Below the ephemeral range, so that no outgoing
    connection takes it while a server of ours is down."""
    while True:
        first = random.randrange(20000, 32000)
        if all(claim_port(port) for port in range(first, first + row)):
            return first


def find_server(name):
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/local/sbin")
    if path is None:
        raise unittest.SkipTest(name + " is not installed")
    return path


def wait_until(claim, timeout=10, what="it", every=0.02):
    """Polls until claim() is true and returns its value."""
    deadline = time.monotonic() + timeout * SCALE
    while True:
        value = claim()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError("%s did not become true within %gs" % (what, timeout * SCALE))
        time.sleep(every)


def to_yaml(settings):
    """{"listen.port": 1} as nested YAML. JSON scalars are YAML scalars."""
    tree = {}
    for key, value in settings.items():
        section, _, name = key.rpartition(".")
        tree.setdefault(section, {})[name] = value
    return "".join("%s:\n%s" % (section, "".join("  %s: %s\n" % (k, json.dumps(v)) for k, v in rows.items()))
                   for section, rows in tree.items())


class Child:
    """One process. Its output goes to a file that is read, never waited for."""

    def __init__(self, name, argv, directory, env=None):
        self.name = name
        self.argv = argv
        self.log_path = os.path.join(directory, "%s.%d.log" % (name, len(os.listdir(directory))))
        self.expected_exit = None  # set by whoever ends it
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env)
        self.pid = self.process.pid

    def is_running(self):
        return self.process.poll() is None

    def log(self):
        with open(self.log_path, errors="replace") as log:
            return log.read()

    def wait_log(self, pattern, timeout=10):
        """The match of a regular expression in the log, once it is there."""
        def look():
            match = re.search(pattern, self.log())
            if match is None and not self.is_running():
                raise AssertionError("%s ended with %s:\n%s" % (self.name, self.process.returncode,
                                                                self.log()[-3000:]))
            return match
        return wait_until(look, timeout, "%s: /%s/" % (self.name, pattern))

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        """kill -9."""
        self.expected_exit = -signal.SIGKILL
        self.signal(signal.SIGKILL)
        self.process.wait()

    def terminate(self, timeout=15):
        """SIGTERM, and it must end well. Returns the seconds it took."""
        if not self.is_running():
            return 0.0
        begin = time.monotonic()
        self.expected_exit = 0
        self.signal(signal.SIGTERM)
        try:
            self.process.wait(timeout * SCALE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError("%s did not end on SIGTERM within %gs:\n%s"
                                 % (self.name, timeout * SCALE, self.log()[-3000:])) from None
        return time.monotonic() - begin

    def complaint(self):
        """What is wrong with how this child lived and ended, or None."""
        status = self.process.poll()
        found = TROUBLE.search(self.log())
        if found:
            return "%s: %s\n%s" % (self.name, found.group(0), self.log()[max(0, found.start() - 500):][:6000])
        if status is not None and status != (0 if self.expected_exit is None else self.expected_exit):
            return "%s ended with %s\n%s" % (self.name, status, self.log()[-3000:])
        if status is not None and self.expected_exit is None:
            return "%s ended unasked\n%s" % (self.name, self.log()[-3000:])
        return None


class Edge(Child):
    port = private_port = None

    def wait_listening(self, timeout=10):
        ready = self.wait_log(r"\bedge_listening\b.*\n", timeout).group(0)
        self.port, self.private_port = (int(text) for text in READY_KEYS.search(ready).groups())
        self.node = re.search(r"\bnode=(\S+)", ready).group(1)
        return self

    def readiness(self):
        """(status, body) of /readyz; (0, {}) while nothing answers."""
        try:
            status, _, body = client.http(self.private_port, "/readyz", timeout=2)
            return status, json.loads(body or b"{}")
        except OSError:
            return 0, {}

    def wait_ready(self, timeout=15):
        if self.port is None:
            self.wait_listening(timeout)

        def look():
            if not self.is_running():
                raise AssertionError("%s ended with %s:\n%s" % (self.name, self.process.returncode,
                                                                self.log()[-3000:]))
            return self.readiness()[0] == 200
        wait_until(look, timeout, self.name + " ready")
        return self

    def counters(self):
        status, _, body = client.http(self.private_port, "/v0/counters")
        if status != 200:
            raise AssertionError("counters: %s %r" % (status, body))
        return {name: value for name, value in json.loads(body).items() if isinstance(value, int)}

    def memory(self):
        """Resident bytes."""
        with open("/proc/%d/statm" % self.pid) as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def client(self, **options):
        return client.Client(self.port, **options)

    def login(self, user, device=None, **options):
        """A connected, logged-in client."""
        visitor = client.Client(self.port, **options)
        visitor.login(user, device)
        return visitor


class Cluster:
    """Starts nothing by itself; start(...) is the usual whole."""

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="switchyard-test-")
        self.children = []
        self.nats = self.redis = self.sweeper = None
        self.edges = {}
        self.nats_port = free_port()
        self.nats_monitor = free_port()
        self.redis_port = free_port()
        self.password = secrets.token_hex(16)
        self.clients = []

    def start(self, edges=("edge-a", "edge-b"), sweeper=True, nats=True, redis=True, **settings):
        """Brings up a ready cluster. settings: as for start_edge, for every edge."""
        try:
            if nats:
                self.start_nats()
            if redis:
                self.start_redis()
            for name in edges:
                self.start_edge(name, nats=nats, redis=redis, **settings)
            if sweeper:
                self.start_sweeper()
            for edge in self.edges.values():
                edge.wait_ready()
            if sweeper:
                self.sweeper.wait_log("sweeper_leader")
            # Peers know each other by heartbeats, once a second.
        except BaseException as error:
            logs = "".join("--- %s\n%s" % (child.name, child.log()[-1500:]) for child in self.children)
            self.stop(quietly=True)
            raise AssertionError("the cluster did not start: %s\n%s" % (error, logs)) from error
        return self

    def _child(self, kind, name, argv):
        env = {key: value for key, value in os.environ.items() if not key.startswith("SWITCHYARD_")}
        child = kind(name, argv, self.directory, env)
        self.children.append(child)
        return child

    def write_nats(self, **users):
        """Writes nats.conf; users: more users by name, each with its permissions as nats-server reads them."""
        path = os.path.join(self.directory, "nats.conf")
        more = "".join(", { user: %s, password: \"%s\", permissions: { %s } }" % (name, self.password, rules)
                       for name, rules in users.items())
        # Users inside accounts{}: in nats-server 2.9 an authorization block beside accounts
        # lets anybody in (CVE-2023-47090).
        with open(path, "w") as conf:
            conf.write("host: 127.0.0.1\nport: %d\nhttp: 127.0.0.1:%d\nwrite_deadline: \"500ms\"\n"
                       "accounts { switchyard { users: [ { user: switchyard, password: \"%s\" }%s ] } }\n"
                       % (self.nats_port, self.nats_monitor, self.password, more))
        return path

    def start_nats(self, **users):
        path = self.write_nats(**users)
        self.nats = self._child(Child, "nats", [find_server("nats-server"), "-c", path])
        return self.nats

    def start_redis(self):
        acl = os.path.join(self.directory, "redis.acl")
        with open(acl, "w") as rules:
            rules.write("user default off\nuser switchyard on >%s ~sy:* +@all\n"
                        "user test on >%s ~* +@all\n" % (self.password, self.password))
        self.redis = self._child(Child, "redis", [
            find_server("redis-server"), "--bind", "127.0.0.1", "--port", str(self.redis_port),
            "--save", "", "--appendonly", "no", "--dir", self.directory, "--aclfile", acl])
        return self.redis

    def _backends(self, nats, redis):
        settings = {}
        if nats:
            settings.update({"nats.url": "nats://127.0.0.1:%d" % self.nats_port,
                             "nats.user": "switchyard", "nats.password": self.password})
        if redis:
            settings.update({"redis.url": "redis://127.0.0.1:%d" % self.redis_port,
                             "redis.user": "switchyard", "redis.password": self.password})
        return settings

    def _write_settings(self, name, settings):
        path = os.path.join(self.directory, name + ".yaml")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
            out.write(to_yaml(settings))
        return path

    def start_edge(self, name="edge-a", nats=True, redis=True, **more):
        """Starts an edge, without waiting. more: settings with '__' for '.'; None leaves one out."""
        settings = {"node.name": name, "listen.host": "127.0.0.1", "listen.port": 0,
                    "private.host": "127.0.0.1", "private.port": 0, "log.level": "info", "log.format": "text",
                    "connections.max_per_address": 4000, "connections.max_half_open": 2000}
        settings.update(self._backends(nats, redis))
        settings.update({key.replace("__", "."): value for key, value in more.items()})
        settings = {key: value for key, value in settings.items() if value is not None}
        path = self._write_settings(name, settings)
        edge = self._child(Edge, name, [os.path.join(BIN, "switchyard-edge"), "serve", "-c", path])
        self.edges[name] = edge
        return edge

    def start_sweeper(self, name="sweeper", **more):
        settings = {"node.name": name, "log.level": "info", "log.format": "text"}
        settings.update(self._backends(True, True))
        settings.update({key.replace("__", "."): value for key, value in more.items()})
        path = self._write_settings(name, settings)
        self.sweeper = self._child(Child, name, [os.path.join(BIN, "switchyard-sweeper"), "serve", "-c", path])
        return self.sweeper

    def __getitem__(self, name):
        return self.edges[name]

    def login(self, edge, user, device=None, **options):
        """A logged-in client that is closed with the cluster."""
        visitor = self.edges[edge].login(user, device, **options)
        self.clients.append(visitor)
        return visitor

    def keys(self):
        """A Redis client that may see everything."""
        return peers.Redis(self.redis_port, "test", self.password)

    def tap(self, subject=">"):
        """A NATS client that hears everything."""
        return peers.Nats(self.nats_port, "switchyard", self.password, subject)

    def links(self, user):
        """device -> row, as Redis has it; user must be all letters and digits."""
        with self.keys() as keys:
            return keys.hash("sy:user:{%s}" % user)

    def cli(self, *words, timeout=20, **options):
        """Runs the command-line tool; a CompletedProcess with text. It finds this cluster's Redis."""
        url = "redis://switchyard:%s@127.0.0.1:%d" % (self.password, self.redis_port)
        return subprocess.run([os.path.join(BIN, "switchyard"), *words], capture_output=True, text=True,
                              timeout=timeout * SCALE, env=dict(os.environ, SWITCHYARD_REDIS_URL=url), **options)

    def stop(self, quietly=False):
        """Ends all children and returns what was wrong with any of them, as a list."""
        if not os.path.isdir(self.directory):
            return []
        for visitor in self.clients:
            visitor.sock.close()
        complaints = []
        ours = [child for child in self.children if child not in (self.nats, self.redis)]
        for child in reversed(ours):
            if child.is_running() and child.expected_exit is None:
                try:
                    child.signal(signal.SIGCONT)
                    child.terminate()
                except AssertionError as slow:
                    complaints.append(str(slow))
        for child in self.children:
            if child in ours:
                complaints.append(child.complaint())
            if child.is_running():
                child.kill()
        complaints = [complaint for complaint in complaints if complaint]
        if complaints and not quietly:
            print("logs kept in", self.directory)
        else:
            shutil.rmtree(self.directory, ignore_errors=True)
        return complaints


class Case(unittest.TestCase):
    """A test with clusters: own() makes one that ends with the test."""

    def own(self):
        cluster = Cluster()
        self.addCleanup(self._end, cluster)
        return cluster

    def _end(self, cluster):
        complaints = cluster.stop()
        if complaints:
            self.fail("\n".join(complaints))

    def assert_sent(self, outcome, devices=None):
        self.assertEqual(outcome.get("status"), "OUTCOME_STATUS_SENT", outcome)
        if devices is not None:
            self.assertEqual(outcome.get("devices", 0), devices, outcome)

    def assert_rejected(self, outcome, *reasons):
        self.assertEqual(outcome.get("status"), "OUTCOME_STATUS_REJECTED", outcome)
        self.assertIn(outcome.get("reason"), ["REASON_" + reason.upper() for reason in reasons], outcome)


class SharedCase(Case):
    """Tests that leave their cluster as they found it and so share one.

    A class sets `settings` (arguments of Cluster.start).
    """
    settings = {}
    cluster = None

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster().start(**cls.settings)

    @classmethod
    def tearDownClass(cls):
        complaints = cls.cluster.stop()
        if complaints:
            raise AssertionError("\n".join(complaints))

    def setUp(self):
        self.edge_a = self.cluster.edges.get("edge-a")
        self.edge_b = self.cluster.edges.get("edge-b")
        before = {child.name for child in self.cluster.children if not child.is_running()}

        def still_there():
            dead = {child.name for child in self.cluster.children if not child.is_running()} - before
            self.assertFalse(dead, "ended during the test: %s" % dead)
        self.addCleanup(still_there)

    def login(self, edge, user, device=None, **options):
        visitor = self.cluster.edges[edge].login(user, device, **options)
        self.addCleanup(visitor.close)
        return visitor
