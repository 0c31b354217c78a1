"""
Tests for L{atmosphere.network.relay.session}: two clients of one name are joined.
"""

from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.network.relay.limits import Counters, RelayLimits
from atmosphere.network.relay.session import (
    Ended,
    Leg,
    Message,
    Sessions,
    is_session_id,
    redacted,
)
from atmosphere.rate import TokenBucket

HELLO = Message(b"hello", True)


class SessionTests(SynchronousTestCase):
    """
    The first waits, the second makes it a pair, the third is one too many.
    """

    @override
    def setUp(self) -> None:
        """
        Make an empty table.
        """
        self.counters = Counters()
        self.sessions = Sessions(RelayLimits(), self.counters)

    def join(self, session_id: str = "s", now: float = 0.0) -> Leg:
        """
        Join and open a leg.
        """
        leg = self.sessions.join(session_id, now)
        assert leg is not None
        self.sessions.open(leg)
        return leg

    def test_pair(self) -> None:
        """
        What one sends goes to the other, both ways.
        """
        first = self.join()
        self.assertTrue(self.sessions.has_first("s"))
        second = self.join()
        self.assertTrue(self.sessions.has_pair("s"))
        self.assertFalse(self.sessions.has_first("s"))
        self.assertIs(self.sessions.receive(first, HELLO, 1.0), second)
        self.assertIs(self.sessions.receive(second, HELLO, 1.0), first)
        self.assertEqual((self.sessions.active, self.counters.sessions), (1, 1))
        self.assertEqual(self.counters.session_bytes_relayed, 10)

    def test_legs(self) -> None:
        """
        Who is in which session since when, and how much of each was passed on, can be listed.
        """
        waiting = self.join("other", 2.0)
        first, second = self.join("s", 3.0), self.join("s", 4.0)
        self.sessions.receive(first, HELLO, 5.0)
        self.sessions.receive(waiting, HELLO, 5.0)
        self.assertEqual(self.sessions.legs(), [(waiting,), (first, second)])
        self.assertEqual((first.since, first.relayed), (3.0, 5))
        self.assertEqual((waiting.relayed, second.relayed), (0, 0))

    def test_early_messages_are_kept(self) -> None:
        """
        What the first sends before the second is there waits for it, and is never lost.
        """
        first = self.join()
        self.assertIsNone(self.sessions.receive(first, HELLO, 0.0))
        second = self.sessions.join("s", 1.0)
        assert second is not None
        self.assertIsNone(self.sessions.receive(first, HELLO, 1.0))
        self.assertEqual(self.sessions.open(second), [HELLO, HELLO])
        self.assertEqual((first.kept, first.kept_size), ([], 0))
        self.assertEqual(self.counters.session_bytes_relayed, 10)

    def test_full(self) -> None:
        """
        64 KiB are kept, then the leg is to be read no further.
        """
        first = self.join()
        self.sessions.receive(first, Message(bytes(65_000), True), 0.0)
        self.assertFalse(self.sessions.is_full(first))
        self.sessions.receive(first, Message(bytes(536), True), 0.0)
        self.assertTrue(self.sessions.is_full(first))

    def test_third(self) -> None:
        """
        A third client is refused, and the pair does not notice.
        """
        first, second = self.join(), self.join()
        self.assertIsNone(self.sessions.join("s", 0.0))
        self.assertIs(self.sessions.receive(first, HELLO, 1.0), second)
        self.assertEqual(self.counters.sessions_refused, 1)

    def test_leaving(self) -> None:
        """
        When a leg leaves, its partner is to be closed; the name is free again.
        """
        first, second = self.join(), self.join()
        self.assertIs(self.sessions.leave(first), second)
        self.assertIsNone(self.sessions.leave(first))
        self.assertIsNone(self.sessions.leave(second))
        waiting = self.join()
        self.assertIsNone(self.sessions.leave(waiting))
        self.assertEqual(self.sessions.active, 0)
        third = self.join()
        self.assertIsNone(self.sessions.leave(first))
        self.assertTrue(self.sessions.has_first("s"))
        self.assertIsNone(third.partner)

    def test_nobody_comes(self) -> None:
        """
        A first leg waits for 30 s.
        """
        self.assertIsNone(self.sessions.get_timer())
        first = self.join("s", 10.0)
        self.join("t", 20.0)
        self.assertEqual(self.sessions.get_timer(), 40.0)
        self.assertEqual(self.sessions.handle_timer(39.9), [])
        self.assertEqual(self.sessions.handle_timer(40.0), [Ended(first, 4020, "nobody came")])
        self.assertEqual(self.sessions.get_timer(), 50.0)

    def test_idle(self) -> None:
        """
        A pair that carries nothing for 120 s ends; one that does, does not.
        """
        first, second = self.join("s"), self.join("s")
        other = self.join("t")
        self.join("t")
        self.sessions.receive(first, HELLO, 100.0)
        self.assertEqual(self.sessions.get_timer(), 120.0)
        ended = self.sessions.handle_timer(120.0)
        self.assertEqual({each.leg for each in ended}, {other, other.partner})
        self.assertEqual({each.code for each in ended}, {4021})
        self.assertIsNotNone(self.sessions.receive(other, HELLO, 121.0))
        ended = self.sessions.handle_timer(220.0)
        self.assertEqual({each.leg for each in ended}, {first, second})

    def test_stalled(self) -> None:
        """
        A leg to which nothing could be written for 10 s ends.
        """
        first, second = self.join(), self.join()
        self.sessions.block(first, 5.0)
        self.sessions.block(first, 9.0)
        self.assertEqual(self.sessions.get_timer(), 15.0)
        self.sessions.unblock(first)
        self.sessions.block(second, 10.0)
        self.assertEqual(self.sessions.handle_timer(15.0), [])
        [ended] = self.sessions.handle_timer(20.0)
        self.assertEqual((ended.leg, ended.code), (second, 4011))

    def test_end_all(self) -> None:
        """
        A relay that goes down ends them all.
        """
        legs = {self.join("s"), self.join("s"), self.join("t")}
        self.assertEqual({each.leg for each in self.sessions.end_all()}, legs)

    def test_rate(self) -> None:
        """
        A leg that sends faster than it may is to be read no further for some time.
        """
        self.sessions = Sessions(RelayLimits(), self.counters, lambda: TokenBucket(10, 100))
        leg = self.join()
        self.assertEqual(self.sessions.charge(leg, 90, 0.0), 0)
        self.assertAlmostEqual(self.sessions.charge(leg, 29, 0.0), 2.0, 3)
        self.assertEqual(self.counters.rate_limited, 1)
        leg.bucket = None
        self.assertEqual(self.sessions.charge(leg, 1000, 0.0), 0)


class SessionIDTests(SynchronousTestCase):
    """
    What may name a session, and what logs show of it.
    """

    def test_names(self) -> None:
        """
        1 to 64 letters, digits, hyphens and underscores.
        """
        for text, expected in [
            ("abc-_19", True),
            ("x" * 64, True),
            ("x" * 65, False),
            ("", False),
            ("a/b", False),
            ("é", False),
            ("a\n", False),
        ]:
            self.assertEqual(is_session_id(text), expected, text)

    def test_redacted(self) -> None:
        """
        Logs show six characters that do not lead back.
        """
        self.assertEqual(redacted("abc"), "ba7816")
