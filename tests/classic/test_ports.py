"""
Tests for the UDP ports that are open, and for finding hosts.
"""

from twisted.internet.defer import Deferred

from atmosphere.addresses import TransportAddress
from atmosphere.classic.ports import open_port, resolve
from atmosphere.errors import DecodeError, ListenError

from .world_case import WorldCase


class PortTests(WorldCase):
    """
    Ports are opened once and closed by the last who uses them.
    """

    def test_shared(self) -> None:
        """
        The same number is the same port, until the last has let go.
        """
        home = self.home(1)
        first, second = open_port(home, 7777), open_port(home, 7777)
        self.assertIs(first, second)
        self.result(first.release())
        self.assertIs(open_port(home, 7777), first)
        self.result(first.release())
        self.result(first.release())
        third = open_port(home, 7777)
        self.assertIsNot(third, first)
        self.result(third.release())

    def test_any(self) -> None:
        """
        0 is always another one.
        """
        home = self.home(1)
        first, second = open_port(home, 0), open_port(home, 0)
        self.assertNotEqual(first.number, second.number)
        self.assertIs(open_port(home, first.number), first)
        for each in (first, first, second):
            self.result(each.release())

    def test_taken(self) -> None:
        """
        What somebody else has cannot be opened, and the number is in the error.
        """
        home = self.home(1)
        port = open_port(home, 7777)
        other = self.world(home.reactor)
        with self.assertRaisesRegex(ListenError, "UDP port 7777 cannot be bound") as caught:
            open_port(other, 7777)
        self.assertEqual(caught.exception.port, 7777)
        self.result(port.release())

    def test_no_port(self) -> None:
        """
        What is no port cannot be opened.
        """
        for number in (-1, 65_536):
            with self.assertRaisesRegex(ListenError, f"UDP port {number} cannot be bound"):
                open_port(self.home(1 if number < 0 else 2), number)


class ResolveTests(WorldCase):
    """
    From a host to an address.
    """

    def resolve(self, host: str, port: int = 9) -> Deferred[TransportAddress]:
        """
        Find an address.
        """
        return Deferred.fromCoroutine(resolve(self.home(1), host, port))

    def test_found(self) -> None:
        """
        Addresses are themselves, names are looked up, and IPv4 is preferred.
        """
        self.network.host("both", "2600::5", "8.8.50.5")
        for number, (host, text) in enumerate(
            [("8.8.4.4", "8.8.4.4:9"), ("::1", "[::1]:9"), ("both", "8.8.50.5:9")]
        ):
            world = self.home(10 + number)
            found = self.result(Deferred.fromCoroutine(resolve(world, host, 9)))
            self.assertEqual(str(found), text)

    def test_not_found(self) -> None:
        """
        What is neither is refused.
        """
        for number, (host, port) in enumerate(
            [("nowhere", 9), ("", 9), ("8.8.4.999", 9), ("relay", 65536), ("8.8.4.4", -1)]
        ):
            finding = Deferred.fromCoroutine(resolve(self.home(20 + number), host, port))
            self.network.run_until(finding)
            self.failureResultOf(finding, DecodeError)
