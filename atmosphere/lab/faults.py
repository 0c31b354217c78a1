# -*- test-case-name: tests.lab.test_faults -*-
"""
What may happen to two homes while they talk: routers that are switched off and on,
cables that are cut, relays that die, machines that sleep.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .internet import Home, Internet
from .roaming import add_other_network, go_elsewhere, go_home
from .trial import Trial

__all__ = ["FAULTS", "Fault", "find_faults"]

#: A home's other public address, by its number.
OTHER_PUBLIC = "45.77.{}.3"

_CUT = """
table inet cut {{
  chain c {{ type filter hook prerouting priority -400; iifname "{}" drop; }}
}}
"""

_BLOCK = """
table inet block {
  chain c {
    type filter hook forward priority -10;
    iifname "home1" oifname "home2" meta l4proto udp drop
    iifname "home2" oifname "home1" meta l4proto udp drop
  }
}
"""


def cut(internet: Internet, home: Home) -> None:
    """
    Cut a home's uplink.
    """
    internet.middle.run("nft", "-f", "-", stdin=_CUT.format(f"home{home.number}"))
    home.edge.run("nft", "-f", "-", stdin=_CUT.format("outside"))


def mend(internet: Internet, home: Home) -> None:
    """
    Mend what L{cut} has cut.
    """
    for namespace in (internet.middle, home.edge):
        namespace.run("nft", "delete", "table", "inet", "cut")


def reboot(home: Home) -> None:
    """
    Switch a home's routers off and on.
    """
    for router, rules in home.routers:
        router.load_rules(rules)
        router.forget_connections()


def _exchange_address(internet: Internet, home: Home, old: str, new: str) -> None:
    """
    Give a home another public address than it has, and switch its routers off and on.
    """
    near = f"home{home.number}"
    internet.middle.ip("route", "add", f"{new}/32", "dev", near)
    home.edge.ip("address", "add", f"{new}/32", "dev", "outside")
    home.edge.ip("route", "replace", "default", "dev", "outside", "src", new)
    home.edge.ip("address", "delete", f"{old}/32", "dev", "outside")
    internet.middle.ip("route", "delete", f"{old}/32", "dev", near)
    reboot(home)


def readdress(internet: Internet, home: Home) -> None:
    """
    Switch a home's routers off and on; its provider gives it another address.
    """
    _exchange_address(internet, home, home.public, OTHER_PUBLIC.format(home.number))


def restore_address(internet: Internet, home: Home) -> None:
    """
    Give a home its first address again.
    """
    _exchange_address(internet, home, OTHER_PUBLIC.format(home.number), home.public)


def block(internet: Internet) -> None:
    """
    Let no UDP through between the two homes.
    """
    internet.middle.run("nft", "-f", "-", stdin=_BLOCK)


def unblock(internet: Internet) -> None:
    """
    Let it through again.
    """
    internet.middle.run("nft", "delete", "table", "inet", "block")


@dataclass(frozen=True)
class Fault:
    """
    Something that may happen.

    @ivar name: what it is called.
    @ivar words: what it is.
    @ivar cut: seconds for which nothing can get through, or for which it lasts.
    @ivar target: seconds for which nothing may come beyond that; C{None} if there is
        nothing that has to be reached.
    @ivar prepare: makes ready, before the transfer, what takes a while.
    @ivar begin: makes it happen; the sender's home is the second.
    @ivar end: ends it, C{cut} seconds later.
    @ivar clear: undoes, when the transfer is over, what would be in the way of the next.
    @ivar is_interrupting: whether C{cut} is time in which nothing can come.
    """

    name: str
    words: str
    cut: float
    target: float | None
    begin: Callable[[Trial], Any]
    end: Callable[[Trial], Any] | None = None
    clear: Callable[[Trial], Any] | None = None
    prepare: Callable[[Trial], Any] | None = None
    is_interrupting: bool = True


def _homes(trial: Trial) -> tuple[Home, Home]:
    """
    Find portland's home, which receives, and seattle's, which sends.
    """
    one, two = trial.internet.homes
    return one, two


def _cut(name: str, seconds: float, side: int) -> Fault:
    """
    Write down a cut of an uplink.
    """
    whose = ("the receiver's", "the sender's")[side]
    return Fault(
        name,
        f"{whose} uplink is cut for {seconds:g} s",
        seconds,
        0.5,
        lambda trial: cut(trial.internet, _homes(trial)[side]),
        lambda trial: mend(trial.internet, _homes(trial)[side]),
    )


def _roam(name: str, side: int) -> Fault:
    """
    Write down that a machine goes into another network.
    """
    whose = ("the receiver's", "the sender's")[side]
    return Fault(
        name,
        f"{whose} machine is carried into another network, as from cable to wireless",
        0.0,
        3.0,
        lambda trial: go_elsewhere(_homes(trial)[side]),
        clear=lambda trial: go_home(_homes(trial)[side]),
        prepare=lambda trial: add_other_network(trial.internet, _homes(trial)[side]),
    )


#: All of them, in the order in which they are tried.
FAULTS = (
    Fault(
        "reboot-sender",
        "the sender's router is switched off and on",
        0.0,
        1.0,
        lambda trial: reboot(_homes(trial)[1]),
    ),
    Fault(
        "reboot-receiver",
        "the receiver's router is switched off and on",
        0.0,
        1.0,
        lambda trial: reboot(_homes(trial)[0]),
    ),
    Fault(
        "address-sender",
        "the sender's router has another public address after that",
        0.0,
        3.0,
        lambda trial: readdress(trial.internet, _homes(trial)[1]),
        clear=lambda trial: restore_address(trial.internet, _homes(trial)[1]),
    ),
    Fault(
        "address-receiver",
        "the receiver's router has another public address after that",
        0.0,
        3.0,
        lambda trial: readdress(trial.internet, _homes(trial)[0]),
        clear=lambda trial: restore_address(trial.internet, _homes(trial)[0]),
    ),
    _roam("roam-sender", 1),
    _roam("roam-receiver", 0),
    _cut("cut-10", 10.0, 1),
    _cut("cut-10-receiver", 10.0, 0),
    _cut("cut-60", 60.0, 1),
    Fault(
        "block",
        "no UDP gets through between the two for 15 s; the relay works on",
        15.0,
        6.5,
        lambda trial: block(trial.internet),
        lambda trial: unblock(trial.internet),
        is_interrupting=False,
    ),
    Fault(
        "relay",
        "the relay is killed, and started again 3 s later",
        3.0,
        5.0,
        lambda trial: trial.kill_relay(),
        lambda trial: trial.start_relay(),
    ),
    Fault(
        "sleep",
        "the sender's node is stopped for 2 min",
        120.0,
        None,
        lambda trial: trial.signal("seattle", signal.SIGSTOP),
        lambda trial: trial.signal("seattle", signal.SIGCONT),
    ),
    Fault(
        "sleep-receiver",
        "the receiver's node is stopped for 2 min",
        120.0,
        None,
        lambda trial: trial.signal("portland", signal.SIGSTOP),
        lambda trial: trial.signal("portland", signal.SIGCONT),
    ),
)


def find_faults(names: tuple[str, ...]) -> list[Fault]:
    """
    Find faults by their names, all if there are none.

    @raise KeyError: there is no such.
    """
    known = {fault.name: fault for fault in FAULTS}
    return [known[name] for name in names] or list(FAULTS)
