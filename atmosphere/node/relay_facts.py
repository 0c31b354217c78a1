# -*- test-case-name: tests.node.test_report -*-
"""
What a report on the network says of each relay.
"""

from __future__ import annotations

from dataclasses import dataclass

from atmosphere.network.relay.client import RelayClient

from .api import JSON

__all__ = ["RelayFacts", "relay_facts"]


@dataclass(frozen=True, slots=True)
class RelayFacts:
    """
    What was found out about a relay.

    @ivar rtt: seconds.
    @ivar error: why it did not let us in.
    @ivar stun_ports: where it answers STUN, as it says.
    @ivar clock_offset: by how many seconds its clock is ahead of ours.
    """

    url: str
    is_ok: bool
    rtt: float | None = None
    error: str | None = None
    stun_ports: tuple[int, ...] = ()
    clock_offset: float | None = None

    def as_json(self) -> JSON:
        """
        Give what a report shows.
        """
        rtt_ms = None if self.rtt is None else round(self.rtt * 1000, 3)
        return {"url": self.url, "rtt_ms": rtt_ms, "ok": self.is_ok, "error": self.error}


def relay_facts(client: RelayClient) -> RelayFacts:
    """
    Say what a relay's client knows of it.
    """
    welcome = client.welcome
    return RelayFacts(
        client.url,
        client.is_welcomed,
        client.rtt,
        client.error,
        () if welcome is None else welcome.stun_ports,
        client.clock_offset,
    )
