"""
A program that knows nothing of atmosphere: it sends a line to wherever an endpoint
string leads, and prints the line that comes back.

C{python plain.py tcp:localhost:7 hello} asks a TCP server, and C{python plain.py
atmosphere:portland:echo hello} a member of the mesh that this machine's node is in.
"""

import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, connectProtocol
from twisted.internet.task import react
from twisted.protocols.basic import LineOnlyReceiver


class Caller(LineOnlyReceiver):
    """
    Waits for a line.
    """

    delimiter = b"\n"

    def __init__(self) -> None:
        self.answer: Deferred[str] = Deferred()

    def lineReceived(self, line: bytes) -> None:
        """
        Take it.
        """
        self.answer.callback(line.decode(errors="replace"))


async def main(reactor: Any, endpoint: str, line: str) -> None:
    """
    Call once.
    """
    caller = await connectProtocol(clientFromString(reactor, endpoint), Caller())
    caller.sendLine(line.encode())
    print(await caller.answer)


if __name__ == "__main__":
    react(main, sys.argv[1:])
