"""
Tests for L{atmosphere.network.stun.discovery}.
"""

from dataclasses import replace

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atmosphere.addresses import TransportAddress
from atmosphere.errors import DecodeError
from atmosphere.network.stun.discovery import (
    STUN_SERVERS,
    Agreement,
    Discovery,
    Observation,
    Server,
    agree,
    mapped_refusal,
)

OURS = "198.18.7.7"


def says(number: int, host: str, port: int) -> Observation:
    """
    Let a server say something.
    """
    name = f"192.0.2.{number}"
    return Observation(Server(name), TransportAddress(name, 3478), TransportAddress(host, port))


class AgreementTests(SynchronousTestCase):
    """
    Who is believed.
    """

    def test_nobody(self) -> None:
        """
        Without an answer nothing is decided.
        """
        self.assertIsNone(agree([]))

    def test_one(self) -> None:
        """
        One answer is believed, and marked as unconfirmed.
        """
        self.assertEqual(
            agree([says(1, OURS, 7777)]),
            Agreement(TransportAddress(OURS, 7777), False, None, (Server("192.0.2.1"),)),
        )

    def test_two_ports_of_one(self) -> None:
        """
        One server that sees another port from each of its own two has shown that ours
        is not stable; one that sees the same has shown nothing about others.
        """
        for port, expected in ((8888, False), (7777, None)):
            first = says(1, "198.51.100.1", 7777)
            second = replace(says(1, "198.51.100.1", port), asked=replace(first.asked, port=3479))
            found = agree([first, second])
            assert found is not None
            self.assertIs(found.has_stable_port, expected)
            self.assertEqual((found.is_confirmed, found.asked), (False, first.asked))

    def test_two_agree(self) -> None:
        """
        Two that say the same confirm each other.
        """
        found = agree([says(1, OURS, 7777), says(2, OURS, 7777)])
        assert found is not None
        self.assertEqual(found.address, TransportAddress(OURS, 7777))
        self.assertTrue(found.is_confirmed)
        self.assertTrue(found.has_stable_port)
        self.assertEqual(found.liars, ())

    def test_two_differ(self) -> None:
        """
        Of two that differ nobody can say which is wrong.
        """
        self.assertIsNone(agree([says(1, OURS, 7777), says(2, "198.18.9.9", 7777)]))

    def test_liar(self) -> None:
        """
        The one among three that says otherwise is named, whichever came first.
        """
        for liar in (1, 2, 3):
            observations = [
                says(number, "198.18.9.9" if number == liar else OURS, 7777) for number in (1, 2, 3)
            ]
            found = agree(observations)
            assert found is not None
            self.assertEqual(found.address, TransportAddress(OURS, 7777))
            self.assertEqual(found.liars, (Server(f"192.0.2.{liar}"),))
            self.assertEqual(len(found.servers), 2)

    def test_lying_about_the_port(self) -> None:
        """
        A server that says another port than most is named as well.
        """
        found = agree([says(1, OURS, 1), says(2, OURS, 7777), says(3, OURS, 7777)])
        assert found is not None
        self.assertEqual(found.address.port, 7777)
        self.assertTrue(found.has_stable_port)
        self.assertEqual(found.liars, (Server("192.0.2.1"),))

    def test_address_dependent_mapping(self) -> None:
        """
        When all see one address and each another port, it is the NAT and nobody lies.
        """
        found = agree([says(number, OURS, 5000 + number) for number in (1, 2, 3)])
        assert found is not None
        self.assertEqual(found.address.host, OURS)
        self.assertTrue(found.is_confirmed)
        self.assertFalse(found.has_stable_port)
        self.assertEqual(found.liars, ())

    def test_half_is_no_majority(self) -> None:
        """
        Two against two decide nothing, nor do two among five.
        """
        self.assertIsNone(
            agree([says(n, OURS if n < 3 else "198.18.9.9", 7777) for n in (1, 2, 3, 4)])
        )
        hosts = [OURS, OURS, "198.18.9.1", "198.18.9.2", "198.18.9.3"]
        self.assertIsNone(agree([says(n, host, 7777) for n, host in enumerate(hosts)]))

    def test_one_voice_for_each_address(self) -> None:
        """
        A server with many names, or many ports, has one voice.
        """
        liar = TransportAddress("192.0.2.66", 3478)
        false = TransportAddress("198.18.9.9", 7777)
        many = [
            Observation(Server(f"name{n}.example"), TransportAddress(liar.host, 3478 + n), false)
            for n in range(5)
        ]
        found = agree([*many, says(1, OURS, 7777), says(2, OURS, 7777)])
        assert found is not None
        self.assertEqual(found.address.host, OURS)
        alone = agree(many)
        assert alone is not None
        self.assertFalse(alone.is_confirmed)

    @settings(derandomize=True, max_examples=200, deadline=None)
    @given(
        st.lists(
            st.tuples(st.integers(1, 9), st.sampled_from([OURS, "198.18.9.9"]), st.integers(1, 3)),
            max_size=9,
        )
    )
    def test_a_minority_decides_nothing(self, said: list[tuple[int, str, int]]) -> None:
        """
        What is confirmed was said by more than half of all voices, and by two.
        """
        observations = [says(*each) for each in said]
        found = agree(observations)
        voices = {each.asked.host: each for each in reversed(observations)}
        if found is not None and found.is_confirmed:
            votes = sum(each.mapped.host == found.address.host for each in voices.values())
            self.assertGreater(votes * 2, len(voices))
            self.assertGreaterEqual(votes, 2)
            self.assertFalse(set(found.servers) & set(found.liars))

    def test_discovery(self) -> None:
        """
        Both families are reported together, IPv4 first, each liar once.
        """
        four = Agreement(TransportAddress(OURS, 1), True, True, (), (Server("a"), Server("b")))
        six = Agreement(TransportAddress("2001:db8::1", 1), True, True, (), (Server("a"),))
        both = Discovery(four, six)
        self.assertEqual(both.addresses, (four.address, six.address))
        self.assertEqual(both.liars, (Server("a"), Server("b")))
        self.assertEqual(Discovery(ipv6=six).agreements, (six,))
        self.assertEqual(Discovery().addresses, ())


