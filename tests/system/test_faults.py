"""What happens to users when parts of the cluster fail, freeze, leave or come back.

Every send ends in one outcome within five seconds, whatever is broken.
"""
import re
import signal
import threading
import time

from client import SCALE, Closed, Refused
from cluster import LEASE_S, Case, SharedCase, wait_until


def send_until(sender, to, wanted, timeout=15, reason=None):
    """Sends until the outcome has this status (and reason); returns it."""
    def attempt():
        outcome = sender.send(to, "attempt", timeout=6)
        fits = outcome["status"] == "OUTCOME_STATUS_" + wanted.upper()
        if fits and (reason is None or outcome.get("reason") == "REASON_" + reason.upper()):
            return outcome
        return None
    return wait_until(attempt, timeout, "%s of a send to %s" % (wanted, to), every=0.1)


class Alone(SharedCase):
    settings = {"edges": ("edge-a",), "sweeper": False, "nats": False, "redis": False}

    def test_an_edge_without_backends_delivers_locally_and_says_that_it_is_alone(self):
        alice, bob = self.login("edge-a", "alice"), self.login("edge-a", "bob", "phone")
        tablet = self.login("edge-a", "bob", "tablet")
        self.assert_sent(alice.send("bob", "here"), 2)
        self.assertEqual((bob.message()["text"], tablet.message()["text"]), ("here", "here"))
        self.assert_rejected(alice.send("nobody", "x"), "offline")
        self.assertRegex(self.edge_a.log(), r"(?i)alone|local")
        self.assertEqual(self.edge_a.readiness()[0], 200)

    def test_the_same_device_again_replaces_the_first(self):
        first = self.login("edge-a", "twice", "phone")
        second = self.login("edge-a", "twice", "phone")
        self.assertEqual(first.closed(), 4001)
        self.assert_sent(second.send("twice", "me"), 1)
        self.assertEqual(second.message()["text"], "me")

    def test_a_device_without_a_name_gets_one_of_its_own(self):
        first, second = self.login("edge-a", "nameless"), self.login("edge-a", "nameless")
        self.assertNotEqual(first.device, second.device)
        self.assert_sent(first.send("nameless", "both"), 2)


class Replaced(SharedCase):
    settings = {"sweeper": False}

    def test_a_login_elsewhere_closes_the_older_link_with_4001(self):
        first = self.login("edge-a", "roamer", "phone")
        second = self.login("edge-b", "roamer", "phone")
        self.assertEqual(first.closed(), 4001)
        self.assertEqual(self.cluster.links("roamer")["phone"].split()[0], self.edge_b.node)
        self.assert_sent(self.login("edge-a", "caller").send("roamer", "once"), 1)
        self.assertEqual(second.message()["text"], "once")
        second.nothing(0.2)

    def test_the_late_end_of_an_older_link_leaves_the_newer_alone(self):
        for round_ in range(10):
            here, there = ("edge-a", "edge-b") if round_ % 2 else ("edge-b", "edge-a")
            first = self.login(here, "hopper", "phone")
            second = self.login(there, "hopper", "phone")
            first.abort()
            second.expect("pong", second.command(ping={}))
            self.assert_sent(second.send("hopper", str(round_)), 1)
            self.assertEqual(second.message()["text"], str(round_))
            row = self.cluster.links("hopper")["phone"]
            self.assertEqual(row.split()[0], second.node)

    def test_two_logins_at_once_leave_exactly_one(self):
        for _ in range(5):
            visitors = [self.cluster["edge-%s" % "ab"[n % 2]].client() for n in range(4)]
            for visitor in visitors:
                visitor.command(id="1", hello={"user": "racer", "device": "phone"})
            alive = []

            def settle():
                alive[:] = [visitor for visitor in visitors if self.is_alive(visitor)]
                return len(alive) == 1
            wait_until(settle, what="one survivor")
            row = self.cluster.links("racer")["phone"].split()
            alive[0].expect("welcome")
            for visitor in visitors:
                visitor.sock.close()
            wait_until(lambda: not self.cluster.links("racer"), what="link gone; it was %s" % row)

    def is_alive(self, visitor):
        if visitor.ended:
            return False
        try:
            visitor.command(id="2", ping={})
            visitor.expect("pong", "2", timeout=1)
            return True
        except (OSError, AssertionError, Closed):
            return False

    def test_leaving_removes_the_link_however_one_leaves(self):
        for leave in ("close", "abort"):
            visitor = self.cluster["edge-a"].login("leaver", "d")
            self.assertTrue(self.cluster.links("leaver"))
            getattr(visitor, leave)()
            wait_until(lambda: not self.cluster.links("leaver"), 3, "link gone after " + leave)


