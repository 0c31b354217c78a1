"""
Tests for the list of known relays and the choice among them.
"""

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.errors import DecodeError
from atmosphere.network.relay.selection import DEFAULT_RELAYS, RelayInfo, best_relay


class RelayInfoTests(SynchronousTestCase):
    """
    What is known of a relay, and its form in JSON.
    """

    def test_round_trip(self) -> None:
        """
        What C{to_dict} gives is read by C{from_dict}.
        """
        relay = RelayInfo("wss://relay.example", "eu-west", 12.5, 100)
        self.assertEqual(RelayInfo.from_dict(relay.to_dict()), relay)

    def test_least(self) -> None:
        """
        A URL and a region are enough, and what is not known is left alone.
        """
        relay = RelayInfo.from_dict({"url": "ws://a:1", "region": "lab", "colour": "red"})
        self.assertEqual(relay, RelayInfo("ws://a:1", "lab", None, None))

    def test_nonsense(self) -> None:
        """
        Whatever is not a relay is refused by name.
        """
        good = {"url": "ws://a:1", "region": "lab"}
        for bad in (
            {},
            {"url": "ws://a:1"},
            {**good, "url": 7},
            {**good, "url": ""},
            {**good, "region": "x" * 3000},
            {**good, "latency_ms": "fast"},
            {**good, "latency_ms": True},
            {**good, "capacity": 1.5},
        ):
            with self.assertRaises(DecodeError):
                RelayInfo.from_dict(bad)


class BestRelayTests(SynchronousTestCase):
    """
    The choice among relays.
    """

    def test_lowest_latency(self) -> None:
        """
        The relay that answers soonest is taken, the first of equals.
        """
        near, far = RelayInfo("ws://near", "a", 3.0), RelayInfo("ws://far", "b", 80.0)
        twin = RelayInfo("ws://twin", "c", 3.0)
        self.assertIs(best_relay([far, near, twin]), near)

    def test_not_measured(self) -> None:
        """
        A relay that was not reached is no choice, whatever else there is.
        """
        silent, slow = RelayInfo("ws://silent", "a"), RelayInfo("ws://slow", "b", 900.0)
        self.assertIs(best_relay([silent, slow]), slow)
        self.assertIsNone(best_relay([silent]))
        self.assertIsNone(best_relay([]))

    def test_none_shipped(self) -> None:
        """
        No relay of ours is used by anybody who did not name it.
        """
        self.assertEqual(DEFAULT_RELAYS, [])
