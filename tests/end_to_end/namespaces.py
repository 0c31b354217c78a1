"""
Network namespaces: machines that can reach a relay and not each other.
"""

from __future__ import annotations

import os
import shutil
import subprocess

from twisted.trial.unittest import SynchronousTestCase

__all__ = ["RELAY", "can_isolate", "isolate"]

#: Where the relay is, seen from every machine.
RELAY = "10.77.0.1"


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
