# -*- test-case-name: tests.cli.test_app -*-
"""
C{atmosphere mesh}: see it work, on this machine alone.
"""

from __future__ import annotations

from .options import command

__all__ = ["mesh"]


@command("mesh", examples="atmosphere mesh", short_help="See it work, on this machine alone.")
def mesh() -> None:
    """
    Start a relay and two nodes on loopback and join them.
    """
