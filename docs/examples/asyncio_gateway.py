"""
Asyncio code and a node in one process: a server of asyncio's takes lines on TCP
from this machine, and asks a service of a peer what to answer.

C{python asyncio_gateway.py STATE PORT PEER SERVICE}
"""

import asyncio
import sys
from typing import Any

from twisted.internet import asyncioreactor

loop = asyncio.new_event_loop()
asyncioreactor.install(loop)

# From here on the reactor is asyncio's loop.
from twisted.internet import reactor  # noqa: E402
from twisted.internet.protocol import Factory, Protocol  # noqa: E402

from atmosphere.errors import AtmosphereError  # noqa: E402
from atmosphere.node.embed import make_node  # noqa: E402


class Answers(Protocol):
    """
    Puts what comes into a queue of asyncio's.
    """

    def __init__(self) -> None:
        self.queue: asyncio.Queue[bytes] = asyncio.Queue()

    def dataReceived(self, data: bytes) -> None:
        """
        Take a piece of an answer.
        """
        self.queue.put_nowait(data)

    def connectionLost(self, reason: object = None) -> None:
        """
        Nothing more will come.
        """
        self.queue.put_nowait(b"")


async def main(state: str, port: str, peer: str, service: str) -> None:
    """
    Serve until the program is stopped.
    """
    node = make_node(reactor, state)
    reactor.addSystemEventTrigger("before", "shutdown", node.stopService)
    node.privilegedStartService()
    node.startService()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            opening = node.open(peer, service, Factory.forProtocol(Answers), timeout=20)
            answers: Any = await opening.asFuture(loop)
            while line := await reader.readline():
                answers.transport.write(line)
                writer.write(await answers.queue.get())
            answers.transport.loseConnection()
        except AtmosphereError as error:
            writer.write(f"{error}\n".encode())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", int(port))
    print(f"asking {peer} for what comes to port {port}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    task = loop.create_task(main(*sys.argv[1:]))
    reactor.addSystemEventTrigger("after", "shutdown", task.cancel)
    reactor.run()
