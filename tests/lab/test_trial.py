"""
Tests for atmosphere.lab.trial.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.cli.client import LocalClient
from atmosphere.lab import Kind, Outcome, Prospect, Run, Trial

from .lab_case import LabTestCase


class OutcomeTests(SynchronousTestCase):
    """
    What is written down.
    """

    def test_sum(self) -> None:
        """
        Several runs are summed up by median and worst; one that was relayed is not direct.
        """
        outcome = Outcome((Kind.SYMMETRIC, Kind.CGNAT))
        self.assertFalse(outcome.is_connected)
        outcome.runs += [Run(200.0, 300.0), Run(220.0, 500.0), Run(210.0)]
        found = outcome.as_json()
        self.assertEqual(found["pair"], "symmetric x cgnat")
        self.assertEqual(found["prospect"], Prospect.HARD.value)
        self.assertEqual(found["first_reply_ms"], {"median": 210.0, "max": 220.0})
        self.assertEqual(found["direct_ms"], {"median": 400.0, "max": 500.0})
        self.assertEqual((found["connected"], found["direct"]), (True, 2))
        outcome.runs.append(Run(error="no answer"))
        self.assertFalse(outcome.is_connected)


class TrialTests(LabTestCase):
    """
    The real programs between real NATs.
    """

    def test_pair(self) -> None:
        """
        Two homes behind routers that let in answers alone join, and are direct by the
        address of the other's router, again after all is switched off and on.
        """
        lines: list[tuple[str, str]] = []
        internet = self.internet(Kind.PORT_RESTRICTED, Kind.CGNAT, delay=0.01)
        trial = Trial(internet, LocalClient, lambda *line: lines.append(line))
        trial.prepare()
        self.assertEqual([who for who, _ in lines], ["portland", "seattle", "relay", "join"])
        run = trial.run(10)
        assert run.path is not None, run
        self.assertEqual((run.path["kind"], run.path["remote"]), ("punched", "45.77.1.2:7777"))
        assert run.first_reply_ms is not None
        assert run.direct_ms is not None
        self.assertGreaterEqual(run.first_reply_ms, 60)  # three round trips of 20 ms at least
        told = [(each.node, each.text) for each in run.events]
        self.assertIn(("seattle", "linked: we dialled"), told)
        self.assertTrue(any(node == "portland" for node, _ in told))
        self.assertTrue(all(-0.05 < each.at < 10 for each in run.events), run.events)
        assert run.why is not None
        self.assertEqual(run.why["path"]["kind"], "punched")
        self.assertEqual(trial.outcome.as_json()["direct"], 1)
