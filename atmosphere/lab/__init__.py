"""
Kernel laboratories: real NATs between real programs, on one machine without a network.

An L{Internet} is made of network namespaces that nothing connects to the outside:
homes behind routers of the kernel's own NAT, by L{Kind}, cables with the delay of
distance, and servers in the middle. Each kind is measured before it is believed. A
L{Trial} runs a relay and two nodes in it and tells what happened when.

This room is for Linux, root, and C{atmosphere lab}; nothing that runs imports it.
"""

from .internet import RELAY, Home, Internet
from .kinds import Kind, Prospect, all_pairs, parse_pair, prospect
from .namespaces import LabError, Namespace, missing
from .programs import Times
from .trial import Outcome, Run, Trial
from .wire import Conditions

__all__ = [
    "RELAY",
    "Conditions",
    "Home",
    "Internet",
    "Kind",
    "LabError",
    "Namespace",
    "Outcome",
    "Prospect",
    "Run",
    "Times",
    "Trial",
    "all_pairs",
    "missing",
    "parse_pair",
    "prospect",
]
