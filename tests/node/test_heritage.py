"""
Tests of L{atmosphere.node.heritage} and of what L{atmosphere.node.predicting} does with it:
whole nodes of which one is behind a NAT whose ports must be guessed.
"""

from __future__ import annotations

from functools import partial

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.addresses import TransportAddress
from atmosphere.identity import NodeKey
from atmosphere.network.path.way_table import MAX_INHERITED
from atmosphere.network.path.ways import DirectWay
from atmosphere.node.heritage import KEPT_FOR, MAX_PEERS, Heritage
from atmosphere.testing.machine import Machine
from atmosphere.testing.nat import PORT_RESTRICTED, SYMMETRIC, NatBehaviour

from .two_homes import TwoHomes

SEEDS = range(5)
BOTH_WAYS_ROUND = ((SYMMETRIC, PORT_RESTRICTED), (PORT_RESTRICTED, SYMMETRIC))


def _way(port: int) -> DirectWay:
    """
    Make a way.
    """
    return DirectWay(TransportAddress("198.51.100.1", port))


def _peer(number: int) -> NodeKey:
    """
    Make a peer.
    """
    return NodeKey(number.to_bytes(32, "big"))


class HeritageTests(SynchronousTestCase):
    """
    What is kept, and for how long.
    """

    @override
    def setUp(self) -> None:
        """
        Keep nothing yet.
        """
        self.clock = Clock()
        self.forgotten = 0
        self.heritage = Heritage(self.clock, self.forget)
        self.peer = _peer(1).node_id

    def forget(self) -> None:
        """
        Count what was forgotten.
        """
        self.forgotten += 1

    def test_kept_for_a_while(self) -> None:
        """
        Ways are kept for a minute after the link's end, and then forgotten.
        """
        self.assertEqual(self.heritage.of(self.peer), ())
        self.heritage.keep(self.peer, [_way(1)])
        self.clock.advance(KEPT_FOR - 0.1)
        self.assertEqual(self.heritage.of(self.peer), (_way(1),))
        self.assertEqual(self.forgotten, 0)
        self.clock.advance(0.2)
        self.assertEqual((self.heritage.of(self.peer), self.forgotten), ((), 1))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_another_link_ends(self) -> None:
        """
        The ways of the link that ended last come first, and there are never many. Those
        that it did not prove anew are kept for no longer than they would have been.
        """
        self.heritage.keep(self.peer, [_way(1), _way(2)])
        self.clock.advance(KEPT_FOR / 2)
        self.heritage.keep(self.peer, [_way(3), _way(2), _way(4)])
        self.assertEqual(self.heritage.of(self.peer), (_way(3), _way(2), _way(4), _way(1)))
        self.clock.advance(KEPT_FOR / 2 + 0.1)
        self.assertEqual(self.heritage.of(self.peer), (_way(3), _way(2), _way(4)))
        self.assertEqual(self.forgotten, 1)
        self.heritage.keep(self.peer, [])
        self.clock.advance(KEPT_FOR / 2)
        self.assertEqual((self.heritage.of(self.peer), self.forgotten), ((), 2))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.heritage.keep(self.peer, [_way(number) for number in range(10, 20)])
        self.assertEqual(len(self.heritage.of(self.peer)), MAX_INHERITED)

    def test_nothing_to_keep(self) -> None:
        """
        A link without a direct way leaves nothing.
        """
        self.heritage.keep(self.peer, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_many_peers(self) -> None:
        """
        The peers that are kept are not many: the oldest makes room.
        """
        for number in range(MAX_PEERS + 3):
            self.heritage.keep(_peer(number).node_id, [_way(number + 1)])
        self.assertEqual(self.heritage.of(_peer(2).node_id), ())
        self.assertEqual(self.heritage.of(_peer(3).node_id), (_way(4),))
        self.assertEqual(self.forgotten, 3)
        self.assertEqual(len(self.clock.getDelayedCalls()), MAX_PEERS)

    def test_stop(self) -> None:
        """
        Stopping lets go of all.
        """
        self.heritage.keep(self.peer, [_way(1)])
        self.heritage.stop()
        self.assertEqual((self.heritage.of(self.peer), self.clock.getDelayedCalls()), ((), []))


class GuessedWayTests(SynchronousTestCase):
    """
    A way that was guessed outlives its link.
    """

    def homes(self, one: NatBehaviour, two: NatBehaviour, seed: int = 1) -> TwoHomes:
        """
        Make the homes, direct by guessing, and gone at the test's end.
        """
        homes = TwoHomes(one, two, seed)
        self.addCleanup(homes.mesh.stop)
        self.assertIsNotNone(homes.until_direct(3.0), seed)
        homes.mesh.advance(10)
        return homes

    def sides(self, homes: TwoHomes) -> tuple[Machine, Machine]:
        """
        Say who is behind the hard NAT, and who is not.
        """
        here, there = homes.portland, homes.seattle
        opened = homes.status(here)["sockets_opened"]
        return (here, there) if opened else (there, here)

    def has_own_socket(self, hard: Machine, easy: Machine) -> bool:
        """
        Say whether a socket was hit, and not the shared port, whose way needs nothing kept.
        """
        link = hard.link_to(easy)
        way = None if link is None else link.core.paths.active
        return isinstance(way, DirectWay) and way.socket is not None

    def until_direct_again(self, homes: TwoHomes, one: Machine, other: Machine) -> float:
        """
        Wait for another link than the one that C{one} has, then until it is direct.

        @return: how long after its welcome.
        """
        old = one.link_to(other)

        def is_new() -> bool:
            link = one.link_to(other)
            return link not in (old, None) and other.is_linked(one)

        homes.mesh.until(is_new, 60)
        took = homes.until_direct(5.0)
        self.assertIsNotNone(took)
        assert took is not None
        return took

    def test_peer_starts_anew(self) -> None:
        """
        When the one with the easy NAT is killed and starts anew, the two are direct within a
        second of the new link's welcome, by the socket that was hit, without a burst.
        """
        for pair in BOTH_WAYS_ROUND:
            for seed in SEEDS:
                homes = self.homes(*pair, seed)
                hard, easy = self.sides(homes)
                is_own = self.has_own_socket(hard, easy)
                easy.kill()
                homes.mesh.advance(1)
                easy.restart()
                self.assertLess(self.until_direct_again(homes, hard, easy), 1.0, seed)
                self.assertEqual(self.has_own_socket(hard, easy), is_own)
                homes.mesh.advance(10)
                self.assertEqual(homes.status(hard)["bursts"], 1)
                self.assertEqual(homes.status(easy)["bursts"], 0)

    def test_peer_stops_and_starts(self) -> None:
        """
        The same when it says good-bye, and comes back within half a minute.
        """
        homes = self.homes(SYMMETRIC, PORT_RESTRICTED)
        homes.mesh.result(homes.seattle.service.stopService())
        homes.seattle.release()
        homes.mesh.advance(15)
        self.assertIsNone(homes.portland.link_to(homes.seattle))
        self.assertGreaterEqual(homes.status(homes.portland)["sockets_open"], 1)
        homes.seattle.start()
        took = self.until_direct_again(homes, homes.portland, homes.seattle)
        self.assertLess(took, 1.0)
        self.assertEqual(homes.status(homes.portland)["bursts"], 1)

    def test_dialled_anew(self) -> None:
        """
        A link that is silent and dialled anew hands its ways to the new one.
        """
        for pair in BOTH_WAYS_ROUND:
            for seed in SEEDS:
                homes = self.homes(*pair, seed)
                hard, easy = self.sides(homes)
                old = hard.link_to(easy)
                assert old is not None
                homes.mesh.network.cut(easy.host)
                homes.mesh.until(partial(getattr, old, "is_silent"))
                homes.mesh.advance(1.5)
                homes.mesh.network.heal(easy.host)
                self.assertLess(self.until_direct_again(homes, hard, easy), 1.0, seed)
                homes.mesh.advance(30)
                self.assertTrue(homes.is_direct())
                self.assertFalse(old.is_open)
                self.assertEqual(homes.status(hard)["bursts"], 1)
                self.assertEqual(homes.status(easy)["bursts"], 1)
                self.assertLessEqual(homes.status(hard)["sockets_open"], MAX_INHERITED)

    def test_sockets_are_closed(self) -> None:
        """
        A socket is closed a minute after the last link that used it, and at once when
        the peer is no member any more.
        """
        homes = self.homes(SYMMETRIC, PORT_RESTRICTED)
        hard, easy = homes.portland, homes.seattle
        self.assertGreaterEqual(homes.status(hard)["sockets_open"], 1)
        easy.kill(is_silent=True)
        homes.mesh.advance(2)
        link = hard.link_to(easy)
        assert link is not None
        link.close("enough")
        homes.mesh.advance(KEPT_FOR - 1)
        kept = homes.status(hard)["sockets_open"]
        self.assertTrue(1 <= kept <= MAX_INHERITED)
        homes.mesh.advance(2)
        self.assertEqual(homes.status(hard)["sockets_open"], 0)

    def test_many_links(self) -> None:
        """
        However often the peer starts anew, no sockets are left behind.
        """
        homes = self.homes(SYMMETRIC, PORT_RESTRICTED)
        hard, easy = homes.portland, homes.seattle
        for _ in range(4):
            easy.kill()
            homes.mesh.advance(1)
            easy.restart()
            self.assertLess(self.until_direct_again(homes, hard, easy), 1.0)
            homes.mesh.advance(10)
        self.assertTrue(1 <= homes.status(hard)["sockets_open"] <= MAX_INHERITED)
        easy.kill(is_silent=True)
        homes.mesh.advance(1000)
        self.assertEqual(homes.status(hard)["sockets_open"], 0)

    def test_no_member_any_more(self) -> None:
        """
        Of a peer that is no member any more nothing is kept.
        """
        homes = self.homes(SYMMETRIC, PORT_RESTRICTED)
        service = homes.portland.service
        node = homes.seattle.key.node_id
        service.mesh.merge(lambda roster: roster.remove(node, "is gone"))
        service.links.recheck()
        homes.mesh.advance(1)
        self.assertEqual(homes.status(homes.portland)["sockets_open"], 0)

    def test_hard_side_starts_anew(self) -> None:
        """
        When the one with the hard NAT starts anew its sockets are gone: data is relayed,
        and what the other one tries harms nothing.
        """
        homes = self.homes(SYMMETRIC, PORT_RESTRICTED)
        homes.portland.kill()
        homes.mesh.advance(1)
        homes.portland.restart()
        homes.mesh.until(lambda: homes.seattle.is_linked(homes.portland), 60)
        homes.mesh.advance(20)
        self.assertEqual(homes.seattle.path_to(homes.portland), "relayed")
