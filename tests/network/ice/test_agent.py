"""
Tests of L{atmosphere.network.ice.agent}: two agents, NATs, virtual time.
"""

from __future__ import annotations

import itertools

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.addresses import TransportAddress
from atmosphere.network.ice.agent import LEAST_PATIENCE, IceAgent
from atmosphere.network.ice.candidates import IceCandidate, host_candidate
from atmosphere.network.ice.description import IceDescription
from atmosphere.network.ice.events import ConsentLost, Failed, RoleChanged
from atmosphere.network.ice.pairs import IcePath
from atmosphere.network.nat.credentials import Credentials
from atmosphere.network.stun.attributes import USE_CANDIDATE
from atmosphere.network.stun.message import Class, decode_message
from atmosphere.network.udp.demultiplex import is_stun

from .arena import PUBLIC_A, PUBLIC_B, A, Arena, B


def is_nominating(data: bytes) -> bool:
    """
    Say whether a datagram is a check that nominates.
    """
    return is_stun(data) and decode_message(data).has(USE_CANDIDATE)


class MeetingTests(SynchronousTestCase):
    """
    Two agents find each other.
    """

    def assert_met(self, arena: Arena, a: IcePath, b: IcePath) -> None:
        """
        Assert that both selected the two ends of one pair, and that data goes both ways.
        """
        for side, path in ((arena.a, a), (arena.b, b)):
            assert side.selected is not None
            self.assertEqual(side.selected.path, path)
            self.assertEqual(side.agent.path, path)
            self.assertTrue(side.agent.send(b"\x80data"))
        arena.run(0.1)
        self.assertEqual((arena.a.received, arena.b.received), ([b"\x80data"], [b"\x80data"]))

    def test_two_hosts(self) -> None:
        """
        Without NATs: a check, its answer, the nomination and its answer, two round trips;
        the controlled side, which has checked too, needs one and a half.
        """
        arena = Arena()
        arena.meet()
        self.assert_met(arena, (A, B), (B, A))
        times = [side.events[0][0] - 100 for side in (arena.a, arena.b)]
        self.assertLessEqual(times[0], 0.08 + 0.05)
        self.assertLessEqual(times[1], times[0])
        self.assertTrue(arena.a.agent.is_controlling)

    def test_two_nats(self) -> None:
        """
        Two NATs that let in only answers: the triggered checks come through.
        """
        arena = Arena(nats=(True, True))
        arena.meet()
        self.assert_met(arena, (A, PUBLIC_B), (B, PUBLIC_A))
        assert arena.a.selected is not None
        self.assertEqual(
            (arena.a.selected.local.kind, arena.a.selected.remote.kind), ("srflx",) * 2
        )
        self.assertLessEqual(arena.a.events[0][0] - 100, 0.25)

    def test_peer_reflexive(self) -> None:
        """
        An address that nobody told is found by the checks from it, on both sides.
        """
        arena = Arena(nats=(True, False))
        arena.describe("a")
        nothing = IceDescription(arena.a.agent.local)
        arena.describe("b", nothing)
        arena.run(2.0)
        self.assert_met(arena, (A, B), (B, PUBLIC_A))
        assert arena.b.selected is not None
        self.assertEqual(arena.b.selected.remote.kind, "prflx")
        arena.b.agent.add_remote_candidate(arena.a.agent.local_candidates[PUBLIC_A])
        self.assertEqual(arena.b.agent.remote_candidates[PUBLIC_A].kind, "srflx")

    def test_seen_otherwise(self) -> None:
        """
        How the peer sees us is a candidate of ours, though no server told it.
        """
        arena = Arena()
        arena.a.public = PUBLIC_A
        arena.meet()
        assert arena.a.selected is not None
        self.assertEqual(arena.a.selected.local.kind, "prflx")
        self.assertEqual(arena.a.selected.local.address, PUBLIC_A)

    def test_checks_before_credentials(self) -> None:
        """
        Checks and data that come before the peer's description are answered and taken;
        what follows from the checks follows when it is there.
        """
        arena = Arena(roles=(False, True))
        arena.describe("b")
        arena.run(0.5)
        self.assertEqual(arena.checks("a"), [])
        assert arena.b.selected is not None
        self.assertIsNone(arena.a.selected)
        arena.b.agent.send(b"\x80early")
        arena.run(0.1)
        self.assertEqual(arena.a.received, [b"\x80early"])
        arena.describe("a")
        arena.run(0.1)
        assert arena.a.selected is not None
        self.assertEqual(arena.a.selected.path, (A, B))

    def test_conflicts(self) -> None:
        """
        Two of the same role: exactly one changes, whoever hears of it first.
        """
        for seed in range(1, 6):
            for roles in ((True, True), (False, False)):
                arena = Arena(seed=seed, roles=roles)
                arena.meet()
                self.assert_met(arena, (A, B), (B, A))
                changes = [
                    event
                    for side in (arena.a, arena.b)
                    for _, event in side.events
                    if isinstance(event, RoleChanged)
                ]
                self.assertEqual(changes, [RoleChanged(not roles[0])])
                self.assertNotEqual(arena.a.agent.is_controlling, arena.b.agent.is_controlling)

    def test_conflict_of_one_that_hears_nothing(self) -> None:
        """
        Whose checks alone arrive learns by 487 that it has to change.
        """
        for roles in ((True, True), (False, False)):
            arena = Arena(roles=roles)
            winner = (
                arena.a
                if roles[0] == (arena.a.agent._tie_breaker >= arena.b.agent._tie_breaker)
                else arena.b
            )
            loser = "b" if winner is arena.a else "a"
            arena.describe(loser)
            arena.run(0.2)
            changes = [event for _, event in arena.sides[loser].events]
            self.assertIn(RoleChanged(not roles[0]), changes)

    def test_lite(self) -> None:
        """
        With a lite peer, which sends no checks, ours controls.
        """
        arena = Arena(roles=(False, False))
        other = arena.b.agent.describe()
        lite = IceDescription(other.credentials, other.candidates, True, is_lite=True)
        arena.describe("a", lite)
        arena.run(1.0)
        self.assertTrue(arena.a.agent.is_controlling)
        self.assertTrue(any(is_nominating(data) for _, name, data, _ in arena.sent if name == "a"))
        assert arena.a.selected is not None
        self.assertEqual(arena.a.selected.path, (A, B))

    def test_best_is_nominated(self) -> None:
        """
        A pair of higher priority that answers a little later is waited for.
        """
        arena = Arena()
        other = TransportAddress("10.0.1.3", 5000)
        arena.a.agent.add_local_candidate(host_candidate(other, 65000), other)
        arena.tamper = lambda name, data, path: None if self._is_late(arena, path) else data
        arena.meet(0.3)
        assert arena.a.selected is not None
        self.assertEqual(arena.a.selected.path, (A, B))

    def _is_late(self, arena: Arena, path: IcePath) -> bool:
        """
        Say whether a datagram is lost because it is too early.
        """
        return path[0] == A and arena.now < 100.03

    def test_trickle(self) -> None:
        """
        Candidates that come later are tried as they come.
        """
        arena = Arena(nats=(True, True))
        for name in "ab":
            other = arena.sides["b" if name == "a" else "a"].agent
            arena.describe(name, IceDescription(other.local))
        arena.run(1.0)
        self.assertEqual(arena.sent, [])
        for name in "ab":
            other = arena.sides["b" if name == "a" else "a"].agent
            for candidate in other.local_candidates.values():
                self.assertIsNone(arena.sides[name].agent.add_remote_candidate(candidate))
        arena.run(1.0)
        self.assert_met(arena, (A, PUBLIC_B), (B, PUBLIC_A))

    def test_local_candidates_later(self) -> None:
        """
        A socket of ours that comes later is tried with what the peer has told.
        """
        agent = IceAgent(is_controlling=True, entropy=bytes)
        agent.set_remote(Credentials("abcd", "p" * 22), 0.0)
        agent.add_remote_candidate(host_candidate(B, 1))
        self.assertEqual(agent.datagrams_to_send(0.0), [])
        self.assertTrue(agent.add_local_candidate(host_candidate(A, 1), A))
        self.assertFalse(agent.add_local_candidate(host_candidate(A, 1), A))
        ((_, path),) = agent.datagrams_to_send(0.0)
        self.assertEqual(path, (A, B))