class RefusalTests(SynchronousTestCase):
    """
    What no server can truly say.
    """

    def test_table(self) -> None:
        """
        Loopback is believed of a server on loopback, private addresses of a private
        server, nonsense of nobody.
        """
        loopback, private, public = "127.0.0.1", "192.168.1.1", "8.8.8.8"
        for server, mapped, is_good in (
            (public, "8.8.4.4", True),
            (private, "8.8.4.4", True),
            (loopback, "8.8.4.4", True),
            (public, "192.168.1.5", False),
            (private, "192.168.1.5", True),
            (loopback, "10.0.0.1", True),
            (public, "127.0.0.1", False),
            (private, "127.0.0.1", False),
            (loopback, "127.0.0.1", True),
            (public, "169.254.169.254", False),
            (loopback, "169.254.169.254", False),
            (public, "0.0.0.0", False),
            (public, "224.0.0.1", False),
            (public, "255.255.255.255", False),
            (public, "2001:4860::1", False),
            ("2001:4860::8888", "8.8.8.8", False),
            ("2001:4860::8888", "2001:4860::1", True),
            ("2001:4860::8888", "64:ff9b::7f00:1", False),
            ("2001:4860::8888", "fe80::1", False),
            ("2001:4860::8888", "fd00::1", False),
            ("fd00::2", "fd00::1", True),
            ("::1", "::1", True),
        ):
            reason = mapped_refusal(TransportAddress(server, 3478), TransportAddress(mapped, 7777))
            self.assertEqual(reason is None, is_good, f"{server} says {mapped}: {reason}")

    def test_port(self) -> None:
        """
        Nothing comes from port 0.
        """
        asked = TransportAddress("8.8.8.8", 3478)
        self.assertIsNotNone(mapped_refusal(asked, TransportAddress("8.8.4.4", 0)))


class ServerTests(SynchronousTestCase):
    """
    How servers are named.
    """

    def test_from_text(self) -> None:
        """
        Names and addresses, with a port or without.
        """
        for text, server in (
            ("stun.example.org", Server("stun.example.org", 3478)),
            ("stun.example.org:19302", Server("stun.example.org", 19302)),
            ("192.0.2.1:1", Server("192.0.2.1", 1)),
            ("[2001:db8::1]", Server("2001:db8::1", 3478)),
            ("[2001:db8::1]:65535", Server("2001:db8::1", 65535)),
        ):
            self.assertEqual(Server.from_text(text), server)
            self.assertEqual(Server.from_text(str(server)), server)

    def test_bad_text(self) -> None:
        """
        Anything else is refused.
        """
        for text in (
            "",
            ":1",
            "a:",
            "a:0",
            "a:65536",
            "a:123456",
            "a:b",
            "a:-1",
            "a:²",
            "2001:db8::1",
            "[a]:1",
            "[2001:db8::1",
            "[2001:db8::1]1",
            "stun:a:1",
            "a b:1",
            "a/b",
            "a\n:1",
        ):
            with self.assertRaises(DecodeError, msg=repr(text)):
                Server.from_text(text)

    def test_address(self) -> None:
        """
        A server named by its address needs no name resolution.
        """
        self.assertEqual(Server("192.0.2.1", 5).address(), TransportAddress("192.0.2.1", 5))
        self.assertIsNone(Server("stun.example.org").address())

    def test_public_list(self) -> None:
        """
        The public servers are those that users of old know.
        """
        self.assertEqual(
            [str(each) for each in STUN_SERVERS],
            [
                "stun.l.google.com:19302",
                "stun1.l.google.com:19302",
                "stun2.l.google.com:19302",
                "stun.cloudflare.com:3478",
                "stun.stunprotocol.org:3478",
            ],
        )
