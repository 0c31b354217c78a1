# -*- test-case-name: tests.testing.test_firewall -*-
"""
Routers that translate nothing and keep strangers out, and rules for what may leave.
"""

from __future__ import annotations

from collections.abc import Callable

from .agenda import Agenda
from .link import Kind, Packet
from .subnet import Attachment, Subnet

__all__ = ["Firewall", "lets_no_udp_out", "lets_tcp_443_out"]

#: Seconds for which an answer is awaited after the last packet of either side.
LIFETIME = {False: 120.0, True: 7440.0}


def lets_no_udp_out(packet: Packet) -> bool:
    """
    Say whether a packet may leave a network that blocks UDP; a C{lets_out}.
    """
    return packet.kind is Kind.TCP


def lets_tcp_443_out(packet: Packet) -> bool:
    """
    Say whether a packet may leave a network that knows web pages alone; a C{lets_out}.
    """
    return packet.kind is Kind.TCP and packet.destination[1] == 443


class Firewall:
    """
    A router before hosts with public addresses: what they asked for comes in.

    @ivar name: its name.
    @ivar inside: how it hangs on its LAN.
    @ivar outside: how it hangs on the wider network.
    @ivar is_unplugged: while it is set nothing passes, in or out.
    @ivar lets_out: which packets from inside may pass, asked for each.
    """

    inside: Attachment
    outside: Attachment

    def __init__(self, name: str, agenda: Agenda, note: Callable[[str, Packet], None]) -> None:
        self.name = name
        self.is_unplugged = False
        self.lets_out: Callable[[Packet], bool] = lambda packet: True
        self._agenda = agenda
        self._note = note
        self._used: dict[tuple[bool, tuple[str, int], tuple[str, int]], float] = {}

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

    def reboot(self) -> None:
        """
        Forget who was asked.
        """
        self._used.clear()

    def packet_received(self, packet: Packet, attachment: Attachment) -> None:
        """
        Pass a packet on, out or in.
        """
        is_tcp, now = packet.kind is Kind.TCP, self._agenda.seconds()
        if self.is_unplugged:
            self._note("unplugged", packet)
        elif packet.destination[0] in (self.inside.address, self.outside.address):
            self._note("no port", packet)
        elif attachment is self.inside:
            if self.lets_out(packet):
                self._used[is_tcp, packet.source, packet.destination] = now
                self.outside.send(packet)
            else:
                self._note("blocked", packet)
        else:
            connection = (is_tcp, packet.destination, packet.source)
            used = self._used.get(connection)
            if used is None or now - used > LIFETIME[is_tcp]:
                self._used.pop(connection, None)
                self._note("filtered", packet)
            else:
                self._used[connection] = now
                self.inside.send(packet)
