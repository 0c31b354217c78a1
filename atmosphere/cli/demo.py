# -*- test-case-name: tests.cli.test_app -*-
"""
C{atmosphere demo}: see it work, on this machine alone.
"""

from __future__ import annotations

from .options import command

__all__ = ["demo"]


@command("demo", examples="atmosphere demo", short_help="See it work, on this machine alone.")
def demo() -> None:
    """
    Start a relay and two nodes on loopback and join them.
    """
