# -*- test-case-name: tests.testing.test_host -*-
# ruff: noqa: N802 (the names are those of the reactor's interface)
"""
The part of a simulated reactor that reads from and writes to what is ready.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IHalfCloseableDescriptor,
    IReactorFDSet,
    IReadDescriptor,
    IWriteDescriptor,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from .agenda import Agenda
from .kernel import Kernel, Socket

__all__ = ["DescriptorLoop"]


@implementer(IReactorFDSet)
class DescriptorLoop:
    """
    Calls descriptors whose sockets are ready, once for all that came at one time.

    @ivar kernel: where the sockets are.
    @ivar is_running: whether there is a process; a dead one reads nothing.
    @ivar is_asleep: whether the process is stopped: nothing is read, no delayed
        call is made, while the kernel goes on.
    """

    _log = Logger()
    kernel: Kernel

    def __init__(self, agenda: Agenda) -> None:
        self.is_running = True
        self.is_asleep = False
        self._agenda = agenda
        self._readers: dict[IReadDescriptor, Socket] = {}
        self._writers: dict[IWriteDescriptor, Socket] = {}
        self._reading: dict[Socket, IReadDescriptor] = {}
        self._writing: dict[Socket, IWriteDescriptor] = {}
        self._waking: set[Socket] = set()
        self._put_off: list[Socket] = []

    def _forget_descriptors(self) -> None:
        """
        Call none of those that were added, and look at no socket that was ready.
        """
        for table in (self._readers, self._writers, self._reading, self._writing):
            table.clear()
        self._waking.clear()
        self._put_off.clear()

    def _catch_up(self) -> None:
        """
        Look at the sockets that were ready while the process was stopped.
        """
        put_off, self._put_off = self._put_off, []
        for each in put_off:
            self._agenda.at(self._agenda.clock.rightNow, self._serve, each)

    def addReader(self, reader: IReadDescriptor) -> None:
        """
        Call C{doRead} whenever the descriptor's socket has something.
        """
        which = self.kernel.sockets.get(reader.fileno())
        if which is not None and self.is_running:
            self._readers[reader] = which
            self._reading[which] = reader
            if which.is_readable:
                self._wake(which)

    def addWriter(self, writer: IWriteDescriptor) -> None:
        """
        Call C{doWrite} whenever the descriptor's socket has room.
        """
        which = self.kernel.sockets.get(writer.fileno())
        if which is not None and self.is_running:
            self._writers[writer] = which
            self._writing[which] = writer
            if which.is_writable:
                self._wake(which)

    def removeReader(self, reader: IReadDescriptor) -> None:
        """
        Undo L{addReader}.
        """
        which = self._readers.pop(reader, None)
        if which is not None:
            self._reading.pop(which, None)

    def removeWriter(self, writer: IWriteDescriptor) -> None:
        """
        Undo L{addWriter}.
        """
        which = self._writers.pop(writer, None)
        if which is not None:
            self._writing.pop(which, None)

    def getReaders(self) -> list[IReadDescriptor]:
        """
        List all that want to read.
        """
        return list(self._readers)

    def getWriters(self) -> list[IWriteDescriptor]:
        """
        List all that want to write.
        """
        return list(self._writers)

    def removeAll(self) -> list[IReadDescriptor | IWriteDescriptor]:
        """
        Undo all of L{addReader} and L{addWriter}.
        """
        removed: list[IReadDescriptor | IWriteDescriptor] = [*self._readers]
        removed += [each for each in self._writers if each not in removed]
        for reader in self.getReaders():
            self.removeReader(reader)
        for writer in self.getWriters():
            self.removeWriter(writer)
        return removed

    def _wake(self, which: Socket) -> None:
        """
        Look at a socket once all that is due now has been done.
        """
        if which not in self._waking:
            self._waking.add(which)
            self._agenda.at(self._agenda.clock.rightNow, self._serve, which)

    def _serve(self, which: Socket) -> None:
        """
        Read from and write to a socket, if that is wanted and possible.
        """
        if self.is_asleep:
            self._put_off.append(which)
            return
        self._waking.discard(which)
        reader = self._reading.get(which)
        if reader is not None and which.is_readable:
            self._do(reader, reader.doRead, True)
        writer = self._writing.get(which)
        if writer is not None and which.is_writable:
            self._do(writer, writer.doWrite, False)
        if (which in self._reading and which.is_readable) or (
            which in self._writing and which.is_writable
        ):
            self._wake(which)

    def _do(self, descriptor: Any, work: Callable[[], object], is_reading: bool) -> None:
        """
        Read or write, and end the descriptor when that says so.
        """
        try:
            why = work()
        except Exception as error:
            self._log.failure("while serving {descriptor}", descriptor=descriptor)
            why = error
        if not why:
            return
        self.removeReader(descriptor)
        if is_reading and type(why) is ConnectionDone:
            if IHalfCloseableDescriptor.providedBy(descriptor):
                descriptor.readConnectionLost(Failure(why))
                return
        self.removeWriter(descriptor)
        reason = why if isinstance(why, BaseException) else ConnectionLost()
        descriptor.connectionLost(Failure(reason))
