"""
Tests for L{atmosphere.node.pinging} and L{atmosphere.node.streaming}: how soon
there is an answer when the link has to be made for it, and to whom nothing goes
before its welcome.
"""

from __future__ import annotations

from typing import Any

from typing_extensions import override

from atmosphere.errors import LinkError, MembershipError
from atmosphere.membership import TOLERANCE
from atmosphere.network.quic.connection import Link

from .harness import WorldCase
from .test_streaming import Recorder, Recorders

LATENCY = 0.025
#: There and back, by both lines and twice by the relay's.
TRIP = 8 * LATENCY


class FirstByteCase(WorldCase):
    """
    Two members that only a relay joins, without a link.
    """

    @override
    def setUp(self) -> None:
        self.world = self.make_world(latency=LATENCY)
        self.world.start_relay()
        self.portland = self.world.node("portland", "198.51.100.1")
        self.seattle = self.world.node("seattle", "198.51.100.2")
        self.world.network.cut(self.portland.host, self.seattle.host, tcp=False)
        self.world.join(self.portland, self.seattle)
        self.world.until(lambda: self.seattle.is_linked(self.portland))
        self.world.network.advance(10)
        self.part()
        self.began = self.world.clock.seconds()

    def part(self) -> None:
        """
        End the link that stands, on both sides.
        """
        for one, other in ((self.seattle, self.portland), (self.portland, self.seattle)):
            link = one.link_to(other)
            if link is not None:
                link.close("a test begins")
                link.pump()

    def trips(self) -> float:
        """
        Say how many round trips have passed.
        """
        return (self.world.clock.seconds() - self.began) / TRIP


class FirstByteTests(FirstByteCase):
    """
    Round trips, over a relay connection that stands.
    """

    def test_ping(self) -> None:
        """
        The first ping goes with the proof: its answer is there after two.
        """
        summary = self.world.ping(self.seattle, "portland", count=1)
        self.assertEqual((summary["sent"], summary["received"]), (1, 1))
        self.assertAlmostEqual(summary["first_reply_ms"] / TRIP / 1e3, 2, places=2)
        self.assertEqual(summary["path"]["kind"], "relayed")
        self.assertTrue(self.seattle.is_linked(self.portland))

    def test_stream(self) -> None:
        """
        A stream is open after two, and what the server says first is there by then.
        """

        class Host(Recorder):
            """
            Speaks first.
            """

            @override
            def connectionMade(self) -> None:
                assert self.transport is not None
                self.transport.write(b"hello")

        self.portland.service.listen("echo", Recorders(Host))
        opened = self.world.result(self.seattle.service.open("portland", "echo", Recorders()))
        self.assertAlmostEqual(self.trips(), 2, places=2)
        self.world.network.advance(0.001)
        self.assertEqual(opened.data, b"hello")
        self.assertEqual(opened.transport.getPeer().name, "portland")

    def test_link(self) -> None:
        """
        A link is connected after two.
        """
        link = self.world.result(self.seattle.service.connect("portland"))
        self.assertAlmostEqual(self.trips(), 2, places=2)
        self.assertTrue(link.is_open)

    def test_relayed_path(self) -> None:
        """
        So is a stream whose path is chosen to be relayed, on a link of its own.
        """
        self.portland.service.listen("echo", Recorders())
        opening = self.seattle.service.open("portland", "echo", Recorders(), path="relayed")
        stream = self.world.result(opening)
        self.assertAlmostEqual(self.trips(), 2, places=2)
        self.assertTrue(stream.transport.link.is_apart)

    def test_direct_path(self) -> None:
        """
        A stream that wants a direct path never begins on a relayed one.
        """
        server = Recorders()
        self.portland.service.listen("echo", server)
        opening = self.seattle.service.open(
            "portland", "echo", Recorders(), path="direct", timeout=3
        )
        with self.assertRaises(LinkError):
            self.world.result(opening)
        self.assertEqual(server.made, [])