class Moving(Case):
    def test_a_stale_route_is_answered_with_a_miss_and_resolved_again(self):
        cluster = self.own().start(edges=("edge-a", "edge-b", "edge-c"), sweeper=False)
        alice = cluster.login("edge-c", "alice")
        for round_, (old, new) in enumerate((("edge-a", "edge-b"), ("edge-b", "edge-a"))):
            bob = cluster.login(old, "bob", "phone%d" % round_)
            # In the second round edge-c may know for a moment longer that bob was offline.
            self.assert_sent(send_until(alice, "bob", "sent", 2), 1)
            bob.message()
            misses = cluster[old].counters()["misses"] + cluster["edge-c"].counters()["misses"]
            with cluster.keys() as keys:
                # Nobody is told that bob moves: edge-c's memory goes stale.
                keys.ask("DEL", "sy:watch:{bob}")
            bob.close()
            wait_until(lambda: not cluster.links("bob"), what="the old link gone")
            moved = cluster.login(new, "bob", "tablet%d" % round_)
            self.assert_sent(alice.send("bob", "at the new place"), 1)
            self.assertEqual(moved.message()["text"], "at the new place")
            self.assertGreater(cluster[old].counters()["misses"] + cluster["edge-c"].counters()["misses"], misses)
            moved.close()
            wait_until(lambda: not cluster.links("bob"), what="gone")
            with cluster.keys() as keys:
                keys.ask("DEL", "sy:watch:{bob}")
            self.assert_rejected(alice.send("bob", "nowhere"), "offline")

    def test_a_move_is_told_to_those_who_remember(self):
        cluster = self.own().start(edges=("edge-a", "edge-b", "edge-c"), sweeper=False)
        alice = cluster.login("edge-c", "alice")
        cluster.login("edge-a", "bob", "phone")
        self.assert_sent(alice.send("bob", "one device"), 1)
        before = cluster["edge-c"].counters()["invalidations_in"]
        cluster.login("edge-b", "bob", "tablet")
        wait_until(lambda: cluster["edge-c"].counters()["invalidations_in"] > before, 3, "told")
        self.assert_sent(alice.send("bob", "two devices"), 2)


class Killed(Case):
    def test_links_of_a_killed_edge_are_ignored_after_its_lease_also_without_a_sweeper(self):
        cluster = self.own().start(sweeper=False)
        bob = cluster.login("edge-a", "bob", "phone")
        alice = cluster.login("edge-b", "alice")
        self.assert_sent(alice.send("bob", "before"), 1)
        died = time.monotonic()
        cluster["edge-a"].kill()
        self.assertIsNone(bob.closed())
        # At once: nats-server says that nobody listens.
        begin = time.monotonic()
        self.assert_rejected(alice.send("bob", "into the void", timeout=6), "no_route", "timeout", "offline")
        self.assertLess(time.monotonic() - begin, 5 * SCALE)
        send_until(alice, "bob", "rejected", LEASE_S + 4, "offline")
        self.assertLess(time.monotonic() - died, (LEASE_S + 4) * SCALE)
        self.assertTrue(cluster.links("bob"), "nobody reaped it, and yet it does not count")
        again = cluster.login("edge-b", "bob", "phone")
        self.assert_sent(alice.send("bob", "back"), 1)
        self.assertEqual(again.message()["text"], "back")

    def test_a_user_of_a_killed_edge_is_reachable_as_soon_as_it_is_back_elsewhere(self):
        cluster = self.own().start(edges=("edge-a", "edge-b", "edge-c"))
        cluster.login("edge-a", "bob", "phone")
        alice = cluster.login("edge-c", "alice")
        self.assert_sent(alice.send("bob", "before"), 1)
        cluster["edge-a"].kill()
        back = cluster.login("edge-b", "bob", "phone")
        self.assert_sent(send_until(alice, "bob", "sent", 3))
        self.assertEqual(back.message()["text"], "attempt")

    def test_a_restarted_edge_is_a_new_node_and_the_old_one_is_reaped(self):
        cluster = self.own().start()
        cluster.login("edge-a", "bob", "phone")
        old = cluster["edge-a"].node
        cluster["edge-a"].kill()
        new = cluster.start_edge("edge-a").wait_ready()
        self.assertNotEqual(new.node, old)
        self.assertEqual(new.node.split(".")[0], old.split(".")[0])
        bob = cluster.login("edge-a", "bob", "phone")
        cluster.sweeper.wait_log(r"node_reaped\b.*node=%s\b" % re.escape(old), LEASE_S + 10)
        self.assertEqual(cluster.links("bob")["phone"].split()[0], new.node)
        self.assert_sent(bob.send("bob", "mine is untouched"), 1)


