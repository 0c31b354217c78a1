"""
Addresses at which somebody else listens: in another network with the same private ones.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.testing import MemoryMesh


class OtherListenersTests(SynchronousTestCase):
    """
    Portland and tacoma have the same private address and port, each at home, and
    seattle is in tacoma's.
    """

    @override
    def setUp(self) -> None:
        """
        Make the mesh, without seattle.
        """
        self.mesh = MemoryMesh(Clock())
        self.addCleanup(self.mesh.stop)
        self.mesh.node("portland", behind="port-restricted")
        self.home = self.mesh.home("port-restricted")
        self.mesh.node("tacoma", behind=self.home)
        portland, tacoma = (self.mesh.machines[name].host for name in ("portland", "tacoma"))
        self.assertEqual(portland.address, tacoma.address)

    def test_join(self) -> None:
        """
        Who joins by a code with that address finds the right node by another way.
        """
        seattle = self.mesh.node("seattle", behind=self.home)
        self.assertEqual(len(seattle.mesh.others()), 2)

    def test_dial(self) -> None:
        """
        So does who dials it, each time.
        """
        self.mesh.node("seattle", behind="none")
        portland, seattle = self.mesh.machines["portland"], self.mesh.machines["seattle"]
        assert self.home.nat is not None
        self.mesh.network.move(seattle.host, "192.168.1.77", on=self.home.nat.lan)
        self.mesh.advance(60)
        seattle.kill()
        service = seattle.restart()
        self.mesh.advance(2)
        dialling = service.links.endpoint.dial(
            portland.key.node_id, service.links.ways_to(portland.key.node_id)
        )
        took = self.mesh.clock.seconds()
        link = self.mesh.result(dialling)
        self.assertEqual(link.peer, portland.key.node_id)
        self.assertLess(self.mesh.clock.seconds() - took, 0.5)
