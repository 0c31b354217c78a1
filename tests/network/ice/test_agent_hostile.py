"""
Tests of L{atmosphere.network.ice.agent} against peers and strangers that do what
they should not.
"""

from __future__ import annotations

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.addresses import TransportAddress
from atmosphere.network.ice.agent import MAX_EVENTS
from atmosphere.network.ice.candidates import host_candidate
from atmosphere.network.ice.checks import MAX_ANSWERED
from atmosphere.network.ice.description import IceDescription
from atmosphere.network.ice.pairs import PairState
from atmosphere.network.nat.credentials import Credentials
from atmosphere.network.stun.attributes import PRIORITY, USERNAME
from atmosphere.network.stun.integrity import add_fingerprint, add_integrity
from atmosphere.network.stun.message import (
    Class,
    Message,
    decode_message,
    encode_check,
    encode_check_error,
    encode_check_response,
    encode_message,
)
from atmosphere.network.stun.values import ErrorCode

from .arena import A, Arena, B

STRANGER = TransportAddress("11.6.6.6", 6666)


def check(
    arena: Arena, *, pwd: str | None = None, priority: int = 1, who: str = "", number: int = 0
) -> bytes:
    """
    Write a check to A as B would.

    @param number: of its transaction.
    """
    local, remote = arena.a.agent.local, arena.b.agent.local
    return encode_check(
        number.to_bytes(12, "big"),
        username=f"{local.ufrag}:{who or remote.ufrag}",
        key=(pwd or local.pwd).encode(),
        priority=priority,
        tie_breaker=1,
        is_controlling=False,
        use_candidate=True,
    )