class Leaving(Case):
    def test_sigterm_tells_the_clients_and_leaves_nothing_in_redis(self):
        cluster = self.own().start()
        visitors = [cluster.login("edge-a", "user%d" % number) for number in range(40)]
        alice = cluster.login("edge-b", "alice")
        self.assert_sent(alice.send("user7", "before"), 1)
        node = cluster["edge-a"].node
        codes = []

        def watch(visitor):
            visitor.expect("goAway", timeout=10)
            codes.append(visitor.closed(10))
        threads = [threading.Thread(target=watch, args=(visitor,)) for visitor in visitors]
        for thread in threads:
            thread.start()
        took = cluster["edge-a"].terminate()
        for thread in threads:
            thread.join()
        self.assertEqual(codes, [1012] * 40)
        self.assertLess(took, 11 * SCALE)
        with cluster.keys() as keys:
            left = [key for key in keys.keys() if node in key and not key.startswith("sy:fence")]
            self.assertEqual(left, [])
            self.assertEqual(keys.keys("sy:user:*"), ["sy:user:{alice}"])
        self.assert_rejected(alice.send("user7", "after"), "offline")

    def test_a_leaving_edge_takes_nobody_in(self):
        cluster = self.own().start(sweeper=False)
        idle = [cluster.login("edge-a", "idle%d" % number) for number in range(3)]
        edge = cluster["edge-a"]
        edge.expected_exit = 0
        edge.signal(signal.SIGTERM)
        refused = 0
        while edge.is_running():
            try:
                cluster["edge-a"].client().sock.close()
            except (OSError, Refused):
                refused += 1
            time.sleep(0.01)
        self.assertGreater(refused, 0)
        self.assertEqual([visitor.closed() for visitor in idle], [1012] * 3)


class WithoutRedis(Case):
    def test_sends_are_answered_with_a_reason_and_recover(self):
        cluster = self.own().start(routes__ttl="1s")
        alice, bob = cluster.login("edge-a", "alice"), cluster.login("edge-b", "bob")
        near = cluster.login("edge-a", "near")
        self.assert_sent(alice.send("bob", "before"), 1)
        bob.message()
        cluster.redis.kill()
        begin = time.monotonic()
        self.assert_rejected(alice.send("stranger", "x", timeout=6), "directory_unavailable")
        self.assertLess(time.monotonic() - begin, 5)
        self.assert_sent(alice.send("near", "local goes on"), 1)
        self.assertEqual(near.message()["text"], "local goes on")
        wait_until(lambda: cluster["edge-a"].readiness()[0] == 503, 10, "not ready without Redis")
        self.assertIn("redis", str(cluster["edge-a"].readiness()[1]))
        cluster.start_redis()  # empty: everything in it is lost
        for edge in cluster.edges.values():
            edge.wait_ready(20)
        send_until(alice, "bob", "sent", 15)
        wait_until(lambda: cluster.links("alice") and cluster.links("near") and cluster.links("bob"), 15,
                   "every link written again")
        self.assert_sent(bob.send("near", "back"), 1)

    def test_data_loss_is_noticed_and_every_link_written_again(self):
        cluster = self.own().start()
        visitors = [cluster.login("edge-" + "ab"[number % 2], "user%d" % number) for number in range(50)]
        with cluster.keys() as keys:
            for _ in range(2):
                keys.ask("FLUSHALL")
                wait_until(lambda: len(keys.keys("sy:user:*")) == 50, 15, "50 links again")
                time.sleep(0.5)
            members = sum(keys.ask("SCARD", key) for key in keys.keys("sy:members:*"))
            self.assertEqual(members, 50)
        send_until(visitors[0], "user1", "sent", 5)
        self.assertFalse([visitor for visitor in visitors if visitor.ended])

    def test_a_frozen_redis_blocks_nobody(self):
        cluster = self.own().start(edges=("edge-a",), sweeper=False, limits__commands_per_second=100000)
        alice, bob = cluster.login("edge-a", "alice"), cluster.login("edge-a", "bob")
        cluster.redis.signal(signal.SIGSTOP)
        try:
            worst = 0.0
            until = time.monotonic() + 4
            while time.monotonic() < until:
                begin = time.monotonic()
                alice.expect("pong", alice.command(ping={}))
                worst = max(worst, time.monotonic() - begin)
                # This one may wait for the directory to be given up: redis.command_timeout, 1 s.
                self.assert_sent(alice.send("bob", "local"), 1)
                self.assertLess(time.monotonic() - begin, 1.5 * SCALE)
                bob.message()
            self.assertLess(worst, 0.5 * SCALE)
            begin = time.monotonic()
            self.assert_rejected(alice.send("stranger", "x", timeout=6), "directory_unavailable", "timeout")
            self.assertLess(time.monotonic() - begin, 5)
        finally:
            cluster.redis.signal(signal.SIGCONT)
        cluster["edge-a"].wait_ready(20)
        self.assert_rejected(send_until(alice, "stranger", "rejected", 10, "offline"), "offline")

    def test_a_lost_lease_is_taken_again_and_the_links_stay(self):
        cluster = self.own().start(sweeper=False)
        bob = cluster.login("edge-a", "bob")
        alice = cluster.login("edge-b", "alice")
        node = cluster["edge-a"].node
        with cluster.keys() as keys:
            keys.ask("DEL", "sy:lease:{%s}" % node)
            keys.ask("DEL", "sy:user:{bob}")
            wait_until(lambda: keys.ask("EXISTS", "sy:lease:{%s}" % node), 6, "the lease is back")
            wait_until(lambda: keys.ask("EXISTS", "sy:user:{bob}"), 15, "the link is back")
        self.assertGreater(cluster["edge-a"].counters()["leases_lost"], 0)
        self.assert_sent(send_until(alice, "bob", "sent", 5))
        bob.message()


