"""F23, the other half: what an edge may do at Redis is taken from it while it runs."""
from f23_permissions import Rights

from cluster import SharedCase


class Redis(Rights, SharedCase):
    def setUp(self):
        super().setUp()
        self.addCleanup(self.restore)

    def restore(self):
        self.redis("on", "+@all", "~sy:*")
        for edge in self.cluster.edges.values():
            edge.wait_ready(20)

    def redis(self, *rules):
        with self.cluster.keys() as keys:
            keys.ask("ACL", "SETUSER", "switchyard", *rules)

    def test_all_commands_that_are_taken(self):
        self.redis("-@all")
        self.assert_noticed("redis")
        self.redis("+@all")
        self.assert_back()

    def test_keys_that_are_taken(self):
        self.redis("resetkeys")
        self.assert_noticed("redis")
        self.redis("~sy:*")
        self.assert_back()

    def test_writing_that_is_taken(self):
        self.redis("-@write")
        self.assert_noticed("redis")
        self.redis("+@all")
        self.assert_back()

    def test_a_user_that_is_switched_off_and_thrown_out(self):
        self.redis("off")
        with self.cluster.keys() as keys:
            keys.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        self.assert_noticed("redis")
        self.redis("on")
        self.assert_back()
