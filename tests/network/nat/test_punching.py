"""
Tests for the rules of hole punching: two engines, and what lies between them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hypothesis import given, settings, strategies
from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.addresses import TransportAddress
from atmosphere.network.nat.punching import (
    MAX_DATAGRAM,
    Established,
    Event,
    Failed,
    Lost,
    Punching,
    PunchLimits,
    Received,
    is_check,
)
from atmosphere.network.stun.attributes import USERNAME
from atmosphere.network.stun.binding import BindingResponder
from atmosphere.network.stun.integrity import add_fingerprint, add_integrity
from atmosphere.network.stun.message import Class, Message, encode_message
from atmosphere.testing import seeded_entropy

A = TransportAddress("192.0.2.1", 1111)
B = TransportAddress("192.0.2.2", 2222)
STRANGER = TransportAddress("192.0.2.3", 3333)


def events_of(engine: Punching) -> list[Event]:
    """
    Take all events of an engine.
    """
    events = []
    while (event := engine.next_event()) is not None:
        events.append(event)
    return events


class PunchingCase(SynchronousTestCase):
    """
    Two engines, A and B, and a clock.

    @ivar passes: says which datagrams arrive.
    """

    @override
    def setUp(self) -> None:
        self.now = 100.0
        self.a = Punching(seeded_entropy("a"))
        self.b = Punching(seeded_entropy("b"))
        self.passes: Callable[[TransportAddress, TransportAddress], bool] = lambda a, b: True
        self.log: list[tuple[float, TransportAddress]] = []

    def exchange(self) -> None:
        """
        Carry datagrams until none is left.
        """
        sides = ((self.a, A, self.b), (self.b, B, self.a))
        while True:
            sent = [(e.datagrams_to_send(self.now), own, other) for e, own, other in sides]
            if not any(datagrams for datagrams, _, _ in sent):
                return
            for datagrams, own, other in sent:
                for data, remote in datagrams:
                    self.log.append((self.now, own))
                    if self.passes(own, remote):
                        other.receive_datagram(data, own, self.now)

    def run_for(self, seconds: float) -> None:
        """
        Let time pass from deadline to deadline.
        """
        end = self.now + seconds
        self.exchange()
        while True:
            timers = [t for t in (self.a.get_timer(), self.b.get_timer()) if t is not None]
            due = min(timers, default=None)
            if due is None or due > end:
                break
            self.now = max(self.now, due)
            self.a.handle_timer(self.now)
            self.b.handle_timer(self.now)
            self.exchange()
        self.now = end

    def connect(self) -> None:
        """
        Punch from both sides.
        """
        self.a.punch(B, self.now, 10)
        self.b.punch(A, self.now, 10)
        self.run_for(1)
        self.assertTrue(self.a.is_established(B))
        self.assertTrue(self.b.is_established(A))
        events_of(self.a), events_of(self.b)


class EstablishingTests(PunchingCase):
    """
    How a hole comes to be.
    """

    def test_schedule(self) -> None:
        """
        Checks go out at 0, 0.1, 0.3, 0.7 s and every half second from then on, until time is up.
        """
        self.a.punch(B, self.now, 2)
        self.passes = lambda source, remote: False
        self.run_for(3)
        times = [round(at - 100, 3) for at, _ in self.log]
        self.assertEqual(times, [0, 0.1, 0.3, 0.7, 1.2, 1.7])
        self.assertEqual(events_of(self.a), [Failed(B, 6, was_heard=False)])
        self.assertIsNone(self.a.get_timer())

    def test_both(self) -> None:
        """
        A check that is answered makes a hole, on both sides within one round trip of
        the first that arrives.
        """
        self.a.punch(B, self.now, 10)
        self.passes = lambda source, remote: source == B
        self.run_for(5)
        self.assertEqual(events_of(self.a), [])
        self.passes = lambda source, remote: True
        self.b.punch(A, self.now, 10)
        self.exchange()
        self.assertEqual(events_of(self.b), [Established(A, B, 0.0)])
        self.assertEqual(events_of(self.a), [Established(B, A, 0.0)])

    def test_no_answer_no_hole(self) -> None:
        """
        Checks of the peer alone make no hole: nothing of ours was seen to arrive.
        """
        self.a.punch(B, self.now, 3)
        self.b.punch(A, self.now, 3)
        self.passes = lambda source, remote: source == B
        self.run_for(10)
        (failed,) = events_of(self.a)
        assert isinstance(failed, Failed)
        self.assertTrue(failed.was_heard)

    def test_grace(self) -> None:
        """
        While the peer's checks come, a try outlasts its time by a little, no more.
        """
        self.b.punch(A, self.now, 60)
        self.a.punch(B, self.now, 3)
        self.passes = lambda source, remote: source == B
        self.run_for(3.5)
        self.assertEqual(events_of(self.a), [])
        self.run_for(0.5)
        self.assertEqual(len(events_of(self.a)), 1)

    def test_longer(self) -> None:
        """
        A second call for the same peer lengthens the try and begins nothing anew.
        """
        self.passes = lambda source, remote: False
        self.a.punch(B, self.now, 1)
        self.a.punch(B, self.now, 4)
        self.run_for(3.9)
        self.assertEqual(events_of(self.a), [])
        self.run_for(1)
        self.assertEqual(len(events_of(self.a)), 1)

    def test_believed(self) -> None:
        """
        The caller's word makes a hole; for an unknown peer it does nothing.
        """
        self.a.punch(B, self.now, 10)
        self.a.establish(B, self.now)
        self.a.establish(STRANGER, self.now)
        self.assertEqual(events_of(self.a), [Established(B, None, None)])
        self.assertFalse(self.a.is_established(STRANGER))

    def test_plain_stun(self) -> None:
        """
        A STUN server that answers is no peer.
        """
        server = BindingResponder()
        self.a.punch(B, self.now, 10)
        for data, _ in self.a.datagrams_to_send(self.now):
            answer = server.respond(data, A, self.now)
            if answer is not None:
                self.a.receive_datagram(answer, B, self.now)
        plain = Message(Class.SUCCESS_RESPONSE, b"x" * 12)
        self.a.receive_datagram(encode_message(plain, fingerprint=True), B, self.now)
        self.assertEqual([e for e in events_of(self.a) if not isinstance(e, Received)], [])
        self.assertFalse(self.a.is_established(B))

    def test_reflected(self) -> None:
        """
        Whoever sends everything back to us, our own socket too, is no peer.
        """
        self.a.punch(B, self.now, 10)
        for _ in range(5):
            for data, _ in self.a.datagrams_to_send(self.now):
                self.a.receive_datagram(data, B, self.now)
            self.now += 1
            self.a.handle_timer(self.now)
        self.assertFalse(self.a.is_established(B))
        self.assertGreater(self.a.dropped, 0)


class HoldingTests(PunchingCase):
    """
    What a hole is good for.
    """

    def test_data(self) -> None:
        """
        Datagrams travel raw, in both directions.
        """
        self.connect()
        self.assertTrue(self.a.send(B, b"hello"))
        self.assertEqual(self.a.datagrams_to_send(self.now), [(b"hello", B)])
        self.b.receive_datagram(b"hello", A, self.now)
        self.assertEqual(events_of(self.b), [Received(A, b"hello")])

    def test_not_sent(self) -> None:
        """
        Without a hole nothing is sent; what is no datagram, or a check, never.
        """
        self.a.punch(B, self.now, 10)
        self.assertFalse(self.a.send(B, b"hello"))
        self.assertFalse(self.a.send(STRANGER, b"hello"))
        ((check, _),) = self.a.datagrams_to_send(self.now)
        self.assertTrue(is_check(check))
        for bad in (check, bytes(MAX_DATAGRAM + 1)):
            with self.assertRaises(ValueError):
                self.a.send(B, bad)

    def test_kept_open(self) -> None:
        """
        A check every 15 s keeps the hole open on both sides, for hours.
        """
        self.connect()
        self.log.clear()
        self.run_for(3600)
        self.assertTrue(self.a.is_established(B))
        self.assertEqual(len([at for at, own in self.log if own == A]), 2 * 3600 // 15)

    def test_lost(self) -> None:
        """
        A peer that answers nothing for 50 s is gone.
        """
        self.connect()
        self.passes = lambda source, remote: False
        self.run_for(51)
        self.assertEqual(events_of(self.a), [Lost(B)])
        self.assertFalse(self.a.send(B, b"hello"))

    def test_forgotten(self) -> None:
        """
        A hole that was given up takes nothing and answers nothing.
        """
        self.connect()
        self.a.forget(B)
        self.a.receive_datagram(b"hello", B, self.now)
        self.assertEqual((events_of(self.a), self.a.datagrams_to_send(self.now)), ([], []))
        self.assertIsNone(self.a.get_timer())


class LimitsTests(PunchingCase):
    """
    What others can make us do, and keep.
    """

    def test_strangers(self) -> None:
        """
        Whoever was not named gets no answer, and nothing of it is kept.
        """
        self.a.punch(B, self.now, 10)
        ((check, _),) = self.a.datagrams_to_send(self.now)
        self.b.receive_datagram(check, A, self.now)
        self.a.receive_datagram(b"hello", STRANGER, self.now)
        self.assertEqual(self.b.datagrams_to_send(self.now), [])
        self.assertEqual((self.a.dropped, self.b.dropped), (1, 1))

    def test_answers(self) -> None:
        """
        A peer's checks are answered at a bounded rate, and never by more bytes than they have.
        """
        self.a.punch(B, self.now, 10)
        self.b.punch(A, self.now, 10)
        ((check, _),) = self.a.datagrams_to_send(self.now)
        self.b.datagrams_to_send(self.now)
        for _ in range(1000):
            self.b.receive_datagram(check, A, self.now)
        sent = self.b.datagrams_to_send(self.now)
        self.assertEqual(len(sent), 40)
        self.assertLess(max(len(data) for data, _ in sent), len(check) + 1)

    def test_early(self) -> None:
        """
        What comes before the hole is there is kept for it, within limits.
        """
        self.a.punch(B, self.now, 10)
        for number in range(100):
            self.a.receive_datagram(b"%d" % number, B, self.now)
        self.a.receive_datagram(bytes(60_000), B, self.now)
        self.assertEqual(events_of(self.a), [])
        self.a.establish(B, self.now)
        _, *received = events_of(self.a)
        self.assertEqual(received, [Received(B, b"%d" % number) for number in range(64)])
        self.assertEqual(self.a.dropped, 37)

    def test_peers(self) -> None:
        """
        One socket has a bounded number of peers.
        """
        few = Punching(seeded_entropy("few"), PunchLimits(peers=2))
        self.assertTrue(few.punch(A, 0, 10))
        self.assertTrue(few.punch(B, 0, 10))
        self.assertTrue(few.punch(B, 0, 10))
        self.assertFalse(few.punch(STRANGER, 0, 10))

    def test_almost(self) -> None:
        """
        What is almost a check is answered no more than what is none: another key, another
        name, another method, an attribute that is not understood, a broken one, an error.
        """
        key = b"atmosphere.punch.1"
        name = (USERNAME, "atmosphere.punch.1")
        tid = b"t" * 12
        request = Message(Class.REQUEST, tid, (name,))
        strange = add_fingerprint(
            add_integrity(b"\x00\x01\x00\x04\x21\x12\xa4\x42" + tid + b"\x7f\xff\x00\x00", key)
        )
        broken = add_fingerprint(
            add_integrity(b"\x00\x01\x00\x08\x21\x12\xa4\x42" + tid + b"\x00\x20\x00\x04none", key)
        )
        self.a.punch(B, self.now, 10)
        self.a.datagrams_to_send(self.now)
        for data in (
            encode_message(request, key=b"another", fingerprint=True),
            encode_message(request, fingerprint=True),
            encode_message(Message(Class.REQUEST, tid), key=key, fingerprint=True),
            encode_message(replace(request, method=3), key=key, fingerprint=True),
            encode_message(Message(Class.INDICATION, tid, (name,)), key=key, fingerprint=True),
            strange,
            broken,
        ):
            dropped = self.a.dropped
            self.a.receive_datagram(data, B, self.now)
            self.assertEqual(self.a.dropped, dropped + 1, data)
        self.assertEqual(self.a.datagrams_to_send(self.now), [])
        good = encode_message(request, key=key, fingerprint=True)
        self.a.receive_datagram(good, B, self.now)
        self.assertEqual(len(self.a.datagrams_to_send(self.now)), 1)

    def test_unasked(self) -> None:
        """
        An answer counts for one of the last checks, and once.
        """
        patient = Punching(seeded_entropy("p"), PunchLimits(checks_remembered=2))
        patient.punch(B, 0, 10)
        checks = []
        for at in (0, 0.11, 0.32):
            patient.handle_timer(at)
            checks += [data for data, _ in patient.datagrams_to_send(at)]
        self.assertEqual(len(checks), 3)
        key = b"atmosphere.punch.1"
        for check, is_good in ((checks[0], False), (checks[2], True), (checks[2], True)):
            answer = Message(Class.SUCCESS_RESPONSE, check[8:20])
            data = encode_message(answer, key=key, fingerprint=True)
            patient.receive_datagram(data, B, 0.4)
            self.assertIs(patient.is_established(B), is_good)
        self.assertEqual(patient.dropped, 2)
        error = encode_message(Message(Class.ERROR_RESPONSE, checks[1][8:20]), key=key)
        patient.receive_datagram(add_fingerprint(error), B, 0.4)
        self.assertEqual(patient.dropped, 3)

    @given(strategies.binary(max_size=200), strategies.booleans())
    @settings(derandomize=True, max_examples=200, deadline=None)
    def test_anything(self, data: bytes, is_dressed: bool) -> None:
        """
        Whatever a peer sends, no hole comes of it, and nothing breaks.
        """
        engine = Punching(seeded_entropy("any"))
        engine.punch(B, 0, 10)
        ((check, _),) = engine.datagrams_to_send(0)
        if is_dressed:
            data = check[: len(check) - len(data)] + data
        engine.receive_datagram(data, B, 0)
        engine.handle_timer(0.1)
        self.assertFalse(engine.is_established(B))
