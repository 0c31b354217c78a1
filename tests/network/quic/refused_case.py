"""
What must hold whenever a handshake fails, asserted in one place.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import cast

from qh3.quic import events as quic_events
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere import wire
from atmosphere.errors import LinkError, MembershipError
from atmosphere.identity import NodeID, NodeKey
from atmosphere.membership import (
    Membership,
    RevocationList,
    decode_chain,
    found_mesh,
    issue_certificate,
    verify_chain,
)
from atmosphere.network.path.ways import DirectWay
from atmosphere.network.quic.connection import Link
from atmosphere.network.quic.handshake import (
    MAX_MESSAGE_LENGTH,
    Proof,
    Welcome,
    decode_message,
    make_proof,
)
from atmosphere.testing.randomness import seeded_entropy

from .harness import Node, Recorder, World
from .strangers import APPLICATION_BYTES, Script, Stranger

__all__ = [
    "DAY",
    "FOUNDER_CHAIN",
    "MESH_ID",
    "OURS",
    "ROOT_KEY",
    "STRANGER",
    "WALL",
    "Member",
    "RefusedCase",
    "chain_for",
    "entropy",
    "welcome",
]

WALL = 1_800_000_000.0
DAY = 86_400.0
OURS, STRANGER = 1, 2

entropy = seeded_entropy(4)
ROOT_KEY = NodeKey(bytes([9]) * 32)
_founder = NodeKey(bytes([8]) * 32)
FOUNDER_CHAIN = found_mesh(ROOT_KEY, _founder.node_id, "founder", wall=WALL - DAY, entropy=entropy)
MESH_ID = decode_chain(FOUNDER_CHAIN).mesh_id


def chain_for(number: int, *, wall: float = WALL, lifetime: float = DAY) -> bytes:
    """
    Make a node a member of the one mesh that counts.
    """
    node = NodeKey(bytes([number]) * 32).node_id
    return issue_certificate(
        ROOT_KEY,
        FOUNDER_CHAIN,
        node,
        f"node-{number}",
        wall=wall,
        entropy=entropy,
        lifetime=lifetime,
    )


class Member(Node):
    """
    A node that judges by real certificates, and notes what it was asked for.

    @ivar asked: the services that were asked for, and what path layers said.
    """

    def __init__(self, world: World, number: int) -> None:
        super().__init__(world, number, "")
        world.nodes[self.key.node_id] = self
        self.chain = chain_for(number)
        self.revocations: RevocationList | None = None
        self.asked: list[str] = []
        self.began = world.clock.seconds()

    @override
    def check_membership(self, peer: NodeID, chain: bytes) -> Membership | None:
        """
        Check a chain; a node that may admit nobody wants no guests.
        """
        if not chain:
            raise MembershipError("the node that was asked cannot admit others")
        wall = WALL + self.world.clock.seconds() - self.began
        return verify_chain(chain, peer, mesh_id=MESH_ID, wall=wall, revocations=self.revocations)

    @override
    def own_chain(self) -> bytes:
        """
        Our chain.
        """
        return self.chain

    @override
    def accept_stream(self, link: Link, service: str) -> IProtocol | Deferred[IProtocol]:
        """
        Note that a service was asked for.
        """
        self.asked.append(service)
        return super().accept_stream(link, service)

    @override
    def offer_received(self, link: Link, payload: bytes) -> None:
        """
        Note that a path layer spoke.
        """
        self.asked.append("an offer")
        super().offer_received(link, payload)


def welcome(chain: bytes) -> Script:
    """
    A listener's script: send at once, and welcome whoever proves anything.
    """

    def script(stranger: Stranger, event: object) -> None:
        """
        Send, then welcome.
        """
        if isinstance(event, quic_events.HandshakeCompleted):
            stranger.push()
        elif isinstance(event, quic_events.StreamDataReceived) and len(stranger.welcomed) == 0:
            stranger.welcomed.append(event)
            stranger.say(Welcome(b"s" * 16, chain))

    return script


class RefusedCase(SynchronousTestCase):
    """
    A node of ours and a stranger that is to be refused by it.

    @ivar secrets: bytes that no line of the log may hold in any form.
    """

    @override
    def setUp(self) -> None:
        """
        Read the log, and begin.
        """
        observer = cast(ILogObserver, self._observe)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.begin()

    def begin(self) -> None:
        """
        Make a world with both in it.
        """
        self.world = self.make_world()
        self.node = Member(self.world, OURS)
        self.stranger = Stranger(self.world, STRANGER)
        self.dialling: Deferred[Link] | None = None
        self.refusal: str | None = None
        self.linked: list[Link] = []
        self.secrets = [self.node.key.private_key.private_bytes_raw()]
        self.lines: list[tuple[float, str]] = []
        self.said_in_log: list[str] = []

    def make_world(self) -> World:
        """
        Make the world that both live in.
        """
        return World()

    def _observe(self, event: LogEvent) -> None:
        """
        Keep what our own links and endpoints say, but for what is there for developers.
        """
        is_ours = str(event.get("log_namespace", "")).startswith("atmosphere.network.quic")
        if is_ours and event["log_level"] > LogLevel.debug:
            told = {name: each for name, each in event.items() if not name.startswith("log_")}
            text = formatEvent(event)
            self.lines.append((self.world.clock.seconds(), text))
            self.said_in_log.append(f"{text} {told!r}")
            # What an observer raises would be lost: it is looked at later.
            self.secrets += self._bindings()

    def _bindings(self) -> list[bytes]:
        """
        Find the bindings of all connections there are.
        """
        ours = [link.core.quic for link in self.node.endpoint._links]
        return [
            quic.channel_binding()
            for quic in (self.stranger.quic, *ours)
            if quic is not None and not quic.is_over and quic._connection._handshake_complete
        ]

    def _log_holds_no_secret(self) -> None:
        """
        Look for secrets in whichever way bytes get into a text.
        """
        self.assertEqual(len(self.said_in_log), len(self.lines))
        for secret in self.secrets:
            for form in (
                secret[:8].hex(),
                base64.b64encode(secret[:9]).decode(),
                base64.b32encode(secret[:10]).decode().lower(),
                repr(secret[:8])[2:-1],
            ):
                for text in self.said_in_log:
                    self.assertNotIn(form, text)

    # How a link begins.

    def dial(self, peer: NodeID | None = None) -> None:
        """
        Have our node dial the stranger, and send as soon as it is linked.
        """
        wanted = self.stranger.key.node_id if peer is None else peer
        self.dialling = self.node.endpoint.dial(wanted, [DirectWay(self.stranger.address)])

        def linked(link: Link) -> Link:
            """
            Send what a stranger must not see.
            """
            self.linked.append(link)
            link.open_stream("echo", Recorder()).write(APPLICATION_BYTES)
            link.send_datagram("echo", APPLICATION_BYTES)
            return link

        self.dialling.addCallback(linked)

    def proof(self, chain: bytes = b"", listener: NodeID | None = None) -> Proof:
        """
        Make a stranger's proof, a good one unless told otherwise.
        """
        proof = make_proof(
            self.stranger.key,
            listener or self.node.key.node_id,
            b"s" * 16,
            chain,
            1,
            self.stranger.speaking.channel_binding(),
        )
        self.secrets += [proof.signature, chain[-64:]] if chain else [proof.signature]
        return proof

    def dials(self, script: Script) -> None:
        """
        Have the stranger dial our node, and do something when TLS is done; it
        sends an application's bytes along with whatever it does.
        """

        def then(stranger: Stranger, event: object) -> None:
            """
            Do it, and send.
            """
            if isinstance(event, quic_events.HandshakeCompleted):
                script(stranger, event)
                stranger.push()

        self.stranger.script = then
        self.stranger.dial(self.node)

    # What must hold.

    def refused(
        self,
        why: str,
        *,
        within: float = 0.2,
        is_told: bool = True,
        who: str = "a stranger at 198.51.100.2:7777",
    ) -> None:
        """
        Let time pass, and check that nothing came of it.

        @param why: what the one line in the log says.
        @param within: seconds until it says so.
        @param is_told: whether the stranger hears that the link has ended.
        @param who: how the line names the stranger.
        """
        self.world.run(40.0)
        self._nothing_was_delivered()
        told = [each for each in self.lines if "no link" in each[1]]
        self.assertEqual(len(told), 1, self.lines)
        self.assertEqual(len(self.lines), 1, self.lines)
        when, line = told[0]
        self.assertIn(why, line)
        self.assertIn(who, line)
        self.assertNotIn("\n", line)
        self.assertLessEqual(when, within + 0.1)
        self.assertEqual(self.stranger.ending is not None, is_told, self.stranger.seen)
        self._log_holds_no_secret()
        self._nothing_is_left()
        if self.dialling is not None:
            failure = self.failureResultOf(self.dialling, LinkError)
            self.assertIn(why, str(failure.value))
            self.refusal = failure.value.refusal

    def not_linked(self, why: str, *, within: float = 0.2, is_told: bool = True) -> None:
        """
        L{refused}, for a dial of ours.
        """
        peer = self.stranger.key.node_id if self.wanted is None else self.wanted
        self.refused(why, within=within, is_told=is_told, who=peer.short)

    wanted: NodeID | None = None

    def _nothing_was_delivered(self) -> None:
        """
        No byte of an application has come through, in either direction.
        """
        node, stranger = self.node, self.stranger
        self.assertEqual((node.asked, node.accepted, node.datagrams), ([], [], []))
        self.assertEqual((node.connected, node.closed, self.linked), ([], [], []))
        self.assertFalse(stranger.saw(quic_events.DatagramFrameReceived))
        said = stranger.said
        self.assertLessEqual(set(said), {0})
        if self.dialling is None:
            reader = wire.MessageCutter("control", MAX_MESSAGE_LENGTH)
            for body in reader.feed(said.get(0, b"")):
                self.assertNotIsInstance(decode_message(body), Welcome)
        for data in (*stranger.heard, *said.values()):
            self.assertNotIn(APPLICATION_BYTES, data)

    def _nothing_is_left(self) -> None:
        """
        The node keeps nothing of it, and waits for nothing.
        """
        endpoint = self.node.endpoint
        kept: Iterable[object] = (
            endpoint.links,
            endpoint._links,
            endpoint._routes,
            endpoint._by_ufrag,
            endpoint._current,
            endpoint._dials,
            endpoint._half_open._all,
            endpoint._half_open._source_of,
            endpoint._guests._cancel,
        )
        self.assertEqual([len(each) for each in kept], [0] * 9)  # type: ignore[arg-type]
        self.stranger.stop()
        self.assertEqual(self.world.clock.getDelayedCalls(), [])
