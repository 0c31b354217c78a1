"""
Some of the handshakes that must fail, over UDP on loopback and on the system's clock.

L{tests.network.quic.test_handshakes_that_fail} and its neighbours have them all.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from twisted.internet import reactor  # noqa: TID251  # real ports are the point here
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort, IReactorUDP
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import Clock, deferLater
from twisted.logger import LogEvent
from twisted.trial.unittest import TestCase
from typing_extensions import override

from atmosphere.addresses import TransportAddress
from atmosphere.errors import LinkError
from atmosphere.identity import NodeKey
from atmosphere.membership import issue_revocations
from atmosphere.network.path.ways import DirectWay, Way
from atmosphere.network.quic.credentials import make_credentials

from .harness import Node, World
from .refused_case import FOUNDER_CHAIN, ROOT_KEY, STRANGER, WALL, RefusedCase, chain_for, welcome
from .strangers import HostileConnection, Stranger, TLSAnswer
from .test_handshakes_that_fail_for_diallers import certificate_of, signed_by

OTHER = NodeKey(bytes([5]) * 32)


class Receiver(DatagramProtocol):
    """
    One party's UDP port.
    """

    noisy = False

    def __init__(self, party: Node | Stranger) -> None:
        self.party = party

    @override
    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """
        Hand on what came.
        """
        way = DirectWay(TransportAddress(*addr))
        self.party.endpoint.datagrams_received(way, [datagram])


class Loopback(World):
    """
    Parties with ports on loopback.
    """

    def __init__(self) -> None:
        super().__init__()
        self.clock = cast(Clock, reactor)
        self.receivers: dict[int, Receiver] = {}
        self.ports: list[IListeningPort] = []

    def listen(self, party: Node | Stranger) -> None:
        """
        Give a party a port.
        """
        receiver = Receiver(party)
        port = cast(IReactorUDP, reactor).listenUDP(0, receiver, "127.0.0.1", 8192)
        party.address = TransportAddress("127.0.0.1", cast(IPv4Address, port.getHost()).port)
        self.receivers[id(party)] = receiver
        self.ports.append(port)

    @override
    def carry(self, sender: Node, way: Way, datagrams: list[bytes]) -> None:
        """
        Write datagrams to where the way leads.
        """
        transport = self.receivers[id(sender)].transport
        if isinstance(way, DirectWay) and transport is not None:
            for data in datagrams:
                transport.write(data, (way.address.host, way.address.port))


class OverUDPTests(RefusedCase, TestCase):
    """
    What holds on a simulated clock holds over a real port.
    """

    timeout = 10

    @override
    def begin(self) -> None:
        """
        Give both a port.
        """
        super().begin()
        self.told: Deferred[None] = Deferred()

    @override
    def make_world(self) -> World:
        """
        Use loopback.
        """
        return Loopback()

    @override
    def _observe(self, event: LogEvent) -> None:
        """
        Note the first line.
        """
        super()._observe(event)
        if self.lines and not self.told.called:
            self.told.callback(None)

    @override
    def setUp(self) -> None:
        """
        Listen.
        """
        super().setUp()
        world = cast(Loopback, self.world)
        world.listen(self.node)
        world.listen(self.stranger)

    @override
    async def tearDown(self) -> None:  # type: ignore[override]  # trial waits for it
        """
        Let go of clock and ports.
        """
        self.stranger.stop()
        self.node.endpoint.stop()
        for port in cast(Loopback, self.world).ports:
            await cast("Deferred[Any]", port.stopListening())

    async def check(self, why: str, who: str) -> None:
        """
        Wait for the one line of the log, and see that nothing was delivered by then or after.
        """
        await self.told
        await deferLater(self.world.clock, 0.1)
        self._nothing_was_delivered()
        self._log_holds_no_secret()
        (line,) = (text for _, text in self.lines)
        self.assertIn(why, line)
        self.assertIn(who, line)
        self.assertIsNotNone(self.stranger.ending)

    async def refused_dialler(self, why: str, *, is_proven: bool) -> None:
        """
        Check that our listener refuses the stranger.
        """
        short = self.stranger.key.node_id.short
        await self.check(why, short if is_proven else f"a stranger at {self.stranger.address}")

    async def refused_listener(self, why: str) -> None:
        """
        Dial the stranger, and check that it is refused.
        """
        self.dial(self.wanted)
        assert self.dialling is not None
        with self.assertRaises(LinkError) as caught:
            await self.dialling
        self.assertIn(why, str(caught.exception))
        wanted = self.wanted or self.stranger.key.node_id
        await self.check(why, wanted.short)

    async def test_dialler_with_wrong_key(self) -> None:
        """
        A proof in another node's name is refused.
        """
        self.dials(lambda s, _: s.say(replace(self.proof(chain_for(5)), node=OTHER.node_id)))
        await self.refused_dialler("the proof does not hold", is_proven=False)

    async def test_revoked_dialler(self) -> None:
        """
        Who was revoked is refused by name.
        """
        self.node.revocations = issue_revocations(
            ROOT_KEY, FOUNDER_CHAIN, wall=WALL, current=None, keys=[self.stranger.key.node_id]
        )
        self.dials(lambda s, _: s.say(self.proof(chain_for(STRANGER))))
        await self.refused_dialler("was revoked", is_proven=True)

    async def test_dialler_with_another_alpn(self) -> None:
        """
        Another protocol over QUIC is not ours.
        """
        quic = HostileConnection(make_credentials(self.stranger.key))
        quic.configuration.alpn_protocols = ["h3"]
        self.stranger.dial(self.node, quic)
        await self.refused_dialler("No common ALPN protocols", is_proven=False)

    async def test_listener_without_its_key(self) -> None:
        """
        The wanted node's certificate serves nobody who cannot sign with its key.
        """
        self.wanted = OTHER.node_id
        answer = TLSAnswer([certificate_of(OTHER)], signed_by(self.stranger.key))
        self.stranger.make = lambda cid: HostileConnection(
            make_credentials(self.stranger.key), original_cid=cid, answer=answer
        )
        await self.refused_listener("signature")

    async def test_other_listener(self) -> None:
        """
        A node that is not the one that was dialled is refused before it learns who dials.
        """
        self.wanted = OTHER.node_id
        self.stranger.script = welcome(chain_for(STRANGER))
        await self.refused_listener("the listener is another node")
        self.assertEqual(self.stranger.said, {})

    async def test_listener_without_membership(self) -> None:
        """
        A listener with the right key that shows no chain gets nothing either.
        """
        self.stranger.script = welcome(b"")
        await self.refused_listener("shows no certificate of our mesh")
