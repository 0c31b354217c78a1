"""
Tests for L{atmosphere.node.streams_port} and its other end: rushes, mistakes in
protocols, and programs that do not read.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectionLost

from atmosphere.errors import StreamRefusedError
from atmosphere.node import streams_port

from .test_streaming import Failing, Recorder, Recorders
from .test_streams_port import PEER, StreamsCase


class FaultTests(StreamsCase):
    """
    What must not harm the others.
    """

    async def test_rush(self) -> None:
        """
        More connections in one turn than the kernel lets wait: all are served.
        """
        self.node.remote["echo"] = Recorders()
        self.patch(streams_port, "BACKLOG", 4)
        await self.stop()
        self.start()
        opening = [self.streams.open("portland", "echo", Recorders()) for _ in range(64)]
        for each in opening:
            protocol: Any = await each
            protocol.transport.loseConnection()
            await self.until(lambda protocol=protocol: protocol.reasons)

    async def test_failing_client(self) -> None:
        """
        A protocol that fails from the start loses its stream.
        """
        server = Recorders()
        self.node.remote["echo"] = server
        factory = Recorders(Failing)
        opening = self.streams.open("portland", "echo", factory)
        await self.assertFailure(opening, ZeroDivisionError)
        await self.until(lambda: server.made[0].reasons and not factory.starts)
        self.assertIsInstance(server.made[0].reasons[0], ConnectionLost)

    async def test_failing_server(self) -> None:
        """
        A stream whose protocol fails from the start is given up.
        """
        port: Any = await self.streams.listen("echo", Recorders(Failing))
        client = Recorder()
        await self.node.come("echo", client)
        await self.until(lambda: client.reasons)
        self.assertIsInstance(client.reasons[0], ConnectionLost)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        await port.stopListening()

    async def test_program_that_reads_nothing(self) -> None:
        """
        A program that reads no further is told of no more streams, however soon the
        peer takes them back: nothing piles up.
        """
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as idle:
            idle.connect(str(self.path))
            idle.sendall(b'{"listen": "echo"}\n')
            await self.until(lambda: self.node.ports)
            factory = self.node.ports["echo"].factory

            def come_and_go() -> None:
                for _ in range(5_000):
                    decided = factory.buildProtocol(PEER)
                    decided.addErrback(lambda failure: failure.trap(CancelledError))
                    decided.cancel()

            self.assertRaises(StreamRefusedError, come_and_go)
            idle.shutdown(socket.SHUT_WR)
            await self.until(lambda: not self.node.ports)
