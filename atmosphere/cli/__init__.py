"""
The command line: C{atmosphere}.

One file for each group of commands. Those that talk to a running node do so
over its local API and import no Twisted, so that they answer at once.
"""

from .app import main

__all__ = ["main"]
