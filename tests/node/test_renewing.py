"""
Tests for L{atmosphere.node.renewing}.
"""

from __future__ import annotations

from atmosphere.membership import DAY

from .harness import WorldCase


class RenewalTests(WorldCase):
    """
    Certificates are renewed from half of their life on, without anybody's doing.
    """

    def test_renewed(self) -> None:
        """
        A month later the member is still one, with a new certificate, and so is
        the founder, half a year later.
        """
        first = self.world.node("portland", "198.51.100.1")
        second = self.world.node("seattle", "198.51.100.2")
        self.world.join(first, second)
        self.world.until(lambda: first.is_linked(second), 10)
        before = second.service.mesh.own
        assert before is not None
        self.world.skip(16 * DAY)
        self.world.until(lambda: second.service.mesh.own != before, 1300)
        after = second.service.mesh.own
        assert after is not None
        self.assertGreater(after.not_after, before.not_after + 14 * DAY)
        self.assertEqual((after.name, after.roles), (before.name, before.roles))
        founder = first.service.mesh.own
        self.world.skip(30 * DAY)
        self.world.until(lambda: first.service.mesh.own != founder, 1300)
        self.assertTrue(first.service.mesh.is_admin)

    def test_not_due(self) -> None:
        """
        A certificate that is young is left alone.
        """
        first = self.world.node("portland", "198.51.100.1")
        second = self.world.node("seattle", "198.51.100.2")
        self.world.join(first, second)
        self.world.until(lambda: first.is_linked(second), 10)
        before = (first.service.mesh.own, second.service.mesh.own)
        self.world.skip(14 * DAY)
        self.world.network.advance(1300)
        self.assertEqual((first.service.mesh.own, second.service.mesh.own), before)
