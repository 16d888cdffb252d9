"""An edge that is told to leave: everybody hears when and where, and nobody is hurt."""
import json
import os
import re
import signal
import subprocess
import threading
import time

from client import SCALE, Refused
from cluster import BIN, LEASE_S, SANITIZED, Case, wait_until
from test_workers import one_on_each, wait_workers

CODE = 1012
COURTESY_S = 1.0  # DRAIN_COURTESY_MS of edge/drain.h
PER_S = 100       # DRAIN_LEAST_PER_S


def leaving(edge, number=signal.SIGTERM, code=0):
    edge.expected_exit = code
    edge.signal(number)


class Drain(Case):
    def pair(self, **settings):
        cluster = self.own().start(**settings)
        time.sleep(1.2)  # a heartbeat of each
        return cluster

    def url(self, edge):
        return "ws://127.0.0.1:%d/ws" % edge.port

    def everybody_goes(self, number):
        cluster = self.pair()
        edge, other = cluster["edge-a"], cluster["edge-b"]
        visitors = [cluster.login("edge-a", "user%d" % n) for n in range(60)]
        notes = []

        def watch(visitor):
            go_away = visitor.expect("goAway", timeout=10)
            told = time.monotonic()
            code = visitor.closed(10)
            notes.append((go_away, code, time.monotonic() - told))
        threads = [threading.Thread(target=watch, args=(visitor,)) for visitor in visitors]
        for thread in threads:
            thread.start()
        leaving(edge, number)
        self.assertEqual(edge.process.wait(15 * SCALE), 0)
        for thread in threads:
            thread.join()
        self.assertEqual(len(notes), 60)
        for go_away, code, after_s in notes:
            self.assertEqual((code, go_away["url"], go_away["reason"]),
                             (CODE, self.url(other), "GO_AWAY_REASON_LEAVING"))
            slot_s = go_away.get("reconnectAfterMs", 0) / 1000
            self.assertGreater(after_s, slot_s + COURTESY_S - 0.2)
            self.assertLess(after_s, slot_s + COURTESY_S + 1 * SCALE)
        slots = sorted(go_away.get("reconnectAfterMs", 0) for go_away, _, _ in notes)
        self.assertEqual(len(set(slots)), 60)
        self.assertLessEqual(slots[-1], 60 * 1000 / PER_S)
        self.assertGreater(slots[-1], 60 * 1000 / PER_S - 300 * SCALE)
        log = edge.log()
        self.assertRegex(log, r"drain_started cause=leaving count=60 .*targets=1 room=\d+")
        self.assertRegex(log, r"drain_done cause=leaving count=60 ")
        with cluster.keys() as keys:
            left = [key for key in keys.keys() if edge.node in key and not key.startswith("sy:fence")]
            self.assertEqual(left, [])

    def test_after_sigterm_everybody_hears_when_and_where_before_the_close(self):
        self.everybody_goes(signal.SIGTERM)

    def test_after_sigusr2_everybody_hears_when_and_where_before_the_close(self):
        self.everybody_goes(signal.SIGUSR2)

    def test_who_comes_meanwhile_is_sent_elsewhere_and_readyz_says_how_far_it_is(self):
        cluster = self.pair(sweeper=False)
        edge, other = cluster["edge-a"], cluster["edge-b"]
        for n in range(150):
            cluster.login("edge-a", "user%d" % n)
        leaving(edge)
        status, body = wait_until(lambda: edge.readiness()[0] == 503 and edge.readiness(), what="not ready")
        self.assertEqual((body["why"], body["draining"]), ("leaving", True))
        self.assertEqual((body["drain"]["cause"], body["drain"]["count"]), ("leaving", 150))
        self.assertGreater(body["drain"]["left"], 0)
        self.assertLessEqual(body["drain"]["deadline_in_ms"], 9000)
        with self.assertRaises(Refused) as refused:
            edge.client()
        self.assertEqual(refused.exception.status, 503)
        self.assertIn("retry-after", refused.exception.headers)
        self.assertEqual(json.loads(refused.exception.body)["edges"], [self.url(other)])
        self.assertIn("draining", cluster.cli("nodes").stdout)
        before = body["drain"]["left"]
        wait_until(lambda: edge.readiness()[1].get("drain", {}).get("left", 0) < before, what="progress")
        self.assertEqual(edge.process.wait(15 * SCALE), 0)

    def test_in_the_delay_clients_are_taken_and_then_told_like_the_others(self):
        cluster = self.pair(sweeper=False, drain__delay="1s")
        edge = cluster["edge-a"]
        early = cluster.login("edge-a", "early")
        begin = time.monotonic()
        leaving(edge)
        wait_until(lambda: edge.readiness()[0] == 503, what="not ready")
        late = cluster.login("edge-a", "late")
        early.nothing(0.3)
        for visitor in (early, late):
            visitor.expect("goAway")
            self.assertGreater(time.monotonic() - begin, 0.9)
        with self.assertRaises(Refused):
            edge.client()
        for visitor in (early, late):
            self.assertEqual(visitor.closed(), CODE)
        self.assertEqual(edge.process.wait(15 * SCALE), 0)

    def test_an_edge_without_clients_leaves_at_once(self):
        cluster = self.own().start(sweeper=False)
        self.assertLess(cluster["edge-a"].terminate(), 1 * SCALE)

    def test_who_never_logs_in_is_closed_as_well(self):
        cluster = self.own().start(sweeper=False, limits__hello_timeout="60s")
        silent = cluster["edge-a"].client()
        self.addCleanup(silent.sock.close)
        leaving(cluster["edge-a"])
        self.assertEqual(silent.closed(), CODE)
        self.assertEqual(cluster["edge-a"].process.wait(15 * SCALE), 0)

    def test_the_window_bounds_it_when_the_targets_are_slow(self):
        cluster = self.pair(sweeper=False, connections__accept_rate=20, drain__timeout="2s")
        visitors = [cluster.login("edge-a", "user%d" % n) for n in range(80)]
        edge = cluster["edge-a"]
        begin = time.monotonic()
        leaving(edge)
        threads = [threading.Thread(target=visitor.closed, args=(10,)) for visitor in visitors]
        for thread in threads:
            thread.start()
        self.assertEqual(edge.process.wait(15 * SCALE), 0)
        self.assertLess(time.monotonic() - begin, 2.5 * SCALE)
        for thread in threads:
            thread.join()
        self.assertEqual([visitor.ended.code for visitor in visitors], [CODE] * 80)
        slots = [visitor.expect("goAway").get("reconnectAfterMs", 0) for visitor in visitors if visitor.events]
        self.assertRegex(edge.log(), r"warn +drain_hurried count=80 window_ms=1600 accept_per_s=20 needs_ms=4400")
        self.assertFalse(slots and max(slots) > 4000)


