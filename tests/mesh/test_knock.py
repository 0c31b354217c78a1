"""
Tests for L{atmosphere.mesh.knock}.
"""

from __future__ import annotations

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atmosphere.addresses import TransportAddress
from atmosphere.engine import Engine
from atmosphere.identity import Secret
from atmosphere.mesh.knock import (
    LONGEST,
    PACE,
    SCHEDULE,
    KnockCredentials,
    Knocking,
    encode_knock,
    is_knock,
)
from atmosphere.network.stun.attributes import PRIORITY, USERNAME
from atmosphere.network.stun.message import Class, Message, encode_message
from atmosphere.network.udp.demultiplex import has_username, is_stun
from atmosphere.rate import TokenBucket
from tests.mesh_fixtures import ADMIN_KEY, ALICE, BOB, Counted

KEY = Secret(b"k" * 32)
HERE = KnockCredentials.of(KEY, ADMIN_KEY.node_id, ALICE.node_id)
ADDRESSES = [TransportAddress("192.0.2.1", 7000 + n) for n in range(1, 4)]


class MessageTests(SynchronousTestCase):
    """
    One knock.
    """

    def test_knock(self) -> None:
        """
        A knock is small, goes where checks go, and is known to whom it is for alone.
        """
        data = encode_knock(HERE, bytes(12))
        self.assertLessEqual(len(data), LONGEST)
        self.assertTrue(is_stun(data) and has_username(data))
        self.assertTrue(is_knock(data, HERE))
        for other in (
            KnockCredentials.of(KEY, ADMIN_KEY.node_id, BOB.node_id),
            KnockCredentials.of(KEY, BOB.node_id, ALICE.node_id),
            KnockCredentials.of(Secret(b"x" * 32), ADMIN_KEY.node_id, ALICE.node_id),
            KnockCredentials(HERE.username, b"another key"),
        ):
            self.assertFalse(is_knock(data, other))
        self.assertNotIn(repr(HERE.key), repr(HERE))

    def test_other_messages(self) -> None:
        """
        Whatever else holds under the key is no knock.
        """
        name = (USERNAME, HERE.username)
        for message, sealed in (
            (Message(Class.INDICATION, bytes(12), (name,)), True),
            (Message(Class.REQUEST, bytes(12), (name,), method=3), True),
            (Message(Class.REQUEST, bytes(12)), True),
            (Message(Class.REQUEST, bytes(12), (name,)), False),
        ):
            data = encode_message(message, key=HERE.key, fingerprint=sealed)
            self.assertFalse(is_knock(data, HERE), message)
        long = Message(Class.REQUEST, bytes(12), (name, *[(PRIORITY, 1)] * 8))
        self.assertFalse(is_knock(encode_message(long, key=HERE.key, fingerprint=True), HERE))

    @settings(max_examples=200, deadline=None, derandomize=True)
    @given(st.one_of(st.binary(max_size=200), st.integers(0, 8 * LONGEST)))
    def test_any_bytes(self, what: bytes | int) -> None:
        """
        No other bytes are a knock, nor is one with a bit changed.
        """
        data = bytearray(encode_knock(HERE, bytes(12)))
        if isinstance(what, bytes):
            data = bytearray(what)
        else:
            data[what // 8 % len(data)] ^= 1 << what % 8
        self.assertFalse(is_knock(bytes(data), HERE))


class KnockingTests(SynchronousTestCase):
    """
    All knocks for one joiner.
    """

    def run_all(
        self, knocking: Knocking, until: float = 1e9
    ) -> list[tuple[float, TransportAddress]]:
        """
        Let an engine do what it wants to.

        @return: when it sent, and whereto.
        """
        now, found = 100.0, []
        while now <= until:
            found += [
                (round(now - 100, 3), address) for _, address in knocking.datagrams_to_send(now)
            ]
            due = knocking.get_timer()
            if due is None:
                break
            self.assertGreater(due, now)
            now = due
            knocking.handle_timer(now)
        return found

    def make(
        self,
        addresses: list[TransportAddress],
        refused: set[TransportAddress] | None = None,
        budget: TokenBucket | None = None,
    ) -> Knocking:
        """
        Begin to knock.
        """
        return Knocking(
            HERE,
            addresses,
            may_send=lambda address: address not in (refused or ()),
            budget=budget or TokenBucket(100, 100),
            entropy=Counted(),
            now=100.0,
        )

    def test_schedule(self) -> None:
        """
        Each address gets nine knocks within a minute, 50 ms apart from those to the others.
        """
        knocking = self.make([*ADDRESSES, ADDRESSES[0]])
        self.assertIsInstance(knocking, Engine)
        sent = self.run_all(knocking)
        for place, address in enumerate(ADDRESSES):
            times = [time for time, to in sent if to == address]
            self.assertEqual(times, [round(each + place * PACE, 3) for each in SCHEDULE])
        self.assertEqual(len(sent), len(SCHEDULE) * 3)
        self.assertEqual(knocking.sent, len(sent))
        self.assertLess(sent[-1][0], 60)
        knocking.receive_datagram(b"", ADDRESSES[0], 200.0)
        self.assertEqual(knocking.datagrams_to_send(200.0), [])

    def test_refused(self) -> None:
        """
        An address that the filter refuses gets nothing, also if it does so later only.
        """
        refused = {ADDRESSES[1]}
        knocking = self.make(ADDRESSES, refused)
        first = self.run_all(knocking, until=102)
        refused.add(ADDRESSES[0])
        later = self.run_all(knocking)
        self.assertNotIn(ADDRESSES[1], [to for _, to in first + later])
        self.assertEqual({to for _, to in later}, {ADDRESSES[2]})

    def test_budget(self) -> None:
        """
        Knocks take from what the process may send, leave a fifth of it for links, and
        wait when there is no more.
        """
        budget = TokenBucket(1, 10)
        addresses = [TransportAddress("192.0.2.1", 2000 + n) for n in range(8)]
        sent = self.run_all(self.make(addresses, budget=budget))
        self.assertEqual(len(sent), 8 * len(SCHEDULE))
        for begin in range(0, 100, 5):
            count = sum(begin <= time < begin + 5 for time, _ in sent)
            self.assertLessEqual(count, 5 + 9)
        spent = TokenBucket(1, 10)
        spent.charge(8, 100.0)
        self.assertEqual(self.make(addresses, budget=spent).datagrams_to_send(100.0), [])
