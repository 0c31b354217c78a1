"""
Link endpoints joined by simulated ways, on one clock.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from typing_extensions import override

from atmosphere.addresses import TransportAddress
from atmosphere.errors import AtmosphereError, MembershipError, StreamRefusedError
from atmosphere.identity import NodeID, NodeKey
from atmosphere.membership import Membership
from atmosphere.network.nat.candidates import (
    AddressRules,
    CandidateType,
    make_candidate,
)
from atmosphere.network.path.check_budget import CheckBudget
from atmosphere.network.path.exchange import decode_offer, encode_offer
from atmosphere.network.path.paths import Paths
from atmosphere.network.path.reports import PathEvent
from atmosphere.network.path.ways import DirectWay, RelayedWay, Way
from atmosphere.network.quic.connection import Link
from atmosphere.network.quic.endpoint import LinkEndpoint
from atmosphere.testing.randomness import seeded_entropy

RELAY = "ws://relay.example:8080"


class Recorder(Protocol):
    """
    A protocol that remembers.
    """

    def __init__(self) -> None:
        self.data = b""
        self.lost: BaseException | None = None
        self.is_made = False

    @override
    def connectionMade(self) -> None:
        """
        Note it.
        """
        self.is_made = True

    @override
    def dataReceived(self, data: bytes) -> None:
        """
        Keep the bytes.
        """
        self.data += data

    @override
    def connectionLost(self, reason: object = None) -> None:
        """
        Keep the reason.
        """
        self.lost = getattr(reason, "value", None)


class Echo(Recorder):
    """
    Sends back what comes.
    """

    @override
    def dataReceived(self, data: bytes) -> None:
        """
        Send it back.
        """
        super().dataReceived(data)
        assert self.transport is not None
        self.transport.write(data)


class World:
    """
    Nodes that can reach each other directly and by a relay.

    @ivar relay_latency: seconds one way through the relay.
    @ivar direct_latency: seconds one way directly.
    @ivar cut: kinds of way (classes) that lose everything now.
    @ivar lose: says of each datagram whether it is lost.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self.relay_latency = 0.02
        self.direct_latency = 0.002
        self.cut: set[type] = set()
        self.lose: Callable[[Way, bytes], bool] = lambda way, data: False
        self.nodes: dict[NodeID, Node] = {}
        self.sent: list[tuple[Way, int]] = []

    def node(self, number: int, mesh: str = "mesh-a") -> Node:
        """
        Add a node.
        """
        node = Node(self, number, mesh)
        self.nodes[node.key.node_id] = node
        return node

    def carry(self, sender: Node, way: Way, datagrams: list[bytes]) -> None:
        """
        Take datagrams to where the way leads.
        """
        self.sent.extend((way, len(data)) for data in datagrams)
        if type(way) in self.cut:
            return
        kept = [data for data in datagrams if not self.lose(way, data)]
        back: Way
        match way:
            case DirectWay(address):
                receiver = next(
                    (node for node in self.nodes.values() if node.address == address), None
                )
                back, latency = DirectWay(sender.address), self.direct_latency
            case RelayedWay(relay, peer):
                receiver = self.nodes.get(peer)
                back, latency = RelayedWay(relay, sender.key.node_id), self.relay_latency
        if receiver is not None and kept:
            self.clock.callLater(latency, receiver.endpoint.datagrams_received, back, kept)

    def run(self, seconds: float, until: Callable[[], object] = lambda: False) -> None:
        """
        Let time pass, from one call to the next.
        """
        end = self.clock.seconds() + seconds
        while not until():
            calls = self.clock.getDelayedCalls()
            if not calls or calls[0].getTime() > end:
                self.clock.advance(max(0.0, end - self.clock.seconds()))
                return
            self.clock.advance(max(0.0, calls[0].getTime() - self.clock.seconds()))


