"""
Tests for L{atmosphere.addresses}.
"""

from __future__ import annotations

import ipaddress

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atmosphere.addresses import (
    AddressKind,
    TransportAddress,
    address_kind,
    candidate_refusal,
)
from atmosphere.errors import DecodeError

GLOBAL, PRIVATE, LOOPBACK, LINK_LOCAL, NEVER = (
    AddressKind.GLOBAL,
    AddressKind.PRIVATE,
    AddressKind.LOOPBACK,
    AddressKind.LINK_LOCAL,
    AddressKind.NEVER,
)

#: What each address means, on every version of Python alike.
VECTORS = (
    ("0.0.0.0", NEVER),
    ("0.1.2.3", NEVER),
    ("127.0.0.1", LOOPBACK),
    ("127.255.255.254", LOOPBACK),
    ("169.254.0.1", LINK_LOCAL),
    ("169.254.169.254", LINK_LOCAL),
    ("192.0.0.1", NEVER),
    ("192.0.0.170", NEVER),
    ("192.0.1.1", GLOBAL),
    ("224.0.0.251", NEVER),
    ("239.255.255.255", NEVER),
    ("240.0.0.1", NEVER),
    ("255.255.255.255", NEVER),
    ("10.0.0.1", PRIVATE),
    ("10.255.255.255", PRIVATE),
    ("11.0.0.1", GLOBAL),
    ("172.15.255.255", GLOBAL),
    ("172.16.0.1", PRIVATE),
    ("172.31.255.255", PRIVATE),
    ("172.32.0.1", GLOBAL),
    ("192.168.0.1", PRIVATE),
    ("192.167.255.255", GLOBAL),
    ("192.169.0.1", GLOBAL),
    ("100.63.255.255", GLOBAL),
    ("100.64.0.1", PRIVATE),
    ("100.127.255.255", PRIVATE),
    ("100.128.0.1", GLOBAL),
    ("8.8.8.8", GLOBAL),
    ("203.0.113.7", GLOBAL),
    ("::", NEVER),
    ("::1", LOOPBACK),
    ("::2", NEVER),
    ("::127.0.0.1", NEVER),
    ("::8.8.8.8", NEVER),
    ("fe80::1", LINK_LOCAL),
    ("febf::1", LINK_LOCAL),
    ("fec0::1", NEVER),
    ("feff::1", NEVER),
    ("ff02::fb", NEVER),
    ("fc00::1", PRIVATE),
    ("fd12:3456::1", PRIVATE),
    ("fbff::1", GLOBAL),
    ("2001:db8::1", GLOBAL),
    ("2606:4700::1111", GLOBAL),
    # An IPv4 address inside counts as much as what is around it.
    ("::ffff:127.0.0.1", LOOPBACK),
    ("::ffff:0.0.0.0", NEVER),
    ("::ffff:10.1.2.3", PRIVATE),
    ("::ffff:169.254.169.254", LINK_LOCAL),
    ("::ffff:8.8.8.8", GLOBAL),
    ("64:ff9b::7f00:1", LOOPBACK),
    ("64:ff9b::a00:1", PRIVATE),
    ("64:ff9b::a9fe:a9fe", LINK_LOCAL),
    ("64:ff9b::808:808", GLOBAL),
    # The prefix of NAT64s in one's own network (RFC 8215), wherever it has the address.
    ("64:ff9b:1::1", NEVER),
    ("64:ff9b:1:a00:1::", NEVER),
    ("64:ff9b:1:ffff:ffff:ffff:7f00:1", NEVER),
    ("64:ff9b:2::1", GLOBAL),
    ("2002:7f00:1::", LOOPBACK),
    ("2002:a00:1::1", PRIVATE),
    ("2002:c0a8:101::", PRIVATE),
    ("2002:e000:1::", NEVER),
    ("2002:808:808::", GLOBAL),
    # Teredo: the server's address, and the client's inverted.
    ("2001:0:808:808::f7f7:f7f7", GLOBAL),
    ("2001:0:7f00:1::f7f7:f7f7", LOOPBACK),
    ("2001:0:808:808::80ff:fffe", LOOPBACK),
    ("2001:0:808:808::f5ff:fffe", PRIVATE),
    ("192.88.99.1", GLOBAL),
)

