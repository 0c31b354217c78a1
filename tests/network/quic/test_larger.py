"""
Tests for L{atmosphere.network.quic.larger} and L{atmosphere.network.quic.link_size}: links
with larger datagrams, from end to end.
"""

from __future__ import annotations

import hashlib
import random
from itertools import pairwise

from twisted.internet.error import ConnectionDone
from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.identity import NodeKey
from atmosphere.network.path.ways import DirectWay, RelayedWay, Way
from atmosphere.network.quic.connection import Link
from atmosphere.network.quic.larger import (
    FORGIVEN_AFTER,
    MAX_PEERS,
    PAUSE,
    Enlargements,
    size_asked_for,
)

from .harness import Node, Recorder, World

#: Bytes that make a larger link worth while.
WORTH = 300_000
MUCH = 500_000
DATA = random.Random(5).randbytes(MUCH)


def digest(data: bytes) -> str:
    """
    The SHA-256 of what was sent or came.
    """
    return hashlib.sha256(data).hexdigest()


class LargerCase(SynchronousTestCase):
    """
    Two nodes whose direct way carries datagrams up to some length.

    @ivar mtu: UDP payloads that the direct way carries.
    @ivar gone: the direct way carries nothing.
    @ivar longest: the longest QUIC datagram that was sent by each kind of way since
        it was last set back, 1-RTT packets alone.
    """

    @override
    def setUp(self) -> None:
        """
        Link them by a relay and directly, and let the direct way be measured.
        """
        self.world = World()
        self.mtu, self.gone = 1472, False
        self.longest: dict[type, int] = {}
        self.world.lose = self.loses
        self.a, self.b = self.world.node(1), self.world.node(2)
        for node in (self.a, self.b):
            node.services["sink"] = Recorder
            node.endpoint._enlargements = Enlargements(WORTH)

    def loses(self, way: Way, data: bytes) -> bool:
        """
        Say whether a way loses a datagram, and note how long it is.
        """
        if data[0] & 0xC0 == 0x40:
            self.longest[type(way)] = max(self.longest.get(type(way), 0), len(data))
        return isinstance(way, DirectWay) and (self.gone or len(data) > self.mtu)

    def link(self) -> Link:
        """
        Dial, and wait until the size of datagrams is known.
        """
        dialling = self.a.endpoint.dial(self.b.key.node_id, self.a.ways_to(self.b))
        self.world.run(20.0)
        return self.successResultOf(dialling)

    def current(self, node: Node) -> Link:
        """
        Find a node's current link to the other.
        """
        other = self.b if node is self.a else self.a
        link = node.endpoint.link_to(other.key.node_id)
        assert link is not None
        return link

    def sizes(self) -> tuple[int, int]:
        """
        Say how large the datagrams of both ends of the current link may be.
        """
        first, second = (self.current(each).core.quic.datagram_size for each in (self.a, self.b))
        return first, second

    def send(self, sender: Node, data: bytes = DATA) -> tuple[Recorder, Recorder]:
        """
        Send much by a new stream.

        @return: the sender's end, and the receiver's as soon as it is there.
        """
        receiver = self.b if sender is self.a else self.a
        count = len(receiver.accepted)
        ours = Recorder()
        stream = self.current(sender).open_stream("sink", ours)
        stream.write(data)
        stream.loseConnection()
        self.world.run(5.0, lambda: len(receiver.accepted) > count)
        theirs = receiver.accepted[count]
        assert isinstance(theirs, Recorder)
        return ours, theirs

    def finishes(self, ours: Recorder, theirs: Recorder) -> None:
        """
        Let a stream come to its end, which is a good one.
        """
        self.world.run(60.0, lambda: ours.lost is not None and theirs.lost is not None)
        self.assertIsInstance(ours.lost, ConnectionDone)
        self.assertIsInstance(theirs.lost, ConnectionDone)

    def arrives(self, sender: Node, data: bytes = DATA) -> float:
        """
        Send much, and see that it arrives as it was.

        @return: the seconds that it took.
        """
        start = self.world.clock.seconds()
        ours, theirs = self.send(sender, data)
        self.finishes(ours, theirs)
        self.assertEqual(digest(theirs.data), digest(data))
        return self.world.clock.seconds() - start

    def enlarge(self) -> Link:
        """
        Have the nodes link anew for larger datagrams.
        """
        first = self.link()
        self.arrives(self.a)
        self.world.run(1.0)
        self.assertIsNot(self.current(self.a), first)
        return self.current(self.a)


