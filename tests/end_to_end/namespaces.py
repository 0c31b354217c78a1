"""
Network namespaces: machines that can reach a relay and not each other, and homes
behind routers of the kernel's own NAT.
"""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from atmosphere.cli.sources import elapsed, pause, wall
from atmosphere.lab import RELAY as INTERNET, Conditions, Internet, Kind, Namespace, Times, missing

__all__ = ["INTERNET", "RELAY", "TIMES", "can_isolate", "homes", "isolate", "skip_without"]

#: Where the relay is, seen from every machine.
RELAY = "10.77.0.1"

TIMES = Times(elapsed, wall, pause)


def can_isolate() -> bool:
    """
    Say whether we may make namespaces.
    """
    return missing(("ip", "nsenter")) is None


def skip_without(*programs: str) -> None:
    """
    Skip a test where namespaces, or programs of the system that it needs, are missing.
    """
    lacking = missing(("ip", "nsenter", *programs))
    if lacking is not None:
        raise SkipTest(lacking)


def isolate(case: SynchronousTestCase, count: int) -> list[tuple[tuple[str, ...], str]]:
    """
    Make a namespace for a relay and one for each machine, with a cable from
    each to the relay and no route beyond it.

    @return: for the relay and then each machine what stands before a command
        that is to run there, and its address.
    """
    relay = Namespace("relay")
    case.addCleanup(relay.close)
    relay.ip("address", "add", f"{RELAY}/32", "dev", "lo")
    relay.set("ipv4/ip_forward", 0)
    found = [(relay.prefix, RELAY)]
    for number in range(1, count + 1):
        machine = Namespace(f"machine {number}")
        case.addCleanup(machine.close)
        near, far, end = f"10.77.{number}.2", f"10.77.{number}.1", f"relay{number}"
        relay.ip("link", "add", end, "type", "veth", "peer", "eth0", "netns", machine.path)
        for namespace, name, address in ((relay, end, far), (machine, "eth0", near)):
            namespace.ip("address", "add", f"{address}/24", "dev", name)
            namespace.ip("link", "set", name, "up")
        machine.ip("route", "add", f"{RELAY}/32", "via", far)
        found.append((machine.prefix, near))
    return found


def homes(case: SynchronousTestCase, folder: Path, *kinds: Kind) -> list[tuple[str, ...]]:
    """
    Make an Internet, and homes of these kinds; a relay in it is at L{INTERNET}.

    @param folder: where the logs of its own programs go.
    @return: for the relay and then each home, what stands before a command that
        is to run there.
    """
    skip_without("nft")
    internet = Internet(kinds, folder, TIMES, Conditions(delay=0.002))
    case.addCleanup(internet.close)
    internet.build()
    return [internet.middle.prefix, *(home.host.prefix for home in internet.homes)]
