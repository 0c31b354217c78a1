# -*- test-case-name: tests.classic.test_inbox -*-
"""
What came and was not yet asked for, in bounded memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

__all__ = ["Inbox"]


class Inbox:
    """
    A queue of messages, and of those who wait for one.

    Put L{has_room} before L{put} where the sender can be made to wait;
    otherwise the oldest messages are dropped, as datagrams may be.

    @ivar dropped: how many messages were lost because nobody asked for them.
    @ivar is_ended: whether nothing more will come.
    """

    def __init__(
        self,
        clock: IReactorTime,
        *,
        size: int,
        count: int,
        taken: Callable[[], None] = lambda: None,
    ) -> None:
        """
        @param size: how many bytes may wait.
        @param count: how many messages may wait.
        @param taken: called after messages were taken out.
        """
        self.dropped = 0
        self.is_ended = False
        self._clock = clock
        self._size = size
        self._count = count
        self._taken = taken
        self._messages: deque[bytes] = deque()
        self._bytes = 0
        self._waiting: deque[Deferred[bytes | None]] = deque()

    @property
    def has_room(self) -> bool:
        """
        Whether there is room for a message.
        """
        return self._bytes < self._size and len(self._messages) < self._count

    def put(self, data: bytes, *, is_droppable: bool = False) -> None:
        """
        Give a message to whoever has waited longest, or keep it.

        @param is_droppable: the oldest are dropped if there are too many.
        """
        if self.is_ended:
            return
        if self._waiting:
            self._waiting.popleft().callback(data)
            return
        self._messages.append(data)
        self._bytes += len(data)
        while is_droppable and (self._bytes > self._size or len(self._messages) > self._count):
            self._bytes -= len(self._messages.popleft())
            self.dropped += 1

    def get(self, timeout: float | None = None) -> Deferred[bytes | None]:
        """
        Take the oldest message, or wait for one.

        @param timeout: seconds; C{None} waits as long as it takes, 0 not at all.
        @return: fires with the message; with L{None} if none came in time, or
            none will ever come. Cancelling stops the waiting and loses nothing.
        """
        done: Deferred[bytes | None] = Deferred(self._forget)
        if self._messages:
            done.callback(self._take())
        elif self.is_ended or (timeout is not None and timeout <= 0):
            done.callback(None)
        else:
            self._waiting.append(done)
            if timeout is not None:
                call = self._clock.callLater(timeout, self._too_late, done)

                def stop(result: bytes | None) -> bytes | None:
                    if call.active():
                        call.cancel()
                    return result

                done.addBoth(stop)
        return done

    def drain(self) -> list[bytes]:
        """
        Take all that waits.
        """
        messages = list(self._messages)
        self._messages.clear()
        self._bytes = 0
        self._taken()
        return messages

    def end(self) -> None:
        """
        Tell all who wait that nothing more will come; what came is still handed out.
        """
        self.is_ended = True
        while self._waiting:
            self._waiting.popleft().callback(None)

    def _take(self) -> bytes:
        """
        Take the oldest message.
        """
        data = self._messages.popleft()
        self._bytes -= len(data)
        self._taken()
        return data

    def _forget(self, done: Deferred[bytes | None]) -> None:
        """
        Note that somebody does not wait any more.
        """
        if done in self._waiting:
            self._waiting.remove(done)

    def _too_late(self, done: Deferred[bytes | None]) -> None:
        """
        Tell somebody that nothing came in time.
        """
        self._forget(done)
        if not done.called:
            done.callback(None)
