# -*- test-case-name: tests.node.test_advice -*-
"""
What a network report says in words: what a NAT means, and what would help.

Each piece of advice is one line that names a remedy.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from atmosphere.addresses import AddressKind, TransportAddress, address_kind
from atmosphere.network.stun.behavior import Behavior, Dependence, DialBack

if TYPE_CHECKING:
    from .measuring import Measurement
    from .relay_facts import RelayFacts

__all__ = [
    "CLOCK_TOLERANCE",
    "advise",
    "ipv6_words",
    "lifetime_words",
    "mapping_words",
    "notes",
    "reachable_words",
    "seconds_words",
]

#: Seconds by which a clock may be off before certificates are not accepted.
CLOCK_TOLERANCE = 600.0


def mapping_words(mapping: str | None) -> str | None:
    """
    Say what a mapping means to somebody who never heard of RFC 4787.
    """
    match mapping:
        case Dependence.ENDPOINT_INDEPENDENT.value:
            return "your router keeps one public port per local port (good for hole punching)"
        case Dependence.ADDRESS_DEPENDENT.value:
            return "your router takes another public port for each peer (bad for hole punching)"
        case Dependence.ADDRESS_AND_PORT_DEPENDENT.value:
            return (
                "your router takes another public port for each connection (bad for hole punching)"
            )
        case _:
            return None


def filtering_words(filtering: str | None) -> str | None:
    """
    Say what a filter means.
    """
    match filtering:
        case Dependence.ENDPOINT_INDEPENDENT.value:
            return "anybody may send to you"
        case Dependence.ADDRESS_DEPENDENT.value:
            return "only machines that you sent to may send to you"
        case Dependence.AT_MOST_ADDRESS_DEPENDENT.value:
            return "machines that you sent to may send from any port; strangers perhaps"
        case Dependence.ADDRESS_AND_PORT_DEPENDENT.value:
            return "only answers are let in"
        case _:
            return None


def lifetime_words(
    at_least: float | None, less_than: float | None, *, is_behind_nat: bool | None
) -> str:
    """
    Say for how long a router lets answers in to a port that is silent.
    """
    what = "your firewall lets answers in" if is_behind_nat is False else "your router keeps a port"
    often = "a node sends every 5 s at the latest"
    if less_than is None:
        return f"{what} for {at_least:g} s of silence at least, and longer was not tried; {often}"
    if at_least is None:
        return f"{what} for less than {less_than:g} s of silence; {often}"
    return f"{what} for {at_least:g} to {less_than:g} s of silence; {often}"


def reachable_words(behavior: Behavior | None) -> str:
    """
    Say why a report says what it says about reachability.
    """
    if behavior is None:
        return "no STUN server was asked"
    if not behavior.is_udp_working:
        return "no STUN server answered"
    if behavior.scope is AddressKind.LOOPBACK:
        return "the server is on this machine, which proves nothing about others"
    outcomes = {each.from_port for each in behavior.dial_backs}
    match behavior.reachable:
        case True:
            whence = "a stranger's address" if behavior.is_behind_nat else "a port never sent to"
            where = ", within the private network" if _is_private(behavior) else ""
            return f"an answer from {whence} came in{where}"
        case False:
            return "an answer from a socket never sent to did not come in"
        case _ if behavior.filtering is not None:
            return (
                "an answer from a known address came in by another port; it takes a server with"
                " two addresses, such as a relay with two --stun-address, to see whether"
                " strangers get in"
            )
        case _ if DialBack.UNKNOWN in outcomes:
            return "too many datagrams were lost to tell"
        case _:
            return "no server that answered can dial back; an atmosphere relay can"


def ipv6_words(
    host: str | None, behavior: Behavior | None, *, interfaces: Iterable[str] = ("::",)
) -> str:
    """
    Say why a report says what it says about IPv6.

    @param host: the IPv6 address that this machine sends from, if it has one.
    @param behavior: what STUN servers said by IPv6; C{None} if none was asked by it.
    @param interfaces: the addresses that the node listens on.
    """
    bound = list(interfaces)
    if not any(":" in each for each in bound):
        return f"only {', '.join(bound)} is listened on"
    if behavior is not None and behavior.is_udp_working:
        return "a STUN server answered by it"
    if host is None:
        return "this machine has no IPv6 address"
    kind = address_kind(TransportAddress(host, 9).packed)
    if kind is not AddressKind.GLOBAL:
        return f"this machine has only {host}, which means nothing outside of this network"
    if behavior is not None:
        return (
            f"this machine has the address {host}, but no STUN server answered by IPv6;"
            " `--stun HOST:PORT` asks another"
        )
    return (
        f"this machine has the address {host}, but no relay or STUN server in use has an IPv6"
        " address to ask; `--stun HOST:PORT` names one that has"
    )


def _is_private(behavior: Behavior) -> bool:
    """
    Say whether the servers that saw us are in our own private network.
    """
    return behavior.scope is AddressKind.PRIVATE


def seconds_words(seconds: float) -> str:
    """
    Write a span of time roughly.
    """
    seconds = abs(seconds)
    for size, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.1f} s"


def notes(measurement: Measurement | None, wanted_port: int | None, port: int | None) -> list[str]:
    """
    Say what was found that is no advice: what failed, and what is not certain.

    @param wanted_port: the UDP port that was to be measured; C{None} for any.
    @param port: the one that was.
    """
    if measurement is None:
        return []
    found = measurement.notes()
    main = measurement.main
    if main is None or main.scope is AddressKind.LOOPBACK:
        return found
    if wanted_port and port and wanted_port != port:
        found.append(
            f"UDP port {wanted_port} is taken by another program: port {port} was measured"
        )
    if main.mapping is not None and main.is_behind_nat and not main.is_mapping_certain:
        found.append("the mapping was seen from one server address; --stun with another is surer")
    for each in main.mappings:
        if each.mapped and each.other and not each.seen:
            name = measurement.name(each.server)
            found.append(f"STUN server {name}: its second port, UDP {each.other.port}, is silent")
    return found


def advise(
    measurement: Measurement | None,
    relays: Sequence[RelayFacts],
    *,
    port: int | None,
    clock_offset: float | None,
    is_udp_working: bool | None,
    advertised: Sequence[str] = (),
) -> list[str]:
    """
    Say what would help, one line each, the most pressing first.

    @param port: our UDP port.
    @param advertised: the addresses that the user says we are reached at.
    @param clock_offset: seconds by which the relays' clock is ahead of ours.
    @param is_udp_working: C{None} if that is not known.
    """
    advice = []
    if clock_offset is not None and abs(clock_offset) > CLOCK_TOLERANCE:
        side = "behind" if clock_offset > 0 else "ahead of"
        advice.append(
            f"this clock is {seconds_words(clock_offset)} {side} the relay's: set it, such as with"
            " `timedatectl set-ntp true`, or certificates are not accepted"
        )
    advice += _about_relays(relays)
    main = None if measurement is None else measurement.main
    if measurement is None or main is None:
        why = "could be" if measurement is not None and measurement.failures else "was"
        advice.append(f"no STUN server {why} asked: `atmosphere network --stun HOST:PORT` asks one")
    elif is_udp_working is False:
        rest = (
            "peers are reached through the relay only"
            if any(each.is_ok for each in relays)
            else "without a relay no peer elsewhere can be reached"
        )
        advice.append(
            f"no answer by UDP, so {rest}: let outgoing UDP through the firewall, port 3478 first"
        )
    elif is_udp_working and main.scope is not AddressKind.LOOPBACK:
        if main.is_behind_nat and advertised:
            advice.append(
                f"{', '.join(advertised)} is advertised, and was not tried: whether your router"
                " forwards it, a peer's `atmosphere ping NAME --until-direct` shows"
            )
        else:
            advice += _about_nat(main, port)
    return advice


def _about_relays(relays: Sequence[RelayFacts]) -> list[str]:
    """
    Say what to do about relays.
    """
    if not relays:
        return [
            "no relay: `--relay ws://HOST:8080` names one, `atmosphere relay` runs one on any"
            " machine with a public address; some peers cannot be reached without"
        ]
    return [
        f"relay {each.url} is of no use: {each.error or 'it did not answer in time'}"
        for each in relays
        if not each.is_ok
    ]


def _about_nat(behavior: Behavior, port: int | None) -> list[str]:
    """
    Say what to do about a NAT or a firewall.
    """
    where = "the node's UDP port" if port is None else f"UDP port {port}"
    is_hard = behavior.mapping in (
        Dependence.ADDRESS_DEPENDENT,
        Dependence.ADDRESS_AND_PORT_DEPENDENT,
    )
    if behavior.is_behind_nat and is_hard:
        return [
            f"your router makes direct connections hard: forward {where} on it and name it with"
            " --advertise IP:PORT, or keep a relay"
        ]
    match behavior.reachable:
        case False if behavior.is_behind_nat:
            return [
                f"direct connections need hole punching, which works with most peers; forward"
                f" {where} on your router to be reached by all"
            ]
        case False:
            return [f"a firewall lets in only answers: open {where} to be reached by all"]
        case None if behavior.filtering is None:
            return [
                "an atmosphere relay with two UDP ports, 3478 and 3479, can dial back and show"
                " whether you are reachable: `--relay` or `--stun` names it"
            ]
        case _:
            return []
