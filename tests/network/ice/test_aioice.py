"""
Tests of L{atmosphere.network.ice} against somebody else's agent: aioice, in a process
of its own, over loopback.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from twisted.internet import reactor  # noqa: TID251, real sockets are the point here
from twisted.internet.defer import Deferred, DeferredQueue
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from typing_extensions import override

from atmosphere.network.ice.candidates import decode_candidate, encode_candidate
from atmosphere.network.ice.connection import IceConnection
from atmosphere.network.ice.description import IceDescription
from atmosphere.network.nat.candidates import AddressRules, Interface
from atmosphere.network.nat.credentials import Credentials
from atmosphere.network.stun.attributes import ICE_CONTROLLING, PADDING, PRIORITY, USERNAME

PEER = os.path.join(os.path.dirname(__file__), "aioice_peer.py")


class Peer(ProcessProtocol):
    """
    The other process.

    @ivar lines: what it has told, each once.
    @ivar ended: fires when it is gone.
    @ivar errors: what it wrote on stderr.
    """

    def __init__(self) -> None:
        self.lines: DeferredQueue[dict[str, Any]] = DeferredQueue()
        self.ended: Deferred[None] = Deferred()
        self.errors = b""
        self._rest = b""

    @override
    def outReceived(self, data: bytes) -> None:
        """
        Cut lines.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self.lines.put(json.loads(line))

    @override
    def errReceived(self, data: bytes) -> None:
        """
        Keep what went wrong.
        """
        self.errors += data

    @override
    def processEnded(self, reason: Failure) -> None:
        """
        Tell who waits for the end.
        """
        self.ended.callback(None)

    def tell(self, **message: Any) -> None:
        """
        Write a line to it.
        """
        assert self.transport is not None
        self.transport.write(json.dumps(message).encode() + b"\n")


