"""
Tests of L{atmosphere.node.predicting}: whole nodes behind simulated NATs that ordinary
checks do not get through.
"""

from __future__ import annotations

import resource

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.network.nat.port_prediction import MAX_PROBES
from atmosphere.network.path.ways import DirectWay
from atmosphere.node.predicting import most_sockets
from atmosphere.testing.nat import (
    ADDRESS_RESTRICTED,
    CGNAT,
    FULL_CONE,
    PORT_RESTRICTED,
    SYMMETRIC,
    NatBehaviour,
)

from .two_homes import TwoHomes

SEEDS = range(20)


class HomesTests(SynchronousTestCase):
    """
    Two homes of different kinds.
    """

    def homes(self, one: NatBehaviour, two: NatBehaviour, seed: int = 1) -> TwoHomes:
        """
        Make the homes, which are gone at the test's end.
        """
        homes = TwoHomes(one, two, seed)
        self.addCleanup(homes.mesh.stop)
        return homes

    def test_hard_pairs(self) -> None:
        """
        Each way round, with each NAT that lets in answers alone, the two become direct
        within 3 s, by one socket of up to 256 and at most 1,500 probes.
        """
        for seed in SEEDS:
            easy = PORT_RESTRICTED if seed % 2 else CGNAT
            for one, two in ((SYMMETRIC, easy), (easy, SYMMETRIC)):
                homes = TwoHomes(one, two, seed)
                took = homes.until_direct(3.0)
                self.assertIsNotNone(took, (seed, one.mapping))
                hard, other = homes.portland, homes.seattle
                if two is SYMMETRIC:
                    hard, other = other, hard
                opened, probed = homes.status(hard), homes.status(other)
                self.assertEqual((opened["bursts"], opened["sockets_opened"]), (1, 256))
                self.assertEqual((opened["probes_sent"], probed["sockets_opened"]), (0, 0))
                self.assertLessEqual(probed["probes_sent"], MAX_PROBES)
                homes.mesh.advance(0.2)
                link = hard.service.links.link_to(other.key.node_id)
                assert link is not None
                way = link.core.paths.active
                assert isinstance(way, DirectWay)
                # The shared port has a mapping towards the peer too, and may be hit.
                least = int(way.socket is not None)
                self.assertTrue(least <= homes.status(hard)["sockets_open"] <= 8, seed)
                homes.mesh.stop()

    def test_easy_pairs(self) -> None:
        """
        Where the other NAT lets in more than answers, checks suffice.
        """
        for easy in (FULL_CONE, ADDRESS_RESTRICTED):
            for pair in ((SYMMETRIC, easy), (easy, SYMMETRIC)):
                homes = self.homes(*pair)
                self.assertIsNotNone(homes.until_direct(3.0))
                homes.mesh.advance(30)
                for machine in (homes.portland, homes.seattle):
                    self.assertEqual(homes.status(machine)["bursts"], 0)

    def test_two_hard_ones(self) -> None:
        """
        Between two such NATs nothing is guessed, and C{why} says so and what helps.
        """
        homes = self.homes(SYMMETRIC, SYMMETRIC)
        homes.mesh.advance(30)
        for machine in (homes.portland, homes.seattle):
            self.assertEqual(homes.status(machine)["bursts"], 0)
        why = homes.seattle.service.why("portland")
        self.assertIn("through a relay", why["summary"])
        self.assertIn("both NATs are address-dependent", why["help"][0])
        self.assertIn("neither", why["help"][0])
        self.assertIn("forward UDP port 7777", why["help"][0])

    def test_stream(self) -> None:
        """
        What is sent on the way leaves and arrives by the one socket: pings come back.
        """
        homes = self.homes(SYMMETRIC, PORT_RESTRICTED)
        homes.until_direct(3.0)
        for one, peer in ((homes.seattle, "portland"), (homes.portland, "seattle")):
            run = one.service.ping(
                peer, count=5, interval=1.0, timeout=5.0, until_direct=False, emit=lambda _: None
            )
            summary = homes.mesh.result(run, 60)
            self.assertEqual((summary["received"], summary["path"]["kind"]), (5, "punched"))
        homes.mesh.advance(600)
        self.assertIsInstance(homes.link.core.paths.active, DirectWay)

    def test_node_stops(self) -> None:
        """
        When the node stops in the middle of a burst all sockets are closed.
        """
        homes = self.homes(SYMMETRIC, PORT_RESTRICTED)
        service = homes.portland.service
        while not homes.status(homes.portland)["sockets_open"]:
            homes.mesh.advance(0.01)
        homes.mesh.advance(0.05)
        kernel = homes.portland.host.kernel
        many = len(kernel.sockets)
        self.assertGreater(many, 100)
        stopped = service.stopService()
        homes.mesh.result(stopped, 10)
        homes.mesh.advance(1)
        self.assertLess(len(kernel.sockets), 10)
        self.assertEqual(homes.status(homes.portland)["sockets_open"], 0)

    def test_status(self) -> None:
        """
        The status says what was used of the budget.
        """
        homes = self.homes(SYMMETRIC, PORT_RESTRICTED)
        homes.until_direct(3.0)
        homes.mesh.advance(1.0)
        told = homes.portland.service.status()["port_guessing"]
        self.assertEqual((told["bursts"], told["hits"], told["sockets_opened"]), (1, 1, 256))
        self.assertEqual((told["is_running"], told["mappings_last_minute"]), (False, 256))
        homes.mesh.advance(60)
        told = homes.portland.service.status()["port_guessing"]
        self.assertEqual(told["mappings_last_minute"], 0)


