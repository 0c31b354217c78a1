# -*- test-case-name: tests.lab.test_roaming -*-
"""
A machine that is carried from its home into another network, as a laptop is: other
interface, other address, other router, other way out.
"""

from __future__ import annotations

from .internet import Home, Internet
from .kinds import Kind, router_rules
from .namespaces import Namespace
from .places import HOST_IPV6, PREFIX_IPV6, ROUTER

__all__ = ["add_other_network", "go_elsewhere", "go_home"]

#: The other network's public address, by the home's number, and its addresses inside.
OTHER_PUBLIC = "45.77.{}.4"
OTHER_LAN = "192.168.2"
OTHER_ROUTER, OTHER_HOST = f"{OTHER_LAN}.1", f"{OTHER_LAN}.10"

#: What a machine has there. The interface is down as long as it is at home.
AIR = "wlan0"

#: Homes whose router the other network has too; it is port-restricted for all else.
_LIKE_HOME = (
    Kind.FULL_CONE,
    Kind.ADDRESS_RESTRICTED,
    Kind.SYMMETRIC,
    Kind.UDP_BLOCKED,
    Kind.TCP_443_ONLY,
)


def add_other_network(internet: Internet, home: Home) -> None:
    """
    Build a network with a router and an uplink of its own, to which a home's machine can
    go; once for each home.
    """
    name = f"other router {home.number}"
    if any(router.name == name for router, _ in home.routers):
        return
    router = internet.add_router(name)
    public, near = OTHER_PUBLIC.format(home.number), f"roam{home.number}"
    router.ip("link", "add", "inside", "type", "veth", "peer", AIR, "netns", home.host.path)
    router.ip("address", "add", f"{OTHER_ROUTER}/24", "dev", "inside")
    router.ip("link", "set", "inside", "up")
    internet.lay_cable(router, near)
    internet.middle.ip("link", "set", near, "up")
    internet.middle.ip("route", "add", f"{public}/32", "dev", near)
    router.ip("address", "add", f"{public}/32", "dev", "outside")
    router.ip("link", "set", "outside", "up")
    router.ip("route", "add", "default", "dev", "outside", "src", public)
    kind = home.kind if home.kind in _LIKE_HOME else Kind.PORT_RESTRICTED
    rules = router_rules(kind, OTHER_HOST)
    router.load_rules(rules)
    home.routers.append((router, rules))


def _at_home(home: Home) -> str:
    """
    Name the interface that a machine has at home.
    """
    return "outside" if home.kind is Kind.NONE else "eth0"


def _do(host: Namespace, *commands: str) -> None:
    """
    Have iproute2 do several things at once.
    """
    host.run("ip", "-batch", "-", stdin="".join(f"{each}\n" for each in commands))


def go_elsewhere(home: Home) -> None:
    """
    Take a home's machine into the other network.
    """
    _do(
        home.host,
        f"link set {_at_home(home)} down",
        f"address replace {OTHER_HOST}/24 dev {AIR}",
        f"link set {AIR} up",
        f"route replace default via {OTHER_ROUTER} dev {AIR}",
    )


def go_home(home: Home) -> None:
    """
    Bring it back.
    """
    device = _at_home(home)
    commands = [f"link set {AIR} down", f"link set {device} up"]
    if home.kind is Kind.NONE:
        commands.append(f"route replace default dev {device} src {home.public}")
    else:
        commands.append(f"route replace default via {ROUTER} dev {device}")
    if home.kind is Kind.IPV6:  # interfaces that go down lose such addresses
        own, prefix = HOST_IPV6.format(home.number, 10), PREFIX_IPV6.format(home.number)
        commands.append(f"address replace {own}/64 dev {device} nodad")
        commands.append(f"route replace default via {prefix}:1 dev {device}")
    _do(home.host, *commands)
