"""
Tests for atmosphere.lab.tables, and for how the command line tells them.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.cli.lab_matrix import machine, markdown, time_left
from atmosphere.lab import Conditions, Kind, Outcome, Run
from atmosphere.lab.tables import has_targets, misses, sum_up
from atmosphere.lab.targets import Row


def outcome(one: Kind, two: Kind, *runs: Run, error: str | None = None) -> Outcome:
    """
    Make what became of a pair.
    """
    return Outcome((one, two), runs=list(runs), error=error)


FAST = outcome(Kind.NONE, Kind.NONE, Run(150.0, 150.0), Run(160.0, 170.0))
SLOW = outcome(Kind.NONE, Kind.CGNAT, Run(150.0, 290.0), Run(210.0, 1200.0), Run(250.0, 400.0))
RELAYED = outcome(Kind.SYMMETRIC, Kind.SYMMETRIC, Run(300.0), Run(200.0))
BROKEN = outcome(Kind.UDP_BLOCKED, Kind.NONE, error="portland ended with 1")


class TableTests(SynchronousTestCase):
    """
    Pairs by the rows of the table of targets.
    """

    def test_rows(self) -> None:
        """
        A row has the median of its slowest pair and its slowest run, counts what was
        connected and direct, and names the pair that missed something.
        """
        easy, relayed = sum_up([RELAYED, FAST, SLOW])
        self.assertEqual((easy.row, relayed.row), (Row.EASY, Row.RELAYED))
        found = easy.as_json()
        self.assertEqual((found["row"], found["pairs"], found["runs"]), ("easy", 2, 5))
        self.assertEqual((found["connected"], found["direct"]), (5, 5))
        self.assertEqual(found["first_reply_ms"], {"median": 210.0, "max": 250.0})
        self.assertEqual(found["direct_ms"], {"median": 400.0, "max": 1200.0})
        self.assertIs(found["holds"], False)
        self.assertEqual(
            found["misses"],
            [
                "none x cgnat: first byte median 0.210 s, not 0.2 s",
                "none x cgnat: direct median 0.400 s, not 0.3 s",
                "none x cgnat: direct worst 1.200 s, not 1 s",
            ],
        )
        found = relayed.as_json()
        self.assertEqual((found["holds"], found["misses"], found["direct"]), (True, [], 0))
        self.assertIsNone(found["direct_ms"])

    def test_broken(self) -> None:
        """
        A pair that could not be tried has missed its target, and why is said.
        """
        self.assertEqual(misses(BROKEN), ("portland ended with 1",))
        (row,) = sum_up([BROKEN])
        self.assertEqual(row.misses, ["udp-blocked x none: portland ended with 1"])

    def test_conditions(self) -> None:
        """
        There are targets at one distance only.
        """
        self.assertTrue(has_targets(Conditions(0.02)))
        for other in (Conditions(0.01), Conditions(loss=0.1), Conditions(jitter=0.01)):
            self.assertFalse(has_targets(other))


class ReportTests(SynchronousTestCase):
    """
    What is kept in a page.
    """

    def test_markdown(self) -> None:
        """
        A report says when, with which command and on what machine it was made, and has a
        table of rows and one of pairs, each line with as many cells as its heading.
        """
        outcomes = [FAST, SLOW, RELAYED, BROKEN]
        facts = machine(0.0) | {"load_after": 1.5, "seconds": 600, "command": "atmosphere lab x"}
        lines = list(markdown(outcomes, sum_up(outcomes), Conditions(), facts, len(outcomes)))
        self.assertNotIn("ended after", "\n".join(lines))
        self.assertEqual(lines[:3], ["### 1970-01-01 00:00 UTC", "", "    sudo atmosphere lab x"])
        self.assertIn("load", lines[4])
        self.assertIn("10 minutes", lines[4])
        tables = [line for line in lines if line.startswith("|")]
        rows, pairs = tables[:4], tables[4:]
        self.assertEqual({line.count("|") for line in rows}, {9})
        self.assertEqual({line.count("|") for line in pairs}, {7})
        self.assertIn("| missed |", rows[2])
        self.assertEqual(
            pairs[2:][:1], ["| none x none | 2/2 | 2/2 | 155 ms, 160 ms | 160 ms, 170 ms |  |"]
        )
        self.assertIn("| udp-blocked x none | 0/0 | 0/0 | - | - | portland ended with 1 |", pairs)

    def test_other_distance(self) -> None:
        """
        At another distance nothing is compared, and the distance is said.
        """
        facts = machine(0.0) | {"load_after": 0, "seconds": 6, "command": "atmosphere lab x"}
        text = "\n".join(markdown([SLOW], [], Conditions(0.05, 0.01, 0.05), facts, 1))
        self.assertIn("50 ms one way on each uplink, at most 10 ms more, 5.0% lost", text)
        self.assertNotIn("not 0.2 s", text)
        self.assertIn("6 seconds", text)

    def test_ended(self) -> None:
        """
        A report of less than what was wanted says so.
        """
        facts = machine(0.0) | {"load_after": 0, "seconds": 6, "command": "atmosphere lab x"}
        text = "\n".join(markdown([SLOW], [], Conditions(), facts, 57))
        self.assertIn("\nIt was ended after 1 of 57 pairs.\n", text)

    def test_time_left(self) -> None:
        """
        How long the rest takes is said where it is minutes.
        """
        self.assertEqual(time_left(60, 2, 12), "  (about 5 min left)")
        self.assertEqual(time_left(60, 11, 12), "")