HOME = [ipaddress.ip_network("192.168.1.0/24")]


class KindTests(SynchronousTestCase):
    """
    Our own table says what an address means.
    """

    def test_vectors(self) -> None:
        """
        Every row of the table, its edges, and every wrapping.
        """
        for text, kind in VECTORS:
            self.assertIs(address_kind(ipaddress.ip_address(text).packed), kind, text)

    @settings(derandomize=True, max_examples=200, deadline=None)
    @given(st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16))
    def test_any_address(self, packed: bytes) -> None:
        """
        Every address has a kind.
        """
        self.assertIsInstance(address_kind(packed), AddressKind)


class TransportAddressTests(SynchronousTestCase):
    """
    One address has one spelling.
    """

    def test_canonical(self) -> None:
        """
        Spellings of one address are equal, also one that wraps IPv4.
        """
        self.assertEqual(TransportAddress("2001:DB8:0::1", 1).host, "2001:db8::1")
        self.assertEqual(TransportAddress("::ffff:192.0.2.1", 1), TransportAddress("192.0.2.1", 1))
        self.assertFalse(TransportAddress("::ffff:192.0.2.1", 1).is_ipv6)

    def test_text(self) -> None:
        """
        The text reads back; IPv6 stands in brackets.
        """
        for text in ("192.0.2.1:7777", "[2001:db8::1]:443", "0.0.0.0:0"):
            self.assertEqual(str(TransportAddress.from_text(text)), text)

    def test_bad_text(self) -> None:
        """
        Names, zones, missing parts and ports out of range are refused.
        """
        for text in (
            "",
            "192.0.2.1",
            ":7777",
            "192.0.2.1:",
            "192.0.2.1:65536",
            "192.0.2.1:-1",
            "192.0.2.1:٣",
            "example.org:7777",
            "2001:db8::1:7777",
            "[192.0.2.1]:7777",
            "[fe80::1%eth0]:7777",
            "192.0.2.01:7777",
            "1.2.3:7",
        ):
            self.assertRaises(DecodeError, TransportAddress.from_text, text)

    def test_from_socket(self) -> None:
        """
        What a socket says may have a zone, and more than two parts.
        """
        for address, text in (
            (("192.0.2.1", 7777), "192.0.2.1:7777"),
            (("fe80::1%eth0", 7777, 0, 2), "[fe80::1]:7777"),
            (("::ffff:192.0.2.1", 9, 0, 0), "192.0.2.1:9"),
        ):
            self.assertEqual(str(TransportAddress.from_socket(address)), text)
        self.assertRaises(DecodeError, TransportAddress.from_socket, ("/a/socket", 0))

    @settings(derandomize=True, max_examples=200, deadline=None)
    @given(st.text(max_size=60))
    def test_any_text(self, text: str) -> None:
        """
        Any text is an address or a L{DecodeError}.
        """
        try:
            address = TransportAddress.from_text(text)
        except DecodeError:
            return
        self.assertEqual(TransportAddress.from_text(str(address)), address)

    @settings(derandomize=True, max_examples=200, deadline=None)
    @given(st.binary(max_size=18), st.integers(-10, 70000))
    def test_any_bytes(self, packed: bytes, port: int) -> None:
        """
        Four or sixteen bytes and a port make an address, nothing else does.
        """
        try:
            address = TransportAddress.from_bytes(packed, port)
        except DecodeError:
            self.assertFalse(len(packed) in (4, 16) and 0 <= port <= 65535)
            return
        self.assertIn(address.packed, (packed, packed[12:]))
        self.assertEqual(address.port, port)


