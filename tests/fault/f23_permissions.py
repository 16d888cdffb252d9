"""F23: what an edge may do is taken from it while it runs.

It says that it is not ready within 5 s, whichever part of its rights went: an edge that
has a connection and hears nothing is worse than one without. With the rights it comes back.
"""
import os
import signal
import time

from upkeep import SCALE, Upkeep

from cluster import SharedCase, wait_until

NOTICED_S = 5
BACK_S = 20
ALL = '">"'


class Rights(Upkeep):
    def setUp(self):
        super().setUp()
        self.edge = self.edge_a
        self.watch(self.edge, warm=False)
        self.alice, self.bob = self.login("edge-a", "alice"), self.login("edge-b", "bob")
        self.assert_sent(self.alice.send("bob", "before"), 1)

    def assert_noticed(self, part):
        """Not ready in time, and the reason names the part."""
        begin = time.monotonic()
        status, body = wait_until(lambda: self.edge.readiness()[0] == 503 and self.edge.readiness(),
                                  NOTICED_S, "not ready without %s" % part)
        print("%s: not ready after %.1f s: %s" % (part, time.monotonic() - begin, body.get("why")))
        # No send waits for longer than it may, and none is said to be sent that was not.
        begin = time.monotonic()
        outcome = self.alice.send("bob", "meanwhile", timeout=7)
        self.assertLess(time.monotonic() - begin, 5.5 * SCALE)
        self.assertEqual(status, 503)
        return outcome

    def assert_back(self):
        for edge in self.cluster.edges.values():
            edge.wait_ready(BACK_S)

        def delivered():
            return self.alice.send("bob", "after", timeout=6)["status"] == "OUTCOME_STATUS_SENT"

        wait_until(delivered, 15, "messages again", every=0.2)


class Nats(Rights, SharedCase):
    def setUp(self):
        super().setUp()
        self.addCleanup(self.rules)  # the next test has them all again

    def rules(self, publish=ALL, subscribe=ALL, password=None, user="switchyard"):
        """Writes the server's settings anew and has it read them."""
        whole = self.cluster
        text = ("host: 127.0.0.1\nport: %d\nhttp: 127.0.0.1:%d\nwrite_deadline: \"500ms\"\n"
                "accounts { switchyard { users: [ { user: %s, password: \"%s\", permissions: "
                "{ publish: { allow: %s }, subscribe: { allow: %s } } } ] } }\n"
                % (whole.nats_port, whole.nats_monitor, user, password or whole.password, publish, subscribe))
        path = os.path.join(whole.directory, "nats.conf")
        with open(path, "w") as conf:
            conf.write(text)
        reloads = whole.nats.log().count("Reloaded server configuration")
        whole.nats.signal(signal.SIGHUP)
        wait_until(lambda: whole.nats.log().count("Reloaded server configuration") > reloads, what="reloaded")

    def test_a_password_that_changes(self):
        self.rules(password="another-one")
        self.assert_rejected(self.assert_noticed("nats"), "no_route", "unavailable", "timeout", "busy")
        self.rules()
        self.assert_back()

    def test_a_user_that_goes(self):
        self.rules(user="somebody")
        self.assert_rejected(self.assert_noticed("nats"), "no_route", "unavailable", "timeout", "busy")
        self.rules()
        self.assert_back()

    def test_subscriptions_that_are_taken(self):
        """The connection stays: only a message to itself tells."""
        self.rules(subscribe='"heartbeat.*"')
        self.assert_noticed("nats")
        self.rules()
        self.assert_back()

    def test_publishing_that_is_taken(self):
        self.rules(publish='"nothing"')
        self.assert_noticed("nats")
        self.rules()
        self.assert_back()
