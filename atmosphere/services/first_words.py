# -*- test-case-name: tests.services.test_first_words -*-
"""
What a client says before the peer has accepted its stream.

It may go with the opening, which saves a round trip where the link is still to be made. It
is kept until the peer has accepted, so that it can be said once more on another stream if
it is known that nobody read it on this one.
"""

from __future__ import annotations

from twisted.internet.interfaces import ITransport

__all__ = ["ENOUGH", "FirstWords"]

#: Bytes after which a client waits until its stream is accepted: no more go with the
#: opening of a link's first stream.
ENOUGH = 3_072


class FirstWords:
    """
    The bytes of one client until its stream is accepted.

    @ivar were_said: some of them left, on the stream that is being opened.
    """

    def __init__(self, data: bytes = b"") -> None:
        """
        @param data: what is known of them by now.
        """
        self.were_said = False
        self._kept = bytearray(data)
        self._stream: ITransport | None = None

    @property
    def are_enough(self) -> bool:
        """
        Whether the client had better wait with what else it has to say.
        """
        return len(self._kept) >= ENOUGH

    def add(self, data: bytes) -> None:
        """
        The client says more.
        """
        self._kept += data
        if self._stream is not None:
            self._say(self._stream, data)

    def say(self, stream: ITransport) -> None:
        """
        Say on a stream what there is, and at once what is added.
        """
        self._stream = stream
        self._say(stream, bytes(self._kept))

    def take_back(self) -> None:
        """
        The stream is gone, and nobody has read what was said on it.
        """
        self.were_said = False
        self._stream = None

    def finish(self, stream: ITransport) -> None:
        """
        A stream is accepted: say on it what was not said yet, and keep nothing.
        """
        if self._stream is not stream:
            self._say(stream, bytes(self._kept))
        self._stream = None
        self._kept.clear()

    def _say(self, stream: ITransport, data: bytes) -> None:
        """
        Write bytes.
        """
        if data:
            self.were_said = True
            stream.write(data)
