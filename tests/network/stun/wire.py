"""
A port for tests: it notes what is written to it, and may fail as a real one does.
"""

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IUDPTransport
from zope.interface import implementer


@implementer(IUDPTransport)
class Wire:
    """
    A UDP port without a network.

    @ivar sent: all datagrams, with their destinations.
    @ivar error: what writing raises, if anything.
    """

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, tuple[str, int]]] = []
        self.error: OSError | None = None

    def write(self, packet: bytes, addr: Any = None) -> None:
        """
        Note a datagram.
        """
        if self.error is not None:
            raise self.error
        self.sent.append((packet, addr))

    def getHost(self) -> IPv4Address:
        """
        Give an address.
        """
        return IPv4Address("UDP", "127.0.0.1", 7777)

    def connect(self, host: str, port: int) -> None:
        """
        Not for tests.
        """
        raise NotImplementedError

    def stopListening(self) -> None:
        """
        Not for tests.
        """
        raise NotImplementedError

    def setBroadcastAllowed(self, enabled: bool) -> None:  # noqa: N802
        """
        Not for tests.
        """
        raise NotImplementedError

    def getBroadcastAllowed(self) -> bool:  # noqa: N802
        """
        Not for tests.
        """
        raise NotImplementedError
