"""Several workers behind one public port: real processes, spread by the kernel."""
import os
import re
import signal
import subprocess
import time

import client
from cluster import BIN, Case, SharedCase, free_port, wait_until

WORKERS = 3
CLIENTS = 90  # that one of three gets none of them: 3 * (2/3)^90, less than 10^-15
LISTENING = re.compile(r"edge_listening program=worker-(\d+) node=(\S+) port=(\d+) private_port=(\d+)")
STARTED = re.compile(r"worker_started worker=(\d+) pid=(\d+)")


class Worker:
    """One of an edge's workers, the newest of its number."""

    def __init__(self, number, pid, node, private_port):
        self.number, self.pid, self.node, self.private_port = number, pid, node, private_port

    def is_ready(self):
        try:
            return client.http(self.private_port, "/readyz", timeout=2)[0] == 200
        except OSError:
            return False

    def connections(self):
        body = client.http(self.private_port, "/v0/counters")[2]
        return int(re.search(rb'"connections":(\d+)', body).group(1))


def workers_of(edge):
    """{number: Worker} as the log has them."""
    log = edge.log()
    pids = {int(number): int(pid) for number, pid in STARTED.findall(log)}
    return {int(number): Worker(int(number), pids[int(number)], node, int(private))
            for number, node, _, private in LISTENING.findall(log)}


def wait_workers(edge, count=WORKERS):
    edge.wait_log(r"workers_listening workers=%d" % count)
    workers = workers_of(edge)
    wait_until(lambda: all(worker.is_ready() for worker in workers.values()), what="all workers ready")
    return workers


def is_there(pid):
    """Whether the process runs; a zombie does not."""
    try:
        with open("/proc/%d/stat" % pid) as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def children_of(pid):
    """{pid: state} of all of them."""
    found = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/stat" % name) as stat:
                state, parent = stat.read().rpartition(")")[2].split()[:2]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(parent) == pid:
            found[int(name)] = state
    return found


def one_on_each(login, edge):
    """{node: [client]}: so many users that every worker has some."""
    found = {}
    for number in range(CLIENTS):
        visitor = login(edge, "user%d" % number, "d")
        found.setdefault(visitor.node, []).append(visitor)
    return found


def sent(sender, to):
    return wait_until(lambda: sender.send(to, "x").get("status") == "OUTCOME_STATUS_SENT", what="sent to " + to,
                      every=0.1)


class Spread(SharedCase):
    settings = {"edges": ("edge-a",), "sweeper": False, "workers__count": WORKERS}

    def test_clients_are_spread_and_reach_each_other(self):
        workers = wait_workers(self.edge_a)
        self.assertEqual(set(workers), {1, 2, 3})
        nodes = {worker.node for worker in workers.values()}
        self.assertEqual(len(nodes), WORKERS)
        self.assertEqual({node.partition(".")[0] for node in nodes}, {"edge-a"})
        clients = one_on_each(self.login, "edge-a")
        self.assertEqual(set(clients), nodes)
        for worker in workers.values():
            self.assertEqual(worker.connections(), len(clients[worker.node]))
        for here in nodes:
            for there in nodes - {here}:
                sender, receiver = clients[here][0], clients[there][0]
                self.assert_sent(sender.send(receiver.user, here), 1)
                self.assertEqual(receiver.message()["text"], here)
        listed = self.cluster.cli("nodes").stdout
        for node in nodes:
            self.assertRegex(listed, re.escape(node) + r" +up ")


