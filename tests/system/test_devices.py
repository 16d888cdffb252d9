"""What a login takes the place of, on two edges, and that the newest login wins every race.

SY_RACE_SEEDS is how many races of 1,000 logins are run (3); SY_RACE_SEED is the first.
"""
import os
import random
import re
import socket
import threading
import time

from client import SCALE, Closed
from cluster import Case, SharedCase, free_port, wait_until

RACE_SEEDS = int(os.environ.get("SY_RACE_SEEDS", "3"))
RACE_SEED = int(os.environ.get("SY_RACE_SEED", "1"))
LOGINS = 1000


def hello(visitor, user, device, device_class=""):
    """Logs in with a class, and waits for the Welcome."""
    visitor.expect("welcome", visitor.command(hello={"user": user, "device": device, "deviceClass": device_class}))
    return visitor


class Devices(SharedCase):
    """Common to all policies; a class that has its own sets `settings`."""

    def enter(self, edge, user, device, device_class=""):
        visitor = self.cluster[edge].client()
        self.addCleanup(visitor.close)
        return hello(visitor, user, device, device_class)

    def assert_open(self, *visitors):
        for visitor in visitors:
            visitor.expect("pong", visitor.command(ping={}))

    def assert_links(self, user, *devices):
        """Exactly these, and nothing in the edges' indexes but what is linked."""
        def members():
            with self.cluster.keys() as keys:
                return {(edge.node, member.split("/")[1])
                        for edge in (self.edge_a, self.edge_b)
                        for member in keys.ask("SMEMBERS", "sy:members:{%s}" % edge.node)
                        if member.split("/")[0] == user}
        self.assertEqual(sorted(self.cluster.links(user)), sorted(devices))
        wait_until(lambda: members() == {(row.split()[0], device)
                                         for device, row in self.cluster.links(user).items()},
                   5, "the indexes name the links of %s" % user)


class Many(Devices):
    settings = {"sweeper": False, "devices__max": 3}

    def test_devices_stand_beside_each_other_and_a_name_is_taken_over(self):
        phone = self.enter("edge-a", "many", "phone", "mobile")
        tablet = self.enter("edge-b", "many", "tablet", "mobile")
        moved = self.enter("edge-b", "many", "phone", "mobile")
        self.assertEqual(phone.closed(), 4001)
        self.assert_open(tablet, moved)
        self.assert_links("many", "phone", "tablet")

    def test_one_device_too_many_takes_the_place_of_the_oldest_login(self):
        oldest = self.enter("edge-a", "crowd", "d1")
        second = self.enter("edge-b", "crowd", "d2")
        third = self.enter("edge-a", "crowd", "d3")
        self.assert_open(oldest, second, third)
        fourth = self.enter("edge-b", "crowd", "d4")
        self.assertEqual(oldest.closed(), 4001)
        self.assert_links("crowd", "d2", "d3", "d4")
        fifth = self.enter("edge-a", "crowd", "d5")  # the oldest is on the other edge
        self.assertEqual(second.closed(), 4001)
        self.assert_open(third, fourth, fifth)
        self.assert_sent(fifth.send("crowd", "all three"), 3)
        self.assert_links("crowd", "d3", "d4", "d5")


class OfAClass(Devices):
    settings = {"sweeper": False, "devices__policy": "class"}

    def test_a_login_takes_the_place_of_its_class_on_whatever_edge(self):
        phone = self.enter("edge-a", "classy", "phone", "mobile")
        browser = self.enter("edge-a", "classy", "browser", "web")
        nameless = self.enter("edge-b", "classy", "thing")
        self.assert_links("classy", "phone", "browser", "thing")
        tablet = self.enter("edge-b", "classy", "tablet", "mobile")
        self.assertEqual(phone.closed(), 4001)
        self.assert_open(browser, nameless, tablet)
        self.assert_links("classy", "browser", "thing", "tablet")
        gadget = self.enter("edge-a", "classy", "gadget")  # no class is one too
        self.assertEqual(nameless.closed(), 4001)
        both = self.enter("edge-a", "classy", "browser", "mobile")  # its name, and its class
        self.assertEqual(browser.closed(), 4001)
        self.assertEqual(tablet.closed(), 4001)
        self.assert_open(gadget, both)
        self.assert_links("classy", "gadget", "browser")

    def test_two_users_do_not_share_a_class(self):
        first = self.enter("edge-a", "anna", "phone", "mobile")
        second = self.enter("edge-b", "berta", "phone", "mobile")
        self.assert_open(first, second)


