# -*- test-case-name: tests.testing.test_firewall -*-
"""
Routers that translate nothing and keep strangers out, and rules for what may leave.
"""

from __future__ import annotations

from collections.abc import Callable

from typing_extensions import override

from .agenda import Agenda
from .link import Kind, Packet
from .router import Router

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


class Firewall(Router):
    """
    A router before hosts with public addresses: what they asked for comes in.
    """

    def __init__(self, name: str, agenda: Agenda, note: Callable[[str, Packet], None]) -> None:
        super().__init__(name, agenda, note)
        self._used: dict[tuple[bool, tuple[str, int], tuple[str, int]], float] = {}

    @override
    def reboot(self) -> None:
        """
        Forget who was asked.
        """
        self._used.clear()

    @override
    def _go_out(self, packet: Packet) -> None:
        """
        Remember who is asked.
        """
        if packet.destination[0] == self.outside.address:
            self._note("no port", packet)
            return
        connection = (packet.kind is Kind.TCP, packet.source, packet.destination)
        self._used[connection] = self._agenda.seconds()
        self.outside.send(packet)

    @override
    def _come_in(self, packet: Packet) -> None:
        """
        Let in who was asked of late.
        """
        is_tcp, now = packet.kind is Kind.TCP, self._agenda.seconds()
        connection = (is_tcp, packet.destination, packet.source)
        used = self._used.get(connection)
        if packet.destination[0] in (self.inside.address, self.outside.address):
            self._note("no port", packet)
        elif used is None or now - used > LIFETIME[is_tcp]:
            self._used.pop(connection, None)
            self._note("filtered", packet)
        else:
            self._used[connection] = now
            self.inside.send(packet)
