"""
Tests for L{atmosphere.network.relay.gate}: connections are counted.
"""

from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from atmosphere.network.relay.gate import Gate, GateRefusal, Pass
from atmosphere.network.relay.limits import RelayConfig, RelayLimits


class GateTests(SynchronousTestCase):
    """
    One connection too many is refused, whatever it is too many of.
    """

    def make(
        self, *, host: str = "0.0.0.0", proxies: tuple[str, ...] = (), **limits: float
    ) -> Gate:
        """
        Make a gate.
        """
        return Gate(
            RelayConfig(host=host, proxies=proxies, limits=RelayLimits(**limits))  # type: ignore[arg-type]
        )

    def enter(self, gate: Gate, host: str, now: float = 0.0) -> Pass:
        """
        Expect that a connection is taken.
        """
        place = gate.enter(host, now)
        assert isinstance(place, Pass), place
        return place

    def test_per_address(self) -> None:
        """
        An address has so many, another address has its own, and one that left makes room.
        """
        gate = self.make(connections_per_address=2)
        first = self.enter(gate, "192.0.2.1")
        self.enter(gate, "192.0.2.1")
        self.assertIs(gate.enter("192.0.2.1", 0), GateRefusal.ADDRESS)
        self.enter(gate, "192.0.2.2")
        gate.leave(first)
        gate.leave(first)
        self.assertEqual(gate.total, 2)
        self.enter(gate, "192.0.2.1")

    def test_ipv6_counts_by_network(self) -> None:
        """
        All addresses of a /64 are one.
        """
        gate = self.make(connections_per_address=1)
        self.enter(gate, "2001:db8::1")
        self.assertIs(gate.enter("2001:db8::ffff:1", 0), GateRefusal.ADDRESS)
        self.enter(gate, "2001:db8:0:1::1")
        self.enter(gate, "::ffff:192.0.2.1")
        self.assertIs(gate.enter("192.0.2.1", 0), GateRefusal.ADDRESS)

    def test_members_do_not_count(self) -> None:
        """
        A connection that proved its membership makes room for others of its address.
        """
        gate = self.make(connections_per_address=1)
        member = self.enter(gate, "192.0.2.1")
        gate.prove(member)
        gate.prove(member)
        self.enter(gate, "192.0.2.1")
        gate.leave(member)
        self.assertIs(gate.enter("192.0.2.1", 0), GateRefusal.ADDRESS)

    def test_total(self) -> None:
        """
        There is a limit to all of them.
        """
        gate = self.make(connections=2)
        for number in range(2):
            gate.settle(self.enter(gate, f"192.0.2.{number}"))
        self.assertIs(gate.enter("192.0.2.9", 0), GateRefusal.FULL)

    def test_unproven(self) -> None:
        """
        So many at a time may not have said yet who they are.
        """
        gate = self.make(unproven=1)
        place = self.enter(gate, "192.0.2.1")
        self.assertIs(gate.enter("192.0.2.2", 0), GateRefusal.FULL)
        gate.settle(place)
        gate.settle(place)
        self.assertEqual(gate.unsettled, 0)
        self.enter(gate, "192.0.2.2")

    def test_rates(self) -> None:
        """
        New connections come no faster than allowed, by address and in all.
        """
        gate = self.make(accept_rate_per_address=1, accept_burst_per_address=2)
        for _ in range(2):
            self.enter(gate, "192.0.2.1")
        self.assertIs(gate.enter("192.0.2.1", 0.5), GateRefusal.ADDRESS)
        self.enter(gate, "192.0.2.1", 1.5)
        gate = self.make(accept_rate=1, accept_burst=1)
        self.enter(gate, "192.0.2.1")
        self.assertIs(gate.enter("192.0.2.2", 0), GateRefusal.FULL)

    def test_loopback_has_no_addresses(self) -> None:
        """
        On loopback everyone has the same address, so it does not count.
        """
        gate = self.make(host="127.0.0.1", connections_per_address=1)
        for _ in range(3):
            place = self.enter(gate, "127.0.0.1")
            self.assertTrue(gate.wait_for_partner(place))
        gate.leave(place)

    def test_many_addresses(self) -> None:
        """
        What is remembered of addresses is bounded.
        """
        gate = self.make(connections=20_000, unproven=20_000, accept_burst=20_000)
        for number in range(9_000):
            gate.leave(self.enter(gate, f"10.0.{number >> 8}.{number & 255}"))
        self.assertLessEqual(len(gate._rates), 8_192)
        self.assertEqual((gate._unproven, gate.total), ({}, 0))

    def test_unpaired(self) -> None:
        """
        First legs of pairs are counted until their partner comes.
        """
        gate = self.make(unpaired_per_address=1, unpaired=2)
        first, second = self.enter(gate, "192.0.2.1"), self.enter(gate, "192.0.2.1")
        self.assertTrue(gate.wait_for_partner(first))
        self.assertFalse(gate.wait_for_partner(second))
        gate.found_partner(first)
        self.assertTrue(gate.wait_for_partner(second))
        self.assertTrue(gate.wait_for_partner(self.enter(gate, "192.0.2.2")))
        self.assertFalse(gate.wait_for_partner(self.enter(gate, "192.0.2.3")))
        gate.leave(second)
        self.assertEqual(gate.unpaired, 1)


class ProxyTests(SynchronousTestCase):
    """
    What stands behind a proxy counts by its own address, and only a proxy's word is taken.
    """

    @override
    def setUp(self) -> None:
        """
        Configure a network of proxies.
        """
        self.gate = Gate(
            RelayConfig(
                proxies=("10.0.0.0/8", "2001:db8::1"),
                limits=RelayLimits(connections_per_address=1),
            )
        )

    def test_whose_word_is_taken(self) -> None:
        """
        The last address that is no proxy counts, if a proxy said it.
        """
        for host, said, expected in [
            ("192.0.2.1", "192.0.2.9", None),
            ("10.0.0.1", "192.0.2.9", "192.0.2.9"),
            ("10.0.0.1", "1.1.1.1, 192.0.2.9, 10.0.0.2", "192.0.2.9"),
            ("10.0.0.1", "192.0.2.9:1234", "192.0.2.9"),
            ("2001:db8::1", "[2001:db8::9]", "2001:db8::9"),
            ("10.0.0.1", "192.0.2.9, nonsense", None),
            ("10.0.0.1", "", None),
            ("10.0.0.1", "10.0.0.2", None),
        ]:
            self.assertEqual(self.gate.client_behind(host, said), expected, said)

    def test_counted_by_client(self) -> None:
        """
        A proxy may have many connections, its client one.
        """
        places = [self.gate.enter("10.0.0.1", 0) for _ in range(3)]
        first, second, third = (each for each in places if isinstance(each, Pass))
        self.assertTrue(self.gate.rename(first, "192.0.2.9", 0))
        self.assertFalse(self.gate.rename(second, "192.0.2.9", 0))
        self.assertTrue(self.gate.rename(third, "192.0.2.8", 0))
        self.gate.leave(first)
        self.assertTrue(self.gate.rename(second, "192.0.2.9", 0))
        self.assertTrue(self.gate.rename(second, "192.0.2.8", 0))
