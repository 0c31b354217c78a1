"""
Tests of L{atmosphere.network.nat.interfaces}.
"""

from __future__ import annotations

import ctypes
import socket
import sys
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.network.nat.candidates import Interface
from atmosphere.network.nat.interfaces import (
    _IS_BSD,
    _Entry,
    list_interfaces,
    prefix_length,
    read_socket_address,
)


class ListTests(SynchronousTestCase):
    """
    What the C library lists.
    """

    def test_this_machine(self) -> None:
        """
        This machine has a loopback interface.
        """
        found = list_interfaces()
        self.assertIn(("127.0.0.1", 8), [(each.address, each.prefix) for each in found])
        self.assertTrue(all(each.name for each in found))

    def test_no_library(self) -> None:
        """
        Where the C library cannot be asked, there are no interfaces, and no error.
        """

        def refuse(name: str | None) -> ctypes.CDLL:
            """
            Have no library.
            """
            raise OSError(name)

        self.assertEqual(list_interfaces(refuse), [])

    def test_library_fails(self) -> None:
        """
        A failing call is an empty list too.
        """

        class Failing:
            """
            A C library without memory.
            """

            def getifaddrs(self, first: object) -> int:
                """
                Fail.
                """
                return -1

            def freeifaddrs(self, first: object) -> None:
                """
                Never called.
                """
                raise AssertionError("nothing to free")

        self.assertEqual(list_interfaces(lambda name: Failing()), [])  # type: ignore[arg-type, return-value]


class FakeLibrary:
    """
    A C library that lists what it is given, and counts what it gets back.
    """

    def __init__(self, *entries: tuple[bytes, int, bytes, bytes]) -> None:
        """
        @param entries: name, flags, address and netmask of each.
        """
        self.freed = 0
        self._kept: list[object] = []
        self._first = ctypes.POINTER(_Entry)()
        for name, flags, address, netmask in reversed(entries):
            places = [ctypes.create_string_buffer(each, 32) for each in (address, netmask)]
            entry = _Entry(self._first, name, flags, *map(ctypes.addressof, places))
            self._kept += [places, entry]
            self._first = ctypes.pointer(entry)

    def getifaddrs(self, first: Any) -> int:
        """
        Hand out the list.
        """
        first._obj.contents = self._first.contents
        return 0

    def freeifaddrs(self, first: object) -> None:
        """
        Take the list back.
        """
        self.freed += 1


def socket_address(family: int, address: bytes) -> bytes:
    """
    Write a C{struct sockaddr} as this machine has it.
    """
    length = 8 if len(address) == 4 else 24
    head = bytes([28, family]) if _IS_BSD else family.to_bytes(2, sys.byteorder)
    return (head + bytes(length - 2 - len(address)) + address).ljust(32, b"\0")


class WalkTests(SynchronousTestCase):
    """
    Which entries of the list count.
    """

    def test_walk(self) -> None:
        """
        Those that are up and have an IP address that means something elsewhere.
        """
        net4 = socket_address(socket.AF_INET, b"\xff\xff\xff\x00")
        net6 = socket_address(socket.AF_INET6, b"\xff" * 8 + bytes(8))
        library = FakeLibrary(
            (b"pkt0", 1, socket_address(99, bytes(4)), net4),
            (b"down0", 0, socket_address(socket.AF_INET, b"\xc0\x00\x02\x01"), net4),
            (b"eth0", 1, socket_address(socket.AF_INET, b"\xc0\x00\x02\x02"), net4),
            (b"eth0", 1, socket_address(socket.AF_INET6, b"\xfe\x80" + bytes(13) + b"\x01"), net6),
            (b"e\xff", 1, socket_address(socket.AF_INET6, b"\x20\x01" + bytes(13) + b"\x02"), net6),
        )
        found = list_interfaces(lambda name: library)  # type: ignore[arg-type, return-value]
        self.assertEqual(
            found, [Interface("eth0", "192.0.2.2", 24), Interface("e\ufffd", "2001::2", 64)]
        )
        self.assertEqual(library.freed, 1)


class LayoutTests(SynchronousTestCase):
    """
    How addresses stand in memory.
    """

    def test_linux(self) -> None:
        """
        The family has two bytes in the machine's order.
        """
        family = int(socket.AF_INET).to_bytes(2, sys.byteorder)
        raw = family + b"\x00\x00\xc0\x00\x02\x01" + bytes(16)
        self.assertEqual(read_socket_address(raw, is_bsd=False), b"\xc0\x00\x02\x01")
        family = (10).to_bytes(2, sys.byteorder)
        raw = family + bytes(6) + bytes(range(16))
        self.assertEqual(read_socket_address(raw, is_bsd=False), bytes(range(16)))

    def test_bsd(self) -> None:
        """
        The family is the second byte.
        """
        raw = b"\x10\x02\x00\x00\xc0\x00\x02\x01" + bytes(16)
        self.assertEqual(read_socket_address(raw, is_bsd=True), b"\xc0\x00\x02\x01")

    def test_other_family(self) -> None:
        """
        Packet sockets and their kin have no IP address.
        """
        raw = (17).to_bytes(2, sys.byteorder) + bytes(22)
        self.assertIsNone(read_socket_address(raw, is_bsd=False))

    def test_prefix(self) -> None:
        """
        A netmask is counted.
        """
        self.assertEqual(prefix_length(b"\xff\xff\xf0\x00"), 20)
        self.assertEqual(prefix_length(bytes(16)), 0)
