# -*- test-case-name: tests.cli.test_app -*-
"""
C{atmosphere network}: see it work, on this machine alone.
"""

from __future__ import annotations

from .options import command

__all__ = ["network"]


@command("network", examples="atmosphere network", short_help="See it work, on this machine alone.")
def network() -> None:
    """
    Start a relay and two nodes on loopback and join them.
    """
