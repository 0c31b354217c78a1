# -*- test-case-name: tests.network.quic.test_endpoint -*-
"""
What the node decides about its links.
"""

from __future__ import annotations

from typing import Protocol as Seam, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol

from atmosphere.identity import NodeID
from atmosphere.membership import Membership
from atmosphere.network.path.paths import Paths
from atmosphere.network.path.reports import PathEvent
from atmosphere.network.path.ways import Way

__all__ = ["LinkPolicy"]

LinkT = TypeVar("LinkT", contravariant=True)


class LinkPolicy(Seam[LinkT]):
    """
    What the node decides about its links.
    """

    def check_membership(self, peer: NodeID, chain: bytes) -> Membership | None:
        """
        Say what a peer is in our mesh.

        @param chain: what it showed; empty for a guest.
        @return: C{None} for a guest that may be let in.
        @raise AtmosphereError: it may not be linked to.
        """

    def known_member(self, peer: NodeID) -> Membership | None:
        """
        Say what a peer is in our mesh by what we hold ourselves, now; C{None} if
        nothing that is good shows it to be a member.
        """

    def own_chain(self) -> bytes:
        """
        Hand out our own membership chain; empty without a mesh.
        """

    def send(self, way: Way, datagrams: list[bytes]) -> None:
        """
        Send datagrams by a way.
        """

    def make_paths(self, peer: NodeID | None, is_dialler: bool, now: float) -> Paths:
        """
        Make the path layer of a new link.
        """

    def offer(self, paths: Paths, peer: NodeID) -> bytes:
        """
        Say what the peer's path layer should know of ours.
        """

    def offer_received(self, link: LinkT, payload: bytes) -> None:
        """
        Take what the peer's path layer says.
        """

    def accept_stream(self, link: LinkT, service: str) -> IProtocol | Deferred[IProtocol]:
        """
        Serve a stream, at once or when it is known how.

        @return: a Deferred is cancelled when the peer gives the stream up.
        @raise StreamRefusedError: with the reason that the peer may read.
        """

    def datagram_received(self, link: LinkT, service: str, data: bytes) -> None:
        """
        Take a datagram for a service.
        """

    def link_pinned(self, link: LinkT) -> None:
        """
        Streams can be opened on a link apart that awaits its welcome.
        """

    def link_connected(self, link: LinkT) -> None:
        """
        A link is connected.
        """

    def link_closed(self, link: LinkT, reason: str) -> None:
        """
        A link that was connected is closed.
        """

    def path_event(self, link: LinkT, event: PathEvent) -> None:
        """
        A link's paths changed.
        """
