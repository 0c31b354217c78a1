"""
Tests for L{atmosphere.node.state_file}.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

from hypothesis import given, settings, strategies
from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.errors import DecodeError, StateError
from atmosphere.node.state_file import StateFile, decode_state, encode_state


class EncodingTests(SynchronousTestCase):
    """
    The header and the checksum.
    """

    @given(strategies.binary(max_size=200))
    @settings(derandomize=True, max_examples=200, deadline=None)
    def test_round_trip(self, payload: bytes) -> None:
        """
        What was written is read.
        """
        self.assertEqual(decode_state(encode_state("node", 1, payload), "node", 1), payload)

    @given(strategies.binary(max_size=200))
    @settings(derandomize=True, max_examples=200, deadline=None)
    def test_any_bytes(self, data: bytes) -> None:
        """
        Any bytes are refused in our own words.
        """
        self.assertRaises((DecodeError, StateError), decode_state, data, "node", 1)

    def test_each_bit(self) -> None:
        """
        No bit of a file can flip unnoticed.
        """
        good = encode_state("node", 1, b'{"port":7777}')
        for place in range(len(good) * 8):
            bad = bytearray(good)
            bad[place // 8] ^= 1 << place % 8
            with self.assertRaises((DecodeError, StateError), msg=str(place)):
                decode_state(bytes(bad), "node", 1)

    def test_each_length(self) -> None:
        """
        No file can be cut short unnoticed.
        """
        good = encode_state("node", 1, b'{"port":7777}')
        for length in range(len(good)):
            self.assertRaises(DecodeError, decode_state, good[:length], "node", 1)

    def test_another_kind(self) -> None:
        """
        A file of another kind is not taken for ours.
        """
        self.assertRaises(DecodeError, decode_state, encode_state("node", 1, b""), "membership", 1)


class StateFileTests(SynchronousTestCase):
    """
    A file in a directory.
    """

    @override
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir(mode=0o700)
        self.path = self.directory / "node.state"
        self.notices: list[str] = []

    def file(self, *, may_write: bool = True) -> StateFile:
        """
        Open the file anew.
        """
        return StateFile(
            self.path,
            "node",
            1,
            wall=lambda: 1234.5,
            notice=self.notices.append,
            may_write=may_write,
        )

    def names(self) -> list[str]:
        """
        List the directory.
        """
        return sorted(os.listdir(self.directory))

    def test_absent(self) -> None:
        """
        A file that never was is no error.
        """
        self.assertIsNone(self.file().read())

    def test_replaced(self) -> None:
        """
        The newest content is read, the one before it stays as a copy, and
        both are the owner's alone.
        """
        for payload in (b"one", b"two", b"three", b"three"):
            self.file().write(payload)
        self.assertEqual(self.file().read(), b"three")
        self.assertEqual(self.names(), ["node.state", "node.state.previous"])
        for name in self.names():
            self.assertEqual((self.directory / name).stat().st_mode & 0o777, 0o600)

    def test_damaged(self) -> None:
        """
        A damaged file is set aside, its previous copy is used, and that is said.
        """
        self.file().write(b"one")
        self.file().write(b"two")
        self.path.write_bytes(b"rubbish")
        self.assertEqual(self.file(may_write=False).read(), b"one")
        self.assertEqual(self.names(), ["node.state", "node.state.previous"])
        self.assertEqual(self.file().read(), b"one")
        aside = self.directory / "node.state.corrupt-1234"
        self.assertEqual(aside.read_bytes(), b"rubbish")
        self.assertIn(str(aside), self.notices[0])
        self.assertEqual(self.file().read(), b"one")

    def test_damaged_both(self) -> None:
        """
        When the copy is damaged too, the error names the file and what became of it.
        """
        self.file().write(b"one")
        for path in (self.path, self.directory / "node.state.previous"):
            path.write_bytes(b"")
        with self.assertRaises(StateError) as caught:
            self.file(may_write=False).read()
        self.assertIn("node.state is damaged", str(caught.exception))
        with self.assertRaises(StateError) as caught:
            self.file().read()
        self.assertIn("node.state.corrupt-1234", str(caught.exception))

    def test_damage_is_no_copy(self) -> None:
        """
        Damaged content never takes the place of a good previous copy.
        """
        self.file().write(b"one")
        self.file().write(b"two")
        self.path.write_bytes(b"rubbish")
        self.file().write(b"three")
        self.path.unlink()
        self.assertEqual(self.file().read(), b"one")

    def test_newer(self) -> None:
        """
        A file in a newer format is refused by name and left as it is.
        """
        newer = encode_state("node", 2, b"from the future")
        self.path.write_bytes(newer)
        self.path.chmod(0o600)
        for use in (self.file().read, lambda: self.file().write(b"old")):
            with self.assertRaises(StateError) as caught:
                use()
            self.assertIn("node.state was written by a newer atmosphere", str(caught.exception))
        self.assertEqual(self.path.read_bytes(), newer)
        self.assertEqual(self.names(), ["node.state"])

    def test_loose_mode(self) -> None:
        """
        A file that others can read is refused with the command that mends it.
        """
        self.file().write(b"one")
        self.path.chmod(0o640)
        with self.assertRaises(StateError) as caught:
            self.file().read()
        self.assertIn(f"chmod 600 {self.path}", str(caught.exception))

    def test_link(self) -> None:
        """
        A symbolic link is not followed.
        """
        (self.directory / "elsewhere").write_bytes(encode_state("node", 1, b"x"))
        self.path.symlink_to("elsewhere")
        self.assertRaises(StateError, self.file().read)

    def test_not_a_file(self) -> None:
        """
        A pipe in the file's place is an error, not a wait; so is a directory.
        """
        os.mkfifo(self.path, 0o600)
        self.assertRaises(StateError, self.file().read)
        self.path.unlink()
        self.path.mkdir(mode=0o700)
        self.assertRaises(StateError, self.file().read)

    def test_endless(self) -> None:
        """
        A file that has grown beyond reason is damaged, and not read to its end.
        """
        self.path.touch(0o600)
        os.truncate(self.path, 2**34)
        self.assertRaises(StateError, self.file().read)

    def test_removed(self) -> None:
        """
        What was removed does not come back from its copy.
        """
        self.file().write(b"one")
        self.file().write(b"two")
        self.file().remove()
        self.assertIsNone(self.file().read())

    def test_reader(self) -> None:
        """
        A reader cannot write.
        """
        self.assertRaises(StateError, self.file(may_write=False).write, b"x")

    def test_killed_writer(self) -> None:
        """
        Whenever a writer is killed, what it had acknowledged is there, and
        nothing that was never written.
        """
        for attempt in range(5):
            told, tell = os.pipe()
            child = os.fork()
            if child == 0:
                try:
                    for number in range(100_000):
                        self.file().write(b"%d" % number)
                        os.write(tell, b"%d\n" % number)
                finally:
                    os._exit(1)
            os.close(tell)
            with os.fdopen(told, "rb") as acknowledgements:
                for _ in range(3 + attempt):
                    acknowledgements.readline()
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                rest = acknowledgements.read().splitlines()
            last = int(rest[-1]) if rest else 2 + attempt
            content = self.file().read()
            assert content is not None
            self.assertIn(int(content) - last, (0, 1))
        self.assertEqual(self.notices, [])
