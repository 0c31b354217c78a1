"""
Tests for L{atmosphere.node.links}.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.internet.protocol import Protocol
from typing_extensions import override

from atmosphere.addresses import TransportAddress
from atmosphere.errors import LinkError, NoPathError, StreamRefusedError
from atmosphere.network.path.selection import PathPolicy
from atmosphere.network.path.ways import DirectWay, RelayedWay
from atmosphere.network.quic.connection import Link
from atmosphere.network.stun.discovery import Agreement, Discovery, Server

from .harness import SimulatedNode, WorldCase


class Keeping(Protocol):
    """
    Keeps what comes.
    """

    def __init__(self) -> None:
        self.data = b""

    @override
    def dataReceived(self, data: bytes) -> None:
        """
        Keep it.
        """
        self.data += data


class LinksTests(WorldCase):
    """
    What two members serve each other, and by which ways.
    """

    @override
    def setUp(self) -> None:
        """
        Make a mesh of two.
        """
        super().setUp()
        self.here = self.world.node("portland", "198.51.100.1")
        self.there = self.world.node("seattle", "198.51.100.2")
        self.world.join(self.here, self.there)
        self.world.network.advance(20)
        self.link = self.link_of(self.here, self.there)

    def link_of(self, node: SimulatedNode, other: SimulatedNode) -> Link:
        """
        Find the link between two.
        """
        link = node.link_to(other)
        assert link is not None
        return link

    def guest(self) -> Link:
        """
        Make a link to a node that is in no mesh.
        """
        stranger = self.world.node("boston", "198.51.100.3")
        self.world.network.advance(1)
        links = stranger.service.links
        way = DirectWay(self.here.service.surroundings.candidates()[0].address)
        link: Link = self.world.result(links.endpoint.dial(self.here.key.node_id, [way]))
        return link

    def test_served(self) -> None:
        """
        A member is served what there is, and told what is not there.
        """
        keeping = Keeping()
        self.there.service.links.services["test"] = lambda link: keeping
        self.link.open_stream("test", Protocol()).write(b"hello")
        refused = self.link.open_stream("nothing", Protocol()).when_accepted()
        self.world.network.advance(1)
        self.assertEqual(keeping.data, b"hello")
        error = self.failureResultOf(refused, StreamRefusedError).value
        self.assertIn("no such service", str(error))

    def test_guest(self) -> None:
        """
        One in no mesh is served nothing but joining, and no datagrams.
        """
        got: list[bytes] = []
        self.here.service.links.services["test"] = lambda link: Keeping()
        self.here.service.links.datagram_services["news"] = lambda link, data: got.append(data)
        link = self.guest()
        for service in ("test", "atmosphere.ping", "atmosphere.gossip"):
            refused = link.open_stream(service, Protocol()).when_accepted()
            self.world.network.advance(1)
            error = self.failureResultOf(refused, StreamRefusedError).value
            self.assertIn("only members", str(error))
        link.send_datagram("news", b"guest")
        self.link_of(self.there, self.here).send_datagram("news", b"member")
        self.link_of(self.there, self.here).send_datagram("nothing", b"member")
        self.world.network.advance(1)
        self.assertEqual(got, [b"member"])

    def test_no_guests(self) -> None:
        """
        A member that cannot admit lets no guest in.
        """
        stranger = self.world.node("boston", "198.51.100.3")
        way = DirectWay(self.there.service.surroundings.candidates()[0].address)
        dialling = stranger.service.links.endpoint.dial(self.there.key.node_id, [way])
        self.assertRaises(LinkError, self.world.result, dialling)

    def test_connect(self) -> None:
        """
        A link that is there is used; for one whom nobody knows there is no way.
        """
        found = self.here.service.links.connect(self.there.key.node_id)
        self.assertIs(self.successResultOf(found), self.link)
        alone = self.world.node("boston", "198.51.100.3", relays=())
        nowhere = alone.service.links.connect(self.here.key.node_id)
        self.failureResultOf(nowhere, NoPathError)

    def test_ways(self) -> None:
        """
        The ways to a member are its relays and its addresses, as the policy wants.
        """
        links = self.here.service.links
        ways = links.ways_to(self.there.key.node_id)
        self.assertEqual([type(way) for way in ways], [RelayedWay, DirectWay])
        links.set_policy(PathPolicy.DIRECT)
        self.assertEqual([type(way) for way in links.ways_to(self.there.key.node_id)], [DirectWay])
        links.set_policy(PathPolicy.RELAYED)
        self.assertEqual([type(way) for way in links.ways_to(self.there.key.node_id)], [RelayedWay])

    def test_other_family(self) -> None:
        """
        Of the addresses that are known of a peer, none of a family that is not here.
        """
        links = self.here.service.links
        told = [TransportAddress(host, 7777) for host in ("2a10:77:1::2", "203.0.113.7")]
        ways = links.ways_to(self.there.key.node_id, endpoints=told)
        self.assertNotIn(DirectWay(told[0]), ways)
        self.assertIn(DirectWay(told[1]), ways)
        with self.assertRaisesRegex(NoPathError, "no IPv6 here"):
            links.dial_unnamed(told[0], lambda peer, chain: None)

    def test_policy(self) -> None:
        """
        A change of policy moves the links that are there.
        """
        self.assertEqual(self.here.path_to(self.there), "direct")
        links = self.here.service.links
        links.set_policy(PathPolicy.RELAYED)
        self.world.until(lambda: self.here.path_to(self.there) == "relayed", 5)
        links.set_policy(PathPolicy.AUTO)
        self.world.until(lambda: self.here.path_to(self.there) == "direct", 10)
        self.assertIs(self.here.link_to(self.there), self.link)

    def test_malformed_offer(self) -> None:
        """
        A member whose path layer talks nonsense loses its link, no more.
        """
        self.link.call_core(self.link.core.send_offer, b"nonsense")
        self.world.network.advance(0.5)
        self.assertFalse(self.link.is_open)
        self.world.until(lambda: self.here.is_linked(self.there), 10)

    def test_given_up(self) -> None:
        """
        A dial that nobody waits for any more is noted with that reason.
        """
        other = self.world.node("boston", "198.51.100.3")
        self.world.join(self.here, other)
        self.world.network.cut(self.here.host, other.host)
        self.world.relay_host.kill(is_silent=True)
        links, peer = self.here.service.links, other.key.node_id
        self.world.until(lambda: not self.here.is_linked(other), 60)
        links.connect(peer).addErrback(lambda failure: failure.trap(CancelledError)).cancel()
        notes = [each.text for each in links.history.of(peer)]
        self.assertIn("not reached: nobody waits for it any more", notes)

    def test_late_address(self) -> None:
        """
        What a dialler learns of its own addresses before the welcome is told after it.
        """
        links, peer = self.here.service.links, self.there.key.node_id
        dialling = links.endpoint.dial(peer, links.ways_to(peer))
        self.world.network.advance(0.001)
        address = TransportAddress("203.0.113.9", 9999)
        server = Server("198.51.100.9", 3478)
        agreement = Agreement(address, False, None, (server,))
        self.here.service.surroundings.public = Discovery(ipv4=agreement)
        links.addresses_changed()
        link = self.world.result(dialling)
        self.assertIsNot(link, self.link)
        self.world.network.advance(0.1)
        offer = self.link_of(self.there, self.here).core.paths.remote_offer
        assert offer is not None
        self.assertIn(address, [each.address for each in offer.candidates])

    def test_silence(self) -> None:
        """
        A peer that falls silent is dialled anew, and the old link kept meanwhile.
        """
        self.world.network.cut(self.here.host, self.there.host)
        self.world.network.cut(self.there.host, self.world.relay_host)
        self.world.until(lambda: self.link.is_silent, 10)
        self.assertTrue(self.link.is_open)
        self.assertEqual(self.here.states(), {"seattle": "reachable"})
        self.world.network.advance(30)
        self.world.network.heal()
        self.world.until(lambda: self.here.is_linked(self.there), 10)
        self.world.network.advance(60)
        for node in (self.here, self.there):
            self.assertEqual(len(node.service.links.endpoint.links), 1)

    def test_moved(self) -> None:
        """
        When a machine gets another address the link lives on, directly.
        """
        self.world.network.move(self.there.host, "198.51.100.66")
        moved = "198.51.100.66:7777"

        def is_direct() -> bool:
            path = self.link.path
            way = None if path is None else path.way
            return isinstance(way, DirectWay) and str(way.address) == moved

        self.world.until(is_direct, 30)
        self.assertTrue(self.link.is_open)
