# -*- test-case-name: tests.network.nat.test_interfaces -*-
"""
The addresses of our network interfaces, as the C library lists them.

The standard library cannot list them; C{getifaddrs} is in every C library
that we run on. Reading its list is apart from asking for it, so that the
layout is tested without an interface.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import ipaddress
import sys
from collections.abc import Callable

from .candidates import Interface

__all__ = ["list_interfaces", "prefix_length", "read_socket_address"]

_IS_BSD = sys.platform == "darwin" or "bsd" in sys.platform
_AF_INET = 2
_AF_INET6 = (10, 24, 28, 30)

_MAX_ENTRIES = 4096
_IFF_UP = 0x1


class _Entry(ctypes.Structure):
    """
    The head of C{struct ifaddrs}, which is the same everywhere.
    """


_Entry._fields_ = [
    ("next", ctypes.POINTER(_Entry)),
    ("name", ctypes.c_char_p),
    ("flags", ctypes.c_uint),
    ("address", ctypes.c_void_p),
    ("netmask", ctypes.c_void_p),
]


def read_socket_address(raw: bytes, *, is_bsd: bool = _IS_BSD) -> bytes | None:
    """
    Read the IP address out of a C{struct sockaddr}.

    Layout, offset and size in bytes; the family is in the machine's order::

        0 2 family (BSD: 0 1 length, 1 1 family)    2 2 port
        IPv4: 4 4 address    IPv6: 4 4 flow, 8 16 address

    @param raw: at least 24 bytes from its start.
    @return: 4 or 16 bytes; C{None} for another family.
    """
    family = raw[1] if is_bsd else int.from_bytes(raw[:2], sys.byteorder)
    if family == _AF_INET:
        return raw[4:8]
    if family in _AF_INET6:
        return raw[8:24]
    return None


def prefix_length(netmask: bytes) -> int:
    """
    Count the bits that name the network.
    """
    bits = int.from_bytes(netmask, "big")
    return bits.bit_count()


def _walk(first: ctypes._Pointer[_Entry]) -> list[Interface]:
    """
    Read the C library's list.

    Interfaces that are down, and link-local IPv6 addresses, which mean nothing
    without a zone, are left out.
    """
    found: list[Interface] = []
    entry = first
    while ctypes.cast(entry, ctypes.c_void_p).value is not None and len(found) < _MAX_ENTRIES:
        item = entry.contents
        entry = item.next
        if not item.address or not item.netmask or not item.flags & _IFF_UP:
            continue
        # The family first: an address of another one may be shorter than ours.
        kind = read_socket_address(ctypes.string_at(item.address, 2) + bytes(22))
        if kind is None:
            continue
        packed = _last_bytes(item.address, len(kind))
        if packed[:2] == b"\xfe\x80":
            continue
        prefix = prefix_length(_last_bytes(item.netmask, len(kind)))
        name = (item.name or b"").decode("utf-8", "replace")
        found.append(Interface(name, str(ipaddress.ip_address(packed)), prefix))
    return found


def _last_bytes(where: int, count: int) -> bytes:
    """
    Read the IP address in a C{struct sockaddr} of a known family.

    A BSD cuts the zeros off a netmask's end and says how much is left.

    @param where: its address in memory.
    @param count: 4 or 16.
    """
    length = 8 if count == 4 else 24
    told = ctypes.string_at(where, 1)[0] if _IS_BSD else length
    return ctypes.string_at(where, min(told, length)).ljust(length, b"\0")[-count:]


def list_interfaces(load: Callable[[str | None], ctypes.CDLL] = ctypes.CDLL) -> list[Interface]:
    """
    List the IP addresses of all interfaces that are up, loopback included.

    @param load: opens a library; C{None} names the process itself.
    @return: in the system's order; empty where the system cannot say.
    """
    try:
        library = load(None)
        getifaddrs, freeifaddrs = library.getifaddrs, library.freeifaddrs
    except (OSError, AttributeError, TypeError):
        return []
    first = ctypes.POINTER(_Entry)()
    if getifaddrs(ctypes.byref(first)) != 0:
        return []
    try:
        return _walk(first)
    finally:
        freeifaddrs(first)
