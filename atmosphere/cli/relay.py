# -*- test-case-name: tests.cli.test_app -*-
"""
C{atmosphere relay}: see it work, on this machine alone.
"""

from __future__ import annotations

from .options import command

__all__ = ["relay"]


@command("relay", examples="atmosphere relay", short_help="See it work, on this machine alone.")
def relay() -> None:
    """
    Start a relay and two nodes on loopback and join them.
    """
