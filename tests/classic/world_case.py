"""
Two homes, each behind a NAT, an internet with STUN servers and a relay in it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHostnameResolver
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.classic.relay import RelayServer
from atmosphere.classic.stun import STUN_SERVERS
from atmosphere.classic.world import World
from atmosphere.network.stun.server import BindingServer
from atmosphere.testing import (
    PORT_RESTRICTED,
    Host,
    NatBehaviour,
    SimulatedNetwork,
    seeded_entropy,
    seeded_random,
    wall_clock,
)

__all__ = ["RELAY", "WorldCase"]

T = TypeVar("T")

RELAY = "ws://relay:8080"


class SlowNames:
    """
    Looks names up a second later.
    """

    def __init__(self, clock: Clock, names: IHostnameResolver) -> None:
        self._clock = clock
        self._names = names

    def resolveHostName(self, *details: Any, **more: Any) -> None:  # noqa: N802
        """
        Begin later.
        """
        self._clock.callLater(1, self._names.resolveHostName, *details, **more)


class WorldCase(SynchronousTestCase):
    """
    A simulated network in which the original's names are used.

    @ivar network: the network.
    @ivar closers: what to do before it is checked that nothing is left.
    """

    @override
    def setUp(self) -> None:
        self.clock = Clock()
        self.network = SimulatedNetwork(self.clock, seed=11)
        self.relay_host = self.network.host("relay", "8.8.100.1")
        self.worlds: list[World] = []
        self.closers: list[Callable[[], Any]] = []
        names = ["stun1", "stun2", "stun3"]
        for number, name in enumerate(names):
            host = self.network.host(name, f"8.8.100.{number + 11}")
            host.listenUDP(3478, BindingServer(host))
        before = list(STUN_SERVERS)
        STUN_SERVERS[:] = [(name, 3478) for name in names]
        self.addCleanup(STUN_SERVERS.__setitem__, slice(None), before)

    def world(self, host: Host, **environment: str) -> World:
        """
        Make the world as a program on a host sees it.
        """
        addresses = list(host.kernel.addresses)
        world = World(
            host,
            wall=wall_clock(self.clock),
            entropy=seeded_entropy(host.name),
            random=seeded_random(host.name),
            addresses=lambda: [*addresses, "127.0.0.1"],
            routes=lambda: {False: addresses[0]},
            environment=environment,
        )
        self.worlds.append(world)
        return world

    def home(
        self, number: int, behaviour: NatBehaviour = PORT_RESTRICTED, **environment: str
    ) -> World:
        """
        Make a host behind a NAT of its own.
        """
        nat = self.network.nat(f"nat{number}", f"8.8.{number}.1", behaviour)
        host = self.network.host(f"home{number}", f"192.168.1.{number + 1}", on=nat.lan)
        return self.world(host, **environment)

    def delay_names(self, world: World) -> None:
        """
        Have names looked up slowly.
        """
        world.reactor.installNameResolver(SlowNames(self.clock, world.reactor.nameResolver))

    def serve(self) -> RelayServer:
        """
        Start the relay.
        """
        server = RelayServer(world=self.world(self.relay_host))
        self.result(server.start())
        self.closers.append(server.stop)
        return server

    def result(self, waiting: Deferred[T]) -> T:
        """
        Let time pass until there is a result.
        """
        self.network.run_until(waiting)
        return self.successResultOf(waiting)

    def results(self, *waiting: Deferred[T]) -> list[T]:
        """
        Let time pass until there are all results.
        """
        for each in waiting:
            self.network.run_until(each)
        return [self.successResultOf(each) for each in waiting]

    @override
    def tearDown(self) -> None:
        """
        Close everything; nothing may be left.
        """
        for close in reversed(self.closers):
            done = close()
            if isinstance(done, Deferred):
                self.result(done)
        self.network.advance(3)
        for world in self.worlds:
            self.assertEqual(world.session.get("ports", {}), {})
            self.assertEqual(world.reactor.getDelayedCalls(), [])
