"""
Tests for hole punching under the original's names: two homes behind NATs.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError

from atmosphere.classic.connection import Told
from atmosphere.classic.nat import (
    ConnectionAttempt,
    ConnectionState,
    NATTraversal,
    punch_hole,
    punched_connection,
)
from atmosphere.classic.stun import discover_public_ip
from atmosphere.classic.world import World
from atmosphere.testing import SYMMETRIC

from .world_case import WorldCase

Message = tuple[str, bytes]


class TraversalTests(WorldCase):
    """
    C{NATTraversal}.
    """

    def traversal(self, world: World, messages: list[Message], port: int = 7777) -> NATTraversal:
        """
        Make a traversal and start it.
        """
        made = NATTraversal(port, lambda peer, data: messages.append((peer, data)), world=world)
        self.assertTrue(self.result(made.start()))
        self.closers.append(made.stop)
        return made

    def test_two_homes(self) -> None:
        """
        Two that punch towards each other's public endpoints find each other and talk.
        """
        at_one: list[Message] = []
        at_two: list[Message] = []
        one, two = self.home(1), self.home(2)
        first, second = self.traversal(one, at_one), self.traversal(two, at_two)
        attempts = self.results(
            first.punch_hole("two", "8.8.2.1", 7777), second.punch_hole("one", "8.8.1.1", 7777)
        )
        for attempt in attempts:
            self.assertIs(attempt.state, ConnectionState.ESTABLISHED)
            self.assertTrue(attempt.is_direct)
            assert attempt.duration is not None
            self.assertLess(attempt.duration, 1)
        self.assertEqual(attempts[0].remote_endpoint, ("8.8.2.1", 7777))
        self.assertEqual(attempts[0].local_endpoint, ("192.168.1.2", 7777))
        self.assertTrue(first.send_to_peer("two", b"hello"))
        self.assertTrue(self.successResultOf(second.send_to_peer("one", b"and back")))
        self.network.advance(1)
        self.assertEqual((at_one, at_two), ([("two", b"and back")], [("one", b"hello")]))

    def test_not_established(self) -> None:
        """
        Without a hole nothing is sent, and the attempt says that it failed.
        """
        first = self.traversal(self.home(1), [])
        trying = first.punch_hole("two", "8.8.2.1", 7777, timeout=2)
        self.assertIs(first.attempts["two"].state, ConnectionState.PUNCHING)
        self.assertFalse(first.send_to_peer("two", b"hello"))
        attempt = self.result(trying)
        self.assertIs(attempt.state, ConnectionState.FAILED)
        self.assertEqual((attempt.is_direct, attempt.duration), (False, None))
        self.assertFalse(first.send_to_peer("two", b"hello"))
        self.assertFalse(first.send_to_peer("nobody", b"hello"))

    def test_marked(self) -> None:
        """
        Who knows better may say that a hole is there; of unknown peers nobody can.
        """
        first = self.traversal(self.home(1), [])
        trying = first.punch_hole("two", "8.8.2.1", 7777)
        self.network.advance(0.1)
        first.mark_established("two")
        first.mark_established("nobody")
        self.assertTrue(self.result(trying).is_direct)
        self.assertTrue(first.send_to_peer("two", b"hello"))

    def test_not_started(self) -> None:
        """
        Before the start, and for what is no host, attempts fail at once.
        """
        idle = NATTraversal(7777, world=self.home(1))
        attempt = self.result(idle.punch_hole("two", "8.8.2.1", 7777))
        self.assertIs(attempt.state, ConnectionState.FAILED)
        first = self.traversal(self.home(3), [])
        for host, port in (("nowhere", 7777), ("8.8.2.1", 0), ("8.8.2.1", 70_000)):
            attempt = self.result(first.punch_hole("two", host, port))
            self.assertIs(attempt.state, ConnectionState.FAILED)
        self.result(idle.stop())

    def test_taken_port(self) -> None:
        """
        A port that another program has cannot be opened.
        """
        home = self.home(1)
        self.traversal(home, [])
        other = NATTraversal(7777, world=self.world(home.reactor))
        self.assertFalse(self.result(other.start()))

    def test_any_port(self) -> None:
        """
        Port 0 takes any, and says which.
        """
        made = self.traversal(self.home(1), [], port=0)
        self.assertGreater(made.local_port, 0)

    def test_other_address(self) -> None:
        """
        A peer that has moved is punched towards its new address; the old hole is given up.
        """
        first = self.traversal(self.home(1), [])
        for host in ("8.8.2.1", "8.8.3.1"):
            trying = first.punch_hole("two", host, 7777)
            self.network.advance(0.1)
            first.mark_established("two")
            self.result(trying)
        trace = self.network.record()
        self.network.advance(30)
        self.assertEqual({each.destination[0] for each in trace} & {"8.8.2.1"}, set())

    def test_no_address(self) -> None:
        """
        A peer that is said to have moved to what is no address is given up too.
        """
        first = self.traversal(self.home(1), [])
        trying = first.punch_hole("two", "8.8.2.1", 7777)
        self.network.advance(0.1)
        first.mark_established("two")
        self.result(trying)
        self.assertIs(
            self.result(first.punch_hole("two", "nowhere", 7777)).state, ConnectionState.FAILED
        )
        self.network.advance(1)
        trace = self.network.record()
        self.network.advance(30)
        self.assertEqual({each.destination[0] for each in trace} & {"8.8.2.1"}, set())

    def test_overtaken(self) -> None:
        """
        An attempt whose peer has to be looked up is over when a later one is
        made: what was looked up too late counts for nothing.
        """
        home = self.home(1)
        self.delay_names(home)
        first = self.traversal(home, [])
        looking = [first.punch_hole("two", name, 7777) for name in ("relay", "nowhere")]
        trying = first.punch_hole("two", "8.8.2.1", 7777)
        first.mark_established("two")
        self.assertTrue(self.result(trying).is_direct)
        for attempt in self.results(*looking):
            self.assertIs(attempt.state, ConnectionState.FAILED)
        trace = self.network.record()
        self.assertTrue(first.send_to_peer("two", b"hello"))
        self.network.advance(1)
        self.assertEqual({each.destination[0] for each in trace}, {"8.8.2.1"})

    def test_wrong_types(self) -> None:
        """
        A mistake in the arguments is raised, and spoils neither what comes after nor the end.
        """
        first = self.traversal(self.home(1), [])
        port: Any = "7777"
        for _ in range(2):
            self.failureResultOf(first.punch_hole("two", "8.8.2.1", port), TypeError)
        trying = first.punch_hole("two", "8.8.2.1", 7777)
        self.network.advance(0.1)
        first.mark_established("two")
        self.assertTrue(self.result(trying).is_direct)
        self.failureResultOf(first.punch_hole("two", "8.8.2.1", port), TypeError)
        self.result(first.stop())

    def test_ipv6(self) -> None:
        """
        A peer with an IPv6 address is punched from a port of that family.
        """
        ends = []
        for number in (1, 2):
            host = self.network.host(f"six{number}", f"2600::{number}")
            ends.append(self.traversal(self.world(host), []))
        attempts = self.results(
            ends[0].punch_hole("two", "2600::2", 7777), ends[1].punch_hole("one", "2600::1", 7777)
        )
        self.assertTrue(all(attempt.is_direct for attempt in attempts))
        self.assertTrue(ends[0].send_to_peer("two", b"hello"))

    def test_lost(self) -> None:
        """
        A peer that has gone is noticed.
        """
        one, two = self.home(1), self.home(2)
        first, second = self.traversal(one, []), self.traversal(two, [])
        attempt, _ = self.results(
            first.punch_hole("two", "8.8.2.1", 7777), second.punch_hole("one", "8.8.1.1", 7777)
        )
        self.result(second.stop())
        self.network.advance(60)
        self.assertIs(attempt.state, ConnectionState.FAILED)
        self.assertFalse(first.send_to_peer("two", b"hello"))

    def test_coroutine(self) -> None:
        """
        What takes the messages may be a coroutine function; if it fails that is logged.
        """
        got: list[Message] = []

        async def take(peer: str, data: bytes) -> None:
            if data == b"bad":
                raise RuntimeError("not today")
            got.append((peer, data))

        one, two = self.home(1), self.home(2)
        first, second = self.traversal(one, []), NATTraversal(7777, take, world=two)
        self.result(second.start())
        self.closers.append(second.stop)
        self.results(
            first.punch_hole("two", "8.8.2.1", 7777), second.punch_hole("one", "8.8.1.1", 7777)
        )
        for data in (b"bad", b"good"):
            first.send_to_peer("two", data)
        self.network.advance(1)
        self.assertEqual(got, [("one", b"good")])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_cancelled(self) -> None:
        """
        Cancelling gives up.
        """
        first = self.traversal(self.home(1), [])
        trying = first.punch_hole("two", "8.8.2.1", 7777)
        self.network.advance(0.2)
        trying.cancel()
        self.failureResultOf(trying, CancelledError)
        self.assertIs(first.attempts["two"].state, ConnectionState.FAILED)


class PunchHoleTests(WorldCase):
    """
    C{punch_hole}, the function.
    """

    def punch(self, one: World, two: World) -> None:
        """
        Punch from both.
        """
        both = self.results(
            punch_hole(7777, "8.8.2.1", 7777, world=one),
            punch_hole(7777, "8.8.1.1", 7777, world=two),
        )
        self.assertEqual(both, [True, True])

    def test_talk(self) -> None:
        """
        The socket stays open: what was made can be used, until it is closed.
        """
        one, two = self.home(1), self.home(2)
        self.punch(one, two)
        first = punched_connection(7777, "8.8.2.1", 7777, world=one)
        second = punched_connection(7777, "8.8.1.1", 7777, world=two)
        assert first is not None and second is not None
        self.assertEqual((first.kind, first.is_open), ("direct", True))
        waiting = second.receive()
        self.assertTrue(self.result(first.send(b"hello")))
        self.assertEqual(self.result(waiting), b"hello")
        self.assertIsNone(self.result(first.receive(timeout=2)))
        self.failureResultOf(first.send(bytes(70_000)), ValueError)
        self.result(first.close())
        self.result(first.close())
        self.assertFalse(self.result(first.send(b"more")))
        self.assertIsNone(self.result(first.receive()))
        self.assertIsNone(punched_connection(7777, "8.8.2.1", 7777, world=one))
        self.network.advance(60)
        self.assertFalse(second.is_open)
        self.result(second.close())

    def test_again(self) -> None:
        """
        Punching once more to the same peer finds the hole that is there.
        """
        one, two = self.home(1), self.home(2)
        self.punch(one, two)
        before = punched_connection(7777, "8.8.2.1", 7777, world=one)
        self.punch(one, two)
        self.assertIs(punched_connection(7777, "8.8.2.1", 7777, world=one), before)
        self.close(one, two)

    def close(self, one: World, two: World) -> None:
        """
        Close what was punched.
        """
        for world, host in ((one, "8.8.2.1"), (two, "8.8.1.1")):
            connection = punched_connection(7777, host, 7777, world=world)
            assert connection is not None
            self.result(connection.close())

    def test_handed_on(self) -> None:
        """
        A traversal on the same port goes on with the hole, and gets what has come meanwhile.
        """
        one, two = self.home(1), self.home(2)
        self.punch(one, two)
        other = punched_connection(7777, "8.8.1.1", 7777, world=two)
        assert other is not None
        self.result(other.send(b"early"))
        self.network.advance(1)
        got: list[Message] = []
        traversal = NATTraversal(7777, lambda *message: got.append(message), world=one)
        self.assertTrue(self.result(traversal.start()))
        attempt = self.successResultOf(traversal.punch_hole("two", "8.8.2.1", 7777))
        self.assertTrue(attempt.is_direct)
        self.result(other.send(b"late"))
        self.network.advance(1)
        self.assertEqual(got, [("two", b"early"), ("two", b"late")])
        self.assertIsNone(punched_connection(7777, "8.8.2.1", 7777, world=one))
        self.result(traversal.stop())
        self.result(other.close())

    def test_by_name(self) -> None:
        """
        A peer may be named; the connection is found by name and by address.
        """
        one = self.world(self.network.host("one", "8.8.60.1"))
        two = self.world(self.network.host("two", "8.8.60.2"))
        both = self.results(
            punch_hole(0, "two", 7777, world=one), punch_hole(7777, "one", 4000, 1, world=two)
        )
        self.assertEqual(both, [False, False])
        both = self.results(
            punch_hole(4000, "two", 7777, world=one), punch_hole(7777, "one", 4000, world=two)
        )
        self.assertEqual(both, [True, True])
        by_name = punched_connection(4000, "two", 7777, world=one)
        assert by_name is not None
        self.assertIs(punched_connection(4000, "8.8.60.2", 7777, world=one), by_name)
        self.assertIsNone(punched_connection(4000, "8.8.60.2", 7778, world=one))
        other = punched_connection(7777, "one", 4000, world=two)
        assert other is not None
        self.results(by_name.close(), other.close())

    def test_failed(self) -> None:
        """
        Nobody there, no such host and a port that is taken: no hole, and nothing stays open.
        """
        home = self.home(1)
        self.assertFalse(self.result(punch_hole(7777, "8.8.2.1", 7777, 1, world=home)))
        self.assertFalse(self.result(punch_hole(7777, "nowhere", 7777, 1, world=home)))
        taken = self.world(home.reactor)
        traversal = NATTraversal(7777, world=home)
        self.result(traversal.start())
        self.assertFalse(self.result(punch_hole(7777, "8.8.2.1", 7777, 1, world=taken)))
        self.result(traversal.stop())

    def test_difficult(self) -> None:
        """
        Behind a NAT with address-dependent mapping there is no hole, and we say so.
        """
        one, two = self.home(1), self.home(2, SYMMETRIC)
        seen = self.result(discover_public_ip(7777, world=two))
        assert seen is not None
        both = self.results(
            punch_hole(7777, seen.ip, seen.port, 3, world=one),
            punch_hole(7777, "8.8.1.1", 7777, 3, world=two),
        )
        self.assertEqual(both, [False, False])


class ValueTests(WorldCase):
    """
    The values.
    """

    def test_states(self) -> None:
        """
        States have the values that they always had.
        """
        self.assertEqual(
            [state.value for state in ConnectionState],
            ["init", "punching", "established", "failed", "relay"],
        )

    def test_attempt(self) -> None:
        """
        An attempt tells how long it took, and whether it is direct.
        """
        attempt = ConnectionAttempt(
            "p", ("10.0.0.1", 1), ("8.8.4.4", 2), ConnectionState.INIT, 100.0
        )
        self.assertEqual((attempt.duration, attempt.is_direct), (None, False))
        attempt.state, attempt.established_at = ConnectionState.ESTABLISHED, 100.5
        self.assertEqual((attempt.duration, attempt.is_direct), (0.5, True))
        attempt.state, attempt.relay_url = ConnectionState.RELAY, "ws://r"
        self.assertFalse(attempt.is_direct)

    def test_told(self) -> None:
        """
        An answer that is known at once can be awaited, and asked for its truth.
        """
        self.assertTrue(Told(True))
        self.assertFalse(Told(False))
        self.assertIs(self.successResultOf(Told(True)), True)
