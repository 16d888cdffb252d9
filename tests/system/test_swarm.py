"""Two thousand users on two edges, and the book of what became of 50,000 sends."""
import json
import os
import subprocess

from client import SCALE
from cluster import BIN, SANITIZED, Case

# Slow builds play less; the promises are the same.
USERS, MESSAGES, ROUNDS = (400, 8000, 2) if SANITIZED else (2000, 50000, 10)


class Swarm(Case):
    def test_every_send_has_one_outcome_and_memory_stays_flat(self):
        cluster = self.own().start(limits__commands_per_second=100000)
        edges = list(cluster.edges.values())
        done = subprocess.run(
            [os.path.join(BIN, "swarm"), "--json", "--edges", ",".join(str(edge.port) for edge in edges),
             "--pids", ",".join(str(edge.pid) for edge in edges), "--users", str(USERS),
             "--messages", str(MESSAGES), "--repeat", str(ROUNDS), "--deadline", str(int(60 * SCALE))],
            capture_output=True, text=True, timeout=200 * SCALE)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        rounds = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual(len(rounds), ROUNDS)
        for played in rounds:
            self.assertEqual((played["users"], played["sends"]), (USERS, MESSAGES))
            self.assertEqual((played["sent"], played["rejected"]), (MESSAGES, {}), played)
        print("\n".join("%(send_ms)d ms, rss %(rss_kib)s KiB" % played for played in rounds))
        if not SANITIZED:
            third, last = rounds[2]["rss_kib"], rounds[-1]["rss_kib"]
            for before, after in zip(third, last):
                self.assertLessEqual(after, before * 1.05 + 1024, "memory grew: %s" % rounds)
