# -*- test-case-name: tests.mesh.test_knock -*-
"""
Knocks: what an issuer sends to a joiner whose answer it was given.

A knock opens the issuer's NAT for what the joiner sends, and tells the joiner
that it is time to dial, and from where it was sent. Nothing answers it. The
format and the limits stand in C{docs/protocols/join.md}, I{Without a relay}.
"""

from __future__ import annotations

import base64
import hashlib
import heapq
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from atmosphere.addresses import TransportAddress
from atmosphere.errors import DecodeError
from atmosphere.identity import NodeID, Secret
from atmosphere.network.stun.attributes import USERNAME
from atmosphere.network.stun.integrity import short_term_key, verify_fingerprint, verify_integrity
from atmosphere.network.stun.message import (
    BINDING,
    TRANSACTION_ID_LENGTH,
    Class,
    Message,
    decode_message,
    encode_message,
)
from atmosphere.rate import TokenBucket

__all__ = ["SCHEDULE", "KnockCredentials", "Knocking", "encode_knock", "is_knock"]

DOMAIN = b"atmosphere join knock v1\0"

#: Seconds after the beginning at which each address gets a knock.
SCHEDULE = (0.0, 0.2, 0.6, 1.4, 3.0, 6.2, 12.6, 27.6, 57.6)

#: Seconds between the knocks to two addresses.
PACE = 0.05

#: No knock is longer.
LONGEST = 100

#: The share of the process's budget of checks that is left for links.
RESERVE = 0.2

_PREFIX = "knock:"


@dataclass(frozen=True, slots=True)
class KnockCredentials:
    """
    What knocks for one joiner, of one code, are known by.

    @ivar username: of all of them.
    @ivar key: of MESSAGE-INTEGRITY.
    """

    username: str
    key: bytes = field(repr=False)

    @classmethod
    def of(cls, key: Secret, issuer: NodeID, joiner: NodeID) -> KnockCredentials:
        """
        Derive them.

        @param key: L{atmosphere.mesh.invitation.invitation_key}.
        """
        both = hmac.digest(key.reveal(), DOMAIN + issuer.raw + joiner.raw, hashlib.sha256)
        name, password = (base64.b64encode(part).decode() for part in (both[:6], both[6:24]))
        return cls(_PREFIX + name, short_term_key(password))


def encode_knock(credentials: KnockCredentials, transaction_id: bytes) -> bytes:
    """
    Write a knock.
    """
    message = Message(Class.REQUEST, transaction_id, ((USERNAME, credentials.username),))
    return encode_message(message, key=credentials.key, fingerprint=True)


def is_knock(data: bytes, credentials: KnockCredentials) -> bool:
    """
    Say whether a datagram that looks like STUN is a knock, rightly signed.
    """
    if len(data) > LONGEST:
        return False
    try:
        message = decode_message(data)
    except DecodeError:
        return False
    return (
        message.message_class is Class.REQUEST
        and message.method == BINDING
        and not message.unknown_required
        and message.get(USERNAME) == credentials.username
        and verify_fingerprint(data)
        and verify_integrity(data, credentials.key)
    )


class Knocking:
    """
    Knocks at the addresses of one joiner: an engine, see L{atmosphere.engine}.

    @ivar sent: how many knocks were sent.
    """

    def __init__(
        self,
        credentials: KnockCredentials,
        addresses: Sequence[TransportAddress],
        *,
        may_send: Callable[[TransportAddress], bool],
        budget: TokenBucket,
        entropy: Callable[[int], bytes],
        now: float,
    ) -> None:
        """
        @param may_send: the filter for a peer's addresses, asked before every knock.
        @param budget: how many checks the process may send.
        """
        self.sent = 0
        self._credentials = credentials
        self._may_send = may_send
        self._budget = budget
        self._least_level = 1 + RESERVE * (budget.burst - 1)
        self._entropy = entropy
        self._due = [
            (now + delay + place * PACE, place, address)
            for place, address in enumerate(dict.fromkeys(addresses))
            for delay in SCHEDULE
        ]
        heapq.heapify(self._due)
        self._wait_until = now

    def receive_datagram(self, data: bytes, path: TransportAddress, now: float) -> None:
        """
        Do nothing: knocks are not answered.
        """

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, TransportAddress]]:
        """
        Hand out the knocks that are due.
        """
        ready: list[tuple[bytes, TransportAddress]] = []
        while self._due and self._due[0][0] <= now:
            if not self._may_send(self._due[0][2]):
                heapq.heappop(self._due)
                continue
            if self._budget.level(now) < self._least_level or not self._budget.take(1, now):
                self._wait_until = now + max(PACE, self._budget.delay(self._least_level, now))
                break
            address = heapq.heappop(self._due)[2]
            knock = encode_knock(self._credentials, self._entropy(TRANSACTION_ID_LENGTH))
            ready.append((knock, address))
        self.sent += len(ready)
        return ready

    def get_timer(self) -> float | None:
        """
        Say when the next knock is due; C{None} after the last.
        """
        return max(self._due[0][0], self._wait_until) if self._due else None

    def handle_timer(self, now: float) -> None:
        """
        Do nothing: what is due is handed out when it is asked for.
        """

    def next_event(self) -> None:
        """
        Have nothing to tell.
        """
