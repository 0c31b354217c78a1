# -*- test-case-name: tests.testing.test_firewall -*-
"""
What stands between a LAN and a wider network.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from .agenda import Agenda
from .link import Packet
from .subnet import Attachment, Subnet

__all__ = ["Router"]


class Router(ABC):
    """
    A router between a LAN and a wider network.

    @ivar name: its name.
    @ivar inside: how it hangs on its LAN.
    @ivar outside: how it hangs on the wider network.
    @ivar is_unplugged: while it is set nothing passes, in or out.
    @ivar lets_out: which packets from inside may pass, asked for each.
    """

    inside: Attachment
    outside: Attachment

    def __init__(self, name: str, agenda: Agenda, note: Callable[[str, Packet], None]) -> None:
        """
        @param note: told how a packet ended that did not pass.
        """
        self.name = name
        self.is_unplugged = False
        self.lets_out: Callable[[Packet], bool] = lambda packet: True
        self._agenda = agenda
        self._note = note

    @property
    def lan(self) -> Subnet:
        """
        The network inside.
        """
        return self.inside.subnet

    @property
    def address(self) -> str:
        """
        The address outside.
        """
        return self.outside.address

    @abstractmethod
    def reboot(self) -> None:
        """
        Forget all that was seen.
        """

    @abstractmethod
    def _go_out(self, packet: Packet) -> None:
        """
        Take a packet from inside that may leave.
        """

    @abstractmethod
    def _come_in(self, packet: Packet) -> None:
        """
        Take a packet from outside.
        """

    def packet_received(self, packet: Packet, attachment: Attachment) -> None:
        """
        Pass a packet on, out or in.
        """
        if self.is_unplugged:
            self._note("unplugged", packet)
        elif attachment is not self.inside:
            self._come_in(packet)
        elif packet.destination[0] == self.inside.address:
            self._note("no port", packet)
        elif not self.lets_out(packet):
            self._note("blocked", packet)
        else:
            self._go_out(packet)
