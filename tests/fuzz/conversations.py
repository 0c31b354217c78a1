"""
Targets that need a connection around them: both ends of a relay's, gossip, joining,
streams, and what programs on the machine say.

Where an input is more than one message, each has two bytes of length before it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, cast

from qh3.quic import events as quic_events
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from typing_extensions import override

from atmosphere.addresses import TransportAddress
from atmosphere.errors import DecodeError, LinkError
from atmosphere.membership import verify_chain
from atmosphere.mesh.gossip import Gossip, GossipExchange
from atmosphere.mesh.issuer import Issuer
from atmosphere.mesh.joiner import Joiner, Requester
from atmosphere.mesh.renewal import RenewalIssuer, Renewing
from atmosphere.mesh.request import RequestAsked
from atmosphere.mesh.roster import Roster
from atmosphere.network.quic.stream_table import StreamTable
from atmosphere.network.relay.dial import ClientConnection
from atmosphere.network.relay.endpoint import parse_relay_url
from atmosphere.network.relay.frames import Challenge, HelloCredentials, Welcome
from atmosphere.network.relay.limits import Counters, RelayConfig, RelayLimits
from atmosphere.network.relay.line import Admission, LineState
from atmosphere.network.relay.port import FrontFactory, make_site
from atmosphere.network.relay.server import RelayServer
from atmosphere.network.relay.switchboard import Switchboard
from atmosphere.node.control import ControlFactory
from atmosphere.node.streams_port import StreamsFactory
from atmosphere.services.framed_stream import FramedStream
from atmosphere.testing.randomness import seeded_entropy
from tests.mesh_fixtures import (
    ADMIN_CHAIN,
    ADMIN_KEY,
    ALICE,
    ALICE_CHAIN,
    MESH,
    WALL,
)
from tests.network.relay.switchboard_case import make_hello
from tests.node.fake_node import FakeNode

from . import seeds

__all__ = [
    "framed",
    "gossip",
    "join",
    "link_streams",
    "local_api",
    "local_streams",
    "relay",
    "relay_client",
    "relay_port",
]

LIMITS = RelayLimits(accept_rate=1e9, accept_burst=1e9)
CONFIG = RelayConfig(host="127.0.0.1", is_open=True, limits=LIMITS)


def messages(data: bytes) -> Iterator[bytes]:
    """
    Cut an input into the messages in it; the last one may be shorter than it says.
    """
    at = 0
    while at < len(data):
        length = int.from_bytes(data[at : at + 2], "big")
        yield data[at + 2 : at + 2 + length]
        at += 2 + length


class Transport(StringTransport):
    """
    A connection in memory that can be aborted.
    """

    @override
    def abortConnection(self) -> None:
        self.disconnecting = True
        super().abortConnection()

    @override
    def unregisterProducer(self) -> None:
        if self.producer is not None:  # a socket does not mind
            super().unregisterProducer()

    def loseWriteConnection(self) -> None:
        """
        End one direction.
        """

    def getHandle(self) -> None:  # noqa: N802, as Twisted has it
        """
        Have no socket.
        """

    def setTcpNoDelay(self, enabled: bool) -> None:
        """
        Have none.
        """


class Owner:
    """
    A relay client's owner that does nothing.

    @ivar told: how often it was told that something changed.
    """

    told = 0

    def _note(self, *_: object) -> None:
        """
        Count.
        """
        self.told += 1

    connection_welcomed = connection_parked = connection_draining = connection_ended = _note

    def connection_received(self, *_: object) -> None:
        """
        Let it pass.
        """

    connection_absent = connection_doubted = connection_received


def relay_client(data: bytes) -> None:
    """
    Be a relay to our client, after the welcome; what it makes the node do is bounded.
    """
    owner = Owner()
    connection = ClientConnection(
        Clock(),
        parse_relay_url("ws://relay:8080"),
        ALICE,
        bytes(16),
        seeded_entropy(3),
        HelloCredentials,
        owner,
    )
    connection.transport = Transport()
    connection.state = connection.STATE_OPEN
    closed: list[int] = []
    cast(Any, connection).sendClose = closed.append  # the rest of that is Autobahn's
    connection.receive_message(Challenge(bytes(32), 0.0).encode(), True)
    connection.receive_message(Welcome(seeds.ADDRESS, (), 0.0).encode(), True)
    for message in messages(data):
        connection.receive_message(message, True)
        if closed:
            break
    if owner.told > 16:
        raise AssertionError(f"the relay made us change {owner.told} times at once")


def relay(data: bytes) -> None:
    """
    Be a node to our relay, one that is let in and one that is not.
    """
    for is_let_in in (False, True):
        switchboard = Switchboard(
            CONFIG,
            entropy=seeded_entropy(4),
            wall=lambda: WALL,
            admit=lambda hello: Admission(),
            counters=Counters(),
        )
        line = switchboard.connect(TransportAddress("192.0.2.1", 1), 1.0)
        if is_let_in:
            switchboard.receive_message(line, make_hello(ALICE, line.nonce).encode(), 1.0)
        for message in messages(data):
            switchboard.receive_message(line, message, 1.0)
            if line.state is LineState.CLOSED:
                break
            line.take(1 << 20)
        while switchboard.next_event() is not None:
            pass
        switchboard.disconnect(line, 2.0)


def relay_port(data: bytes) -> None:
    """
    Be anybody who connects to a relay's port.
    """
    clock = Clock()
    server = RelayServer(
        clock,
        CONFIG,
        entropy=seeded_entropy(5),
        wall=lambda: WALL,
        admit=lambda hello: Admission(),
    )
    front = FrontFactory(clock, server, make_site(clock, server)).buildProtocol(None)
    transport = Transport(peerAddress=IPv4Address("TCP", "127.0.0.1", 1))
    front.makeConnection(transport)
    half = len(data) // 2
    for piece in (data[:half], data[half:]):
        if not transport.disconnecting:
            front.dataReceived(piece)
    front.connectionLost(connectionDone)
    if server.gate.total or server.gate.unsettled:
        raise AssertionError("a connection that is gone is still counted")


def gossip(data: bytes) -> None:
    """
    Be a member that gossips.
    """
    roster = Roster(MESH)
    for chain in (ADMIN_CHAIN, ALICE_CHAIN):
        roster.merge_chain(chain, WALL)
    exchange = GossipExchange(Gossip(roster), ALICE.node_id)
    replies = exchange.receive(data, 1.0, WALL).replies + exchange.tick(2.0)
    if len(replies) > 1024 * 1024:
        raise AssertionError(f"{len(replies)} bytes in reply to {len(data)}")


def join(data: bytes) -> None:
    """
    Be an issuer to a joiner, a joiner to an issuer, and both for a renewal.
    """
    held = verify_chain(ALICE_CHAIN, ALICE.node_id, mesh_id=MESH, wall=WALL, revocations=None)
    joiner = Joiner(
        seeds.join_code(),
        ALICE.node_id,
        issuer=ADMIN_KEY.node_id,
        binding=bytes(32),
        wanted_name="seattle",
    )
    joiner.receive(data, WALL)
    joiner.end()
    requester = Requester(
        ALICE, mesh_id=MESH, issuer=ADMIN_KEY.node_id, binding=bytes(32), wanted_name="seattle"
    )
    requester.receive(data, WALL)
    requester.end()
    asked = Issuer(ALICE.node_id, binding=bytes(32)).receive(data)
    if isinstance(asked, RequestAsked):
        asked.is_signed_for(ADMIN_KEY.node_id)
    Renewing(held, ALICE_CHAIN).receive(data, WALL)
    RenewalIssuer(ALICE.node_id).receive(data)


class _QUIC:
    """
    A QUIC connection that takes everything and sends nothing.
    """

    is_dialler = False
    stream_limit = 4_096
    smoothed_rtt = 0.01

    def unsent(self, stream_id: int) -> int:
        """
        Have nothing left to send.
        """
        return 0

    def send_stream(self, *_: object, **__: object) -> None:
        """
        Send nothing.
        """

    stop_stream = reset_stream = send_stream


def _act(table: StreamTable, what: int, stream_id: int, message: bytes) -> None:
    """
    Do one thing with a stream, as its application or as its peer.
    """
    received = quic_events.StreamDataReceived(message[1:], bool(what), stream_id)
    actions: list[Callable[[], object]] = [
        lambda: table.handle(received),
        lambda: table.handle(received),
        lambda: table.handle(quic_events.StreamReset(0, stream_id)),
        lambda: table.handle(quic_events.StopSendingReceived(0, stream_id)),
        lambda: table.accept(stream_id),
        lambda: table.refuse(stream_id, "no"),
        lambda: table.write(stream_id, message),
        lambda: table.finish(stream_id),
        lambda: table.abort(stream_id),
        lambda: table.open("echo"),
        lambda: table.credit(stream_id, int.from_bytes(message[1:9], "big")),
        lambda: table.wants_drain(stream_id),
    ]
    if what < len(actions):
        actions[what]()


def link_streams(data: bytes) -> None:
    """
    Be a peer on the streams of a link. The first byte of each message says what to
    do, high half, and to which stream, low half: of these eight are the peer's.
    """
    out: Any = deque()
    table = StreamTable(cast(Any, _QUIC()), out, lambda *_: None, lambda _: None)
    for message in messages(data):
        number = message[0] & 15 if message else 0
        stream_id = 4 * number + 4 if number < 8 else 4 * (number - 8) + 1
        with suppress(LinkError):
            _act(table, message[0] >> 4 if message else 15, stream_id, message)
        table.flush()
        table.report_all()
        out.clear()


def framed(data: bytes) -> None:
    """
    Be a node to a program, or a program to the node, on a stream in frames.
    """
    clock = Clock()
    for at in (len(data), len(data) // 2):
        stream = FramedStream(
            clock,
            Transport(),
            Protocol(),
            peer=UNIXAddress(b"a"),
            host=UNIXAddress(b"b"),
            gone="it is gone",
        )
        stream.begin()
        stream.received(data[:at])
        stream.received(data[at:])
        stream.broken()


def local_api(data: bytes) -> None:
    """
    Be a program that asks the node for something.
    """
    node = FakeNode()
    node.replies = []
    factory = ControlFactory(Clock(), node, owner=1, peer_user=lambda transport: 1)
    channel = factory.buildProtocol(UNIXAddress(b"control.sock"))
    channel.makeConnection(Transport())
    channel.dataReceived(data)
    channel.connectionLost(connectionDone)
    if factory.clients:
        raise AssertionError("a connection that is gone is still counted")


class _StreamsNode:
    """
    A node that opens no streams.
    """

    def is_in_mesh(self, text: str) -> bool:
        """
        Know one mesh.
        """
        return text == "home"

    def open(self, peer: str, service: str, *_: object, **__: object) -> Deferred[Any]:
        """
        Keep the program waiting.
        """
        return Deferred()

    def listen(self, service: str, *_: object, **__: object) -> Any:
        """
        Refuse.
        """
        raise DecodeError("nothing is offered here")


def local_streams(data: bytes) -> None:
    """
    Be a program that asks the node for streams.
    """
    factory = StreamsFactory(
        Clock(),
        cast(Any, _StreamsNode()),
        entropy=seeded_entropy(6),
        owner=1,
        peer_user=lambda transport: 1,
    )
    connection = factory.buildProtocol(None)
    connection.makeConnection(Transport())
    connection.dataReceived(data)
    connection.connectionLost(connectionDone)
    if factory.connections:
        raise AssertionError("a connection that is gone is still counted")
