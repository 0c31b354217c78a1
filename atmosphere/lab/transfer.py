# -*- test-case-name: tests.lab.test_transfer -*-
"""
A transfer between two programs over a forward of atmosphere's: what came when.
"""

from __future__ import annotations

import contextlib
import hashlib
import socket
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from threading import Event, Thread

__all__ = ["Transfer"]

#: Bytes that are sent together.
PIECE = 16_384

#: Seconds after which a side that hears nothing gives up.
PATIENCE = 180.0


def pieces(total: int) -> Iterator[bytes]:
    """
    Make data in which no two pieces are alike.
    """
    for number in range(0, total, PIECE):
        piece = hashlib.sha256(number.to_bytes(8, "big")).digest() * (PIECE // 32)
        yield piece[: total - number]


class Transfer:
    """
    Sends bytes from one socket in the file system to another, at a steady pace.

    Sockets in the file system are the same in all network namespaces, so that both
    ends are here, and by one clock.

    @ivar total: how many bytes.
    @ivar times: when bytes came.
    @ivar received: how many.
    @ivar error: what went wrong; C{None} if nothing did.
    """

    def __init__(self, total: int, rate: float, elapsed: Callable[[], float]) -> None:
        """
        @param rate: bytes a second.
        """
        self.total = total
        self.times: list[float] = []
        self.received = 0
        self.error: str | None = None
        self._rate = rate
        self._elapsed = elapsed
        self._sent, self._came = hashlib.sha256(), hashlib.sha256()
        self._stopped = Event()
        self._over = Event()
        self._threads: list[Thread] = []

    def listen(self, path: Path) -> None:
        """
        Take what comes to a socket, once.
        """
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(path))
        listening.listen(1)
        listening.settimeout(PATIENCE)
        self._start(self._receive, listening)

    def send(self, path: Path) -> None:
        """
        Begin to send to a socket.
        """
        self._start(self._send, path)

    def _start(self, function: Callable[..., None], argument: object) -> None:
        """
        Do something beside the rest.
        """
        thread = Thread(target=self._try, args=(function, argument), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _try(self, function: Callable[..., None], argument: object) -> None:
        """
        Do something, and keep what went wrong.
        """
        try:
            function(argument)
        except OSError as error:
            self.error = self.error or str(error)
            self._over.set()

    def _receive(self, listening: socket.socket) -> None:
        """
        Take one connection, until its end.
        """
        with listening:
            connection, _ = listening.accept()
        with connection:
            connection.settimeout(PATIENCE)
            while data := connection.recv(65536):
                self.times.append(self._elapsed())
                self.received += len(data)
                self._came.update(data)
        self._over.set()

    def _send(self, path: Path) -> None:
        """
        Send all, no faster than was said, and wait until the other side has hung up.
        """
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(str(path))
            due = self._elapsed()
            for piece in pieces(self.total):
                connection.sendall(piece)
                self._sent.update(piece)
                due = max(due + len(piece) / self._rate, self._elapsed())
                if self._stopped.wait(max(0.0, due - self._elapsed())):
                    return
            connection.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionError):
                while connection.recv(65536):
                    pass

    def is_over(self) -> bool:
        """
        Ask whether it has ended, well or not.
        """
        return self._over.is_set()

    def stop(self) -> None:
        """
        Send no more.
        """
        self._stopped.set()

    @property
    def is_equal(self) -> bool:
        """
        Whether all came, and what came is what was sent.
        """
        is_whole = self.received == self.total
        return is_whole and self.error is None and self._sent.digest() == self._came.digest()

    def longest_gap(self, since: float) -> float:
        """
        Say for how long nothing came at the most, after some moment.
        """
        times = [since, *(each for each in self.times if each > since)]
        return max((after - before for before, after in pairwise(times)), default=0.0)
