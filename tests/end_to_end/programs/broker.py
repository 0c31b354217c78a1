"""
Perspective Broker, both sides: C{serve ENDPOINT} and C{ask ENDPOINT}.
"""

import sys

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import react
from twisted.spread.pb import PBClientFactory, PBServerFactory, Root


class Adder(Root):
    """
    Adds.
    """

    def remote_add(self, one: int, two: int) -> int:
        """
        Add two numbers.
        """
        return one + two

    def remote_length(self, data: bytes) -> int:
        """
        Say how long something is.
        """
        return len(data)


async def serve(reactor: IReactorTime, endpoint: str) -> None:
    """
    Serve for ever.
    """
    await serverFromString(reactor, endpoint).listen(PBServerFactory(Adder()))
    sys.stdout.write("listening\n")
    sys.stdout.flush()
    await Deferred()


async def ask(reactor: IReactorTime, endpoint: str) -> None:
    """
    Ask two things.
    """
    factory = PBClientFactory()
    await clientFromString(reactor, endpoint).connect(factory)
    root = await factory.getRootObject()
    total = await root.callRemote("add", 40, 2)
    length = await root.callRemote("length", b"x" * 500_000)
    sys.stdout.write(f"{total} {length}\n")
    factory.disconnect()


def main(reactor: IReactorTime, what: str, endpoint: str) -> Deferred[None]:
    """
    Do it.
    """
    return Deferred.fromCoroutine({"serve": serve, "ask": ask}[what](reactor, endpoint))


if __name__ == "__main__":
    react(main, sys.argv[1:])
