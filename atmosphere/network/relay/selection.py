# -*- test-case-name: tests.network.relay.test_selection -*-
"""
Which relays there are when nobody names one, and which of several is best.

Pure rules, and cheap to import: measuring is done elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from atmosphere.errors import DecodeError

__all__ = ["DEFAULT_RELAYS", "RelayInfo", "best_relay"]

_LONGEST_TEXT = 2_048


@dataclass(slots=True)
class RelayInfo:
    """
    A relay that is known, and what is known of it.

    @ivar url: C{ws://HOST:PORT} or C{wss://HOST}.
    @ivar region: where it stands, for people.
    @ivar latency_ms: the measured round trip in milliseconds; C{None} if it never was.
    @ivar capacity: how many sessions it is meant for, if somebody says so.
    """

    url: str
    region: str
    latency_ms: float | None = None
    capacity: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """
        Give what JSON can carry.
        """
        return {
            "url": self.url,
            "region": self.region,
            "latency_ms": self.latency_ms,
            "capacity": self.capacity,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RelayInfo:
        """
        Read what L{to_dict} gave; keys that are not known are left alone.

        @raise DecodeError: no URL or region, or something of the wrong type.
        """
        url, region = data.get("url"), data.get("region")
        latency, capacity = data.get("latency_ms"), data.get("capacity")
        if not isinstance(url, str) or not isinstance(region, str):
            raise DecodeError("a relay has a url and a region")
        if not url or len(url) > _LONGEST_TEXT or len(region) > _LONGEST_TEXT:
            raise DecodeError("a relay's url or region of an impossible length")
        if isinstance(latency, bool) or not isinstance(latency, (int, float, type(None))):
            raise DecodeError("latency_ms is a number")
        if isinstance(capacity, bool) or not isinstance(capacity, (int, type(None))):
            raise DecodeError("capacity is a whole number")
        return cls(url, region, latency, capacity)


#: The relays that serve when nothing else names one. Shipped empty: whoever
#: runs relays for others puts them here, or names one by C{ATMOSPHERE_RELAY_URL}.
DEFAULT_RELAYS: list[RelayInfo] = []


def best_relay(relays: Iterable[RelayInfo]) -> RelayInfo | None:
    """
    Choose the relay with the lowest measured latency.

    @param relays: in order of preference, which decides between equals.
    @return: C{None} if none was measured: a relay that did not answer is no choice.
    """
    measured = [each for each in relays if each.latency_ms is not None]
    return min(measured, key=lambda each: each.latency_ms or 0.0, default=None)
