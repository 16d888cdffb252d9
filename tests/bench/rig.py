"""rig.py: the servers of the benchmark, its load, and what can be read from outside.

The cluster is that of the system tests: nats-server, redis-server, edges and a sweeper as
children on private ports, stopped by process id. BUILD_DIR names the build to measure.
"""
import json
import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "system"))

import cluster  # noqa: E402
from cluster import BIN, BUILD, ROOT, Child, Cluster, free_port  # noqa: E402,F401

SECRET = "a key for the benchmark alone, 32 bytes or more"
PAGE = os.sysconf("SC_PAGE_SIZE")
# What stands in the way of measuring is raised; what costs memory or time is left as it is.
ROOMY = {"connections__max": 20000, "connections__max_per_address": 4000, "connections__max_half_open": 2000,
         "connections__accept_rate": 0, "limits__commands_per_second": 1000000}


class Trouble(Exception):
    """A run that cannot be used."""


class Bench(Cluster):
    """A cluster, or floors. An edge may be started in a wrapper such as valgrind."""

    def __init__(self):
        super().__init__()
        self.floors = []
        self.cores = None  # for all servers, when pinned
        self.wrapper, self.extra_env = [], {}

    def start_all(self, edges=2, clustered=True, **settings):
        names = ["edge-a", "edge-b"][:edges]
        self.start(edges=names, sweeper=clustered, nats=clustered, redis=clustered, **dict(ROOMY, **settings))
        self.pin()
        return self

    def start_edge(self, name="edge-a", nats=True, redis=True, wrapper=(), env=None, **more):
        self.wrapper, self.extra_env = list(wrapper), dict(env or {})
        edge = super().start_edge(name, nats=nats, redis=redis, **more)
        self.wrapper, self.extra_env = [], {}
        return edge

    def _child(self, kind, name, argv):
        env = {key: value for key, value in os.environ.items() if not key.startswith("SWITCHYARD_")}
        env.update(self.extra_env)
        child = kind(name, self.wrapper + argv, self.directory, env)
        self.children.append(child)
        return child

    def start_floors(self, count):
        """One floor, or two that are linked."""
        link = free_port()
        for i in range(count):
            port = free_port()
            argv = [os.path.join(BIN, "floor"), "--port", str(port)]
            if count > 1:
                argv += ["--link-listen" if i == 0 else "--link-connect", str(link)]
            floor = self._child(Child, "floor-%d" % i, argv)
            floor.port = port
            self.floors.append(floor)
        for floor in self.floors:
            floor.wait_log("listening")
        self.pin()
        return self

    def pin(self):
        for child in self.children if self.cores else []:
            for task in os.listdir("/proc/%d/task" % child.pid):
                os.sched_setaffinity(int(task), self.cores)

    def stop(self, quietly=False):
        for floor in self.floors:
            if floor.is_running():
                floor.signal(signal.SIGKILL)
            floor.expected_exit = floor.process.wait()  # killed, or the other's end was its own
        return super().stop(quietly)

    def ports(self, side):
        return [child.port for child in (self.floors if side == "floor" else list(self.edges.values()))]

    def pids(self, side):
        """What --pids of load takes."""
        if side == "floor":
            return ",".join("edge:%d" % floor.pid for floor in self.floors)
        named = [("edge", edge) for edge in self.edges.values()] + [("nats", self.nats), ("redis", self.redis)]
        return ",".join("%s:%d" % (name, child.pid) for name, child in named if child is not None)


