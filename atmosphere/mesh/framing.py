# -*- test-case-name: tests.mesh.test_framing -*-
"""
Messages on a stream: two bytes of length, big-endian, and deterministic CBOR.
"""

from __future__ import annotations

from atmosphere import wire
from atmosphere.errors import DecodeError
from atmosphere.statements import Fields

__all__ = ["MessageReader", "RequestReader", "encode_message"]

MAXIMUM_MESSAGE = 60 * 1024


def encode_message(value: dict[str, object]) -> bytes:
    """
    Write one message with its length.

    @raise ValueError: it is longer than any message may be.
    """
    encoded = wire.encode(value)
    if len(encoded) > MAXIMUM_MESSAGE:
        raise ValueError(f"a message has at most {MAXIMUM_MESSAGE} bytes, not {len(encoded)}")
    return len(encoded).to_bytes(2, "big") + encoded


class MessageReader:
    """
    Cuts a stream into messages, and holds no more than one that is not whole.
    """

    __slots__ = ("_cutter", "_limit", "_total", "_what")

    def __init__(self, what: str, limit: int, total: int | None = None) -> None:
        """
        @param what: a word for the errors.
        @param limit: the most bytes of a message.
        @param total: the most bytes of all messages; C{None} for any number.
        """
        self._what = what
        self._limit = limit
        self._total = total
        self._cutter = wire.MessageCutter(what, limit)

    def receive(self, data: bytes) -> list[Fields]:
        """
        Take bytes of the stream.

        @return: the messages that are whole now.
        @raise DecodeError: a message is too long or none at all; the stream is
            of no use any more.
        """
        if self._total is not None:
            self._total -= len(data)
            if self._total < 0:
                raise DecodeError(f"{self._what}: more than was agreed")
        return [
            Fields.decode(message, limit=self._limit, what=self._what)
            for message in self._cutter.feed(data)
        ]


class RequestReader:
    """
    Reads the one message that a conversation begins with; the side that sends it
    says nothing more.
    """

    __slots__ = ("_has_ended", "_messages")

    def __init__(self, what: str, limit: int) -> None:
        """
        @param what: a word for the errors.
        @param limit: the most bytes of the message.
        """
        self._messages = MessageReader(what, limit, limit + 2)
        self._has_ended = False

    def receive(self, data: bytes) -> Fields | None:
        """
        Take bytes of the stream.

        @return: the message, once it is whole.
        @raise DecodeError: it is none, or something follows.
        """
        messages = self._messages.receive(data)
        if len(messages) + self._has_ended > 1:
            raise DecodeError("more than one request")
        if not messages:
            return None
        self._has_ended = True
        return messages[0]
