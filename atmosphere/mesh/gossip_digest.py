# -*- test-case-name: tests.mesh.test_gossip -*-
"""
What a roster looks like in short: entries of digests, and hashes over buckets of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from atmosphere.certificates import SERIAL_LENGTH
from atmosphere.errors import DecodeError, IdentityError
from atmosphere.identity import NodeID
from atmosphere.statements import MAXIMUM_TIME

from .framing import MAXIMUM_MESSAGE, encode_message
from .roster import Member, Roster

__all__ = ["Entry", "Index", "decode_entry"]

BUCKETS = 256
HASH_LENGTH = 8
MAXIMUM_SEQUENCE = 2**63 - 1
#: More than any entry takes in a message.
_ENTRY_LENGTH = 80
ENTRIES_PER_MESSAGE = (MAXIMUM_MESSAGE - 512) // _ENTRY_LENGTH


@dataclass(frozen=True, slots=True)
class Entry:
    """
    What one side holds of a member.

    @ivar sequence: of its record; 0 for none.
    """

    node: NodeID
    not_before: int
    not_after: int
    serial: bytes
    sequence: int

    @classmethod
    def of(cls, member: Member) -> Entry:
        """
        Say what we hold of a member.
        """
        known = member.membership
        return cls(
            known.node,
            int(known.not_before),
            int(known.not_after),
            known.serial,
            0 if member.record is None else member.record.sequence,
        )

    @property
    def age(self) -> tuple[int, int, bytes]:
        """
        What orders a node's certificates, the newest last.
        """
        return self.not_before, self.not_after, self.serial

    def packed(self) -> bytes:
        """
        Write what is hashed.
        """
        numbers = (self.not_before, self.not_after)
        return b"".join(
            [
                self.node.raw,
                *(number.to_bytes(8, "big") for number in numbers),
                self.serial,
                self.sequence.to_bytes(8, "big"),
            ]
        )

    def listed(self) -> list[object]:
        """
        Write what stands in a digest.
        """
        return [self.node.raw, self.not_before, self.not_after, self.serial, self.sequence]


def decode_entry(item: object) -> Entry:
    """
    Read an entry of a digest.

    @raise DecodeError: it is none.
    """
    match item:
        case [bytes() as raw, int() as before, int() as after, bytes() as serial, int() as number]:
            are_times = 0 <= before <= MAXIMUM_TIME and 0 <= after <= MAXIMUM_TIME
            if are_times and 0 <= number <= MAXIMUM_SEQUENCE and len(serial) == SERIAL_LENGTH:
                return Entry(_node(raw), before, after, serial, number)
        case _:
            pass
    raise DecodeError("gossip: an entry of a digest cannot be")


def _node(raw: bytes) -> NodeID:
    """
    Read a node ID.

    @raise DecodeError: it is none.
    """
    try:
        return NodeID(raw)
    except IdentityError as error:
        raise DecodeError(f"gossip: {error}") from None


class Index:
    """
    A roster in short, worked out again only when the roster has changed.
    """

    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self._state: tuple[int, int] | None = None
        self._buckets: dict[int, list[Entry]] = {}
        self._summary = b""

    def _refresh(self, wall: float) -> None:
        """
        Sort what the roster holds into buckets, and hash them.
        """
        state = (self._roster.version, int(wall // 60))
        if state == self._state:
            return
        buckets: dict[int, list[Entry]] = {}
        for member in self._roster:
            if self._roster.is_current(member, wall):
                buckets.setdefault(member.node.raw[0], []).append(Entry.of(member))
        hashes = []
        for number in range(BUCKETS):
            entries = sorted(buckets.get(number, ()), key=lambda entry: entry.node)
            data = b"".join(entry.packed() for entry in entries)
            hashes.append(hashlib.sha256(data).digest()[:HASH_LENGTH])
        self._state, self._buckets, self._summary = state, buckets, b"".join(hashes)

    def summary(self, wall: float) -> bytes:
        """
        Write one hash for each bucket.
        """
        self._refresh(wall)
        return self._summary

    def differing(self, summary: bytes, wall: float) -> list[int]:
        """
        Say in which buckets a neighbour holds something else.
        """
        ours = self.summary(wall)
        return [
            number
            for number in range(BUCKETS)
            if summary[number * HASH_LENGTH :][:HASH_LENGTH]
            != ours[number * HASH_LENGTH :][:HASH_LENGTH]
        ]

    def digests(self, buckets: Iterable[int], wall: float, *, is_answer: bool) -> list[bytes]:
        """
        List buckets, in messages as full as they may be.

        A bucket with more members than a message holds is spread over several.
        """
        self._refresh(wall)
        written: list[bytes] = []
        numbers: list[int] = []
        listed: list[list[object]] = []

        def close() -> None:
            """
            Write a message of what was gathered.
            """
            message: dict[str, object] = {
                "digest": list(listed),
                "buckets": bytes(numbers),
                "answer": is_answer,
            }
            written.append(encode_message(message))
            numbers.clear()
            listed.clear()

        for number in buckets:
            entries = self._buckets.get(number, [])
            if numbers and len(listed) + len(entries) > ENTRIES_PER_MESSAGE:
                close()
            numbers.append(number)
            for entry in entries:
                if len(listed) == ENTRIES_PER_MESSAGE:
                    close()
                    numbers.append(number)
                listed.append(entry.listed())
        if numbers:
            close()
        return written