class WithoutNats(Case):
    def test_local_delivery_goes_on_and_the_rest_is_refused_until_it_is_back(self):
        cluster = self.own().start()
        alice, bob = cluster.login("edge-a", "alice"), cluster.login("edge-b", "bob")
        near = cluster.login("edge-a", "near")
        self.assert_sent(alice.send("bob", "before"), 1)
        bob.message()
        cluster.nats.kill()
        begin = time.monotonic()
        self.assert_rejected(alice.send("bob", "x", timeout=6), "no_route", "timeout")
        self.assertLess(time.monotonic() - begin, 5)
        self.assert_sent(alice.send("near", "local goes on"), 1)
        self.assertEqual(near.message()["text"], "local goes on")
        wait_until(lambda: cluster["edge-a"].readiness()[0] == 503, 10, "not ready without NATS")
        cluster.start_nats()
        send_until(alice, "bob", "sent", 10)
        self.assertEqual(bob.message()["text"], "attempt", "nothing old arrives late")
        cluster["edge-b"].wait_ready()

    def test_a_frozen_nats_blocks_nobody(self):
        cluster = self.own().start(sweeper=False, limits__commands_per_second=100000)
        alice, bob = cluster.login("edge-a", "alice"), cluster.login("edge-b", "bob")
        near = cluster.login("edge-a", "near")
        self.assert_sent(alice.send("bob", "before"), 1)
        bob.message()
        cluster.nats.signal(signal.SIGSTOP)
        try:
            worst = 0.0
            until = time.monotonic() + 7
            while time.monotonic() < until:
                begin = time.monotonic()
                self.assert_sent(alice.send("near", "local"), 1)
                near.message()
                alice.expect("pong", alice.command(ping={}))
                worst = max(worst, time.monotonic() - begin)
                alice.command(send={"to": ["bob"], "text": "x" * 1000})
            self.assertLess(worst, 0.5 * SCALE)
            wait_until(lambda: cluster["edge-a"].readiness()[0] == 503, 10, "noticed")
        finally:
            cluster.nats.signal(signal.SIGCONT)
        for edge in cluster.edges.values():
            edge.wait_ready(20)
        self.assert_sent(send_until(alice, "bob", "sent", 10))

    def test_every_send_has_one_outcome_while_nats_comes_and_goes(self):
        cluster = self.own().start(sweeper=False, limits__commands_per_second=100000)
        alice, bob = cluster.login("edge-a", "alice"), cluster.login("edge-b", "bob")
        sent = set()
        stop = threading.Event()

        def shake():
            while not stop.wait(0.5 + 2.0 * SCALE):  # long enough for both edges to be back
                cluster.nats.kill()
                time.sleep(0.3)
                cluster.start_nats()
        shaker = threading.Thread(target=shake)
        shaker.start()
        arrived = []

        def receive():
            while True:
                try:
                    arrived.append(bob.message(7)["text"])
                except AssertionError:
                    return  # nothing more for 7 s
        receiver = threading.Thread(target=receive)
        receiver.start()
        outcomes = {}
        until = time.monotonic() + 8 * SCALE
        while time.monotonic() < until:
            id_ = alice.command(send={"to": ["bob"], "text": str(alice.next_id)})
            sent.add(id_)
            time.sleep(0.005)
        stop.set()
        shaker.join()
        while len(outcomes) < len(sent):
            event = alice.event(6)
            self.assertNotIn(event["id"], outcomes, "a second outcome")
            outcomes[event["id"]] = event["outcome"]
        self.assertEqual(set(outcomes), sent)
        receiver.join()
        self.assertEqual(len(arrived), len(set(arrived)), "something arrived twice")
        self.assertEqual(arrived, sorted(arrived, key=int), "out of order")
        delivered = {id_ for id_, outcome in outcomes.items() if outcome["status"] == "OUTCOME_STATUS_SENT"}
        self.assertTrue(delivered)
        self.assertEqual({id_ for id_ in delivered if id_ not in set(arrived)}, set())
        never = {id_ for id_, outcome in outcomes.items() if outcome.get("reason") != "REASON_TIMEOUT"} - delivered
        self.assertEqual(never & set(arrived), set(), "rejected, and yet it arrived")


