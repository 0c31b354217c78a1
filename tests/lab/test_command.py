"""
Tests for C{atmosphere lab}.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Generator
from pathlib import Path, PosixPath
from typing import Self

from twisted.trial.unittest import SkipTest, SynchronousTestCase
from typing_extensions import override

from atmosphere.cli.lab_workshop import _story
from atmosphere.lab import Kind, missing
from atmosphere.lab.programs import remove_leftovers
from atmosphere.lab.tables import RowResult
from atmosphere.lab.targets import Row
from atmosphere.lab.trial import Event, Run
from tests.cli.running import atmosphere
from tests.end_to_end.harness import ROOT, EndToEndTestCase

from .lab_case import LabTestCase


class _Raced(PosixPath):
    """
    A folder in which somebody else removes what was just found.
    """

    @override
    def glob(self, pattern: str) -> Generator[Self, None, None]:
        """
        Find folders, and remove them.
        """
        found = list(super().glob(pattern))
        for each in found:
            each.rmdir()
        yield from found


class LeftoverTests(SynchronousTestCase):
    """
    What killed laboratories have left.
    """

    def test_two_at_once(self) -> None:
        """
        Two laboratories that begin at once do not trip over each other's cleaning.
        """
        place = _Raced(self.mktemp())
        (place / "atmosphere-lab-0-x").mkdir(parents=True)
        remove_leftovers(place)
        self.assertEqual(list(place.iterdir()), [])


class ListTests(SynchronousTestCase):
    """
    What can be tried.
    """

    def test_list(self) -> None:
        """
        All kinds are listed, each with what it is; nobody needs root for that.
        """
        ended = atmosphere("lab", "list")
        self.assertEqual(ended.status, 0)
        for kind in Kind:
            self.assertRegex(ended.out, rf"(?m)^{kind.value} +\S")
        answer = json.loads(atmosphere("lab", "list", "--json").out)
        self.assertEqual([each["name"] for each in answer["kinds"]], [kind.value for kind in Kind])
        self.assertEqual(answer["missing"], missing())

    def test_wrong(self) -> None:
        """
        What is no pair is wrong usage, said in one line.
        """
        for words in (["symetric x cgnat"], ["none"], ["matrix", "none x"], ["pair", "x"]):
            ended = atmosphere("lab", *words)
            self.assertEqual(ended.status, 2, words)
            self.assertRegex(ended.err, r"\Aatmosphere: .*\n\Z")

    def test_help(self) -> None:
        """
        Help names what is needed, and hides what laboratories start for themselves.
        """
        ended = atmosphere("lab", "--help")
        self.assertIn("Needs root", ended.out)
        self.assertNotIn("internal", ended.out)
        for name in ("list", "pair", "matrix"):
            self.assertIn("Examples:\n  ", atmosphere("lab", name, "--help").out)

    def test_missing(self) -> None:
        """
        Where something is missing, that is said in one line with what would help.
        """
        ended = atmosphere("lab", "none x none", env={"PATH": "/nonexistent"})
        self.assertEqual(ended.status, 1)
        self.assertRegex(ended.err, r"\Aatmosphere: .*(install iproute2|root|Linux).*\n\Z")


class StoryTests(SynchronousTestCase):
    """
    What is told of a run.
    """

    def test_order(self) -> None:
        """
        What came in one moment is told in the order in which it was decided.
        """
        texts = ("works: 1200 bytes went both ways", "in use: direct before relayed")
        run = Run(first_reply_ms=5.0, events=tuple(Event(0.2, "seattle", each) for each in texts))
        told = [line.partition("seattle   ")[2] for line in _story(run)]
        self.assertEqual(told, ["the first byte is back", *texts])


class RunTests(LabTestCase):
    """
    The whole, for users.
    """

    def test_matrix(self) -> None:
        """
        A matrix of named pairs is one JSON object, with the keys that the page names.
        """
        ended = atmosphere("lab", "matrix", "same-lan x same-lan", "--delay", "5", "--json")
        self.assertEqual(ended.status, 0, ended.err)
        answer = json.loads(ended.out)
        self.assertEqual((answer["version"], answer["delay_ms"]), (1, 5))
        (pair,) = answer["pairs"]
        self.assertEqual((pair["pair"], pair["connected"]), ("same-lan x same-lan", True))
        self.assertEqual((pair["prospect"], pair["direct"], pair["error"]), ("direct", 1, None))
        (run,) = pair["runs"]
        self.assertEqual(run["path"]["remote"], "192.168.1.10:7777")
        page = (ROOT / "docs" / "LAB.md").read_text()
        self.assertEqual((answer["rows"], answer["holds"], pair["misses"]), ([], None, None))
        self.assertRegex(
            answer["machine"]["command"], "^atmosphere lab matrix 'same-lan x .*' --delay 5$"
        )
        events, home = run["events"][0], pair["behaviors"][0]
        keys = (*answer, *answer["machine"], *pair, *run, *events, *home, *home["ipv4"])
        for key in (*keys, *RowResult(Row.EASY).as_json()):
            self.assertTrue(f"`{key}`" in page, key)

    def test_table(self) -> None:
        """
        A matrix for people tells each pair with its number, and what it compares with.
        """
        ended = atmosphere("lab", "matrix", "same-lan x same-lan")
        self.assertRegex(ended.out, r"(?m)^ 1/1  same-lan x same-lan +first byte after")
        self.assertRegex(ended.out, r"(?m)^two on one LAN +1 +1/1 +1/1 ")


class InterruptTests(EndToEndTestCase):
    """
    A laboratory that is ended from outside.
    """

    def begin(self, number: int, status: int, *words: str) -> Path:
        """
        End one while it is being built, and see what is left.

        @param words: what is built, other than one pair.
        @return: where its files were.
        """
        lacking = missing()
        if lacking is not None:
            raise SkipTest(lacking)
        temporary = self.folder / f"for-{number}"
        temporary.mkdir()
        environment = {"TMPDIR": str(temporary)}
        arguments = words or ("none x none",)
        program = self.start("atmosphere", "lab", *arguments, environment=environment)
        self.wait_until(lambda: bool(list(temporary.glob("*/**/*wire*"))), "the wire is there")
        (folder,) = temporary.iterdir()
        mark = f"HOME={folder}"
        self.assertNotEqual(self.marked(mark), [])
        program.stop(number)
        self.assertEqual(program.wait().status, status, program.err)
        self.wait_until(lambda: self.marked(mark) == [], "all programs have ended")
        if number != signal.SIGKILL:
            self.assertEqual(list(temporary.iterdir()), [])
        return temporary

    @staticmethod
    def marked(mark: str) -> list[int]:
        """
        Find the processes that have a variable which begins so.
        """
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/environ", "rb") as file:
                    if b"\0" + mark.encode() in b"\0" + file.read():
                        found.append(int(pid))
            except OSError:  # it has ended meanwhile
                continue
        return found

    def test_terminated(self) -> None:
        """
        SIGTERM leaves no program and no file.
        """
        self.begin(signal.SIGTERM, 1)

    def test_interrupted(self) -> None:
        """
        Nor does Ctrl-C.
        """
        self.begin(signal.SIGINT, 130)

    def test_matrix_interrupted(self) -> None:
        """
        Ctrl-C ends a matrix as well, and not only the pair that it is at.
        """
        self.begin(signal.SIGINT, 130, "matrix", "none x none", "cgnat x cgnat")

    def test_matrix_ended_later(self) -> None:
        """
        What a matrix found until Ctrl-C is shown: the table of the pairs that were done.
        """
        lacking = missing()
        if lacking is not None:
            raise SkipTest(lacking)
        (temporary := self.folder / "later").mkdir()
        program = self.start(
            "atmosphere",
            *("lab", "matrix", "same-lan x same-lan", "none x none"),
            environment={"TMPDIR": str(temporary)},
        )
        program.wait_for(" 1/2  same-lan x same-lan")
        program.stop(signal.SIGINT)
        ended = program.wait()
        self.assertEqual((ended.status, ended.err.strip()), (130, "ended after 1 of 2 pairs"))
        self.assertRegex(ended.out, r"(?m)^two on one LAN +1 +1/1 +1/1 ")
        self.assertNotIn("none x none", ended.out)
        self.assertEqual(list(temporary.iterdir()), [])

    def test_killed(self) -> None:
        """
        Even one that is killed leaves no program, and so no namespace either; its files
        go when the next one begins, and nobody else's.
        """
        place = self.begin(signal.SIGKILL, -signal.SIGKILL)
        (stale,) = place.iterdir()
        others = [place / f"atmosphere-lab-{os.getpid()}-x", place / "atmosphere-lab-y"]
        for each in others:
            each.mkdir()
        (place / f"{stale.name}-link").symlink_to(others[0])
        remove_leftovers(place)
        self.assertFalse(stale.exists())
        self.assertEqual([each.exists() for each in others], [True, True])