class LimitTests(SynchronousTestCase):
    """
    What the process may have.
    """

    def burst(self, room: int) -> tuple[TwoHomes, int]:
        """
        Begin a burst on a machine where the process may open so many more sockets.

        @return: the homes, of which Portland has the hard NAT, and how many sockets it had.
        """
        homes = TwoHomes(SYMMETRIC, PORT_RESTRICTED, seed=3)
        self.addCleanup(homes.mesh.stop)
        kernel = homes.portland.host.kernel
        while not homes.link.is_connected:
            homes.mesh.advance(0.01)
        before = len(kernel.sockets)
        kernel.most_sockets = before + room
        while not homes.status(homes.portland)["bursts"]:
            homes.mesh.advance(0.01)
        homes.mesh.advance(0.1)
        return homes, before

    def check_alive(self, homes: TwoHomes, before: int) -> None:
        """
        Check that nothing of the burst is left but ways in use, and that the node does
        what it did.
        """
        homes.mesh.advance(10)
        status = homes.status(homes.portland)
        self.assertFalse(status["is_running"])
        kernel = homes.portland.host.kernel
        self.assertLessEqual(status["sockets_open"], 8)
        self.assertEqual(len(kernel.sockets), before + status["sockets_open"])
        for one, peer in ((homes.seattle, "portland"), (homes.portland, "seattle")):
            run = one.service.ping(
                peer, count=2, interval=1.0, timeout=5.0, until_direct=False, emit=lambda _: None
            )
            self.assertEqual(homes.mesh.result(run, 60)["received"], 2)

    def told(self, homes: TwoHomes) -> str:
        """
        Read what C{why} says at the hard side.
        """
        why = homes.portland.service.why("seattle")
        return "\n".join(each["text"] for each in why["decisions"])

    def test_too_many_files(self) -> None:
        """
        Where the system gives no more sockets in the middle, the burst goes on with those
        that it has, but for some that it gives back for the node to live; C{why} says so,
        and all are released afterwards.
        """
        homes, before = self.burst(100)
        kernel = homes.portland.host.kernel
        status = homes.status(homes.portland)
        self.assertEqual((status["sockets_opened"], status["sockets_open"]), (84, 84))
        self.assertEqual(len(kernel.sockets), before + 84)
        self.assertIn(
            "guessing ports: 84 sockets only, no UDP port can be opened: Too many open files",
            self.told(homes),
        )
        self.check_alive(homes, before)

    def test_no_files(self) -> None:
        """
        Where it gives none, or few, the burst is over, and C{why} says why.
        """
        for room in (0, 1, 16):
            homes, before = self.burst(room)
            self.assertEqual(homes.status(homes.portland)["sockets_open"], 0)
            self.assertIn("no UDP port can be opened: Too many open files", self.told(homes))
            self.check_alive(homes, before)
            why = str(homes.portland.service.why("seattle"))
            self.assertIn("ports were guessed: no UDP port can be opened: Too many open files", why)
            self.assertNotIn("0 sockets only", why)

    def test_descriptors(self) -> None:
        """
        A burst takes no more than a quarter of the descriptors.
        """
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (403, hard))
        self.assertEqual(most_sockets(), 100)
