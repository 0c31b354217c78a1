"""
Tests of L{atmosphere.network.path.paths}: two engines, several ways, virtual time.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.network.path.reports import PathRestored, PathSilent

from .lane import RELAY_TO_A, RELAY_TO_B, TO_A, TO_B, Pair


class ChoiceTests(SynchronousTestCase):
    """
    Data moves to the best way, and away from a dead one.
    """

    def test_relayed_then_direct(self) -> None:
        """
        A link that began on the relay is direct two direct round trips after
        both sides know each other's offer.
        """
        pair = Pair()
        pair.connect()
        self.assertEqual((pair.a.active, pair.b.active), (RELAY_TO_B, RELAY_TO_A))
        start = pair.now
        pair.exchange()
        pair.run(2.0)
        self.assertEqual((pair.a.active, pair.b.active), (TO_B, TO_A))
        for name in "ab":
            self.assertLessEqual(pair.changes(name, start)[-1][0], start + 2 * 0.002 + 1e-9)
        self.assertEqual(pair.a.active_kind, "direct")

    def test_direct_dies_and_returns(self) -> None:
        """
        When the direct way goes silent data is on the relay within 6.5 s, and
        is direct again soon after it is back.
        """
        pair = Pair()
        pair.open()
        start = pair.now
        pair.cut(TO_A, TO_B)
        pair.run(7.0)
        for name, relay in (("a", RELAY_TO_B), ("b", RELAY_TO_A)):
            ((at, way),) = pair.changes(name, start)
            self.assertEqual(way, relay)
            self.assertLessEqual(at - start, 6.5)
        pair.run(20.0)
        start = pair.now
        pair.cut(TO_A, TO_B, is_up=True)
        pair.run(61.0)
        self.assertEqual((pair.a.active, pair.b.active), (TO_B, TO_A))

    def test_silence_and_return(self) -> None:
        """
        When everything is dead the owner is told once, and told again within
        half a second of a way being back.
        """
        pair = Pair()
        pair.open()
        pair.cut(TO_A, TO_B, RELAY_TO_A, RELAY_TO_B)
        start = pair.now
        pair.run(60.0)
        silent = [at for at, event in pair.events["a"] if isinstance(event, PathSilent)]
        self.assertEqual(len(silent), 1)
        self.assertLessEqual(silent[0] - start, 6.5)
        start = pair.now
        pair.cut(TO_A, TO_B, RELAY_TO_A, RELAY_TO_B, is_up=True)
        pair.run(1.0)
        restored = [at for at, event in pair.events["a"] if isinstance(event, PathRestored)]
        self.assertEqual(len(restored), 1)
        self.assertLessEqual(restored[0] - start, 0.53)
