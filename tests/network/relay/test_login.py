"""
Tests for L{atmosphere.network.relay.login}: the decision about a hello.
"""

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.addresses import TransportAddress
from atmosphere.errors import DecodeError, JoinError
from atmosphere.network.relay.frames import Hello, Refused
from atmosphere.network.relay.limits import RelayConfig, RelayLimits
from atmosphere.network.relay.line import Admission, Line
from atmosphere.network.relay.login import Login

from .switchboard_case import make_hello, make_key

NONCE = b"n" * 32


class LoginTests(SynchronousTestCase):
    """
    Layout, authority, signature, admission: in this order.
    """

    def decide(self, hello: Hello, *names: str) -> tuple[Hello, Admission] | Refused:
        """
        Let a relay with these names decide.
        """
        self.asked: list[Hello] = []

        def admit(hello: Hello) -> Admission:
            self.asked.append(hello)
            raise JoinError("used")

        login = Login(
            RelayConfig(names=names), wall=lambda: 1000.0, admit=admit, stun_ports=lambda: ()
        )
        line = Line(TransportAddress("192.0.2.1", 1), NONCE, RelayLimits(), 0.0)
        return login.decide(line, hello.encode())

    def test_a_stranger_costs_no_check_of_membership(self) -> None:
        """
        Membership is looked at last, so a bad signature is not worth the work.
        """
        found = self.decide(make_hello(make_key(1), b"x" * 32))
        assert isinstance(found, Refused)
        self.assertEqual((found.code, self.asked), (3, []))

    def test_a_bad_ticket(self) -> None:
        """
        The reason why a ticket is not taken is handed on.
        """
        self.assertEqual(self.decide(make_hello(make_key(1), NONCE)), Refused(5, "used"))

    def test_an_authority_without_a_port(self) -> None:
        """
        The authority that is signed always has its port.
        """
        with self.assertRaises(DecodeError):
            self.decide(make_hello(make_key(1), NONCE, authority="relay"), "relay")

    def test_how_long(self) -> None:
        """
        An admission lasts until its end, and one that is over no time at all.
        """
        login = Login(
            RelayConfig(), wall=lambda: 1000.0, admit=lambda _: Admission(), stun_ports=tuple
        )
        for expires, expected in ((None, float("inf")), (1010.0, 10.0), (900.0, 0.0)):
            self.assertEqual(login.seconds_left(Admission(expires=expires)), expected)