class SecondSignal(Case):
    def ends_at_once(self, *numbers):
        cluster = self.own().start()
        edge = cluster["edge-a"]
        bob = cluster.login("edge-a", "bob", "phone")
        alice = cluster.login("edge-b", "alice")
        self.assert_sent(alice.send("bob", "before"), 1)
        edge.expected_exit = 1
        for number in numbers[:-1]:
            edge.signal(number)
            edge.wait_log(r"leaving(_already)? .*signal=%s" % signal.Signals(number).name[3:])
        begin = time.monotonic()
        edge.signal(numbers[-1])
        self.assertEqual(edge.process.wait(10 * SCALE), 1)
        self.assertLess(time.monotonic() - begin, 0.5 * SCALE)
        self.assertIsNone(bob.closed(), "no time for a close frame")
        with cluster.keys() as keys:
            self.assertFalse(keys.ask("EXISTS", "sy:lease:{%s}" % edge.node), "given back")
        self.assert_rejected(alice.send("bob", "after", timeout=6), "offline", "no_route")
        wait_until(lambda: not cluster.links("bob"), LEASE_S + 10, "the sweeper has removed bob's link", every=0.2)

    def test_a_second_sigterm_ends_it_at_once_and_gives_the_lease_back(self):
        self.ends_at_once(signal.SIGTERM, signal.SIGTERM)

    def test_a_second_sigusr2_too(self):
        self.ends_at_once(signal.SIGUSR2, signal.SIGUSR2)

    def test_sigterm_after_sigusr2_is_the_first_and_the_next_is_the_second(self):
        self.ends_at_once(signal.SIGUSR2, signal.SIGTERM, signal.SIGINT)

    def test_sigterm_after_sigusr2_lets_the_drain_go_on(self):
        cluster = self.own().start(sweeper=False)
        edge = cluster["edge-a"]
        visitors = [cluster.login("edge-a", "user%d" % n) for n in range(20)]
        leaving(edge, signal.SIGUSR2)
        edge.wait_log("drain_started")
        edge.signal(signal.SIGTERM)
        self.assertEqual([visitor.closed() for visitor in visitors], [CODE] * 20)
        self.assertEqual(edge.process.wait(15 * SCALE), 0)

    def test_without_redis_it_ends_at_once_all_the_same(self):
        cluster = self.own().start(sweeper=False)
        edge = cluster["edge-a"]
        cluster.login("edge-a", "bob")
        cluster.redis.signal(signal.SIGSTOP)
        try:
            leaving(edge, signal.SIGTERM, 1)
            edge.wait_log("leaving ")
            begin = time.monotonic()
            edge.signal(signal.SIGTERM)
            self.assertEqual(edge.process.wait(10 * SCALE), 1)
            self.assertLess(time.monotonic() - begin, 1 * SCALE)
        finally:
            cluster.redis.signal(signal.SIGCONT)


