# -*- test-case-name: tests.network.quic.test_larger -*-
"""
How large the datagrams of a link are: no larger than the ways carry that they leave by.

The rules are in C{docs/protocols/link.md}, section 8.
"""

from __future__ import annotations

from atmosphere.network.path.datagram_size import FULL_SIZE
from atmosphere.network.path.paths import Paths

from .adapter import QUICConnection

__all__ = ["LinkSize"]

#: Trouble of QUIC's after which it is looked whether large datagrams still pass.
DOUBT_AFTER = 4


class LinkSize:
    """
    Keeps the datagrams of a large link as small as its ways need them. QUIC can lower
    their size while streams are open, and not raise it.
    """

    def __init__(self, quic: QUICConnection, paths: Paths) -> None:
        self._quic = quic
        self._paths = paths
        self._trouble = 0

    @property
    def is_large(self) -> bool:
        """
        Whether datagrams may have more bytes than every way carries.
        """
        return self._quic.datagram_size > FULL_SIZE

    def fit(self, now: float) -> None:
        """
        Lower the size if the ways in use ask for it, and have them measured if data is
        lost. What was too large is asked after at once.
        """
        trouble = self._quic.trouble
        if trouble >= self._trouble + DOUBT_AFTER:
            self._trouble = trouble
            self._paths.doubt_size(now)
        carried = self._paths.carried
        if carried < self._quic.datagram_size:
            self._quic.lower_datagram_size(carried)
            self._quic.send_ping(now)
            text = f"datagrams of this link have at most {carried} bytes from now on"
            self._paths.decisions.note(now, self._paths.active, text)