class LifeTests(SynchronousTestCase):
    """
    What happens after two agents met, or when they do not.
    """

    def test_consent(self) -> None:
        """
        Consent is asked for every 4 to 6 s, each time after another pause.
        """
        arena = Arena()
        arena.meet()
        start = arena.now
        arena.run(100.0)
        times = arena.checks("a", start)
        pauses = [after - before for before, after in itertools.pairwise(times)]
        self.assertTrue(all(4.0 <= pause <= 6.0 for pause in pauses), pauses)
        self.assertGreater(len({round(pause, 3) for pause in pauses}), 10)
        self.assertIsNotNone(arena.a.agent.path)

    def test_consent_lost(self) -> None:
        """
        30 s after the last answer nothing is sent any more, not even checks.
        """
        arena = Arena()
        arena.meet()
        arena.is_up = False
        start = arena.now
        arena.run(60.0)
        for side in (arena.a, arena.b):
            at, event = side.events[-1]
            self.assertEqual(event, ConsentLost())
            self.assertTrue(24.0 <= at - start <= 30.0, at - start)
            self.assertIsNone(side.agent.path)
            self.assertFalse(side.agent.send(b"\x80data"))
            self.assertIsNone(side.agent.get_timer())
        self.assertEqual([at for at, _, _, _ in arena.sent if at > start + 30], [])

    def test_one_way(self) -> None:
        """
        Whose checks get no answers loses consent, though the peer's still arrive.
        """
        arena = Arena()
        arena.meet()
        arena.tamper = lambda name, data, path: None if name == "a" else data
        arena.run(31.0)
        self.assertEqual(arena.a.events[-1][1], ConsentLost())

    def test_restart(self) -> None:
        """
        A restart finds a path anew, while data goes on by the old one.
        """
        arena = Arena()
        arena.meet()
        before = arena.a.agent.local
        arena.a.agent.restart(arena.now)
        self.assertNotEqual(arena.a.agent.local, before)
        arena.a.agent.send(b"\x80one")
        arena.run(7.0)
        self.assertEqual(arena.b.received, [b"\x80one"])
        self.assertIsNotNone(arena.b.agent.path)
        old = arena.b.agent.local
        arena.describe("b")
        self.assertNotEqual(arena.b.agent.local, old)
        arena.describe("a")
        arena.run(1.0)
        for side in (arena.a, arena.b):
            self.assertEqual(side.agent._selected_with, (side.agent.local, side.agent.remote))
        arena.a.agent.send(b"\x80two")
        arena.run(60.0)
        self.assertEqual(arena.b.received, [b"\x80one", b"\x80two"])
        self.assertFalse(any(isinstance(event, ConsentLost) for _, event in arena.a.events))

    def test_restart_after_loss(self) -> None:
        """
        After consent was lost a restart brings it back.
        """
        arena = Arena()
        arena.meet()
        arena.is_up = False
        arena.run(40.0)
        arena.is_up = True
        arena.a.agent.restart(arena.now)
        arena.describe("b")
        arena.describe("a")
        arena.run(1.0)
        self.assertEqual((arena.a.agent.path, arena.b.agent.path), ((A, B), (B, A)))

    def test_fails(self) -> None:
        """
        When no pair works it says so, but not before 39.5 s, and 7 checks a pair.
        """
        arena = Arena()
        arena.is_up = False
        arena.meet(60.0)
        for name, side in arena.sides.items():
            ((at, event),) = side.events
            self.assertIsInstance(event, Failed)
            self.assertGreaterEqual(at, 100 + LEAST_PATIENCE)
            times = [round(each - 100, 3) for each in arena.checks(name)]
            self.assertEqual(times, [0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5])
            self.assertIsNone(side.agent.get_timer())

    def test_waits_for_candidates(self) -> None:
        """
        While the peer may tell more, nothing has failed.
        """
        arena = Arena()
        arena.is_up = False
        told = arena.b.agent.describe()
        arena.describe("a", IceDescription(told.credentials, told.candidates))
        arena.run(60.0)
        self.assertEqual(arena.a.events, [])
        arena.a.agent.end_remote_candidates()
        arena.run(0.1)
        self.assertIsInstance(arena.a.events[0][1], Failed)

    def test_nobody_told(self) -> None:
        """
        A peer without any candidate has failed after the same time.
        """
        arena = Arena()
        arena.describe("a", IceDescription(arena.b.agent.local, is_complete=True))
        arena.run(60.0)
        self.assertEqual(arena.a.events[0][1], Failed("none of 0 pairs of candidates works"))

    def test_pace(self) -> None:
        """
        New checks are 50 ms apart, whatever the peer tells.
        """
        arena = Arena()
        for last in range(40):
            other = host_candidate(TransportAddress(f"11.2.3.{last}", 5000), last)
            self.assertIsNone(arena.a.agent.add_remote_candidate(other))
        arena.is_up = False
        arena.describe("a", IceDescription(arena.b.agent.local))
        arena.run(0.45)
        times = arena.checks("a")
        self.assertEqual([round(each - 100, 3) for each in times], [n / 20 for n in range(10)])

    def test_unusable(self) -> None:
        """
        Addresses that must not be tried are not, and why is said.
        """
        agent = Arena().a.agent
        self.assertIn("own address", agent.add_remote_candidate(host_candidate(A, 1)) or "")
        loopback = host_candidate(TransportAddress("127.0.0.1", 5000), 1)
        self.assertIn("loopback", agent.add_remote_candidate(loopback) or "")
        for odd in (
            IceCandidate("1", 1, "tcp", 1, "11.1.1.1", 9, "host"),
            IceCandidate("1", 2, "udp", 1, "11.1.1.1", 5000, "host"),
            IceCandidate("1", 1, "udp", 1, "x.local", 5000, "host"),
            IceCandidate("1", 1, "udp", 1, "11.1.1.1", 5000, "newer"),
        ):
            self.assertIn("no IP address", agent.add_remote_candidate(odd) or "")

    def test_too_many(self) -> None:
        """
        Of 10,000 candidates 64 are kept, and pairs are at most 100.
        """
        agent = Arena().a.agent
        refused = [
            agent.add_remote_candidate(
                host_candidate(TransportAddress(f"11.2.{number >> 8}.{number & 255}", 5000), 1)
            )
            for number in range(10_000)
        ]
        self.assertEqual(refused.count(None), 64)
        self.assertEqual(len(agent._list), 64)

    def test_looks_like_stun(self) -> None:
        """
        What looks like STUN is no datagram of an application.
        """
        arena = Arena()
        arena.meet()
        check = next(data for _, _, data, _ in arena.sent)
        self.assertRaises(ValueError, arena.a.agent.send, check)
        self.assertIs(decode_message(check).message_class, Class.REQUEST)
