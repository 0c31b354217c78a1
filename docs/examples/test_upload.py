"""
An application that sends a file, and its tests behind NATs and through faults.

Run them with C{python -m twisted.trial test_upload}.
"""

import hashlib
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from atmosphere.node.service import NodeService
from atmosphere.testing import Home, MemoryMesh

# The application.


class Receipt(Protocol):
    """
    Takes a file, and answers with its SHA-256.
    """

    transport: Any

    def __init__(self) -> None:
        self.length: int | None = None
        self.hash = hashlib.sha256()

    def dataReceived(self, data: bytes) -> None:
        """
        Take a piece; the first eight bytes of all say how long the file is.
        """
        if self.length is None:
            self.length, data = int.from_bytes(data[:8], "big"), data[8:]
        self.hash.update(data)
        self.length -= len(data)
        if not self.length:
            self.transport.write(self.hash.digest())
            self.transport.loseConnection()


class Upload(Protocol):
    """
    Sends a file, and waits for the receipt.
    """

    transport: Any

    def __init__(self, file: bytes) -> None:
        self.file = file
        self.answer = b""
        self.done: Deferred[bytes] = Deferred()

    def connectionMade(self) -> None:
        """
        Send it.
        """
        self.transport.write(len(self.file).to_bytes(8, "big") + self.file)

    def dataReceived(self, data: bytes) -> None:
        """
        Take a piece of the receipt.
        """
        self.answer += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        That was all.
        """
        self.done.callback(self.answer)


async def upload(node: NodeService, peer: str, file: bytes) -> bytes:
    """
    Send a file to a peer.

    @return: the receipt.
    """
    factory: Any = Factory.forProtocol(lambda: Upload(file))
    protocol: Any = await node.open(peer, "upload", factory, timeout=30)
    receipt: bytes = await protocol.done
    return receipt


# Its tests.

FILE = bytes(range(256)) * 2_000
RECEIPT = hashlib.sha256(FILE).digest()


class UploadCase(SynchronousTestCase):
    """
    Two nodes at home, 20 ms from the Internet.
    """

    def make(self, one: str, two: str, seed: int = 1) -> None:
        """
        Make the mesh.
        """
        self.mesh = MemoryMesh(Clock(), seed, latency=0.02)
        self.addCleanup(self.mesh.stop)
        self.homes: list[Home] = [self.mesh.home(one), self.mesh.home(two)]
        portland = self.mesh.node("portland", behind=self.homes[0])
        portland.listen("upload", Factory.forProtocol(Receipt))
        self.seattle = self.mesh.node("seattle", behind=self.homes[1])

    def begin(self) -> Deferred[bytes]:
        """
        Begin to send the file.
        """
        return Deferred.fromCoroutine(upload(self.seattle, "portland", FILE))

    def slow_down(self, rate: int = 100_000) -> None:
        """
        Let seattle's line take so many bytes a second and no more.
        """
        self.mesh.network.set_link(self.mesh.machines["seattle"].host, rate=rate)


class HomeTests(UploadCase):
    """
    Wherever the two are.
    """

    def kind_of_path(self, one: str, two: str) -> str | None:
        """
        Upload from one kind of home to another, and say how it went there.
        """
        self.make(one, two)
        self.assertEqual(self.mesh.result(self.begin()), RECEIPT)
        self.mesh.advance(5)
        return self.mesh.machines["seattle"].path_to(self.mesh.machines["portland"])

    def test_kinds(self) -> None:
        """
        It arrives, and most homes find a path of their own.
        """
        self.assertEqual(self.kind_of_path("none", "port-restricted"), "direct")
        self.assertEqual(self.kind_of_path("cgnat", "port-restricted"), "punched")
        self.assertEqual(self.kind_of_path("symmetric", "symmetric"), "relayed")
        self.assertEqual(self.kind_of_path("ipv6", "tcp-443-only"), "relayed")


class FaultTests(UploadCase):
    """
    Whatever happens meanwhile.
    """

    def test_bad_lines(self) -> None:
        """
        It arrives over lines that lose, delay and reorder, whatever the seed.
        """
        for seed in range(1, 6):
            self.make("port-restricted", "full-cone", seed)
            for home in self.homes:
                nat = home.nat
                assert nat is not None
                self.mesh.network.set_link(nat, loss=0.02, jitter=0.02, reordering=0.02)
            self.assertEqual(self.mesh.result(self.begin(), limit=120), RECEIPT)

    def test_new_public_address(self) -> None:
        """
        It goes on after a router was switched off and on and has another address.
        """
        self.make("port-restricted", "port-restricted")
        self.slow_down()
        uploading = self.begin()
        self.mesh.advance(2)
        self.homes[1].reboot("198.18.99.1")
        self.assertNoResult(uploading)
        self.assertEqual(self.mesh.result(uploading), RECEIPT)

    def test_closed_lid(self) -> None:
        """
        It goes on after ten minutes during which seattle was asleep.
        """
        self.make("port-restricted", "port-restricted")
        self.slow_down()
        uploading = self.begin()
        self.mesh.advance(2)
        host = self.mesh.machines["seattle"].host
        host.sleep(is_offline=True)
        self.mesh.advance(600)
        host.wake()
        self.assertNoResult(uploading)
        self.assertEqual(self.mesh.result(uploading), RECEIPT)

    def test_relay_dies(self) -> None:
        """
        It goes on after the relay was gone for a while, though all goes through it.
        """
        self.make("symmetric", "symmetric")
        self.slow_down()
        uploading = self.begin()
        self.mesh.advance(2)
        self.mesh.relay_host.kill()
        self.mesh.advance(5)
        self.mesh.restart_relay()
        self.assertNoResult(uploading)
        self.assertEqual(self.mesh.result(uploading), RECEIPT)
