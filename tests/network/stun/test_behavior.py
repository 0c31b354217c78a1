"""
Tests for L{atmosphere.network.stun.behavior}: what follows from what servers say.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.addresses import AddressKind, TransportAddress
from atmosphere.network.stun.behavior import Behavior, Dependence, DialBack, Finding, mapping_of

LOCAL = TransportAddress("192.168.1.2", 7777)
MAPPED = TransportAddress("198.51.100.1", 7777)


def finding(
    ports: dict[str, int] | None = None,
    *,
    server: str = "203.0.113.1",
    host: str = MAPPED.host,
    from_port: DialBack = DialBack.NOT_OFFERED,
    from_address: DialBack = DialBack.NOT_OFFERED,
) -> Finding:
    """
    Make what a server says.

    @param ports: by the socket, C{""} being the one that is asked, which port it
        sees us at.
    """
    asked = TransportAddress(server, 3478)
    seen = {} if ports is None else dict(ports)
    first = seen.pop("", None)
    return Finding(
        asked,
        None if first is None else TransportAddress(host, first),
        from_port=from_port,
        from_address=from_address,
        seen=tuple(
            (TransportAddress.from_text(socket), TransportAddress(host, port))
            for socket, port in seen.items()
        ),
    )


class MappingTests(SynchronousTestCase):
    """
    How the NAT maps.
    """

    def test_rules(self) -> None:
        """
        Two sockets are needed to say anything, and two addresses to be certain that a
        mapping does not depend on them.
        """
        same, port, address = "203.0.113.1:3479", {"": 1}, "203.0.113.2:3478"
        second = finding({"": 1}, server="203.0.113.9")
        for findings, expected in (
            ([], (None, False)),
            ([finding()], (None, False)),
            ([finding(port)], (None, False)),
            ([finding({"": 1, same: 1})], (Dependence.ENDPOINT_INDEPENDENT, False)),
            ([finding({"": 1, same: 1, address: 1})], (Dependence.ENDPOINT_INDEPENDENT, True)),
            ([finding({"": 1, same: 2})], (Dependence.ADDRESS_AND_PORT_DEPENDENT, True)),
            ([finding({"": 1, same: 1, address: 2})], (Dependence.ADDRESS_DEPENDENT, True)),
            ([finding({"": 1, address: 2})], (Dependence.ADDRESS_DEPENDENT, False)),
            ([finding(port), second], (Dependence.ENDPOINT_INDEPENDENT, True)),
            ([finding({"": 2}), second], (Dependence.ADDRESS_DEPENDENT, False)),
            ([finding({"": 2, same: 2}), second], (Dependence.ADDRESS_DEPENDENT, True)),
        ):
            self.assertEqual(mapping_of(findings), expected, findings)

    def test_disagreement(self) -> None:
        """
        Of servers that see different addresses of ours most are believed, if there are most.
        """
        liar = finding({"": 9}, server="203.0.113.8", host="198.51.100.66")
        honest = [finding({"": 1}), finding({"": 1}, server="203.0.113.9")]
        self.assertEqual(mapping_of([liar, honest[0]]), (None, False))
        self.assertEqual(mapping_of([liar, *honest]), (Dependence.ENDPOINT_INDEPENDENT, True))

    def test_nothing(self) -> None:
        """
        Whoever measured nothing knows nothing.
        """
        behavior = Behavior()
        self.assertEqual((behavior.mapping, behavior.is_mapping_certain), (None, False))
        self.assertEqual((behavior.filtering, behavior.reachable), (None, None))
        self.assertEqual((behavior.scope, behavior.is_behind_nat), (None, None))
        self.assertFalse(behavior.is_udp_working)


class FilteringTests(SynchronousTestCase):
    """
    What is let in, and whether we are reachable.
    """

    def test_rules(self) -> None:
        """
        The table of C{docs/protocols/stun.md}.
        """
        yes, no, unknown, none = (
            DialBack.ARRIVED,
            DialBack.SILENT,
            DialBack.UNKNOWN,
            DialBack.NOT_OFFERED,
        )
        for local, from_port, from_address, filtering, reachable in (
            (LOCAL, yes, yes, Dependence.ENDPOINT_INDEPENDENT, True),
            (LOCAL, no, yes, Dependence.ENDPOINT_INDEPENDENT, True),
            (LOCAL, yes, no, Dependence.ADDRESS_DEPENDENT, False),
            (MAPPED, yes, no, Dependence.ADDRESS_DEPENDENT, False),
            (MAPPED, yes, none, Dependence.ENDPOINT_INDEPENDENT, True),
            (LOCAL, yes, none, Dependence.AT_MOST_ADDRESS_DEPENDENT, None),
            (None, yes, none, Dependence.AT_MOST_ADDRESS_DEPENDENT, None),
            (LOCAL, yes, unknown, Dependence.AT_MOST_ADDRESS_DEPENDENT, None),
            (LOCAL, no, no, Dependence.ADDRESS_AND_PORT_DEPENDENT, False),
            (LOCAL, no, none, Dependence.ADDRESS_AND_PORT_DEPENDENT, False),
            (MAPPED, no, none, Dependence.ADDRESS_AND_PORT_DEPENDENT, False),
            (LOCAL, unknown, none, None, None),
            (MAPPED, none, none, None, None),
        ):
            found = finding({"": 7777}, from_port=from_port, from_address=from_address)
            behavior = Behavior(local, (found,))
            self.assertEqual(behavior.filtering, filtering, (local, from_port, from_address))
            self.assertEqual(behavior.reachable, reachable, (local, from_port, from_address))

    def test_several_servers(self) -> None:
        """
        One answer that came in counts more than another that did not: a server's own
        firewall may have kept that.
        """
        silent = finding({"": 7777}, from_port=DialBack.SILENT)
        heard = finding({"": 7777}, server="203.0.113.9", from_port=DialBack.ARRIVED)
        self.assertTrue(Behavior(MAPPED, (silent, heard)).reachable)


class FactTests(SynchronousTestCase):
    """
    The simple facts.
    """

    def test_nat(self) -> None:
        """
        A NAT shows in the address or in the port.
        """
        found = (finding(), finding({"": 7777}, server="203.0.113.9"))
        self.assertFalse(Behavior(MAPPED, found).is_behind_nat)
        self.assertTrue(Behavior(LOCAL, found).is_behind_nat)
        self.assertTrue(Behavior(TransportAddress(MAPPED.host, 1), found).is_behind_nat)
        self.assertEqual(Behavior(LOCAL, found).mapped, MAPPED)
        self.assertTrue(Behavior(LOCAL, found).is_udp_working)
        self.assertTrue(Behavior(LOCAL, (), found).is_udp_working)

    def test_scope(self) -> None:
        """
        It is known how far from us the servers stand.
        """
        for host, kind in (
            ("198.51.100.1", AddressKind.GLOBAL),
            ("10.0.0.1", AddressKind.PRIVATE),
            ("127.0.0.1", AddressKind.LOOPBACK),
        ):
            self.assertIs(Behavior(LOCAL, (finding({"": 1}, host=host),)).scope, kind)
