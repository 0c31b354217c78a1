"""
Tests of L{atmosphere.network.path.known_way}: scripts of (now, input).
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.network.nat.candidates import CandidateType
from atmosphere.network.path.known_way import DISTRUST_AFTER, KnownWay, WayState

from .lane import RELAY_TO_B, TO_B


def told() -> KnownWay:
    """
    Make a way to an address that the peer named.
    """
    return KnownWay(TO_B, CandidateType.HOST, 5)


def learned() -> KnownWay:
    """
    Make a way to an address that a datagram came from.
    """
    return KnownWay(TO_B, CandidateType.PEER_REFLEXIVE, 5)


def relayed() -> KnownWay:
    """
    Make a way over a relay.
    """
    return KnownWay(RELAY_TO_B, None, 0)


def answer(known: KnownWay, now: float, *, is_full: bool = True, rtt: float = 0.01) -> None:
    """
    Answer a check.
    """
    known.check_answered(now, now - rtt, full_out=is_full, full_in=is_full, heartbeat=4.0)


def send_all(known: KnownWay, until: float) -> list[float]:
    """
    Send each check as it comes due, and expire when it is time.

    @return: when checks were sent.
    """
    sent: list[float] = []
    while known.due is not None and known.due <= until:
        now = known.due
        if known.wants_check(now):
            sent.append(round(now, 6))
            known.check_sent(now)
        elif not known.expire(now):
            raise AssertionError("due for nothing")
    return sent


def succeeded(now: float = 0.0) -> KnownWay:
    """
    Make a way that has just succeeded.
    """
    known = told()
    known.start(now)
    known.check_sent(now)
    answer(known, now, is_full=False)
    known.check_sent(now)
    answer(known, now)
    return known


class ScheduleTests(SynchronousTestCase):
    """
    When checks are sent.
    """

    def test_never_answered(self) -> None:
        """
        Seven checks, then the way failed; later one after 15, 30, 60, 60 s.
        """
        known = told()
        self.assertIsNone(known.due)
        known.start(0.0)
        sent = send_all(known, 200.0)
        self.assertEqual(sent[:7], [0, 0.2, 0.6, 1.4, 3.0, 6.2, 12.6])
        self.assertEqual(sent[7:], [30.6, 60.6, 120.6, 180.6])
        self.assertIs(known.state, WayState.FAILED)
        self.assertEqual(known.reason, "7 checks had no answer")

    def test_learned_waits_for_datagrams(self) -> None:
        """
        An address that nobody named is only checked when something comes from it.
        """
        known = learned()
        self.assertEqual(send_all(known, 100.0), [])
        known.poke(100.0)
        self.assertEqual(send_all(known, 100.0), [100.0])
        known.poke(100.05)
        known.poke(100.1)
        self.assertEqual(send_all(known, 101.0), [100.2])

    def test_learned_fails(self) -> None:
        """
        After seven checks it has failed, and is checked each 15 s at most.
        """
        known = learned()
        sent = []
        for tenth in range(1200):
            known.poke(tenth / 10)
            sent += send_all(known, tenth / 10)
        self.assertEqual(len([at for at in sent if at < 15]), 7)
        self.assertEqual(len(sent), 10)
        self.assertIs(known.state, WayState.FAILED)

    def test_poke(self) -> None:
        """
        A check of the peer brings ours forward, but not more than 20 a second.
        """
        known = told()
        known.poke(0.0)
        self.assertEqual(send_all(known, 0.0), [0.0])
        known.poke(0.01)
        self.assertEqual(known.due, 0.05)
        send_all(known, 20.0)
        self.assertIs(known.state, WayState.FAILED)
        known.poke(20.0)
        self.assertEqual(known.due, 20.0)
        send_all(known, 20.0)
        known.poke(21.0)
        self.assertEqual(known.due, 25.0)

    def test_poke_where_nothing_follows(self) -> None:
        """
        A way that works, or that we cannot send by, is not poked.
        """
        known = succeeded()
        due = known.due
        known.poke(1.0)
        self.assertEqual(known.due, due)
        known.lose(1.0, "gone")
        known.poke(2.0)
        self.assertIsNone(known.due)
        self.assertFalse(known.wants_check(99.0))

    def test_poke_exhausted(self) -> None:
        """
        A way that used its seven checks waits until it has failed.
        """
        known = told()
        known.start(0.0)
        send_all(known, 12.61)
        known.poke(12.7)
        self.assertAlmostEqual(known.due or 0, 15.6)
        self.assertFalse(known.wants_check(15.7))

    def test_hurry(self) -> None:
        """
        Hurrying brings the next check forward, but respects the last one.
        """
        known = succeeded(10.0)
        known.hurry(10.5, 1.0)
        self.assertEqual(known.due, 11.0)
        known.hurry(12.0)
        self.assertEqual(known.due, 11.0)
        learned().hurry(1.0)

    def test_failed_after_answers(self) -> None:
        """
        A way that once answered is looked at after 1, 2, 4 … 60 s for ever,
        with full-size checks; twice a second while no way is left.
        """
        known = succeeded(0.0)
        known.due = 100.0
        self.assertEqual(known.trusted_until, DISTRUST_AFTER)
        self.assertTrue(known.expire(DISTRUST_AFTER))
        self.assertTrue(known.wants_full_size(False))
        sent = send_all(known, 300.0)
        gaps = [round(after - before, 6) for before, after in zip([6.5, *sent], sent, strict=False)]
        self.assertEqual(gaps, [1, 2, 4, 8, 16, 32, 60, 60, 60])
        known.check_sent(400.0, is_hurried=True)
        self.assertEqual(known.due, 400.5)
        known.poke(400.1)
        self.assertAlmostEqual(known.due or 0, 400.2)


class StateTests(SynchronousTestCase):
    """
    What follows from what.
    """

    def test_full_at_once(self) -> None:
        """
        The first check to an address that the peer named is of full size; one
        answer to it, of the same size, and the way is proven.
        """
        known = told()
        known.start(0.0)
        self.assertTrue(known.wants_full_size(False))
        known.check_sent(0.0, is_full=True)
        self.assertFalse(known.wants_full_size(True))
        answer(known, 0.1)
        self.assertIs(known.state, WayState.SUCCEEDED)

    def test_full_in_return(self) -> None:
        """
        A check of full size is returned by one, though not more than three times;
        a small one by a small one, and an address that nobody named is no other.
        """
        for known in (told(), learned()):
            known.start(0.0)
            known.check_sent(0.0)
            known.call(0.1, is_full=False)
            self.assertTrue(known.is_called)
            self.assertFalse(known.wants_full_size(False))
            sizes = []
            for tenth in range(2, 6):
                known.call(tenth / 10, is_full=True)
                known.call(tenth / 10, is_full=False)
                sizes.append(known.wants_full_size(False))
                known.check_sent(tenth / 10, is_full=sizes[-1])
                self.assertFalse(known.is_called or known.wants_full_size(False))
            self.assertEqual(sizes, [True, True, True, False])

    def test_small_then_full(self) -> None:
        """
        A direct way that answered small checks is proven by a full-size one.
        """
        known = told()
        known.start(0.0)
        self.assertTrue(known.is_stranger)
        known.check_sent(0.0)
        self.assertIs(known.state, WayState.IN_PROGRESS)
        answer(known, 0.1, is_full=False, rtt=0.1)
        self.assertIs(known.state, WayState.ANSWERED)
        self.assertEqual(known.due, 0.1)
        self.assertTrue(known.wants_full_size(False))
        known.check_sent(0.1)
        self.assertEqual(known.due, 0.1 + 0.2)
        answer(known, 0.15, is_full=False)
        self.assertEqual(known.due, 0.1 + 0.2)
        answer(known, 0.2, rtt=0.1)
        self.assertIs(known.state, WayState.SUCCEEDED)
        self.assertEqual((known.due, known.trusted_until), (4.2, 6.7))
        self.assertFalse(known.wants_full_size(False))
        self.assertTrue(known.wants_full_size(True))

    def test_relayed_at_once(self) -> None:
        """
        A relayed way is proven by its first check.
        """
        known = relayed()
        known.start(0.0)
        self.assertTrue(known.wants_full_size(False))
        known.check_sent(0.0)
        answer(known, 0.02)
        self.assertIs(known.state, WayState.SUCCEEDED)

    def test_short_answers(self) -> None:
        """
        A peer that does not pad its answers proves its direction by a
        full-size check of its own.
        """
        known = told()
        known.start(0.0)
        known.check_sent(0.0)
        answer(known, 0.1, is_full=False)
        for now in (0.2, 1.2):
            known.check_sent(now)
            known.check_answered(now + 0.01, now, full_out=True, full_in=False, heartbeat=4.0)
            self.assertIs(known.state, WayState.ANSWERED)
            self.assertEqual(known.due, now + 0.01 + 1.0)
        known.heard(1.3)
        self.assertIs(known.state, WayState.ANSWERED)
        known.heard(1.4, is_full=True, heartbeat=3.0)
        self.assertIs(known.state, WayState.SUCCEEDED)
        known.heard(1.5, is_full=True)
        self.assertEqual(known.due, 4.4)

    def test_full_check_of_peer_alone(self) -> None:
        """
        That the peer's full-size check came proves nothing about ours.
        """
        known = told()
        known.start(0.0)
        known.heard(0.0, is_full=True)
        known.check_sent(0.0)
        answer(known, 0.1, is_full=False)
        known.heard(0.1, is_full=True)
        self.assertIs(known.state, WayState.ANSWERED)

    def test_loses_full_size(self) -> None:
        """
        Six full-size checks without answer, and the way failed.
        """
        known = told()
        known.start(0.0)
        known.check_sent(0.0)
        answer(known, 0.1, is_full=False)
        sent = send_all(known, 1.2)
        self.assertEqual(len(sent), 6)
        self.assertTrue(known.expire(2.0))
        self.assertIn("6 checks of 1200 bytes were not", known.reason)

    def test_distrust(self) -> None:
        """
        Silence of 6.5 s fails a way; heartbeats without answer are repeated
        and make it suspect first.
        """
        known = succeeded()
        self.assertFalse(known.expire(6.4))
        known.due = 4.0
        sent = send_all(known, 6.4)
        self.assertEqual(sent[:3], [4.0, 4.2, 4.4])
        self.assertTrue(known.is_suspect)
        known.heard(6.4)
        self.assertTrue(known.expire(6.5))
        self.assertEqual(known.reason, "silent: no check was answered for 6.5 s")
        self.assertIsNone(known.rtt)
        self.assertIsNone(known.trusted_until)

    def test_distrust_early(self) -> None:
        """
        With another way that answered since, five checks and 1 s without an answer
        are enough; one that answered before, or fewer checks, are not.
        """
        known, other = succeeded(), relayed()
        answer(other, 4.0)
        known.due = 4.0
        for now in (4.0, 4.2, 4.4, 4.6):
            known.check_sent(now)
        answer(other, 4.7)
        self.assertFalse(known.expire_early(5.3, [other]))
        known.check_sent(4.8)
        self.assertFalse(known.expire_early(4.9, [other]))
        other.last_answered = 4.0
        for others in ([other], []):
            self.assertFalse(known.expire_early(5.3, others))
        other.last_answered = 4.7
        self.assertTrue(known.expire_early(5.3, [other]))
        self.assertIs(known.state, WayState.FAILED)
        self.assertIn("another way answers", known.reason)
        self.assertFalse(known.expire_early(9.0, [other]))

    def test_answer_clears_suspicion(self) -> None:
        """
        One answer, and all is well.
        """
        known = succeeded()
        for _ in range(3):
            known.check_sent(5.0)
        answer(known, 5.5)
        self.assertFalse(known.is_suspect)
        self.assertEqual(known.trusted_until, 5.5 + DISTRUST_AFTER)

    def test_lost_and_back(self) -> None:
        """
        A way that our side cannot send by waits until it can.
        """
        known = relayed()
        known.start(0.0)
        known.check_sent(0.0)
        known.lose(0.01, "the relay is gone")
        answer(known, 0.02)
        self.assertIs(known.state, WayState.LOST)
        known.check_sent(0.03)
        known.look_again(0.04)
        known.hurry(0.05)
        self.assertIsNone(known.due)
        self.assertFalse(known.expire(99.0))
        known.start(99.0, "it is back")
        self.assertEqual((known.state, known.due), (WayState.WAITING, 99.0))

    def test_trust(self) -> None:
        """
        The handshake's way is proven, and distrusted only once it is looked at.
        """
        known = relayed()
        known.trust("carried the handshake")
        self.assertIs(known.state, WayState.SUCCEEDED)
        self.assertIsNone(known.trusted_until)
        known.look_again(5.0)
        self.assertEqual((known.due, known.trusted_until), (5.0, 5.0 + DISTRUST_AFTER))

    def test_look_again(self) -> None:
        """
        Looking again keeps what works, begins anew with what does not, and
        leaves strangers alone.
        """
        known = succeeded()
        known.look_again(3.0, 2.0)
        self.assertIs(known.state, WayState.SUCCEEDED)
        self.assertEqual((known.due, known.trusted_until), (3.0, 5.0))
        known.expire(5.0)
        known.look_again(6.0)
        self.assertEqual((known.state, known.due), (WayState.WAITING, 6.0))
        stranger = learned()
        stranger.look_again(6.0)
        self.assertIsNone(stranger.due)

    def test_held_back(self) -> None:
        """
        A second failure within a minute of being taken holds a way back, and
        each further one longer; a minute of use forgives.
        """
        known = succeeded()
        pauses = []
        now = 0.0
        for _ in range(8):
            known.taken(now)
            now += DISTRUST_AFTER
            known.trusted_until = now
            known.expire(now)
            pauses.append(
                next(wait for wait in range(100) if not known.measurement(now + wait).is_held)
            )
            known.check_sent(now)
            answer(known, now)
        self.assertEqual(pauses, [0, 2, 4, 8, 16, 32, 60, 60])
        known.taken(now)
        now += 61.0
        known.trusted_until = now
        known.expire(now)
        self.assertFalse(known.measurement(now + 60).is_held)

    def test_kind(self) -> None:
        """
        What the way is called.
        """
        self.assertEqual(relayed().kind, "relayed")
        kinds = {each.name: KnownWay(TO_B, each, 1).kind for each in CandidateType}
        self.assertEqual(
            [name for name, kind in kinds.items() if kind == "direct"],
            ["HOST", "MAPPED", "ADVERTISED"],
        )
        self.assertEqual(set(kinds.values()), {"direct", "punched"})

    def test_round_trip(self) -> None:
        """
        The lowest of the last five counts.
        """
        known = succeeded()
        for rtt in (0.009, 0.05, 0.02, 0.03, 0.04, 0.05):
            answer(known, 1.0, rtt=rtt)
        self.assertAlmostEqual(known.rtt or 0, 0.02)
