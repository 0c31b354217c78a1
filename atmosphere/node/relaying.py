# -*- test-case-name: tests.node.test_relaying -*-
"""
A relay that knows our join codes: those who hold one may come to join.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from atmosphere.mesh.join_code import check_ticket
from atmosphere.network.relay.admission import Ticket, membership_admission
from atmosphere.network.relay.frames import Hello
from atmosphere.network.relay.limits import RelayConfig
from atmosphere.network.relay.line import Admission
from atmosphere.network.relay.service import RelayService

__all__ = ["describe", "make_relay", "relay_admission", "url_of"]


def relay_admission(
    config: RelayConfig, *, wall: Callable[[], float]
) -> Callable[[Hello], Admission]:
    """
    Make a relay's decision about those who greet it: members of the meshes that
    it serves come in, and joiners by the ticket of their code, who may reach
    nobody but the code's issuer.
    """

    def check(ticket: bytes) -> Ticket:
        """
        Check what a joiner shows.

        @raise JoinError: it does not hold.
        """
        found = check_ticket(ticket, mesh_ids=config.meshes, wall=wall())
        return Ticket(found.mesh_id, frozenset({found.issuer}), found.expires_at)

    return membership_admission(config, wall=wall, check_ticket=check)


def make_relay(
    reactor: Any,
    config: RelayConfig,
    *,
    entropy: Callable[[int], bytes],
    wall: Callable[[], float],
) -> RelayService:
    """
    Make a relay with L{relay_admission}.

    @param reactor: provides TCP, UDP and time.
    @raise ConfigurationError: the certificate or its key cannot be used.
    """
    return RelayService(
        reactor, config, entropy=entropy, wall=wall, admit=relay_admission(config, wall=wall)
    )


def url_of(service: RelayService) -> str:
    """
    Guess the URL by which nodes will call the relay.
    """
    scheme, usual = ("wss", 443) if service.is_secure else ("ws", 80)
    config = service.config
    host = next(iter(config.names), "")
    if not host:
        host = "HOST" if config.host in ("", "0.0.0.0", "::") else config.host
        host = f"[{host}]" if ":" in host else host
    has_port = host.rpartition("]")[2].count(":") == 1
    port = "" if has_port or service.port == usual else f":{service.port}"
    return f"{scheme}://{host}{port}"


def describe(service: RelayService) -> str:
    """
    Say in one line what to open and how nodes use the relay.
    """
    return f"relay: {service.ports_to_open()}; nodes use it with --relay {url_of(service)}"
