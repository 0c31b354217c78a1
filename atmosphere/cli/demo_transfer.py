# -*- test-case-name: tests.cli.test_demo -*-
"""
The transfer that the demo shows: one stream, data both ways, checksums.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from typing_extensions import override

from atmosphere.errors import LinkError
from atmosphere.node.pinging import path_of
from atmosphere.node.service import NodeService

__all__ = ["DemoTransfer", "direct_path", "when"]

SERVICE = "demo"
LENGTH = 4_000_000
TIMEOUT = 10.0


class _Counted(Protocol):
    """
    Takes bytes until as many have come as were asked for.
    """

    def __init__(self) -> None:
        self._wanted = 0
        self._hash = hashlib.sha256()
        self._done: Deferred[str] | None = None
        self._lost: Failure | None = None

    def expect(self, length: int) -> Deferred[str]:
        """
        Wait for bytes.

        @return: fires with the SHA-256 of the next C{length} bytes, in hexadecimal.
        """
        self._wanted, self._hash = length, hashlib.sha256()
        self._done = Deferred()
        if self._lost is not None:
            self._done.errback(self._lost)
        return self._done

    @override
    def dataReceived(self, data: bytes) -> None:
        """
        Count and hash.
        """
        self._hash.update(data)
        self._wanted -= len(data)
        if self._wanted <= 0 and self._done is not None:
            done, self._done = self._done, None
            done.callback(self._hash.hexdigest())

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        Tell who waits.
        """
        self._lost = reason
        if self._done is not None:
            done, self._done = self._done, None
            done.errback(reason)


class DemoTransfer:
    """
    One open stream between the two nodes of the demo.
    """

    def __init__(self, reactor: Any, node: NodeService, ours: _Counted, theirs: _Counted) -> None:
        self._reactor = reactor
        self._node = node
        self._ours = ours
        self._theirs = theirs
        self._round = 0

    @classmethod
    async def open(cls, reactor: Any, one: NodeService, two: NodeService) -> DemoTransfer:
        """
        Open the stream, from the first node to the second.
        """
        served = _Counted()
        two.links.services[SERVICE] = lambda link: served
        await when(reactor, lambda: one.peers()[0]["state"] == "connected")
        peer = one.find(two.status()["name"])
        link = await one.links.connect(peer.node)
        ours = _Counted()
        transport = link.open_stream(SERVICE, ours)
        await transport.when_accepted()
        return cls(reactor, one, ours, served)

    async def both_ways(self) -> dict[str, Any]:
        """
        Send data in both directions at once and compare the checksums.

        @return: the facts.
        @raise LinkError: what arrived is not what was sent.
        """
        self._round += 1
        block = hashlib.sha256(b"atmosphere demo %d" % self._round).digest() * (LENGTH // 32)
        ends = (self._ours, self._theirs)
        arriving = [end.expect(len(block)) for end in ends]
        for end in ends:
            assert end.transport is not None
            end.transport.write(block)
        wanted = hashlib.sha256(block).hexdigest()
        for each in arriving:
            if await each.addTimeout(TIMEOUT, self._reactor) != wanted:
                raise LinkError("what arrived is not what was sent")
        transport: Any = self._ours.transport
        path = path_of(transport.link)
        return {
            "bytes": len(block),
            "sha256": wanted,
            "stream": transport.stream_id,
            "path": path,
        }


def direct_path(node: NodeService) -> bool:
    """
    Say whether the node's one link is direct.
    """
    path = node.peers()[0]["path"]
    return path is not None and path["kind"] != "relayed"


async def when(reactor: Any, condition: Callable[[], object]) -> None:
    """
    Wait until a condition holds.

    @raise LinkError: it does not within 10 s.
    """
    begun = reactor.seconds()
    while not condition():
        if reactor.seconds() - begun > TIMEOUT:
            raise LinkError("the two nodes did not find each other within 10 s")
        await deferLater(reactor, 0.01)
