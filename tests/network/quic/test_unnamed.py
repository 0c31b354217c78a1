"""
Tests for links to whoever listens: see L{atmosphere.network.quic.endpoint}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.errors import MembershipError
from atmosphere.identity import NodeID
from atmosphere.network.path.selection import PathPolicy
from atmosphere.network.path.ways import DirectWay
from atmosphere.network.quic.connection import Link

from .harness import Recorder, World


class UnnamedTests(SynchronousTestCase):
    """
    A guest that knows an address and no node ID.
    """

    @override
    def setUp(self) -> None:
        """
        Make a guest and a member.
        """
        self.world = World()
        self.guest, self.member = self.world.node(1), self.world.node(2)
        self.guest.is_guest = True
        self.member.services["atmosphere.join"] = Recorder
        self.judged: list[tuple[NodeID, bytes]] = []
        self.objection: MembershipError | None = None

    def judge(self, node: NodeID, chain: bytes) -> None:
        """
        Note who listens, and object if the test wants that.
        """
        self.judged.append((node, chain))
        if self.objection is not None:
            raise self.objection

    def dial(self) -> Link:
        """
        Dial the member by its address.
        """
        way = DirectWay(self.member.address)
        link = self.guest.endpoint.dial_apart(None, [way], PathPolicy.AUTO)
        link.judge = self.judge
        return link

    def test_connected(self) -> None:
        """
        The guest learns who listens, sees its chain, and can talk then.
        """
        link = self.dial()
        self.world.run(1.0, lambda: self.guest.connected)
        self.assertEqual(link.peer, self.member.key.node_id)
        self.assertEqual(self.judged, [(self.member.key.node_id, b"mesh-a")])
        link.open_stream("atmosphere.join", Recorder()).write(b"hello")
        self.world.run(0.5)
        (accepted,) = self.member.accepted
        assert isinstance(accepted, Recorder)
        self.assertEqual(accepted.data, b"hello")
        self.assertIsNone(self.guest.endpoint.link_to(self.member.key.node_id))

    def test_unwanted(self) -> None:
        """
        A listener that is not wanted gets nothing but the proof: no stream, no
        word of where the guest can be reached.
        """
        self.objection = MembershipError("it belongs to another mesh")
        offers: list[bytes] = []
        self.member.offer_received = (  # type: ignore[method-assign]
            lambda link, payload: offers.append(payload)
        )
        reasons: list[str] = []
        link = self.dial()
        link.when_closed().addCallback(lambda error: reasons.append(str(error)))
        self.world.run(2.0)
        self.assertEqual(reasons, ["it belongs to another mesh"])
        self.assertEqual((self.guest.connected, offers, self.member.accepted), ([], [], []))

    def test_nobody(self) -> None:
        """
        Where nobody listens the link ends after fifteen seconds.
        """
        self.world.cut = {DirectWay}
        reasons: list[str] = []
        self.dial().when_closed().addCallback(lambda error: reasons.append(str(error)))
        self.world.run(14.0)
        self.assertEqual(reasons, [])
        self.world.run(3.0)
        self.assertEqual(len(reasons), 1)
        self.assertEqual(self.judged, [])

    def test_closed_when_idle(self) -> None:
        """
        Without a stream such a link is closed soon, on both sides.
        """
        self.dial()
        self.world.run(20.0)
        self.assertEqual((self.guest.endpoint.links, self.member.endpoint.links), ([], []))
