# -*- test-case-name: tests.network.path.test_checks -*-
"""
Connectivity checks of one link: messages, and which answer belongs to which
check (RFC 8445 §7).

Nothing here sends or times anything; what is not rightly signed is dropped.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass

from atmosphere.addresses import TransportAddress
from atmosphere.errors import DecodeError
from atmosphere.network.nat.credentials import Credentials
from atmosphere.network.stun.attributes import (
    ICE_CONTROLLED,
    ICE_CONTROLLING,
    PADDING,
    PRIORITY,
    USERNAME,
    XOR_MAPPED_ADDRESS,
)
from atmosphere.network.stun.integrity import verify_fingerprint, verify_integrity
from atmosphere.network.stun.message import (
    BINDING,
    TRANSACTION_ID_LENGTH,
    Class,
    Message,
    decode_message,
    encode_check,
    encode_check_error,
    encode_check_response,
)
from atmosphere.network.stun.values import ROLE_CONFLICT

from .datagram_size import FULL_SIZE
from .ways import DirectWay, Way

__all__ = ["Answer", "CheckConversation", "answer_recipient", "check_recipient"]

#: Longer checks are not answered: what one answers must stay small.
LONGEST_CHECK = 1500
MAX_OUTSTANDING = 128
OUTSTANDING_FOR = 5.0

#: Checks of the peer that are known again, and by how many bytes of their transaction IDs.
MAX_ANSWERED = 2048
PART = 8

#: With so many bytes of the sender's ufrag a transaction ID begins: of the answer they say
#: to which of a node's many links it belongs.
TAG_LENGTH = 6

#: What a relayed way has instead of a source address.
NOWHERE = TransportAddress("0.0.0.0", 0)


@dataclass(frozen=True, slots=True)
class _Outstanding:
    """
    A check that waits for its answer.
    """

    way: Way
    sent_at: float
    is_full: bool
    key: bytes
    size: int


@dataclass(frozen=True, slots=True)
class Answer:
    """
    A check was answered.

    @ivar way: the way by which the check went and the answer came.
    @ivar sent_at: when the check left.
    @ivar full_out: the check was a full-size one.
    @ivar full_in: and so was the answer.
    @ivar observed: where the peer saw the check come from; C{None} on a
        relayed way.
    @ivar size: of how many bytes the check was, if the answer was as long, else 0.
    """

    way: Way
    sent_at: float
    full_out: bool
    full_in: bool
    observed: TransportAddress | None
    size: int = 0


def answer_recipient(transaction_id: bytes) -> str:
    """
    Say which link awaits an answer, if any does.

    @return: its user name fragment.
    """
    return b64encode(transaction_id[:TAG_LENGTH]).decode()


def check_recipient(data: bytes) -> str | None:
    """
    Say to which link a check is addressed, so that the owner of many links
    finds the right one.

    @param data: a datagram that looks like STUN.
    @return: the receiver's user name fragment; C{None} if it is no check.
    """
    try:
        message = decode_message(data)
    except DecodeError:
        return None
    username = message.get(USERNAME)
    if message.message_class is not Class.REQUEST or username is None:
        return None
    recipient, colon, _ = username.partition(":")
    return recipient if colon else None


class _Answered:
    """
    The checks that were answered last, in 16 KiB: as a set they would take ten times that.
    """

    __slots__ = ("_next", "_parts")

    def __init__(self) -> None:
        self._parts = bytearray()
        self._next = 0

    def __contains__(self, transaction_id: bytes) -> bool:
        return transaction_id[-PART:] in self._parts

    def add(self, transaction_id: bytes) -> None:
        """
        Note one, in the place of the oldest.
        """
        self._parts[self._next : self._next + PART] = transaction_id[-PART:]
        self._next = (self._next + PART) % (MAX_ANSWERED * PART)


class CheckConversation:
    """
    The checks and answers of one link.

    @ivar local: our credentials.
    @ivar remote: the peer's, once it has told them.
    """

    def __init__(
        self, *, local: Credentials, is_controlling: bool, entropy: Callable[[int], bytes]
    ) -> None:
        """
        @param is_controlling: whether we dialled the link.
        """
        self.local = local
        self.remote: Credentials | None = None
        self._is_controlling = is_controlling
        self._entropy = entropy
        self._tie_breaker = int.from_bytes(entropy(8), "big")
        self._outstanding: dict[bytes, _Outstanding] = {}
        self._probes: dict[bytes, _Outstanding] = {}
        self._probed_at = float("-inf")
        self._answered = _Answered()
        self._tag = b64decode(local.ufrag)[:TAG_LENGTH]

    def is_waiting_for(self, transaction_id: bytes) -> bool:
        """
        Say whether a response with that transaction ID is ours.
        """
        return transaction_id in self._outstanding or transaction_id in self._probes

    def is_probe(self, transaction_id: bytes) -> bool:
        """
        Say whether a response with that transaction ID answers a probe.
        """
        return transaction_id in self._probes

    def new_probe(self, way: Way, now: float, *, priority: int) -> bytes:
        """
        Write a small check to an address that was guessed.

        The many of a burst are kept apart, and until L{forget_probes} or the last is old.
        """
        check = self.new_check(way, now, is_full=False, priority=priority)
        transaction_id = check[8:20]
        self._probes[transaction_id] = self._outstanding.pop(transaction_id)
        self._probed_at = now
        return check

    def forget_probes(self) -> None:
        """
        Wait for the answers to probes no longer.
        """
        self._probes.clear()

    def new_check(
        self, way: Way, now: float, *, is_full: bool, priority: int, size: int = FULL_SIZE
    ) -> bytes:
        """
        Write a check.

        @param size: of a full-size one, at least that; a multiple of 4.
        @param priority: of the peer-reflexive candidate that it would make.
        @raise ValueError: the peer's credentials are not yet known.
        """
        if self.remote is None:
            raise ValueError("no check without the peer's credentials")
        self._drop_old(now)
        transaction_id = self._tag + self._entropy(TRANSACTION_ID_LENGTH)[len(self._tag) :]
        key = self.remote.key
        self._outstanding[transaction_id] = _Outstanding(
            way, now, is_full, key, size if is_full else 0
        )
        return encode_check(
            transaction_id,
            username=f"{self.remote.ufrag}:{self.local.ufrag}",
            key=key,
            priority=priority,
            tie_breaker=self._tie_breaker,
            is_controlling=self._is_controlling,
            size=size if is_full else 0,
        )

    def _drop_old(self, now: float) -> None:
        """
        Let go of checks that will not be answered any more. They are in order.
        """
        if now - self._probed_at > OUTSTANDING_FOR:
            self._probes.clear()
        for transaction_id, each in list(self._outstanding.items()):
            is_old = now - each.sent_at > OUTSTANDING_FOR
            if not is_old and len(self._outstanding) < MAX_OUTSTANDING:
                break
            del self._outstanding[transaction_id]

    def read_check(self, data: bytes, message: Message) -> bool:
        """
        Say whether a message is a check of the peer to us, rightly signed.
        """
        username = message.get(USERNAME)
        if username is None or len(data) > LONGEST_CHECK or message.get(PRIORITY) is None:
            return False
        if message.unknown_required:
            return False
        recipient, _, sender = username.partition(":")
        if recipient != self.local.ufrag or message.transaction_id in self._answered:
            return False
        if self.remote is not None and sender != self.remote.ufrag:
            return False
        return verify_fingerprint(data) and verify_integrity(data, self.local.key)

    def answer_to(self, data: bytes, message: Message, way: Way) -> bytes | None:
        """
        Write the answer to what L{read_check} let pass. It lets it pass no more: each
        check is a transaction of its own, so what comes again was overheard.

        @return: never longer than the check; C{None} where it would be.
        """
        self._answered.add(message.transaction_id)
        theirs = ICE_CONTROLLING if self._is_controlling else ICE_CONTROLLED
        key = self.local.key
        if message.get(theirs) is not None:
            answer = encode_check_error(message.transaction_id, ROLE_CONFLICT, key)
        else:
            mapped = way.address if isinstance(way, DirectWay) else NOWHERE
            answer = encode_check_response(message.transaction_id, mapped, key)
            padding = message.get(PADDING)
            if padding is not None and len(data) >= len(answer) + 4:
                answer = encode_check_response(message.transaction_id, mapped, key, len(data))
        return answer if len(answer) <= len(data) else None

    def read_answer(self, data: bytes, message: Message, way: Way) -> Answer | None:
        """
        Find the check that a response answers.

        A response by another way, or not rightly signed, is as if it had not
        come: the check goes on waiting.
        """
        waiting = self._probes if self.is_probe(message.transaction_id) else self._outstanding
        check = waiting.get(message.transaction_id)
        if check is None or check.way != way or not verify_integrity(data, check.key):
            return None
        del waiting[message.transaction_id]
        if message.message_class is not Class.SUCCESS_RESPONSE or message.method != BINDING:
            return None
        observed = message.get(XOR_MAPPED_ADDRESS) if isinstance(way, DirectWay) else None
        is_full_in = check.is_full and len(data) >= FULL_SIZE
        size = check.size if len(data) == check.size else 0
        return Answer(way, check.sent_at, check.is_full, is_full_in, observed, size)