class CandidateRefusalTests(SynchronousTestCase):
    """
    What a stranger gives passes a filter before anything is sent there.
    """

    def refusal(self, text: str, **known: object) -> str | None:
        """
        Ask the filter.
        """
        return candidate_refusal(TransportAddress.from_text(text), **known)  # type: ignore[arg-type]

    def test_global(self) -> None:
        """
        A public address is good, but for the ports of other services.
        """
        self.assertIsNone(self.refusal("203.0.113.7:7777"))
        self.assertIsNone(self.refusal("203.0.113.7:443"))
        for port in (0, 22, 53, 80, 1023):
            self.assertIn("port", str(self.refusal(f"203.0.113.7:{port}")))

    def test_own(self) -> None:
        """
        We are not made to talk to ourselves.
        """
        own = [TransportAddress("192.168.1.5", 7777)]
        self.assertIn("own", str(self.refusal("192.168.1.5:7777", own=own, own_networks=HOME)))
        self.assertIsNone(self.refusal("192.168.1.5:7778", own=own, own_networks=HOME))

    def test_broadcast(self) -> None:
        """
        The broadcast address of a network of ours is refused.
        """
        self.assertIn("broadcast", str(self.refusal("192.168.1.255:7777", own_networks=HOME)))

    def test_in_disguise(self) -> None:
        """
        Our own address, the broadcast address of a network of ours and private addresses
        are none that may be tried, whatever IPv6 address they are wrapped into, whoever
        is near.
        """
        own = [TransportAddress("192.168.1.5", 7777), TransportAddress("203.0.113.5", 7777)]
        for number in (0xC0A80105, 0xC0A801FF, 0xC0A80101, 0x0A000001, 0xCB007105, 0xCB0071FF):
            high, low = number >> 16, number & 0xFFFF
            networks = [*HOME, ipaddress.ip_network("203.0.113.0/24")]
            inverted = f"{high ^ 0xFFFF:x}:{low ^ 0xFFFF:x}"
            for text in (
                f"64:ff9b::{high:x}:{low:x}",
                f"64:ff9b:1::{high:x}:{low:x}",
                f"2002:{high:x}:{low:x}::1",
                f"2001:0:808:808::{inverted}",
                f"2001:0:{high:x}:{low:x}::f7f7:f7f7",
            ):
                refusal = self.refusal(
                    f"[{text}]:7777", own=own, own_networks=networks, allow_private=True
                )
                self.assertIsNotNone(refusal, text)

    def test_loopback(self) -> None:
        """
        Loopback is for those that are known to be on this machine.
        """
        for text in ("127.0.0.1:7777", "[::1]:7777", "[64:ff9b::7f00:1]:7777"):
            self.assertIn("loopback", str(self.refusal(text)))
            self.assertIsNone(self.refusal(text, allow_loopback=True))

    def test_private(self) -> None:
        """
        Private addresses are for neighbours.
        """
        self.assertIn("private", str(self.refusal("192.168.2.7:7777", own_networks=HOME)))
        self.assertIsNone(self.refusal("192.168.1.7:7777", own_networks=HOME))
        self.assertIsNone(self.refusal("192.168.2.7:7777", allow_private=True))
        self.assertIn("private", str(self.refusal("[fd00::7]:7777", own_networks=HOME)))

    def test_never(self) -> None:
        """
        Link-local, multicast, reserved and the rest are refused whatever is allowed.
        """
        for text in (
            "169.254.169.254:7777",
            "[fe80::1]:7777",
            "224.0.0.251:5353",
            "255.255.255.255:7777",
            "0.0.0.0:7777",
            "[::]:7777",
            "[ff02::1]:7777",
            "[fec0::1]:7777",
            "192.0.0.8:7777",
            "[64:ff9b::a9fe:a9fe]:7777",
        ):
            refusal = self.refusal(text, allow_loopback=True, allow_private=True)
            self.assertIsNotNone(refusal, text)
