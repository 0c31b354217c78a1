# -*- test-case-name: tests.network.quic.test_endpoint -*-
"""
A handshake in memory, which leaves no trace but what it loads.
"""

from __future__ import annotations

from .acceptance import connection_id_of
from .adapter import QUICConnection
from .credentials import Credentials

__all__ = ["warm_up"]


def warm_up(credentials: Credentials, now: float) -> None:
    """
    Do one handshake in memory: a process's first costs twenty times more.
    """
    dialler = QUICConnection(credentials)
    dialler.connect(now)
    flight = dialler.datagrams_to_send(now)
    original = connection_id_of(flight[0]) or b""
    listener = QUICConnection(credentials, original_cid=original)
    for _ in range(3):
        listener.receive_datagrams(flight, now)
        dialler.receive_datagrams(listener.datagrams_to_send(now), now)
        flight = dialler.datagrams_to_send(now)