class LargerTests(LargerCase):
    """
    Where it pays and can be done datagrams become larger, and no stream notices.
    """

    def test_ethernet(self) -> None:
        """
        After much was moved by a direct way that carries more, streams go by a new link with
        datagrams of that size, in both directions; the dialler of the first one dials it.
        """
        first = self.link()
        other = self.current(self.b)
        self.arrives(self.b)
        self.world.run(1.0)
        self.assertLessEqual(self.longest[DirectWay], 1200)
        self.assertEqual(self.sizes(), (1472, 1472))
        self.assertEqual([len(each.connected) for each in (self.a, self.b)], [2, 2])
        self.assertTrue(self.current(self.a).is_dialler)
        for node in (self.a, self.b):
            told = [each.text for each in self.current(node).core.paths.decisions]
            self.assertIn("this link is new, for datagrams of up to 1472 bytes", told)
        for sender in (self.a, self.b):
            self.longest.clear()
            self.arrives(sender)
            self.assertGreater(self.longest[DirectWay], 1400)
            self.assertLessEqual(self.longest[DirectWay], 1472)
        self.world.run(10.0)
        self.assertFalse(first.is_open or other.is_open)
        self.assertEqual([len(each.connected) for each in (self.a, self.b)], [2, 2])
        self.world.run(300.0)
        self.assertEqual(self.sizes(), (1472, 1472))

    def test_open_streams(self) -> None:
        """
        A stream that is open on the first link stays there to its end.
        """
        first = self.link()
        kept = Recorder()
        stream = first.open_stream("echo", kept)
        self.world.run(1.0)
        self.arrives(self.a)
        self.world.run(30.0)
        self.assertIsNot(self.current(self.a), first)
        stream.write(b"still here")
        self.world.run(1.0)
        self.assertEqual(kept.data, b"still here")
        stream.loseConnection()
        self.world.run(10.0)
        self.assertFalse(first.is_open)

    def test_tunnel(self) -> None:
        """
        A way of 1,280 bytes is worth no handshake.
        """
        self.mtu = 1252
        first = self.link()
        self.arrives(self.a)
        self.arrives(self.b)
        self.world.run(5.0)
        self.assertIs(self.current(self.a), first)
        self.assertLessEqual(self.longest[DirectWay], 1200)

    def test_pppoe(self) -> None:
        """
        A way of 1,492 bytes gets the largest size of the list that it carries.
        """
        self.mtu = 1464
        self.enlarge()
        self.assertEqual(self.sizes(), (1452, 1452))
        self.arrives(self.a)
        self.assertLessEqual(self.longest[DirectWay], 1452)

    def test_relayed(self) -> None:
        """
        By a relay nothing becomes larger.
        """
        self.world.cut = {DirectWay}
        first = self.link()
        self.arrives(self.a)
        self.world.run(5.0)
        self.assertIs(self.current(self.a), first)

    def test_little(self) -> None:
        """
        Nor is it worth a handshake where little is moved.
        """
        first = self.link()
        self.arrives(self.a, bytes(200_000))
        self.world.run(5.0)
        self.assertIs(self.current(self.a), first)

    def hit_a_hole(self, name: str) -> None:
        """
        Have the direct way carry no large datagrams any more while a transfer runs.

        @param name: of the node that sends.
        """
        link, sender = self.enlarge(), {"a": self.a, "b": self.b}[name]
        ours, theirs = self.send(sender)
        self.world.run(5.0, lambda: len(theirs.data) > MUCH // 2)
        self.mtu, hit = 1300, self.world.clock.seconds()
        self.world.run(0.01)
        arrived = len(theirs.data)
        self.assertLess(arrived, MUCH)
        self.world.run(30.0, lambda: len(theirs.data) > arrived)
        self.assertLess(self.world.clock.seconds() - hit, 1.0)
        self.finishes(ours, theirs)
        self.assertEqual(digest(theirs.data), digest(DATA))
        self.assertIs(self.current(self.a), link)
        core = self.current(sender).core
        self.assertEqual(core.quic.datagram_size, 1200)
        self.assertIsInstance(core.paths.active, DirectWay)
        told = [each.text for each in core.paths.decisions]
        self.assertIn("a black hole: datagrams of 1472 bytes went and go no longer", told)
        self.assertIn("datagrams of this link have at most 1200 bytes from now on", told)

    def test_black_hole(self) -> None:
        """
        A way that carries large datagrams no more while a transfer runs is found out soon; the
        transfer goes on in small ones by the same way, and arrives as it was sent.
        """
        self.hit_a_hole("a")

    def test_black_hole_for_the_listener(self) -> None:
        """
        So it is when the listener sends.
        """
        self.hit_a_hole("b")

    def test_black_hole_at_rest(self) -> None:
        """
        It is found by the next confirmation too, though nothing is sent; and before it is
        dialled anew for what still goes there is a pause.
        """
        link = self.enlarge()
        self.mtu = 1420
        self.world.run(140.0)
        self.assertEqual(self.sizes(), (1200, 1200))
        self.arrives(self.a)
        self.world.run(1.0)
        self.assertIsNot(self.current(self.a), link)
        self.assertEqual(self.sizes(), (1400, 1400))

    def test_relayed_meanwhile(self) -> None:
        """
        The direct way dies while a transfer runs on a large link, and comes back: it goes on
        by the relay in datagrams as large as before, and arrives as it was sent.
        """
        self.enlarge()
        data = DATA * 3
        ours, theirs = self.send(self.a, data)
        self.world.run(5.0, lambda: len(theirs.data) > MUCH // 2)
        self.gone = True
        self.world.run(20.0, lambda: isinstance(self.current(self.a).core.paths.active, RelayedWay))
        self.longest.clear()
        had = len(theirs.data)
        self.world.run(0.3)
        self.assertGreater(len(theirs.data), had)
        self.assertLess(len(theirs.data), len(data))
        self.assertGreater(self.longest[RelayedWay], 1400)
        self.gone = False
        self.finishes(ours, theirs)
        self.assertEqual(digest(theirs.data), digest(data))
        self.world.run(60.0)
        self.assertIsInstance(self.current(self.a).core.paths.active, DirectWay)

    def test_unmeasured_way(self) -> None:
        """
        Back on a direct way that carries less than before, no datagram is too large for it.
        """
        self.enlarge()
        self.gone = True
        self.world.run(20.0)
        self.gone, self.mtu = False, 1300
        self.world.run(60.0)
        self.longest.clear()
        self.assertLess(self.arrives(self.a), 5.0)
        self.assertLessEqual(self.longest[DirectWay], 1200)

    def test_outage(self) -> None:
        """
        A way that carries nothing for a second has no black hole.
        """
        self.enlarge()
        ours, theirs = self.send(self.a)
        self.world.run(5.0, lambda: len(theirs.data) > MUCH // 2)
        self.gone = True
        self.world.run(1.0)
        self.gone = False
        self.finishes(ours, theirs)
        self.assertEqual(digest(theirs.data), digest(DATA))
        self.assertEqual(self.sizes(), (1472, 1472))

    def test_too_many(self) -> None:
        """
        Where older links are kept by their streams no more are dialled: none of those streams
        is to be cut off because there are too many links.
        """
        kept = []
        self.mtu = 1400
        self.link()
        for mtu in (1400, 1452, 1472, 1472):
            self.mtu = mtu
            kept.append(Recorder())
            self.current(self.a).open_stream("echo", kept[-1])
            self.world.run(700.0)
            self.arrives(self.a)
            self.world.run(5.0)
        self.assertEqual(self.sizes(), (1452, 1452))
        self.assertEqual(len(self.a.connected), 3)
        for each in kept:
            assert each.transport is not None
            each.transport.write(b"still here")
        self.world.run(1.0)
        self.assertEqual({each.data for each in kept}, {b"still here"})

    def test_failure(self) -> None:
        """
        An attempt that comes to nothing leaves the first link as it was, and is repeated
        after a pause.
        """
        first = self.link()
        self.world.lose = lambda way, data: self.loses(way, data) or data[0] & 0xC0 == 0xC0
        self.arrives(self.a)
        self.world.run(30.0)
        self.arrives(self.a)
        self.assertIs(self.current(self.a), first)
        self.assertEqual(len(self.a.connected), 1)
        self.world.lose = self.loses
        self.arrives(self.a)
        self.world.run(5.0)
        self.assertIs(self.current(self.a), first)
        self.world.run(PAUSE)
        self.arrives(self.a)
        self.world.run(1.0)
        self.assertEqual(self.sizes(), (1472, 1472))

    def test_begun_by_the_relay(self) -> None:
        """
        A large link whose first datagram is lost on the direct way begins by the relay, and
        is large when it goes on by the direct way, though it has measured nothing itself.
        """
        self.link()

        def lose(way: Way, data: bytes) -> bool:
            """
            Lose the direct datagrams of the handshake.
            """
            return self.loses(way, data) or (data[0] & 0xC0 == 0xC0 and isinstance(way, DirectWay))

        self.world.lose = lose
        self.arrives(self.a)
        self.world.run(1.0)
        self.world.lose = self.loses
        for node in (self.a, self.b):
            self.assertEqual(len(node.connected), 2)
            self.assertIsInstance(self.current(node).core.paths.active, DirectWay)
        self.assertEqual(self.sizes(), (1472, 1472))
        self.longest.clear()
        self.arrives(self.b)
        self.assertGreater(self.longest[DirectWay], 1400)

    def test_stopped(self) -> None:
        """
        A node that stops just when a stream ends dials nobody any more.
        """
        link, ours = self.link(), Recorder()
        stream = link.open_stream("sink", ours)
        stream.write(DATA)
        self.world.run(10.0)
        self.assertGreater(link.core.quic.moved, MUCH)
        stream.loseConnection()
        self.world.clock.advance(0)
        self.assertIsNone(ours.lost)
        self.a.endpoint.stop()
        self.assertIsNotNone(ours.lost)
        self.b.endpoint.stop()
        self.world.run(1.0)
        self.assertEqual(self.world.clock.getDelayedCalls(), [])

    def test_lie(self) -> None:
        """
        A dialler that asks for large datagrams without reason gets small ones: what the
        listener has not measured itself it does not send.
        """
        self.a.endpoint._start_dial(
            self.b.key.node_id, [DirectWay(self.b.address)], datagram_size=1472
        )
        self.mtu = 65_535
        self.world.run(0.5)
        self.assertEqual(self.sizes(), (1200, 1200))
        self.longest.clear()
        self.arrives(self.b)
        self.assertLessEqual(self.longest[DirectWay], 1200)


class EnlargementsTests(SynchronousTestCase):
    """
    When an attempt is made.
    """

    def test_pauses(self) -> None:
        """
        Attempts with one peer are further and further apart, until none was made for long.
        """
        known, peer, now = Enlargements(), NodeKey(b"\x09" * 32).node_id, 0.0
        made: list[float] = []
        while len(made) < 8:
            if known._may(peer, now):
                made.append(now)
            now += 10.0
        waits = [late - early for early, late in pairwise(made)]
        self.assertEqual(waits, [60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 1920.0])
        late = made[-1] + FORGIVEN_AFTER
        self.assertTrue(known._may(peer, late))
        self.assertFalse(known._may(peer, late + PAUSE - 1))
        self.assertTrue(known._may(peer, late + PAUSE))

    def test_bound(self) -> None:
        """
        So many peers are remembered and no more.
        """
        known = Enlargements()
        peers = [NodeKey(number.to_bytes(32, "big")).node_id for number in range(MAX_PEERS + 9)]
        for peer in peers:
            self.assertTrue(known._may(peer, 0.0))
        self.assertEqual(len(known._attempts), MAX_PEERS)

    def test_size_asked_for(self) -> None:
        """
        The length of the first datagram tells what the dialler wants.
        """
        self.assertEqual([size_asked_for(each) for each in (1200, 1279)], [1200, 1200])
        self.assertEqual([size_asked_for(each) for each in (1280, 9000)], [1472, 1472])