class Frozen(Case):
    def test_an_edge_frozen_beyond_its_lease_comes_back_without_harm(self):
        cluster = self.own().start()
        bob = cluster.login("edge-a", "bob", "phone")
        moved_before = cluster.login("edge-a", "carol", "phone")
        alice = cluster.login("edge-b", "alice")
        frozen = cluster["edge-a"]
        frozen.signal(signal.SIGSTOP)
        begin = time.monotonic()
        self.assertNotEqual(alice.send("bob", "to the frozen", timeout=6)["status"], "OUTCOME_STATUS_SENT")
        self.assertLess(time.monotonic() - begin, 5.5)
        moved = cluster.login("edge-b", "carol", "phone")
        self.assert_sent(alice.send("alice", "others live"), 1)
        alice.message()
        cluster.sweeper.wait_log(r"node_reaped\b.*node=%s\b" % re.escape(frozen.node), LEASE_S + 10)
        frozen.signal(signal.SIGCONT)
        wait_until(lambda: cluster.links("bob"), 20, "bob's link is back")
        self.assert_sent(send_until(alice, "bob", "sent", 10))
        self.assertEqual(bob.message()["text"], "attempt", "what was late never arrives")
        self.assertEqual(moved_before.closed(20), 4001, "the newer login wins")
        moved.expect("pong", moved.command(ping={}))
        self.assert_sent(alice.send("carol", "newer"), 1)
        self.assertEqual(moved.message()["text"], "newer")


class Sweepers(Case):
    def test_one_of_two_sweepers_leads_and_the_other_takes_over(self):
        cluster = self.own().start()
        first = cluster.sweeper
        second = cluster.start_sweeper("sweeper-2")
        second.wait_log("sweeper_ready")
        time.sleep(1.0)
        self.assertNotIn("sweeper_leader", second.log())
        first.kill()
        second.wait_log("sweeper_leader", 20)
        cluster.login("edge-a", "bob")
        node = cluster["edge-a"].node
        cluster["edge-a"].kill()
        second.wait_log(r"node_reaped\b.*node=%s\b.*links=1\b" % re.escape(node), LEASE_S + 10)

    def test_a_sweeper_that_leaves_hands_over_at_once(self):
        cluster = self.own().start()
        second = cluster.start_sweeper("sweeper-2")
        second.wait_log("sweeper_ready")
        first = cluster.children[cluster.children.index(second) - 1]
        first.terminate()
        second.wait_log("sweeper_leader", 6)

    def test_the_living_are_never_reaped(self):
        cluster = self.own().start()
        visitors = [cluster.login("edge-" + "ab"[n % 2], "user%d" % n) for n in range(20)]
        cluster.nats.kill()  # heartbeats stop, leases do not
        time.sleep(LEASE_S + 3)
        cluster.start_nats()
        for edge in cluster.edges.values():
            edge.wait_ready(20)
        self.assertNotIn("node_reaped", cluster.sweeper.log())
        with cluster.keys() as keys:
            self.assertEqual(len(keys.keys("sy:user:*")), 20)
        self.assertFalse([visitor for visitor in visitors if visitor.ended])
