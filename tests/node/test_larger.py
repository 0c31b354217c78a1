"""
Tests of larger datagrams between two homes, each behind its NAT.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from .healing import Healing

#: Bytes of a transfer after which another link is worth a handshake.
TOTAL = 4_500_000


class HomesTests(SynchronousTestCase):
    """
    What follows a large transfer goes in larger datagrams.
    """

    def sizes(self, healing: Healing) -> list[int]:
        """
        Say how large the datagrams of both ends may be.
        """
        links = (healing.here.link_to(healing.there), healing.there.link_to(healing.here))
        return [0 if link is None else link.core.quic.datagram_size for link in links]

    def transfer(self, healing: Healing) -> None:
        """
        Send much, and see that it arrives as it was.
        """
        healing.send()
        healing.finish()
        self.assertTrue(healing.is_whole)

    def test_punched(self) -> None:
        """
        Two homes on Ethernet move to 1,472 bytes after the first transfer; the second one,
        which so goes, is blocked from its path and goes on by the relay.
        """
        healing = Healing(self.mktemp(), total=TOTAL)
        self.addCleanup(healing.close)
        self.transfer(healing)
        self.assertEqual(healing.paths, ("punched", "punched"))
        healing.world.advance(10)
        self.assertEqual(self.sizes(healing), [1472, 1472])
        large = healing.here.link_to(healing.there)
        healing.send()
        self.assertLess(healing.block(), 6.5)
        self.assertTrue(healing.is_whole)
        self.assertIs(healing.here.link_to(healing.there), large)

    def test_reboot(self) -> None:
        """
        A large link whose NAT starts anew goes on as others do.
        """
        healing = Healing(self.mktemp(), total=TOTAL)
        self.addCleanup(healing.close)
        self.transfer(healing)
        healing.world.advance(10)
        self.assertEqual(self.sizes(healing), [1472, 1472])
        healing.send()
        self.assertLess(healing.reboot(healing.there), 1.0)
        self.assertTrue(healing.is_whole)

    def test_tunnel(self) -> None:
        """
        Where the path carries 1,280 bytes nothing becomes larger.
        """
        healing = Healing(self.mktemp(), total=TOTAL)
        self.addCleanup(healing.close)
        assert healing.there.nat is not None
        healing.world.network.set_link(healing.there.nat, mtu=1280)
        healing.world.advance(150)
        self.transfer(healing)
        healing.world.advance(10)
        self.assertEqual(self.sizes(healing), [1200, 1200])
