"""
Tests for L{atmosphere.lab.faults} and C{atmosphere lab faults}, but for what happens in one.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.cli.lab_faults import parse_size
from atmosphere.errors import ConfigurationError
from atmosphere.lab.fault_trial import FaultResult
from atmosphere.lab.faults import FAULTS, find_faults
from tests.cli.running import atmosphere
from tests.end_to_end.harness import ROOT


class FaultTests(SynchronousTestCase):
    """
    What may happen, and what is said of it.
    """

    def test_named(self) -> None:
        """
        Each has a name of its own, by which it is found; without names all are meant.
        """
        names = [fault.name for fault in FAULTS]
        self.assertEqual(len(set(names)), len(names))
        self.assertEqual(
            [each.name for each in find_faults(("relay", "block"))], ["relay", "block"]
        )
        self.assertEqual(find_faults(()), list(FAULTS))
        self.assertRaises(KeyError, find_faults, ("flood",))

    def test_documented(self) -> None:
        """
        The page lists each with its target, and the keys of the JSON.
        """
        page = (ROOT / "docs" / "LAB.md").read_text()
        result = FaultResult(FAULTS[0], True, True, 0.5, ("punched", "punched"))
        for fault in FAULTS:
            target = "-" if fault.target is None else f"{fault.target:g} s"
            self.assertIn(f"| `{fault.name}` | {fault.words} | {target} |", page)
        for key in result.as_json():
            self.assertIn(f"`{key}`", page)

    def test_held(self) -> None:
        """
        A target is held if all came, and in time; some faults have none.
        """
        (cut,) = find_faults(("cut-10",))
        (sleep,) = find_faults(("sleep",))
        cases = ((cut, True, 0.5, True), (cut, True, 0.6, False), (cut, False, 0.1, False))
        for fault, is_equal, gap, is_held in (*cases, (sleep, True, 9.0, None)):
            result = FaultResult(fault, True, is_equal, gap, ("punched", "punched"))
            self.assertEqual(result.is_held, is_held)
            self.assertEqual(result.as_json()["held"], is_held)

    def test_size(self) -> None:
        """
        Sizes are written as people do.
        """
        written = {"50MB": 50_000_000, "400k": 400_000, "1 GB": 10**9, "7": 7}
        self.assertEqual({text: parse_size(text) for text in written}, written)
        for text in ("", "0", "-1", "5XB", "1.5MB", "9999999GB"):
            self.assertRaises(ConfigurationError, parse_size, text)

    def test_wrong(self) -> None:
        """
        What is no pair, fault or size is wrong usage, said in one line.
        """
        wrong = (["none"], ["--fault", "flood"], ["--size", "much"])
        for words in wrong:
            ended = atmosphere("lab", "faults", *words)
            self.assertEqual(ended.status, 2, words)
            self.assertRegex(ended.err, r"\Aatmosphere: .*\n\Z")
