"""
Tests for L{atmosphere.network.relay.endpoint}: URLs, and words for what went wrong.
"""

from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet import error
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from atmosphere.errors import ConfigurationError
from atmosphere.network.relay.endpoint import (
    connection_endpoint,
    describe_failure,
    parse_relay_url,
)


class URLTests(SynchronousTestCase):
    """
    A relay's URL says where it is.
    """

    def test_good(self) -> None:
        """
        Ports and paths have their usual values.
        """
        for text, expected in [
            ("ws://relay:8080", (False, "relay:8080", "/relay")),
            ("ws://relay", (False, "relay:80", "/relay")),
            ("wss://Relay.Example/", (True, "relay.example:443", "/relay")),
            ("wss://relay.example/relay", (True, "relay.example:443", "/relay")),
            ("wss://relay.example/some/where/", (True, "relay.example:443", "/some/where/relay")),
            ("ws://[::1]:8080", (False, "[::1]:8080", "/relay")),
        ]:
            url = parse_relay_url(text)
            self.assertEqual((url.is_secure, url.authority, url.resource), expected)
            self.assertEqual(url.text, text)

    def test_bad(self) -> None:
        """
        What is no relay's URL is refused with an example.
        """
        for text in (
            "",
            "relay:8080",
            "http://relay",
            "ws://",
            "ws://relay:99999",
            "ws://relay:0",
            "ws://user@relay",
            "ws://relay?x",
            "ws://relay#x",
            "ws://re lay",
            "ws://relay/\r\nX: y",
            "ws://[::1",
        ):
            with self.assertRaises(ConfigurationError, msg=text) as caught:
                parse_relay_url(text)
            self.assertIn("ws://HOST:8080", str(caught.exception))

    def test_trust(self) -> None:
        """
        A file of authorities that cannot be used is refused by its name.
        """
        url = parse_relay_url("wss://relay")
        for path in ("/does/not/exist", __file__):
            with self.assertRaises(ConfigurationError) as caught:
                connection_endpoint(Clock(), url, path)
            self.assertIn(path, str(caught.exception))


class DescriptionTests(SynchronousTestCase):
    """
    Each failure is one line that a person can act on.
    """

    def test_all(self) -> None:
        """
        The remedy is named where there is one.
        """
        url = parse_relay_url("wss://relay:8080")
        failed = [("SSL routines", "", "certificate verify failed")]
        for problem, words in [
            (error.DNSLookupError("no"), "relay: no address is known"),
            (error.ConnectionRefusedError(), "relay:8080 refuses connections"),
            (error.TimeoutError(), "firewall"),
            (error.NoRouteError("no route to host"), "cannot be reached"),
            (error.ConnectionDone(), "is it a relay?"),
            (error.ConnectionLost(), "is it a relay?"),
            (VerificationError([]), "another name"),
            (SSL.Error(failed), "--relay-ca"),
            (SSL.Error([("SSL routines", "", "wrong version number")]), "ws://"),
            (SSL.Error(), "the connection was cut"),
            (SSL.Error([("SSL routines", "", "odd")]), "odd"),
            (ValueError("odd"), "odd"),
        ]:
            line = describe_failure(url, Failure(problem))
            self.assertIn(words, line)
            self.assertNotIn("\n", line)
