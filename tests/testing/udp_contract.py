"""
What holds for UDP ports, whoever made the reactor.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol
from typing_extensions import override

from .contract import HOST, Contract


class Datagrams(DatagramProtocol):
    """
    Keeps the datagrams that came.
    """

    def __init__(self) -> None:
        self.received: list[tuple[bytes, Any]] = []
        self.refused = 0
        self.stopped = 0

    @override
    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """
        Keep a datagram.
        """
        self.received.append((datagram, addr))

    @override
    def connectionRefused(self) -> None:
        """
        Count a refusal.
        """
        self.refused += 1

    @override
    def stopProtocol(self) -> None:
        """
        Count the end.
        """
        self.stopped += 1


class UDPContract(Contract):
    """
    What holds for UDP ports.
    """

    def listen(self, port: int = 0, size: int = 8192) -> tuple[Datagrams, Any]:
        """
        Listen on loopback until the test ends.
        """
        protocol = Datagrams()
        listening = self.reactor.listenUDP(port, protocol, HOST, size)
        self.addCleanup(listening.stopListening)
        return protocol, listening

    def test_exchange(self) -> Any:
        """
        A datagram arrives whole, from the port it was sent by; also an empty one.
        """

        async def run() -> None:
            one, one_port = self.listen()
            two, two_port = self.listen()
            here, there = one_port.getHost(), two_port.getHost()
            self.assertEqual((there.type, there.host), ("UDP", HOST))
            one_port.write(b"first", (HOST, there.port))
            one_port.write(b"", (HOST, there.port))
            await self.until(lambda: len(two.received) == 2)
            came_from = (HOST, here.port)
            self.assertEqual(two.received, [(b"first", came_from), (b"", came_from)])
            assert two.transport is not None
            two.transport.write(b"back", came_from)
            await self.until(lambda: one.received)
            self.assertEqual(one.received, [(b"back", (HOST, there.port))])

        return self.complete(run())

    def test_sequence(self) -> Any:
        """
        Pieces that are written together leave as one datagram.
        """

        async def run() -> None:
            _, one_port = self.listen()
            two, two_port = self.listen()
            one_port.writeSequence([b"a", b"b"], (HOST, two_port.getHost().port))
            await self.until(lambda: two.received)
            self.assertEqual(two.received[0][0], b"ab")

        return self.complete(run())

    def test_too_large_to_accept(self) -> Any:
        """
        A datagram is cut to what the port said it would accept.
        """

        async def run() -> None:
            _, one_port = self.listen()
            two, two_port = self.listen(size=10)
            one_port.write(b"x" * 30, (HOST, two_port.getHost().port))
            await self.until(lambda: two.received)
            self.assertEqual(two.received[0][0], b"x" * 10)

        return self.complete(run())

    def test_port_taken(self) -> None:
        """
        A port can be had once, and again when it was given back.
        """

        async def run() -> None:
            _, first = self.listen()
            number = first.getHost().port
            with_error = self.assertRaises(CannotListenError, self.listen, number)
            self.assertEqual(with_error.port, number)
            await first.stopListening()
            _, again = self.listen(number)
            self.assertEqual(again.getHost().port, number)

        return self.complete(run())  # type: ignore[return-value]

    def test_stop(self) -> Any:
        """
        A port that was stopped hears nothing, and its protocol is told of the end once.
        """

        async def run() -> None:
            _, one_port = self.listen()
            two, two_port = self.listen()
            number = two_port.getHost().port
            await two_port.stopListening()
            self.assertEqual((two.stopped, two.transport), (1, None))
            one_port.write(b"anyone?", (HOST, number))
            await self.pause(0.02)
            self.assertEqual(two.received, [])

        return self.complete(run())

    def test_connected(self) -> Any:
        """
        A connected port sends without an address and hears that one peer only.
        """

        async def run() -> None:
            one, one_port = self.listen()
            two, two_port = self.listen()
            _, stranger_port = self.listen()
            here, there = one_port.getHost().port, two_port.getHost().port
            one_port.connect(HOST, there)
            one_port.write(b"hello")
            await self.until(lambda: two.received)
            self.assertEqual(two.received, [(b"hello", (HOST, here))])
            stranger_port.write(b"spam", (HOST, here))
            two_port.write(b"yes", (HOST, here))
            await self.until(lambda: one.received)
            await self.pause(0.02)
            self.assertEqual(one.received, [(b"yes", (HOST, there))])

        return self.complete(run())

    def test_refused(self) -> Any:
        """
        A connected port is told when nobody listens at the other end.
        """

        async def run() -> None:
            one, one_port = self.listen()
            _, two_port = self.listen()
            there = two_port.getHost().port
            await two_port.stopListening()
            one_port.connect(HOST, there)
            one_port.write(b"hello")
            one_port.write(b"hello?")
            await self.until(lambda: one.refused)
            self.assertEqual(one.received, [])

        return self.complete(run())

    def test_hostname(self) -> None:
        """
        Names are not looked up for a datagram.
        """
        _, port = self.listen()
        self.assertRaises(ValueError, port.write, b"x", ("localhost", 9))
