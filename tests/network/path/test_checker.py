"""
Tests of L{atmosphere.network.path.checker}.
"""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.addresses import TransportAddress
from atmosphere.network.nat.candidates import AddressRules
from atmosphere.network.path.check_budget import CheckBudget
from atmosphere.network.path.checker import Checker
from atmosphere.network.path.exchange import PathOffer
from atmosphere.network.path.selection import PathPolicy
from atmosphere.network.path.way_table import WayTable
from atmosphere.network.path.ways import DirectWay
from atmosphere.network.stun.attributes import PRIORITY, USERNAME
from atmosphere.network.stun.integrity import add_fingerprint, add_integrity_sha256
from atmosphere.network.stun.message import Class, Message, decode_message, encode_message

from .lane import RELAY_TO_A, RELAY_TO_B, TO_B, B, host


class CheckerTests(SynchronousTestCase):
    """
    Checks leave within the limits.
    """

    @override
    def setUp(self) -> None:
        """
        Make a checker with a relayed and a direct way.
        """
        self.ways = WayTable(AddressRules(allow_private=True))
        self.budget = CheckBudget(10, 10)
        self.checker = Checker(
            self.ways,
            is_dialler=True,
            entropy=Random(1).randbytes,
            budget=self.budget,
            policy=PathPolicy.AUTO,
        )
        self.ways.add_initial(RELAY_TO_B)
        self.ways.tell([host(B)], 0.0, is_near=False, keep=None)
        for known in self.ways:
            known.start(0.0)

    def test_closed(self) -> None:
        """
        Before it is opened no check leaves.
        """
        self.assertEqual(self.checker.datagrams_to_send(0.0, is_hurried=False), [])

    def test_open(self) -> None:
        """
        Both ways are checked at once, in full size.
        """
        self.assertFalse(self.checker.take_credentials(PathOffer("abcd", "p" * 22)))
        self.assertFalse(self.checker.take_credentials(PathOffer("abcd", "p" * 22)))
        self.assertTrue(self.checker.take_credentials(PathOffer("efgh", "p" * 22)))
        self.checker.is_open = True
        sent = self.checker.datagrams_to_send(0.0, is_hurried=False)
        self.assertEqual([len(data) for data, _ in sent], [1200, 1200])
        self.assertEqual(self.checker.next_time(), 0.2)

    def test_bold(self) -> None:
        """
        Four addresses that never answered get a full-size first check, and one more
        every 15 s; each counts as six checks, and there is none where too few are left.
        """
        self.checker.take_credentials(PathOffer("abcd", "p" * 22))
        self.checker.is_open = True
        self.budget.burst = self.budget.rate = 1000
        self.budget.charge(-900, 0.0)
        told = [host(TransportAddress("10.0.0.3", 2000 + each)) for each in range(10)]
        self.ways.tell(told, 0.0, is_near=True, keep=None)
        lengths = []
        now = 0.0
        for known in self.ways:
            known.start(now) if known.way != RELAY_TO_B else known.lose(now, "gone")
        for _ in range(10):
            level = self.budget.level(now)
            ((data, _),) = self.checker.datagrams_to_send(now, is_hurried=False)
            lengths.append(len(data))
            self.assertAlmostEqual(level - self.budget.level(now), 6 if len(data) == 1200 else 1)
            now += 0.05
        self.assertEqual(lengths, [1200] * 4 + [92] * 6)

    def test_bold_without_budget(self) -> None:
        """
        Where the process has few checks left, none counts as six.
        """
        self.checker.take_credentials(PathOffer("abcd", "p" * 22))
        self.checker.is_open = True
        self.budget.charge(4.0, 0.0)
        sent = self.checker.datagrams_to_send(0.0, is_hurried=False)
        self.assertEqual({way: len(data) for data, way in sent}, {RELAY_TO_B: 1200, TO_B: 92})
        self.assertAlmostEqual(self.budget.level(0.0), 4.0)

    def test_called(self) -> None:
        """
        Where a check of the peer came from ours does not keep the pace, if the peer
        named that address too, and is of full size if the peer's was.
        """
        self.budget.charge(-20, 0.0)
        self.checker.take_credentials(PathOffer("abcd", "p" * 22))
        self.checker.is_open = True
        other = DirectWay(TransportAddress("10.0.0.3", 2000))
        self.ways.tell([host(B), host(other.address)], 0.0, is_near=True, keep=None)
        relay, first, second = self.ways
        relay.lose(0.0, "gone")
        second.due = None
        first.start(0.0)
        self.assertEqual(len(self.checker.datagrams_to_send(0.0, is_hurried=False)), 1)
        second.start(0.0)
        self.assertEqual(self.checker.next_time(), 0.05)
        self.assertIs(self.ways.get(other), second)
        second.call(0.01, is_full=True)
        self.assertEqual(self.checker.next_time(), 0.0)
        ((data, way),) = self.checker.datagrams_to_send(0.01, is_hurried=False)
        self.assertEqual((way, len(data)), (other, 1200))

    def test_policy(self) -> None:
        """
        A way that the policy does not allow is not checked, and wants no timer.
        """
        self.checker.take_credentials(PathOffer("abcd", "p" * 22))
        self.checker.is_open = True
        self.checker.policy = PathPolicy.RELAYED
        ((_, way),) = self.checker.datagrams_to_send(0.0, is_hurried=False)
        self.assertEqual(way, RELAY_TO_B)

    def test_budget_is_short(self) -> None:
        """
        A way that works may use the last of the budget, a new one may not.
        """
        self.checker.take_credentials(PathOffer("abcd", "p" * 22))
        self.checker.is_open = True
        self.budget.charge(8.0, 0.0)
        self.assertEqual(self.checker.datagrams_to_send(0.0, is_hurried=False), [])
        self.assertAlmostEqual(self.checker.wait_for_budget(0.0), 0.08)
        relay = self.ways.get(RELAY_TO_B)
        assert relay is not None
        relay.trust("for the test")
        self.assertEqual(
            [way for _, way in self.checker.datagrams_to_send(0.0, is_hurried=False)],
            [RELAY_TO_B],
        )
        relay.look_again(0.0)
        self.budget.charge(2.0, 0.0)
        self.assertEqual(self.checker.datagrams_to_send(0.0, is_hurried=False), [])

    def test_answer_for_a_way_that_is_gone(self) -> None:
        """
        An answer by a way that was dropped meanwhile is nothing.
        """
        peer = Checker(
            WayTable(AddressRules()),
            is_dialler=False,
            entropy=Random(2).randbytes,
            budget=self.budget,
            policy=PathPolicy.AUTO,
        )
        remote = peer.conversation.local
        self.checker.take_credentials(PathOffer(remote.ufrag, remote.pwd))
        self.checker.is_open = True
        sent = dict(
            (way, data) for data, way in self.checker.datagrams_to_send(0.0, is_hurried=False)
        )
        data = sent[TO_B]
        reply = peer.conversation.answer_to(data, decode_message(data), RELAY_TO_A)
        assert reply is not None
        self.ways.tell([], 0.0, is_near=False, keep=None)
        message = decode_message(reply)
        self.assertIsNone(self.checker.answer_received(reply, message, TO_B, 0.1))
        self.assertIsNone(self.checker.answer_received(reply, message, TO_B, 0.1))

    def test_no_answer_longer_than_the_check(self) -> None:
        """
        A check so short that its answer would be longer is not answered.
        """
        local = self.checker.conversation.local
        far = DirectWay(TransportAddress("2001:db8::1", 9999))
        names = ((USERNAME, f"{local.ufrag}:"), (PRIORITY, 1))
        for way, expected in ((far, 0), (TO_B, 1)):
            message = Message(Class.REQUEST, bytes([expected]) * 12, names)
            data = add_fingerprint(add_integrity_sha256(encode_message(message), local.key, 16))
            self.checker.check_received(data, decode_message(data), way, 0.0)
            self.assertEqual(len(self.checker.datagrams_to_send(0.0, is_hurried=False)), expected)
