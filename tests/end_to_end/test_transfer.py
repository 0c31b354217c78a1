"""
A long transfer on real sockets: a relay and two nodes on loopback, in one process.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet import reactor as global_reactor  # noqa: TID251, real sockets
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import LoopingCall
from twisted.trial.unittest import TestCase
from typing_extensions import override

from atmosphere.network.relay.limits import RelayConfig
from atmosphere.network.relay.service import RelayService
from atmosphere.node.config import NodeConfig
from atmosphere.node.service import NodeService
from atmosphere.node.store import NodeStore
from tests.node.transfer import Receiver, Sender

TOTAL = 50_000_000
STEP = 2_000_000
#: Bytes in each hundredth of a second while the path changes, lest all be sent before.
PACE = 20_000


class _Gate(DatagramProtocol):
    """
    Lets datagrams through to another protocol, unless it is shut.
    """

    noisy = False

    def __init__(self, inner: DatagramProtocol, reactor: GatedReactor) -> None:
        self._inner = inner
        self._reactor = reactor

    @override
    def startProtocol(self) -> None:
        """
        Give the other protocol our transport.
        """
        assert self.transport is not None
        self._inner.makeConnection(self.transport)

    @override
    def stopProtocol(self) -> None:
        """
        Stop the other protocol too.
        """
        self._inner.doStop()

    @override
    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """
        Hand on, or drop.
        """
        if not self._reactor.is_shut:
            self._inner.datagramReceived(datagram, addr)

    @override
    def connectionRefused(self) -> None:
        """
        Hand on.
        """
        self._inner.connectionRefused()


class GatedReactor:
    """
    The real reactor, but for UDP, which can be shut off.

    @ivar is_shut: whether no datagram comes in.
    """

    def __init__(self) -> None:
        self.is_shut = False

    def __getattr__(self, name: str) -> Any:
        return getattr(global_reactor, name)

    def listenUDP(
        self, port: int, protocol: DatagramProtocol, interface: str, size: int
    ) -> IListeningPort:
        """
        Listen, with a gate before the protocol.
        """
        gate = _Gate(protocol, self)
        listening: IListeningPort = self.__getattr__("listenUDP")(port, gate, interface, size)
        return listening


def until(condition: Callable[[], object]) -> Deferred[Any]:
    """
    Wait until something holds; look a hundred times a second.
    """
    loop: LoopingCall

    def look() -> None:
        if condition():
            loop.stop()

    loop = LoopingCall(look)
    return loop.start(0.01).addTimeout(25, global_reactor)


class TransferTests(TestCase):
    """
    The services that C{atmosphere relay} and C{atmosphere serve} run.
    """

    timeout = 60

    @override
    def setUp(self) -> None:
        """
        Start a relay and two nodes.
        """
        self.relay = RelayService(
            global_reactor,
            RelayConfig("127.0.0.1", port=0, stun_port=None),
            entropy=secrets.token_bytes,
            wall=time.time,  # noqa: TID251, as tap.py does
        )
        self.start(self.relay)
        self.url = f"ws://127.0.0.1:{self.relay.port}"
        self.gates: list[GatedReactor] = []
        self.here, self.there = self.node("portland"), self.node("seattle")

    def start(self, service: RelayService | NodeService) -> None:
        """
        Start a service, and stop it when the test is over.
        """
        service.privilegedStartService()
        service.startService()
        self.addCleanup(service.stopService)

    def node(self, name: str) -> NodeService:
        """
        Make and start a node.
        """
        config = NodeConfig(name, relays=(self.url,), interfaces=("127.0.0.1",))
        wall = time.time  # noqa: TID251, as tap.py does
        path = Path(self.mktemp()).absolute()
        store = NodeStore.create(path, config, wall=wall, entropy=secrets.token_bytes)
        self.addCleanup(store.close)
        gate = GatedReactor()
        self.gates.append(gate)
        service = NodeService(
            gate,
            store,
            config,
            entropy=secrets.token_bytes,
            wall=wall,
            random=random.random,
            has_control=False,
        )
        self.start(service)
        return service

    def shut(self, is_shut: bool) -> None:
        """
        Let no UDP in at either node, or let it in again.
        """
        for gate in self.gates:
            gate.is_shut = is_shut

    def test_relayed_direct_relayed_direct(self) -> Deferred[None]:
        """
        50 MB over one stream are whole after the path has changed three times.
        """
        return ensureDeferred(self.relayed_direct_relayed_direct())

    async def relayed_direct_relayed_direct(self) -> None:
        """
        Do what the test says.
        """
        self.shut(True)
        made = await self.here.invite(hours=1, uses=1, mesh_name=None)
        await self.there.join(made["code"])
        (member,) = self.here.mesh.others()
        link = await self.here.links.connect(member.node)
        assert link.path is not None
        self.assertEqual(link.path.kind, "relayed")

        sender, receiver = Sender(TOTAL, allowed=0), Receiver()
        pacing = LoopingCall(sender.allow, PACE)
        pacing.start(0.01)
        self.addCleanup(pacing.stop)
        self.there.links.services["test.sink"] = lambda link: receiver
        link.open_stream("test.sink", sender)

        def has_received(count: int) -> bool:
            return receiver.received > count

        def has_path(kind: str) -> bool:
            path = link.path
            return path is not None and path.kind == kind

        for kind in ("direct", "relayed", "direct"):
            await until(partial(has_received, receiver.received + STEP))
            self.shut(kind == "relayed")
            await until(partial(has_path, kind))
            self.assertLess(receiver.received, TOTAL, f"over before the path was {kind}")
        sender.allow(TOTAL)
        await until(lambda: receiver.reasons and sender.reasons)
        self.assertEqual((sender.sent, receiver.received), (TOTAL, TOTAL))
        self.assertEqual(receiver.digest.hexdigest(), sender.digest.hexdigest())
        for reasons in (sender.reasons, receiver.reasons):
            self.assertEqual([type(each) for each in reasons], [ConnectionDone])
