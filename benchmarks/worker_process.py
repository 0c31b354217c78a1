"""
The process behind L{benchmarks.worker.Worker}.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    TCP4ClientEndpoint,
    TCP4ServerEndpoint,
    connectProtocol,
)
from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.stdio import StandardIO
from twisted.protocols.basic import LineOnlyReceiver
from typing_extensions import override

from atmosphere.network.quic.connection import Link
from atmosphere.node.config import NodeConfig
from atmosphere.node.links import ServiceFactory
from atmosphere.node.service import NodeService
from atmosphere.node.store import NodeStore
from atmosphere.services.local_streams import LocalStreams
from benchmarks.traffic import Asker, Echo, Idle, Sink, Source, Stalled

SERVED: dict[str, type[Protocol]] = {"echo": Echo, "sink": Sink, "stalled": Stalled}


def _serve(make: type[Protocol]) -> ServiceFactory:
    """
    Make a service of links.
    """
    return lambda link: make()


class Commands:
    """
    What the process can do; each method is a verb.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._node: NodeService
        self._forwarding: Deferred[Any]
        self._held: list[Any] = []

    async def start(
        self, name: str, state: str, relay: str, policy: str, has_control: bool
    ) -> dict[str, Any]:
        """
        Start a node with a new state directory.
        """
        config = NodeConfig(
            name,
            relays=(relay,),
            interfaces=("127.0.0.1",),
            public_stun=False,
            allow_loopback=True,
            path_policy=policy,
        )
        wall, entropy = time.time, secrets.token_bytes  # noqa: TID251  # a program
        store = NodeStore.create(Path(state), config, wall=wall, entropy=entropy)
        self._node = NodeService(
            self._reactor,
            store,
            replace(config, udp_port=0),
            entropy=entropy,
            wall=wall,
            random=random.random,
            has_control=has_control,
        )
        for service, make in SERVED.items():
            self._node.links.services[f"bench.{service}"] = _serve(make)
        idle = Factory.forProtocol(Idle)
        idle.noisy = False
        self._node.listen("bench.idle", idle)
        self._node.privilegedStartService()
        self._node.startService()
        await self._until(lambda: any(c.is_welcomed for c in self._node.relays.clients.values()))
        return {}

    async def _until(self, condition: Any) -> None:
        """
        Wait until something holds, 20 s at most.
        """
        for _ in range(2000):
            if condition():
                return
            await task.deferLater(self._reactor, 0.01)
        raise RuntimeError("waited in vain")

    async def invite(self) -> dict[str, Any]:
        """
        Found a mesh and make a code.
        """
        return await self._node.invite(hours=1, uses=1, mesh_name=None)

    async def join(self, code: str) -> dict[str, Any]:
        """
        Join by a code.
        """
        return await self._node.join(code)

    def _link(self) -> Link | None:
        """
        Find the link to the one peer.
        """
        others = self._node.mesh.others()
        return self._node.links.link_to(others[0].node) if others else None

    async def linked(self, kind: str) -> dict[str, Any]:
        """
        Wait for a link whose data takes a path of some kind.
        """

        def is_there() -> bool:
            """
            Look.
            """
            link = self._link()
            return link is not None and link.path is not None and link.path.kind == kind

        await self._until(is_there)
        return {}

    async def datagram_size(self) -> dict[str, Any]:
        """
        Say how large the datagrams of the current link may be.
        """
        link = self._link()
        return {"size": 0 if link is None else link.core.quic.datagram_size}

    async def cpu(self) -> dict[str, Any]:
        """
        Say how much processor time was used.
        """
        return {"seconds": time.process_time()}

    async def listen(self, service: str) -> dict[str, Any]:
        """
        Serve over TCP what is served on links.
        """
        factory = Factory.forProtocol(SERVED[service])
        endpoint = TCP4ServerEndpoint(self._reactor, 0, interface="127.0.0.1")
        return {"port": (await endpoint.listen(factory)).getHost().port}

    async def _open(
        self, service: str, protocol: IProtocol, port: int | None, state: str | None = None
    ) -> None:
        """
        Open a stream of the link, or if a port is given a TCP connection to it, or
        if a state directory is given a stream through the node that runs on it.
        """
        if state is not None:
            streams = LocalStreams(self._reactor, Path(state))
            factory = Factory.forProtocol(lambda: protocol)  # type: ignore[type-var]
            await streams.open("seattle", f"bench.{service}", factory)
            return
        if port is not None:
            endpoint = TCP4ClientEndpoint(self._reactor, "127.0.0.1", port)
            await connectProtocol(endpoint, protocol)
            protocol.transport.setTcpNoDelay(True)  # type: ignore[attr-defined]
            return
        link = self._link()
        if link is None:
            raise RuntimeError("there is no link")
        await link.open_stream(f"bench.{service}", protocol).when_accepted()

    async def send(
        self, total: int, port: int | None = None, state: str | None = None
    ) -> dict[str, Any]:
        """
        Send bytes as fast as they are taken, until the reader has said that it has all.
        """
        source = Source(total)
        began = time.perf_counter()
        await self._open("sink", source, port, state)
        await source.done
        return {"seconds": time.perf_counter() - began}

    async def expose(self, port: int) -> dict[str, Any]:
        """
        Let all members reach a TCP port of loopback, as the service C{forwarded}.
        """
        names = [member.name for member in self._node.mesh.others()]
        target = f"tcp:127.0.0.1:{port}"
        self._node.expose(service="forwarded", target=target, to=names, keep=False)
        return {}

    async def forward(self) -> dict[str, Any]:
        """
        Lead a TCP port of loopback to the peer's service C{forwarded}.

        @return: the port.
        """
        told: list[dict[str, Any]] = []
        peer = self._node.mesh.others()[0].name
        self._forwarding = self._node.forward(
            listen="127.0.0.1:0", peer=peer, service="forwarded", keep=False, emit=told.append
        )
        return {"port": int(told[0]["listen"].rpartition(":")[2])}

    async def forwarded(self) -> dict[str, Any]:
        """
        Count the forwarded connections that are open.
        """
        listed = self._node.service_list()
        return {"open": sum(each["open"] for each in listed["exposed"] + listed["forwards"])}

    async def hold(self, count: int, port: int) -> dict[str, Any]:
        """
        Open TCP connections, exchange a few bytes on each, and keep them open.
        """
        for _ in range(count):
            asker = Asker(100, 2, time.perf_counter, stays=True)
            await self._open("echo", asker, port)
            self._held.append(asker)
            await asker.done
        return {}

    async def push(self, total: int) -> dict[str, Any]:
        """
        Push at a reader that never reads, for a second.
        """
        source = Source(total)
        await self._open("stalled", source, None)
        await task.deferLater(self._reactor, 1.0)
        source.transport.abortConnection()
        return {"written": source.written}

    async def ask(self, size: int, rounds: int, port: int | None = None) -> dict[str, Any]:
        """
        Ask and be answered, one after the other.
        """
        asker = Asker(size, rounds, time.perf_counter)
        await self._open("echo", asker, port)
        return {"seconds": await asker.done}

    async def first_byte(self) -> dict[str, Any]:
        """
        Make a new link through the relay; say after how long the first answer came.
        """
        links, peer = self._node.links, self._node.mesh.others()[0].node
        began = time.perf_counter()
        link = await links.endpoint.dial(peer, links.ways_to(peer), is_early=True)
        asker = Asker(1, 1, time.perf_counter)
        link.open_stream("bench.echo", asker)
        await asker.done
        return {"seconds": time.perf_counter() - began}

    async def open_streams(self, count: int) -> dict[str, Any]:
        """
        Open streams on the link by the peer's name, one after the other, and close each.
        """
        name = self._node.mesh.others()[0].name
        factory = Factory.forProtocol(Idle)
        factory.noisy = False
        began = time.perf_counter()
        for _ in range(count):
            protocol = await self._node.open(name, "bench.idle", factory)
            protocol.transport.loseConnection()  # type: ignore[attr-defined]
        return {"seconds": time.perf_counter() - began}

    async def make_links(self, count: int) -> dict[str, Any]:
        """
        Make links, one after the other, and close each.
        """
        links, peer = self._node.links, self._node.mesh.others()[0].node
        ways = links.ways_to(peer)
        began = time.perf_counter()
        for _ in range(count):
            link = await links.endpoint.dial(peer, ways)
            link.close("measured")
        return {"seconds": time.perf_counter() - began}


class Conversation(LineOnlyReceiver):
    """
    Reads verbs and writes results.
    """

    delimiter = b"\n"

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._commands = Commands(reactor)

    @override
    def lineReceived(self, line: bytes) -> None:
        """
        Do what is asked for.
        """
        Deferred.fromCoroutine(self._do(json.loads(line)))

    async def _do(self, arguments: dict[str, Any]) -> None:
        """
        Do it, and say what came of it.
        """
        answer: dict[str, Any]
        try:
            answer = await getattr(self._commands, arguments.pop("do"))(**arguments)
        except Exception as error:  # it is told to the parent
            answer = {"error": f"{type(error).__name__}: {error}"}
        self.sendLine(json.dumps(answer).encode())

    @override
    def connectionLost(self, reason: object = None) -> None:
        """
        The benchmark has ended.
        """
        os._exit(0)


def main(reactor: Any) -> Deferred[None]:
    """
    Run under C{task.react}, until standard input ends.
    """
    StandardIO(Conversation(reactor))
    return Deferred()


if __name__ == "__main__":
    task.react(main)
