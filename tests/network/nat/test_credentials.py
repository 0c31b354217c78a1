"""
Tests of L{atmosphere.network.nat.credentials}.
"""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.network.nat.credentials import Credentials


class CredentialsTests(SynchronousTestCase):
    """
    What is made anew for each agent.
    """

    def test_form(self) -> None:
        """
        They have ICE's characters and lengths, and hide the password.
        """
        made = Credentials.from_entropy(Random(1).randbytes)
        self.assertRegex(made.ufrag, r"^[A-Za-z0-9+/]{8}$")
        self.assertRegex(made.pwd, r"^[A-Za-z0-9+/]{24}$")
        self.assertNotIn(made.pwd, repr(made))

    def test_key(self) -> None:
        """
        A password is the key as it is (RFC 8489 §9.1.1).
        """
        self.assertEqual(
            Credentials("evtj", "VOkJxbRl1RmTxUk/WvJxBt").key, b"VOkJxbRl1RmTxUk/WvJxBt"
        )