class Node:
    """
    A node's policy in the simplest form: members of one mesh, by its name.
    """

    def __init__(self, world: World, number: int, mesh: str) -> None:
        self.world = world
        self.key = NodeKey(bytes([number]) * 32)
        self.mesh = mesh.encode()
        self.address = TransportAddress(f"198.51.100.{number}", 7777)
        self.is_guest = False
        self.services: dict[str, Callable[[], IProtocol]] = {"echo": Echo}
        self.undecided: dict[str, Deferred[IProtocol]] = {}
        self.known: set[NodeID] = set()
        self.pinned: list[Link] = []
        self.connected: list[Link] = []
        self.closed: list[tuple[Link, str]] = []
        self.path_events: list[PathEvent] = []
        self.datagrams: list[tuple[str, bytes]] = []
        self.accepted: list[IProtocol] = []
        self.budget = CheckBudget(100, 100)
        self.offers_direct = True
        self.start(number)

    def start(self, instance: int) -> None:
        """
        Begin, or begin anew after a crash, as another process would.
        """
        self.entropy = seeded_entropy(instance)
        self.endpoint = LinkEndpoint(
            self.world.clock, self.key, bytes([instance]) * 16, self, entropy=self.entropy
        )

    def ways_to(self, other: Node) -> list[Way]:
        """
        Say how another node is reached: by the relay and directly.
        """
        return [RelayedWay(RELAY, other.key.node_id), DirectWay(other.address)]

    # What an endpoint asks.

    def check_membership(self, peer: NodeID, chain: bytes) -> Membership | None:
        """
        Let guests in, and those of the same mesh.
        """
        if not chain:
            return None
        if chain != self.mesh:
            raise MembershipError("the node belongs to another mesh")
        return Membership("mesh-a", peer, f"node-{peer.short}", frozenset({"member"}), 1e12)

    def known_member(self, peer: NodeID) -> Membership | None:
        """
        Know those that the test says are known.
        """
        return self.check_membership(peer, self.mesh) if peer in self.known else None

    def own_chain(self) -> bytes:
        """
        The mesh's name.
        """
        return b"" if self.is_guest else self.mesh

    def send(self, way: Way, datagrams: list[bytes]) -> None:
        """
        Hand on to the world.
        """
        self.world.carry(self, way, datagrams)

    def make_paths(self, peer: NodeID | None, is_dialler: bool, now: float) -> Paths:
        """
        Make a path layer.
        """
        return Paths(
            is_dialler=is_dialler,
            entropy=self.entropy,
            now=now,
            budget=self.budget,
            rules=AddressRules(),
        )

    def offer(self, paths: Paths, peer: NodeID) -> bytes:
        """
        Offer our one address.
        """
        candidates = []
        if self.offers_direct:
            candidates.append(make_candidate(CandidateType.HOST, self.address))
        return encode_offer(paths.local_offer(candidates, [RELAY]))

    def offer_received(self, link: Link, payload: bytes) -> None:
        """
        Hand the offer to the path layer.
        """
        link.core.paths.set_remote_offer(decode_offer(payload), link.now())

    def accept_stream(self, link: Link, service: str) -> IProtocol | Deferred[IProtocol]:
        """
        Serve what we have, or let the test decide.
        """
        if link.membership is None and service != "atmosphere.join":
            raise StreamRefusedError("guests may only join")
        if service in self.undecided:
            return self.undecided[service]
        make = self.services.get(service)
        if make is None:
            raise StreamRefusedError(f"there is no service {service}")
        protocol = make()
        self.accepted.append(protocol)
        return protocol

    def datagram_received(self, link: Link, service: str, data: bytes) -> None:
        """
        Keep it.
        """
        self.datagrams.append((service, data))

    def link_pinned(self, link: Link) -> None:
        """
        Note it.
        """
        self.pinned.append(link)

    def link_connected(self, link: Link) -> None:
        """
        Note it.
        """
        self.connected.append(link)

    def link_closed(self, link: Link, reason: str) -> None:
        """
        Note it.
        """
        self.closed.append((link, reason))

    def path_event(self, link: Link, event: PathEvent) -> None:
        """
        Note it.
        """
        self.path_events.append(event)


__all__ = ["RELAY", "AtmosphereError", "Echo", "Node", "Recorder", "World"]
