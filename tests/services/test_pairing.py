"""
Tests for L{atmosphere.services.pairing}.
"""

from __future__ import annotations

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from atmosphere.services.pairing import Half, make_pair

from .test_framed_stream import Below


class PairTests(SynchronousTestCase):
    """
    Two halves.
    """

    def pair(self) -> tuple[Half, Below, Half, Below]:
        """
        Make two that are connected.
        """
        one, two = make_pair()
        a, b = Below(), Below()
        one.makeConnection(a)
        self.assertEqual(a.producerState, "paused")
        two.makeConnection(b)
        self.assertEqual((a.producerState, b.producerState), ("producing", "producing"))
        return one, a, two, b

    def test_bytes_and_pauses(self) -> None:
        """
        Bytes go through, and a transport that is full pauses the other one.
        """
        one, a, two, b = self.pair()
        one.dataReceived(b"there")
        two.dataReceived(b"back")
        self.assertEqual((b.value(), a.value()), (b"there", b"back"))
        assert a.producer is not None
        a.producer.pauseProducing()
        self.assertEqual((a.producerState, b.producerState), ("producing", "paused"))

    def test_loss(self) -> None:
        """
        A clean end closes the other side, a break aborts it.
        """
        one, _, _, b = self.pair()
        one.connectionLost(Failure(ConnectionDone()))
        self.assertTrue(b.disconnecting)
        self.assertFalse(b.is_aborted)
        one, _, _, b = self.pair()
        one.connectionLost(Failure(ConnectionLost()))
        self.assertTrue(b.is_aborted)

    def test_lost_before(self) -> None:
        """
        A half whose other one is gone already is given up.
        """
        one, two = make_pair()
        a, b = Below(), Below()
        one.makeConnection(a)
        one.connectionLost(Failure(ConnectionDone()))
        two.makeConnection(b)
        self.assertTrue(b.is_aborted)
