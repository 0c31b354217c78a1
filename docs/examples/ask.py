"""
Ask a service of a peer one line, and print the line that it answers.

C{python ask.py STATE PEER SERVICE LINE}, STATE being the directory of a node that
is a member already. It ends with 0, with 2 if nobody is called so, with 3 if the
peer is not reached, and with 4 if it refuses.
"""

import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.internet.task import react
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from atmosphere.errors import AtmosphereError
from atmosphere.node.embed import make_node


class Asker(LineOnlyReceiver):
    """
    Asks once.
    """

    delimiter = b"\n"

    def ask(self, line: str) -> Deferred[str]:
        """
        Send a line, and wait for one.
        """
        self.answer: Deferred[str] | None = Deferred()
        self.sendLine(line.encode())
        return self.answer

    def lineReceived(self, line: bytes) -> None:
        """
        Take the answer.
        """
        if self.answer is not None:
            self.answer.callback(line.decode(errors="replace"))
            self.answer = None

    def connectionLost(self, reason: Failure = Failure(EOFError())) -> None:  # noqa: B008
        """
        There will be no answer.
        """
        if self.answer is not None:
            self.answer.errback(reason)


async def main(reactor: Any, state: str, peer: str, service: str, line: str) -> None:
    """
    Run the node for one question.
    """
    node = make_node(reactor, state)
    node.privilegedStartService()
    node.startService()
    try:
        asker: Any = await node.open(peer, service, Factory.forProtocol(Asker), timeout=20)
        print(await asker.ask(line))
    except AtmosphereError as error:
        print(error, file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    finally:
        await node.stopService()


if __name__ == "__main__":
    react(main, sys.argv[1:])
