"""
Network namespaces: machines that can reach a relay and not each other, and homes
behind routers of the kernel's own NAT.
"""

from __future__ import annotations

import os
import shutil
import subprocess

from twisted.trial.unittest import SynchronousTestCase

__all__ = ["INTERNET", "RELAY", "can_isolate", "can_translate", "homes", "isolate"]

#: Where the relay is, seen from every machine.
RELAY = "10.77.0.1"

#: Where the relay is, seen from homes: an address like those of the Internet.
INTERNET = "45.77.0.1"

#: A home's router: what goes out is translated, and nothing comes in unasked.
_ROUTER = """
table ip translation {{
  chain out {{
    type nat hook postrouting priority 100;
    oifname "outside" masquerade {how}
  }}
}}
table ip wall {{
  chain to_router {{
    type filter hook input priority 0;
    iifname "outside" ct state established,related accept
    iifname "outside" drop
  }}
  chain through {{
    type filter hook forward priority 0; policy drop;
    ct state established,related accept
    iifname "inside" accept
  }}
}}
"""


def _run(*command: str) -> None:
    """
    Run a command that has to succeed.
    """
    subprocess.run(command, check=True, capture_output=True, timeout=20)


def can_isolate() -> bool:
    """
    Say whether we may make namespaces.
    """
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    name = f"atmosphere-{os.getpid()}-probe"
    try:
        _run("ip", "netns", "add", name)
        _run("ip", "netns", "del", name)
    except (OSError, subprocess.SubprocessError):
        return False
    return True


def isolate(case: SynchronousTestCase, count: int) -> list[tuple[tuple[str, ...], str]]:
    """
    Make a namespace for a relay and one for each machine, with a cable from
    each to the relay and no route beyond it.

    @return: for the relay and then each machine what stands before a command
        that is to run there, and its address.
    """
    names = [f"atmosphere-{os.getpid()}-{number}" for number in range(count + 1)]
    for name in names:
        _run("ip", "netns", "add", name)
        case.addCleanup(_run, "ip", "netns", "del", name)
        _run("ip", "-n", name, "link", "set", "lo", "up")
    relay = names[0]
    _run("ip", "-n", relay, "address", "add", f"{RELAY}/32", "dev", "lo")
    forwarding = "echo 0 > /proc/sys/net/ipv4/ip_forward"
    _run("ip", "netns", "exec", relay, "sh", "-c", forwarding)
    found: list[tuple[tuple[str, ...], str]] = [(("ip", "netns", "exec", relay), RELAY)]
    for number, name in enumerate(names[1:], 1):
        near, far = f"10.77.{number}.2", f"10.77.{number}.1"
        ends = (f"relay{number}", "eth0")
        cable = ("link", "add", ends[0], "type", "veth", "peer", ends[1], "netns", name)
        _run("ip", "-n", relay, *cable)
        _run("ip", "-n", relay, "address", "add", f"{far}/24", "dev", ends[0])
        _run("ip", "-n", relay, "link", "set", ends[0], "up")
        _run("ip", "-n", name, "address", "add", f"{near}/24", "dev", ends[1])
        _run("ip", "-n", name, "link", "set", ends[1], "up")
        _run("ip", "-n", name, "route", "add", f"{RELAY}/32", "via", far)
        found.append((("ip", "netns", "exec", name), near))
    return found


def can_translate() -> bool:
    """
    Say whether we may make namespaces, and routers between them.
    """
    return can_isolate() and shutil.which("nft") is not None


def _cable(one: str, name: str, address: str, two: str, far_name: str, far: str) -> None:
    """
    Lay a cable between two namespaces.
    """
    _run("ip", "-n", one, "link", "add", name, "type", "veth", "peer", far_name, "netns", two)
    for namespace, end, own in ((one, name, address), (two, far_name, far)):
        _run("ip", "-n", namespace, "address", "add", f"{own}/24", "dev", end)
        _run("ip", "-n", namespace, "link", "set", end, "up")


def _forward(name: str) -> None:
    """
    Have a namespace pass packets on.
    """
    command = "echo 1 > /proc/sys/net/ipv4/ip_forward"
    _run("ip", "netns", "exec", name, "sh", "-c", command)


def homes(case: SynchronousTestCase, count: int, how: str = "") -> list[tuple[str, ...]]:
    """
    Make an Internet with a relay in it, and homes, each behind a router of its
    own that lets in only answers.

    @param how: C{fully-random} for routers that take another port for each peer.
    @return: for the relay and then each home, what stands before a command that
        is to run there.
    """
    internet = f"atmosphere-{os.getpid()}-net"
    places = [f"atmosphere-{os.getpid()}-{kind}{n}" for n in range(count) for kind in "rh"]
    for name in (internet, *places):
        _run("ip", "netns", "add", name)
        case.addCleanup(_run, "ip", "netns", "del", name)
        _run("ip", "-n", name, "link", "set", "lo", "up")
    _run("ip", "-n", internet, "address", "add", f"{INTERNET}/32", "dev", "lo")
    _forward(internet)
    for n in range(count):
        router, home = places[2 * n : 2 * n + 2]
        _cable(internet, f"net{n}", f"45.77.{n + 1}.1", router, "outside", f"45.77.{n + 1}.2")
        _cable(router, "inside", "192.168.1.1", home, "eth0", "192.168.1.10")
        _run("ip", "-n", router, "route", "add", "default", "via", f"45.77.{n + 1}.1")
        _run("ip", "-n", home, "route", "add", "default", "via", "192.168.1.1")
        _forward(router)
        subprocess.run(
            ("ip", "netns", "exec", router, "nft", "-f", "-"),
            input=_ROUTER.format(how=how).encode(),
            check=True,
            capture_output=True,
            timeout=20,
        )
    return [("ip", "netns", "exec", name) for name in (internet, *places[1::2])]
