"""
Tests of L{atmosphere.network.ice.transactions}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.addresses import TransportAddress
from atmosphere.network.ice.candidates import host_candidate
from atmosphere.network.ice.pairs import Pair
from atmosphere.network.ice.transactions import MAX_OUTSTANDING, Transaction, Transactions

ADDRESS = TransportAddress("10.0.0.1", 5000)
PAIR = Pair(host_candidate(ADDRESS, 1), host_candidate(ADDRESS, 1), (ADDRESS, ADDRESS))


def transaction(number: int = 0, *, is_single: bool = False, rto: float = 0.5) -> Transaction:
    """
    Make a check that leaves at 0.
    """
    identity = number.to_bytes(12, "big")
    return Transaction(identity, PAIR, b"", b"", True, False, 0.0, rto, is_single=is_single)


class TransactionTests(SynchronousTestCase):
    """
    When a check is sent again, and when it has failed.
    """

    def run_out(self, transactions: Transactions) -> tuple[list[float], list[float]]:
        """
        Let time pass until nothing waits.

        @return: when something was sent again, and when something failed.
        """
        sent: list[float] = []
        failed: list[float] = []
        while (now := transactions.next_time()) is not None:
            again, over = transactions.advance(now)
            sent += [now] * len(again)
            failed += [now] * len(over)
        return sent, failed

    def test_schedule(self) -> None:
        """
        Sent seven times in all, as RFC 8489 §6.2.1 has it, and failed after 39.5 s.
        """
        transactions = Transactions()
        transactions.add(transaction())
        self.assertEqual(transactions.advance(0.4), ([], []))
        self.assertEqual(self.run_out(transactions), ([0.5, 1.5, 3.5, 7.5, 15.5, 31.5], [39.5]))

    def test_single(self) -> None:
        """
        For consent a request is sent once, and waited for as long as it is said.
        """
        transactions = Transactions()
        transactions.add(transaction(is_single=True, rto=30.0))
        self.assertEqual(self.run_out(transactions), ([], [30.0]))

    def test_cancelled(self) -> None:
        """
        What was cancelled is not sent again, and still waited for.
        """
        transactions = Transactions()
        one = transaction()
        transactions.add(one)
        transactions.cancel(PAIR)
        self.assertIs(transactions.get(one.transaction_id), one)
        self.assertEqual(self.run_out(transactions), ([], [39.5]))
        self.assertIsNone(transactions.get(one.transaction_id))

    def test_bounded(self) -> None:
        """
        The oldest gives way when too many wait.
        """
        transactions = Transactions()
        for number in range(MAX_OUTSTANDING + 3):
            transactions.add(transaction(number))
        self.assertEqual(len(list(transactions)), MAX_OUTSTANDING)
        self.assertIsNone(transactions.get(bytes(12)))