class One(Devices):
    settings = {"sweeper": False, "devices__policy": "one"}

    def test_a_login_takes_the_place_of_every_other_link_of_the_user(self):
        other = self.enter("edge-a", "somebody", "phone")
        links = [self.enter("edge-a", "single", "phone", "mobile")]
        for edge, device in (("edge-b", "browser"), ("edge-b", "tablet"), ("edge-a", "phone")):
            links.append(self.enter(edge, "single", device, device))
            self.assertEqual(links[-2].closed(), 4001)
            self.assert_links("single", device)
        self.assert_open(links[-1], other)
        self.assert_sent(other.send("single", "hello"), 1)
        self.assertEqual(links[-1].message()["text"], "hello")

    def test_devices_that_come_at_once_leave_one(self):
        for round_ in range(5):
            visitors = [self.cluster["edge-%s" % "ab"[n % 2]].client() for n in range(6)]
            for number, visitor in enumerate(visitors):
                visitor.command(hello={"user": "rush", "device": "d%d" % number})
            open_ = []

            def settle():
                open_[:] = [visitor for visitor in visitors if is_open(visitor)]
                return len(open_) == 1
            wait_until(settle, 10, "one survivor in round %d" % round_)
            self.assertEqual({visitor.ended.code for visitor in visitors if visitor.ended}, {4001})
            self.assert_links("rush", "d%d" % visitors.index(open_[0]))
            open_[0].close()
            wait_until(lambda: not self.cluster.links("rush"), what="gone")


class Disagreement(Case):
    def test_edges_that_differ_say_so_and_a_stricter_policy_takes_hold_at_verify(self):
        cluster = self.own()
        cluster.start_nats()
        cluster.start_redis()
        cluster.start_edge("edge-a").wait_ready()
        cluster.start_edge("edge-b", devices__policy="one").wait_ready()
        for here, there in (("edge-a", "edge-b"), ("edge-b", "edge-a")):
            cluster[here].wait_log(r"devices_policy_differs\b.*peer=%s\b" % re.escape(cluster[there].node))
        first = cluster.login("edge-b", "mixed", "phone")
        second = cluster.login("edge-a", "mixed", "tablet")  # by its own rule beside the first
        self.assertEqual(len(cluster.links("mixed")), 2)
        self.assert_sent(second.send("mixed", "x"), 2)
        # As if Redis had lost its data: all links are verified now, not within the cycle.
        with cluster.keys() as keys:
            keys.ask("SET", "sy:gen", "00000000000000ab")
        self.assertEqual(first.closed(), 4001)
        self.assertEqual(list(cluster.links("mixed")), ["tablet"])


