# -*- test-case-name: tests.network.ice.test_transactions -*-
"""
Checks that wait for their answers: when each is sent again, and when it has failed
(RFC 8489 §6.2.1, RFC 8445 §14.3).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from atmosphere.network.stun.transaction import RC, RM

from .pairs import Pair

__all__ = ["Transaction", "Transactions"]

#: More than all checks that can be under way.
MAX_OUTSTANDING = 256


@dataclass(slots=True)
class Transaction:
    """
    One check of a pair.

    @ivar transaction_id: 12 bytes.
    @ivar pair: what is checked.
    @ivar data: the request, as it is sent each time.
    @ivar key: of MESSAGE-INTEGRITY, of the request and of its response.
    @ivar is_controlling: the role that it states.
    @ivar is_nominating: it has USE-CANDIDATE.
    @ivar sent_at: when it left first.
    @ivar rto: the first pause, in seconds.
    @ivar due: when it is sent again, or has failed.
    @ivar sends: how often it was sent.
    @ivar is_single: it is sent once, and waited for until C{due}: for consent.
    @ivar is_cancelled: it is not sent again, though its answer still counts.
    """

    transaction_id: bytes
    pair: Pair
    data: bytes
    key: bytes
    is_controlling: bool
    is_nominating: bool
    sent_at: float
    rto: float
    due: float = field(default=0.0)
    sends: int = field(default=1)
    is_single: bool = field(default=False)
    is_cancelled: bool = field(default=False)

    def __post_init__(self) -> None:
        """
        Set the first pause.
        """
        self.due = self.sent_at + self.rto


class Transactions:
    """
    All checks of one agent that wait.
    """

    def __init__(self) -> None:
        self._waiting: dict[bytes, Transaction] = {}

    def __iter__(self) -> Iterator[Transaction]:
        return iter(list(self._waiting.values()))

    def add(self, transaction: Transaction) -> None:
        """
        Wait for the answer to a check that leaves now.
        """
        if len(self._waiting) >= MAX_OUTSTANDING:
            del self._waiting[next(iter(self._waiting))]
        self._waiting[transaction.transaction_id] = transaction

    def get(self, transaction_id: bytes) -> Transaction | None:
        """
        Find what a response belongs to.
        """
        return self._waiting.get(transaction_id)

    def end(self, transaction: Transaction) -> None:
        """
        Wait no longer.
        """
        self._waiting.pop(transaction.transaction_id, None)

    def cancel(self, pair: Pair) -> None:
        """
        Send no check of a pair again; answers to those that left still count.
        """
        for each in self._waiting.values():
            if each.pair is pair:
                each.is_cancelled = True

    def next_time(self) -> float | None:
        """
        Say when something is due.
        """
        return min((each.due for each in self._waiting.values()), default=None)

    def advance(self, now: float) -> tuple[list[Transaction], list[Transaction]]:
        """
        See what is due.

        @return: what is to be sent again, and what has failed.
        """
        again, failed = [], []
        for each in list(self._waiting.values()):
            if each.due > now:
                continue
            if each.is_single or each.sends >= RC:
                self.end(each)
                failed.append(each)
                continue
            each.sends += 1
            factor = RM if each.sends == RC else 2 ** (each.sends - 1)
            each.due = now + each.rto * factor
            if not each.is_cancelled:
                again.append(each)
        return again, failed