class Ends(Case):
    def start(self, **more):
        cluster = self.own().start(edges=("edge-a",), workers__count=WORKERS, **more)
        return cluster, cluster["edge-a"], wait_workers(cluster["edge-a"])

    def test_a_worker_has_no_descriptor_of_the_parent_and_nobody_is_a_zombie(self):
        cluster, edge, workers = self.start(sweeper=False)
        lone = cluster.start_edge("edge-b").wait_ready()

        def count(pid):
            return len(os.listdir("/proc/%d/fd" % pid))
        for worker in workers.values():
            wait_until(lambda pid=worker.pid: count(pid) == count(lone.pid), what="as many as of a lone edge")
        self.assertEqual(set(children_of(edge.pid)), {worker.pid for worker in workers.values()})

    def test_a_second_edge_on_the_port_is_refused_with_workers_and_without(self):
        cluster, edge, _ = self.start(sweeper=False)
        for count in (1, 2):
            second = cluster.start_edge("edge-c", listen__port=edge.port, workers__count=count)
            second.expected_exit = 78
            self.assertEqual(second.process.wait(20 * client.SCALE), 78)
            wrong = "cannot listen on 127.0.0.1:%d: address in use (listen.port)" % edge.port
            self.assertEqual(second.log().splitlines(), [wrong])

    def test_a_killed_worker_is_replaced_and_costs_its_own_clients_only(self):
        cluster, edge, workers = self.start()
        clients = one_on_each(cluster.login, "edge-a")
        lost = workers[2]
        begin = time.monotonic()
        os.kill(lost.pid, signal.SIGKILL)
        for visitor in clients[lost.node]:
            self.assertIsNone(visitor.closed())
        wait_until(lambda: workers_of(edge)[2].node != lost.node and workers_of(edge)[2].is_ready(), 5,
                   "a new worker 2")
        self.assertLess(time.monotonic() - begin, 5 * client.SCALE)
        self.assertRegex(edge.log(), r"warn +worker_ended worker=2 pid=%d signal=KILL" % lost.pid)
        back = [cluster.login("edge-a", visitor.user, visitor.device) for visitor in clients[lost.node]]
        others = [visitor for node in clients if node != lost.node for visitor in clients[node]]
        for visitor in others:
            visitor.expect("pong", visitor.command(ping={}))
        for visitor in back[:3]:
            self.assertNotEqual(visitor.node, lost.node)
            sent(others[0], visitor.user)
            visitor.message()
        self.assertEqual(sorted(children_of(edge.pid).values()).count("Z"), 0)
        self.assertEqual(len(children_of(edge.pid)), WORKERS)
        log = edge.log()
        for number in (1, 3):
            self.assertEqual(len(re.findall(r"worker_started worker=%d " % number, log)), 1)

    def test_sigterm_ends_all_with_a_close_frame_and_exit_0(self):
        cluster, edge, workers = self.start(sweeper=False)
        clients = one_on_each(cluster.login, "edge-a")
        # As a service manager may: everybody is told, the workers once more by the parent.
        for worker in workers.values():
            os.kill(worker.pid, signal.SIGTERM)
        edge.terminate()
        for node in clients:
            for visitor in clients[node]:
                self.assertEqual(visitor.closed(), 1012)
        self.assertFalse([worker for worker in workers.values() if is_there(worker.pid)])
        with cluster.keys() as keys:
            self.assertEqual(keys.keys("sy:lease:*"), [])

    def test_workers_leave_when_the_parent_is_killed(self):
        cluster, edge, workers = self.start(sweeper=False)
        clients = one_on_each(cluster.login, "edge-a")
        edge.kill()
        for node in clients:
            for visitor in clients[node]:
                self.assertEqual(visitor.closed(), 1012)
        wait_until(lambda: not any(is_there(worker.pid) for worker in workers.values()), what="no worker left")
        with cluster.keys() as keys:
            self.assertEqual(keys.keys("sy:lease:*"), [])

    def test_a_stuck_worker_is_killed_after_the_drain(self):
        cluster, edge, workers = self.start(sweeper=False, drain__timeout="500ms")
        os.kill(workers[1].pid, signal.SIGSTOP)
        edge.expected_exit = 128 + signal.SIGKILL
        edge.signal(signal.SIGTERM)
        self.assertEqual(edge.process.wait(20 * client.SCALE), 128 + signal.SIGKILL)
        self.assertFalse(is_there(workers[1].pid))
        self.assertRegex(edge.log(), r"workers_late workers=1\b")

    def test_private_ports_count_up_and_health_asks_all(self):
        first = free_port(WORKERS)
        cluster, edge, workers = self.start(sweeper=False, private__port=first)
        self.assertEqual([workers[number].private_port for number in (1, 2, 3)], [first, first + 1, first + 2])
        ask = [os.path.join(BIN, "switchyard-edge"), "health", "-c", os.path.join(cluster.directory, "edge-a.yaml")]
        answer = subprocess.run(ask, capture_output=True, text=True, timeout=30)
        self.assertEqual((answer.returncode, answer.stdout.count('"ready":true')), (0, WORKERS))
        os.kill(workers[3].pid, signal.SIGSTOP)
        answer = subprocess.run(ask, capture_output=True, text=True, timeout=30)
        os.kill(workers[3].pid, signal.SIGCONT)
        self.assertEqual((answer.returncode, answer.stdout.count('"ready":true')), (69, WORKERS - 1))


class Refused(Case):
    def refused(self, **settings):
        """The lines that are no log line of the parent."""
        cluster = self.own()
        edge = cluster.start_edge("edge-a", **settings)
        edge.expected_exit = 78
        self.assertEqual(edge.process.wait(20 * client.SCALE), 78)
        return [line for line in edge.log().splitlines() if not re.match(r"\d{4}-\d\d-\d\dT", line)]

    def test_workers_without_a_cluster_are_refused(self):
        lines = self.refused(nats=False, redis=False, workers__count=2)
        self.assertEqual(len(lines), 1)
        self.assertIn("set nats.url and redis.url", lines[0])

    def test_what_is_wrong_for_all_workers_is_said_once(self):
        lines = self.refused(workers__count=3, listen__tls_cert_file="/nowhere/cert.pem",
                             listen__tls_key_file="/nowhere/key.pem")
        self.assertEqual(len(lines), 1)
        self.assertIn("/nowhere/cert.pem", lines[0])

    def test_a_private_port_that_is_taken_ends_the_workers_before_it(self):
        taken = free_port(2) + 1
        listener = client.socket.create_server(("127.0.0.1", taken))
        self.addCleanup(listener.close)
        self.assertEqual(self.refused(workers__count=3, private__port=taken - 1),
                         ["cannot listen on 127.0.0.1:%d: address in use (private.port)" % taken])
