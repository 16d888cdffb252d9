"""F20: the same device logs in on two edges in turn, faster than either can tell the other. In the end exactly
one connection lives, and Redis names it."""
import random
import threading
import time

from client import Closed, Refused
from harness import SEED, Fault, wait_until

DEVICES = 8


class PingPong(Fault):
    def test_one_connection_survives_and_redis_names_it(self):
        self.began, self.numbers = time.monotonic(), {}
        cycles = self.rounds(1, 10) * 1000 // DEVICES
        cluster = self.own().start(edges=("edge-a", "edge-b"), limits__commands_per_second=100000)
        self.cluster = cluster
        visitors = [[] for _ in range(DEVICES)]
        faults = []

        def play(number):
            dice = random.Random(SEED * 1000 + number)
            try:
                for cycle in range(cycles):
                    self.log_in(visitors[number], number, cycle, dice)
            except Exception as wrong:  # told by the test, not lost in a thread
                faults.append(repr(wrong))
        threads = [threading.Thread(target=play, args=(number,)) for number in range(DEVICES)]
        begin = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        played = time.monotonic() - begin
        self.assertEqual(faults, [])
        begin = time.monotonic()
        for number in range(DEVICES):
            self.settle("pong%d" % number, visitors[number])
        self.assert_members({"pong%d" % number for number in range(DEVICES)})
        settled = time.monotonic() - begin
        for edge in cluster.edges.values():
            # The clients this test has let go of are gone from the edges too.
            wait_until(lambda edge=edge: edge.counters()["connections"] == self.held(edge, visitors), 10,
                       "no connection but the survivors")
        counters = [edge.counters() for edge in cluster.edges.values()]
        self.figures(cycles=cycles * DEVICES, logins_per_s=round(cycles * DEVICES / played),
                     settled_s=round(settled, 2), kicks=sum(one["kicks_in"] for one in counters),
                     superseded=sum(one["superseded"] for one in counters))
        for some in visitors:
            for visitor, _ in some:
                visitor.sock.close()

    def log_in(self, visitors, number, cycle, dice):
        """Says Hello and does not always wait for the answer; some of the earlier ones leave by themselves."""
        name = "edge-" + "ab"[cycle % 2]
        visitor = self.cluster[name].client()
        visitor.command(id="1", hello={"user": "pong%d" % number, "device": "phone"})
        visitors.append((visitor, name))
        if dice.random() < 0.3:
            try:
                visitor.welcome = visitor.expect("welcome")
            except Closed:
                pass  # already replaced
        time.sleep(dice.choice((0, 0, 0.001, 0.005, 0.02)) * dice.random())
        while len(visitors) > 4:
            old, _ = visitors.pop(0)
            if old.ended is None:
                (old.abort if dice.random() < 0.5 else old.sock.close)()

    def is_alive(self, visitor):
        if visitor.ended:
            return False
        try:
            visitor.expect("pong", visitor.command(ping={}), timeout=2)
            return True
        except (OSError, AssertionError, Closed, Refused):
            return False

    def settle(self, user, visitors):
        """Exactly one lives, and its row is the only one."""
        def one_left():
            visitors[:] = [(visitor, name) for visitor, name in visitors if self.is_alive(visitor)]
            return len(visitors) == 1
        wait_until(one_left, 20, "one connection of " + user)
        visitor, name = visitors[0]
        welcome = getattr(visitor, "welcome", None) or visitor.expect("welcome")

        def row_is_right():
            rows = [row.split(" ")[:2] for row in self.cluster.links(user).values()]
            return rows == [[self.cluster[name].node, welcome["connection"]]]
        wait_until(row_is_right, 10, "the row of %s is %s: %s" % (user, welcome, self.cluster.links(user)))

    def assert_members(self, users):
        def exact():
            with self.cluster.keys() as keys:
                members = [member for name in keys.keys("sy:members:*") for member in keys.ask("SMEMBERS", name)]
            return sorted(members) == sorted(user + "/phone" for user in users)
        wait_until(exact, 10, "members exact")

    def held(self, edge, visitors):
        return sum(1 for some in visitors for _, name in some if self.cluster[name] is edge)
