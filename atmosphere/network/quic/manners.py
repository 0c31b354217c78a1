# -*- test-case-name: tests.network.quic.test_streams -*-
"""
What programs set on a TCP connection, for those that run on a stream unchanged.
"""

from __future__ import annotations

__all__ = ["TCPManners"]


class TCPManners:
    """
    The switches of TCP, which a stream has no use for: it never delays small
    writes, and its link sees for itself whether the peer is there.
    """

    def getTcpNoDelay(self) -> bool:
        """
        Say that small writes are not delayed.
        """
        return True

    def setTcpNoDelay(self, enabled: bool) -> None:
        """
        Do nothing: they never are.
        """

    def getTcpKeepAlive(self) -> bool:
        """
        Say that the peer is asked whether it is there.
        """
        return True

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """
        Do nothing: it always is.
        """
