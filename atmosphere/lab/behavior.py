# -*- test-case-name: tests.lab.test_behavior -*-
"""
What a home is really like: measured from the machine in it, and compared with its kind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import TimeoutError as DeferredTimeoutError
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectError
from twisted.internet.protocol import Protocol

from atmosphere.network.stun.behavior import Behavior, DialBack
from atmosphere.network.stun.probe_client import measure_behavior

from .carriers import measure_hairpin
from .kinds import Expected, Kind
from .places import SERVERS, STUN, STUN_IPV6, TCP_PORTS

__all__ = ["complaints", "describe", "measure"]

JSON = dict[str, Any]

#: Seconds in which a TCP connection has to come about.
PATIENCE = 3.0


async def measure(reactor: Any, kind: Kind, *, entropy: Callable[[int], bytes]) -> JSON:
    """
    Measure what is before this machine.

    @param kind: it says which families there should be.
    @return: C{ipv4}, C{ipv6} (C{None} if there should be none), C{tcp}, the ports
        that were reached, and C{hairpin} (C{None} if nobody looked).
    """
    asking = [measure_behavior(reactor, [STUN], entropy=entropy)]
    if kind.expected_by_ipv6 is not None:
        asking.append(measure_behavior(reactor, [STUN_IPV6], entropy=entropy))
    tcp = [port for port in TCP_PORTS if await _is_reached(reactor, port)]
    facts = [_facts(await each) for each in asking]
    is_asked = kind.expected.hairpin is not None
    hairpin = await measure_hairpin(reactor, entropy=entropy) if is_asked else None
    ipv6 = facts[1] if len(facts) > 1 else None
    return {"ipv4": facts[0], "ipv6": ipv6, "tcp": tcp, "hairpin": hairpin}


async def _is_reached(reactor: Any, port: int) -> bool:
    """
    Say whether a TCP connection comes about.
    """
    endpoint = TCP4ClientEndpoint(reactor, SERVERS[0], port, timeout=PATIENCE)
    protocol = Protocol()
    try:
        await connectProtocol(endpoint, protocol)
    except (ConnectError, DeferredTimeoutError):
        return False
    assert protocol.transport is not None
    protocol.transport.loseConnection()
    return True


def _facts(behavior: Behavior) -> JSON:
    """
    Put what was found in one family into words that travel.
    """
    mapping, filtering = behavior.mapping, behavior.filtering
    return {
        "udp": behavior.is_udp_working,
        "local": None if behavior.local is None else str(behavior.local.host),
        "public": None if behavior.mapped is None else str(behavior.mapped.host),
        "behind_nat": behavior.is_behind_nat,
        "mapping": None if mapping is None else mapping.value,
        "filtering": None if filtering is None else filtering.value,
        "is_certain": behavior.is_mapping_certain
        and all(each.from_address is not DialBack.UNKNOWN for each in behavior.dial_backs),
    }


def complaints(kind: Kind, facts: JSON, public: str) -> list[str]:
    """
    Compare what was measured with what the kind promises.

    @param public: the address that others should see by IPv4.
    @return: what differs; nothing if the home may be trusted.
    """
    found = _compare(kind.expected, facts["ipv4"])
    if kind.expected.udp and facts["ipv4"]["public"] != public:
        found.append(f"seen at {facts['ipv4']['public']}, not {public}")
    if kind.expected_by_ipv6 is not None:
        found += [f"IPv6 {each}" for each in _compare(kind.expected_by_ipv6, facts["ipv6"])]
    if tuple(facts["tcp"]) != kind.expected.tcp:
        found.append(f"TCP reaches the ports {facts['tcp']}, not {list(kind.expected.tcp)}")
    if facts["hairpin"] != kind.expected.hairpin:
        found.append(f"hairpin is {facts['hairpin']!r}, not {kind.expected.hairpin!r}")
    return found


def _compare(expected: Expected, facts: JSON) -> list[str]:
    """
    Compare one family.
    """
    if not expected.udp:
        return ["UDP goes through"] if facts["udp"] else []
    assert expected.mapping is not None and expected.filtering is not None
    wanted = {
        "udp": True,
        "behind_nat": expected.is_behind_nat,
        "mapping": expected.mapping.value,
        "filtering": expected.filtering.value,
        "is_certain": True,
    }
    return [
        f"{name} is {facts[name]!r}, not {value!r}"
        for name, value in wanted.items()
        if facts[name] != value
    ]


def describe(facts: JSON) -> str:
    """
    Tell what was measured, in one line.
    """
    texts = []
    for family in ("ipv4", "ipv6"):
        each = facts[family]
        if each is None:
            continue
        name = "IPv6" if family == "ipv6" else "IPv4"
        if not each["udp"]:
            texts.append(f"{name} without UDP, TCP to {facts['tcp'] or 'nothing'}")
            continue
        nat = f"NAT mapping {each['mapping']}" if each["behind_nat"] else "no NAT"
        texts.append(f"{name} seen at {each['public']}, {nat}, filter {each['filtering']}")
    if facts["hairpin"] is not None:
        texts.append(f"hairpin: {'yes' if facts['hairpin'] else 'no'}")
    return "; ".join(texts)
