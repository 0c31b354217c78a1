"""
Tests of L{atmosphere.network.path.checks}.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.addresses import TransportAddress
from atmosphere.network.nat.credentials import Credentials
from atmosphere.network.path.checks import (
    MAX_ANSWERED,
    CheckConversation,
    answer_recipient,
    check_recipient,
)
from atmosphere.network.stun.attributes import (
    ERROR_CODE,
    PADDING,
    PRIORITY,
    USERNAME,
    XOR_MAPPED_ADDRESS,
)
from atmosphere.network.stun.message import (
    Class,
    Message,
    decode_message,
    encode_check,
    encode_message,
)

from .lane import RELAY_TO_A, RELAY_TO_B, TO_A, TO_B, A, B


class ConversationTests(SynchronousTestCase):
    """
    Checks and answers between two ends.
    """

    @override
    def setUp(self) -> None:
        """
        Let two ends know each other's credentials.
        """
        self.a, self.b = (
            CheckConversation(
                local=Credentials.from_entropy(Random(seed).randbytes),
                is_controlling=seed == 0,
                entropy=Random(seed + 10).randbytes,
            )
            for seed in (0, 1)
        )
        self.a.remote, self.b.remote = self.b.local, self.a.local

    def check(self, *, is_full: bool = False, now: float = 0.0) -> bytes:
        """
        Write a check from A to B.
        """
        return self.a.new_check(TO_B, now, is_full=is_full, priority=7)

    def test_no_credentials(self) -> None:
        """
        Without the peer's credentials no check can be written.
        """
        self.a.remote = None
        self.assertRaises(ValueError, self.check)

    def test_small(self) -> None:
        """
        A small check and its answer are under 200 bytes, the answer shorter.
        """
        data = self.check()
        message = decode_message(data)
        self.assertLess(len(data), 200)
        self.assertEqual(message.get(USERNAME), f"{self.b.local.ufrag}:{self.a.local.ufrag}")
        self.assertEqual(message.get(PRIORITY), 7)
        self.assertEqual(check_recipient(data), self.b.local.ufrag)
        self.assertTrue(self.b.read_check(data, message))
        reply = self.b.answer_to(data, message, TO_A)
        assert reply is not None
        self.assertLessEqual(len(reply), len(data))
        self.assertIsNone(check_recipient(reply))
        found = self.a.read_answer(reply, decode_message(reply), TO_B)
        assert found is not None
        self.assertEqual((found.full_out, found.full_in, found.observed), (False, False, A))
        self.assertIsNone(self.a.read_answer(reply, decode_message(reply), TO_B))

    def test_full(self) -> None:
        """
        A full-size check and its answer have 1,200 bytes each.
        """
        data = self.check(is_full=True)
        reply = self.b.answer_to(data, decode_message(data), TO_A)
        assert reply is not None
        self.assertEqual((len(data), len(reply)), (1200, 1200))
        found = self.a.read_answer(reply, decode_message(reply), TO_B)
        assert found is not None
        self.assertEqual((found.full_out, found.full_in), (True, True))

    def test_relayed(self) -> None:
        """
        Over a relay nobody is told where a check came from.
        """
        data = self.a.new_check(RELAY_TO_B, 0.0, is_full=False, priority=7)
        reply = self.b.answer_to(data, decode_message(data), RELAY_TO_A)
        assert reply is not None
        seen = decode_message(reply).get(XOR_MAPPED_ADDRESS)
        self.assertEqual(seen, TransportAddress("0.0.0.0", 0))
        found = self.a.read_answer(reply, decode_message(reply), RELAY_TO_B)
        assert found is not None
        self.assertIsNone(found.observed)

    def test_refused_checks(self) -> None:
        """
        What is not for us, not from the peer, or not whole, is no check.
        """

        def made(**changes: Any) -> bytes:
            """
            Write a check to B with changes.
            """
            arguments: dict[str, Any] = {
                "username": f"{self.b.local.ufrag}:{self.a.local.ufrag}",
                "key": self.b.local.key,
                "priority": 1,
                "tie_breaker": 1,
                "is_controlling": True,
            }
            return encode_check(bytes(12), **(arguments | changes))

        def bare(fingerprint: bool, *attributes: tuple[Any, Any]) -> bytes:
            """
            Write a request to B attribute by attribute.
            """
            name = (USERNAME, f"{self.b.local.ufrag}:{self.a.local.ufrag}")
            return encode_message(
                Message(Class.REQUEST, bytes(12), (name, *attributes)),
                key=self.b.local.key,
                fingerprint=fingerprint,
            )

        good = made()
        self.assertTrue(self.b.read_check(good, decode_message(good)))
        unknown = bare(True, (PRIORITY, 1))
        bad = [
            made(username=f"{self.a.local.ufrag}:{self.b.local.ufrag}"),
            made(username=self.b.local.ufrag),
            made(username=f"{self.b.local.ufrag}:else"),
            made(key=b"x" * 24),
            made(size=1504),
            bare(False, (PRIORITY, 1)),
            bare(True),
            encode_message(Message(Class.REQUEST, bytes(12))),
        ]
        for data in bad:
            self.assertFalse(self.b.read_check(data, decode_message(data)), data)
        strange = Message(
            Class.REQUEST, bytes(12), decode_message(good).attributes, 1, unknown_required=(0x7FF,)
        )
        self.assertTrue(self.b.read_check(unknown, decode_message(unknown)))
        self.assertFalse(self.b.read_check(good, strange))

    def test_any_sender_at_first(self) -> None:
        """
        Until the peer's fragment is known, the password alone decides.
        """
        self.b.remote = None
        data = self.check()
        self.assertTrue(self.b.read_check(data, decode_message(data)))

    def test_role_conflict(self) -> None:
        """
        Two ends that both claim to control get 487, which answers nothing.
        """
        twin = CheckConversation(
            local=self.b.local, is_controlling=True, entropy=Random(3).randbytes
        )
        data = self.check()
        reply = twin.answer_to(data, decode_message(data), TO_A)
        assert reply is not None
        error = decode_message(reply).get(ERROR_CODE)
        assert error is not None
        self.assertEqual(error.code, 487)
        self.assertIsNone(self.a.read_answer(reply, decode_message(reply), TO_B))
        self.assertFalse(self.a.is_waiting_for(decode_message(data).transaction_id))

    def test_never_longer(self) -> None:
        """
        An answer that would be longer than its check is not sent, and padding
        that leaves no room for its like is not returned.
        """
        data = encode_message(
            Message(
                Class.REQUEST,
                bytes(12),
                ((USERNAME, f"{self.b.local.ufrag}:x"), (PADDING, b"")),
            ),
            key=self.b.local.key,
        )
        message = decode_message(data)
        far = type(TO_A)(TransportAddress("2001:db8::1", 9999))
        for cut in range(len(data), 60, -4):
            for way in (TO_A, far):
                reply = self.b.answer_to(data[:cut], message, way)
                self.assertTrue(reply is None or len(reply) <= cut)
        self.assertIsNone(self.b.answer_to(data[:60], message, TO_A))

    def test_answered_once(self) -> None:
        """
        A check that was answered is none any more, until 2,048 others were.
        """
        first, *others = (self.check() for _ in range(1 + MAX_ANSWERED))
        for data in (first, *others):
            message = decode_message(data)
            self.assertTrue(self.b.read_check(data, message))
            self.assertIsNotNone(self.b.answer_to(data, message, TO_A))
            if data is not others[-1]:
                self.assertFalse(self.b.read_check(first, decode_message(first)))
        for data in others:
            self.assertFalse(self.b.read_check(data, decode_message(data)))
        self.assertTrue(self.b.read_check(first, decode_message(first)))
        self.assertEqual(len(self.b._answered._parts), 16 * 1024)

    def test_whose_answer(self) -> None:
        """
        The answer to a check says whose that was, so that it is found among many links,
        and no two checks have one transaction ID.
        """
        ids = {decode_message(self.check()).transaction_id for _ in range(100)}
        self.assertEqual(len(ids), 100)
        self.assertEqual({answer_recipient(each) for each in ids}, {self.a.local.ufrag})

    def test_old_checks_are_dropped(self) -> None:
        """
        A check waits 5 s for its answer, and only 128 wait.
        """
        old = decode_message(self.check()).transaction_id
        self.check(now=4.0)
        self.assertTrue(self.a.is_waiting_for(old))
        self.check(now=5.1)
        self.assertFalse(self.a.is_waiting_for(old))
        first = decode_message(self.check(now=5.2)).transaction_id
        for _ in range(128):
            self.check(now=5.2)
        self.assertFalse(self.a.is_waiting_for(first))
        self.assertEqual(len(self.a._outstanding), 128)

    def test_recipient_of_nothing(self) -> None:
        """
        What is no check is for nobody.
        """
        writers: list[Callable[[], bytes]] = [
            lambda: b"",
            lambda: b"\x00\x01" + bytes(18),
            lambda: encode_message(Message(Class.REQUEST, bytes(12))),
            lambda: encode_message(Message(Class.REQUEST, bytes(12), ((USERNAME, "alone"),))),
            lambda: encode_message(Message(Class.INDICATION, bytes(12), ((USERNAME, "a:b"),))),
        ]
        for write in writers:
            self.assertIsNone(check_recipient(write()))
        self.assertNotEqual(A, B)
