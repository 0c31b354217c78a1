"""
Tests for L{atmosphere.network.relay.conflicts}: a copied key is noticed.
"""

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.network.relay.conflicts import Conflicts
from atmosphere.network.relay.limits import RelayLimits

NODE = bytes(32)


class ConflictsTests(SynchronousTestCase):
    """
    Taking turns is noticed, coming back is not.
    """

    def test_taking_turns(self) -> None:
        """
        The third return of an instance that was replaced, within a minute, is one too many.
        """
        conflicts = Conflicts(RelayLimits())
        turns = [(b"a", b"b"), (b"b", b"a"), (b"a", b"b"), (b"b", b"a")]
        verdicts = [
            conflicts.replace(NODE, older, newer, 10.0 * number)
            for number, (older, newer) in enumerate(turns)
        ]
        self.assertEqual(verdicts, [False, False, False, True])

    def test_slowly(self) -> None:
        """
        Turns that take longer than the window do not count.
        """
        conflicts = Conflicts(RelayLimits())
        for number in range(10):
            pair = (b"a", b"b") if number % 2 else (b"b", b"a")
            self.assertFalse(conflicts.replace(NODE, *pair, 61.0 * number))

    def test_the_same_instance(self) -> None:
        """
        A process that connects anew, however often, is in no conflict.
        """
        conflicts = Conflicts(RelayLimits())
        for number in range(10):
            self.assertFalse(conflicts.replace(NODE, b"a", b"a", float(number)))

    def test_restarts(self) -> None:
        """
        A node that is restarted again and again has ever new instances.
        """
        conflicts = Conflicts(RelayLimits())
        for number in range(20):
            older, newer = bytes([number]), bytes([number + 1])
            self.assertFalse(conflicts.replace(NODE, older, newer, float(number)))
        self.assertLessEqual(len(conflicts._histories[NODE].replaced), 8)

    def test_bounded(self) -> None:
        """
        Only so many nodes are remembered, and one that is settled is forgotten.
        """
        conflicts = Conflicts(RelayLimits())
        for number in range(5000):
            conflicts.replace(number.to_bytes(32, "big"), b"a", b"b", 0.0)
        self.assertLessEqual(len(conflicts._histories), 4096)
        conflicts.forget((4999).to_bytes(32, "big"))
        conflicts.forget(b"never seen")
        self.assertNotIn((4999).to_bytes(32, "big"), conflicts._histories)