class AioiceTests(TestCase):
    """
    Two agents that have nothing in common but the RFCs.
    """

    timeout = 20

    @override
    def setUp(self) -> None:
        """
        Keep what comes.
        """
        self.received: DeferredQueue[bytes] = DeferredQueue()
        self.lost: list[str] = []

    def agent(self, *, is_controlling: bool, hosts: int = 1) -> IceConnection:
        """
        Make our agent, on loopback.
        """
        addresses = [f"127.0.0.{number}" for number in range(1, hosts + 1)]
        ice = IceConnection(
            reactor,
            is_controlling=is_controlling,
            entropy=os.urandom,
            on_data=self.received.put,
            on_lost=self.lost.append,
            interfaces=lambda: [Interface("lo", each, 8) for each in addresses],
            rules=AddressRules(allow_loopback=True),
        )
        self.addCleanup(ice.close)
        return ice

    async def peer(self, *, is_controlling: bool) -> tuple[Peer, IceDescription]:
        """
        Start the other one, and take what it offers.
        """
        peer = Peer()
        arguments = [sys.executable, PEER, "--host", "127.0.0.1"]
        arguments += ["--controlling"] if is_controlling else []
        process = reactor.spawnProcess(peer, sys.executable, arguments, env=dict(os.environ))

        def stop() -> Deferred[None]:
            if not peer.ended.called:
                process.signalProcess("KILL")
            return peer.ended

        self.addCleanup(stop)
        told = await peer.lines.get()
        description = IceDescription(
            Credentials(told["ufrag"], told["pwd"]),
            tuple(decode_candidate(f"candidate:{each}") for each in told["candidates"]),
            is_complete=True,
        )
        return peer, description

    def describe(self, peer: Peer, ours: IceDescription) -> None:
        """
        Tell the other one what ours offers.
        """
        peer.tell(
            ufrag=ours.credentials.ufrag,
            pwd=ours.credentials.pwd,
            candidates=[
                encode_candidate(each).removeprefix("candidate:") for each in ours.candidates
            ],
            is_complete=ours.is_complete,
        )

    async def talk(self, ice: IceConnection, peer: Peer) -> dict[str, Any]:
        """
        Wait until both are connected, and have a datagram echoed.

        @return: what the other one said of it.
        """
        selected = await ice.connect()
        told = await peer.lines.get()
        self.assertTrue(told["connected"], peer.errors)
        self.assertEqual(selected.path, ice.agent.path)
        self.assertEqual(await self.received.get(), b"hello")
        self.assertTrue(ice.send(b"one"))
        self.assertEqual(await self.received.get(), b"echo one")
        self.assertNotEqual(told["controlling"], ice.agent.is_controlling)
        return told

    async def meet(self, *, ours: bool, theirs: bool, is_offerer: bool) -> IceConnection:
        """
        Have the two meet.

        @param ours: whether our agent begins as the controlling one.
        @param theirs: whether the other does.
        @param is_offerer: our description goes out first, and the other's comes later.
        """
        ice = self.agent(is_controlling=ours)
        description = await ice.gather()
        peer, other = await self.peer(is_controlling=theirs)
        if is_offerer:
            self.describe(peer, description)
            reactor.callLater(0.05, ice.set_remote, other)
        else:
            ice.set_remote(other)
            reactor.callLater(0.05, self.describe, peer, description)
        await self.talk(ice, peer)
        return ice

    async def test_offers_and_controls(self) -> None:
        """
        Ours offers, and controls: it nominates.
        """
        await self.meet(ours=True, theirs=False, is_offerer=True)

    async def test_offers_and_is_controlled(self) -> None:
        """
        Ours offers, and is controlled: it follows the other's nomination.
        """
        await self.meet(ours=False, theirs=True, is_offerer=True)

    async def test_answers_and_controls(self) -> None:
        """
        Ours answers, and controls.
        """
        await self.meet(ours=True, theirs=False, is_offerer=False)

    async def test_answers_and_is_controlled(self) -> None:
        """
        Ours answers, and is controlled.
        """
        await self.meet(ours=False, theirs=True, is_offerer=False)

    async def test_role_conflicts(self) -> None:
        """
        Both take the same role: by the tie-breakers one of them changes.
        """
        for role in (True, False):
            ice = await self.meet(ours=role, theirs=role, is_offerer=role)
            await ice.close()

    async def test_trickle(self) -> None:
        """
        Candidates come one by one after the credentials, on both sides.
        """
        ice = self.agent(is_controlling=True, hosts=2)
        description = await ice.gather()
        peer, other = await self.peer(is_controlling=False)
        self.describe(peer, IceDescription(description.credentials))
        ice.set_remote(IceDescription(other.credentials))
        lines = [
            encode_candidate(each).removeprefix("candidate:") for each in description.candidates
        ]
        self.assertEqual(len(lines), 2)
        peer.tell(candidates=lines[:1], is_complete=False)
        for each in (*other.candidates, None):
            self.assertIsNone(ice.add_remote(each))
        peer.tell(candidates=lines[1:], is_complete=True)
        await self.talk(ice, peer)

    async def test_peer_reflexive(self) -> None:
        """
        The other one is told none of our addresses, and finds ours by its checks.
        """
        ice = self.agent(is_controlling=True)
        description = await ice.gather()
        peer, other = await self.peer(is_controlling=False)
        self.describe(peer, IceDescription(description.credentials))
        ice.set_remote(other)
        await self.talk(ice, peer)

    async def test_full_size_check(self) -> None:
        """
        It passes over PADDING, though one must understand that attribute, and answers a
        full-size check with a small response. So full size is nothing to ask of others.
        """
        ice = self.agent(is_controlling=True)
        description = await ice.gather()
        peer, other = await self.peer(is_controlling=False)
        self.describe(peer, description)
        ice.set_remote(other)
        await self.talk(ice, peer)
        ((port, _),) = ice._ports.values()
        (target,) = [each.address for each in other.candidates]
        assert target is not None
        response = await port.stun.request(
            target,
            attributes=[
                (USERNAME, f"{other.credentials.ufrag}:{description.credentials.ufrag}"),
                (PRIORITY, 1),
                (ICE_CONTROLLING, 1),
                (PADDING, bytes(1000)),
            ],
            key=other.credentials.key,
        )
        self.assertIsNotNone(response.mapped)
        self.assertFalse(response.message.has(PADDING))