class RequestTests(SynchronousTestCase):
    """
    Checks that are not as they should be.
    """

    def answers(self, arena: Arena, data: bytes, source: TransportAddress = B) -> int:
        """
        Count what a datagram is answered with.
        """
        arena.a.agent.receive_datagram(data, (A, source), arena.now)
        return len(arena.a.agent._outbox)

    def test_not_ours(self) -> None:
        """
        Strangers get silence: a wrong name, password or fingerprint, no priority, a
        socket that is none of ours.
        """
        arena = Arena()
        arena.describe("a")
        good = check(arena)
        local = arena.a.agent.local
        bare = encode_message(Message(Class.REQUEST, bytes(12), ((USERNAME, f"{local.ufrag}:x"),)))
        unsigned = Message(
            Class.REQUEST, bytes(12), ((USERNAME, f"{local.ufrag}:x"), (PRIORITY, 1))
        )
        without_fingerprint = add_integrity(encode_message(unsigned), local.key)
        for data in (
            check(arena, pwd="x" * 24),
            check(arena, who="else"),
            add_fingerprint(add_integrity(bare, local.key)),
            without_fingerprint,
            good[:-1],
            good[:-4] + bytes(4),
            encode_message(Message(Class.REQUEST, bytes(12))),
            encode_message(Message(Class.INDICATION, bytes(12))),
            b"",
            b"\0" * 20,
        ):
            self.assertEqual(self.answers(arena, data), 0, data)
        arena.a.agent.receive_datagram(good, (STRANGER, B), arena.now)
        self.assertEqual(self.answers(arena, b""), 0)
        self.assertEqual(self.answers(arena, good), 1)

    @settings(max_examples=200, derandomize=True, deadline=None)
    @given(st.binary(max_size=120))
    def test_any_bytes(self, data: bytes) -> None:
        """
        Any bytes from anywhere are dropped without a word.
        """
        arena = Arena()
        self.assertEqual(self.answers(arena, data, STRANGER), 0)
        self.assertIsNone(arena.a.agent.next_event())

    def test_flood(self) -> None:
        """
        Of a flood of good checks 100 a second are answered, and few sources are kept.
        """
        arena = Arena()
        arena.meet()
        for number in range(1000):
            source = TransportAddress("11.9.9.9", 2000 + number)
            arena.a.agent.receive_datagram(check(arena, number=number), (A, source), arena.now)
        self.assertEqual(len(arena.a.agent._outbox), 100)
        self.assertLessEqual(len(arena.a.agent.remote_candidates), 64)
        self.assertLessEqual(len(arena.a.agent._heard), 64)

    def test_early_flood(self) -> None:
        """
        Before the peer's credentials are known 16 of its checks are kept.
        """
        arena = Arena()
        for number in range(50):
            source = TransportAddress("11.9.9.9", 2000 + number)
            arena.a.agent.receive_datagram(check(arena, number=number), (A, source), arena.now)
        arena.describe("a", IceDescription(arena.b.agent.local))
        self.assertEqual(len(arena.a.agent._list), 16)

    def test_role_swaps(self) -> None:
        """
        A peer that claims our role in a thousand checks, with a larger tie-breaker each
        time, has us change it, and nothing grows.
        """
        arena = Arena()
        arena.meet()
        agent, remote = arena.a.agent, arena.b.agent.local
        events = 0
        for number in range(1000):
            data = encode_check(
                number.to_bytes(12, "big"),
                username=f"{agent.local.ufrag}:{remote.ufrag}",
                key=agent.local.key,
                priority=1,
                tie_breaker=(2**64 - 1) * agent.is_controlling,
                is_controlling=agent.is_controlling,
            )
            agent.receive_datagram(data, (A, B), arena.now)
            while agent.next_event() is not None:
                events += 1
            arena.now += 0.02
            agent.datagrams_to_send(arena.now)
        self.assertLessEqual(events, 1100)
        self.assertLessEqual(len(agent._list), 4)
        self.assertLessEqual(len(agent._list.triggered), 4)
        self.assertLessEqual(len(list(agent._transactions)), 128)

    def test_restarts(self) -> None:
        """
        A peer that restarts a thousand times, and names ten thousand addresses in all, is
        followed at the pace of checks, and few addresses are kept.
        """
        arena = Arena()
        arena.meet()
        agent = arena.a.agent
        sent = 0
        for number in range(1000):
            credentials = Credentials(f"u{number:07d}", "p" * 24)
            agent.set_remote(credentials, arena.now)
            for last in range(10):
                address = TransportAddress(f"11.{number >> 8}.{number & 255}.{last}", 5000)
                agent.add_remote_candidate(host_candidate(address, 65535))
            agent.handle_timer(arena.now)
            sent += len(agent.datagrams_to_send(arena.now))
            arena.now += 0.02
        self.assertLessEqual(sent, 20 * 20 + 10)
        self.assertLessEqual(len(agent.remote_candidates), 64)
        self.assertLessEqual(len(agent._list), 100)
        self.assertLessEqual(len(list(agent._transactions)), 128)

    def test_repeated(self) -> None:
        """
        A check that comes again by its path is answered as before, since the answer may
        have been lost, and nothing else follows; half of all answers are kept for new ones.
        """
        arena = Arena()
        arena.describe("a", IceDescription(arena.b.agent.local))
        agent, good = arena.a.agent, check(arena, number=1)
        agent.receive_datagram(good, (A, B), arena.now)
        ((first, _), *_) = agent.datagrams_to_send(arena.now)
        triggered = len(agent._list.triggered)
        for _ in range(1000):
            agent.receive_datagram(good, (A, B), arena.now)
        self.assertEqual([data for data, _ in agent._outbox], [first] * 50)
        self.assertEqual(len(agent._list.triggered), triggered)
        for number in range(2, 22):
            agent.receive_datagram(check(arena, number=number), (A, B), arena.now)
        self.assertEqual(len(agent._outbox), 50 + 20)

    def test_overheard(self) -> None:
        """
        A check that comes again from elsewhere was overheard: it is not answered, takes
        nothing from the answers to others, and opens no way for data.
        """
        arena = Arena()
        arena.describe("a", IceDescription(arena.b.agent.local))
        agent, good = arena.a.agent, check(arena, number=1)
        self.assertEqual(self.answers(arena, good), 1)
        self.assertEqual(self.answers(arena, good, STRANGER), 1)
        for number in range(1000):
            self.answers(arena, good, TransportAddress("11.9.9.9", 2000 + number))
        self.assertEqual(self.answers(arena, check(arena, number=2)), 2)
        self.assertEqual(len(agent.remote_candidates), 1)
        agent.receive_datagram(b"\x80data", (A, STRANGER), arena.now)
        self.assertIsNone(agent.next_event())

    def test_answered_before(self) -> None:
        """
        What is remembered of checks that were answered is bounded.
        """
        arena = Arena()
        arena.meet()
        for number in range(3000):
            arena.a.agent.receive_datagram(check(arena, number=number), (A, B), arena.now)
            arena.now += 0.02
            arena.a.agent.datagrams_to_send(arena.now)
        self.assertEqual(len(arena.a.agent._answered), MAX_ANSWERED)

    def test_forbidden_source(self) -> None:
        """
        A check from where no candidate may be is answered there and not followed.
        """
        arena = Arena()
        arena.describe("a", IceDescription(arena.b.agent.local))
        loopback = TransportAddress("127.0.0.1", 5000)
        self.assertEqual(self.answers(arena, check(arena), loopback), 1)
        self.assertEqual(len(arena.a.agent._list), 0)

    def test_priority_out_of_range(self) -> None:
        """
        A check with a priority that no candidate has makes none.
        """
        arena = Arena()
        arena.describe("a", IceDescription(arena.b.agent.local))
        self.assertEqual(self.answers(arena, check(arena, priority=2**31)), 1)
        self.assertEqual(len(arena.a.agent._list), 0)

    def test_use_candidate_means_nothing_to_who_controls(self) -> None:
        """
        A controlled peer does not nominate.
        """
        arena = Arena()
        arena.describe("a", IceDescription(arena.b.agent.local))
        self.answers(arena, check(arena))
        self.assertFalse(any(pair.is_wanted for pair in arena.a.agent._list))

    def test_data(self) -> None:
        """
        Data from an address that proved nothing is dropped, and what nobody takes is
        not kept without end.
        """
        arena = Arena()
        arena.describe("a")
        arena.a.agent.receive_datagram(b"\x80data", (A, B), arena.now)
        self.assertIsNone(arena.a.agent.next_event())
        arena.a.agent.receive_datagram(check(arena), (A, B), arena.now)
        for _ in range(3000):
            arena.a.agent.receive_datagram(b"\x80data", (A, B), arena.now)
        self.assertEqual(len(arena.a.agent.events), MAX_EVENTS)