class UnwelcomeTests(FirstByteCase):
    """
    To whom nothing goes before the welcome, and what is said when none comes.
    """

    def early(self) -> list[Link]:
        """
        Note the links that streams can go on early.
        """
        links: list[Link] = []
        pinned = self.seattle.service.links.endpoint.link_pinned

        def note(link: Link) -> None:
            pinned(link)
            if link.is_early:
                links.append(link)

        self.seattle.service.links.endpoint.link_pinned = note  # type: ignore[method-assign]
        return links

    def refuse(self) -> None:
        """
        Have the listener refuse every proof.
        """

        def check(peer: object, chain: bytes) -> Any:
            raise MembershipError("not today")

        self.portland.service.links.check_membership = check  # type: ignore[method-assign]

    def test_known(self) -> None:
        """
        A member whose certificate holds is told at once.
        """
        links = self.early()
        self.world.ping(self.seattle, "portland")
        self.assertEqual(len(links), 1)

    def test_certificate_ended(self) -> None:
        """
        One whose certificate has ended, by what we hold, is not.
        """
        links = self.early()
        mesh = self.seattle.service.mesh
        assert mesh.roster is not None
        node = self.portland.key.node_id
        member = mesh.roster.get(node)
        assert member is not None
        self.assertIsNotNone(mesh.known(node))
        self.world.skip(member.membership.not_after + TOLERANCE + 1 - self.world.wall())
        self.assertIsNone(mesh.known(node))
        connecting = self.seattle.service.links.connect(node, is_early=True)
        connecting.addErrback(lambda _: None)
        self.world.network.advance(1)
        self.assertEqual(links, [])

    def test_stranger(self) -> None:
        """
        One who is not in our roster is not.
        """
        self.assertIsNone(
            self.seattle.service.mesh.known(self.world.node("x", "198.51.100.9").key.node_id)
        )
        links = self.early()
        mesh = self.seattle.service.mesh
        mesh.merge(lambda roster: roster.remove(self.portland.key.node_id, "is gone"))
        connecting = self.seattle.service.links.connect(self.portland.key.node_id, is_early=True)
        link = self.world.result(connecting)
        self.assertTrue(link.is_connected)
        self.assertEqual(links, [])

    def test_removed_meanwhile(self) -> None:
        """
        Who is struck off between our proof and its welcome loses the link at once.
        """
        links = self.early()
        self.portland.service.listen("echo", Recorders())
        opening = self.seattle.service.open("portland", "echo", Recorders(), timeout=1)
        opening.addErrback(lambda _: None)
        self.world.until(lambda: links)
        self.seattle.service.mesh.merge(
            lambda roster: roster.remove(self.portland.key.node_id, "is gone")
        )
        self.seattle.service.links.recheck()
        self.assertFalse(links[0].is_early)

    def test_refused_ping(self) -> None:
        """
        A ping to a peer that refuses us says why it is not reached, in its time.
        """
        self.refuse()
        with self.assertRaises(LinkError) as caught:
            self.world.ping(self.seattle, "portland", timeout=2)
        self.assertEqual(str(caught.exception), "portland is not reached: it refused: not today")
        self.assertLess(self.trips() * TRIP, 3)

    def test_refused_stream(self) -> None:
        """
        So does a stream, which asks again no more than four times a second.
        """
        self.refuse()
        links = self.early()
        opening = self.seattle.service.open("portland", "echo", Recorders(), timeout=2)
        with self.assertRaises(LinkError) as caught:
            self.world.result(opening)
        self.assertEqual(str(caught.exception), "portland is not reached: it refused: not today")
        self.assertLess(len(links), 8)
        decisions = self.seattle.service.links.history.of(self.portland.key.node_id)
        self.assertIn("not reached: it refused: not today", str(list(decisions)))

    def test_no_welcome(self) -> None:
        """
        A peer that falls silent after the handshake is said not to be reached.
        """
        links = self.early()
        opening = self.seattle.service.open("portland", "echo", Recorders(), timeout=2)
        pinging = self.seattle.service.ping(
            "portland", count=1, interval=1, timeout=2, until_direct=False, emit=self.fail
        )
        self.world.until(lambda: links)
        self.portland.kill(is_silent=True)
        for waiting in (opening, pinging):
            with self.assertRaises(LinkError) as caught:
                self.world.result(waiting)
            self.assertIn("portland is not reached: ", str(caught.exception))