class Load:
    """A run of load. With `on_mark`, it waits at each mark until on_mark(name) returns."""

    def __init__(self, mode, bench, side, args, ports=None, pids=None, cores=None, limit_s=180):
        ports = bench.ports(side) if ports is None else ports
        argv = [os.path.join(BIN, "load"), mode, "--step", "--ports", ",".join(map(str, ports)),
                "--pids", bench.pids(side) if pids is None else pids]
        if side == "floor":
            argv.append("--floor")
        for name, value in args.items():
            if value is True:
                argv.append("--" + name.replace("_", "-"))
            elif value is not None and value is not False:
                argv += ["--" + name.replace("_", "-"), str(value)]
        self.argv = argv
        self.until = time.monotonic() + limit_s
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE)
        if cores:
            os.sched_setaffinity(self.process.pid, cores)
        self.buffer = b""

    def line(self):
        """The next JSON line, or None at the end."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while b"\n" not in self.buffer:
                if not selector.select(max(0, self.until - time.monotonic())):
                    self.end()
                    raise Trouble("not done in time: " + " ".join(self.argv))
                chunk = os.read(self.process.stdout.fileno(), 65536)
                if not chunk:
                    return None
                self.buffer += chunk
        text, _, self.buffer = self.buffer.partition(b"\n")
        return json.loads(text)

    def go_on(self):
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()

    def wait_mark(self, name):
        line = self.line()
        if line is None or line.get("mark") != name:
            self.end()
            raise Trouble("no mark %s: %s: %s" % (name, " ".join(self.argv), self.complaint()))

    def complaint(self):
        return self.process.stderr.read().decode(errors="replace").strip()

    def finish(self, on_mark=None):
        """To the result. Marks passed before are not seen again."""
        try:
            while (line := self.line()) is not None:
                if "result" in line:
                    return line
                if on_mark:
                    on_mark(line["mark"])
                self.go_on()
            raise Trouble("%s: %s" % (" ".join(self.argv), self.complaint()))
        finally:
            self.end()

    def end(self):
        if self.process.poll() is None:
            try:
                self.process.stdin.close()
                self.process.wait(5)
            except (subprocess.TimeoutExpired, BrokenPipeError):
                self.process.kill()
        self.process.wait()


class Syscalls:
    """Counts the system calls of processes between begin() and end(), by name.

    By perf's tracepoints where the kernel lets us: they cost next to nothing, so a server at
    40,000 messages a second stays what it is. Else, or when asked, by strace, which slows the
    server many times: its turns get longer and its calls per message fewer.
    """
    NAMES = ("epoll_wait", "epoll_pwait", "epoll_ctl", "recvfrom", "recvmsg", "read", "sendto", "sendmsg", "write",
             "writev", "futex", "accept4", "close", "setsockopt", "getpid", "clock_gettime", "poll")

    def __init__(self, pids, use_perf=None):
        self.pids = pids
        self.use_perf = perf_counts() if use_perf is None else use_perf

    def begin(self):
        if self.use_perf:
            events = ["raw_syscalls:sys_enter"] + ["syscalls:sys_enter_" + name for name in self.NAMES
                                                   if name != "clock_gettime"]
            argv = ["perf", "stat", "-x", ",", "-e", ",".join(events), "-p", ",".join(map(str, self.pids))]
        else:
            argv = ["strace", "-f", "-c", "-U", "name,calls"] + [w for pid in self.pids for w in ("-p", str(pid))]
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE)
        if self.use_perf:
            time.sleep(0.3)
            return
        attached = 0
        while attached < sum(len(os.listdir("/proc/%d/task" % pid)) for pid in self.pids):
            line = self.process.stderr.readline()
            if not line:
                raise Trouble("strace cannot attach")
            attached += re.search(rb"attached", line) is not None
            more = re.search(rb"with (\d+) threads", line)
            attached += int(more.group(1)) - 1 if more else 0

    def end(self):
        """{name: calls}, "all" among them."""
        self.process.send_signal(signal.SIGINT)
        text = self.process.stderr.read().decode(errors="replace")
        self.process.wait()
        found = {}
        for line in text.splitlines():
            if self.use_perf:
                words = line.split(",")
                if len(words) > 2 and words[0].isdigit():
                    name = words[2].rpartition("sys_enter")[2].lstrip("_") or "all"
                    found[name] = found.get(name, 0) + int(words[0])
            else:
                match = re.match(r"\s*(\w+)\s+(\d+)\s*$", line)
                if match:
                    found["all" if match.group(1) == "total" else match.group(1)] = int(match.group(2))
        return {name: count for name, count in found.items() if count}


def perf_counts():
    """Whether perf may count the system calls of others."""
    if shutil.which("perf") is None:
        return False
    done = subprocess.run(["perf", "stat", "-x", ",", "-e", "raw_syscalls:sys_enter", "true"], capture_output=True,
                          text=True)
    return done.returncode == 0 and done.stderr.split(",")[0].isdigit()


def memory(pid):
    """Resident and private dirty bytes."""
    found = {}
    with open("/proc/%d/smaps_rollup" % pid) as rollup:
        for line in rollup:
            name, _, rest = line.partition(":")
            if name in ("Rss", "Private_Dirty"):
                found[name.lower()] = int(rest.split()[0]) * 1024
    return found


def kernel_memory():
    """What the kernel holds for the whole machine: slab, and pages in sockets."""
    with open("/proc/meminfo") as meminfo:
        slab = sum(int(line.split()[1]) * 1024 for line in meminfo if line.startswith("Slab:"))
    with open("/proc/net/sockstat") as sockstat:
        pages = int(re.search(r"TCP:.* mem (\d+)", sockstat.read()).group(1))
    return {"slab": slab, "sockets": pages * PAGE}


def redis_info(bench):
    """Numbers of INFO. Asking is a command, and so is the login."""
    with bench.keys() as keys:
        text = keys.ask("INFO", "all")
    pairs = (line.split(":", 1) for line in text.split("\r\n") if ":" in line)
    return {name: int(value) for name, value in pairs if value.strip().isdigit()}


def machine():
    """What the figures are from."""
    with open("/proc/cpuinfo") as cpuinfo:
        model = re.search(r"model name\s*:\s*(.*)", cpuinfo.read())
    with open("/proc/sys/net/ipv4/tcp_congestion_control") as file:
        congestion = file.read()
    git = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True)
    return {"cpu": model.group(1) if model else "?", "cores": os.cpu_count(), "kernel": os.uname().release, "tcp": congestion.strip(),
            "commit": git.stdout.strip(), "build": os.path.basename(BUILD),
            "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
