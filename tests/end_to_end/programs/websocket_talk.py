"""
Sends messages to a WebSocket server and checks that they come back: ENDPOINT.
"""

import sys

from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import react

MESSAGES = [b"hello", b"x" * 70_000, b"y" * 1_000_000]


class Talk(WebSocketClientProtocol):
    """
    Sends one message after the other.
    """

    def onOpen(self) -> None:  # noqa: N802, Autobahn's name
        """
        Begin.
        """
        self.waiting = list(MESSAGES)
        self.sendMessage(self.waiting[0], True)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:  # noqa: N802, N803
        """
        Check it, and send the next one.
        """
        if payload != self.waiting.pop(0):
            self.sendClose(3000, "not what was sent")
        elif self.waiting:
            self.sendMessage(self.waiting[0], True)
        else:
            self.sendClose(1000)

    def onClose(self, wasClean: bool, code: int, reason: str) -> None:  # noqa: N802, N803
        """
        Say how it went.
        """
        self.factory.over.callback(code)


async def talk(reactor: IReactorTime, endpoint: str) -> None:
    """
    Talk, and print the code that the connection was closed with.
    """
    factory = WebSocketClientFactory("ws://localhost")
    factory.protocol = Talk
    factory.over = Deferred()
    await clientFromString(reactor, endpoint).connect(factory)
    sys.stdout.write(f"closed {await factory.over}\n")


def main(reactor: IReactorTime, endpoint: str) -> Deferred[None]:
    """
    Do it.
    """
    return Deferred.fromCoroutine(talk(reactor, endpoint))


if __name__ == "__main__":
    react(main, sys.argv[1:])