class ResponseTests(SynchronousTestCase):
    """
    Answers that are not as they should be.
    """

    @override
    def setUp(self) -> None:
        """
        Have A send a check to B.
        """
        self.arena = Arena()
        self.arena.describe("a")
        self.agent = self.arena.a.agent
        ((data, _),) = self.agent.datagrams_to_send(100.0)
        self.transaction_id = decode_message(data).transaction_id
        (self.pair,) = self.agent._list
        self.key = self.arena.b.agent.local.key

    def test_forged(self) -> None:
        """
        A response with a wrong key, or to nothing, has not come; the right one counts.
        """
        right = encode_check_response(self.transaction_id, A, self.key)
        for data in (
            encode_check_response(self.transaction_id, A, b"x" * 22),
            encode_check_response(bytes(12), A, self.key),
        ):
            self.agent.receive_datagram(data, (A, B), 100.1)
            self.assertIs(self.pair.state, PairState.IN_PROGRESS)
        self.agent.receive_datagram(right, (A, B), 100.1)
        self.assertIs(self.pair.state, PairState.SUCCEEDED)
        self.agent.receive_datagram(right, (A, B), 100.2)
        self.assertAlmostEqual(self.pair.rtt or 0, 0.1)

    def test_not_symmetric(self) -> None:
        """
        An answer from elsewhere fails the pair.
        """
        right = encode_check_response(self.transaction_id, A, self.key)
        self.agent.receive_datagram(right, (A, STRANGER), 100.1)
        self.assertIs(self.pair.state, PairState.FAILED)

    def test_without_address(self) -> None:
        """
        An answer that does not say how it sees us is none.
        """
        message = Message(Class.SUCCESS_RESPONSE, self.transaction_id)
        data = encode_message(message, key=self.key, fingerprint=True)
        self.agent.receive_datagram(data, (A, B), 100.1)
        self.assertIs(self.pair.state, PairState.IN_PROGRESS)

    def test_error(self) -> None:
        """
        An error other than 487 fails the pair; 487 changes our role, once.
        """
        for code, state in ((487, PairState.WAITING), (400, PairState.FAILED)):
            self.setUp()
            error = encode_check_error(self.transaction_id, ErrorCode(code, "x"), self.key)
            self.agent.receive_datagram(error, (A, B), 100.1)
            self.agent.receive_datagram(error, (A, B), 100.1)
            self.assertIs(self.pair.state, state)
            self.assertEqual(self.agent.is_controlling, code == 400)

    def test_error_without_code(self) -> None:
        """
        An error that says nothing fails the pair.
        """
        message = Message(Class.ERROR_RESPONSE, self.transaction_id)
        data = encode_message(message, key=self.key, fingerprint=True)
        self.agent.receive_datagram(data, (A, B), 100.1)
        self.assertIs(self.pair.state, PairState.FAILED)
