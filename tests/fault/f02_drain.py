"""F2: an edge is told to leave under load. Everybody on it is told when and where to come back. Half of them
leave by themselves at that time, half are closed with 1012; they come back no faster than the others take people
in, and nothing that was answered is lost."""
import os
import time

from cluster import ROOT
from harness import SCALE, Fault

GRACE_S = 30


def tells_where():
    """Whether GoAway names the edge to go to."""
    with open(os.path.join(ROOT, "proto", "switchyard", "v1", "client.proto")) as proto:
        go_away = proto.read().partition("message GoAway {")[2].partition("}")[0]
    return "string url" in go_away


class Drained(Fault):
    def test_a_drain_loses_nothing_and_sends_everybody_elsewhere_in_turn(self):
        if not tells_where():
            self.skipTest("pending: GoAway does not name an edge to go to yet")
        # 10 of 12 users are on the edge that leaves; the others take them in in 2 s, long form 10 s, or more.
        users = self.size(2000, 12000)
        accept_rate = self.size(400, 500)
        window = self.size(9, 25)
        settings = {"drain__timeout": "%ds" % (window * SCALE), "connections__accept_rate": accept_rate}
        self.bring_up(users=users, rate=self.size(300, 1000), weights={"edge-a": 10}, **settings)
        leaving = self.driver.where()["edges"]["edge-a"]
        self.driver.victims("edge-a")
        calm = self.measure(3)
        self.driver.mark()
        took = self.leave("edge-a")
        back = self.wait_all_live()
        report = self.driver.report()
        window = report["window"]
        self.assertEqual((window["go_aways"], window["go_away_urls"]), (leaving, leaving))
        # The first slots are the first milliseconds, and may be now.
        self.assertGreaterEqual(window["go_away_slots"], leaving * 0.97)
        self.assertEqual(set(window["closes"]), {"1000", "1012"}, window["closes"])
        self.assertEqual((sum(window["closes"].values()), window["resets"], window["silences"]), (leaving, 0, 0))
        self.assertEqual(window["reconnects"], leaving)
        for name in ("edge-b", "edge-c"):
            self.assertLessEqual(report["logins_max_per_s"][name], accept_rate, report["logins_max_per_s"])
        self.assert_p99(calm, report)
        self.restart("edge-a", **settings)
        self.check_promises(victims_lost=False)
        self.check_resources()
        self.figures(leaving=leaving, exit_s=round(took, 2), back_s=round(took + back, 2), closes=window["closes"],
                     slot_max_ms=window["slot_max_ms"], logins_max_per_s=report["logins_max_per_s"])

    def leave(self, name):
        """SIGTERM; the seconds until it has ended with 0."""
        self.driver.edge(name, 0)
        return self.cluster[name].terminate(GRACE_S)
