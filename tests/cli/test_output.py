"""
Tests for L{atmosphere.cli.output}.
"""

from __future__ import annotations

import contextlib
import io
import json

from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.cli.output import (
    describe_path,
    milliseconds,
    print_json,
    print_table,
    shown,
)


class Terminal(io.StringIO):
    """
    A stream that says it is a terminal.
    """

    @override
    def isatty(self) -> bool:
        """
        Say so.
        """
        return True


class OutputTests(SynchronousTestCase):
    """
    How answers look.
    """

    def test_json(self) -> None:
        """
        JSON is one object that begins with its version and is pure ASCII.
        """
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            print_json({"name": "\x1b[31mä"})
        self.assertTrue(out.getvalue().isascii())
        self.assertNotIn("\x1b", out.getvalue())
        self.assertEqual(list(json.loads(out.getvalue())), ["version", "name"])

    def test_columns(self) -> None:
        """
        A table that is not for a terminal is plain columns.
        """
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            print_table(["name", "state"], [["portland", "away"], ["x", "connected"]])
        self.assertEqual(out.getvalue(), "NAME      STATE\nportland  away\nx         connected\n")

    def test_terminal(self) -> None:
        """
        On a terminal the cells are shown as they are, never read as markup.
        """
        out = Terminal()
        with contextlib.redirect_stdout(out):
            print_table(["name"], [["[bold]x[/bold]"]])
        self.assertIn("[bold]x[/bold]", out.getvalue())

    def test_times(self) -> None:
        """
        Short times have a decimal, long ones none, and unknown ones a dash.
        """
        cases = [(0.44, "0.4 ms"), (23.4, "23 ms"), (None, "-"), (True, "-"), ("x", "-")]
        for value, text in cases:
            self.assertEqual(milliseconds(value), text)

    def test_paths(self) -> None:
        """
        A path is said in words, whatever a node may send.
        """
        self.assertEqual(describe_path({"kind": "relayed", "remote": "ws://r"}), "via relay ws://r")
        self.assertEqual(describe_path({"kind": "punched", "remote": "a:1"}), "punched a:1")
        self.assertEqual(describe_path(None), "-")
        self.assertEqual(describe_path({"kind": "\x07", "remote": None}), "\\x07 -")
        self.assertEqual(shown("\x1b]0;evil\x07"), "\\x1b]0;evil\\x07")