class Relay:
    """TCP to a port, until it is cut; then nobody answers until it is mended."""

    def __init__(self, target):
        self.port = free_port()
        self.target = target
        self.pairs = []
        self.listener = None
        self.mend()

    def mend(self):
        self.listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    def cut(self):
        self.listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self.listener.close()
        for sock in self.pairs:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.pairs = []

    def _accept(self, listener):
        while True:
            try:
                near = listener.accept()[0]
            except OSError:
                return  # cut
            try:
                far = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                near.close()  # the other end is not there yet
                continue
            self.pairs += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._copy, args=(source, sink), daemon=True).start()

    @staticmethod
    def _copy(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        for sock in (source, sink):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class Late(Case):
    def test_a_login_that_reaches_redis_late_does_not_beat_the_login_after_it(self):
        cluster = self.own()
        cluster.start_nats()
        cluster.start_redis()
        relay = Relay(cluster.redis_port)
        cluster.start_edge("edge-a", redis__url="redis://127.0.0.1:%d" % relay.port).wait_ready()
        cluster.start_edge("edge-b").wait_ready()
        relay.cut()
        cluster["edge-a"].wait_log("redis_lost|redis_down|redis_closed|redis_away")
        older = cluster.login("edge-a", "roamer", "phone")  # in at once, its link waits
        alone = cluster.login("edge-a", "other", "phone")
        time.sleep(0.05)
        newer = cluster.login("edge-b", "roamer", "phone")
        relay.mend()
        self.assertEqual(older.closed(10), 4001)
        wait_until(lambda: cluster.links("other"), 5, "the link that nobody had replaced is written")
        newer.expect("pong", newer.command(ping={}))
        alone.expect("pong", alone.command(ping={}))
        self.assertEqual(cluster.links("roamer")["phone"].split()[0], cluster["edge-b"].node)


def is_open(visitor):
    if visitor.ended:
        return False
    try:
        visitor.expect("pong", visitor.command(ping={}), timeout=1)
        return True
    except (OSError, AssertionError, Closed):
        return False


class Monitor:
    """Every row that is written, as Redis itself says."""
    HSET = re.compile(rb'\[\d+ lua\] "(?:HSET|hset)" "sy:user:\{([^}]*)\}" "[^"]*" "(\S+) (\d+) (\d+) ')

    def __init__(self, cluster):
        self.keys = cluster.keys()
        assert self.keys.ask("MONITOR") == "OK"

    def rows(self, cluster, user):
        """(epoch, node, connection) of all rows of the user so far."""
        with cluster.keys() as keys:
            keys.ask("ECHO", "until here")
        found = []
        while True:
            line = self.keys.file.readline()
            if b'"until here"' in line:
                return found
            match = self.HSET.search(line)
            if match and match.group(1).decode() == user:
                found.append((int(match.group(4)), match.group(2).decode(), int(match.group(3))))


class Race(Case):
    def race(self, cluster, monitor, seed):
        """1,000 logins of one device on two edges, several at a time; nobody leaves by itself."""
        rng = random.Random(seed)
        user = "racer%d" % seed
        visitors = []
        while len(visitors) < LOGINS:
            batch = [cluster["edge-%s" % rng.choice("ab")].client()
                     for _ in range(min(rng.randint(1, 12), LOGINS - len(visitors)))]
            for visitor in batch:
                visitor.command(id="1", hello={"user": user, "device": "phone"})
            visitors += batch
            if rng.random() < 0.3:  # else the next come while these are under way
                is_open(rng.choice(batch))
        open_ = []

        def settle():
            open_[:] = [visitor for visitor in visitors if is_open(visitor)]
            return len(open_) == 1
        wait_until(settle, 15, "seed %d: one survivor" % seed)
        wait_until(lambda: len(cluster.links(user)) == 1, 5, "seed %d: one row" % seed)
        codes = {visitor.ended.code for visitor in visitors if visitor.ended}
        self.assertEqual(codes, {4001}, "seed %d" % seed)
        welcome = open_[0].expect("welcome", "1")
        node, connection, epoch = cluster.links(user)["phone"].split()[:3]
        self.assertEqual((node, connection), (welcome["node"], welcome["connection"]), "seed %d" % seed)
        rows = monitor.rows(cluster, user)
        self.assertEqual(max(rows), (int(epoch), node, int(connection)), "seed %d" % seed)
        self.assert_sent(open_[0].send(user, "me"), 1)
        self.assertEqual(open_[0].message()["text"], "me")
        for visitor in visitors:
            visitor.sock.close()
        return len(rows)

    def test_racing_reconnects_leave_exactly_the_newest_link(self):
        cluster = self.own().start(sweeper=False)
        monitor = Monitor(cluster)
        self.addCleanup(monitor.keys.close)
        for seed in range(RACE_SEED, RACE_SEED + RACE_SEEDS):
            begin = time.monotonic()
            try:
                written = self.race(cluster, monitor, seed)
            except BaseException:
                print("failed with SY_RACE_SEED=%d SY_RACE_SEEDS=1" % seed, flush=True)
                raise
            print("seed %d: %d logins, %d rows written, %.1f s" % (seed, LOGINS, written,
                                                                   time.monotonic() - begin), flush=True)
        wait_until(lambda: not cluster.links("racer%d" % RACE_SEED), 5 * SCALE, "gone")
