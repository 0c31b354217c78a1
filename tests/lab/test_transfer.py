"""
Tests for L{atmosphere.lab.transfer}.
"""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.lab.transfer import Transfer, pieces
from tests.end_to_end.namespaces import TIMES


class TransferTests(SynchronousTestCase):
    """
    Bytes from one socket to another.
    """

    def run_once(self, total: int, path: Path) -> Transfer:
        """
        Transfer over one socket, without atmosphere in between.
        """
        transfer = Transfer(total, 1e9, TIMES.elapsed)
        transfer.listen(path)
        transfer.send(path)
        self.addCleanup(transfer.stop)
        end = TIMES.elapsed() + 20
        while not transfer.is_over() and TIMES.elapsed() < end:
            TIMES.pause(0.005)
        return transfer

    def path(self) -> Path:
        """
        Name a socket, by a path that is short enough.
        """
        folder = Path(self.mktemp())
        folder.mkdir(parents=True)
        return (folder / "s").relative_to(Path.cwd()) if folder.is_absolute() else folder / "s"

    def test_equal(self) -> None:
        """
        All that was sent has come, and when.
        """
        transfer = self.run_once(1_000_001, self.path())
        self.assertEqual((transfer.error, transfer.received), (None, 1_000_001))
        for thread in transfer._threads:
            thread.join(10)
        self.assertTrue(transfer.is_equal)
        self.assertLess(transfer.longest_gap(transfer.times[0]), 20)

    def test_nobody_there(self) -> None:
        """
        What cannot be sent is an error, and no more.
        """
        transfer = Transfer(1, 1.0, TIMES.elapsed)
        transfer.send(self.path())
        for thread in transfer._threads:
            thread.join(10)
        self.assertIn("No such file", transfer.error or "")
        self.assertTrue(transfer.is_over())
        self.assertFalse(transfer.is_equal)

    def test_gap(self) -> None:
        """
        The longest time without bytes is that between two of them, or before the first.
        """
        transfer = Transfer(1, 1.0, TIMES.elapsed)
        transfer.times = [1.0, 2.0, 5.0, 5.5]
        gaps = [transfer.longest_gap(since) for since in (0.0, 3.0, 5.2, 9.0)]
        self.assertEqual([round(each, 3) for each in gaps], [3.0, 2.0, 0.3, 0.0])

    def test_pieces(self) -> None:
        """
        Pieces add up, and no two of them are alike.
        """
        made = list(pieces(50_000))
        self.assertEqual((sum(map(len, made)), len(set(made))), (50_000, len(made)))
