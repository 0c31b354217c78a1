"""
A WebSocket server that returns every message: ENDPOINT.
"""

import sys

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import react


class Echo(WebSocketServerProtocol):
    """
    Returns every message.
    """

    def onMessage(self, payload: bytes, isBinary: bool) -> None:  # noqa: N802, N803
        """
        Return it.
        """
        self.sendMessage(payload, isBinary)


async def serve(reactor: IReactorTime, endpoint: str) -> None:
    """
    Serve for ever.
    """
    factory = WebSocketServerFactory("ws://localhost")
    factory.protocol = Echo
    await serverFromString(reactor, endpoint).listen(factory)
    sys.stdout.write("listening\n")
    sys.stdout.flush()
    await Deferred()


def main(reactor: IReactorTime, endpoint: str) -> Deferred[None]:
    """
    Do it.
    """
    return Deferred.fromCoroutine(serve(reactor, endpoint))


if __name__ == "__main__":
    react(main, sys.argv[1:])
