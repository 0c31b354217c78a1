"""
Simulated networks and clocks, for our tests and for those who embed atmosphere.

A L{SimulatedNetwork} has hosts, each of them a Twisted reactor, on one
C{twisted.internet.task.Clock} and from one seed: the programs that run in it
are the real ones, and the same seed gives the same run.
"""

from .firewall import Firewall, lets_no_udp_out, lets_tcp_443_out
from .homes import Home, HomeKind, Homes
from .host import Host
from .link import Link, TraceRecord
from .machine import Machine
from .mesh import MemoryMesh
from .nat import (
    ADDRESS_RESTRICTED,
    CGNAT,
    FULL_CONE,
    PORT_RESTRICTED,
    SYMMETRIC,
    Dependence,
    Nat,
    NatBehaviour,
    Ports,
)
from .network import SimulatedNetwork
from .randomness import seeded_entropy, seeded_random, wall_clock
from .router import Router
from .subnet import Subnet

__all__ = [
    "ADDRESS_RESTRICTED",
    "CGNAT",
    "FULL_CONE",
    "PORT_RESTRICTED",
    "SYMMETRIC",
    "Dependence",
    "Firewall",
    "Home",
    "HomeKind",
    "Homes",
    "Host",
    "Link",
    "Machine",
    "MemoryMesh",
    "Nat",
    "NatBehaviour",
    "Ports",
    "Router",
    "SimulatedNetwork",
    "Subnet",
    "TraceRecord",
    "lets_no_udp_out",
    "lets_tcp_443_out",
    "seeded_entropy",
    "seeded_random",
    "wall_clock",
]
