"""
The suites for ports and transports, on the real reactor and on a simulated host.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase
from typing_extensions import override

from atmosphere.testing import SimulatedNetwork

from .contract import Contract
from .tcp_contract import TCPContract
from .udp_contract import UDPContract


class Real(Contract, TestCase):
    """
    Runs a suite on the real reactor, on loopback.
    """

    timeout = 10

    @override
    def setUp(self) -> None:
        """
        Take the reactor that the tests run on.
        """
        from twisted.internet import reactor  # noqa: TID251

        self.reactor = reactor

    @override
    def complete(self, coroutine: Coroutine[Any, Any, None]) -> Deferred[None]:
        """
        Run a test to its end.
        """
        return Deferred.fromCoroutine(coroutine)


class Simulated(Contract, SynchronousTestCase):
    """
    Runs a suite on a simulated host.
    """

    @override
    def setUp(self) -> None:
        """
        Make a host.
        """
        self.network = SimulatedNetwork(Clock(), 1)
        self.reactor = self.network.host("alice", "192.0.2.1", "2001:db8::1")

    @override
    def complete(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """
        Run a test to its end.
        """
        done = Deferred.fromCoroutine(coroutine)
        self.network.run_until(done, 30)
        self.successResultOf(done)
        self.network.advance(0)


class RealUDPTests(UDPContract, Real):
    """
    UDP ports of the real reactor.
    """


class SimulatedUDPTests(UDPContract, Simulated):
    """
    UDP ports of a simulated host.
    """


class RealTCPTests(TCPContract, Real):
    """
    TCP ports and transports of the real reactor.
    """


class SimulatedTCPTests(TCPContract, Simulated):
    """
    TCP ports and transports of a simulated host.
    """
