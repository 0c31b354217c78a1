"""
Tests of L{atmosphere.network.quic.crowd}.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.addresses import TransportAddress
from atmosphere.errors import LinkError
from atmosphere.identity import NodeKey
from atmosphere.network.path.ways import DirectWay, RelayedWay, Way
from atmosphere.network.quic.adapter import (
    LARGEST_DATAGRAM_SIZE,
    MAX_DATAGRAM_SIZE,
    QUICConnection,
)
from atmosphere.network.quic.crowd import GUEST_TIME, MAX_GUESTS
from atmosphere.network.quic.endpoint import LinkEndpoint
from atmosphere.network.quic.larger import LARGE_INITIAL

from .harness import RELAY, Node, Recorder, World


class GuestTests(SynchronousTestCase):
    """
    Strangers at a node that lets others in.
    """

    @override
    def setUp(self) -> None:
        """
        Make a node that lets others in.
        """
        self.world = World()
        self.listener = self.world.node(1)

    def guest(self, number: int) -> Node:
        """
        Add a guest, who dials.
        """
        guest = self.world.node(number)
        guest.is_guest = True
        guest.endpoint.dial(self.listener.key.node_id, guest.ways_to(self.listener))
        return guest

    def test_time(self) -> None:
        """
        A guest that does not become a member is shown out, whatever it holds open.
        """
        guest = self.guest(2)
        self.listener.services["atmosphere.join"] = Recorder
        self.world.run(2.0)
        guest.connected[0].open_stream("atmosphere.join", Recorder())
        self.world.run(GUEST_TIME - 5)
        self.assertEqual(len(self.listener.endpoint.links), 1)
        self.world.run(10.0)
        self.assertEqual(self.listener.endpoint.links, [])

    def test_many(self) -> None:
        """
        Many guests do not grow without end, and the newest can come in.
        """
        guests = []
        for number in range(2, MAX_GUESTS + 12):
            guests.append(self.guest(number))
            self.world.run(0.2)
        self.world.run(5.0)
        self.assertEqual(len(self.listener.endpoint.links), MAX_GUESTS)
        self.assertTrue(guests[-1].connected[0].is_open)
        self.assertFalse(guests[0].connected[0].is_open)

    def test_members_stay(self) -> None:
        """
        Members have all the time there is.
        """
        member = self.world.node(2)
        member.endpoint.dial(self.listener.key.node_id, member.ways_to(self.listener))
        self.world.run(GUEST_TIME + 10)
        self.assertEqual(len(self.listener.endpoint.links), 1)


class PeerTests(SynchronousTestCase):
    """
    One peer that makes links again and again.
    """

    def test_many_links(self) -> None:
        """
        Streams on all of them do not keep more than a few.
        """
        world = World()
        listener, dialler = world.node(1), world.node(2)
        for _ in range(20):
            dialler.endpoint.dial(listener.key.node_id, dialler.ways_to(listener))
            world.run(1.0)
            dialler.connected[-1].open_stream("echo", Recorder())
            world.run(0.2)
        world.run(5.0)
        self.assertEqual(len(dialler.connected), 20)
        self.assertEqual(len(listener.endpoint.links), 8)
        current = listener.endpoint.link_to(dialler.key.node_id)
        self.assertIs(current, listener.connected[-1])


class HalfOpenTests(SynchronousTestCase):
    """
    Diallers that answer a Retry, and then fall silent.
    """

    @override
    def setUp(self) -> None:
        """
        Make a node that lets others in.
        """
        self.world = World()
        self.listener = self.world.node(1)
        self.answers: list[bytes] = []
        self.world.carry = self.answer  # type: ignore[method-assign]

    def answer(self, sender: Node, way: Way, datagrams: list[bytes]) -> None:
        """
        Keep what the listener sends.
        """
        self.answers += datagrams

    def flood(self, way: Way, count: int) -> int:
        """
        Begin that many handshakes by one way.

        @return: how many of them the listener answered in earnest.
        """
        endpoint: LinkEndpoint = self.listener.endpoint
        answered = 0
        for _ in range(count):
            quic = QUICConnection(endpoint._credentials)
            quic.connect(0.0)
            longest = 0
            for _ in range(2):
                self.answers.clear()
                endpoint.datagrams_received(way, quic.datagrams_to_send(0.0))
                self.world.clock.advance(0)
                quic.receive_datagrams(self.answers, 0.0)
                longest = max([longest, *map(len, self.answers)])
            answered += longest >= 1000
        return answered

    def test_not_walked(self) -> None:
        """
        Each Initial asks how many are half open: that does not take a walk over all links.
        """

        class Links(dict[Any, Any]):
            """
            Links that nobody may walk over.
            """

            @override
            def __iter__(self) -> Iterator[Any]:
                raise AssertionError("each Initial walks over all links")

        self.listener.endpoint._links = Links()
        way = DirectWay(TransportAddress("11.0.0.1", 2000))
        self.assertEqual(self.flood(way, 50), 50)

    def test_count(self) -> None:
        """
        The count is what the links say: those that came in, gave up and were refused are
        counted no more, and those that stand never were.
        """
        endpoint = self.listener.endpoint

        def half_open() -> int:
            return sum(not each.is_dialler and not each.is_connected for each in endpoint._links)

        way = DirectWay(TransportAddress("11.0.0.1", 2000))
        self.flood(way, 40)
        self.assertEqual(len(endpoint._half_open), 40)
        endpoint.datagrams_received(way, [b"\xc0\0\0\0\1\x08" + bytes(1300)])
        self.assertEqual((len(endpoint._half_open), half_open()), (40, 40))
        self.world.run(16.0)
        del self.world.carry
        others = [self.world.node(2), self.world.node(3, "mesh-b")]
        dials = []
        for other in others:
            ways = other.ways_to(self.listener)
            dials.append(other.endpoint.dial(self.listener.key.node_id, ways))
            self.world.run(0.01)
            self.assertEqual(len(endpoint._half_open), half_open())
        self.world.run(30.0)
        self.successResultOf(dials[0])
        self.failureResultOf(dials[1], LinkError)
        self.assertEqual(len(endpoint.links), 1)
        self.assertEqual((len(endpoint._half_open), half_open()), (0, 0))
        self.assertEqual((endpoint._half_open._source_of, endpoint._half_open._at), ({}, {}))

    def test_amplification(self) -> None:
        """
        Who sends a first flight in another's name has us send no more than three times
        as much there, also when it asks for large datagrams.
        """
        for size in (MAX_DATAGRAM_SIZE, LARGEST_DATAGRAM_SIZE):
            quic = QUICConnection(self.listener.endpoint._credentials, datagram_size=size)
            quic.connect(0.0)
            flight = quic.datagrams_to_send(0.0)
            self.assertEqual({len(each) for each in flight}, {min(size, LARGE_INITIAL)})
            self.answers.clear()
            way = DirectWay(TransportAddress("11.0.0.1", size))
            self.listener.endpoint.datagrams_received(way, flight)
            self.world.run(60.0)
            sent = sum(map(len, self.answers))
            self.assertLessEqual(sent, 3 * sum(map(len, flight)), size)
            self.assertGreater(sent, 0)

    def test_one_address(self) -> None:
        """
        One address, or one IPv6 network, does not take all places.
        """
        for hosts in (["11.0.0.1"] * 200, [f"2001:db8::{number:x}" for number in range(200)]):
            ways = [DirectWay(TransportAddress(each, 2000 + i)) for i, each in enumerate(hosts)]
            self.assertLessEqual(sum(self.flood(way, 1) for way in ways), 32 + 33)
        other = DirectWay(TransportAddress("12.0.0.1", 7777))
        self.assertEqual(self.flood(other, 5), 5)

    def test_one_relay(self) -> None:
        """
        Nor does one relay, whatever nodes it makes up.
        """
        for number in range(1, 400):
            node = NodeKey(number.to_bytes(32, "big")).node_id
            self.flood(RelayedWay(RELAY, node), 1)
        other = DirectWay(TransportAddress("12.0.0.1", 7777))
        self.assertEqual(self.flood(other, 5), 5)

    def test_places_come_back(self) -> None:
        """
        Places are free again when the time for a handshake is up.
        """
        way = DirectWay(TransportAddress("11.0.0.1", 2000))
        self.flood(way, 100)
        self.assertEqual(self.flood(way, 3), 0)
        self.world.run(20.0)
        self.assertEqual(self.flood(way, 3), 3)
