# -*- test-case-name: tests.network.quic.test_endpoint -*-
"""
What a link asks of the endpoint that holds it.
"""

from __future__ import annotations

from typing import Protocol as Seam, TypeVar

from .handshake import Proof, Welcome

__all__ = ["LinkOwner"]

LinkT = TypeVar("LinkT", contravariant=True)


class LinkOwner(Seam[LinkT]):
    """
    Holds links, and decides which of them stay.
    """

    def link_pinned(self, link: LinkT) -> None:
        """
        The listener has the key that we want, or any that we can read; our proof leaves.
        """

    def link_proved(self, link: LinkT, proof: Proof) -> None:
        """
        A dialler's proof holds: welcome or refuse it.
        """

    def link_welcomed(self, link: LinkT, welcome: Welcome) -> None:
        """
        The listener welcomed us: confirm or close.
        """

    def link_closed(self, link: LinkT, reason: str) -> None:
        """
        The link carries nothing any more.
        """

    def link_ended(self, link: LinkT) -> None:
        """
        The link needs no datagrams any more.
        """

    def link_idle(self, link: LinkT) -> None:
        """
        The link's last stream has ended.
        """

    def stream_ended(self, link: LinkT) -> None:
        """
        A stream of the link has ended.
        """

    def route_changed(self, link: LinkT, connection_id: bytes, is_added: bool) -> None:
        """
        Datagrams with this connection ID are for the link, or no longer.
        """
