"""
Tests of whole nodes: what happens to a transfer while the network beneath it fails.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.testing import PORT_RESTRICTED, SYMMETRIC

from .healing import Healing, Homes

#: Homes that reach each other directly, and such that need the relay.
PUNCHED = PORT_RESTRICTED, PORT_RESTRICTED
RELAYED = SYMMETRIC, SYMMETRIC

OTHER_ADDRESS = "198.51.100.77"

#: Seconds for which nothing may come, beyond the fault itself.
AFTER_CUT = 0.5
AFTER_RELAY = 5.0
AFTER_REBOOT = 1.0
AFTER_OTHER_ADDRESS = 3.0
AFTER_BLOCK = 6.5
AFTER_SLEEP = 1.0


class HealingTests(SynchronousTestCase):
    """
    The transfer completes and is equal, and is not interrupted for long.
    """

    def begin(self, homes: Homes, seed: int = 1) -> Healing:
        """
        Begin a transfer, which has to be whole in the end.
        """
        healing = Healing(self.mktemp(), homes=homes, seed=seed)
        self.addCleanup(healing.close)
        healing.send()
        kind = "relayed" if homes == RELAYED else "punched"
        self.assertEqual(healing.paths, (kind, kind))
        return healing

    def check(
        self, homes: Homes, within: float, fault: Callable[[Healing], float], seed: int = 1
    ) -> None:
        """
        Let something happen to a transfer.

        @param within: seconds.
        """
        healing = self.begin(homes, seed)
        gap = fault(healing)
        self.assertTrue(healing.is_whole, healing.receiver.received)
        self.assertLessEqual(gap, within)

    def test_reboot(self) -> None:
        """
        A NAT on either side that is switched off and on hardly interrupts.
        """
        for homes in (PUNCHED, RELAYED):
            self.check(homes, AFTER_REBOOT, lambda healing: healing.reboot(healing.here))
            self.check(homes, AFTER_REBOOT, lambda healing: healing.reboot(healing.there))

    def test_long_after_reboot(self) -> None:
        """
        After that a relayed transfer is as fast as before, on lines of 1 MB a second, and
        does not stop any more.
        """
        healing = Healing(self.mktemp(), homes=RELAYED, total=10_000_000)
        self.addCleanup(healing.close)
        healing.send()
        gap = healing.reboot(healing.there)
        self.assertTrue(healing.is_whole, healing.receiver.received)
        self.assertLessEqual(gap, AFTER_REBOOT)
        self.assertLess(healing.clock.seconds() - healing.begun, 13)

    def test_other_address(self) -> None:
        """
        One that has another public address then interrupts for three seconds.
        """
        for homes in (PUNCHED, RELAYED):
            for side in ("here", "there"):

                def reboot(healing: Healing, side: str = side) -> float:
                    return healing.reboot(getattr(healing, side), OTHER_ADDRESS)

                self.check(homes, AFTER_OTHER_ADDRESS, reboot)

    def test_roaming(self) -> None:
        """
        So does a machine that is carried into another network.
        """
        for homes in (PUNCHED, RELAYED):
            for side in ("here", "there"):

                def roam(healing: Healing, side: str = side) -> float:
                    return healing.roam(getattr(healing, side), OTHER_ADDRESS)

                self.check(homes, AFTER_OTHER_ADDRESS, roam)

    def test_direct_again(self) -> None:
        """
        After that the path is direct again within seconds, by the new address.
        """
        healing = self.begin(PUNCHED)
        assert healing.here.nat is not None
        healing.here.nat.reboot(OTHER_ADDRESS)
        healing.world.until(lambda: "relayed" in healing.paths, 4)
        healing.world.until(lambda: healing.paths == ("punched", "punched"), 4)
        link = healing.there.link_to(healing.here)
        assert link is not None
        assert link.path is not None
        self.assertIn(OTHER_ADDRESS, str(link.path.way))

    def test_blocked(self) -> None:
        """
        When the direct path goes silent data flow by the relay within 6.5 s, and directly
        again when it is back.
        """
        self.check(PUNCHED, AFTER_BLOCK, Healing.block)
        healing = self.begin(PUNCHED)
        network, ends = healing.world.network, (healing.here.host, healing.there.host)
        network.cut(*ends, tcp=False)
        healing.world.until(lambda: healing.paths == ("relayed", "relayed"), AFTER_BLOCK)
        network.heal(*ends)
        healing.world.until(lambda: healing.paths == ("punched", "punched"), 4)
        healing.finish()
        self.assertTrue(healing.is_whole)

    def test_asleep(self) -> None:
        """
        A transfer goes on when a machine wakes, after two minutes and after ten, and as
        fast as before.
        """
        for homes, side, seconds in (
            (PUNCHED, "here", 120),
            (PUNCHED, "here", 600),
            (PUNCHED, "there", 600),
            (RELAYED, "here", 120),
            (RELAYED, "there", 600),
        ):
            healing = self.begin(homes)
            gap = healing.sleep(getattr(healing, side), seconds)
            self.assertTrue(healing.is_whole, healing.receiver.received)
            self.assertLessEqual(gap, AFTER_SLEEP)
            self.assertLess(healing.clock.seconds() - healing.begun, seconds + 15)

    def test_lid(self) -> None:
        """
        So does one of a laptop that was closed for ten minutes and that its NAT has
        forgotten, within three seconds; likewise if it is opened somewhere else.
        """
        for homes in (PUNCHED, RELAYED):
            for side in ("here", "there"):
                for elsewhere in (None, OTHER_ADDRESS):
                    healing = self.begin(homes)
                    gap = healing.close_lid(getattr(healing, side), 600, elsewhere)
                    self.assertTrue(healing.is_whole, healing.receiver.received)
                    self.assertLessEqual(gap, AFTER_OTHER_ADDRESS, (side, elsewhere))

    def test_cut(self) -> None:
        """
        After an uplink was cut for 10 s, on either side, data flows half a second later.
        """
        for homes in (PUNCHED, RELAYED):
            self.check(homes, AFTER_CUT, lambda healing: healing.cut(healing.here, 10))
            self.check(homes, AFTER_CUT, lambda healing: healing.cut(healing.there, 10))

    def test_cut_for_long(self) -> None:
        """
        So it does after a minute.
        """
        for homes in (PUNCHED, RELAYED):
            self.check(homes, AFTER_CUT, lambda healing: healing.cut(healing.here, 60))
            self.check(homes, AFTER_CUT, lambda healing: healing.cut(healing.there, 60))

    def test_relay_dies(self) -> None:
        """
        A relay that dies and comes back interrupts only those who need it, by 5 s.
        """
        self.check(PUNCHED, 0.1, lambda healing: healing.kill_relay(2))
        self.check(RELAYED, AFTER_RELAY, lambda healing: healing.kill_relay(1))
        self.check(RELAYED, AFTER_RELAY, lambda healing: healing.kill_relay(20))

    def test_relay_vanishes(self) -> None:
        """
        So does one whose machine is gone, and back after a minute.
        """
        self.check(RELAYED, AFTER_RELAY, lambda healing: healing.kill_relay(60, is_silent=True))