class Messages(Case):
    def test_what_was_sent_before_arrives_before_the_close(self):
        cluster = self.own().start(sweeper=False, drain__timeout="30s")
        bob = cluster.login("edge-a", "bob", rcvbuf=4096)
        alice = cluster.login("edge-b", "alice")
        body = "x" * 8000
        texts = ["%d %s" % (n, body) for n in range(110)]  # under limits.queue_bytes, over what a kernel takes
        for text in texts:
            self.assert_sent(alice.send("bob", text), 1)
        leaving(cluster["edge-a"])
        time.sleep(2.5)  # past slot and courtesy; bob reads nothing yet
        for text in texts:
            self.assertEqual(bob.message()["text"], text)
        bob.expect("goAway")
        self.assertEqual(bob.closed(), CODE)
        self.assertEqual(cluster["edge-a"].process.wait(30 * SCALE), 0)

    def test_who_is_still_here_is_reached_and_who_has_moved_is_found(self):
        cluster = self.own().start(edges=("edge-a", "edge-b", "edge-c"), sweeper=False)
        edge = cluster["edge-a"]
        alice = cluster.login("edge-c", "alice")
        crowd = [cluster.login("edge-a", "user%d" % n, "d") for n in range(200)]
        for visitor in crowd[:20]:
            self.assert_sent(alice.send(visitor.user, "before"), 1)
            visitor.message()
        leaving(edge)
        edge.wait_log("drain_started")
        moved = {}
        for visitor in crowd[:20]:
            self.assert_sent(alice.send(visitor.user, "still here"), 1)
            self.assertEqual(visitor.message()["text"], "still here")
        for visitor in crowd[:20]:
            moved[visitor.user] = cluster.login("edge-b", visitor.user, "d")
            visitor.expect("goAway")
            self.assertIn(visitor.closed(), (CODE, 4001))
            self.assert_sent(alice.send(visitor.user, "moved"), 1)
            self.assertEqual(moved[visitor.user].message()["text"], "moved")
        self.assertEqual(edge.process.wait(15 * SCALE), 0)
        for user, visitor in moved.items():
            self.assert_sent(alice.send(user, "after"), 1)
            self.assertEqual(visitor.message()["text"], "after")

    def test_a_client_of_ours_moves_by_itself_to_the_edge_it_is_told(self):
        cluster = self.own().start(sweeper=False)
        time.sleep(1.2)
        edge = cluster["edge-a"]
        alice = cluster.login("edge-b", "alice")
        listener = subprocess.Popen([os.path.join(BIN, "switchyard"), "listen", "--user", "bob", "--device", "d",
                                     "--edge", "ws://127.0.0.1:%d/ws" % edge.port, "--count", "2", "--timeout",
                                     "%ds" % (30 * SCALE)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            wait_until(lambda: cluster.links("bob"), what="bob is there")
            self.assert_sent(alice.send("bob", "one"), 1)
            edge.terminate()
            wait_until(lambda: cluster.links("bob").get("d", "").startswith(cluster["edge-b"].node), 10,
                       "bob on edge-b")
            self.assert_sent(alice.send("bob", "two"), 1)
            out, err = listener.communicate(timeout=20 * SCALE)
        finally:
            listener.kill()
            listener.wait()
        self.assertEqual(listener.returncode, 0, err)
        self.assertEqual(re.findall(r"\b(one|two)\b", out), ["one", "two"])


class Many(Case):
    # Slow builds move less; the promises are the same.
    USERS = 300 if SANITIZED else 2000

    def test_two_thousand_are_told_and_paced_and_back_elsewhere(self):
        cluster = self.own().start(edges=("edge-a", "edge-b", "edge-c"), sweeper=False)
        time.sleep(1.2)
        edge = cluster["edge-a"]
        ports = ",".join(str(cluster[name].port) for name in ("edge-a", "edge-b", "edge-c"))
        exodus = subprocess.Popen([os.path.join(BIN, "exodus"), "--edges", ports, "--users", str(self.USERS)],
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            self.assertEqual(exodus.stdout.readline(), "ready\n")
            leaving(edge)
            self.assertEqual(edge.process.wait(15 * SCALE), 0)
            out, err = exodus.communicate(timeout=60 * SCALE)
        finally:
            exodus.kill()
            exodus.wait()
        book = json.loads(out)
        self.assertEqual((exodus.returncode, err), (0, ""), book)
        self.assertEqual((book["no_url"], book["refused"]), (0, 0), book)
        planned = int(re.search(r"drain_started .*\bper_s=(\d+)", edge.log()).group(1))
        self.assertLess(book["most_in_1s"], planned * 1.3 + 50 * SCALE, book)
        here = [cluster[name].counters()["logins"] for name in ("edge-b", "edge-c")]
        for count in here:  # equal room, so equal shares: five sigma and more
            self.assertGreater(count, self.USERS * 0.35, here)
        print(json.dumps(book))


class Workers(Case):
    def start(self, **more):
        cluster = self.own().start(edges=("edge-a",), sweeper=False, workers__count=3, **more)
        edge = cluster["edge-a"]
        return cluster, edge, wait_workers(edge, 3)

    def test_sigusr2_to_the_parent_drains_all(self):
        cluster, edge, _ = self.start()
        clients = one_on_each(cluster.login, "edge-a")
        leaving(edge, signal.SIGUSR2)
        edge.wait_log(r"leaving program=parent signal=USR2|leaving .*signal=USR2")
        edge.signal(signal.SIGTERM)
        for node in clients:
            for visitor in clients[node]:
                self.assertEqual(visitor.expect("goAway").get("url", ""), "", "there is no other edge")
                self.assertEqual(visitor.closed(10), CODE)
        self.assertEqual(edge.process.wait(20 * SCALE), 0)
        with cluster.keys() as keys:
            self.assertEqual(keys.keys("sy:lease:*"), [])

    def test_a_second_sigterm_to_the_parent_kills_all(self):
        cluster, edge, workers = self.start()
        clients = one_on_each(cluster.login, "edge-a")
        leaving(edge, signal.SIGTERM, 1)
        edge.wait_log("drain_started")
        begin = time.monotonic()
        edge.signal(signal.SIGTERM)
        self.assertEqual(edge.process.wait(10 * SCALE), 1)
        self.assertLess(time.monotonic() - begin, 1 * SCALE)
        for node in clients:
            for visitor in clients[node]:
                visitor.sock.close()

    def test_clients_of_one_worker_that_leaves_are_taken_by_the_others(self):
        cluster, edge, workers = self.start()
        clients = one_on_each(cluster.login, "edge-a")
        lost = workers[2]
        os.kill(lost.pid, signal.SIGTERM)
        for visitor in clients[lost.node]:
            visitor.expect("goAway")
        idle = clients[lost.node][0]
        time.sleep(1.3)  # it has seen that the others go on
        self.assertIsNone(idle.ended)
        for n in range(30):
            cluster.login("edge-a", "new%d" % n)
        for visitor in clients[lost.node]:
            self.assertEqual(visitor.closed(10), CODE)
        edge.wait_log(r"worker_ended worker=2 pid=%d exit=0" % lost.pid)
